/**
 * Every pair of versions that the stack runs, with a few dozen documents: what the table takes is migrated, and what it
 * refuses is refused by the real node as well, in its own words.
 */
import { mkdtempSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { checkVersions } from '../../src/domain/compatibility';
import { shareDirectory, startElasticsearch, startTemporal, stopAll } from '../../stack';
import type { ElasticsearchServer } from '../../stack';
import { Ferry } from '../support/ferry';
import { send } from '../support/send';
import { http, Writers } from '../support/writers';

/** 9.x wants Java 21, and the stack has 17. */
const VERSIONS = ['5.0.0', '5.5.2', '5.6.16', '6.8.23', '7.10.2', '7.17.29', '8.0.0', '8.18.0', '8.19.0'] as const;
const HEAP_MB = 320;

/** What nodes say, by the version that is asked; the first that fits both. */
const REFUSALS: readonly (readonly [source: RegExp, target: RegExp, says: RegExp])[] = [
  // Metadata of a younger repository that an older parser does not know.
  [/^6\.8/, /^5\./, /Unexpected field \[mapping_version\]/],
  [/^7\.10/, /^[56]\./, /Can't get text on a FIELD_NAME/],
  [/^(7\.17|8)\./, /^[56]\./, /unknown field name {2}\[min_version\]/],
  [/^(7\.17|8)\./, /^7\.10/, /unknown field \[uuid\] found/],
  // Known, but from the future.
  [/^5\./, /^5\./, /the snapshot was created with Elasticsearch version \[5\.[\d.]+\] which is higher than/],
  [/^8\./, /^(7\.17|8)\./, /the snapshot was created with (Elasticsearch|version|index version).* higher than/],
  // Too old: by the index up to 7.10, by the snapshot from then on.
  [/^5\./, /^7\.10/, /cannot be upgraded.*It should be re-indexed in Elasticsearch 6\.x before upgrading to 7\.10\.2/s],
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
  const started = nodes.get(version) ?? startElasticsearch({ version, pathRepo: [root], heapMb: HEAP_MB });
  nodes.set(version, started);
  return started;
}

const majorOf = (version: string) => Number(version.split('.')[0]);
const folderOf = (version: string) => path.join(root, version);

async function fill(source: ElasticsearchServer, index: string): Promise<Writers> {
  const writers = new Writers(source.url, majorOf(source.version));
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

const cluster = (version: string) => ({ version, distribution: 'elasticsearch' }) as const;
const problemsOf = (source: string, target: string) =>
  checkVersions({ source: cluster(source), target: cluster(target) });
const cells = VERSIONS.flatMap((source) => VERSIONS.map((target) => [source, target] as const));

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

describe('what the table refuses', () => {
  test.each(cells.filter(([source, target]) => problemsOf(source, target).length > 0))(
    '%s to %s is refused by the node itself',
    async (from, to) => {
      const [target] = await Promise.all([node(to), snapshotOf(from)]);
      const [, , says] = REFUSALS.find(([source, other]) => source.test(from) && other.test(to))!;
      expect(await restoreStraight(from, target)).toMatch(says);
    },
  );

  test('the chain that a refusal names works: 6.8.23, reindexed in 7.17.29, into 8.19.0', async () => {
    expect(problemsOf('6.8.23', '8.19.0')).toEqual([
      expect.objectContaining({ remedy: expect.stringContaining('-> Elasticsearch 7.2 to 7.17, reindex there, ->') }),
    ]);
    const [between, target] = await Promise.all([node('7.17.29'), node('8.19.0'), snapshotOf('6.8.23')]);
    expect(await restoreStraight('6.8.23', between)).toMatch(/^200/);
    const location = folderOf('between');
    await shareDirectory(location);
    await http(`${between.url}/_snapshot/chain`, 'PUT', { type: 'fs', settings: { location } });
    await http(`${target.url}/_snapshot/chain`, 'PUT', { type: 'fs', settings: { location, readonly: true } });
    const handOn = async (index: string) => {
      await http(`${between.url}/_snapshot/chain/${index}?wait_for_completion=true`, 'PUT', { indices: index });
      return send(target.url, 'POST', `/_snapshot/chain/${index}/_restore?wait_for_completion=true`, {
        indices: index,
      });
    };
    // Restored alone it is still 6.8's index.
    const early = await handOn('tried-from-6.8.23');
    expect(JSON.stringify(early)).toMatch(/minimum.* version|cannot be upgraded/);
    // The zips have no _reindex: it reads and writes documents, and so does this.
    const found = (await http(`${between.url}/tried-from-6.8.23/_search?size=100`)) as Hits;
    for (const { _id, _source } of found.hits.hits) await http(`${between.url}/reindexed/_doc/${_id}`, 'PUT', _source);
    await http(`${between.url}/reindexed/_refresh`, 'POST');
    expect((await handOn('reindexed')).status).toBe(200);
    expect(await http(`${target.url}/reindexed/_count`)).toMatchObject({ count: found.hits.hits.length });
  });
});

interface Hits {
  readonly hits: { readonly hits: readonly { readonly _id: string; readonly _source: object }[] };
}
