import { WorkflowFailedError } from '@temporalio/client';
import type { WorkflowHandle } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import type { Report } from '../../../src/domain/exchange';
import { fakeActivities } from '../../support/fake-activities';
import type { FakeOptions } from '../../support/fake-activities';
import { recordHistory, TemporalBench, testServers } from '../../support/temporal';

let bench: TemporalBench;

beforeEach(async () => {
  bench = await TemporalBench.connect(testServers().temporal);
});
afterEach(() => bench.close());

async function started(options: FakeOptions = {}) {
  const { activities, journal } = fakeActivities(options);
  await bench.work(activities);
  const handle = await bench.migrate();
  return { handle, journal };
}

const failureOf = async (handle: WorkflowHandle): Promise<Error> => {
  const error: unknown = await handle.result().then(
    () => new Error('it completed'),
    (reason: unknown) => reason,
  );
  return error instanceof WorkflowFailedError ? (error.cause as Error) : (error as Error);
};

const unavailable = () =>
  ApplicationFailure.create({ type: 'Unavailable', message: 'nobody answers', nonRetryable: true });
const final = (message: string) => ApplicationFailure.nonRetryable(message, 'Configuration');

describe('a migration', () => {
  test('is preflight, baseline, rounds until freeze-writes, cutover, report', async () => {
    const { handle, journal } = await started();
    await bench.until(handle, (status) => status.totals.rounds >= 2);
    await handle.signal('freeze-writes', { by: 'ana' });
    const report = (await handle.result()) as Report;
    expect(report.outcome).toBe('done');
    expect(report.rounds.at(-1)?.final).toBe(true);
    expect(report.freezeWindow?.totalMs).toBeGreaterThan(0);
    const cutover = journal.calls.slice(journal.calls.indexOf('block source'));
    const lastRound = report.rounds.at(-1)?.round as number;
    expect(cutover.filter((call) => !call.startsWith('copy'))).toEqual([
      'block source',
      'quiescent',
      `scope ${lastRound}`,
      `snapshot ${lastRound} under block`,
      `plan ${lastRound}`,
      `publish ${lastRound}`,
      `restore ${lastRound}`,
      'fingerprints',
      'replicas before',
      'verify',
      'recheck',
      'outcome committed',
      'unblock target',
      'aliases',
      'confirm source',
      'confirm published',
      'clean up done',
      'report done',
    ]);
    expect(journal.blocked).toEqual({ source: true, target: false });
    await recordHistory(bench.client, handle, 'migrate-cutover');
    await recordHistory(
      bench.client,
      bench.client.workflow.getHandle(`${handle.workflowId}/freeze-1`),
      'freeze-committed',
    );
  });

  test('begins a freeze that is asked for during the baseline when the baseline is done', async () => {
    const { activities, journal } = fakeActivities();
    const handle = await bench.migrate();
    await handle.signal('freeze-writes');
    await bench.work(activities);
    await handle.result();
    expect(journal.calls.indexOf('publish 0')).toBeLessThan(journal.calls.indexOf('block source'));
    expect(journal.calls.filter((call) => call === 'block source')).toHaveLength(1);
  });

  test('runs one round, not many, for many run-round signals', async () => {
    const { handle, journal } = await started({ settings: { everyMs: 3_600_000 } });
    await bench.until(handle, (status) => status.totals.rounds === 1);
    for (let i = 0; i < 5; i += 1) await handle.signal('run-round');
    await bench.until(handle, (status) => status.totals.rounds === 2);
    await new Promise((resolve) => setTimeout(resolve, 700));
    expect(journal.calls.filter((call) => call.startsWith('snapshot')).length).toBeLessThanOrEqual(3);
  });

  test('pauses when rounds.atMost is reached and still obeys freeze-writes', async () => {
    const { handle } = await started({ settings: { atMost: 1, everyMs: 10 } });
    await bench.until(handle, (status) => status.totals.rounds === 1 && status.phase === 'between rounds');
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect((await bench.status(handle)).totals.rounds).toBe(1);
    await handle.signal('freeze-writes');
    expect(((await handle.result()) as Report).totals.rounds).toBe(2);
  });

  test('is not stopped by search attributes that nobody registered', async () => {
    const { handle } = await started({ settings: { searchAttributes: [] } });
    await bench.until(handle, (status) => status.totals.rounds >= 1);
  });
});

