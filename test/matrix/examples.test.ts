/**
 * Shapes of migration, each by the plan and the connections file of examples/ as they are shipped: hosts, buckets,
 * roles and keys are those of the files, and stand-ins of the services are strict about them.
 */
import {
  domainArn,
  fullAccess,
  startAlibabaElasticsearch,
  startAmazonElasticsearch,
  startElasticsearch,
  startOss,
  startTemporal,
  startTencentElasticsearch,
  startVersitygw,
  stopAll,
} from '../../stack';
import type { ElasticsearchServer, Fault, OssServer } from '../../stack';
import { EXAMPLE_IDS, EXAMPLE_SECRETS, examplePlan, ExampleWorld } from '../support/example-world';
import type { Ferry } from '../support/ferry';
import { closing } from '../support/proxies';
import { http, Writers } from '../support/writers';

const AWS = { accessKeyId: EXAMPLE_IDS.AWS_ACCESS_KEY_ID, secretAccessKey: EXAMPLE_SECRETS.AWS_SECRET_ACCESS_KEY };
const COS = { accessKeyId: EXAMPLE_IDS.COS_KEY, secretAccessKey: EXAMPLE_SECRETS.COS_SECRET };
const OSS = { accessKeyId: EXAMPLE_IDS.OSS_KEY, secretAccessKey: EXAMPLE_SECRETS.OSS_SECRET };
const OTHER_OSS = { accessKeyId: EXAMPLE_IDS.OTHER_OSS_KEY, secretAccessKey: EXAMPLE_SECRETS.OTHER_OSS_SECRET };
const ROLE = 'arn:aws:iam::123456789012:role/es-snapshots';

jest.setTimeout(600_000);

let temporal: string;
beforeAll(async () => {
  temporal = (await startTemporal({ ui: false })).address;
});
afterAll(() => stopAll());

let world: ExampleWorld;
let ferry: Ferry;
beforeEach(async () => {
  world = await ExampleWorld.open();
});
afterEach(async () => {
  await ferry?.close();
  await closing.all();
});

async function node(version: string): Promise<ElasticsearchServer> {
  const started = await startElasticsearch({ version, pathRepo: [world.root] });
  closing.first(() => started.stop());
  return started;
}

/** A domain of Amazon's with the buckets of the examples, each in its region. */
async function amazon(host: string, region: string, behind: ElasticsearchServer): Promise<void> {
  const regions = { 'es-snapshots-virginia': 'us-east-1', 'es-snapshots-ireland': 'eu-west-1' };
  const arn = 'arn:aws:iam::123456789012:user/engineer';
  const domain = await startAmazonElasticsearch({
    node: behind,
    root: world.root,
    region,
    callers: [{ ...AWS, arn, policy: fullAccess(domainArn(region), [ROLE]) }],
    roles: { [ROLE]: { buckets: Object.keys(regions) } },
    buckets: regions,
  });
  closing.first(() => domain.stop());
  await world.lead(host, domain.url, true);
}

/** S3 of a region; each answers for the buckets of all, which lie in one folder, so that it can copy between them. */
async function s3(region: string, domain = `s3.${region}.amazonaws.com`, keys = AWS): Promise<void> {
  const server = await startVersitygw({ root: world.root, ...keys, region, virtualDomain: domain });
  closing.first(() => server.stop());
  await world.lead(`.${domain}`, server.endpoint, true);
}

async function alibaba(host: string, region: string, behind: ElasticsearchServer): Promise<void> {
  const keysOf = (keys: typeof OSS, buckets: string[]) => ({
    [keys.accessKeyId]: { secret: keys.secretAccessKey, buckets },
  });
  const cluster = await startAlibabaElasticsearch({
    node: behind,
    root: world.root,
    password: EXAMPLE_SECRETS.ALIBABA_ES_PASSWORD,
    keys: {
      ...keysOf(OSS, ['es-migration-target', 'es-snapshots-beijing']),
      ...keysOf(OTHER_OSS, ['es-snapshots-other']),
    },
    region,
    buckets: { 'es-snapshots-beijing': 'cn-beijing', 'es-migration-target': 'cn-hangzhou' },
  });
  closing.first(() => cluster.stop());
  await world.lead(host, cluster.url, false);
}

