// `npm run soak:freeze`: freezes under load, again and again; no write that a client saw acknowledged may be missing.
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { shareDirectory, startElasticsearch, stopAll } from '../stack';
import { FreezeBench } from './freeze-run';
import type { FreezeRun } from './freeze-run';

const VERSIONS = ['5.5.2', '5.6.16', '6.8.23', '7.10.2', '7.17.29', '8.0.0'];
/** Without `_block`, and with one that was not asked. */
const CONTROLLED = ['5.6.16', '7.10.2'];
const RUNS = 30;
const CONTROL_RUNS = 200;

const USAGE = `npm run soak:freeze -- [--runs N] [--versions V,V] [--control]

  Four clients write bulks of 200 while an index is blocked, proved quiescent and snapshot, as a cutover does it. The
  snapshot must hold every acknowledged write. Where the version knows _block, every second run does without it, as on
  a service that refuses the call. Default: ${RUNS} runs of ${VERSIONS.join(', ')}.
  --control: without the proof, blocked by _settings. Runs until writes are lost, ${CONTROL_RUNS} times at most; when none
             is, the runs above show nothing. Default: ${CONTROLLED.join(', ')}.`;

interface Sum {
  runs: number;
  acknowledged: number;
  late: number;
  lost: number;
  readonly proofs: Map<string, number>;
}

async function soak(version: string, runs: number, control: boolean): Promise<Sum> {
  const shared = await mkdtemp(path.join(os.tmpdir(), 'snapferry-soak-'));
  await shareDirectory(shared);
  const node = await startElasticsearch({ version, pathRepo: [shared] });
  const sum: Sum = { runs: 0, acknowledged: 0, late: 0, lost: 0, proofs: new Map() };
  try {
    const bench = await FreezeBench.open(node, shared);
    while (sum.runs < runs && !(control && sum.lost > 0)) {
      const run = await bench.run({ proof: !control, blockApi: !control && sum.runs % 2 === 0 });
      add(sum, run);
      if (run.lost.length > 0)
        console.log(`${version} run ${sum.runs}: lost ${run.lost.length}: ${run.lost.slice(0, 5).join('; ')}`);
    }
    await bench.close();
    return sum;
  } finally {
    await node.stop();
    await rm(shared, { recursive: true, force: true });
  }
}

function add(sum: Sum, { acknowledged, late, lost, provedBy }: FreezeRun): void {
  sum.runs += 1;
  sum.acknowledged += acknowledged;
  sum.late += late;
  sum.lost += lost.length;
  sum.proofs.set(provedBy, (sum.proofs.get(provedBy) ?? 0) + 1);
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      runs: { type: 'string' },
      versions: { type: 'string' },
      control: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return console.log(USAGE);
  const { control } = values;
  const runs = Number(values.runs ?? (control ? CONTROL_RUNS : RUNS));
  const versions = values.versions?.split(',') ?? (control ? CONTROLLED : VERSIONS);
  try {
    console.log(
      '| version | runs | proved by | writes acknowledged | of them after the block | lost |\n|---|---|---|---|---|---|',
    );
    let bad = 0;
    for (const version of versions) {
      const sum = await soak(version, runs, control);
      const proofs = [...sum.proofs].map(([proof, count]) => `${proof} ${count}`).join(', ');
      console.log(`| ${version} | ${sum.runs} | ${proofs} | ${sum.acknowledged} | ${sum.late} | ${sum.lost} |`);
      if (control === (sum.lost === 0)) bad += 1;
    }
    if (bad > 0) process.exitCode = 1;
    if (control)
      console.log(bad > 0 ? 'A control lost nothing: the soak shows nothing.' : 'Without the proof writes are lost.');
    else console.log(bad > 0 ? 'ACKNOWLEDGED WRITES WERE LOST.' : 'No acknowledged write was lost.');
  } finally {
    await stopAll();
  }
}

void main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
});
