import { Ferry } from '../support/ferry';
import { testServers } from '../support/temporal';
import { http, Writers } from '../support/writers';

const { elasticsearch } = testServers();
const source = elasticsearch['5.5.2'] as string;
const target = elasticsearch['5.6.16'] as string;

type Settings = Readonly<Record<string, unknown>>;

let ferry: Ferry;
afterEach(() => ferry.close());

async function settingsOf(index: string): Promise<Settings> {
  const answer = (await http(`${target}/${index}/_settings`)) as Record<string, { settings: { index: Settings } }>;
  return answer[index]?.settings.index ?? {};
}

test('5.5.2 to 5.6.16: indices come under other names, each round in place of the last, with every write', async () => {
  const writers = new Writers(source, 5);
  await writers.createIndex(
    'was-1',
    { number_of_shards: 2, refresh_interval: '3s', auto_expand_replicas: '0-2' },
    { aliases: { 'was-live': {} } },
  );
  await writers.createIndex('was-main', { number_of_shards: 1 });
  await writers.createIndex('stays', { number_of_shards: 1 });
  for (const index of ['was-1', 'was-main', 'stays']) await writers.bulk(index, 100);
  await http(`${source}/stays/_settings`, 'PUT', { 'index.blocks.write': true });
  ferry = await Ferry.create({
    source,
    target,
    indices: ['was-*', 'stays'],
    plan: {
      restore: {
        strategy: 'replace',
        settings: { 'index.refresh_interval': '-1', 'index.translog.durability': 'async' },
        keepSettings: ['index.refresh_interval'],
        aliases: 'everyRound',
        rename: { 'was-*': 'is-*', 'was-main': 'main' },
      },
      cutover: {
        approval: false,
        replicas: 'after',
        switchover: { aliases: { newest: 'was-main' } },
        verify: { level: 'full', queries: [{ name: 'all', indices: ['was-*'], body: { size: 5, sort: ['n'] } }] },
      },
    },
  });
  await ferry.startWorker();
  await ferry.start();
  await ferry.rounds(1);
  writers.start(2, 50, (index) => index !== 'stays');
  await ferry.rounds(2);
  expect(await http(`${target}/_alias/was-live`)).toEqual({ 'is-1': { aliases: { 'was-live': {} } } });
  expect(await settingsOf('is-1')).toMatchObject({ refresh_interval: '-1', auto_expand_replicas: 'false' });
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
  const { translog, ...settings } = await settingsOf('is-1');
  expect(settings).toMatchObject({ refresh_interval: '3s', auto_expand_replicas: '0-2' });
  expect(translog).toEqual({ durability: 'async' });
  await http(`${target}/is-1/doc/late`, 'PUT', { n: 0 });
  // What its owner had blocked on the source stays blocked.
  await expect(http(`${target}/stays/doc/late`, 'PUT', { n: 0 })).rejects.toThrow('403');
});
