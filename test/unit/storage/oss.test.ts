/** What OSS does that our own server does only on demand, or never: a small server that answers as it is told. */
import { createHash } from 'node:crypto';
import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { inspect } from 'node:util';
import type { MigrationError } from '../../../src/domain/errors';
import {
  BlobCorruptError,
  BlobMissingError,
  ConfigurationError,
  RepositoryChangedError,
  UnavailableError,
} from '../../../src/domain/errors';
import type { OssOptions, Store } from '../../../src/storage';
import { combineCrc64, crc64, openOss, payload, showCrc64 } from '../../../src/storage';
import { ossAddress } from '../../../src/storage/oss-address';
import { collect } from '../../contract/store';

const NEVER = new AbortController().signal;
const SECRETS = { accessKeyId: 'LTAIPLANTED', accessKeySecret: 'planted-secret', securityToken: 'planted-token' };
/** Of "123456789". */
const CRC = { 'x-oss-hash-crc64ecma': '11051210869376104954' };
const NINE = payload(Buffer.from('123456789'));

let server: Server | undefined;
let requests: (IncomingMessage & { text?: string })[];

// Pauses between tries are as short as they may happen to be.
beforeEach(() => jest.spyOn(Math, 'random').mockReturnValue(0.01));
afterEach(async () => {
  jest.restoreAllMocks();
  server?.closeAllConnections();
  await new Promise((resolve) => (server ? server.close(resolve) : resolve(undefined)));
  server = undefined;
});

async function serve(answer: RequestListener, more: Partial<OssOptions> = {}): Promise<Store> {
  requests = [];
  server = createServer((request: IncomingMessage & { text?: string }, response) => {
    requests.push(request);
    request.text = '';
    request.setEncoding('latin1').on('data', (chunk: string) => (request.text += chunk));
    request.on('end', () => answer(request, response));
  });
  await new Promise<void>((resolve) => server!.listen(0, '127.0.0.1', resolve));
  return open(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, more);
}

function open(endpoint: string, more: Partial<OssOptions> = {}): Store {
  return openOss({ bucket: 'bucket', region: 'cn-hangzhou', endpoint, credentials: async () => SECRETS, ...more });
}

function errorXml(code: string, more = ''): string {
  // As OSS does about a signature: what was signed is repeated.
  const details = `<CanonicalRequest>x-oss-security-token:${SECRETS.securityToken}</CanonicalRequest>`;
  return `<?xml version="1.0"?><Error><Code>${code}</Code><Message>text</Message>${details}<RequestId>R1</RequestId>${more}</Error>`;
}

function refuse(response: ServerResponse, status: number, code: string, more = '', headers = {}): void {
  response.writeHead(status, { 'content-type': 'application/xml', ...headers }).end(errorXml(code, more));
}

const failure = (work: Promise<unknown>) =>
  work.then(
    () => undefined,
    (error: unknown) => error as MigrationError,
  );

const write = (store: Store, body = NINE) => store.write('a/__0', body, {}, NEVER);

