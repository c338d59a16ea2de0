/**
 * `snapferry check` on plans that would fail, between the model case's clouds before real nodes: each refusal names what
 * was checked, its subject and what to do, in JSON as in print, and one good plan passes.
 */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { Server as HttpServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { main } from '../../src/cli/main';
import type { Check, Finding } from '../../src/steps/findings';
import { domainArn, freePort, fullAccess, startAmazonElasticsearch, startElasticsearch } from '../../stack';
import type { AmazonServer, ElasticsearchServer } from '../../stack';
import { CLOUD_SECRETS, startClouds } from '../support/clouds';
import type { Clouds } from '../support/clouds';
import type { Ferry } from '../support/ferry';
import { OSS_KEYS } from '../support/oss';
import { send } from '../support/send';
import { testServers } from '../support/temporal';
import { http, Writers } from '../support/writers';

const { buckets, elasticsearch, s3 } = testServers();
const ancient = elasticsearch['5.6.16'] as string;
const SNAPFERRY = path.join(__dirname, '../../bin/snapferry.js');
const TWENTY_MINUTES_MS = 20 * 60_000;

let source: ElasticsearchServer;
let target: ElasticsearchServer;
let clouds: Clouds;
let skewed: AmazonServer;
let portal: HttpServer;
let ferry: Ferry;

beforeAll(async () => {
  [source, target] = await Promise.all([
    startElasticsearch({ version: '6.8.23', pathRepo: [buckets] }),
    startElasticsearch({ version: '7.10.2', pathRepo: [buckets] }),
  ]);
  clouds = await startClouds({ source, target });
  ferry = await clouds.ferry({ indices: ['films'] });
  skewed = await startAmazonElasticsearch({
    node: source,
    root: buckets,
    callers: [
      {
        ...{ accessKeyId: 'AKIDENGINEER', secretAccessKey: CLOUD_SECRETS.signing },
        ...{ arn: 'arn:aws:iam::123456789012:user/engineer', policy: fullAccess(domainArn(), []) },
      },
    ],
    roles: {},
    now: () => Date.now() + TWENTY_MINUTES_MS,
  });
  portal = createServer((_, response) => {
    response.writeHead(200, { 'content-type': 'text/html' });
    response.end('<!doctype html><html><head><title>Sign in to Example</title></head></html>');
  });
  portal.listen(0, '127.0.0.1');
  await once(portal, 'listening');
  await connect();
  await Promise.all([fillSource(), fillTarget(), bringAncient(), placeStrangers()]);
}, 240_000);

afterAll(async () => {
  await ferry.close();
  await skewed.stop();
  await clouds.stop();
  portal.close();
  await Promise.all([source.stop(), target.stop()]);
});

/** Adds to the connections file of the good plan what broken ones name. */
async function connect(): Promise<void> {
  type Named = Record<string, Record<string, unknown>>;
  const file = path.join(ferry.dir, 'connections.yaml');
  const { clusters, stores, ...others } = JSON.parse(readFileSync(file, 'utf8')) as { clusters: Named; stores: Named };
  const nowhere = `http://127.0.0.1:${await freePort()}`;
  const as = (all: Named, name: string, changes: object) => ({ ...all[name], ...changes });
  const keys = { accessKeyId: { env: 'FERRY_KEY' }, secretAccessKey: { env: 'WRONG_SECRET' } };
  const signed = { accessKeyId: { env: 'CLOUD_CALLER' }, secretAccessKey: { env: 'WRONG_SECRET' } };
  const ossKeys = { accessKeyId: { env: 'FERRY_OSS_KEY' }, accessKeySecret: { env: 'WRONG_SECRET' } };
  const repositoryOf = (store: string, changes: object) => {
    const { repository } = stores[store] as { repository: { settings: object } };
    return { ...repository, settings: { ...repository.settings, ...changes } };
  };
  const all = {
    ...others,
    clusters: {
      ...clusters,
      'wrong-signature': as(clusters, 'source', {
        auth: { ...(clusters['source']?.['auth'] as object), credentials: signed },
      }),
      'wrong-password': as(clusters, 'target', {
        auth: { type: 'basic', username: 'elastic', password: { env: 'WRONG_SECRET' } },
      }),
      unsigned: { url: clouds.amazon.url },
      nowhere: { url: nowhere },
      portal: { url: `http://127.0.0.1:${(portal.address() as AddressInfo).port}` },
      skewed: as(clusters, 'source', { url: skewed.url }),
      'source-again': { url: source.url },
      young: { url: target.url },
      ancient: { url: ancient },
    },
    stores: {
      ...stores,
      'wrong-secret': as(stores, 'source-store', { credentials: keys }),
      'wrong-oss-secret': as(stores, 'target-store', { credentials: ossKeys }),
      'no-bucket': as(stores, 'source-store', { bucket: 'nobody-made-this-bucket' }),
      'no-oss-bucket': as(stores, 'target-store', { bucket: 'nobody-made-this-bucket' }),
      'nowhere-store': as(stores, 'source-store', { endpoint: nowhere }),
      'another-region': as(stores, 'target-store', { region: 'cn-shenzhen' }),
      'no-bucket-of-cluster': as(stores, 'source-store', {
        repository: repositoryOf('source-store', { bucket: 'nobody-made-this-bucket' }),
      }),
      'no-key-of-cluster': as(stores, 'target-store', {
        repository: repositoryOf('target-store', { access_key_id: { env: 'WRONG_SECRET' } }),
      }),
      'not-passable': as(stores, 'source-store', {
        repository: repositoryOf('source-store', { role_arn: 'arn:aws:iam::123456789012:role/admin' }),
      }),
      'one-bucket': as(stores, 'target-store', {}),
    },
  };
  writeFileSync(file, JSON.stringify(all));
}

async function create(node: ElasticsearchServer, name: string, body: object = {}): Promise<void> {
  await http(`${node.url}/${name}?wait_for_active_shards=0`, 'PUT', {
    ...body,
    settings: { number_of_shards: 1, number_of_replicas: 0, ...(body as { settings?: object }).settings },
  });
}

async function fillSource(): Promise<void> {
  // A file of this node alone, beside its log.
  const config = path.join(source.logFile.replace(/\.log$/, ''), 'config');
  writeFileSync(path.join(config, 'stopwords.txt'), 'the\n', { mode: 0o644 });
  const analysis = {
    analyzer: { mine: { type: 'custom', tokenizer: 'standard', filter: ['stopwords'] } },
    filter: { stopwords: { type: 'stop', stopwords_path: 'stopwords.txt' } },
  };
  const old = { analyzer: { old: { tokenizer: 'standard', filter: ['standard', 'lowercase'] } } };
  await create(source, 'films', { aliases: { cinema: {} }, settings: { analysis: old } });
  const writers = new Writers(source.url, 6);
  await writers.createIndex('large', { number_of_shards: 1 });
  for (let i = 0; i < 2; i += 1) await writers.bulk('large', 1_000);
  await http(`${source.url}/large/_flush`, 'POST');
  await create(source, 'closed');
  await http(`${source.url}/closed/_close`, 'POST');
  await create(source, 'red', { settings: { 'index.routing.allocation.require._name': 'nobody' } });
  await create(source, 'taken');
  await create(source, 'taken-as-alias');
  await create(source, 'alias-is-index', { aliases: { premieres: {} } });
  await create(source, 'logs-1', { aliases: { logs: { is_write_index: true } } });
  await create(source, 'piped', { settings: { default_pipeline: 'enrich' } });
  await create(source, 'analyzed', { settings: { analysis } });
}

async function fillTarget(): Promise<void> {
  await create(target, 'taken');
  await create(target, 'of-others', { aliases: { 'taken-as-alias': {}, logs: { is_write_index: true } } });
  await create(target, 'premieres');
}

/** Of 5.6, and known to nobody after it. */
const FORGOTTEN = 'index.shared_filesystem.recover_on_any_node';

/** An index of 5.6, which the source still reads and the target does not; and one without what the source forgot. */
async function bringAncient(): Promise<void> {
  const settings = { location: path.join(buckets, `ancient-${ferry.id}`) };
  await http(`${ancient}/ancient`, 'PUT', {
    settings: { number_of_shards: 1, number_of_replicas: 0, [FORGOTTEN]: true },
  });
  for (const url of [ancient, source.url]) await http(`${url}/_snapshot/ancient`, 'PUT', { type: 'fs', settings });
  await http(`${ancient}/_snapshot/ancient/one?wait_for_completion=true`, 'PUT', { indices: 'ancient' });
  const dropped = { rename_pattern: '$', rename_replacement: '-dropped', ignore_index_settings: FORGOTTEN };
  for (const body of [{}, dropped])
    await http(`${source.url}/_snapshot/ancient/one/_restore?wait_for_completion=true`, 'POST', body);
  for (const url of [source.url, ancient]) await http(`${url}/_snapshot/ancient`, 'DELETE');
  await http(`${ancient}/ancient`, 'DELETE');
}

/** What others left in the buckets. */
async function placeStrangers(): Promise<void> {
  const put = (side: 'source' | 'target', folder: string, text: string) => {
    mkdirSync(path.join(ferry.files(side), folder), { recursive: true });
    writeFileSync(path.join(ferry.files(side), folder, 'index-0'), text);
  };
  put('source', 'damaged', '<html>not found</html>');
  put('target', 'of-others', '{"snapshots":[],"indices":{}}');
}

// --- The command ----------------------------------------------------------------------------------------------------

interface Answer {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

const environment = () => ({
  ...ferry.environment(),
  WRONG_SECRET: 'planted-wrong-secret',
  TEMPORAL_ADDRESS: '127.0.0.1:9',
});

/** As a shell would run it, in this process: one of its own costs a second each time. */
async function snapferry(...args: string[]): Promise<Answer> {
  const [out, err]: [string[], string[]] = [[], []];
  const code = await main(args, {
    version: '0.0.0',
    env: environment(),
    out: (line) => out.push(line),
    err: (line) => err.push(line),
    interruption: () => new AbortController().signal,
  });
  return { code, out: out.join('\n'), err: err.join('\n') };
}

type Edit = Readonly<Record<string, unknown>>;

function planFile(edit: Edit): string {
  const file = path.join(ferry.dir, 'broken.json');
  writeFileSync(file, JSON.stringify({ ...ferry.plan, ...edit }));
  return file;
}

/** What it prints, and what it says in JSON. */
async function checked(edit: Edit): Promise<Answer & { readonly refused: readonly Finding[] }> {
  const file = planFile(edit);
  const json = await snapferry('check', file, '--json');
  const printed = await snapferry('check', file);
  expect([printed.code, printed.err]).toEqual([json.code, json.err]);
  for (const secret of [...Object.values(CLOUD_SECRETS), s3.secretAccessKey, 'planted-wrong-secret']) {
    expect(JSON.stringify([json, printed])).not.toContain(secret);
  }
  const { findings } = JSON.parse(json.out || '{"findings":[]}') as { findings: Finding[] };
  return { ...printed, refused: findings.filter(({ verdict }) => verdict === 'refused') };
}

const places = (from: object, to: object = {}): Edit => ({
  repository: {
    source: { store: 'source-store', basePath: 'from', ...from },
    target: { store: 'target-store', basePath: 'to', ...to },
  },
});

// --- Plans that cannot be read: one line, nothing is asked -------------------------------------------------------------

test.each<[string, Edit, RegExp]>([
  ['a misspelt field', { indizes: ['films'] }, /The plan is refused: indizes: is not a known key/],
  ['no scope', { indices: undefined }, /The plan is refused: indices: is required/],
  ['no repository', { repository: undefined }, /The plan is refused: repository: is required/],
  [
    'a wrong duration',
    { rounds: { every: '15 minutes' } },
    /The plan is refused: rounds\.every: must be a duration such as 20s, 15m/,
  ],
  ['a migration to take over that is none', { adopt: 'another' }, /adopt: no migration 'another' has work files/],
  [
    'a slash too many',
    places({ basePath: '/from' }),
    /The plan is refused: repository\.source\.basePath: must not begin or end with a slash/,
  ],
])('%s is refused in one line', async (_, edit, line) => {
  const { code, out, err } = await checked(edit);
  expect([code, out]).toEqual([1, '']);
  expect(err).toMatch(/^snapferry: .*$/);
  expect(err).toMatch(line);
});

// --- Plans that would fail --------------------------------------------------------------------------------------------

/** Check, subject, what was seen, what to do. */
type Refusal = readonly [check: Check, subject: string | RegExp, seen: RegExp, remedy: RegExp];

/** What follows from it is refused too: only then is there more than one. */
async function expectRefusal(edit: Edit, [check, subject, seen, remedy]: Refusal): Promise<void> {
  const { code, out, err, refused } = await checked(edit);
  expect(refused).toContainEqual({
    check,
    verdict: 'refused',
    subject: expect.stringMatching(subject),
    seen: expect.stringMatching(seen),
    remedy: expect.stringMatching(remedy),
  });
  expect([code, err]).toEqual([
    1,
    `snapferry: The migration would not start: ${refused.length} of the findings refuse it`,
  ]);
  const lines = out.split('\n');
  const printed = lines.flatMap((line, at) => (line.startsWith('REFUSED') ? [`${line}\n${lines[at + 1] ?? ''}`] : []));
  expect(printed).toHaveLength(refused.length);
  const wanted = [subject, seen, remedy].map((one) => new RegExp(one).source.replaceAll(/^\^|\$$/g, ''));
  expect(printed).toContainEqual(
    expect.stringMatching(
      new RegExp(`^REFUSED +${check} +[^\\n]*${wanted[0]}[^\\n]*${wanted[1]}[^\\n]*\\n +-> .*${wanted[2]}`),
    ),
  );
}

test.each<[string, Edit, Refusal]>([
  [
    'a cluster that nobody knows',
    { target: 'atlantis' },
    ['connections', /^atlantis$/, /no cluster 'atlantis': it knows .*source-again/, /mend that/],
  ],
  [
    'a store that nobody knows',
    places({ store: 'atlantis' }),
    ['connections', /^atlantis$/, /no store 'atlantis': it knows .*source-store/, /mend that/],
  ],
  [
    'a webhook that nobody knows',
    { notify: 'atlantis' },
    ['connections', /^atlantis$/, /no webhook 'atlantis'/, /mend that/],
  ],
  [
    'a wrong secret of who signs',
    { source: 'wrong-signature' },
    ['clusters', /^wrong-signature$/, /signature we calculated does not match.*correct the credentials/, /mend that/],
  ],
  [
    'requests that nobody signs',
    { source: 'unsigned' },
    ['clusters', /^unsigned$/, /anonymous is not authorized.*correct the credentials/, /mend that/],
  ],
  [
    'a wrong password',
    { target: 'wrong-password' },
    ['clusters', /^wrong-password$/, /credentials.*correct the credentials/, /mend that/],
  ],
  [
    'a cluster where nobody listens',
    { target: 'nowhere' },
    ['clusters', /^nowhere$/, /does not answer \(ECONNREFUSED\).*cluster=nowhere/, /when it answers/],
  ],
  [
    'a web page in place of a cluster',
    { target: 'portal' },
    ['clusters', /^portal$/, /web page answers instead of the cluster \(Sign in to Example\)/, /when it answers/],
  ],
  ['a clock that is off', { source: 'skewed' }, ['clusters', /^skewed$/, /clock/, /mend that/]],
  [
    'one cluster under two names',
    { target: 'source-again' },
    ['clusters', /^source-again$/, /'source' and 'source-again' are the same cluster/, /correct one of their urls/],
  ],
  [
    'a target older than the source',
    { source: 'young', target: 'source-again' },
    [
      'clusters',
      /^source-again$/,
      /6\.8\.23.* 7\.10\.2\): a target must not be older/,
      /upgrade it to Elasticsearch 7\.10\.2/,
    ],
  ],
  [
    'versions too far apart',
    { source: 'ancient' },
    [
      'clusters',
      /^target$/,
      /7\.10\.2.*5\.6\.16.*the previous major version/,
      /5\.6\.16 -> Elasticsearch 6\.x, reindex there, -> Elasticsearch 7\.10\.2/,
    ],
  ],
  [
    'a wrong secret of S3',
    places({ store: 'wrong-secret' }),
    ['stores', /^s3:/, /refuses the credentials: correct the access key/, /mend that/],
  ],
  [
    'a wrong secret of OSS',
    places({}, { store: 'wrong-oss-secret' }),
    ['stores', /^oss:/, /refuses the credentials: correct the access key/, /mend that/],
  ],
  [
    'a bucket that is not there',
    places({ store: 'no-bucket' }),
    ['stores', /nobody-made-this-bucket/, /no such bucket: correct its name, or create it/, /mend that/],
  ],
  [
    'a target bucket that is not there',
    places({}, { store: 'no-oss-bucket' }),
    ['stores', /nobody-made-this-bucket/, /no such bucket: correct its name, or create it/, /mend that/],
  ],
  [
    'a store where nobody listens',
    places({ store: 'nowhere-store' }),
    ['stores', /./, /did not answer/, /when it answers/],
  ],
  ['a bucket of another region', places({}, { store: 'another-region' }), ['stores', /./, /region/, /mend that/]],
  [
    'a role that the caller may not pass',
    places({ store: 'not-passable' }),
    ['calls', /^source$/, /not authorized to perform: iam:PassRole on resource: .*role\/admin/, /PassRole/],
  ],
  [
    'a bucket that the source cluster is told and that does not exist',
    places({ store: 'no-bucket-of-cluster' }),
    ['repositories', /^source$/, /NoSuchBucket/, /mend stores\.no-bucket-of-cluster\.repository/],
  ],
  [
    'a key of the target cluster that OSS does not know',
    places({}, { store: 'no-key-of-cluster' }),
    ['repositories', /^target$/, /InvalidAccessKeyId/, /mend stores\.no-key-of-cluster\.repository/],
  ],
  ['a source location that nobody can read', places({ basePath: 'damaged' }), ['stores', /./, /index-0/, /mend that/]],
  [
    'a target location of strangers',
    places({}, { basePath: 'of-others' }),
    ['stores', /./, /'of-others' of .* holds a snapshot repository .*index-0/, /choose an empty basePath/],
  ],
  [
    'a registration that is not there',
    places({ name: 'nightly' }),
    ['repositories', /^source$/, /has no repository 'nightly'/, /register it, or leave out its name/],
  ],
  [
    'a name that matches nothing',
    { indices: ['films', 'flims-*'] },
    ['scope', /^flims-\*$/, /'flims-\*' matches no index of the source/, /correct it or leave it out/],
  ],
  [
    'an alias in place of its index',
    { indices: ['cinema'] },
    ['scope', /^cinema$/, /'cinema' is an alias/, /name its indices.*films/],
  ],
  [
    'exclusions that leave nothing',
    { indices: ['films', '-film*'] },
    ['scope', /^source$/, /the exclusions leave no index over/, /take one of them out/],
  ],
  [
    'a closed index',
    { indices: ['closed'] },
    ['indices', /^closed$/, /'closed' is closed on the source/, /open it, or leave it out with "-closed"/],
  ],
  [
    'a red index',
    { indices: ['red'] },
    ['indices', /^red$/, /'red' is red on the source/, /mend it, or leave it out with "-red"/],
  ],
  [
    'an index created too long ago',
    { indices: ['ancient'] },
    ['indices', /^ancient$/, /'ancient'.*5\.6\.16/, /reindex/],
  ],
  [
    'an index that the target has',
    { indices: ['taken'] },
    [
      'target',
      /^taken$/,
      /index 'taken' already \(open\), which is a stranger's/,
      /Remove it there yourself, or leave out "taken"/,
    ],
  ],
  [
    'an index whose name is an alias there',
    { indices: ['taken-as-alias'] },
    ['target', /^taken-as-alias$/, /alias 'taken-as-alias' \(of of-others\)/, /remove it there, or leave out/],
  ],
  [
    'an alias that is an index there',
    { indices: ['alias-is-index'] },
    ['target', /^premieres$/, /'premieres' cannot be set: an index of that name/, /rename that index/],
  ],
  [
    'an alias that would have two write indices',
    { indices: ['logs-1'] },
    [
      'target',
      /^logs$/,
      /'logs' points at of-others on the target/,
      /remove it there, or plan restore\.aliases: "none"/,
    ],
  ],
  [
    'a pipeline that the target lacks',
    { indices: ['piped'] },
    [
      'indices',
      /^piped$/,
      /pipeline 'enrich' \(index\.default_pipeline\)/,
      /create it there, or plan restore\.dropSettings/,
    ],
  ],
  [
    'a setting that the target does not know',
    { restore: { settings: { 'index.knn': true } } },
    ['target', /^target$/, /restore\.settings sets index\.knn/, /correct it, or install/],
  ],
  [
    'an analyzer that the target lacks',
    { indices: ['analyzed'] },
    ['indices', /^analyzed$/, /'analyzed' analyzes text.*stopwords\.txt/, /install on 'target' the plugin or file/],
  ],
])('%s is refused by name', (_, edit, refusal) => expectRefusal(edit, refusal));

test('a restore keeps a setting that nobody knows as archived, unless it was told to drop it: why such are refused', async () => {
  type Answer = Readonly<Record<string, { readonly settings: Readonly<Record<string, string>> }>>;
  const all = (await http(`${source.url}/ancient*/_settings?flat_settings=true`)) as Answer;
  const found = Object.entries(all).map(([name, { settings }]) => [
    name,
    Object.keys(settings).filter((key) => key.endsWith(FORGOTTEN)),
  ]);
  expect(Object.fromEntries(found)).toEqual({ ancient: [`archived.${FORGOTTEN}`], 'ancient-dropped': [] });
});

// --- States of a cluster that last while one looks ----------------------------------------------------------------------

test('a registration that may write to the target location is refused by name', async () => {
  const settings = {
    ...{ endpoint: clouds.alibaba.endpoint, bucket: ferry.buckets.target, base_path: 'to' },
    ...{ access_key_id: OSS_KEYS.accessKeyId, secret_access_key: OSS_KEYS.secretAccessKey },
  };
  const headers = { authorization: `Basic ${Buffer.from(`elastic:${CLOUD_SECRETS.password}`).toString('base64')}` };
  const ask = (method: string, body?: object) => send(clouds.alibaba.url, method, '/_snapshot/writes', body, headers);
  expect((await ask('PUT', { type: 'oss', settings })).status).toBe(200);
  try {
    await expectRefusal({}, [
      ...(['repositories', /^target$/, /'writes' of cluster 'target' may write to the target location/] as const),
      /remove that registration, or register it with readonly: true/,
    ]);
  } finally {
    await ask('DELETE');
    rmSync(path.join(ferry.files('target'), 'to'), { recursive: true, force: true });
  }
});

test('a target without room is refused, for shards as for disks', async () => {
  const set = (all: object) => http(`${target.url}/_cluster/settings`, 'PUT', { transient: all });
  const watermark = 'cluster.routing.allocation.disk.watermark';
  const shards = 'cluster.max_shards_per_node';
  const [low, high, flood] = ['low', 'high', 'flood_stage'].map((name) => `${watermark}.${name}`);
  const threshold = 'cluster.routing.allocation.disk.threshold_enabled';
  await set({ [shards]: 1 });
  await expectRefusal({}, [
    'room',
    /^target$/,
    /holds \d+ of at most 1 shards \(cluster\.max_shards_per_node\)/,
    /raise the limit/,
  ]);
  await set({ [shards]: null, [threshold]: true, [low!]: '900tb', [high!]: '800tb', [flood!]: '700tb' });
  try {
    await expectRefusal({}, ['room', /^target$/, /beyond the watermark flood_stage \(700tb\)/, /give it larger disks/]);
  } finally {
    await set({ [threshold]: null, [low!]: null, [high!]: null, [flood!]: null });
  }
});

test('a snapshot that runs on the source is refused by name', async () => {
  const location = path.join(ferry.files('source'), 'throttled');
  const settings = { location, max_snapshot_bytes_per_sec: '10kb' };
  await http(`${source.url}/_snapshot/throttled`, 'PUT', { type: 'fs', settings });
  await http(`${source.url}/_snapshot/throttled/nightly`, 'PUT', { indices: 'large' });
  try {
    await expectRefusal({}, [
      'snapshots',
      /^source$/,
      /'nightly' of repository 'throttled' runs on the source/,
      /start again when it has ended/,
    ]);
  } finally {
    await http(`${source.url}/_snapshot/throttled/nightly`, 'DELETE');
    await http(`${source.url}/_snapshot/throttled`, 'DELETE');
  }
});

test('as a process: the good plan ends with 0, a broken one with 1, findings on stdout and the verdict on stderr', async () => {
  const ran = (edit: Edit) =>
    new Promise<Answer>((resolve) => {
      const args = [SNAPFERRY, 'check', planFile(edit)];
      execFile(process.execPath, args, { env: environment() }, (error, out, err) =>
        resolve({ code: error === null ? 0 : Number(error.code), out, err }),
      );
    });
  const good = await ran({});
  expect([good.code, good.err]).toEqual([0, '']);
  expect(good.out).not.toContain('REFUSED');
  const broken = await ran({ indices: ['closed'] });
  expect([broken.code, broken.err]).toEqual([
    1,
    'snapferry: The migration would not start: 1 of the findings refuse it\n',
  ]);
  expect(broken.out).toMatch(/REFUSED {2}indices {7}closed: Index 'closed' is closed on the source\n +-> open it/);
});
