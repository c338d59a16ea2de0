import { isLosslessNumber, parse } from 'lossless-json';
import { ConfigurationError, UnavailableError } from '../domain/errors';
import type { Reached } from './answers';
import type { Document, SearchAnswer, Turn } from './cluster';
import type { Attempt, Call, Http } from './http';
import { encodeName, nameGroups } from './paths';

/**
 * Documents as they lie in an index, for comparing two clusters. Numbers keep the text they were written with: a `long`
 * beyond 2^53, `1.10` and `1e0` are what they are. For that no call here uses `filter_path`, under which Elasticsearch
 * writes the source anew through doubles (seen on 5.5.2); without it the stored bytes are sent as they are.
 */

/** How long a cluster keeps a scroll between two pages. */
const SCROLL_FOR = '5m';
const SCROLL_LOST = 'The cluster has dropped a scroll (a node restarted, or a page took too long): it begins anew';

type Fields = Readonly<Record<string, unknown>>;

/** Documents with one of these ids, whatever their type and routing. */
export async function readById(http: Http, name: string, ids: readonly string[], signal: AbortSignal) {
  if (ids.length === 0) return [];
  const body = { query: { ids: { values: ids } }, size: ids.length * SAME_ID, version: true, sort: ['_doc'] };
  return documentsIn(await ask(http, { method: 'POST', path: `/${encodeName(name)}/_search`, body }, signal));
}

/** One id may stand in an index once per type and once per shard that a routing led to; more than this is not seen. */
const SAME_ID = 4;

/** At most `size` documents of a shard, without `_source`, in the order of its Lucene documents, behind the one numbered `after`. */
export async function readAfter(
  http: Http,
  shard: { readonly name: string; readonly preference: string },
  after: number | undefined,
  size: number,
  signal: AbortSignal,
) {
  const place = after === undefined ? {} : { search_after: [after] };
  const body = { size, version: true, _source: false, sort: ['_doc'], ...place };
  return documentsIn(await ask(http, { method: 'POST', path: searchOf(shard), body }, signal));
}

/**
 * Every document of a shard, page by page. The scroll is given back also when the reader stops early. A page that was
 * rejected has not been begun: of one shard it is queried and fetched as one task, so the scroll stands where it stood.
 */
export async function* readPages(
  http: Http,
  place: { readonly name: string; readonly preference: string },
  size: number,
  signal: AbortSignal,
  turn: Turn = (request) => request(),
): AsyncGenerator<readonly Document[]> {
  const first: Call = {
    method: 'POST',
    path: `${searchOf(place)}&scroll=${SCROLL_FOR}`,
    body: { size, version: true, sort: ['_doc'] },
  };
  let answer = await turn(() => ask(http, first, signal));
  try {
    for (;;) {
      const page = documentsIn(answer);
      if (page.length === 0) return;
      yield page;
      const body = { scroll: SCROLL_FOR, scroll_id: text(answer['_scroll_id']) };
      answer = await turn(() => ask(http, { method: 'POST', path: '/_search/scroll', body }, signal));
    }
  } finally {
    const body = { scroll_id: [text(answer['_scroll_id'])] };
    // A scroll that is not given back ends by itself after five minutes.
    await http.call({ method: 'DELETE', path: '/_search/scroll', body, accept: [404] }, signal).catch(() => undefined);
  }
}

/** A search as the operator wrote it, over indices of one request line. */
export async function readSearch(
  http: Http,
  names: readonly string[],
  body: object,
  signal: AbortSignal,
): Promise<SearchAnswer> {
  const [group, ...more] = nameGroups(names);
  if (group === undefined || more.length > 0) {
    throw new ConfigurationError('A query names no index, or more than fit one request: name fewer', {
      subject: { indices: names.length },
    });
  }
  const answer = await ask(http, { method: 'POST', path: `/${group.path}/_search`, body }, signal);
  const { total } = fields(answer['hits']);
  const { aggregations } = answer;
  return {
    // A number before 7.0, an object since.
    total: text(isLosslessNumber(total) ? total : fields(total)['value']) ?? 'unknown',
    documents: documentsIn(answer),
    ...(aggregations === undefined ? {} : { aggregations: canonical(aggregations) }),
  };
}

function searchOf({ name, preference }: { readonly name: string; readonly preference: string }): string {
  return `/${encodeName(name)}/_search?preference=${encodeURIComponent(preference)}`;
}

/** Throws `UnavailableError` when not every shard answered in full: what is missing then is no difference. */
async function ask(http: Http, call: Call, signal: AbortSignal): Promise<Fields> {
  const attempt: Attempt<string> = await http.attemptText(call, signal);
  if (!attempt.ok) {
    const isLost = attempt.refusal.status === 404 && call.path.endsWith('/scroll');
    throw isLost ? new UnavailableError(SCROLL_LOST, { subject: http.subject(call) }) : attempt.error;
  }
  const answer = fields(parsed(http, call, attempt.body));
  const { total, successful } = fields(answer['_shards']) as Reached['_shards'] & object;
  const [all, reached] = [Number(total), Number(successful)];
  if (answer['timed_out'] === true || all !== reached) {
    throw new UnavailableError(`${all - reached} of ${all} shards do not answer, or not in time`, {
      subject: http.subject(call),
    });
  }
  return answer;
}

function parsed(http: Http, call: Call, body: string): unknown {
  try {
    // A key that stands twice in an object, which 5.x takes: both values count.
    return parse(body, null, { onDuplicateKey: ({ oldValue, newValue }) => [oldValue, newValue] });
  } catch {
    // Without the parser's error, which quotes the body.
    throw new UnavailableError('The cluster answers with what is not JSON: is it Elasticsearch, or a proxy?', {
      subject: http.subject(call),
    });
  }
}

function documentsIn(answer: Fields): Document[] {
  const { hits } = fields(answer['hits']);
  return (Array.isArray(hits) ? hits : []).map((hit: unknown) => documentOf(fields(hit)));
}

function documentOf(hit: Fields): Document {
  const { _id, _type, _routing, _parent, _version, _source } = hit;
  return {
    id: String(_id),
    version: text(_version) ?? 'none',
    ...(_type === undefined ? {} : { type: String(_type) }),
    ...(_routing === undefined ? {} : { routing: String(_routing) }),
    ...(_parent === undefined ? {} : { parent: String(_parent) }),
    ...(_source === undefined ? {} : { source: canonical(_source) }),
  };
}

/** JSON text with sorted keys, so that equal values are equal text; numbers as they were written. */
export function canonical(value: unknown): string {
  if (isLosslessNumber(value)) return value.value;
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const members = Object.keys(value)
    .sort()
    .map((key) => `${JSON.stringify(key)}:${canonical((value as Fields)[key])}`);
  return `{${members.join()}}`;
}

function fields(value: unknown): Fields {
  return typeof value === 'object' && value !== null ? (value as Fields) : {};
}

function text(value: unknown): string | undefined {
  if (isLosslessNumber(value)) return value.value;
  return typeof value === 'string' ? value : undefined;
}
