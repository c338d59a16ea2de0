// Buckets and objects as folders and files: key `a/b` of bucket `B` is `<root>/B/a/b`, also when somebody else, as a
// node with an `fs` repository, wrote it. What is ours lies in `<root>/.oss`: no bucket can be called so, and it is on
// the file system of the buckets, so that a rename publishes a whole file. A key with a slash at its end, which clients
// put for a folder, is an empty object: the folder, when a record says that somebody put it.
import { randomUUID } from 'node:crypto';
import type { BigIntStats } from 'node:fs';
import { link, lstat, mkdir, open, readdir, rename, rm, rmdir, unlink } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { AllSettings } from './bucket-settings';
import { checksumsOf, chunksOf, startChecksums } from './checksums';
import type { Checksums } from './checksums';
import { OssError } from './errors';
import { Folders, listPage } from './listing';
import type { KeySource } from './listing';
import { Records } from './records';
import type { Metadata } from './records';

const OWN_FOLDER = '.oss';
const MAX_KEY_BYTES = 1023;
/** The limit of a name on all usual file systems. */
const MAX_SEGMENT_BYTES = 255;
const BUCKET_NAME = /^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$/;
/** Both sides read, write and delete: see stack/sharing.ts. */
const FILE_MODE = 0o666;
const FOLDER_MODE = 0o777;
const OWN_FOLDER_MODE = 0o700;
/** Between two looks at a path, a node may make or remove a folder; it does not do so for ever. */
const PUBLISH_ATTEMPTS = 10;

/** An object opened for reading; the caller closes the file. */
export interface OpenObject {
  readonly file: FileHandle;
  readonly size: number;
  readonly modifiedMs: number;
  readonly metadata: Metadata;
}

export interface StoredObject {
  readonly key: string;
  readonly size: number;
  readonly modifiedMs: number;
  readonly metadata: Metadata;
}

/** Bytes on disk under no key yet. */
export interface Staged extends Checksums {
  readonly file: string;
}

export interface StageOptions {
  /** Base64, as in Content-MD5: other bytes are refused with InvalidDigest. */
  readonly contentMd5?: string | undefined;
  /** The byte that is damaged once the checksums are known; see faults.ts. */
  readonly flipByte?: number | undefined;
}

export interface PublishOptions {
  readonly forbidOverwrite: boolean;
  readonly metadata: Metadata;
}

export class Storage {
  private readonly folders = new Folders();
  /** Checksums under way, so that many readers of one new file cost one pass. */
  private readonly computing = new Map<string, Promise<Metadata>>();

  private constructor(
    private readonly root: string,
    private readonly records: Records,
    readonly settings: AllSettings,
  ) {}

  /** Creates the root when it is missing; what an earlier process left unfinished, except uploads, goes. */
  static async open(root: string): Promise<Storage> {
    await mkdir(root, { recursive: true, mode: FOLDER_MODE });
    const own = path.join(root, OWN_FOLDER);
    await rm(path.join(own, 'staging'), { recursive: true, force: true });
    for (const name of ['staging', 'uploads']) {
      await mkdir(path.join(own, name), { recursive: true, mode: OWN_FOLDER_MODE });
    }
    const settings = await AllSettings.open(path.join(own, 'buckets.json'));
    return new Storage(root, await Records.open(path.join(own, 'objects.jsonl')), settings);
  }

  /** Where unfinished uploads survive a restart. */
  get uploadsFolder(): string {
    return path.join(this.root, OWN_FOLDER, 'uploads');
  }

  async buckets(): Promise<{ readonly name: string; readonly createdMs: number }[]> {
    const entries = await readdir(this.root, { withFileTypes: true });
    const names = entries.filter((entry) => entry.isDirectory() && BUCKET_NAME.test(entry.name));
    return Promise.all(
      names
        .map(({ name }) => name)
        .sort()
        .map(async (name) => ({ name, createdMs: await this.createdMs(name) })),
    );
  }

  /** When the bucket was made. Throws NoSuchBucket, InvalidBucketName. */
  async createdMs(bucket: string): Promise<number> {
    const found = await ifThere(lstat(this.folderOf(bucket)));
    if (!found?.isDirectory()) throw new OssError('NoSuchBucket', { details: { BucketName: bucket } });
    return found.birthtimeMs;
  }

  /** Making one's own bucket again changes nothing. */
  async makeBucket(bucket: string): Promise<void> {
    await mkdir(this.folderOf(bucket), { recursive: true, mode: FOLDER_MODE });
  }

  /** Throws BucketNotEmpty while there are objects; empty folders are none. */
  async removeBucket(bucket: string): Promise<void> {
    const { keys } = await listPage(await this.keys(bucket), { prefix: '', delimiter: '', after: '', limit: 1 });
    if (keys.length === 0 && (await removeEmptyTree(this.folderOf(bucket)))) return this.settings.forget(bucket);
    throw new OssError('BucketNotEmpty', { details: { BucketName: bucket } });
  }

