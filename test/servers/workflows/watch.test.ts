import { ApplicationFailure } from '@temporalio/common';
import type { WorkflowHandle } from '@temporalio/client';
import type { Report } from '../../../src/domain/exchange';
import { fakeActivities } from '../../support/fake-activities';
import type { FakeOptions } from '../../support/fake-activities';
import { recordHistory, TemporalBench, testServers } from '../../support/temporal';

let bench: TemporalBench;

beforeEach(async () => {
  bench = await TemporalBench.connect(testServers().temporal);
});
afterEach(() => bench.close());

/** A migration that has cut over and watches. */
async function watching(options: FakeOptions = {}) {
  const settings = { everyMs: 3_600_000, watchMs: 3_600_000, ...options.settings };
  const { activities, journal } = fakeActivities({ ...options, settings });
  await bench.work(activities);
  const handle = await bench.migrate();
  await bench.until(handle, (status) => status.totals.rounds === 1);
  await handle.signal('freeze-writes');
  await bench.until(handle, (status) => status.watch?.writesSinceSwitch !== undefined);
  return { handle, journal };
}

const rollback = (handle: WorkflowHandle, acceptLosing: unknown) =>
  handle.executeUpdate('rollback', { args: [{ acceptLosing, who: 'ana', why: 'too slow' }] });
const refusedWith = (text: string) => ({ cause: { message: expect.stringContaining(text) as string } });

test('writes are counted while it watches, and told in status and the report', async () => {
  const { handle, journal } = await watching({ settings: { watchMs: 2_000 } });
  expect((await bench.status(handle)).watch?.writesSinceSwitch).toBe('3');
  expect((await bench.status(handle)).youCan.join()).toContain('`rollback` {"acceptLosing":3,');
  const report = (await handle.result()) as Report;
  expect(report).toMatchObject({ outcome: 'done', writesSinceSwitch: { operations: 3, exact: true } });
  expect(journal.blocked).toEqual({ source: true, target: false });
});

test('rollback with the exact number goes back: target blocked first, source opened last', async () => {
  const { handle, journal } = await watching({ settings: { notify: true, webhook: true } });
  expect(await rollback(handle, 3)).toContain('rolled back');
  expect(((await handle.result()) as Report).outcome).toBe('rolled-back');
  expect(journal.blocked).toEqual({ source: false, target: true });
  const order = ['block target', 'target quiescent', 'aliases back by ana', 'unblock source', 'told switchback'];
  expect(journal.calls.filter((call) => order.includes(call))).toEqual(order);
  expect(journal.calls.slice(-3)).toEqual(['clean up rolled-back', 'report rolled-back', 'told done']);
  await recordHistory(bench.client, handle, 'migrate-rolled-back');
});

test('another number is answered with the right one, while the target stays blocked until somebody decides', async () => {
  const { handle, journal } = await watching({ settings: { keepsSettings: true } });
  await expect(rollback(handle, 2)).rejects.toMatchObject(refusedWith('taken 3 operations'));
  expect(journal.blocked).toEqual({ source: true, target: true });
  expect((await bench.status(handle)).phase).toBe('rolling back');
  expect(await rollback(handle, 3)).toContain('rolled back');
  await handle.result();
  expect(journal.calls.filter((call) => call === 'block target')).toHaveLength(1);
  const order = ['settings', 'unblock source', 'settings back', 'clean up rolled-back'];
  expect(journal.calls.filter((call) => order.includes(call))).toEqual(order);
  expect((await bench.status(handle)).notes.join()).toContain('index.codec stays as the switchover set it');
});

test.each([
  ['unfreeze-writes', 30_000],
  ['nobody', 8_000],
])('a rollback that %s decides opens the target again and goes on watching', async (who, freezeAtMostMs) => {
  const { handle, journal } = await watching({ settings: { freezeAtMostMs } });
  await expect(rollback(handle, 2)).rejects.toMatchObject(refusedWith('taken 3 operations'));
  if (who !== 'nobody') await handle.signal(who);
  await bench.until(handle, (status) => status.phase === 'watching');
  expect(journal.blocked).toEqual({ source: true, target: false });
  expect(await rollback(handle, 3)).toContain('rolled back');
  await handle.result();
});

