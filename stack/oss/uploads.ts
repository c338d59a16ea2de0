// Multipart uploads on disk: a folder each, with the parts as files whose names tell everything about them, so that a
// restarted server knows them again.
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { OssError } from './errors';
import { compareKeys } from './order';
import { etagOf } from './storage';
import type { Staged, Storage, StoredObject } from './storage';

const MIN_PART_BYTES = 100 * 1024;
const ABOUT = 'upload.json';
const PART_NAME = /^(\d+)-([0-9A-F]{32})-(\d+)-(\d+)$/;

export interface Part {
  readonly number: number;
  readonly etag: string;
  readonly crc64: string;
  readonly size: number;
  readonly modifiedMs: number;
}

/** A part as Complete names it. */
export interface NamedPart {
  readonly number: number;
  readonly etag: string;
}

export interface About {
  readonly id: string;
  readonly bucket: string;
  readonly key: string;
  readonly initiatedMs: number;
  /** For the object that it becomes. */
  readonly headers: Readonly<Record<string, string>>;
}

/** Order of ListMultipartUploads. */
export function compareUploads(a: Pick<About, 'key' | 'id'>, b: Pick<About, 'key' | 'id'>): number {
  return compareKeys(a.key, b.key) || compareKeys(a.id, b.id);
}

class Upload {
  readonly parts = new Map<number, Part>();
  /** Set while it is completed, so that a second Complete waits for the first one's end. */
  completing: Promise<unknown> = Promise.resolve();

  constructor(
    readonly about: About,
    readonly folder: string,
  ) {}

  fileOf({ number, etag, crc64, size }: Part): string {
    return path.join(this.folder, `${number}-${etag}-${crc64}-${size}`);
  }
}

export interface CompleteOptions {
  /** Undefined for all parts that are there (`x-oss-complete-all: yes`). */
  readonly parts: readonly NamedPart[] | undefined;
  readonly forbidOverwrite: boolean;
  /** See faults.ts. */
  readonly flipByte?: number | undefined;
}

export class Uploads {
  private readonly all = new Map<string, Upload>();

  private constructor(private readonly storage: Storage) {}

  static async open(storage: Storage): Promise<Uploads> {
    const uploads = new Uploads(storage);
    for (const id of await readdir(storage.uploadsFolder)) await uploads.load(path.join(storage.uploadsFolder, id));
    return uploads;
  }

  private async load(folder: string): Promise<void> {
    const text = await readFile(path.join(folder, ABOUT), 'utf8').catch(() => undefined);
    if (text === undefined) return rm(folder, { recursive: true }); // nobody was told its id
    const upload = new Upload(JSON.parse(text) as About, folder);
    for (const name of await readdir(folder)) {
      const [, number, etag = '', crc64 = '', size] = PART_NAME.exec(name) ?? [];
      if (number === undefined) continue;
      const { mtimeMs } = await stat(path.join(folder, name));
      const part = { number: Number(number), etag, crc64, size: Number(size), modifiedMs: mtimeMs };
      const other = upload.parts.get(part.number); // left when the process ended between two steps of `put`
      if (other === undefined || other.modifiedMs < mtimeMs) upload.parts.set(part.number, part);
    }
    this.all.set(upload.about.id, upload);
  }

  async initiate(bucket: string, key: string, headers: About['headers']): Promise<string> {
    const id = randomBytes(16).toString('hex').toUpperCase();
    const about: About = { id, bucket, key, initiatedMs: Date.now(), headers };
    const upload = new Upload(about, path.join(this.storage.uploadsFolder, id));
    await mkdir(upload.folder, { mode: 0o700 });
    await writeFile(path.join(upload.folder, `${ABOUT}.new`), JSON.stringify(about));
    await rename(path.join(upload.folder, `${ABOUT}.new`), path.join(upload.folder, ABOUT));
    this.all.set(id, upload);
    return id;
  }

  /** Of a bucket, by key, then by id. */
  inBucket(bucket: string): About[] {
    const found = [...this.all.values()].map((upload) => upload.about).filter((about) => about.bucket === bucket);
    return found.sort(compareUploads);
  }

