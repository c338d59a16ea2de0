/**
 * A directory as a store: the repository of an `fs` snapshot registration, or the folder behind an S3 gateway.
 * Everything unfinished lies in `<root>/.snapferry-tmp/`, on the same file system (so that a rename publishes it) and
 * out of every listing. Files are 0644 and folders 0755, whatever the umask: another user's Elasticsearch reads them.
 */
import { randomUUID } from 'node:crypto';
import type { BigIntStats, Dirent } from 'node:fs';
import { constants } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import {
  chmod,
  link,
  lstat,
  mkdir,
  open,
  readFile,
  readdir,
  realpath,
  rename,
  rm,
  unlink,
  writeFile,
} from 'node:fs/promises';
import { dirname, join, relative, resolve, sep } from 'node:path';
import {
  BlobCorruptError,
  BlobMissingError,
  ConfigurationError,
  RepositoryChangedError,
  UnavailableError,
} from '../domain/errors';
import { crc32, showCrc32 } from './crc32';
import { compareKeys } from './keys';
import { inPages, Listing } from './listing';
import { Filling, memoryFor } from './memory';
import type { Payload } from './payload';
import type {
  BlobInfo,
  ReadOptions,
  ReadReceipt,
  Store,
  UploadedPart,
  Uploads,
  WriteOptions,
  WriteReceipt,
} from './store';

const TEMPORARY = '.snapferry-tmp';
const FILE_MODE = 0o644;
const FOLDER_MODE = 0o755;
/** Large enough that system calls do not show beside the checksum. */
const READ_BYTES = 1024 * 1024;
/** Nobody who still means to finish a file leaves it alone for so long. */
const FORGOTTEN_MS = 3_600_000;
const UPLOAD_ID = /^[0-9a-f-]{36}$/;

/** What the operator has to put right; every other code (EIO, ENOSPC, EMFILE, ESTALE, …) may pass by itself. */
const OPERATOR_CODES: Readonly<Record<string, string>> = {
  EACCES: 'The directory or a file in it may not be accessed: give the worker’s user the permission.',
  EPERM: 'The file system refuses the operation: give the worker’s user the permission.',
  EROFS: 'The file system is mounted read-only: mount it writable.',
  ENAMETOOLONG: 'The file system takes no name as long as this key.',
  EISDIR: 'There is a folder where this blob belongs: move it away.',
  EEXIST: 'There is a file or a link where a folder belongs: move it away.',
  ENOTDIR: 'There is a file where a folder belongs: move it away.',
  ENOENT: 'The directory of the store does not exist: create it, or correct its path.',
};

/** `path` is made absolute and must exist by the first call: a store never creates its own root. */
export function openDirectory(path: string): Store {
  return new DirectoryStore(resolve(path));
}

class DirectoryStore implements Store {
  readonly description: string;
  readonly hasFolders = true;
  readonly uploads: Uploads;

  constructor(private readonly root: string) {
    this.description = `dir:${root}`;
    this.uploads = new DirectoryUploads(this, join(root, TEMPORARY, 'uploads'));
  }

  list(prefix: string, signal: AbortSignal): Listing {
    return new Listing(inPages(this.listed(prefix, signal)));
  }

  private async *listed(prefix: string, signal: AbortSignal): AsyncGenerator<BlobInfo> {
    signal.throwIfAborted();
    await this.attempt(lstat(this.root), {});
    yield* this.walk('', prefix, signal);
  }

  async head(key: string, signal: AbortSignal): Promise<BlobInfo | undefined> {
    signal.throwIfAborted();
    const path = await this.existingPathOf(key);
    if (path === undefined) return undefined;
    const stats = await this.attempt(ifThere(lstat(path, { bigint: true })), { key });
    return stats?.isFile() ? infoOf(key, stats) : undefined;
  }

