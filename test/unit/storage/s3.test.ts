/** What servers do that versitygw does not: a small server that answers as it is told. */
import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { createServer as createTcpServer } from 'node:net';
import { inspect } from 'node:util';
import type { MigrationError } from '../../../src/domain/errors';
import {
  BlobCorruptError,
  BlobMissingError,
  ConfigurationError,
  RepositoryChangedError,
  UnavailableError,
} from '../../../src/domain/errors';
import type { S3Options, Store } from '../../../src/storage';
import { payload } from '../../../src/storage/payload';
import { openS3 } from '../../../src/storage';
import { collect } from '../../contract/store';
import { MemoryStore } from '../../support/memory-store';

const NEVER = new AbortController().signal;
const SECRETS = { accessKeyId: 'AKIAPLANTED', secretAccessKey: 'planted-secret', sessionToken: 'planted-token' };

let server: Server | undefined;
let requests: IncomingMessage[];

// Pauses between tries are as short as they may happen to be.
beforeEach(() => jest.spyOn(Math, 'random').mockReturnValue(0.01));
afterEach(async () => {
  jest.restoreAllMocks();
  server?.closeAllConnections();
  await new Promise((resolve) => (server ? server.close(resolve) : resolve(undefined)));
  server = undefined;
});

async function serve(
  answer: RequestListener,
  more: Partial<S3Options> = {},
  onBody: (chunk: Buffer) => void = () => {},
): Promise<Store> {
  requests = [];
  server = createServer((request, response) => {
    requests.push(request);
    request.on('data', onBody);
    request.on('end', () => answer(request, response));
  });
  await new Promise<void>((resolve) => server!.listen(0, '127.0.0.1', resolve));
  return open(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, more);
}

function open(endpoint: string, more: Partial<S3Options> = {}): Store {
  const credentials = async () => SECRETS;
  return openS3({ bucket: 'bucket', region: 'us-east-1', endpoint, pathStyle: true, credentials, ...more });
}

function refuse(response: ServerResponse, status: number, code: string, headers: Record<string, string> = {}): void {
  // As AWS does about a signature: what was signed is repeated.
  const details = `<CanonicalRequest>x-amz-security-token:${SECRETS.sessionToken}</CanonicalRequest>`;
  response.writeHead(status, { 'content-type': 'application/xml', ...headers });
  response.end(`<Error><Code>${code}</Code><Message>text</Message>${details}<RequestId>R1</RequestId></Error>`);
}

const failure = (work: Promise<unknown>) =>
  work.then(
    () => undefined,
    (error: unknown) => error as MigrationError,
  );

