import { BlobCorruptError, BlobMissingError, UnavailableError } from '../../../src/domain/errors';
import { readWhole } from '../../../src/storage';
import type { ReadReceipt, Store } from '../../../src/storage';
import { MemoryStore } from '../../support/memory-store';

const NEVER = new AbortController().signal;
const SOUND = Buffer.from('123456789');
const OTHER = Buffer.from('123456788');
/** Of `123456789`: the check values of both CRCs, and the MD5. */
const TRUE = ['crc32:cbf43926', 'crc64:995dc9bbdf1939fa', 'md5:25f9e794323b453885f5181f1b624d0b'];

/** A store that gives these, one after the other, and says that they have these checksums. */
function gives(checksums: readonly string[], ...readings: readonly Buffer[]): Store {
  const left = [...readings];
  const read = async (): Promise<ReadReceipt> => ({ buffers: [left.shift()!], etag: 'e', checksums });
  const store = new MemoryStore('store');
  store.put('index-1', SOUND);
  return Object.assign(store, { read });
}
const read = (store: Store) => readWhole(store, 'index-1', NEVER);

test.each(TRUE)('bytes that are as the store says are taken at once: %s', async (checksum) => {
  expect(await read(gives([checksum], SOUND))).toEqual(SOUND);
});

test.each(TRUE)('what was changed on its way is read again: %s', async (checksum) => {
  expect(await read(gives([checksum], OTHER, SOUND))).toEqual(SOUND);
});

test('what is changed on its way each time is worth another try later, and is named', async () => {
  const reading = read(gives(TRUE, OTHER, Buffer.from('023456789')));
  await expect(reading).rejects.toThrow(UnavailableError);
  await expect(reading).rejects.toThrow(/changed or lost on their way from the store.*key=index-1/);
});

test.each(TRUE.slice(0, 2))('what the store damaged is told apart: %s', async (checksum) => {
  const reading = read(gives([checksum], OTHER, OTHER));
  await expect(reading).rejects.toThrow(BlobCorruptError);
  await expect(reading).rejects.toThrow(/the blob was damaged there.*key=index-1/);
});

test('an answer that is cut the same way each time is no damage', async () => {
  const cut = SOUND.subarray(0, 5);
  await expect(read(gives(TRUE, cut, cut))).rejects.toThrow(UnavailableError);
});

test('an etag may be of something else, which two equal readings show', async () => {
  expect(await read(gives(TRUE.slice(2), OTHER, OTHER))).toEqual(OTHER);
});

test('without a checksum of the store nothing is compared, and what is not there is not there', async () => {
  expect(await read(gives([], OTHER))).toEqual(OTHER);
  await expect(read(new MemoryStore('empty'))).rejects.toThrow(BlobMissingError);
});
