/** Our adapter, and others' clients, against a domain of Amazon Elasticsearch Service: the stand-in, real nodes behind. */
import { execFile } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer as createTcp } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Socks5Server } from '@pondwader/socks5-server';
import { ConfigurationError, UnavailableError } from '../../src/domain/errors';
import type { MigrationError } from '../../src/domain/errors';
import { openCluster } from '../../src/elasticsearch';
import type { ClusterConnection, OpenedCluster } from '../../src/elasticsearch';
import type { Migration, StepDeps } from '../../src/steps/migration';
import { ensureSourceRegistration } from '../../src/steps/registration';
import { WorkKeys } from '../../src/domain/names';
import { domainArn, fullAccess, shareDirectory, startAmazonElasticsearch, startElasticsearch } from '../../stack';
import type { AmazonOptions, AmazonServer, Caller, Statement } from '../../stack';
import { describeCluster } from '../contract/cluster';
import { MemoryStore } from '../support/memory-store';
import { send } from '../support/send';
import { testServers } from '../support/temporal';
import { CERTIFICATE, KEY } from '../unit/elasticsearch/certificate';
import { aContext } from '../unit/steps/world';

const NEVER = new AbortController().signal;
const ROLE = 'arn:aws:iam::123456789012:role/es-snapshots';
const OTHER_ROLE = 'arn:aws:iam::123456789012:role/others';
const USER: Caller = {
  arn: 'arn:aws:iam::123456789012:user/engineer',
  accessKeyId: 'AKIDENGINEER',
  secretAccessKey: 'an engineer’s secret',
  policy: fullAccess(domainArn(), [ROLE]),
};

/** A caller whose policy lacks one statement, or has another. */
const withPolicy = (...policy: Statement[]): Caller => ({ ...USER, policy });
const connectionOf = (url: string, keys: Partial<Caller> = {}, more: Partial<ClusterConnection> = {}) => {
  const { accessKeyId, secretAccessKey, sessionToken } = { ...USER, ...keys };
  const auth = {
    type: 'sigv4',
    region: 'ap-southeast-1',
    keys: () => ({ accessKeyId, secretAccessKey, sessionToken }),
  };
  return { name: 'domain', url, auth, ...more } as ClusterConnection;
};
const failureOf = (promise: Promise<unknown>): Promise<MigrationError> =>
  promise.then(
    () => Promise.reject(new Error('it did not fail')),
    (error: MigrationError) => error,
  );

describeCluster('Amazon Elasticsearch 7.10', async () => {
  const root = await mkdtemp(path.join(tmpdir(), 'snapferry-domain-'));
  mkdirSync(path.join(root, 'snapshots'));
  const node = await startElasticsearch({ version: '7.10.2', pathRepo: [root] });
  const roles = { [ROLE]: { buckets: ['snapshots'] } };
  const domain = await startAmazonElasticsearch({ node, root, callers: [USER], roles, blockCall: true });
  const cluster = openCluster(connectionOf(domain.url));
  const settings = { bucket: 'snapshots', region: 'ap-southeast-1', role_arn: ROLE };
  return {
    cluster,
    version: '7.10.2',
    send: (method, target, body) => send(node.url, method, target, body),
    place: async () => ({ type: 's3', settings: { ...settings, base_path: `deep/${randomUUID()}` } }),
    folderOf: ({ settings }) => path.join(root, 'snapshots', String(settings['base_path'])),
    forbiddenPlace: { type: 's3', settings: { ...settings, bucket: 'nowhere' } },
    changeable: ['cluster.max_shards_per_node', '1234'],
    untold: ['component-template'],
    cleanup: async () => {
      await cluster.disconnect();
      await domain.stop();
      await node.stop();
      await rm(root, { recursive: true, force: true });
    },
  };
});

