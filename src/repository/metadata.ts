import { BlobCorruptError, BlobMissingError } from '../domain/errors';
import { decodeFrame } from './frames';
import type { Codec } from './frames';
import type { ManifestBlob, Phase, ReadBlob } from './manifest';
import { fields, WrongShape } from './shape';
import type { Fields } from './shape';

/** A framed blob that was read whole, is intact, and holds an object. */
export interface Metadata {
  readonly blob: ManifestBlob;
  readonly bytes: Buffer;
  readonly content: Fields;
}

/** Throws `BlobMissingError` and `BlobCorruptError`, both with the key. */
export async function readMetadata(key: string, codec: Codec, phase: Phase, read: ReadBlob): Promise<Metadata> {
  const metadata = await readMetadataIfThere(key, codec, phase, read);
  if (metadata !== undefined) return metadata;
  throw new BlobMissingError('A metadata blob that the snapshot needs is not in the repository', { subject: { key } });
}

export async function readMetadataIfThere(
  key: string,
  codec: Codec,
  phase: Phase,
  read: ReadBlob,
): Promise<Metadata | undefined> {
  const bytes = await read(key);
  if (bytes === undefined) return undefined;
  const { value, crc32 } = decodeFrame(bytes, codec, key);
  const content = checked(key, () => fields(value, 'its content'));
  return { blob: { key, length: bytes.length, crc32, phase }, bytes, content };
}

/** Runs `check` over the content of blob `key`: what has the wrong shape is a corrupt blob. */
export function checked<T>(key: string, check: () => T): T {
  try {
    return check();
  } catch (error) {
    if (!(error instanceof WrongShape)) throw error;
    throw contradiction(key, `A metadata blob does not hold what it should: ${error.message}`, error);
  }
}

export function contradiction(key: string, message: string, cause?: unknown): BlobCorruptError {
  return new BlobCorruptError(message, { subject: { key }, cause });
}
