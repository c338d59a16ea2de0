import { BlobMissingError } from '../domain/errors';
import type { RepositoryData, SnapshotEntry } from './generation';
import { shardFolder, shardIndexKey, shardSnapshotKey } from './layout';
import type { ManifestBlob, ManifestShard, ReadBlob } from './manifest';
import { checked, contradiction, readMetadata, readMetadataIfThere } from './metadata';
import type { Metadata } from './metadata';
import { groupFiles } from './restore-groups';
import { mapInParallel } from './parallel';
import { count, fields, keySegment, list, member, text, WrongShape } from './shape';
import type { Fields } from './shape';

export interface ShardAddress {
  readonly index: string;
  readonly indexId: string;
  readonly shard: number;
}

/** What a shard contributes to a manifest. */
export interface Shard {
  readonly facts: ManifestShard;
  /** Its data, its `snap-*` and its current `index-*`. */
  readonly blobs: readonly ManifestBlob[];
  /** The current `index-*`. */
  readonly index: { readonly key: string; readonly bytes: Buffer };
}

/** Throws `BlobMissingError`, and `BlobCorruptError` also when a blob is of another snapshot. */
export async function readShard(
  repository: RepositoryData,
  entry: SnapshotEntry,
  at: ShardAddress,
  read: ReadBlob,
): Promise<Shard> {
  const { facts, blobs } = await readShardSnapshot(entry, at, read);
  const { blob, bytes } = await readShardIndex(repository, entry, at, read);
  return { facts, blobs: [...blobs, blob], index: { key: blob.key, bytes } };
}

/** Keeps nothing of what it decodes: with 16 shards at a time that is more than what comes of it. */
async function readShardSnapshot(
  entry: SnapshotEntry,
  at: ShardAddress,
  read: ReadBlob,
): Promise<Pick<Shard, 'facts' | 'blobs'>> {
  const key = shardSnapshotKey(at.indexId, at.shard, entry.uuid);
  const { content, blob } = await readMetadata(key, 'snapshot', 'shard-metadata', read);
  const files = checked(key, () => filesOf(content, entry, key));
  const folder = shardFolder(at.indexId, at.shard);
  const blobs = files.flatMap((file) => (file.virtual ? [] : blobsOfFile(folder, file)));
  return { facts: factsOf(at.shard, files), blobs: [...blobs, blob] };
}

interface LuceneFile {
  /** `__<uuid>` or `__<counter>`; `v__<uuid>` for a virtual file, whose bytes are in the metadata itself. */
  readonly name: string;
  readonly virtual: boolean;
  /** `_0.cfs`, `segments_3`. */
  readonly physicalName: string;
  readonly length: number;
  readonly crc32: number;
  readonly parts: number;
  readonly partSize: number;
}

function filesOf(content: Fields, entry: SnapshotEntry, key: string): LuceneFile[] {
  const name = text(member(content, 'name'), 'name');
  if (name !== entry.name) throw contradiction(key, `This should be of snapshot ${entry.name}, but is of ${name}`);
  const files = list(member(content, 'files'), 'files').map((file, n) => fileOf(fields(file, `files[${n}]`)));
  const names = new Set(files.map((file) => file.name));
  if (names.size !== files.length) throw new WrongShape('a file is listed twice');
  return files;
}

function fileOf(file: Fields): LuceneFile {
  const name = keySegment(member(file, 'name'), 'name of a file');
  if (!/^(v__|__)./.test(name)) throw new WrongShape(`'${name}' is not the name of a data blob`);
  const length = count(member(file, 'length'), `length of ${name}`);
  const partSize = partSizeOf(member(file, 'part_size'), name);
  return {
    name,
    virtual: name.startsWith('v__'),
    physicalName: text(member(file, 'physical_name'), `physical_name of ${name}`),
    length,
    crc32: checksumOf(member(file, 'checksum'), name),
    parts: Math.max(1, Math.ceil(length / partSize)),
    partSize,
  };
}

/** Base 36 of the CRC32 in Lucene's footer. */
function checksumOf(value: unknown, name: string): number {
  const digits = text(value, `checksum of ${name}`);
  const crc32 = parseInt(digits, 36);
  if (/^[0-9a-z]{1,7}$/.test(digits) && crc32 <= 0xffffffff) return crc32;
  throw new WrongShape(`checksum of ${name} is '${digits}'`);
}

