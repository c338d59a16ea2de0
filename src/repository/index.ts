/**
 * The on-store format of an Elasticsearch snapshot repository (5.0 to 8.x): reading it, exactly.
 * Pure: bytes come in through a `ReadBlob`, values come out. Nothing here writes, and nothing may import a store.
 */
export type { Phase, ManifestBlob, Manifest, ManifestIndex, ManifestShard, ReadBlob } from './manifest';
export { readManifest, difference, shardIndexKeys } from './manifest';
export type { GroupingRule } from './restore-groups';
export { bytesToFetch } from './restore-groups';
export type { RepositoryData, SnapshotEntry, SnapshotState, IndexEntry } from './generation';
export { readRepositoryData, parseRepositoryData, newestGeneration } from './generation';
export {
  PHASES,
  phaseOf,
  inCopyOrder,
  incompatibleSnapshotsKey,
  indexLatestKey,
  repositoryDataKey,
  encodeIndexLatest,
} from './layout';