describe('an answer is classified by its code, and by its status where it has none', () => {
  test.each([
    [403, 'AccessDenied', ConfigurationError, 1],
    [403, 'InvalidAccessKeyId', ConfigurationError, 1],
    [403, 'SignatureDoesNotMatch', ConfigurationError, 3],
    [403, 'SecurityTokenExpired', ConfigurationError, 3],
    [403, 'InvalidSecurityToken', ConfigurationError, 3],
    [403, 'RequestTimeTooSkewed', ConfigurationError, 1],
    [400, 'PublicEndpointForbidden', ConfigurationError, 1],
    [403, 'InvalidObjectState', ConfigurationError, 1],
    [409, 'FileImmutable', ConfigurationError, 1],
    [409, 'FileAlreadyExists', ConfigurationError, 1],
    [400, 'InvalidArgument', ConfigurationError, 1],
    [404, 'NoSuchBucket', ConfigurationError, 1],
    [404, 'NoSuchKey', BlobMissingError, 1],
    [404, 'NoSuchUpload', BlobMissingError, 1],
    [412, 'PreconditionFailed', RepositoryChangedError, 1],
    [416, 'InvalidRange', UnavailableError, 1],
    [400, 'InvalidDigest', BlobCorruptError, 3],
    [400, 'InvalidPart', BlobCorruptError, 1],
    [400, 'EntityTooSmall', BlobCorruptError, 1],
    [400, 'RequestTimeout', UnavailableError, 3],
    [500, 'InternalError', UnavailableError, 3],
    [502, 'SomethingNew', UnavailableError, 3],
  ])('%i %s', async (status, code, expected, tries) => {
    const store = await serve((_, response) => refuse(response, status, code, '<EC>0001-00000001</EC>'));
    const error = await failure(write(store));
    expect(error).toBeInstanceOf(expected);
    const about = { store: 'oss://bucket', key: 'a/__0', code, status, requestId: 'R1', ec: '0001-00000001' };
    expect(error!.subject).toMatchObject(about);
    expect(requests).toHaveLength(tries);
    expect(store.pressure!.throttled).toBe(0);
    const shown = inspect(error, { depth: 9, showHidden: true }) + JSON.stringify(error);
    for (const secret of Object.values(SECRETS)) expect(shown).not.toContain(secret);
  });

  test.each([
    'DownloadTrafficRateLimitExceeded',
    'UploadTrafficRateLimitExceeded',
    'MetaOperationQpsLimitExceeded',
    'ServiceUnavailable',
    'TotalQpsLimitExceeded',
    'ActiveRequestLimitExceeded',
    'PartitionQpsLimitted',
  ])('%s asks to slow down, and is counted', async (code) => {
    const store = await serve((_, response) => refuse(response, 503, code));
    await expect(write(store)).rejects.toThrow(UnavailableError);
    expect(store.pressure!.throttled).toBe(3);
  });

  test('an account that may not use public endpoints is told which others there are', async () => {
    const store = await serve((_, response) => refuse(response, 400, 'PublicEndpointForbidden'));
    expect((await failure(write(store)))!.message).toMatch(/internal endpoint.*cname: true/s);
  });

  test('a blob that is missing is so, though the body that says it was cut short', async () => {
    const store = await serve((_, response) =>
      response.writeHead(404, { 'x-oss-ec': '0026-00000001' }).end('<?xml ver'),
    );
    expect(await failure(store.read('a/__0', {}, NEVER))).toBeInstanceOf(BlobMissingError);
  });

  test('a key of KMS that these credentials may not use is told apart from a permission of the bucket', async () => {
    const message = 'This request is forbidden by kms';
    const body = `<Error><Code>AccessDenied</Code><Message>${message}</Message></Error>`;
    const store = await serve((_, response) => void response.writeHead(403).end(body));
    const error = await failure(write(store));
    expect(error!.message).toMatch(/^These credentials may not use the key/);
    expect(error!.subject).toMatchObject({ lacks: 'kms', code: 'AccessDenied' });
  });

  test('a bucket of another region is told apart from a permission, with the endpoint that OSS names', async () => {
    const store = await serve((_, response) =>
      refuse(response, 403, 'AccessDenied', '<Endpoint>oss-cn-beijing.aliyuncs.com</Endpoint>'),
    );
    const error = await failure(write(store));
    expect(error!.message).toContain('another region');
    expect(error!.subject).toMatchObject({ rightEndpoint: 'oss-cn-beijing.aliyuncs.com' });
  });

  test('a clock that is wrong is said in words, with both clocks', async () => {
    const date = 'Tue, 01 Jan 2030 00:00:00 GMT';
    const store = await serve((_, response) => refuse(response, 403, 'RequestTimeTooSkewed', '', { date }));
    const error = await failure(write(store));
    expect(error!.message).toContain('clock');
    expect(error!.subject['storeClock']).toBe('2030-01-01T00:00:00.000Z');
    expect(Date.parse(String(error!.subject['workerClock']))).toBeGreaterThan(Date.now() - 10_000);
  });
});

describe('HEAD has no body', () => {
  const hidden = (code: string) => ({ 'x-oss-err': Buffer.from(errorXml(code, '<EC>E1</EC>')).toString('base64') });

  test('OSS hides the error in a header', async () => {
    const store = await serve((_, response) => void response.writeHead(403, hidden('AccessDenied')).end());
    const error = await failure(store.head('a', NEVER));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error!.subject).toMatchObject({ code: 'AccessDenied', requestId: 'R1', ec: 'E1' });
  });

  test('a blob that is not there is told apart from its bucket', async () => {
    let code = 'NoSuchKey';
    const store = await serve((_, response) => void response.writeHead(404, hidden(code)).end());
    expect(await store.head('a', NEVER)).toBeUndefined();
    expect(requests).toHaveLength(1);
    code = 'NoSuchBucket';
    await expect(store.head('a', NEVER)).rejects.toThrow(ConfigurationError);
  });

  test('without the header, a listing says whether the bucket is there', async () => {
    const store = await serve((request, response) => {
      if (request.method === 'HEAD') response.writeHead(404).end();
      else refuse(response, 404, 'NoSuchBucket');
    });
    await expect(store.head('a', NEVER)).rejects.toThrow(ConfigurationError);
    expect(requests.map(({ method }) => method)).toEqual(['HEAD', 'GET']);
  });
});

