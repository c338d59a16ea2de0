/**
 * One file moved from store to store, and proved while it moves: what was read has the CRC32 that the snapshot's own
 * metadata gives (the source is sound), and what the target answers about its bytes agrees with what was sent.
 * The proof of the source comes before the last byte becomes visible: no whole-looking file with wrong bytes. Where one
 * provider holds both ends it copies by itself (`server-copy.ts`), and the same proof comes right after.
 */
import { BlobCorruptError } from '../domain/errors';
import type { ManifestBlob } from '../repository/manifest';
import { assertHeld, copyInParts, UploadBook } from './copy-parts';
import { SourceFile } from './copy-source';
import type { Engine } from './engine';
import { keyBelow } from './keys';
import type { Pace } from './pace';
import { payload } from './payload';
import { proofOf } from './proof';
import type { BlobProof } from './proof';
import { copyAtStore } from './server-copy';
import { heldAlready, noteOf, provedAsNoted } from './held';
import type { BlobNote } from './held';
import { DamagedOnTheWay, Soundness } from './soundness';
import type { Store } from './store';

/** A repository's place in a store. */
export interface CopySource {
  readonly store: Store;
  /** Without a slash at either end; empty for the root. */
  readonly basePath: string;
}
export type CopyTarget = CopySource;

/** One file: its blobs in order (one unless Elasticsearch cut it into chunks, `.part0`, `.part1`, …). */
export interface CopyFile {
  readonly blobs: readonly ManifestBlob[];
}

export interface CursorPart {
  /** 1-based. */
  readonly number: number;
  readonly length: number;
  /** Of the target. */
  readonly etag: string;
  readonly crc32: number;
  /** What the target said of it, where it did. */
  readonly checksum?: string;
}

/** Plain JSON, made for a heartbeat: how far a file has come. At most 500 parts up to 32 GiB, about 130 bytes each. */
export interface CopyCursor {
  /** The blob being sent, relative to the base path. */
  readonly key: string;
  /** Empty between two blobs of one file. */
  readonly uploadId: string;
  readonly partBytes: number;
  readonly parts: readonly CursorPart[];
  /** The file's blobs before this one, for a file cut into chunks. */
  readonly proved?: readonly BlobNote[];
}

export interface CopyOptions {
  readonly signal: AbortSignal;
  /** Bytes that the target has acknowledged since the last call. Those of an earlier attempt are not counted again. */
  readonly progress: (bytesSentDelta: number) => void;
  /** What the last attempt gave to `onCursor`. Only a hint: the target is asked what it holds. */
  readonly resume?: CopyCursor;
  readonly onCursor: (cursor: CopyCursor) => void;
  /**
   * True of a blob that the target may hold already, sent by an attempt that was killed before it could say so. What the
   * stores tell of it without reading it is asked first. Default: of none.
   */
  readonly mayBeThere?: (blob: ManifestBlob) => boolean;
  /** Awaited before the first part of an upload that the target can not list: nobody else will know of it. */
  readonly onUnlisted?: (upload: { readonly key: string; readonly uploadId: string }) => Promise<void>;
  /** What the copy keeps to. Default: that of the engine. */
  readonly pace?: Pick<Pace, 'take'>;
  /** True where no manifest knows the bytes (a whole prefix is copied): then only the way is proved. Default false. */
  readonly isUnproved?: boolean;
  /** Blobs of this length and more are sent in parts. Default 16 MiB. */
  readonly multipartBytes?: number;
  /** Doubled until there are at most 500 parts, up to 64 MiB. Default 8 MiB. At most eight are in memory. */
  readonly partBytes?: number;
  /** Parts of one blob in flight: what a crash sends twice. Default 8. */
  readonly partsAtOnce?: number;
}

/**
 * Copies one file whose CRC32 the manifest knows; the others (`index-N`, …) are published elsewhere. Overwrites what
 * the target has under the same keys: names are used again by old versions, so a name proves nothing.
 *
 * Throws `BlobMissingError` and `BlobCorruptError` about the source when it lacks the blob, or its bytes are not those
 * of the snapshot, twice; `BlobCorruptError` about the target when it says it holds others; `UnavailableError` for what
 * is worth another try with the last cursor, a source that ended early or gave other bytes the second time among them.
 */
export function copyFile(
  engine: Engine,
  source: CopySource,
  target: CopyTarget,
  file: CopyFile,
  options: CopyOptions,
): Promise<BlobProof[]> {
  return new FileCopy(engine, source, target, file, options).run();
}

/**
 * Sends bytes that were read before, in place of the source's, which may have deleted them since. Small: metadata.
 * Overwrites, and throws what `Store.write` throws.
 */
export async function sendSaved(
  pace: Pick<Pace, 'take'>,
  target: CopyTarget,
  blob: ManifestBlob,
  bytes: Buffer,
  { signal, progress }: Pick<CopyOptions, 'signal' | 'progress'>,
): Promise<BlobProof> {
  await pace.take(bytes.length, 1, signal);
  const body = payload(bytes);
  const receipt = await target.store.write(keyBelow(target.basePath, blob.key), body, {}, signal);
  progress(bytes.length);
  return proofOf(blob, body.crc32, receipt);
}

const MIB = 1024 * 1024;
/** One request per 8 MiB costs little, and a slow line carries many parts at once but one body after the other. */
const MULTIPART_BYTES = 16 * MIB;

class FileCopy {
  readonly #from: SourceFile;
  readonly #soundness: Soundness;
  readonly #uploads: UploadBook;
  readonly #proofs: BlobProof[] = [];
  readonly #signal: AbortSignal;
  /** Whether a chunk was copied by the store itself. */
  #hasServerCopies = false;
  #mayCopyAtStore = true;

