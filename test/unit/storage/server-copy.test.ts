import { randomBytes } from 'node:crypto';
import type { MigrationError } from '../../../src/domain/errors';
import { BlobCorruptError } from '../../../src/domain/errors';
import type { ManifestBlob } from '../../../src/repository';
import { copyFile, crc32, Engine, showCrc32 } from '../../../src/storage';
import type { CopyOptions } from '../../../src/storage';
import { MemoryStore } from '../../support/memory-store';
import type { Fault } from '../../support/memory-store';

const NEVER = new AbortController().signal;

type Settings = NonNullable<ConstructorParameters<typeof MemoryStore>[1]>;

/** Two places of one provider. */
class Scene {
  readonly source = new MemoryStore('source', { keeps: (body) => [showCrc32(crc32(body))] });
  readonly target: MemoryStore;
  readonly refusals: MigrationError[] = [];
  readonly engine = new Engine({ onRefusedRoute: (reason) => void this.refusals.push(reason) });
  sent = 0;

  constructor(settings: Settings = { copies: 'told' }) {
    this.target = new MemoryStore('target', settings);
  }

  /** A Lucene file of the source, whole or cut. */
  file(key = '__0', length = 3_000, chunkBytes = length): ManifestBlob[] {
    const content = randomBytes(length - 8);
    const footer = Buffer.alloc(8);
    footer.writeUInt32BE(crc32(content), 4);
    const bytes = Buffer.concat([content, footer]);
    const of = Math.ceil(length / chunkBytes);
    return Array.from({ length: of }, (_, number): ManifestBlob => {
      const body = bytes.subarray(number * chunkBytes, (number + 1) * chunkBytes);
      const name = of === 1 ? key : `${key}.part${number}`;
      this.source.put(`from/${name}`, body);
      const whole = { key: name, length: body.length, phase: 'data' } as const;
      if (of === 1) return { ...whole, crc32: crc32(content) };
      return { ...whole, crc32: null, part: { file: key, number, of, fileCrc32: crc32(content) } };
    });
  }

  copy(blobs: readonly ManifestBlob[], options: Partial<CopyOptions> = {}) {
    const [source, target] = [
      { store: this.source, basePath: 'from' },
      { store: this.target, basePath: 'to' },
    ];
    const progress = (bytes: number) => void (this.sent += bytes);
    return copyFile(
      this.engine,
      source,
      target,
      { blobs },
      { signal: NEVER, progress, onCursor: () => undefined, ...options },
    );
  }

  isCopied(blobs: readonly ManifestBlob[]): boolean {
    return blobs.every(({ key }) => this.target.blobs.get(`to/${key}`)?.equals(this.source.blobs.get(`from/${key}`)!));
  }
}

test('a store that copies by itself is asked to, and its CRC32 is the proof: no byte is read or sent', async () => {
  const scene = new Scene();
  const blobs = scene.file();
  const [proof] = await scene.copy(blobs);
  expect(scene.isCopied(blobs)).toBe(true);
  const crc = crc32(scene.source.blobs.get('from/__0')!);
  expect(proof).toMatchObject({
    key: '__0',
    length: 3_000,
    crc32: crc,
    checksum: showCrc32(crc),
    footerCrc32: blobs[0]!.crc32,
  });
  expect([scene.source.calls, scene.target.calls, scene.sent]).toEqual([[], ['copy to/__0'], 3_000]);
});

test('one that tells no checksum, or a wrong one, is proved by reading the copy back', async () => {
  for (const copies of ['untold', 'told wrong'] as const) {
    const scene = new Scene({ copies });
    const blobs = scene.file();
    const [proof] = await scene.copy(blobs);
    expect(scene.isCopied(blobs)).toBe(true);
    expect(proof!.checksum).toBe(showCrc32(proof!.crc32));
    expect(scene.target.calls).toEqual(['copy to/__0', 'head to/__0', 'read to/__0']);
  }
});

test('what is too large for one answer is copied in parts', async () => {
  const scene = new Scene({ copies: 'untold', maxCopyBytes: 1_000 });
  const blobs = scene.file('__0', 2_500);
  await scene.copy(blobs);
  expect(scene.isCopied(blobs)).toBe(true);
  expect(scene.target.callsOf('copy')).toHaveLength(3);
  expect(scene.source.callsOf('read')).toEqual([]);
});

test('a store that keeps a wrong checksum of what it made of parts is not left with it', async () => {
  // As versitygw 1.7.0: whoever reads the blob and compares would refuse it.
  const keeps = (body: Buffer) => [showCrc32(crc32(body) ^ 1)];
  const scene = new Scene({ copies: 'told wrong', maxCopyBytes: 1_000, keeps });
  const large = scene.file('__0', 2_500);
  await scene.copy(large);
  expect(scene.isCopied(large)).toBe(true);
  expect(scene.target.callsOf('write')).toEqual(['write to/__0']);
  await scene.copy(scene.file('__1', 2_500));
  expect(scene.target.callsOf('copy').filter((call) => call.includes('__1'))).toEqual([]);
});

