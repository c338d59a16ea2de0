import { execFile, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { Client, Connection, WorkflowFailedError } from '@temporalio/client';
import type { WorkflowHandle } from '@temporalio/client';
import type { Report } from '../../src/domain/exchange';
import type { Status } from '../../src/domain/story';
import { shareDirectory } from '../../stack';
import type { OSS_KEYS } from './oss';
import { testServers } from './temporal';
import type { TestServers } from './temporal';

/** npm and jest run in the root of the checkout; benches run this file from `lib`. */
const SNAPFERRY = path.resolve('bin/snapferry.js');

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
  /** What stores are said to encrypt by: the connections file's `encryption`. */
  readonly encryption?: { readonly source?: object; readonly target?: object };
  /** Both stores are of one provider, which copies by itself. Otherwise bytes pass the worker, as between two clouds. */
  readonly oneProvider?: boolean;
  /** Another Temporal server than the shared one. */
  readonly temporal?: string;
  /** Added to the connections file. */
  readonly connections?: { readonly clusters?: object; readonly stores?: object; readonly webhooks?: object };
  /** Added to the settings of both repositories as the clusters register them. */
  readonly repositorySettings?: Readonly<Record<string, unknown>>;
  /** How the clusters register a bucket, where not as `fs`. */
  readonly repositories?: Readonly<Record<'source' | 'target', (bucket: string) => object>>;
  /** Of workers and other commands, beside what the stores need. */
  readonly environment?: Readonly<Record<string, string>>;
  /** The target store is a bucket of this OSS server, whose root the nodes share; S3 otherwise. */
  readonly oss?: { readonly root: string; readonly endpoint: string } & typeof OSS_KEYS;
  /** How S3 and the nodes share a folder, where not as the shared servers do. */
  readonly servers?: Pick<TestServers, 's3' | 'buckets' | 'temporal'>;
}

