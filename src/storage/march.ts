/** Two listings walked side by side, a page of each in memory. */
import { ConfigurationError } from '../domain/errors';
import { compareKeys } from './keys';
import type { Pages } from './listing';

/** One key with what each side holds under it; at least one side is there. */
export interface Pair<Left, Right> {
  readonly key: string;
  readonly left?: Left;
  readonly right?: Right;
}

/**
 * Every key of either listing, once, ascending, as many at a time as the pages allow. Throws a `ConfigurationError` when
 * a listing is not strictly ascending by UTF-8 bytes: a blob passed over in silence would count as missing on the other
 * side.
 */
export async function* march<Left extends { key: string }, Right extends { key: string }>(
  left: Pages<Left>,
  right: Pages<Right>,
): AsyncGenerator<readonly Pair<Left, Right>[]> {
  const a = new Cursor(left);
  const b = new Cursor(right);
  try {
    for (;;) {
      await Promise.all([a.fill(), b.fill()]);
      if (a.current === undefined && b.current === undefined) return;
      const pairs: Pair<Left, Right>[] = [];
      while (!a.isSpent && !b.isSpent && (a.current ?? b.current) !== undefined) {
        const order = compare(a.current, b.current);
        if (order < 0) pairs.push({ key: a.current!.key, left: a.current! });
        else if (order > 0) pairs.push({ key: b.current!.key, right: b.current! });
        else pairs.push({ key: a.current!.key, left: a.current!, right: b.current! });
        if (order <= 0) a.step();
        if (order >= 0) b.step();
      }
      yield pairs;
    }
  } finally {
    await Promise.all([a.close(), b.close()]);
  }
}

/** A listing that has ended comes after every key. */
function compare(a: { key: string } | undefined, b: { key: string } | undefined): number {
  if (!a) return 1;
  if (!b) return -1;
  return compareKeys(a.key, b.key);
}

class Cursor<Item extends { key: string }> {
  #page: readonly Item[] = [];
  #at = 0;
  #last: Item | undefined;
  #hasEnded = false;
  readonly #pages: AsyncIterator<readonly Item[]>;

  constructor(pages: Pages<Item>) {
    this.#pages = pages[Symbol.asyncIterator]();
  }

  /** Undefined at the end of the page. */
  get current(): Item | undefined {
    return this.#page[this.#at];
  }

  /** Whether nobody knows yet what comes next. */
  get isSpent(): boolean {
    return !this.#hasEnded && this.#at === this.#page.length;
  }

  /** Afterwards it is not spent. */
  async fill(): Promise<void> {
    while (this.isSpent) {
      const next = await this.#pages.next();
      if (next.done === true) this.#hasEnded = true;
      else [this.#page, this.#at] = [next.value, 0];
    }
    this.#assertOrder();
  }

  step(): void {
    this.#last = this.current;
    this.#at += 1;
    this.#assertOrder();
  }

  async close(): Promise<void> {
    await this.#pages.return?.();
  }

  #assertOrder(): void {
    const { current } = this;
    if (current === undefined || this.#last === undefined || compareKeys(this.#last.key, current.key) < 0) return;
    throw new ConfigurationError('A listing is not in the order of its keys, so it can not be compared.', {
      subject: { key: current.key, after: this.#last.key },
    });
  }
}
