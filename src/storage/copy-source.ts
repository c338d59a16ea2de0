/** The source's end of a copy: the blobs of one file, read into the memory that all copies share. */
import { BlobCorruptError, BlobMissingError, UnavailableError } from '../domain/errors';
import type { Subject } from '../domain/errors';
import type { ManifestBlob } from '../repository/manifest';
import type { CopyFile, CopyOptions, CopySource } from './copy';
import { combineCrc32, crc32 } from './crc32';
import { laneOf, weightOf } from './engine';
import type { Engine } from './engine';
import { keyBelow } from './keys';
import { payload } from './payload';
import type { Payload } from './payload';
import { aboutBlob } from './proof';
import { matching } from './store';
import type { BlobInfo, Store } from './store';

/** Elasticsearch does not write a blob again that its repository lists. */
export const NEW_REPOSITORY = 'restore it, or let the source take its snapshots into an empty repository';

/** What the source says of a blob; checksums only where no manifest knows better. */
export interface Told {
  readonly etag: string | undefined;
  readonly told: readonly string[];
}

type Range = { readonly offset?: number; readonly length?: number; readonly ifMatch?: string };

/** A copy holds memory of the shared budget while it looks once more; taking more of it could wait for ever. */
const PIECE_BYTES = 8 * 1024 * 1024;

export class SourceFile {
  constructor(
    private readonly engine: Engine,
    private readonly source: CopySource,
    readonly file: CopyFile,
    private readonly options: Pick<CopyOptions, 'signal' | 'pace' | 'isUnproved'>,
  ) {}

  /**
   * Runs `use` with exactly the bytes of the blob, or of the range, whose memory is given back when it has ended. Throws
   * what `use` throws, `BlobMissingError` for a blob that is gone, and what `Store.read` throws.
   */
  async withBytes<T>(
    blob: ManifestBlob,
    range: Range,
    use: (body: Payload, told: readonly string[]) => Promise<T>,
    signal = this.options.signal,
  ): Promise<T> {
    const length = range.length ?? blob.length;
    await (this.options.pace ?? this.engine.pace).take(length, 1, signal);
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

  /** @throws BlobMissingError, and BlobCorruptError for another length than the snapshot names */
  async head(blob: ManifestBlob): Promise<Told> {
    const { store } = this.source;
    const { signal, isUnproved } = this.options;
    const key = keyBelow(this.source.basePath, blob.key);
    const said = isUnproved ? await store.checksums?.(key, signal) : undefined;
    const info = said ?? (await store.head(key, signal));
    if (!info) throw this.#vanished(blob);
    if (info.length !== blob.length) throw this.#wrongLength(blob, info.length);
    return { etag: matching(info.etag), told: said?.checksums ?? [] };
  }

  /** The CRC32 of the whole file, read once more. */
  async crc32(): Promise<number> {
    let crc = 0;
    for (const { key, length } of this.file.blobs) {
      const info = { key: keyBelow(this.source.basePath, key), length, etag: '' };
      crc = combineCrc32(crc, await crc32There(this.source.store, info, this.options.signal), length);
    }
    return crc;
  }

  /** For errors. */
  about(blob: ManifestBlob): Subject & { key: string } {
    return aboutBlob(this.source, blob);
  }

  async #read(
    blob: ManifestBlob,
    range: Range,
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
      const options = { into, isCompared, ...range };
      const { checksums } = await this.source.store.read(keyBelow(this.source.basePath, blob.key), options, signal);
      return checksums ?? [];
    } catch (error) {
      if (answered !== length) throw await this.#answeredOtherwise(blob, length, answered);
      if (error instanceof BlobMissingError) throw this.#vanished(blob, error);
      throw error;
    }
  }

  /** An answer that was cut short may be whole the next time; a blob that is too short stays so. */
  async #answeredOtherwise(blob: ManifestBlob, expected: number, answered: number): Promise<Error> {
    await this.head(blob);
    return new UnavailableError('The source answered with fewer or more bytes than the blob has.', {
      subject: { ...this.about(blob), expected, answered },
    });
  }

  #vanished(blob: ManifestBlob, cause?: BlobMissingError): BlobMissingError {
    return new BlobMissingError(
      'A blob is not in the source any more: find out who deletes there (another cluster, a lifecycle rule), then take ' +
        'a new snapshot.',
      { subject: this.about(blob), cause },
    );
  }

  #wrongLength(blob: ManifestBlob, actual: number): BlobCorruptError {
    return new BlobCorruptError(`A blob in the source has another length than the snapshot says: ${NEW_REPOSITORY}.`, {
      subject: { ...this.about(blob), expected: blob.length, actual },
    });
  }
}

/** The CRC32 of what a store holds, read piece by piece beside the shared memory. */
export async function crc32There(store: Store, { key, length, etag }: BlobInfo, signal: AbortSignal): Promise<number> {
  const memory = Buffer.allocUnsafe(Math.min(PIECE_BYTES, length));
  const ifMatch = matching(etag);
  let crc = 0;
  for (let offset = 0; offset < length; offset += memory.length) {
    const piece = memory.subarray(0, length - offset);
    const range = { offset, length: piece.length, into: () => [piece] };
    await store.read(key, ifMatch === undefined ? range : { ...range, ifMatch }, signal);
    crc = crc32(piece, crc);
  }
  return crc;
}
