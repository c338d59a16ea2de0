import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { check } from '../../src/cli/check';
import { loadConfig } from '../../src/config';
import { ConfigurationError } from '../../src/domain/errors';
import type { Finding } from '../../src/steps/findings';
import { Ferry } from '../support/ferry';
import { testServers } from '../support/temporal';
import { http, Writers } from '../support/writers';

/** Each refused by preflight in words that name the subject and the remedy, with nothing touched on either side. */

const { elasticsearch, s3 } = testServers();
const source = elasticsearch['5.5.2'] as string;
const target = elasticsearch['5.6.16'] as string;

let ferry: Ferry;
let repositoryOfOthers: string;

const bucket = (changes: object = {}) => ({
  type: 's3',
  bucket: 'nobody-made-this-bucket',
  region: 'us-east-1',
  endpoint: s3.endpoint,
  pathStyle: true,
  credentials: { accessKeyId: { env: 'FERRY_KEY' }, secretAccessKey: { env: 'FERRY_SECRET' } },
  repository: { type: 'fs', settings: { location: path.join(testServers().buckets, 'nobody') } },
  ...changes,
});

beforeAll(async () => {
  const unkeyed = { credentials: { accessKeyId: { env: 'FERRY_KEY' }, secretAccessKey: { env: 'PATH' } } };
  ferry = await Ferry.create({
    source,
    target,
    indices: ['bad-fine'],
    connections: {
      clusters: { 'source-again': { url: `${source}/` }, nowhere: { url: 'http://127.0.0.1:9' } },
      stores: {
        'no-bucket': bucket(),
        'wrong-key': bucket(unkeyed),
        'nowhere-store': bucket({ endpoint: 'http://127.0.0.1:9' }),
      },
    },
  });
  const create = (url: string, name: string, body: object = {}) =>
    http(`${url}/${name}?wait_for_active_shards=0`, 'PUT', body);
  await create(source, 'bad-fine', { aliases: { 'bad-alias': {} } });
  await create(source, 'bad-closed');
  await http(`${source}/bad-closed/_close`, 'POST');
  await create(source, 'bad-red', { settings: { 'index.routing.allocation.require._name': 'nobody' } });
  for (const name of ['bad-taken', 'bad-taken-closed', 'bad-taken-alias']) await create(source, name);
  await create(target, 'bad-taken');
  await create(target, 'bad-taken-closed');
  await http(`${target}/_cluster/health/bad-taken-closed?wait_for_status=yellow`);
  await http(`${target}/bad-taken-closed/_close`, 'POST');
  await create(target, 'bad-other', { aliases: { 'bad-taken-alias': {} } });
  repositoryOfOthers = path.join(ferry.files('target'), 'of-others');
  mkdirSync(repositoryOfOthers);
  writeFileSync(path.join(repositoryOfOthers, 'index-0'), '{"snapshots":[],"indices":{}}');
  await ferry.startWorker();
}, 120_000);
afterAll(async () => {
  await ferry.close();
  for (const url of [source, target]) await http(`${url}/bad-*`, 'DELETE');
});

/** Everything a migration could leave behind. */
async function traces() {
  const [bySource, byTarget] = [await http(`${source}/_snapshot`), await http(`${target}/_snapshot`)];
  const files = (['source', 'target'] as const).flatMap((side) =>
    readdirSync(ferry.files(side), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => path.join(entry.parentPath, entry.name)),
  );
  return { bySource, byTarget, files, blocks: await http(`${source}/bad-*/_settings/index.blocks.*`) };
}

async function refusalOf(args: unknown[]): Promise<string> {
  const before = await traces();
  const one = ferry.beside();
  await one.start(args);
  const failure = await one.failure();
  expect(await traces()).toEqual(before);
  return failure;
}

/** What `snapferry check` says of such a plan: every finding that refuses it, or why it cannot even be read. */
async function checked(changes: Readonly<Record<string, unknown>>): Promise<string> {
  const file = path.join(ferry.dir, 'checked.json');
  writeFileSync(file, JSON.stringify(plan(changes)[0]));
  const lines: string[] = [];
  const failure: unknown = await check(
    file,
    await loadConfig(ferry.environment()),
    { json: true },
    (line) => lines.push(line),
    new AbortController().signal,
  ).catch((error: unknown) => error);
  if (lines.length === 0) return failure instanceof Error ? failure.message : 'it found nothing';
  expect(failure).toBeInstanceOf(ConfigurationError);
  const { findings } = JSON.parse(lines.join('')) as { findings: Finding[] };
  return findings
    .filter(({ verdict }) => verdict === 'refused')
    .map(({ seen, remedy = '' }) => `${seen}: ${remedy}`)
    .join('\n');
}

const plan = (changes: Readonly<Record<string, unknown>>) => [{ ...ferry.plan, ...changes }];
const places = (from: object, to: object = {}) => ({
  repository: {
    source: { store: 'source-store', basePath: 'from', ...from },
    target: { store: 'target-store', basePath: 'to', ...to },
  },
});

