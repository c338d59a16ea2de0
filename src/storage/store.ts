import type { BucketProperties } from '../domain/buckets';
import type { Listing } from './listing';
import type { Payload } from './payload';

/**
 * The port over one bucket or directory. Keys are relative to its root, `/`-separated, without a leading slash.
 *
 * Every method may be called again after a failure. All take an AbortSignal and reject with its `reason`.
 * Errors: `ConfigurationError` for credentials, permissions (403 is never "not found"), a wrong bucket or clock skew;
 * `UnavailableError` for what may pass; `BlobMissingError` only where the store itself says that the blob is not there.
 * Adapters retry a single request briefly (at most three tries) and nothing else: Temporal is the retry authority.
 */
export interface Store {
  /** For messages: `s3://bucket`, `dir:/srv/snapshots`. Never holds a secret. */
  readonly description: string;

  /** How many answers so far asked to slow down; undefined where none ever does. */
  readonly pressure?: { readonly throttled: number };

  /** True of a directory: a key that ends in a slash, which consoles put for a folder, can be no blob there. */
  readonly hasFolders?: true;

  /** Blobs below `prefix` (a plain string prefix), in ascending order of the key's UTF-8 bytes. */
  list(prefix: string, signal: AbortSignal): Listing;

  /** `undefined` only when the store says 404. */
  head(key: string, signal: AbortSignal): Promise<BlobInfo | undefined>;

  /**
   * As `head`, with what the store itself says of the bytes it took, which costs it no reading: that they have not
   * rotted since is its promise, not ours. The whole method is absent where a store says nothing (a directory).
   */
  checksums?(key: string, signal: AbortSignal): Promise<BlobChecksums | undefined>;

  /**
   * The bytes `[offset, offset + length)`; to the end without a length. Throws `BlobMissingError`, and
   * `RepositoryChangedError` when `ifMatch` (an etag from `head`) no longer holds. A body that ends early is asked for
   * again from where it ended, then an `UnavailableError`, never a short success. Until it settles it owns the memory
   * that `into` gave.
   */
  read(key: string, options: ReadOptions, signal: AbortSignal): Promise<ReadReceipt>;

  /**
   * Writes the whole blob; visible only when complete. The store is given a checksum of `body` and refuses other bytes
   * (`BlobCorruptError`). With `ifAbsent`, an existing blob is left alone and `created` is false. May have written
   * although it throws `UnavailableError`.
   */
  write(key: string, body: Payload, options: WriteOptions, signal: AbortSignal): Promise<WriteReceipt>;

  /** A blob that does not exist is no error. */
  delete(key: string, signal: AbortSignal): Promise<void>;

  /** Multipart: nothing is visible at `key` until `complete`. */
  readonly uploads: Uploads;

  /**
   * The way for blobs of `source` that does not lead through this machine; undefined where there is none: for another
   * kind of store, or another provider. Asks nobody, hence does not know whether permissions suffice.
   */
  copierFrom?(source: Store): Copier | undefined;

  /**
   * What the bucket says of itself to these credentials. What it does not say, or not to them, is left out: this throws
   * nothing but the signal's reason. The whole method is absent where there is no bucket (a directory).
   */
  properties?(signal: AbortSignal): Promise<BucketProperties>;
}

export interface BlobInfo {
  readonly key: string;
  readonly length: number;
  /** Opaque; equal etags of one key mean equal bytes. */
  readonly etag: string;
  /** In a listing, where it is another than the usual one of the store. */
  readonly storageClass?: string;
}

export interface BlobChecksums extends BlobInfo {
  /** As in a `WriteReceipt`, of the whole blob: at most one of each kind, `crc32:`, `crc64:` and `md5:`. */
  readonly checksums: readonly string[];
}

export interface ReadOptions {
  readonly offset?: number;
  readonly length?: number;
  readonly ifMatch?: string;
  /**
   * Memory for as many bytes as the answer will have: buffers that follow one another. Without it, new memory. A
   * caller that knows the length refuses another one by throwing.
   */
  readonly into?: (length: number) => readonly Buffer[];
  /** The store is to say what it knows of the bytes, because they will be compared with it. Default false. */
  readonly isCompared?: boolean;
}

