import { randomBytes } from 'node:crypto';
import {
  BlobCorruptError,
  BlobMissingError,
  ConfigurationError,
  RepositoryChangedError,
  UnavailableError,
} from '../../../src/domain/errors';
import type { ManifestBlob } from '../../../src/repository';
import type { CopyCursor, CopyFile, CopyOptions } from '../../../src/storage';
import { payload } from '../../../src/storage/payload';
import { copyFile, Engine, crc32, showCrc32 } from '../../../src/storage';
import type { Effect, Fault } from '../../support/memory-store';
import { MemoryStore } from '../../support/memory-store';
import { HEARTBEAT_BYTES } from '../heartbeats';

const NEVER = new AbortController().signal;
const PART = 1000;
/** One after the other, so that what was sent before a fault is known. */
const PARTS = { multipartBytes: PART, partBytes: PART, partsAtOnce: 1 };

/** A source that holds one Lucene file under `from/`, and an empty target. */
class Scene {
  readonly source = new MemoryStore('source');
  readonly target: MemoryStore;
  readonly bytes: Buffer;
  readonly file: CopyFile;
  cursor: CopyCursor | undefined;
  sent = 0;

  constructor(shape: { length?: number; chunkBytes?: number; md5Etags?: boolean } = {}) {
    const { length = 3_456, chunkBytes = length, md5Etags } = shape;
    this.target = new MemoryStore('target', { md5Etags });
    const content = randomBytes(length - 8);
    const footer = Buffer.alloc(8);
    footer.writeUInt32BE(crc32(content), 4);
    this.bytes = Buffer.concat([content, footer]);
    this.file = { blobs: manifestOf(this.bytes, chunkBytes) };
    this.file.blobs.forEach(({ key }, i) => {
      this.source.put(`from/${key}`, this.bytes.subarray(i * chunkBytes, (i + 1) * chunkBytes));
    });
  }

  /** Another attempt, with what the last one's heartbeat kept. */
  copy(options: Partial<CopyOptions> = {}) {
    return copyFile(
      new Engine(),
      { store: this.source, basePath: 'from' },
      { store: this.target, basePath: 'to' },
      this.file,
      {
        signal: NEVER,
        progress: (delta) => (this.sent += delta),
        resume: this.cursor,
        // Through JSON, as a heartbeat.
        onCursor: (cursor) => (this.cursor = JSON.parse(JSON.stringify(cursor)) as CopyCursor),
        ...options,
      },
    );
  }

  get copied(): Buffer {
    return Buffer.concat(this.file.blobs.map(({ key }) => this.target.blobs.get(`to/${key}`) ?? Buffer.alloc(0)));
  }

  expectCopied(): void {
    expect(this.copied.equals(this.bytes)).toBe(true);
  }

  async expectNothingVisible(): Promise<void> {
    expect([...this.target.blobs.keys()]).toEqual([]);
    expect(await this.target.uploads.unfinished('', NEVER)).toEqual([]);
  }
}

function manifestOf(bytes: Buffer, chunkBytes: number): ManifestBlob[] {
  const footerCrc = crc32(bytes.subarray(0, -8));
  const of = Math.ceil(bytes.length / chunkBytes);
  if (of === 1) return [{ key: '__0', length: bytes.length, crc32: footerCrc, phase: 'data' }];
  return Array.from({ length: of }, (_, number) => ({
    key: `__0.part${number}`,
    length: Math.min(chunkBytes, bytes.length - number * chunkBytes),
    crc32: null,
    phase: 'data',
    part: { file: '__0', number, of, fileCrc32: footerCrc },
  }));
}

