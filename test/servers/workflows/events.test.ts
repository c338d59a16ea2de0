import { ApplicationFailure } from '@temporalio/common';
import type { EventInput, Report } from '../../../src/domain/exchange';
import { fakeActivities } from '../../support/fake-activities';
import type { FakeOptions } from '../../support/fake-activities';
import { TemporalBench, testServers } from '../../support/temporal';

let bench: TemporalBench;

beforeEach(async () => {
  bench = await TemporalBench.connect(testServers().temporal);
});
afterEach(() => bench.close());

const refused = ApplicationFailure.nonRetryable('The webhook refuses the message', 'Configuration');

/** A migration with its freeze asked for, and all that its webhooks were told; `refuse` says which they refuse. */
async function frozen(options: FakeOptions = {}, refuse: (event: EventInput) => boolean = () => false) {
  const told: EventInput[] = [];
  const { activities, journal } = fakeActivities({
    ...options,
    settings: { everyMs: 3_600_000, notify: true, webhook: true, ...options.settings },
    replace: (base) => ({
      notify: async (input) => {
        told.push(input);
        if (refuse(input)) throw refused;
        return base.notify(input);
      },
    }),
  });
  await bench.work(activities);
  const handle = await bench.migrate();
  await bench.until(handle, (status) => status.totals.rounds === 1);
  await handle.signal('freeze-writes');
  return { handle, journal, told };
}

test('every event of a cutover is told: freezing before the block, the switchover after the aliases', async () => {
  const { handle, journal, told } = await frozen({ settings: { approval: true } });
  await bench.until(handle, (status) => status.phase === 'awaiting approval');
  await handle.executeUpdate('approve', { args: [{ who: 'ana', why: 'green' }] });
  await handle.result();
  const events = ['freezing', 'frozen', 'approval-needed', 'switching', 'switchover', 'done'];
  expect(told.map(({ event }) => event)).toEqual(events);
  expect(told.map(({ freeze }) => freeze)).toEqual(events.map(() => 1));
  expect(told[2]?.deadline).toBeGreaterThan(Date.now());
  const at = (call: string) => journal.calls.indexOf(call);
  expect(at('told freezing')).toBeLessThan(at('record 1'));
  expect(at('told switchover')).toBeGreaterThan(at('aliases'));
  expect(at('told switchover')).toBeLessThan(at('report done'));
});

test('a webhook that refuses to hear of the freeze stops it before anything is blocked', async () => {
  const { handle, journal, told } = await frozen({}, ({ event }) => event === 'freezing');
  const status = await bench.until(handle, ({ notes }) => notes.some((note) => note.includes('did not begin')));
  expect(status.notes.join('\n')).toContain('did not begin: The webhook refuses the message');
  await bench.until(handle, ({ phase }) => phase === 'between rounds');
  expect(journal.calls).not.toContain('record 1');
  expect(told.map(({ event }) => event)).toEqual(['freezing', 'unfrozen']);
});

test('one that refuses all else holds up nothing, and is noted', async () => {
  const { handle, told } = await frozen({}, ({ event }) => event !== 'freezing' && event !== 'switchover');
  expect(((await handle.result()) as Report).outcome).toBe('done');
  expect((await bench.status(handle)).notes.join('\n')).toContain("the webhook was not told 'frozen'");
  expect(told.at(-1)).toMatchObject({ event: 'done', outcome: 'done' });
});

test('a switchover that its webhook refuses parks after the commit, and retry says the same again', async () => {
  let refuses = true;
  const { handle, journal, told } = await frozen({}, ({ event }) => refuses && event === 'switchover');
  const parked = await bench.until(handle, ({ phase }) => phase === 'parked');
  expect(parked.parked).toMatchObject({ step: 'webhook', code: 'Configuration' });
  expect(journal.blocked).toEqual({ source: true, target: false });
  refuses = false;
  await handle.signal('retry');
  expect(((await handle.result()) as Report).outcome).toBe('done');
  const calls = told.filter(({ event }) => event === 'switchover');
  expect(calls).toHaveLength(2);
  expect(calls[1]).toEqual(calls[0]);
  expect(told).toContainEqual(expect.objectContaining({ event: 'parked', step: 'webhook', code: 'Configuration' }));
});

test('a release is told by the lease, once writes are open, also when the migration is gone', async () => {
  const { handle, journal, told } = await frozen({ settings: { approval: true } });
  await bench.until(handle, (status) => status.phase === 'awaiting approval');
  await handle.terminate();
  const lease = bench.client.workflow.getHandle(`${handle.workflowId}/freeze-1`);
  await lease.signal('unfreeze-writes');
  await lease.result();
  expect(told.at(-1)).toMatchObject({ event: 'unfrozen', freeze: 1 });
  expect(journal.calls.indexOf('unblock source')).toBeLessThan(journal.calls.indexOf('told unfrozen'));
});

test('the end of an aborted migration is told with its outcome', async () => {
  const { handle, told } = await frozen({ settings: { approval: true } });
  await bench.until(handle, (status) => status.phase === 'awaiting approval');
  await handle.signal('abort');
  await expect(handle.result()).rejects.toThrow();
  expect(told.map(({ event }) => event).slice(-2)).toEqual(['unfrozen', 'done']);
  expect(told.at(-1)?.outcome).toBe('aborted');
});
