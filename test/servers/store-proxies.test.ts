/** Stores that are reached through real proxies only. */
import { randomBytes, randomUUID } from 'node:crypto';
import { mkdir, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { openOss, openS3, payload } from '../../src/storage';
import type { Store } from '../../src/storage';
import { startOss } from '../../stack';
import type { OssServer } from '../../stack';
import { newBucket, OSS_KEYS } from '../support/oss';
import { closing, socks, squid } from '../support/proxies';
import { testServers } from '../support/temporal';

const NEVER = new AbortController().signal;
const { s3, buckets } = testServers();
const { accessKeyId, secretAccessKey, region } = OSS_KEYS;

let root: string;
let oss: OssServer;
beforeAll(async () => {
  root = await mkdtemp(path.join(tmpdir(), 'snapferry-proxies-'));
  oss = await startOss({ root, ...OSS_KEYS });
});
afterEach(() => closing.all());
afterAll(() => oss?.stop());

const stores = {
  s3: async (proxy: string): Promise<Store> => {
    const bucket = `proxied-${randomUUID()}`;
    await mkdir(path.join(buckets, bucket));
    return openS3({ ...s3, bucket, region: 'us-east-1', pathStyle: true, credentials: async () => s3, proxy });
  },
  oss: async (proxy: string, endpoint = oss.endpoint): Promise<Store> => {
    const credentials = async () => ({ accessKeyId, accessKeySecret: secretAccessKey });
    return openOss({ bucket: newBucket(root), region, endpoint, credentials, proxy });
  },
};

const AT_ONCE = 40;

describe.each([
  ['a SOCKS5 proxy', socks],
  ['an HTTP proxy', squid],
])('through %s', (_, start) => {
  test.each(['s3', 'oss'] as const)('%s takes and gives blobs over tunnels that are kept', async (kind) => {
    const proxy = await start();
    const store = await stores[kind](proxy.url);
    const bodies = Array.from({ length: AT_ONCE }, () => randomBytes(100_000));
    await Promise.all(bodies.map((body, n) => store.write(`blob-${n}`, payload(body), {}, NEVER)));
    for (const [n, body] of bodies.entries()) {
      const { buffers } = await store.read(`blob-${n}`, {}, NEVER);
      expect(Buffer.concat(buffers).equals(body)).toBe(true);
    }
    const keys = [];
    for await (const { key } of store.list('', NEVER)) keys.push(key);
    expect(keys).toHaveLength(AT_ONCE);
    expect(new Set(proxy.asked)).toEqual(new Set([new URL(kind === 's3' ? s3.endpoint : oss.endpoint).host]));
    expect(proxy.asked.length).toBeLessThanOrEqual(AT_ONCE);
  });
});

test('the names of a private network are resolved by the proxy, with the bucket in the name of the host', async () => {
  const { port } = new URL(oss.endpoint);
  const host = 'oss-cn-hangzhou-internal.test';
  const names: Record<string, string> = {};
  const proxy = await socks(names);
  const store = await stores.oss(proxy.url, `http://${host}:${port}`);
  const named = `${store.description.slice('oss://'.length)}.${host}`;
  names[named] = '127.0.0.1';
  await store.write('blob', payload(Buffer.from('through')), {}, NEVER);
  expect(await store.head('blob', NEVER)).toMatchObject({ length: 7 });
  expect(new Set(proxy.asked)).toEqual(new Set([`${named}:${port}`]));
});