describe('an answer is classified by its code, and by its status where it has none', () => {
  test.each([
    [403, 'AccessDenied', ConfigurationError],
    [403, 'InvalidAccessKeyId', ConfigurationError],
    [403, 'SignatureDoesNotMatch', ConfigurationError],
    [403, 'RequestTimeTooSkewed', ConfigurationError],
    [403, 'SomethingNew', ConfigurationError],
    [400, 'ExpiredToken', ConfigurationError],
    [400, 'AuthorizationHeaderMalformed', ConfigurationError],
    [400, 'SomethingNew', ConfigurationError],
    [301, 'PermanentRedirect', ConfigurationError],
    [404, 'NoSuchBucket', ConfigurationError],
    [404, 'XAdminUserNotFound', ConfigurationError],
    [404, 'NoSuchKey', BlobMissingError],
    [412, 'PreconditionFailed', RepositoryChangedError],
    [416, 'InvalidRange', UnavailableError],
    [400, 'BadDigest', BlobCorruptError],
    [400, 'XAmzContentChecksumMismatch', BlobCorruptError],
    [400, 'XAmzContentSHA256Mismatch', BlobCorruptError],
    [429, 'TooManyRequests', UnavailableError],
    [503, 'SlowDown', UnavailableError],
    [500, 'InternalError', UnavailableError],
    [502, 'SomethingNew', UnavailableError],
    [507, 'InsufficientStorage', UnavailableError],
    [507, 'XMinioStorageFull', UnavailableError],
    [403, 'QuotaExceeded', UnavailableError],
    [409, 'ObjectParentIsFile', ConfigurationError],
    [409, 'OperationAborted', UnavailableError],
  ])('%i %s', async (status, code, expected) => {
    const store = await serve((_, response) => refuse(response, status, code));
    const error = await failure(store.write('a/__0', payload(Buffer.from('x')), {}, NEVER));
    expect(error).toBeInstanceOf(expected);
    expect(error!.subject).toMatchObject({ store: 's3://bucket', key: 'a/__0', code, status, requestId: 'R1' });
    const shown = inspect(error, { depth: 9, showHidden: true }) + JSON.stringify(error);
    for (const secret of Object.values(SECRETS)) expect(shown).not.toContain(secret);
  });

  test.each([
    [403, ConfigurationError],
    [400, ConfigurationError],
    [301, ConfigurationError],
    [503, UnavailableError],
  ])('HEAD %i has no body, and is never "not found"', async (status, expected) => {
    const store = await serve((_, response) => void response.writeHead(status).end());
    await expect(store.head('a', NEVER)).rejects.toThrow(expected);
  });

  // The bodies of docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html, and the header of API_HeadBucket.html.
  test.each([
    [
      301,
      'PermanentRedirect',
      '<Endpoint>bucket.s3.eu-west-1.amazonaws.com</Endpoint>',
      { 'x-amz-bucket-region': 'eu-west-1' },
    ],
    [400, 'AuthorizationHeaderMalformed', '<Region>eu-west-1</Region>', {}],
  ])('a bucket of another region is refused with the right one: %i %s', async (status, code, more, headers) => {
    const body = `<Error><Code>${code}</Code><Message>m</Message>${more}</Error>`;
    const store = await serve((_, response) => void response.writeHead(status, headers).end(body));
    const error = await failure(store.write('a', payload(Buffer.from('x')), {}, NEVER));
    expect(error!.message).toMatch(/^The bucket lies in another region.*rightRegion=eu-west-1/);
    if (status === 301) expect(error!.message).toContain('rightEndpoint=bucket.s3.eu-west-1.amazonaws.com');
  });

  test('a key of KMS that these credentials may not use is named, with the action that lacks', async () => {
    const key = 'arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab';
    // docs.aws.amazon.com/AmazonS3/latest/userguide/troubleshoot-403-errors.html
    const message = `User: arn:aws:iam::111122223333:user/w is not authorized to perform: kms:GenerateDataKey on resource: ${key} because no identity-based policy allows the kms:GenerateDataKey action`;
    const body = `<Error><Code>AccessDenied</Code><Message>${message}</Message></Error>`;
    const store = await serve((_, response) => void response.writeHead(403).end(body));
    const error = await failure(store.write('a', payload(Buffer.from('x')), {}, NEVER));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error!.message).toMatch(/^These credentials may not use the key by which the store encrypts: grant/);
    expect(error!.subject).toMatchObject({ lacks: 'kms:GenerateDataKey', keyId: key, code: 'AccessDenied' });
  });

  test('a call that the store does not have is not asked for again', async () => {
    let asked = 0;
    const store = await serve((_, response) => {
      asked += 1;
      refuse(response, 501, 'NotImplemented');
    });
    await expect(store.head('a', NEVER)).rejects.toThrow(ConfigurationError);
    expect(asked).toBe(1);
  });

  test('HEAD 404 is "not found" only when the bucket itself is there', async () => {
    const store = await serve((request, response) => {
      if (request.method === 'HEAD') response.writeHead(404).end();
      else refuse(response, 404, 'NoSuchBucket');
    });
    await expect(store.head('a', NEVER)).rejects.toThrow(ConfigurationError);
  });

  test.each([
    [507, 'InsufficientStorage'],
    [403, 'QuotaExceeded'],
  ])('a full store is said in words, with the blob: %i %s', async (status, code) => {
    const store = await serve((_, response) => refuse(response, status, code));
    const error = await failure(store.write('a', payload(Buffer.from('x')), {}, NEVER));
    expect(error!.message).toMatch(
      /^The store is full, or its quota is used up: make room\. \[store=s3:\/\/bucket, key=a,/,
    );
  });

  test('HEAD 403 under a clock that is wrong names the clock, by the date of the answer', async () => {
    const date = new Date(Date.now() - 3_600_000).toUTCString();
    const store = await serve((_, response) => void response.writeHead(403, { date }).end());
    await expect(store.head('a', NEVER)).rejects.toThrow('set the clock');
  });

  test('a clock that is wrong is said in words, with both clocks', async () => {
    const date = 'Tue, 01 Jan 2030 00:00:00 GMT';
    const store = await serve((_, response) => refuse(response, 403, 'RequestTimeTooSkewed', { date }));
    const error = await failure(store.write('a', payload(Buffer.from('x')), {}, NEVER));
    expect(error!.message).toContain('clock');
    expect(error!.subject['storeClock']).toBe('2030-01-01T00:00:00.000Z');
    expect(Date.parse(String(error!.subject['workerClock']))).toBeGreaterThan(Date.now() - 10_000);
  });

  test('what the server asks for is handed on: Retry-After', async () => {
    const store = await serve((_, response) => refuse(response, 503, 'SlowDown', { 'retry-after': '1' }));
    const error = await failure(store.write('a', payload(Buffer.from('x')), {}, NEVER));
    expect((error as UnavailableError).retryAfterMs).toBe(1_000);
    expect(requests).toHaveLength(3);
  });

  test('nobody listening is an UnavailableError', async () => {
    const store = open('http://127.0.0.1:1');
    await expect(store.head('a', NEVER)).rejects.toThrow(UnavailableError);
  });
});

