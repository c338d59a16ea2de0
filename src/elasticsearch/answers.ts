import type {
  IndexHealth,
  IndexInfo,
  RepositoryDefinition,
  RunningSnapshot,
  Segment,
  ShardRecovery,
  ShardStats,
  SnapshotInfo,
  WriteTask,
} from './cluster';

/** The shapes of the answers we read, and what we make of them. Pure: tested with recorded bodies. */

export interface SettingsAnswer {
  readonly [index: string]: { readonly settings: Readonly<Record<string, string | string[]>> };
}

/** Columns of `_cat/indices`; closed indices have nulls. */
export interface CatIndex {
  readonly index: string;
  readonly status: string;
  readonly health: string | null;
  readonly 'docs.count': string | null;
  readonly 'pri.store.size': string | null;
}

/** `cat` is undefined for an index that came or went between the two calls. */
export function indexInfo(
  name: string,
  settings: SettingsAnswer[string]['settings'],
  cat: CatIndex | undefined,
): IndexInfo {
  const open = cat?.status !== 'close';
  return {
    name,
    uuid: String(settings['index.uuid'] ?? ''),
    open,
    health: open ? healthOf(cat?.health) : undefined,
    shards: Number(settings['index.number_of_shards'] ?? 0),
    replicas: Number(settings['index.number_of_replicas'] ?? 0),
    createdVersionId: Number(settings['index.version.created'] ?? 0),
    docs: open ? numberIn(cat?.['docs.count']) : undefined,
    primaryBytes: open ? numberIn(cat?.['pri.store.size']) : undefined,
    blocks: Object.entries(settings)
      .filter(([key, value]) => key.startsWith(BLOCKS) && value === 'true')
      .map(([key]) => key.slice(BLOCKS.length)),
  };
}

const BLOCKS = 'index.blocks.';

function healthOf(column: string | null | undefined): IndexInfo['health'] {
  return column === 'green' || column === 'yellow' || column === 'red' ? column : undefined;
}

/** A column is null, or empty, while no shard answers. */
function numberIn(column: string | null | undefined): number | undefined {
  return column === null || column === undefined || column === '' ? undefined : Number(column);
}

/** `uuid` and whatever else newer versions add is left out; of its own repositories, a service may show the type alone. */
export function repositoryDefinition({
  type,
  settings = {},
}: Pick<RepositoryDefinition, 'type'> & Partial<RepositoryDefinition>): RepositoryDefinition {
  return { type, settings };
}

export interface SnapshotAnswer {
  readonly snapshot: string;
  readonly uuid: string;
  readonly state: SnapshotInfo['state'];
  readonly indices: readonly string[];
  readonly shards?: { readonly total: number; readonly successful: number; readonly failed: number };
  readonly failures?: readonly { readonly index: string; readonly shard_id?: number; readonly reason: string }[];
  readonly start_time_in_millis?: number;
  readonly end_time_in_millis?: number;
}

export function snapshotInfo(answer: SnapshotAnswer): SnapshotInfo {
  const ended = answer.state === 'IN_PROGRESS' ? 0 : (answer.end_time_in_millis ?? 0);
  return {
    name: answer.snapshot,
    uuid: answer.uuid,
    state: answer.state,
    indices: answer.indices,
    shards: answer.shards ?? { total: 0, successful: 0, failed: 0 },
    failures: (answer.failures ?? []).map(
      (failure) => `${failure.index}/${failure.shard_id ?? '?'}: ${failure.reason.slice(0, 300)}`,
    ),
    startedAt: answer.start_time_in_millis ?? 0,
    endedAt: ended === 0 ? undefined : ended,
  };
}

export interface StatusAnswer {
  readonly snapshots?: readonly {
    readonly repository: string;
    readonly snapshot: string;
    readonly shards_stats: { readonly done: number; readonly total: number };
  }[];
}

export function runningSnapshots({ snapshots = [] }: StatusAnswer): RunningSnapshot[] {
  return snapshots.map(({ repository, snapshot, shards_stats }) => ({
    repository,
    snapshot,
    shardsDone: shards_stats.done,
    shardsTotal: shards_stats.total,
  }));
}

export interface HealthAnswer {
  readonly indices?: Readonly<Record<string, IndexHealthAnswer>>;
}

interface IndexHealthAnswer {
  readonly status: IndexHealth['status'];
  readonly number_of_shards: number;
  readonly active_primary_shards: number;
  readonly active_shards: number;
  readonly unassigned_shards: number;
  readonly initializing_shards: number;
  readonly relocating_shards: number;
}

export function indexHealth(index: IndexHealthAnswer): IndexHealth {
  return {
    status: index.status,
    shards: index.number_of_shards,
    activePrimaries: index.active_primary_shards,
    activeShards: index.active_shards,
    unassigned: index.unassigned_shards,
    initializing: index.initializing_shards,
    relocating: index.relocating_shards,
  };
}

export interface ExplainAnswer {
  readonly current_state?: string;
  readonly unassigned_info?: { readonly reason?: string; readonly details?: string };
  readonly allocate_explanation?: string;
}

/** 8.x puts a Java stack of many thousand characters into `details`. */
const EXPLANATION_AT_MOST = 1_000;

