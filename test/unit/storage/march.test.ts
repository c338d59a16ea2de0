import fc from 'fast-check';
import { ConfigurationError } from '../../../src/domain/errors';
import { compareKeys, march } from '../../../src/storage';

async function* listing(keys: readonly string[], onClose = () => {}) {
  try {
    for (const key of keys) yield { key };
  } finally {
    onClose();
  }
}

async function marched(left: readonly string[], right: readonly string[]): Promise<string[]> {
  const seen: string[] = [];
  for await (const pair of march(listing(left), listing(right))) {
    seen.push(`${pair.left ? '<' : ''}${pair.key}${pair.right ? '>' : ''}`);
  }
  return seen;
}

const anyKey = fc.string({ unit: 'binary', maxLength: 5 });
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
    fc.asyncProperty(anyListing, anyListing, async (left, right) => {
      const union = [...new Set([...left, ...right])].sort(compareKeys);
      const expected = union.map((key) => `${left.includes(key) ? '<' : ''}${key}${right.includes(key) ? '>' : ''}`);
      expect(await marched(left, right)).toEqual(expected);
    }),
  );
});

test('a listing that is out of order, or names a key twice, is refused', async () => {
  await expect(marched(['a/b', 'a-b'], [])).rejects.toThrow(ConfigurationError);
  await expect(marched([], ['a', 'a'])).rejects.toThrow(ConfigurationError);
});

test('both listings are closed when the reader turns away', async () => {
  let closed = 0;
  const close = () => void closed++;
  for await (const pair of march(listing(['a', 'b'], close), listing(['a', 'c'], close))) {
    expect(pair.key).toBe('a');
    break;
  }
  expect(closed).toBe(2);
});
