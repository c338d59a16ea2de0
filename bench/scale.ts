// `npm run bench:scale`: a repository of a million blobs, planned by one process and carried by ten workers on one queue.
import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Client, Connection } from '@temporalio/client';
import type { WorkflowHandle } from '@temporalio/client';
import type { PlannedTransfer, RoundRef } from '../src/domain/exchange';
import { startTemporal, stopAll } from '../stack';
import { memoryFolder } from './arena';
import { peakMiB, run } from './measure';
import { FROM, TO, writeConnections } from './scale-migration';
import { writeScaleRepository } from './scale-repository';

const USAGE = `npm run bench:scale -- [options]

  --blobs N     in the repository (default 1,000,000)
  --workers N   transfer workers on one queue (default 10)
  --suggest N   events after which the server suggests to continue as new (default 1,000; a server's own is 4,096)
  --data DIR    where both repositories lie: 8 KiB a blob (default: memory, if there is a /dev/shm)
  --json        one last line of JSON`;

const ROOT = path.resolve(__dirname, '../..');
const SNAPFERRY = path.join(ROOT, 'bin/snapferry.js');
const BLOBS_A_SHARD = 5_000;
const SHARDS_AN_INDEX = 5;
/** Of Temporal: https://docs.temporal.io/workflow-execution/limits */
const MOST_EVENTS = 51_200;
const MOST_HISTORY_MIB = 50;
const MOST_PLANNING_MIB = 1_024;

interface History {
  readonly events: number;
  readonly bytes: number;
}

class Scale {
  readonly workers: ChildProcess[] = [];
  private readonly env: NodeJS.ProcessEnv;

  constructor(
    private readonly folder: string,
    connections: string,
    private readonly address: string,
  ) {
    this.env = { ...process.env, SNAPFERRY_CONFIG: connections, TEMPORAL_ADDRESS: address };
  }

  async plan(indices: unknown) {
    const [given, result] = [path.join(this.folder, 'indices.json'), path.join(this.folder, 'planned.json')];
    await writeFile(given, JSON.stringify(indices));
    const command = [process.execPath, path.join(__dirname, 'scale-plan.js'), given, result, '1'];
    const cost = await run(command, this.env, path.join(this.folder, 'plan.log')).ended;
    if (!cost.ok) throw new Error(`planning failed: ${await readFile(path.join(this.folder, 'plan.log'), 'utf8')}`);
    return { cost, ...(JSON.parse(await readFile(result, 'utf8')) as { round: RoundRef; planned: PlannedTransfer }) };
  }

  /** Resolves when it takes tasks. */
  async startWorker(role: 'control' | 'transfer'): Promise<void> {
    const args = [SNAPFERRY, 'worker', '--role', role];
    const worker = spawn(process.execPath, args, { env: this.env, stdio: ['ignore', 'pipe', 'inherit'] });
    this.workers.push(worker);
    await new Promise<void>((resolve, reject) => {
      worker.stdout.on('data', (chunk) => {
        if (String(chunk).includes('worker ready')) resolve();
      });
      worker.once('exit', (code) => reject(new Error(`a worker ended with ${code}`)));
    });
  }

  /** The transfer as `migrate` starts it. */
  async transfer(round: RoundRef, planned: PlannedTransfer) {
    const client = new Client({ connection: await Connection.connect({ address: this.address }) });
    const input = { ...round, planned, parent: undefined, searchAttributes: [] };
    const from = performance.now();
    const options = { taskQueue: 'snapferry', workflowId: 'scale/round-0-a1', args: [input] };
    const handle = await client.workflow.start('transfer', options);
    const firstRun = handle.firstExecutionRunId;
    let ended = false;
    const result = handle.result().finally(() => (ended = true));
    result.catch(() => undefined);
    while (!ended) {
      await Promise.race([sleep(10_000, undefined, { ref: false }), result]);
      const status = ended ? undefined : await handle.query<{ blobs: string }>('status').catch(() => undefined);
      if (status !== undefined) console.error(`  ${seconds(performance.now() - from)}: ${status.blobs}`);
    }
    const sent = (await result) as { blobs: number };
    const wallS = (performance.now() - from) / 1000;
    return { wallS, sent, ...(await this.histories(client, firstRun)) };
  }

  /** Over the whole chain of runs: how long each history became, and how many units each worker copied. */
  private async histories(client: Client, firstRun: string) {
    const runs: History[] = [];
    const unitsOf = new Map<string, number>();
    let next: string | undefined = firstRun;
    while (next !== undefined) {
      const handle: WorkflowHandle = client.workflow.getHandle('scale/round-0-a1', next);
      const { raw } = await handle.describe();
      const events = (await handle.fetchHistory()).events ?? [];
      const copies = new Set<string>();
      next = undefined;
      for (const event of events) {
        const id = String(event.eventId);
        if (event.activityTaskScheduledEventAttributes?.activityType?.name?.startsWith('copy')) copies.add(id);
        const started = event.activityTaskStartedEventAttributes;
        if (started && copies.has(String(started.scheduledEventId))) {
          const worker = started.identity ?? '?';
          unitsOf.set(worker, (unitsOf.get(worker) ?? 0) + 1);
        }
        next ??= event.workflowExecutionContinuedAsNewEventAttributes?.newExecutionRunId ?? undefined;
      }
      runs.push({ events: events.length, bytes: Number(raw.workflowExecutionInfo?.historySizeBytes ?? 0) });
    }
    return { runs, unitsOf };
  }

  /** Most memory that one worker of each kind held. */
  peaks(): { control: number; transfer: number } {
    const [control, ...transfer] = this.workers.map(({ pid }) => peakMiB(pid!));
    return { control: control!, transfer: Math.max(...transfer) };
  }

  async stopWorkers(): Promise<void> {
    const running = this.workers.filter(({ exitCode }) => exitCode === null);
    await Promise.all(
      running.map((worker) => {
        const ended = new Promise((resolve) => worker.once('exit', resolve));
        worker.kill('SIGTERM');
        return ended;
      }),
    );
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      blobs: { type: 'string', default: '1000000' },
      workers: { type: 'string', default: '10' },
      suggest: { type: 'string', default: '1000' },
      data: { type: 'string' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return console.log(USAGE);
  const [blobs, workers] = [Number(values.blobs), Number(values.workers)];
  const folder = values.data === undefined ? await memoryFolder() : path.join(values.data, 'snapferry-scale');
  const [source, target] = [path.join(folder, 'source'), path.join(folder, 'target')];
  let scale: Scale | undefined;
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
    scale = new Scale(folder, connections, temporal.address);
    console.error('planning');
    const { cost, round, planned } = await scale.plan(indices);
    console.error(`  ${number(planned.units)} units of ${number(planned.sendBlobs)} blobs`);
    await scale.startWorker('control');
    await Promise.all(Array.from({ length: workers }, () => scale!.startWorker('transfer')));
    console.error(`${workers} workers`);
    const { wallS, sent, runs, unitsOf } = await scale.transfer(round, planned);
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

const seconds = (ms: number) => `${(ms / 1000).toFixed(0).padStart(4)} s`;
const number = (value: number) => value.toLocaleString('en');

void main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