describe('every request', () => {
  test('is signed anew with the credentials of the moment, a repeated one too', async () => {
    let asked = 0;
    const credentials = async () => ({ ...SECRETS, securityToken: `token-${++asked}` });
    const store = await serve(
      (_, response) => {
        if (requests.length < 3) refuse(response, 403, 'SecurityTokenExpired');
        else response.writeHead(200, { etag: '"E"', ...CRC }).end();
      },
      { credentials },
    );
    await write(store);
    expect(requests.map(({ headers }) => headers['x-oss-security-token'])).toEqual(['token-1', 'token-2', 'token-3']);
    for (const { headers } of requests)
      expect(headers.authorization).toMatch(/^OSS4-HMAC-SHA256 Credential=LTAIPLANTED\//);
  });

  test('of a bucket that is reached by an IP address has the bucket in its path', async () => {
    const store = await serve((_, response) => void response.writeHead(200, { etag: '"E"' }).end());
    await store.head('a b/+', NEVER);
    expect(requests[0]!.url).toBe('/bucket/a%20b/%2B');
  });

  test('for a range asks for the standard behaviour', async () => {
    const headers = { etag: '"E"', 'content-length': '2', 'content-range': 'bytes 3-4/9' };
    const store = await serve((_, response) => void response.writeHead(206, headers).end('45'));
    expect((await collect(store, 'a', { offset: 3, length: 2 })).toString()).toBe('45');
    expect(requests[0]!.headers).toMatchObject({ range: 'bytes=3-4', 'x-oss-range-behavior': 'standard' });
  });
});

describe('a write', () => {
  const accept: RequestListener = (_, response) =>
    void response
      .writeHead(200, { etag: '"25F9E794323B453885F5181F1B624D0B"', ...CRC, 'x-oss-request-id': 'R9' })
      .end();

  test('is acknowledged by the CRC64 of the bytes that the store holds', async () => {
    const encryption = { type: 'KMS', keyId: 'k1' } as const;
    const store = await serve(accept, { encryption });
    expect(await write(store)).toEqual({
      created: true,
      etag: '25F9E794323B453885F5181F1B624D0B',
      checksum: 'crc64:995dc9bbdf1939fa',
      requestId: 'R9',
    });
    expect(requests[0]!.headers).toMatchObject({
      'content-length': '9',
      'content-md5': createHash('md5').update('123456789').digest('base64'),
      'x-oss-server-side-encryption': 'KMS',
      'x-oss-server-side-encryption-key-id': 'k1',
    });
    expect(requests[0]!.headers['x-oss-forbid-overwrite']).toBeUndefined();
  });

  test('of a blob that nothing refers to yet does without the MD5', async () => {
    const store = await serve(accept);
    await store.write('a', NINE, { isComparedLater: true }, NEVER);
    expect(requests[0]!.headers['content-md5']).toBeUndefined();
  });

  test('of other bytes than were sent is reported, and what is there stays', async () => {
    const headers = { etag: '"E"', 'x-oss-hash-crc64ecma': '1' };
    const store = await serve((_, response) => void response.writeHead(200, headers).end());
    const error = await failure(write(store));
    expect(error).toBeInstanceOf(BlobCorruptError);
    expect(error!.subject).toMatchObject({ sent: 'crc64:995dc9bbdf1939fa', held: 'crc64:0000000000000001' });
    await expect(store.uploads.part('a', 'u', 1, NINE, NEVER)).rejects.toThrow(BlobCorruptError);
    // The part once more with its MD5: OSS would have refused what was changed on the way.
    expect(requests.map(({ headers }) => headers['content-md5'] !== undefined)).toEqual([true, false, true]);
  });

  test('of bytes that were changed on their way is repeated with their MD5', async () => {
    const held = (crc64: string) => ({ etag: '"E"', 'x-oss-hash-crc64ecma': crc64 });
    const store = await serve(({ headers }, response) => {
      response.writeHead(200, held(headers['content-md5'] === undefined ? '1' : '11051210869376104954')).end();
    });
    const { checksum } = await store.write('a', NINE, { isComparedLater: true }, NEVER);
    expect(checksum).toBe('crc64:995dc9bbdf1939fa');
    expect(requests).toHaveLength(2);
  });

  test('of bytes that changed since they were read is not sent', async () => {
    const bytes = Buffer.from('123456789');
    const body = payload(bytes);
    bytes[4]! ^= 1;
    const store = await serve(accept);
    const error = await failure(write(store, body));
    expect(error).toBeInstanceOf(BlobCorruptError);
    expect(error!.message).toContain("worker's memory");
    expect(requests).toHaveLength(0);
  });

  test('if absent, leaves an existing blob alone and says so', async () => {
    const store = await serve((request, response) => {
      if (request.method === 'HEAD') response.writeHead(200, { etag: '"THEIRS"' }).end();
      else refuse(response, 409, 'FileAlreadyExists');
    });
    const receipt = await store.write('a', NINE, { ifAbsent: true }, NEVER);
    expect(receipt).toMatchObject({ created: false, etag: 'THEIRS' });
    expect(requests[0]!.headers['x-oss-forbid-overwrite']).toBe('true');
  });

  test.each(['CAEQ1', 'null'])('if absent, is refused where the bucket keeps versions (%s)', async (version) => {
    const headers = { etag: '"E"', ...CRC, 'x-oss-version-id': version };
    const store = await serve((_, response) => void response.writeHead(200, headers).end());
    expect((await write(store)).created).toBe(true);
    const error = await failure(store.write('a', NINE, { ifAbsent: true }, NEVER));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error!.message).toContain('versions');
  });
});