  /** Throws NoSuchKey and NoSuchBucket. */
  async read(bucket: string, key: string): Promise<OpenObject> {
    const absent = new OssError('NoSuchKey', { details: { Key: key } });
    const location = this.fileOf(bucket, key);
    const file = location === undefined ? undefined : await ifThere(open(location, 'r'));
    if (file === undefined) {
      await this.createdMs(bucket);
      throw absent;
    }
    try {
      const stats = await file.stat({ bigint: true });
      if (!this.isObject(`${bucket}/${key}`, stats)) throw absent;
      return { file, ...sizeAndTime(stats), metadata: await this.metadataOf(`${bucket}/${key}`, file, stats) };
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** The same without its bytes, or undefined when nothing is there. */
  async look(bucket: string, key: string): Promise<StoredObject | undefined> {
    const stats = await this.statsOf(bucket, key);
    if (stats === undefined) return undefined;
    const metadata = this.records.find(`${bucket}/${key}`, stats);
    if (metadata !== undefined) return { key, ...sizeAndTime(stats), metadata };
    const opened = await this.read(bucket, key).catch((error: unknown) => {
      if (error instanceof OssError) return undefined; // deleted meanwhile
      throw error;
    });
    await opened?.file.close();
    return opened === undefined ? undefined : { key, ...opened };
  }

  /** Keys in listing order. Throws NoSuchBucket. */
  async keys(bucket: string): Promise<KeySource> {
    await this.createdMs(bucket);
    const isPut = (key: string) => this.records.has(`${bucket}/${key}`);
    return this.folders.below(this.folderOf(bucket), isPut);
  }

  /** Idempotent. Throws NoSuchBucket. */
  async delete(bucket: string, key: string): Promise<void> {
    await this.createdMs(bucket);
    const stats = await this.statsOf(bucket, key);
    if (stats?.isFile()) await ifThere(unlink(this.fileOf(bucket, key) ?? ''));
    if (stats !== undefined) await this.records.delete(`${bucket}/${key}`);
  }

  /** Throws InvalidObjectName for a key that cannot be a file here, NoSuchBucket. */
  async assertWritable(bucket: string, key: string): Promise<void> {
    if (this.fileOf(bucket, key) === undefined) {
      const message =
        'This server keeps objects as files: a key has no empty, "." or ".." segment, none over 255 bytes.';
      throw new OssError('InvalidObjectName', { message, details: { ObjectName: key } });
    }
    await this.createdMs(bucket);
  }

  /** Whether an object is there now; deciding on it is `publish`'s, atomically. */
  async exists(bucket: string, key: string): Promise<boolean> {
    return (await this.statsOf(bucket, key)) !== undefined;
  }

  /** Bytes to a file of their own; nothing is left of them when their source fails. */
  async stage(source: AsyncIterable<Buffer>, { contentMd5, flipByte }: StageOptions): Promise<Staged> {
    const location = path.join(this.root, OWN_FOLDER, 'staging', randomUUID());
    const file = await open(location, 'wx+', FILE_MODE);
    try {
      const checksums = await startChecksums();
      for await (const chunk of source) {
        checksums.update(chunk);
        await file.writeFile(chunk); // at the current position, until all is written
      }
      const sums = checksums.end();
      if (contentMd5 !== undefined && contentMd5 !== sums.md5.toString('base64')) throw new OssError('InvalidDigest');
      if (flipByte !== undefined && flipByte < sums.size) await flip(file, flipByte);
      return { file: location, ...sums };
    } catch (error) {
      await rm(location, { force: true });
      throw error;
    } finally {
      await file.close();
    }
  }

  /** Several files as one. */
  async join(files: readonly string[], options: StageOptions): Promise<Staged> {
    return this.stage(bytesOf(files), options);
  }

  /**
   * Makes staged bytes visible in one step, or throws and removes them: FileAlreadyExists when something is there and
   * that is forbidden, of two at once for exactly one.
   */
  async publish(staged: Staged, bucket: string, key: string, options: PublishOptions): Promise<StoredObject> {
    try {
      const location = this.fileOf(bucket, key) ?? '';
      if (key.endsWith('/')) return await this.publishFolder(staged, location, bucket, key, options);
      const stats = await lstat(staged.file, { bigint: true });
      await this.place(staged.file, location, options.forbidOverwrite);
      await this.records.set(`${bucket}/${key}`, stats, options.metadata);
      return { key, ...sizeAndTime(stats), metadata: options.metadata };
    } finally {
      await rm(staged.file, { force: true });
    }
  }

  private async publishFolder(
    staged: Staged,
    location: string,
    bucket: string,
    key: string,
    { forbidOverwrite, metadata }: PublishOptions,
  ): Promise<StoredObject> {
    if (staged.size > 0) {
      throw new OssError('InvalidObjectName', {
        message: 'This server keeps objects as files: a folder holds no bytes.',
      });
    }
    if (forbidOverwrite && (await this.exists(bucket, key))) throw new OssError('FileAlreadyExists');
    await makeFolder(location);
    const stats = await lstat(location, { bigint: true });
    await this.records.set(`${bucket}/${key}`, stats, metadata);
    return { key, ...sizeAndTime(stats), metadata };
  }

  private async place(staged: string, location: string, forbidOverwrite: boolean): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        if (forbidOverwrite) await link(staged, location);
        else await rename(staged, location);
        return;
      } catch (error) {
        if (attempt === PUBLISH_ATTEMPTS) throw error;
        await this.makeWay(location, error as NodeJS.ErrnoException);
      }
    }
  }

  /** Returns when another attempt may succeed. */
  private async makeWay(location: string, { code }: NodeJS.ErrnoException): Promise<void> {
    if (code === 'ENOENT') return makeFolder(path.dirname(location));
    if (code === 'ENOTDIR') throw isTaken();
    const isFolder = (await ifThere(lstat(location)))?.isDirectory() ?? false;
    if (code === 'EEXIST' && !isFolder) throw new OssError('FileAlreadyExists');
    if (isFolder && !(await removeEmptyTree(location))) throw isTaken();
  }

  /** Of what is an object under this key. */
  private async statsOf(bucket: string, key: string): Promise<BigIntStats | undefined> {
    const location = this.fileOf(bucket, key);
    const stats = location === undefined ? undefined : await ifThere(lstat(location, { bigint: true }));
    return stats !== undefined && this.isObject(`${bucket}/${key}`, stats) ? stats : undefined;
  }

  private isObject(name: string, stats: BigIntStats): boolean {
    return name.endsWith('/') ? this.records.find(name, stats) !== undefined && stats.isDirectory() : stats.isFile();
  }

  private folderOf(bucket: string): string {
    if (!BUCKET_NAME.test(bucket)) throw new OssError('InvalidBucketName', { details: { BucketName: bucket } });
    return path.join(this.root, bucket);
  }

  /** Undefined for a key that no file can have; throws InvalidObjectName for one that OSS does not allow either. */
  private fileOf(bucket: string, key: string): string | undefined {
    if (/^[/\\]/.test(key) || Buffer.byteLength(key) > MAX_KEY_BYTES) {
      throw new OssError('InvalidObjectName', { details: { ObjectName: key } });
    }
    const segments = key.replace(/\/$/, '').split('/');
    const isFile = segments.every(
      (one) => !['', '.', '..'].includes(one) && !one.includes('\0') && Buffer.byteLength(one) <= MAX_SEGMENT_BYTES,
    );
    return isFile ? path.join(this.folderOf(bucket), ...segments) : undefined;
  }

  /** As recorded when it was written here, else computed once for each state of the file. */
  private async metadataOf(name: string, file: FileHandle, stats: BigIntStats): Promise<Metadata> {
    const known = this.records.find(name, stats);
    if (known !== undefined) return known;
    const id = `${name} ${stats.ino} ${stats.size} ${stats.mtimeNs}`;
    const running = this.computing.get(id) ?? this.compute(name, file, stats).finally(() => this.computing.delete(id));
    this.computing.set(id, running);
    return running;
  }

  private async compute(name: string, file: FileHandle, stats: BigIntStats): Promise<Metadata> {
    const sums = await checksumsOf(file);
    const metadata: Metadata = { etag: etagOf(sums), crc64: sums.crc64, type: 'Normal', headers: {} };
    if (BigInt(sums.size) === stats.size) await this.records.set(name, stats, metadata);
    return metadata;
  }
}

