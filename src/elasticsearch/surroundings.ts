import { ConfigurationError } from '../domain/errors';
import { CALLS, NOBODY } from './calls';
import type { CallName, NeededCall } from './calls';
import type { RepositoryDefinition, Room } from './cluster';
import { isUnsupported } from './failures';
import type { Refusal } from './failures';
import type { Call, Http } from './http';

/** What preflight asks beyond the indices themselves: what a cluster permits, has, and has room for. */

/** See `Cluster.refusalOf`; that the version knows the call was checked by the caller. */
export async function refusalOf(http: Http, name: CallName, signal: AbortSignal): Promise<string | undefined> {
  const { method, path, isAdvisory, probe = {} }: NeededCall = CALLS[name];
  const { query, body, accept } = probe;
  const target = path.replaceAll('*', NOBODY) + (query === undefined ? '' : `?${query}`);
  const call: Call = { method, path: target, ...(body && { body }), ...(accept && { accept }) };
  // What is only asked to judge the plan may be missing in this version: then there is nothing to judge.
  return refusalOfCall(http, call, isAdvisory ? isDenied : isForbidden, signal);
}

/** See `Cluster.registrationRefusal`. */
export async function registrationRefusal(
  http: Http,
  { type, settings: { role_arn } }: RepositoryDefinition,
  signal: AbortSignal,
): Promise<string | undefined> {
  const path = `/_snapshot/${NOBODY}`;
  const body = { type, settings: role_arn === undefined ? {} : { role_arn } };
  const attempt = await http.attempt<unknown>({ method: 'PUT', path, body }, signal);
  if (attempt.ok) throw new ConfigurationError(`A repository without a place was registered: remove '${NOBODY}'`);
  const { status, type: refused, reason } = attempt.refusal;
  if (status === 401 || status === 403) return `PUT ${path}: ${reason}`;
  // The cluster looked for the place, so it would have registered one.
  if (refused !== undefined) return undefined;
  throw attempt.error;
}

type Judge = (refusal: Refusal) => boolean;

async function refusalOfCall(http: Http, call: Call, isRefused: Judge, signal: AbortSignal) {
  const attempt = await http.attempt<unknown>(call, signal);
  if (attempt.ok) return undefined;
  const { refusal } = attempt;
  if (isRefused(refusal)) return `${call.method} ${call.path}: ${refusal.reason}`;
  // The cluster looked for what is not there, so it would have done it.
  if (refusal.status < 500 && (refusal.type !== undefined || isRefused === isDenied)) return undefined;
  throw attempt.error;
}

/** 401 and 403 are about who asks; a 400, 404 or 405 without a type is a service that does not offer the call. */
function isForbidden(refusal: Refusal): boolean {
  const { status, type } = refusal;
  if (status === 401 || isDenied(refusal)) return true;
  return type === undefined && [400, 404, 405].includes(status);
}

function isDenied({ status, type }: Refusal): boolean {
  return status === 403 && type !== 'cluster_block_exception';
}

/** See `Cluster.dataStreams`. */
export async function dataStreams(http: Http, signal: AbortSignal): Promise<Record<string, readonly string[]>> {
  interface Answer {
    readonly data_streams?: readonly {
      readonly name: string;
      readonly indices: readonly { readonly index_name: string }[];
    }[];
  }
  const answer = await optional<Answer>(http, '/_data_stream?expand_wildcards=all', signal);
  return Object.fromEntries(
    (answer?.data_streams ?? []).map(({ name, indices }) => [name, indices.map((index) => index.index_name)]),
  );
}

/** See `Cluster.pipelines`. */
export async function pipelines(http: Http, signal: AbortSignal): Promise<string[]> {
  return Object.keys((await optional<object>(http, '/_ingest/pipeline', signal)) ?? {});
}

