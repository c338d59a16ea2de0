import type { Definition, Definitions } from '../../src/domain/definitions';
import type { CallName } from '../../src/elasticsearch/calls';
import type {
  AliasAction,
  AliasDefinition,
  Cluster,
  ClusterInfo,
  Document,
  FlatSettings,
  IndexHealth,
  IndexInfo,
  RepositoryDefinition,
  RestoreAccepted,
  RestoreRequest,
  Room,
  RunningSnapshot,
  SearchAnswer,
  Segment,
  ShardRecovery,
  ShardStats,
  SnapshotInfo,
  Turn,
  WriteTask,
} from '../../src/elasticsearch/cluster';

/** An index that preflight has nothing against. */
export function anIndex(name: string, changes: Partial<IndexInfo> = {}): IndexInfo {
  return {
    name,
    uuid: `uuid-${name}`,
    open: true,
    health: 'green',
    shards: 1,
    replicas: 1,
    createdVersionId: 7100299,
    docs: 10,
    primaryBytes: 1_000,
    blocks: [],
    ...changes,
  };
}

/** A snapshot that ended well. */
export function aSnapshot(name: string, indices: readonly string[], changes: Partial<SnapshotInfo> = {}): SnapshotInfo {
  return {
    name,
    uuid: `uuid-of-${name}`,
    state: 'SUCCESS',
    indices,
    shards: { total: indices.length, successful: indices.length, failed: 0 },
    failures: [],
    startedAt: 1,
    endedAt: 2,
    ...changes,
  };
}

/**
 * A cluster in memory, for the logic of steps only; what a real node does is tested on real nodes. The public fields
 * are its state, `calls` what changed it, and `failures` the errors that the next call of a method throws (after
 * having done what was asked, when `late`).
 */
export class FakeCluster implements Cluster {
  readonly description: string;
  readonly indexList: IndexInfo[] = [];
  readonly aliasMap: Record<string, Record<string, AliasDefinition>> = {};
  readonly settingsOf: Record<string, Record<string, string | readonly string[]>> = {};
  /** Of the whole cluster. */
  readonly transient: Record<string, string> = {};
  readonly registered: Record<string, RepositoryDefinition> = {};
  /** By `repository/snapshot`. */
  readonly snapshots: Record<string, SnapshotInfo> = {};
  running: RunningSnapshot[] = [];
  readonly calls: string[] = [];
  readonly failures: Record<string, { readonly error: Error; readonly late?: boolean }[]> = {};
  /** How a snapshot ends that is asked for here, and after how many looks. */
  ending: (name: string, indices: readonly string[]) => SnapshotInfo = aSnapshot;
  looksUntilEnd = 1;
  readonly mappingsOf: Record<string, unknown> = {};
  /** Whether its repositories are where the worker writes. */
  readsTargetStore = true;
  /** By call, why it is refused. */
  readonly refused: Partial<Record<CallName, string>> = {};
  readonly streams: Record<string, readonly string[]> = {};
  readonly slow = { warm: [] as string[], cold: [] as string[] };
  readonly pipelineNames: string[] = [];
  readonly defined: Definition[] = [];
  showsScripts = true;
  readonly policies: Record<string, string> = {};
  pluginNames: string[] | undefined = [];
  readonly settingsUnknown: string[] = [];
  /** Words that no body of `_analyze` may hold. */
  readonly unknownAnalyses: string[] = [];
  roomLeft: Room | undefined;
  private readonly pending = new Map<string, { looks: number; end: SnapshotInfo }>();

  constructor(
    readonly name: string,
    public clusterInfo: ClusterInfo = {
      uuid: `uuid-of-${name}`,
      clusterName: name,
      version: '7.10.2',
      distribution: 'elasticsearch',
    },
  ) {
    this.description = `${name}:9200`;
  }

  fail(method: keyof Cluster, error: Error, options: { readonly late?: boolean } = {}): void {
    (this.failures[method] ??= []).push({ error, ...options });
  }

  refusalOf(call: CallName): Promise<string | undefined> {
    return this.doing('refusalOf', () => this.refused[call]);
  }

  dataStreams(): Promise<Record<string, readonly string[]>> {
    return this.doing('dataStreams', () => this.streams);
  }

  slowIndices(): ReturnType<Cluster['slowIndices']> {
    return this.doing('slowIndices', () => this.slow);
  }

  pipelines(): Promise<readonly string[]> {
    return this.doing('pipelines', () => this.pipelineNames);
  }

  definitions(): Promise<Definitions> {
    return this.doing('definitions', () => ({ all: this.defined, scriptsKnown: this.showsScripts }));
  }

