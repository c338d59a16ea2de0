/** The OSS adapter against our OSS server, which verifies signatures, and against what ali-oss reads and writes there. */
import OSS from 'ali-oss';
import { randomBytes, randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import type { MigrationError } from '../../src/domain/errors';
import {
  BlobCorruptError,
  BlobMissingError,
  ConfigurationError,
  RepositoryChangedError,
  UnavailableError,
} from '../../src/domain/errors';
import type { CopyCursor, OssOptions } from '../../src/storage';
import { copyFile, crc32, crc64, Engine, openDirectory, openOss, payload, showCrc64 } from '../../src/storage';
import type { Fault, OssServer } from '../../stack';
import { startOss } from '../../stack';
import { collect, describeStore } from '../contract/store';
import type { BucketCalls } from '../support/oss';

const REGION = 'cn-hangzhou';
const KEYS = { accessKeyId: 'snapferry', accessKeySecret: 'planted-secret-7f3a' };
const NEVER = new AbortController().signal;
const TOKENS = ['planted-token-1', 'planted-token-2'] as const;

let folder: string;
let server: OssServer;
/** Takes temporary credentials only. */
let sts: OssServer;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'snapferry-oss-'));
  const { accessKeyId, accessKeySecret: secretAccessKey } = KEYS;
  const options = { root: join(folder, 'root'), accessKeyId, secretAccessKey, region: REGION };
  await mkdir(options.root);
  server = await startOss(options);
  sts = await startOss({ ...options, sessionTokens: TOKENS.map((token) => ({ token })) });
});
afterAll(async () => {
  await server?.stop();
  await sts?.stop();
  await rm(folder, { recursive: true, force: true });
});
afterEach(async () => {
  await server.setFaults([]);
  await sts.setFaults([]);
});

async function newBucket(): Promise<string> {
  const bucket = `b-${randomUUID()}`;
  await mkdir(join(folder, 'root', bucket));
  return bucket;
}

function open(bucket: string, more: Partial<OssOptions> = {}) {
  return openOss({ bucket, region: REGION, endpoint: server.endpoint, credentials: async () => KEYS, ...more });
}

function aliOss(bucket: string): OSS & BucketCalls {
  const options = { ...KEYS, bucket, region: `oss-${REGION}`, endpoint: server.endpoint, authorizationV4: true };
  return new OSS(options as OSS.Options) as OSS & BucketCalls;
}

/** A data blob of a snapshot, as Lucene ends its files. */
function luceneFile(length: number) {
  const content = randomBytes(length - 8);
  const footer = Buffer.alloc(8);
  footer.writeUInt32BE(crc32(content), 4);
  const blob = { key: '__0', length, crc32: crc32(content), phase: 'data' as const };
  return { blob, body: Buffer.concat([content, footer]) };
}

const failure = (work: Promise<unknown>) =>
  work.then(
    () => undefined,
    (error: unknown) => error as MigrationError,
  );

describeStore('OSS', async () => {
  const bucket = await newBucket();
  return { store: open(bucket), cleanup: () => rm(join(folder, 'root', bucket), { recursive: true }) };
});

describe('ali-oss and we mean the same', () => {
  const key = "odd %2F/a b+c&d=é'()*!~/日本😀";

  test('by a key, bytes, lengths and etags, in both directions', async () => {
    const bucket = await newBucket();
    const [store, theirs] = [open(bucket), aliOss(bucket)];
    const [ours, other] = [randomBytes(70_000), randomBytes(3)];
    const { etag } = await store.write(key, payload(ours), {}, NEVER);
    const got = await theirs.get(key);
    expect((got.content as Buffer).equals(ours)).toBe(true);
    expect((got.res.headers as Record<string, string>)['etag']).toBe(`"${etag}"`);
    await theirs.put(`${key}2`, other);
    expect(await collect(store, `${key}2`)).toEqual(other);
    const listed = [];
    for await (const info of store.list('odd ', NEVER)) listed.push(info);
    const { objects } = await theirs.listV2({ prefix: 'odd ' }, {});
    expect(listed.map((info) => [info.key, info.length])).toEqual(objects.map(({ name, size }) => [name, size]));
    expect(listed.map(({ key }) => key)).toEqual([key, `${key}2`]);
  });

  test('by an upload that the one begins and the other ends', async () => {
    const bucket = await newBucket();
    const [store, theirs] = [open(bucket), aliOss(bucket)];
    const [first, second] = [randomBytes(150_000), randomBytes(7)];
    const id = await store.uploads.begin(key, NEVER);
    const part = await store.uploads.part(key, id, 1, payload(first), NEVER);
    await theirs.uploadPart(key, id, 2, second as unknown as File, 0, second.length);
    const parts = (await store.uploads.parts(key, id, NEVER))!;
    expect(parts[0]).toEqual(part);
    expect(parts[1]!.checksum).toBe(showCrc64(await crc64([second])));
    await theirs.completeMultipartUpload(
      key,
      id,
      parts.map(({ number, etag }) => ({ number, etag: `"${etag}"` })),
    );
    expect((await collect(store, key)).equals(Buffer.concat([first, second]))).toBe(true);
  });
});

