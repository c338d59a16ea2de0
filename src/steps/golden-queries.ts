import { ConfigurationError } from '../domain/errors';
import { ledgerRow } from '../domain/ledger';
import type { LedgerRow } from '../domain/ledger';
import { matchesAny } from '../domain/patterns';
import type { GoldenQuery } from '../domain/plan';
import type { Cluster, Document, SearchAnswer } from '../elasticsearch/cluster';
import { mapInParallel } from '../storage/parallel';
import type { Telling } from './context';
import { digestOf } from './files';

const QUERIES_AT_ONCE = 4;
/** Enough of a SHA-256 to tell two answers apart. */
const DIGEST_SHOWN = 16;

/**
 * The plan's own searches on both sides, a row each. `names` are those of the source. Compared are the number of hits, the documents (in their order
 * where the query sorts) and the aggregations; what a row shows of them is a digest.
 */
export function runGoldenQueries(
  sides: { readonly source: Cluster; readonly target: Cluster },
  queries: readonly GoldenQuery[],
  names: readonly string[],
  onTarget: (name: string) => string,
  context: Telling,
): Promise<LedgerRow[]> {
  return mapInParallel(queries, QUERIES_AT_ONCE, context.signal, async (query, signal) => {
    const meant = names.filter((name) => matchesAny(query.indices, name));
    const row = (passed: boolean, source: string, target: string, note?: string): LedgerRow => ({
      ...ledgerRow(query.indices.join(), 'query', passed, source, target, note),
      id: `query/${query.name}`,
    });
    if (meant.length === 0) return row(false, 'no index', 'no index', 'it names no index of this round');
    try {
      const [source, target] = await Promise.all([
        sides.source.search(meant, query.body, signal),
        sides.target.search(meant.map(onTarget), query.body, signal),
      ]);
      context.progress({ step: 'golden queries', query: query.name });
      const [left, right] = [shown(source, query), shown(target, query)];
      return row(left === right, left, right);
    } catch (error) {
      // A query that a cluster refuses is the operator's to waive, not a reason to repeat the whole verification.
      if (!(error instanceof ConfigurationError)) throw error;
      return row(false, 'refused', 'refused', error.message.slice(0, 300));
    }
  });
}

function shown({ total, documents, aggregations }: SearchAnswer, { body }: GoldenQuery): string {
  const lines = documents.map(documentLine);
  const ordered = body['sort'] === undefined ? lines.sort() : lines;
  const digest = digestOf([...ordered, aggregations ?? ''].join('\n')).slice(0, DIGEST_SHOWN);
  return `${total} hits, digest ${digest}`;
}

/** Without type, which 7.0 took away, and score, which differs between copies of a shard. */
function documentLine({ id, routing, source }: Document): string {
  return JSON.stringify([id, routing ?? null, source ?? null]);
}
