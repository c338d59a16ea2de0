/** Our OSS server as ali-oss sees it, and what it promises on the wire, request by request. */
import type OSS from 'ali-oss';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { startOss } from '../../stack';
import type { OssServer } from '../../stack';
import { parseArguments } from '../../stack/arguments';
import { aliOss, element, exchange, newBucket, OSS_KEYS, raw, signedHeaders } from '../support/oss';
import type { BucketCalls, RawRequest } from '../support/oss';

let root: string;
let server: OssServer;
let bucket: string;

beforeAll(async () => {
  root = await mkdtemp(path.join(tmpdir(), 'snapferry-oss-'));
  server = await startOss({ root, ...OSS_KEYS });
});
afterAll(async () => {
  await server?.stop();
  await rm(root, { recursive: true, force: true });
});
beforeEach(() => {
  bucket = newBucket(root);
});

const call = (wanted: RawRequest) => raw(server, { bucket, ...wanted });
const put = (key: string, body: Buffer | string, headers = {}) =>
  call({ method: 'PUT', key, body: Buffer.from(body), headers });
const get = (key: string, headers = {}) => call({ method: 'GET', key, headers });
const fileOf = (key: string) => path.join(root, bucket, key);
const md5 = (body: Buffer | string) => createHash('md5').update(body).digest();

/** ali-oss's own call for a part of a stream; its types lack it. */
interface PartSender {
  _uploadPart(key: string, id: string, number: number, data: object): Promise<OSS.UploadPartResult>;
}

/** ali-oss's own call for a link; its types lack it. */
interface LinkSigner {
  signatureUrlV4(method: string, expires: number, request: object, key: string): Promise<string>;
}

async function sendPart(client: OSS, key: string, id: string, number: number, body: Buffer): Promise<string> {
  const data = { stream: Readable.from([body]), size: body.length };
  const sent = await (client as unknown as PartSender)._uploadPart(key, id, number, data);
  return sent.etag;
}