describe('what OSS adds', () => {
  test('the CRC64 of the whole blob, in one piece or in parts', async () => {
    const store = open(await newBucket());
    const [first, second] = [randomBytes(store.uploads.minPartBytes), randomBytes(10)];
    const receipt = await store.write('whole', payload(Buffer.concat([first, second])), {}, NEVER);
    const id = await store.uploads.begin('parts', NEVER);
    const parts = [
      await store.uploads.part('parts', id, 1, payload(first), NEVER),
      await store.uploads.part('parts', id, 2, payload(second), NEVER),
    ];
    const completed = await store.uploads.complete('parts', id, parts, NEVER);
    const whole = showCrc64(await crc64([first, second]));
    expect([receipt.checksum, completed.checksum]).toEqual([whole, whole]);
    expect([receipt.requestId, completed.requestId]).toEqual([expect.any(String), expect.any(String)]);
  });

  test('a part of less than 100 KB, but the last, is refused when the upload is completed', async () => {
    const store = open(await newBucket());
    const id = await store.uploads.begin('small', NEVER);
    const parts = [];
    for (const number of [1, 2])
      parts.push(await store.uploads.part('small', id, number, payload(randomBytes(9)), NEVER));
    await expect(store.uploads.complete('small', id, parts, NEVER)).rejects.toThrow(BlobCorruptError);
    expect(await store.head('small', NEVER)).toBeUndefined();
  });

  test('a large file goes from directory to OSS and back in parts, and both ends prove it', async () => {
    const directory = { store: openDirectory(await mkdtemp(join(folder, 'directory-'))), basePath: 'from' };
    const oss = { store: open(await newBucket()), basePath: 'base path/+' };
    const { blob, body } = luceneFile(3_000_000);
    await directory.store.write('from/__0', payload(body), {}, NEVER);
    const options = { signal: NEVER, progress: () => {}, onCursor: () => {}, multipartBytes: 1, partBytes: 1 };
    const [there] = await copyFile(new Engine(), directory, oss, { blobs: [blob] }, options);
    expect(there!.checksum).toBe(showCrc64(await crc64([body])));
    const back = { ...directory, basePath: 'back' };
    await copyFile(new Engine(), oss, back, { blobs: [blob] }, options);
    expect((await collect(directory.store, 'back/__0')).equals(body)).toBe(true);
  });

  test('parts that an earlier attempt sent are proved by the CRC64 that OSS tells of them, and not sent again', async () => {
    const bucket = await newBucket();
    const source = { store: openDirectory(await mkdtemp(join(folder, 'directory-'))), basePath: '' };
    const target = { store: open(bucket), basePath: '' };
    const { blob, body } = luceneFile(5 * 200_000);
    await source.store.write('__0', payload(body), {}, NEVER);
    const id = await target.store.uploads.begin('__0', NEVER);
    for (const number of [1, 2, 3]) {
      const part = Buffer.from(body.subarray((number - 1) * 200_000, number * 200_000));
      // The third is of another blob of that name.
      if (number === 3) part[0]! ^= 1;
      await target.store.uploads.part('__0', id, number, payload(part), NEVER);
    }
    let sent = 0;
    const cursors: CopyCursor[] = [];
    await copyFile(
      new Engine(),
      source,
      target,
      { blobs: [blob] },
      {
        signal: NEVER,
        progress: (bytes) => (sent += bytes),
        onCursor: (cursor) => cursors.push(cursor),
        multipartBytes: 1,
        partBytes: 1,
      },
    );
    expect(cursors.at(-1)!.uploadId).toBe(id);
    expect(sent).toBe(3 * 200_000);
    expect((await collect(target.store, '__0')).equals(body)).toBe(true);
  });
});