test('credentials are asked for again before every request', async () => {
  let asked = 0;
  const credentials = async () => ({ ...SECRETS, accessKeyId: `AKIA${++asked}` });
  const store = await serve((_, response) => void response.writeHead(200, { etag: '"e"' }).end(), { credentials });
  for (const key of ['a', 'b', 'c']) await store.head(key, NEVER);
  const keyIds = requests.map(({ headers }) => /Credential=(\w+)/.exec(headers.authorization ?? '')![1]);
  expect(new Set(keyIds).size).toBe(3);
});

test('a write carries its CRC32, its condition and the encryption that was asked for', async () => {
  const encryption = { type: 'aws:kms', keyId: 'k1' } as const;
  const store = await serve((_, response) => void response.writeHead(200, { etag: '"e"' }).end(), { encryption });
  await store.write('a', payload(Buffer.from('123456789')), { ifAbsent: true }, NEVER);
  expect(requests[0]!.headers).toMatchObject({
    'x-amz-checksum-crc32': 'y/Q5Jg==',
    'content-length': '9',
    'if-none-match': '*',
    'x-amz-server-side-encryption': 'aws:kms',
    'x-amz-server-side-encryption-aws-kms-key-id': 'k1',
  });
  expect(requests[0]!.headers['transfer-encoding']).toBeUndefined();
});

test('a store that answers with another checksum than was sent holds other bytes', async () => {
  const headers = { etag: '"e"', 'x-amz-checksum-crc32': 'AAAAAA==' };
  const store = await serve((_, response) => void response.writeHead(200, headers).end());
  await expect(store.write('a', payload(Buffer.from('x')), {}, NEVER)).rejects.toThrow(BlobCorruptError);
  await expect(store.uploads.part('a', 'u', 1, payload(Buffer.from('x')), NEVER)).rejects.toThrow(BlobCorruptError);
});

describe('a store that does not repeat the CRC32 does not compare it', () => {
  const md5 = '9dd4e461268c8034f5c8564e155c67a6';
  const x = payload(Buffer.from('x'));
  const checksums = () =>
    requests.map(({ headers }) =>
      [headers['x-amz-checksum-crc32'], headers['content-md5']].map((one) => one !== undefined),
    );

  test('and is given Content-MD5 from then on; its etag tells whether it holds those bytes', async () => {
    const store = await serve((_, response) => void response.writeHead(200, { etag: `"${md5.toUpperCase()}"` }).end());
    const receipts = [await store.write('a', x, {}, NEVER), await store.write('b', x, {}, NEVER)];
    const part = await store.uploads.part('c', 'u', 1, x, NEVER);
    expect(checksums()).toEqual([
      [true, true],
      [false, true],
      [false, true],
    ]);
    expect(requests[0]!.headers['content-md5']).toBe('ndTkYSaMgDT1yFZOFVxnpg==');
    expect(receipts.map(({ checksum }) => checksum)).toEqual([`md5:${md5}`, `md5:${md5}`]);
    expect(part).toEqual({ number: 1, length: 1, etag: md5.toUpperCase() });
  });

  test('and says nothing of the bytes where its etag is something else, as with SSE-KMS', async () => {
    const store = await serve((_, response) => void response.writeHead(200, { etag: '"e"' }).end());
    expect((await store.write('a', x, {}, NEVER)).checksum).toBeUndefined();
  });

  test('one that repeats it is not given another', async () => {
    const headers = { etag: '"e"', 'x-amz-checksum-crc32': 'jNwWgw==' };
    const store = await serve((_, response) => void response.writeHead(200, headers).end());
    const receipts = [await store.write('a', x, {}, NEVER), await store.write('b', x, {}, NEVER)];
    expect(receipts.map(({ checksum }) => checksum)).toEqual(['crc32:8cdc1683', 'crc32:8cdc1683']);
    expect(checksums()).toEqual([
      [true, true],
      [true, false],
    ]);
  });
});

