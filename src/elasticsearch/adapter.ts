import type { Definitions } from '../domain/definitions';
import { ConfigurationError, UnavailableError } from '../domain/errors';
import * as answers from './answers';
import { addWriteBlock, readWriteTasks } from './blocks';
import type { CallName } from './calls';
import type * as port from './cluster';
import type { ClusterConnection } from './connection';
import { readAfter, readById, readPages, readSearch } from './documents';
import { errorOf, readRefusal } from './failures';
import type { Refusal } from './failures';
import { Http, PROMPT_MS } from './http';
import type { Call } from './http';
import { readInfo } from './identity';
import * as surroundings from './surroundings';
import { encodeName, hasFeaturesOf, nameGroups, snapshotPath } from './paths';

export interface OpenedCluster extends port.Cluster {
  /** Ends the connections; calls that wait reject. Not `close`, which in the port closes indices. */
  disconnect(): Promise<void>;
}

/** Opens a cluster by HTTP; connects with the first call. */
export function openCluster(connection: ClusterConnection): OpenedCluster {
  return new HttpCluster(connection);
}

/** Of `GET _all/_settings`, what `IndexInfo` is made of: with flat settings a key is one name, dots and all. */
const INFO_SETTINGS = ['uuid', 'number_of_shards', 'number_of_replicas', 'version.created', 'blocks.*']
  .map((setting) => `*.settings.index*${setting.replaceAll('.', '*')}`)
  .join(',');
/** A missing index is absent from the answer, and a closed one, named by its name, is no error. */
const LENIENT = 'ignore_unavailable=true';

interface SnapshotsAnswer {
  readonly snapshots?: readonly answers.SnapshotAnswer[];
  readonly failures?: Readonly<Record<string, object>>;
}

/**
 * Elasticsearch 5.5 to 8.x and OpenSearch. Calls that change several groups of names stop at the first that fails, and
 * leave undoing what the others did to the caller, who alone knows what was there before.
 */
class HttpCluster implements OpenedCluster {
  readonly name: string;
  readonly description: string;
  private readonly http: Http;
  private known: port.ClusterInfo | undefined;

  constructor(connection: ClusterConnection) {
    this.name = connection.name;
    this.description = new URL(connection.url).host;
    this.http = new Http(connection);
  }

  disconnect(): Promise<void> {
    return this.http.close();
  }

  async info(signal: AbortSignal): Promise<port.ClusterInfo> {
    return (this.known = await readInfo(this.http, signal));
  }

  async indices(signal: AbortSignal): Promise<readonly port.IndexInfo[]> {
    // `_cat` includes closed indices in all versions, hidden ones (7.7) only if asked, and refuses to be asked before.
    const hidden = hasFeaturesOf('7.7', await this.knownInfo(signal)) ? '&expand_wildcards=all' : '';
    const columns = 'index,status,health,docs.count,pri.store.size';
    const [settings, cat] = await Promise.all([
      this.http.get<answers.SettingsAnswer>(
        `/_all/_settings?flat_settings=true&expand_wildcards=all&filter_path=${INFO_SETTINGS}`,
        signal,
      ),
      this.http.get<answers.CatIndex[]>(`/_cat/indices?format=json&bytes=b&h=${columns}${hidden}`, signal),
    ]);
    const rows = new Map(cat.map((row) => [row.index, row]));
    return Object.entries(settings).map(([name, index]) => answers.indexInfo(name, index.settings, rows.get(name)));
  }

  async aliases(names: readonly string[], signal: AbortSignal) {
    type Answer = Record<string, { readonly aliases: Record<string, port.AliasDefinition> }>;
    const found = await this.each<Answer>(names, (group) => `/${group}/_alias?${LENIENT}`, signal);
    return mapValues(found, (index) => index.aliases);
  }

  async allAliases(signal: AbortSignal): Promise<Readonly<Record<string, readonly string[]>>> {
    type Answer = Record<string, { readonly aliases?: Record<string, unknown> }>;
    // Without `_all` and `expand_wildcards`, 5.x leaves out closed indices.
    const found = await this.http.get<Answer>('/_all/_alias?expand_wildcards=all', signal);
    const byAlias = new Map<string, string[]>();
    for (const [index, { aliases = {} }] of Object.entries(found)) {
      for (const alias of Object.keys(aliases)) byAlias.set(alias, [...(byAlias.get(alias) ?? []), index]);
    }
    return Object.fromEntries(byAlias);
  }

