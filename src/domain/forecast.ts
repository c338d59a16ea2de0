import { SAMPLED_AT_A_PLACE, sampledPlaces } from './contents';
import { formatBytes, formatDuration } from './durations';
import type { RoundSummary } from './exchange';
import { limitInForce } from './limits';
import { newestRounds } from './rounds';
import type { MigrationState } from './state';
import { sum, workOf } from './worked';

/**
 * What a freeze begun now would take, and whether to begin it: from the rounds that were measured. Pure.
 *
 * The last round moves what was written since the round before it began. Each of its steps is taken as a fixed part and
 * a part that grows with what it moves: snapshot and transfer with the bytes sent, restore with the bytes the target
 * must fetch. What a freeze does besides is as long as it was in an earlier freeze of this migration, or else assumed.
 *
 * Whatever keeps a step waiting makes it longer and never shorter, and says nothing about the next one. Parks are not in
 * the steps at all, and what is known to be waiting (no worker there, an activity tried again) is taken off. What looks
 * like work (a worker that pauses): of two middle values the shorter counts, a baseline that waited makes no byte dearer
 * than typical rounds show, and what one round sticks out by is no error band. Transfers under another limit than the
 * present one do not count where there are others.
 */

export interface Forecast {
  /** Milliseconds from the first block until clients may write again, without waiting for people. */
  readonly windowMs: number;
  /** The error band: the spread of the measured rounds, at least a quarter; 40 % after a single round. */
  readonly lowMs: number;
  readonly highMs: number;
  /** What the last round would send, and what the target must fetch for it. */
  readonly sendBytes: number;
  readonly fetchBytes: number;
  readonly advice: Advice;
}

export interface Advice {
  readonly kind: 'freeze now' | 'one more round' | 'will not converge' | 'rounds too long';
  readonly sentence: string;
}

/** Rounds before these say little about the next one. */
const LOOKED_AT = 8;
/** Of a default installation: `indices.recovery.max_bytes_per_sec`. */
const REPLICA_BYTES_PER_SECOND = 40_000_000;
/** Reading and comparing both sides in full (level `full`), of what lies on disk. */
const COMPARED_BYTES_PER_SECOND = 10_000_000;
/** How far a forecast from one round was off on small data. */
const BAND_AT_LEAST = 0.25;
const BAND_OF_ONE_ROUND = 0.4;
/** Less than this is not worth another round. */
const WORTH_A_ROUND = 0.2;
/** A round that sends this share of everything has not become smaller: merges write anew what was there. */
const RESENT = 0.5;

/** Steps of a freeze outside the round, in the order in which they are taken. Assumed on a small, idle cluster. */
const AROUND: Readonly<Record<string, number>> = {
  quiescence: 500,
  fingerprints: 100,
  replicas: 50,
  verify: 400,
  recheck: 150,
  unblock: 80,
  aliases: 40,
};
/** Calls that are made for each index, eight at a time and more. */
const VERIFY_PER_INDEX_MS = 15;

/** Undefined before there is a round that was restored: the baseline alone says nothing about a small one. */
export function forecast(state: MigrationState, now: number): Forecast | undefined {
  const done = state.rounds.filter(({ outcome }) => outcome === 'done');
  const measured = newestRounds(done, LOOKED_AT).map((round) => ({
    ...round,
    steps: workOf(round.steps, round.waited),
  }));
  const rounds = measured.filter(({ round }) => round > 0);
  const last = rounds.at(-1);
  if (last === undefined) return undefined;
  const rate = writeRate(measured);
  const limit = limitInForce(state.limits, now);
  const window = (sinceMs: number) => windowFor(state, measured, last, rate * sinceMs, limit);
  const next = window(now - last.startedAt);
  const afterRound = window(next.roundMs);
  const band = rounds.length === 1 ? BAND_OF_ONE_ROUND : Math.max(BAND_AT_LEAST, spread(rounds));
  const highMs = next.totalMs * (1 + band);
  const { sendBytes, fetchBytes, totalMs } = next;
  const advice = advise(state, rounds, { totalMs, highMs, savedMs: totalMs - afterRound.totalMs, fetchBytes });
  return { windowMs: totalMs, lowMs: totalMs * (1 - band), highMs, sendBytes, fetchBytes, advice };
}

