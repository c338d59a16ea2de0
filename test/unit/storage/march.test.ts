import fc from 'fast-check';
import { ConfigurationError } from '../../../src/domain/errors';
import { compareKeys, march } from '../../../src/storage';

/** Pages of up to `size` keys, an empty one between each two. */
async function* listing(keys: readonly string[], size = 1, onClose = () => {}) {
  try {
    for (let from = 0; from < keys.length; from += size) {
      yield keys.slice(from, from + size).map((key) => ({ key }));
      yield [];
    }
  } finally {
    onClose();
  }
}

async function marched(left: readonly string[], right: readonly string[], sizes = [1, 1]): Promise<string[]> {
  const seen: string[] = [];
  for await (const pairs of march(listing(left, sizes[0]), listing(right, sizes[1]))) {
    for (const pair of pairs) seen.push(`${pair.left ? '<' : ''}${pair.key}${pair.right ? '>' : ''}`);
  }
  return seen;
}

const anyKey = fc.string({ unit: 'binary', maxLength: 5 });
const anySize = fc.integer({ min: 1, max: 5 });
const anyListing = fc.uniqueArray(anyKey).map((keys) => keys.sort(compareKeys));

test('keys are ordered by their UTF-8 bytes', () => {
  fc.assert(
    fc.property(anyKey, anyKey, (a, b) => {
      expect(Math.sign(compareKeys(a, b))).toBe(Math.sign(Buffer.compare(Buffer.from(a), Buffer.from(b))));
    }),
  );
});

test('each key comes once, in order, with the sides that have it', async () => {
  expect(await marched(['a', 'a-b', 'a/b'], ['a/b', 'b'])).toEqual(['<a', '<a-b', '<a/b>', 'b>']);
  await fc.assert(
    fc.asyncProperty(anyListing, anyListing, anySize, anySize, async (left, right, ...sizes) => {
      const union = [...new Set([...left, ...right])].sort(compareKeys);
      const expected = union.map((key) => `${left.includes(key) ? '<' : ''}${key}${right.includes(key) ? '>' : ''}`);
      expect(await marched(left, right, sizes)).toEqual(expected);
    }),
  );
});

test('a listing that is out of order, or names a key twice, is refused', async () => {
  await expect(marched(['a/b', 'a-b'], [])).rejects.toThrow(ConfigurationError);
  await expect(marched(['a/b', 'a-b'], [], [2, 2])).rejects.toThrow(ConfigurationError);
  await expect(marched([], ['a', 'a'])).rejects.toThrow(ConfigurationError);
});

test('both listings are closed when the reader turns away', async () => {
  let closed = 0;
  const close = () => void closed++;
  for await (const pairs of march(listing(['a', 'b'], 1, close), listing(['a', 'c'], 1, close))) {
    expect(pairs.map(({ key }) => key)).toEqual(['a']);
    break;
  }
  expect(closed).toBe(2);
});