/** ETag of an object or part that was sent in one request. */
export function etagOf(sums: Checksums): string {
  return sums.md5.toString('hex').toUpperCase();
}

function sizeAndTime(stats: BigIntStats): { size: number; modifiedMs: number } {
  return { size: stats.isDirectory() ? 0 : Number(stats.size), modifiedMs: Number(stats.mtimeMs) };
}

function isTaken(): OssError {
  const message = 'This server keeps objects as files: a key cannot be both an object and the folder of another one.';
  return new OssError('InvalidObjectName', { message });
}

async function makeFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: FOLDER_MODE }).catch((error: NodeJS.ErrnoException) => {
    throw error.code === 'EEXIST' || error.code === 'ENOTDIR' ? isTaken() : error;
  });
}

/** Absent is what a path that leads nowhere is, too. */
async function ifThere<T>(answer: Promise<T>): Promise<T | undefined> {
  return answer.catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined;
    throw error;
  });
}

/** Removes folders that hold nothing but folders; false, and some may be gone, when there is a file. */
async function removeEmptyTree(folder: string): Promise<boolean> {
  const entries = (await ifThere(readdir(folder, { withFileTypes: true }))) ?? [];
  for (const entry of entries) {
    if (!entry.isDirectory() || !(await removeEmptyTree(path.join(folder, entry.name)))) return false;
  }
  return rmdir(folder).then(
    () => true,
    (error: NodeJS.ErrnoException) => error.code === 'ENOENT',
  );
}

async function* bytesOf(files: readonly string[]): AsyncGenerator<Buffer> {
  for (const location of files) {
    const file = await open(location, 'r');
    try {
      yield* chunksOf(file);
    } finally {
      await file.close();
    }
  }
}

async function flip(file: FileHandle, at: number): Promise<void> {
  const byte = Buffer.alloc(1);
  await file.read(byte, 0, 1, at);
  byte[0] = (byte[0] ?? 0) ^ 1;
  await file.write(byte, 0, 1, at);
}
