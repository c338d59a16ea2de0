// The real Temporal dev server, with Web UI and SQLite.
import { goProgram } from './go';
import { freePort } from './ports';
import { launch, runFolder } from './processes';
import type { Server } from './processes';
import { findCommand, isExecutable } from './tools';

const VERSION = '1.5.1'; // later ones carry a replace directive, which `go install` refuses
const READY_WITHIN_MS = 60_000;

export interface TemporalOptions {
  readonly port?: number;
  readonly uiPort?: number;
  /** Keeps executions between runs; without it they end with the server. */
  readonly dbFile?: string;
  /** The Web UI; on by default. */
  readonly ui?: boolean;
  /** Name to type (Keyword, Int, Bool, ...). */
  readonly searchAttributes?: Record<string, string>;
  /** Server settings, e.g. `limit.historyCount.suggestContinueAsNew`. */
  readonly dynamicConfig?: Record<string, string>;
}

export interface TemporalServer extends Server {
  readonly address: string;
  readonly uiUrl: string | undefined;
  /** The CLI that runs this server, for commands against it. */
  readonly cli: string;
}

/** Path of a Temporal CLI: `TEMPORAL_BIN`, else the PATH, else the cache, where it is installed when missing. */
export async function temporalCli(): Promise<string> {
  const chosen = process.env.TEMPORAL_BIN;
  if (chosen !== undefined && chosen !== '') {
    if (!isExecutable(chosen)) throw new Error(`TEMPORAL_BIN names ${chosen}, which is not a program.`);
    return chosen;
  }
  return findCommand('temporal') ?? goProgram(CLI);
}

const CLI = {
  name: 'temporal',
  version: VERSION,
  module: 'github.com/temporalio/cli/cmd/temporal',
  withoutGo: 'install Go, or put a Temporal CLI on the PATH or its path in TEMPORAL_BIN.',
};

/** Returns when the namespace `default` answers. */
export async function startTemporal(options: TemporalOptions = {}): Promise<TemporalServer> {
  const cli = await temporalCli();
  const port = options.port ?? (await freePort());
  const uiPort = options.ui === false ? undefined : (options.uiPort ?? (await freePort()));
  const address = `127.0.0.1:${port}`;
  const server = await launch({
    title: 'Temporal',
    command: cli,
    args: serverArguments(options, port, uiPort),
    env: process.env,
    folder: await runFolder(`temporal-${port}`),
    isReady: () => isServing(address),
    readyWithinMs: READY_WITHIN_MS,
  });
  const uiUrl = uiPort === undefined ? undefined : `http://127.0.0.1:${uiPort}`;
  return Object.assign(server, { address, uiUrl, cli });
}

function serverArguments(options: TemporalOptions, port: number, uiPort: number | undefined): string[] {
  const attributes = Object.entries(options.searchAttributes ?? {});
  return [
    ...['server', 'start-dev', '--ip', '127.0.0.1', '--port', String(port)],
    ...(uiPort === undefined ? ['--headless'] : ['--ui-port', String(uiPort)]),
    ...(options.dbFile === undefined ? [] : ['--db-filename', options.dbFile]),
    ...attributes.flatMap(([name, type]) => ['--search-attribute', `${name}=${type}`]),
    ...Object.entries(options.dynamicConfig ?? {}).flatMap(([name, value]) => [
      '--dynamic-config-value',
      `${name}=${value}`,
    ]),
  ];
}

/** The port opens before the namespace is registered, so the namespace is what is asked for. */
async function isServing(address: string): Promise<boolean> {
  const { Connection } = await import('@temporalio/client'); // heavy, and not needed by those who start other parts
  const connection = await Connection.connect({ address, connectTimeout: '1s' });
  try {
    await connection.workflowService.describeNamespace({ namespace: 'default' });
    return true;
  } finally {
    await connection.close();
  }
}
