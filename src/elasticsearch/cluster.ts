import type { Definitions } from '../domain/definitions';
import type { Watermark } from '../domain/watermarks';
import type { CallName } from './calls';

/**
 * The port over one Elasticsearch or OpenSearch cluster: the calls a migration makes, in the words of the field.
 *
 * Methods are one logical call each. Calls that name many indices are split below 4,000 bytes of request line by the
 * adapter; `names` are concrete index names, never patterns. All take an AbortSignal and reject with its `reason`.
 * Errors: `ConfigurationError` for 401/403 and for a request that the cluster will never accept (400, and every 5xx
 * whose error type says so); `UnavailableError` for no answer, 429, 502-504 and what may pass. "No answer" to a call
 * that changes something means "perhaps done": callers look before they call again. The cluster's own
 * `error.type` is in the subject as `type`, its reason in the message.
 */
export interface Cluster {
  /** The name in the connections file. */
  readonly name: string;
  /** Host and port for messages; no user info. */
  readonly description: string;

  info(signal: AbortSignal): Promise<ClusterInfo>;

  /** Every index: hidden, dot and closed ones too. */
  indices(signal: AbortSignal): Promise<readonly IndexInfo[]>;

  /** Aliases of the named indices, alias by index: `{ index: { alias: definition } }`. */
  aliases(
    names: readonly string[],
    signal: AbortSignal,
  ): Promise<Readonly<Record<string, Readonly<Record<string, AliasDefinition>>>>>;
  /** All alias names of the cluster -> the indices they point at. */
  allAliases(signal: AbortSignal): Promise<Readonly<Record<string, readonly string[]>>>;
  /** One atomic `POST _aliases`. */
  updateAliases(actions: readonly AliasAction[], signal: AbortSignal): Promise<void>;

  /** Flat settings (`index.number_of_shards` -> string or list), without defaults. */
  settings(names: readonly string[], signal: AbortSignal): Promise<Readonly<Record<string, FlatSettings>>>;
  /** `null` removes a setting. */
  updateSettings(
    names: readonly string[],
    settings: Readonly<Record<string, string | number | boolean | readonly string[] | null>>,
    signal: AbortSignal,
  ): Promise<void>;
  /** Of the whole cluster; undefined where it is not set as transient, whatever is persistent or the default. */
  transientSetting(name: string, signal: AbortSignal): Promise<string | undefined>;
  /** `null` removes it. */
  setTransientSetting(name: string, value: string | null, signal: AbortSignal): Promise<void>;
  /** As the cluster shows them, with the type level where the version has one. */
  mappings(names: readonly string[], signal: AbortSignal): Promise<Readonly<Record<string, unknown>>>;

  close(names: readonly string[], signal: AbortSignal): Promise<void>;
  /** For good. One that is gone is no error. In use by a snapshot: `UnavailableError`. */
  deleteIndices(names: readonly string[], signal: AbortSignal): Promise<void>;

  /** `undefined` when no repository of that name is registered. Secrets are as the cluster shows them: filtered. */
  repository(name: string, signal: AbortSignal): Promise<RepositoryDefinition | undefined>;
  repositories(signal: AbortSignal): Promise<Readonly<Record<string, RepositoryDefinition>>>;
  putRepository(name: string, definition: RepositoryDefinition, signal: AbortSignal): Promise<void>;
  /** Not registered is no error. In use by a snapshot or restore: `UnavailableError`. */
  deleteRepository(name: string, signal: AbortSignal): Promise<void>;
  /**
   * Whether the index of that repository lists this snapshot, whose own files need not be there. Throws where the
   * cluster cannot read the repository.
   */
  lists(repository: string, snapshot: SnapshotId, signal: AbortSignal): Promise<boolean>;

  /** Asks by name, never `_all` (a filtered copy cannot list absent ones). `undefined` when missing. */
  snapshot(repository: string, snapshot: string, signal: AbortSignal): Promise<SnapshotInfo | undefined>;
  /**
   * Starts a snapshot of exactly `names`: `include_global_state:false, partial:false, ignore_unavailable:false`,
   * without waiting. Throws `UnavailableError` when another one runs, `ConfigurationError` when the name is taken.
   */
  createSnapshot(repository: string, snapshot: string, names: readonly string[], signal: AbortSignal): Promise<void>;
  /** Snapshots that run now, in every repository (`GET _snapshot/_status`). */
  runningSnapshots(signal: AbortSignal): Promise<readonly RunningSnapshot[]>;
  /** One that runs is stopped first, which takes as long as the shards it is at. Missing is no error. */
  deleteSnapshot(repository: string, snapshot: string, signal: AbortSignal): Promise<void>;

  /** Answers with the indices the cluster accepted; fewer than asked is for the caller to refuse. */
  restore(repository: string, snapshot: string, request: RestoreRequest, signal: AbortSignal): Promise<RestoreAccepted>;
  /** Recoveries of the named indices. A shard that is not assigned yet is simply absent. */
  recoveries(names: readonly string[], signal: AbortSignal): Promise<readonly ShardRecovery[]>;
  /** `GET _cluster/health/...?level=indices`; an index that does not exist is absent. */
  health(names: readonly string[], signal: AbortSignal): Promise<Readonly<Record<string, IndexHealth>>>;
  /** Why a primary is not active, in the cluster's words, at most 1,000 characters; undefined when it is active. */
  explainAllocation(index: string, shard: number, signal: AbortSignal): Promise<string | undefined>;