/** OSS as one bucket is reached. */
async function oss(bucket: string, region: string, keys = OSS, faults: Fault[] = []): Promise<OssServer> {
  await world.bucket(bucket);
  const server = await startOss({ root: world.root, ...keys, region, faults });
  closing.first(() => server.stop());
  await world.lead(`${bucket}.oss-${region}.aliyuncs.com`, server.endpoint, true);
  return server;
}

const NEW_ALIBABA = 'es-cn-abc.elasticsearch.aliyuncs.com';
const OLD_ALIBABA = 'es-cn-old.elasticsearch.aliyuncs.com';

/** What each shape has in common: the plan of the example, from its start to the commit, under writes. */
async function migrate(file: string, source: ElasticsearchServer, target: ElasticsearchServer) {
  const writers = new Writers(source.url, Number(source.version.split('.')[0]));
  for (const index of ['movies', 'logs-2026']) {
    await writers.createIndex(index, { number_of_shards: 2 });
    await writers.bulk(index, 300);
  }
  const plan = examplePlan(file);
  ferry = await world.ferry(plan, { temporal, s3: { endpoint: 'http://unused', ...AWS }, buckets: world.root });
  await ferry.startWorker();
  await ferry.start([plan]);
  await ferry.rounds(1);
  const registered = await registrations([source, target]);
  writers.start(2, 50);
  await ferry.signal('freeze-writes', { by: 'the test' });
  await ferry.until(({ phase }) => phase === 'awaiting approval');
  await ferry.update('approve', { who: 'the test', why: 'the ledger is green' });
  const report = await ferry.result();
  await writers.stop();

  expect(writers.total).toBeGreaterThan(600);
  expect(await writers.differences(target.url)).toEqual([]);
  expect(report.verification.failed).toBe(0);
  // Our registrations are gone from both clusters.
  for (const kept of await registrations([source, target])) {
    expect(Object.keys(kept).filter((name) => !/^(cs-automated|aliyun_auto_snapshot)$/.test(name))).toEqual([]);
  }
  const { text } = await ferry.histories();
  for (const secret of Object.values(EXAMPLE_SECRETS)) expect(text + ferry.output.join('')).not.toContain(secret);
  return { report, registered: registered.map((all) => Object.values(all)) };
}

type Registered = Record<string, { readonly settings: Readonly<Record<string, unknown>> }>;
const registrations = (nodes: ElasticsearchServer[]) =>
  Promise.all(nodes.map(async ({ url }) => (await http(`${url}/_snapshot`)) as Registered));
const withSettings = (settings: object) => expect.objectContaining({ settings: expect.objectContaining(settings) });

test('Amazon to Amazon: a bucket in a third region is registered by the endpoint of all', async () => {
  const [source, target] = await Promise.all([node('6.8.23'), node('7.10.2')]);
  await amazon('search-movies-old.us-west-2.es.amazonaws.com', 'us-west-2', source);
  await amazon('search-movies-new.eu-west-1.es.amazonaws.com', 'eu-west-1', target);
  for (const bucket of ['es-snapshots-virginia', 'es-snapshots-ireland']) await world.bucket(bucket);
  await s3('us-east-1');
  await s3('eu-west-1');
  const { registered } = await migrate('amazon-to-amazon.json', source, target);
  const [old, young] = registered as [unknown[], unknown[]];
  expect(old).toContainEqual(withSettings({ bucket: 'es-snapshots-virginia', endpoint: 's3.amazonaws.com' }));
  expect(young).toContainEqual(withSettings({ bucket: 'es-snapshots-ireland', region: 'eu-west-1' }));
});