describe('a small file', () => {
  test('is read once, written once, and proved', async () => {
    const scene = new Scene();
    const proofs = await scene.copy();
    scene.expectCopied();
    const crc = crc32(scene.bytes);
    expect(proofs).toEqual([
      {
        key: '__0',
        length: 3_456,
        crc32: crc,
        footerCrc32: scene.file.blobs[0]!.crc32,
        checksum: showCrc32(crc),
        etag: expect.any(String),
        requestId: 'request-1',
      },
    ]);
    expect(scene.source.calls).toEqual(['read from/__0']);
    expect(scene.target.calls).toEqual(['write to/__0']);
    expect(scene.sent).toBe(3_456);
  });

  test('replaces a blob of the same name and length: old versions use names again', async () => {
    const scene = new Scene();
    scene.target.put('to/__0', randomBytes(scene.bytes.length));
    await scene.copy();
    scene.expectCopied();
  });

  test.each<[string, (scene: Scene) => void, new (...args: never[]) => Error]>([
    ['was changed by one bit in the source', ({ source }) => source.rot('from/__0'), BlobCorruptError],
    ['lost a bit on the way from the source', fault('source', 'read', 'flip'), UnavailableError],
    ['is gone from the source', ({ source }) => source.blobs.clear(), BlobMissingError],
    ['is shorter in the source', ({ source, bytes }) => source.put('from/__0', bytes.subarray(1)), BlobCorruptError],
    [
      'is longer in the source',
      ({ source, bytes }) => source.put('from/__0', Buffer.concat([bytes, bytes])),
      BlobCorruptError,
    ],
    ['came to an end early', fault('source', 'read', 'truncate'), UnavailableError],
    ['was cut off', fault('source', 'read', 'cut'), UnavailableError],
    ['may not be read', fault('source', 'read', 'forbidden'), ConfigurationError],
    ['lost a bit on the way to the target', fault('target', 'write', 'flip'), BlobCorruptError],
    ['may not be written', fault('target', 'write', 'forbidden'), ConfigurationError],
  ])('that %s is an error, and nothing becomes visible', async (_, arrange, expected) => {
    const scene = new Scene();
    arrange(scene);
    await expect(scene.copy()).rejects.toThrow(expected);
    await scene.expectNothingVisible();
    expect(scene.sent).toBe(0);
  });

  test('that lost a bit at the source, or on the way from it, or to the target, is three messages', async () => {
    const messages = [];
    for (const arrange of [
      ({ source }: Scene) => source.rot('from/__0'),
      fault('source', 'read', 'flip'),
      fault('target', 'write', 'flip'),
    ]) {
      const scene = new Scene();
      arrange(scene);
      messages.push(await scene.copy().catch(({ message }: Error) => message));
    }
    expect(messages).toEqual([
      expect.stringMatching(
        /^The bytes in the source are not those that the snapshot names: restore it, .*key=from\/__0/,
      ),
      expect.stringMatching(/^Bytes were changed on their way from the source: .*key=from\/__0/),
      expect.stringMatching(/^The store received other bytes than were sent\. .*key=to\/__0/),
    ]);
  });

  test('that lost a bit on the way from the source is copied by the next attempt', async () => {
    const scene = new Scene();
    scene.source.inject({ call: 'read', nth: 1, effect: 'flip' });
    await expect(scene.copy()).rejects.toThrow(UnavailableError);
    await scene.copy();
    scene.expectCopied();
  });

  test('that ended early is copied by the next attempt', async () => {
    const scene = new Scene();
    scene.source.inject({ call: 'read', nth: 1, effect: 'truncate' });
    await expect(scene.copy()).rejects.toThrow(UnavailableError);
    await scene.copy();
    scene.expectCopied();
  });

  test('that the target holds with a bit changed is an error, told by the target’s own checksum', async () => {
    const scene = new Scene();
    scene.target.inject({ call: 'write', nth: 1, effect: 'rot' });
    await expect(scene.copy()).rejects.toThrow(/^The store holds other bytes.*store=memory:target, key=to\/__0, sent=/);
  });

  test('that is corrupt is named with its key, what was expected and what was found', async () => {
    const scene = new Scene();
    scene.source.rot('from/__0');
    const expected = showCrc32(crc32(scene.bytes));
    const actual = showCrc32(crc32(scene.source.blobs.get('from/__0')!));
    const subject = { store: 'memory:source', key: 'from/__0', expected, actual };
    await expect(scene.copy()).rejects.toMatchObject({ code: 'BlobCorrupt', subject });
  });

  test('whose CRC32 no manifest gives is not copied here', () => {
    const scene = new Scene();
    const file = { blobs: [{ ...scene.file.blobs[0]!, crc32: null }] };
    const place = { store: scene.source, basePath: '' };
    expect(() => copyFile(new Engine(), place, place, file, { signal: NEVER, progress() {}, onCursor() {} })).toThrow(
      'published',
    );
  });

  test('stops with the reason of its signal', async () => {
    const scene = new Scene();
    const controller = new AbortController();
    scene.source.inject({ call: 'read', nth: 1, effect: 'hang' });
    const copying = scene.copy({ signal: controller.signal });
    const reason = new Error('the worker shuts down');
    controller.abort(reason);
    await expect(copying).rejects.toBe(reason);
  });
});