  refresh(names: readonly string[], signal: AbortSignal): Promise<void>;
  count(name: string, signal: AbortSignal): Promise<number>;
  /** Primaries only, by index, ordered by shard. */
  shardStats(names: readonly string[], signal: AbortSignal): Promise<Readonly<Record<string, readonly ShardStats[]>>>;
  /** Committed and searchable segments of primaries, by index, ordered by shard and name. */
  segments(names: readonly string[], signal: AbortSignal): Promise<Readonly<Record<string, readonly Segment[]>>>;

  /** Documents with one of these ids, whatever their type and routing, in no order. */
  documentsById(name: string, ids: readonly string[], signal: AbortSignal): Promise<readonly Document[]>;
  /**
   * At most `size` documents of one shard in the order in which they lie there, behind Lucene document `after` (from 0
   * to the sum of its segments' documents; from the beginning without it). Copies of a shard may have other orders.
   */
  documentsAfter(
    name: string,
    shard: number,
    after: number | undefined,
    size: number,
    signal: AbortSignal,
  ): Promise<readonly Document[]>;
  /**
   * Every document of one shard by pages of `size`, by a scroll, which ends with the iteration. Each page is asked for in
   * its `turn`, by default at once.
   */
  documentPages(
    name: string,
    shard: number,
    size: number,
    signal: AbortSignal,
    turn?: Turn,
  ): AsyncIterable<readonly Document[]>;
  /** `POST names/_search` with that body; every hit is counted. At most as many names as fit one request. */
  search(names: readonly string[], body: object, signal: AbortSignal): Promise<SearchAnswer>;

  /**
   * `PUT idx/_block/write`, which returns after in-flight writes drained. `'unsupported'` when the cluster does not
   * know or does not allow the call (400, 403, 405 and versions before 7.9): nothing was changed then.
   * Throws `WritesNotBlockedError` when the cluster answers without `shards_acknowledged` and every index `blocked`.
   */
  addWriteBlock(names: readonly string[], signal: AbortSignal): Promise<'blocked' | 'unsupported'>;
  /** Write tasks in flight (`GET _tasks?actions=indices:data/write*&detailed`); `'unsupported'` where refused. */
  writeTasks(signal: AbortSignal): Promise<readonly WriteTask[] | 'unsupported'>;

  /**
   * Whether the cluster would refuse this call to us, in its words: asked about an index or repository that nobody has,
   * so nothing changes. Undefined when it would not.
   */
  refusalOf(call: CallName, signal: AbortSignal): Promise<string | undefined>;
  /** Data streams with their backing indices. As the next four: empty where the cluster has none or does not say. */
  dataStreams(signal: AbortSignal): Promise<Readonly<Record<string, readonly string[]>>>;
  /**
   * Names of the indices that a domain of Amazon's keeps in slower storage. Warm ones are indices like any other, but for
   * snapshots; cold ones no other call shows.
   */
  slowIndices(signal: AbortSignal): Promise<{ readonly warm: readonly string[]; readonly cold: readonly string[] }>;
  /** Names of ingest pipelines. */
  pipelines(signal: AbortSignal): Promise<readonly string[]>;
  /** What no snapshot of ours holds, as the same version of a cluster would take it; none that the cluster made itself. */
  definitions(signal: AbortSignal): Promise<Definitions>;
  /** Policies that take snapshots by schedule (SLM), with their repositories. */
  snapshotPolicies(signal: AbortSignal): Promise<Readonly<Record<string, string>>>;
  /** Components of plugins that some node has; undefined where the cluster does not say. */
  plugins(signal: AbortSignal): Promise<readonly string[] | undefined>;
  /** Which of these settings of an index the cluster does not know; empty where it does not say. */
  unknownSettings(names: readonly string[], signal: AbortSignal): Promise<readonly string[]>;
  /** Why the cluster cannot analyze text so: a body of `_analyze`, without text. Undefined when it can. */
  analysisFault(body: object, signal: AbortSignal): Promise<string | undefined>;
  /** Disk and shards of all data nodes together; undefined where the cluster does not say. */
  room(signal: AbortSignal): Promise<Room | undefined>;
}

export interface Room {
  readonly nodes: number;
  readonly shards: number;
  readonly freeBytes: number;
  readonly totalBytes: number;
  /** `cluster.max_shards_per_node`, from 7.0 on. */
  readonly shardsPerNode?: number;
  /** Those that hold: none where the cluster does not look at its disks or does not say. */
  readonly watermarks: readonly Watermark[];
}

export interface ClusterInfo {
  readonly uuid: string;
  readonly clusterName: string;
  /** `major.minor.patch`. */
  readonly version: string;
  readonly distribution: 'elasticsearch' | 'opensearch';
}

export type FlatSettings = Readonly<Record<string, string | readonly string[]>>;

