/** Bytes compared with what their store says of them; small blobs read whole. */
import { createHash } from 'node:crypto';
import { BlobCorruptError, UnavailableError } from '../domain/errors';
import { showCrc32 } from './crc32';
import { crc64, showCrc64 } from './crc64';
import { joined, payload } from './payload';
import type { Payload } from './payload';
import type { Store } from './store';

/**
 * The bytes of a blob. What does not agree with the store's own checksum is read again. Throws what `Store.read` throws;
 * `UnavailableError` when it was changed on its way twice, `BlobCorruptError` when the store holds other bytes than it
 * took. Without a checksum from the store nothing is compared.
 */
export async function readWhole(store: Store, key: string, signal: AbortSignal): Promise<Buffer> {
  const first = await readOnce(store, key, signal);
  if (first.untrue.length === 0) return first.bytes;
  const again = await readOnce(store, key, signal);
  if (again.untrue.length === 0) return again.bytes;
  const isSame = again.bytes.equals(first.bytes);
  // An etag that is not of the bytes says nothing about them; two readings do.
  if (isSame && again.untrue.every((checksum) => checksum.startsWith('md5:'))) return again.bytes;
  const options = { subject: { store: store.description, key, told: again.untrue.join(' ') } };
  const { length } = again.bytes;
  if (isSame && (await store.head(key, signal))?.length === length) {
    throw new BlobCorruptError('The store gives other bytes than it took: the blob was damaged there.', options);
  }
  throw new UnavailableError(
    'Bytes were changed or lost on their way from the store, each time they were read.',
    options,
  );
}

async function readOnce(store: Store, key: string, signal: AbortSignal) {
  const { buffers, checksums = [] } = await store.read(key, { isCompared: true }, signal);
  const body = payload(...buffers);
  const untrue: string[] = [];
  for (const checksum of checksums) if (!(await isOf(body, checksum))) untrue.push(checksum);
  return { bytes: joined(buffers), untrue };
}

/** Whether the bytes are what a store says, as in a `WriteReceipt`. */
export async function isOf({ buffers, crc32 }: Payload, checksum: string): Promise<boolean> {
  if (checksum.startsWith('crc32:')) return checksum === showCrc32(crc32);
  if (checksum.startsWith('crc64:')) return checksum === showCrc64(await crc64(buffers));
  const hash = createHash('md5');
  for (const buffer of buffers) hash.update(buffer);
  return checksum === `md5:${hash.digest('hex')}`;
}