describe('an upload', () => {
  const [first, second] = [Buffer.from('12345'), Buffer.from('6789')];
  const sums = async () => [await crc64([first]), await crc64([second])] as const;
  const listed = (number: number, { length }: Buffer, crc?: bigint) =>
    `<Part><PartNumber>${number}</PartNumber><ETag>"E${number}"</ETag><Size>${length}</Size>` +
    `${crc === undefined ? '' : `<HashCrc64ecma>${crc}</HashCrc64ecma>`}</Part>`;
  const done = '<CompleteMultipartUploadResult><ETag>"WHOLE-2"</ETag></CompleteMultipartUploadResult>';
  const parts = [
    { number: 1, length: 5, etag: 'E1' },
    { number: 2, length: 4, etag: 'E2' },
  ];

  async function uploads(answer: { readonly whole: string; readonly isKnown?: boolean }) {
    const [one, two] = await sums();
    return serve((request, response) => {
      if (request.method === 'POST') response.writeHead(200, { 'x-oss-hash-crc64ecma': answer.whole }).end(done);
      else if (answer.isKnown === false) response.end(`<ListPartsResult>${listed(1, first)}</ListPartsResult>`);
      else response.end(`<ListPartsResult>${listed(1, first, one)}${listed(2, second, two)}</ListPartsResult>`);
    });
  }

  test('tells the CRC64 of each part, so that whoever did not send it can compare', async () => {
    const [one, two] = await sums();
    const store = await uploads({ whole: '0' });
    expect(await store.uploads.parts('a', 'u', NEVER)).toEqual([
      { ...parts[0], checksum: showCrc64(one) },
      { ...parts[1], checksum: showCrc64(two) },
    ]);
    expect(combineCrc64(one, two, second.length)).toBe(11051210869376104954n);
  });

  test('ends with the CRC64 of the whole, which is that of its parts one after the other', async () => {
    const store = await uploads({ whole: CRC['x-oss-hash-crc64ecma'] });
    const receipt = await store.uploads.complete('a', 'u', parts, NEVER);
    expect(receipt).toMatchObject({ created: true, etag: 'WHOLE-2', checksum: 'crc64:995dc9bbdf1939fa' });
    expect(requests.at(-1)!.text).toBe(
      '<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>"E1"</ETag></Part>' +
        '<Part><PartNumber>2</PartNumber><ETag>"E2"</ETag></Part></CompleteMultipartUpload>',
    );
    expect(requests.at(-1)!.headers['x-oss-complete-all']).toBeUndefined();
  });

  test('whose whole is not that is corrupt', async () => {
    const store = await uploads({ whole: '1' });
    await expect(store.uploads.complete('a', 'u', parts, NEVER)).rejects.toThrow(BlobCorruptError);
  });

  test('asks for no list of parts where the checksums of all are known', async () => {
    const store = await uploads({ whole: CRC['x-oss-hash-crc64ecma'] });
    const [one, two] = (await sums()).map(showCrc64);
    const known = [
      { ...parts[0]!, checksum: one! },
      { ...parts[1]!, checksum: two! },
    ];
    await store.uploads.complete('a', 'u', known, NEVER);
    expect(requests.map(({ method }) => method)).toEqual(['POST']);
  });

  test('of parts whose CRC64 the store does not know is not compared', async () => {
    const store = await uploads({ whole: '1', isKnown: false });
    expect((await store.uploads.complete('a', 'u', parts, NEVER)).checksum).toBe('crc64:0000000000000001');
  });
});