/** See `Cluster.templates`: those of the old kind, and the composable ones that came with 7.8. */
export async function templates(http: Http, signal: AbortSignal): Promise<Record<string, readonly string[]>> {
  // `template` is how 5.x calls the one pattern.
  type Old = Record<string, { readonly index_patterns?: readonly string[]; readonly template?: string }>;
  interface Composable {
    readonly index_templates?: readonly {
      readonly name: string;
      readonly index_template: { readonly index_patterns: readonly string[] };
    }[];
  }
  const old = (await optional<Old>(http, '/_template', signal)) ?? {};
  const young = (await optional<Composable>(http, '/_index_template', signal))?.index_templates ?? [];
  return Object.fromEntries([
    ...Object.entries(old).map(
      ([name, { index_patterns, template }]) => [name, index_patterns ?? [template].flat()] as const,
    ),
    ...young.map(({ name, index_template }) => [name, index_template.index_patterns] as const),
  ]) as Record<string, readonly string[]>;
}

/** See `Cluster.snapshotPolicies`. */
export async function snapshotPolicies(http: Http, signal: AbortSignal): Promise<Record<string, string>> {
  type Answer = Record<string, { readonly policy?: { readonly repository?: string } }>;
  const answer = await optional<Answer>(http, '/_slm/policy', signal);
  return Object.fromEntries(Object.entries(answer ?? {}).map(([name, { policy }]) => [name, policy?.repository ?? '']));
}

/** See `Cluster.analysisFault`. */
export async function analysisFault(http: Http, body: object, signal: AbortSignal): Promise<string | undefined> {
  const attempt = await http.attempt<unknown>(
    { method: 'POST', path: '/_analyze', body: { ...body, text: 'x' } },
    signal,
  );
  if (attempt.ok) return undefined;
  const { status, type, reason } = attempt.refusal;
  if (type !== undefined && status !== 401 && status !== 403) return reason;
  if (isUnsupported(attempt.refusal)) return undefined;
  throw attempt.error;
}

/** See `Cluster.room`. `limited` is for versions that limit the number of shards. */
export async function room(http: Http, limited: boolean, signal: AbortSignal): Promise<Room | undefined> {
  type Row = Readonly<Record<'node' | 'shards' | 'disk.avail' | 'disk.total', string | null>>;
  const rows = await optional<Row[]>(
    http,
    '/_cat/allocation?format=json&bytes=b&h=node,shards,disk.avail,disk.total',
    signal,
  );
  // A row without a disk is that of the shards that no node has.
  const nodes = rows?.filter((row) => row['disk.total'] != null && row['disk.avail'] != null);
  if (nodes === undefined || nodes.length === 0) return undefined;
  const sum = (column: 'shards' | 'disk.avail' | 'disk.total') =>
    nodes.reduce((total, row) => total + Number(row[column]), 0);
  const shardsPerNode = limited ? await shardLimit(http, signal) : undefined;
  return {
    nodes: nodes.length,
    shards: sum('shards'),
    freeBytes: sum('disk.avail'),
    totalBytes: sum('disk.total'),
    ...(shardsPerNode === undefined ? {} : { shardsPerNode }),
  };
}

const SHARD_LIMIT = 'cluster.max_shards_per_node';

async function shardLimit(http: Http, signal: AbortSignal): Promise<number | undefined> {
  type Answer = Readonly<Record<'transient' | 'persistent' | 'defaults', Readonly<Record<string, string>> | undefined>>;
  const answer = await optional<Answer>(
    http,
    `/_cluster/settings?flat_settings=true&include_defaults=true&filter_path=*.${SHARD_LIMIT.replaceAll('.', '*')}`,
    signal,
  );
  const value = [answer?.transient, answer?.persistent, answer?.defaults]
    .map((group) => group?.[SHARD_LIMIT])
    .find(Boolean);
  return value === undefined ? undefined : Number(value);
}

/** Undefined where the cluster does not know the call or does not allow it. */
async function optional<T>(http: Http, path: string, signal: AbortSignal): Promise<T | undefined> {
  const attempt = await http.attempt<T>({ method: 'GET', path }, signal);
  if (attempt.ok) return attempt.body;
  // Where the feature is missing, its path is taken for the name of an index.
  if (isUnsupported(attempt.refusal) || attempt.refusal.status === 404) return undefined;
  throw attempt.error;
}
