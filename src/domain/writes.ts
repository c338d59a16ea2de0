import type { Writes } from './exchange';

/** What clients write on the target after the switch, counted by the shards' own counters. Pure. */

export interface ShardCounters {
  readonly shard: number;
  readonly indexTotal: number;
  readonly deleteTotal: number;
  /** Absent before 6.0. */
  readonly maxSeqNo?: number;
}

/** By index. One that is not there could not be read. */
export type Counters = Readonly<Record<string, readonly ShardCounters[]>>;

/** By index: what was counted so far, and the counters that the next look is held against. */
export type Tally = Readonly<Record<string, readonly TalliedShard[]>>;

interface TalliedShard extends ShardCounters {
  readonly counted: number;
  /** A reset hides what came between the last look and the reset. */
  readonly wasReset: boolean;
  /** At the last look it showed no counters. */
  readonly isMissing: boolean;
}

export function tallyFrom(counters: Counters): Tally {
  const begin = (shard: ShardCounters): TalliedShard => ({ ...shard, counted: 0, wasReset: false, isMissing: false });
  return Object.fromEntries(Object.entries(counters).map(([index, shards]) => [index, shards.map(begin)]));
}

/** `tally` after one more look. */
export function counted(tally: Tally, now: Counters): Tally {
  return Object.fromEntries(
    Object.entries(tally).map(([index, shards]) => [
      index,
      shards.map((before) =>
        look(
          before,
          (now[index] ?? []).find(({ shard }) => shard === before.shard),
        ),
      ),
    ]),
  );
}

/**
 * | counters | operations since the last look |
 * |---|---|
 * | sequence numbers | their difference; smaller than before: none that are known, and a reset |
 * | only indexing counters | their difference; smaller than before, or gone in between: what they show, and a reset |
 * | none (index gone or closed, shard red) | none that are known |
 */
function look(before: TalliedShard, now: ShardCounters | undefined): TalliedShard {
  if (now === undefined) return { ...before, isMissing: true };
  if (now.maxSeqNo !== undefined && before.maxSeqNo !== undefined) {
    const since = now.maxSeqNo - before.maxSeqNo;
    return after(before, now, Math.max(0, since), since < 0);
  }
  const isReset = before.isMissing || now.indexTotal < before.indexTotal || now.deleteTotal < before.deleteTotal;
  const total = now.indexTotal + now.deleteTotal;
  return after(before, now, isReset ? total : total - before.indexTotal - before.deleteTotal, isReset);
}

function after(before: TalliedShard, now: ShardCounters, operations: number, isReset: boolean): TalliedShard {
  return {
    ...now,
    counted: before.counted + operations,
    wasReset: before.wasReset || isReset,
    isMissing: false,
  };
}

export function writesOf(tally: Tally): Writes {
  const shards = Object.values(tally).flat();
  return {
    operations: shards.reduce((sum, shard) => sum + shard.counted, 0),
    exact: shards.every(({ wasReset, isMissing }) => !wasReset && !isMissing),
  };
}

/** For people: `17`, or `unknown, at least 17`. */
export function writesText({ operations, exact }: Writes): string {
  return exact ? String(operations) : `unknown, at least ${operations}`;
}

/** What `acceptLosing` must be: the number, or the text `at least N` where the number is not known. */
export function toAccept({ operations, exact }: Writes): number | string {
  return exact ? operations : `at least ${operations}`;
}
