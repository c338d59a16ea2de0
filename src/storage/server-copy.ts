/**
 * Blobs that a store copies by itself, where one provider holds both ends: their bytes do not pass through this machine.
 * The copy is visible before it is proved, but nothing refers to it yet; one that is not proved counts for nothing, and
 * the bytes are moved here instead, where each end can be blamed for what is its own.
 */
import type { ManifestBlob } from '../repository/manifest';
import type { CopySource, CopyTarget } from './copy';
import { showCrc32 } from './crc32';
import type { Engine } from './engine';
import { checksumsThere, crc32In } from './held';
import { keyBelow } from './keys';
import type { Pace } from './pace';
import { mapInParallel } from './parallel';
import { proofOf } from './proof';
import type { BlobProof } from './proof';
import type { Route } from './route';
import { matching } from './store';
import type { BlobChecksums, Copier, WriteReceipt } from './store';
import { readCrc32 } from './sum';

export interface ServerCopyOptions {
  readonly signal: AbortSignal;
  readonly pace: Pick<Pace, 'take'>;
  /** CRC32 of the whole blob, where it is known: not of a chunk, whose file is summed by the caller. */
  readonly expected: number | undefined;
  /** True where no manifest knows the bytes: then source and target have to tell of a checksum that is the same. */
  readonly isUnproved: boolean;
  /** Awaited before the first part is copied. */
  readonly onUpload: (key: string, uploadId: string) => Promise<void>;
}

/** Parts of one blob that the store copies at a time. */
const PARTS_AT_ONCE = 8;
/**
 * Copies a blob at its store and proves the copy: the store tells the CRC32 that is expected, or the copy is read back.
 * Undefined where that is not to be had. Throws the signal's reason.
 */
export async function copyAtStore(
  engine: Engine,
  source: CopySource,
  target: CopyTarget,
  blob: ManifestBlob,
  options: ServerCopyOptions,
): Promise<BlobProof | undefined> {
  const route = engine.route(source.store, target.store);
  if (blob.length === 0 || blob.length > (route.mostBytes ?? Infinity)) return undefined;
  return route.attempt((copier) => new ServerCopy(engine, source, target, blob, options, route, copier).run());
}

class ServerCopy {
  readonly #sourceKey: string;
  readonly #targetKey: string;

  constructor(
    private readonly engine: Engine,
    private readonly source: CopySource,
    private readonly target: CopyTarget,
    private readonly blob: ManifestBlob,
    private readonly options: ServerCopyOptions,
    private readonly route: Route,
    private readonly copier: Copier,
  ) {
    this.#sourceKey = keyBelow(source.basePath, blob.key);
    this.#targetKey = keyBelow(target.basePath, blob.key);
  }

  async run(): Promise<BlobProof | undefined> {
    const { isUnproved, signal, pace } = this.options;
    const told = isUnproved ? await this.#told() : undefined;
    if (isUnproved && told === undefined) return undefined;
    const expected = told === undefined ? this.options.expected : crc32In(told.checksums);
    const receipt = await this.#copy(told?.etag);
    if (expected !== undefined && receipt.checksum === showCrc32(expected))
      return proofOf(this.blob, expected, receipt);
    const held = await checksumsThere(this.target, this.blob, signal);
    if (held?.length !== this.blob.length) return undefined;
    if (told !== undefined && !told.checksums.some((one) => held.checksums.includes(one))) return undefined;
    const crc = await readCrc32(this.engine, this.target.store, held, signal, pace);
    if ((crc32In(held.checksums) ?? crc) !== crc) {
      if (this.#isInParts) this.route.distrustParts();
      return undefined;
    }
    if (expected !== undefined && crc !== expected) return undefined;
    const checksum = held.checksums[0] ?? showCrc32(crc);
    return proofOf(this.blob, crc, { ...receipt, etag: held.etag, checksum });
  }

  /** Nothing but the source's store says what the bytes are. */
  async #told(): Promise<BlobChecksums | undefined> {
    if (this.route.isBlind) return undefined;
    const told = await this.source.store.checksums?.(this.#sourceKey, this.options.signal);
    if (told?.length !== this.blob.length) return undefined;
    this.route.isBlind = told.checksums.length === 0;
    return this.route.isBlind ? undefined : told;
  }

  get #isInParts(): boolean {
    return this.blob.length > this.copier.maxBytes;
  }

  async #copy(etag: string | undefined): Promise<WriteReceipt> {
    // No byte of it passes here: only the request counts.
    await this.options.pace.take(0, 1, this.options.signal);
    if (this.#isInParts) return this.#copyParts(etag);
    const ifMatch = matching(etag);
    const match = ifMatch === undefined ? {} : { ifMatch };
    return this.#send((signal) => this.copier.blob(this.#sourceKey, this.#targetKey, match, signal));
  }

  async #copyParts(known: string | undefined): Promise<WriteReceipt> {
    const { signal, onUpload } = this.options;
    const { uploads } = this.target.store;
    const etag = known ?? (await this.source.store.head(this.#sourceKey, signal))?.etag;
    const ifMatch = matching(etag);
    const match = ifMatch === undefined ? {} : { ifMatch };
    const uploadId = await uploads.begin(this.#targetKey, signal);
    try {
      await onUpload(this.#targetKey, uploadId);
      const parts = await mapInParallel(this.#ranges(), PARTS_AT_ONCE, signal, ({ number, ...range }, either) =>
        this.#send(
          (one) => this.copier.part(this.#sourceKey, { ...range, ...match }, this.#targetKey, uploadId, number, one),
          either,
        ),
      );
      return await uploads.complete(this.#targetKey, uploadId, parts, signal);
    } catch (error) {
      // Parts cost storage until they are aborted. Failing to is reported by nobody: the fault that led here matters.
      await uploads.abort(this.#targetKey, uploadId, signal).catch(() => undefined);
      throw error;
    }
  }

  #ranges(): { readonly number: number; readonly offset: number; readonly length: number }[] {
    const { maxBytes } = this.copier;
    return Array.from({ length: Math.ceil(this.blob.length / maxBytes) }, (_, i) => {
      const offset = i * maxBytes;
      return { number: i + 1, offset, length: Math.min(maxBytes, this.blob.length - offset) };
    });
  }

  /** A store is given no more copies at a time than uploads. */
  #send<T>(request: (signal: AbortSignal) => Promise<T>, signal = this.options.signal): Promise<T> {
    return this.engine.send(this.target.store, this.blob.length, signal, () => request(signal));
  }
}
