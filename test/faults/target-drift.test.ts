import { Ferry } from '../support/ferry';
import { testServers } from '../support/temporal';
import { http, Writers } from '../support/writers';

const { elasticsearch } = testServers();
const source = elasticsearch['5.5.2'] as string;
const target = elasticsearch['5.6.16'] as string;

let ferry: Ferry;
afterEach(() => ferry.close());

const block = (value: boolean) => http(`${target}/drifting/_settings`, 'PUT', { 'index.blocks.write': value });
const parked = async () => (await ferry.until(({ phase }) => phase === 'parked')).parked;

test('what somebody writes to the target between rounds, or opens before the commit, is shown and not restored over', async () => {
  const writers = new Writers(source, 5);
  await writers.createIndex('drifting', { number_of_shards: 2 });
  await writers.bulk('drifting', 200);
  ferry = await Ferry.create({
    ...{ source, target, indices: ['drifting'] },
    plan: { rounds: { every: '1h' }, cutover: { approval: true } },
  });
  await ferry.startWorker();
  await ferry.start();
  await ferry.rounds(1);

  const { count: left } = (await http(`${target}/drifting/_count`)) as { count: number };
  await block(false);
  await http(`${target}/drifting/doc/stray`, 'PUT', { n: 0 });
  await block(true);
  await ferry.signal('run-round');
  expect(await parked()).toMatchObject({
    code: 'TargetChanged',
    why: expect.stringContaining(`index 'drifting' has ${left + 1} documents where ${left} were left`) as string,
  });
  expect(await http(`${target}/drifting/doc/stray`)).toMatchObject({ found: true });
  // As the park advises: gone, it comes back whole.
  await http(`${target}/drifting`, 'DELETE');
  await ferry.signal('retry');
  await ferry.until(({ totals, parked: still }) => still === undefined && totals.rounds >= 2);

  await ferry.signal('freeze-writes');
  await ferry.until(({ phase }) => phase === 'awaiting approval');
  await block(false);
  await ferry.update('approve', { who: 'the test', why: 'it looks right' });
  expect(await parked()).toMatchObject({
    code: 'TargetChanged',
    why: expect.stringContaining("index 'drifting' is not blocked for writes any more") as string,
  });
  await block(true);
  await ferry.signal('retry');
  expect((await ferry.result()).verification.failed).toBe(0);
  expect(await writers.differences(target)).toEqual([]);
});
