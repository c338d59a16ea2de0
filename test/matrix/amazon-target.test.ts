import { mkdirSync, mkdtempSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import {
  domainArn,
  fullAccess,
  shareDirectory,
  startAmazonElasticsearch,
  startElasticsearch,
  startTemporal,
  startVersitygw,
  stopAll,
} from '../../stack';
import type { AmazonServer, ElasticsearchServer } from '../../stack';
import { Ferry } from '../support/ferry';
import type { FerryOptions } from '../support/ferry';
import { http, Writers } from '../support/writers';

/** To a domain of Amazon Elasticsearch Service before 7.4, which closes no index: strategies that need not. */

const S3 = { accessKeyId: 'matrix-access', secretAccessKey: 'matrix-secret-matrix-secret' };
const CALLER = { accessKeyId: 'AKIDENGINEER', secretAccessKey: 'planted-signing-secret' };
const ROLE = 'arn:aws:iam::123456789012:role/es-snapshots';
/** Of the domain and of the bucket that it reads. */
const REGION = 'us-east-1';
const INDEX = 'films';

jest.setTimeout(600_000);

let servers: NonNullable<FerryOptions['servers']>;
const nodes = new Map<string, ElasticsearchServer>();
let domain: AmazonServer;
let ferry: Ferry;

beforeAll(async () => {
  const buckets = path.join(mkdtempSync(path.join(os.tmpdir(), 'snapferry-matrix-')), 'buckets');
  mkdirSync(buckets);
  await shareDirectory(buckets);
  const temporal = await startTemporal({ ui: false });
  const s3 = await startVersitygw({ root: buckets, ...S3 });
  servers = { temporal: temporal.address, s3: { endpoint: s3.endpoint, ...S3 }, buckets };
  for (const version of ['5.5.2', '5.6.16', '6.8.23']) {
    nodes.set(version, await startElasticsearch({ version, pathRepo: [buckets] }));
  }
});
afterEach(async () => {
  await ferry.close();
  await domain.stop();
  for (const { url } of nodes.values()) await http(`${url}/${INDEX}*`, 'DELETE');
});
afterAll(() => stopAll());

/** A node, and a domain before another one. */
async function between(from: string, to: string, plan: Record<string, unknown>) {
  const [source, behind] = [nodes.get(from) as ElasticsearchServer, nodes.get(to) as ElasticsearchServer];
  const allowed: string[] = [];
  domain = await startAmazonElasticsearch({
    node: behind,
    root: servers.buckets,
    region: REGION,
    callers: [
      {
        ...CALLER,
        arn: 'arn:aws:iam::123456789012:user/engineer',
        policy: fullAccess(domainArn(REGION), [ROLE]),
      },
    ],
    roles: { [ROLE]: { buckets: allowed } },
  });
  const credentials = { accessKeyId: { env: 'CLOUD_CALLER' }, secretAccessKey: { env: 'CLOUD_SIGNING' } };
  ferry = await Ferry.create({
    ...{ source: source.url, target: domain.url, indices: [INDEX], servers, plan },
    connections: { clusters: { target: { url: domain.url, auth: { type: 'sigv4', region: REGION, credentials } } } },
    environment: { CLOUD_CALLER: CALLER.accessKeyId, CLOUD_SIGNING: CALLER.secretAccessKey },
    repositories: {
      source: (bucket) => ({ type: 'fs', settings: { location: path.join(servers.buckets, bucket), compress: true } }),
      target: (bucket) => ({ type: 's3', settings: { bucket, region: REGION, role_arn: ROLE, compress: true } }),
    },
  });
  allowed.push(ferry.buckets.target);
  const writers = new Writers(source.url, Number(from.split('.')[0]));
  await writers.createIndex(INDEX, { number_of_shards: 2 }, { aliases: { cinema: {} } });
  await writers.bulk(INDEX, 300);
  await ferry.startWorker();
  await ferry.start();
  return { writers, target: behind.url };
}

const PAIRS = [
  ['5.5.2', '5.6.16'],
  ['5.6.16', '6.8.23'],
] as const;

test.each(PAIRS)(
  '%s to a domain of %s: strategy close is refused, with the one that needs no close',
  async (...pair) => {
    await between(...pair, { restore: { strategy: 'close' } });
    const failure = await ferry.failure();
    expect(failure).toContain('_close');
    expect(failure).toContain('restore.strategy "replace"');
  },
);

test.each(PAIRS.flatMap((pair) => (['replace', 'alias'] as const).map((strategy) => [...pair, strategy] as const)))(
  '%s to a domain of %s, strategy %s: rounds, cutover, no acknowledged write is missing',
  async (from, to, strategy) => {
    const { writers, target } = await between(from, to, { restore: { strategy } });
    await ferry.rounds(1);
    writers.start(2, 25);
    for (const round of [2, 3]) await ferry.rounds(round);
    await ferry.signal('freeze-writes');
    const report = await ferry.result();
    await writers.stop();
    expect(report.verification.failed).toBe(0);
    expect(await writers.differences(target)).toEqual([]);
    const index = strategy === 'alias' ? `${INDEX}-snapferry-r${report.rounds.at(-1)?.round}` : INDEX;
    expect(Object.keys((await http(`${target}/${INDEX}*/_settings`)) as object)).toEqual([index]);
    const own = strategy === 'alias' ? { [INDEX]: {} } : {};
    expect(await http(`${target}/${INDEX}*/_alias`)).toEqual({ [index]: { aliases: { cinema: {}, ...own } } });
    await http(`${target}/${INDEX}/doc/late`, 'PUT', { n: 0 });
  },
);
