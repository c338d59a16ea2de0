// Keys of a folder in the order of a listing, without walking what lies before the marker or inside a common prefix.
import type { Dirent } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { compareKeys } from './order';

/** Entries of a folder that was changed this recently are read again: a clock tick may hide a second change. */
const SETTLED_MS = 100;
/** Names kept in memory, over all folders; some 100 bytes each. */
const MAX_REMEMBERED = 2_000_000;

export interface ListQuery {
  readonly prefix: string;
  readonly delimiter: string;
  /** Keys after this one; a common prefix that equals it was listed already. */
  readonly after: string;
  /** Keys and common prefixes together. */
  readonly limit: number;
}

export interface ListPage {
  readonly keys: readonly string[];
  readonly commonPrefixes: readonly string[];
  /** The last entry of a page that is not the last one. */
  readonly next: string | undefined;
}

/** Keys in order, without those to be skipped. */
export interface KeySource {
  /** `skip` is asked before each key and, named with its slash, each folder: a folder is then not entered. */
  keys(prefix: string, skip: (keyOrFolder: string) => boolean): AsyncIterable<string>;
}

/** One page, as both versions of ListObjects cut it. */
export async function listPage(source: KeySource, query: ListQuery): Promise<ListPage> {
  const { prefix, delimiter, after, limit } = query;
  const keys: string[] = [];
  const commonPrefixes: string[] = [];
  /** The common prefix that was listed last: nothing below it is wanted any more. */
  let closed = groupOf(after, prefix, delimiter) === after ? after : undefined;
  const skip = (name: string) =>
    (compareKeys(name, after) <= 0 && !(name.endsWith('/') && after.startsWith(name))) ||
    (closed !== undefined && name.startsWith(closed));
  let last = '';
  for await (const key of source.keys(prefix, skip)) {
    if (compareKeys(key, after) <= 0) continue; // a folder that the marker lies in
    if (keys.length + commonPrefixes.length === limit) return { keys, commonPrefixes, next: last };
    const group = groupOf(key, prefix, delimiter);
    if (group === undefined) keys.push(key);
    else commonPrefixes.push((closed = group));
    last = group ?? key;
  }
  return { keys, commonPrefixes, next: undefined };
}

/** The common prefix that a key is listed as, if any. */
export function groupOf(key: string, prefix: string, delimiter: string): string | undefined {
  if (delimiter === '') return undefined;
  const at = key.indexOf(delimiter, prefix.length);
  return at < 0 ? undefined : key.slice(0, at + delimiter.length);
}

interface Wanted {
  readonly prefix: string;
  readonly skip: (keyOrFolder: string) => boolean;
  readonly isObject: (folderKey: string) => boolean;
}

/** Files below folders, with what each folder held while its modification time stays the same. */
export class Folders {
  private readonly remembered = new Map<string, { readonly mtimeNs: bigint; readonly names: readonly string[] }>();
  private count = 0;

  /** The files below a folder as keys, and folders that are objects themselves. What vanishes meanwhile is left out. */
  below(root: string, isObject: (folderKey: string) => boolean = () => false): KeySource {
    return { keys: (prefix, skip) => this.walk(root, '', { prefix, skip, isObject }) };
  }

  private async *walk(folder: string, base: string, wanted: Wanted): AsyncGenerator<string> {
    const { prefix, skip, isObject } = wanted;
    for (const name of await this.namesIn(folder)) {
      const key = base + name;
      const isFolder = name.endsWith('/');
      const isBelow = key.startsWith(prefix);
      if (!(isBelow || (isFolder && prefix.startsWith(key))) || skip(key)) continue;
      if (!isFolder || (isBelow && isObject(key))) yield key;
      if (isFolder && !skip(key)) yield* this.walk(path.join(folder, name), key, wanted);
    }
  }

  /** Files and, with a slash at the end, folders, in key order; empty when the folder is gone. */
  private async namesIn(folder: string): Promise<readonly string[]> {
    const { mtimeNs } = (await stat(folder, { bigint: true }).catch(() => undefined)) ?? {};
    if (mtimeNs === undefined) return [];
    const remembered = this.remembered.get(folder);
    if (remembered?.mtimeNs === mtimeNs) return remembered.names;
    const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
    const names = entries.flatMap(nameOf).sort(compareKeys);
    if (Date.now() - Number(mtimeNs / 1_000_000n) > SETTLED_MS) this.remember(folder, mtimeNs, names);
    return names;
  }

  private remember(folder: string, mtimeNs: bigint, names: readonly string[]): void {
    this.count += names.length - (this.remembered.get(folder)?.names.length ?? 0);
    this.remembered.set(folder, { mtimeNs, names });
    if (this.count <= MAX_REMEMBERED) return;
    this.remembered.clear();
    this.count = 0;
  }
}

/** Links and the like are no objects. */
function nameOf(entry: Dirent): string[] {
  if (entry.isFile()) return [entry.name];
  return entry.isDirectory() ? [`${entry.name}/`] : [];
}
