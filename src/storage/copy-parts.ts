/**
 * A large blob sent in parts. After a crash the target is asked what it holds: what is there is compared with the
 * source, not sent again.
 */
import { createHash } from 'node:crypto';
import {
  BlobCorruptError,
  BlobMissingError,
  ConfigurationError,
  RepositoryChangedError,
  UnavailableError,
} from '../domain/errors';
import type { ManifestBlob } from '../repository/manifest';
import type { CopyCursor, CopyOptions, CopyTarget, CursorPart } from './copy';
import { crc32There } from './copy-source';
import type { SourceFile, Told } from './copy-source';
import { showCrc32 } from './crc32';
import { crc64, showCrc64 } from './crc64';
import type { Engine } from './engine';
import { checksumsThere, crc32In, isMadeOf, proofOfHeld } from './held';
import { keyBelow } from './keys';
import { inParallel, mapInParallel } from './parallel';
import type { Payload } from './payload';
import { aboutBlob, proofOf } from './proof';
import type { BlobProof } from './proof';
import { combined, DamagedOnTheWay } from './soundness';
import type { Soundness } from './soundness';
import type { Store, UploadedPart, WriteReceipt } from './store';
import { damagedThere } from './verdicts';
import { isOf } from './whole';

const MIB = 1024 * 1024;
/** As many as may be sent again after a crash: 64 MiB. */
const PART_BYTES = 8 * MIB;
const PARTS_AT_ONCE = 8;
/** A cursor of so many is 64 KB, which is what a heartbeat may weigh (src/steps/units.ts); stores would take 10,000. */
const ENOUGH_PARTS = 500;
/** Eight of them are more than the memory there is, two are not. Stores take 10,000 parts: 640 GiB, ten times any segment. */
const LARGEST_PART_BYTES = 64 * MIB;

/** An upload under way: what the cursor remembers, and what the target says it holds. */
interface OpenUpload {
  readonly id: string;
  readonly partBytes: number;
  readonly sent: Map<number, CursorPart>;
  readonly held: ReadonlyMap<number, UploadedPart>;
}

/** Everything of a file's copy that its blobs have in common. */
export interface FileContext {
  readonly engine: Engine;
  readonly source: SourceFile;
  readonly target: CopyTarget;
  readonly soundness: Soundness;
  readonly options: CopyOptions;
  /** Of the file's blobs before the one that is copied. */
  readonly proofs: readonly BlobProof[];
  readonly reportCursor: (cursor: CopyCursor) => void;
  readonly uploads: UploadBook;
}

/** As `Uploads.unfinished`; undefined, too, where the store lists them, but not to these credentials. */
export async function listedUploads(
  { uploads }: Store,
  prefix: string,
  signal: AbortSignal,
): Promise<readonly { readonly key: string; readonly uploadId: string }[] | undefined> {
  try {
    return await uploads.unfinished(prefix, signal);
  } catch (error) {
    if (error instanceof ConfigurationError && error.subject['status'] === 403) return undefined;
    throw error;
  }
}

/** The unfinished uploads of the target: those it lists, and those that somebody is to remember because it does not. */
export class UploadBook {
  /** Undefined while the target was not asked. */
  #isListed: boolean | undefined;

  constructor(
    private readonly store: Store,
    private readonly options: Pick<CopyOptions, 'signal' | 'onUnlisted'>,
  ) {}

  /** Of that very key; empty where the target lists none. */
  async unfinished(key: string): Promise<readonly string[]> {
    const listed = await listedUploads(this.store, key, this.options.signal);
    this.#isListed = listed !== undefined;
    return (listed ?? []).filter((upload) => upload.key === key).map(({ uploadId }) => uploadId);
  }

