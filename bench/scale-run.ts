// One transfer as `migrate` starts it: planned by a process of its own, carried by workers of its own.
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, Connection, isGrpcDeadlineError } from '@temporalio/client';
import type { WorkflowHandle } from '@temporalio/client';
import type { PlannedTransfer, RoundRef } from '../src/domain/exchange';
import { peakMiB, run } from './measure';
import type { ScaleIndex } from './scale-repository';

const SNAPFERRY = path.resolve(__dirname, '../../bin/snapferry.js');

interface History {
  readonly events: number;
  readonly bytes: number;
}

export interface Planned {
  readonly round: RoundRef;
  readonly planned: PlannedTransfer;
}

/** The process of `share-alone.ts`. */
class Alone {
  readonly #process: ChildProcess;
  readonly #died: Promise<never>;

  constructor(env: NodeJS.ProcessEnv) {
    const command = [path.join(__dirname, 'share-alone.js')];
    this.#process = spawn(process.execPath, command, { env, stdio: ['pipe', 'pipe', 'inherit'] });
    this.#died = once(this.#process, 'exit').then(([code]) => {
      throw new Error(`share-alone ended with ${String(code)}`);
    });
    this.#died.catch(() => undefined);
  }

  /** Seconds. */
  copy(file: string): Promise<number> {
    const told = once(this.#process.stdout!, 'data').then(([chunk]) => Number(String(chunk)));
    this.#process.stdin!.write(`${file}\n`);
    return Promise.race([told, this.#died]);
  }

  end(): void {
    this.#process.stdin!.end();
  }
}

export class ScaleRun {
  readonly workers: ChildProcess[] = [];
  private readonly env: NodeJS.ProcessEnv;
  #alone: Alone | undefined;

  constructor(
    private readonly folder: string,
    connections: string,
    private readonly address: string,
    env: NodeJS.ProcessEnv = process.env,
  ) {
    this.env = { ...env, SNAPFERRY_CONFIG: connections, TEMPORAL_ADDRESS: address };
  }

  /** `cost` is that of the process. */
  async plan(indices: readonly ScaleIndex[], attempt: number) {
    const [given, result] = [path.join(this.folder, 'indices.json'), path.join(this.folder, 'planned.json')];
    await writeFile(given, JSON.stringify(indices));
    const command = [process.execPath, path.join(__dirname, 'scale-plan.js'), given, result, String(attempt)];
    const cost = await run(command, this.env, path.join(this.folder, 'plan.log')).ended;
    if (!cost.ok) throw new Error(`planning failed: ${await readFile(path.join(this.folder, 'plan.log'), 'utf8')}`);
    return { cost, ...(JSON.parse(await readFile(result, 'utf8')) as Planned) };
  }

  /** The units copied by a process that knows no Temporal: seconds. */
  async copyAlone(plan: Planned): Promise<number> {
    const file = path.join(this.folder, 'planned.json');
    await writeFile(file, JSON.stringify(plan));
    this.#alone ??= new Alone(this.env);
    return this.#alone.copy(file);
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
  async transfer({ round, planned }: Planned) {
    const client = new Client({ connection: await Connection.connect({ address: this.address }) });
    const input = { ...round, planned, parent: undefined, searchAttributes: [] };
    const from = performance.now();
    const options = { taskQueue: 'snapferry', workflowId: `scale/round-0-a${round.attempt}`, args: [input] };
    const handle = await client.workflow.start('transfer', options);
    let ended = false;
    const result = resultOf(handle).finally(() => (ended = true));
    result.catch(() => undefined);
    while (!ended) {
      await Promise.race([sleep(10_000, undefined, { ref: false }), result]);
      const status = ended ? undefined : await handle.query<{ blobs: string }>('status').catch(() => undefined);
      if (status !== undefined) console.error(`  ${seconds(performance.now() - from)}: ${status.blobs}`);
    }
    const sent = (await result) as { blobs: number };
    const wallS = (performance.now() - from) / 1000;
    return { wallS, sent, ...(await this.histories(client, handle.workflowId, handle.firstExecutionRunId)) };
  }

  /** Over the whole chain of runs: how long each history became, and how many units each worker copied. */
  private async histories(client: Client, workflowId: string, firstRun: string) {
    const runs: History[] = [];
    const unitsOf = new Map<string, number>();
    let next: string | undefined = firstRun;
    while (next !== undefined) {
      const handle: WorkflowHandle = client.workflow.getHandle(workflowId, next);
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
    this.#alone?.end();
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

/** On a server that is busy the long poll may end before the workflow does; it is begun again. */
async function resultOf(handle: WorkflowHandle): Promise<unknown> {
  for (;;) {
    try {
      return await handle.result();
    } catch (error) {
      const cause = error instanceof Error ? error.cause : undefined;
      if (!isGrpcDeadlineError(cause)) throw error;
    }
  }
}

const seconds = (ms: number) => `${(ms / 1000).toFixed(0).padStart(4)} s`;
