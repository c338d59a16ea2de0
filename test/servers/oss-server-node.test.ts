/** A folder that is a bucket for OSS clients and an `fs` repository for a real node, at the same time. */
import { createHash, randomUUID } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { shareDirectory, startOss } from '../../stack';
import type { OssServer } from '../../stack';
import { aliOss, OSS_KEYS } from '../support/oss';
import { testServers } from '../support/temporal';

const DOCUMENTS = 50;

let root: string;
let server: OssServer;
let node: string;

beforeAll(async () => {
  const { buckets, elasticsearch } = testServers();
  node = elasticsearch['5.6.16'] ?? '';
  root = path.join(buckets, `oss-${randomUUID()}`);
  await shareDirectory(root);
  server = await startOss({ root, ...OSS_KEYS });
});
afterAll(async () => {
  await server?.stop();
});

async function ask(method: string, url: string, body?: unknown): Promise<Record<string, unknown>> {
  const response = await fetch(node + url, {
    method,
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    headers: { 'content-type': typeof body === 'string' ? 'application/x-ndjson' : 'application/json' },
  });
  const answer = (await response.json()) as Record<string, unknown>;
  if (!response.ok) throw new Error(`${method} ${url}: ${response.status} ${JSON.stringify(answer)}`);
  return answer;
}

function filesBelow(folder: string): string[] {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return files.map((entry) => path.relative(folder, path.join(entry.parentPath, entry.name))).sort();
}

/** An index of a few documents and a snapshot of it in a bucket that OSS made. */
async function snapshotInto(bucket: string): Promise<string> {
  const index = `oss-${randomUUID()}`;
  await aliOss(server.endpoint, bucket).putBucket(bucket);
  const lines = Array.from({ length: DOCUMENTS }, (_, at) => `{"index":{}}\n{"n":${at}}\n`);
  await ask('POST', `/${index}/doc/_bulk?refresh=true`, lines.join(''));
  await register(bucket, path.join(root, bucket, 'base'));
  await ask('PUT', `/_snapshot/${bucket}/s1?wait_for_completion=true`, { indices: index, include_global_state: false });
  return index;
}

const register = (name: string, location: string) =>
  ask('PUT', `/_snapshot/${name}`, { type: 'fs', settings: { location } });

test('every file that a node writes is listed and read through OSS, and what the node deletes is gone', async () => {
  const bucket = `n-${randomUUID().slice(0, 8)}`;
  await snapshotInto(bucket);
  const client = aliOss(server.endpoint, bucket);
  const files = filesBelow(path.join(root, bucket));
  const listed = (await client.list({ 'max-keys': 1000 }, {})).objects;
  expect(listed.map((one) => one.name)).toEqual(files);
  expect(files).toContain('base/index-0');
  for (const { name, size, etag } of listed) {
    const bytes = readFileSync(path.join(root, bucket, name));
    const { content, res } = await client.get(name);
    expect(bytes.equals(content as Buffer)).toBe(true);
    const md5 = createHash('md5').update(bytes).digest('hex').toUpperCase();
    expect([size, etag, (res.headers as Record<string, string>).etag]).toEqual([bytes.length, `"${md5}"`, `"${md5}"`]);
  }
  await ask('DELETE', `/_snapshot/${bucket}/s1`);
  const left = ((await client.list({ 'max-keys': 1000 }, {})).objects ?? []).map((one) => one.name);
  expect(left).toEqual(filesBelow(path.join(root, bucket)));
  expect(left.some((name) => /\/__\d+$/.test(name))).toBe(false);
});

test('blobs written through OSS are a repository that a node registers, restores, writes to and deletes from', async () => {
  const from = `f-${randomUUID().slice(0, 8)}`;
  const to = `t-${randomUUID().slice(0, 8)}`;
  const index = await snapshotInto(from);
  const [source, target] = [aliOss(server.endpoint, from), aliOss(server.endpoint, to)];
  await target.putBucket(to);
  for (const { name } of (await source.list({ 'max-keys': 1000 }, {})).objects) {
    await target.put(name, (await source.get(name)).content as Buffer);
  }
  await register(to, path.join(root, to, 'base'));
  const body = { indices: index, rename_pattern: '(.+)', rename_replacement: '$1-restored' };
  await ask('POST', `/_snapshot/${to}/s1/_restore?wait_for_completion=true`, body);
  await ask('GET', `/_cluster/health/${index}-restored?wait_for_status=yellow`);
  expect(await ask('GET', `/${index}-restored/_count`)).toMatchObject({ count: DOCUMENTS });

  await ask('PUT', `/_snapshot/${to}/s2?wait_for_completion=true`, { indices: `${index}-restored` });
  await ask('DELETE', `/_snapshot/${to}/s1`); // removes files that OSS wrote, as another user
  expect(await ask('GET', `/_snapshot/${to}/_all`)).toMatchObject({
    snapshots: [{ snapshot: 's2', state: 'SUCCESS' }],
  });
  await expect(target.head('base/index-2')).resolves.toMatchObject({ status: 200 });
});