describe('ali-oss works unchanged', () => {
  test.each(['plain', "a/b+c d'()*!~&ü😀", 'a%2Fb/%c', '.hidden/x..y'])('an object called %s', async (key) => {
    const client = aliOss(server.endpoint, bucket);
    const { res } = await client.put(key, Buffer.from('0123456789'), { meta: { note: 'n' } as never });
    expect((res as { headers: object }).headers).toMatchObject({
      etag: '"781E5E245D69B566979B86E28D23F2C7"',
      'x-oss-hash-crc64ecma': expect.stringMatching(/^\d+$/),
      'x-oss-request-id': expect.stringMatching(/^[0-9A-F]{24}$/),
    });
    expect((await client.get(key)).content.toString()).toBe('0123456789');
    const part = await client.get(key, { headers: { Range: 'bytes=2-4' } });
    expect([part.content.toString(), part.res.status]).toEqual(['234', 206]);
    expect(await client.head(key)).toMatchObject({ status: 200, meta: { note: 'n' } });
    expect((await client.list({ 'max-keys': 10 }, {})).objects.map((one) => one.name)).toEqual([key]);
    expect((await client.copy('copy', key)).res.status).toBe(200);
    expect((await client.get('copy')).content.toString()).toBe('0123456789');
    const { deleted } = await client.deleteMulti([key, 'copy']);
    expect(deleted).toHaveLength(2);
    await expect(client.get(key)).rejects.toMatchObject({ status: 404, code: 'NoSuchKey', ecCode: '0026-00000001' });
    await expect(client.head(key)).rejects.toMatchObject({ status: 404, code: 'NoSuchKey' });
  });

  test('a multipart upload, its lists, and an abort', async () => {
    const client = aliOss(server.endpoint, bucket);
    const { uploadId } = await client.initMultipartUpload('big');
    const bodies = [randomBytes(102_400), randomBytes(150_000), randomBytes(7)];
    const parts = await Promise.all(
      bodies.map(async (body, at) => ({ number: at + 1, etag: await sendPart(client, 'big', uploadId, at + 1, body) })),
    );
    const listed = await client.listParts('big', uploadId);
    expect(listed.parts).toMatchObject(
      bodies.map((body) => ({ ETag: `"${md5(body).toString('hex').toUpperCase()}"` })),
    );
    const done = await client.completeMultipartUpload('big', uploadId, parts);
    const etags = createHash('md5')
      .update(Buffer.concat(bodies.map(md5)))
      .digest('hex');
    expect(done.etag).not.toMatch(new RegExp(etags, 'i'));
    expect(await client.get('big')).toMatchObject({ content: Buffer.concat(bodies) });

    const other = await client.initMultipartUpload('never');
    await sendPart(client, 'never', other.uploadId, 1, Buffer.from('x'));
    expect((await client.listUploads({ 'max-uploads': 10 })).uploads).toMatchObject([{ name: 'never' }]);
    await client.abortMultipartUpload('never', other.uploadId);
    expect((await client.listUploads({ 'max-uploads': 10 })).uploads).toEqual([]);
  });

  test('pages of both listings', async () => {
    const client = aliOss(server.endpoint, bucket);
    for (const key of ['a/1', 'a/2', 'b', 'c/1']) await client.put(key, Buffer.from(key));
    const first = await client.list({ 'max-keys': 2 }, {});
    expect([first.objects.map((one) => one.name), first.isTruncated]).toEqual([['a/1', 'a/2'], true]);
    const second = await client.list({ 'max-keys': 2, marker: first.nextMarker }, {});
    expect([second.objects.map((one) => one.name), second.isTruncated]).toEqual([['b', 'c/1'], false]);
    const folders = await client.listV2({ 'max-keys': '2', delimiter: '/' });
    expect([folders.prefixes, folders.objects.map((one) => one.name)]).toEqual([['a/'], ['b']]);
    const rest = await client.listV2({
      'max-keys': '2',
      delimiter: '/',
      'continuation-token': (folders as unknown as { nextContinuationToken: string }).nextContinuationToken,
    });
    expect([rest.prefixes, rest.objects]).toEqual([['c/'], []]);
  });

  test('buckets are made and described', async () => {
    const client = aliOss(server.endpoint, bucket);
    await client.putBucket(`${bucket}-2`);
    const { buckets } = (await client.listBuckets({})) as unknown as { buckets: { name: string }[] };
    expect(buckets.map((one) => one.name)).toEqual(expect.arrayContaining([bucket, `${bucket}-2`]));
    expect((await client.getBucketInfo(bucket)).bucket).toMatchObject({ Name: bucket, Location: 'oss-cn-hangzhou' });
    await client.deleteBucket(`${bucket}-2`);
    await expect(client.getBucketInfo(`${bucket}-2`)).rejects.toMatchObject({ code: 'NoSuchBucket' });
  });

  test('what a bucket is told to do is told again', async () => {
    const client = aliOss(server.endpoint, bucket) as OSS & BucketCalls;
    await expect(client.getBucketLifecycle(bucket)).rejects.toMatchObject({ code: 'NoSuchLifecycle', status: 404 });
    await expect(client.getBucketEncryption(bucket)).rejects.toMatchObject({ code: 'NoSuchServerSideEncryptionRule' });
    expect(await client.getBucketVersioning(bucket)).toMatchObject({ versionStatus: undefined });
    const rule = { prefix: 'a/b/', status: 'Enabled', expiration: { days: 3 } };
    await client.putBucketLifecycle(bucket, [rule, { ...rule, id: 'named', prefix: 'c/' }] as never);
    await client.putBucketVersioning(bucket, 'Enabled', {});
    await client.putBucketEncryption(bucket, { SSEAlgorithm: 'AES256' } as never);
    const { rules } = await client.getBucketLifecycle(bucket);
    expect(rules).toEqual([
      { id: expect.stringMatching(/.+/), prefix: 'a/b/', status: 'Enabled', expiration: { days: '3' } },
      { id: 'named', prefix: 'c/', status: 'Enabled', expiration: { days: '3' } },
    ]);
    expect(await client.getBucketVersioning(bucket)).toMatchObject({ versionStatus: 'Enabled' });
    expect(await client.getBucketInfo(bucket)).toMatchObject({
      bucket: { Versioning: 'Enabled', ServerSideEncryptionRule: { SSEAlgorithm: 'AES256' } },
    });
    await client.deleteBucketLifecycle(bucket);
    await expect(client.getBucketLifecycle(bucket)).rejects.toMatchObject({ code: 'NoSuchLifecycle' });
    const body = Buffer.from('<LifecycleConfiguration><Rule><Status>Enabled</Status></Rule></LifecycleConfiguration>');
    const refused = await call({ method: 'PUT', query: { lifecycle: null }, body });
    expect([refused.status, element(refused, 'Code'), element(refused, 'EC')]).toEqual([
      400,
      'MalformedXML',
      '0014-00000026',
    ]);
  });

  test('signature 1, a wrong secret and an unknown key are refused', async () => {
    const refusedWith = (more: object) =>
      aliOss(server.endpoint, bucket, more)
        .get('k')
        .catch((error: unknown) => error);
    expect(await refusedWith({ authorizationV4: false })).toMatchObject({ status: 403, ecCode: '0002-00000080' });
    expect(await refusedWith({ accessKeySecret: 'wrong' })).toMatchObject({
      status: 403,
      code: 'SignatureDoesNotMatch',
    });
    expect(await refusedWith({ accessKeyId: 'wrong' })).toMatchObject({ status: 403, code: 'InvalidAccessKeyId' });
  });

  test('a clock that is an hour late is refused, with the time by which a client may correct itself', async () => {
    const now = Date.now();
    jest.useFakeTimers({ now: now - 3_600_000, doNotFake: everythingButDate() });
    try {
      const refused = aliOss(server.endpoint, bucket).get('k');
      await expect(refused).rejects.toMatchObject({ status: 403, code: 'RequestTimeTooSkewed' });
      const answer = await get('k');
      for (const told of [element(answer, 'ServerTime'), answer.headers.date]) {
        expect(Date.parse(told ?? '')).toBeGreaterThan(now - 60_000);
      }
    } finally {
      jest.useRealTimers();
    }
  });
});