  /** Before its first part is sent. */
  async tell(key: string, uploadId: string): Promise<void> {
    const { onUnlisted } = this.options;
    if (onUnlisted === undefined) return;
    if (this.#isListed === undefined) await this.unfinished(key);
    if (this.#isListed === false) await onUnlisted({ key, uploadId });
  }
}

/** Throws what `copyFile` does. Parts that cannot lead to a sound blob any more are aborted. */
export function copyInParts(context: FileContext, blob: ManifestBlob): Promise<BlobProof> {
  return new PartsCopy(context, blob).run();
}

class PartsCopy {
  readonly #key: string;
  readonly #signal: AbortSignal;

  constructor(
    private readonly context: FileContext,
    private readonly blob: ManifestBlob,
  ) {
    this.#key = keyBelow(context.target.basePath, blob.key);
    this.#signal = context.options.signal;
  }

  async run(): Promise<BlobProof> {
    const source = await this.context.source.head(this.blob);
    const upload = await this.#resume(source);
    if (upload && 'proof' in upload) return upload.proof;
    return this.#sendParts(source, upload ?? (await this.#begin()));
  }

  async #sendParts({ etag, told }: Told, upload: OpenUpload): Promise<BlobProof> {
    const { soundness, options, proofs } = this.context;
    const { blob } = this;
    try {
      const numbers = Array.from({ length: Math.ceil(blob.length / upload.partBytes) }, (_, i) => i + 1);
      await inParallel(numbers, options.partsAtOnce ?? PARTS_AT_ONCE, this.#signal, (number, signal) =>
        this.#sendPart(etag, upload, number, signal),
      );
      const parts = inOrder(upload);
      const crc = combined(parts);
      await soundness.assertSound(blob, crc, proofs);
      const proof = await this.#complete(etag, upload, parts, crc);
      await soundness.assertArrived(blob, crc, told, proof);
      return proof;
    } catch (error) {
      // These do not get better with the parts that are there; after anything else they are not sent again.
      const isFinal = [BlobCorruptError, BlobMissingError, RepositoryChangedError].some((E) => error instanceof E);
      if (isFinal || error instanceof DamagedOnTheWay) await this.#abandon(upload.id);
      throw error;
    }
  }

  async #sendPart(
    sourceEtag: string | undefined,
    upload: OpenUpload,
    number: number,
    signal: AbortSignal,
  ): Promise<void> {
    const range = this.#range(number, upload.partBytes);
    const { length } = range;
    const sent = upload.sent.get(number);
    const listed = upload.held.get(number);
    const held = listed?.length === length ? listed : undefined;
    if (held && sent?.length === length && sent.etag === held.etag) return;

    await this.context.source.withBytes(
      this.blob,
      { ...range, ...match(sourceEtag) },
      async (body) => {
        // Sent by an attempt that died before it could say so.
        const part = held && (await isSame(held, body)) ? held : await this.#sendBody(upload.id, number, body, signal);
        upload.sent.set(number, cursorPart(part, body));
      },
      signal,
    );
    this.#report(upload);
  }

