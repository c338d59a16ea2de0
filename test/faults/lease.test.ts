import { Ferry } from '../support/ferry';
import { eventually } from '../support/fault-poll';
import { testServers } from '../support/temporal';
import { http } from '../support/writers';

const { elasticsearch } = testServers();
const source = elasticsearch['5.5.2'] as string;
const target = elasticsearch['5.6.16'] as string;

let ferry: Ferry | undefined;
afterEach(() => ferry?.close());

const takesWrites = (url: string, index: string) =>
  http(`${url}/${index}/doc/probe`, 'PUT', { n: 1 }).then(
    () => true,
    () => false,
  );

test('the source takes writes again at the deadline although the migration was terminated', async () => {
  await http(`${source}/leased`, 'PUT', { settings: { number_of_replicas: 0, number_of_shards: 1 } });
  await http(`${source}/leased/doc/1?refresh=true`, 'PUT', { n: 1 });
  ferry = await Ferry.create({
    source,
    target,
    indices: ['leased'],
    plan: { rounds: { every: '1h' }, cutover: { approval: true, freezeAtMost: '20s' } },
  });
  await ferry.startWorker();
  const handle = await ferry.start();
  await ferry.rounds(1);
  await ferry.signal('freeze-writes');
  const { freeze } = await ferry.until((status) => status.freeze?.writesBlockedAt !== undefined);
  const deadline = Date.parse(freeze?.deadline as string);
  await handle.terminate('somebody pulled the plug');
  expect(await takesWrites(source, 'leased')).toBe(false);

  await eventually('a write that the source takes', async () => (await takesWrites(source, 'leased')) || undefined);
  expect(Date.now()).toBeGreaterThanOrEqual(deadline - 1_000);
  expect(Date.now()).toBeLessThan(deadline + 10_000);
  // What was restored stays blocked: clients never see two clusters that take writes.
  expect(await takesWrites(target, 'leased')).toBe(false);
});
