// The stack itself: real servers start on a bare machine, see each other's files, and leave nothing behind.
import { GetObjectCommand, ListObjectsV2Command, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { Connection } from '@temporalio/client';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  freePort,
  shareDirectory,
  startElasticsearch,
  startTemporal,
  startVersitygw,
  stopAll,
  temporalCli,
} from '../../stack';
import type { ElasticsearchServer, S3Server, TemporalServer } from '../../stack';
import { parseArguments } from '../../stack/arguments';
import { cacheRoot, installed } from '../../stack/cache';
import { isPortFree } from '../../stack/ports';
import { findCommand } from '../../stack/tools';

const KEYS = { accessKeyId: 'stack-test', secretAccessKey: 'stack-test-secret' };

describe('real servers', () => {
  let folder: string;
  let bucket: string;
  let s3: S3Server;
  let temporal: TemporalServer;
  let node: ElasticsearchServer;
  let client: S3Client;

  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'stack-test-'));
    bucket = path.join(folder, 's3', 'source');
    await shareDirectory(bucket);
    [s3, temporal, node] = await Promise.all([
      startVersitygw({ root: path.dirname(bucket), ...KEYS }),
      startTemporal({ searchAttributes: { StackTest: 'Keyword' } }),
      startElasticsearch({ version: '5.5.2', pathRepo: [bucket] }),
    ]);
    client = new S3Client({ endpoint: s3.endpoint, region: 'us-east-1', forcePathStyle: true, credentials: KEYS });
  }, 1_200_000); // the first use builds and downloads

  afterAll(async () => {
    client?.destroy();
    await stopAll();
    await rm(folder, { recursive: true, force: true });
  });

  test('a snapshot that a node writes into a bucket folder is seen through the S3 port, byte for byte', async () => {
    await call('PUT', '/books/book/1?refresh=true', { title: 'one' });
    await call('PUT', '/_snapshot/source', { type: 'fs', settings: { location: path.join(bucket, 'base') } });
    const taken = await call('PUT', '/_snapshot/source/first?wait_for_completion=true', {});
    expect(taken).toMatchObject({ snapshot: { state: 'SUCCESS' } });

    const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket: 'source', Prefix: 'base/' }));
    expect(Contents.map((object) => object.Key)).toEqual(expect.arrayContaining(['base/index-0', 'base/index.latest']));
    const latest = await client.send(new GetObjectCommand({ Bucket: 'source', Key: 'base/index.latest' }));
    expect(await latest.Body?.transformToByteArray()).toEqual(new Uint8Array(8));
  });

  test('a node reads, and deletes, what came in through the S3 port', async () => {
    const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket: 'source', Prefix: 'base/' }));
    for (const { Key = '' } of Contents) {
      const blob = await client.send(new GetObjectCommand({ Bucket: 'source', Key }));
      const Body = await blob.Body?.transformToByteArray();
      await client.send(new PutObjectCommand({ Bucket: 'source', Key: Key.replace('base/', 'copy/'), Body }));
    }
    await call('PUT', '/_snapshot/copy', { type: 'fs', settings: { location: path.join(bucket, 'copy') } });
    expect(await call('GET', '/_snapshot/copy/_all')).toMatchObject({ snapshots: [{ snapshot: 'first' }] });
    expect(await call('DELETE', '/_snapshot/copy/first')).toEqual({ acknowledged: true });
  });

  test('Temporal serves its namespace and its Web UI', async () => {
    const connection = await Connection.connect({ address: temporal.address });
    const found = await connection.operatorService.listSearchAttributes({ namespace: 'default' });
    await connection.close();
    expect(Object.keys(found.customAttributes ?? {})).toContain('StackTest');
    expect((await fetch(temporal.uiUrl ?? '')).status).toBe(200);
  });

  test('a second start downloads nothing', async () => {
    const before = cacheState();
    const second = await startVersitygw({ root: path.join(folder, 'other'), ...KEYS });
    await temporalCli();
    await second.stop();
    expect(cacheState()).toEqual(before);
  });

  // On Linux by the kernel for SIGKILL; elsewhere only an end that the process notices stops its servers.
  const ends = process.platform === 'linux' ? (['SIGINT', 'SIGKILL'] as const) : (['SIGINT'] as const);
  test.each(ends)('servers end with the process that started them: %s', async (signal) => {
    const port = await freePort();
    const options = { root: path.join(folder, signal), port, ...KEYS };
    const child = spawn(process.execPath, ['-e', starter(options)], { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(child.stdout, 'data');
    expect(await isPortFree(port)).toBe(false);
    child.kill(signal);
    await once(child, 'exit');
    for (let wait = 0; wait < 100 && !(await isPortFree(port)); wait++) await sleep(50);
    expect(await isPortFree(port)).toBe(true);
  });

  test('after stopAll no server runs and the ports are free', async () => {
    await stopAll();
    const urls = [s3.endpoint, node.url, `http://${temporal.address}`, temporal.uiUrl ?? ''];
    for (const url of urls) expect(await isPortFree(Number(new URL(url).port))).toBe(true);
    for (const { pid } of [s3, node, temporal]) expect(() => process.kill(pid, 0)).toThrow('ESRCH');
  });

  async function call(method: string, target: string, body?: object): Promise<unknown> {
    const response = await fetch(node.url + target, {
      method,
      body: body === undefined ? undefined : JSON.stringify(body),
      headers: { 'content-type': 'application/json' },
    });
    return response.json();
  }
});

