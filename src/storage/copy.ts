/**
 * One file moved from store to store, and proved while it moves: what was read has the CRC32 that the snapshot's own
 * metadata gives (the source is sound), and what the target answers about its bytes agrees with what was sent.
 * The proof of the source comes before the last byte becomes visible: no whole-looking file with wrong bytes. Where one
 * provider holds both ends it copies by itself (`server-copy.ts`), and the same proof comes right after.
 */
import { BlobCorruptError, BlobMissingError, RepositoryChangedError, UnavailableError } from '../domain/errors';
import type { Subject } from '../domain/errors';
import type { ManifestBlob } from '../repository/manifest';
import { combineCrc32, crc32, footerCrc32, showCrc32 } from './crc32';
import { keyBelow } from './keys';
import { laneOf } from './engine';
import type { Engine } from './engine';
import type { Pace } from './pace';
import { inParallel } from './parallel';
import { payload } from './payload';
import type { Payload } from './payload';
import { copyAtStore } from './server-copy';
import type { BlobInfo, Store, UploadedPart, WriteReceipt } from './store';
import { damagedThere } from './verdicts';
import { isOf } from './whole';

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

export interface CursorPart {
  /** 1-based. */
  readonly number: number;
  readonly length: number;
  /** Of the target. */
  readonly etag: string;
  readonly crc32: number;
}

/** Plain JSON, made for a heartbeat: how far a file has come. At most 1,000 parts, about 100 bytes each. */
export interface CopyCursor {
  /** The blob being sent, relative to the base path. */
  readonly key: string;
  /** Empty between two blobs of one file. */
  readonly uploadId: string;
  readonly partBytes: number;
  readonly parts: readonly CursorPart[];
  /** The file's blobs before this one, for a file cut into chunks. */
  readonly proved?: readonly BlobProof[];
}

export interface CopyOptions {
  readonly signal: AbortSignal;
  /** Bytes that the target has acknowledged since the last call. Those of an earlier attempt are not counted again. */
  readonly progress: (bytesSentDelta: number) => void;
  /** What the last attempt gave to `onCursor`. Only a hint: the target is asked what it holds. */
  readonly resume?: CopyCursor;
  readonly onCursor: (cursor: CopyCursor) => void;
  /** Awaited before the first part of an upload that the target can not list: nobody else will know of it. */
  readonly onUnlisted?: (upload: { readonly key: string; readonly uploadId: string }) => Promise<void>;
  /** What the copy keeps to. Default: that of the engine. */
  readonly pace?: Pick<Pace, 'take'>;
  /** True where no manifest knows the bytes (a whole prefix is copied): then only the way is proved. Default false. */
  readonly isUnproved?: boolean;
  /** Blobs of this length and more are sent in parts. Default 16 MiB. */
  readonly multipartBytes?: number;
  /** Doubled until there are at most 1,000 parts, up to 64 MiB. Default 8 MiB. At most eight are in memory. */
  readonly partBytes?: number;
  /** Parts of one blob in flight: what a crash sends twice. Default 8. */
  readonly partsAtOnce?: number;
}

/** Elasticsearch does not write a blob again that its repository lists. */
const NEW_REPOSITORY = 'restore it, or let the source take its snapshots into an empty repository';

const MIB = 1024 * 1024;
/** One request per 8 MiB costs little, and a slow line carries many parts at once but one body after the other. */
const MULTIPART_BYTES = 16 * MIB;
/** As many as may be sent again after a crash: 64 MiB. */
const PART_BYTES = 8 * MIB;
const PARTS_AT_ONCE = 8;
/** Keeps the cursor well below what a heartbeat may weigh; stores would take 10,000. */
const ENOUGH_PARTS = 1_000;
/** Eight of them are more than the memory there is, two are not. Stores take 10,000 parts: 640 GiB, ten times any segment. */
const LARGEST_PART_BYTES = 64 * MIB;

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