  async updateAliases(actions: readonly port.AliasAction[], signal: AbortSignal): Promise<void> {
    if (actions.length === 0) return; // 400 otherwise
    await this.http.change({ method: 'POST', path: '/_aliases', body: { actions }, timeoutMs: PROMPT_MS }, signal);
  }

  async settings(names: readonly string[], signal: AbortSignal): Promise<Readonly<Record<string, port.FlatSettings>>> {
    const path = (group: string) => `/${group}/_settings?flat_settings=true&${LENIENT}`;
    return mapValues(await this.each<answers.SettingsAnswer>(names, path, signal), (index) => index.settings);
  }

  async updateSettings(
    names: readonly string[],
    settings: Readonly<Record<string, string | number | boolean | readonly string[] | null>>,
    signal: AbortSignal,
  ): Promise<void> {
    for (const { path } of nameGroups(names)) {
      const call: Call = { method: 'PUT', path: `/${path}/_settings`, body: settings, timeoutMs: PROMPT_MS };
      await this.http.change(call, signal);
    }
  }

  async transientSetting(name: string, signal: AbortSignal): Promise<string | undefined> {
    type Answer = { readonly transient?: Readonly<Record<string, string>> };
    return (await this.http.get<Answer>('/_cluster/settings?flat_settings=true', signal)).transient?.[name];
  }

  async setTransientSetting(name: string, value: string | null, signal: AbortSignal): Promise<void> {
    const body = { transient: { [name]: value } };
    await this.http.change({ method: 'PUT', path: '/_cluster/settings', body, timeoutMs: PROMPT_MS }, signal);
  }

  async mappings(names: readonly string[], signal: AbortSignal): Promise<Readonly<Record<string, unknown>>> {
    type Answer = Record<string, { readonly mappings: unknown }>;
    const found = await this.each<Answer>(names, (group) => `/${group}/_mapping?${LENIENT}`, signal);
    return mapValues(found, (index) => index.mappings);
  }

  async close(names: readonly string[], signal: AbortSignal): Promise<void> {
    for (const { path } of nameGroups(names)) await this.closeGroup(path, signal);
  }

  async deleteIndices(names: readonly string[], signal: AbortSignal): Promise<void> {
    for (const { path } of nameGroups(names)) {
      const call: Call = { method: 'DELETE', path: `/${path}?${LENIENT}` };
      const attempt = await this.http.attempt<{ readonly acknowledged?: boolean }>(call, signal);
      if (!attempt.ok) throw this.unlessInUse(call, attempt);
      if (attempt.body.acknowledged === false) {
        throw new UnavailableError('The cluster has not deleted every index yet', { subject: this.http.subject(call) });
      }
    }
  }

  async repository(name: string, signal: AbortSignal): Promise<port.RepositoryDefinition | undefined> {
    type Answer = Record<string, port.RepositoryDefinition>;
    const call: Call = { method: 'GET', path: snapshotPath(name) };
    const found = (await this.http.find<Answer>(call, 'repository_missing_exception', signal))?.[name];
    return found && answers.repositoryDefinition(found);
  }

  async repositories(signal: AbortSignal): Promise<Readonly<Record<string, port.RepositoryDefinition>>> {
    const found = await this.http.get<Record<string, port.RepositoryDefinition>>('/_snapshot', signal);
    return mapValues(found, answers.repositoryDefinition);
  }

  async putRepository(name: string, definition: port.RepositoryDefinition, signal: AbortSignal): Promise<void> {
    const { type, settings, secrets = [] } = definition;
    await this.http.change({ method: 'PUT', path: snapshotPath(name), body: { type, settings }, secrets }, signal);
  }

  async deleteRepository(name: string, signal: AbortSignal): Promise<void> {
    await this.http.find({ method: 'DELETE', path: snapshotPath(name) }, 'repository_missing_exception', signal);
  }

  async lists(repository: string, { name, uuid }: port.SnapshotId, signal: AbortSignal): Promise<boolean> {
    const call: Call = { method: 'GET', path: snapshotPath(repository, name) };
    const attempt = await this.http.attempt<SnapshotsAnswer>(call, signal);
    if (attempt.ok) return this.snapshotsIn(attempt.body, repository, call).some((one) => one.uuid === uuid);
    // It is missing: 404, on 5.x 500. Whoever read of it in the index says its uuid.
    const { type, reason } = attempt.refusal;
    if (reason.includes(uuid)) return true;
    if (type === 'snapshot_missing_exception') return false;
    throw attempt.error;
  }