export interface IndexInfo {
  readonly name: string;
  readonly uuid: string;
  readonly open: boolean;
  /** Of open indices; a closed one has no meaningful health. */
  readonly health: 'green' | 'yellow' | 'red' | undefined;
  readonly shards: number;
  readonly replicas: number;
  /** `index.version.created`, as the number Elasticsearch keeps: 5050299 for 5.5.2. */
  readonly createdVersionId: number;
  /** Live documents as `_cat/indices` shows them (nested ones included); undefined for closed indices. */
  readonly docs: number | undefined;
  /** Bytes of the primaries; undefined for closed indices. */
  readonly primaryBytes: number | undefined;
  /** The `index.blocks.*` that are set to true, without prefix: `write`, `read_only_allow_delete`. */
  readonly blocks: readonly string[];
}

export interface AliasDefinition {
  readonly filter?: unknown;
  readonly index_routing?: string;
  readonly search_routing?: string;
  readonly is_write_index?: boolean;
  readonly is_hidden?: boolean;
}

export type AliasAction =
  | { readonly add: { readonly index: string; readonly alias: string } & AliasDefinition }
  | { readonly remove: { readonly index: string; readonly alias: string } };

export interface RepositoryDefinition {
  readonly type: string;
  readonly settings: Readonly<Record<string, string | number | boolean>>;
  /** Values among the settings that no message may quote; never sent beside them. */
  readonly secrets?: readonly string[];
}

/** Makes a request when its turn has come, and again where the cluster rejected it. */
export type Turn = <T>(request: () => Promise<T>) => Promise<T>;

export interface SnapshotId {
  readonly name: string;
  readonly uuid: string;
}

export interface SnapshotInfo extends SnapshotId {
  readonly state: 'IN_PROGRESS' | 'SUCCESS' | 'FAILED' | 'PARTIAL' | 'INCOMPATIBLE';
  readonly indices: readonly string[];
  readonly shards: { readonly total: number; readonly successful: number; readonly failed: number };
  /** `index/shard: reason`, as the cluster gave them. */
  readonly failures: readonly string[];
  readonly startedAt: number;
  readonly endedAt: number | undefined;
}

export interface RunningSnapshot {
  readonly repository: string;
  readonly snapshot: string;
  readonly shardsDone: number;
  readonly shardsTotal: number;
}

export interface RestoreRequest {
  readonly indices: readonly string[];
  readonly indexSettings: Readonly<Record<string, string | number | boolean>>;
  readonly ignoreIndexSettings: readonly string[];
  readonly includeAliases: boolean;
  /** A Java regular expression, replaced in every name that it matches. */
  readonly rename?: { readonly pattern: string; readonly replacement: string };
}

export interface RestoreAccepted {
  /** `accepted: true` without a list (5.x answers so) is undefined; callers then look at recoveries. */
  readonly indices: readonly string[] | undefined;
}

export interface ShardRecovery {
  readonly index: string;
  readonly shard: number;
  readonly primary: boolean;
  /** `SNAPSHOT`, `PEER`, `EXISTING_STORE`, ... upper case. */
  readonly type: string;
  /** `INIT`, `INDEX`, ..., `DONE`. */
  readonly stage: string;
  readonly snapshot: string | undefined;
  readonly repository: string | undefined;
  readonly totalBytes: number;
  readonly reusedBytes: number;
  readonly recoveredBytes: number;
  /** By the node's clock, in epoch milliseconds; the end is undefined while it runs. */
  readonly startedAt: number;
  readonly endedAt: number | undefined;
}

export interface IndexHealth {
  readonly status: 'green' | 'yellow' | 'red';
  readonly shards: number;
  readonly activePrimaries: number;
  readonly activeShards: number;
  readonly unassigned: number;
  readonly initializing: number;
  readonly relocating: number;
}

export interface ShardStats {
  readonly shard: number;
  readonly docs: number;
  readonly deleted: number;
  /** Indexing operations since the shard started on its node; it starts again from 0 after a move or restart. */
  readonly indexTotal: number;
  readonly deleteTotal: number;
  /** Absent before 6.0. */
  readonly maxSeqNo: number | undefined;
}

export interface Segment {
  readonly shard: number;
  readonly name: string;
  readonly docs: number;
  readonly deleted: number;
  readonly bytes: number;
}

export interface WriteTask {
  readonly id: string;
  readonly action: string;
  readonly runningMs: number;
  /** `requests[12], indices[movies, logs]` and the like; empty when the cluster says nothing. */
  readonly description: string;
}

export interface Document {
  readonly id: string;
  /** Up to 7.x, where it means something before 7.0 only. */
  readonly type?: string;
  readonly routing?: string;
  /** Of a child in 5.x, and in an index that came from there. */
  readonly parent?: string;
  readonly version: string;
  /** `_source` as JSON with sorted keys and numbers as they were written; undefined where the mapping disables it. */
  readonly source?: string;
}

export interface SearchAnswer {
  /** The number of hits, or `unknown`. */
  readonly total: string;
  readonly documents: readonly Document[];
  /** As `Document.source`. */
  readonly aggregations?: string;
}
