import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import os from 'node:os';
import { setFlagsFromString } from 'node:v8';
import { Client, isGrpcServiceError } from '@temporalio/client';
import { loadClientConnectConfig } from '@temporalio/envconfig';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import type { WorkerOptions } from '@temporalio/worker';
import { createActivities, createTransferActivities } from '../activities';
import { loadConfig } from '../src/config';
import { ConfigurationError, UnavailableError } from '../src/domain/errors';
import type { StepDeps } from '../src/steps/migration';
import { openDeps } from '../src/steps/open';
import { BUNDLE } from './bundle';
import { CopyThread } from './copying';
import { Gauges } from './metrics';

export const TASK_QUEUE = 'snapferry';
export const TRANSFER_TASK_QUEUE = 'snapferry-transfer';

export type Role = 'control' | 'transfer' | 'all';

const STOP_SIGNALS = ['SIGTERM', 'SIGINT'] as const;

/** Activities at a time per transfer process. They share one budget of memory and one number of requests in flight. */
export const TRANSFER_SLOTS = 8;

/**
 * Runs a worker until SIGTERM or SIGINT; then it hands its work back at once and returns. `all` is two processes, so
 * that hashing bytes never delays a workflow task.
 *
 * Temporal's address, namespace and keys come from the standard `TEMPORAL_*` environment and profile file, as for the
 * CLI. `SNAPFERRY_METRICS=HOST:PORT` serves the metrics of the control role to Prometheus. Throws `ConfigurationError` for
 * a bad connections file, `UnavailableError` when Temporal does not answer.
 */
export async function runWorker(options: { readonly role: Role }): Promise<void> {
  if (options.role === 'all') return runBoth();
  if (options.role === 'control') boundHeap();
  // A transfer worker registers no workflows, and the SDK would warn of that at every start.
  const logger = new DefaultLogger(options.role === 'transfer' ? 'ERROR' : 'WARN');
  const metrics = options.role === 'control' ? process.env['SNAPFERRY_METRICS'] : undefined;
  installRuntime(logger, metrics);
  // The SDK hears only the first. Another one comes with every Ctrl-C, the terminal's and our parent's, and would end
  // the process in the middle of handing work back.
  for (const signal of STOP_SIGNALS) process.on(signal, () => undefined);
  const config = await loadConfig();
  const { connection, namespace } = await connect();
  const { workflow } = new Client({ connection, namespace });
  const copies = options.role === 'transfer' ? new CopyThread() : undefined;
  const gauges = metrics ? new Gauges(workflow, TASK_QUEUE, Runtime.instance().metricMeter) : undefined;
  const deps = openDeps(config, {
    searchAttributes: () => registeredAttributes(connection, namespace),
    isRunning: (workflowId) => isRunning(connection, namespace, workflowId),
  });
  try {
    const worker = await Worker.create({
      connection,
      namespace,
      identity: identity(options.role),
      ...optionsOf(deps, copies),
    });
    console.log(`snapferry: ${options.role} worker ready (namespace ${namespace})`);
    process.send?.('ready');
    gauges?.start();
    await worker.run();
  } finally {
    await gauges?.stop();
    await copies?.close();
    await deps.close();
    await connection.close();
  }
}

/**
 * The plan of a million blobs leaves as much behind as it keeps. V8 would let the heap become four times what lives in it
 * before it looks: 837 MiB of memory for the plan of `npm run bench:scale`, and with this 722.
 */
export function boundHeap(): void {
  setFlagsFromString('--heap-growing-percent=100');
}

/** @throws ConfigurationError when the address for Prometheus cannot be listened on */
function installRuntime(logger: DefaultLogger, metrics: string | undefined): void {
  const telemetryOptions = metrics ? { metrics: { prometheus: { bindAddress: metrics } } } : {};
  try {
    Runtime.install({ logger, shutdownSignals: [...STOP_SIGNALS], telemetryOptions });
  } catch (cause) {
    throw new ConfigurationError(
      'Prometheus cannot be served at SNAPFERRY_METRICS: give HOST:PORT, such as 127.0.0.1:9464, that nobody listens at yet',
      { subject: { address: metrics }, cause },
    );
  }
}

