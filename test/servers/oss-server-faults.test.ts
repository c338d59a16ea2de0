/** The fault script of our OSS server: each fault does what it says, to the request that it names and to no other. */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { startOss } from '../../stack';
import type { Fault, FaultAction, OssServer } from '../../stack';
import { element, newBucket, OSS_KEYS, raw, signedHeaders } from '../support/oss';
import type { RawAnswer, RawRequest } from '../support/oss';

const BODY = randomBytes(3_000_000);

let root: string;
let server: OssServer;
let bucket: string;

beforeAll(async () => {
  root = await mkdtemp(path.join(tmpdir(), 'snapferry-oss-faults-'));
  server = await startOss({ root, ...OSS_KEYS, faults: [{ on: { key: 'from-the-start' }, then: slow() }] });
});
afterAll(async () => {
  await server?.stop();
  await rm(root, { recursive: true, force: true });
});
beforeEach(() => {
  bucket = newBucket(root);
});
afterEach(() => server.setFaults([]));

function slow(code = 'ServiceUnavailable'): FaultAction {
  return { do: 'error', code };
}

const call = (wanted: RawRequest) => raw(server, { bucket, ...wanted });
const put = (key = 'k', body: Buffer = BODY) => call({ method: 'PUT', key, body });
const get = (key = 'k') => call({ method: 'GET', key });
const crcOf = (answer: RawAnswer) => answer.headers['x-oss-hash-crc64ecma'];

/** A script of one fault. */
async function fault(then: FaultAction, more: Omit<Fault, 'then'> = {}): Promise<void> {
  await server.setFaults([{ ...more, then }]);
}

test('a script that is there from the start', async () => {
  expect((await put('from-the-start', Buffer.from('x'))).status).toBe(503);
  expect((await put('from-the-start', Buffer.from('x'))).status).toBe(200);
});

test.each([
  'ActiveRequestLimitExceeded',
  'DownloadTrafficRateLimitExceeded',
  'MetaOperationQpsLimitExceeded',
  'PartitionQpsLimitted',
  'ServiceUnavailable',
  'TotalQpsLimitExceeded',
  'UploadTrafficRateLimitExceeded',
])('503 %s, once', async (code) => {
  await fault(slow(code));
  const answer = await put();
  expect([answer.status, element(answer, 'Code')]).toEqual([503, code]);
  expect((await get()).status).toBe(404);
});

test.each([
  ['AccessDenied', 403],
  ['SecurityTokenExpired', 403],
  ['PublicEndpointForbidden', 400],
  ['InternalError', 500],
  ['NoSuchBucket', 404],
])('any other error: %s is %i', async (code, status) => {
  await fault({ do: 'error', code });
  const answer = await get();
  expect([answer.status, element(answer, 'Code')]).toEqual([status, code]);
});

test('an error that OSS does not have, with a status and a sentence of its own, also for HEAD', async () => {
  await fault({ do: 'error', code: 'Odd', status: 418, message: 'Odd.' });
  const { status, headers } = await call({ method: 'HEAD', key: 'k' });
  expect(status).toBe(418);
  expect(Buffer.from(String(headers['x-oss-err']), 'base64').toString()).toContain('<Message>Odd.</Message>');
});

test('the requests that a fault names, from the nth on, so many of them', async () => {
  await put('a', Buffer.from('a'));
  await fault(slow(), { on: { operation: 'GetObject', key: '^a$' }, nth: 2, count: 2 });
  const statuses = [];
  for (const key of ['a', 'nope', 'a', 'a', 'a']) statuses.push((await get(key)).status);
  expect(statuses).toEqual([200, 404, 503, 503, 200]);
  expect(await server.faults()).toMatchObject([{ seen: 4, struck: 2 }]);
});

test('requests without a valid signature do not use a fault up', async () => {
  await fault(slow());
  await raw(
    { endpoint: server.endpoint },
    { method: 'GET', bucket, key: 'k', headers: { 'x-oss-date': '20200101T000000Z' } },
  );
  expect(await server.faults()).toMatchObject([{ seen: 0, struck: 0 }]);
});