describe('an answer that begins as a success', () => {
  test('and ends as an error is that error', async () => {
    const store = await serve((_, response) => {
      // Blanks keep a connection alive that waits for its answer.
      response.writeHead(200).write('<?xml version="1.0"?>\n   ');
      response.end('<Error><Code>NoSuchUpload</Code><RequestId>R1</RequestId></Error>');
    });
    const part = { number: 1, length: 1, etag: 'e', checksum: 'crc32:8cdc1683' };
    const error = await failure(store.uploads.complete('a', 'u', [part], NEVER));
    expect(error).toBeInstanceOf(BlobMissingError);
    expect(error!.subject).toMatchObject({ key: 'a', uploadId: 'u', code: 'NoSuchUpload', requestId: 'R1' });
  });

  test('and is no whole document is not taken for one', async () => {
    const store = await serve((_, response) => void response.end('<InitiateMultipartUploadResult><UploadId>u'));
    await expect(store.uploads.begin('a', NEVER)).rejects.toThrow(UnavailableError);
  });

  test('and answers something else is refused, except where a call may be unknown', async () => {
    const store = await serve((_, response) => void response.end('<ListBucketResult/>'));
    await expect(store.uploads.begin('a', NEVER)).rejects.toThrow(UnavailableError);
    expect(await store.uploads.unfinished('', NEVER)).toBeUndefined();
  });
});

test.each([405, 501])('a store that answers %i can not list unfinished uploads', async (status) => {
  const store = await serve((_, response) => refuse(response, status, 'NotImplemented'));
  expect(await store.uploads.unfinished('', NEVER)).toBeUndefined();
});

test('an upload is completed with the checksums of its parts, in ascending order', async () => {
  let body = '';
  const store = await serve(
    (request, response) => {
      if (request.method === 'GET') {
        const part = (n: number) => `<Part><PartNumber>${n}</PartNumber><Size>1</Size><ETag>"e${n}"</ETag>`;
        const parts = `${part(1)}<ChecksumCRC32>jNwWgw==</ChecksumCRC32></Part>${part(2)}</Part>`;
        return response.end(`<ListPartsResult>${parts}</ListPartsResult>`);
      }
      return response.end('<CompleteMultipartUploadResult><ETag>"e-2"</ETag></CompleteMultipartUploadResult>');
    },
    {},
    (chunk) => (body += chunk.toString()),
  );
  const parts = [1, 2].map((number) => ({ number, length: 1, etag: `e${number}` }));
  const receipt = await store.uploads.complete('a', 'u', parts, NEVER);
  expect(receipt).toMatchObject({ etag: 'e-2', checksum: undefined });
  expect(body.match(/<Part>.*<\/Part>/)![0]).toBe(
    '<Part><PartNumber>1</PartNumber><ETag>"e1"</ETag><ChecksumCRC32>jNwWgw==</ChecksumCRC32></Part>' +
      '<Part><PartNumber>2</PartNumber><ETag>"e2"</ETag></Part>',
  );
});

test('whoever asks to slow down is counted', async () => {
  const store = await serve((_, response) => {
    if (requests.length === 1) refuse(response, 503, 'SlowDown');
    else response.writeHead(200, { etag: '"e"' }).end();
  });
  await store.head('a', NEVER);
  expect(store.pressure).toEqual({ throttled: 1 });
});

