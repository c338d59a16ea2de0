import { BlobCorruptError, RepositoryChangedError } from '../domain/errors';
import type { RepositoryData } from './generation';
import { readIncompatibleSnapshots, readRoot, refuseIncomplete } from './root-metadata';
import { readIndexMetadata } from './index-metadata';
import type { IndexMetadata } from './index-metadata';
import { encodeIndexLatest, inCopyOrder, incompatibleSnapshotsKey, indexLatestKey, repositoryDataKey } from './layout';
import { mapInParallel } from './parallel';
import { readShard } from './shard-metadata';
import type { Shard, ShardAddress } from './shard-metadata';

/**
 * Copy phases in order. Each is a barrier: with every prefix of this order the target is a whole older or a whole
 * newer repository, never a mixture.
 */
export type Phase =
  | 'data'
  | 'shard-metadata'
  | 'index-metadata'
  | 'root-metadata'
  | 'incompatible-snapshots'
  | 'index-N'
  | 'index.latest';

export interface ManifestBlob {
  /** Relative to the base path. */
  readonly key: string;
  readonly length: number;
  /**
   * The CRC32 in the blob's own Lucene or codec footer: of everything but the last 8 bytes. Null where the blob has no
   * footer: `index-N`, `index.latest`, `incompatible-snapshots`, and the parts of a file that was cut into chunks.
   */
  readonly crc32: number | null;
  readonly phase: Phase;
  /** A chunk of a Lucene file: the footer belongs to the whole file, whose CRC32 holds over the parts in order. */
  readonly part?: { readonly file: string; readonly number: number; readonly of: number; readonly fileCrc32: number };
}

export interface ManifestShard {
  readonly shard: number;
  /** Sum of the lengths of the data blobs. */
  readonly dataBytes: number;
  /** Sum of the lengths of virtual (`v__`) files, which have no blob. */
  readonly virtualBytes: number;
  readonly files: number;
  /** Lucene segment names (`_0`, `_1a`), sorted. */
  readonly segments: readonly string[];
  /** In the same order: what a restore compares of each, as `groupFiles` writes it. */
  readonly segmentGroups: string;
  /** Of `segments_N`. */
  readonly commitBytes: number;
}

export interface ManifestIndex {
  readonly name: string;
  /** The repository's id of the index: its folder below `indices/`. Not the index uuid. */
  readonly id: string;
  readonly createdVersionId: number;
  readonly shards: readonly ManifestShard[];
  /** Flat settings from the snapshot. */
  readonly settings: Readonly<Record<string, string | readonly string[]>>;
  readonly aliases: readonly string[];
}

/** Exactly the blobs one snapshot needs, and what they hold. */
export interface Manifest {
  readonly snapshot: { readonly name: string; readonly uuid: string; readonly versionId: number };
  readonly generation: number;
  readonly indices: readonly ManifestIndex[];
  /** In copy order; keys are unique. */
  readonly blobs: readonly ManifestBlob[];
  /**
   * Bytes of the blobs that the source may delete with its next snapshot (`index-N`, `incompatible-snapshots`, shard
   * `index-*`, `index.latest` as it must read for this generation): published from here, not read again.
   */
  readonly volatile: ReadonlyMap<string, Buffer>;
}

/** Reads one whole blob by its key relative to the base path; `undefined` only when the store says it is not there. */
export type ReadBlob = (key: string) => Promise<Buffer | undefined>;

/** Metadata reads at a time. They are small and bound by latency; memory holds what 16 shards say of themselves. */
const READS_AT_ONCE = 16;

/**
 * Exactly the blobs that snapshot `name` needs, found from `index-N` down: root metadata, index metadata, shard
 * metadata, data; with the current `index-*` of its shards, `incompatible-snapshots` where present, `index-N` and
 * `index.latest`. Data blobs themselves are not read.
 *
 * Every blob that is read is checked against its CRC32 and against what the others say. Throws
 * `RepositoryChangedError` when the snapshot is not listed, `SnapshotIncompleteError` when it is not a complete one (with
 * the failed shards), `BlobMissingError` with the key of a blob that is not there, `BlobCorruptError` for one that is
 * damaged, `ConfigurationError` for layouts we do not know (shallow copies), and whatever `read` throws.
 */
