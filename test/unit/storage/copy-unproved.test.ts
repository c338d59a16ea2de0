/** Blobs that no manifest knows, as `copy --all` meets them: what the source says of them proves the way. */
import { createHash, randomBytes } from 'node:crypto';
import { BlobCorruptError, UnavailableError } from '../../../src/domain/errors';
import type { Phase } from '../../../src/repository';
import { copyFile, crc32, Engine, showCrc32 } from '../../../src/storage';
import { MemoryStore } from '../../support/memory-store';

const NEVER = new AbortController().signal;
const BYTES = randomBytes(3_000);
const KEPT = {
  crc32: (body: Buffer) => [showCrc32(crc32(body))],
  md5: (body: Buffer) => [`md5:${createHash('md5').update(body).digest('hex')}`],
};

function scene(kept: keyof typeof KEPT, { md5Etags = true } = {}) {
  const source = new MemoryStore('source', { keeps: KEPT[kept] });
  const target = new MemoryStore('target', { md5Etags });
  source.put('blob', BYTES);
  const copy = (phase: Phase = 'data', parts: { multipartBytes?: number; partBytes?: number } = {}) => {
    const blobs = [{ key: 'blob', length: BYTES.length, crc32: null, phase }];
    const options = { signal: NEVER, progress: () => undefined, onCursor: () => undefined, isUnproved: true, ...parts };
    return copyFile(new Engine(), { store: source, basePath: '' }, { store: target, basePath: '' }, { blobs }, options);
  };
  return { source, target, copy };
}

const PARTS = { multipartBytes: 1_000, partBytes: 1_000 };

test.each([
  ['crc32', {}],
  ['md5', {}],
  ['crc32', PARTS],
] as const)('data that lost a bit on its way is sent again: %s %j', async (kept, parts) => {
  const { source, target, copy } = scene(kept);
  source.inject({ call: 'read', nth: 1, effect: 'flip' });
  const copying = copy('data', parts);
  await expect(copying).rejects.toThrow(UnavailableError);
  await expect(copying).rejects.toThrow(/^Bytes were changed on their way from the source: .*key=blob/);
  expect(await target.uploads.unfinished('', NEVER)).toEqual([]);
  await copy('data', parts);
  expect(target.blobs.get('blob')).toEqual(BYTES);
});

test.each(['crc32', 'md5'] as const)('metadata that lost a bit on its way never becomes visible: %s', async (kept) => {
  const { source, target, copy } = scene(kept);
  source.inject({ call: 'read', nth: 1, effect: 'flip' });
  await expect(copy('index-N')).rejects.toThrow('on their way from the source');
  expect(target.calls).toEqual([]);
  await copy('index-N');
  expect(target.blobs.get('blob')).toEqual(BYTES);
});

test('what the source itself damaged is told apart', async () => {
  const { source, copy } = scene('crc32');
  source.rot('blob');
  const copying = copy();
  await expect(copying).rejects.toThrow(BlobCorruptError);
  await expect(copying).rejects.toThrow('the blob was damaged there');
});

test('an etag of the target that is of something else costs no second reading', async () => {
  const { source, target, copy } = scene('md5');
  const write = target.write.bind(target);
  target.write = async (...args) => ({ ...(await write(...args)), etag: 'f'.repeat(32) });
  await copy();
  expect(source.callsOf('read')).toHaveLength(1);
});
