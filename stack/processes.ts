// Servers as child processes: started, awaited, stopped, and never left behind.
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { chmod, chown, mkdir, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Account } from './sharing';
import { endingWithParent, lastLines } from './tools';

const POLL_MS = 50;
/** A node that writes its last state needs a few seconds on a busy machine. */
const STOP_GRACE_MS = 20_000;
const ROOT_PREFIX = 'snapferry-stack-';
const ABANDONED_AFTER_MS = 3_600_000;
const EXIT_CODES = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

export interface Server {
  /** Leader of a process group of its own: signal `-pid` to reach the whole server. */
  readonly pid: number;
  /** Ends it in order, by force after 20 s; calling it again is harmless. */
  stop(): Promise<void>;
  /** SIGKILL at once, for fault tests. */
  kill(): void;
  readonly logFile: string;
}

export interface Launch {
  /** As people call it in messages, for example "Elasticsearch 5.5.2". */
  readonly title: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<NodeJS.ProcessEnv>;
  readonly account?: Account | undefined;
  /** The server's folder of `runFolder`; its log is `<folder>.log`, and the folder goes when the server stops. */
  readonly folder: string;
  /** True once the server serves. Called again and again; an error means not yet. */
  readonly isReady: () => Promise<boolean>;
  readonly readyWithinMs: number;
}

const running = new Set<Running>();
let root: string | undefined;

/** An empty folder for one server's own files, under the temporary folder of this process. */
export async function runFolder(name: string, account?: Account): Promise<string> {
  watchForExit();
  if (root === undefined) {
    await removeAbandoned();
    root = mkdtempSync(path.join(tmpdir(), `${ROOT_PREFIX}${process.pid}-`));
    await chmod(root, 0o755); // the nodes' user passes through
  }
  const folder = path.join(root, name);
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder);
  if (account !== undefined) await chown(folder, account.uid, account.gid);
  return folder;
}

/** Folders of processes that were killed hold whole indices. Fresh ones stay: somebody may want to read the logs. */
async function removeAbandoned(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    const owner = new RegExp(`^${ROOT_PREFIX}(\\d+)-`).exec(name)?.[1];
    if (owner === undefined || isAlive(Number(owner))) continue;
    const folder = path.join(tmpdir(), name);
    const found = await stat(folder).catch(() => undefined); // another process may be removing it, too
    if (found === undefined || Date.now() - found.mtimeMs < ABANDONED_AFTER_MS) continue;
    await rm(folder, { recursive: true, force: true }).catch(() => undefined); // another user's: theirs to remove
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}

/** Starts a server and returns when it serves; a server that does not is ended, and the error quotes its log. */
export async function launch(options: Launch): Promise<Server> {
  watchForExit();
  const server = new Running(options);
  try {
    await server.ready();
    return server;
  } catch (error) {
    server.kill();
    const log = await lastLines(server.logFile, 20);
    throw new Error(`${(error as Error).message} The end of ${server.logFile}:\n${log}`, { cause: error });
  }
}

/** Stops everything this process started. */
export async function stopAll(): Promise<void> {
  await Promise.all([...running].map((server) => server.stop()));
}

class Running implements Server {
  readonly pid: number;
  readonly logFile: string;
  private readonly child: ChildProcess;
  private readonly ended: Promise<void>;

  constructor(private readonly options: Launch) {
    this.logFile = `${options.folder}.log`;
    this.child = spawnLogged(options, this.logFile);
    this.ended = new Promise((resolve) => {
      this.child.once('error', () => resolve());
      this.child.once('exit', () => {
        this.kill(); // what is left of its group (8.x: a launcher and the node), before the number can be reused
        resolve();
      });
    });
    if (this.child.pid === undefined) throw new Error(`${options.title} could not be started: ${options.command}`);
    this.pid = this.child.pid;
    running.add(this);
  }

  async ready(): Promise<void> {
    const deadline = Date.now() + this.options.readyWithinMs;
    while (!(await this.options.isReady().catch(() => false))) {
      const { exitCode, signalCode } = this.child;
      if (exitCode !== null || signalCode !== null) {
        throw new Error(`${this.options.title} ended while starting (${exitCode ?? signalCode}).`);
      }
      if (Date.now() > deadline) {
        throw new Error(`${this.options.title} did not serve within ${this.options.readyWithinMs / 1000} s.`);
      }
      await sleep(POLL_MS);
    }
  }

  async stop(): Promise<void> {
    if (!running.has(this)) return this.ended;
    this.signal('SIGTERM');
    const giveUp = new AbortController();
    const grace = sleep(STOP_GRACE_MS, undefined, { signal: giveUp.signal }).catch(() => undefined);
    await Promise.race([this.ended, grace]);
    giveUp.abort();
    this.kill();
    await this.ended;
    await rm(this.options.folder, { recursive: true, force: true });
  }

  kill(): void {
    if (!running.delete(this)) return; // the number may belong to somebody else by now
    this.signal('SIGKILL');
  }

  private signal(signal: NodeJS.Signals): void {
    try {
      process.kill(-this.pid, signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error; // gone already: what we want
    }
  }
}

/** A group of its own keeps the terminal's Ctrl-C away: we stop servers in order instead. */
function spawnLogged(options: Launch, logFile: string): ChildProcess {
  const [command, args] = endingWithParent(options.command, options.args, privileges(options.account));
  const log = openSync(logFile, 'a');
  try {
    return spawn(command, args, { env: options.env, detached: true, stdio: ['ignore', log, log], cwd: options.folder });
  } finally {
    closeSync(log);
  }
}

function privileges(account: Account | undefined): string[] {
  return account === undefined ? [] : [`--reuid=${account.uid}`, `--regid=${account.gid}`, '--clear-groups'];
}

let watching = false;

/**
 * The servers end with this process. A program with a signal handler of its own decides when; `exit` is the last word
 * in any case, also after an uncaught exception. Against SIGKILL see `endingWithParent`.
 */
function watchForExit(): void {
  if (watching) return;
  watching = true;
  process.once('exit', () => {
    for (const server of [...running]) server.kill();
    if (root !== undefined) rmSync(root, { recursive: true, force: true });
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (process.listenerCount(signal) > 1) return;
      void stopAll().finally(() => process.exit(EXIT_CODES[signal]));
    });
  }
}
