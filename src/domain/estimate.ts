import { formatBytes, formatDuration } from './durations';
import { limitInForce } from './limits';
import { isShared } from './plan';
import type { ResolvedPlan } from './plan';

/**
 * What the first round of a plan would move, before anything was measured. Pure. Later rounds move what was written since,
 * of which nothing is known yet: the query `status` forecasts them from the rounds that ran.
 */
export interface Estimate {
  /** Of the primaries: snapshotted, sent and restored by the first round. Nothing is sent within one repository. */
  readonly bytes: number;
  /** Of the transfer: what a provider counts. */
  readonly reads: number;
  readonly writes: number;
  /** Milliseconds of each step. */
  readonly ms: { readonly snapshot: number; readonly transfer: number; readonly restore: number };
  /** What was taken for granted, a phrase each. */
  readonly assumed: readonly string[];
}

export interface EstimatedIndex {
  readonly shards: number;
  /** Undefined counts as nothing. */
  readonly primaryBytes: number | undefined;
}

const HOUR = 3_600_000;
/** What Elasticsearch gives snapshots and restores of a node where nobody set it (`max_snapshot_bytes_per_sec`, 40mb). */
const NODE_BYTES_PER_SECOND = 40 * 1024 ** 2;
/** Of one worker process, well below what one core was measured to carry (docs/benchmarks.md). */
const WORKER_BYTES_PER_SECOND = 100 * 1024 ** 2;
/** Ten segments of three files, and as much again of what merges leave and of metadata. */
const BLOBS_PER_SHARD = 60;
/** Larger blobs are sent in parts of this size, a read and a write each. */
const PART_BYTES = 8 * 1024 ** 2;

/** `now` in epoch milliseconds: limits may differ by the hour. */
export function estimate(plan: ResolvedPlan, indices: readonly EstimatedIndex[], now: number): Estimate {
  const { limits, throttles } = plan;
  const bytes = indices.reduce((sum, { primaryBytes }) => sum + (primaryBytes ?? 0), 0);
  const blobs = indices.reduce((sum, { shards }) => sum + shards, 0) * BLOBS_PER_SHARD;
  const restoreRate = slowest(throttles.restoreBytesPerSecond, throttles.recoveryBytesPerSecond);
  const requests = isShared(plan) ? 0 : blobs + Math.ceil(bytes / PART_BYTES);
  return {
    bytes,
    reads: requests,
    writes: requests,
    ms: {
      snapshot: (1_000 * bytes) / (throttles.snapshotBytesPerSecond ?? NODE_BYTES_PER_SECOND),
      transfer: isShared(plan) ? 0 : transferMs(limits, bytes, now),
      restore: (1_000 * bytes) / (restoreRate ?? NODE_BYTES_PER_SECOND),
    },
    assumed: [
      'one node on each side',
      ...(throttles.snapshotBytesPerSecond === undefined || restoreRate === undefined
        ? [`${formatBytes(NODE_BYTES_PER_SECOND)}/s where the plan sets no throttle of a cluster`]
        : []),
      ...(isShared(plan)
        ? []
        : [
            `one worker process, ${formatBytes(WORKER_BYTES_PER_SECOND)}/s where limits set none`,
            `${BLOBS_PER_SHARD} blobs a shard, parts of ${formatBytes(PART_BYTES)}`,
          ]),
    ],
  };
}

/** One sentence for people. */
export function estimateSentence({ bytes, reads, writes, ms, assumed }: Estimate): string {
  const steps = Object.entries(ms).filter(([, duration]) => duration > 0);
  const took = steps.map(([step, duration]) => `${formatDuration(duration)} of ${step}`);
  return (
    `the first round moves about ${formatBytes(bytes)} by ${reads} reads and ${writes} writes` +
    `${took.length === 0 ? '' : `: ${took.join(', ')}`} (assumed: ${assumed.join('; ')})`
  );
}

function slowest(...rates: readonly (number | undefined)[]): number | undefined {
  const set = rates.filter((rate) => rate !== undefined);
  return set.length === 0 ? undefined : Math.min(...set);
}

/** Hour by hour, as limits may differ; whole days at once. */
function transferMs(limits: ResolvedPlan['limits'], bytes: number, now: number): number {
  const rateAt = (time: number) => limitInForce(limits, time) ?? WORKER_BYTES_PER_SECOND;
  const perDay = 3_600 * Array.from({ length: 24 }, (_, hour) => rateAt(hour * HOUR)).reduce((sum, rate) => sum + rate);
  const days = Math.floor(bytes / perDay);
  let left = bytes - days * perDay;
  let time = now;
  while (left > 0) {
    const rate = rateAt(time);
    const untilNextHour = HOUR - (time % HOUR);
    const needed = (1_000 * left) / rate;
    if (needed <= untilNextHour) return days * 24 * HOUR + (time - now) + needed;
    left -= (rate * untilNextHour) / 1_000;
    time += untilNextHour;
  }
  return days * 24 * HOUR + (time - now);
}