function everythingButDate() {
  const timers = [
    'setTimeout',
    'clearTimeout',
    'setInterval',
    'clearInterval',
    'setImmediate',
    'clearImmediate',
  ] as const;
  return [...timers, 'hrtime', 'nextTick', 'performance', 'queueMicrotask'] as const as never;
}

describe('reading', () => {
  const BODY = Buffer.from('0123456789');
  const CRC = async () => (await get('k')).headers['x-oss-hash-crc64ecma'];

  test('a range returns the checksum of the whole object', async () => {
    await put('k', BODY);
    const part = await get('k', { range: 'bytes=3-5' });
    expect([part.status, part.body.toString(), part.headers['content-range']]).toEqual([206, '345', 'bytes 3-5/10']);
    expect(part.headers['x-oss-hash-crc64ecma']).toBe(await CRC());
  });

  test('a range that does not lie inside is the whole with 200, and 416 only when the client asks for the standard', async () => {
    await put('k', BODY);
    expect(await get('k', { range: 'bytes=10-' })).toMatchObject({ status: 200, body: BODY });
    expect(await get('k', { range: 'bytes=5-99' })).toMatchObject({ status: 200, body: BODY });
    const standard = { 'x-oss-range-behavior': 'standard' };
    expect((await get('k', { range: 'bytes=5-99', ...standard })).body.toString()).toBe('56789');
    const refused = await get('k', { range: 'bytes=10-', ...standard });
    expect([refused.status, element(refused, 'Code')]).toEqual([416, 'InvalidRange']);
  });

  test('conditions on GET and HEAD', async () => {
    const etag = (await put('k', BODY)).headers.etag ?? '';
    expect((await get('k', { 'if-match': etag })).status).toBe(200);
    expect((await get('k', { 'if-match': '"0"' })).status).toBe(412);
    expect(await get('k', { 'if-none-match': etag })).toMatchObject({ status: 304, body: Buffer.alloc(0) });
    const head = await call({ method: 'HEAD', key: 'k', headers: { 'if-match': '"0"' } });
    expect(head.status).toBe(412);
    expect(Buffer.from(String(head.headers['x-oss-err']), 'base64').toString()).toContain('PreconditionFailed');
  });

  test('a link that was handed out says which headers the answer has', async () => {
    const client = aliOss(server.endpoint, bucket, { sldEnable: true } as object);
    await put('k', BODY, { 'content-type': 'text/x', 'cache-control': 'no-cache' });
    const disposition = 'attachment; filename="ü.txt"';
    const query = { 'response-content-type': 'text/y', 'response-content-disposition': disposition };
    const { headers } = await call({ method: 'GET', key: 'k', query });
    expect(headers).toMatchObject({ 'content-type': 'text/y', 'cache-control': 'no-cache' });
    expect(Buffer.from(headers['content-disposition'] ?? '', 'latin1').toString()).toBe(disposition);
    const queries = { 'response-content-type': 'text/z' };
    const url = await (client as unknown as LinkSigner).signatureUrlV4('GET', 60, { queries }, 'k');
    const { pathname, search } = new URL(url);
    const linked = await exchange(server, { method: 'GET', path: pathname + search, headers: {} });
    expect(linked).toMatchObject({ status: 200, headers: { 'content-type': 'text/z' }, body: BODY });
  });

  test('an error is OSS’s XML; of HEAD it travels in x-oss-err', async () => {
    const answer = await get('nope');
    const id = answer.headers['x-oss-request-id'];
    const told = ['Code', 'RequestId', 'HostId', 'EC', 'Key'].map((name) => element(answer, name));
    expect(told).toEqual(['NoSuchKey', id, new URL(server.endpoint).host, '0026-00000001', 'nope']);
    expect(answer.headers).toMatchObject({ 'x-oss-ec': '0026-00000001', 'content-type': 'application/xml' });
    const head = await call({ method: 'HEAD', key: 'nope' });
    const body = Buffer.from(String(head.headers['x-oss-err']), 'base64');
    expect([head.status, element({ body }, 'Code')]).toEqual([404, 'NoSuchKey']);
  });

  test('a missing bucket is another error than a missing key', async () => {
    const answer = await raw(server, { method: 'GET', bucket: 'no-such-bucket', key: 'k' });
    expect([answer.status, element(answer, 'Code')]).toEqual([404, 'NoSuchBucket']);
  });

  test.each(['oss-cn-hangzhou.aliyuncs.com', 'oss-accelerate.aliyuncs.com', 'localhost'])(
    'the bucket may stand in the Host header before %s',
    async (host) => {
      await put('a/b', BODY);
      const headers = { ...signedHeaders({ method: 'GET', bucket, key: 'a/b' }), host: `${bucket}.${host}` };
      expect(await exchange(server, { method: 'GET', path: '/a/b', headers })).toMatchObject({
        status: 200,
        body: BODY,
      });
    },
  );

  test('without a signature nothing is said, not even whether an object is there', async () => {
    await put('k', BODY);
    for (const key of ['k', 'nope']) {
      const answer = await exchange(server, { method: 'GET', path: `/${bucket}/${key}`, headers: {} });
      expect([answer.status, element(answer, 'Code')]).toEqual([403, 'AccessDenied']);
    }
  });
});