test('a target that can not be blocked is opened again, and the update says why', async () => {
  const { handle, journal } = await watching({
    replace: () => ({
      blockTarget: async () => Promise.reject(ApplicationFailure.nonRetryable('no permission', 'Configuration')),
    }),
  });
  await expect(rollback(handle, 3)).rejects.toMatchObject(refusedWith('no permission'));
  expect(journal.blocked).toEqual({ source: true, target: false });
  expect((await bench.status(handle)).phase).toBe('watching');
});

test('a number that is not known is accepted in its own words', async () => {
  const unknown = async () => ({ operations: 3, exact: false });
  const { handle } = await watching({ replace: () => ({ countWrites: unknown, proveTargetQuiescence: unknown }) });
  expect((await bench.status(handle)).watch?.writesSinceSwitch).toBe('unknown, at least 3');
  await expect(rollback(handle, 3)).rejects.toMatchObject(refusedWith('"at least 3"'));
  expect(await rollback(handle, 'at least 3')).toContain('rolled back');
  await handle.result();
});

test('what fails after the decision parks, and nothing opens the target any more', async () => {
  let fails = true;
  const { handle, journal } = await watching({
    replace: (base) => ({
      unblockSource: async (input) =>
        fails
          ? Promise.reject(ApplicationFailure.nonRetryable('no permission', 'Configuration'))
          : base.unblockSource(input),
    }),
  });
  const answer = rollback(handle, 3);
  await bench.until(handle, (status) => status.phase === 'parked');
  await handle.signal('unfreeze-writes');
  fails = false;
  await handle.signal('retry');
  expect(await answer).toContain('rolled back');
  expect(((await handle.result()) as Report).outcome).toBe('rolled-back');
  expect(journal.calls.filter((call) => call === 'unblock target')).toHaveLength(1);
});

test('abort while a rollback is not decided stops with both sides blocked, and says what ends that', async () => {
  const { handle, journal } = await watching();
  await expect(rollback(handle, 2)).rejects.toMatchObject(refusedWith('taken 3 operations'));
  await handle.signal('abort');
  const unfreeze = '`npx snapferry unfreeze plan.json`, which opens the target again';
  await expect(handle.result()).rejects.toMatchObject(refusedWith(unfreeze));
  expect(journal.blocked).toEqual({ source: true, target: true });
  const status = await bench.status(handle);
  expect(status.youCan.join()).toContain(unfreeze);
  expect(status.notes.join()).toContain(unfreeze);
  expect(journal.calls.slice(-2)).toEqual(['clean up aborted after commit 1', 'report aborted']);
});

const fails = async () => Promise.reject(ApplicationFailure.nonRetryable('no permission', 'Configuration'));

test('abort once a rollback is decided says that it is to be finished', async () => {
  const { handle } = await watching({ replace: () => ({ unblockSource: fails }) });
  const answer = rollback(handle, 3).catch((error: unknown) => error);
  await bench.until(handle, (status) => status.phase === 'parked');
  await handle.signal('abort');
  await expect(handle.result()).rejects.toMatchObject(refusedWith('which takes the aliases back and opens the source'));
  await answer;
});

test('abort after a rollback says that the source takes the writes', async () => {
  const { handle } = await watching({ replace: () => ({ cleanUp: fails }) });
  expect(await rollback(handle, 3)).toContain('rolled back');
  await bench.until(handle, (status) => status.phase === 'parked');
  await handle.signal('abort');
  await expect(handle.result()).rejects.toMatchObject(refusedWith('Stopped after the rollback: the source takes'));
});

describe('rollback is refused', () => {
  test('before the commit, with a sentence that says when', async () => {
    const { activities } = fakeActivities({ settings: { everyMs: 3_600_000, watchMs: 60_000 } });
    await bench.work(activities);
    const handle = await bench.migrate();
    await bench.until(handle, (status) => status.totals.rounds === 1);
    await expect(rollback(handle, 0)).rejects.toMatchObject(refusedWith("while status says 'watching'"));
    await expect(handle.executeUpdate('rollback', { args: [{ who: 'ana' }] })).rejects.toMatchObject(
      refusedWith('"acceptLosing"'),
    );
  });

  test('by a plan that does not watch', async () => {
    await bench.work(fakeActivities({ settings: { everyMs: 3_600_000 } }).activities);
    const handle = await bench.migrate();
    await bench.until(handle, (status) => status.totals.rounds === 1);
    await expect(rollback(handle, 0)).rejects.toMatchObject(refusedWith('no cutover.watch'));
  });
});
