import { WritesNotBlockedError } from '../domain/errors';
import * as answers from './answers';
import type * as port from './cluster';
import type { ClusterConnection } from './connection';
import { errorOf, readRefusal } from './failures';
import { Http, PROMPT_MS } from './http';
import type { Call } from './http';
import { atLeast, nameGroups } from './paths';

/** Opens a cluster by HTTP. Throws `ConfigurationError` for a way to connect that has not landed; connects lazily. */
export function openCluster(connection: ClusterConnection): port.Cluster {
  return new HttpCluster(connection);
}

const get = (path: string): Call => ({ method: 'GET', path });

class HttpCluster implements port.Cluster {
  readonly name: string;
  readonly description: string;
  private readonly http: Http;
  private known: port.ClusterInfo | undefined;

  constructor(connection: ClusterConnection) {
    this.name = connection.name;
    this.description = new URL(connection.url).host;
    this.http = new Http(connection);
  }

  async info(signal: AbortSignal): Promise<port.ClusterInfo> {
    interface Root {
      readonly cluster_name: string;
      readonly cluster_uuid: string;
      readonly version: { readonly number: string; readonly distribution?: string };
    }
    const answer = await this.http.send(get('/'), signal);
    // The 8.19 zip has no handler for `/` and says 405 (facts/elasticsearch-verified.md section 6).
    if (answer.status === 405) return this.infoByNodes(signal);
    const root = answer.status < 300 ? (JSON.parse(answer.body) as Root) : await this.http.call<Root>(get('/'), signal);
    return {
      uuid: root.cluster_uuid,
      clusterName: root.cluster_name,
      version: root.version.number,
      distribution: root.version.distribution === 'opensearch' ? 'opensearch' : 'elasticsearch',
    };
  }

  async indices(signal: AbortSignal): Promise<readonly port.IndexInfo[]> {
    // Before 7.7 there were no hidden indices, and `_cat` knew no expand_wildcards.
    const hidden = atLeast(await this.version(signal), '7.7') ? '&expand_wildcards=all' : '';
    const [settings, cat] = await Promise.all([
      this.http.call<answers.SettingsAnswer>(get('/_all/_settings?flat_settings=true&expand_wildcards=all'), signal),
      this.http.call<answers.CatIndex[]>(
        get(`/_cat/indices?format=json&bytes=b&h=index,status,health,docs.count,pri.store.size${hidden}`),
        signal,
      ),
    ]);
    const rows = new Map(cat.map((row) => [row.index, row]));
    return Object.entries(settings).map(([name, index]) => answers.indexInfo(name, index.settings, rows.get(name)));
  }

  async aliases(names: readonly string[], signal: AbortSignal) {
    type Answer = Record<string, { aliases: Record<string, port.AliasDefinition> }>;
    const found = await this.each<Answer>(names, (path) => `/${path}/_alias?ignore_unavailable=true`, signal);
    return mapValues(found, (index) => index.aliases);
  }

  async allAliases(signal: AbortSignal): Promise<Readonly<Record<string, readonly string[]>>> {
    type Answer = Record<string, { aliases?: Record<string, unknown> }>;
    const found = await this.http.call<Answer>(get('/_all/_alias?expand_wildcards=all'), signal);
    const byAlias: Record<string, string[]> = {};
    for (const [index, { aliases }] of Object.entries(found)) {
      for (const alias of Object.keys(aliases ?? {})) (byAlias[alias] ??= []).push(index);
    }
    return byAlias;
  }

  async updateAliases(actions: readonly port.AliasAction[], signal: AbortSignal): Promise<void> {
    await this.http.call({ method: 'POST', path: '/_aliases', body: { actions }, timeoutMs: PROMPT_MS }, signal);
  }

  async settings(names: readonly string[], signal: AbortSignal): Promise<Readonly<Record<string, port.FlatSettings>>> {
    const path = (group: string) =>
      `/${group}/_settings?flat_settings=true&ignore_unavailable=true&expand_wildcards=all`;
    return mapValues(await this.each<answers.SettingsAnswer>(names, path, signal), (index) => index.settings);
  }

  async updateSettings(
    names: readonly string[],
    settings: Readonly<Record<string, string | number | boolean | null>>,
    signal: AbortSignal,
  ): Promise<void> {
    for (const { path } of nameGroups(names)) {
      await this.http.call({ method: 'PUT', path: `/${path}/_settings`, body: settings, timeoutMs: PROMPT_MS }, signal);
    }
  }