describe('temporary credentials', () => {
  const strike = (token: string, nth: number): Fault => ({
    on: { token },
    nth,
    count: 0,
    then: { do: 'error', code: 'SecurityTokenExpired' },
  });

  test('that are renewed in the middle of an upload are used from then on', async () => {
    let token: string = TOKENS[0];
    const store = open(await newBucket(), {
      endpoint: sts.endpoint,
      credentials: async () => ({ ...KEYS, securityToken: token }),
    });
    await sts.setFaults([strike(TOKENS[0], 3)]);
    const id = await store.uploads.begin('blob', NEVER);
    const parts = [await store.uploads.part('blob', id, 1, payload(randomBytes(102_400)), NEVER)];
    const second = store.uploads.part('blob', id, 2, payload(randomBytes(100)), NEVER);
    token = TOKENS[1];
    parts.push(await second);
    expect((await store.uploads.complete('blob', id, parts, NEVER)).created).toBe(true);
  });

  test.each([
    ['that have expired', TOKENS[0], 'provide fresh credentials'],
    ['with a token that is none', 'planted-token-0', 'provide fresh credentials'],
    ['without their token', undefined, ''],
  ])('%s are a ConfigurationError, which does not show them', async (_, securityToken, words) => {
    const keys = { ...KEYS, ...(securityToken === undefined ? {} : { securityToken }) };
    const store = open(await newBucket(), { endpoint: sts.endpoint, credentials: async () => keys });
    await sts.setFaults([strike(TOKENS[0], 1)]);
    const error = await failure(store.head('blob', NEVER));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error!.message).toContain(words);
    expect(inspect(error, { depth: 9, showHidden: true })).not.toContain('planted');
  });
});

describe('what a bucket says of itself', () => {
  const tidy = { id: 'tidy', prefix: 'logs/', status: 'Enabled' } as const;

  test('one that was told nothing', async () => {
    expect(await open(await newBucket()).properties?.(NEVER)).toEqual({
      ...{ region: REGION, versioning: 'never', storageClass: 'Standard', encryption: {}, rules: [], denied: [] },
    });
  });

  test('what ali-oss told it', async () => {
    const bucket = await newBucket();
    const client = aliOss(bucket);
    await client.putBucketLifecycle(bucket, [
      { ...tidy, expiration: { days: 7 }, abortMultipartUpload: { days: 3 } },
      { ...tidy, id: 'off', prefix: 'x/', status: 'Disabled', expiration: { days: 1 } },
      { ...tidy, id: 'cold', prefix: '', transition: { days: 30, storageClass: 'Archive' } },
    ] as never);
    await client.putBucketVersioning(bucket, 'Suspended', {});
    await client.putBucketEncryption(bucket, { SSEAlgorithm: 'KMS', KMSMasterKeyID: 'key-1' } as never);
    expect(await open(bucket).properties?.(NEVER)).toMatchObject({
      versioning: 'suspended',
      encryption: { keyId: 'key-1' },
      rules: [
        { id: 'tidy', prefix: 'logs/', deletes: { days: 7 }, abortsUploadsAfterDays: 3 },
        { id: 'cold', prefix: '', moves: [{ storageClass: 'Archive', when: { days: 30 } }] },
      ],
    });
  });

  test('what it does not tell these credentials is named by the action that lacks', async () => {
    const bucket = await newBucket();
    await server.setPolicy([{ Effect: 'Allow', Action: ['oss:GetBucketInfo'], Resource: ['*'] }]);
    const told = await open(bucket).properties?.(NEVER);
    await server.setPolicy(undefined);
    expect(told).toMatchObject({ region: REGION, denied: ['oss:GetBucketLifecycle'] });
    expect(told?.rules).toBeUndefined();
  });

  test('an archive lists the class of its blobs, which can not be read', async () => {
    const bucket = `b-${randomUUID()}`;
    await aliOss(bucket).putBucket(bucket, { storageClass: 'ColdArchive' } as never);
    const store = open(bucket);
    await store.write('a', payload(Buffer.from('bytes')), {}, NEVER);
    for await (const blob of store.list('', NEVER))
      expect(blob).toMatchObject({ key: 'a', storageClass: 'ColdArchive' });
    await expect(store.read('a', {}, NEVER)).rejects.toThrow('archived');
    expect(await store.properties?.(NEVER)).toMatchObject({ storageClass: 'ColdArchive' });
  });

  test('where versions are kept, or were, a conditional write overwrites, and the store says why that is no use', async () => {
    const bucket = await newBucket();
    await aliOss(bucket).putBucketVersioning(bucket, 'Enabled', {});
    const write = () => open(bucket).write('a', payload(Buffer.from('x')), { ifAbsent: true }, NEVER);
    await expect(write()).rejects.toThrow('keeps versions');
  });
});