export interface ReadReceipt {
  /** What `into` gave, filled. */
  readonly buffers: readonly Buffer[];
  readonly etag: string;
  /**
   * With `isCompared`: of the whole blob, as in a `WriteReceipt`, at most one of each kind. Undefined where the store
   * says nothing. An `md5:` is an etag, which some stores make of something else.
   */
  readonly checksums?: readonly string[];
}

export interface WriteOptions {
  readonly ifAbsent?: boolean;
  /**
   * Nothing refers to the blob before this call has succeeded, so a store that would need one more checksum for it (OSS)
   * need not refuse other bytes before they are visible: that they are wrong is said afterwards. Default false.
   */
  readonly isComparedLater?: boolean;
}

export interface WriteReceipt {
  readonly created: boolean;
  readonly etag: string;
  /**
   * What the store itself answered about the bytes it holds: `crc32:9ae0daaf`, or `md5:…` where its etag is their MD5;
   * undefined where it says nothing.
   */
  readonly checksum: string | undefined;
  readonly requestId: string | undefined;
}

/**
 * Copies made by the store itself. It reads the source with the credentials of the target, and both methods throw
 * `ConfigurationError` where these may not: the caller then moves the bytes itself. `BlobMissingError` for a source blob
 * (or an upload) that is not there; `RepositoryChangedError` when `ifMatch`, an etag of the source, no longer holds.
 *
 * A copy is proved like anything written: by the checksum in the receipt, which the store made of the bytes it holds
 * now, and which the caller compares with the one it expects; without one, by reading the copy back. Another one than
 * expected is no proof of damage either before the copy was read back: for a part, versitygw 1.7.0 answers with the
 * CRC32 of the whole source (measured), hence with a wrong one for the upload.
 */
export interface Copier {
  /** Of a blob, or a part: more takes too long for one answer. */
  readonly maxBytes: number;
  /** Replaces `key`. Visible only when complete; may have been done although it throws `UnavailableError`. */
  blob(
    sourceKey: string,
    key: string,
    options: { readonly ifMatch?: string },
    signal: AbortSignal,
  ): Promise<WriteReceipt>;
  /** As `uploads.part`, with the bytes `[offset, offset + length)` of the source. */
  part(
    sourceKey: string,
    range: { readonly offset: number; readonly length: number; readonly ifMatch?: string },
    key: string,
    uploadId: string,
    number: number,
    signal: AbortSignal,
  ): Promise<UploadedPart>;
}

/** A part as the store holds it. */
export interface UploadedPart {
  /** 1-based. */
  readonly number: number;
  readonly length: number;
  readonly etag: string;
  /** As in a `WriteReceipt`, where the store tells it of a part. */
  readonly checksum?: string;
}

export interface Uploads {
  /** Smallest part (but the last) that the store takes, in bytes. */
  readonly minPartBytes: number;
  begin(key: string, signal: AbortSignal): Promise<string>;
  /** The same number again replaces the part. The store is given a checksum and refuses other bytes. */
  part(key: string, uploadId: string, number: number, body: Payload, signal: AbortSignal): Promise<UploadedPart>;
  /** Ascending by number; `undefined` when the store knows no such upload (completed or aborted). */
  parts(key: string, uploadId: string, signal: AbortSignal): Promise<readonly UploadedPart[] | undefined>;
  /** `parts` ascending. Throws `BlobMissingError` when the upload is unknown: the caller heads the key and compares. */
  complete(key: string, uploadId: string, parts: readonly UploadedPart[], signal: AbortSignal): Promise<WriteReceipt>;
  /** An unknown upload is no error. */
  abort(key: string, uploadId: string, signal: AbortSignal): Promise<void>;
  /** Unfinished uploads below `prefix`; `undefined` where the store cannot list them. */
  unfinished(prefix: string, signal: AbortSignal): Promise<readonly { key: string; uploadId: string }[] | undefined>;
  /** Removes what killed processes left of blobs that were to come in one piece. Absent where a store keeps nothing of them. */
  sweep?(signal: AbortSignal): Promise<void>;
}

/** An etag to match. Gateways over a file system have none for files that others put there: nothing to match. */
export function matching(etag: string | undefined): string | undefined {
  return etag === '' ? undefined : etag;
}