describe('a large file', () => {
  test('is sent in parts, appears when all of them are proved, and is measured there', async () => {
    const scene = new Scene();
    const [proof] = await scene.copy(PARTS);
    scene.expectCopied();
    expect(proof).toMatchObject({ crc32: crc32(scene.bytes), checksum: showCrc32(crc32(scene.bytes)) });
    expect(scene.target.calls).toEqual([
      'begin to/__0',
      'part to/__0 1',
      'part to/__0 2',
      'part to/__0 3',
      'part to/__0 4',
      'complete to/__0',
      'head to/__0',
    ]);
    expect(scene.sent).toBe(scene.bytes.length);
  });

  test('has at most 500 parts: their size doubles until it has', async () => {
    const scene = new Scene({ length: 4_001 });
    await scene.copy({ multipartBytes: 1, partBytes: 1 });
    scene.expectCopied();
    expect(scene.cursor!.partBytes).toBe(16);
    expect(scene.target.callsOf('part')).toHaveLength(251);
    const [part] = scene.cursor!.parts.slice(-1);
    const longest = { ...part, length: 2 ** 26, etag: 'f'.repeat(32), checksum: `crc64:${2n ** 64n - 1n}` };
    expect(JSON.stringify(longest).length * 500).toBeLessThan(HEARTBEAT_BYTES);
  });

  test.each([1, 2, 3, 4])(
    'killed while part %i is sent, goes on there: nothing acknowledged is sent again',
    async (n) => {
      const scene = new Scene();
      scene.target.inject({ call: 'part', nth: n, effect: 'unavailable' });
      await expect(scene.copy(PARTS)).rejects.toThrow(UnavailableError);
      expect(scene.cursor!.parts.map(({ number }) => number)).toEqual([1, 2, 3].slice(0, n - 1));
      await scene.copy(PARTS);
      scene.expectCopied();
      const tries = scene.target.callsOf('part').map((call) => Number(call.split(' ')[2]));
      expect(tries).toEqual([1, 2, 3, 4].flatMap((number) => (number === n ? [n, n] : [number])));
      expect(scene.source.callsOf('read')).toHaveLength(5);
      expect(scene.sent).toBe(scene.bytes.length);
      expect(scene.target.callsOf('begin')).toHaveLength(1);
    },
  );

  test('keeps what it knows of later parts when it is killed again while it catches up', async () => {
    const scene = new Scene();
    scene.target.inject({ call: 'part', nth: 4, effect: 'unavailable' });
    await expect(scene.copy(PARTS)).rejects.toThrow(UnavailableError);
    const forgotten = { ...scene.cursor!, parts: scene.cursor!.parts.filter(({ number }) => number !== 1) };
    scene.cursor = forgotten;
    scene.target.inject({ call: 'part', nth: 1, effect: 'unavailable' });
    await expect(scene.copy(PARTS)).rejects.toThrow(UnavailableError);
    expect(scene.cursor.parts.map(({ number }) => number)).toEqual([1, 2, 3]);
    await scene.copy(PARTS);
    scene.expectCopied();
  });

  test('a part that arrived without the heartbeat knowing is read again for its CRC32, but not sent again', async () => {
    const scene = new Scene();
    scene.target.inject({ call: 'part', nth: 2, effect: 'lost-answer' });
    await expect(scene.copy(PARTS)).rejects.toThrow(UnavailableError);
    await scene.copy(PARTS);
    scene.expectCopied();
    expect(scene.target.callsOf('part')).toHaveLength(4);
    expect(scene.source.callsOf('read')).toHaveLength(5);
  });

  test('a part that arrived so in a store whose etag is no MD5 is sent again', async () => {
    const scene = new Scene({ md5Etags: false });
    scene.target.inject({ call: 'part', nth: 2, effect: 'lost-answer' });
    await expect(scene.copy(PARTS)).rejects.toThrow(UnavailableError);
    await scene.copy(PARTS);
    scene.expectCopied();
    expect(scene.target.callsOf('part')).toHaveLength(5);
  });

  test('a part that the heartbeat knows but the store holds differently is sent again', async () => {
    const scene = new Scene();
    scene.target.inject({ call: 'part', nth: 3, effect: 'unavailable' });
    await expect(scene.copy(PARTS)).rejects.toThrow(UnavailableError);
    const { uploadId } = scene.cursor!;
    await scene.target.uploads.part('to/__0', uploadId, 1, payload(randomBytes(PART)), NEVER);
    await scene.copy(PARTS);
    scene.expectCopied();
  });

  test('an upload that was completed although the answer was lost is read back, and not sent again', async () => {
    const scene = new Scene();
    scene.target.inject({ call: 'complete', nth: 1, effect: 'lost-answer' });
    await expect(scene.copy(PARTS)).rejects.toThrow(UnavailableError);
    const [proof] = await scene.copy(PARTS);
    expect(proof).toMatchObject({ crc32: crc32(scene.bytes), checksum: showCrc32(crc32(scene.bytes)) });
    expect(scene.target.callsOf('part')).toHaveLength(4);
    expect(scene.target.callsOf('read')).toHaveLength(1);
  });

  test('an upload that somebody completed a moment before is taken as it is', async () => {
    const scene = new Scene();
    const { uploads } = scene.target;
    const complete = uploads.complete.bind(uploads);
    uploads.complete = async (...args) => {
      await complete(...args);
      return complete(...args);
    };
    await scene.copy(PARTS);
    scene.expectCopied();
  });

  test('an upload that somebody aborted is begun again, and an older blob of that name and length proves nothing', async () => {
    const scene = new Scene();
    scene.target.put('to/__0', randomBytes(scene.bytes.length));
    scene.target.inject({ call: 'part', nth: 3, effect: 'unavailable' });
    await expect(scene.copy(PARTS)).rejects.toThrow(UnavailableError);
    await scene.target.uploads.abort('to/__0', scene.cursor!.uploadId, NEVER);
    await scene.copy(PARTS);
    scene.expectCopied();
    expect(scene.target.callsOf('begin')).toHaveLength(2);
  });

  test('sends its parts at the same time, and proves them in order', async () => {
    const scene = new Scene({ length: 30_123 });
    await scene.copy({ ...PARTS, partsAtOnce: 8 });
    scene.expectCopied();
    expect(scene.sent).toBe(30_123);
  });

  test('finds the upload of an attempt that died before it could tell, and sends only what is missing', async () => {
    const scene = new Scene();
    scene.target.inject({ call: 'part', nth: 3, effect: 'unavailable' });
    await expect(scene.copy(PARTS)).rejects.toThrow(UnavailableError);
    scene.cursor = undefined;
    await scene.copy(PARTS);
    scene.expectCopied();
    const tries = scene.target.callsOf('part').map((call) => Number(call.split(' ')[2]));
    expect(tries).toEqual([1, 2, 3, 3, 4]);
    expect(scene.target.callsOf('begin')).toHaveLength(1);
    expect(await scene.target.uploads.unfinished('', NEVER)).toEqual([]);
  });

  test('an upload of other bytes under the same name is written over part by part', async () => {
    const scene = new Scene();
    const id = await scene.target.uploads.begin('to/__0', NEVER);
    await scene.target.uploads.part('to/__0', id, 1, payload(randomBytes(PART)), NEVER);
    await scene.target.uploads.part('to/__0', id, 2, payload(randomBytes(PART)), NEVER);
    await scene.copy(PARTS);
    scene.expectCopied();
  });

  test('an upload that is aborted under its sender is worth another try, not a missing blob', async () => {
    const scene = new Scene();
    const copying = scene.copy({
      ...PARTS,
      onCursor: (cursor) => {
        scene.cursor = cursor;
        if (cursor.parts.length === 2) void scene.target.uploads.abort('to/__0', cursor.uploadId, NEVER);
      },
    });
    await expect(copying).rejects.toThrow(UnavailableError);
    await scene.copy(PARTS);
    scene.expectCopied();
  });

  test.each<[string, (scene: Scene) => void, new (...args: never[]) => Error]>([
    ['was changed by one bit in the source', ({ source }) => source.rot('from/__0'), BlobCorruptError],
    ['lost a bit of one part on the way from the source', fault('source', 'read', 'flip', 3), UnavailableError],
    ['lost a bit on the way to the target', fault('target', 'part', 'flip', 2), BlobCorruptError],
    ['is gone from the source', ({ source }) => source.blobs.clear(), BlobMissingError],
    ['is shorter in the source', ({ source, bytes }) => source.put('from/__0', bytes.subarray(1)), BlobCorruptError],
  ])('that %s is an error, and neither a blob nor an upload is left', async (_, arrange, expected) => {
    const scene = new Scene();
    arrange(scene);
    await expect(scene.copy(PARTS)).rejects.toThrow(expected);
    await scene.expectNothingVisible();
  });

  test('that is replaced in the source between two parts is an error, and its upload is aborted', async () => {
    const scene = new Scene();
    const copying = scene.copy({
      ...PARTS,
      onCursor: ({ parts }) => parts.length === 2 && scene.source.put('from/__0', randomBytes(scene.bytes.length)),
    });
    await expect(copying).rejects.toThrow(RepositoryChangedError);
    await scene.expectNothingVisible();
  });

  test('whose part ended early is worth another try with the parts that are there', async () => {
    const scene = new Scene();
    scene.source.inject({ call: 'read', nth: 3, effect: 'truncate' });
    await expect(scene.copy(PARTS)).rejects.toThrow(UnavailableError);
    await scene.copy(PARTS);
    scene.expectCopied();
    expect(scene.target.callsOf('part')).toHaveLength(4);
  });

  test('that the target holds with a bit changed is an error, told by the target’s own checksum', async () => {
    const scene = new Scene();
    scene.target.inject({ call: 'part', nth: 2, effect: 'rot' });
    await expect(scene.copy(PARTS)).rejects.toThrow(/^The store holds other bytes/);
  });
});

