/** With exactly the policies that `snapferry policies` prints a migration passes; without one statement preflight names it. */
import type OSS from 'ali-oss';
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { check } from '../../src/cli/check';
import { loadConfig } from '../../src/config';
import { openCluster } from '../../src/elasticsearch';
import type { Finding } from '../../src/steps/findings';
import { domainArn, startS3Door } from '../../stack';
import type { S3Door, Statement } from '../../stack';
import { startClouds } from '../support/clouds';
import type { Clouds } from '../support/clouds';
import type { Ferry } from '../support/ferry';
import { aliOss } from '../support/oss';
import type { BucketCalls } from '../support/oss';
import { testServers } from '../support/temporal';
import { Writers } from '../support/writers';

const { elasticsearch, s3 } = testServers();
const source = { url: elasticsearch['5.5.2'] as string, version: '5.5.2' };
const target = { url: elasticsearch['5.6.16'] as string, version: '5.6.16' };
const SNAPFERRY = path.join(__dirname, '../../bin/snapferry.js');
const NEVER = new AbortController().signal;

interface Printed {
  readonly name: string;
  readonly document: { readonly Statement: readonly Statement[] };
  readonly neededFor: Readonly<Record<string, readonly string[]>>;
}

const NAMES = {
  caller: 'source caller',
  trust: 'source trust',
  role: 'source cluster on source-store',
  cluster: 'target cluster on target-store',
  reader: 'worker on source-store',
  worker: 'worker on target-store',
} as const;
type Who = keyof typeof NAMES;
type Granted = Readonly<Record<Who, readonly Statement[]>>;

let door: S3Door;
let clouds: Clouds;
let ferry: Ferry;
let writers: Writers;
let plan: string;
let printed: Readonly<Record<Who, Printed>>;
let granted: Granted;
let onSource: readonly Statement[] = [];

beforeAll(async () => {
  door = await startS3Door({ endpoint: s3.endpoint, policy: () => onSource });
  clouds = await startClouds({ source, target });
  writers = new Writers(source.url, 5);
  await writers.createIndex('permitted', { number_of_shards: 1 }, { aliases: { allowed: {} } });
  await writers.bulk('permitted', 300);
  ferry = await clouds.ferry({ indices: ['permitted'], s3Endpoint: door.endpoint });
  plan = path.join(ferry.dir, 'plan.json');
  writeFileSync(plan, JSON.stringify(ferry.plan));
  const args = [SNAPFERRY, 'policies', plan, '--domain', `source=${domainArn()}`, '--json'];
  const { stdout } = await promisify(execFile)(process.execPath, args, { env: ferry.environment() });
  const { policies } = JSON.parse(stdout) as { policies: Printed[] };
  const all = Object.entries(NAMES).map(([who, name]) => [who, policies.find((one) => one.name === name)]);
  printed = Object.fromEntries(all) as Record<Who, Printed>;
  expect(policies).toHaveLength(Object.keys(NAMES).length);
  granted = Object.fromEntries(
    Object.entries(printed).map(([who, { document }]) => [who, document.Statement]),
  ) as unknown as Granted;
  await permit({});
}, 180_000);

afterAll(async () => {
  await ferry.close();
  await clouds.stop();
  await door.stop();
});

/** Exactly what is printed, but for these. */
async function permit(changes: Partial<Granted>): Promise<void> {
  const { reader, ...others } = { ...granted, ...changes };
  onSource = reader;
  await clouds.permit(others);
}

const without = (who: Who, position: number) => ({ [who]: granted[who].filter((_, at) => at !== position) });
const statementsOf = (who: Who) => Object.keys(printed[who].neededFor).map((sid, position) => ({ sid, position }));

/** All that is wrong, in one text. */
async function objections(): Promise<string> {
  const lines: string[] = [];
  const config = await loadConfig(ferry.environment());
  await check(plan, config, { json: true }, (line) => lines.push(line), NEVER).catch(() => undefined);
  const { findings } = JSON.parse(lines.join('')) as { findings: Finding[] };
  return findings
    .filter(({ verdict, check: of }) => verdict !== 'ok' && of !== 'room')
    .map(({ seen, remedy = '' }) => `${seen} -> ${remedy}`)
    .join('\n');
}