export function explanation({ current_state, unassigned_info, allocate_explanation }: ExplainAnswer) {
  if (current_state === 'started' || current_state === 'relocating') return undefined;
  const parts = [unassigned_info?.reason, unassigned_info?.details, allocate_explanation];
  const words = parts.filter((part) => part !== undefined).join(': ');
  return (words || `the shard is ${current_state ?? 'not there'}`).slice(0, EXPLANATION_AT_MOST);
}

export interface RecoveryAnswer {
  readonly [index: string]: { readonly shards: readonly RecoveryShardAnswer[] };
}

interface RecoveryShardAnswer {
  readonly id: number;
  readonly type: string;
  readonly stage: string;
  readonly primary: boolean;
  readonly start_time_in_millis: number;
  readonly stop_time_in_millis?: number;
  readonly source?: { readonly repository?: string; readonly snapshot?: string };
  readonly index: {
    readonly size: {
      readonly total_in_bytes: number;
      readonly reused_in_bytes: number;
      readonly recovered_in_bytes: number;
    };
  };
}

export function shardRecoveries(answer: RecoveryAnswer): ShardRecovery[] {
  return Object.entries(answer).flatMap(([index, { shards }]) =>
    shards.map((shard) => ({
      index,
      shard: shard.id,
      primary: shard.primary,
      type: shard.type.toUpperCase(),
      stage: shard.stage.toUpperCase(),
      snapshot: shard.source?.snapshot,
      repository: shard.source?.repository,
      totalBytes: shard.index.size.total_in_bytes,
      reusedBytes: shard.index.size.reused_in_bytes,
      recoveredBytes: shard.index.size.recovered_in_bytes,
      startedAt: shard.start_time_in_millis,
      endedAt: shard.stop_time_in_millis,
    })),
  );
}

/** How many shards a call reached. */
export interface Reached {
  readonly _shards?: { readonly total: number; readonly successful: number; readonly failed: number };
}

export interface ShardsAnswer<Shard> extends Reached {
  readonly indices?: { readonly [index: string]: { readonly shards: { readonly [shard: string]: readonly Shard[] } } };
}
interface Routed {
  readonly routing: { readonly primary: boolean };
}

export type StatsAnswer = ShardsAnswer<
  Routed & {
    readonly docs?: { readonly count: number; readonly deleted: number };
    readonly indexing?: { readonly index_total: number; readonly delete_total: number };
    readonly seq_no?: { readonly max_seq_no: number };
  }
>;

export function primaryStats(answer: StatsAnswer): Record<string, ShardStats[]> {
  return byPrimary(answer, (shard, copy) => [
    {
      shard,
      docs: copy.docs?.count ?? 0,
      deleted: copy.docs?.deleted ?? 0,
      indexTotal: copy.indexing?.index_total ?? 0,
      deleteTotal: copy.indexing?.delete_total ?? 0,
      maxSeqNo: copy.seq_no?.max_seq_no,
    },
  ]);
}

export type SegmentsAnswer = ShardsAnswer<
  Routed & {
    /** Left out by filter_path when there are none. */
    readonly segments?: { readonly [name: string]: SegmentAnswer };
  }
>;

interface SegmentAnswer {
  readonly num_docs: number;
  readonly deleted_docs: number;
  readonly size_in_bytes: number;
  readonly committed: boolean;
  readonly search: boolean;
}

export function primarySegments(answer: SegmentsAnswer): Record<string, Segment[]> {
  return byPrimary(answer, (shard, copy) =>
    Object.entries(copy.segments ?? {})
      .filter(([, segment]) => segment.committed || segment.search)
      .map(([name, segment]) => ({
        shard,
        name,
        docs: segment.num_docs,
        deleted: segment.deleted_docs,
        bytes: segment.size_in_bytes,
      }))
      .sort((a, b) => (a.name < b.name ? -1 : 1)),
  );
}

function byPrimary<Copy extends Routed, Row>(
  answer: ShardsAnswer<Copy>,
  rows: (shard: number, copy: Copy) => Row[],
): Record<string, Row[]> {
  return Object.fromEntries(
    Object.entries(answer.indices ?? {}).map(([index, { shards }]) => [
      index,
      Object.entries(shards)
        .map(([shard, copies]) => ({ shard: Number(shard), primary: copies.find((copy) => copy.routing.primary) }))
        .sort((a, b) => a.shard - b.shard)
        .flatMap(({ shard, primary }) => (primary === undefined ? [] : rows(shard, primary))),
    ]),
  );
}

export interface TasksAnswer {
  readonly node_failures?: readonly unknown[];
  readonly task_failures?: readonly unknown[];
  readonly nodes?: {
    readonly [node: string]: {
      readonly tasks: {
        readonly [id: string]: {
          readonly action: string;
          readonly running_time_in_nanos: number;
          readonly description?: string;
        };
      };
    };
  };
}

export function writeTasks(answer: TasksAnswer): WriteTask[] {
  return Object.values(answer.nodes ?? {}).flatMap((node) =>
    Object.entries(node.tasks).map(([id, task]) => ({
      id,
      action: task.action,
      runningMs: task.running_time_in_nanos / 1e6,
      description: task.description ?? '',
    })),
  );
}
