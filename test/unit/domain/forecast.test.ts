import type { PlanRef, RoundSummary, Settings } from '../../../src/domain/exchange';
import { forecast, forecastSentence } from '../../../src/domain/forecast';
import { decideFreeze, firstState, FREEZE_REQUEST_TTL_MS, KEPT_ROUNDS, withRound } from '../../../src/domain/state';
import { lastRestored } from '../../../src/domain/rounds';
import type { MigrationState } from '../../../src/domain/state';

const MINUTE = 60_000;
const GB = 1_000_000_000;

const settings = (changes: Partial<Settings> = {}): Settings => ({
  ...{ source: 'a', target: 'b', everyMs: 15 * MINUTE, atMost: undefined, restoreEveryRound: true },
  ...{ freezeAtMostMs: 20 * MINUTE, approval: true, replicas: 'after', verify: 'counts', switchAliases: true },
  limits: {},
  searchAttributes: [],
  ...changes,
});

/** A link of 100 MB/s for everything, and 10 s of fixed work per round. */
const round = (number: number, startedAt: number, sent: number, changes: Partial<RoundSummary> = {}): RoundSummary => {
  const steps = { scope: 1_000, snapshot: 3_000 + sent / 1e5, plan: 2_000, transfer: sent / 1e5, publish: 1_000 };
  const all = { ...steps, restore: 3_000 + sent / 1e5 };
  const took = Object.values(all).reduce((sum, ms) => sum + ms, 0);
  return {
    ...{
      round: number,
      attempt: 1,
      snapshot: 's',
      final: false,
      outcome: 'done',
      startedAt,
      endedAt: startedAt + took,
    },
    ...{ indices: 10, blobs: 9, bytes: 1_000 * GB, sentBlobs: 9, sentBytes: sent, restoredBytes: 1_000 * GB },
    ...{ reusedBytes: 1_000 * GB - sent, fetchBytes: sent, replicaBytes: 0, steps: all },
    ...changes,
  };
};

/** Writes of 1 GB a minute: after the baseline of hours each round is of what the one before took. */
const rounds = (minutes: readonly number[], changes: Partial<RoundSummary> = {}): RoundSummary[] => {
  let at = 0;
  return minutes.map((since, number) => {
    at += since * MINUTE;
    return round(number, at, number === 0 ? 1_000 * GB : since * GB, changes);
  });
};

const state = (all: readonly RoundSummary[], changes: Partial<Settings> = {}): MigrationState => ({
  ...firstState({} as PlanRef, settings(changes), [], 0),
  rounds: all,
  nextRound: all.length,
});
const after = (all: readonly RoundSummary[]) => all.at(-1)?.endedAt ?? 0;

test('there is none before a round has been measured', () => {
  expect(forecast(state([]), 0)).toBeUndefined();
  expect(forecast(state(rounds([0])), 0)).toBeUndefined();
});

test('it is the length of the window that follows, with its band around it', () => {
  const all = rounds([0, 60, 20, 15]);
  const now = after(all) + 5 * MINUTE;
  const seen = forecast(state(all), now);
  const written = ((now - (all.at(-1)?.startedAt ?? 0)) / MINUTE) * GB;
  const actual = 10_000 + (3 * written) / 1e5 + 1_900;
  expect(seen?.sendBytes).toBeCloseTo(written, -8);
  expect(Math.abs((seen?.windowMs ?? 0) - actual) / actual).toBeLessThan(0.1);
  expect(seen?.lowMs).toBeLessThan(actual);
  expect(seen?.highMs).toBeGreaterThan(actual);
});

test('one round alone gives a wider band than several alike', () => {
  const band = (minutes: readonly number[]) => {
    const all = rounds(minutes);
    const seen = forecast(state(all), after(all));
    return (seen?.highMs ?? 0) / (seen?.windowMs ?? 1);
  };
  expect(band([0, 15])).toBeCloseTo(1.4);
  expect(band([0, 15, 15, 15])).toBeCloseTo(1.25);
});

