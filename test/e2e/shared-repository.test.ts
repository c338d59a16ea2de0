/**
 * Two managed domains inside one VPC, which only a SOCKS5 proxy reaches, and one bucket that both use by a role of
 * their own: nothing is transferred.
 */
import { randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { domainArn, fullAccess, startAmazonElasticsearch, startElasticsearch } from '../../stack';
import type { AmazonServer } from '../../stack';
import { Ferry } from '../support/ferry';
import { closing, socks } from '../support/proxies';
import { testServers } from '../support/temporal';
import { http, Writers } from '../support/writers';

const { buckets, s3 } = testServers();
const SECRET = 'planted-signing-secret';
const roleOf = (domain: string) => `arn:aws:iam::123456789012:role/snapshots-of-${domain}`;

let ferry: Ferry;
afterEach(async () => {
  await ferry?.close();
  await closing.all();
});

/** A domain that may use the bucket by its own role alone. */
async function domainOf(
  name: string,
  version: string,
  bucket: string,
): Promise<{ amazon: AmazonServer; node: string }> {
  const node = await startElasticsearch({ version, pathRepo: [buckets] });
  closing.first(() => node.stop());
  const policy = fullAccess(domainArn('us-east-1', name), [roleOf(name)]);
  const amazon = await startAmazonElasticsearch({
    node,
    root: buckets,
    domain: name,
    region: 'us-east-1',
    callers: [{ accessKeyId: 'AKIDENGINEER', secretAccessKey: SECRET, arn: 'arn:aws:iam::1:user/engineer', policy }],
    roles: { [roleOf(name)]: { buckets: [bucket] } },
  });
  closing.first(() => amazon.stop());
  return { amazon, node: node.url };
}

test('one bucket in one VPC: all indices but system ones, and nothing is transferred', async () => {
  ferry = await Ferry.create({
    source: 'http://unused',
    target: 'http://unused',
    indices: ['*'],
    plan: {
      repository: {
        source: { store: 'shared', basePath: 'from' },
        target: { store: 'shared', basePath: 'from' },
      },
    },
    environment: { VPC_KEY: 'AKIDENGINEER', VPC_SECRET: SECRET },
  });
  const bucket = ferry.buckets.source;
  const [old, young] = await Promise.all([domainOf('old', '6.8.23', bucket), domainOf('young', '7.10.2', bucket)]);
  const inside = { 'vpc-old.internal': '127.0.0.1', 'vpc-young.internal': '127.0.0.1', 's3.internal': '127.0.0.1' };
  const proxy = await socks(inside);
  const at = (host: string, url: string) => `http://${host}:${new URL(url).port}`;
  const credentials = { accessKeyId: { env: 'VPC_KEY' }, secretAccessKey: { env: 'VPC_SECRET' } };
  const auth = { type: 'sigv4', region: 'us-east-1', credentials };
  const registered = (domain: string) => ({
    type: 's3',
    settings: { bucket, region: 'us-east-1', role_arn: roleOf(domain), server_side_encryption: true },
  });
  const connections = {
    clusters: {
      source: { url: at('vpc-old.internal', old.amazon.url), auth, proxy: proxy.url },
      target: { url: at('vpc-young.internal', young.amazon.url), auth, proxy: proxy.url },
    },
    stores: {
      shared: {
        type: 's3',
        bucket,
        region: 'us-east-1',
        endpoint: at('s3.internal', s3.endpoint),
        pathStyle: true,
        credentials: { accessKeyId: { env: 'FERRY_KEY' }, secretAccessKey: { env: 'FERRY_SECRET' } },
        proxy: proxy.url,
        repository: { source: registered('old'), target: registered('young') },
      },
    },
  };
  writeFileSync(path.join(ferry.dir, 'connections.yaml'), JSON.stringify(connections));
  const writers = new Writers(old.node, 6);
  const names = [`orders-${randomUUID()}`, `events-${randomUUID()}`];
  for (const name of names) await writers.createIndex(name, { number_of_shards: 2 });
  for (const name of names) await writers.bulk(name, 300);
  await http(`${old.node}/.kibana_1/doc/1`, 'PUT', { n: 1 });

  await ferry.startWorker();
  await ferry.start();
  await ferry.rounds(1);
  writers.start(2, 50);
  await ferry.signal('freeze-writes', { by: 'the test' });
  const report = await ferry.result();
  await writers.stop();

  expect(writers.total).toBeGreaterThan(400);
  expect(await writers.differences(young.node)).toEqual([]);
  expect(report.verification.failed).toBe(0);
  expect(report.totals).toMatchObject({ sentBlobs: 0, sentBytes: 0 });
  expect(Object.keys((await http(`${young.node}/_all`)) as object).sort()).toEqual([...names].sort());
  // Each cluster was asked by its name, which only the proxy knows; their registrations are gone, and the snapshots stay.
  expect(new Set(proxy.asked.map((one) => one.split(':')[0]))).toEqual(new Set(Object.keys(inside)));
  for (const { node } of [old, young])
    expect(Object.keys((await http(`${node}/_snapshot`)) as object)).toEqual(['cs-automated']);
  const definition = { type: 'fs', settings: { location: path.join(buckets, bucket, 'from'), readonly: true } };
  await http(`${young.node}/_snapshot/after`, 'PUT', definition);
  const { snapshots } = (await http(`${young.node}/_snapshot/after/_all`)) as { snapshots: object[] };
  expect(snapshots).toHaveLength(report.rounds.length);
  expect((await ferry.histories()).text + ferry.output.join('')).not.toContain(SECRET);
});