/** Absent on 5.5, Long.MAX_VALUE (a bigint) later, when files are not cut: either way one part. */
function partSizeOf(value: unknown, name: string): number {
  if (value === undefined) return Infinity;
  if (typeof value === 'bigint' && value > 0n) return Infinity;
  const size = count(value, `part_size of ${name}`);
  if (size > 0) return size;
  throw new WrongShape(`part_size of ${name} is 0`);
}

function blobsOfFile(folder: string, file: LuceneFile): ManifestBlob[] {
  const key = `${folder}/${file.name}`;
  if (file.parts === 1) return [{ key, length: file.length, crc32: file.crc32, phase: 'data' }];
  return Array.from({ length: file.parts }, (_, number) => ({
    key: `${key}.part${number}`,
    length: Math.min(file.partSize, file.length - number * file.partSize),
    crc32: null,
    phase: 'data' as const,
    part: { file: file.name, number, of: file.parts, fileCrc32: file.crc32 },
  }));
}

function factsOf(shard: number, files: readonly LuceneFile[]): ManifestShard {
  const bytes = (virtual: boolean) =>
    files.reduce((sum, file) => (file.virtual === virtual ? sum + file.length : sum), 0);
  return {
    shard,
    dataBytes: bytes(false),
    virtualBytes: bytes(true),
    files: files.length,
    ...groupFiles(files),
  };
}

/**
 * The current `index-*` of a shard: all snapshots of the shard with their files. A restore does not need it, the next
 * snapshot or delete does.
 */
async function readShardIndex(
  repository: RepositoryData,
  entry: SnapshotEntry,
  at: ShardAddress,
  read: ReadBlob,
): Promise<Metadata> {
  const generation = repository.indices.get(at.index)?.shardGenerations?.[at.shard];
  if (generation == null) return searchShardIndex(repository, entry, at, read);
  const key = shardIndexKey(at.indexId, at.shard, generation);
  const index = await readMetadata(key, 'snapshots', 'shard-metadata', read);
  if (lists(index, entry)) return index;
  throw contradiction(key, `The list of the shard's snapshots lacks ${entry.name}`);
}

/** A snapshot that failed to write `index-N` leaves shards this little ahead of it. */
const AHEAD_AT_MOST = 8;
const GENERATIONS_AT_ONCE = 8;

/**
 * Up to 7.5 nothing records the generation of a shard. It grows by one with each snapshot or delete that touches the
 * shard, as N does with each that touches the repository. So it is hardly above N, often N itself, and at least the
 * number of snapshots that hold the index; the search goes inwards from both ends.
 */
async function searchShardIndex(
  repository: RepositoryData,
  entry: SnapshotEntry,
  { index, indexId, shard }: ShardAddress,
  read: ReadBlob,
): Promise<Metadata> {
  const holding = repository.indices.get(index)?.snapshots ?? 0;
  for (const generations of inwards(repository.generation + AHEAD_AT_MOST, holding - 1)) {
    const keys = generations.map((generation) => shardIndexKey(indexId, shard, generation));
    const found = await mapInParallel(keys, GENERATIONS_AT_ONCE, (key) =>
      readMetadataIfThere(key, 'snapshots', 'shard-metadata', read),
    );
    const newest = found.find((candidate) => candidate !== undefined && lists(candidate, entry));
    if (newest !== undefined) return newest;
  }
  const key = shardIndexKey(indexId, shard, '*');
  throw new BlobMissingError('The list of snapshots of a shard is not in the repository', { subject: { key } });
}

/** Batches, each in descending order: from both ends of `highest … lowest` to the middle, then below `lowest`. */
function* inwards(highest: number, lowest: number): Generator<number[]> {
  let [top, bottom] = [highest, Math.min(highest, Math.max(0, lowest))];
  const below = bottom;
  while (top >= bottom) {
    const high = range(top, Math.max(bottom, top - GENERATIONS_AT_ONCE + 1));
    top -= high.length;
    const low = top < bottom ? [] : range(Math.min(top, bottom + GENERATIONS_AT_ONCE - 1), bottom);
    bottom += low.length;
    yield [...high, ...low];
  }
  for (let from = below - 1; from >= 0; from -= GENERATIONS_AT_ONCE) {
    yield range(from, Math.max(0, from - GENERATIONS_AT_ONCE + 1));
  }
}

function range(from: number, downTo: number): number[] {
  return Array.from({ length: from - downTo + 1 }, (_, i) => from - i);
}

function lists({ blob, content }: Metadata, { name, uuid }: SnapshotEntry): boolean {
  const snapshots = checked(blob.key, () => fields(member(content, 'snapshots'), 'snapshots'));
  return member(snapshots, name) !== undefined || member(snapshots, uuid) !== undefined;
}
