import { execFile } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { freePort } from '../../stack';
import { Ferry } from '../support/ferry';
import { testServers } from '../support/temporal';
import { http, Writers } from '../support/writers';

/** What a person types: `npx snapferry`, and the plain Temporal CLI. */

const { elasticsearch, temporal, temporalCli } = testServers();
const source = elasticsearch['5.5.2'] as string;
const target = elasticsearch['5.6.16'] as string;
const SNAPFERRY = path.join(__dirname, '../../bin/snapferry.js');

let ferry: Ferry;
beforeEach(async () => {
  const plan = { cutover: { approval: true } };
  ferry = await Ferry.create({ source, target, indices: ['cli-movies'], plan, oneProvider: true });
});
afterEach(() => ferry.close());

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function ran(program: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(program, args, { env, timeout: 60_000 }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : (error.code as number | null), stdout, stderr }),
    );
  });
}

const inFerry = (file: string, text: string) => {
  const full = path.join(ferry.dir, file);
  writeFileSync(full, text);
  return full;
};

test.each<[string, () => NodeJS.ProcessEnv | Promise<NodeJS.ProcessEnv>, RegExp]>([
  ['without SNAPFERRY_CONFIG', () => ({ SNAPFERRY_CONFIG: '' }), /SNAPFERRY_CONFIG is not set.*examples/],
  ['with a file that is not there', () => ({ SNAPFERRY_CONFIG: '/nowhere.yaml' }), /cannot be read.*\/nowhere\.yaml/],
  [
    'with a file that is no YAML',
    () => ({ SNAPFERRY_CONFIG: inFerry('bad.yaml', 'clusters: [') }),
    /bad\.yaml is not valid YAML: line 1/,
  ],
  [
    'with faults in the file',
    () => ({
      SNAPFERRY_CONFIG: inFerry('bad.yaml', '{ clusters: { a: { uri: "x" } }, stores: { b: { type: tape } } }'),
    }),
    /is refused: .*clusters\.a.*stores\.b/,
  ],
  ['without the secrets that the file refers to', () => ({ FERRY_SECRET: '' }), /FERRY_SECRET is not set/],
  [
    'while Temporal is away',
    async () => ({ TEMPORAL_ADDRESS: `127.0.0.1:${await freePort()}` }),
    /Temporal does not answer at 127\.0\.0\.1:\d+: start it, or set TEMPORAL_ADDRESS/,
  ],
])('a worker %s ends with one readable line and exit code 1', async (_, changes, line) => {
  const env = { ...ferry.environment(), ...(await changes()) };
  const { code, stderr } = await ran(process.execPath, [SNAPFERRY, 'worker'], env);
  expect(code).toBe(1);
  expect(stderr.trim().split('\n')).toEqual([expect.stringMatching(line)]);
});

test.each<[string, (worker: ChildProcess) => unknown]>([
  ['SIGTERM', (worker) => worker.kill('SIGTERM')],
  ['SIGINT', (worker) => worker.kill('SIGINT')],
  // As a terminal sends it: to the worker and to both its roles, which the worker then tells too.
  ['Ctrl-C', (worker) => process.kill(-(worker.pid as number), 'SIGINT')],
])('%s ends a worker and both its roles with exit code 0', async (_, end) => {
  const worker = await ferry.startWorker();
  const since = Date.now();
  end(worker);
  expect(await once(worker, 'exit')).toEqual([0, null]);
  expect(Date.now() - since).toBeLessThan(15_000);
});

test('a migration is started, watched, frozen and approved with the plain Temporal CLI', async () => {
  const writers = new Writers(source, 5);
  await writers.createIndex('cli-movies', { number_of_shards: 1 });
  await writers.bulk('cli-movies', 50);
  await ferry.startWorker();
  const plan = inFerry('plan.json', JSON.stringify(ferry.plan));
  const workflow = async (command: readonly string[], ...args: string[]) => {
    const line = ['workflow', ...command, '--address', temporal, '--workflow-id', ferry.id, ...args];
    return (await promisify(execFile)(temporalCli, line)).stdout;
  };

  await workflow(['start'], '--type', 'migrate', '--task-queue', 'snapferry', '--input-file', plan);
  await ferry.rounds(1);
  expect(await workflow(['query'], '--name', 'status')).toContain('signal `freeze-writes`');
  const metadata = await workflow(['metadata'], '--output', 'json');
  for (const sentence of [
    'Block writes on the source and cut over',
    'Repeat the parked step.',
    'Commit the verified cutover',
    'Phase, progress, forecast, and what the operator can do now.',
    'You can now',
  ]) {
    expect(metadata).toContain(sentence);
  }
  await workflow(['signal'], '--name', 'freeze-writes', '--input', '{"by":"somebody at a terminal"}');
  await ferry.until((status) => status.phase === 'awaiting approval');
  const approval = '{"who":"somebody at a terminal","why":"it looks right"}';
  await workflow(['update', 'execute'], '--name', 'approve', '--input', approval);
  expect(await workflow(['result'])).toMatch(/COMPLETED|"outcome":"done"/);
  expect(await writers.differences(target)).toEqual([]);
  await http(`${target}/cli-movies/doc/late`, 'PUT', { n: 0 });

  // The evidence outlives the migration, and tells what became of the copy.
  const audit = (...args: string[]) =>
    ran(process.execPath, [SNAPFERRY, 'audit', 'target-store', '--base-path', 'to', ...args], ferry.environment());
  for (const depth of [[], ['--deep']]) {
    const { code, stdout, stderr } = await audit('--round', 'last', ...depth);
    expect([code, stderr]).toEqual([0, expect.stringContaining(ferry.id)]);
    expect(stdout).toMatch(/\d+ blobs \([^)]+\) whole\n$/);
    expect(
      stdout
        .replaceAll(/^= .*\n/gm, '')
        .trim()
        .split('\n'),
    ).toHaveLength(1);
  }
  const { snapshot } = ferry.evidence<{ snapshot: { name: string } }>('manifest.json');
  const both = ['--snapshot', snapshot.name, '--target-base-path', 'to', '--base-path', 'from'];
  const compared = await ran(
    process.execPath,
    [SNAPFERRY, 'audit', 'source-store', 'target-store', ...both],
    ferry.environment(),
  );
  expect([compared.code, compared.stderr]).toEqual([0, '']);
  const indices = path.join(ferry.files('target'), 'to', 'indices');
  const damaged = readdirSync(indices, { recursive: true, encoding: 'utf8' }).find((key) => /\/__/.test(key)) as string;
  truncateSync(path.join(indices, damaged), 1);
  const { code, stdout } = await audit('--round', 'last', '--deep');
  expect([code, stdout]).toEqual([1, expect.stringMatching(new RegExp(`^\\* indices/${damaged}  \\(expected`, 'm'))]);
});