/** Those of the transfer role where there is a thread for its copies. */
function optionsOf(deps: StepDeps, copies: CopyThread | undefined): Omit<WorkerOptions, 'connection'> {
  if (copies !== undefined) {
    return {
      taskQueue: TRANSFER_TASK_QUEUE,
      activities: createTransferActivities(deps, copies.copyUnit),
      maxConcurrentActivityTaskExecutions: TRANSFER_SLOTS,
      // Beats are ours (activities/run.ts); the SDK's default throttle would hide 8 of 10 seconds.
      maxHeartbeatThrottleInterval: '2s',
    };
  }
  if (!existsSync(BUNDLE)) throw new ConfigurationError('The workflow bundle is missing: run npm ci, which builds it');
  return {
    taskQueue: TASK_QUEUE,
    workflowBundle: { codePath: BUNDLE },
    activities: createActivities(deps),
    maxHeartbeatThrottleInterval: '5s',
  };
}

async function connect(): Promise<{ connection: NativeConnection; namespace: string }> {
  const config = loadClientConnectConfig();
  const options = config.connectionOptions;
  const address = options.address ?? '127.0.0.1:7233';
  try {
    const connection = await NativeConnection.connect(options);
    return { connection, namespace: config.namespace ?? 'default' };
  } catch (cause) {
    throw new UnavailableError(`Temporal does not answer at ${address}: start it, or set TEMPORAL_ADDRESS`, { cause });
  }
}

/** Empty when the namespace does not tell: search attributes are a comfort and never stop a migration. */
async function registeredAttributes(connection: NativeConnection, namespace: string): Promise<readonly string[]> {
  try {
    const answer = await connection.operatorService.listSearchAttributes({ namespace });
    return Object.keys(answer.customAttributes ?? {});
  } catch {
    return [];
  }
}

/** Of gRPC. */
const NOT_FOUND = 5;

/** @throws UnavailableError when Temporal does not answer */
async function isRunning(connection: NativeConnection, namespace: string, workflowId: string): Promise<boolean> {
  try {
    const request = { namespace, execution: { workflowId } };
    const { workflowExecutionInfo: info } = await connection.workflowService.describeWorkflowExecution(request);
    return info?.closeTime === null || info?.closeTime === undefined;
  } catch (cause) {
    if (isGrpcServiceError(cause) && cause.code === NOT_FOUND) return false;
    throw new UnavailableError(`Temporal does not say whether workflow '${workflowId}' runs`, { cause });
  }
}

function identity(role: Role): string {
  return `${os.hostname()}/${process.pid}/${role}`;
}

/** Two children. One that dies takes the other down, so that a supervisor restarts both. */
async function runBoth(): Promise<void> {
  // Asked here once, so that a wrong address or file is one line and not two.
  await loadConfig();
  await (await connect()).connection.close();
  const children = (['control', 'transfer'] as const).map((role) => fork(__filename, [role], { stdio: 'inherit' }));
  const stop = () => children.forEach((child) => child.kill('SIGTERM'));
  for (const signal of STOP_SIGNALS) process.on(signal, stop);
  const codes = await Promise.all(
    children.map(async (child) => {
      const code = await exitOf(child);
      stop();
      return code;
    }),
  );
  if (codes.some((code) => code !== 0)) process.exitCode = 1;
}

function exitOf(child: ChildProcess): Promise<number> {
  return new Promise((resolve) => child.on('exit', (code) => resolve(code ?? 1)));
}

/** A child of `runBoth` must not outlive it, however that died. */
function dieWithParent(): void {
  process.on('disconnect', () => process.kill(process.pid, 'SIGTERM'));
}

if (require.main === module) {
  dieWithParent();
  // Ended by hand: the channel to the parent, which we watch, would keep the process alive.
  runWorker({ role: process.argv[2] as Role }).then(
    () => process.exit(0),
    (error: unknown) => {
      console.error(`snapferry: ${error instanceof Error ? error.message : String(error)}`);
      process.exit(1);
    },
  );
}