describe('a file that Elasticsearch cut into chunks', () => {
  const chunked = { length: 3_456, chunkBytes: 1_000 };

  test('is proved over all its chunks, whose own CRC32 nobody knows', async () => {
    const scene = new Scene(chunked);
    const proofs = await scene.copy();
    scene.expectCopied();
    expect(proofs.map(({ key, footerCrc32 }) => [key, footerCrc32])).toEqual([
      ['__0.part0', null],
      ['__0.part1', null],
      ['__0.part2', null],
      ['__0.part3', null],
    ]);
  });

  test.each([0, 1, 2, 3])('with a bit changed in chunk %i is never whole in the target', async (chunk) => {
    for (const parts of [{}, { multipartBytes: 300, partBytes: 300 }]) {
      const scene = new Scene(chunked);
      scene.source.rot(`from/__0.part${chunk}`);
      await expect(scene.copy(parts)).rejects.toThrow(BlobCorruptError);
      expect(scene.target.blobs.has('to/__0.part3')).toBe(false);
      expect(await scene.target.uploads.unfinished('', NEVER)).toEqual([]);
    }
  });

  test('of which a chunk lost a bit on its way is read and sent again as a whole', async () => {
    for (const parts of [{}, { multipartBytes: 300, partBytes: 300 }]) {
      const scene = new Scene(chunked);
      scene.source.inject({ call: 'read', nth: 2, effect: 'flip' });
      await expect(scene.copy(parts)).rejects.toThrow('changed on their way from the source');
      await scene.copy(parts);
      scene.expectCopied();
    }
  });

  test('goes on with the chunk it was killed in', async () => {
    const scene = new Scene(chunked);
    scene.target.inject({ call: 'write', nth: 3, effect: 'unavailable' });
    await expect(scene.copy()).rejects.toThrow(UnavailableError);
    const proofs = await scene.copy();
    scene.expectCopied();
    expect(proofs).toHaveLength(4);
    expect(scene.target.callsOf('write').map((call) => call.slice(-5))).toEqual([
      'part0',
      'part1',
      'part2',
      'part2',
      'part3',
    ]);
  });

  test('goes on with the part of the chunk it was killed in', async () => {
    const scene = new Scene(chunked);
    const parts = { multipartBytes: 300, partBytes: 300 };
    scene.target.inject({ call: 'part', nth: 7, effect: 'unavailable' });
    await expect(scene.copy(parts)).rejects.toThrow(UnavailableError);
    await scene.copy(parts);
    scene.expectCopied();
    expect(scene.target.callsOf('part')).toHaveLength(15);
  });

  test('sends a chunk again that was changed in the target since', async () => {
    const scene = new Scene(chunked);
    scene.target.inject({ call: 'write', nth: 3, effect: 'unavailable' });
    await expect(scene.copy()).rejects.toThrow(UnavailableError);
    scene.target.put('to/__0.part1', randomBytes(1_000));
    await scene.copy();
    scene.expectCopied();
  });

  test('sends all chunks again where an earlier version noted them in its own way', async () => {
    const scene = new Scene(chunked);
    scene.target.inject({ call: 'write', nth: 3, effect: 'unavailable' });
    await expect(scene.copy()).rejects.toThrow(UnavailableError);
    scene.cursor = { ...scene.cursor!, proved: [{ key: '__0.part0', crc32: 1, etag: 'e' }] as never };
    await scene.copy();
    scene.expectCopied();
    expect(scene.target.callsOf('write')).toHaveLength(7);
  });

  test('of which the manifest lacks a chunk is refused', () => {
    const scene = new Scene(chunked);
    const place = { store: scene.source, basePath: '' };
    const file = { blobs: scene.file.blobs.slice(1) };
    expect(() => copyFile(new Engine(), place, place, file, { signal: NEVER, progress() {}, onCursor() {} })).toThrow(
      'not all chunks',
    );
  });
});

function fault(store: 'source' | 'target', call: Fault['call'], effect: Effect, nth = 1): (scene: Scene) => void {
  return (scene) => scene[store].inject({ call, nth, effect });
}