describe('the bytes pass here', () => {
  test.each([
    ['a refusal', 'forbidden', 1, true],
    ['no answer', 'unavailable', 1, false],
    ['no answer three times', 'unavailable', 3, true],
    ['a lost answer', 'lost-answer', 1, false],
    ['a copy that is not the source', 'rot', 1, false],
  ] as const)('after %s', async (_, effect, times, isFinal) => {
    const scene = new Scene();
    const faults = Array.from({ length: times }, (__, i): Fault => ({ call: 'copy', nth: i + 1, effect }));
    scene.target.inject(...faults);
    for (let n = 0; n < times; n += 1) {
      const blobs = scene.file(`__${n}`);
      const [proof] = await scene.copy(blobs);
      expect(scene.isCopied(blobs)).toBe(true);
      expect(proof!.crc32).toBe(crc32(scene.source.blobs.get(`from/__${n}`)!));
    }
    expect(scene.source.callsOf('read')).toHaveLength(times);
    await scene.copy(scene.file('__last'));
    expect(scene.target.callsOf('copy').includes('copy to/__last')).toBe(!isFinal);
    expect(scene.refusals).toHaveLength(isFinal ? 1 : 0);
  });

  test('a store that refuses is asked once, however many blobs there are', async () => {
    const scene = new Scene();
    scene.target.inject({ call: 'copy', nth: 1, effect: 'forbidden' });
    const files = Array.from({ length: 50 }, (_, n) => scene.file(`__${n}`, 200));
    await Promise.all(files.map((blobs) => scene.copy(blobs)));
    expect(files.every((blobs) => scene.isCopied(blobs))).toBe(true);
    expect(scene.target.callsOf('copy')).toHaveLength(1);
    expect(scene.refusals).toHaveLength(1);
  });

  test('where an upload of them was begun before', async () => {
    const scene = new Scene();
    const blobs = scene.file('__0', 2_500);
    const uploadId = await scene.target.uploads.begin('to/__0', NEVER);
    const resume = { key: '__0', uploadId, partBytes: 1_000, parts: [] };
    await scene.copy(blobs, { resume, multipartBytes: 1_000, partBytes: 1_000 });
    expect([scene.isCopied(blobs), scene.target.callsOf('copy')]).toEqual([true, []]);
  });

  test('a source that is damaged is blamed for it', async () => {
    const scene = new Scene();
    const blobs = scene.file();
    scene.source.rot('from/__0');
    await expect(scene.copy(blobs)).rejects.toThrow(BlobCorruptError);
    await expect(scene.copy(blobs)).rejects.toThrow('store=memory:source');
  });
});

describe('a file that was cut into chunks', () => {
  test('is copied by the store, and each chunk is read back for the sum of them all', async () => {
    const scene = new Scene();
    const blobs = scene.file('__0', 2_500, 1_000);
    const proofs = await scene.copy(blobs);
    expect(scene.isCopied(blobs)).toBe(true);
    expect(proofs.map(({ crc32: crc }) => crc)).toEqual(
      blobs.map(({ key }) => crc32(scene.source.blobs.get(`from/${key}`)!)),
    );
    expect(scene.target.callsOf('read')).toHaveLength(3);
    expect(scene.source.callsOf('read')).toEqual([]);
  });

  test('passes here when the chunks do not make up the file', async () => {
    const scene = new Scene();
    const blobs = scene.file('__0', 2_500, 1_000);
    scene.target.inject({ call: 'copy', nth: 2, effect: 'rot' });
    await scene.copy(blobs);
    expect(scene.isCopied(blobs)).toBe(true);
    expect(scene.source.callsOf('read').length).toBeGreaterThan(0);
  });
});

describe('a blob that no manifest knows', () => {
  const unproved = { isUnproved: true };

  test('has to have the CRC32 that the source tells', async () => {
    const scene = new Scene();
    const blobs = scene.file();
    await scene.copy(blobs, unproved);
    expect([scene.isCopied(blobs), scene.source.callsOf('read')]).toEqual([true, []]);
    const other = scene.file('__1');
    scene.target.inject({ call: 'copy', nth: 1, effect: 'rot' });
    await scene.copy(other, unproved);
    expect([scene.isCopied(other), scene.source.callsOf('read')]).toEqual([true, ['read from/__1']]);
  });

  test('or another checksum that both tell, and is read back for its CRC32', async () => {
    const keeps = (body: Buffer) => [`crc64:${body.toString('hex').slice(0, 16)}`];
    const scene = new Scene({ copies: 'untold', keeps });
    scene.source.checksums = async (key) => {
      const body = scene.source.blobs.get(key)!;
      return { key, length: body.length, etag: '', checksums: keeps(body) };
    };
    const blobs = scene.file();
    const [proof] = await scene.copy(blobs, unproved);
    expect([scene.isCopied(blobs), scene.source.callsOf('read')]).toEqual([true, []]);
    expect(proof!.crc32).toBe(crc32(scene.source.blobs.get('from/__0')!));
    expect(proof!.checksum).toMatch(/^crc64:/);
  });

  test('passes here where the source does not tell any, which is asked once', async () => {
    const scene = new Scene({ copies: 'told' });
    scene.source.checksums = jest.fn(async (key) => ({ key, length: 3_000, etag: '', checksums: [] }));
    for (const key of ['__0', '__1']) await scene.copy(scene.file(key), unproved);
    expect(scene.source.checksums).toHaveBeenCalledTimes(1);
    expect(scene.source.callsOf('read')).toHaveLength(2);
    expect(scene.target.callsOf('copy')).toEqual([]);
  });
});