  async mappings(names: readonly string[], signal: AbortSignal): Promise<Readonly<Record<string, unknown>>> {
    const path = (group: string) => `/${group}/_mapping?ignore_unavailable=true`;
    return mapValues(
      await this.each<Record<string, { mappings: unknown }>>(names, path, signal),
      (index) => index.mappings,
    );
  }

  async close(names: readonly string[], signal: AbortSignal): Promise<void> {
    for (const { path } of nameGroups(names)) {
      const call: Call = { method: 'POST', path: `/${path}/_close` };
      const answer = await this.http.send(call, signal);
      if (answer.status < 300) continue;
      const refusal = readRefusal(answer.status, answer.body, answer.retryAfter);
      // 400 illegal_argument "Cannot close indices that are being restored" (all versions): over in a while.
      const restoring = refusal.type === 'illegal_argument_exception';
      throw errorOf(restoring ? { ...refusal, status: 503 } : refusal, {
        cluster: this.name,
        indices: path.slice(0, 200),
      });
    }
  }

  repository(name: string, signal: AbortSignal): Promise<port.RepositoryDefinition | undefined> {
    return this.http
      .find<Record<string, port.RepositoryDefinition>>(get(`/_snapshot/${encodeURIComponent(name)}`), signal)
      .then((answer) => answer?.[name]);
  }

  repositories(signal: AbortSignal): Promise<Readonly<Record<string, port.RepositoryDefinition>>> {
    return this.http.call(get('/_snapshot'), signal);
  }

  async putRepository(name: string, definition: port.RepositoryDefinition, signal: AbortSignal): Promise<void> {
    await this.http.call({ method: 'PUT', path: `/_snapshot/${encodeURIComponent(name)}`, body: definition }, signal);
  }

  async deleteRepository(name: string, signal: AbortSignal): Promise<void> {
    const call: Call = { method: 'DELETE', path: `/_snapshot/${encodeURIComponent(name)}` };
    const answer = await this.http.send(call, signal);
    if (answer.status < 300 || answer.status === 404) return;
    const refusal = readRefusal(answer.status, answer.body, answer.retryAfter);
    // In use by a snapshot or restore: 500 illegal_state_exception up to 7.17, 409 repository_conflict_exception on 8.x.
    throw errorOf(refusal, { cluster: this.name, repository: name });
  }

  async snapshot(repository: string, snapshot: string, signal: AbortSignal): Promise<port.SnapshotInfo | undefined> {
    const call = get(snapshotPath(repository, snapshot));
    const answer = await this.http.send(call, signal);
    const subject = { cluster: this.name, repository, snapshot };
    if (answer.status >= 300) {
      const refusal = readRefusal(answer.status, answer.body, answer.retryAfter);
      if (refusal.type === 'snapshot_missing_exception') return undefined;
      throw errorOf(refusal, subject);
    }
    const { snapshots } = JSON.parse(answer.body) as { snapshots?: readonly answers.SnapshotAnswer[] };
    const found = snapshots?.find((entry) => entry.snapshot === snapshot);
    return found === undefined ? undefined : answers.snapshotInfo(found);
  }

  async createSnapshot(
    repository: string,
    snapshot: string,
    names: readonly string[],
    signal: AbortSignal,
  ): Promise<void> {
    const body = { indices: names.join(','), ignore_unavailable: false, include_global_state: false, partial: false };
    await this.http.call(
      { method: 'PUT', path: `${snapshotPath(repository, snapshot)}?wait_for_completion=false`, body },
      signal,
    );
  }

  async runningSnapshots(signal: AbortSignal): Promise<readonly port.RunningSnapshot[]> {
    interface Answer {
      readonly snapshots: readonly {
        readonly repository: string;
        readonly snapshot: string;
        readonly shards_stats: { readonly done: number; readonly total: number };
      }[];
    }
    const { snapshots } = await this.http.call<Answer>(get('/_snapshot/_status'), signal);
    return snapshots.map((entry) => ({
      repository: entry.repository,
      snapshot: entry.snapshot,
      shardsDone: entry.shards_stats.done,
      shardsTotal: entry.shards_stats.total,
    }));
  }

  async deleteSnapshot(repository: string, snapshot: string, signal: AbortSignal): Promise<void> {
    await this.http.find({ method: 'DELETE', path: snapshotPath(repository, snapshot) }, signal);
  }