describe('it counts', () => {
  const all = rounds([0, 15, 15, 15], { replicaBytes: 40 * GB });
  const at = (changes: Partial<Settings>, more: Partial<MigrationState> = {}) =>
    forecast({ ...state(all, changes), ...more }, after(all))?.windowMs ?? 0;

  test('copies of the primaries where they come before', () => {
    expect(at({ replicas: 'before' }) - at({ replicas: 'after' })).toBeCloseTo(1_000_050, -1);
  });

  test('reading everything where all of it is compared', () => {
    expect(at({ verify: 'full' }) - at({ verify: 'counts' })).toBeCloseTo((1_000 * 1_000 * GB) / 1e7, -3);
  });

  test('the documents that may be read in a second, where that takes longer', () => {
    const many = rounds([0, 15, 15, 15], { documents: 1_000_000_000 });
    const limited = (verify: Settings['verify'], verifyDocumentsPerSecond?: number) => {
      const slow = { ...state(many, { verify }), limits: { verifyDocumentsPerSecond } };
      return forecast(slow, after(many))?.windowMs ?? 0;
    };
    const seconds = (verify: Settings['verify'], limit: number) => (limited(verify, limit) - limited('counts')) / 1_000;
    expect(seconds('full', 5_000)).toBeCloseTo(1_000_000_000 / 5_000);
    // Bytes are the slower ones.
    expect(limited('full', 1_000_000)).toBe(limited('full'));
    // Ten indices, five places each.
    expect(seconds('counts+sample', 100)).toBeCloseTo((10 * 5 * 40) / 100);
    expect(limited('counts', 1)).toBe(limited('counts'));
    expect(limited('counts+sample')).toBe(limited('counts'));
  });

  test('what an earlier freeze has measured instead of what is assumed', () => {
    const measured = { freezeSteps: { verify: 90_000, quiescence: 500 } };
    expect(at({}, measured) - at({})).toBeCloseTo(90_000 - 550, -1);
  });
});

test('where only the baseline was restored, it is remembered for as long as it takes, and its restore with it', () => {
  const [baseline, ...others] = rounds([0, 60, ...Array.from({ length: 2 * KEPT_ROUNDS }, () => 15)]);
  const unrestored = others.map((one, at) => {
    const steps = Object.fromEntries(Object.entries(one.steps).filter(([step]) => step !== 'restore'));
    return { ...one, steps, restoredBytes: 0, reusedBytes: 0, fetchBytes: (at + 1) * GB };
  });
  const first = firstState({} as PlanRef, settings({ restoreEveryRound: false }), [], 0);
  const late = [baseline as RoundSummary, ...unrestored].reduce(withRound, first);
  expect(late.rounds).toHaveLength(KEPT_ROUNDS);
  expect(lastRestored(late.rounds)?.round).toBe(0);
  // 100 GB at 100 MB/s: a window without its restore would be seconds.
  expect(forecast(late, after(late.rounds))?.windowMs).toBeGreaterThan(1_000_000);
});

test('the target fetches more than is sent where its grouping rule says so', () => {
  const all = rounds([0, 15, 15, 15]).map((one) => ({ ...one, fetchBytes: one.sentBytes * 10 }));
  const seen = forecast(state(all), after(all));
  expect((seen?.fetchBytes ?? 0) / (seen?.sendBytes ?? 1)).toBeCloseTo(10);
});

