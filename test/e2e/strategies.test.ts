import { Ferry } from '../support/ferry';
import { testServers } from '../support/temporal';
import { http, Writers } from '../support/writers';

const { elasticsearch } = testServers();
const source = elasticsearch['5.5.2'] as string;
const target = elasticsearch['5.6.16'] as string;

let ferry: Ferry;
afterEach(() => ferry.close());

test('5.5.2 to 5.6.16: indices come under other names, each round in place of the last, with every write', async () => {
  const writers = new Writers(source, 5);
  await writers.createIndex('was-1', { number_of_shards: 2 }, { aliases: { 'was-live': {} } });
  await writers.createIndex('was-main', { number_of_shards: 1 });
  await writers.createIndex('stays', { number_of_shards: 1 });
  for (const index of ['was-1', 'was-main', 'stays']) await writers.bulk(index, 100);
  ferry = await Ferry.create({
    source,
    target,
    indices: ['was-*', 'stays'],
    plan: {
      restore: { strategy: 'replace', rename: { 'was-*': 'is-*', 'was-main': 'main' } },
      cutover: {
        approval: false,
        switchover: { aliases: { newest: 'was-main' } },
        verify: { level: 'full', queries: [{ name: 'all', indices: ['was-*'], body: { size: 5, sort: ['n'] } }] },
      },
    },
  });
  await ferry.startWorker();
  await ferry.start();
  await ferry.rounds(1);
  writers.start(2, 50);
  await ferry.rounds(2);
  await ferry.signal('freeze-writes');
  const report = await ferry.result();
  await writers.stop();

  expect(report.verification.failed).toBe(0);
  const names: Record<string, string> = { 'was-1': 'is-1', 'was-main': 'main' };
  expect(await writers.differences(target, (index) => names[index] ?? index)).toEqual([]);
  expect(await http(`${target}/_alias/was-live,newest`)).toEqual({
    'is-1': { aliases: { 'was-live': {} } },
    main: { aliases: { newest: {} } },
  });
  await http(`${target}/is-1/doc/late`, 'PUT', { n: 0 });
});