describe('a reset', () => {
  test('after so many bytes of the answer', async () => {
    await put();
    await fault({ do: 'reset', of: 'response', afterBytes: 1_000_000 });
    const answer = await get();
    expect([answer.status, answer.complete, answer.headers['content-length']]).toEqual([200, false, '3000000']);
    // How much of it the reset overtakes is up to the network.
    expect(answer.body.length).toBeLessThanOrEqual(1_000_000);
    expect(answer.body.equals(BODY.subarray(0, answer.body.length))).toBe(true);
    expect((await get()).body.equals(BODY)).toBe(true);
  });

  test('after so many bytes of the request, of which nothing is kept', async () => {
    await fault({ do: 'reset', of: 'request', afterBytes: 1_000_000 });
    await expect(put()).rejects.toMatchObject({ code: expect.stringMatching(/ECONNRESET|EPIPE/) as unknown });
    expect((await get()).status).toBe(404);
    expect(await readdir(path.join(root, '.oss/staging'))).toEqual([]);
  });

  test('on a side without a body, at once: a request is not carried out, an answer is lost', async () => {
    await put('a');
    await fault({ do: 'reset', of: 'request', afterBytes: 0 }, { on: { method: 'DELETE' } });
    await expect(call({ method: 'DELETE', key: 'a' })).rejects.toThrow(/hang up|RESET/i);
    expect((await get('a')).status).toBe(200);
    await fault({ do: 'reset', of: 'response', afterBytes: 0 }, { on: { method: 'DELETE' } });
    await expect(call({ method: 'DELETE', key: 'a' })).rejects.toThrow(/hang up|RESET/i);
    expect((await get('a')).status).toBe(404);
  });
});

describe('a hanging connection', () => {
  /** The bytes that arrive; gives up once `enough` of them are there and another request was served meanwhile. */
  async function hanging(method: string, enough: number, body?: Buffer): Promise<Buffer> {
    const headers = { ...signedHeaders({ method, bucket, key: 'k' }), 'content-length': String(body?.length ?? 0) };
    const chunks: Buffer[] = [];
    let ended = false;
    const sent = request(`${server.endpoint}/${bucket}/k`, { method, headers, agent: false });
    sent.on('error', () => undefined).end(body);
    sent.on('response', (response) => {
      response.on('data', (chunk: Buffer) => chunks.push(chunk)).on('end', () => (ended = true));
      response.on('error', () => undefined);
    });
    while ((await server.faults())[0]?.struck === 0 || Buffer.concat(chunks).length < enough) await get('other');
    await get('other');
    expect(ended).toBe(false);
    sent.destroy();
    return Buffer.concat(chunks);
  }

  test('in the middle of the answer', async () => {
    await put();
    await fault({ do: 'hang', of: 'response', afterBytes: 500_000 }, { on: { key: '^k$' } });
    expect((await hanging('GET', 500_000)).equals(BODY.subarray(0, 500_000))).toBe(true);
  });

  test('in the middle of the request', async () => {
    await fault({ do: 'hang', of: 'request', afterBytes: 500_000 }, { on: { key: '^k$' } });
    expect(await hanging('PUT', 0, BODY)).toHaveLength(0);
  });

  test('before anything is answered', async () => {
    await fault({ do: 'hang', of: 'request', afterBytes: 0 }, { on: { key: '^k$' } });
    expect(await hanging('GET', 0)).toHaveLength(0);
  });
});

test('a slow drip moves at its rate, in either direction, and is whole in the end', async () => {
  const small = BODY.subarray(0, 3000);
  await server.setFaults([
    { on: { method: 'PUT' }, then: { do: 'drip', of: 'request', bytesPerSecond: 10_000 } },
    { on: { method: 'GET' }, then: { do: 'drip', of: 'response', bytesPerSecond: 10_000 } },
  ]);
  for (const act of [() => put('k', small), () => get()]) {
    const began = Date.now();
    expect((await act()).status).toBe(200);
    expect(Date.now() - began).toBeGreaterThan(250); // never faster than the rate; how much slower is the machine's
  }
  expect((await get()).body.equals(small)).toBe(true);
});

describe('a body that ends early', () => {
  test('with the length of the whole: the connection closes in the middle', async () => {
    await put();
    await fault({ do: 'truncate', afterBytes: 1_000_000, contentLength: 'whole' });
    const answer = await get();
    expect([answer.status, answer.complete, answer.headers['content-length']]).toEqual([200, false, '3000000']);
    expect(answer.body.equals(BODY.subarray(0, 1_000_000))).toBe(true);
  });

  test('with the length of what is sent: only the checksum tells', async () => {
    const whole = crcOf(await put());
    await fault({ do: 'truncate', afterBytes: 1_000_000, contentLength: 'sent' });
    const answer = await get();
    expect([answer.status, answer.complete, answer.headers['content-length']]).toEqual([200, true, '1000000']);
    expect([answer.body.length, crcOf(answer)]).toEqual([1_000_000, whole]);
  });
});