describe('a wrong start', () => {
  test.each([
    ['two arguments', [{}, {}]],
    ['a string', ['plan.json']],
    ['nothing', []],
    ['a list', [[1]]],
  ])('with %s ends at once with a sentence', async (_, args) => {
    await bench.work(fakeActivities().activities);
    const error = await failureOf(await bench.migrate(args));
    expect(error.message).toMatch(/migrate takes one JSON object, the plan/);
  });

  test('of a mistyped workflow type ends at once and names the right one', async () => {
    await bench.work(fakeActivities().activities);
    expect((await failureOf(await bench.migrate([{}], 'migratee'))).message).toMatch(/'migratee'.*start 'migrate'/);
  });

  test('with a refused plan fails with the reason and has touched nothing', async () => {
    const { handle, journal } = await started({
      replace: () => ({ preflight: async () => Promise.reject(final('indices: matches nothing')) }),
    });
    const error = await failureOf(handle);
    expect(error.message).toContain('matches nothing');
    expect(journal.calls).toEqual(['give claims back']);
  });

  test('a mistyped signal is noted and stops nothing', async () => {
    const { handle } = await started({ settings: { everyMs: 3_600_000 } });
    await bench.until(handle, (status) => status.totals.rounds === 1);
    await handle.signal('freeze-wirtes');
    await bench.until(handle, (status) => status.notes.some((note) => note.includes("'freeze-wirtes' is unknown")));
    await handle.signal('freeze-writes');
    await handle.result();
  });

  test.each([
    ['quiescent', [null, 7, { freeze: 1 }, { freeze: 1, deadline: 'soon' }]],
    ['progress', [null, 'fast', { round: 1 }]],
  ])('an internal signal %s typed by hand stops nothing', async (name, odd) => {
    const { handle } = await started({ settings: { everyMs: 3_600_000 } });
    await bench.until(handle, (status) => status.totals.rounds === 1);
    for (const argument of odd) await handle.signal(name, argument);
    await handle.signal(name);
    await handle.signal('freeze-writes');
    await handle.result();
  });
});

describe('rounds.window', () => {
  const window = { from: '22:00', to: '06:00', timeZone: 'Asia/Singapore' };

  test('keeps the baseline and rounds until it opens, says so, and not what is asked for', async () => {
    let opensIn = 3_600_000;
    const { handle, journal } = await started({
      settings: { window },
      replace: () => ({
        nextOpening: async ({ at }) => ({ opensAt: at + opensIn, closesAt: at + opensIn + 3_600_000 }),
      }),
    });
    const waiting = await bench.until(handle, ({ nextRound }) => nextRound !== undefined);
    expect(waiting).toMatchObject({ phase: 'between rounds', roundsStart: 'from 22:00 to 06:00 Asia/Singapore' });
    expect(Date.parse(waiting.nextRound ?? '') - Date.now()).toBeGreaterThan(3_000_000);
    expect(journal.calls).toEqual(['preflight']);
    opensIn = 1_000;
    await handle.signal('run-round');
    // The next window opens in a second, and rounds go on by themselves.
    await bench.until(handle, ({ totals }) => totals.rounds >= 2);
    opensIn = 3_600_000;
    await handle.signal('freeze-writes');
    const { rounds } = (await handle.result()) as Report;
    expect(rounds.at(-1)?.final).toBe(true);
  });
});

describe('exclude', () => {
  const asked = { index: 'logs', who: 'ana', why: 'it is red' };
  const refusal = (text: string) => ({ cause: { message: expect.stringContaining(text) as string } });

  test('takes an index out for good: once, told in status, and carried over continue-as-new', async () => {
    const { handle, journal } = await started();
    await bench.until(handle, (status) => status.totals.rounds === 1);
    expect(await handle.executeUpdate('exclude', { args: [asked] })).toContain("'logs' stays on the source");
    await handle.executeUpdate('exclude', { args: [{ ...asked, why: 'again' }] });
    const { totals } = await bench.status(handle);
    const { excluded, notes } = await bench.until(handle, (status) => status.totals.rounds > totals.rounds + 1);
    expect(excluded).toEqual(['logs by ana: it is red']);
    expect(notes.filter((note) => note.includes("index 'logs' was excluded by ana"))).toHaveLength(1);
    expect(journal.calls).not.toContain('unblock excluded');
    await handle.terminate();
  });

  test('ends the park of a round whose new index is refused', async () => {
    let refused = true;
    const { handle } = await started({
      settings: { everyMs: 50 },
      replace: (base) => ({
        resolveScope: async (input) => {
          if (input.round === 0 || !refused) return base.resolveScope(input);
          throw final("Index 'logs' lies in UltraWarm: return it to hot storage");
        },
        excludeIndex: async (input) => {
          refused = false;
          return base.excludeIndex(input);
        },
      }),
    });
    const { parked } = await bench.until(handle, (status) => status.phase === 'parked');
    expect(parked).toMatchObject({ step: 'scope of round 1', why: expect.stringContaining('UltraWarm') as string });
    await handle.executeUpdate('exclude', { args: [asked] });
    await handle.signal('retry');
    await bench.until(handle, (status) => status.totals.rounds >= 2);
    await handle.terminate();
  });

  test('tells what is wrong: without words, with a pattern, and for what the scope does not hold', async () => {
    const { handle } = await started({
      settings: { everyMs: 3_600_000 },
      replace: () => ({
        excludeIndex: async () => {
          throw ApplicationFailure.nonRetryable("Index 'logs' is not in scope", 'Configuration');
        },
      }),
    });
    await bench.until(handle, (status) => status.totals.rounds === 1);
    for (const odd of [
      undefined,
      'logs',
      {},
      { ...asked, index: 'logs-*' },
      { ...asked, why: ' ' },
      { ...asked, who: 7 },
    ]) {
      await expect(handle.executeUpdate('exclude', { args: [odd] })).rejects.toMatchObject(refusal('exclude takes'));
    }
    await expect(handle.executeUpdate('exclude', { args: [asked] })).rejects.toMatchObject(refusal('not in scope'));
    expect((await bench.status(handle)).excluded).toBeUndefined();
    await handle.terminate();
  });
});