  constructor(
    private readonly engine: Engine,
    private readonly source: CopySource,
    private readonly target: CopyTarget,
    private readonly file: CopyFile,
    private readonly options: CopyOptions,
  ) {
    this.#from = new SourceFile(engine, source, file, options);
    this.#soundness = new Soundness(this.#from, options.isUnproved ?? false);
    this.#uploads = new UploadBook(target.store, options);
    this.#signal = options.signal;
  }

  async run(): Promise<BlobProof[]> {
    const { proved } = this.options.resume ?? {};
    if (proved !== undefined) await this.#takeOverProofs(proved);
    try {
      await this.#copyRest();
    } catch (error) {
      const isDamage = error instanceof BlobCorruptError || error instanceof DamagedOnTheWay;
      if (!isDamage || !this.#hasServerCopies) throw error;
      // Chunks that the store copied do not make up the file. When their bytes pass here, it shows which end is at fault.
      this.#mayCopyAtStore = false;
      this.#proofs.length = 0;
      await this.#copyRest();
    }
    return this.#proofs;
  }

  /** Chunks of an earlier attempt count as long as the target still holds exactly them. */
  async #takeOverProofs(proved: readonly BlobNote[]): Promise<void> {
    for (const [i, blob] of this.file.blobs.entries()) {
      const note = proved[i];
      // An earlier version's notes were of another kind.
      const proof = Array.isArray(note) ? await provedAsNoted(this.target, blob, note, this.#signal) : undefined;
      if (proof === undefined) return;
      this.#proofs.push(proof);
    }
  }

  async #copyRest(): Promise<void> {
    try {
      for (const blob of this.file.blobs.slice(this.#proofs.length)) {
        let proof: BlobProof | undefined;
        if (this.#mayBeThere(blob)) proof = await this.#heldAlready(blob);
        if (proof === undefined && this.#mayPassElsewhere(blob)) proof = await this.#copyAtStore(blob);
        this.#proofs.push(proof ?? (await this.#copyHere(blob)));
        const isLast = this.#proofs.length === this.file.blobs.length;
        if (!isLast) this.#reportCursor({ key: blob.key, uploadId: '', partBytes: 0, parts: [] });
      }
    } catch (error) {
      if (error instanceof DamagedOnTheWay) this.#forget();
      throw error;
    }
  }

  /** None of what was sent of the file is gone on with. */
  #forget(): void {
    this.#proofs.length = 0;
    this.#reportCursor({ key: this.file.blobs[0]!.key, uploadId: '', partBytes: 0, parts: [] });
  }

  /** What a cursor tells of is looked at there: it knows more. */
  #mayBeThere(blob: ManifestBlob): boolean {
    const { resume, mayBeThere } = this.options;
    return resume?.key !== blob.key && mayBeThere?.(blob) === true;
  }

  async #heldAlready(blob: ManifestBlob): Promise<BlobProof | undefined> {
    const proof = await heldAlready(this.target, this.#from, blob, this.#soundness.expectedOf(blob), this.#signal);
    if (proof === undefined) return undefined;
    await this.#soundness.assertSound(blob, proof.crc32, this.#proofs);
    this.options.progress(blob.length);
    return proof;
  }

  /** What was begun here is gone on with. */
  #mayPassElsewhere(blob: ManifestBlob): boolean {
    const { resume } = this.options;
    const isBegunHere = resume?.key === blob.key && resume.uploadId !== '';
    return this.#mayCopyAtStore && !isBegunHere && this.engine.route(this.source.store, this.target.store).isOpen;
  }

  /** Undefined where the bytes have to pass here. */
  async #copyAtStore(blob: ManifestBlob): Promise<BlobProof | undefined> {
    const { isUnproved = false } = this.options;
    const proof = await copyAtStore(this.engine, this.source, this.target, blob, {
      signal: this.#signal,
      pace: this.options.pace ?? this.engine.pace,
      expected: this.#soundness.expectedOf(blob),
      isUnproved,
      onUpload: (key, uploadId) => this.#uploads.tell(key, uploadId),
    });
    if (proof === undefined) return undefined;
    this.#hasServerCopies = true;
    await this.#soundness.assertSound(blob, proof.crc32, this.#proofs);
    this.options.progress(blob.length);
    return proof;
  }

  #copyHere(blob: ManifestBlob): Promise<BlobProof> {
    if (blob.length < (this.options.multipartBytes ?? MULTIPART_BYTES)) return this.#copyWhole(blob);
    const { engine, target, options } = this;
    const parts = { engine, target, options, source: this.#from, soundness: this.#soundness, uploads: this.#uploads };
    const reportCursor = (cursor: CopyCursor) => this.#reportCursor(cursor);
    return copyInParts({ ...parts, proofs: this.#proofs, reportCursor }, blob);
  }

  async #copyWhole(blob: ManifestBlob): Promise<BlobProof> {
    const { store, basePath } = this.target;
    return this.#from.withBytes(blob, {}, async (body, told) => {
      await this.#soundness.assertSound(blob, body.crc32, this.#proofs);
      if (told.length > 0) await this.#soundness.assertAsTold(blob, body, told);
      const isComparedLater = this.#soundness.expected !== undefined;
      const receipt = await this.engine.send(store, body.length, this.#signal, () =>
        store.write(keyBelow(basePath, blob.key), body, { isComparedLater }, this.#signal),
      );
      assertHeld(this.target, blob, body.crc32, receipt);
      if (told.length > 0) await this.#soundness.assertArrived(blob, body.crc32, told, receipt, body);
      this.options.progress(blob.length);
      return proofOf(blob, body.crc32, receipt);
    });
  }

  #reportCursor(cursor: CopyCursor): void {
    this.options.onCursor({ ...cursor, proved: this.#proofs.map(noteOf) });
  }
}
