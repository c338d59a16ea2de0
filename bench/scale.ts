// `npm run bench:scale`: a repository of a million blobs, planned by one process and carried by ten workers on one queue.
import { spawnSync } from 'node:child_process';
import { mkdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { startTemporal, stopAll } from '../stack';
import { memoryFolder } from './arena';
import { FROM, TO, writeConnections } from './scale-migration';
import { writeScaleRepository } from './scale-repository';
import { ScaleRun } from './scale-run';

const USAGE = `npm run bench:scale -- [options]

  --blobs N     in the repository (default 1,000,000)
  --workers N   transfer workers on one queue (default 10)
  --suggest N   events after which the server suggests to continue as new (default 250; a server's own is 4,096)
  --data DIR    where both repositories lie: 8 KiB a blob (default: memory, if there is a /dev/shm)
  --json        one last line of JSON`;

const BLOBS_A_SHARD = 5_000;
const SHARDS_AN_INDEX = 5;
/** Of Temporal: https://docs.temporal.io/workflow-execution/limits */
const MOST_EVENTS = 51_200;
const MOST_HISTORY_MIB = 50;
const MOST_PLANNING_MIB = 1_024;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      blobs: { type: 'string', default: '1000000' },
      workers: { type: 'string', default: '10' },
      suggest: { type: 'string', default: '250' },
      data: { type: 'string' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return console.log(USAGE);
  const [blobs, workers] = [Number(values.blobs), Number(values.workers)];
  const folder = values.data === undefined ? await memoryFolder() : path.join(values.data, 'snapferry-scale');
  const [source, target] = [path.join(folder, 'source'), path.join(folder, 'target')];
  let scale: ScaleRun | undefined;
  try {
    await mkdir(path.join(source, FROM), { recursive: true });
    await mkdir(target, { recursive: true });
    console.error(`a repository of ${number(blobs)} blobs`);
    const shards = Math.max(1, Math.ceil(blobs / BLOBS_A_SHARD));
    const options = { blobs, shards, shardsPerIndex: SHARDS_AN_INDEX };
    const indices = await writeScaleRepository(path.join(source, FROM), options);
    const store = (location: string) => ({
      type: 'directory',
      path: location,
      repository: { type: 'fs', settings: { location } },
    });
    const connections = await writeConnections(folder, { source: store(source), target: store(target) });
    const temporal = await startTemporal({
      ui: false,
      dynamicConfig: { 'limit.historyCount.suggestContinueAsNew': values.suggest },
    });
    scale = new ScaleRun(folder, connections, temporal.address);
    console.error('planning');
    const plan = await scale.plan(indices, 1);
    const { cost, planned } = plan;
    console.error(`  ${number(planned.units)} units of ${number(planned.sendBlobs)} blobs`);
    await scale.startWorker('control');
    await Promise.all(Array.from({ length: workers }, () => scale!.startWorker('transfer')));
    console.error(`${workers} workers`);
    const { wallS, sent, runs, unitsOf } = await scale.transfer(plan);
    const peaks = scale.peaks();
    await scale.stopWorkers();
    const same = isSame(path.join(source, FROM), path.join(target, TO));
    const shares = [...unitsOf.values()].sort((a, b) => a - b);
    const events = Math.max(...runs.map((each) => each.events));
    const historyMiB = Math.max(...runs.map((each) => each.bytes)) / 1024 / 1024;
    console.log(`planning        ${cost.wallS.toFixed(0)} s, at most ${cost.rssMiB.toFixed(0)} MiB of memory
transfer        ${wallS.toFixed(0)} s, ${number(Math.round(sent.blobs / wallS))} blobs/s
histories       ${runs.length}, the longest of ${number(events)} events, ${historyMiB.toFixed(1)} MiB
units           ${number(planned.units)} over ${shares.length} workers: ${shares.join(' ')}
memory          control ${peaks.control.toFixed(0)} MiB, transfer at most ${peaks.transfer.toFixed(0)} MiB
target          ${same ? 'equal' : 'NOT EQUAL'}`);
    const ok =
      same &&
      sent.blobs === planned.sendBlobs &&
      shares.length === workers &&
      cost.rssMiB < MOST_PLANNING_MIB &&
      events < MOST_EVENTS &&
      historyMiB < MOST_HISTORY_MIB;
    if (values.json) {
      const planning = { seconds: cost.wallS, rssMiB: cost.rssMiB };
      console.log(
        JSON.stringify({ ok, blobs, planning, transfer: { seconds: wallS }, histories: runs.length, events, shares }),
      );
    }
    if (!ok) process.exitCode = 1;
  } finally {
    await scale?.stopWorkers();
    await stopAll();
    await rm(folder, { recursive: true, force: true });
  }
}

/** All but what only the parent publishes. */
function isSame(source: string, target: string): boolean {
  const { stdout } = spawnSync('diff', ['-rq', source, target], { encoding: 'utf8', maxBuffer: 1024 * 1024 * 1024 });
  const differences = stdout.split('\n').filter((line) => line !== '' && !/^Only in .*: index[-.]/.test(line));
  if (differences.length > 0) console.error(differences.slice(0, 5).join('\n'));
  return differences.length === 0;
}

const number = (value: number) => value.toLocaleString('en');

void main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
