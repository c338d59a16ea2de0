/** What every store promises, one suite for all of them. An adapter's test only says how to open an empty one. */
import { createHash, randomBytes } from 'node:crypto';
import { BlobCorruptError, BlobMissingError, RepositoryChangedError, UnavailableError } from '../../src/domain/errors';
import { crc32, showCrc32 } from '../../src/storage/crc32';
import { crc64, showCrc64 } from '../../src/storage/crc64';
import { joined, payload } from '../../src/storage/payload';
import type { Copier, ReadOptions, Store } from '../../src/storage/store';

export interface OpenedStore {
  /** Empty. */
  readonly store: Store;
  /** False for a server that looks before it writes, instead of doing both at once. Default true. */
  readonly createsAtomically?: boolean;
  /** False for a server that answers for a copied part with the checksum of something else. Default true. */
  readonly sumsCopiedParts?: boolean;
  readonly cleanup: () => Promise<void>;
}

const NEVER = new AbortController().signal;

/** In byte order. `a-b` < `a.b` < `a/b` < `a0` although a walk of folders meets `a` before `a-b`. */
const ODD_KEYS = [
  'indices/%2F',
  'indices/%2Fb/c',
  'indices/a b',
  'indices/a!/1',
  'indices/a+b',
  'indices/a-b',
  'indices/a-b-c/1',
  'indices/a.b',
  'indices/a/+',
  'indices/a/b',
  'indices/a/b-c',
  'indices/a/b.c/d',
  'indices/a/c/d',
  'indices/a0',
  'indices/a=b&c?d#e',
  'indices/a~',
  'indices/é',
  'indices/日本',
  // The byte order of these two is not their order in JavaScript.
  'indices/\uff5e',
  'indices/😀',
];

