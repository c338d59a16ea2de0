import { digestOf } from './files';
import type { ScopeFile } from './work-files';

/** Equal digests mean the same indices with the same shards. */
export function scopeDigest(scope: ScopeFile): string {
  return digestOf(JSON.stringify(scope.indices.map(({ name, uuid, shards }) => [name, uuid, shards])));
}
