import { TargetChangedError } from '../domain/errors';
import type { Cluster, IndexInfo, ShardStats } from '../elasticsearch/cluster';
import { assertMayAct } from './context';
import type { StepContext } from './context';
import { readJson, writeJson } from './files';
import type { Migration } from './migration';
import type { LeftFile, LeftIndex } from './work-files';

/**
 * Between two of our calls the target is write-blocked and ours alone. What a restore has left is recorded, and before
 * the next one, and before the commit, it must still be so: what somebody did to the target meanwhile is shown, and
 * neither restored over nor committed.
 */

const WRITE_TIMEOUT_MS = 30_000;
const NAMED_AT_MOST = 5;

/** Whether an index that is gone is a change: before a restore it is not, as that brings it back whole. */
type Gone = 'a change' | 'to be restored';

/** Records `names` as the restore of `snapshot` has left them. Repeating it records what there is by then. */
export async function recordLeft(
  { target, targetStore, keys }: Migration,
  snapshot: string,
  infos: ReadonlyMap<string, IndexInfo>,
  context: StepContext,
): Promise<void> {
  const stats = infos.size === 0 ? {} : await target.shardStats([...infos.keys()], context.signal);
  const indices = [...infos].map(([name, { uuid }]) => [name, { uuid, shards: (stats[name] ?? []).map(leftShard) }]);
  const left: LeftFile = { indices: Object.fromEntries(indices) as LeftFile['indices'] };
  assertMayAct(context, WRITE_TIMEOUT_MS);
  await writeJson(targetStore, keys.left(snapshot), left, context.signal);
}

function leftShard({ shard, docs, maxSeqNo }: ShardStats): LeftIndex['shards'][number] {
  return { shard, docs, ...(maxSeqNo === undefined ? {} : { maxSeqNo }) };
}

/**
 * What restores have left, by index: `restoredFrom` says which snapshot each index came from. An index whose restore
 * was requested but never recorded as done is not known.
 */
export async function readLeft(
  { targetStore, keys }: Migration,
  restoredFrom: ReadonlyMap<string, string>,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, LeftIndex>> {
  const files = new Map<string, LeftFile | undefined>();
  for (const snapshot of new Set(restoredFrom.values())) {
    files.set(snapshot, await readJson<LeftFile>(targetStore, keys.left(snapshot), signal));
  }
  return new Map(
    [...restoredFrom].flatMap(([name, snapshot]) => {
      const left = files.get(snapshot)?.indices[name];
      return left === undefined ? [] : [[name, left] as const];
    }),
  );
}

/** One sentence for each thing that is not as it was left. */
export async function changesSince(
  target: Cluster,
  left: ReadonlyMap<string, LeftIndex>,
  infos: ReadonlyMap<string, IndexInfo>,
  gone: Gone,
  signal: AbortSignal,
): Promise<string[]> {
  const open = [...left.keys()].filter((name) => infos.get(name)?.open === true);
  // Before 6.0 nothing but the number of documents tells of a write, and that only once it is searchable.
  if (open.length > 0) await target.refresh(open, signal);
  const stats = open.length === 0 ? {} : await target.shardStats(open, signal);
  return [...left].flatMap(([name, was]) =>
    changesOf(was, infos.get(name), stats[name] ?? [], gone).map((change) => `index '${name}' ${change}`),
  );
}

function changesOf(
  was: LeftIndex,
  info: IndexInfo | undefined,
  stats: readonly ShardStats[],
  gone: Gone,
): readonly string[] {
  if (info === undefined) return gone === 'a change' ? ['is gone'] : [];
  if (info.uuid !== was.uuid) return ['was deleted and created anew'];
  if (!info.open) return ['is closed'];
  return [
    ...(info.blocks.includes('write') ? [] : ['is not blocked for writes any more']),
    ...countChanges(was, stats),
    // A lost primary is what a restore mends.
    ...(gone === 'a change' && stats.length < was.shards.length
      ? [`has ${stats.length} of ${was.shards.length} primaries`]
      : []),
  ];
}

/** Of the shards that are there. */
function countChanges({ shards }: LeftIndex, stats: readonly ShardStats[]): string[] {
  const now = new Map(stats.map((shard) => [shard.shard, shard]));
  const there = shards.filter(({ shard }) => now.has(shard));
  const sum = (of: (shard: number) => number) => there.reduce((total, { shard }) => total + of(shard), 0);
  const docs = sum((shard) => now.get(shard)?.docs ?? 0);
  const docsWere = there.reduce((total, shard) => total + shard.docs, 0);
  const written = there.filter(({ shard, maxSeqNo }) => now.get(shard)?.maxSeqNo !== maxSeqNo);
  return [
    ...(docs === docsWere ? [] : [`has ${docs} documents where ${docsWere} were left`]),
    ...(written.length === 0
      ? []
      : [
          `was written to: the highest sequence number of shard ${written.map(({ shard }) => shard).join(', ')} is ` +
            `${written.map(({ shard }) => now.get(shard)?.maxSeqNo).join(', ')} where ` +
            `${written.map(({ maxSeqNo }) => maxSeqNo).join(', ')} was left`,
        ]),
  ];
}

/** Throws `TargetChangedError` if there are any; `todo` tells the operator how to go on. */
export function refuseChanges(changes: readonly string[], cluster: string, todo: string): void {
  if (changes.length === 0) return;
  const more = changes.length > NAMED_AT_MOST ? ` and ${changes.length - NAMED_AT_MOST} more` : '';
  throw new TargetChangedError(
    `Somebody changed the target: ${changes.slice(0, NAMED_AT_MOST).join('; ')}${more}. ${todo}`,
    { subject: { cluster } },
  );
}
