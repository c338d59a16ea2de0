import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Client, Connection, WorkflowFailedError } from '@temporalio/client';
import type { WorkflowHandle } from '@temporalio/client';
import type { Report } from '../../src/domain/exchange';
import type { Status } from '../../src/domain/story';
import { shareDirectory } from '../../stack';
import { testServers } from './temporal';

const SNAPFERRY = path.join(__dirname, '../../bin/snapferry.js');

export interface FerryOptions {
  /** Base URLs of real nodes. */
  readonly source: string;
  readonly target: string;
  readonly indices: readonly string[];
  /** Merged over the plan. */
  readonly plan?: Readonly<Record<string, unknown>>;
  /** Stores of type directory instead of S3. */
  readonly directory?: boolean;
  /** How the worker reaches S3, where not directly: a proxy that is slow or breaks. */
  readonly s3Endpoint?: string;
  /** Another Temporal server than the shared one. */
  readonly temporal?: string;
}

/**
 * One migration on real servers as a user runs it: a connections file, a plan, `npx snapferry worker` as a process of
 * its own, and Temporal. Buckets and base paths are its own, so tests share servers without meeting.
 */
export class Ferry {
  readonly id = `ferry-${randomUUID().slice(0, 8)}`;
  readonly workers: ChildProcess[] = [];
  readonly output: string[] = [];
  readonly plan: Record<string, unknown>;
  private client: Client | undefined;
  private handle: WorkflowHandle | undefined;

  private constructor(
    readonly options: FerryOptions,
    readonly dir: string,
    readonly buckets: { readonly source: string; readonly target: string },
  ) {
    this.plan = {
      source: 'source',
      target: 'target',
      indices: options.indices,
      repository: {
        source: { store: 'source-store', basePath: 'from' },
        target: { store: 'target-store', basePath: 'to' },
      },
      rounds: { every: '1s' },
      cutover: { approval: false },
      ...options.plan,
    };
  }

  static async create(options: FerryOptions): Promise<Ferry> {
    const { buckets } = testServers();
    const token = randomUUID().slice(0, 8);
    const names = { source: `source-${token}`, target: `target-${token}` };
    for (const name of Object.values(names)) mkdirSync(path.join(buckets, name));
    await shareDirectory(buckets);
    const ferry = new Ferry(options, mkdtempSync(path.join(os.tmpdir(), 'ferry-')), names);
    writeFileSync(path.join(ferry.dir, 'connections.yaml'), ferry.connections());
    return ferry;
  }

  /** Where a store's blobs lie as files. */
  files(side: 'source' | 'target'): string {
    return path.join(testServers().buckets, this.buckets[side]);
  }

