import { ConfigurationError, UnavailableError } from '../domain/errors';
import type { MigrationError, Subject } from '../domain/errors';

/** An answer that is not 2xx, as Elasticsearch 5 to 8, OpenSearch and the services before them write it. */
export interface Refusal {
  readonly status: number;
  /** `error.type`; undefined for bodies of proxies and services, and for Elasticsearch's single-string errors. */
  readonly type: string | undefined;
  /** The cluster's reason and those below it down to the root, at most 500 characters. */
  readonly reason: string;
  readonly retryAfterMs: number | undefined;
}

/**
 * Types that mean "not now", whatever their status: seen on the wire per version in facts/elasticsearch-verified.md
 * section 3 (a snapshot or restore runs, a repository is in use, a master is missing, a queue is full).
 */
const PASSING = new Set([
  'concurrent_snapshot_execution_exception', // 503 on 5.x and 6.x
  'repository_conflict_exception', // 409, 8.x: unregistering a repository in use
  'snapshot_in_progress_exception', // 400, 7.x and 8.x: closing an index that a snapshot reads
  'es_rejected_execution_exception',
  'rejected_execution_exception', // OpenSearch's name
  'circuit_breaking_exception',
  'master_not_discovered_exception',
  'cluster_manager_not_discovered_exception',
  'process_cluster_event_timeout_exception',
  'no_shard_available_action_exception',
  'unavailable_shards_exception',
  'node_closed_exception',
]);

/**
 * Types that come with a 5xx but will be the same tomorrow. Not among them: `illegal_state_exception`, which up to 7.17
 * is how a repository in use says so (500 on DELETE and PUT _snapshot), and which otherwise parks after 30 attempts.
 */
const FINAL = new Set([
  'repository_exception',
  'repository_missing_exception',
  'repository_verification_exception',
  'snapshot_restore_exception',
  'snapshot_exception',
  'corrupt_state_exception',
  'no_such_file_exception',
  'parse_exception',
  'parsing_exception',
  'illegal_argument_exception',
  'index_not_found_exception',
]);

/**
 * The first row that fits.
 *
 * | status | type | error |
 * |---|---|---|
 * | 401, 403 | any but a cluster block | Configuration: credentials or permissions |
 * | 408, 429, 502, 503, 504 | any | Unavailable, with Retry-After |
 * | any | in PASSING | Unavailable |
 * | 5xx | in FINAL | Configuration |
 * | other 5xx | | Unavailable |
 * | 3xx | | Configuration: the url |
 * | other 4xx (403: a cluster block) | | Configuration |
 */
export function errorOf(refusal: Refusal, subject: Subject): MigrationError {
  const { status, type, reason, retryAfterMs } = refusal;
  const options = { subject: { ...subject, status, type } };
  if (isDenied(refusal)) {
    const advice = 'correct the credentials in the connections file, or grant them this call';
    return new ConfigurationError(`The cluster refuses these credentials: ${reason}: ${advice}`, options);
  }
  if (isPassing(refusal)) {
    return new UnavailableError(`The cluster cannot do this now: ${reason}`, {
      ...options,
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
      isRejected: isRejected(refusal),
    });
  }
  if (status < 400) {
    return new ConfigurationError(
      `The cluster's address redirects (${status}): correct the url in the connections file, scheme, host and path`,
      options,
    );
  }
  return new ConfigurationError(`The cluster refuses the request: ${reason}`, options);
}

function isDenied({ status, type }: Refusal): boolean {
  return status === 401 || (status === 403 && type !== 'cluster_block_exception');
}

function isPassing({ status, type }: Refusal): boolean {
  if ([408, 429, 502, 503, 504].includes(status) || (type !== undefined && PASSING.has(type))) return true;
  return status >= 500 && (type === undefined || !FINAL.has(type));
}

/** A full queue, or a service in front of the cluster. A circuit breaker, also 429 since 7.0, may trip over the answer. */
function isRejected({ status, type }: Refusal): boolean {
  return status === 429 && type !== 'circuit_breaking_exception';
}

/**
 * True when the cluster does not know the call, or does not allow it to us. Services say so with a body of their own,
 * without `error.type` (Amazon: 401 `{"Message":"Your request: '...' is not allowed."}`).
 */
export function isUnsupported({ status, type }: Refusal): boolean {
  return [400, 403, 405].includes(status) || (type === undefined && (status === 401 || status === 404));
}

type ErrorNode = Readonly<Record<string, unknown>>;

/** What a web page calls itself; undefined where the body is none, or does not say. */
export function titleOf(body: string): string | undefined {
  if (!/^\s*<(!doctype html|html)/i.test(body)) return undefined;
  return cut(/<title[^>]*>([^<]*)/i.exec(body)?.[1]?.trim() ?? '', 100) || undefined;
}

/** Reads an error body; of a proxy's page the title is quoted, whatever else is not JSON is shortened. */
export function readRefusal(status: number, body: string, retryAfter: string | undefined): Refusal {
  const common = { status, retryAfterMs: readRetryAfter(retryAfter) };
  const error = errorNode(body);
  if (typeof error === 'object') return { ...common, type: text(error['type']), reason: cut(reasonOf(error)) };
  return { ...common, type: undefined, reason: cut((error ?? titleOf(body) ?? body).trim()) || `status ${status}` };
}

/** `error` as an object (all versions) or a string (unknown routes), or a service's `Message`. */
function errorNode(body: string): string | ErrorNode | undefined {
  const parsed = parse(body);
  if (!isObject(parsed)) return undefined;
  const error = parsed['error'];
  return isObject(error) ? error : (text(error) ?? text(parsed['Message']) ?? text(parsed['message']));
}

function parse(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined; // not JSON: the caller quotes the body
  }
}

/** From the outermost to the root-most cause; the last one is why. A cause that only repeats is left out. */
function reasonOf(error: ErrorNode): string {
  const own = text(error['reason']) ?? text(error['type']) ?? 'no reason given';
  const cause = error['caused_by'];
  if (!isObject(cause)) return own;
  const deeper = reasonOf(cause);
  return own.includes(deeper) ? own : `${cut(own, 240)}: ${deeper}`;
}

/** Seconds, or a date. */
function readRetryAfter(header: string | undefined): number | undefined {
  if (header === undefined) return undefined;
  const seconds = Number(header);
  const delayMs = Number.isFinite(seconds) ? seconds * 1000 : Date.parse(header) - Date.now();
  return Number.isFinite(delayMs) ? Math.max(0, delayMs) : undefined;
}

const isObject = (value: unknown): value is ErrorNode => typeof value === 'object' && value !== null;
const text = (value: unknown) => (typeof value === 'string' ? value : undefined);
const cut = (value: string, length = 500) => (value.length > length ? `${value.slice(0, length)}…` : value);
