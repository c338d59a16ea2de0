// `npm run bench:share`: what Temporal costs a transfer: the same units copied by a worker that a workflow tells what to
// do, and by a process that does them one after the other.
import { mkdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { startTemporal, stopAll } from '../stack';
import { Arena, memoryFolder } from './arena';
import { storesOf } from './contenders';
import type { CorpusName } from './corpus';
import { median } from './measure';
import { FROM, writeConnections } from './scale-migration';
import { writeScaleRepository } from './scale-repository';
import { ScaleRun } from './scale-run';

const USAGE = `npm run bench:share -- [options]

  --cases LIST   of small, more, large (default: all)
  --rounds N     of each (default 5)
  --json         one last line of JSON`;

const KIB = 1024;
const MIB = 1024 * KIB;
interface Case {
  readonly says: string;
  readonly bucket: CorpusName;
  readonly blobs: number;
  readonly blobBytes: number;
}

const CASES: Readonly<Record<string, Case>> = {
  small: { says: '20,000 blobs of 8 KiB', bucket: 'small', blobs: 20_000, blobBytes: 8 * KIB },
  more: { says: '60,000 blobs of 8 KiB', bucket: 'small', blobs: 60_000, blobBytes: 8 * KIB },
  large: { says: '128 blobs of 32 MiB', bucket: 'large', blobs: 128, blobBytes: 32 * MIB },
};
const GOAL = 0.05;
/** Of each, with programs that are not compiled yet. */
const WARM_UPS = 1;

interface Times {
  readonly temporal: number[];
  readonly alone: number[];
}

/** Seconds of wall clock each, one after the other. */
async function measure(name: string, rounds: number): Promise<Times> {
  const memory = await memoryFolder();
  const { blobs, blobBytes, says, bucket } = CASES[name]!;
  console.error(`${name}: ${says}`);
  let scale: ScaleRun | undefined;
  try {
    const arena = await Arena.open(memory);
    const folder = path.join(memory, 'source', bucket, FROM);
    await mkdir(folder, { recursive: true });
    const indices = await writeScaleRepository(folder, { blobs, shards: 4, shardsPerIndex: 4, blobBytes });
    await arena.emptyTarget();
    const task = arena.task(bucket, 'share');
    const connections = await writeConnections(memory, storesOf(task));
    const temporal = await startTemporal({ ui: false });
    const env = { ...process.env, AWS_ACCESS_KEY_ID: task.accessKeyId, AWS_SECRET_ACCESS_KEY: task.secretAccessKey };
    scale = new ScaleRun(memory, connections, temporal.address, env);
    await scale.startWorker('control');
    await scale.startWorker('transfer');
    const times: Times = { temporal: [], alone: [] };
    for (let attempt = 1; attempt <= 2 * (WARM_UPS + rounds); attempt++) {
      // With the work files of the attempt before: nothing of this one is proved yet.
      await arena.emptyTarget();
      const plan = await scale.plan(indices, attempt);
      if (plan.planned.sendBlobs < blobs) throw new Error(`only ${plan.planned.sendBlobs} blobs are to be sent`);
      const how = attempt % 2 === 1 ? 'temporal' : 'alone';
      const seconds = how === 'temporal' ? (await scale.transfer(plan)).wallS : await scale.copyAlone(plan);
      const isWarmUp = attempt <= 2 * WARM_UPS;
      console.error(`  ${how.padEnd(8)}  ${seconds.toFixed(2)} s${isWarmUp ? ' (cold, not counted)' : ''}`);
      if (!isWarmUp) times[how].push(seconds);
    }
    return times;
  } finally {
    await scale?.stopWorkers();
    await stopAll();
    await rm(memory, { recursive: true, force: true });
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      cases: { type: 'string', default: Object.keys(CASES).join(',') },
      rounds: { type: 'string', default: '5' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return console.log(USAGE);
  const cases = values.cases.split(',');
  const unknown = cases.find((name) => CASES[name] === undefined);
  if (unknown !== undefined) throw new Error(`there is no case '${unknown}'\n\n${USAGE}`);
  const shares: Record<string, number> = {};
  for (const name of cases) {
    const times = await measure(name, Number(values.rounds));
    const [temporal, alone] = [median(times.temporal), median(times.alone)];
    const share = 1 - alone / temporal;
    shares[name] = share;
    const [withIt, without] = [temporal.toFixed(2), alone.toFixed(2)];
    console.log(`${name}: ${withIt} s with Temporal, ${without} s without: its share is ${(share * 100).toFixed(1)} %`);
  }
  if (values.json) console.log(JSON.stringify({ shares }));
  if (Object.values(shares).some((share) => share > GOAL)) process.exitCode = 1;
}

void main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