describe('copies that OSS makes itself', () => {
  test('have the bytes of the source and, where OSS says it, their CRC64', async () => {
    const [source, target] = [open(await newBucket()), open(await newBucket())];
    const body = randomBytes(300_000);
    const { etag } = await source.write('from é/+', payload(body), {}, NEVER);
    const copier = target.copierFrom!(source)!;
    const receipt = await copier.blob('from é/+', 'whole', { ifMatch: etag }, NEVER);
    expect([undefined, showCrc64(await crc64([body]))]).toContain(receipt.checksum);
    expect((await collect(target, 'whole')).equals(body)).toBe(true);

    const id = await target.uploads.begin('parts', NEVER);
    const parts = [];
    for (const [i, length] of [200_000, 100_000].entries()) {
      const range = { offset: i * 200_000, length, ifMatch: etag };
      parts.push(await copier.part('from é/+', range, 'parts', id, i + 1, NEVER));
    }
    const completed = await target.uploads.complete('parts', id, parts, NEVER);
    expect([undefined, showCrc64(await crc64([body]))]).toContain(completed.checksum);
    expect((await collect(target, 'parts')).equals(body)).toBe(true);
  });

  test('of another version of the source, or of none, are refused', async () => {
    const store = open(await newBucket());
    await store.write('from', payload(randomBytes(300_000)), {}, NEVER);
    const copier = store.copierFrom!(store)!;
    await expect(copier.blob('from', 'to', { ifMatch: 'OTHER' }, NEVER)).rejects.toThrow(RepositoryChangedError);
    await expect(copier.blob('none', 'to', {}, NEVER)).rejects.toThrow(BlobMissingError);
    const range = { offset: 0, length: 10 };
    await expect(copier.part('from', range, 'to', 'no-such-upload', 1, NEVER)).rejects.toThrow(BlobMissingError);
    expect(await store.head('to', NEVER)).toBeUndefined();
  });

  test('are for buckets of one region', async () => {
    const store = open(await newBucket());
    expect(store.copierFrom!(open(await newBucket(), { region: 'cn-beijing' }))).toBeUndefined();
    expect(store.copierFrom!(openDirectory(folder))).toBeUndefined();
  });
});

