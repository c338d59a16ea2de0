import { mkdirSync, mkdtempSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { shareDirectory, startElasticsearch, startTemporal, startVersitygw, stopAll } from '../../stack';
import { Ferry } from '../support/ferry';
import type { FerryOptions } from '../support/ferry';
import { thereAndBack } from '../support/there-and-back';
import { http, Writers } from '../support/writers';

/** The way back where documents have sequence numbers and clusters drain writes themselves. */

const S3 = { accessKeyId: 'matrix-access', secretAccessKey: 'matrix-secret-matrix-secret' };

jest.setTimeout(600_000);
afterAll(() => stopAll());

let source: string;
let target: string;
let servers: NonNullable<FerryOptions['servers']>;
let ferry: Ferry | undefined;
beforeAll(async () => {
  const buckets = path.join(mkdtempSync(path.join(os.tmpdir(), 'snapferry-rollback-')), 'buckets');
  mkdirSync(buckets);
  await shareDirectory(buckets);
  const start = (version: string) => startElasticsearch({ version, pathRepo: [buckets] });
  const [temporal, s3] = await Promise.all([startTemporal({ ui: false }), startVersitygw({ root: buckets, ...S3 })]);
  const [from, to] = await Promise.all([start('7.10.2'), start('7.17.29')]);
  [source, target] = [from.url, to.url];
  servers = { temporal: temporal.address, s3: { endpoint: s3.endpoint, ...S3 }, buckets };
});
afterEach(() => ferry?.close());

test('7.10.2 to 7.17.29 and back: the number is exact, and never are both sides writable', async () => {
  const writers = new Writers(source, 7);
  await writers.createIndex('returns', { number_of_shards: 3 }, { aliases: { 'returns-live': {} } });
  await writers.bulk('returns', 300);
  const journey = await thereAndBack({ source, target, servers }, 'returns', '_doc');
  expect(journey.writable).toEqual({
    watching: { source: false, target: true },
    agreeing: { source: false, target: false },
    back: { source: true, target: false },
  });
  expect(journey.report).toMatchObject({ outcome: 'rolled-back', writesSinceSwitch: { operations: 5, exact: true } });
  expect(journey.aliases).toEqual({ watching: true, back: false });
  expect(journey.refreshInterval).toEqual({ watching: undefined, back: '-1' });
  await http(`${source}/returns/_doc/late-0`, 'DELETE');
  expect(await writers.differences(source)).toEqual([]);
});

const BY = { who: 'the test', why: 'the new side is slow' };
const takes = (url: string, index: string) =>
  http(`${url}/${index}/_doc/probe`, 'PUT', { n: 0 }).then(
    () => true,
    () => false,
  );
const both = async (index: string) => ({ source: await takes(source, index), target: await takes(target, index) });

/** Two indices of one alias, whose freeze awaits approval. */
async function frozen(name: string, plan: object): Promise<Ferry> {
  const writers = new Writers(source, 7);
  for (const index of [`${name}-1`, `${name}-2`]) {
    await writers.createIndex(index, { number_of_shards: 1 }, { aliases: { [`${name}-all`]: {} } });
    await writers.bulk(index, 50);
  }
  ferry = await Ferry.create({
    ...{ source, target, servers, indices: [`${name}-*`] },
    plan: { rounds: { every: '1h' }, cutover: { approval: true, watch: '1h' }, ...plan },
  });
  await ferry.startWorker();
  await ferry.start();
  await ferry.rounds(1);
  await ferry.signal('freeze-writes');
  await ferry.until(({ phase }) => phase === 'awaiting approval');
  return ferry;
}

test.each(['close', 'replace'])(
  'what was excluded in the freeze stays out of the way back, with aliases in every round and strategy %s',
  async (strategy) => {
    const name = `left-${strategy}`;
    const one = await frozen(name, { restore: { strategy, aliases: 'everyRound' } });
    const aliased = async () => Object.keys((await http(`${target}/_alias/${name}-all`)) as object).sort();
    expect(await aliased()).toEqual([`${name}-1`, `${name}-2`]);
    await one.update('exclude', { index: `${name}-2`, ...BY });
    await one.update('approve', { ...BY, ifVerified: true });
    await one.until(({ watch }) => watch?.writesSinceSwitch !== undefined);
    expect(await aliased()).toEqual([`${name}-1`]);
    expect([await both(`${name}-1`), await both(`${name}-2`)]).toEqual([
      { source: false, target: true },
      { source: true, target: false },
    ]);
    // Its owner blocks it since.
    await http(`${source}/${name}-2/_settings`, 'PUT', { 'index.blocks.write': true });
    await one.update('rollback', { acceptLosing: 1, ...BY });
    expect((await one.result()).outcome).toBe('rolled-back');
    expect([await both(`${name}-1`), await both(`${name}-2`)]).toEqual([
      { source: true, target: false },
      { source: false, target: false },
    ]);
    expect(await aliased()).toEqual([`${name}-1`]);
  },
);

test('abort of a rollback that is not decided leaves both sides blocked and says so; unfreeze opens the target', async () => {
  const one = await frozen('stopped', {});
  await one.update('approve', BY);
  await one.until(({ watch }) => watch?.writesSinceSwitch !== undefined);
  expect(await both('stopped-1')).toEqual({ source: false, target: true });
  await expect(one.update('rollback', { acceptLosing: 0, ...BY })).rejects.toThrow();
  await one.signal('abort');
  const said = await one.failure();
  for (const part of [
    '2 indices of source source (stopped-1, stopped-2)',
    '2 of target target (stopped-1, stopped-2)',
    '`npx snapferry unfreeze plan.json`: it opens the target again',
  ]) {
    expect(said).toContain(part);
  }
  expect(said).not.toContain('DELETE /stopped');
  expect((await one.status()).youCan.join()).toContain('npx snapferry unfreeze plan.json');
  expect(await both('stopped-1')).toEqual({ source: false, target: false });
  expect(await one.unfreeze()).toContain('2 indices of target take writes again; the source stays blocked');
  expect(await both('stopped-1')).toEqual({ source: false, target: true });
  await expect(one.unfreeze()).rejects.toThrow('was committed');
});
