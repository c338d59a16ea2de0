/** Listings come in pages: a promise for each of a million blobs would cost more than the blob's line. */
import { keyBelow } from './keys';
import type { BlobInfo, Store } from './store';

/** Ascending over all pages. Some may be empty. */
export type Pages<T> = AsyncIterable<readonly T[]>;

const PAGE = 1_000;

/** What a store lists, blob by blob or as the pages come. To be read once. */
export class Listing implements AsyncIterable<BlobInfo> {
  constructor(readonly pages: Pages<BlobInfo>) {}

  async *[Symbol.asyncIterator](): AsyncGenerator<BlobInfo> {
    for await (const page of this.pages) yield* page;
  }
}

/** What is below a base path, with keys relative to it. */
export async function* listed(
  { store, basePath }: { readonly store: Pick<Store, 'list'>; readonly basePath: string },
  signal: AbortSignal,
): AsyncGenerator<readonly BlobInfo[]> {
  const prefix = keyBelow(basePath, '');
  for await (const page of store.list(prefix, signal).pages) {
    yield prefix === '' ? page : page.map((info) => ({ ...info, key: info.key.slice(prefix.length) }));
  }
}

/** Of what comes one by one. */
export async function* inPages<T>(items: AsyncIterable<T>): AsyncGenerator<readonly T[]> {
  let page: T[] = [];
  for await (const item of items) {
    page.push(item);
    if (page.length < PAGE) continue;
    yield page;
    page = [];
  }
  yield page;
}
