import { crc32 } from 'node:zlib';
import { difference, phaseOf, readManifest, shardIndexKeys } from '../../../src/repository';
import type { Manifest, ManifestBlob } from '../../../src/repository';
import { BlobMissingError, RepositoryChangedError } from '../../../src/domain/errors';
import { changed, expected, fixture, fixtureNames, reader, repositoryOf } from './fixtures';
import type { Blobs } from './fixtures';

async function manifestOf(blobs: Blobs, snapshot: string): Promise<Manifest> {
  return readManifest(await repositoryOf(blobs), snapshot, reader(blobs));
}

/** As expected.json counts them. */
function kindOf({ key, phase }: ManifestBlob): string {
  const file = key.slice(key.lastIndexOf('/') + 1);
  if (phase === 'shard-metadata') return file.startsWith('index-') ? 'shardindex' : 'shardsnap';
  if (phase === 'root-metadata') return file.startsWith('meta-') ? 'rootmeta' : 'rootsnap';
  const names: Partial<Record<string, string>> = {
    'index-metadata': 'indexmeta',
    'incompatible-snapshots': 'incompat',
    'index-N': 'indexN',
    'index.latest': 'latest',
  };
  return names[phase] ?? phase;
}

function groupBy<T>(items: readonly T[], name: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) groups.set(name(item), [...(groups.get(name(item)) ?? []), item]);
  return groups;
}

function countBy<T>(items: readonly T[], name: (item: T) => string): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const item of items) counts[name(item)] = (counts[name(item)] ?? 0) + 1;
  return counts;
}

const sum = (numbers: readonly number[]) => numbers.reduce((total, number) => total + number, 0);
const lengths = (blobs: readonly ManifestBlob[]) => sum(blobs.map(({ length }) => length));

/** The footer's CRC32 as the bytes have it, after checking it against the footer. */
function footerOf(bytes: Buffer): number {
  const actual = crc32(bytes.subarray(0, -8));
  expect(Number(bytes.readBigUInt64BE(bytes.length - 8))).toBe(actual);
  return actual;
}

const everySnapshot = fixtureNames.flatMap((name) =>
  Object.keys(expected[name]?.snapshots ?? {}).map((snapshot) => ({ name, snapshot })),
);

describe.each(everySnapshot)('the manifest of $name, snapshot $snapshot', ({ name, snapshot }) => {
  const blobs = fixture(name);
  const wanted = expected[name]!.snapshots[snapshot]!;
  let manifest: Manifest;
  beforeAll(async () => {
    manifest = await manifestOf(blobs, snapshot);
  });

  it('names only blobs that are on disk, with their exact length', () => {
    expect(manifest.blobs.filter(({ key, length }) => blobs.get(key)?.length !== length)).toEqual([]);
  });

  it('knows the CRC32 of every blob that has a footer', () => {
    const whole = manifest.blobs.filter((blob) => blob.crc32 !== null);
    for (const blob of whole) expect([blob.key, footerOf(blobs.get(blob.key)!)]).toEqual([blob.key, blob.crc32]);
    const footerless = manifest.blobs.filter((blob) => blob.crc32 === null && blob.part === undefined);
    const plain = ['incompatible-snapshots', 'index-N', 'index.latest'];
    expect(footerless.filter(({ phase }) => !plain.includes(phase))).toEqual([]);
  });

  it('knows the CRC32 of every chunked file over its parts in order', () => {
    const parts = manifest.blobs.filter(({ part }) => part !== undefined);
    const files = groupBy(parts, ({ key }) => key.replace(/\.part\d+$/, ''));
    for (const [file, ofFile] of files) {
      expect(ofFile.map(({ part }) => part?.number)).toEqual(ofFile.map((_, i) => i));
      expect(ofFile).toHaveLength(ofFile[0]!.part!.of);
      const crc = footerOf(Buffer.concat(ofFile.map(({ key }) => blobs.get(key)!)));
      expect([file, crc]).toEqual([file, ofFile[0]!.part!.fileCrc32]);
    }
    expect(parts.length > 0).toBe(name.endsWith('chunked'));
  });

  it('has the number of blobs and bytes that were recorded, kind by kind', () => {
    expect(countBy(manifest.blobs, kindOf)).toEqual(wanted.byKind);
    const data = manifest.blobs.filter(({ phase }) => phase === 'data');
    expect({ blobs: manifest.blobs.length, bytes: lengths(manifest.blobs), dataBytes: lengths(data) }).toEqual({
      blobs: wanted.blobs,
      bytes: wanted.bytes,
      dataBytes: wanted.dataBytes,
    });
    expect(manifest.snapshot).toMatchObject({ name: snapshot, uuid: wanted.uuid });
  });

  it('has each key once, in the phase that the key itself tells', () => {
    expect(new Set(manifest.blobs.map(({ key }) => key)).size).toBe(manifest.blobs.length);
    expect(manifest.blobs.filter(({ key, phase }) => phaseOf(key) !== phase)).toEqual([]);
  });

  it('says per index and shard what the snapshot holds', () => {
    expect(manifest.indices.map((index) => index.name)).toEqual(Object.keys(wanted.docs).sort());
    const shards = manifest.indices.flatMap((index) => index.shards);
    expect(sum(shards.map(({ dataBytes }) => dataBytes))).toBe(wanted.dataBytes);
    for (const { settings, createdVersionId, shards } of manifest.indices) {
      expect(settings['index.number_of_shards']).toBe(String(shards.length));
      expect(settings['index.version.created']).toBe(String(createdVersionId));
      expect(shards.map(({ shard }) => shard)).toEqual(shards.map((_, i) => i));
    }
    const segments = shards.flatMap((shard) => shard.segments);
    expect(segments.filter((segment) => !/^_[0-9a-z]+$/.test(segment))).toEqual([]);
    const docs = sum(Object.values(wanted.docs));
    expect(segments.length > 0).toBe(docs > 0);
  });

  it('carries the bytes that the source may delete with its next snapshot', () => {
    const indexKeys = shardIndexKeys(manifest);
    expect(indexKeys).toHaveLength(wanted.byKind.shardindex!);
    const root = ['incompatible-snapshots', `index-${manifest.generation}`, 'index.latest'].filter((key) =>
      blobs.has(key),
    );
    expect([...manifest.volatile.keys()].sort()).toEqual([...indexKeys, ...root].sort());
    for (const [key, bytes] of manifest.volatile) expect([key, bytes.equals(blobs.get(key)!)]).toEqual([key, true]);
  });
});