  /** Starts `snapferry worker` and waits until both roles are ready. Returns the process that leads them. */
  async startWorker(): Promise<ChildProcess> {
    const { s3 } = testServers();
    const worker = spawn(process.execPath, [SNAPFERRY, 'worker'], {
      env: {
        ...process.env,
        SNAPFERRY_CONFIG: path.join(this.dir, 'connections.yaml'),
        TEMPORAL_ADDRESS: this.temporal,
        TEMPORAL_NAMESPACE: 'default',
        FERRY_KEY: s3.accessKeyId,
        FERRY_SECRET: s3.secretAccessKey,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    this.workers.push(worker);
    let ready = 0;
    await new Promise<void>((resolve, reject) => {
      const hear = (chunk: Buffer) => {
        this.output.push(chunk.toString());
        ready += chunk.toString().split('worker ready').length - 1;
        if (ready === 2) resolve();
      };
      worker.stdout.on('data', hear);
      worker.stderr.on('data', hear);
      worker.once('exit', (code) => reject(new Error(`worker ended with ${code}: ${this.output.join('')}`)));
    });
    return worker;
  }

  /** Signals a worker and both its roles; waits for the end where the signal ends it. */
  async signalWorker(worker: ChildProcess, signal: NodeJS.Signals): Promise<void> {
    if (worker.exitCode !== null || worker.signalCode !== null || worker.pid === undefined) return;
    process.kill(-worker.pid, signal);
    if (signal !== 'SIGSTOP' && signal !== 'SIGCONT') await once(worker, 'exit');
  }

  /** Starts the migration; more than one argument or another type only to see it refused. */
  async start(args: unknown[] = [this.plan]): Promise<WorkflowHandle> {
    const client = await this.connect();
    this.handle = await client.workflow.start('migrate', { taskQueue: 'snapferry', workflowId: this.id, args });
    return client.workflow.getHandle(this.id);
  }

  async signal(name: string, argument?: unknown): Promise<void> {
    await (await this.current()).signal(name, ...(argument === undefined ? [] : [argument]));
  }

  async update(name: string, argument: unknown): Promise<unknown> {
    return (await this.current()).executeUpdate(name, { args: [argument] });
  }

  async status(): Promise<Status> {
    return (await this.current()).query<Status>('status');
  }

  /** Polls until `enough`; throws with the last status when it parks unexpectedly or takes too long. */
  async until(enough: (status: Status) => boolean, timeoutMs = 90_000): Promise<Status> {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const status = await this.status().catch((error: unknown) => error as Error);
      if (!(status instanceof Error)) {
        if (enough(status)) return status;
        if (status.phase === 'parked') throw new Error(`parked: ${JSON.stringify(status.parked)}`);
      }
      if (Date.now() > deadline) {
        throw new Error(
          `never seen; last: ${status instanceof Error ? status.message : JSON.stringify(status, null, 1)}\n${this.output.join('')}`,
        );
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  /** After so many rounds. */
  rounds(count: number): Promise<Status> {
    return this.until((status) => status.totals.rounds >= count);
  }

  async result(): Promise<Report> {
    return (await (await this.current()).result()) as Report;
  }

  /** The message of the failure it ends with, causes included. */
  async failure(): Promise<string> {
    const error: unknown = await this.result().then(
      () => new Error('it completed'),
      (reason: unknown) => reason,
    );
    const messages: string[] = [];
    for (let at = error; at instanceof Error; at = at.cause)
      if (!(at instanceof WorkflowFailedError)) messages.push(at.message);
    return messages.join(': ');
  }

  /** Every event of every run of the migration, its transfers and leases, as one text: nothing secret may be in it. */
  async histories(): Promise<{ readonly text: string; readonly events: number }> {
    const client = await this.connect();
    const parts: string[] = [];
    let events = 0;
    for await (const run of client.workflow.list({
      query: `WorkflowId = '${this.id}' OR WorkflowId STARTS_WITH '${this.id}/'`,
    })) {
      const history = await client.workflow.getHandle(run.workflowId, run.runId).fetchHistory();
      events += history.events?.length ?? 0;
      parts.push(
        JSON.stringify(history, (_, value: unknown) =>
          value instanceof Uint8Array ? Buffer.from(value).toString('utf8') : value,
        ),
      );
    }
    return { text: parts.join('\n'), events };
  }

  async close(): Promise<void> {
    const handle = this.handle;
    await handle?.terminate('test is over').catch(() => undefined);
    for (const worker of this.workers) {
      await this.signalWorker(worker, 'SIGCONT');
      await this.signalWorker(worker, 'SIGKILL');
    }
    await this.client?.connection.close();
    rmSync(this.dir, { recursive: true, force: true });
  }

  private get temporal(): string {
    return this.options.temporal ?? testServers().temporal;
  }

  private async connect(): Promise<Client> {
    this.client ??= new Client({ connection: await Connection.connect({ address: this.temporal }) });
    return this.client;
  }

  private async current(): Promise<WorkflowHandle> {
    return (await this.connect()).workflow.getHandle(this.id);
  }

  private connections(): string {
    const { s3, buckets } = testServers();
    const store = (bucket: string) => {
      const repository = `repository: { type: fs, settings: { location: ${path.join(buckets, bucket)}, compress: true } }`;
      if (this.options.directory === true)
        return `{ type: directory, path: ${path.join(buckets, bucket)}, ${repository} }`;
      return (
        `{ type: s3, bucket: ${bucket}, region: us-east-1, endpoint: "${this.options.s3Endpoint ?? s3.endpoint}", pathStyle: true, ` +
        `credentials: { accessKeyId: { env: FERRY_KEY }, secretAccessKey: { env: FERRY_SECRET } }, ${repository} }`
      );
    };
    return `clusters:
  source: { url: ${this.options.source}, auth: { type: none } }
  target: { url: ${this.options.target}, auth: { type: none } }
stores:
  source-store: ${store(this.buckets.source)}
  target-store: ${store(this.buckets.target)}
`;
  }
}
