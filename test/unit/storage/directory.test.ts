import { writeFileSync } from 'node:fs';
import { mkdtemp, readdir, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { BlobMissingError, ConfigurationError, UnavailableError } from '../../../src/domain/errors';
import type { Store } from '../../../src/storage';
import { payload } from '../../../src/storage/payload';
import { openDirectory } from '../../../src/storage';
import { collect } from '../../contract/store';

const NEVER = new AbortController().signal;
let root: string;
let store: Store;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'snapferry-directory-'));
  store = openDirectory(root);
});
afterEach(() => rm(root, { recursive: true, force: true }));

const write = (key: string, body = Buffer.from('x')) => store.write(key, payload(body), {}, NEVER);

test.each(['../outside', 'a/../../outside', '/etc/passwd', 'a//b', 'a/./b', 'a/', '', 'a\0b', '.snapferry-tmp/x'])(
  'the key %j is refused by every call',
  async (key) => {
    const calls = [
      write(key),
      store.head(key, NEVER),
      collect(store, key),
      store.delete(key, NEVER),
      store.uploads.begin(key, NEVER),
    ];
    for (const outcome of await Promise.allSettled(calls)) {
      expect(outcome).toMatchObject({ status: 'rejected', reason: expect.any(ConfigurationError) });
    }
    expect(await readdir(root)).toEqual([]);
  },
);

test('an upload id that leads out of the directory is just unknown', async () => {
  await write('blob');
  await store.uploads.abort('blob', '../..', NEVER);
  expect(await store.uploads.parts('blob', '../..', NEVER)).toBeUndefined();
  expect(await store.head('blob', NEVER)).toBeDefined();
});

test('files and folders may be read by every user, whatever the umask', async () => {
  const umask = process.umask(0o077);
  try {
    await write('indices/a/0/__0');
    const id = await store.uploads.begin('indices/b/__1', NEVER);
    const part = await store.uploads.part('indices/b/__1', id, 1, payload(Buffer.from('x')), NEVER);
    await store.uploads.complete('indices/b/__1', id, [part], NEVER);
  } finally {
    process.umask(umask);
  }
  const mode = async (path: string) => ((await stat(join(root, path))).mode & 0o777).toString(8);
  expect(await Promise.all(['indices/a/0/__0', 'indices/b/__1'].map(mode))).toEqual(['644', '644']);
  expect(await Promise.all(['indices', 'indices/a', 'indices/a/0', 'indices/b'].map(mode))).toEqual(
    Array(4).fill('755'),
  );
});

test('nothing unfinished is left behind by a write, a refused write or a finished upload', async () => {
  await write('blob');
  await store.write('blob', payload(Buffer.from('y')), { ifAbsent: true }, NEVER);
  const id = await store.uploads.begin('blob', NEVER);
  const part = await store.uploads.part('blob', id, 1, payload(Buffer.from('x')), NEVER);
  await store.uploads.complete('blob', id, [part], NEVER);
  expect(await readdir(join(root, '.snapferry-tmp'), { recursive: true })).toEqual(['uploads']);
});

test('a write that is given up leaves the old blob and no trace', async () => {
  await write('blob', Buffer.from('old'));
  const controller = new AbortController();
  const reason = new Error('stop');
  const writing = store.write('blob', payload(Buffer.alloc(50_000_000)), {}, controller.signal);
  setTimeout(() => controller.abort(reason), 5);
  await expect(writing).rejects.toBe(reason);
  expect((await collect(store, 'blob')).toString()).toBe('old');
  expect(await readdir(join(root, '.snapferry-tmp'))).toEqual([]);
});