test('with all of them nothing is missing; without any one preflight names it', async () => {
  expect(await objections()).not.toMatch(/policies PLAN|not authorized|denies/);
  const unnamed: string[] = [];
  for (const who of ['caller', 'reader', 'worker'] as const) {
    for (const { sid, position } of statementsOf(who)) {
      // 5.5.2 has no _block, which came with 7.9.
      if (sid === 'BlockWrites') continue;
      await permit(without(who, position));
      const said = await objections();
      const action = [granted[who][position]?.Action].flat()[0] ?? '';
      if (!said.includes(sid) && !said.includes(`not authorized to perform: ${action}`)) unnamed.push(`${who} ${sid}`);
    }
  }
  await permit({});
  expect(unnamed).toEqual([]);
}, 180_000);

test('a role that lacks a statement is refused when the domain uses it, by the name of the action', async () => {
  const config = await loadConfig(ferry.environment());
  const cluster = openCluster(config.cluster('source'));
  const { settings } = config.repositoryDefinition('source-store', 'source', 'from');
  const others = Object.fromEntries(Object.entries(settings).filter(([key]) => key !== 'region'));
  const register = () =>
    cluster
      .putRepository('by-a-role', { type: 's3', settings: { ...others, endpoint: 's3.amazonaws.com' } }, NEVER)
      .then(() => 'registered')
      .catch((error: unknown) => (error as Error).message);
  for (const who of ['trust', 'role'] as const) {
    for (const { position } of statementsOf(who)) {
      await permit(without(who, position));
      expect(await register()).toContain([granted[who][position]?.Action].flat()[0]);
    }
  }
  await permit({});
  expect(await register()).toBe('registered');
  await cluster.deleteRepository('by-a-role', NEVER);
  await cluster.disconnect();
}, 60_000);

test('with exactly these a migration passes', async () => {
  await ferry.startWorker();
  await ferry.start();
  await ferry.rounds(1);
  await writers.bulk('permitted', 50);
  await ferry.rounds(2);
  await ferry.signal('freeze-writes', { by: 'the test' });
  const report = await ferry.result();
  expect(report.verification.failed).toBe(0);
  expect(await writers.differences(target.url)).toEqual([]);
}, 180_000);

test('what they let a bucket tell speaks against a start: rules that delete blobs, versions that void conditions', async () => {
  const bucket = ferry.buckets.target;
  const client = aliOss(clouds.oss.endpoint, bucket) as OSS & BucketCalls;
  const after = async (change: () => Promise<unknown>, granted: Partial<Granted> = {}) => {
    await clouds.oss.setPolicy(undefined);
    await change();
    await permit(granted);
    return objections();
  };
  const rules = [{ id: 'tidy', prefix: 'to/', status: 'Enabled', expiration: { days: 7 } }];
  const rule = `Life-cycle rule 'tidy' of oss://${bucket} deletes blobs below 'to/' 7 days after`;
  expect(await after(() => client.putBucketLifecycle(bucket, rules as never))).toContain(rule);
  expect(await after(() => client.deleteBucketLifecycle(bucket))).not.toContain('Life-cycle');

  // Of accounts made since March 2025, for data alone: what a bucket is asked about itself is answered.
  const forbidden = { on: { operation: 'PutObject' }, count: 0 } as const;
  await clouds.oss.setFaults([{ ...forbidden, then: { do: 'error', code: 'PublicEndpointForbidden' } }]);
  expect(await objections()).toContain("This account may not use OSS's public endpoints");
  await clouds.oss.setFaults([]);

  const suspend = () => client.putBucketVersioning(bucket, 'Suspended');
  const told = await after(suspend);
  expect(told.match(/versions/g)?.length).toBe(1);
  expect(told).toContain(`oss://${bucket} has kept versions, which suspending does not undo`);
  const position = statementsOf('worker').findIndex(({ sid }) => sid === 'ReadBucketProperties');
  // The probe sees it too, where the bucket may not be asked.
  expect(await after(suspend, without('worker', position))).toContain('The bucket keeps versions (or did');
}, 60_000);