  async read(key: string, options: ReadOptions, signal: AbortSignal): Promise<ReadReceipt> {
    signal.throwIfAborted();
    const file = await this.openBlob(key);
    try {
      const stats = await this.attempt(file.stat({ bigint: true }), { key });
      if (!stats.isFile()) throw this.missing(key);
      if (options.ifMatch !== undefined && options.ifMatch !== etagOf(stats)) {
        throw new RepositoryChangedError('A blob was replaced while it was read.', { subject: this.subject(key) });
      }
      const offset = options.offset ?? 0;
      const length = options.length ?? Math.max(0, Number(stats.size) - offset);
      const buffers = memoryFor(length, options);
      await this.readRange(file, key, offset, buffers, signal);
      return { buffers, etag: etagOf(stats) };
    } finally {
      await file.close();
    }
  }

  async write(key: string, body: Payload, options: WriteOptions, signal: AbortSignal): Promise<WriteReceipt> {
    return this.publish(key, options, signal, async (file) => {
      for (const buffer of body.buffers) await file.writeFile(buffer, { signal });
      return body.crc32;
    });
  }

  async delete(key: string, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const path = await this.existingPathOf(key);
    if (path) await this.attempt(ifThere(unlink(path)), { key });
  }

  /**
   * Makes a file visible at `key` in one step. `fill` writes it and returns the CRC32 of what it meant to write; the
   * file is read back before it is published, so the receipt speaks of the bytes that are held. Until then it lies in
   * `folder`.
   */
  async publish(
    key: string,
    options: WriteOptions,
    signal: AbortSignal,
    fill: (file: FileHandle) => Promise<number>,
    folder = join(this.root, TEMPORARY),
  ): Promise<WriteReceipt> {
    signal.throwIfAborted();
    const path = this.pathOf(key);
    const temporary = join(folder, randomUUID());
    return this.attempt(
      (async () => {
        await this.makeFolders(dirname(temporary));
        await this.makeFolders(dirname(path));
        try {
          const { stats, crc } = await this.fillFile(temporary, key, signal, fill);
          signal.throwIfAborted();
          const created = await publishFile(temporary, path, options.ifAbsent === true);
          await syncFolder(dirname(path));
          const etag = etagOf(created ? stats : await lstat(path, { bigint: true }));
          return { created, etag, checksum: created ? showCrc32(crc) : undefined, requestId: undefined };
        } finally {
          await rm(temporary, { force: true });
        }
      })(),
      { key },
      signal,
    );
  }

  /** Temporary files that nobody has written to since. */
  async removeForgotten(sinceMs: number): Promise<void> {
    const folder = join(this.root, TEMPORARY);
    for (const entry of (await ifThere(readdir(folder, { withFileTypes: true }))) ?? []) {
      if (!entry.isFile()) continue;
      const file = join(folder, entry.name);
      const stats = await ifThere(lstat(file));
      if (stats !== undefined && stats.mtimeMs < sinceMs) await rm(file, { force: true });
    }
  }

  private async fillFile(
    path: string,
    key: string,
    signal: AbortSignal,
    fill: (file: FileHandle) => Promise<number>,
  ): Promise<{ stats: BigIntStats; crc: number }> {
    const file = await open(path, 'wx+', FILE_MODE);
    try {
      const wanted = await fill(file);
      await file.chmod(FILE_MODE);
      await file.sync();
      const stats = await file.stat({ bigint: true });
      let held = 0;
      const memory = Buffer.allocUnsafe(Math.min(READ_BYTES, Number(stats.size)));
      for (let offset = 0; offset < Number(stats.size); offset += memory.length) {
        const bytes = memory.subarray(0, Number(stats.size) - offset);
        await this.readRange(file, key, offset, [bytes], signal);
        held = crc32(bytes, held);
      }
      if (held !== wanted) {
        throw new BlobCorruptError('The file system holds other bytes than were written: check the disk.', {
          subject: { ...this.subject(key), wrote: showCrc32(wanted), held: showCrc32(held) },
        });
      }
      return { stats, crc: held };
    } finally {
      await file.close();
    }
  }

