import type { Definition, Definitions } from '../domain/definitions';
import type { Watermark } from '../domain/watermarks';
import { CALLS, NOBODY } from './calls';
import type { CallName, NeededCall } from './calls';
import type { Room } from './cluster';
import { isUnsupported } from './failures';
import type { Refusal } from './failures';
import type { Call, Http } from './http';
import { encodeName } from './paths';

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

interface Named {
  readonly index: string;
}

/** See `Cluster.slowIndices`. Amazon OpenSearch Service, developer guide, "UltraWarm storage" and "Cold storage". */
export async function slowIndices(http: Http, signal: AbortSignal) {
  const warm = await optional<Named[]>(http, '/_cat/indices/_warm?format=json&h=index', signal);
  return { warm: (warm ?? []).map(({ index }) => index), cold: await coldIndices(http, signal) };
}

/** Each page says by what name the next one is asked for; the last one is empty. */
async function coldIndices(http: Http, signal: AbortSignal): Promise<string[]> {
  type Page = { readonly pagination_id?: string; readonly indices?: readonly Named[] };
  const path = `/_cold/indices/_search?page_size=${COLD_PAGE}`;
  const found: string[] = [];
  let page = await optional<Page>(http, path, signal);
  while (page?.indices !== undefined && page.indices.length > 0) {
    found.push(...page.indices.map(({ index }) => index));
    const { pagination_id } = page;
    if (pagination_id === undefined) break;
    page = await http.call<Page>({ method: 'GET', path, body: { pagination_id } }, signal);
  }
  return found;
}

const COLD_PAGE = 1_000;

/** See `Cluster.pipelines`. */
export async function pipelines(http: Http, signal: AbortSignal): Promise<string[]> {
  return Object.keys((await optional<object>(http, '/_ingest/pipeline', signal)) ?? {});
}

/** See `Cluster.definitions`. */
export async function definitions(http: Http, signal: AbortSignal): Promise<Definitions> {
  const all: Definition[] = [];
  let scriptsKnown = true;
  for (const { kind, from, to, read } of DEFINED) {
    const answer = await optional<never>(http, from, signal);
    if (kind === 'script') scriptsKnown = showsMetadata(answer);
    for (const [name, body] of answer === undefined ? [] : read(answer)) {
      if (isOwn(name, body)) continue;
      all.push({ kind, name, path: `${to}/${encodeName(name)}`, body: without(body, DATES) });
    }
  }
  return { all, scriptsKnown };
}

/** A service that hides what its clusters hold answers with an empty state, as one without scripts would but for this. */
function showsMetadata(answer: StateAnswer | undefined): boolean {
  return answer?.metadata?.cluster_uuid !== undefined;
}

interface StateAnswer {
  readonly metadata?: { readonly cluster_uuid?: string; readonly stored_scripts?: Readonly<Record<string, object>> };
}

type Entries = (readonly [name: string, body: object])[];
interface Defined {
  readonly kind: Definition['kind'];
  readonly from: string;
  /** Where it is PUT, in front of its name. */
  readonly to: string;
  read(answer: never): Entries;
}

/** What a cluster makes itself has a name that begins with a dot, or since 7.9 says that it is managed. */
function isOwn(name: string, body: object): boolean {
  type Marked = { readonly managed?: boolean } | undefined;
  const { _meta: meta, policy } = body as { readonly _meta?: Marked; readonly policy?: { readonly _meta?: Marked } };
  return name.startsWith('.') || meta?.managed === true || policy?._meta?.managed === true;
}

/** Which no PUT takes. */
const DATES = ['created_date', 'created_date_millis', 'modified_date', 'modified_date_millis'];

function without(body: object, keys: readonly string[]): object {
  return Object.fromEntries(Object.entries(body).filter(([key]) => !keys.includes(key)));
}

const byName = (answer: Readonly<Record<string, object>>): Entries => Object.entries(answer);

const STATE_PATHS = 'metadata.cluster_uuid,metadata.stored_scripts';

/** What each kind is asked of, and what of the answer is taken by its PUT. */
const DEFINED: readonly Defined[] = [
  { kind: 'template', from: '/_template', to: '/_template', read: byName },
  {
    ...{ kind: 'index-template', from: '/_index_template', to: '/_index_template' },
    read: ({ index_templates: all }: { index_templates: { name: string; index_template: object }[] }) =>
      all.map(({ name, index_template }) => [name, index_template] as const),
  },
  {
    ...{ kind: 'component-template', from: '/_component_template', to: '/_component_template' },
    read: ({ component_templates: all }: { component_templates: { name: string; component_template: object }[] }) =>
      all.map(({ name, component_template }) => [name, component_template] as const),
  },
  { kind: 'pipeline', from: '/_ingest/pipeline', to: '/_ingest/pipeline', read: byName },
  {
    ...{ kind: 'ilm-policy', from: '/_ilm/policy', to: '/_ilm/policy' },
    read: (answer: Readonly<Record<string, { policy: object }>>) =>
      Object.entries(answer).map(([name, { policy }]) => [name, { policy }] as const),
  },
  {
    ...{ kind: 'ism-policy', from: '/_opendistro/_ism/policies', to: '/_opendistro/_ism/policies' },
    read: ({ policies = [] }: { policies?: { _id: string; policy: object }[] }) =>
      policies.map(({ _id, policy }) => [_id, { policy: without(policy, MADE_BY_ISM) }] as const),
  },
  {
    ...{ kind: 'script', from: `/_cluster/state/metadata?filter_path=${STATE_PATHS}`, to: '/_scripts' },
    read: ({ metadata }: StateAnswer) =>
      Object.entries(metadata?.stored_scripts ?? {}).map(([id, script]) => [id, { script }] as const),
  },
];