describe.each(fixtureNames)('the repository %s', (name) => {
  it('holds the blobs of all manifests, those that nothing refers to, and nothing else', async () => {
    const blobs = fixture(name);
    const { generation, onDisk, snapshots, unreferenced } = expected[name]!;
    const manifests = await Promise.all(Object.keys(snapshots).map((snapshot) => manifestOf(blobs, snapshot)));
    expect(manifests.map((manifest) => manifest.generation)).toEqual(manifests.map(() => generation));
    const keys = new Set([...manifests.flatMap((manifest) => manifest.blobs.map(({ key }) => key)), ...unreferenced]);
    expect([...keys].sort()).toEqual([...blobs.keys()].sort());
    expect(keys.size).toBe(onDisk);
  });
});

describe('a manifest', () => {
  it('takes the number of shards from that snapshot of a re-created index', async () => {
    const shardsIn = async (snapshot: string) =>
      (await manifestOf(fixture('5.6.16-rounds'), snapshot)).indices.find((index) => index.name === 'recreated')!.shards
        .length;
    expect([await shardsIn('round-0'), await shardsIn('round-1')]).toEqual([2, 3]);
  });

  it('knows the aliases and the write block of the snapshot', async () => {
    const { indices } = await manifestOf(fixture('7.10.2-rounds'), 'final');
    const orders = indices.find(({ name }) => name === 'orders')!;
    expect(orders.aliases).toEqual(['orders-live']);
    expect(orders.settings['index.blocks.write']).toBe('true');
    expect(orders.createdVersionId).toBe(7100299);
  });

  it('counts virtual files without naming a blob for them', async () => {
    const { indices, blobs } = await manifestOf(fixture('7.10.2-chunked'), 's1');
    const shards = indices.flatMap((index) => index.shards);
    const files = new Set(
      blobs.filter(({ phase }) => phase === 'data').map(({ key }) => key.replace(/\.part\d+$/, '')),
    );
    expect(sum(shards.map((shard) => shard.files))).toBe(
      files.size + expected['7.10.2-chunked']!.snapshots.s1!.virtualFiles,
    );
    expect(sum(shards.map((shard) => shard.virtualBytes))).toBeGreaterThan(0);
  });

  it('comes without incompatible-snapshots and index.latest in the source, which it writes anew', async () => {
    const blobs = changed(fixture('5.6.16-rounds'), { 'incompatible-snapshots': undefined, 'index.latest': undefined });
    const manifest = await manifestOf(blobs, 'final');
    expect(manifest.volatile.get('index.latest')).toEqual(Buffer.from('0000000000000003', 'hex'));
    expect(manifest.volatile.has('incompatible-snapshots')).toBe(false);
  });

  it.each(['5.6.16-rounds', '7.10.2-rounds'])(
    'of %s fails with the key of any metadata blob that is missing',
    async (name) => {
      const blobs = fixture(name);
      const manifest = await manifestOf(blobs, 'final');
      const needed = manifest.blobs.filter(({ phase }) => phase.endsWith('-metadata')).map(({ key }) => key);
      for (const key of needed) {
        const failure = await manifestOf(changed(blobs, { [key]: undefined }), 'final').catch(
          (error: unknown) => error,
        );
        expect(failure).toBeInstanceOf(BlobMissingError);
        expect((failure as Error).message).toContain(key.replace(/index-\d+$/, 'index-*'));
      }
    },
  );

  it('of a snapshot that is not listed is refused', async () => {
    await expect(manifestOf(fixture('5.6.16-rounds'), 'nope')).rejects.toThrow(RepositoryChangedError);
  });
});