describe('writing', () => {
  test('a body that does not fit its Content-MD5 is refused and not stored', async () => {
    const answer = await put('k', 'right', { 'content-md5': md5('wrong').toString('base64') });
    expect([answer.status, element(answer, 'Code')]).toEqual([400, 'InvalidDigest']);
    expect((await get('k')).status).toBe(404);
    expect((await put('k', 'right', { 'content-md5': md5('right').toString('base64') })).status).toBe(200);
  });

  test('of many that forbid overwriting at once exactly one wins, and its bytes stay', async () => {
    const bodies = Array.from({ length: 12 }, (_, at) => `body ${at}`);
    const answers = await Promise.all(bodies.map((body) => put('k', body, { 'x-oss-forbid-overwrite': 'true' })));
    const won = answers.flatMap((answer, at) => (answer.status === 200 ? [bodies[at]] : []));
    expect(won).toHaveLength(1);
    expect((await get('k')).body.toString()).toBe(won[0]);
    const lost = answers.find((answer) => answer.status !== 200);
    expect([lost?.status, lost && element(lost, 'Code')]).toEqual([409, 'FileAlreadyExists']);
  });

  test('copy, initiate and complete forbid overwriting, too; nonsense in that header is refused', async () => {
    await put('source', 'source');
    await put('k', 'old');
    const forbid = { 'x-oss-forbid-overwrite': 'true' };
    const copy = await call({
      method: 'PUT',
      key: 'k',
      headers: { ...forbid, 'x-oss-copy-source': `/${bucket}/source` },
    });
    expect([copy.status, element(copy, 'Code')]).toEqual([409, 'FileAlreadyExists']);
    const start = (headers = {}) => call({ method: 'POST', key: 'k', query: { uploads: null }, headers });
    expect((await start(forbid)).status).toBe(409);
    const id = element(await start(), 'UploadId') ?? '';
    await call({ method: 'PUT', key: 'k', query: { partNumber: '1', uploadId: id }, body: Buffer.from('new') });
    const body = complete([[1, md5('new').toString('hex')]]);
    const done = await call({ method: 'POST', key: 'k', query: { uploadId: id }, headers: forbid, body });
    expect([done.status, element(done, 'EC')]).toEqual([409, '0042-00000214']);
    expect((await get('k')).body.toString()).toBe('old');
    expect((await put('k', 'x', { 'x-oss-forbid-overwrite': 'yes' })).status).toBe(400);
  });

  test('a client that goes away in the middle leaves nothing', async () => {
    const staged = () => readdir(path.join(root, '.oss/staging'));
    const headers = { ...signedHeaders({ method: 'PUT', bucket, key: 'k' }), 'content-length': '1000' };
    const sent = request(`${server.endpoint}/${bucket}/k`, { method: 'PUT', headers }).on('error', () => undefined);
    sent.write(Buffer.alloc(500));
    while ((await staged()).length === 0) await sleep(5);
    sent.destroy();
    while ((await staged()).length > 0) await sleep(5);
    expect((await get('k')).status).toBe(404);
  });

  test('headers are kept with an object and copied with it, unless they are replaced', async () => {
    const headers = { 'content-type': 'text/x', 'x-oss-meta-a': '1', 'cache-control': 'no-cache' };
    await put('k', 'v', headers);
    const source = { 'x-oss-copy-source': `/${bucket}/k` };
    await call({ method: 'PUT', key: 'same', headers: source });
    await call({
      method: 'PUT',
      key: 'other',
      headers: { ...source, 'x-oss-metadata-directive': 'REPLACE', 'x-oss-meta-b': '2' },
    });
    expect((await get('same')).headers).toMatchObject(headers);
    const { headers: replaced } = await get('other');
    expect([replaced['x-oss-meta-a'], replaced['x-oss-meta-b']]).toEqual([undefined, '2']);
  });

  test('storage class and encryption are told as they were asked for', async () => {
    await put('k', 'v', { 'x-oss-storage-class': 'IA', 'x-oss-server-side-encryption': 'AES256' });
    const asked = { 'x-oss-storage-class': 'IA', 'x-oss-server-side-encryption': 'AES256' };
    expect((await call({ method: 'HEAD', key: 'k' })).headers).toMatchObject(asked);
    expect(element(await call({ method: 'GET' }), 'StorageClass')).toBe('IA');
  });

  test.each([
    [{ method: 'GET', query: { stat: null } }],
    [{ method: 'GET', query: { versions: null } }],
    [{ method: 'PUT', query: { acl: null } }],
    [{ method: 'POST', key: 'k', query: { append: null, position: '0' } }],
    [{ method: 'GET', key: 'k', query: { 'x-oss-process': 'image/resize,w_1' } }],
    [{ method: 'PUT', key: 'k', headers: { 'x-oss-tagging': 'a=b' } }],
    [{ method: 'PUT', key: 'k', headers: { 'x-oss-rename-source': 'k' } }],
    [{ method: 'PUT', key: 'k', headers: { 'x-oss-storage-class': 'ColdArchive' } }],
  ])('what is not here is refused, and not taken for something else: %j', async (wanted: RawRequest) => {
    const answer = await call(wanted);
    expect([answer.status, element(answer, 'Code')]).toEqual([501, 'NotImplemented']);
  });

  test.each(['a%20b%2Bc', 'a+b%2Bc'])('the source of a copy may be written as %s', async (key) => {
    await put('a b+c', 'v');
    const headers = { 'x-oss-copy-source': `/${bucket}/${key}` };
    expect((await call({ method: 'PUT', key: 'copy', headers })).status).toBe(200);
  });

  test.each(['/x', 'a//b', 'a/../b', 'a/.', 'x'.repeat(256), 'k'.repeat(1024)])(
    'a key that is no file here is refused, not bent: %j',
    async (key) => {
      const answer = await put(key, 'x');
      expect([answer.status, element(answer, 'Code')]).toEqual([400, 'InvalidObjectName']);
      expect(await readdir(path.join(root, bucket))).toEqual([]);
    },
  );

  test('a key with a slash at its end is an empty object, whatever lies below it', async () => {
    await put('a/', '', { 'x-oss-meta-a': '1' });
    await put('a/b', 'x');
    expect(await get('a/')).toMatchObject({ status: 200, headers: { 'content-length': '0', 'x-oss-meta-a': '1' } });
    const keys = async () => {
      const { body } = await call({ method: 'GET', query: { prefix: 'a/', delimiter: '/' } });
      return [...body.toString().matchAll(/<Key>(.*?)<\/Key>/g)].map((one) => one[1]);
    };
    expect(await keys()).toEqual(['a/', 'a/b']);
    await call({ method: 'DELETE', key: 'a/' });
    expect([await keys(), (await get('a/')).status, (await get('a/b')).status]).toEqual([['a/b'], 404, 200]);
    expect((await put('c/', 'bytes')).status).toBe(400);
  });

  test('an object cannot be the folder of another one, but may take the place of an empty folder', async () => {
    await put('a/b', 'x');
    expect((await put('a', 'x')).status).toBe(400);
    expect((await put('a/b/c', 'x')).status).toBe(400);
    await call({ method: 'DELETE', key: 'a/b' });
    expect((await put('a', 'now a file')).status).toBe(200);
  });
});