test('Tencent to Alibaba: COS by its S3 door, with the bucket in the host name, to OSS', async () => {
  const [source, target] = await Promise.all([node('5.6.16'), node('6.8.23')]);
  const cluster = await startTencentElasticsearch({
    node: source,
    root: world.root,
    password: EXAMPLE_SECRETS.TENCENT_ES_PASSWORD,
    secretId: COS.accessKeyId,
    secretKey: COS.secretAccessKey,
    region: 'ap-guangzhou',
  });
  closing.first(() => cluster.stop());
  await world.lead('10.0.1.7', cluster.url, false);
  await alibaba(NEW_ALIBABA, 'cn-hangzhou', target);
  await world.bucket('es-snapshots-1250000000');
  await s3('ap-guangzhou', 'cos.ap-guangzhou.myqcloud.com', COS);
  await oss('es-migration-target', 'cn-hangzhou');
  const { registered } = await migrate('tencent-to-alibaba.json', source, target);
  expect(registered[0]).toContainEqual(withSettings({ bucket: 'es-snapshots', app_id: '1250000000' }));
});

test('self-managed to Alibaba: a mounted folder to OSS, all indices but system ones', async () => {
  const [source, target] = await Promise.all([node('6.8.23'), node('7.10.2')]);
  await http(`${source.url}/.kibana_1/doc/1`, 'PUT', { n: 1 });
  await world.lead('10.0.2.5', source.url, false);
  await alibaba(NEW_ALIBABA, 'cn-hangzhou', target);
  await world.bucket('mounted');
  await oss('es-migration-target', 'cn-hangzhou');
  await migrate('self-managed-to-alibaba.json', source, target);
  expect(Object.keys((await http(`${target.url}/_all`)) as object).sort()).toEqual(['logs-2026', 'movies']);
});

describe('Alibaba to Alibaba', () => {
  let source: ElasticsearchServer;
  let target: ElasticsearchServer;
  beforeEach(async () => {
    [source, target] = await Promise.all([node('6.8.23'), node('7.10.2')]);
    await alibaba(NEW_ALIBABA, 'cn-hangzhou', target);
  });

  test('in another region: OSS copies only within one, so the bytes pass the worker', async () => {
    await alibaba('es-cn-def.elasticsearch.aliyuncs.com', 'cn-beijing', source);
    const from = await oss('es-snapshots-beijing', 'cn-beijing');
    const to = await oss('es-migration-target', 'cn-hangzhou');
    const { report } = await migrate('alibaba-other-region.json', source, target);
    expect((await to.traffic()).CopyObject).toBeUndefined();
    expect((await from.traffic()).GetObject?.requests).toBeGreaterThan(0);
    expect((await to.traffic()).PutObject?.bytesIn).toBeGreaterThanOrEqual(report.totals.sentBytes);
  });

  test('of another account: OSS is asked to copy once, refuses, and the bytes pass the worker', async () => {
    await alibaba(OLD_ALIBABA, 'cn-hangzhou', source);
    await oss('es-snapshots-other', 'cn-hangzhou', OTHER_OSS);
    const to = await oss('es-migration-target', 'cn-hangzhou', OSS, [
      { on: { operation: 'CopyObject' }, count: 0, then: { do: 'error', code: 'AccessDenied' } },
    ]);
    const { report } = await migrate('alibaba-other-account.json', source, target);
    // Once in each process of the worker that copied.
    expect((await to.faults())[0]?.struck).toBeGreaterThanOrEqual(1);
    expect((await to.faults())[0]?.struck).toBeLessThanOrEqual(report.rounds.length);
    expect((await to.traffic()).PutObject?.bytesIn).toBeGreaterThanOrEqual(report.totals.sentBytes);
  });

  test('one bucket that both register: nothing is transferred', async () => {
    await alibaba(OLD_ALIBABA, 'cn-hangzhou', source);
    await oss('es-migration-target', 'cn-hangzhou');
    const { report, registered } = await migrate('alibaba-shared.json', source, target);
    expect(report.totals).toMatchObject({ sentBlobs: 0, sentBytes: 0 });
    expect(registered[0]).toContainEqual(withSettings({ bucket: 'es-migration-target', base_path: 'snapferry/all' }));
  });
});