describe('a step that was kept waiting does not inflate it:', () => {
  const HOUR = 60 * MINUTE;
  /** The named rounds with a step that waited, by the clock and in the measure. */
  const waited = (all: readonly RoundSummary[], step: string, which: readonly number[], ms = HOUR) => {
    let later = 0;
    return all.map((one) => {
      const startedAt = one.startedAt + later;
      if (which.includes(one.round)) later += ms;
      const steps = which.includes(one.round) ? { ...one.steps, [step]: (one.steps[step] ?? 0) + ms } : one.steps;
      return { ...one, steps, startedAt, endedAt: one.endedAt + later };
    });
  };
  /** As a factor of what it is where nothing waited, with as much written since. */
  const inflated = (all: readonly RoundSummary[], seen: readonly RoundSummary[], sinceMs: number) => {
    const at = (rounds: readonly RoundSummary[]) =>
      forecast(state(rounds), (rounds.at(-1)?.startedAt ?? 0) + sinceMs) ?? { windowMs: 0, highMs: 0 };
    return { window: at(seen).windowMs / at(all).windowMs, high: at(seen).highMs / at(all).highMs };
  };

  test.each([
    ['the scope of one of two rounds', [0, 15, 15], 'scope', [2]],
    ['the snapshot of the newest of three', [0, 15, 15, 15], 'snapshot', [3]],
    ['the transfer of one of two rounds', [0, 15, 15], 'transfer', [1]],
    ['the transfer of three of seven rounds', [0, 15, 15, 15, 15, 15, 15, 15], 'transfer', [2, 5, 7]],
    ['the restore of the newest of three', [0, 15, 15, 15], 'restore', [3]],
    ['the restore of one of four', [0, 15, 15, 15, 15], 'restore', [2]],
  ] as const)('%s', (_, minutes, step, which) => {
    const all = rounds(minutes);
    for (const sinceMs of [5 * MINUTE, 30 * MINUTE]) {
      const { window, high } = inflated(all, waited(all, step, which), sinceMs);
      expect(window).toBeGreaterThan(0.6);
      expect(window).toBeLessThan(1.4);
      expect(high).toBeLessThan(1.4);
    }
  });

  test.each(['transfer', 'restore', 'snapshot'])('the %s of the baseline, for days', (step) => {
    const all = rounds([0, 15, 15, 15]);
    const { window } = inflated(all, waited(all, step, [0], 72 * HOUR), 30 * MINUTE);
    expect(window).toBeGreaterThan(0.6);
    expect(window).toBeLessThan(1.4);
  });

  test('a transfer under a limit that is gone, and one without the limit that is there now', () => {
    const all = rounds([0, 15, 15, 15, 15]);
    const limit = 1_000_000;
    const slow = (one: RoundSummary) => ({ ...one, limit, steps: { ...one.steps, transfer: one.sentBytes / 1e3 } });
    const night = all.map((one) => (one.round === 2 || one.round === 3 ? slow(one) : one));
    expect(inflated(all, night, 15 * MINUTE).window).toBeCloseTo(1, 1);
    const now = after(night);
    const limited = forecast({ ...state(night), limits: { bytesPerSecond: limit } }, now);
    expect(limited?.windowMs).toBeGreaterThan((limited?.sendBytes ?? 0) / 1e3);
    // A limit that no round has run under yet: all that is known.
    const unknown = forecast({ ...state(night), limits: { bytesPerSecond: 7 } }, now);
    expect(unknown?.windowMs).toBeGreaterThan(0);
  });

  test.each(['scope', 'snapshot', 'plan', 'transfer', 'publish', 'restore'])(
    'the %s of the only round, when it is known to have waited',
    (step) => {
      const all = rounds([0, 15]);
      const seen = waited(all, step, [1]).map((one) => (one.round === 1 ? { ...one, waited: { [step]: HOUR } } : one));
      for (const sinceMs of [5 * MINUTE, 30 * MINUTE]) expect(inflated(all, seen, sinceMs).high).toBeCloseTo(1);
    },
  );

  test('a freeze is not held for the only round, which waited an hour for a worker', () => {
    const all = waited(rounds([0, 15]), 'restore', [1]);
    const request = { at: 0, by: undefined, whenReady: true, force: false };
    const decided = (seen: readonly RoundSummary[]) =>
      decideFreeze({ ...state(seen), freezeRequest: request }, (all[1]?.startedAt ?? 0) + 5 * MINUTE).kind;
    expect(decided(all)).toBe('held');
    expect(decided(all.map((one) => (one.round === 1 ? { ...one, waited: { restore: HOUR } } : one)))).toBe('begin');
  });

  test('a freeze is not held for one round that took an hour longer', () => {
    const all = waited(rounds([0, 15, 15, 15, 15]), 'restore', [3]);
    const request = { at: 0, by: undefined, whenReady: true, force: false };
    expect(decideFreeze({ ...state(all), freezeRequest: request }, after(all)).kind).toBe('begin');
  });

  test('rounds that do differ widen the band', () => {
    const all = rounds([0, 5, 60, 10, 40]);
    const { highMs = 0, windowMs = 1 } = forecast(state(all), after(all)) ?? {};
    expect(highMs / windowMs).toBeGreaterThan(1.5);
  });
});

