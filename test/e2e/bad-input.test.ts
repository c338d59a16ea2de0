import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Ferry } from '../support/ferry';
import { testServers } from '../support/temporal';
import { http } from '../support/writers';

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
      clusters: { nowhere: { url: 'http://127.0.0.1:9' } },
      stores: {
        'wrong-key': bucket(unkeyed),
        'nowhere-store': bucket({ endpoint: 'http://127.0.0.1:9' }),
      },
    },
  });
  const create = (url: string, name: string, body: object = {}) =>
    http(`${url}/${name}?wait_for_active_shards=0`, 'PUT', body);
  await create(source, 'bad-fine');
  await create(source, 'bad-closed');
  await http(`${source}/bad-closed/_close`, 'POST');
  await create(source, 'bad-red', { settings: { 'index.routing.allocation.require._name': 'nobody' } });
  for (const name of ['bad-taken', 'bad-taken-closed']) await create(source, name);
  await create(target, 'bad-taken');
  await create(target, 'bad-taken-closed');
  await http(`${target}/_cluster/health/bad-taken-closed?wait_for_status=yellow`);
  await http(`${target}/bad-taken-closed/_close`, 'POST');
  await create(target, 'bad-other');
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

const plan = (changes: Readonly<Record<string, unknown>>) => [{ ...ferry.plan, ...changes }];
const places = (from: object, to: object = {}) => ({
  repository: {
    source: { store: 'source-store', basePath: 'from', ...from },
    target: { store: 'target-store', basePath: 'to', ...to },
  },
});

// One of each check: that the same list refuses each plan that is broken in another way is shown by broken-plans.test.ts.
test.each<[string, Readonly<Record<string, unknown>>, RegExp[]]>([
  ['a pattern that matches nothing', { indices: ['bad-fine', 'bad-nothing-*'] }, [/'bad-nothing-\*' matches no index/]],
  ['a closed index', { indices: ['bad-closed'] }, [/'bad-closed' is closed on the source: open it/, /"-bad-closed"/]],
  ["a stranger's open index", { indices: ['bad-taken'] }, [/index 'bad-taken' already \(open\).*Remove it/]],
  [
    "a stranger's closed index",
    { indices: ['bad-taken-closed'] },
    [/index 'bad-taken-closed' already \(closed\).*Remove it/],
  ],
  [
    'a target older than the source',
    { source: 'target', target: 'source', indices: ['bad-other'] },
    [/5\.5\.2.*5\.6\.16.*must not be older: upgrade it/],
  ],
  [
    "somebody else's repository at the target location",
    places({}, { basePath: 'of-others' }),
    [/'of-others' of .*holds a snapshot repository.*of-others\/index-0.*choose an empty basePath/],
  ],
  ['a wrong key', places({ store: 'wrong-key' }), [/refuses the credentials: correct the access key/]],
  ['an unknown cluster', { source: 'atlantis' }, [/no cluster 'atlantis': it knows.*nowhere/]],
  ['an unknown migration to take over', { adopt: 'another' }, [/adopt: no migration 'another' has work files/]],
  ['a value of the wrong type', { indices: 'bad-fine', rounds: { every: 5 } }, [/indices/, /rounds\.every/]],
])('%s is refused before anything is touched', async (_, changes, sentences) => {
  const message = await refusalOf(plan(changes));
  for (const sentence of sentences) expect(message).toMatch(sentence);
  expect(message).not.toContain(s3.secretAccessKey);
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
