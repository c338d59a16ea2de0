import { below } from '../domain/names';
import { newestGeneration, parseRepositoryData } from '../repository';
import type { RepositoryData } from '../repository';
import type { Store } from '../storage/store';
import { readBytes } from './files';

/** Where a location's newest `index-N` lies. `index.latest` is not asked: it may be old where listing works. */
export async function newestGenerationKey(
  store: Store,
  basePath: string,
  signal: AbortSignal,
): Promise<{ readonly generation: number; readonly key: string } | undefined> {
  const keys: string[] = [];
  const prefix = below(basePath, '');
  for await (const { key } of store.list(`${prefix}index-`, signal)) keys.push(key.slice(prefix.length));
  const generation = newestGeneration(keys);
  return generation === undefined ? undefined : { generation, key: `${prefix}index-${generation}` };
}

/**
 * What the newest `index-N` of a location lists; `undefined` where there is none. Each snapshot deletes the `index-N`
 * before the last, so one that vanishes between listing and reading has a successor: it is looked for again.
 */
export async function newestRepositoryData(
  store: Store,
  basePath: string,
  signal: AbortSignal,
): Promise<RepositoryData | undefined> {
  for (;;) {
    const newest = await newestGenerationKey(store, basePath, signal);
    if (newest === undefined) return undefined;
    const bytes = await readBytes(store, newest.key, signal);
    if (bytes !== undefined) return parseRepositoryData(bytes, newest.generation);
  }
}