  snapshotPolicies(): Promise<Record<string, string>> {
    return this.doing('snapshotPolicies', () => this.policies);
  }

  plugins(): Promise<readonly string[] | undefined> {
    return this.doing('plugins', () => this.pluginNames);
  }

  unknownSettings(names: readonly string[]): Promise<readonly string[]> {
    return this.doing('unknownSettings', () => names.filter((name) => this.settingsUnknown.includes(name)));
  }

  analysisFault(body: object): Promise<string | undefined> {
    return this.doing('analysisFault', () => this.unknownAnalyses.find((word) => JSON.stringify(body).includes(word)));
  }

  room(): Promise<Room | undefined> {
    return this.doing('room', () => this.roomLeft);
  }

  info(): Promise<ClusterInfo> {
    return this.doing('info', () => this.clusterInfo);
  }

  indices(): Promise<readonly IndexInfo[]> {
    return this.doing('indices', () => [...this.indexList]);
  }

  aliases(names: readonly string[]): Promise<Record<string, Record<string, AliasDefinition>>> {
    return this.doing('aliases', () => Object.fromEntries(names.map((name) => [name, { ...this.aliasMap[name] }])));
  }

  allAliases(): Promise<Record<string, readonly string[]>> {
    return this.doing('allAliases', () => {
      const byAlias: Record<string, string[]> = {};
      for (const [index, aliases] of Object.entries(this.aliasMap)) {
        for (const alias of Object.keys(aliases)) (byAlias[alias] ??= []).push(index);
      }
      return byAlias;
    });
  }

  updateAliases(actions: readonly AliasAction[]): Promise<void> {
    return this.changing('updateAliases', JSON.stringify(actions), () => {
      for (const action of actions) {
        if ('add' in action) {
          const { index, alias, ...definition } = action.add;
          (this.aliasMap[index] ??= {})[alias] = definition;
        } else delete this.aliasMap[action.remove.index]?.[action.remove.alias];
      }
    });
  }

  settings(names: readonly string[]): Promise<Record<string, FlatSettings>> {
    return this.doing('settings', () => Object.fromEntries(names.map((name) => [name, { ...this.settingsOf[name] }])));
  }

  transientSetting(name: string): Promise<string | undefined> {
    return this.doing('transientSetting', () => this.transient[name]);
  }

  setTransientSetting(name: string, value: string | null): Promise<void> {
    return this.changing('setTransientSetting', `${name} ${value}`, () => {
      if (value === null) delete this.transient[name];
      else this.transient[name] = value;
    });
  }

  updateSettings(
    names: readonly string[],
    settings: Readonly<Record<string, string | number | boolean | readonly string[] | null>>,
  ): Promise<void> {
    return this.changing('updateSettings', `${names.join()} ${JSON.stringify(settings)}`, () => {
      for (const name of names) {
        const held = (this.settingsOf[name] ??= {});
        for (const [key, value] of Object.entries(settings)) {
          if (value === null) delete held[key];
          else held[key] = Array.isArray(value) ? (value as string[]) : String(value);
        }
      }
    });
  }

  mappings(names: readonly string[]): Promise<Record<string, unknown>> {
    return this.doing('mappings', () => Object.fromEntries(names.map((name) => [name, this.mappingsOf[name] ?? {}])));
  }

  close(names: readonly string[]): Promise<void> {
    return this.changing('close', names.join(), () => {
      for (const [at, index] of this.indexList.entries()) {
        if (names.includes(index.name)) this.indexList[at] = { ...index, open: false, health: undefined };
      }
    });
  }

  deleteIndices(names: readonly string[]): Promise<void> {
    return this.changing('deleteIndices', names.join(), () => {
      const left = this.indexList.filter(({ name }) => !names.includes(name));
      this.indexList.splice(0, this.indexList.length, ...left);
    });
  }

  repository(name: string): Promise<RepositoryDefinition | undefined> {
    return this.doing('repository', () => this.registered[name]);
  }

  repositories(): Promise<Record<string, RepositoryDefinition>> {
    return this.doing('repositories', () => ({ ...this.registered }));
  }

  putRepository(name: string, definition: RepositoryDefinition): Promise<void> {
    return this.changing('putRepository', name, () => {
      this.registered[name] = definition;
    });
  }

  deleteRepository(name: string): Promise<void> {
    return this.changing('deleteRepository', name, () => {
      delete this.registered[name];
    });
  }

  lists(): Promise<boolean> {
    return this.doing('lists', () => this.readsTargetStore);
  }