  async snapshot(repository: string, snapshot: string, signal: AbortSignal): Promise<port.SnapshotInfo | undefined> {
    const call: Call = { method: 'GET', path: snapshotPath(repository, snapshot) };
    const found = await this.http.find<SnapshotsAnswer>(call, 'snapshot_missing_exception', signal);
    const ours = found && this.snapshotsIn(found, repository, call).find((entry) => entry.snapshot === snapshot);
    return ours && answers.snapshotInfo(ours);
  }

  async createSnapshot(
    repository: string,
    snapshot: string,
    names: readonly string[],
    signal: AbortSignal,
  ): Promise<void> {
    const path = `${snapshotPath(repository, snapshot)}?wait_for_completion=false`;
    await this.http.call({ method: 'PUT', path, body: this.exactly(names) }, signal);
  }

  async runningSnapshots(signal: AbortSignal): Promise<readonly port.RunningSnapshot[]> {
    return answers.runningSnapshots(await this.http.get<answers.StatusAnswer>('/_snapshot/_status', signal));
  }

  /** Not there is no error. One that runs is stopped first. */
  async deleteSnapshot(repository: string, snapshot: string, signal: AbortSignal): Promise<void> {
    const call: Call = { method: 'DELETE', path: snapshotPath(repository, snapshot) };
    await this.http.find(call, 'snapshot_missing_exception', signal);
  }

  async restore(
    repository: string,
    snapshot: string,
    request: port.RestoreRequest,
    signal: AbortSignal,
  ): Promise<port.RestoreAccepted> {
    const body = {
      ...this.exactly(request.indices),
      include_aliases: request.includeAliases,
      index_settings: request.indexSettings,
      ignore_index_settings: request.ignoreIndexSettings,
      rename_pattern: request.rename?.pattern,
      rename_replacement: request.rename?.replacement,
    };
    const path = `${snapshotPath(repository, snapshot)}/_restore?wait_for_completion=false`;
    // `{"accepted":true}`. A snapshot that lacks an index is 404; a list would come from a cluster that leaves it out.
    type Answer = { readonly snapshot?: { readonly indices?: readonly string[] } };
    const answer = await this.http.call<Answer>({ method: 'POST', path, body }, signal);
    return { indices: answer.snapshot?.indices };
  }

  async recoveries(names: readonly string[], signal: AbortSignal): Promise<readonly port.ShardRecovery[]> {
    const path = (group: string) => `/${group}/_recovery?${LENIENT}`;
    return answers.shardRecoveries(await this.each<answers.RecoveryAnswer>(names, path, signal));
  }

  async health(names: readonly string[], signal: AbortSignal): Promise<Readonly<Record<string, port.IndexHealth>>> {
    // An index that does not exist makes the call wait, and then answer 408 with the health of the others.
    const parts = await Promise.all(
      nameGroups(names).map(({ path }) =>
        this.http.call<answers.HealthAnswer>(
          { method: 'GET', path: `/_cluster/health/${path}?level=indices&timeout=0s`, accept: [408] },
          signal,
        ),
      ),
    );
    return mapValues(merged(parts.map(({ indices = {} }) => indices)), answers.indexHealth);
  }

  async explainAllocation(index: string, shard: number, signal: AbortSignal): Promise<string | undefined> {
    const call: Call = { method: 'POST', path: '/_cluster/allocation/explain', body: { index, shard, primary: true } };
    return answers.explanation(await this.http.call<answers.ExplainAnswer>(call, signal));
  }

  async refresh(names: readonly string[], signal: AbortSignal): Promise<void> {
    for (const { path } of nameGroups(names)) {
      const call: Call = { method: 'POST', path: `/${path}/_refresh?${LENIENT}` };
      this.requireReached(call, await this.http.call<answers.Reached>(call, signal));
    }
  }

  async count(name: string, signal: AbortSignal): Promise<number> {
    const call: Call = { method: 'GET', path: `/${encodeName(name)}/_count` };
    const answer = await this.http.call<answers.Reached & { readonly count: number }>(call, signal);
    // A count over some of the shards answers 200; of an unassigned one only `successful` tells.
    const { total = 0, successful = 0 } = answer._shards ?? {};
    this.requireReached(call, { _shards: { total, successful, failed: total - successful } });
    return answer.count;
  }

