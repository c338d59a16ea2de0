import fc from 'fast-check';
import {
  encodeIndexLatest,
  inCopyOrder,
  parseRepositoryData,
  phaseOf,
  PHASES,
  readManifest,
} from '../../../src/repository';
import type { Manifest, ManifestBlob } from '../../../src/repository';
import { fixture, reader, repositoryOf } from './fixtures';
import type { Blobs } from './fixtures';

describe('a key', () => {
  it.each([
    ['indices/-CNq72qi/0/__0', 'data'],
    ['indices/a/12/__-Y7gH_mQNiRqECoKf4caA.part3', 'data'],
    ['indices/a/0/snap-_u.dat', 'shard-metadata'],
    ['indices/a/0/index-5', 'shard-metadata'],
    ['indices/a/0/index--CtBko90SEyZoEcJW-o0Jg', 'shard-metadata'],
    ['indices/a/meta--u.dat', 'index-metadata'],
    ['snap---Y7gH_mQNiRqECoKf4caA.dat', 'root-metadata'],
    ['meta-_u.dat', 'root-metadata'],
    ['incompatible-snapshots', 'incompatible-snapshots'],
    ['index-12', 'index-N'],
    ['index.latest', 'index.latest'],
    ['index', undefined],
    ['index-x', undefined],
    ['tests-a1b2/master.dat', undefined],
    ['pending-index-4', undefined],
    ['indices/a/0/v__b', undefined],
    ['owner.json', undefined],
  ])('%s belongs to phase %s', (key, phase) => expect(phaseOf(key)).toBe(phase));
});

describe('the copy order', () => {
  it('is data, shard, index and root metadata, incompatible-snapshots, index-N, index.latest', () => {
    const blobs = [...PHASES].reverse().flatMap((phase) => [
      { phase, key: 'b' },
      { phase, key: 'a' },
    ]);
    expect(inCopyOrder(blobs).map(({ phase, key }) => `${phase} ${key}`)).toEqual(
      PHASES.flatMap((phase) => [`${phase} b`, `${phase} a`]),
    );
  });

  it('ends with the generation as eight bytes', () => {
    expect(encodeIndexLatest(0).toString('hex')).toBe('0000000000000000');
    expect(encodeIndexLatest(258).toString('hex')).toBe('0000000000000102');
  });
});

/**
 * A target that holds round-1 while `final` is copied over it:
 *
 *     source   round-0 ── round-1 ── final       index-3
 *     target              round-1                index-2, then more and more of final
 */
async function rounds(name: string): Promise<{ older: Map<string, Buffer>; newer: Manifest; source: Blobs }> {
  const source = fixture(name);
  const before = parseRepositoryData(source.get('index-2') ?? withoutFinal(source.get('index-3')!), 2);
  const older = await readManifest(before, 'round-1', reader(source));
  const newer = await readManifest(await repositoryOf(source), 'final', reader(source));
  return { older: new Map(older.blobs.map(({ key }) => [key, bytesOf(older, key, source)])), newer, source };
}

function bytesOf({ volatile }: Manifest, key: string, source: Blobs): Buffer {
  return volatile.get(key) ?? source.get(key)!;
}

/** From 7.10 on the source keeps only the newest `index-N`: the one before is made from it. */
function withoutFinal(raw: Buffer): Buffer {
  const repository = JSON.parse(raw.toString()) as {
    snapshots: { name: string; uuid: string }[];
    indices: Record<string, { snapshots: string[] }>;
  };
  const gone = repository.snapshots.find(({ name }) => name === 'final')!.uuid;
  repository.snapshots = repository.snapshots.filter(({ uuid }) => uuid !== gone);
  for (const index of Object.values(repository.indices))
    index.snapshots = index.snapshots.filter((uuid) => uuid !== gone);
  return Buffer.from(JSON.stringify(repository));
}

/** The snapshot that a reader of the target finds whole: its newest of ours. Throws when it is not whole. */
async function wholeSnapshotOf(target: Blobs): Promise<string> {
  const repository = await repositoryOf(target);
  const name = repository.snapshots.some((snapshot) => snapshot.name === 'final') ? 'final' : 'round-1';
  const { blobs } = await readManifest(repository, name, reader(target));
  const latest = ({ phase }: ManifestBlob) => phase === 'index.latest';
  const absent = blobs.filter((blob) => !latest(blob) && target.get(blob.key)?.length !== blob.length);
  if (absent.length > 0) throw new Error(`${name} lacks ${absent[0]?.key}`);
  return name;
}

describe.each(['5.5.2-rounds', '6.8.23-rounds', '7.10.2-rounds', '8.19.0-rounds'])('over an older %s', (name) => {
  it('every prefix of the copy order, shuffled inside its phases, is a whole older or a whole newer repository', async () => {
    const { older, newer, source } = await rounds(name);
    const seeds = fc.array(fc.double({ noNaN: true }), {
      minLength: newer.blobs.length,
      maxLength: newer.blobs.length,
    });
    await fc.assert(
      fc.asyncProperty(fc.nat(newer.blobs.length), seeds, async (count, seed) => {
        const shuffled = newer.blobs.map((blob, i) => ({ blob, at: seed[i]! })).sort((a, b) => a.at - b.at);
        const copied = inCopyOrder(shuffled.map(({ blob }) => blob)).slice(0, count);
        const target = new Map(older);
        for (const { key } of copied) target.set(key, bytesOf(newer, key, source));
        const published = copied.some(({ phase }) => phase === 'index-N');
        expect(await wholeSnapshotOf(target)).toBe(published ? 'final' : 'round-1');
      }),
      { numRuns: 60 },
    );
  });

  it('some prefix of the order of keys is neither', async () => {
    const { older, newer, source } = await rounds(name);
    const broken: number[] = [];
    const target = new Map(older);
    for (const key of newer.blobs.map((blob) => blob.key).sort()) {
      target.set(key, bytesOf(newer, key, source));
      await wholeSnapshotOf(target).catch(() => broken.push(target.size));
    }
    expect(broken.length).toBeGreaterThan(0);
  });
});