describe('a freeze that is asked for while a snapshot runs on the source', () => {
  test('waits for its end while rounds go on, and status says why', async () => {
    let why: string | undefined = "snapshot 'nightly' of repository 'theirs' runs";
    const { handle, journal } = await started({
      replace: () => ({ obstacleToFreeze: async () => (why === undefined ? {} : { why }) }),
    });
    await handle.signal('freeze-writes');
    const waiting = await bench.until(handle, ({ notes }) => notes.some((note) => note.includes("'nightly'")));
    await bench.until(handle, (status) => status.totals.rounds > waiting.totals.rounds + 1);
    expect(journal.calls).not.toContain('record 1');
    why = undefined;
    expect(((await handle.result()) as Report).outcome).toBe('done');
  });

  test('is withdrawn by unfreeze-writes, and does not begin when the source does not answer', async () => {
    const { handle, journal } = await started({
      replace: () => ({ obstacleToFreeze: async () => Promise.reject(unavailable()) }),
    });
    await handle.signal('freeze-writes');
    await bench.until(handle, ({ notes }) => notes.some((note) => note.includes('nobody answers')));
    await handle.signal('unfreeze-writes');
    await bench.until(handle, ({ youCan }) => youCan.some((text) => text.includes('`freeze-writes`')));
    expect(journal.calls).not.toContain('record 1');
    await handle.terminate();
  });
});