describe('the advice', () => {
  const advice = (all: readonly RoundSummary[], wait = 0, changes: Partial<Settings> = {}) => {
    const seen = forecast(state(all, changes), after(all) + wait);
    if (seen === undefined) throw new Error('no forecast');
    expect(forecastSentence(seen)).toContain(seen.advice.sentence);
    return seen.advice;
  };

  test('is to freeze now when a round would save little', () => {
    expect(advice(rounds([0, 15, 1, 1])).kind).toBe('freeze now');
  });

  test('is one more round, and what it saves, when much was written since', () => {
    expect(advice(rounds([0, 15, 15, 15]), 60 * MINUTE)).toMatchObject({
      kind: 'one more round',
      sentence: expect.stringMatching(/^one more round saves about \d+/) as string,
    });
  });

  test('is that it will not converge, when merges send half of everything in every round', () => {
    const heaviest = { pattern: 'logs-*', bytes: 100 * GB, sentBytes: 60 * GB };
    const all = rounds([0, 15, 15, 15], { bytes: 20 * GB, heaviest });
    expect(advice(all, 0, { freezeAtMostMs: MINUTE })).toEqual({
      kind: 'will not converge',
      sentence: 'will not converge: merges re-send 60 % of logs-*; freezeAtMost is 1 min',
    });
  });

  test('is more time or fewer indices, when rounds do not shrink and yet send little of everything', () => {
    const all = rounds([0, 1, 1, 1]);
    expect(advice(all, 0, { freezeAtMostMs: 5_000 }).kind).toBe('rounds too long');
  });
});

describe('the next round is due', () => {
  const dueAfter = (one: RoundSummary) => (withRound(state([]), one).nextRoundAt ?? 0) - one.endedAt;
  const short = round(1, 0, GB / 10);

  test('after the interval', () => {
    expect(dueAfter(short)).toBe(15 * MINUTE);
  });

  test('later, after steps that worked longer than that', () => {
    expect(dueAfter({ ...short, steps: { transfer: 20 * MINUTE, restore: 10 * MINUTE } })).toBe(30 * MINUTE);
  });

  test('no later for a round that was parked, or waited for a worker, for hours', () => {
    const parked = { ...short, endedAt: short.endedAt + 600 * MINUTE };
    expect(dueAfter(parked)).toBe(15 * MINUTE);
    const waited = { restore: 300 * MINUTE };
    expect(dueAfter({ ...parked, steps: { restore: 301 * MINUTE }, waited })).toBe(15 * MINUTE);
  });

  test('after the interval, when one was given up after long trying', () => {
    expect(dueAfter({ ...short, endedAt: 60 * MINUTE, outcome: 'given-up', steps: {} })).toBe(15 * MINUTE);
  });
});

describe('a freeze that was asked for', () => {
  const asked = (all: readonly RoundSummary[], freezeAtMostMs: number, changes = {}): MigrationState => ({
    ...state(all, { freezeAtMostMs }),
    freezeRequest: { at: 0, by: undefined, whenReady: true, force: false, ...changes },
  });
  const all = rounds([0, 15, 15]);

  test.each([
    ['waits for the baseline', [], 20 * MINUTE, {}, 'wait'],
    ['begins after the baseline alone, of which nothing is forecast', all.slice(0, 1), 1_000, {}, 'begin'],
    ['begins when it fits', all, 20 * MINUTE, {}, 'begin'],
    ['is held when it does not fit', all, 10_000, {}, 'held'],
    ['begins all the same by force', all, 10_000, { force: true }, 'begin'],
    ['is dropped after ten minutes', all, 20 * MINUTE, { whenReady: false }, 'drop'],
  ] as const)('%s', (_, measured, freezeAtMostMs, changes, kind) => {
    const now = Math.max(after(measured), FREEZE_REQUEST_TTL_MS + 1);
    expect(decideFreeze(asked(measured, freezeAtMostMs, changes), now).kind).toBe(kind);
  });

  test('that is held says how long it would take', () => {
    const decided = decideFreeze(asked(all, 10_000), after(all));
    expect(decided).toMatchObject({ why: expect.stringContaining('longer than freezeAtMost (10 s)') as string });
  });
});