/** One sentence, for status, Temporal Web and the report. */
export function forecastSentence({ windowMs, lowMs, highMs, fetchBytes, advice }: Forecast): string {
  return (
    `a freeze begun now would take about ${formatDuration(windowMs)} (${formatDuration(lowMs)} to ` +
    `${formatDuration(highMs)}), the target fetching ${formatBytes(fetchBytes)}: ${advice.sentence}`
  );
}

/** Bytes sent per millisecond between the beginnings of rounds, the median of the newest. */
function writeRate(measured: readonly RoundSummary[]): number {
  return median(
    measured.slice(1).map((round, at) => {
      const before = measured[at]?.startedAt ?? round.startedAt;
      return round.sentBytes / Math.max(1, round.startedAt - before);
    }),
  );
}

interface Window {
  readonly roundMs: number;
  readonly totalMs: number;
  readonly sendBytes: number;
  readonly fetchBytes: number;
}

function windowFor(
  state: MigrationState,
  measured: readonly RoundSummary[],
  last: RoundSummary,
  written: number,
  limit: number | undefined,
): Window {
  // More than everything cannot be sent.
  const sendBytes = Math.min(written, last.bytes);
  const fetchedPerSent = median(
    measured.filter(({ round }) => round > 0).map((round) => fetched(round) / Math.max(1, round.sentBytes)),
  );
  // Where rounds are not restored, the target must fetch what they all brought.
  const waiting = state.settings.restoreEveryRound ? 0 : fetched(last);
  const fetchBytes = Math.min(
    waiting + sendBytes * (waiting > 0 ? 1 : fetchedPerSent),
    last.restoredBytes || last.bytes,
  );
  const grows: Readonly<Record<string, (round: RoundSummary) => number>> = {
    snapshot: ({ sentBytes }) => sentBytes,
    transfer: ({ sentBytes }) => sentBytes,
    restore: fetched,
  };
  const names = [...new Set(measured.flatMap((round) => Object.keys(round.steps)))];
  const steps = names.map((step) => {
    const of = grows[step];
    const alike = step === 'transfer' ? underLimit(measured, limit) : measured;
    return lineThrough(alike, step, of)(of === undefined ? 0 : step === 'restore' ? fetchBytes : sendBytes);
  });
  const roundMs = sum(steps);
  return { roundMs, totalMs: roundMs + aroundMs(state, last), sendBytes, fetchBytes };
}

function fetched(round: RoundSummary): number {
  return round.fetchBytes ?? round.restoredBytes - round.reusedBytes;
}

/** Those whose transfer began under that limit, where there are any but the baseline; else all. */
function underLimit(measured: readonly RoundSummary[], limit: number | undefined): readonly RoundSummary[] {
  const alike = measured.filter((round) => round.limit === limit);
  return alike.some(({ round }) => round > 0) ? alike : measured;
}

/**
 * The slope from the baseline where it was much larger than what follows, but never one that leaves a typical round less
 * than no fixed part; what remains is that part.
 */
function lineThrough(
  measured: readonly RoundSummary[],
  step: string,
  of: ((round: RoundSummary) => number) | undefined,
): (bytes: number) => number {
  const points = measured
    .filter((round) => round.steps[step] !== undefined)
    .map((round) => ({ round: round.round, ms: round.steps[step] ?? 0, bytes: of?.(round) ?? 0 }));
  const small = points.filter(({ round }) => round > 0);
  const used = small.length === 0 ? points : small;
  const largest = points.reduce((most, point) => (point.bytes > most.bytes ? point : most), { ms: 0, bytes: 0 });
  const typical = { ms: shorterMedian(used.map(({ ms }) => ms)), bytes: median(used.map(({ bytes }) => bytes)) };
  const apart = largest.bytes - typical.bytes;
  if (small.length === 0 && largest.bytes > 0) return (bytes) => (largest.ms / largest.bytes) * bytes;
  const steepest = typical.ms / Math.max(1, typical.bytes);
  const slope = apart > typical.bytes ? Math.min(steepest, Math.max(0, (largest.ms - typical.ms) / apart)) : 0;
  const fixed = Math.max(0, shorterMedian(used.map(({ ms, bytes }) => ms - slope * bytes)));
  return (bytes) => fixed + slope * bytes;
}

/** Everything of a freeze that is not the round. */
function aroundMs({ settings, limits, freezeSteps }: MigrationState, last: RoundSummary): number {
  const assumed: Readonly<Record<string, number>> = {
    ...AROUND,
    replicas: replicasMs(settings, last),
    verify: (AROUND['verify'] ?? 0) + VERIFY_PER_INDEX_MS * last.indices + readingMs(settings, limits, last),
  };
  return sum(Object.keys(AROUND).map((step) => freezeSteps?.[step] ?? assumed[step] ?? 0));
}

