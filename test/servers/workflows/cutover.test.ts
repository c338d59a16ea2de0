import { ApplicationFailure } from '@temporalio/common';
import type { WorkflowFailedError, WorkflowHandle } from '@temporalio/client';
import type { LeaseResult, Report } from '../../../src/domain/exchange';
import { fakeActivities } from '../../support/fake-activities';
import type { Activities, FakeOptions } from '../../support/fake-activities';
import { recordHistory, TemporalBench, testServers } from '../../support/temporal';

let bench: TemporalBench;

beforeEach(async () => {
  bench = await TemporalBench.connect(testServers().temporal);
});
afterEach(() => bench.close());

/** A migration with its freeze begun. */
async function frozen(options: FakeOptions = {}) {
  const { activities, journal } = fakeActivities({ ...options, settings: { everyMs: 3_600_000, ...options.settings } });
  await bench.work(activities);
  const handle = await bench.migrate();
  await bench.until(handle, (status) => status.totals.rounds === 1);
  await handle.signal('freeze-writes', { by: 'ana' });
  return { handle, journal, activities };
}

const leaseOf = (handle: WorkflowHandle, freeze = 1) =>
  bench.client.workflow.getHandle(`${handle.workflowId}/freeze-${freeze}`);
const failedRow = {
  ...{ digest: 'l', passed: 1, failed: 1, waived: 0, documents: 0 },
  failures: ['movies/documents: source 3, target 2'],
  failedRows: ['movies/documents'],
};
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describe('a cutover that was lost after its commit', () => {
  test('is ended by the migration that adopts it: nothing is moved or frozen, and what is left is done', async () => {
    const verification = {
      ...{ digest: 'l', passed: 1, failed: 0, waived: 0 },
      documents: 3,
      failures: [],
      failedRows: [],
    };
    const told: unknown[] = [];
    const { activities, journal } = fakeActivities({
      settings: { webhook: true, watchMs: 200, replicas: 'after', approval: true },
      replace: (base, { calls }) => ({
        preflight: async (input) => {
          const { plan, ...result } = await base.preflight(input);
          calls.length = 0;
          const theirs = { ...plan, migration: 'the-lost-one', firstRunId: 'lost-run' };
          const lost = { plan: theirs, round: 7, attempt: 2, freeze: 3, verification };
          return { ...result, plan: theirs, warnings: ['Ends the cutover of the-lost-one'], lost };
        },
        unblockTarget: async (input) => {
          told.push(input);
          return base.unblockTarget(input);
        },
        writeReport: async (input) => {
          told.push(input);
          return base.writeReport(input);
        },
      }),
    });
    await bench.work(activities);
    const handle = await bench.migrate();
    const report = (await handle.result()) as Report;
    expect(report).toMatchObject({ outcome: 'done', verification, rounds: [] });
    expect(report.freezeWindow).toBeUndefined();
    const did = journal.calls.filter((call) => !call.startsWith('count'));
    expect(did.slice(0, 4)).toEqual(['unblock target', 'aliases', 'told switchover', 'replicas after']);
    expect(did.at(-1)).toBe('report done');
    expect(did.join(' ')).not.toMatch(/block source|scope|snapshot \d|round/);
    const theirs = { plan: expect.objectContaining({ migration: 'the-lost-one' }) as unknown, freeze: 3 };
    expect(told).toMatchObject([
      { ...theirs, round: 7, attempt: 2 },
      { ...theirs, final: { round: 7, attempt: 2 } },
    ]);
  });
});

describe('cleanup.snapshots: delete', () => {
  test('deletes ours once the migration is done, before it says what remains', async () => {
    const { handle, journal } = await frozen({ settings: { deletesSnapshots: true } });
    await handle.result();
    const after = journal.calls.slice(journal.calls.indexOf('aliases'));
    expect(after.filter((call) => /delete|clean/.test(call))).toEqual(['delete snapshots', 'clean up done']);
  });

  test('a source that refuses is a note, and the migration is done', async () => {
    let noted: readonly string[] = [];
    const { handle, journal } = await frozen({
      settings: { deletesSnapshots: true },
      replace: (base) => ({
        deleteSnapshots: async () => {
          throw ApplicationFailure.nonRetryable('forbidden', 'Configuration');
        },
        writeReport: async (input) => {
          noted = input.notes;
          return base.writeReport(input);
        },
      }),
    });
    expect(((await handle.result()) as Report).outcome).toBe('done');
    expect(noted.join()).toContain('could not be deleted from the source: forbidden');
    expect(journal.calls).toContain('clean up done');
  });
});