  /** Fills the buffers from `offset`; fewer bytes are an `UnavailableError`. */
  private async readRange(
    file: FileHandle,
    key: string,
    offset: number,
    buffers: readonly Buffer[],
    signal: AbortSignal,
  ): Promise<void> {
    const filling = new Filling(buffers);
    for (let rest = filling.rest(); rest.length > 0; rest = filling.rest()) {
      signal.throwIfAborted();
      const position = offset + filling.filled;
      const length = Math.min(READ_BYTES, rest.length);
      const { bytesRead } = await this.attempt(file.read(rest, 0, length, position), { key });
      if (bytesRead === 0) {
        throw new UnavailableError('A file ended before the bytes that were asked for.', {
          subject: { ...this.subject(key), received: position },
        });
      }
      filling.advance(bytesRead);
    }
  }

  /**
   * Depth first. A folder is ranked by its name with the slash, as its keys are: `a-b` comes before `a/b` because `-`
   * is less than `/`. One folder's names are in memory at a time, and those of the folders above it.
   */
  private async *walk(folder: string, prefix: string, signal: AbortSignal): AsyncGenerator<BlobInfo> {
    const entries = await this.attempt(ifThere(readdir(join(this.root, folder), { withFileTypes: true })), {
      key: folder,
    });
    for (const key of (entries ?? []).flatMap((entry) => keyOf(folder, entry)).sort(compareKeys)) {
      signal.throwIfAborted();
      if (!key.startsWith(prefix) && !(key.endsWith('/') && prefix.startsWith(key))) continue;
      if (key.endsWith('/')) {
        yield* this.walk(key, prefix, signal);
        continue;
      }
      // Deleted since the folder was read: no longer a blob.
      const stats = await this.attempt(ifThere(lstat(join(this.root, key), { bigint: true })), { key });
      if (stats) yield infoOf(key, stats);
    }
  }

  private async openBlob(key: string): Promise<FileHandle> {
    const path = await this.existingPathOf(key);
    // A symbolic link is no blob: it could lead out of the root.
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW;
    const file = path && (await this.attempt(ifThere(open(path, flags), 'ELOOP'), { key }));
    if (!file) throw this.missing(key);
    return file;
  }

  /** `undefined` when the folder of the key is not there, or lies behind a symbolic link, hence perhaps outside. */
  private async existingPathOf(key: string): Promise<string | undefined> {
    const path = this.pathOf(key);
    const realRoot = await this.attempt(realpath(this.root), { key });
    const realFolder = await this.attempt(ifThere(realpath(dirname(path))), { key });
    return realFolder === join(realRoot, dirname(key)) ? path : undefined;
  }

  /** `mkdir -p` below the root, which must exist, with the mode that the umask may take away; through no links. */
  async makeFolders(path: string): Promise<void> {
    await lstat(this.root);
    let folder = this.root;
    for (const name of relative(this.root, path).split(sep).filter(Boolean)) {
      folder = join(folder, name);
      if (await makeFolder(folder)) await chmod(folder, FOLDER_MODE);
    }
  }

  /** The file of a key. Refuses keys that no listing could ever give, above all those that lead out of the root. */
  pathOf(key: string): string {
    const segments = key.split('/');
    const isStrange = segments.some((segment) => segment === '' || segment === '.' || segment === '..');
    if (isStrange || segments[0] === TEMPORARY || key.includes('\0') || (sep !== '/' && key.includes(sep))) {
      throw new ConfigurationError('This key can not be a file below a directory: move it away, or name a bucket.', {
        subject: this.subject(key),
      });
    }
    return join(this.root, ...segments);
  }

  missing(key: string): BlobMissingError {
    return new BlobMissingError('A blob is not in the directory.', { subject: this.subject(key) });
  }

  subject(key: string | undefined): { store: string; key: string | undefined } {
    return { store: this.description, key };
  }

  /** Lets our own errors and an abort through and puts the file system's into our words. */
  async attempt<T>(operation: Promise<T>, about: { key?: string }, signal?: AbortSignal): Promise<T> {
    try {
      return await operation;
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      const code = codeOf(error);
      if (code === undefined) throw error;
      const options = { subject: { ...this.subject(about.key), code }, cause: error };
      const advice = OPERATOR_CODES[code];
      if (advice !== undefined) throw new ConfigurationError(advice, options);
      if (code === 'ENOSPC') throw new UnavailableError('The disk is full: make room.', options);
      throw new UnavailableError('The file system did not do what it was asked.', options);
    }
  }
}