const MADE_BY_ISM = ['policy_id', 'last_updated_time', 'schema_version'];

/** See `Cluster.snapshotPolicies`. */
export async function snapshotPolicies(http: Http, signal: AbortSignal): Promise<Record<string, string>> {
  type Answer = Record<string, { readonly policy?: { readonly repository?: string } }>;
  const answer = await optional<Answer>(http, '/_slm/policy', signal);
  return Object.fromEntries(Object.entries(answer ?? {}).map(([name, { policy }]) => [name, policy?.repository ?? '']));
}

/** See `Cluster.plugins`. */
export async function plugins(http: Http, signal: AbortSignal): Promise<string[] | undefined> {
  const rows = await optional<{ readonly component: string }[]>(http, '/_cat/plugins?format=json&h=component', signal);
  return rows && [...new Set(rows.map(({ component }) => component))];
}

/** Which no cluster knows, so that a request with it changes nothing, whatever else it has. Settings are judged by name. */
const NO_SETTING = `index.zz-${NOBODY}`;

/**
 * See `Cluster.unknownSettings`. Settings are judged before indices are looked for, of which there is none. Later versions
 * tell all that is wrong, 5.x the first thing, which may be the value: then it is asked again without that one.
 */
export async function unknownSettings(http: Http, names: readonly string[], signal: AbortSignal): Promise<string[]> {
  const path = `/${NOBODY}*/_settings?allow_no_indices=true`;
  const unknown = new Set<string>();
  let asked = names;
  for (;;) {
    const body = Object.fromEntries([...asked, NO_SETTING].map((name) => [name, 'x']));
    const attempt = await http.attemptText({ method: 'PUT', path, body, accept: [400] }, signal);
    if (!attempt.ok) {
      if (isUnsupported(attempt.refusal)) return [];
      throw attempt.error;
    }
    const told = asked.filter((name) => attempt.body.includes(`[${name}]`));
    if (told.length === 0) return names.filter((name) => unknown.has(name));
    for (const name of told) if (attempt.body.includes(`unknown setting [${name}]`)) unknown.add(name);
    asked = asked.filter((name) => !told.includes(name));
  }
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
  const set = await roomSettings(http, signal);
  const limit = limited ? set(SHARD_LIMIT) : undefined;
  return {
    nodes: nodes.length,
    shards: sum('shards'),
    freeBytes: sum('disk.avail'),
    totalBytes: sum('disk.total'),
    ...(limit === undefined ? {} : { shardsPerNode: Number(limit) }),
    watermarks: set(`${DISK}.threshold_enabled`) === 'false' ? [] : WATERMARKS.flatMap((name) => watermark(set, name)),
  };
}

const SHARD_LIMIT = 'cluster.max_shards_per_node';
const DISK = 'cluster.routing.allocation.disk';
const WATERMARKS = ['low', 'high', 'flood_stage'] as const;

type Setting = (name: string) => string | undefined;

/** 5.x has no flood stage, and a headroom came with 8.5: -1 where none holds. */
function watermark(set: Setting, name: Watermark['name']): Watermark[] {
  const value = set(`${DISK}.watermark.${name}`);
  const maxHeadroom = set(`${DISK}.watermark.${name}.max_headroom`);
  if (value === undefined) return [];
  return [{ name, value, ...(maxHeadroom === undefined || maxHeadroom === '-1' ? {} : { maxHeadroom }) }];
}

/** What holds of the settings that limit shards and disks. */
async function roomSettings(http: Http, signal: AbortSignal): Promise<Setting> {
  type Answer = Readonly<Record<'transient' | 'persistent' | 'defaults', Readonly<Record<string, string>> | undefined>>;
  const wanted = [SHARD_LIMIT, `${DISK}.*`].map((name) => `*.${name.replaceAll('.', '*')}`);
  const answer = await optional<Answer>(
    http,
    `/_cluster/settings?flat_settings=true&include_defaults=true&filter_path=${wanted.join()}`,
    signal,
  );
  return (name) =>
    [answer?.transient, answer?.persistent, answer?.defaults].map((group) => group?.[name]).find(Boolean);
}

/** Undefined where the cluster does not know the call or does not allow it. */
async function optional<T>(http: Http, path: string, signal: AbortSignal): Promise<T | undefined> {
  const attempt = await http.attempt<T>({ method: 'GET', path }, signal);
  if (attempt.ok) return attempt.body;
  // Where the feature is missing, its path is taken for the name of an index.
  if (isUnsupported(attempt.refusal) || attempt.refusal.status === 404) return undefined;
  throw attempt.error;
}