describe('a listing', () => {
  const page = (keys: string[], rest = '') =>
    `<ListBucketResult><EncodingType>url</EncodingType>${keys.map((key) => `<Contents><Key>${key}</Key><Size>1</Size></Contents>`).join('')}${rest}</ListBucketResult>`;
  const listed = async (store: Store) => {
    const keys = [];
    for await (const { key } of store.list('', NEVER)) keys.push(key);
    return keys;
  };

  test('decodes what the URL encoding hides, the plus for a space too', async () => {
    const store = await serve((_, response) => void response.end(page(['a+b', 'a%252Fb', 'a%2Bb', '%E6%97%A5'])));
    expect(await listed(store)).toEqual(['a b', 'a%2Fb', 'a+b', '日']);
    expect(requests[0]!.url).toBe('/bucket/?encoding-type=url&list-type=2&max-keys=1000');
  });

  test('out of order is refused: what is passed over in silence would count as missing', async () => {
    const store = await serve((_, response) => void response.end(page(['b', 'a'])));
    await expect(listed(store)).rejects.toThrow(ConfigurationError);
  });

  test.each([
    ['that says there is more, but not where', page(['a'], '<IsTruncated>true</IsTruncated>')],
    ['that breaks off', page(['a']).slice(0, -5)],
    ['that is another answer', '<html></html>'],
  ])('%s is not taken for all', async (_, answer) => {
    const store = await serve((_, response) => void response.end(answer));
    await expect(listed(store)).rejects.toThrow(UnavailableError);
  });
});

describe('the endpoint', () => {
  const bucket = { bucket: 'bucket', region: 'cn-hangzhou' };

  test.each([
    [undefined, 'https://bucket.oss-cn-hangzhou.aliyuncs.com'],
    ['https://oss-cn-hangzhou-internal.aliyuncs.com', 'https://bucket.oss-cn-hangzhou-internal.aliyuncs.com'],
    ['https://oss-accelerate.aliyuncs.com/', 'https://bucket.oss-accelerate.aliyuncs.com'],
    ['https://oss-accelerate-overseas.aliyuncs.com', 'https://bucket.oss-accelerate-overseas.aliyuncs.com'],
    ['https://cn-hangzhou.oss.aliyuncs.com', 'https://bucket.cn-hangzhou.oss.aliyuncs.com'],
    ['http://oss.intra.example.com:8080', 'http://bucket.oss.intra.example.com:8080'],
  ])('%s gets the bucket in front', (endpoint, origin) => {
    expect(ossAddress({ ...bucket, endpoint })).toEqual({ origin, root: '' });
  });

  test.each(['http://127.0.0.1:9300', 'http://[::1]:9300', 'http://localhost:9300'])(
    '%s has no names for buckets: they go into the path',
    (endpoint) => {
      expect(ossAddress({ ...bucket, endpoint })).toEqual({ origin: endpoint, root: '/bucket' });
    },
  );

  test('that is a domain of the bucket is taken as it is', () => {
    const endpoint = 'https://snapshots.example.com';
    expect(ossAddress({ ...bucket, endpoint, cname: true })).toEqual({ origin: endpoint, root: '' });
  });

  test.each(['oss-cn-hangzhou.aliyuncs.com', 'https://host/path', 'https://bucket.oss-cn-hangzhou.aliyuncs.com'])(
    '%s is refused before anything connects',
    (endpoint) => {
      expect(() => open(endpoint)).toThrow(ConfigurationError);
    },
  );
});
