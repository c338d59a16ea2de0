/** A store in memory that fails on demand: at the n-th call of a method, in one of the ways that stores really do. */
import { createHash, randomUUID } from 'node:crypto';
import {
  BlobCorruptError,
  BlobMissingError,
  ConfigurationError,
  RepositoryChangedError,
  UnavailableError,
} from '../../src/domain/errors';
import type { BucketProperties } from '../../src/domain/buckets';
import { crc32, showCrc32 } from '../../src/storage/crc32';
import { compareKeys } from '../../src/storage/keys';
import { inPages, Listing } from '../../src/storage/listing';
import { Filling, memoryFor } from '../../src/storage/memory';
import { joined } from '../../src/storage/payload';
import type { Payload } from '../../src/storage/payload';
import type {
  BlobInfo,
  Copier,
  ReadOptions,
  ReadReceipt,
  Store,
  UploadedPart,
  Uploads,
  WriteOptions,
  WriteReceipt,
} from '../../src/storage/store';

export type Call =
  | 'list'
  | 'head'
  | 'read'
  | 'write'
  | 'delete'
  | 'begin'
  | 'part'
  | 'parts'
  | 'complete'
  | 'abort'
  /** A blob or a part that the store is to copy by itself. */
  | 'copy';

export type Effect =
  /** No answer, and nothing was done. */
  | 'unavailable'
  /** No answer, although it was done. */
  | 'lost-answer'
  /** 403. */
  | 'forbidden'
  /** No answer until the signal fires. */
  | 'hang'
  /** read: half of the bytes, and the connection breaks. */
  | 'cut'
  /** read: half of the bytes, as if that were all. */
  | 'truncate'
  /** read: one bit is not as it is in the store. write and part: one bit is lost on the way, and the store notices. */
  | 'flip'
  /** write and part: one bit is lost in the store, which acknowledges what it holds. */
  | 'rot';

export interface Fault {
  readonly call: Call;
  /** 1 is the next call of this method. */
  readonly nth: number;
  readonly effect: Effect;
}

interface Upload {
  readonly key: string;
  readonly parts: Map<number, { body: Buffer; info: UploadedPart }>;
}

export class MemoryStore implements Store {
  readonly description: string;
  readonly blobs = new Map<string, Buffer>();
  /** Every call that arrived: `read a/__0`, `part a/__0 2`. */
  readonly calls: string[] = [];
  readonly #etags = new Map<string, string>();
  /** Which a blob that rots no longer is. */
  readonly #arrived = new Map<string, Buffer>();
  /** What the bucket says of itself. */
  told: BucketProperties = { denied: [] };
  /** Classes of blobs that are archived, by key: only a listing tells it, and reading them is refused. */
  readonly archived = new Map<string, string>();
  /** As of a store that has no listing of uploads. */
  listsUploads = true;
  readonly #pending = new Map<string, Upload>();
  #faults: Fault[] = [];
  #writes = 0;

