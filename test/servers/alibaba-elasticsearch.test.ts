/** Our adapter against a cluster of Alibaba Cloud Elasticsearch: the stand-in, real nodes behind. */
import { randomBytes, randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { inspect } from 'node:util';
import { ConfigurationError } from '../../src/domain/errors';
import type { MigrationError } from '../../src/domain/errors';
import { openCluster } from '../../src/elasticsearch';
import type { ClusterAuth, OpenedCluster } from '../../src/elasticsearch';
import { shareDirectory, startAlibabaElasticsearch, startElasticsearch } from '../../stack';
import type { AlibabaOptions, AlibabaServer } from '../../stack';
import { describeCluster } from '../contract/cluster';
import { send } from '../support/send';
import { testServers } from '../support/temporal';

const NEVER = new AbortController().signal;
const PASSWORD = 'planted-pass:wörd';
const SECRET = 'planted-oss-secret';
const FILTERED = ['access_key_id', 'secret_access_key'];
const basic = (password = PASSWORD, username = 'elastic'): ClusterAuth => ({
  ...{ type: 'basic', username },
  password: () => password,
});
const failureOf = (promise: Promise<unknown>): Promise<MigrationError> =>
  promise.then(
    () => Promise.reject(new Error('it did not fail')),
    (error: MigrationError) => error,
  );

describeCluster('Alibaba Cloud Elasticsearch 5.6', async () => {
  const root = await mkdtemp(path.join(tmpdir(), 'snapferry-alibaba-'));
  mkdirSync(path.join(root, 'snapshots'));
  const node = await startElasticsearch({ version: '5.6.16', pathRepo: [root] });
  const keys = { LTAI: { secret: SECRET, buckets: ['snapshots'] } };
  const service = await startAlibabaElasticsearch({ node, root, password: PASSWORD, keys });
  const cluster = openCluster({ name: 'hangzhou', url: service.url, auth: basic() });
  const settings = {
    endpoint: service.endpoint,
    access_key_id: 'LTAI',
    secret_access_key: SECRET,
    bucket: 'snapshots',
  };
  return {
    cluster,
    version: '5.6.16',
    send: (method, target, body) => send(node.url, method, target, body),
    place: async () => ({ type: 'oss', settings: { ...settings, base_path: `deep/${randomUUID()}` } }),
    folderOf: ({ settings }) => path.join(root, 'snapshots', String(settings['base_path'])),
    forbiddenPlace: { type: 'oss', settings: { ...settings, bucket: 'nowhere' } },
    secretSettings: FILTERED,
    cleanup: async () => {
      await cluster.disconnect();
      await service.stop();
      await node.stop();
      await rm(root, { recursive: true, force: true });
    },
  };
});

describe('Alibaba Cloud Elasticsearch', () => {
  const bucket = `alibaba-${randomBytes(4).toString('hex')}`;
  const index = `alibaba-${randomBytes(4).toString('hex')}`;
  let root: string;
  let node: { url: string; version: string };
  let opened: OpenedCluster[] = [];
  let started: AlibabaServer[] = [];

  beforeAll(async () => {
    const { buckets, elasticsearch } = testServers();
    root = buckets;
    node = { url: elasticsearch['5.6.16'] ?? '', version: '5.6.16' };
    await shareDirectory(path.join(root, bucket));
    await send(node.url, 'PUT', `/${index}/book/1?refresh=true`, { title: 'one' });
  });
  afterEach(async () => {
    for (const cluster of opened) await cluster.disconnect();
    for (const service of started) await service.stop();
    [opened, started] = [[], []];
    for (const name of ['r', 'aliyun_auto_snapshot']) await send(node.url, 'DELETE', `/_snapshot/${name}`);
  });
  afterAll(() => send(node.url, 'DELETE', '/alibaba-*'));

  const start = async (more: Partial<AlibabaOptions> = {}): Promise<AlibabaServer> => {
    const keys = { LTAI: { secret: SECRET, buckets: [bucket] }, OTHER: { secret: SECRET, buckets: [] } };
    const service = await startAlibabaElasticsearch({ node, root, password: PASSWORD, keys, ...more });
    started.push(service);
    return service;
  };
  const open = (url: string, auth = basic()): OpenedCluster => {
    const cluster = openCluster({ name: 'hangzhou', url, auth });
    opened.push(cluster);
    return cluster;
  };
  const settings = (changes: Record<string, string | undefined> = {}) => {
    const keys = { access_key_id: 'LTAI', secret_access_key: SECRET };
    const endpoint = 'http://oss-cn-hangzhou-internal.aliyuncs.com';
    const all = { endpoint, ...keys, bucket, base_path: 'a/b', compress: 'true', ...changes };
    return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as Record<string, string>;
  };
  const put = (cluster: OpenedCluster, changes: Record<string, string | undefined> = {}, type = 'oss') =>
    cluster.putRepository('r', { type, settings: settings(changes) }, NEVER);

  test.each<[string, ClusterAuth, RegExp]>([
    ['nobody', { type: 'none' }, /missing authentication token/],
    ['another password', basic('wrong'), /failed to authenticate user \[elastic\]/],
    ['another user', basic(PASSWORD, 'kibana'), /failed to authenticate user \[kibana\]/],
    ['an API key', { type: 'apiKey', key: () => 'a2V5' }, /failed to authenticate/],
  ])('%s is not let in', async (_, auth, words) => {
    const error = await failureOf(open((await start()).url, auth).info(NEVER));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.subject).toMatchObject({ status: 401, type: 'security_exception' });
    expect(error.message).toMatch(words);
  });

  test('a repository lies in the folder of its bucket, and is shown without what is secret', async () => {
    const cluster = open((await start()).url);
    await put(cluster);
    const shown = { type: 'oss', settings: settings({ access_key_id: undefined, secret_access_key: undefined }) };
    expect(await cluster.repository('r', NEVER)).toEqual(shown);
    expect((await cluster.repositories(NEVER))['r']).toEqual(shown);
    await cluster.createSnapshot('r', 'one', [index], NEVER);
    while ((await cluster.snapshot('r', 'one', NEVER))?.state === 'IN_PROGRESS') await sleep(50);
    expect(readdirSync(path.join(root, bucket, 'a', 'b'))).toEqual(expect.arrayContaining(['index-0', 'indices']));
    await cluster.deleteRepository('r', NEVER);
    expect(await cluster.repository('r', NEVER)).toBeUndefined();
  });

  test('a role of its nodes needs no keys', async () => {
    const cluster = open((await start({ ecsRamRoles: { snapshots: [bucket] } })).url);
    const role = { access_key_id: undefined, secret_access_key: undefined, ecs_ram_role: 'snapshots' };
    await put(cluster, role);
    expect(await cluster.repository('r', NEVER)).toEqual({
      type: 'oss',
      settings: settings({ ...role, ecs_ram_role: undefined }),
    });
    await failureOf(put(cluster, { ...role, ecs_ram_role: 'another' }));
  });

  test.each<[string, Record<string, string | undefined>, string, RegExp]>([
    ['of another type', {}, 's3', /repository type \[s3\] does not exist/],
    ['without a bucket', { bucket: undefined }, 'oss', /Setting \[bucket\] is empty/],
    ['in a bucket that is not there', { bucket: 'not-there' }, 'oss', /Bucket \[not-there\] does not exist/],
    ['with a base path that the plugin refuses', { base_path: 'a:b' }, 'oss', /base path has invalid char/],
  ])('%s is not registered', async (_, changes, type, words) => {
    const cluster = open((await start()).url);
    const error = await failureOf(put(cluster, changes, type));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toMatch(words);
    expect(await cluster.repository('r', NEVER)).toBeUndefined();
    expect(existsSync(path.join(root, 'not-there'))).toBe(false);
  });

  test.each<[string, Record<string, string>, RegExp]>([
    ['another key', { access_key_id: 'LTAIunknown' }, /InvalidAccessKeyId/],
    ['another secret', { secret_access_key: 'wrong' }, /SignatureDoesNotMatch/],
    ['a key that may not use the bucket', { access_key_id: 'OTHER' }, /AccessDenied/],
    ['the public endpoint', { endpoint: 'https://oss-cn-hangzhou.aliyuncs.com' }, /connect timed out/],
    [
      'the endpoint of another region',
      { endpoint: 'http://oss-cn-beijing-internal.aliyuncs.com' },
      /connect timed out/,
    ],
  ])('with %s is registered all the same, and of no use', async (_, changes, words) => {
    const cluster = open((await start()).url);
    const error = await failureOf(put(cluster, changes));
    expect(error.subject).toMatchObject({ status: 500, type: 'repository_verification_exception' });
    expect(error.message).toMatch(words);
    expect(inspect(error)).not.toContain(SECRET);
    expect(await cluster.repository('r', NEVER)).toMatchObject({ type: 'oss' });
    expect((await failureOf(cluster.snapshot('r', 'one', NEVER))).message).toMatch(words);
  });

  test('read-only, a mistake shows before 7.0 only when it is used', async () => {
    const cluster = open((await start()).url);
    await put(cluster, { secret_access_key: 'wrong', readonly: 'true' });
    const error = await failureOf(cluster.snapshot('r', 'one', NEVER));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toContain('SignatureDoesNotMatch');
  });

  test('a bucket of another region is refused', async () => {
    const cluster = open((await start({ buckets: { [bucket]: 'cn-beijing' } })).url);
    expect((await failureOf(put(cluster))).message).toContain('must be addressed using the specified endpoint');
  });

  test('its automated snapshots are listed, and nobody else’s to touch', async () => {
    const cluster = open((await start()).url);
    const automated = (await cluster.repositories(NEVER))['aliyun_auto_snapshot'];
    expect(automated).toMatchObject({ type: 'oss' });
    expect(JSON.stringify(automated)).not.toContain(root);
    const restore = { indices: [index], indexSettings: {}, ignoreIndexSettings: [], includeAliases: false };
    const attempts = [
      cluster.putRepository('aliyun_auto_snapshot', { type: 'oss', settings: settings() }, NEVER),
      cluster.deleteRepository('aliyun_auto_snapshot', NEVER),
      cluster.deleteRepository('ali*', NEVER),
      cluster.createSnapshot('aliyun_auto_snapshot', 'mine', [index], NEVER),
      cluster.restore('aliyun_auto_snapshot', 'theirs', restore, NEVER),
    ];
    for (const attempt of attempts) {
      const error = await failureOf(attempt);
      expect(error).toBeInstanceOf(ConfigurationError);
      expect(error.message).toContain('is unauthorized for user [elastic]');
    }
  });
});