/** Each upload is a folder: the file `key` names what it is for, and each part is a file under its number. */
class DirectoryUploads implements Uploads {
  readonly minPartBytes = 1;

  constructor(
    private readonly store: DirectoryStore,
    private readonly folder: string,
  ) {}

  async begin(key: string, signal: AbortSignal): Promise<string> {
    signal.throwIfAborted();
    this.store.pathOf(key);
    const uploadId = randomUUID();
    const folder = join(this.folder, uploadId);
    const make = async () => {
      await this.store.makeFolders(folder);
      await writeFile(join(folder, 'key'), key, { mode: FILE_MODE });
    };
    await this.store.attempt(orRemove(folder, make()), { key });
    return uploadId;
  }

  async part(key: string, uploadId: string, number: number, body: Payload, signal: AbortSignal): Promise<UploadedPart> {
    signal.throwIfAborted();
    const folder = await this.folderOf(key, uploadId);
    if (folder === undefined) throw this.unknown(key, uploadId);
    const temporary = join(folder, randomUUID());
    const write = async () => {
      await writeFile(temporary, body.buffers, { mode: FILE_MODE, flush: true, signal });
      await rename(temporary, join(folder, String(number)));
      return partOf(number, await lstat(join(folder, String(number)), { bigint: true }));
    };
    return this.store.attempt(orRemove(temporary, write()), { key }, signal);
  }

  async parts(key: string, uploadId: string, signal: AbortSignal): Promise<readonly UploadedPart[] | undefined> {
    signal.throwIfAborted();
    const folder = await this.folderOf(key, uploadId);
    if (folder === undefined) return undefined;
    const list = async () => {
      const numbers = (await readdir(folder)).filter((name) => /^[0-9]+$/.test(name)).map(Number);
      numbers.sort((a, b) => a - b);
      return Promise.all(
        numbers.map(async (number) => partOf(number, await lstat(join(folder, String(number)), { bigint: true }))),
      );
    };
    return this.store.attempt(ifThere(list()), { key });
  }

  async complete(
    key: string,
    uploadId: string,
    parts: readonly UploadedPart[],
    signal: AbortSignal,
  ): Promise<WriteReceipt> {
    const folder = await this.folderOf(key, uploadId);
    const held = await this.parts(key, uploadId, signal);
    if (folder === undefined || held === undefined) throw this.unknown(key, uploadId);
    const byNumber = new Map(held.map((part) => [part.number, part.etag]));
    const wrong = parts.find((part) => byNumber.get(part.number) !== part.etag);
    if (wrong) {
      throw new BlobCorruptError('A part of an upload is not as it was acknowledged.', {
        subject: { ...this.store.subject(key), part: wrong.number },
      });
    }
    const fill = async (target: FileHandle) => {
      let crc = 0;
      for (const part of parts) crc = await append(target, join(folder, String(part.number)), crc, signal);
      return crc;
    };
    // Among its parts: what is left of it when the process is killed goes with them.
    const receipt = await this.store.publish(key, {}, signal, fill, folder);
    await this.abort(key, uploadId, signal);
    return receipt;
  }

  async abort(key: string, uploadId: string, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const folder = await this.folderOf(key, uploadId);
    if (folder !== undefined) await this.store.attempt(rm(folder, { recursive: true, force: true }), { key });
  }

  async unfinished(prefix: string, signal: AbortSignal): Promise<readonly { key: string; uploadId: string }[]> {
    signal.throwIfAborted();
    const uploadIds = (await this.store.attempt(ifThere(readdir(this.folder)), {})) ?? [];
    const uploads: { key: string; uploadId: string }[] = [];
    for (const uploadId of uploadIds) {
      const key = await this.keyOf(uploadId);
      if (key?.startsWith(prefix)) uploads.push({ key, uploadId });
    }
    return uploads.sort((a, b) => compareKeys(a.key, b.key));
  }