function complete(parts: readonly (readonly [number: number, etag: string])[]): Buffer {
  const inner = parts.map(([number, etag]) => `<Part><PartNumber>${number}</PartNumber><ETag>"${etag}"</ETag></Part>`);
  return Buffer.from(`<CompleteMultipartUpload>${inner.join('')}</CompleteMultipartUpload>`);
}

describe('multipart', () => {
  const SMALL = Buffer.alloc(102_399, 1);
  const LEAST = Buffer.alloc(102_400, 2);

  async function start(): Promise<string> {
    return element(await call({ method: 'POST', key: 'm', query: { uploads: null } }), 'UploadId') ?? '';
  }

  async function part(id: string, number: number, body: Buffer): Promise<[number, string]> {
    const query = { partNumber: String(number), uploadId: id };
    const answer = await call({ method: 'PUT', key: 'm', query, body });
    return [number, String(answer.headers.etag).replaceAll('"', '')];
  }

  async function end(id: string, parts: readonly [number, string][], headers = {}) {
    const answer = await call({ method: 'POST', key: 'm', query: { uploadId: id }, body: complete(parts), headers });
    return { status: answer.status, code: element(answer, 'Code'), answer };
  }

  test('each part but the last has 100 KB at least, which is said at the end', async () => {
    const id = await start();
    const small = await part(id, 1, SMALL);
    const least = await part(id, 2, LEAST);
    expect(await end(id, [small, least])).toMatchObject({ status: 400, code: 'EntityTooSmall' });
    expect(await end(id, [least])).toMatchObject({ status: 200 });
    expect((await get('m')).body.equals(LEAST)).toBe(true);
  });

  test('numbers ascend, with gaps; each part is there with its ETag, in either case', async () => {
    const id = await start();
    const [one, nine] = [await part(id, 1, LEAST), await part(id, 9, SMALL)];
    expect(await end(id, [nine, one])).toMatchObject({ status: 400, code: 'InvalidPartOrder' });
    expect(await end(id, [one, one])).toMatchObject({ status: 400, code: 'InvalidPartOrder' });
    expect(await end(id, [one, [5, nine[1]]])).toMatchObject({ status: 400, code: 'InvalidPart' });
    expect(await end(id, [one, [9, one[1]]])).toMatchObject({ status: 400, code: 'InvalidPart' });
    expect(await end(id, [])).toMatchObject({ status: 400, code: 'MalformedXML' });
    expect(await end(id, [one, [9, nine[1].toLowerCase()]])).toMatchObject({ status: 200 });
  });

  test('the same number again takes the place of the part', async () => {
    const id = await start();
    const old = await part(id, 1, LEAST);
    const next = await part(id, 1, SMALL);
    expect(await end(id, [old])).toMatchObject({ code: 'InvalidPart' });
    expect(await end(id, [next])).toMatchObject({ status: 200 });
    expect((await get('m')).body.equals(SMALL)).toBe(true);
  });

  test('the checksum of the answer is that of the whole object, and what ListParts tells of a part is the part’s', async () => {
    const id = await start();
    const sent = [await part(id, 1, LEAST), await part(id, 2, SMALL)];
    const list = await call({ method: 'GET', key: 'm', query: { uploadId: id } });
    const { answer } = await end(id, sent);
    await put('whole', Buffer.concat([LEAST, SMALL]));
    await put('part', LEAST);
    expect(answer.headers['x-oss-hash-crc64ecma']).toBe((await get('whole')).headers['x-oss-hash-crc64ecma']);
    expect(element(list, 'HashCrc64ecma')).toBe((await get('part')).headers['x-oss-hash-crc64ecma']);
    expect((await get('m')).headers).toMatchObject({ 'x-oss-object-type': 'Multipart', etag: answer.headers.etag });
  });

  test('x-oss-complete-all takes what is there', async () => {
    const id = await start();
    await part(id, 2, SMALL);
    await part(id, 1, LEAST);
    const body = Buffer.alloc(0);
    const headers = { 'x-oss-complete-all': 'yes' };
    expect((await call({ method: 'POST', key: 'm', query: { uploadId: id }, headers, body })).status).toBe(200);
    expect((await get('m')).body.equals(Buffer.concat([LEAST, SMALL]))).toBe(true);
  });

  test('two completions at once: one object, and the second is told that there is no such upload', async () => {
    const id = await start();
    const one = await part(id, 1, LEAST);
    const ends = await Promise.all([end(id, [one]), end(id, [one])]);
    expect(ends.map(({ status, code }) => code ?? status).sort()).toEqual([200, 'NoSuchUpload']);
  });

  test.each(['0', '10001', 'x', '1.5'])('part number %s is refused', async (partNumber) => {
    const id = await start();
    const answer = await call({ method: 'PUT', key: 'm', query: { partNumber, uploadId: id }, body: SMALL });
    expect([answer.status, element(answer, 'EC')]).toEqual([400, '0017-00000220']);
  });

  test('an upload is of one key', async () => {
    const id = await start();
    const query = { partNumber: '1', uploadId: id };
    const answer = await call({ method: 'PUT', key: 'other', query, body: SMALL });
    expect([answer.status, element(answer, 'Code')]).toEqual([404, 'NoSuchUpload']);
  });

  test('uploads are listed by key in pages, also several of one key', async () => {
    for (const key of ['b', 'a/1', 'b', 'c']) await call({ method: 'POST', key, query: { uploads: null } });
    const pages: string[][] = [];
    for (let query: Record<string, string | null> = {}; ;) {
      const answer = await call({
        method: 'GET',
        query: { uploads: null, 'max-uploads': '1', delimiter: '/', ...query },
      });
      const text = answer.body.toString();
      pages.push(
        [...text.matchAll(/<(?:Upload|CommonPrefixes)>.*?<(?:Key|Prefix)>([^<]*)</g)].map((one) => one[1] ?? ''),
      );
      if (element(answer, 'IsTruncated') === 'false') break;
      const [key, id] = [element(answer, 'NextKeyMarker') ?? '', element(answer, 'NextUploadIdMarker') ?? ''];
      query = { 'key-marker': key, ...(id === '' ? {} : { 'upload-id-marker': id }) };
    }
    expect(pages).toEqual([['a/'], ['b'], ['b'], ['c']]);
  });
});

