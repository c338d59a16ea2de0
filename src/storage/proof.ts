/** What a copy leaves behind for the ledger. */
import type { Subject } from '../domain/errors';
import type { ManifestBlob } from '../repository/manifest';
import type { CopySource } from './copy';
import { keyBelow } from './keys';
import type { WriteReceipt } from './store';

/** What is known of a blob in the target, for the ledger. */
export interface BlobProof {
  /** Relative to the base path. */
  readonly key: string;
  /** Bytes. */
  readonly length: number;
  /** Of the whole blob as sent. */
  readonly crc32: number;
  /** As the manifest has it; null for a chunk. */
  readonly footerCrc32: number | null;
  /** What the target says of the bytes it holds, or what they read as; undefined where it says nothing. */
  readonly checksum: string | undefined;
  readonly etag: string;
  /** Of the request that made it visible. Undefined where the store gives none, or its answer was lost in a crash. */
  readonly requestId: string | undefined;
}

/** `crc` is of the whole blob as it was sent; `receipt` what the target answered of it. */
export function proofOf(blob: ManifestBlob, crc: number, receipt: Omit<WriteReceipt, 'created'>): BlobProof {
  const { etag, checksum, requestId } = receipt;
  return { key: blob.key, length: blob.length, crc32: crc, footerCrc32: blob.crc32, checksum, etag, requestId };
}

/** For errors. */
export function aboutBlob({ store, basePath }: CopySource, blob: ManifestBlob): Subject & { key: string } {
  return { store: store.description, key: keyBelow(basePath, blob.key) };
}
