import { randomUUID } from 'node:crypto';
import { readFileSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Client, Connection } from '@temporalio/client';
import type { WorkflowHandle } from '@temporalio/client';
import { historyToJSON } from '@temporalio/common/lib/proto-utils';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import type { Status } from '../../src/domain/story';
import type { Activities } from './fake-activities';

export const BUNDLE = path.join(__dirname, '../../lib/workflow-bundle.js');
const HISTORIES = path.join(__dirname, '../histories');

/** Registered wherever fake activities run: what they answer names all of them. */
export const SEARCH_ATTRIBUTES = { SnapferryPhase: 'Keyword', SnapferryRound: 'Int', SnapferryNeedsOperator: 'Bool' };

/** Servers that the global setup started; see services-setup.ts and clusters-setup.ts. */
export interface TestServers {
  readonly temporal: string;
  readonly temporalCli: string;
  /** A server that suggests continue-as-new after few events. */
  readonly temporalSmall: string;
  readonly s3: { readonly endpoint: string; readonly accessKeyId: string; readonly secretAccessKey: string };
  /** Root of the gateway's buckets and of the nodes' `path.repo`. */
  readonly buckets: string;
  readonly elasticsearch: Readonly<Record<string, string>>;
}

export function testServers(): TestServers {
  const json = process.env['SNAPFERRY_TEST_SERVERS'];
  if (json === undefined) throw new Error('the servers project needs its global setup');
  return JSON.parse(json) as TestServers;
}

/** One Temporal connection with workers on a task queue of its own. */
export class TemporalBench {
  readonly taskQueue = `test-${randomUUID()}`;
  private readonly workers: { worker: Worker; running: Promise<void> }[] = [];

  private constructor(
    readonly client: Client,
    private readonly native: NativeConnection,
  ) {}

  static async connect(address: string): Promise<TemporalBench> {
    installRuntime();
    const connection = await Connection.connect({ address });
    return new TemporalBench(new Client({ connection }), await NativeConnection.connect({ address }));
  }

  /** Both queues, in this process, with these activities. */
  async work(activities: Activities): Promise<void> {
    for (const taskQueue of [this.taskQueue, `${this.taskQueue}-transfer`]) {
      const workflows = taskQueue === this.taskQueue ? { workflowBundle: { codePath: BUNDLE } } : {};
      const worker = await Worker.create({
        ...{ connection: this.native, taskQueue, activities, ...workflows },
        // Otherwise a cancellation reaches an activity only with a beat most of its time-out later.
        maxHeartbeatThrottleInterval: '200ms',
      });
      this.workers.push({ worker, running: worker.run() });
    }
  }

  async stopWorkers(): Promise<void> {
    const workers = this.workers.splice(0);
    for (const { worker } of workers) worker.shutdown();
    await Promise.all(workers.map(({ running }) => running));
  }

  async close(): Promise<void> {
    await this.stopWorkers();
    await this.native.close();
    await this.client.connection.close();
  }

  migrate(
    args: unknown[] = [{ any: 'plan' }],
    type = 'migrate',
    workflowId = `m-${randomUUID()}`,
  ): Promise<WorkflowHandle> {
    return this.client.workflow.start(type, { taskQueue: this.taskQueue, workflowId, args });
  }

  async status(handle: WorkflowHandle): Promise<Status> {
    return handle.query<Status>('status');
  }

  /** Polls `status` until it is `enough`; says what it last saw when it never is. */
  async until(handle: WorkflowHandle, enough: (status: Status) => boolean, timeoutMs = 20_000): Promise<Status> {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const status = await this.status(handle);
      if (enough(status)) return status;
      if (Date.now() > deadline) throw new Error(`never seen; last status: ${JSON.stringify(status, null, 1)}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

let installed = false;
function installRuntime(): void {
  if (!installed) Runtime.install({ logger: new DefaultLogger('ERROR') });
  installed = true;
}

/** With SNAPFERRY_RECORD=1 keeps a run's history for the replay test. */
export async function recordHistory(
  client: Client,
  handle: WorkflowHandle,
  name: string,
  runId?: string,
): Promise<void> {
  if (process.env['SNAPFERRY_RECORD'] !== '1') return;
  const history = await client.workflow.getHandle(handle.workflowId, runId).fetchHistory();
  mkdirSync(HISTORIES, { recursive: true });
  // Stack traces name folders and workers name hosts: neither matters to a replay, nor belongs into the tree.
  const json = historyToJSON(history)
    .replaceAll(path.join(__dirname, '../..'), '')
    .replaceAll(/"identity":\s*"[^"]*"/g, '"identity": "recorded"');
  const file = { workflowId: handle.workflowId, history: JSON.parse(json) as unknown };
  writeFileSync(path.join(HISTORIES, `${name}.json`), `${JSON.stringify(file)}\n`);
}

export function recordedHistory(name: string): { workflowId: string; history: unknown } {
  return JSON.parse(readFileSync(path.join(HISTORIES, name), 'utf8')) as { workflowId: string; history: unknown };
}
