// Which calls the service offers, by version. Sources: docs/stand-ins.md.
import { objectIn } from '../managed-service';
import type { ServiceRequest } from '../managed-service';

const OFFERED = new Set([
  ...['_alias', '_aliases', '_all', '_analyze', '_bulk', '_cat', '_cluster', '_count', '_delete_by_query', '_explain'],
  ...[
    '_field_caps',
    '_field_stats',
    '_flush',
    '_index_template',
    '_ingest',
    '_mapping',
    '_mget',
    '_msearch',
    '_mtermvectors',
    '_nodes',
  ],
  ...['_percolate', '_plugin', '_rank_eval', '_refresh', '_reindex', '_render', '_resolve', '_rollover', '_scripts'],
  ...['_search', '_shrink', '_snapshot', '_split', '_stats', '_tasks', '_template', '_update_by_query', '_validate'],
]);
const OFFERED_OF_CLUSTER = new Set(['allocation', 'health', 'pending_tasks', 'settings', 'state', 'stats']);

const CHANGEABLE = [
  'action.auto_create_index',
  'action.search.shard_count.limit',
  'indices.breaker.fielddata.limit',
  'indices.breaker.request.limit',
  'indices.breaker.total.limit',
];
const CHANGEABLE_SINCE_7 = [...CHANGEABLE, 'cluster.max_shards_per_node'];

export interface Offer {
  readonly version: string;
  /** Whether `PUT index/_block/write` is offered; the documentation does not name it. */
  readonly blockCall: boolean;
}

/** Why the service does not take the request, in its words; undefined when it does. */
export function refusalOf(request: ServiceRequest, offer: Offer): string | undefined {
  const { path, parts } = request;
  if (!isOffered(request, offer)) return `Your request: '${path}' is not allowed.`;
  const isSettings = parts[0] === '_cluster' && parts[1] === 'settings' && request.method === 'PUT';
  if (isSettings && !isChangeable(request.body, offer)) return `Your request: '${path}' payload is not allowed.`;
  return undefined;
}

function isOffered({ method, parts }: ServiceRequest, { version, blockCall }: Offer): boolean {
  const [first, second] = parts;
  if (first === undefined) return true;
  if (first === '_cat') return second !== 'nodeattrs';
  if (first === '_cluster') return second !== undefined && OFFERED_OF_CLUSTER.has(second);
  if (first === '_nodes') return method === 'GET';
  if (first.startsWith('_') && !OFFERED.has(first)) return false;
  if (first !== '_all' && first.startsWith('_')) return true;
  if (second === '_close' || second === '_open') return isAtLeast(version, 7, 4);
  // Before 7.9 it is a document of that type.
  return second !== '_block' || blockCall || !isAtLeast(version, 7, 9);
}

/** Only the flat form, and only these. */
function isChangeable(body: Buffer, { version }: Offer): boolean {
  const known = isAtLeast(version, 7, 0) ? CHANGEABLE_SINCE_7 : CHANGEABLE;
  const wanted = objectIn(body);
  return (
    wanted !== undefined &&
    Object.entries(wanted).every(
      ([group, settings]) =>
        ['persistent', 'transient'].includes(group) &&
        Object.keys(settings as object).every((setting) => known.includes(setting)),
    )
  );
}

function isAtLeast(version: string, major: number, minor: number): boolean {
  const [ours = 0, less = 0] = version.split('.').map(Number);
  return ours > major || (ours === major && less >= minor);
}
