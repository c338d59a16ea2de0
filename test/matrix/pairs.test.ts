import { mkdirSync, mkdtempSync, readdirSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { shareDirectory, startElasticsearch, startTemporal, startVersitygw, stopAll } from '../../stack';
import type { ElasticsearchServer } from '../../stack';
import { Ferry } from '../support/ferry';
import type { FerryOptions } from '../support/ferry';
import { releaseOf } from '../support/release';
import { http, Writers } from '../support/writers';

/** The whole migration on every pair of versions that differ in what they write or read. Two nodes at a time. */

const PAIRS: readonly (readonly [source: string, target: string])[] = [
  ['5.5.2', '5.6.16'],
  ['5.5.2', '6.8.23'],
  ['5.6.16', '6.8.23'],
  ['6.8.23', '7.10.2'],
  ['7.10.2', '7.17.29'],
  ['7.10.2', '8.0.0'],
  ['8.19.0', '9.1.0'],
  ['7.10.2', 'opensearch-2.19.1'],
  ['opensearch-1.3.20', 'opensearch-2.19.1'],
  ['opensearch-2.19.1', 'opensearch-3.0.0'],
];
const S3 = { accessKeyId: 'matrix-access', secretAccessKey: 'matrix-secret-matrix-secret' };
/** Everything that a client must escape, and what it must not escape twice. */
const ODD_NAMES = ['matrix-a+b', 'matrix-a%2fb', 'matrix-ünï', 'matrix-a&b=c;d@e'];
const OWNERS_BLOCK = 'matrix-archive';

jest.setTimeout(900_000);

let servers: NonNullable<FerryOptions['servers']>;
beforeAll(async () => {
  const buckets = path.join(mkdtempSync(path.join(os.tmpdir(), 'snapferry-matrix-')), 'buckets');
  mkdirSync(buckets);
  await shareDirectory(buckets);
  const temporal = await startTemporal({ ui: false });
  const s3 = await startVersitygw({ root: buckets, ...S3 });
  servers = { temporal: temporal.address, s3: { endpoint: s3.endpoint, ...S3 }, buckets };
});
afterAll(() => stopAll());

describe.each(PAIRS)('%s to %s', (from, to) => {
  let source: ElasticsearchServer;
  let target: ElasticsearchServer;
  let ferry: Ferry;
  beforeEach(async () => {
    const start = (label: string) => startElasticsearch({ ...releaseOf(label), pathRepo: [servers.buckets] });
    [source, target] = await Promise.all([start(from), start(to)]);
  });
  afterEach(async () => {
    await ferry.close();
    await Promise.all([source.stop(), target.stop()]);
  });

  const stores: readonly (readonly [string, Partial<FerryOptions>])[] = [
    ['through S3, in small chunks', { repositorySettings: { chunk_size: '16kb' } }],
    // Once is enough: what differs is below the store's port.
    ...(from === '5.5.2' && to === '6.8.23' ? ([['through directories', { directory: true }]] as const) : []),
  ];
  test.each(stores)('no acknowledged write is missing and no deleted document comes back, %s', async (_, options) => {
    const writers = await fill(source);
    ferry = await Ferry.create({ source: source.url, target: target.url, indices: ['matrix-*'], servers, ...options });
    await ferry.startWorker();
    await ferry.start();
    await ferry.rounds(1);
    writers.start(4, 25, (name) => name !== OWNERS_BLOCK);
    await ferry.rounds(2);
    await ferry.signal('freeze-writes', { by: 'the matrix' });
    const report = await ferry.result();
    await writers.stop();

    expect(await writers.differences(target.url)).toEqual([]);
    expect(report.verification.failed).toBe(0);
    // A round fetches what is forecast, and again a segment without a live document (3 070 bytes), which no target keeps.
    for (const { fetchBytes, restoredBytes, reusedBytes } of report.rounds) {
      const fetched = restoredBytes - reusedBytes;
      expect(Math.abs(fetchBytes! - fetched)).toBeLessThanOrEqual(fetched * 0.005);
    }
    expect(report.freezeWindow?.totalMs).toBeLessThan(120_000);
    await expectEverythingElse(source, target);
    expect(chunks(ferry)).toBe(options.directory !== true);
    const { text } = await ferry.histories();
    expect(text).not.toContain(S3.secretAccessKey);
    expect(ferry.output.join('')).not.toContain(S3.secretAccessKey);
  });
});

/** OpenSearch 1.0 goes on from 7.10. */
const majorOf = ({ version, distribution }: ElasticsearchServer) =>
  Number(version.split('.')[0]) + (distribution === 'opensearch' ? 6 : 0);
/** Up to 6.x a document has a type. */
const typeFor = (server: ElasticsearchServer) => (majorOf(server) >= 7 ? '_doc' : 'doc');
const LIVE = { filter: { term: { n: 1 } }, routing: 'r' };
const encoded = encodeURIComponent;

/** Several indices with what a migration can stumble over. */
async function fill(source: ElasticsearchServer): Promise<Writers> {
  const writers = new Writers(source.url, majorOf(source));
  const aliases = {
    'matrix-live': LIVE,
    ...(majorOf(source) >= 6 ? { 'matrix-write': { is_write_index: true } } : {}),
  };
  await writers.createIndex('matrix-orders', { number_of_shards: 5 }, { aliases });
  await writers.createIndex('matrix-events-2026', { number_of_shards: 1 });
  await writers.createIndex('matrix-users', { number_of_shards: 3 });
  for (const name of ODD_NAMES) await writers.createIndex(name, { number_of_shards: 2 });
  await writers.createIndex('matrix-empty', { number_of_shards: 3 });
  await writers.createIndex(OWNERS_BLOCK, { number_of_shards: 1 });
  writers.acknowledged.delete('matrix-empty');
  for (const name of writers.acknowledged.keys()) for (let i = 0; i < 3; i += 1) await writers.bulk(name, 300);
  // A segment without a live document: what opens a shard anew does not count it.
  const gone = `${source.url}/${OWNERS_BLOCK}/${typeFor(source)}/gone?refresh=true`;
  await http(gone, 'PUT', { n: 0 });
  await http(gone, 'DELETE');
  await http(`${source.url}/${OWNERS_BLOCK}/_settings`, 'PUT', { 'index.blocks.write': true });
  return writers;
}

async function expectEverythingElse(source: ElasticsearchServer, target: ElasticsearchServer): Promise<void> {
  expect(await http(`${target.url}/matrix-empty/_count`)).toMatchObject({ count: 0 });
  const aliases = (url: string) => http(`${url}/matrix-*/_alias`);
  expect(await aliases(target.url)).toEqual(await aliases(source.url));
  const names = Object.keys((await http(`${source.url}/matrix-*/_settings`)) as object);
  expect(names).toHaveLength(9);
  // Set while a target is restored into.
  const settings = JSON.stringify(await http(`${target.url}/matrix-*/_settings`));
  expect(settings).not.toMatch(/merge/);
  for (const name of names) {
    const late = (server: ElasticsearchServer) =>
      http(`${server.url}/${encoded(name)}/${typeFor(server)}/late`, 'PUT', { n: 0 });
    await expect(late(source)).rejects.toThrow('403');
    // What its owner had blocked stays as its owner wants it, on both sides. 7.x takes documents under `_doc` whatever
    // the mapping type of an older index is called.
    if (name === OWNERS_BLOCK) await expect(late(target)).rejects.toThrow('403');
    else await late(target);
  }
}

/** Whether the node split a file, so that the copy had parts to count. */
function chunks(ferry: Ferry): boolean {
  return readdirSync(ferry.files('target'), { recursive: true }).some((file) => String(file).endsWith('.part1'));
}
