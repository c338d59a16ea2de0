import { createHash } from 'node:crypto';
import { BlobMissingError, BlobCorruptError } from '../domain/errors';
import { nameFromKey } from '../domain/names';
import { payload, readWhole } from '../storage';
import type { Store } from '../storage';

/** Work files and evidence: JSON in the work prefix of the target store. Written whole; a reader never sees half. */

export function digestOf(bytes: Buffer | string): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** `undefined` when there is no such file. Throws what `readWhole` throws: most of these files have no checksum inside. */
export async function readBytes(store: Store, key: string, signal: AbortSignal): Promise<Buffer | undefined> {
  try {
    return await readWhole(store, key, signal);
  } catch (error) {
    if (error instanceof BlobMissingError) return undefined;
    throw error;
  }
}

/** `undefined` when there is no such file. Throws `BlobCorruptError` when it is not JSON, or not of `digest`. */
export async function readJson<T>(
  store: Store,
  key: string,
  signal: AbortSignal,
  digest?: string,
): Promise<T | undefined> {
  const bytes = await readBytes(store, key, signal);
  if (bytes === undefined) return undefined;
  if (digest !== undefined && digestOf(bytes) !== digest) {
    throw new BlobCorruptError('A work file is not the one this migration wrote: restore it or abort the migration', {
      subject: { store: store.description, key },
    });
  }
  return parse<T>(bytes.toString('utf8'), store, key);
}

/** As `readJson`, for a file that must be there. */
export async function requireJson<T>(store: Store, key: string, signal: AbortSignal, digest?: string): Promise<T> {
  const value = await readJson<T>(store, key, signal, digest);
  if (value === undefined) {
    throw new BlobMissingError('A work file of this migration is gone: it must not be removed while it runs', {
      subject: { store: store.description, key },
    });
  }
  return value;
}

export async function writeJson(
  store: Store,
  key: string,
  value: unknown,
  signal: AbortSignal,
): Promise<{ readonly digest: string }> {
  const bytes = Buffer.from(`${JSON.stringify(value, null, 1)}\n`);
  await store.write(key, payload(bytes), {}, signal);
  return { digest: digestOf(bytes) };
}

/** Of the files `<name>.json` below `folder`, a key that ends with a slash: their names, as `nameInKey` was given them. */
export async function namesBelow(store: Store, folder: string, signal: AbortSignal): Promise<string[]> {
  const names: string[] = [];
  for await (const { key } of store.list(folder, signal)) {
    names.push(nameFromKey(key.slice(folder.length).replace(/\.json$/, '')));
  }
  return names;
}

/** Writes only when nothing is there; `created` is false when something is. */
export async function createJson(store: Store, key: string, value: unknown, signal: AbortSignal): Promise<boolean> {
  const bytes = Buffer.from(`${JSON.stringify(value, null, 1)}\n`);
  const receipt = await store.write(key, payload(bytes), { ifAbsent: true }, signal);
  return receipt.created;
}

export async function writeJsonLines(
  store: Store,
  key: string,
  values: readonly unknown[],
  signal: AbortSignal,
): Promise<{ readonly digest: string }> {
  const bytes = Buffer.from(values.map((value) => `${JSON.stringify(value)}\n`).join(''));
  await store.write(key, payload(bytes), {}, signal);
  return { digest: digestOf(bytes) };
}

/** Empty when there is no such file. */
export async function readJsonLines<T>(store: Store, key: string, signal: AbortSignal): Promise<T[]> {
  const bytes = await readBytes(store, key, signal);
  if (bytes === undefined) return [];
  return bytes
    .toString('utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => parse<T>(line, store, key));
}

function parse<T>(text: string, store: Store, key: string): T {
  try {
    return JSON.parse(text) as T;
  } catch (cause) {
    throw new BlobCorruptError('A work file is not JSON', { subject: { store: store.description, key }, cause });
  }
}
