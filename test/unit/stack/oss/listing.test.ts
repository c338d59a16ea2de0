// Pages of a listing, against the definition: sort all keys by their bytes, group, cut.
import fc from 'fast-check';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Folders, groupOf, listPage } from '../../../../stack/oss/listing';
import { compareKeys } from '../../../../stack/oss/order';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(path.join(tmpdir(), 'snapferry-listing-'));
});
afterEach(() => rm(root, { recursive: true }));

async function write(keys: readonly string[]): Promise<void> {
  for (const key of keys) {
    await mkdir(path.join(root, path.dirname(key)), { recursive: true });
    await writeFile(path.join(root, key), '');
  }
}

const bytes = (text: string) => Buffer.from(text, 'utf8');

function expectedEntries(keys: readonly string[], prefix: string, delimiter: string): string[] {
  const sorted = keys.filter((key) => key.startsWith(prefix)).sort((a, b) => Buffer.compare(bytes(a), bytes(b)));
  return [...new Set(sorted.map((key) => groupOf(key, prefix, delimiter) ?? key))];
}

async function allPages(prefix: string, delimiter: string, limit: number): Promise<string[]> {
  const folders = new Folders();
  const entries: string[] = [];
  for (let after: string | undefined = ''; after !== undefined;) {
    const page = await listPage(folders.below(root), { prefix, delimiter, after, limit });
    expect(page.keys.length + page.commonPrefixes.length).toBeLessThanOrEqual(limit);
    entries.push(...[...page.keys, ...page.commonPrefixes].sort(compareKeys));
    after = page.next;
  }
  return entries;
}

const KEYS = ['a', 'a.b', 'b/c-d/e', 'b/c/f', 'b-', 'b0', 'z/y/x/w', 'z/y/x/v', 'z.', '\u{1F600}', '\uFF21', 'é/1'];

test.each([
  ['', ''],
  ['', '/'],
  ['b', ''],
  ['b', '/'],
  ['z/', '/'],
  ['z/y/', '/'],
  ['', 'c'],
  ['', 'y/x'],
  ['nothing', '/'],
])(
  'prefix %j, delimiter %j: pages of any length together are the whole, in the order of bytes',
  async (prefix, del) => {
    await write(KEYS);
    const expected = expectedEntries(KEYS, prefix, del);
    for (const limit of [1, 2, 3, 1000]) expect(await allPages(prefix, del, limit)).toEqual(expected);
  },
);

test('a marker that is a folder is a key like any other without a delimiter, and its common prefix with one', async () => {
  await write(['a/1', 'a/2', 'b']);
  const from = (after: string, delimiter: string) =>
    listPage(new Folders().below(root), { prefix: '', delimiter, after, limit: 10 });
  expect(await from('a/', '')).toMatchObject({ keys: ['a/1', 'a/2', 'b'] });
  expect(await from('a/', '/')).toMatchObject({ keys: ['b'], commonPrefixes: [] });
  expect(await from('a/1', '')).toMatchObject({ keys: ['a/2', 'b'] });
  expect(await from('a/1', '/')).toMatchObject({ keys: ['b'], commonPrefixes: ['a/'] });
});

test('a folder that is an object is a key of its own, listed once, before what lies below it', async () => {
  await write(['a/b/1', 'a/c']);
  await mkdir(path.join(root, 'z'));
  const source = new Folders().below(root, (key) => ['a/', 'a/b/', 'z/'].includes(key));
  const list = (prefix: string, delimiter: string, after = '') =>
    listPage(source, { prefix, delimiter, after, limit: 10 }).then((page) => [page.keys, page.commonPrefixes]);
  expect(await list('', '')).toEqual([['a/', 'a/b/', 'a/b/1', 'a/c', 'z/'], []]);
  expect(await list('', '/')).toEqual([[], ['a/', 'z/']]);
  expect(await list('a/', '/')).toEqual([['a/', 'a/c'], ['a/b/']]);
  expect(await list('', '', 'a/b/')).toEqual([['a/b/1', 'a/c', 'z/'], []]);
});

test('empty folders are no objects, and what is written after a listing is in the next one', async () => {
  await mkdir(path.join(root, 'empty/inner'), { recursive: true });
  const folders = new Folders();
  const list = () => listPage(folders.below(root), { prefix: '', delimiter: '/', after: '', limit: 10 });
  expect(await list()).toEqual({ keys: [], commonPrefixes: [], next: undefined });
  await writeFile(path.join(root, 'empty/inner/x'), '');
  expect(await list()).toEqual({ keys: [], commonPrefixes: ['empty/'], next: undefined });
});

test('keys compare as their UTF-8 bytes do', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.string({ unit: 'binary' }), (a, b) => {
      expect(Math.sign(compareKeys(a, b))).toBe(Buffer.compare(bytes(a), bytes(b)));
    }),
  );
});
