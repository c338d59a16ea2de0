import type { IndexInfo, Segment, ShardRecovery, ShardStats, SnapshotInfo, WriteTask } from './cluster';

/** The shapes of the answers we read, and what we make of them. Pure: tested with recorded bodies. */

export interface SettingsAnswer {
  readonly [index: string]: { readonly settings: Readonly<Record<string, string | string[]>> };
}

export interface CatIndex {
  readonly index: string;
  readonly status: string;
  readonly health: string | null;
  readonly 'docs.count': string | null;
  readonly 'pri.store.size': string | null;
}

export function indexInfo(
  name: string,
  settings: Readonly<Record<string, string | string[]>>,
  cat: CatIndex | undefined,
): IndexInfo {
  const one = (key: string) => {
    const value = settings[key];
    return typeof value === 'string' ? value : undefined;
  };
  const open = cat?.status !== 'close';
  const number = (value: string | null | undefined) =>
    value === null || value === undefined || value === '' ? undefined : Number(value);
  return {
    name,
    uuid: one('index.uuid') ?? '',
    open,
    health: open ? (cat?.health as IndexInfo['health']) : undefined,
    shards: Number(one('index.number_of_shards') ?? 0),
    replicas: Number(one('index.number_of_replicas') ?? 0),
    createdVersionId: Number(one('index.version.created') ?? 0),
    docs: open ? number(cat?.['docs.count']) : undefined,
    primaryBytes: open ? number(cat?.['pri.store.size']) : undefined,
    blocks: Object.entries(settings)
      .filter(([key, value]) => key.startsWith('index.blocks.') && value === 'true')
      .map(([key]) => key.slice('index.blocks.'.length)),
  };
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

export interface RecoveryAnswer {
  readonly [index: string]: { readonly shards: readonly RecoveryShardAnswer[] };
}

interface RecoveryShardAnswer {
  readonly id: number;
  readonly type: string;
  readonly stage: string;
  readonly primary: boolean;
  readonly source: { readonly repository?: string; readonly snapshot?: string };
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
      snapshot: shard.source.snapshot,
      repository: shard.source.repository,
      totalBytes: shard.index.size.total_in_bytes,
      reusedBytes: shard.index.size.reused_in_bytes,
      recoveredBytes: shard.index.size.recovered_in_bytes,
    })),
  );
}

interface ShardsAnswer<Shard> {
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
    readonly segments: {
      readonly [name: string]: {
        readonly num_docs: number;
        readonly deleted_docs: number;
        readonly size_in_bytes: number;
      };
    };
  }
>;

export function primarySegments(answer: SegmentsAnswer): Record<string, Segment[]> {
  return byPrimary(answer, (shard, copy) =>
    Object.entries(copy.segments)
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
