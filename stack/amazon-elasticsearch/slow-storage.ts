// UltraWarm and cold storage as a migration meets them: how they are listed, and what a snapshot may not mix. Which
// indices lie there is the test's word; warm ones are the node's own, cold ones are nowhere. Sources: docs/stand-ins.md.
import { json, objectIn } from '../managed-service';
import type { NodeHttp, Reply, ServiceRequest } from '../managed-service';

/** Looked at with every request: a test may change it. */
export interface SlowStorage {
  readonly warm: readonly string[];
  readonly cold: readonly string[];
}

const DEFAULT_PAGE = 10;

/** What the service answers by itself; undefined for what is the node's. */
export async function slowAnswer(
  { method, target, parts, body }: ServiceRequest,
  { warm, cold }: SlowStorage,
  node: NodeHttp,
): Promise<Reply | undefined> {
  const query = new URLSearchParams(target.split('?')[1] ?? '');
  if (parts.join('/') === '_cat/indices/_warm') {
    return warm.length === 0 ? json(200, []) : node.send('GET', target.replace('_warm', warm.join()));
  }
  if (parts.join('/') === '_cold/indices/_search') return page(cold, query, objectIn(body) ?? {});
  const isSnapshot = parts[0] === '_snapshot' && parts.length === 3 && (method === 'PUT' || method === 'POST');
  return isSnapshot ? mixed(String(objectIn(body)?.['indices'] ?? '').split(','), warm) : undefined;
}

/** Sorted by name. The id of a page is where the next one begins, so that the one after the last is empty. */
function page(
  cold: readonly string[],
  query: URLSearchParams,
  { pagination_id: from }: Record<string, unknown>,
): Reply {
  const begins = from === undefined ? 0 : Number(Buffer.from(String(from), 'base64').toString());
  const ends = begins + Number(query.get('page_size') ?? DEFAULT_PAGE);
  const indices = [...cold].sort().slice(begins, ends);
  const pagination_id = Buffer.from(String(ends)).toString('base64');
  return json(200, { pagination_id, total_results: cold.length, indices: indices.map((index) => ({ index })) });
}

/** One warm index alone may be in a snapshot. */
function mixed(names: readonly string[], warm: readonly string[]): Reply | undefined {
  const among = names.filter((name) => warm.includes(name));
  if (among.length === 0 || names.length === 1) return undefined;
  const reason = `Hot and warm indices, or several warm ones, cannot be in one snapshot: [${among.join()}]`;
  const error = { type: 'illegal_argument_exception', reason };
  return json(400, { error: { root_cause: [error], ...error }, status: 400 });
}
