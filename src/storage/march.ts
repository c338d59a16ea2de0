/** Two sorted listings walked in step: one pass, no listing in memory. */
import { ConfigurationError } from '../domain/errors';
import { compareKeys } from './keys';

/** One key with what each side holds under it; at least one side is there. */
export interface Pair<Left, Right> {
  readonly key: string;
  readonly left?: Left;
  readonly right?: Right;
}

/**
 * Every key of either listing, once, ascending. Throws a `ConfigurationError` when a listing is not strictly ascending
 * by UTF-8 bytes: a blob passed over in silence would count as missing on the other side.
 */
export async function* march<Left extends { key: string }, Right extends { key: string }>(
  left: AsyncIterable<Left>,
  right: AsyncIterable<Right>,
): AsyncGenerator<Pair<Left, Right>> {
  const a = new Cursor(left);
  const b = new Cursor(right);
  try {
    await Promise.all([a.advance(), b.advance()]);
    while (a.current || b.current) {
      const order = compare(a.current, b.current);
      if (order < 0) yield { key: a.current!.key, left: a.current! };
      else if (order > 0) yield { key: b.current!.key, right: b.current! };
      else yield { key: a.current!.key, left: a.current!, right: b.current! };
      await Promise.all([order <= 0 && a.advance(), order >= 0 && b.advance()]);
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
  current: Item | undefined;
  readonly #iterator: AsyncIterator<Item>;

  constructor(items: AsyncIterable<Item>) {
    this.#iterator = items[Symbol.asyncIterator]();
  }

  async advance(): Promise<void> {
    const next = await this.#iterator.next();
    const item = next.done ? undefined : next.value;
    if (item && this.current && compareKeys(this.current.key, item.key) >= 0) {
      throw new ConfigurationError('A listing is not in the order of its keys, so it can not be compared.', {
        subject: { key: item.key, after: this.current.key },
      });
    }
    this.current = item;
  }

  async close(): Promise<void> {
    await this.#iterator.return?.();
  }
}