describe('a copy inside one provider', () => {
  test('names its source, and what of it, to the store of the target', async () => {
    const answer = '<CopyObjectResult><ETag>"e"</ETag><ChecksumCRC32>jNwWgw==</ChecksumCRC32></CopyObjectResult>';
    const target = await serve((_, response) => void response.end(answer));
    const { port } = server!.address() as AddressInfo;
    const source = open(`http://127.0.0.1:${port}`, { bucket: 'other' });
    const copier = target.copierFrom!(source)!;
    const receipt = await copier.blob('a b/%2F', 'to', { ifMatch: 'e' }, NEVER);
    expect(receipt).toMatchObject({ created: true, etag: 'e', checksum: 'crc32:8cdc1683' });
    expect(requests[0]).toMatchObject({ method: 'PUT', url: '/bucket/to' });
    expect(requests[0]!.headers).toMatchObject({
      'x-amz-copy-source': 'other/a%20b/%252F',
      'x-amz-copy-source-if-match': '"e"',
      'x-amz-checksum-algorithm': 'CRC32',
      'content-length': '0',
    });
  });

  test('that is not permitted is a ConfigurationError, and one that is not of one provider is none', async () => {
    const target = await serve((_, response) => refuse(response, 403, 'AccessDenied'));
    const copier = target.copierFrom!(target)!;
    await expect(copier.blob('a', 'b', {}, NEVER)).rejects.toThrow(ConfigurationError);
    const range = { offset: 0, length: 1 };
    await expect(copier.part('a', range, 'b', 'u', 1, NEVER)).rejects.toThrow(ConfigurationError);
    expect(target.copierFrom!(open('http://127.0.0.1:1'))).toBeUndefined();
    expect(target.copierFrom!(new MemoryStore())).toBeUndefined();
  });
});

describe('a body that is not what was asked for is never a success', () => {
  test('it breaks off', async () => {
    const store = await serve((_, response) => {
      response.writeHead(200, { etag: '"e"', 'content-length': '1000' });
      response.write(Buffer.alloc(400), () => response.destroy());
    });
    await expect(collect(store, 'a')).rejects.toThrow(UnavailableError);
  });

  test('it has no length by which to know that it is whole', async () => {
    const store = await serve((_, response) => void response.writeHead(200, { etag: '"e"' }).end('abc'));
    await expect(collect(store, 'a')).rejects.toThrow(UnavailableError);
  });

  test('it is the whole blob instead of a range', async () => {
    const headers = { etag: '"e"', 'content-length': '10' };
    const store = await serve((_, response) => void response.writeHead(200, headers).end('0123456789'));
    await expect(collect(store, 'a', { offset: 5, length: 5 })).rejects.toThrow(UnavailableError);
  });
});

describe('no request can hang', () => {
  const timeouts = { connectMs: 200, idleMs: 300 };

  test('when the server takes the request and never answers', async () => {
    const store = await serve(() => {}, { timeouts });
    await expect(store.head('a', NEVER)).rejects.toThrow(UnavailableError);
    expect(requests).toHaveLength(3);
  });

  test('when the body stops in the middle', async () => {
    const store = await serve(
      (_, response) => {
        response.writeHead(200, { etag: '"e"', 'content-length': '1000' });
        response.write(Buffer.alloc(400));
      },
      { timeouts },
    );
    await expect(collect(store, 'a')).rejects.toThrow(UnavailableError);
  });

  test('when the connection opens and TLS never does', async () => {
    const sockets: Socket[] = [];
    const tcp = createTcpServer((socket) => sockets.push(socket));
    await new Promise<void>((resolve) => tcp.listen(0, '127.0.0.1', resolve));
    const { port } = tcp.address() as AddressInfo;
    const error = await failure(open(`https://127.0.0.1:${port}`, { timeouts }).head('a', NEVER));
    expect(error).toBeInstanceOf(UnavailableError);
    expect(error!.subject).toMatchObject({ code: 'ETIMEDOUT' });
    sockets.forEach((socket) => socket.destroy());
    await new Promise((resolve) => tcp.close(resolve));
  });
});