/** An activity in flight, with what its last heartbeat told. */
export interface PendingActivity {
  readonly type: string;
  readonly attempt: number;
  readonly told: Readonly<Record<string, unknown>> | undefined;
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
  private readonly others: Ferry[] = [];
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
    const { buckets } = options.servers ?? testServers();
    const token = randomUUID().slice(0, 8);
    const names = { source: `source-${token}`, target: `target-${token}` };
    const ferry = new Ferry(options, mkdtempSync(path.join(os.tmpdir(), 'ferry-')), names);
    for (const side of ['source', 'target'] as const) mkdirSync(ferry.files(side));
    await shareDirectory(buckets);
    if (options.oss !== undefined) await shareDirectory(ferry.files('target'));
    writeFileSync(path.join(ferry.dir, 'connections.yaml'), ferry.connections());
    return ferry;
  }

  /** Another migration on the same connections file, stores and workers; `plan` is merged over this one's. */
  beside(plan: Readonly<Record<string, unknown>> = {}): Ferry {
    const other = new Ferry({ ...this.options, plan: { ...this.plan, ...plan } }, this.dir, this.buckets);
    this.others.push(other);
    return other;
  }

  /** Where a store's blobs lie as files. */
  files(side: 'source' | 'target'): string {
    const root = side === 'target' ? this.options.oss?.root : undefined;
    return path.join(root ?? this.servers.buckets, this.buckets[side]);
  }

  /** A JSON file of the work prefix, of the newest round that has one. */
  evidence<T>(name: string): T {
    const root = path.join(this.files('target'), 'snapferry-work');
    const found = readdirSync(root, { recursive: true, encoding: 'utf8' })
      .filter((file) => path.basename(file) === name)
      .sort();
    return JSON.parse(readFileSync(path.join(root, found.at(-1) ?? name), 'utf8')) as T;
  }

  /** What is still claimed in the work prefix, by any migration of these stores. */
  claims(): string[] {
    const folder = path.join(this.files('target'), 'snapferry-work/owners');
    if (!existsSync(folder)) return [];
    return readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('owner.json'));
  }

  /** Starts `snapferry worker` and waits until both roles are ready. Returns the process that leads them. */
  async startWorker(): Promise<ChildProcess> {
    const worker = spawn(process.execPath, [SNAPFERRY, 'worker'], {
      env: this.environment(),
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

  /** Of the migration, or of one of its children: `/round-0-a1`, `/freeze-1`. */
  async pending(child = ''): Promise<PendingActivity[]> {
    const { raw } = await (await this.connect()).workflow.getHandle(`${this.id}${child}`).describe();
    return (raw.pendingActivities ?? []).map(({ activityType, attempt, heartbeatDetails }) => {
      const data = heartbeatDetails?.payloads?.[0]?.data;
      return {
        type: activityType?.name ?? '',
        attempt: attempt ?? 0,
        told: data == null ? undefined : (JSON.parse(Buffer.from(data).toString()) as Record<string, unknown>),
      };
    });
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

  /** Of a child: `/freeze-1`. */
  async terminate(child: string): Promise<void> {
    await (await this.connect()).workflow.getHandle(`${this.id}${child}`).terminate('test');
  }

  /** `snapferry unfreeze` with this migration's plan, and what it printed. */
  async unfreeze(): Promise<string> {
    const plan = path.join(this.dir, `${this.id}.json`);
    writeFileSync(plan, JSON.stringify(this.plan));
    const command = [SNAPFERRY, 'unfreeze', plan];
    return (await promisify(execFile)(process.execPath, command, { env: this.environment() })).stdout;
  }

  /** What a worker or another command of ours needs. */
  environment(): NodeJS.ProcessEnv {
    const { s3 } = this.servers;
    const { oss } = this.options;
    return {
      ...process.env,
      ...this.options.environment,
      ...(oss === undefined ? {} : { FERRY_OSS_KEY: oss.accessKeyId, FERRY_OSS_SECRET: oss.secretAccessKey }),
      SNAPFERRY_CONFIG: path.join(this.dir, 'connections.yaml'),
      TEMPORAL_ADDRESS: this.temporal,
      TEMPORAL_NAMESPACE: 'default',
      FERRY_KEY: s3.accessKeyId,
      FERRY_SECRET: s3.secretAccessKey,
    };
  }

  async close(): Promise<void> {
    for (const other of this.others) await other.close();
    if (this.handle !== undefined) await this.terminateAll().catch(() => undefined);
    for (const worker of this.workers) {
      await this.signalWorker(worker, 'SIGCONT');
      await this.signalWorker(worker, 'SIGKILL');
    }
    await this.client?.connection.close();
    rmSync(this.dir, { recursive: true, force: true });
  }

  private get servers(): Pick<TestServers, 's3' | 'buckets' | 'temporal'> {
    return this.options.servers ?? testServers();
  }

  /** Leases outlive their parent, and all tests share one task queue. */
  private async terminateAll(): Promise<void> {
    const { workflow } = await this.connect();
    const running = `ExecutionStatus = 'Running' AND (WorkflowId = '${this.id}' OR WorkflowId STARTS_WITH '${this.id}/')`;
    await workflow
      .getHandle(this.id)
      .terminate('test is over')
      .catch(() => undefined);
    for await (const { workflowId } of workflow.list({ query: running })) {
      await workflow
        .getHandle(workflowId)
        .terminate('test is over')
        .catch(() => undefined);
    }
  }

  private get temporal(): string {
    return this.options.temporal ?? this.servers.temporal;
  }

  private async connect(): Promise<Client> {
    this.client ??= new Client({ connection: await Connection.connect({ address: this.temporal }) });
    return this.client;
  }

  private async current(): Promise<WorkflowHandle> {
    return (await this.connect()).workflow.getHandle(this.id);
  }

  /** JSON, which is YAML. */
  private connections(): string {
    const { s3 } = this.servers;
    const { source, target, connections, directory, repositorySettings, repositories, oss } = this.options;
    const { s3Endpoint, oneProvider, encryption } = this.options;
    const store = (side: 'source' | 'target') => {
      const [bucket, location] = [this.buckets[side], this.files(side)];
      const shared = { type: 'fs', settings: { location, compress: true, ...repositorySettings } };
      const repository = repositories?.[side](bucket) ?? shared;
      if (oss !== undefined && side === 'target') {
        const credentials = { accessKeyId: { env: 'FERRY_OSS_KEY' }, accessKeySecret: { env: 'FERRY_OSS_SECRET' } };
        const place = { type: 'oss', bucket, region: oss.region, endpoint: oss.endpoint };
        return { ...place, credentials, repository, encryption: encryption?.target };
      }
      if (directory === true) return { type: 'directory', path: location, repository };
      const endpoint = s3Endpoint ?? s3.endpoint;
      // An endpoint with another name is another provider.
      const isRenamed = side === 'source' && oneProvider !== true;
      return {
        type: 's3',
        bucket,
        region: 'us-east-1',
        endpoint: isRenamed ? endpoint.replace('127.0.0.1', 'localhost') : endpoint,
        pathStyle: true,
        credentials: { accessKeyId: { env: 'FERRY_KEY' }, secretAccessKey: { env: 'FERRY_SECRET' } },
        repository,
        encryption: encryption?.[side],
      };
    };
    return JSON.stringify({
      clusters: { source: { url: source }, target: { url: target }, ...connections?.clusters },
      stores: {
        'source-store': store('source'),
        'target-store': store('target'),
        ...connections?.stores,
      },
      webhooks: { ...connections?.webhooks },
    });
  }
}