test.each<[string, Readonly<Record<string, unknown>>, RegExp[]]>([
  ['a pattern that matches nothing', { indices: ['bad-fine', 'bad-nothing-*'] }, [/'bad-nothing-\*' matches no index/]],
  ['exclusions that leave nothing', { indices: ['bad-fine', '-bad-*'] }, [/exclusions leave no index/]],
  ['a closed index', { indices: ['bad-closed'] }, [/'bad-closed' is closed on the source: open it/, /"-bad-closed"/]],
  ['a red index', { indices: ['bad-red'] }, [/'bad-red' is red on the source.*: mend it/]],
  ['an alias among the indices', { indices: ['bad-alias'] }, [/'bad-alias' is an alias: name its indices.*: bad-fine/]],
  ["a stranger's open index", { indices: ['bad-taken'] }, [/index 'bad-taken' already \(open\).*Remove it/]],
  [
    "a stranger's closed index",
    { indices: ['bad-taken-closed'] },
    [/index 'bad-taken-closed' already \(closed\).*Remove it/],
  ],
  [
    "a stranger's alias",
    { indices: ['bad-taken-alias'] },
    [/alias 'bad-taken-alias' \(of bad-other\).*: remove it there/],
  ],
  [
    'a target older than the source',
    { source: 'target', target: 'source', indices: ['bad-other'] },
    [/5\.5\.2.*5\.6\.16.*must not be older: upgrade it/],
  ],
  ['one cluster under two names', { target: 'source-again' }, [/'source' and 'source-again' are the same cluster/]],
  ['a base path with a leading slash', places({ basePath: '/from' }), [/repository\.source\.basePath.*slash/]],
  ['an empty base path of the target', places({}, { basePath: '' }), [/target\.basePath: must not be empty/]],
  [
    "somebody else's repository at the target location",
    places({}, { basePath: 'of-others' }),
    [/'of-others' of .*holds a snapshot repository.*of-others\/index-0.*choose an empty basePath/],
  ],
  ['a bucket that does not exist', places({}, { store: 'no-bucket' }), [/no such bucket.*nobody-made-this-bucket/]],
  ['a wrong key', places({ store: 'wrong-key' }), [/refuses the credentials: correct the access key/]],
  ['an unknown cluster', { source: 'atlantis' }, [/no cluster 'atlantis': it knows.*source-again/]],
  ['an unknown store', places({ store: 'atlantis' }), [/no store 'atlantis': it knows.*source-store/]],
  ['an unknown key', { indizes: ['a'] }, [/indizes/]],
  [
    'a window in no time zone',
    { rounds: { window: { from: '01:00', to: '06:00', timeZone: 'Asia/Atlantis' } } },
    [/rounds\.window\.timeZone: must be a time zone/],
  ],
  ['an unknown migration to take over', { adopt: 'another' }, [/adopt: no migration 'another' has work files/]],
  ['a value of the wrong type', { indices: 'bad-fine', rounds: { every: 5 } }, [/indices/, /rounds\.every/]],
])('%s is refused before anything is touched', async (_, changes, sentences) => {
  const message = await refusalOf(plan(changes));
  for (const sentence of sentences) expect(message).toMatch(sentence);
  expect(message).not.toContain(s3.secretAccessKey);
  const said = await checked(changes);
  for (const sentence of sentences) expect(said).toMatch(sentence);
  expect(said).not.toContain(s3.secretAccessKey);
});

test.each<[string, (fine: unknown) => unknown[], RegExp]>([
  ['missing', () => [], /takes one JSON object, the plan; it was given 0 argument/],
  ['sent as two arguments', (fine) => [fine, fine], /it was given 2 argument.*--input-file plan\.json/],
  ['sent as a string', (fine) => [JSON.stringify(fine)], /of type string.*--input-file/],
  ['sent as a list', (fine) => [[fine]], /of type array/],
  ['an empty object', () => [{}], /source.*target.*indices.*repository/],
])('a plan that is %s is refused before anything is touched', async (_, args, sentence) => {
  expect(await refusalOf(args(ferry.plan))).toMatch(sentence);
});

test('every fault of a plan comes in one answer', async () => {
  const message = await refusalOf(plan({ indices: ['bad-closed', 'bad-red', 'bad-taken', 'bad-nothing'] }));
  for (const name of ['bad-closed', 'bad-red', 'bad-taken', 'bad-nothing']) expect(message).toContain(`'${name}'`);
});

test.each<[string, () => Readonly<Record<string, unknown>>, RegExp]>([
  ['a store', () => places({ store: 'nowhere-store' }), /did not answer.*(127\.0\.0\.1:9|nobody-made-this-bucket)/],
  ['a cluster', () => ({ source: 'nowhere' }), /does not answer.*cluster=nowhere/],
])('%s that does not answer is waited for and named, and nothing is touched', async (_, changes, sentence) => {
  const before = await traces();
  const one = ferry.beside(changes());
  const handle = await one.start();
  const deadline = Date.now() + 60_000;
  let last = '';
  while (last === '' && Date.now() < deadline) {
    const { raw } = await handle.describe();
    last = raw.pendingActivities?.[0]?.lastFailure?.message ?? '';
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  expect(last).toMatch(sentence);
  await one.signal('abort');
  expect(await one.failure()).toContain('Nothing had been touched');
  expect(await traces()).toEqual(before);
});

test('a snapshot that runs on the source is refused by name', async () => {
  const writers = new Writers(source, 5);
  await writers.createIndex('bad-slow', { number_of_shards: 1 });
  for (let i = 0; i < 2; i += 1) await writers.bulk('bad-slow', 1_000);
  await http(`${source}/bad-slow/_flush`, 'POST');
  const settings = { location: path.join(ferry.files('source'), 'throttled'), max_snapshot_bytes_per_sec: '10kb' };
  await http(`${source}/_snapshot/throttled`, 'PUT', { type: 'fs', settings });
  await http(`${source}/_snapshot/throttled/nightly`, 'PUT', { indices: 'bad-slow' });
  try {
    const one = ferry.beside();
    await one.start();
    expect(await one.failure()).toMatch(/Snapshot 'nightly' of repository 'throttled' runs on the source: start again/);
  } finally {
    await http(`${source}/_snapshot/throttled/nightly`, 'DELETE');
    await http(`${source}/_snapshot/throttled`, 'DELETE');
  }
});