describe('exclude during a freeze', () => {
  const asked = { index: 'movies', who: 'ana', why: 'it is red' };
  const refusal = (text: string) => ({ cause: { message: expect.stringContaining(text) as string } });
  /** What fails, or waits, for as long as the index is in scope. */
  const untilExcluded = (journal: { readonly calls: string[] }) => !journal.calls.includes('exclude movies');

  test('the lease opens the index on the source, and its failed row parks no more after retry', async () => {
    const { handle, journal } = await frozen({
      // The scope of a freeze may lose what is excluded, and nothing else.
      scopeDigest: () => 'whole',
      replace: (base, seen) => ({
        verify: async (input) => (untilExcluded(seen) ? { ...failedRow } : base.verify(input)),
      }),
    });
    await bench.until(handle, (status) => status.phase === 'parked');
    await handle.executeUpdate('exclude', { args: [asked] });
    expect(journal.calls.slice(-2)).toEqual(['exclude movies', 'unblock excluded']);
    await handle.signal('retry');
    const report = (await handle.result()) as Report;
    expect(report.outcome).toBe('done');
    expect(journal.blocked).toEqual({ source: true, target: false });
  });

  test('what was approved or verified before it counts no more', async () => {
    const { handle, journal } = await frozen({ settings: { approval: true } });
    await bench.until(handle, (status) => status.phase === 'awaiting approval');
    await handle.executeUpdate('exclude', { args: [asked] });
    await bench.until(handle, () => journal.calls.filter((call) => call === 'verify').length === 2);
    await bench.until(handle, (status) => status.phase === 'awaiting approval');
    expect(journal.calls).not.toContain('recheck');
    await handle.executeUpdate('approve', { args: [{ who: 'ana', why: 'all green' }] });
    await handle.result();
  });

  test('a last round that had begun with it goes on without it', async () => {
    let digest = 'with movies';
    const { handle } = await frozen({
      scopeDigest: () => digest,
      replace: (base, seen) => ({
        takeSnapshot: async (input) => {
          if (input.round > 0 && untilExcluded(seen)) throw ApplicationFailure.nonRetryable('red', 'Configuration');
          return base.takeSnapshot(input);
        },
        excludeIndex: async (input) => {
          digest = 'without movies';
          return base.excludeIndex(input);
        },
      }),
    });
    await bench.until(handle, (status) => status.phase === 'parked');
    await handle.executeUpdate('exclude', { args: [asked] });
    await handle.signal('retry');
    await handle.result();
  });

  test('is refused while writes are being blocked, at the last look, and after the commit', async () => {
    const gates: Record<string, () => void> = {};
    const gate = (name: string) => new Promise<void>((resolve) => (gates[name] = resolve));
    const [quiet, looked] = [gate('quiet'), gate('looked')];
    const { handle, journal } = await frozen({
      settings: { watchMs: 3_600_000 },
      replace: (base) => ({
        proveQuiescence: (input) => quiet.then(() => base.proveQuiescence(input)),
        recheckBeforeCommit: async (input) => {
          const found = await base.recheckBeforeCommit(input);
          await looked;
          return found;
        },
      }),
    });
    const exclude = () => handle.executeUpdate('exclude', { args: [asked] });
    await bench.until(handle, () => journal.calls.includes('block source'));
    await expect(exclude()).rejects.toMatchObject(refusal("Send it when status says 'cutover'"));
    gates['quiet']?.();
    await bench.until(handle, () => journal.calls.includes('recheck'));
    await expect(exclude()).rejects.toMatchObject(refusal('for the last time'));
    gates['looked']?.();
    await bench.until(handle, (status) => status.phase === 'watching');
    await expect(exclude()).rejects.toMatchObject(refusal('the cutover is decided'));
    expect(journal.calls).not.toContain('exclude movies');
    await handle.terminate();
  });

  test('a source that does not open it holds up no release', async () => {
    const { handle, journal } = await frozen({
      replace: (base, seen) => ({
        verify: async (input) => (untilExcluded(seen) ? { ...failedRow } : base.verify(input)),
        unblockExcluded: async () => {
          throw ApplicationFailure.retryable('no answer', 'Unavailable');
        },
      }),
    });
    await bench.until(handle, (status) => status.phase === 'parked');
    const excluding = handle.executeUpdate('exclude', { args: [asked] });
    await bench.until(handle, () => !untilExcluded(journal));
    await handle.signal('unfreeze-writes');
    await excluding;
    await bench.until(handle, (status) => status.phase === 'between rounds');
    expect(journal.blocked).toEqual({ source: false, target: true });
    await handle.terminate();
  });
});