  constructor(
    name = 'memory',
    private readonly settings: {
      readonly md5Etags?: boolean;
      /** What the store keeps of each blob, as it came. Default: nothing. */
      readonly keeps?: (body: Buffer) => string[] | Promise<string[]>;
      /** It copies from other such stores by itself, and then tells the CRC32, a wrong one, or nothing. */
      readonly copies?: 'told' | 'told wrong' | 'untold';
      readonly maxCopyBytes?: number;
    } = {},
  ) {
    this.description = `memory:${name}`;
    const { keeps, copies } = this.settings;
    if (copies !== undefined) this.copierFrom = (source) => this.#copierFrom(source as MemoryStore);
    if (keeps === undefined) return;
    this.checksums = async (key, signal) => {
      await this.#meet('head', key, signal);
      if (!this.blobs.has(key)) return undefined;
      return { ...this.#info(key), checksums: await keeps(this.#arrived.get(key)!) };
    };
  }

  checksums?: NonNullable<Store['checksums']>;
  copierFrom?: NonNullable<Store['copierFrom']>;

  #copierFrom(source: MemoryStore): Copier {
    const copied = async (
      call: string,
      sourceKey: string,
      { ifMatch }: { readonly ifMatch?: string },
      signal: AbortSignal,
    ) => {
      const effect = await this.#meet('copy', call, signal);
      if (effect === 'lost-answer') throw this.#unavailable(call);
      const body = source.blobs.get(sourceKey);
      if (!body) throw new BlobMissingError('A blob is not in the store.', { subject: this.#subject(sourceKey) });
      if (ifMatch !== undefined && ifMatch !== source.#etags.get(sourceKey)) {
        throw new RepositoryChangedError('A blob was replaced.', { subject: this.#subject(sourceKey) });
      }
      return effect === 'rot' ? flipped(body) : Buffer.from(body);
    };
    return {
      maxBytes: this.settings.maxCopyBytes ?? 1_000_000,
      blob: async (sourceKey, key, options, signal) => {
        this.put(key, await copied(key, sourceKey, options, signal));
        return this.#copyReceipt(key);
      },
      part: async (sourceKey, { offset, length, ...options }, key, uploadId, number, signal) => {
        const body = await copied(`${key} ${number}`, sourceKey, options, signal);
        const upload = this.#upload(key, uploadId);
        if (!upload) throw this.#unknownUpload(key);
        const held = body.subarray(offset, offset + length);
        const info = { number, length: held.length, etag: this.#etag(held) };
        upload.parts.set(number, { body: held, info });
        return info;
      },
    };
  }

  #copyReceipt(key: string): WriteReceipt {
    const { copies } = this.settings;
    const receipt = this.#receipt(key);
    if (copies === 'untold') return { ...receipt, checksum: undefined };
    return copies === 'told wrong' ? { ...receipt, checksum: showCrc32(0) } : receipt;
  }

  /** Each fault happens once. */
  inject(...faults: Fault[]): void {
    this.#faults.push(...faults);
  }

  callsOf(call: Call): string[] {
    return this.calls.filter((line) => line.startsWith(`${call} `));
  }

  put(key: string, body: Buffer): void {
    this.blobs.set(key, body);
    this.#arrived.set(key, body);
    this.#etags.set(key, this.#etag(body));
  }

  /** Loses one bit of a blob; neither length nor etag show it. */
  rot(key: string): void {
    this.blobs.set(key, flipped(this.blobs.get(key)!));
  }

  list(prefix: string, signal: AbortSignal): Listing {
    return new Listing(inPages(this.#listed(prefix, signal)));
  }

  async *#listed(prefix: string, signal: AbortSignal): AsyncGenerator<BlobInfo> {
    await this.#meet('list', prefix, signal);
    for (const key of [...this.blobs.keys()].sort(compareKeys)) {
      signal.throwIfAborted();
      if (!key.startsWith(prefix) || !this.blobs.has(key)) continue;
      const storageClass = this.archived.get(key);
      yield { ...this.#info(key), ...(storageClass === undefined ? {} : { storageClass }) };
    }
  }

  async properties(): Promise<BucketProperties> {
    return this.told;
  }

  async head(key: string, signal: AbortSignal): Promise<BlobInfo | undefined> {
    await this.#meet('head', key, signal);
    return this.blobs.has(key) ? this.#info(key) : undefined;
  }

  async read(key: string, options: ReadOptions, signal: AbortSignal): Promise<ReadReceipt> {
    const effect = await this.#meet('read', key, signal);
    const blob = this.blobs.get(key);
    if (!blob) throw new BlobMissingError('A blob is not in the store.', { subject: this.#subject(key) });
    if (this.archived.has(key)) {
      throw new ConfigurationError('A blob is archived.', {
        subject: { key, code: 'InvalidObjectState', status: 403 },
      });
    }
    if (options.ifMatch !== undefined && options.ifMatch !== this.#etags.get(key)) {
      throw new RepositoryChangedError('A blob was replaced while it was read.', { subject: this.#subject(key) });
    }
    const offset = options.offset ?? 0;
    const length = options.length ?? blob.length - offset;
    const asked = blob.subarray(offset, offset + length);
    const bytes = effect === 'flip' ? flipped(asked) : asked;
    if (effect === 'cut' || asked.length < length) throw this.#unavailable(key);
    const held = effect === 'truncate' ? bytes.subarray(0, Math.floor(bytes.length / 2)) : bytes;
    const filling = new Filling(memoryFor(held.length, options));
    signal.throwIfAborted();
    filling.take(held);
    const { keeps } = this.settings;
    const checksums = options.isCompared && keeps ? { checksums: await keeps(this.#arrived.get(key)!) } : {};
    return { buffers: filling.buffers, etag: this.#etags.get(key)!, ...checksums };
  }

  async write(key: string, body: Payload, options: WriteOptions, signal: AbortSignal): Promise<WriteReceipt> {
    const effect = await this.#meet('write', key, signal);
    if (options.ifAbsent && this.blobs.has(key)) {
      return { created: false, etag: this.#etags.get(key)!, checksum: undefined, requestId: undefined };
    }
    this.put(key, this.#received(key, joined(body.buffers), effect));
    if (effect === 'lost-answer') throw this.#unavailable(key);
    return this.#receipt(key);
  }

  async delete(key: string, signal: AbortSignal): Promise<void> {
    await this.#meet('delete', key, signal);
    this.blobs.delete(key);
    this.#etags.delete(key);
  }

  readonly uploads: Uploads = {
    minPartBytes: 1,

    begin: async (key, signal) => {
      await this.#meet('begin', key, signal);
      const uploadId = randomUUID();
      this.#pending.set(uploadId, { key, parts: new Map() });
      return uploadId;
    },

    part: async (key, uploadId, number, body, signal) => {
      const effect = await this.#meet('part', `${key} ${number}`, signal);
      const upload = this.#upload(key, uploadId);
      if (!upload) throw this.#unknownUpload(key);
      const held = this.#received(key, joined(body.buffers), effect);
      const [checksum] = (await this.settings.keeps?.(joined(body.buffers))) ?? [];
      const told = checksum === undefined ? {} : { checksum };
      const info = { number, length: held.length, etag: this.#etag(held), ...told };
      upload.parts.set(number, { body: held, info });
      if (effect === 'lost-answer') throw this.#unavailable(key);
      return info;
    },

    parts: async (key, uploadId, signal) => {
      await this.#meet('parts', key, signal);
      const held = [...(this.#upload(key, uploadId)?.parts.values() ?? [])].map(({ info }) => info);
      return this.#upload(key, uploadId) && held.sort((a, b) => a.number - b.number);
    },

    complete: async (key, uploadId, parts, signal) => {
      const effect = await this.#meet('complete', key, signal);
      const upload = this.#upload(key, uploadId);
      if (!upload) throw this.#unknownUpload(key);
      const bodies = parts.map(({ number, etag }) => {
        const part = upload.parts.get(number);
        if (part?.info.etag !== etag) throw new BlobCorruptError('A part is not as it was acknowledged.');
        return part.body;
      });
      this.put(key, Buffer.concat(bodies));
      this.#pending.delete(uploadId);
      if (effect === 'lost-answer') throw this.#unavailable(key);
      return this.settings.copies === undefined ? this.#receipt(key) : this.#copyReceipt(key);
    },

    abort: async (key, uploadId, signal) => {
      await this.#meet('abort', key, signal);
      if (this.#upload(key, uploadId)) this.#pending.delete(uploadId);
    },

    unfinished: async (prefix, signal) => {
      signal.throwIfAborted();
      if (!this.listsUploads) return undefined;
      return [...this.#pending]
        .map(([uploadId, { key }]) => ({ key, uploadId }))
        .filter(({ key }) => key.startsWith(prefix));
    },
  };

  /** Records the call and lets its fault, if one is due, happen; those that need the bytes are returned. */
  async #meet(call: Call, about: string, signal: AbortSignal): Promise<Effect | undefined> {
    signal.throwIfAborted();
    this.calls.push(`${call} ${about}`);
    const due = this.#faults.find((fault) => fault.call === call && fault.nth === 1);
    this.#faults = this.#faults
      .filter((fault) => fault !== due)
      .map((fault) => (fault.call === call ? { ...fault, nth: fault.nth - 1 } : fault));
    if (due?.effect === 'unavailable') throw this.#unavailable(about);
    if (due?.effect === 'forbidden') {
      throw new ConfigurationError('The store denies access.', { subject: this.#subject(about) });
    }
    if (due?.effect === 'hang') await aborted(signal);
    return due?.effect;
  }

  #received(key: string, body: Buffer, effect: Effect | undefined): Buffer {
    if (effect === 'flip') {
      throw new BlobCorruptError('The store received other bytes than were sent.', { subject: this.#subject(key) });
    }
    return effect === 'rot' ? flipped(body) : Buffer.from(body);
  }

  #upload(key: string, uploadId: string): Upload | undefined {
    const upload = this.#pending.get(uploadId);
    return upload?.key === key ? upload : undefined;
  }

  #etag(body: Buffer): string {
    const md5 = createHash('md5').update(body).digest('hex');
    return this.settings.md5Etags === false ? `${++this.#writes}-opaque` : md5;
  }

  #info(key: string): BlobInfo {
    return { key, length: this.blobs.get(key)!.length, etag: this.#etags.get(key)! };
  }

  #receipt(key: string): WriteReceipt {
    const checksum = showCrc32(crc32(this.blobs.get(key)!));
    return { created: true, etag: this.#etags.get(key)!, checksum, requestId: `request-${this.calls.length}` };
  }

  #subject(key: string): { store: string; key: string } {
    return { store: this.description, key };
  }

  #unavailable(key: string): UnavailableError {
    return new UnavailableError('The store did not answer.', { subject: this.#subject(key) });
  }

  #unknownUpload(key: string): BlobMissingError {
    return new BlobMissingError('The store knows no such upload.', { subject: this.#subject(key) });
  }
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)));
}

function flipped(body: Buffer): Buffer {
  const copy = Buffer.from(body);
  copy[Math.floor(copy.length / 3)]! ^= 4;
  return copy;
}
