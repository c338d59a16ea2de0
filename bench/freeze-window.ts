// `npm run bench:freeze-window`: the write pause must follow the last round, not the size of what was moved before.
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import type { FreezeWindow } from '../src/domain/exchange';
import { shareDirectory, startTemporal, startVersitygw, stopAll } from '../stack';
import { median } from './measure';
import { WindowBench } from './window-run';
import type { Replicas } from './window-run';

interface Pair {
  readonly from: string;
  readonly to: string;
  /** How much longer the window of ten times the data may be; undefined where it is only told. */
  readonly atMost: number | undefined;
}

const PAIRS: readonly Pair[] = [
  { from: '5.6.16', to: '6.8.23', atMost: 1.3 },
  { from: '7.10.2', to: '7.17.29', atMost: 1.3 },
  // Under soft deletes a target before 7.16 fetches every segment anew that has an update or delete.
  { from: '7.10.2', to: '7.10.2', atMost: undefined },
];
const S3 = { accessKeyId: 'window-access', secretAccessKey: 'window-secret-window-secret' };
const DOCUMENTS = 20_000;
const RUNS = 3;

const USAGE = `npm run bench:freeze-window -- [--runs N] [--pairs A-B,A-B] [--documents N] [--json]

  Migrates an index of ${DOCUMENTS} documents (1x) and one of ten times as many (10x), with the same last round, and
  prints the machine time of the freeze windows, the median of N runs (default ${RUNS}). Pairs: ${PAIRS.map(nameOf).join(', ')}.
  --json: the last line is one JSON object. Fails when a window of 10x is more than 1.3 times that of 1x.`;

type Scale = '1x' | '10x';
const SCALES: readonly (readonly [Scale, number])[] = [
  ['1x', 1],
  ['10x', 10],
];

function nameOf({ from, to }: Pair): string {
  return `${from}-${to}`;
}

interface Result {
  readonly pair: string;
  readonly ratio: number;
  readonly windowMs: Readonly<Record<Scale, number>>;
}

async function measure(pair: Pair, runs: number, documents: number, servers: Servers): Promise<Result> {
  const bench = await WindowBench.open(pair.from, pair.to, servers);
  try {
    for (const [scale, times] of SCALES) await bench.fill(`window-${scale}`, times * documents);
    // The first migration warms the nodes up and is not counted.
    await bench.run('window-1x', documents, 'after');
    const windows: Record<Replicas, Record<Scale, FreezeWindow[]>> = {
      after: { '1x': [], '10x': [] },
      before: { '1x': [], '10x': [] },
    };
    for (const replicas of [...Array.from({ length: runs }, () => 'after' as const), 'before' as const]) {
      for (const [scale, times] of SCALES) {
        windows[replicas][scale].push(await bench.run(`window-${scale}`, times * documents, replicas));
      }
    }
    print(pair, windows);
    const [one, ten] = [machineMs(windows.after['1x']), machineMs(windows.after['10x'])];
    return { pair: nameOf(pair), ratio: Math.round((100 * ten) / one) / 100, windowMs: { '1x': one, '10x': ten } };
  } finally {
    await bench.close();
  }
}

const machineMs = (windows: readonly FreezeWindow[]) => Math.round(median(windows.map((window) => window.machineMs)));

function print(
  pair: Pair,
  windows: Readonly<Record<Replicas, Readonly<Record<Scale, readonly FreezeWindow[]>>>>,
): void {
  const columns = (['after', 'before'] as const).flatMap((replicas) =>
    SCALES.map(([scale]) => ({ title: `${scale}, replicas ${replicas}`, of: windows[replicas][scale] })),
  );
  const steps = [...new Set(columns.flatMap(({ of }) => of.flatMap((window) => Object.keys(window.steps))))];
  const row = (name: string, cells: readonly (number | string)[]) => console.log(`| ${[name, ...cells].join(' | ')} |`);
  console.log(`\n${nameOf(pair)}, milliseconds:\n`);
  row(
    'step',
    columns.map(({ title }) => title),
  );
  row(
    '---',
    columns.map(() => '---'),
  );
  for (const step of steps)
    row(
      step,
      columns.map(({ of }) => Math.round(median(of.map((window) => window.steps[step] ?? 0)))),
    );
  row(
    '**machine time**',
    columns.map(({ of }) => machineMs(of)),
  );
  row(
    'each run',
    columns.map(({ of }) => of.map((window) => Math.round(window.machineMs)).join(', ')),
  );
  row(
    'forecast',
    columns.map(({ of }) => Math.round(median(of.map((window) => window.forecast?.windowMs ?? 0)))),
  );
}

interface Servers {
  readonly temporal: string;
  readonly s3: typeof S3 & { readonly endpoint: string };
  readonly buckets: string;
}

async function startServers(folder: string): Promise<Servers> {
  const buckets = path.join(folder, 'buckets');
  await mkdir(buckets);
  await shareDirectory(buckets);
  const [temporal, s3] = await Promise.all([startTemporal({ ui: false }), startVersitygw({ root: buckets, ...S3 })]);
  return { temporal: temporal.address, s3: { endpoint: s3.endpoint, ...S3 }, buckets };
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      runs: { type: 'string', default: String(RUNS) },
      documents: { type: 'string', default: String(DOCUMENTS) },
      pairs: { type: 'string' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return console.log(USAGE);
  const wanted = values.pairs?.split(',') ?? PAIRS.map(nameOf);
  const folder = await mkdtemp(path.join(os.tmpdir(), 'snapferry-window-'));
  try {
    const servers = await startServers(folder);
    const results: Result[] = [];
    for (const pair of PAIRS.filter((one) => wanted.includes(nameOf(one)))) {
      const result = await measure(pair, Number(values.runs), Number(values.documents), servers);
      results.push(result);
      const limit = pair.atMost === undefined ? 'no limit' : `at most ${pair.atMost}`;
      console.log(`\n${result.pair}: 10x is ${result.ratio} times 1x (${limit})`);
      if (pair.atMost !== undefined && !(result.ratio <= pair.atMost)) process.exitCode = 1;
    }
    if (values.json) console.log(JSON.stringify({ pairs: results }));
  } finally {
    await stopAll();
    await rm(folder, { recursive: true, force: true });
  }
}

void main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
});