describe('approval', () => {
  test('is refused at the wrong moment with a sentence that says when, and commits at the right one', async () => {
    const { handle, journal } = await frozen({ settings: { approval: true } });
    await bench.until(handle, (status) => status.phase === 'awaiting approval');
    await expect(handle.executeUpdate('approve', { args: [{ who: 'ana' }] })).rejects.toMatchObject({
      cause: { message: expect.stringContaining('"why"') as string },
    });
    expect(journal.blocked.target).toBe(true);
    await handle.executeUpdate('approve', { args: [{ who: 'ana', why: 'all green' }] });
    const report = (await handle.result()) as Report;
    expect(report.freezeWindow?.waitedMs).toBeGreaterThan(0);
  });

  test('given early with ifVerified commits as soon as verification passed', async () => {
    let open: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => (open = resolve));
    const { handle } = await frozen({
      settings: { approval: true },
      replace: (base) => ({
        verify: async (input) => {
          await gate;
          return base.verify(input);
        },
      }),
    });
    await bench.until(handle, (status) => status.phase === 'cutover');
    await expect(handle.executeUpdate('approve', { args: [{ who: 'ana', why: 'go' }] })).rejects.toMatchObject({
      cause: { message: expect.stringContaining('ifVerified') as string },
    });
    await handle.executeUpdate('approve', { args: [{ who: 'ana', why: 'go', ifVerified: true }] });
    open();
    await handle.result();
  });

  test('is void after a failed row', async () => {
    let fails = true;
    const { handle } = await frozen({
      settings: { approval: true },
      replace: (base) => ({
        verify: async (input) => (fails ? { ...failedRow } : base.verify(input)),
      }),
    });
    const parked = await bench.until(handle, (status) => status.phase === 'parked');
    expect(parked.parked?.why).toContain('source 3, target 2');
    fails = false;
    await handle.signal('retry');
    await bench.until(handle, (status) => status.phase === 'awaiting approval');
    await handle.signal('unfreeze-writes');
    await bench.until(handle, (status) => status.phase === 'between rounds');
  });
});

describe('failed checks', () => {
  const failing = (base: Activities): Partial<Activities> => ({ ...base, verify: async () => failedRow });

  test('can be waived by name and reason, and only then; the lease goes on meanwhile', async () => {
    const { handle, journal } = await frozen({ replace: failing });
    const waive = (argument: unknown) => handle.executeUpdate('waive', { args: [argument] });
    const parked = await bench.until(handle, (status) => status.phase === 'parked');
    expect(parked.youCan.join()).toContain('waive');
    expect(parked.verification).toMatchObject({ failed: 1, failures: ['movies/documents: source 3, target 2'] });
    expect(journal.blocked).toEqual({ source: true, target: true });
    await expect(waive({ rows: ['movies/documents'], who: 'ana' })).rejects.toMatchObject({
      cause: { message: expect.stringContaining('"why"') as string },
    });
    await expect(waive({ rows: ['movies/mapping'], who: 'ana', why: 'known' })).rejects.toMatchObject({
      cause: { message: expect.stringContaining('Failed are: movies/documents') as string },
    });
    await waive({ rows: ['movies/doc*'], who: 'ana', why: 'a test document' });
    expect(((await handle.result()) as Report).verification).toMatchObject({ failed: 0, waived: 1 });
    expect(journal.calls).toContain('waive movies/doc* by ana');
    await recordHistory(bench.client, handle, 'migrate-waived');
  });

  test('cannot be waived before there are any', async () => {
    const { handle } = await frozen({ settings: { approval: true } });
    await bench.until(handle, (status) => status.phase === 'awaiting approval');
    await expect(
      handle.executeUpdate('waive', { args: [{ rows: ['a/b'], who: 'ana', why: 'go' }] }),
    ).rejects.toMatchObject({ cause: { message: expect.stringContaining('failed checks') as string } });
    await handle.signal('unfreeze-writes');
    await bench.until(handle, (status) => status.phase === 'between rounds');
  });
});