describe('failures', () => {
  test('retry repeats the step that parked, and no other', async () => {
    let broken = true;
    const { handle, journal } = await started({
      settings: { everyMs: 3_600_000 },
      replace: (base) => ({
        publish: async (input) => (broken ? Promise.reject(final('denied')) : base.publish(input)),
      }),
    });
    expect((await bench.until(handle, (seen) => seen.phase === 'parked')).parked?.step).toBe('publish of baseline');
    broken = false;
    await handle.signal('retry');
    await bench.until(handle, (seen) => seen.totals.rounds === 1);
    expect(journal.calls.filter((call) => !call.startsWith('copy'))).toEqual([
      'preflight',
      'scope 0',
      'snapshot 0',
      'plan 0',
      'publish 0',
      'restore 0',
    ]);
  });

  test('after a failed snapshot of the last round, retry takes another', async () => {
    const names: string[] = [];
    const { handle } = await started({
      settings: { everyMs: 3_600_000 },
      replace: (base) => ({
        takeSnapshot: async (input) => {
          names.push(input.snapshot);
          if (names.length === 2) throw ApplicationFailure.nonRetryable('PARTIAL', 'SnapshotIncomplete');
          return base.takeSnapshot(input);
        },
      }),
    });
    await bench.until(handle, (seen) => seen.totals.rounds === 1);
    await handle.signal('freeze-writes');
    await bench.until(handle, (seen) => seen.phase === 'parked');
    await handle.signal('retry');
    await handle.result();
    expect(new Set(names).size).toBe(3);
  });

  test('a final one parks, says what to do, and retry goes on', async () => {
    let broken = true;
    const { handle } = await started({
      replace: (base) => ({
        restore: async (input) => (broken ? Promise.reject(final('disk full: free some')) : base.restore(input)),
      }),
    });
    const status = await bench.until(handle, (seen) => seen.phase === 'parked');
    expect(status.parked?.why).toContain('disk full');
    expect(status.youCan[0]).toContain('`retry`');
    const { runId } = await handle.describe();
    broken = false;
    await handle.signal('retry');
    await bench.until(handle, (seen) => seen.totals.rounds >= 1);
    await recordHistory(bench.client, handle, 'migrate-parked', runId);
  });

  test('a passing one gives the round up and the next interval tries again; three in a row park', async () => {
    let failures = 0;
    const { handle } = await started({
      settings: { everyMs: 50 },
      replace: (base) => ({
        takeSnapshot: async (input) => {
          if (input.round !== 1 || failures >= 3) return base.takeSnapshot(input);
          failures += 1;
          throw ApplicationFailure.nonRetryable('PARTIAL', 'SnapshotIncomplete');
        },
      }),
    });
    const status = await bench.until(handle, (seen) => seen.phase === 'parked');
    expect(status.totals.givenUp).toBe(3);
    await handle.signal('retry');
    await bench.until(handle, (seen) => seen.totals.rounds >= 2);
  });

  test('what a step waited for its next attempt is told apart from what it worked', async () => {
    let failures = 0;
    const { handle } = await started({
      replace: (base) => ({
        restore: async (input) => {
          failures += 1;
          if (failures > 1) return { ...(await base.restore(input)), workedMs: 5 };
          throw ApplicationFailure.create({ type: 'Unavailable', message: 'busy', nextRetryDelay: '3s' });
        },
      }),
    });
    await bench.until(handle, (seen) => seen.totals.rounds >= 1);
    await handle.signal('freeze-writes');
    const [baseline] = ((await handle.result()) as Report).rounds;
    expect(baseline?.steps['restore']).toBeGreaterThan(3_000);
    expect(baseline?.waited?.['restore']).toBeGreaterThan(1_900);
    expect(Object.keys(baseline?.waited ?? {})).toEqual(['restore']);
  });

  test('a repository that changed is planned again with a new snapshot', async () => {
    const snapshots = new Set<string>();
    let published = 0;
    const { handle } = await started({
      settings: { everyMs: 3_600_000 },
      replace: (base) => ({
        takeSnapshot: async (input) => {
          snapshots.add(input.snapshot);
          return base.takeSnapshot(input);
        },
        publish: async (input) => {
          published += 1;
          if (published === 1) throw ApplicationFailure.nonRetryable('a snapshot is gone', 'RepositoryChanged');
          return base.publish(input);
        },
      }),
    });
    await bench.until(handle, (seen) => seen.totals.rounds === 1);
    expect(snapshots.size).toBe(2);
  });

  test('a park for unavailability ends by itself after the interval', async () => {
    let failures = 0;
    const { handle } = await started({
      settings: { everyMs: 60 },
      replace: (base) => ({
        publish: async (input) => {
          if (input.round !== 1 || failures >= 4) return base.publish(input);
          failures += 1;
          throw unavailable();
        },
      }),
    });
    await bench.until(handle, (seen) => seen.totals.rounds >= 2);
  });
});

describe('ends', () => {
  test('abort fails as Aborted, after clean-up, naming the place of the report', async () => {
    const { handle, journal } = await started({ settings: { everyMs: 3_600_000 } });
    await bench.until(handle, (status) => status.totals.rounds === 1);
    await handle.signal('abort');
    const error = await failureOf(handle);
    expect((error as ApplicationFailure).type).toBe('Aborted');
    expect(error.message).toContain('s/work/report.json');
    expect(journal.calls.slice(-2)).toEqual(['clean up aborted', 'report aborted']);
  });

  test("Temporal's Cancel in the middle of a transfer waits for the child and ends as Cancelled", async () => {
    let begun = false;
    let stopped = false;
    const { handle, journal } = await started({
      replace: () => ({
        copyBatch: async () => {
          begun = true;
          const { Context } = await import('@temporalio/activity');
          const beat = setInterval(() => Context.current().heartbeat(), 100);
          try {
            return await Context.current().cancelled;
          } finally {
            clearInterval(beat);
            stopped = true;
          }
        },
      }),
    });
    await bench.until(handle, () => begun);
    await handle.cancel();
    const error = await failureOf(handle);
    expect(error.name).toBe('CancelledFailure');
    expect((await handle.describe()).memo).toEqual({ report: 's/work/report.json' });
    expect((await bench.status(handle)).notes.join('\n')).toContain('s/work/report.json');
    expect(stopped).toBe(true);
    expect(journal.calls.slice(-2)).toEqual(['clean up cancelled', 'report cancelled']);
  });

  test('a second freeze-writes, retry and unfreeze-writes at odd moments change nothing', async () => {
    const { handle, journal } = await started({ settings: { everyMs: 3_600_000 } });
    await handle.signal('retry');
    await handle.signal('unfreeze-writes', null);
    await handle.signal('freeze-writes', 'nonsense');
    await handle.signal('freeze-writes');
    await handle.result();
    expect(journal.calls.filter((call) => call === 'block source')).toHaveLength(1);
  });
});
