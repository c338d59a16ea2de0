import type { Phase } from './manifest';

/**
 * Where things lie in a repository, and in which order they are written and read.
 *
 *     index-N                       which snapshots there are; N grows by one with each change
 *     index.latest                  N, for readers that can not list
 *     incompatible-snapshots        5.x and 6.x only
 *     snap-<snapshot>.dat           meta-<snapshot>.dat
 *     indices/<id>/meta-<uuid>.dat
 *     indices/<id>/<shard>/snap-<snapshot>.dat      index-<generation>      __<blob>[.part<n>]
 *
 * Write order, the order of `PHASES`: what is referred to is complete before anything refers to it, so each phase is a
 * barrier. Readers go the opposite way, from `index-N` down. Hence whoever reads a target on which any prefix of this
 * order was written over an older repository sees a whole older or a whole newer repository, never a mixture.
 * The order of keys would break the promise: `index-N` sorts before `indices/`, `meta-` and `snap-`.
 */
export const PHASES: readonly Phase[] = [
  'data',
  'shard-metadata',
  'index-metadata',
  'root-metadata',
  'incompatible-snapshots',
  'index-N',
  'index.latest',
];

export const indexLatestKey = 'index.latest';
export const incompatibleSnapshotsKey = 'incompatible-snapshots';

export function repositoryDataKey(generation: number): string {
  return `index-${generation}`;
}

export function rootSnapshotKey(snapshotUuid: string): string {
  return `snap-${snapshotUuid}.dat`;
}

export function globalMetadataKey(snapshotUuid: string): string {
  return `meta-${snapshotUuid}.dat`;
}

/** `metadataUuid` is the snapshot's own up to 7.8; since 7.9 snapshots share the blob of an unchanged index. */
export function indexMetadataKey(indexId: string, metadataUuid: string): string {
  return `indices/${indexId}/meta-${metadataUuid}.dat`;
}

export function shardFolder(indexId: string, shard: number): string {
  return `indices/${indexId}/${shard}`;
}

export function shardSnapshotKey(indexId: string, shard: number, snapshotUuid: string): string {
  return `${shardFolder(indexId, shard)}/snap-${snapshotUuid}.dat`;
}

/** `generation` is a number up to 7.5, a uuid afterwards. */
export function shardIndexKey(indexId: string, shard: number, generation: string | number): string {
  return `${shardFolder(indexId, shard)}/index-${generation}`;
}

/** uuids hold `-` and `_`, even in first place: keys are told apart by their folders and first letters only. */
const KEYS: readonly (readonly [RegExp, Phase])[] = [
  [/^indices\/[^/]+\/\d+\/__[^/]+$/, 'data'],
  [/^indices\/[^/]+\/\d+\/(snap-[^/]+\.dat|index-[^/]+)$/, 'shard-metadata'],
  [/^indices\/[^/]+\/meta-[^/]+\.dat$/, 'index-metadata'],
  [/^(snap|meta)-[^/]+\.dat$/, 'root-metadata'],
  [/^incompatible-snapshots$/, 'incompatible-snapshots'],
  [/^index-\d+$/, 'index-N'],
  [/^index\.latest$/, 'index.latest'],
];

/** The phase a blob of a repository is copied in; undefined for what is none (`tests-*`, temporary and foreign files). */
export function phaseOf(key: string): Phase | undefined {
  return KEYS.find(([pattern]) => pattern.test(key))?.[1];
}

/** The same blobs, phase by phase; inside a phase they keep their order. */
export function inCopyOrder<T extends { readonly phase: Phase }>(blobs: Iterable<T>): T[] {
  const byPhase = new Map<Phase, T[]>(PHASES.map((phase) => [phase, []]));
  for (const blob of blobs) byPhase.get(blob.phase)?.push(blob);
  return [...byPhase.values()].flat();
}

/** The bytes of `index.latest`: int64, big-endian. */
export function encodeIndexLatest(generation: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(BigInt(generation));
  return bytes;
}
