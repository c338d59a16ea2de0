/**
 * Whether the target holds the very blob that is to be sent: an attempt was killed, or its answer lost, between what the
 * store did and what we noted of it. A blob of the right length is no sign of that, as names are used again; what the
 * store itself says of the bytes is, and costs no reading.
 */
import { createHash } from 'node:crypto';
import { crc32 as crc32OfText } from 'node:zlib';
import type { ManifestBlob } from '../repository/manifest';
import type { CopyTarget, CursorPart } from './copy';
import type { SourceFile } from './copy-source';
import { showCrc32 } from './crc32';
import { combineCrc64, crc64In, showCrc64 } from './crc64';
import { keyBelow } from './keys';
import { proofOf } from './proof';
import type { BlobProof } from './proof';
import { combined } from './soundness';
import type { BlobChecksums } from './store';

/**
 * The proof of a blob that the target holds already, by what its store says of it and what the manifest, or else the
 * source's store, expects. Undefined where they have no CRC32 in common that is the same. At most a request to each.
 */
export async function heldAlready(
  target: CopyTarget,
  source: SourceFile,
  blob: ManifestBlob,
  expected: number | undefined,
  signal: AbortSignal,
): Promise<BlobProof | undefined> {
  const held = await checksumsThere(target, blob, signal);
  const crc = held && crc32In(held.checksums);
  if (held?.length !== blob.length || crc === undefined) return undefined;
  const wanted = expected ?? crc32In((await source.head(blob)).told);
  return wanted === crc ? proofOfHeld(blob, crc, held) : undefined;
}

/** What the target says of the blob without being read: mostly at least an etag. Undefined where it has none. */
export async function checksumsThere(
  { store, basePath }: CopyTarget,
  blob: ManifestBlob,
  signal: AbortSignal,
): Promise<BlobChecksums | undefined> {
  const key = keyBelow(basePath, blob.key);
  if (store.checksums !== undefined) return store.checksums(key, signal);
  const info = await store.head(key, signal);
  return info && { ...info, checksums: [] };
}

/**
 * Whether the blob that the target holds is made of these parts, all of them and in order. Undefined where nothing that
 * it says of the blob can be compared with what it said of the parts.
 */
export function isMadeOf(parts: readonly CursorPart[], { etag, checksums }: BlobChecksums): boolean | undefined {
  const wanted = [showCrc32(combined(parts)), crc64Of(parts)];
  const kindOf = (checksum: string) => checksum.slice(0, checksum.indexOf(':'));
  for (const checksum of checksums) {
    const same = wanted.find((one) => one !== undefined && kindOf(one) === kindOf(checksum));
    if (same !== undefined) return same === checksum;
  }
  // No other parts lead to this etag; another one may have been made in another way.
  return etag.toLowerCase() === etagOf(parts) ? true : undefined;
}

/**
 * Of a blob that was proved, for a heartbeat, which has to be short: those of all activities that run are part of their
 * workflow's state, and Temporal terminates a workflow whose state is over 8 MiB (`limit.mutableStateSize.error`).
 */
export type BlobNote = readonly [crc32: number, crc32OfEtag: number];

export function noteOf({ crc32, etag }: BlobProof): BlobNote {
  return [crc32, crc32OfText(etag)];
}

/**
 * The proof of a blob that was noted. Undefined where the target holds another one by now: a note is a hint, and counts as
 * long as the etag is the same.
 */
export async function provedAsNoted(
  target: CopyTarget,
  blob: ManifestBlob,
  [crc, etag]: BlobNote,
  signal: AbortSignal,
): Promise<BlobProof | undefined> {
  const held = await checksumsThere(target, blob, signal);
  if (held?.length !== blob.length || crc32OfText(held.etag) !== etag) return undefined;
  const told = crc32In(held.checksums);
  if (told !== undefined && told !== crc) return undefined;
  return proofOf(blob, crc, { etag: held.etag, checksum: worthTelling(held), requestId: undefined });
}

/** Of a blob whose store tells its CRC32, or that was read. */
export function proofOfHeld(blob: ManifestBlob, crc: number, held: BlobChecksums): BlobProof {
  const checksum = worthTelling(held) ?? showCrc32(crc);
  return proofOf(blob, crc, { etag: held.etag, checksum, requestId: undefined });
}

/** An MD5 is the etag once more. */
function worthTelling({ checksums }: BlobChecksums): string | undefined {
  return checksums.find((checksum) => !checksum.startsWith('md5:'));
}

export function crc32In(checksums: readonly string[]): number | undefined {
  const shown = checksums.find((checksum) => checksum.startsWith('crc32:'));
  return shown === undefined ? undefined : Number.parseInt(shown.slice('crc32:'.length), 16);
}

function crc64Of(parts: readonly CursorPart[]): string | undefined {
  let whole = 0n;
  for (const { checksum, length } of parts) {
    const crc = crc64In(checksum);
    if (crc === undefined) return undefined;
    whole = combineCrc64(whole, crc, length);
  }
  return showCrc64(whole);
}

/** As S3 makes it of the parts': docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html */
function etagOf(parts: readonly CursorPart[]): string {
  const hash = createHash('md5');
  for (const { etag } of parts) hash.update(Buffer.from(etag, 'hex'));
  return `${hash.digest('hex')}-${parts.length}`;
}