describe('one flipped bit', () => {
  const flippedAt = (at: number) => Buffer.from(BODY.map((byte, index) => (index === at ? byte ^ 1 : byte)));

  test('on the way back: what is stored is right', async () => {
    const { headers } = await put();
    await fault({ do: 'flip', of: 'response', byte: 1_500_000 });
    const answer = await get();
    expect(answer.body.equals(flippedAt(1_500_000))).toBe(true);
    expect(crcOf(answer)).toBe(headers['x-oss-hash-crc64ecma']);
    expect((await get()).body.equals(BODY)).toBe(true);
  });

  test('on the way here: the checksum of the answer is that of what arrived', async () => {
    const right = crcOf(await put());
    await fault({ do: 'flip', of: 'request', byte: 1_500_000 });
    expect(crcOf(await put())).not.toBe(right);
    expect((await get()).body.equals(flippedAt(1_500_000))).toBe(true);
  });

  test('at rest: every checksum that the server tells is right, and the bytes are not', async () => {
    const right = crcOf(await put('right'));
    await fault({ do: 'flip', of: 'stored', byte: 1_500_000 });
    expect(crcOf(await put())).toBe(right);
    const answer = await get();
    expect(crcOf(answer)).toBe(right);
    expect(answer.body.equals(flippedAt(1_500_000))).toBe(true);
    expect(readFileSync(path.join(root, bucket, 'k')).equals(flippedAt(1_500_000))).toBe(true);
  });
});

test('a lost reply to Complete: the object is there, the upload is gone', async () => {
  const id = element(await call({ method: 'POST', key: 'm', query: { uploads: null } }), 'UploadId') ?? '';
  const part = await call({ method: 'PUT', key: 'm', query: { partNumber: '1', uploadId: id }, body: BODY });
  const list = `<Part><PartNumber>1</PartNumber><ETag>${part.headers.etag}</ETag></Part>`;
  const body = Buffer.from(`<CompleteMultipartUpload>${list}</CompleteMultipartUpload>`);
  const complete = () => call({ method: 'POST', key: 'm', query: { uploadId: id }, body });
  await fault({ do: 'lose-reply' }, { on: { operation: 'CompleteMultipartUpload' } });
  await expect(complete()).rejects.toMatchObject({ code: 'ECONNRESET' });
  expect((await get('m')).body.equals(BODY)).toBe(true);
  expect(element(await complete(), 'Code')).toBe('NoSuchUpload');
});

test('one token expires and the next one works', async () => {
  const own = await mkdtemp(path.join(tmpdir(), 'snapferry-oss-token-'));
  const sts = await startOss({ root: own, ...OSS_KEYS, sessionTokens: [{ token: 'one' }, { token: 'two' }] });
  try {
    const name = newBucket(own);
    const status = async (token: string) =>
      (await raw(sts, { method: 'GET', bucket: name, key: 'k', headers: { 'x-oss-security-token': token } })).status;
    await sts.setFaults([{ on: { token: 'one' }, count: 0, then: { do: 'error', code: 'SecurityTokenExpired' } }]);
    expect([await status('one'), await status('two'), await status('one')]).toEqual([403, 404, 403]);
  } finally {
    await sts.stop();
    await rm(own, { recursive: true });
  }
});

test('a script that is wrong is refused in words, and the one before it stays', async () => {
  await fault(slow());
  await expect(server.setFaults([{ then: { do: 'explode' } } as never])).rejects.toThrow(/fault script is wrong/);
  await expect(startOss({ root, ...OSS_KEYS, faults: [{ nth: 0, then: slow() }] })).rejects.toThrow(/nth/);
  expect((await get()).status).toBe(503);
});

test('traffic is counted by operation, with the bytes of broken exchanges', async () => {
  const before = (await server.traffic()).UploadPart ?? { requests: 0, bytesIn: 0, bytesOut: 0 };
  const id = element(await call({ method: 'POST', key: 'm', query: { uploads: null } }), 'UploadId') ?? '';
  await fault({ do: 'reset', of: 'request', afterBytes: 1_000_000 });
  const part = () => call({ method: 'PUT', key: 'm', query: { partNumber: '1', uploadId: id }, body: BODY });
  await part().catch(() => undefined);
  await part();
  const { requests, bytesIn } = (await server.traffic()).UploadPart ?? before;
  expect(requests - before.requests).toBe(2);
  expect(bytesIn - before.bytesIn).toBeGreaterThanOrEqual(4_000_000);
  expect(bytesIn - before.bytesIn).toBeLessThan(6_000_000);
});