describe('Amazon Elasticsearch 5.5', () => {
  const bucket = `amazon-${randomBytes(4).toString('hex')}`;
  let node: { url: string; version: string };
  let root: string;
  let opened: { disconnect(): Promise<void> }[] = [];
  let started: AmazonServer[] = [];

  beforeAll(async () => {
    const { buckets, elasticsearch } = testServers();
    root = buckets;
    node = { url: elasticsearch['5.5.2'] ?? '', version: '5.5.2' };
    await shareDirectory(path.join(root, bucket));
  });
  afterEach(async () => {
    for (const cluster of opened) await cluster.disconnect();
    for (const domain of started) await domain.stop();
    [opened, started] = [[], []];
    for (const name of ['r', 'cs-automated']) await send(node.url, 'DELETE', `/_snapshot/${name}`);
    await send(node.url, 'DELETE', '/amazon-*');
  });

  const start = async (more: Partial<AmazonOptions> = {}): Promise<AmazonServer> => {
    const roles = { [ROLE]: { buckets: [bucket] }, [OTHER_ROLE]: { buckets: [] } };
    const domain = await startAmazonElasticsearch({ node, root, callers: [USER], roles, ...more });
    started.push(domain);
    return domain;
  };
  const open = (connection: ClusterConnection): OpenedCluster => {
    const cluster = openCluster(connection);
    opened.push(cluster);
    return cluster;
  };
  const settings = () => ({ bucket, region: 'ap-southeast-1', role_arn: ROLE, base_path: 'a/b', compress: 'true' });
  const put = (cluster: OpenedCluster, changes: Record<string, string | undefined>, type = 's3') => {
    const wanted = Object.entries({ ...settings(), ...changes }).filter(([, value]) => value !== undefined);
    return cluster.putRepository('r', { type, settings: Object.fromEntries(wanted) as Record<string, string> }, NEVER);
  };
  /** Takes some seconds to snapshot at 40 kB/s. */
  const createLarge = async () => {
    const index = `amazon-${randomBytes(3).toString('hex')}`;
    await send(node.url, 'PUT', `/${index}`, { settings: { number_of_shards: 1, number_of_replicas: 0 } });
    for (let id = 0; id < 8; id += 1) {
      await send(node.url, 'PUT', `/${index}/book/${id}`, { noise: randomBytes(6_000).toString('base64') });
    }
    return index;
  };

  describe('requests', () => {
    test('without a signature are nobody’s', async () => {
      const domain = await start();
      const body = { Message: 'User: anonymous is not authorized to perform: es:ESHttpGet' };
      expect(await send(domain.url, 'GET', '/')).toEqual({ status: 403, body });
      const basic = { authorization: `Basic ${Buffer.from('a:b').toString('base64')}` };
      expect(await send(domain.url, 'GET', '/', undefined, basic)).toEqual({ status: 403, body });
      const cluster = open({ name: 'domain', url: domain.url, auth: { type: 'none' } });
      expect(await failureOf(cluster.info(NEVER))).toBeInstanceOf(ConfigurationError);
    });

    test.each<[string, Partial<Caller>, RegExp]>([
      ['by a key that nobody has', { accessKeyId: 'AKIDNOBODY' }, /security token included in the request is invalid/],
      ['by a wrong secret', { secretAccessKey: 'wrong' }, /does not match the signature you provided/],
      ['with a token that is not the key’s', { sessionToken: 'made up' }, /security token .* is invalid/],
    ])('signed %s are refused', async (_, keys, words) => {
      const error = await failureOf(open(connectionOf((await start()).url, keys)).info(NEVER));
      expect(error).toBeInstanceOf(ConfigurationError);
      expect(error.message).toMatch(words);
      expect(error.subject).toMatchObject({ cluster: 'domain', status: 403 });
    });

    test.each([
      ['region', { region: 'eu-west-1' }, /scoped to a valid region/],
      ['service', { service: 's3' }, /scoped to correct service: 'es'/],
    ])('signed for another %s are refused', async (_, scope, words) => {
      const connection = connectionOf((await start()).url);
      const auth = { ...connection.auth, ...scope } as ClusterConnection['auth'];
      expect((await failureOf(open({ ...connection, auth }).info(NEVER))).message).toMatch(words);
    });

    test('with a token that has expired are refused, and pass with the next one without anybody noticing', async () => {
      const first = { ...USER, accessKeyId: 'ASIAFIRST', sessionToken: 'first', expiresAt: Date.now() - 1 };
      const second = { ...USER, accessKeyId: 'ASIASECOND', sessionToken: 'second', expiresAt: Date.now() + 3_600_000 };
      const domain = await start({ callers: [first, second] });
      const error = await failureOf(open(connectionOf(domain.url, first)).info(NEVER));
      expect(error.message).toContain('The security token included in the request is expired');
      const given = [first, second];
      const auth = { type: 'sigv4', region: 'ap-southeast-1', keys: () => given.shift() ?? second } as const;
      const info = await open({ name: 'domain', url: domain.url, auth }).info(NEVER);
      expect(info.version).toBe('5.5.2');
    });

    test('signed by a clock that is wrong are refused with both times', async () => {
      const domain = await start({ now: () => Date.now() + 900_000 });
      const error = await failureOf(open(connectionOf(domain.url)).info(NEVER));
      expect(error).toBeInstanceOf(ConfigurationError);
      expect(error.message).toContain('15 minutes behind');
    });

    test('signed by curl pass', async () => {
      const domain = await start();
      const index = `amazon-${randomBytes(3).toString('hex')}`;
      const curl = async (...words: string[]) => {
        const user = ['--user', `${USER.accessKeyId}:${USER.secretAccessKey}`];
        const { stdout } = await promisify(execFile)('curl', [
          '-s',
          '--aws-sigv4',
          'aws:amz:ap-southeast-1:es',
          ...user,
          ...words,
        ]);
        return JSON.parse(stdout) as unknown;
      };
      expect(await curl(`${domain.url}/`)).toMatchObject({ version: { number: '5.5.2' } });
      const document = ['-X', 'PUT', '-H', 'content-type: application/json', '-d', '{"title":"é"}'];
      expect(await curl(...document, `${domain.url}/${index}/book/1`)).toMatchObject({ result: 'created' });
      const wrong = await curl('--user', `${USER.accessKeyId}:wrong`, `${domain.url}/`);
      expect(wrong).toMatchObject({ message: expect.stringContaining('does not match') });
    });

    test('pass over TLS with an own authority, through a SOCKS5 proxy that knows the name', async () => {
      const domain = await start({ tls: { cert: CERTIFICATE, key: KEY } });
      const asked: unknown[] = [];
      const inside = new Socks5Server().setRulesetValidator((connection, accept) => {
        asked.push(connection.destAddress);
        accept();
      });
      const proxy = createTcp((socket) => void inside._handleConnection(socket));
      await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
      const more = { caCertificate: CERTIFICATE, proxy: `socks5://127.0.0.1:${(proxy.address() as AddressInfo).port}` };
      const cluster = openCluster(connectionOf(domain.url, {}, more));
      expect((await cluster.info(NEVER)).version).toBe('5.5.2');
      expect(asked).toEqual(['127.0.0.1']);
      await cluster.disconnect();
      await new Promise((resolve) => proxy.close(resolve));
    });
  });

  describe('a policy', () => {
    const get: Statement = { Effect: 'Allow', Action: 'es:ESHttpGet', Resource: `${domainArn()}/*` };
    const write: Statement = {
      Effect: 'Allow',
      Action: ['es:ESHttpPut', 'es:ESHttpPost'],
      Resource: `${domainArn()}/*`,
    };
    const pass: Statement = { Effect: 'Allow', Action: 'iam:PassRole', Resource: ROLE };

    test.each<[string, Statement[], string]>([
      ['es:ESHttpPut', [get, pass], 'es:ESHttpPut'],
      ['iam:PassRole', [get, write], `iam:PassRole on resource: ${ROLE}`],
      [
        'iam:PassRole for this role',
        [get, write, { ...pass, Resource: OTHER_ROLE }],
        `iam:PassRole on resource: ${ROLE}`,
      ],
      [
        'the domain',
        [{ ...get, Resource: '*' }, { ...write, Resource: `${domainArn()}/logs/*` }, pass],
        'es:ESHttpPut',
      ],
    ])('without %s lets nobody register', async (_, policy, missing) => {
      const domain = await start({ callers: [withPolicy(...policy)] });
      const cluster = open(connectionOf(domain.url));
      await cluster.info(NEVER);
      const error = await failureOf(put(cluster, {}));
      expect(error).toBeInstanceOf(ConfigurationError);
      expect(error.message).toContain(`User: ${USER.arn} is not authorized to perform: ${missing}`);
      expect(await cluster.repository('r', NEVER)).toBeUndefined();
    });

    test('may forbid one index alone', async () => {
      const index = await createLarge();
      const policy = [{ ...get, Resource: [`${domainArn()}/`, `${domainArn()}/_*`] }];
      const cluster = open(connectionOf((await start({ callers: [withPolicy(...policy)] })).url));
      expect((await cluster.indices(NEVER)).map(({ name }) => name)).toContain(index);
      const error = await failureOf(cluster.count(index, NEVER));
      expect(error).toBeInstanceOf(ConfigurationError);
      expect(error.subject).toMatchObject({ request: `GET /${index}/_count`, status: 403 });
    });
  });

  describe('a repository', () => {
    test('is shown as it was registered, and lies in the folder of its bucket', async () => {
      const index = await createLarge();
      const cluster = open(connectionOf((await start()).url));
      await put(cluster, { server_side_encryption: 'true' });
      const shown = { type: 's3', settings: { ...settings(), server_side_encryption: 'true' } };
      expect(await cluster.repository('r', NEVER)).toEqual(shown);
      expect((await cluster.repositories(NEVER))['r']).toEqual(shown);
      await cluster.createSnapshot('r', 'one', [index], NEVER);
      while ((await cluster.snapshot('r', 'one', NEVER))?.state === 'IN_PROGRESS') await sleep(50);
      expect(readdirSync(path.join(root, bucket, 'a', 'b'))).toEqual(expect.arrayContaining(['index-0', 'indices']));
      await cluster.deleteRepository('r', NEVER);
      expect(await cluster.repository('r', NEVER)).toBeUndefined();
    });

    test.each<[string, Record<string, string | undefined>, string, number, RegExp]>([
      ['of another type', {}, 'fs', 401, /payload is not allowed/],
      ['without a role', { role_arn: undefined }, 's3', 401, /settings.role_arn is needed for snapshot registration/],
      ['with a role that may not be passed', { role_arn: OTHER_ROLE }, 's3', 403, /iam:PassRole on resource: .*others/],
    ])('%s is not registered', async (_, changes, type, status, words) => {
      const cluster = open(connectionOf((await start()).url));
      const error = await failureOf(put(cluster, changes, type));
      expect(error).toBeInstanceOf(ConfigurationError);
      expect(error.subject).toMatchObject({ status });
      expect(error.message).toMatch(words);
      expect(await cluster.repository('r', NEVER)).toBeUndefined();
    });

    const policy = fullAccess(domainArn(), [ROLE, OTHER_ROLE, 'arn:aws:iam::1:role/unknown']);
    test.each<[string, Record<string, string | undefined>, RegExp]>([
      ['a bucket that is not there', { bucket: 'not-there' }, /NoSuchBucket/],
      ['a bucket in another region', { region: 'eu-west-1' }, /The bucket is in this region: ap-southeast-1/],
      ['neither region nor endpoint', { region: undefined }, /The bucket is in this region: ap-southeast-1/],
      ['a role that may not use the bucket', { role_arn: OTHER_ROLE }, /Error Code: AccessDenied/],
      ['a role that does not trust the service', { role_arn: 'arn:aws:iam::1:role/unknown' }, /sts:AssumeRole/],
    ])('with %s is registered all the same, and of no use', async (_, changes, words) => {
      const cluster = open(connectionOf((await start({ callers: [withPolicy(...policy)] })).url));
      const error = await failureOf(put(cluster, changes));
      expect(error).toBeInstanceOf(ConfigurationError);
      expect(error.subject).toMatchObject({ status: 500, type: 'repository_verification_exception' });
      expect(error.message).toMatch(words);
      expect(await cluster.repository('r', NEVER)).toMatchObject({ type: 's3' });
      expect((await failureOf(cluster.snapshot('r', 'one', NEVER))).message).toMatch(words);
      const taken = cluster.createSnapshot('r', 'one', [await createLarge()], NEVER);
      expect((await failureOf(taken)).message).toMatch(words);
      expect(existsSync(path.join(root, 'not-there'))).toBe(false);
    });

    test('of another region is reached by the endpoint of all', async () => {
      const cluster = open(connectionOf((await start({ buckets: { [bucket]: 'eu-west-1' } })).url));
      expect((await failureOf(put(cluster, {}))).message).toContain('The bucket is in this region: eu-west-1');
      await put(cluster, { region: undefined, endpoint: 's3.amazonaws.com' });
      expect(await cluster.snapshot('r', 'not-taken', NEVER)).toBeUndefined();
    });
  });

  test('a migration reaches a bucket of another region, and leaves nothing of one that it may not use', async () => {
    const cluster = open(connectionOf((await start({ buckets: { [bucket]: 'eu-west-1' } })).url));
    const register = async (wanted: Record<string, string>) => {
      const migration = {
        registrations: { source: { cluster: 'domain', name: 'r', ours: true } },
        plan: { repository: { source: { store: 'store', basePath: 'a/b' } }, throttles: {} },
        source: cluster,
        targetStore: new MemoryStore('target'),
        keys: WorkKeys.of('work', 'run'),
      } as unknown as Migration;
      const config = { repositoryDefinition: () => ({ type: 's3', settings: wanted }) };
      await ensureSourceRegistration({ config } as unknown as StepDeps, migration, aContext());
    };
    await expect(register({ ...settings(), bucket: 'not-there' })).rejects.toThrow('NoSuchBucket');
    expect(await cluster.repository('r', NEVER)).toBeUndefined();
    await register(settings());
    const { region, ...others } = settings();
    expect(region).toBe('ap-southeast-1');
    const registered = { type: 's3', settings: { ...others, endpoint: 's3.amazonaws.com' } };
    expect(await cluster.repository('r', NEVER)).toEqual(registered);
  });

  describe('what the service keeps to itself:', () => {
    const refusal = async (cluster: Promise<unknown>) => (await failureOf(cluster)).message;

    test('its automated snapshots are listed, and neither written, restored, changed nor removed', async () => {
      const index = await createLarge();
      const domain = await start();
      const { name, ended } = await domain.takeAutomatedSnapshot();
      await ended;
      const cluster = open(connectionOf(domain.url));
      expect((await cluster.repositories(NEVER))['cs-automated']).toEqual({ type: 's3', settings: {} });
      expect(await cluster.snapshot('cs-automated', name, NEVER)).toMatchObject({ state: 'SUCCESS' });
      const restore = { indices: [index], indexSettings: {}, ignoreIndexSettings: [], includeAliases: false };
      const attempts = [
        cluster.restore('cs-automated', name, restore, NEVER),
        cluster.createSnapshot('cs-automated', 'mine', [index], NEVER),
        cluster.deleteSnapshot('cs-automated', name, NEVER),
        cluster.putRepository('cs-mine', { type: 's3', settings: settings() }, NEVER),
        cluster.deleteRepository('*', NEVER),
        cluster.deleteRepository('cs-automated', NEVER),
      ];
      for (const attempt of attempts) expect(await refusal(attempt)).toContain('is not allowed');
      expect(await cluster.snapshot('cs-automated', name, NEVER)).toMatchObject({ state: 'SUCCESS' });
    });

    test('an automated snapshot that runs keeps ours out, for a while', async () => {
      const index = await createLarge();
      const domain = await start();
      const cluster = open(connectionOf(domain.url));
      await put(cluster, {});
      const { ended } = await domain.takeAutomatedSnapshot(40_000);
      expect(await cluster.runningSnapshots(NEVER)).toMatchObject([{ repository: 'cs-automated' }]);
      const error = await failureOf(cluster.createSnapshot('r', 'mine', [index], NEVER));
      expect(error).toBeInstanceOf(UnavailableError);
      expect(error.subject).toMatchObject({ type: 'concurrent_snapshot_execution_exception' });
      await ended;
      await cluster.createSnapshot('r', 'mine', [index], NEVER);
      while ((await cluster.snapshot('r', 'mine', NEVER))?.state === 'IN_PROGRESS') await sleep(50);
    });

    test('calls before 7.4 close nothing, and open nothing', async () => {
      const index = await createLarge();
      const cluster = open(connectionOf((await start()).url));
      const error = await failureOf(cluster.close([index], NEVER));
      expect(error).toBeInstanceOf(ConfigurationError);
      expect(error.message).toContain(`Your request: '/${index}/_close' is not allowed.`);
      expect(await cluster.refusalOf('close', NEVER)).toContain('_close');
      expect((await cluster.indices(NEVER)).find(({ name }) => name === index)).toMatchObject({ open: true });
    });

    test.each(['/_settings', '/_forcemerge', '/_cluster/reroute', '/_cat/nodeattrs', '/_nodes/usage/x'])(
      '%s',
      async (target) => {
        const domain = await start();
        const { stdout } = await promisify(execFile)('curl', [
          ...['-s', '-X', target.startsWith('/_cat') ? 'GET' : 'PUT', '--aws-sigv4', 'aws:amz:ap-southeast-1:es'],
          ...['--user', `${USER.accessKeyId}:${USER.secretAccessKey}`, `${domain.url}${target}`],
        ]);
        expect(JSON.parse(stdout)).toEqual({ Message: `Your request: '${target}' is not allowed.` });
      },
    );

    test('settings of the cluster but for a few, in their flat form', async () => {
      const domain = await start();
      const change = async (body: object) => {
        const { stdout } = await promisify(execFile)('curl', [
          ...['-s', '-X', 'PUT', '-H', 'content-type: application/json', '--aws-sigv4', 'aws:amz:ap-southeast-1:es'],
          ...['--user', `${USER.accessKeyId}:${USER.secretAccessKey}`, '-d', JSON.stringify(body)],
          `${domain.url}/_cluster/settings`,
        ]);
        return JSON.parse(stdout) as unknown;
      };
      const refused = { Message: "Your request: '/_cluster/settings' payload is not allowed." };
      expect(await change({ transient: { 'action.auto_create_index': null } })).toMatchObject({ acknowledged: true });
      expect(await change({ transient: { action: { auto_create_index: null } } })).toEqual(refused);
      expect(await change({ transient: { 'indices.recovery.max_bytes_per_sec': '1b' } })).toEqual(refused);
      const raised = open(connectionOf(domain.url)).setTransientSetting(
        'indices.recovery.max_bytes_per_sec',
        '1b',
        NEVER,
      );
      expect(await failureOf(raised)).toBeInstanceOf(ConfigurationError);
      expect(await change({ transient: { 'cluster.max_shards_per_node': 1 } })).toEqual(refused); // from 7.0 on
    });

    test('the machines of its nodes', async () => {
      const domain = await start();
      const { stdout } = await promisify(execFile)('curl', [
        ...['-s', '--aws-sigv4', 'aws:amz:ap-southeast-1:es', '--user', `${USER.accessKeyId}:${USER.secretAccessKey}`],
        `${domain.url}/_nodes`,
      ]);
      expect(stdout).toContain('"version":"5.5.2"');
      for (const secret of ['127.0.0.1', 'transport_address', root]) expect(stdout).not.toContain(secret);
    });
  });

  test('indices in UltraWarm are told from others, cold ones are listed page by page, and no snapshot mixes them', async () => {
    for (const name of ['amazon-hot', 'amazon-warm']) {
      await send(node.url, 'PUT', `/${name}`, { settings: { number_of_shards: 1, number_of_replicas: 0 } });
    }
    const cold = Array.from({ length: 1_001 }, (_, at) => `cold-${String(at).padStart(4, '0')}`);
    const domain = await start({ slow: { warm: ['amazon-warm'], cold } });
    const cluster = open(connectionOf(domain.url));
    expect(await cluster.slowIndices(NEVER)).toEqual({ warm: ['amazon-warm'], cold });
    expect((await cluster.indices(NEVER)).map(({ name }) => name)).toEqual(
      expect.arrayContaining(['amazon-hot', 'amazon-warm']),
    );
    await put(cluster, {});
    const mixed = await failureOf(cluster.createSnapshot('r', 'mixed', ['amazon-hot', 'amazon-warm'], NEVER));
    expect(mixed).toBeInstanceOf(ConfigurationError);
    // A domain without such storage offers none of its calls.
    expect(await open(connectionOf((await start()).url)).slowIndices(NEVER)).toEqual({ warm: [], cold: [] });
  });

  test('a call that takes too long is answered 504, and goes on', async () => {
    const index = await createLarge();
    const domain = await start({ longestCallMs: 300 });
    const cluster = open(connectionOf(domain.url));
    await put(cluster, { base_path: 'slow', max_snapshot_bytes_per_sec: '40kb' });
    // Deleting waits for a snapshot that runs to be stopped; creating one answers at once.
    const { stdout } = await promisify(execFile)('curl', [
      ...['-s', '-o', '/dev/null', '-w', '%{http_code}', '-X', 'PUT', '-H', 'content-type: application/json'],
      ...['--aws-sigv4', 'aws:amz:ap-southeast-1:es', '--user', `${USER.accessKeyId}:${USER.secretAccessKey}`],
      ...['-d', JSON.stringify({ indices: index }), `${domain.url}/_snapshot/r/long?wait_for_completion=true`],
    ]);
    expect(stdout).toBe('504');
    const inspect = () =>
      send(node.url, 'GET', '/_snapshot/r/long') as Promise<{ body: { snapshots: { state: string }[] } }>;
    while ((await inspect()).body.snapshots[0]?.state === 'IN_PROGRESS') await sleep(50);
    expect((await inspect()).body.snapshots[0]?.state).toBe('SUCCESS');
  });
});