describe('objects are files', () => {
  test('what is put is a file for everybody to read and write', async () => {
    await put('a/b/c', 'v');
    expect(readFileSync(fileOf('a/b/c'), 'utf8')).toBe('v');
    expect((await stat(fileOf('a/b/c'))).mode & 0o777).toBe(0o666);
    expect((await stat(fileOf('a/b'))).mode & 0o777).toBe(0o777);
    await call({ method: 'DELETE', key: 'a/b/c' });
    expect(existsSync(fileOf('a/b/c'))).toBe(false);
  });

  test('what somebody else writes, overwrites and removes is served as it is', async () => {
    await mkdir(fileOf('x'), { recursive: true });
    await writeFile(fileOf('x/y'), 'theirs');
    const first = await get('x/y');
    expect([first.body.toString(), first.headers.etag]).toEqual([
      'theirs',
      `"${md5('theirs').toString('hex').toUpperCase()}"`,
    ]);
    await put('x/y', 'ours');
    await writeFile(fileOf('x/y'), 'over');
    const second = await get('x/y');
    await put('z', 'over');
    const { etag, 'x-oss-hash-crc64ecma': crc } = (await get('z')).headers;
    expect(second.headers).toMatchObject({ etag, 'x-oss-hash-crc64ecma': crc, 'content-length': '4' });
    await rm(fileOf('x/y'));
    expect((await get('x/y')).status).toBe(404);
  });

  test('empty folders are no objects, and do not keep a bucket alive', async () => {
    await put('a/b', 'x');
    expect(element(await call({ method: 'DELETE' }), 'Code')).toBe('BucketNotEmpty');
    await call({ method: 'DELETE', key: 'a/b' });
    const list = await call({ method: 'GET', query: { 'list-type': '2' } });
    expect(element(list, 'KeyCount')).toBe('0');
    expect((await call({ method: 'DELETE' })).status).toBe(204);
    expect(element(await call({ method: 'GET', query: { bucketInfo: null } }), 'Code')).toBe('NoSuchBucket');
  });
});