  async sweep(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    await this.store.attempt(this.store.removeForgotten(Date.now() - FORGOTTEN_MS), {});
  }

  /** `undefined` when there is no such upload, or it is another key's. */
  private async folderOf(key: string, uploadId: string): Promise<string | undefined> {
    return (await this.keyOf(uploadId)) === key ? join(this.folder, uploadId) : undefined;
  }

  private async keyOf(uploadId: string): Promise<string | undefined> {
    if (!UPLOAD_ID.test(uploadId)) return undefined;
    return this.store.attempt(ifThere(readFile(join(this.folder, uploadId, 'key'), 'utf8')), {});
  }

  private unknown(key: string, uploadId: string): BlobMissingError {
    return new BlobMissingError('The directory knows no such upload: it was completed or aborted.', {
      subject: { ...this.store.subject(key), uploadId },
    });
  }
}

/** Half of what did not work keeps the room that the next attempt needs. */
async function orRemove<T>(path: string, made: Promise<T>): Promise<T> {
  try {
    return await made;
  } catch (error) {
    await rm(path, { recursive: true, force: true });
    throw error;
  }
}

/** False when it was there. What is there but no folder, such as a link, is the operator's to put right. */
async function makeFolder(path: string): Promise<boolean> {
  try {
    await mkdir(path);
    return true;
  } catch (error) {
    if (codeOf(error) !== 'EEXIST' || !(await lstat(path)).isDirectory()) throw error;
    return false;
  }
}

/** False when `ifAbsent` and another file got there first: `link`, unlike `rename`, never replaces. */
async function publishFile(temporary: string, path: string, ifAbsent: boolean): Promise<boolean> {
  if (!ifAbsent) {
    await rename(temporary, path);
    return true;
  }
  try {
    await link(temporary, path);
    return true;
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false;
    throw error;
  }
}

/** The new name outlives a power cut only when its folder is on the disk too. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, constants.O_RDONLY);
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

async function append(target: FileHandle, path: string, before: number, signal: AbortSignal): Promise<number> {
  const part = await open(path, constants.O_RDONLY);
  let crc = before;
  try {
    for await (const bytes of part.createReadStream({ autoClose: false, highWaterMark: READ_BYTES, signal })) {
      crc = crc32(bytes as Buffer, crc);
      await target.writeFile(bytes as Buffer);
    }
  } finally {
    await part.close();
  }
  return crc;
}

/** Folders with their slash; nothing for links and devices, and for our own unfinished files. */
function keyOf(folder: string, entry: Dirent): string[] {
  if (entry.isFile()) return [folder + entry.name];
  const isOurs = folder === '' && entry.name === TEMPORARY;
  return entry.isDirectory() && !isOurs ? [`${folder}${entry.name}/`] : [];
}

function infoOf(key: string, stats: BigIntStats): BlobInfo {
  return { key, length: Number(stats.size), etag: etagOf(stats) };
}

function partOf(number: number, stats: BigIntStats): UploadedPart {
  return { number, length: Number(stats.size), etag: etagOf(stats) };
}

/** We replace files whole, hence a new inode; others' changes in place show in size or time. */
function etagOf(stats: BigIntStats): string {
  return [stats.size, stats.mtimeNs, stats.ino].map((number) => number.toString(16)).join('-');
}

/** `undefined` where the file is not there: nothing under that name, or under a name that is a file's. */
async function ifThere<T>(operation: Promise<T>, ...moreCodes: string[]): Promise<T | undefined> {
  try {
    return await operation;
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', ...moreCodes].includes(codeOf(error) ?? '')) return undefined;
    throw error;
  }
}

/** The code of a system error (`ENOENT`); `undefined` for any other error. */
function codeOf(error: unknown): string | undefined {
  const { code, syscall } = error as { code?: unknown; syscall?: unknown };
  return typeof code === 'string' && typeof syscall === 'string' ? code : undefined;
}