describe('a release', () => {
  test('by unfreeze-writes unblocks the source, leaves the target blocked, and never repeats by itself', async () => {
    const { handle, journal } = await frozen({ settings: { approval: true } });
    await bench.until(handle, (status) => status.phase === 'awaiting approval');
    await handle.signal('unfreeze-writes', { by: 'bo' });
    await bench.until(handle, (status) => status.phase === 'between rounds');
    expect(journal.blocked).toEqual({ source: false, target: true });
    expect(((await leaseOf(handle).result()) as LeaseResult).why).toContain('bo');
    await handle.signal('freeze-writes');
    await bench.until(handle, (status) => status.phase === 'awaiting approval');
    await recordHistory(bench.client, leaseOf(handle, 1), 'freeze-released');
    await handle.terminate();
    await leaseOf(handle, 2).signal('unfreeze-writes');
    await leaseOf(handle, 2).result();
    expect(journal.blocked.source).toBe(false);
  });

  test('asked for before the lease has begun means that nothing is ever blocked', async () => {
    let open: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => (open = resolve));
    const { handle, journal } = await frozen({
      replace: (base) => ({
        resolveScope: async (input) => {
          if (input.round > 0) await gate;
          return base.resolveScope(input);
        },
      }),
    });
    await bench.until(handle, (status) => status.phase === 'freezing');
    await handle.signal('unfreeze-writes');
    open();
    await bench.until(handle, (status) => status.phase === 'between rounds');
    expect(journal.calls).not.toContain('block source');
  });

  test('by the deadline cancels what the cutover is doing', async () => {
    const { handle, journal } = await frozen({ settings: { freezeAtMostMs: 1_500, approval: true } });
    const status = await bench.until(
      handle,
      (seen) => seen.phase === 'between rounds' && seen.notes.some((note) => note.includes('released')),
    );
    expect(status.notes.join('\n')).toContain('deadline');
    expect(journal.blocked).toEqual({ source: false, target: true });
    expect(journal.calls).not.toContain('unblock target');
  });

  test('follows an objection at the last check, and says which', async () => {
    const { handle, journal } = await frozen({
      replace: () => ({ recheckBeforeCommit: async () => ({ objections: ['movies: somebody removed the block'] }) }),
    });
    const status = await bench.until(handle, (seen) => seen.notes.some((note) => note.includes('released')));
    expect(status.notes.join('\n')).toContain('somebody removed the block');
    expect(journal.blocked).toEqual({ source: false, target: true });
  });

  test('follows a scope that changed during the freeze', async () => {
    let digest = 'one';
    const { handle, journal } = await frozen({
      scopeDigest: () => digest,
      replace: (base) => ({
        proveQuiescence: async (input) => {
          digest = 'two';
          return base.proveQuiescence(input);
        },
      }),
    });
    const status = await bench.until(handle, (seen) => seen.notes.some((note) => note.includes('released')));
    expect(status.notes.join('\n')).toContain('changed during the freeze');
    expect(journal.blocked.source).toBe(false);
  });

  test('follows writes that can not be blocked', async () => {
    const { handle, journal } = await frozen({
      replace: () => ({
        proveQuiescence: async () =>
          Promise.reject(ApplicationFailure.nonRetryable('a writer gets through', 'WritesNotBlocked')),
      }),
    });
    const status = await bench.until(handle, (seen) => seen.notes.some((note) => note.includes('released')));
    expect(status.notes.join('\n')).toContain('a writer gets through');
    expect(journal.blocked.source).toBe(false);
  });

  test('comes with abort, before the clean-up', async () => {
    const { handle, journal } = await frozen({ settings: { approval: true } });
    await bench.until(handle, (status) => status.phase === 'awaiting approval');
    await handle.signal('abort');
    await expect(handle.result()).rejects.toThrow();
    expect(journal.calls.indexOf('unblock source')).toBeGreaterThan(0);
    expect(journal.calls.indexOf('unblock source')).toBeLessThan(journal.calls.indexOf('clean up aborted'));
  });
});

