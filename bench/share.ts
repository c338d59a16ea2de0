// `npm run bench:share`: what Temporal costs a transfer: the same units copied by a worker that a workflow tells what to
// do, and by a process that knows no Temporal.
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
  --rounds N     of each (default 9)
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
/** Of each: programs are not compiled yet, and the gateway has no memory yet. With one, the next were 10 % slower still. */
const WARM_UPS = 2;
const HOWS = ['temporal', 'alone'] as const;

/** Seconds. */
interface Took {
  readonly wall: number;
  /** CPU of the gateways. They do the same work each time: when it takes them longer, the machine is slower. */
  readonly gateways: number;
}

type Round = Readonly<Record<(typeof HOWS)[number], Took>>;

/** The machine is not as fast from minute to minute: only the two of one round are compared, and which is first alternates. */
async function measure(name: string, rounds: number): Promise<Round[]> {
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
    let attempt = 0;
    const copy = async (how: keyof Round): Promise<Took> => {
      // With the work files of the attempt before: nothing of this one is proved yet.
      await arena.emptyTarget();
      const plan = await scale!.plan(indices, ++attempt);
      if (plan.planned.sendBlobs < blobs) throw new Error(`only ${plan.planned.sendBlobs} blobs are to be sent`);
      const before = arena.cpuS();
      const wall = how === 'temporal' ? (await scale!.transfer(plan)).wallS : await scale!.copyAlone(plan);
      return { wall, gateways: arena.cpuS() - before };
    };
    const counted: Round[] = [];
    for (let round = 0; round < WARM_UPS + rounds; round += 1) {
      const took = new Map<keyof Round, Took>();
      for (const how of round % 2 === 0 ? HOWS : HOWS.toReversed()) took.set(how, await copy(how));
      const both = Object.fromEntries(took) as Round;
      const isWarmUp = round < WARM_UPS;
      const [withIt, without] = HOWS.map(
        (how) => `${both[how].wall.toFixed(2)} s (gateways ${both[how].gateways.toFixed(2)})`,
      );
      console.error(`  with ${withIt}, without ${without}${isWarmUp ? ': cold, not counted' : ''}`);
      if (!isWarmUp) counted.push(both);
    }
    return counted;
  } finally {
    await scale?.stopWorkers();
    await stopAll();
    await rm(memory, { recursive: true, force: true });
  }
}

const byTheClock = ({ temporal, alone }: Round) => 1 - alone.wall / temporal.wall;
const byTheGateways = ({ temporal, alone }: Round) =>
  1 - alone.wall / alone.gateways / (temporal.wall / temporal.gateways);
const percent = (share: number) => (share * 100).toFixed(1);

/** The median of all rounds, and each. */
function told(shares: readonly number[]): string {
  return `${percent(median(shares))} % (${shares.map(percent).join(', ')})`;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      cases: { type: 'string', default: Object.keys(CASES).join(',') },
      rounds: { type: 'string', default: '9' },
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
    const measured = await measure(name, Number(values.rounds));
    const [temporal, alone] = HOWS.map((how) => median(measured.map((round) => round[how].wall)).toFixed(2));
    console.log(`${name}: ${temporal} s with Temporal, ${alone} s without`);
    console.log(`  its share of the time by the clock: ${told(measured.map(byTheClock))}`);
    const byGateways = measured.map(byTheGateways);
    console.log(`  by the gateways' time: ${told(byGateways)}`);
    shares[name] = median(byGateways);
  }
  if (values.json) console.log(JSON.stringify({ shares }));
  if (Object.values(shares).some((share) => share > GOAL)) process.exitCode = 1;
}

void main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