/** The source gives other bytes when it is asked again. None of those that were sent are to be gone on with. */
class DamagedOnTheWay extends UnavailableError {}

/** What the source says of a blob; checksums only where no manifest knows better. */
interface Told {
  readonly etag: string | undefined;
  readonly told: readonly string[];
}

/** An upload under way: what the cursor remembers, and what the target says it holds. */
interface OpenUpload {
  readonly id: string;
  readonly partBytes: number;
  readonly sent: Map<number, CursorPart>;
  readonly held: ReadonlyMap<number, UploadedPart>;
}

class FileCopy {
  /** Of the whole file; undefined where nothing says it. */
  readonly #expected: number | undefined;
  readonly #proofs: BlobProof[] = [];
  readonly #signal: AbortSignal;
  /** Whether the target lists its unfinished uploads; undefined while it was not asked. */
  #isListed: boolean | undefined;
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
    this.#expected = options.isUnproved ? undefined : expectedCrc32(file);
    this.#signal = options.signal;
  }

  async run(): Promise<BlobProof[]> {
    await this.#takeOverProofs();
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

  async #copyRest(): Promise<void> {
    for (const blob of this.file.blobs.slice(this.#proofs.length)) {
      this.#proofs.push((await this.#copyAtStore(blob)) ?? (await this.#copyHere(blob)));
      const isLast = this.#proofs.length === this.file.blobs.length;
      if (!isLast) this.#reportCursor({ key: blob.key, uploadId: '', partBytes: 0, parts: [] });
    }
  }

  /** Undefined where the bytes have to pass here. What was begun here is gone on with. */
  async #copyAtStore(blob: ManifestBlob): Promise<BlobProof | undefined> {
    const { resume, isUnproved = false } = this.options;
    const isBegunHere = resume?.key === blob.key && resume.uploadId !== '';
    if (!this.#mayCopyAtStore || isBegunHere) return undefined;
    const isWholeFile = this.file.blobs.length === 1;
    const proof = await copyAtStore(this.engine, this.source, this.target, blob, {
      signal: this.#signal,
      pace: this.#pace,
      expected: isWholeFile ? this.#expected : undefined,
      isUnproved,
      onUpload: (key, uploadId) => this.#tellUnlisted(key, uploadId),
    });
    if (proof === undefined) return undefined;
    this.#hasServerCopies = true;
    await this.#assertSound(blob, proof.crc32);
    this.options.progress(blob.length);
    return proof;
  }

  #copyHere(blob: ManifestBlob): Promise<BlobProof> {
    const isLarge = blob.length >= (this.options.multipartBytes ?? MULTIPART_BYTES);
    return isLarge ? this.#copyInParts(blob) : this.#copyWhole(blob);
  }

  get #pace(): Pick<Pace, 'take'> {
    return this.options.pace ?? this.engine.pace;
  }

  /** Chunks of an earlier attempt count as long as the target still holds exactly them. */
  async #takeOverProofs(): Promise<void> {
    for (const [i, proof] of (this.options.resume?.proved ?? []).entries()) {
      const blob = this.file.blobs[i];
      if (blob?.key !== proof.key || blob.length !== proof.length) return;
      const held = await this.target.store.head(this.#targetKey(blob), this.#signal);
      if (held?.length !== proof.length || held.etag !== proof.etag) return;
      this.#proofs.push(proof);
    }
  }

  async #copyWhole(blob: ManifestBlob): Promise<BlobProof> {
    return this.#withBytes(blob, {}, blob.length, async (body, told) => {
      await this.#assertSound(blob, body.crc32);
      await this.#assertAsTold(blob, body, told);
      const receipt = await this.#send(body.length, (signal) =>
        this.target.store.write(this.#targetKey(blob), body, { isComparedLater: this.#expected !== undefined }, signal),
      );
      this.#assertHeld(blob, body.crc32, receipt);
      await this.#assertArrived(blob, body.crc32, told, receipt, body);
      this.options.progress(blob.length);
      return proofOf(blob, body.crc32, receipt);
    });
  }

  async #copyInParts(blob: ManifestBlob): Promise<BlobProof> {
    const source = await this.#headSource(blob);
    const upload = await this.#resumeUpload(blob);
    if (upload && 'proof' in upload) return upload.proof;
    return this.#sendParts(blob, source, upload ?? (await this.#beginUpload(blob)));
  }

  async #sendParts(blob: ManifestBlob, { etag: sourceEtag, told }: Told, upload: OpenUpload): Promise<BlobProof> {
    try {
      const numbers = Array.from({ length: Math.ceil(blob.length / upload.partBytes) }, (_, i) => i + 1);
      await inParallel(numbers, this.options.partsAtOnce ?? PARTS_AT_ONCE, this.#signal, (number, signal) =>
        this.#sendPart(blob, sourceEtag, upload, number, signal),
      );
      const parts = inOrder(upload);
      const crc = combined(parts);
      await this.#assertSound(blob, crc);
      const proof = await this.#complete(blob, upload.id, parts, crc);
      await this.#assertArrived(blob, crc, told, proof);
      return proof;
    } catch (error) {
      // These do not get better with the parts that are there; after anything else they are not sent again.
      const isFinal = [BlobCorruptError, BlobMissingError, RepositoryChangedError].some((E) => error instanceof E);
      if (isFinal || error instanceof DamagedOnTheWay) await this.#abandon(blob, upload.id);
      throw error;
    }
  }

  async #sendPart(
    blob: ManifestBlob,
    sourceEtag: string | undefined,
    upload: OpenUpload,
    number: number,
    signal: AbortSignal,
  ): Promise<void> {
    const offset = (number - 1) * upload.partBytes;
    const length = Math.min(upload.partBytes, blob.length - offset);
    const sent = upload.sent.get(number);
    const listed = upload.held.get(number);
    const held = listed?.length === length ? listed : undefined;
    if (held && sent?.length === length && sent.etag === held.etag) return;

    await this.#withBytes(
      blob,
      { offset, length, ifMatch: sourceEtag },
      length,
      async (body) => {
        // Sent by an attempt that died before it could say so.
        const part =
          held && (await isSame(held, body)) ? held : await this.#uploadPart(blob, upload.id, number, body, signal);
        upload.sent.set(number, { number, length, etag: part.etag, crc32: body.crc32 });
      },
      signal,
    );
    this.#reportUpload(blob, upload);
  }

  async #uploadPart(
    blob: ManifestBlob,
    uploadId: string,
    number: number,
    body: Payload,
    signal: AbortSignal,
  ): Promise<UploadedPart> {
    const { uploads } = this.target.store;
    try {
      const part = await this.#send(
        body.length,
        (one) => uploads.part(this.#targetKey(blob), uploadId, number, body, one),
        signal,
      );
      this.options.progress(body.length);
      return part;
    } catch (error) {
      if (error instanceof BlobMissingError) throw this.#uploadVanished(blob, uploadId, error);
      throw error;
    }
  }

  async #beginUpload(blob: ManifestBlob): Promise<OpenUpload> {
    const { uploads } = this.target.store;
    let partBytes = Math.max(this.options.partBytes ?? PART_BYTES, uploads.minPartBytes);
    while (blob.length > partBytes * ENOUGH_PARTS && partBytes < LARGEST_PART_BYTES) partBytes *= 2;
    const id = await uploads.begin(this.#targetKey(blob), this.#signal);
    await this.#tellUnlisted(this.#targetKey(blob), id);
    const upload = { id, partBytes, sent: new Map<number, CursorPart>(), held: new Map<number, UploadedPart>() };
    this.#reportUpload(blob, upload);
    return upload;
  }

  async #tellUnlisted(key: string, uploadId: string): Promise<void> {
    if (this.options.onUnlisted === undefined) return;
    this.#isListed ??= (await this.target.store.uploads.unfinished(key, this.#signal)) !== undefined;
    if (!this.#isListed) await this.options.onUnlisted({ key, uploadId });
  }

  /** The upload that the cursor names, or the proof of the blob it became, or undefined: begin anew. */
  async #resumeUpload(blob: ManifestBlob): Promise<OpenUpload | { proof: BlobProof } | undefined> {
    const cursor = this.options.resume;
    if (cursor?.key !== blob.key || cursor.uploadId === '') return this.#adoptUpload(blob);
    const parts = await this.target.store.uploads.parts(this.#targetKey(blob), cursor.uploadId, this.#signal);
    if (parts === undefined) {
      const proof = await this.#acceptFinished(blob, cursor.parts);
      return proof && { proof };
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
  async #adoptUpload(blob: ManifestBlob): Promise<OpenUpload | undefined> {
    const { uploads } = this.target.store;
    const key = this.#targetKey(blob);
    const listed = await uploads.unfinished(key, this.#signal);
    this.#isListed = listed !== undefined;
    const found = listed ?? [];
    let fullest: OpenUpload | undefined;
    for (const { uploadId } of found.filter((upload) => upload.key === key)) {
      const parts = (await uploads.parts(key, uploadId, this.#signal)) ?? [];
      const partBytes = parts[0]?.number === 1 ? parts[0].length : 0;
      if (partBytes < uploads.minPartBytes || parts.length <= (fullest?.held.size ?? 0)) continue;
      fullest = { id: uploadId, partBytes, sent: new Map(), held: new Map(parts.map((part) => [part.number, part])) };
    }
    return fullest;
  }

  async #complete(blob: ManifestBlob, uploadId: string, parts: CursorPart[], crc: number): Promise<BlobProof> {
    const key = this.#targetKey(blob);
    let receipt: WriteReceipt;
    try {
      receipt = await this.target.store.uploads.complete(key, uploadId, parts, this.#signal);
    } catch (error) {
      if (!(error instanceof BlobMissingError)) throw error;
      const proof = await this.#acceptFinished(blob, parts);
      if (proof) return proof;
      throw this.#uploadVanished(blob, uploadId, error);
    }
    this.#assertHeld(blob, crc, receipt);
    const held = await this.target.store.head(key, this.#signal);
    if (held?.length !== blob.length) {
      throw new BlobCorruptError('The target holds a blob of another length than was sent.', {
        subject: { ...this.#about(this.target, blob), expected: blob.length, actual: held?.length ?? 'none' },
      });
    }
    return proofOf(blob, crc, receipt);
  }

  /**
   * The target no longer knows the upload. Either `complete` worked and its answer was lost, or somebody aborted it.
   * A blob of the right length is no sign of the former: it may be an older one, as names are used again, and the
   * etag of an upload can not be foretold on every store. So it is accepted only if its bytes, read back, have the
   * CRC32 of those that were sent. This happens once in a crash; reading costs less than sending again.
   */
  async #acceptFinished(blob: ManifestBlob, parts: readonly CursorPart[]): Promise<BlobProof | undefined> {
    const isAllSent = parts.reduce((sum, part) => sum + part.length, 0) === blob.length;
    const expected = this.file.blobs.length === 1 ? this.#expected : undefined;
    // Nothing else says what the CRC32 of a chunk should be.
    if (!isAllSent && expected === undefined) return undefined;
    const crc = expected ?? combined(parts);
    const key = this.#targetKey(blob);
    const held = await this.target.store.head(key, this.#signal);
    if (held?.length !== blob.length) return undefined;
    const readBack = await this.#readBack(key, held);
    if (readBack !== crc) return undefined;
    await this.#assertSound(blob, crc);
    return proofOf(blob, crc, { etag: held.etag, checksum: showCrc32(readBack), requestId: undefined });
  }

  /** The CRC32 of what the target holds. */
  #readBack(key: string, { length, etag }: BlobInfo): Promise<number> {
    return this.#crc32Of(this.target.store, key, length, matching(etag));
  }

  /** Read piece by piece. */
  async #crc32Of(store: Store, key: string, length: number, ifMatch?: string): Promise<number> {
    const memory = Buffer.allocUnsafe(Math.min(PART_BYTES, length));
    let crc = 0;
    for (let offset = 0; offset < length; offset += memory.length) {
      const piece = memory.subarray(0, length - offset);
      const range = {
        offset,
        length: piece.length,
        into: () => [piece],
        ...(ifMatch === undefined ? {} : { ifMatch }),
      };
      await store.read(key, range, this.#signal);
      crc = crc32(piece, crc);
    }
    return crc;
  }

  /** Parts cost storage until they are aborted. Failing to is reported by nobody: the fault that led here matters. */
  async #abandon(blob: ManifestBlob, uploadId: string): Promise<void> {
    await this.target.store.uploads.abort(this.#targetKey(blob), uploadId, this.#signal).catch(() => undefined);
  }

  /**
   * Throws when the file ends with this blob and its bytes do not have the CRC32 that the snapshot says. Whether they
   * were damaged there or on their way, a second reading tells; after the latter everything is read and sent again.
   */
  async #assertSound(blob: ManifestBlob, crc: number): Promise<void> {
    if (this.#expected === undefined || this.#proofs.length + 1 < this.file.blobs.length) return;
    const actual = combined([...this.#proofs, { length: blob.length, crc32: crc }]);
    if (actual === this.#expected) return;
    const subject = { ...this.#about(this.source, blob), expected: showCrc32(this.#expected) };
    if ((await this.#readAgain()) !== actual) throw this.#damagedOnTheWay(subject, actual);
    throw new BlobCorruptError(`The bytes in the source are not those that the snapshot names: ${NEW_REPOSITORY}.`, {
      subject: { ...subject, actual: showCrc32(actual) },
    });
  }

  /** What no manifest knows is compared with what its store says of it: first, where clusters would read it at once. */
  async #assertAsTold(blob: ManifestBlob, body: Payload, told: readonly string[]): Promise<void> {
    for (const checksum of told) {
      const isFree = checksum.startsWith('crc32:');
      if ((isFree || blob.phase !== 'data') && !(await isOf(body, checksum))) {
        await this.#assertReadAgain(blob, body.crc32, checksum);
      }
    }
  }

  /** The same for data, at no cost: both stores say what their bytes are, and mostly in the same words. */
  async #assertArrived(
    blob: ManifestBlob,
    crc: number,
    told: readonly string[],
    { etag, checksum }: Pick<BlobProof, 'etag' | 'checksum'>,
    body?: Payload,
  ): Promise<void> {
    const said = [checksum, showCrc32(crc), ...(/^[0-9a-f]{32}$/i.test(etag) ? [`md5:${etag.toLowerCase()}`] : [])];
    for (const one of told) {
      const kind = one.slice(0, one.indexOf(':') + 1);
      const other = said.find((theirs) => theirs?.startsWith(kind));
      // The target's etag may be of something else than the bytes: summing up what was sent tells without reading it again.
      const isRight = other === undefined || other === one || (body !== undefined && (await isOf(body, one)));
      if (!isRight) await this.#assertReadAgain(blob, crc, one);
    }
  }

  /** Throws unless the source gives the same bytes again and what it told of them was an etag, of something else. */
  async #assertReadAgain(blob: ManifestBlob, crc: number, told: string): Promise<void> {
    const subject = { ...this.#about(this.source, blob), told };
    if ((await this.#readAgain()) !== crc) throw this.#damagedOnTheWay(subject, crc);
    if (told.startsWith('md5:')) return;
    throw new BlobCorruptError('The store gives other bytes than it took: the blob was damaged there.', { subject });
  }

  /** The CRC32 of the whole file in the source. */
  async #readAgain(): Promise<number> {
    const pieces: { length: number; crc32: number }[] = [];
    for (const { key, length } of this.file.blobs) {
      const crc = await this.#crc32Of(this.source.store, keyBelow(this.source.basePath, key), length);
      pieces.push({ length, crc32: crc });
    }
    return combined(pieces);
  }

  /** None of what was sent of the file is gone on with. */
  #damagedOnTheWay(subject: Subject, read: number): DamagedOnTheWay {
    this.#proofs.length = 0;
    this.#reportCursor({ key: this.file.blobs[0]!.key, uploadId: '', partBytes: 0, parts: [] });
    return new DamagedOnTheWay('Bytes were changed on their way from the source: they are read again.', {
      subject: { ...subject, read: showCrc32(read) },
    });
  }

  /** A store that answers with another kind of checksum has compared it itself. */
  #assertHeld(blob: ManifestBlob, crc: number, { checksum }: WriteReceipt): void {
    if (!checksum?.startsWith('crc32:') || checksum === showCrc32(crc)) return;
    throw damagedThere({ ...this.#about(this.target, blob), sent: showCrc32(crc), held: checksum });
  }

  async #headSource(blob: ManifestBlob): Promise<Told> {
    const { store } = this.source;
    const key = this.#sourceKey(blob);
    const said = this.options.isUnproved ? await store.checksums?.(key, this.#signal) : undefined;
    const info = said ?? (await store.head(key, this.#signal));
    if (!info) throw this.#vanished(blob);
    if (info.length !== blob.length) throw this.#wrongLength(blob, info.length);
    return { etag: matching(info.etag), told: said?.checksums ?? [] };
  }

  /** Runs `use` with exactly `length` bytes of the source, whose memory is given back when it has ended. */
  async #withBytes<T>(
    blob: ManifestBlob,
    range: { offset?: number; length?: number; ifMatch?: string },
    length: number,
    use: (body: Payload, told: readonly string[]) => Promise<T>,
    signal = this.#signal,
  ): Promise<T> {
    await this.#pace.take(length, 1, signal);
    const memory = await this.engine.slabs.take(length, signal);
    try {
      const gate = this.engine.gate(this.source.store, 'source', laneOf(length));
      const read = () => this.#read(blob, range, memory.buffers, length, signal);
      const told = await gate.run(weightOf(length), signal, read);
      return await use(payload(...memory.buffers), told);
    } finally {
      memory.release();
    }
  }

  #send<T>(bytes: number, request: (signal: AbortSignal) => Promise<T>, signal = this.#signal): Promise<T> {
    const gate = this.engine.gate(this.target.store, 'target', laneOf(bytes));
    return gate.run(weightOf(bytes), signal, () => request(signal));
  }

  async #read(
    blob: ManifestBlob,
    range: { offset?: number; length?: number; ifMatch?: string },
    memory: readonly Buffer[],
    length: number,
    signal: AbortSignal,
  ): Promise<readonly string[]> {
    let answered = length;
    const into = (bytes: number) => {
      answered = bytes;
      if (answered !== length) throw new Error('an answer of another length');
      return memory;
    };
    try {
      const isCompared = this.options.isUnproved === true && range.length === undefined;
      const options = { ...range, into, ...(isCompared ? { isCompared } : {}) };
      const { checksums } = await this.source.store.read(this.#sourceKey(blob), options, signal);
      return checksums ?? [];
    } catch (error) {
      if (answered !== length) throw await this.#answeredOtherwise(blob, length, answered);
      if (error instanceof BlobMissingError) throw this.#vanished(blob, error);
      throw error;
    }
  }

  /** An answer that was cut short may be whole the next time; a blob that is too short stays so. */
  async #answeredOtherwise(blob: ManifestBlob, expected: number, answered: number): Promise<Error> {
    await this.#headSource(blob);
    return new UnavailableError('The source answered with fewer or more bytes than the blob has.', {
      subject: { ...this.#about(this.source, blob), expected, answered },
    });
  }

  #vanished(blob: ManifestBlob, cause?: BlobMissingError): BlobMissingError {
    return new BlobMissingError(
      'A blob is not in the source any more: find out who deletes there (another cluster, a lifecycle rule), then take ' +
        'a new snapshot.',
      { subject: this.#about(this.source, blob), cause },
    );
  }

  #wrongLength(blob: ManifestBlob, actual: number): BlobCorruptError {
    return new BlobCorruptError(`A blob in the source has another length than the snapshot says: ${NEW_REPOSITORY}.`, {
      subject: { ...this.#about(this.source, blob), expected: blob.length, actual },
    });
  }

  /** Retryable: the next attempt finds what became of the upload, or begins another. */
  #uploadVanished(blob: ManifestBlob, uploadId: string, cause: BlobMissingError): UnavailableError {
    return new UnavailableError('The target no longer knows an upload: it is begun again.', {
      subject: { ...this.#about(this.target, blob), uploadId },
      cause,
    });
  }

  #reportUpload(blob: ManifestBlob, upload: OpenUpload): void {
    const { id, partBytes } = upload;
    this.#reportCursor({ key: blob.key, uploadId: id, partBytes, parts: inOrder(upload) });
  }

  #reportCursor(cursor: CopyCursor): void {
    this.options.onCursor({ ...cursor, proved: [...this.#proofs] });
  }

  #sourceKey(blob: ManifestBlob): string {
    return keyBelow(this.source.basePath, blob.key);
  }

  #targetKey(blob: ManifestBlob): string {
    return keyBelow(this.target.basePath, blob.key);
  }

  #about(place: CopySource, blob: ManifestBlob): { store: string; key: string } {
    return { store: place.store.description, key: keyBelow(place.basePath, blob.key) };
  }
}

/** Of the whole file. Throws a plain error for what no manifest gives: a file without a CRC32, or without a chunk. */
function expectedCrc32({ blobs }: CopyFile): number {
  const [first] = blobs;
  const footer = first?.part?.fileCrc32 ?? first?.crc32 ?? null;
  if (footer === null) throw new Error(`the manifest has no CRC32 for ${first?.key}: it is published, not copied`);
  const isWhole = blobs.length === (first?.part?.of ?? 1);
  const isInOrder = blobs.every(({ part }, i) => i === 0 || part!.number === blobs[i - 1]!.part!.number + 1);
  if (!isWhole || !isInOrder) throw new Error(`not all chunks of ${first?.key}, in order`);
  return footerCrc32(footer);
}

function combined(pieces: readonly { length: number; crc32: number }[]): number {
  return pieces.reduce((crc, piece) => combineCrc32(crc, piece.crc32, piece.length), 0);
}

/** Whether the target holds these bytes as that part. An etag is the MD5 unless the store encrypts. */
function isSame(part: UploadedPart, body: Payload): Promise<boolean> {
  return isOf(body, part.checksum ?? `md5:${part.etag.toLowerCase()}`);
}

/** What counts as throughput: small blobs by number, large ones by bytes. */
function weightOf(bytes: number): number {
  return laneOf(bytes) === 'small' ? 1 : bytes;
}

function inOrder(upload: OpenUpload): CursorPart[] {
  return [...upload.sent.values()].sort((a, b) => a.number - b.number);
}

/** Gateways over a file system have no etag for files that others put there: nothing to match. */
function matching(etag: string): string | undefined {
  return etag === '' ? undefined : etag;
}

function proofOf(blob: ManifestBlob, crc: number, receipt: Omit<WriteReceipt, 'created'>): BlobProof {
  const { etag, checksum, requestId } = receipt;
  return { key: blob.key, length: blob.length, crc32: crc, footerCrc32: blob.crc32, checksum, etag, requestId };
}
