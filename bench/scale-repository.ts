// A snapshot repository of very many tiny files, with metadata as 7.10 writes it: what planning has to read.
import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { encodeIndexLatest } from '../src/repository';
import { crc32 } from '../src/storage';
import { frame } from '../test/unit/repository/encode';

export interface ScaleOptions {
  readonly blobs: number;
  readonly shards: number;
  readonly shardsPerIndex: number;
  /** Of each blob of data. Default 40: a million of them are about their number. */
  readonly blobBytes?: number;
}

export const SNAPSHOT = { name: 'scale', uuid: idOf('snapshot') } as const;
/** A Lucene footer is 16 of them. */
const LEAST_BYTES = 40;
const VERSION_ID = 7_100_299;
const WRITES_AT_ONCE = 32;

export interface ScaleIndex {
  readonly name: string;
  /** In the repository. */
  readonly id: string;
  readonly uuid: string;
  readonly shards: number;
}

/** Fills `folder`. The same options give the same repository. */
export async function writeScaleRepository(folder: string, options: ScaleOptions): Promise<readonly ScaleIndex[]> {
  const { blobs, shards, shardsPerIndex } = options;
  const indices = Array.from({ length: Math.ceil(shards / shardsPerIndex) }, (_, n): ScaleIndex => {
    const name = `logs-${String(n).padStart(4, '0')}`;
    return {
      name,
      id: idOf(`id ${n}`),
      uuid: idOf(`uuid ${n}`),
      shards: Math.min(shardsPerIndex, shards - n * shardsPerIndex),
    };
  });
  let shard = 0;
  for (const index of indices) {
    const write = async (key: string, bytes: Buffer) => writeFile(path.join(folder, 'indices', index.id, key), bytes);
    await mkdir(path.join(folder, 'indices', index.id), { recursive: true });
    await write(
      `meta-${idOf(`meta ${index.id}`)}.dat`,
      frame('index-metadata', indexMetadata(index), { deflated: true }),
    );
    for (let n = 0; n < index.shards; n++, shard++) {
      // The remainder goes to the first ones.
      const files = Math.floor(blobs / shards) + (shard < blobs % shards ? 1 : 0);
      await writeShard(path.join(folder, 'indices', index.id, String(n)), `${index.id}/${n}`, files, options.blobBytes);
    }
  }
  await writeFile(path.join(folder, `snap-${SNAPSHOT.uuid}.dat`), frame('snapshot', rootSnapshot(indices, shards)));
  await writeFile(path.join(folder, `meta-${SNAPSHOT.uuid}.dat`), frame('metadata', { 'meta-data': { version: 0 } }));
  await writeFile(path.join(folder, 'index-0'), JSON.stringify(repositoryData(indices)));
  await writeFile(path.join(folder, 'index.latest'), encodeIndexLatest(0));
  return indices;
}

async function writeShard(folder: string, seed: string, count: number, blobBytes = LEAST_BYTES): Promise<void> {
  await mkdir(folder, { recursive: true });
  const files = Array.from({ length: count }, (_, n) => {
    const bytes = dataBlob(`${seed}/${n}`, blobBytes);
    return { bytes, name: `__${idOf(`${seed}/${n}`)}`, physicalName: `_${n.toString(36)}.cfs` };
  });
  for (let from = 0; from < files.length; from += WRITES_AT_ONCE) {
    const some = files.slice(from, from + WRITES_AT_ONCE);
    await Promise.all(some.map(({ name, bytes }) => writeFile(path.join(folder, name), bytes)));
  }
  const listed = files.map(({ name, physicalName, bytes }) => ({
    name,
    physical_name: physicalName,
    length: bytes.length,
    checksum: bytes.readUInt32BE(bytes.length - 4).toString(36),
    part_size: 2n ** 63n - 1n,
    written_by: '8.7.0',
  }));
  const of = { name: SNAPSHOT.name, index_version: 1, start_time: 0, time: 0, number_of_files: count, total_size: 0 };
  await writeFile(
    path.join(folder, `snap-${SNAPSHOT.uuid}.dat`),
    frame('snapshot', { ...of, files: listed }, { deflated: true }),
  );
  const shardIndex = { files: listed, snapshots: { [SNAPSHOT.name]: { files: files.map(({ name }) => name) } } };
  await writeFile(
    path.join(folder, `index-${idOf(`generation ${seed}`)}`),
    frame('snapshots', shardIndex, { deflated: true }),
  );
}

/** Some bytes, and the footer that says their CRC32. */
function dataBlob(seed: string, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  createHash('sha256').update(seed).digest().copy(bytes);
  bytes.writeUInt32BE(0, length - 8);
  bytes.writeUInt32BE(crc32(bytes.subarray(0, -8)), length - 4);
  return bytes;
}

function indexMetadata({ name, uuid, shards }: ScaleIndex) {
  const settings = {
    'index.number_of_shards': String(shards),
    'index.number_of_replicas': '0',
    'index.uuid': uuid,
    'index.version.created': String(VERSION_ID),
  };
  return { [name]: { version: 1, state: 'open', settings, mappings: [], aliases: {} } };
}

function rootSnapshot(indices: readonly ScaleIndex[], shards: number) {
  const names = indices.map(({ name }) => name);
  const counts = { total_shards: shards, successful_shards: shards, failures: [] };
  return { snapshot: { ...SNAPSHOT, version_id: VERSION_ID, indices: names, state: 'SUCCESS', ...counts } };
}

function repositoryData(indices: readonly ScaleIndex[]) {
  const identifierOf = (index: ScaleIndex) => `${index.uuid}-_na_-1-1-1`;
  const generationsOf = ({ id, shards }: ScaleIndex) =>
    Array.from({ length: shards }, (_, n) => idOf(`generation ${id}/${n}`));
  const lookup = Object.fromEntries(indices.map((index) => [index.id, identifierOf(index)]));
  return {
    snapshots: [{ ...SNAPSHOT, state: 1, index_metadata_lookup: lookup, version: '7.10.2' }],
    indices: Object.fromEntries(
      indices.map((index) => [
        index.name,
        { id: index.id, snapshots: [SNAPSHOT.uuid], shard_generations: generationsOf(index) },
      ]),
    ),
    min_version: '7.9.0',
    index_metadata_identifiers: Object.fromEntries(
      indices.map((index) => [identifierOf(index), idOf(`meta ${index.id}`)]),
    ),
  };
}

function idOf(seed: string): string {
  return createHash('md5').update(seed).digest('base64url');
}