/** Documents of both sides, side by side. The limit may make it longer, never shorter. */
function readingMs(
  { verify }: MigrationState['settings'],
  { verifyDocumentsPerSecond: limit = Infinity }: MigrationState['limits'],
  { indices, documents = 0, restoredBytes, bytes }: RoundSummary,
): number {
  if (verify === 'counts') return 0;
  // Those of a sample are found, then looked up.
  const sampled = Math.min(documents, indices * sampledPlaces(indices) * SAMPLED_AT_A_PLACE);
  const read = verify === 'full' ? documents : 2 * sampled;
  const freeMs = verify === 'full' ? (1_000 * (restoredBytes || bytes)) / COMPARED_BYTES_PER_SECOND : 0;
  return Math.max(freeMs, (1_000 * read) / limit);
}

function replicasMs(settings: MigrationState['settings'], { replicaBytes = 0 }: RoundSummary): number {
  if (settings.replicas === 'after') return 0;
  return (AROUND['replicas'] ?? 0) + (1_000 * replicaBytes) / REPLICA_BYTES_PER_SECOND;
}

/**
 * | fits freezeAtMost | a round would save | sends half of everything, again and again | -> |
 * |---|---|---|---|
 * | yes | little | -   | freeze now |
 * | yes | much   | -   | one more round |
 * | no  | much   | no  | one more round |
 * | no  | little, or sends half | yes | will not converge |
 * | no  | little | no  | rounds too long |
 */
function advise(
  { settings }: MigrationState,
  rounds: readonly RoundSummary[],
  seen: { readonly totalMs: number; readonly highMs: number; readonly savedMs: number; readonly fetchBytes: number },
): Advice {
  const fits = seen.highMs <= settings.freezeAtMostMs;
  const saves = seen.savedMs > WORTH_A_ROUND * seen.totalMs;
  const resent = resending(rounds);
  const why = resent === undefined ? '' : `merges re-send ${resent}`;
  if (fits && !saves) {
    return { kind: 'freeze now', sentence: `freeze now${why === '' ? '' : `; more rounds do not help, ${why}`}` };
  }
  if (saves && (fits || resent === undefined)) {
    return { kind: 'one more round', sentence: `one more round saves about ${formatDuration(seen.savedMs)}` };
  }
  const limit = `freezeAtMost is ${formatDuration(settings.freezeAtMostMs)}`;
  if (resent !== undefined) return { kind: 'will not converge', sentence: `will not converge: ${why}; ${limit}` };
  return {
    kind: 'rounds too long',
    sentence: `no round makes it shorter, and ${limit}: give it more time or fewer indices`,
  };
}

/** `60 % of logs-*`, when the newest three rounds have each sent so much; undefined otherwise. */
function resending(rounds: readonly RoundSummary[]): string | undefined {
  const newest = rounds.slice(-3);
  const shareOf = ({ sentBytes, bytes }: RoundSummary) => sentBytes / Math.max(1, bytes);
  if (newest.length < 3 || newest.some((round) => shareOf(round) < RESENT)) return undefined;
  const last = newest.at(-1) as RoundSummary;
  const heaviest = last.heaviest;
  const share = heaviest === undefined ? shareOf(last) : heaviest.sentBytes / Math.max(1, heaviest.bytes);
  return `${Math.round(100 * share)} % of ${heaviest?.pattern ?? 'everything'}`;
}

/** How far rounds are from the middle one, as a share of it: twice what half of them keep to. */
function spread(rounds: readonly RoundSummary[]): number {
  const took = rounds.map(({ steps }) => sum(Object.values(steps)));
  const middle = shorterMedian(took);
  return Math.min(1, (2 * shorterMedian(took.map((ms) => Math.abs(ms - middle)))) / Math.max(1, middle));
}

/** Of two in the middle the smaller; 0 of none. */
function shorterMedian(numbers: readonly number[]): number {
  return [...numbers].sort((a, b) => a - b)[Math.ceil(numbers.length / 2) - 1] ?? 0;
}

function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const [low = 0, high = 0] = [sorted[sorted.length % 2 === 0 ? middle - 1 : middle], sorted[middle]];
  return (low + high) / 2;
}
