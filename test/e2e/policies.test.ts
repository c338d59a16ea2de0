/** With exactly the policies that `snapferry policies` prints a migration passes; without one statement preflight names it. */
import type OSS from 'ali-oss';
import { execFile } from 'node:child_process';
import { readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { check } from '../../src/cli/check';
import { loadConfig } from '../../src/config';
import type { Finding } from '../../src/steps/findings';
import { domainArn, startS3Door } from '../../stack';
import type { S3Door, Statement } from '../../stack';
import { startClouds } from '../support/clouds';
import type { Clouds } from '../support/clouds';
import type { Ferry } from '../support/ferry';
import { aliOss } from '../support/oss';
import type { BucketCalls } from '../support/oss';
import { send } from '../support/send';
import { testServers } from '../support/temporal';
import { Writers } from '../support/writers';

const { elasticsearch, s3 } = testServers();
const source = { url: elasticsearch['5.5.2'] as string, version: '5.5.2' };
const target = { url: elasticsearch['5.6.16'] as string, version: '5.6.16' };
const SNAPFERRY = path.join(__dirname, '../../bin/snapferry.js');
const NEVER = new AbortController().signal;
const SOURCE_KEY = 'arn:aws:kms:us-east-1:123456789012:key/0b5e1e2c';
const TARGET_KEY = 'key-hzz62f1cb66fa42qo';

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
  door = await startS3Door({ endpoint: s3.endpoint, policy: () => onSource, kmsKeyOf: () => SOURCE_KEY });
  clouds = await startClouds({ source, target });
  writers = new Writers(source.url, 5);
  await writers.createIndex('permitted', { number_of_shards: 1 }, { aliases: { allowed: {} } });
  await writers.bulk('permitted', 300);
  ferry = await clouds.ferry({
    indices: ['permitted'],
    s3Endpoint: door.endpoint,
    encryption: {
      source: { type: 'aws:kms', keyId: SOURCE_KEY },
      target: { type: 'KMS', keyId: TARGET_KEY },
    },
  });
  await clouds.encryptBy(ferry.buckets, { source: SOURCE_KEY, target: TARGET_KEY });
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
  const always = await objections();
  expect(always.match(/policies PLAN|not authorized|denies/g)).toHaveLength(1);
  // What nobody can know before there is something to read.
  expect(always).toContain(
    `whether the worker may decrypt by key ${SOURCE_KEY} -> see to it that it may: statement UseKey`,
  );
  const unnamed: string[] = [];
  /** What a domain's role lacks is told by the domain, by the name of the action. */
  const isNamed = (who: Who, position: number, sid: string, said: string) => {
    const isOfRole = who === 'trust' || who === 'role';
    return said.includes(sid) && (!isOfRole || said.includes([granted[who][position]?.Action].flat()[0]!));
  };
  for (const who of Object.keys(NAMES) as Who[]) {
    for (const { sid, position } of statementsOf(who)) {
      // 5.5.2 has no _block, which came with 7.9; of the other preflight has warned.
      if (sid === 'BlockWrites' || (who === 'reader' && sid === 'UseKey')) continue;
      await permit(without(who, position));
      const said = (await objections()).split('\n').filter((line) => !always.split('\n').includes(line));
      if (!isNamed(who, position, sid, said.join())) unnamed.push(`${who} ${sid}`);
    }
  }
  await permit({});
  expect(unnamed).toEqual([]);
}, 180_000);

test('what preflight tried out is gone from both clusters and stores', async () => {
  for (const { url } of [source, target]) {
    expect(JSON.stringify((await send(url, 'GET', '/_snapshot')).body)).not.toContain('probe');
  }
  for (const side of ['source', 'target'] as const) {
    expect(
      readdirSync(ferry.files(side), { recursive: true }).filter((file) => /index|tests-/.test(String(file))),
    ).toEqual([]);
  }
});

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