  async restore(
    repository: string,
    snapshot: string,
    request: port.RestoreRequest,
    signal: AbortSignal,
  ): Promise<port.RestoreAccepted> {
    const body = {
      indices: request.indices.join(','),
      ignore_unavailable: false,
      include_global_state: false,
      partial: false,
      include_aliases: request.includeAliases,
      index_settings: request.indexSettings,
      ignore_index_settings: request.ignoreIndexSettings,
    };
    const path = `${snapshotPath(repository, snapshot)}/_restore?wait_for_completion=false`;
    const answer = await this.http.call<{ snapshot?: { indices?: string[] } }>({ method: 'POST', path, body }, signal);
    return { indices: answer.snapshot?.indices };
  }

  async recoveries(names: readonly string[], signal: AbortSignal): Promise<readonly port.ShardRecovery[]> {
    const path = (group: string) => `/${group}/_recovery?ignore_unavailable=true`;
    return answers.shardRecoveries(await this.each<answers.RecoveryAnswer>(names, path, signal));
  }

  async health(names: readonly string[], signal: AbortSignal): Promise<Readonly<Record<string, port.IndexHealth>>> {
    // Asked for the whole cluster: asked by name, a missing index makes the call wait for its time-out.
    interface Answer {
      readonly indices?: Record<
        string,
        {
          readonly status: port.IndexHealth['status'];
          readonly number_of_shards: number;
          readonly active_primary_shards: number;
          readonly active_shards: number;
          readonly unassigned_shards: number;
          readonly initializing_shards: number;
          readonly relocating_shards: number;
        }
      >;
    }
    const { indices = {} } = await this.http.call<Answer>(get('/_cluster/health?level=indices'), signal);
    const wanted = names.flatMap((name) => (indices[name] === undefined ? [] : [[name, indices[name]] as const]));
    return Object.fromEntries(
      wanted.map(([name, index]) => [
        name,
        {
          status: index.status,
          shards: index.number_of_shards,
          activePrimaries: index.active_primary_shards,
          activeShards: index.active_shards,
          unassigned: index.unassigned_shards,
          initializing: index.initializing_shards,
          relocating: index.relocating_shards,
        },
      ]),
    );
  }

  async explainAllocation(index: string, shard: number, signal: AbortSignal): Promise<string | undefined> {
    const call: Call = { method: 'POST', path: '/_cluster/allocation/explain', body: { index, shard, primary: true } };
    interface Answer {
      readonly current_state?: string;
      readonly unassigned_info?: { readonly reason?: string; readonly details?: string };
      readonly allocate_explanation?: string;
    }
    const answer = await this.http.call<Answer>(call, signal);
    if (answer.current_state === 'started') return undefined;
    const { reason, details } = answer.unassigned_info ?? {};
    return [reason, details, answer.allocate_explanation]
      .filter((part) => part !== undefined)
      .join(': ')
      .slice(0, 1_000);
  }

  async refresh(names: readonly string[], signal: AbortSignal): Promise<void> {
    for (const { path } of nameGroups(names)) {
      await this.http.call({ method: 'POST', path: `/${path}/_refresh?ignore_unavailable=true` }, signal);
    }
  }

  async count(name: string, signal: AbortSignal): Promise<number> {
    return (await this.http.call<{ count: number }>(get(`/${encodeURIComponent(name)}/_count`), signal)).count;
  }

  async shardStats(
    names: readonly string[],
    signal: AbortSignal,
  ): Promise<Readonly<Record<string, readonly port.ShardStats[]>>> {
    const path = (group: string) => `/${group}/_stats/docs,indexing?level=shards&ignore_unavailable=true`;
    return answers.primaryStats(await this.shards<answers.StatsAnswer>(names, path, signal));
  }

  async segments(
    names: readonly string[],
    signal: AbortSignal,
  ): Promise<Readonly<Record<string, readonly port.Segment[]>>> {
    const path = (group: string) => `/${group}/_segments?ignore_unavailable=true`;
    return answers.primarySegments(await this.shards<answers.SegmentsAnswer>(names, path, signal));
  }