  async shardStats(
    names: readonly string[],
    signal: AbortSignal,
  ): Promise<Readonly<Record<string, readonly port.ShardStats[]>>> {
    const wanted = ['routing.primary', 'docs', 'indexing.*_total', 'seq_no.max_seq_no'];
    const path = (group: string) => `/${group}/_stats/docs,indexing?level=shards&${LENIENT}&${ofShards(wanted)}`;
    return answers.primaryStats(await this.shards<answers.StatsAnswer>(names, path, signal));
  }

  async segments(
    names: readonly string[],
    signal: AbortSignal,
  ): Promise<Readonly<Record<string, readonly port.Segment[]>>> {
    const columns = ['num_docs', 'deleted_docs', 'size_in_bytes', 'committed', 'search'];
    const wanted = ['routing.primary', ...columns.map((column) => `segments.*.${column}`)];
    const path = (group: string) => `/${group}/_segments?${LENIENT}&${ofShards(wanted)}`;
    return answers.primarySegments(await this.shards<answers.SegmentsAnswer>(names, path, signal));
  }

  documentsById(name: string, ids: readonly string[], signal: AbortSignal): Promise<readonly port.Document[]> {
    return readById(this.http, name, ids, signal);
  }

  async documentsAfter(
    name: string,
    shard: number,
    after: number | undefined,
    size: number,
    signal: AbortSignal,
  ): Promise<readonly port.Document[]> {
    const preference = await this.preferenceFor(shard, signal);
    return readAfter(this.http, { name, preference }, after, size, signal);
  }

  async *documentPages(
    name: string,
    shard: number,
    size: number,
    signal: AbortSignal,
    turn?: port.Turn,
  ): AsyncGenerator<readonly port.Document[]> {
    const preference = await this.preferenceFor(shard, signal);
    yield* readPages(this.http, { name, preference }, size, signal, turn);
  }

  async search(names: readonly string[], body: object, signal: AbortSignal): Promise<port.SearchAnswer> {
    // Since 7.0 hits are counted up to 10,000 only, unless asked for; before 7.0 the word is unknown.
    const count = hasFeaturesOf('7.0', await this.knownInfo(signal)) ? { track_total_hits: true } : {};
    return readSearch(this.http, names, { ...count, ...body }, signal);
  }

  /** Before 7.9 this path is that of a document, type `_block` and id `write`: it must not even be tried. */
  async addWriteBlock(names: readonly string[], signal: AbortSignal): Promise<'blocked' | 'unsupported'> {
    if (!hasFeaturesOf('7.9', await this.knownInfo(signal))) return 'unsupported';
    return addWriteBlock(this.http, names, signal);
  }

  writeTasks(signal: AbortSignal): Promise<readonly port.WriteTask[] | 'unsupported'> {
    return readWriteTasks(this.http, signal);
  }

  async refusalOf(call: CallName, signal: AbortSignal): Promise<string | undefined> {
    if (call !== 'block' || hasFeaturesOf('7.9', await this.knownInfo(signal))) {
      return surroundings.refusalOf(this.http, call, signal);
    }
    return 'PUT <index>/_block/write, which came with 7.9';
  }

  dataStreams(signal: AbortSignal): Promise<Readonly<Record<string, readonly string[]>>> {
    return surroundings.dataStreams(this.http, signal);
  }

  slowIndices(signal: AbortSignal): ReturnType<port.Cluster['slowIndices']> {
    return surroundings.slowIndices(this.http, signal);
  }

  pipelines(signal: AbortSignal): Promise<readonly string[]> {
    return surroundings.pipelines(this.http, signal);
  }

  definitions(signal: AbortSignal): Promise<Definitions> {
    return surroundings.definitions(this.http, signal);
  }

  snapshotPolicies(signal: AbortSignal): Promise<Readonly<Record<string, string>>> {
    return surroundings.snapshotPolicies(this.http, signal);
  }

  plugins(signal: AbortSignal): Promise<readonly string[] | undefined> {
    return surroundings.plugins(this.http, signal);
  }

  unknownSettings(names: readonly string[], signal: AbortSignal): Promise<readonly string[]> {
    return surroundings.unknownSettings(this.http, names, signal);
  }

  analysisFault(body: object, signal: AbortSignal): Promise<string | undefined> {
    return surroundings.analysisFault(this.http, body, signal);
  }

  async room(signal: AbortSignal): Promise<port.Room | undefined> {
    return surroundings.room(this.http, hasFeaturesOf('7.0', await this.knownInfo(signal)), signal);
  }