/** A program of its own that starts versitygw, says so and waits. The hook compiles as Jest does. */
function starter(options: object): string {
  return `
    const { transformFileSync } = require('@swc/core');
    const swc = { swcrc: false, module: { type: 'commonjs' }, jsc: { target: 'es2022', parser: { syntax: 'typescript' } } };
    require.extensions['.ts'] = (module, file) => module._compile(transformFileSync(file, swc).code, file);
    require(${JSON.stringify(path.resolve('stack/index.ts'))})
      .startVersitygw(${JSON.stringify(options)})
      .then(() => console.log('started'));`;
}

/** The installations in question and when they were last touched; other processes may be adding others. */
function cacheState(): string[] {
  const ours = readdirSync(cacheRoot()).filter((name) => /^(temporal|versitygw|elasticsearch-5\.5\.2)/.test(name));
  return ours.map((name) => `${name} ${statSync(path.join(cacheRoot(), name)).mtimeMs}`);
}

describe('the cache', () => {
  const chosen = process.env.SNAPFERRY_CACHE;
  beforeAll(async () => {
    process.env.SNAPFERRY_CACHE = await mkdtemp(path.join(tmpdir(), 'stack-cache-'));
  });
  afterAll(async () => {
    await rm(cacheRoot(), { recursive: true, force: true });
    if (chosen === undefined) delete process.env.SNAPFERRY_CACHE;
    else process.env.SNAPFERRY_CACHE = chosen;
  });

  test('of two that ask at once, one installs and the other waits for it', async () => {
    let installs = 0;
    const what = {
      name: 'thing',
      version: '1.0.0',
      proof: 'program',
      install: async (target: string) => {
        installs++;
        await sleep(100);
        await writeFile(path.join(target, 'program'), '');
      },
    };
    const folders = await Promise.all([installed(what), installed(what)]);
    expect(folders).toEqual([path.join(cacheRoot(), 'thing-1.0.0'), path.join(cacheRoot(), 'thing-1.0.0')]);
    expect(installs).toBe(1);
  });

  test('an installation that fails leaves nothing that looks complete, and the next one may try', async () => {
    const what = { name: 'broken', version: '1.0.0', proof: 'program' };
    const failing = installed({ ...what, install: () => Promise.reject(new Error('no network')) });
    await expect(failing).rejects.toThrow('no network');
    expect(existsSync(path.join(cacheRoot(), 'broken-1.0.0'))).toBe(false);
    await installed({ ...what, install: (target) => writeFile(path.join(target, 'program'), '') });
  });

  test.each([
    ['go', () => startVersitygw({ root: '/nowhere/at-all', ...KEYS })],
    ['mvn', () => startElasticsearch({ version: '5.5.2', pathRepo: [] })],
  ])('without %s a plain sentence says what is absent and what to do', async (tool, start) => {
    const searched = process.env.PATH;
    process.env.PATH = await pathWithout(tool);
    try {
      await expect(start()).rejects.toThrow(new RegExp(`"${tool}" is not on the PATH\\. .*install`, 'i'));
    } finally {
      process.env.PATH = searched;
    }
  });

  /** A folder of links to the few commands that starting needs besides. */
  async function pathWithout(tool: string): Promise<string> {
    const folder = path.join(cacheRoot(), `bin-without-${tool}`);
    await mkdir(folder);
    for (const name of ['java', 'id', 'useradd', 'setpriv', 'go', 'mvn']) {
      const found = findCommand(name);
      if (name !== tool && found !== undefined) await symlink(found, path.join(folder, name));
    }
    return folder;
  }
});

describe('npm run stack', () => {
  test("without arguments it means the demo's stack", () => {
    const kinds = parseArguments([]).parts.map((part) => (part.kind === 'elasticsearch' ? part.version : part.kind));
    expect(kinds).toEqual(['temporal', '5.5.2', '5.6.16', 's3']);
  });

  test('each part has its own options', () => {
    const words = 'elasticsearch --version 5.5.2 --port 9201 --path-repo /a --path-repo /b s3 --root=/r --port 7070';
    expect(parseArguments(words.split(' ')).parts).toMatchObject([
      { kind: 'elasticsearch', version: '5.5.2', port: 9201, pathRepo: ['/a', '/b'] },
      { kind: 's3', root: '/r', port: 7070 },
    ]);
  });

  test.each(['amazon-elasticsearch', 'alibaba-elasticsearch'] as const)('%s is a part with a version', (kind) => {
    expect(parseArguments([`${kind}:5.5.2`, '--port', '9201']).parts).toEqual([{ kind, version: '5.5.2', port: 9201 }]);
    expect(() => parseArguments([kind])).toThrow('needs a version');
    expect(() => parseArguments([`${kind}:5.5.2`, '--path-repo', '/a'])).toThrow('--path-repo is not an option');
  });

  test('opensearch is a part like elasticsearch', () => {
    const words = ['opensearch:2.19.1', '--path-repo', '/a'];
    expect(parseArguments(words).parts).toMatchObject([{ kind: 'opensearch', version: '2.19.1', pathRepo: ['/a'] }]);
    expect(() => parseArguments(['opensearch'])).toThrow('opensearch needs a version, as opensearch:2.19.1');
  });

  test.each([
    ['minio', /"minio" is not a part/],
    ['elasticsearch', /needs a version/],
    ['s3 --port x', /--port x is not a port/],
    ['temporal --root /x', /--root is not an option of temporal/],
    ['temporal --port', /--port needs a value/],
  ])('%s: is refused with one clear line', (words, message) => {
    expect(() => parseArguments(words.split(' '))).toThrow(message);
  });
});