  #range(number: number, partBytes: number): { readonly offset: number; readonly length: number } {
    const offset = (number - 1) * partBytes;
    return { offset, length: Math.min(partBytes, this.blob.length - offset) };
  }

  async #sendBody(uploadId: string, number: number, body: Payload, signal: AbortSignal): Promise<UploadedPart> {
    const { engine, target, options } = this.context;
    try {
      const part = await engine.send(target.store, body.length, signal, () =>
        target.store.uploads.part(this.#key, uploadId, number, body, signal),
      );
      options.progress(body.length);
      return part;
    } catch (error) {
      if (error instanceof BlobMissingError) throw this.#vanished(uploadId, error);
      throw error;
    }
  }

  async #begin(): Promise<OpenUpload> {
    const { target, options } = this.context;
    const { uploads } = target.store;
    let partBytes = Math.max(options.partBytes ?? PART_BYTES, uploads.minPartBytes);
    while (this.blob.length > partBytes * ENOUGH_PARTS && partBytes < LARGEST_PART_BYTES) partBytes *= 2;
    const id = await uploads.begin(this.#key, this.#signal);
    await this.context.uploads.tell(this.#key, id);
    const upload = { id, partBytes, sent: new Map<number, CursorPart>(), held: new Map<number, UploadedPart>() };
    this.#report(upload);
    return upload;
  }

  /** The upload that the cursor names, or the proof of the blob it became, or undefined: begin anew. */
  async #resume({ etag, told }: Told): Promise<OpenUpload | { proof: BlobProof } | undefined> {
    const cursor = this.context.options.resume;
    if (cursor?.key !== this.blob.key || cursor.uploadId === '') return this.#adopt();
    const parts = await this.context.target.store.uploads.parts(this.#key, cursor.uploadId, this.#signal);
    if (parts === undefined) {
      const proof = await this.#acceptFinished(etag, cursor);
      if (proof === undefined) return undefined;
      await this.context.soundness.assertArrived(this.blob, proof.crc32, told, proof);
      return { proof };
    }
    return {
      id: cursor.uploadId,
      partBytes: cursor.partBytes,
      sent: new Map(cursor.parts.map((part) => [part.number, part])),
      held: new Map(parts.map((part) => [part.number, part])),
    };
  }

  /**
   * An upload of this key that nobody told us of: an attempt died before its first heartbeat. The fullest of them is
   * gone on with. It may be of an older blob of the same name, so each of its parts is compared with the source.
   */
  async #adopt(): Promise<OpenUpload | undefined> {
    const { uploads } = this.context.target.store;
    let fullest: OpenUpload | undefined;
    for (const uploadId of await this.context.uploads.unfinished(this.#key)) {
      const parts = (await uploads.parts(this.#key, uploadId, this.#signal)) ?? [];
      const partBytes = parts[0]?.number === 1 ? parts[0].length : 0;
      if (partBytes < uploads.minPartBytes || parts.length <= (fullest?.held.size ?? 0)) continue;
      fullest = { id: uploadId, partBytes, sent: new Map(), held: new Map(parts.map((part) => [part.number, part])) };
    }
    return fullest;
  }

  async #complete(
    sourceEtag: string | undefined,
    { id: uploadId, partBytes }: OpenUpload,
    parts: CursorPart[],
    crc: number,
  ): Promise<BlobProof> {
    const { store } = this.context.target;
    const { blob } = this;
    let receipt: WriteReceipt;
    try {
      receipt = await store.uploads.complete(this.#key, uploadId, parts, this.#signal);
    } catch (error) {
      if (!(error instanceof BlobMissingError)) throw error;
      const proof = await this.#acceptFinished(sourceEtag, { partBytes, parts });
      if (proof) return proof;
      throw this.#vanished(uploadId, error);
    }
    assertHeld(this.context.target, blob, crc, receipt);
    const held = await store.head(this.#key, this.#signal);
    if (held?.length !== blob.length) {
      throw new BlobCorruptError('The target holds a blob of another length than was sent.', {
        subject: { ...aboutBlob(this.context.target, blob), expected: blob.length, actual: held?.length ?? 'none' },
      });
    }
    return proofOf(blob, crc, receipt);
  }

  /**
   * The target no longer knows the upload. Either `complete` worked and its answer, or our note of it, was lost; or
   * somebody aborted it. Accepted only when the blob that is there is proved to be this one: by what the store says of
   * it, else by its bytes, read back, which costs less than to read them at the source and to send them.
   */
  async #acceptFinished(
    sourceEtag: string | undefined,
    cursor: Pick<CopyCursor, 'partBytes' | 'parts'>,
  ): Promise<BlobProof | undefined> {
    const { soundness, target, proofs } = this.context;
    const { blob } = this;
    const held = await checksumsThere(target, blob, this.#signal);
    if (held?.length !== blob.length) return undefined;
    const expected = soundness.expectedOf(blob);
    const told = crc32In(held.checksums);
    if (expected !== undefined && told !== undefined) {
      return told === expected ? proofOfHeld(blob, told, held) : undefined;
    }
    const isToldOtherwise = held.checksums.length > 0 || /-\d+$/.test(held.etag);
    const parts = expected === undefined || isToldOtherwise ? await this.#allParts(sourceEtag, cursor) : undefined;
    const crc = parts === undefined ? expected! : combined(parts);
    const isSameAs = parts && isMadeOf(parts, held);
    if (isSameAs === false || (expected !== undefined && crc !== expected)) return undefined;
    if (isSameAs === undefined && (await crc32There(target.store, held, this.#signal)) !== crc) return undefined;
    await soundness.assertSound(blob, crc, proofs);
    return proofOfHeld(blob, crc, held);
  }

  /** Those that the cursor knows; a kill loses what was told last, hence the others are summed up in the source again. */
  async #allParts(
    sourceEtag: string | undefined,
    { partBytes, parts }: Pick<CopyCursor, 'partBytes' | 'parts'>,
  ): Promise<CursorPart[]> {
    const known = new Map(parts.map((part) => [part.number, part]));
    const numbers = Array.from({ length: Math.ceil(this.blob.length / partBytes) }, (_, i) => i + 1);
    return mapInParallel(numbers, this.context.options.partsAtOnce ?? PARTS_AT_ONCE, this.#signal, (number, signal) => {
      const range = this.#range(number, partBytes);
      const part = known.get(number);
      if (part?.length === range.length) return Promise.resolve(part);
      return this.context.source.withBytes(
        this.blob,
        { ...range, ...match(sourceEtag) },
        (body) => summedUp(number, body),
        signal,
      );
    });
  }

  /** Parts cost storage until they are aborted. Failing to is reported by nobody: the fault that led here matters. */
  async #abandon(uploadId: string): Promise<void> {
    await this.context.target.store.uploads.abort(this.#key, uploadId, this.#signal).catch(() => undefined);
  }

  /** Retryable: the next attempt finds what became of the upload, or begins another. */
  #vanished(uploadId: string, cause: BlobMissingError): UnavailableError {
    return new UnavailableError('The target no longer knows an upload: it is begun again.', {
      subject: { ...aboutBlob(this.context.target, this.blob), uploadId },
      cause,
    });
  }

  #report(upload: OpenUpload): void {
    const { id, partBytes } = upload;
    this.context.reportCursor({ key: this.blob.key, uploadId: id, partBytes, parts: inOrder(upload) });
  }
}

/** Throws when the store says that it holds other bytes. One that answers with another kind of checksum has compared it itself. */
export function assertHeld(target: CopyTarget, blob: ManifestBlob, crc: number, { checksum }: WriteReceipt): void {
  if (!checksum?.startsWith('crc32:') || checksum === showCrc32(crc)) return;
  throw damagedThere({ ...aboutBlob(target, blob), sent: showCrc32(crc), held: checksum });
}

/** Whether the target holds these bytes as that part. An etag is the MD5 unless the store encrypts. */
function isSame(part: UploadedPart, body: Payload): Promise<boolean> {
  return isOf(body, part.checksum ?? `md5:${part.etag.toLowerCase()}`);
}

function match(etag: string | undefined): { readonly ifMatch?: string } {
  return etag === undefined ? {} : { ifMatch: etag };
}

/** As the target took it. */
function cursorPart({ number, length, etag, checksum }: UploadedPart, { crc32 }: Payload): CursorPart {
  return { number, length, etag, crc32, ...(checksum === undefined ? {} : { checksum }) };
}

/** As the target must have taken it, whichever checksum it keeps. */
async function summedUp(number: number, { length, crc32, buffers }: Payload): Promise<CursorPart> {
  const hash = createHash('md5');
  for (const buffer of buffers) hash.update(buffer);
  return { number, length, etag: hash.digest('hex'), crc32, checksum: showCrc64(await crc64(buffers)) };
}

function inOrder(upload: OpenUpload): CursorPart[] {
  return [...upload.sent.values()].sort((a, b) => a.number - b.number);
}