  async addWriteBlock(names: readonly string[], signal: AbortSignal): Promise<'blocked' | 'unsupported'> {
    const { version, distribution } = await this.info(signal);
    if (distribution === 'elasticsearch' && !atLeast(version, '7.9')) return 'unsupported';
    for (const [position, { path, names: group }] of nameGroups(names).entries()) {
      const call: Call = { method: 'PUT', path: `/${path}/_block/write`, timeoutMs: PROMPT_MS };
      const answer = await this.http.send(call, signal);
      if (position === 0 && [400, 403, 405].includes(answer.status)) return 'unsupported';
      if (answer.status >= 300) {
        throw errorOf(readRefusal(answer.status, answer.body, answer.retryAfter), { cluster: this.name });
      }
      this.requireBlocked(answer.body, group);
    }
    return 'blocked';
  }

  async writeTasks(signal: AbortSignal): Promise<readonly port.WriteTask[] | 'unsupported'> {
    const call: Call = {
      method: 'GET',
      path: '/_tasks?actions=indices:data/write*&detailed=true',
      timeoutMs: PROMPT_MS,
    };
    const answer = await this.http.send(call, signal);
    if ([400, 401, 403, 404, 405].includes(answer.status)) return 'unsupported';
    if (answer.status >= 300)
      throw errorOf(readRefusal(answer.status, answer.body, answer.retryAfter), { cluster: this.name });
    return answers.writeTasks(JSON.parse(answer.body) as answers.TasksAnswer);
  }

  /** "Acknowledged" alone means the cluster state; only every shard's word means that no write is in flight. */
  private requireBlocked(body: string, names: readonly string[]): void {
    interface Answer {
      readonly acknowledged?: boolean;
      readonly shards_acknowledged?: boolean;
      readonly indices?: readonly { readonly name: string; readonly blocked?: boolean }[];
    }
    const answer = JSON.parse(body) as Answer;
    const blocked = new Set(
      (answer.indices ?? []).filter((index) => index.blocked === true).map((index) => index.name),
    );
    const open = names.filter((name) => !blocked.has(name));
    if (answer.acknowledged === true && answer.shards_acknowledged === true && open.length === 0) return;
    throw new WritesNotBlockedError('Not every shard acknowledged the write block: retry, or look at the nodes', {
      subject: { cluster: this.name, indices: open.slice(0, 5).join(',') },
    });
  }

  /** Settings may change a cluster's version under a running migration only by an upgrade; asking once is enough. */
  private async version(signal: AbortSignal): Promise<string> {
    this.known ??= await this.info(signal);
    return this.known.version;
  }

  private async infoByNodes(signal: AbortSignal): Promise<port.ClusterInfo> {
    const [nodes, state] = await Promise.all([
      this.http.call<{ nodes: Record<string, { version: string }> }>(
        get('/_nodes/_local?filter_path=nodes.*.version'),
        signal,
      ),
      this.http.call<{ cluster_name: string; cluster_uuid?: string; metadata?: { cluster_uuid?: string } }>(
        get('/_cluster/state/metadata?filter_path=cluster_name,cluster_uuid,metadata.cluster_uuid'),
        signal,
      ),
    ]);
    return {
      uuid: state.cluster_uuid ?? state.metadata?.cluster_uuid ?? '',
      clusterName: state.cluster_name,
      version: Object.values(nodes.nodes)[0]?.version ?? '0.0.0',
      distribution: 'elasticsearch',
    };
  }

  /** One GET per group of names; answers keyed by index are merged. */
  private async each<T extends object>(
    names: readonly string[],
    path: (group: string) => string,
    signal: AbortSignal,
  ): Promise<T> {
    const parts = await Promise.all(nameGroups(names).map((group) => this.http.call<T>(get(path(group.path)), signal)));
    return Object.assign({}, ...parts) as T;
  }

  private async shards<T extends { readonly indices?: object }>(
    names: readonly string[],
    path: (group: string) => string,
    signal: AbortSignal,
  ): Promise<T> {
    const parts = await Promise.all(nameGroups(names).map((group) => this.http.call<T>(get(path(group.path)), signal)));
    return { indices: Object.assign({}, ...parts.map((part) => part.indices ?? {})) as object } as T;
  }
}

function snapshotPath(repository: string, snapshot: string): string {
  return `/_snapshot/${encodeURIComponent(repository)}/${encodeURIComponent(snapshot)}`;
}

function mapValues<In, Out>(values: Readonly<Record<string, In>>, change: (value: In) => Out): Record<string, Out> {
  return Object.fromEntries(Object.entries(values).map(([key, value]) => [key, change(value)]));
}
