import { ConfigurationError, UnavailableError } from '../domain/errors';
import type { MigrationError, Subject } from '../domain/errors';

/** An answer that is not 2xx, as Elasticsearch 5 to 8 and OpenSearch write it. */
export interface Refusal {
  readonly status: number;
  /** `error.type`; undefined for bodies of proxies and old single-string errors. */
  readonly type: string | undefined;
  /** The reason nearest to the root, at most 500 characters. */
  readonly reason: string;
  readonly retryAfterMs: number | undefined;
}

/**
 * Types that mean "not now", whatever their status: seen on the wire per version in facts/elasticsearch-verified.md
 * section 3 (a snapshot or restore runs, a repository is in use, a master is missing, a queue is full).
 */
const PASSING = new Set([
  'concurrent_snapshot_execution_exception',
  'repository_conflict_exception',
  'snapshot_in_progress_exception',
  'es_rejected_execution_exception',
  'circuit_breaking_exception',
  'master_not_discovered_exception',
  'cluster_manager_not_discovered_exception',
  'process_cluster_event_timeout_exception',
  'no_shard_available_action_exception',
  'unavailable_shards_exception',
  'node_closed_exception',
]);

/** Types that come with a 5xx but will be the same tomorrow. */
const FINAL = new Set([
  'repository_exception',
  'repository_verification_exception',
  'snapshot_restore_exception',
  'snapshot_exception',
  'corrupt_state_exception',
  'no_such_file_exception',
  'parsing_exception',
  'illegal_argument_exception',
]);

/**
 * | status | type | error |
 * |---|---|---|
 * | 401, 403 | any but a cluster block | Configuration |
 * | 429, 502, 503, 504 | any | Unavailable |
 * | any | in PASSING | Unavailable |
 * | 5xx | in FINAL | Configuration |
 * | other 5xx | | Unavailable |
 * | other 4xx | | Configuration |
 */
export function errorOf(refusal: Refusal, subject: Subject): MigrationError {
  const { status, type, reason } = refusal;
  const full = { subject: { ...subject, status, type } };
  if (status === 401 || (status === 403 && type !== 'cluster_block_exception')) {
    return new ConfigurationError(
      `The cluster refuses these credentials or this call (${reason}): grant it or correct them`,
      full,
    );
  }
  const passing = [429, 502, 503, 504].includes(status) || (type !== undefined && PASSING.has(type));
  if (passing || (status >= 500 && (type === undefined || !FINAL.has(type)))) {
    return new UnavailableError(`The cluster can not do this now: ${reason}`, {
      ...full,
      ...(refusal.retryAfterMs === undefined ? {} : { retryAfterMs: refusal.retryAfterMs }),
    });
  }
  return new ConfigurationError(`The cluster refuses: ${reason}`, full);
}

/** Reads an error body; what is not JSON (a proxy's page) is quoted, shortened. */
export function readRefusal(status: number, body: string, retryAfter: string | undefined): Refusal {
  const seconds = Number(retryAfter);
  const retryAfterMs = retryAfter !== undefined && Number.isFinite(seconds) ? seconds * 1000 : undefined;
  const error = errorNode(body);
  if (typeof error === 'string') return { status, type: undefined, reason: cut(error), retryAfterMs };
  if (error === undefined)
    return { status, type: undefined, reason: cut(body.trim()) || `status ${status}`, retryAfterMs };
  return { status, type: text(error['type']), reason: cut(reasonOf(error)), retryAfterMs };
}

function errorNode(body: string): string | Readonly<Record<string, unknown>> | undefined {
  try {
    const error = (JSON.parse(body) as { error?: unknown }).error;
    if (typeof error === 'string') return error;
    return typeof error === 'object' && error !== null ? (error as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function reasonOf(error: Readonly<Record<string, unknown>>): string {
  const own = text(error['reason']) ?? text(error['type']) ?? 'no reason given';
  const cause = error['caused_by'];
  if (typeof cause !== 'object' || cause === null) return own;
  const deeper = reasonOf(cause as Record<string, unknown>);
  return deeper === own ? own : `${own}: ${deeper}`;
}

const text = (value: unknown) => (typeof value === 'string' ? value : undefined);
const cut = (value: string) => (value.length > 500 ? `${value.slice(0, 500)}…` : value);