describe('listing', () => {
  test('odd keys in the order of their bytes, encoded when asked', async () => {
    for (const key of ['b', 'a+ &<>', 'é', '\u{1F600}', '\uFF21']) await put(key, key);
    const keysOf = async (query: RawRequest['query']) =>
      [...(await call({ method: 'GET', query })).body.toString().matchAll(/<Key>(.*?)<\/Key>/g)].map((one) => one[1]);
    const encoded = ['a%2B%20%26%3C%3E', 'b', '%C3%A9', '%EF%BC%A1', '%F0%9F%98%80'];
    expect(await keysOf({ 'encoding-type': 'url' })).toEqual(encoded);
    expect(await keysOf({ 'list-type': '2', 'encoding-type': 'url', 'start-after': 'b' })).toEqual(encoded.slice(2));
    expect((await keysOf({ 'list-type': '2' }))[0]).toBe('a+ &amp;&lt;&gt;');
  });

  test.each([
    [{ 'max-keys': '0' }, '0015-00000402'],
    [{ 'max-keys': '1001' }, '0015-00000402'],
    [{ 'encoding-type': 'base64' }, undefined],
    [{ 'list-type': '2', 'continuation-token': '!' }, undefined],
  ])('%j is refused', async (query, ec = '0000-00000000') => {
    const answer = await call({ method: 'GET', query: query as RawRequest['query'] });
    expect([answer.status, element(answer, 'Code'), element(answer, 'EC')]).toEqual([400, 'InvalidArgument', ec]);
  });
});

