import type { IndexHealth, IndexInfo, ShardRecovery } from '../elasticsearch/cluster';

/**
 * What the target says about one index, judged. Pure.
 *
 * Health and the mere list of recoveries both lie: an index being restored is yellow from the first instant, and a
 * shard that is not assigned yet is absent from the list. Done is, per index: as many primaries DONE from *our*
 * snapshot as the manifest has shards, and as many active primaries.
 *
 * | on the target | asked for | active primaries | health | judgement |
 * |---|---|---|---|---|
 * | absent or closed | any | - | - | `wanted` |
 * | open | any | all, every shard seen DONE from our snapshot | any | `done` |
 * | open | any | all, a shard not from our snapshot | any | `wanted` (its recoveries vanished, or never were) |
 * | open | yes | some | red | `failing` |
 * | open | yes | some | else | `running` |
 * | open | no | some | red, none of ours under way | `wanted` |
 * | open | no | some | else | `running` when ours are under way or nothing is listed, else `wanted` |
 */
export type Judgement = 'wanted' | 'running' | 'failing' | 'done';

/** The snapshot we restore from, as the target names it. */
export interface Origin {
  readonly repository: string;
  readonly snapshot: string;
}

export interface Sight {
  readonly info: IndexInfo | undefined;
  readonly health: IndexHealth | undefined;
  /** Read after `health`: when all primaries are active, all recoveries that led there are listed. */
  readonly recoveries: readonly ShardRecovery[];
}

export interface Watched {
  /** On the target. */
  readonly name: string;
  /** In the snapshot. */
  readonly source: string;
  readonly shards: number;
  /** By shard, remembered: a primary that moves to another node afterwards lists a PEER recovery instead. */
  readonly doneShards: Map<number, ShardRecovery>;
  /** Its restore from our snapshot was requested, by this attempt or by an earlier one that recorded it. */
  requested: boolean;
  /** By this attempt: then what is red was just tried. */
  requestedNow: number;
  redSince: number | undefined;
}

export function isFrom(recovery: ShardRecovery, origin: Origin): boolean {
  return (
    recovery.primary &&
    recovery.type === 'SNAPSHOT' &&
    recovery.snapshot === origin.snapshot &&
    recovery.repository === origin.repository
  );
}

/** Judges one index and remembers the shards that are done. */
export function judge(index: Watched, sight: Sight, origin: Origin): Judgement {
  const { info, health } = sight;
  if (info === undefined || !info.open || health === undefined) return 'wanted';
  const ours = sight.recoveries.filter((recovery) => isFrom(recovery, origin));
  for (const recovery of ours) if (recovery.stage === 'DONE') index.doneShards.set(recovery.shard, recovery);
  const active = health.activePrimaries >= index.shards && health.shards === index.shards;
  if (active) return index.doneShards.size === index.shards ? 'done' : 'wanted';
  const underWay = ours.some((recovery) => recovery.stage !== 'DONE');
  if (health.status !== 'red') return index.requested || underWay ? 'running' : 'wanted';
  return index.requestedNow > 0 || underWay ? 'failing' : 'wanted';
}