describe('faults', () => {
  const body = randomBytes(300_000);
  const fault = (then: Fault['then'], more: Omit<Fault, 'then'> = {}) => server.setFaults([{ ...more, then }]);
  const flip = { do: 'flip', of: 'request', byte: 1_000 } as const;

  test('bytes that change on the way to a blob are sent again', async () => {
    const store = open(await newBucket());
    await fault(flip);
    await store.write('index-3', payload(body), {}, NEVER);
    expect((await collect(store, 'index-3')).equals(body)).toBe(true);
  });

  test('bytes that change each time on the way to a blob are refused, and nothing is left of them', async () => {
    const store = open(await newBucket());
    await fault(flip, { count: 0 });
    await expect(store.write('index-3', payload(body), {}, NEVER)).rejects.toThrow(BlobCorruptError);
    expect(await store.head('index-3', NEVER)).toBeUndefined();
  });

  test('bytes that change on the way to a blob that nothing refers to yet are found, and sent again', async () => {
    const store = open(await newBucket());
    await fault(flip);
    const { checksum } = await store.write('__0', payload(body), { isComparedLater: true }, NEVER);
    expect(checksum).toBe(showCrc64(await crc64([body])));
    expect((await collect(store, '__0')).equals(body)).toBe(true);
  });

  test('bytes that change each time on the way to a part never become visible', async () => {
    const store = open(await newBucket());
    const id = await store.uploads.begin('__0', NEVER);
    await fault(flip, { count: 0 });
    await expect(store.uploads.part('__0', id, 1, payload(body), NEVER)).rejects.toThrow(BlobCorruptError);
    expect(await store.head('__0', NEVER)).toBeUndefined();
  });

  test('a throttled request is repeated, and counted', async () => {
    const store = open(await newBucket());
    await fault({ do: 'error', code: 'PartitionQpsLimitted' });
    await store.write('blob', payload(body), {}, NEVER);
    expect(store.pressure!.throttled).toBe(1);
  });

  test.each<[string, Fault['then']]>([
    ['is reset', { do: 'reset', of: 'response', afterBytes: 100_000 }],
    ['ends early', { do: 'truncate', afterBytes: 100_000, contentLength: 'whole' }],
    ['hangs', { do: 'hang', of: 'response', afterBytes: 100_000 }],
  ])('an answer that %s in the middle is read on from there', async (_, then) => {
    const store = open(await newBucket(), { timeouts: { connectMs: 2_000, idleMs: 500 } });
    await store.write('blob', payload(body), {}, NEVER);
    await fault(then, { on: { operation: 'GetObject' } });
    expect((await collect(store, 'blob')).equals(body)).toBe(true);
    expect((await server.faults())[0]).toMatchObject({ struck: 1, seen: 2 });
  });

  test('an answer that ends early and looks whole is no success where the length is known', async () => {
    const store = open(await newBucket());
    await store.write('blob', payload(body), {}, NEVER);
    await fault({ do: 'truncate', afterBytes: 100_000, contentLength: 'sent' }, { count: 0 });
    await expect(collect(store, 'blob', { offset: 0, length: body.length })).rejects.toThrow(UnavailableError);
  });

  test('a reply that is lost after a conditional write: the blob is ours, and the caller is told that one is there', async () => {
    const store = open(await newBucket());
    await fault({ do: 'lose-reply' });
    const receipt = await store.write('owner.json', payload(body), { ifAbsent: true }, NEVER);
    expect(receipt.created).toBe(false);
    expect((await collect(store, 'owner.json')).equals(body)).toBe(true);
  });

  test('a reply that is lost after the end of an upload: the copy looks, and proves what is there', async () => {
    const source = { store: openDirectory(await mkdtemp(join(folder, 'directory-'))), basePath: '' };
    const target = { store: open(await newBucket()), basePath: '' };
    const file = luceneFile(1_000_000);
    await source.store.write('__0', payload(file.body), {}, NEVER);
    await fault({ do: 'lose-reply' }, { on: { operation: 'CompleteMultipartUpload' } });
    const options = { signal: NEVER, progress: () => {}, onCursor: () => {}, multipartBytes: 1, partBytes: 200_000 };
    const [proof] = await copyFile(new Engine(), source, target, { blobs: [file.blob] }, options);
    expect(proof).toMatchObject({ key: '__0', length: 1_000_000, crc32: crc32(file.body) });
    expect((await server.faults())[0]).toMatchObject({ struck: 1 });
  });
});

describe('what the operator must mend is a ConfigurationError for every call, and shows no secret', () => {
  test.each<[string, Partial<OssOptions>, string]>([
    ['an unknown access key', { credentials: async () => ({ ...KEYS, accessKeyId: 'nobody' }) }, 'access key'],
    ['a wrong secret', { credentials: async () => ({ ...KEYS, accessKeySecret: 'planted-secret-0' }) }, 'access key'],
    ['a wrong region', { region: 'cn-beijing' }, 'another region'],
    ['a bucket that does not exist', { bucket: 'no-such-bucket' }, 'no such bucket'],
  ])('%s', async (_, wrong, words) => {
    const bucket = await newBucket();
    await open(bucket).write('blob', payload(Buffer.from('x')), {}, NEVER);
    const store = open(bucket, wrong);
    const calls = [
      store.head('blob', NEVER),
      store.head('none', NEVER),
      collect(store, 'blob'),
      store.write('blob', payload(Buffer.from('y')), {}, NEVER),
      store.write('blob', payload(Buffer.from('y')), { ifAbsent: true }, NEVER),
      store.delete('blob', NEVER),
      store.uploads.begin('blob', NEVER),
      store.uploads.parts('blob', 'x', NEVER),
      store.uploads.unfinished('', NEVER),
      store.list('', NEVER)[Symbol.asyncIterator]().next(),
    ];
    for (const outcome of await Promise.allSettled(calls)) {
      expect(outcome).toMatchObject({ status: 'rejected', reason: expect.any(ConfigurationError) });
      expect(String((outcome as PromiseRejectedResult).reason)).toContain(words);
      expect(inspect(outcome, { depth: 9, showHidden: true })).not.toContain('planted-secret');
    }
    expect(inspect(store, { depth: 9, showHidden: true })).not.toContain('planted-secret');
  });
});