test.each(['abort', 'unfreeze-writes'])(
  '%s that comes during the last check comes before the commit',
  async (message) => {
    const { handle, journal } = await frozen({
      replace: (base) => ({
        recheckBeforeCommit: async (input) => {
          await bench.client.workflow.getHandle(input.plan.migration).signal(message);
          // The migration has read the message before the check answers.
          await pause(1_000);
          return base.recheckBeforeCommit(input);
        },
      }),
    });
    while (!journal.calls.includes('block source')) await pause(20);
    expect(((await leaseOf(handle).result()) as LeaseResult).outcome).toBe('released');
    expect(journal.blocked).toEqual({ source: false, target: true });
    await handle.terminate().catch(() => undefined); // an aborted one is over
  },
);

describe('the lease', () => {
  test('repeats what only a person can mend until the source is unblocked', async () => {
    let refusals = 0;
    const { handle, journal } = await frozen({
      settings: { approval: true },
      replace: (base) => ({
        unblockWrites: async (input) => {
          refusals += 1;
          if (refusals === 1) throw ApplicationFailure.nonRetryable('the password was changed', 'Configuration');
          return base.unblockWrites(input);
        },
      }),
    });
    await bench.until(handle, (status) => status.phase === 'awaiting approval');
    await handle.signal('unfreeze-writes');
    expect(((await leaseOf(handle).result()) as LeaseResult).outcome).toBe('released');
    expect(journal.blocked.source).toBe(false);
    await bench.until(handle, (status) => status.phase === 'between rounds');
  });

  test('unblocks at its deadline although its parent was terminated', async () => {
    const { handle, journal } = await frozen({ settings: { freezeAtMostMs: 6_000, approval: true } });
    await bench.until(handle, (status) => status.phase === 'awaiting approval');
    await handle.terminate();
    expect(((await leaseOf(handle).result()) as LeaseResult).outcome).toBe('released');
    expect(journal.blocked).toEqual({ source: false, target: true });
  });

  test("unblocks at its deadline although its parent's workflow task fails again and again", async () => {
    const { handle, journal } = await frozen({
      settings: { freezeAtMostMs: 3_000 },
      // An answer that no real step gives: the parent's code trips over it in every attempt of the workflow task.
      replace: (base) => ({
        takeSnapshot: async (input) => (input.round > 0 ? (undefined as never) : base.takeSnapshot(input)),
      }),
    });
    while (!journal.calls.includes('block source')) await pause(20);
    expect(((await leaseOf(handle).result()) as LeaseResult).outcome).toBe('released');
    expect(journal.blocked).toEqual({ source: false, target: true });
    await handle.terminate();
  });

  test('that is terminated leaves word for the operator, and the migration goes on after retry', async () => {
    const { handle, journal } = await frozen({ settings: { approval: true } });
    await bench.until(handle, (status) => status.phase === 'awaiting approval');
    await leaseOf(handle).terminate();
    const parked = await bench.until(handle, (status) => status.phase === 'parked');
    expect(parked.parked?.why).toContain('npx snapferry unfreeze');
    expect(journal.blocked.target).toBe(true);
    await handle.signal('retry');
    await bench.until(handle, (status) => status.phase === 'between rounds');
  });

  test('tells only the run that started it, and no later one of the same id', async () => {
    let open: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => (open = resolve));
    const { handle, journal } = await frozen({
      replace: (base) => ({
        proveQuiescence: async (input) => {
          await gate;
          return base.proveQuiescence(input);
        },
      }),
    });
    while (!journal.calls.includes('block source')) await pause(20);
    await handle.terminate();
    const later = await bench.migrate(undefined, undefined, handle.workflowId);
    await bench.until(later, (status) => status.totals.rounds === 1);
    open();
    while (!journal.calls.includes('quiescent')) await pause(20);
    await leaseOf(handle).signal('unfreeze-writes');
    await leaseOf(handle).result();
    const { events = [] } = await later.fetchHistory();
    const signals = (events ?? []).flatMap((event) => event.workflowExecutionSignaledEventAttributes?.signalName ?? []);
    expect(signals).not.toContain('quiescent');
    await later.terminate();
  });

  test('is not started by hand without input', async () => {
    await bench.work(fakeActivities().activities);
    const handle = await bench.migrate([], 'freeze');
    await expect(handle.result()).rejects.toThrow();
  });
});

