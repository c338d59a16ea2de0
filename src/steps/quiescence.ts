import { WritesNotBlockedError } from '../domain/errors';
import type { BlockResult, QuiescenceInput, QuiescenceResult } from '../domain/exchange';
import type { Cluster, WriteTask } from '../elasticsearch/cluster';
import type { StepContext } from './context';
import { digestOf, requireJson, writeJson } from './files';
import { indicesByName } from './frozen-source';
import { openMigration } from './migration';
import type { StepDeps } from './migration';
import { pause } from './pause';
import type { FreezeRecord, QuiescenceFile } from './work-files';

/**
 * An acknowledged block is not the end of writes: bulk requests already past the check were acknowledged to clients up
 * to 0.93 s later and are in no snapshot that starts at once. That none is in flight is proved here.
 */

/** Two equal reads 100 ms apart never lost a write; twice that. */
const APART_MS = 250;
const TASKS_EVERY_MS = 250;
/** Where the service refuses every proof: longer than any bulk request that a client still waits for. */
const STOPPED_FOR_MS = 60_000;
const STOPPED_EVERY_MS = 5_000;

/**
 * Proves that no write is in flight on the frozen indices, and records the counters of their shards.
 *
 * | block | `_tasks` | proof |
 * |---|---|---|
 * | acknowledged by every shard (`block-api`) | - | drained by Elasticsearch |
 * | settings | answered | no write task older than the block, and two equal counter reads |
 * | settings | refused, `cutover.writersStopped` | counters equal for 60 s |
 * | settings | refused | `WritesNotBlockedError` |
 *
 * Waits for as long as writes do not come to rest: the lease's deadline bounds it. Throws `WritesNotBlockedError` also
 * when an index is gone.
 */
export async function proveQuiescence(
  deps: StepDeps,
  input: QuiescenceInput,
  context: StepContext,
): Promise<QuiescenceResult> {
  const migration = await openMigration(deps, input.plan, context);
  const keys = migration.keys.freeze(input.freeze);
  const record = await requireJson<FreezeRecord>(migration.targetStore, keys.record, context.signal);
  const names = record.indices.map(({ name }) => name);
  const { writersStopped } = migration.plan.cutover;
  const { provedBy, counters } = await rest(migration.source, names, input.block, writersStopped, context);
  const provedAt = Date.now();
  await writeJson(migration.targetStore, keys.quiescence, { counters } satisfies QuiescenceFile, context.signal);
  return { provedBy, countersDigest: digestOf(JSON.stringify(counters)), provedAt };
}

/** Waits until no write is in flight on blocked indices of either side, as the table says. */
export async function rest(
  cluster: Cluster,
  names: readonly string[],
  block: BlockResult,
  writersStopped: boolean,
  context: StepContext,
): Promise<{ readonly provedBy: QuiescenceResult['provedBy']; readonly counters: QuiescenceFile['counters'] }> {
  const provedBy = block.method === 'block-api' ? 'block-api' : await drained(cluster, names, writersStopped, context);
  const restMs = provedBy === 'writers-stopped' ? STOPPED_FOR_MS : APART_MS;
  return { provedBy, counters: await countersAtRest(cluster, names, restMs, context) };
}

/** Waits until every write task on our indices is younger than the block. */
async function drained(
  cluster: Cluster,
  names: readonly string[],
  writersStopped: boolean,
  context: StepContext,
): Promise<QuiescenceResult['provedBy']> {
  const known = [...(await indicesByName(cluster, context.signal)).keys()];
  // Counted from here and not from the block's acknowledgement, which may be another worker's clock. It is less, so
  // that a task counts as older for longer, never for too short.
  const since = performance.now();
  for (;;) {
    const elapsedMs = performance.now() - since;
    const tasks = await cluster.writeTasks(context.signal);
    if (tasks === 'unsupported') return vouchedFor(cluster, writersStopped);
    const older = tasks.filter((task) => task.runningMs >= elapsedMs && concerns(task, names, known));
    if (older.length === 0) return 'tasks-and-counters';
    context.progress({ waitingFor: 'writes in flight', tasks: older.length, oldestMs: oldest(older) });
    await pause(TASKS_EVERY_MS, context.signal);
  }
}

function vouchedFor({ name }: Cluster, writersStopped: boolean): 'writers-stopped' {
  if (writersStopped) return 'writers-stopped';
  throw new WritesNotBlockedError(
    `Cluster '${name}' refuses both _block and _tasks, so that nothing proves that no write is in flight: ` +
      'stop the writers, set cutover.writersStopped to true in a new plan, and freeze again',
  );
}

/**
 * Whether a task may write to one of `names`. Only names of other concrete indices clear it: a bulk request names what
 * the client named, which may be an alias, and a description that is not understood counts as ours.
 */
export function concerns(task: WriteTask, names: readonly string[], known: readonly string[]): boolean {
  const named = namedIndices(task.description);
  if (named === undefined) return true;
  const others = new Set(known.filter((name) => !names.includes(name)));
  return named.some((name) => !others.has(name));
}

/** `requests[12], indices[movies, logs]`, `requests[1], index[movies][0]`, `delete-by-query [movies]`. */
function namedIndices(description: string): string[] | undefined {
  const match =
    /\bind(?:ices|ex)\[([^\]]*)\]/.exec(description) ?? /^(?:update|delete)-by-query \[([^\]]*)\]/.exec(description);
  const named = match?.[1]?.split(',').map((name) => name.trim());
  return named === undefined || named.includes('') ? undefined : named;
}

function oldest(tasks: readonly WriteTask[]): number {
  return Math.max(...tasks.map(({ runningMs }) => runningMs));
}

/** Reads until two reads, with equal ones between them, are `restMs` apart and equal. */
async function countersAtRest(
  cluster: Cluster,
  names: readonly string[],
  restMs: number,
  context: StepContext,
): Promise<QuiescenceFile['counters']> {
  let since = performance.now();
  let counters = await readCounters(cluster, names, context.signal);
  for (;;) {
    await pause(Math.min(restMs, STOPPED_EVERY_MS), context.signal);
    const startedAt = performance.now();
    const next = await readCounters(cluster, names, context.signal);
    const same = JSON.stringify(next) === JSON.stringify(counters);
    if (same && startedAt - since >= restMs) return next;
    context.progress({
      waitingFor: same ? 'counters to stay equal' : 'counters to come to rest',
      shards: shardsOf(next),
    });
    if (!same) since = performance.now();
    counters = next;
  }
}

/** Indices by name, shards by number, so that two reads can be compared as text. */
export async function readCounters(
  cluster: Cluster,
  names: readonly string[],
  signal: AbortSignal,
): Promise<QuiescenceFile['counters']> {
  const stats = names.length === 0 ? {} : await cluster.shardStats(names, signal);
  const counters: Record<string, QuiescenceFile['counters'][string]> = {};
  for (const name of [...names].sort()) {
    const shards = stats[name];
    if (shards === undefined || shards.length === 0) {
      throw new WritesNotBlockedError('An index of the freeze shows no shard counters: it is gone, closed or red', {
        subject: { cluster: cluster.name, index: name },
      });
    }
    counters[name] = [...shards]
      .sort((a, b) => a.shard - b.shard)
      .map(({ shard, indexTotal, deleteTotal, maxSeqNo }) => ({
        shard,
        indexTotal,
        deleteTotal,
        ...(maxSeqNo === undefined ? {} : { maxSeqNo }),
      }));
  }
  return counters;
}

function shardsOf(counters: QuiescenceFile['counters']): number {
  return Object.values(counters).reduce((total, shards) => total + shards.length, 0);
}