test('a part that is given up leaves no trace, and a killed completion none that the upload outlives', async () => {
  const id = await store.uploads.begin('blob', NEVER);
  const folder = join(root, '.snapferry-tmp/uploads', id);
  const controller = new AbortController();
  const writing = store.uploads.part('blob', id, 1, payload(Buffer.alloc(50_000_000)), controller.signal);
  setTimeout(() => controller.abort(new Error('stop')), 5);
  await expect(writing).rejects.toThrow('stop');
  expect(await readdir(folder)).toEqual(['key']);

  const part = await store.uploads.part('blob', id, 1, payload(Buffer.alloc(50_000_000)), NEVER);
  const completing = store.uploads.complete('blob', id, [part], NEVER);
  while ((await readdir(folder)).length < 3) await setImmediate();
  expect(await readdir(join(root, '.snapferry-tmp'))).toEqual(['uploads']);
  await completing;
  expect(await readdir(join(root, '.snapferry-tmp'), { recursive: true })).toEqual(['uploads']);
});

test('what a killed process left of a blob is swept after an hour, what may still be written is not', async () => {
  await write('blob');
  const left = (name: string) => join(root, '.snapferry-tmp', name);
  for (const name of ['old', 'new']) await writeFile(left(name), 'half of a blob');
  const hoursAgo = new Date(Date.now() - 2 * 3_600_000);
  await utimes(left('old'), hoursAgo, hoursAgo);
  await utimes(join(root, 'blob'), hoursAgo, hoursAgo);
  const uploadId = await store.uploads.begin('blob', NEVER);
  await store.uploads.sweep?.(NEVER);
  expect((await readdir(join(root, '.snapferry-tmp'))).sort()).toEqual(['new', 'uploads']);
  expect(await store.uploads.parts('blob', uploadId, NEVER)).toEqual([]);
  expect(await store.head('blob', NEVER)).toBeDefined();
});

test('a symbolic link is no blob, so nothing outside of the directory is ever read', async () => {
  const outside = await mkdtemp(join(tmpdir(), 'snapferry-outside-'));
  await writeFile(join(outside, 'secret'), 'x');
  await symlink(join(outside, 'secret'), join(root, 'link'));
  await symlink(outside, join(root, 'folder'));
  expect(await store.list('', NEVER)[Symbol.asyncIterator]().next()).toMatchObject({ done: true });
  expect(await store.head('link', NEVER)).toBeUndefined();
  await expect(collect(store, 'link')).rejects.toThrow(BlobMissingError);
  expect(await store.head('folder/secret', NEVER)).toBeUndefined();
  await expect(collect(store, 'folder/secret')).rejects.toThrow(BlobMissingError);
  await expect(write('folder/blob')).rejects.toThrow(ConfigurationError);
  expect(await readdir(outside)).toEqual(['secret']);
  await rm(outside, { recursive: true });
});

test('a directory that does not exist is a ConfigurationError for every call, and is not created', async () => {
  const gone = openDirectory(join(root, 'gone'));
  const calls = [
    gone.head('blob', NEVER),
    collect(gone, 'blob'),
    gone.write('blob', payload(Buffer.from('x')), {}, NEVER),
    gone.delete('blob', NEVER),
    gone.uploads.begin('blob', NEVER),
    gone.list('', NEVER)[Symbol.asyncIterator]().next(),
  ];
  for (const outcome of await Promise.allSettled(calls)) {
    expect(outcome).toMatchObject({ status: 'rejected', reason: expect.any(ConfigurationError) });
  }
  expect(await readdir(root)).toEqual([]);
});

test('a file that shrinks while it is read is an UnavailableError, never a short success', async () => {
  await write('blob', Buffer.alloc(5_000_000));
  const into = (length: number) => {
    writeFileSync(join(root, 'blob'), 'short');
    return [Buffer.alloc(length)];
  };
  const reading = store.read('blob', { into }, NEVER);
  await expect(reading).rejects.toThrow(UnavailableError);
});

test('a blob where a folder is, or below a blob, can not be written, and the error says so', async () => {
  await write('a/b');
  await expect(write('a')).rejects.toThrow(ConfigurationError);
  await expect(write('a/b/c')).rejects.toThrow(ConfigurationError);
});

test('what the file system refuses is a ConfigurationError with its code, never "not found"', async () => {
  const error = await store.head('a'.repeat(300), NEVER).catch((error: unknown) => error);
  expect(error).toBeInstanceOf(ConfigurationError);
  expect(error).toMatchObject({ subject: { code: 'ENAMETOOLONG', store: `dir:${root}` } });
});