  /** 7.0 has taken away `_primary`, whose order of documents is that of the snapshot. */
  private async preferenceFor(shard: number, signal: AbortSignal): Promise<string> {
    return hasFeaturesOf('7.0', await this.knownInfo(signal)) ? `_shards:${shard}` : `_shards:${shard}|_primary`;
  }

  /** For choosing calls by version: an older answer is good enough. */
  private async knownInfo(signal: AbortSignal): Promise<port.ClusterInfo> {
    return this.known ?? (await this.info(signal));
  }

  private async closeGroup(path: string, signal: AbortSignal): Promise<void> {
    type Answer = {
      readonly acknowledged?: boolean;
      readonly indices?: Readonly<Record<string, { readonly closed?: boolean }>>;
    };
    const call: Call = { method: 'POST', path: `/${path}/_close` };
    const attempt = await this.http.attempt<Answer>(call, signal);
    if (!attempt.ok) throw this.unlessInUse(call, attempt);
    const { acknowledged, indices = {} } = attempt.body; // the list: since 7.2, and only of those that were open
    const open = Object.keys(indices).filter((name) => indices[name]?.closed === false);
    if (acknowledged !== false && open.length === 0) return;
    throw new UnavailableError('The cluster has not closed every index yet', {
      subject: { ...this.http.subject(call), indices: open.slice(0, 5).join(',') || undefined },
    });
  }

  /**
   * 400 "Cannot close indices that are being restored" (all versions), "Cannot delete indices that are being
   * snapshotted" (5.x, 6.x): over in a while. Our requests have no other argument that could be illegal.
   */
  private unlessInUse(call: Call, { refusal, error }: { readonly refusal: Refusal; readonly error: Error }): Error {
    const isInUse = refusal.type === 'illegal_argument_exception';
    return isInUse ? errorOf({ ...refusal, status: 503 }, this.http.subject(call)) : error;
  }

  /**
   * 7.17 answers 200 although the repository is missing or cannot be read, with the error inside and an empty list:
   * "no such snapshot" would be a guess.
   */
  private snapshotsIn({ snapshots = [], failures }: SnapshotsAnswer, repository: string, call: Call) {
    const error = failures?.[repository];
    if (error === undefined) return snapshots;
    throw errorOf(readRefusal(500, JSON.stringify({ error }), undefined), this.http.subject(call));
  }

  /** What snapshot and restore have in common: all of these, and nothing else. */
  private exactly(names: readonly string[]) {
    if (names.length === 0) {
      throw new ConfigurationError('No index is named, which Elasticsearch takes for all of them', {
        subject: { cluster: this.name },
      });
    }
    return { indices: names.join(','), ignore_unavailable: false, include_global_state: false, partial: false };
  }

  /** One GET per group of names; answers keyed by index are merged. */
  private async each<T extends object>(
    names: readonly string[],
    path: (group: string) => string,
    signal: AbortSignal,
  ): Promise<T> {
    return merged(await Promise.all(nameGroups(names).map((group) => this.http.get<T>(path(group.path), signal))));
  }

  /** As `each`, for answers that hold shards. One shard that does not answer would be a difference that is none. */
  private async shards<T extends answers.ShardsAnswer<unknown>>(
    names: readonly string[],
    path: (group: string) => string,
    signal: AbortSignal,
  ): Promise<T> {
    const parts = await Promise.all(
      nameGroups(names).map(async (group) => {
        const call: Call = { method: 'GET', path: path(group.path) };
        const answer = await this.http.call<T>(call, signal);
        this.requireReached(call, answer);
        return answer.indices ?? {};
      }),
    );
    return { indices: merged(parts) } as T;
  }

  private requireReached(call: Call, { _shards }: answers.Reached): void {
    if ((_shards?.failed ?? 0) === 0) return;
    throw new UnavailableError(`${_shards?.failed} of ${_shards?.total} shards do not answer`, {
      subject: this.http.subject(call),
    });
  }
}

function ofShards(fields: readonly string[]): string {
  return `filter_path=_shards,${fields.map((field) => `indices.*.shards.*.${field}`).join(',')}`;
}

function merged<T extends object>(parts: readonly T[]): T {
  return Object.assign({}, ...parts) as T;
}

function mapValues<In, Out>(values: Readonly<Record<string, In>>, change: (value: In) => Out): Record<string, Out> {
  return Object.fromEntries(Object.entries(values).map(([key, value]) => [key, change(value)]));
}