  /** Throws NoSuchUpload. */
  assertThere(bucket: string, key: string, id: string): void {
    this.find(bucket, key, id);
  }

  /** By number. Throws NoSuchUpload. */
  parts(bucket: string, key: string, id: string): Part[] {
    return [...this.find(bucket, key, id).parts.values()].sort((a, b) => a.number - b.number);
  }

  /** The same number again takes the place of the part before it. The staged bytes are gone in any case. */
  async put(bucket: string, key: string, id: string, number: number, staged: Staged): Promise<Part> {
    try {
      const upload = this.find(bucket, key, id);
      const { crc64, size } = staged;
      const part: Part = { number, etag: etagOf(staged), crc64, size, modifiedMs: Date.now() };
      await rename(staged.file, upload.fileOf(part));
      const former = upload.parts.get(number);
      upload.parts.set(number, part);
      if (former !== undefined && upload.fileOf(former) !== upload.fileOf(part)) {
        await rm(upload.fileOf(former), { force: true });
      }
      return part;
    } finally {
      await rm(staged.file, { force: true });
    }
  }

  async abort(bucket: string, key: string, id: string): Promise<void> {
    await this.remove(this.find(bucket, key, id));
  }

  /** The object, after which the upload is gone. Throws what OSS says of wrong lists, and FileAlreadyExists. */
  async complete(bucket: string, key: string, id: string, options: CompleteOptions): Promise<StoredObject> {
    const upload = this.find(bucket, key, id);
    const result = upload.completing
      .catch(() => undefined) // the one before us was told
      .then(() => this.assemble(this.find(bucket, key, id), options));
    upload.completing = result;
    return result;
  }

  private async assemble(upload: Upload, options: CompleteOptions): Promise<StoredObject> {
    const { about } = upload;
    const parts = chosen(upload, options.parts);
    const files = parts.map((part) => upload.fileOf(part));
    const staged = await this.storage.join(files, { flipByte: options.flipByte });
    // Opaque, as OSS's: no client may compute it.
    const etag = `${randomBytes(16).toString('hex').toUpperCase()}-${parts.length}`;
    const metadata = { etag, crc64: staged.crc64, type: 'Multipart' as const, headers: about.headers };
    const { forbidOverwrite } = options;
    const stored = await this.storage.publish(staged, about.bucket, about.key, { forbidOverwrite, metadata });
    await this.remove(upload);
    return stored;
  }

  private async remove(upload: Upload): Promise<void> {
    this.all.delete(upload.about.id);
    await rm(path.join(upload.folder, ABOUT), { force: true }); // first, so that a restart does not find half of it
    await rm(upload.folder, { recursive: true, force: true });
  }

  private find(bucket: string, key: string, id: string): Upload {
    const upload = this.all.get(id);
    if (upload?.about.bucket === bucket && upload.about.key === key) return upload;
    throw new OssError('NoSuchUpload', { details: { UploadId: id } });
  }
}

/** The parts of a list, checked: ascending numbers, all there with these ETags, none but the last below 100 KB. */
function chosen(upload: Upload, named: readonly NamedPart[] | undefined): Part[] {
  const list = named ?? [...upload.parts.values()].sort((a, b) => a.number - b.number);
  if (list.length === 0) throw new OssError('MalformedXML', { message: 'The list of parts is empty.' });
  const parts = list.map(({ number, etag }, at) => {
    if (number <= (list[at - 1]?.number ?? 0)) throw new OssError('InvalidPartOrder');
    const part = upload.parts.get(number);
    if (part?.etag === etag.toUpperCase()) return part;
    const details = { PartNumber: String(number), ETag: etag, UploadId: upload.about.id };
    throw new OssError('InvalidPart', { details });
  });
  const small = parts.slice(0, -1).find((part) => part.size < MIN_PART_BYTES);
  if (small === undefined) return parts;
  const details = { PartNumber: String(small.number), ProposedSize: String(small.size) };
  throw new OssError('EntityTooSmall', { details: { ...details, MinSizeAllowed: String(MIN_PART_BYTES) } });
}