export function describeStore(name: string, open: () => Promise<OpenedStore>): void {
  describe(`${name} keeps the promises of a store`, () => {
    let opened: OpenedStore;
    let store: Store;

    beforeEach(async () => {
      opened = await open();
      store = opened.store;
    });
    afterEach(() => opened.cleanup());

    const write = (key: string, body: Buffer) => store.write(key, payload(body), {}, NEVER);
    const read = (key: string, options: ReadOptions = {}) => collect(store, key, options);
    /** Of a part that is not the last. */
    const size = () => Math.max(store.uploads.minPartBytes, 1000);

    describe('listing', () => {
      test('gives every blob once, in the order of the bytes of its key, with its length and etag', async () => {
        const shuffled = [...ODD_KEYS].sort((a, b) => crc32(Buffer.from(a)) - crc32(Buffer.from(b)));
        for (const key of shuffled) await write(key, Buffer.from(key));
        const listed = await all(store, 'indices/');
        expect(listed.map(({ key }) => key)).toEqual(ODD_KEYS);
        for (const info of listed) {
          expect(info).toEqual(await store.head(info.key, NEVER));
          expect(info.length).toBe(Buffer.byteLength(info.key));
          expect(await read(info.key)).toEqual(Buffer.from(info.key));
        }
      });

      test('takes the prefix as plain text, whether or not it ends at a slash', async () => {
        for (const key of ['snap-a.dat', 'snap-b.dat', 'snap-b/c', 'other', 'sna']) await write(key, Buffer.from('x'));
        expect(await keys(store, 'snap-')).toEqual(['snap-a.dat', 'snap-b.dat', 'snap-b/c']);
        expect(await keys(store, 'snap-b')).toEqual(['snap-b.dat', 'snap-b/c']);
        expect(await keys(store, 'snap-b/')).toEqual(['snap-b/c']);
        expect(await keys(store, '')).toEqual(['other', 'sna', 'snap-a.dat', 'snap-b.dat', 'snap-b/c']);
        expect(await keys(store, 'nothing/here')).toEqual([]);
      });

      test('goes on over many pages', async () => {
        const numbers = Array.from({ length: 1_203 }, (_, i) => `many/__${i.toString(36).padStart(3, '0')}`);
        for (let i = 0; i < numbers.length; i += 50) {
          await Promise.all(numbers.slice(i, i + 50).map((key) => write(key, Buffer.from('x'))));
        }
        expect(await keys(store, 'many/')).toEqual(numbers);
      });

      test('does not show what is not complete', async () => {
        const id = await store.uploads.begin('blob', NEVER);
        await store.uploads.part('blob', id, 1, payload(Buffer.from('x')), NEVER);
        expect(await keys(store, '')).toEqual([]);
        await store.uploads.abort('blob', id, NEVER);
      });
    });

    describe('reading', () => {
      const body = randomBytes(300_000);

      test('gives back what was written, an empty blob included', async () => {
        await write('blob', body);
        await write('empty', Buffer.alloc(0));
        expect((await read('blob')).equals(body)).toBe(true);
        expect(await read('empty')).toHaveLength(0);
        expect(await store.head('empty', NEVER)).toMatchObject({ key: 'empty', length: 0 });
      });

      test('gives exactly the range that was asked for', async () => {
        await write('blob', body);
        const ranges = [
          [0, 1],
          [1, 299_999],
          [299_999, 1],
          [12_345, 100_000],
        ] as const;
        for (const [offset, length] of ranges) {
          expect((await read('blob', { offset, length })).equals(body.subarray(offset, offset + length))).toBe(true);
        }
        expect((await read('blob', { offset: 299_000 })).equals(body.subarray(299_000))).toBe(true);
        expect((await read('blob', { length: 7 })).equals(body.subarray(0, 7))).toBe(true);
        expect(await read('blob', { offset: 5, length: 0 })).toHaveLength(0);
      });

      test('fills the memory it is given, over the borders of buffers', async () => {
        await write('blob', body);
        const memory = [Buffer.alloc(100_000), Buffer.alloc(1), Buffer.alloc(99_999)];
        const receipt = await store.read('blob', { offset: 7, length: 200_000, into: () => memory }, NEVER);
        expect(receipt.buffers).toBe(memory);
        expect(Buffer.concat(memory).equals(body.subarray(7, 200_007))).toBe(true);
        expect(receipt.etag).toBe((await store.head('blob', NEVER))!.etag);
      });

      test('a range that the blob does not reach is never a short success', async () => {
        await write('blob', Buffer.from('0123456789'));
        await expect(read('blob', { offset: 5, length: 6 })).rejects.toThrow(UnavailableError);
        await expect(read('blob', { offset: 20, length: 5 })).rejects.toThrow(UnavailableError);
      });

      test('a blob that is not there is undefined to head and a BlobMissingError to read', async () => {
        expect(await store.head('none', NEVER)).toBeUndefined();
        await expect(read('none')).rejects.toThrow(BlobMissingError);
        await write('folder/blob', body);
        expect(await store.head('folder', NEVER)).toBeUndefined();
        await expect(read('folder')).rejects.toThrow(BlobMissingError);
      });

      test('refuses a blob that was replaced since its etag was taken', async () => {
        const { etag } = await write('blob', body);
        const ifMatch = (await store.head('blob', NEVER))!.etag;
        expect(ifMatch).toBe(etag);
        expect((await read('blob', { ifMatch })).equals(body)).toBe(true);
        await write('blob', randomBytes(300_000));
        await expect(read('blob', { ifMatch })).rejects.toThrow(RepositoryChangedError);
        await expect(read('blob', { ifMatch, offset: 5, length: 5 })).rejects.toThrow(RepositoryChangedError);
      });

      test('may be given up when its length is known', async () => {
        await write('blob', body);
        const refused = new Error('not of this length');
        const into = (length: number): Buffer[] => {
          expect(length).toBe(body.length);
          throw refused;
        };
        await expect(store.read('blob', { into }, NEVER)).rejects.toBe(refused);
        expect((await read('blob')).equals(body)).toBe(true);
      });
    });

    describe('writing', () => {
      test('replaces, and answers for the bytes it holds', async () => {
        await write('blob', Buffer.from('first'));
        const body = Buffer.from('second');
        const receipt = await write('blob', body);
        expect(receipt.created).toBe(true);
        expect(await checksumsOf(body)).toContain(receipt.checksum);
        expect(await read('blob')).toEqual(body);
      });

      test('takes a body in several buffers', async () => {
        const buffers = [randomBytes(70_000), Buffer.alloc(0), randomBytes(3)];
        await store.write('blob', payload(...buffers), {}, NEVER);
        expect((await read('blob')).equals(Buffer.concat(buffers))).toBe(true);
      });

      test('if absent, leaves an existing blob alone and says so', async () => {
        const first = await store.write('owner.json', payload(Buffer.from('mine')), { ifAbsent: true }, NEVER);
        const second = await store.write('owner.json', payload(Buffer.from('yours')), { ifAbsent: true }, NEVER);
        expect([first.created, second.created]).toEqual([true, false]);
        expect(second.etag).toBe(first.etag);
        expect((await read('owner.json')).toString()).toBe('mine');
      });

      test('if absent, exactly one of many at the same time creates it', async () => {
        for (let round = 0; round < 5; round++) {
          const key = `owner-${round}.json`;
          const receipts = await Promise.all(
            Array.from({ length: 8 }, (_, i) =>
              store
                .write(key, payload(Buffer.from(`writer ${i}`)), { ifAbsent: true }, NEVER)
                .catch((error: unknown) => {
                  // A conflict that has not ended yet may be answered so; the writer asks again.
                  expect(error).toBeInstanceOf(UnavailableError);
                  return { created: false };
                }),
            ),
          );
          const winners = receipts.flatMap(({ created }, i) => (created ? [`writer ${i}`] : []));
          expect(winners).toContain((await read(key)).toString());
          if (opened.createsAtomically ?? true) expect(winners).toHaveLength(1);
        }
      });
    });

    test('deletes a blob, and a second time without complaint', async () => {
      await write('a/blob', Buffer.from('x'));
      await store.delete('a/blob', NEVER);
      await store.delete('a/blob', NEVER);
      await store.delete('never/was', NEVER);
      expect(await store.head('a/blob', NEVER)).toBeUndefined();
    });

    describe('an upload', () => {
      const key = 'indices/a b+c/__0';

      test('is visible only when complete, and then holds its parts in order', async () => {
        const bodies = [randomBytes(size()), randomBytes(size()), randomBytes(17)];
        const id = await store.uploads.begin(key, NEVER);
        // Out of order, as several senders would.
        const third = await store.uploads.part(key, id, 3, payload(bodies[2]!), NEVER);
        const first = await store.uploads.part(key, id, 1, payload(bodies[0]!), NEVER);
        const second = await store.uploads.part(key, id, 2, payload(bodies[1]!), NEVER);
        expect(await store.uploads.parts(key, id, NEVER)).toEqual([first, second, third]);
        expect([first.length, second.length, third.length]).toEqual(bodies.map((body) => body.length));
        expect(await store.head(key, NEVER)).toBeUndefined();

        const whole = Buffer.concat(bodies);
        const receipt = await store.uploads.complete(key, id, [first, second, third], NEVER);
        expect(await checksumsOf(whole)).toContain(receipt.checksum);
        expect((await read(key)).equals(whole)).toBe(true);
        expect((await store.head(key, NEVER))!.etag).toBe(receipt.etag);
        expect(await store.uploads.parts(key, id, NEVER)).toBeUndefined();
      });

      test('takes the same number again and replaces the part', async () => {
        const id = await store.uploads.begin(key, NEVER);
        const old = await store.uploads.part(key, id, 1, payload(randomBytes(size())), NEVER);
        const body = randomBytes(size() + 5);
        const replaced = await store.uploads.part(key, id, 1, payload(body), NEVER);
        expect(await store.uploads.parts(key, id, NEVER)).toEqual([replaced]);
        await expect(store.uploads.complete(key, id, [old], NEVER)).rejects.toThrow(BlobCorruptError);
        await store.uploads.complete(key, id, [replaced], NEVER);
        expect((await read(key)).equals(body)).toBe(true);
      });

      test('that is unknown has no parts, can not be completed or continued, and may be aborted', async () => {
        const id = await store.uploads.begin(key, NEVER);
        const part = await store.uploads.part(key, id, 1, payload(randomBytes(20)), NEVER);
        await store.uploads.abort(key, id, NEVER);
        await store.uploads.abort(key, id, NEVER);
        expect(await store.uploads.parts(key, id, NEVER)).toBeUndefined();
        await expect(store.uploads.complete(key, id, [part], NEVER)).rejects.toThrow(BlobMissingError);
        await expect(store.uploads.part(key, id, 2, payload(randomBytes(20)), NEVER)).rejects.toThrow(BlobMissingError);
        expect(await store.head(key, NEVER)).toBeUndefined();
      });

      test('is listed as unfinished until it is completed or aborted', async () => {
        const one = await store.uploads.begin('base/one', NEVER);
        const two = await store.uploads.begin('base/two', NEVER);
        const other = await store.uploads.begin('other', NEVER);
        const part = await store.uploads.part('base/one', one, 1, payload(randomBytes(20)), NEVER);
        const listed = await store.uploads.unfinished('base/', NEVER);
        expect(listed).toEqual([
          { key: 'base/one', uploadId: one },
          { key: 'base/two', uploadId: two },
        ]);
        await store.uploads.complete('base/one', one, [part], NEVER);
        await store.uploads.abort('base/two', two, NEVER);
        expect(await store.uploads.unfinished('', NEVER)).toEqual([{ key: 'other', uploadId: other }]);
        await store.uploads.abort('other', other, NEVER);
      });
    });

    // Where the store says nothing of its blobs there is nothing to promise; whether it does, its own test says.
    describe('what the store itself says of the bytes it holds', () => {
      test('is that of their sums that it keeps, of a blob that came in one piece or in parts', async () => {
        if (store.checksums === undefined) return;
        const body = randomBytes(size() + 17);
        await write('whole', body);
        const id = await store.uploads.begin('parts', NEVER);
        const parts = [
          await store.uploads.part('parts', id, 1, payload(body.subarray(0, size())), NEVER),
          await store.uploads.part('parts', id, 2, payload(body.subarray(size())), NEVER),
        ];
        await store.uploads.complete('parts', id, parts, NEVER);
        const md5 = `md5:${createHash('md5').update(body).digest('hex')}`;
        for (const key of ['whole', 'parts']) {
          const { checksums, ...info } = (await store.checksums(key, NEVER))!;
          expect(info).toEqual(await store.head(key, NEVER));
          expect(checksums.length).toBeGreaterThan(0);
          expect([...(await checksumsOf(body)), md5]).toEqual(expect.arrayContaining([...checksums]));
        }
      });

      test('is nothing where there is no blob', async () => {
        expect(await store.checksums?.('nothing', NEVER)).toBeUndefined();
      });
    });

    // Where the store has no copier there is nothing to promise; whether it has one, its own test says.
    describe('a copy made by the store itself', () => {
      const copied = async (work: (copier: Copier) => Promise<void>) => {
        const copier = store.copierFrom?.(store);
        if (copier) await work(copier);
      };

      test('has the bytes of its source, whatever their keys, and says so', () =>
        copied(async (copier) => {
          for (const [i, key] of ODD_KEYS.entries()) {
            const body = Buffer.from(`${key} ${i}`);
            const { etag } = await write(key, body);
            const receipt = await copier.blob(key, `copies/${key}`, { ifMatch: etag }, NEVER);
            expect(await checksumsOf(body)).toContain(receipt.checksum);
            expect(await store.head(`copies/${key}`, NEVER)).toMatchObject({ length: body.length, etag: receipt.etag });
            expect(await read(`copies/${key}`)).toEqual(body);
            expect(await read(key)).toEqual(body);
          }
        }));

      test('replaces what was there', () =>
        copied(async (copier) => {
          await write('from', Buffer.from('new'));
          await write('to', Buffer.from('old'));
          await copier.blob('from', 'to', {}, NEVER);
          expect(await read('to')).toEqual(Buffer.from('new'));
        }));

      test('may be of ranges that become the parts of an upload', () =>
        copied(async (copier) => {
          const body = randomBytes(2 * size() + 17);
          const { etag } = await write('from', body);
          const id = await store.uploads.begin('to/it', NEVER);
          const range = (number: number) => ({
            offset: (number - 1) * size(),
            length: Math.min(size(), body.length - (number - 1) * size()),
            ifMatch: etag,
          });
          const parts = [];
          for (const number of [1, 2, 3])
            parts.push(await copier.part('from', range(number), 'to/it', id, number, NEVER));
          // OSS tells the checksum of a copied part when parts are listed, not when it copies.
          expect(await store.uploads.parts('to/it', id, NEVER)).toMatchObject(parts);
          const receipt = await store.uploads.complete('to/it', id, parts, NEVER);
          if (opened.sumsCopiedParts ?? true) expect(await checksumsOf(body)).toContain(receipt.checksum);
          expect((await read('to/it')).equals(body)).toBe(true);
        }));

      test('of a blob that is not there, or no longer the same, is refused', () =>
        copied(async (copier) => {
          await write('from', Buffer.from('first'));
          const { etag } = await write('other', Buffer.from('second'));
          const id = await store.uploads.begin('to', NEVER);
          const range = { offset: 0, length: 2 };
          await expect(copier.blob('none', 'to', {}, NEVER)).rejects.toThrow(BlobMissingError);
          await expect(copier.part('none', range, 'to', id, 1, NEVER)).rejects.toThrow(BlobMissingError);
          await expect(copier.blob('from', 'to', { ifMatch: etag }, NEVER)).rejects.toThrow(RepositoryChangedError);
          await expect(copier.part('from', { ...range, ifMatch: etag }, 'to', id, 1, NEVER)).rejects.toThrow(
            RepositoryChangedError,
          );
          await store.uploads.abort('to', id, NEVER);
          expect(await store.head('to', NEVER)).toBeUndefined();
        }));
    });

    test('every call with a fired signal rejects with its reason', async () => {
      await write('blob', randomBytes(10));
      const reason = new Error('the operator said stop');
      const signal = AbortSignal.abort(reason);
      const calls = [
        all(store, '', signal),
        store.head('blob', signal),
        collect(store, 'blob', {}, signal),
        store.write('blob', payload(randomBytes(10)), {}, signal),
        store.delete('blob', signal),
        store.uploads.begin('blob', signal),
        store.uploads.abort('blob', 'x', signal),
      ];
      for (const call of await Promise.allSettled(calls)) expect(call).toEqual({ status: 'rejected', reason });
    });

    test('a signal that fires while a blob is read stops it with its reason', async () => {
      await write('blob', randomBytes(20_000_000));
      const controller = new AbortController();
      const reason = new Error('the operator said stop');
      const into = (length: number) => {
        controller.abort(reason);
        return [Buffer.alloc(length)];
      };
      await expect(store.read('blob', { into }, controller.signal)).rejects.toBe(reason);
    });
  });
}

/** What a store may say of these bytes. */
async function checksumsOf(body: Buffer): Promise<readonly (string | undefined)[]> {
  const md5 = createHash('md5').update(body).digest('hex');
  return [undefined, showCrc32(crc32(body)), showCrc64(await crc64([body])), `md5:${md5}`];
}

export async function collect(store: Store, key: string, options: ReadOptions = {}, signal = NEVER): Promise<Buffer> {
  return joined((await store.read(key, options, signal)).buffers);
}

async function all(store: Store, prefix: string, signal = NEVER) {
  const infos = [];
  for await (const info of store.list(prefix, signal)) infos.push(info);
  return infos;
}

async function keys(store: Store, prefix: string): Promise<string[]> {
  return (await all(store, prefix)).map(({ key }) => key);
}
