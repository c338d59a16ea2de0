import { BlobCorruptError, MigrationError } from '../../../src/domain/errors';
import { parseRepositoryData, readManifest } from '../../../src/repository';
import type { Manifest } from '../../../src/repository';
import { random } from '../random';
import { changed, fixture, reader, repositoryOf } from './fixtures';
import type { Blobs } from './fixtures';

const SEED = Number(process.env.SNAPFERRY_SEED ?? Date.now() % 2 ** 31);
const SNAPSHOTS = [
  ['5.5.2-counter-names-before', 's2'],
  ['5.6.16-chunked', 's1'],
  ['6.8.23-rounds', 'foreign-1'],
  ['7.10.2-chunked', 's1'],
  ['8.19.0-chunked', 's1'],
  ['8.19.0-rounds', 'foreign-1'],
] as const;

/** Half the time cut short, half the time with one bit flipped: never the same bytes. */
function damage(bytes: Buffer, below: (limit: number) => number): Buffer {
  if (below(2) === 0) return bytes.subarray(0, below(bytes.length));
  return flipped(bytes, below(bytes.length * 8));
}

function flipped(bytes: Buffer, bit: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[bit >> 3]! ^= 1 << (bit & 7);
  return copy;
}

/** The manifest read from the repository, or the error's class; anything but an error of ours is thrown. */
async function outcome(blobs: Blobs, snapshot: string): Promise<Manifest | string> {
  try {
    return await readManifest(await repositoryOf(blobs), snapshot, reader(blobs));
  } catch (error) {
    if (error instanceof MigrationError && error.message !== '') return error.name;
    throw error;
  }
}

/** What is copied, without the bytes that were damaged themselves. */
function essence({ snapshot, generation, indices, blobs }: Manifest): unknown {
  return { snapshot, generation, indices, blobs };
}

describe(`damage (SNAPFERRY_SEED=${SEED})`, () => {
  it('to a metadata blob with a checksum never yields a manifest: 10,000 truncations and flipped bits', async () => {
    const below = random(SEED);
    const whole = await Promise.all(SNAPSHOTS.map(([name, snapshot]) => outcome(fixture(name), snapshot)));
    for (let n = 0; n < 10_000; n++) {
      const [name, snapshot] = SNAPSHOTS[n % SNAPSHOTS.length]!;
      const framed = (whole[n % SNAPSHOTS.length] as Manifest).blobs.filter(({ phase }) => phase.endsWith('-metadata'));
      const { key } = framed[below(framed.length)]!;
      const blobs = changed(fixture(name), { [key]: damage(fixture(name).get(key)!, below) });
      const result = await outcome(blobs, snapshot);
      if (typeof result !== 'string') throw new Error(`damage ${n} to ${name}/${key} went unnoticed`);
      expect(result).toBe('BlobCorruptError');
    }
  });

  it.each(SNAPSHOTS)('to index-N of %s is refused, or what %s needs does not depend on it', async (name, snapshot) => {
    const blobs = fixture(name);
    const { raw, generation } = await repositoryOf(blobs);
    const key = `index-${generation}`;
    const truth = essence((await outcome(blobs, snapshot)) as Manifest);
    let refused = 0;
    const bits = raw.length * 8;
    const below = random(SEED);
    const tried = Array.from({ length: 1_000 }, () => below(bits));
    for (const bit of tried) {
      const result = await outcome(changed(blobs, { [key]: flipped(raw, bit) }), snapshot);
      if (typeof result === 'string') refused++;
      else expect([bit, essence(result)]).toEqual([bit, truth]);
    }
    expect(refused).toBeGreaterThan(tried.length / 4);
    for (let length = 0; length < raw.length; length++) {
      expect(() => parseRepositoryData(raw.subarray(0, length), generation)).toThrow(BlobCorruptError);
    }
  });

  it('to incompatible-snapshots is refused when it is no list any more', async () => {
    const blobs = fixture('5.6.16-rounds');
    for (const broken of ['', '{"incompatible-snapshots":[', '{"incompatible-snapshotz":[]}', '7']) {
      const result = await outcome(changed(blobs, { 'incompatible-snapshots': Buffer.from(broken) }), 'final');
      expect(result).toBe('BlobCorruptError');
    }
  });
});