describe('a race between commit and deadline', () => {
  /** The lease alone, quiescent, with no worker alive. */
  async function leaseAsleep(freezeAtMostMs: number) {
    const { activities, journal } = fakeActivities();
    await bench.work(activities);
    const plan = { migration: 'nobody', firstRunId: 'f', store: 's', storeFingerprint: 'f', prefix: 'p', digest: 'd' };
    const handle = await bench.migrate(
      [{ plan, freeze: 1, scope: { round: 1, attempt: 1 }, freezeAtMostMs, by: undefined, searchAttributes: [] }],
      'freeze',
    );
    while (!journal.calls.includes('quiescent')) await pause(20);
    await pause(300);
    await bench.stopWorkers();
    return { handle, journal, activities };
  }

  test('is won by a commit that came first, however late the worker reads it', async () => {
    const { handle, journal, activities } = await leaseAsleep(2_500);
    await handle.signal('commit', { at: Date.now() });
    await pause(3_000);
    await bench.work(activities);
    expect(((await handle.result()) as LeaseResult).outcome).toBe('committed');
    expect(journal.blocked.source).toBe(true);
  });

  test('is won by a deadline that came first, however early the worker reads the commit', async () => {
    const { handle, journal, activities } = await leaseAsleep(1_000);
    await pause(1_500);
    await handle.signal('commit', { at: Date.now() });
    await bench.work(activities);
    expect(((await handle.result()) as LeaseResult).outcome).toBe('released');
    expect(journal.blocked.source).toBe(false);
  });

  test('an unfreeze-writes after the commit changes nothing', async () => {
    const { handle, activities } = await leaseAsleep(60_000);
    await handle.signal('commit');
    await handle.signal('unfreeze-writes');
    await bench.work(activities);
    expect(((await handle.result()) as LeaseResult).outcome).toBe('committed');
  });
});

describe('after commit', () => {
  let broken: boolean;
  const parkedAtAliases = async () => {
    broken = true;
    const found = await frozen({
      replace: (base) => ({
        switchAliases: async (input) =>
          broken
            ? Promise.reject(ApplicationFailure.nonRetryable('alias is a stranger', 'Configuration'))
            : base.switchAliases(input),
      }),
    });
    await bench.until(found.handle, (status) => status.phase === 'parked');
    return found;
  };

  test.each(['abort', 'cancel'])('%s stops where it is, undoes nothing, and says so', async (end) => {
    const { handle, journal } = await parkedAtAliases();
    await (end === 'abort' ? handle.signal('abort') : handle.cancel());
    const error = (await handle.result().catch((reason: unknown) => reason)) as WorkflowFailedError;
    const sentence = /after the commit.*nothing is undone, the source stays blocked/;
    // Temporal keeps no message of a cancelled workflow: there, as in the report, it is a note.
    if (end === 'abort') expect(error.cause?.message).toMatch(sentence);
    expect((await bench.status(handle)).notes.join('\n')).toMatch(sentence);
    expect(journal.blocked).toEqual({ source: true, target: false });
    expect(journal.calls).not.toContain('aliases');
    expect(journal.calls.slice(-1)[0]).toMatch(/^report (aborted|cancelled)$/);
  });

  test('settings that the plan keeps come back once the aliases are switched; what does not is told', async () => {
    const { handle, journal } = await frozen({ settings: { keepsSettings: true } });
    expect(((await handle.result()) as Report).outcome).toBe('done');
    expect(journal.calls.indexOf('settings')).toBe(journal.calls.indexOf('aliases') + 1);
    expect((await bench.status(handle)).notes.join()).toContain('setting index.codec did not come back');
  });

  test('unfreeze-writes changes nothing, and what fails is repeated until it succeeds', async () => {
    const { handle, journal } = await parkedAtAliases();
    await handle.signal('unfreeze-writes');
    broken = false;
    await handle.signal('retry');
    expect(((await handle.result()) as Report).outcome).toBe('done');
    expect(journal.calls).not.toContain('unblock source');
  });
});

describe("the target's own throttle", () => {
  test.each([
    ['put back when it was raised', () => Promise.resolve({ recovery: '40mb' })],
    ['put back too when nobody knows whether it was raised', () => Promise.reject(refused)],
  ])('is %s', async (_, raiseThrottle) => {
    const { handle, journal } = await frozen({
      settings: { changesThrottle: true },
      replace: () => ({ raiseThrottle }),
    });
    await handle.result();
    expect(journal.calls.indexOf('read throttle')).toBeLessThan(journal.calls.indexOf('scope 0'));
    expect(journal.calls).toContain('clean up done, throttle put back');
  });
  const refused = ApplicationFailure.nonRetryable('the service refuses it', 'Configuration');
});
