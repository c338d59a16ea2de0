/** `snapferry check` as a process, on real nodes and stores; what it refuses: broken-plans.test.ts. */
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Finding } from '../../src/steps/findings';
import { Ferry } from '../support/ferry';
import { send } from '../support/send';
import { testServers } from '../support/temporal';

const { elasticsearch, s3 } = testServers();
const source = elasticsearch['5.5.2'] as string;
const target = elasticsearch['5.6.16'] as string;
const SNAPFERRY = path.join(__dirname, '../../bin/snapferry.js');
const token = `check-${randomUUID().slice(0, 8)}`;

let ferry: Ferry;
beforeAll(async () => {
  ferry = await Ferry.create({ source, target, indices: [] });
});
afterAll(async () => {
  await ferry.close();
  for (const url of [source, target]) await send(url, 'DELETE', `/${token}-*`);
});

async function create(url: string, name: string, settings: object = {}): Promise<string> {
  const index = `${token}-${name}`;
  const body = { settings: { number_of_shards: 1, number_of_replicas: 0, ...settings } };
  const { status } = await send(url, 'PUT', `/${index}`, body);
  expect(status).toBe(200);
  return index;
}

interface Answer {
  readonly code: number;
  readonly err: string;
  readonly findings: readonly Finding[];
  readonly indices: readonly string[];
  readonly estimate: object;
  readonly excluded: readonly { readonly name: string; readonly because: string }[];
}

/** There is no Temporal at the address that the command is given. */
async function check(indices: readonly string[], changes: object = {}, more: readonly string[] = []): Promise<Answer> {
  const plan = path.join(ferry.dir, 'plan.json');
  writeFileSync(plan, JSON.stringify({ ...ferry.plan, indices, ...changes }));
  const env = { ...ferry.environment(), TEMPORAL_ADDRESS: '127.0.0.1:9' };
  return new Promise((resolve) => {
    execFile(process.execPath, [SNAPFERRY, 'check', plan, '--json', ...more], { env }, (error, out, err) => {
      const code = error === null ? 0 : Number(error.code);
      resolve({ code, err, ...(JSON.parse(out || '{}') as Omit<Answer, 'code' | 'err'>) });
    });
  });
}

const refused = ({ findings }: Answer) => findings.filter(({ verdict }) => verdict === 'refused');

test('a good plan: everything that was looked at is ok, and nothing is left behind', async () => {
  const films = await create(source, 'films');
  const old = await create(source, 'films-old');
  const answer = await check([`${token}-*`, `-${old}`]);
  expect(answer.code).toBe(0);
  expect(refused(answer)).toEqual([]);
  // Not `room`: the disks of this machine may be fuller than a watermark.
  expect(answer.findings.filter(({ verdict }) => verdict === 'ok').map((one) => one.check)).toEqual(
    expect.arrayContaining(['connections', 'clusters', 'calls', 'stores', 'snapshots', 'scope']),
  );
  expect(answer.indices).toEqual([films]);
  expect(answer.estimate).toMatchObject({
    bytes: expect.any(Number),
    assumed: expect.arrayContaining(['one node on each side']),
  });
  expect(answer.excluded).toContainEqual({ name: old, because: `excluded by -${old}` });
  expect(
    readdirSync(ferry.files('target'), { recursive: true }).filter((name) => String(name).includes('probe')),
  ).toEqual([]);
  expect(Object.keys((await send(target, 'GET', `/_snapshot`)).body as object)).not.toContain('snapferry-check');
  expect(JSON.stringify(answer)).not.toContain(s3.secretAccessKey);
});

test('what does not come along is a warning', async () => {
  const films = await create(source, 'warned');
  await send(source, 'PUT', `/_template/${token}`, { template: `${token}-*` });
  const { code, findings } = await check([films]);
  await send(source, 'DELETE', `/_template/${token}`);
  expect(code).toBe(0);
  expect(findings).toContainEqual({
    check: 'target',
    verdict: 'warning',
    subject: token,
    seen: expect.stringContaining(`like '${films}'`),
    remedy: expect.stringContaining('create it there'),
  });
});

test('--export writes what does not come along, and the target takes each file as it is', async () => {
  const films = await create(source, 'exported');
  await send(source, 'PUT', `/_template/${token}`, { template: `${token}-*`, settings: { number_of_shards: 1 } });
  await send(source, 'PUT', `/_template/${token}-other`, { template: 'of-others-*' });
  for (const url of [source, target]) {
    await send(url, 'PUT', `/_ingest/pipeline/${token}-same`, { description: 'the same', processors: [] });
    await send(url, 'PUT', `/_ingest/pipeline/${token}`, { description: `of ${url}`, processors: [] });
  }
  const folder = path.join(ferry.dir, 'definitions');
  const { code: exit } = await check([films], {}, ['--export', folder]);
  const puts = readFileSync(path.join(folder, 'index.txt'), 'utf8')
    .split('\n')
    .filter((line) => line.includes(token));
  const taken: unknown[] = [];
  for (const line of puts) {
    const [, put = '', file = '', state] = /^PUT (\S+) < (\S+) \((\w+) on the target\)$/.exec(line) ?? [];
    const body = JSON.parse(readFileSync(path.join(folder, file), 'utf8')) as object;
    taken.push([put, state, (await send(target, 'PUT', put, body)).status]);
  }
  for (const url of [source, target]) {
    for (const kind of ['_template', '_ingest/pipeline']) await send(url, 'DELETE', `/${kind}/${token}*`);
  }
  expect(exit).toBe(0);
  expect(taken).toEqual([
    [`/_ingest/pipeline/${token}`, 'different', 200],
    [`/_template/${token}`, 'missing', 200],
  ]);
});