export async function readManifest(repository: RepositoryData, name: string, read: ReadBlob): Promise<Manifest> {
  const entry = repository.snapshots.find((snapshot) => snapshot.name === name);
  if (entry === undefined) {
    const subject = { key: repositoryDataKey(repository.generation), snapshot: name };
    throw new RepositoryChangedError('The repository does not list the snapshot: was it deleted?', { subject });
  }
  await refuseIncomplete(entry, read);
  const root = await readRoot(repository, entry, read);
  const indices = await mapInParallel(entry.indices, READS_AT_ONCE, (index) =>
    readIndexMetadata(repository, entry, index, read),
  );
  assertShardCount(indices, root.totalShards, root.snapshotKey);
  const addresses = indices.flatMap((index) => shardsOf(index));
  const shards = await mapInParallel(addresses, READS_AT_ONCE, (at) => readShard(repository, entry, at, read));
  const incompatible = await readIncompatibleSnapshots(read);
  return {
    snapshot: { name, uuid: entry.uuid, versionId: root.versionId },
    generation: repository.generation,
    indices: manifestIndices(indices, shards),
    ...blobsOf(repository, [...root.blobs, ...indices.map(({ blob }) => blob)], shards, incompatible),
  };
}

/**
 * The blobs of `wanted` that `held` lacks: held means the same key, length *and* CRC32. Up to 6.7 the name of a data
 * blob (`__7`) can come back with other bytes, so that a key alone proves nothing. A blob without a checksum
 * (`index-N`, `index.latest`, `incompatible-snapshots`) is never held.
 */
export function difference(wanted: readonly ManifestBlob[], held: readonly ManifestBlob[]): ManifestBlob[] {
  const heldByKey = new Map(held.map((blob) => [blob.key, blob]));
  return wanted.filter((blob) => !isSame(blob, heldByKey.get(blob.key)));
}

function isSame(wanted: ManifestBlob, held: ManifestBlob | undefined): boolean {
  if (held === undefined || held.length !== wanted.length || held.crc32 !== wanted.crc32) return false;
  if (wanted.part === undefined) return held.part === undefined && wanted.crc32 !== null;
  // A part has no checksum of its own: the one of its file must be the same.
  return held.part?.fileCrc32 === wanted.part.fileCrc32 && held.part.of === wanted.part.of;
}

/** Keys of the `index-*` blobs of its shards. */
export function shardIndexKeys(manifest: Manifest): string[] {
  return manifest.blobs
    .filter(({ key, phase }) => phase === 'shard-metadata' && manifest.volatile.has(key))
    .map(({ key }) => key);
}

/** The root metadata counted the shards when it was written: the index metadata must agree. */
function assertShardCount(indices: readonly IndexMetadata[], total: number, key: string): void {
  const counted = indices.reduce((sum, { shardCount }) => sum + shardCount, 0);
  if (counted === total) return;
  const message = `The snapshot says that it has ${total} shards, its index metadata says ${counted}`;
  throw new BlobCorruptError(message, { subject: { key } });
}

function shardsOf(index: IndexMetadata): ShardAddress[] {
  return Array.from({ length: index.shardCount }, (_, shard) => ({ index: index.name, indexId: index.id, shard }));
}

/** `shards` come index by index, as `shardsOf` laid them out. */
function manifestIndices(indices: readonly IndexMetadata[], shards: readonly Shard[]): ManifestIndex[] {
  let next = 0;
  return indices.map(({ name, id, createdVersionId, settings, aliases, shardCount }) => {
    const own = shards.slice(next, (next += shardCount));
    return { name, id, createdVersionId, shards: own.map(({ facts }) => facts), settings, aliases };
  });
}

function blobsOf(
  repository: RepositoryData,
  metadata: readonly ManifestBlob[],
  shards: readonly Shard[],
  incompatible: Buffer | undefined,
): Pick<Manifest, 'blobs' | 'volatile'> {
  const volatile = new Map(shards.map(({ index }) => [index.key, index.bytes]));
  const plain: (readonly [string, Phase, Buffer])[] = [
    [repositoryDataKey(repository.generation), 'index-N', repository.raw],
    [indexLatestKey, 'index.latest', encodeIndexLatest(repository.generation)],
  ];
  if (incompatible !== undefined) plain.push([incompatibleSnapshotsKey, 'incompatible-snapshots', incompatible]);
  for (const [key, , bytes] of plain) volatile.set(key, bytes);
  const footerless = plain.map(([key, phase, bytes]) => ({ key, length: bytes.length, crc32: null, phase }));
  const blobs = inCopyOrder([...shards.flatMap((shard) => shard.blobs), ...metadata, ...footerless]);
  return { blobs, volatile };
}