  snapshot(repository: string, snapshot: string): Promise<SnapshotInfo | undefined> {
    return this.doing('snapshot', () => {
      const key = `${repository}/${snapshot}`;
      const pending = this.pending.get(key);
      if (pending !== undefined && pending.looks-- <= 0) {
        this.snapshots[key] = pending.end;
        this.pending.delete(key);
      }
      return this.snapshots[key];
    });
  }

  createSnapshot(repository: string, snapshot: string, names: readonly string[]): Promise<void> {
    return this.changing('createSnapshot', `${repository}/${snapshot} ${names.join()}`, () => {
      const end = this.ending(snapshot, names);
      this.snapshots[`${repository}/${snapshot}`] = { ...end, state: 'IN_PROGRESS', endedAt: undefined };
      this.pending.set(`${repository}/${snapshot}`, { looks: this.looksUntilEnd, end });
    });
  }

  runningSnapshots(): Promise<readonly RunningSnapshot[]> {
    return this.doing('runningSnapshots', () => [...this.running]);
  }

  deleteSnapshot(repository: string, snapshot: string): Promise<void> {
    return this.changing('deleteSnapshot', `${repository}/${snapshot}`, () => {
      delete this.snapshots[`${repository}/${snapshot}`];
      this.running = this.running.filter((one) => one.repository !== repository || one.snapshot !== snapshot);
    });
  }

  restore(repository: string, snapshot: string, request: RestoreRequest): Promise<RestoreAccepted> {
    return this.changing('restore', `${repository}/${snapshot}`, () => ({ indices: request.indices }));
  }

  recoveries(): Promise<readonly ShardRecovery[]> {
    return this.doing('recoveries', () => []);
  }

  health(): Promise<Record<string, IndexHealth>> {
    return this.doing('health', () => ({}));
  }

  explainAllocation(): Promise<string | undefined> {
    return this.doing('explainAllocation', () => undefined);
  }

  refresh(): Promise<void> {
    return this.doing('refresh', () => undefined);
  }

  count(name: string): Promise<number> {
    return this.doing('count', () => this.indexList.find((index) => index.name === name)?.docs ?? 0);
  }

  shardStats(): Promise<Record<string, readonly ShardStats[]>> {
    return this.doing('shardStats', () => this.counted);
  }

  segments(): Promise<Record<string, readonly Segment[]>> {
    return this.doing('segments', () => ({}));
  }

  readonly counted: Record<string, readonly ShardStats[]> = {};
  /** By index: its documents, all in shard 0. */
  readonly documentsOf: Record<string, readonly Document[]> = {};
  /** What a search with a body answers, by the body's JSON. */
  readonly answerTo: Record<string, SearchAnswer> = {};

  documentsById(name: string, ids: readonly string[]): Promise<readonly Document[]> {
    return this.doing('documentsById', () => (this.documentsOf[name] ?? []).filter(({ id }) => ids.includes(id)));
  }

  documentsAfter(name: string, shard: number, after: number | undefined, size: number): Promise<readonly Document[]> {
    const begin = after === undefined ? 0 : after + 1;
    return this.doing('documentsAfter', () =>
      shard === 0 ? (this.documentsOf[name] ?? []).slice(begin, begin + size) : [],
    );
  }

  async *documentPages(
    name: string,
    shard: number,
    size: number,
    _signal?: AbortSignal,
    turn: Turn = (request) => request(),
  ): AsyncGenerator<readonly Document[]> {
    const all = shard === 0 ? (this.documentsOf[name] ?? []) : [];
    for (let from = 0; from < all.length; from += size) {
      yield await turn(() => this.doing('documentPages', () => all.slice(from, from + size)));
    }
  }

  search(_names: readonly string[], body: object): Promise<SearchAnswer> {
    return this.doing('search', () => this.answerTo[JSON.stringify(body)] ?? { total: '0', documents: [] });
  }

  addWriteBlock(names: readonly string[]): Promise<'blocked' | 'unsupported'> {
    return this.changing('addWriteBlock', names.join(), () => {
      for (const name of names) (this.settingsOf[name] ??= {})['index.blocks.write'] = 'true';
      return 'blocked' as const;
    });
  }

  writeTasks(): Promise<readonly WriteTask[] | 'unsupported'> {
    return this.doing('writeTasks', () => []);
  }

  private changing<T>(method: keyof Cluster, what: string, work: () => T): Promise<T> {
    this.calls.push(`${method} ${what}`);
    return this.doing(method, work);
  }

  private async doing<T>(method: keyof Cluster, work: () => T): Promise<T> {
    const failure = this.failures[method]?.shift();
    if (failure !== undefined && failure.late !== true) throw failure.error;
    const result = work();
    if (failure !== undefined) throw failure.error;
    return result;
  }
}
