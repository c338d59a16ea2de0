import { RepositoryChangedError } from '../domain/errors';
import { below } from '../domain/names';
import { newestGeneration, readRepositoryData } from '../repository';
import type { RepositoryData } from '../repository';
import type { Store } from '../storage/store';
import { readBytes } from './files';

/** Where a location's newest `index-N` lies. `index.latest` is not asked: it may be old where listing works. */
export async function newestGenerationKey(
  store: Store,
  basePath: string,
  signal: AbortSignal,
): Promise<{ readonly generation: number; readonly key: string } | undefined> {
  const generation = newestGeneration(await rootIndexKeys(store, basePath, signal));
  return generation === undefined ? undefined : { generation, key: below(basePath, `index-${generation}`) };
}

/**
 * What the newest `index-N` of a location lists; `undefined` where there is none. Each snapshot deletes the `index-N`
 * before the last, so one that vanishes between listing and reading has a successor: it is looked for again.
 *
 * Throws `ConfigurationError` for a repository of Elasticsearch 1.x or 2.x, and what `readRepositoryData` throws.
 */
export async function newestRepositoryData(
  store: Store,
  basePath: string,
  signal: AbortSignal,
): Promise<RepositoryData | undefined> {
  for (;;) {
    const keys = await rootIndexKeys(store, basePath, signal);
    if (newestGeneration(keys) === undefined && !keys.includes('index')) return undefined;
    try {
      return await readRepositoryData(keys, (key) => readBytes(store, below(basePath, key), signal));
    } catch (error) {
      if (!(error instanceof RepositoryChangedError)) throw error;
    }
  }
}

/**
 * The first of `snapshots` that an `index-N` does not list any more; undefined while all stand.
 * Every version writes `index-N` before it deletes blobs, so a deletion that runs shows in the newest.
 */
export function firstFallen<T extends { readonly name: string; readonly uuid: string }>(
  { snapshots: standing }: Pick<RepositoryData, 'snapshots'>,
  snapshots: readonly T[],
): T | undefined {
  const names = new Set(standing.map(({ name, uuid }) => `${name}/${uuid}`));
  return snapshots.find(({ name, uuid }) => !names.has(`${name}/${uuid}`));
}

/** `index-N`, `index.latest`, and the `index` of Elasticsearch 1.x and 2.x. The prefix leaves out `indices/`. */
export async function rootIndexKeys(store: Store, basePath: string, signal: AbortSignal): Promise<string[]> {
  const prefix = below(basePath, '');
  const keys: string[] = [];
  for await (const { key } of store.list(`${prefix}index`, signal)) keys.push(key.slice(prefix.length));
  return keys;
}