test('a temporary key needs one of its tokens, that is not expired', async () => {
  const own = await mkdtemp(path.join(tmpdir(), 'snapferry-oss-sts-'));
  const sessionTokens = [{ token: 'good' }, { token: 'old', expiresAt: new Date(Date.now() - 1000).toISOString() }];
  const sts = await startOss({ root: own, ...OSS_KEYS, sessionTokens });
  try {
    const name = newBucket(own);
    const refreshSTSToken = () => Promise.reject(new Error('is not due'));
    const client = (stsToken?: string) => aliOss(sts.endpoint, name, stsToken ? { stsToken, refreshSTSToken } : {});
    await client('good').put('k', Buffer.from('v'));
    expect((await client('good').get('k')).content.toString()).toBe('v');
    await expect(client('old').get('k')).rejects.toMatchObject({ status: 403, code: 'SecurityTokenExpired' });
    await expect(client('other').get('k')).rejects.toMatchObject({ status: 403, code: 'InvalidSecurityToken' });
    await expect(client().get('k')).rejects.toMatchObject({ status: 403, code: 'InvalidAccessKeyId' });
  } finally {
    await sts.stop();
    await rm(own, { recursive: true });
  }
});

test('killed in the middle and started again, it knows its objects and unfinished uploads as before', async () => {
  const own = await mkdtemp(path.join(tmpdir(), 'snapferry-oss-kill-'));
  const name = newBucket(own);
  const first = await startOss({ root: own, ...OSS_KEYS });
  const client = aliOss(first.endpoint, name);
  const { uploadId } = await client.initMultipartUpload('m');
  const etag = await sendPart(client, 'm', uploadId, 1, Buffer.alloc(200_000, 1));
  const whole = await client.initMultipartUpload('whole');
  const part = { number: 1, etag: await sendPart(client, 'whole', whole.uploadId, 1, Buffer.from('w')) };
  const completed = await client.completeMultipartUpload('whole', whole.uploadId, [part]);
  await client.put('k', Buffer.from('v'), { mime: 'text/x' });
  first.kill();

  const second = await startOss({ root: own, ...OSS_KEYS });
  try {
    const again = aliOss(second.endpoint, name);
    expect((await again.head('k')).res.headers).toMatchObject({ 'content-type': 'text/x' });
    expect((await again.head('whole')).res.headers).toMatchObject({
      etag: completed.etag,
      'x-oss-object-type': 'Multipart',
    });
    const { parts } = await again.listParts('m', uploadId); // of a single one ali-oss makes no list
    expect(parts).toMatchObject({ PartNumber: '1', ETag: etag, Size: '200000' });
    await again.completeMultipartUpload('m', uploadId, [{ number: 1, etag }]);
    expect((await again.get('m')).content.length).toBe(200_000);
  } finally {
    await second.stop();
    await rm(own, { recursive: true });
  }
});

test('npm run stack -- oss takes exactly what the README of the stack says', () => {
  const words = 'oss --root /d --port 9000 --access-key-id I --access-key-secret S --region cn-hangzhou'.split(' ');
  expect(parseArguments(words).parts).toEqual([
    {
      kind: 'oss',
      root: '/d',
      port: 9000,
      controlPort: undefined,
      accessKeyId: 'I',
      secretAccessKey: 'S',
      region: 'cn-hangzhou',
    },
  ]);
});