describe('a signal stops a request at once, with its reason', () => {
  const reason = new Error('the operator said stop');

  test.each<[string, RequestListener]>([
    ['while the server thinks', () => {}],
    ['while the body arrives', (_, response) => void response.writeHead(200, { 'content-length': '9' }).write('x')],
  ])('%s', async (_, answer) => {
    const store = await serve(answer);
    const controller = new AbortController();
    const reading = collect(store, 'a', {}, controller.signal);
    setTimeout(() => controller.abort(reason), 200);
    const started = Date.now();
    await expect(reading).rejects.toBe(reason);
    expect(Date.now() - started).toBeLessThan(1_000);
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
  });

  test('out of order is refused: what is passed over in silence would count as missing', async () => {
    const store = await serve((_, response) => void response.end(page(['b', 'a'])));
    await expect(listed(store)).rejects.toThrow(ConfigurationError);
  });

  test('of the first version of the call, as COS answers, goes on after its marker or its last key', async () => {
    const store = await serve((request, response) => {
      const marker = new URL(request.url!, 'http://x').searchParams.get('marker');
      const more = '<Marker></Marker><IsTruncated>true</IsTruncated>';
      if (marker === null) return response.end(page(['a%2Bb'], more));
      if (marker === 'a+b') return response.end(page(['b', 'c'], `${more}<NextMarker>d+d</NextMarker>`));
      return response.end(page(marker === 'd d' ? ['e'] : [], '<Marker/><IsTruncated>false</IsTruncated>'));
    });
    expect(await listed(store)).toEqual(['a+b', 'b', 'c', 'e']);
  });

  test('that says there is more, but not where, is not taken for all', async () => {
    const store = await serve((_, response) => void response.end(page(['a'], '<IsTruncated>true</IsTruncated>')));
    await expect(listed(store)).rejects.toThrow(UnavailableError);
  });
});

describe('without credentials of its own', () => {
  const { env } = process;
  afterEach(() => {
    process.env = env;
  });
  /** Nothing of the machine's own. */
  const nowhere = { AWS_EC2_METADATA_DISABLED: 'true', AWS_CONFIG_FILE: '/none', AWS_SHARED_CREDENTIALS_FILE: '/none' };

  test('a store signs with those of the worker', async () => {
    const { accessKeyId, secretAccessKey, sessionToken } = SECRETS;
    process.env = {
      ...nowhere,
      AWS_ACCESS_KEY_ID: accessKeyId,
      AWS_SECRET_ACCESS_KEY: secretAccessKey,
      AWS_SESSION_TOKEN: sessionToken,
    };
    const answer: RequestListener = (_, response) => void response.writeHead(200, { etag: '"e"' }).end();
    const store = await serve(answer, { credentials: undefined });
    await store.head('a', NEVER);
    expect(requests[0]!.headers['authorization']).toContain(`Credential=${accessKeyId}/`);
    expect(requests[0]!.headers['x-amz-security-token']).toBe(sessionToken);
  });

  test('and a worker without any, it is a ConfigurationError', async () => {
    process.env = { ...nowhere };
    const store = open('http://127.0.0.1:1', { credentials: undefined });
    await expect(store.head('a', NEVER)).rejects.toThrow(ConfigurationError);
  });
});

describe('what a bucket says of its bytes', () => {
  const MD5 = '5d41402abc4b2a76b9719d911017c592';
  const told = async (headers: Record<string, string>) => {
    const store = await serve((_, response) => response.writeHead(200, { 'content-length': '5', ...headers }).end());
    const said = await store.checksums!('blob', NEVER);
    expect(requests[0]!.method).toBe('HEAD');
    expect(requests[0]!.headers['x-amz-checksum-mode']).toBe('ENABLED');
    return said!.checksums;
  };

  test.each([
    ['a CRC32', { 'x-amz-checksum-crc32': 'NhCmhg==', 'x-amz-checksum-type': 'FULL_OBJECT' }, ['crc32:3610a686']],
    ['a sum of the sums of its parts, which says nothing', { 'x-amz-checksum-crc32': 'NhCmhg==-3' }, []],
    ["COS's CRC64", { 'x-cos-hash-crc64ecma': '11051210869376104954' }, ['crc64:995dc9bbdf1939fa']],
    ["the CRC64 of OSS's S3 door", { 'x-oss-hash-crc64ecma': '11051210869376104954' }, ['crc64:995dc9bbdf1939fa']],
    ['an MD5', { etag: `"${MD5}"` }, [`md5:${MD5}`]],
    ['an MD5, encrypted by the store', { etag: `"${MD5}"`, 'x-amz-server-side-encryption': 'AES256' }, [`md5:${MD5}`]],
    ['the etag of an upload in parts', { etag: `"${MD5}-2"` }, []],
    ['an etag that is no MD5: KMS', { etag: `"${MD5}"`, 'x-amz-server-side-encryption': 'aws:kms' }, []],
    [
      "an etag that is no MD5: somebody's own key",
      { etag: `"${MD5}"`, 'x-amz-server-side-encryption-customer-algorithm': 'AES256' },
      [],
    ],
    ['nothing', {}, []],
  ])('%s', async (_, headers, checksums) => {
    expect(await told(headers)).toEqual(checksums);
  });
});
