import { mkdirSync, mkdtempSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { shareDirectory, startElasticsearch, startTemporal, startVersitygw, stopAll } from '../../stack';
import type { ElasticsearchServer } from '../../stack';
import { Ferry } from '../support/ferry';
import type { FerryOptions } from '../support/ferry';
import { http, Writers } from '../support/writers';

/** How a round replaces the last one on the target, and what comes back after the switchover, on real nodes. */

const S3 = { accessKeyId: 'matrix-access', secretAccessKey: 'matrix-secret-matrix-secret' };
const [FROM, TO] = ['6.8.23', '7.10.2'];

jest.setTimeout(900_000);

let servers: NonNullable<FerryOptions['servers']>;
let source: ElasticsearchServer;
let target: ElasticsearchServer;
let ferry: Ferry;

beforeAll(async () => {
  const buckets = path.join(mkdtempSync(path.join(os.tmpdir(), 'snapferry-matrix-')), 'buckets');
  mkdirSync(buckets);
  await shareDirectory(buckets);
  const temporal = await startTemporal({ ui: false });
  const s3 = await startVersitygw({ root: buckets, ...S3 });
  servers = { temporal: temporal.address, s3: { endpoint: s3.endpoint, ...S3 }, buckets };
  const start = (version: string) => startElasticsearch({ version, pathRepo: [buckets] });
  [source, target] = await Promise.all([start(FROM), start(TO)]);
});
afterEach(async () => {
  await ferry.close();
  for (const { url } of [source, target]) await http(`${url}/strategy-*`, 'DELETE');
});
afterAll(() => stopAll());

const indicesOf = async ({ url }: ElasticsearchServer) =>
  Object.keys((await http(`${url}/strategy-*/_settings`)) as object).sort();

async function moved(plan: Record<string, unknown>, before?: () => Promise<unknown>): Promise<Writers> {
  const writers = new Writers(source.url, 6);
  await writers.createIndex('strategy-a', { number_of_shards: 2 }, { aliases: { 'strategy-live': {} } });
  await writers.createIndex('strategy-b', { number_of_shards: 1 });
  for (const index of ['strategy-a', 'strategy-b']) await writers.bulk(index, 200);
  await before?.();
  ferry = await Ferry.create({ source: source.url, target: target.url, indices: ['strategy-*'], servers, plan });
  await ferry.startWorker();
  await ferry.start();
  await ferry.rounds(1);
  writers.start(2, 25);
  for (const round of [2, 3]) await ferry.rounds(round);
  return writers;
}

async function cutOver(writers: Writers, onTarget: (index: string) => string = (index) => index) {
  await ferry.signal('freeze-writes', { by: 'the matrix' });
  const report = await ferry.result();
  await writers.stop();
  expect(report.verification.failed).toBe(0);
  expect(await writers.differences(target.url, onTarget)).toEqual([]);
  return report;
}

test('alias: each round beside the last, which goes; at the switchover the names point at the newest', async () => {
  const restore = { strategy: 'alias', rename: { 'strategy-b': 'strategy-renamed' } };
  const writers = await moved({ restore, cutover: { approval: false, verify: 'full' } });
  // No alias before the switchover, and never more than two rounds beside each other.
  expect((await indicesOf(target)).length).toBeLessThanOrEqual(4);
  expect(await http(`${target.url}/_alias/strategy-*`)).toEqual({});
  const { rounds } = await cutOver(writers, (index) => (index === 'strategy-b' ? 'strategy-renamed' : index));
  const last = rounds.at(-1)?.round;
  expect(await indicesOf(target)).toEqual([`strategy-a-snapferry-r${last}`, `strategy-renamed-snapferry-r${last}`]);
  expect(await http(`${target.url}/_alias/strategy-*`)).toEqual({
    [`strategy-a-snapferry-r${last}`]: { aliases: { 'strategy-a': {}, 'strategy-live': {} } },
    [`strategy-renamed-snapferry-r${last}`]: { aliases: { 'strategy-renamed': {} } },
  });
  for (const name of ['strategy-a', 'strategy-renamed', 'strategy-live']) {
    await http(`${target.url}/${name}/_doc/late`, 'PUT', { n: 0 });
  }
});

test('alias: a stranger’s index of the name is left as it is', async () => {
  await http(`${target.url}/strategy-a`, 'PUT');
  await http(`${target.url}/strategy-a/_doc/theirs?refresh`, 'PUT', { n: 1 });
  const writers = await moved({ restore: { strategy: 'alias' } });
  await ferry.signal('freeze-writes');
  const { rounds } = await ferry.result();
  await writers.stop();
  const last = rounds.at(-1)?.round;
  expect(await http(`${target.url}/strategy-a/_count`)).toMatchObject({ count: 1 });
  expect(await http(`${target.url}/_alias/strategy-live`)).toEqual({
    [`strategy-a-snapferry-r${last}`]: { aliases: { 'strategy-live': {} } },
  });
});

test.each(['close', 'replace', 'alias'])(
  '%s, baseline and last round only: rounds between are sent, the target keeps the baseline, the cutover brings all',
  async (strategy) => {
    const writers = await moved({ restore: { strategy, everyRound: false } });
    const suffixed = (round: number | undefined) =>
      ['strategy-a', 'strategy-b'].map((name) => (strategy === 'alias' ? `${name}-snapferry-r${round}` : name));
    expect(await indicesOf(target)).toEqual(suffixed(0));
    // What was written since is not there, and what is there can be read.
    for (const name of suffixed(0)) expect(await http(`${target.url}/${name}/_count`)).toMatchObject({ count: 200 });
    const { rounds } = await cutOver(writers);
    expect(rounds.map(({ steps }) => steps['restore'] !== undefined)).toEqual(
      rounds.map(({ round, final }) => round === 0 || final),
    );
    const sent = rounds.filter(({ round, final }) => round > 0 && !final).map(({ sentBytes }) => sentBytes);
    expect(sent.length).toBeGreaterThanOrEqual(2);
    for (const bytes of sent) expect(bytes).toBeGreaterThan(0);
    expect(await indicesOf(target)).toEqual(suffixed(rounds.at(-1)?.round));
  },
);

test('replace: each round in place of the last, and a change by somebody else is shown instead of deleted', async () => {
  const writers = await moved({ restore: { strategy: 'replace' } });
  await http(`${target.url}/strategy-a/_settings`, 'PUT', { 'index.blocks.write': null });
  await http(`${target.url}/strategy-a/_doc/theirs?refresh`, 'PUT', { n: 1 });
  const { parked } = await ferry.until(({ phase }) => phase === 'parked');
  expect(JSON.stringify(parked)).toContain("index 'strategy-a'");
  expect(await http(`${target.url}/strategy-a/_doc/theirs`)).toMatchObject({ found: true });
  await http(`${target.url}/strategy-a`, 'DELETE');
  await ferry.signal('retry');
  await ferry.until(({ phase }) => phase !== 'parked');
  await cutOver(writers);
  expect(await indicesOf(target)).toEqual(['strategy-a', 'strategy-b']);
});

test('a window keeps rounds until run-round, and cleanup takes our snapshots from the source, and only those', async () => {
  // Twelve hours from now for an hour: closed however long this takes.
  const at = (hours: number) => new Date(Date.now() + hours * 3_600_000).toISOString().slice(11, 16);
  const window = { from: at(12), to: at(13), timeZone: 'UTC' };
  const writers = new Writers(source.url, 6);
  await writers.createIndex('strategy-a', { number_of_shards: 2 });
  await writers.bulk('strategy-a', 200);
  const plan = { rounds: { every: '1s', window }, cleanup: { snapshots: 'delete', registrations: 'keep' } };
  ferry = await Ferry.create({ source: source.url, target: target.url, indices: ['strategy-*'], servers, plan });
  await ferry.startWorker();
  await ferry.start();
  const { nextRound, totals } = await ferry.until((status) => status.nextRound !== undefined);
  expect(nextRound?.slice(11, 16)).toBe(window.from);
  expect(totals.rounds).toBe(0);
  await ferry.signal('run-round');
  await ferry.rounds(1);
  const [repository] = Object.keys((await http(`${source.url}/_snapshot`)) as object);
  await http(`${source.url}/_snapshot/${repository}/theirs?wait_for_completion=true`, 'PUT');
  await ferry.signal('freeze-writes', { by: 'the matrix' });
  const report = await ferry.result();
  expect(report.verification.failed).toBe(0);
  const { snapshots } = (await http(`${source.url}/_snapshot/${repository}/_all`)) as {
    snapshots: { snapshot: string }[];
  };
  expect(snapshots.map(({ snapshot }) => snapshot)).toEqual(['theirs']);
  expect(report.remains.join()).not.toContain('snapshots stay in the source repository');
  await http(`${source.url}/_snapshot/${repository}`, 'DELETE');
});