describe('the list of snapshots of a shard', () => {
  /** As after many snapshots of other indices: the repository is far ahead of the shard. */
  async function foundAt(shardGeneration: number, generation: number): Promise<string[]> {
    const name = '5.6.16-counter-names-after';
    const { generation: recorded } = expected[name]!;
    const { blobs } = await manifestOf(fixture(name), 's3');
    const key = blobs.find((blob) => kindOf(blob) === 'shardindex')!.key;
    const moved = changed(fixture(name), {
      [key]: undefined,
      [key.replace(/\d+$/, String(shardGeneration))]: fixture(name).get(key),
      [`index-${generation}`]: fixture(name).get(`index-${recorded}`),
    });
    return shardIndexKeys(await manifestOf(moved, 's3')).map((found) => found.slice(found.lastIndexOf('/') + 1));
  }

  it.each([
    [0, 3],
    [3, 3],
    [9, 3],
    [0, 500],
    [1, 500],
    [250, 500],
    [251, 500],
    [500, 500],
    [7, 16],
  ])('is found at generation %i of a shard in generation %i of the repository', async (shard, repository) => {
    expect(await foundAt(shard, repository)).toEqual([`index-${shard}`]);
  });
});

describe('the difference', () => {
  it.each(['5.5.2', '5.6.16'])('sends a counter name of %s that came back with other bytes', async (version) => {
    const before = await manifestOf(fixture(`${version}-counter-names-before`), 's2');
    const after = await manifestOf(fixture(`${version}-counter-names-after`), 's3');
    const held = new Map(before.blobs.map((blob) => [blob.key, blob]));
    const reused = after.blobs.filter(({ key, phase, crc32 }) => {
      return phase === 'data' && held.has(key) && held.get(key)?.crc32 !== crc32;
    });
    expect(reused.length).toBeGreaterThan(0);
    expect(difference(after.blobs, before.blobs)).toEqual(expect.arrayContaining(reused));
  });

  it('of a next round sends no data blob that the round before has sent', async () => {
    const first = await manifestOf(fixture('6.8.23-rounds'), 'round-0');
    const next = await manifestOf(fixture('6.8.23-rounds'), 'round-1');
    const sent = new Set(first.blobs.map(({ key }) => key));
    const delta = difference(next.blobs, first.blobs);
    const data = next.blobs.filter(({ phase }) => phase === 'data');
    expect(delta.filter(({ phase }) => phase === 'data')).toEqual(data.filter(({ key }) => !sent.has(key)));
    expect(data.filter(({ key }) => sent.has(key)).length).toBeGreaterThan(0);
    expect(difference(next.blobs, [])).toEqual(next.blobs);
  });

  it('always sends the blobs that have no checksum', async () => {
    const { blobs } = await manifestOf(fixture('6.8.23-rounds'), 'final');
    const delta = difference(blobs, blobs).map(({ key }) => key);
    expect(delta).toEqual(['incompatible-snapshots', 'index-3', 'index.latest']);
  });

  it('sends a blob if its length, its CRC32 or the CRC32 of its file differs from what is held', () => {
    const part = { file: '__a', number: 0, of: 2, fileCrc32: 9 };
    const blob: ManifestBlob = { key: 'indices/i/0/__a', length: 5, crc32: 7, phase: 'data' };
    const chunk: ManifestBlob = { key: 'indices/i/0/__a.part0', length: 5, crc32: null, phase: 'data', part };
    expect(difference([blob], [{ ...blob, length: 6 }])).toEqual([blob]);
    expect(difference([blob], [{ ...blob, crc32: 8 }])).toEqual([blob]);
    expect(difference([chunk], [{ ...chunk, part: { ...part, fileCrc32: 8 } }])).toEqual([chunk]);
    expect(difference([blob, chunk], [{ ...chunk }, { ...blob }])).toEqual([]);
  });
});
