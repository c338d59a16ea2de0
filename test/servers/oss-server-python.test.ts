/** Our OSS server as oss2 sees it, the vendor's client for Python. It checks every CRC64 itself. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { startOss } from '../../stack';
import type { OssServer } from '../../stack';
import { newBucket, OSS_KEYS } from '../support/oss';
import { oss2, pythonWithOss2 } from '../support/oss2';

let root: string;
let server: OssServer;

beforeAll(async () => {
  root = await mkdtemp(path.join(tmpdir(), 'snapferry-oss2-'));
  server = await startOss({ root, ...OSS_KEYS });
  await pythonWithOss2();
}, 600_000); // the first use installs it
afterAll(async () => {
  await server?.stop();
  await rm(root, { recursive: true, force: true });
});

const run = (scenario: string, more = {}) =>
  oss2(scenario, { ...OSS_KEYS, endpoint: server.endpoint, bucket: newBucket(root), ...more });

const refused = (status: number, code: string, ec = expect.any(String) as unknown) => ({
  status,
  code,
  ec,
  id: expect.stringMatching(/^[0-9A-F]{24}$/) as unknown,
});

test('put, get, range, head, copy, presigned URL and delete', async () => {
  expect(await run('objects')).toEqual({
    key: 'a/b+c d/ü%2F&.txt',
    etag: '781E5E245D69B566979B86E28D23F2C7',
    crc: expect.any(Number) as unknown,
    body: '0123456789',
    range: '2345',
    head: [10, '781E5E245D69B566979B86E28D23F2C7', 'text/x-test', 'n'],
    meta: 10,
    exists: [true, false],
    absent: refused(404, 'NoSuchKey', '0026-00000001'),
    absent_head: refused(404, 'NoSuchKey', '0026-00000001'),
    copy: '0123456789',
    signed: '0123456789',
    deleted: false,
  });
});

test('both listings in pages, and deleting many at once', async () => {
  const all = ['a/1', 'a/2', 'b', 'c d&<', 'é', '\uFF21', '\u{1F600}'];
  const folders = [['a/', true], ...all.slice(2).map((key) => [key, false])];
  const expected = { v1: all, v2: all, v1_folders: folders, v2_folders: folders };
  expect(await run('lists')).toMatchObject({
    ...expected,
    v1_prefix: ['a/1', 'a/2'],
    v2_prefix: ['a/1', 'a/2'],
    start_after: all.slice(3),
    deleted: true,
    left: [],
    info: [expect.stringMatching(/^b-/), 'oss-cn-hangzhou'],
  });
});

test('multipart upload, copy by parts, and abort', async () => {
  expect(await run('multipart')).toEqual({
    listed: [
      [1, 110_000],
      [2, 110_000],
      [3, 110_000],
    ],
    etags: true,
    uploads: [['big one', true]],
    etag: expect.stringMatching(/^[0-9A-F]{32}-3$/) as unknown,
    whole: true,
    gone: refused(404, 'NoSuchUpload'),
    copied: true,
    left: [],
  });
});

test('who is refused, and how it is told', async () => {
  expect(await run('refusals')).toEqual({
    secret: refused(403, 'SignatureDoesNotMatch', '0002-00000201'),
    id: refused(403, 'InvalidAccessKeyId', '0002-00000902'),
    v1: refused(403, 'AccessDenied', '0002-00000080'),
    v1_url: refused(403, 'AccessDenied', '0002-00000080'),
    anonymous: refused(403, 'AccessDenied'),
    late: refused(403, 'RequestTimeTooSkewed', '0002-00000504'),
    early: refused(403, 'RequestTimeTooSkewed', '0002-00000504'),
    region: refused(400, 'InvalidArgument', '0002-00000226'),
    token: refused(403, 'InvalidSecurityToken', '0002-00000008'),
    bucket: refused(404, 'NoSuchBucket', '0015-00000101'),
  });
});

test('buckets are made, listed, and deleted when they are empty', async () => {
  expect(await run('buckets')).toEqual({
    made: true,
    full: refused(409, 'BucketNotEmpty'),
    gone: refused(404, 'NoSuchBucket', '0015-00000101'),
  });
});

test('a bit that flips on the way is noticed by oss2: its checksum and ours are the same thing', async () => {
  const bucket = newBucket(root);
  const act = (scenario: string) => run(scenario, { bucket, key: 'k' });
  expect([await act('put_one'), await act('get_one')]).toEqual(['ok', 'ok']);
  await server.setFaults([{ on: { operation: 'GetObject' }, then: { do: 'flip', of: 'response', byte: 3 } }]);
  expect([await act('get_one'), await act('get_one')]).toEqual(['inconsistent', 'ok']);
  await server.setFaults([{ on: { operation: 'PutObject' }, then: { do: 'flip', of: 'request', byte: 3 } }]);
  expect(await act('put_one')).toBe('inconsistent');
});
