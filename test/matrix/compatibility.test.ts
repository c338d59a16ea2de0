/**
 * Every pair of versions that the stack runs, with a few dozen documents: what the table takes is migrated, and what it
 * refuses is refused by the real node as well, in its own words.
 */
import { mkdtempSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { TRIED } from '../../src/compatibility-page';
import { checkVersions, parseVersion, refusalOf } from '../../src/domain/compatibility';
import { openCluster } from '../../src/elasticsearch';
import { shareDirectory, startElasticsearch, startTemporal, stopAll } from '../../stack';
import type { ElasticsearchServer } from '../../stack';
import { Ferry } from '../support/ferry';
import { releaseOf } from '../support/release';
import { send } from '../support/send';
import { http, Writers } from '../support/writers';

const HEAP_MB = 320;

/** What nodes say, by the version that is asked; the first that fits both. */
const REFUSALS: readonly (readonly [source: RegExp, target: RegExp, says: RegExp])[] = [
  // Metadata of a younger repository that an older parser does not know.
  [/^6\.8/, /^5\./, /Unexpected field \[mapping_version\]/],
  [/^(7\.1[01]|opensearch)/, /^[56]\./, /Can't get text on a FIELD_NAME/],
  [/^(7\.17|8|9)\./, /^[56]\./, /unknown field name {2}\[min_version\]/],
  [/^(7\.17|8|9)\./, /^(7\.1[01]|opensearch)/, /unknown field \[uuid\] found/],
  // Known, but from the future.
  [/^5\./, /^5\./, /the snapshot was created with Elasticsearch version \[5\.[\d.]+\] which is higher than/],
  [/^opensearch-[23]/, /^opensearch/, /created with OpenSearch version \[[\d.]+\] which is higher than/],
  [/^7\.11/, /^9\./, /which is below the current versions? minimum index compatibility version/],
  [
    /^(7\.11|8|9|opensearch)/,
    /^[789]\./,
    /the snapshot was created with (Elasticsearch|version|index version).* higher than/,
  ],
  // Too old: by the index up to 7.10, by the snapshot from then on.
  [/^5\./, /^7\.10/, /cannot be upgraded.*It should be re-indexed in Elasticsearch 6\.x before upgrading to 7\.10\.2/s],
  [/^5\./, /^7\.11/, /cannot be upgraded|which is below the current versions? minimum/],
  [/^[567]\./, /^opensearch/, /cannot be upgraded|Unsupported version \[ES/],
  [/^opensearch-1/, /^opensearch-3/, /cannot be upgraded/],
  [/./, /./, /which is below the current versions? minimum index compatibility version/],
];

jest.setTimeout(600_000);

let root: string;
let temporal: string;
const nodes = new Map<string, Promise<ElasticsearchServer>>();
const snapshots = new Map<string, Promise<void>>();

beforeAll(async () => {
  root = path.join(mkdtempSync(path.join(os.tmpdir(), 'snapferry-compatibility-')), 'snapshots');
  await shareDirectory(root);
  temporal = (await startTemporal({ ui: false })).address;
});
afterAll(() => stopAll());

/** Each version is started once, when it is first needed. */
function node(version: string): Promise<ElasticsearchServer> {
  const started =
    nodes.get(version) ?? startElasticsearch({ ...releaseOf(version), pathRepo: [root], heapMb: HEAP_MB });
  nodes.set(version, started);
  return started;
}

const folderOf = (version: string) => path.join(root, version);

async function fill(source: ElasticsearchServer, index: string): Promise<Writers> {
  const hasTypes = source.distribution === 'elasticsearch' && /^[56]\./.test(source.version);
  const writers = new Writers(source.url, hasTypes ? 5 : 7);
  await writers.createIndex(index, { number_of_shards: 1 });
  await writers.bulk(index, 36);
  return writers;
}

/** A snapshot of a version, taken once. */
function snapshotOf(version: string): Promise<void> {
  const taken = snapshots.get(version) ?? takeSnapshot(version);
  snapshots.set(version, taken);
  return taken;
}

async function takeSnapshot(version: string): Promise<void> {
  const source = await node(version);
  await fill(source, 'tried');
  await shareDirectory(folderOf(version));
  await http(`${source.url}/_snapshot/own`, 'PUT', { type: 'fs', settings: { location: folderOf(version) } });
  await http(`${source.url}/_snapshot/own/one?wait_for_completion=true`, 'PUT', { indices: 'tried' });
  await http(`${source.url}/_snapshot/own`, 'DELETE');
}

/** What a node answers who is asked to restore a snapshot of that version. */
async function restoreStraight(from: string, target: ElasticsearchServer): Promise<string> {
  const settings = { location: folderOf(from), readonly: true };
  await http(`${target.url}/_snapshot/strange`, 'PUT', { type: 'fs', settings });
  const restore = { indices: 'tried', rename_pattern: 'tried', rename_replacement: `tried-from-${from}` };
  const answer = await send(target.url, 'POST', '/_snapshot/strange/one/_restore?wait_for_completion=true', restore);
  await http(`${target.url}/_snapshot/strange`, 'DELETE');
  expect({ from, to: target.version, ...answer }).toMatchObject({ status: expect.any(Number) });
  return `${answer.status} ${JSON.stringify(answer.body)}`;
}

const problemsOf = (source: string, target: string) =>
  checkVersions({ source: releaseOf(source), target: releaseOf(target) });
/** Of the versions alone, whether or not snapferry reads the source's repository. */
const isRefused = (source: string, target: string) =>
  refusalOf(parseVersion(releaseOf(source))!, parseVersion(releaseOf(target))!) !== undefined;
const cells = TRIED.flatMap((source) => TRIED.map((target) => [source, target] as const));

describe('what the table takes', () => {
  test.each(cells.filter(([source, target]) => source !== target && problemsOf(source, target).length === 0))(
    '%s to %s is migrated',
    async (from, to) => {
      const [source, target] = await Promise.all([node(from), node(to)]);
      const index = `pair-${from}-${to}`;
      const writers = await fill(source, index);
      const ferry = await Ferry.create({
        source: source.url,
        target: target.url,
        indices: [index],
        directory: true,
        servers: {
          temporal,
          s3: { endpoint: 'http://unused', accessKeyId: 'none', secretAccessKey: 'none' },
          buckets: root,
        },
      });
      try {
        await ferry.startWorker();
        await ferry.start();
        await ferry.rounds(1);
        writers.start(1, 10);
        await ferry.signal('freeze-writes', { by: 'the matrix' });
        const report = await ferry.result();
        await writers.stop();
        expect(await writers.differences(target.url)).toEqual([]);
        expect(report.verification.failed).toBe(0);
      } finally {
        await writers.stop();
        await ferry.close();
      }
    },
  );
});

describe('what the table takes, and snapferry does not read', () => {
  const unread = cells.filter(
    ([source, target]) => problemsOf(source, target).length > 0 && !isRefused(source, target),
  );
  test.each(unread)('%s to %s is restored by the node itself', async (from, to) => {
    const [target] = await Promise.all([node(to), snapshotOf(from)]);
    expect(await restoreStraight(from, target)).toMatch(/^200/);
  });
});

describe('what the table refuses', () => {
  test.each(cells.filter(([source, target]) => isRefused(source, target)))(
    '%s to %s is refused by the node itself',
    async (from, to) => {
      const [target] = await Promise.all([node(to), snapshotOf(from)]);
      const [, , says] = REFUSALS.find(([source, other]) => source.test(from) && other.test(to))!;
      expect(await restoreStraight(from, target)).toMatch(says);
    },
  );

  test.each([
    ['6.8.23', '7.17.29', '8.19.0', 'Elasticsearch 7.2 to 7.17'],
    ['7.10.2', '8.19.0', '9.1.0', 'Elasticsearch 8.x'],
    ['6.8.23', '7.10.2', 'opensearch-2.19.1', 'Elasticsearch 7.2 to 7.11'],
    ['7.10.2', 'opensearch-2.19.1', 'opensearch-3.0.0', 'OpenSearch 2.x'],
    ['opensearch-1.3.20', 'opensearch-2.19.1', 'opensearch-3.0.0', 'OpenSearch 2.x'],
  ])('the chain that a refusal names works: %s, reindexed in %s, into %s', async (from, over, to, named) => {
    expect(problemsOf(from, to)).toEqual([
      expect.objectContaining({ remedy: expect.stringContaining(`-> ${named}, reindex there, ->`) }),
    ]);
    const [between, target] = await Promise.all([node(over), node(to), snapshotOf(from)]);
    expect(await restoreStraight(from, between)).toMatch(/^200/);
    const location = path.join(root, `${from}-${over}`);
    const repository = `chain-from-${from}`;
    await shareDirectory(location);
    await http(`${between.url}/_snapshot/${repository}`, 'PUT', { type: 'fs', settings: { location } });
    await http(`${target.url}/_snapshot/${repository}`, 'PUT', { type: 'fs', settings: { location, readonly: true } });
    const handOn = async (index: string) => {
      const snapshot = `/_snapshot/${repository}/${index}`;
      await http(`${between.url}${snapshot}?wait_for_completion=true`, 'PUT', { indices: index });
      return send(target.url, 'POST', `${snapshot}/_restore?wait_for_completion=true`, { indices: index });
    };
    // Restored alone it is still the older version's index.
    const early = await handOn(`tried-from-${from}`);
    expect(JSON.stringify(early)).toMatch(/minimum.* version|cannot be upgraded/);
    // The zips have no _reindex: it reads and writes documents, and so does this.
    const found = (await http(`${between.url}/tried-from-${from}/_search?size=100`)) as Hits;
    const reindexed = `reindexed-from-${from}`;
    for (const { _id, _source } of found.hits.hits) {
      await http(`${between.url}/${reindexed}/_doc/${_id}`, 'PUT', _source);
    }
    await http(`${between.url}/${reindexed}/_refresh`, 'POST');
    expect((await handOn(reindexed)).status).toBe(200);
    expect(await http(`${target.url}/${reindexed}/_count`)).toMatchObject({ count: found.hits.hits.length });
  });
});

test.each(['opensearch-1.3.20', 'opensearch-2.19.1'])('%s is known where it calls itself 7.10.2', async (version) => {
  const { url } = await node(version);
  const cluster = openCluster({ name: version, url, auth: { type: 'none' } });
  const disguise = (value: true | null) =>
    http(`${url}/_cluster/settings`, 'PUT', { persistent: { 'compatibility.override_main_response_version': value } });
  await disguise(true);
  try {
    expect(await http(`${url}/`)).toMatchObject({ version: { number: '7.10.2' } });
    expect(await cluster.info(new AbortController().signal)).toMatchObject(releaseOf(version));
  } finally {
    await disguise(null);
    await cluster.disconnect();
  }
});

interface Hits {
  readonly hits: { readonly hits: readonly { readonly _id: string; readonly _source: object }[] };
}
