// Commands of the machine (go, java, mvn, jar): found or missed with a plain sentence, run with progress.
import { execFile, spawn } from 'node:child_process';
import { accessSync, constants, createWriteStream, statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';

const PROGRESS_EVERY_MS = 15_000;

/** One line for the person at the terminal. On stderr, because stdout belongs to the command's result. */
export function say(line: string): void {
  process.stderr.write(`snapferry: ${line}\n`);
}

/** Full path of a command on the PATH, or undefined. */
export function findCommand(name: string): string | undefined {
  const folders = (process.env.PATH ?? '').split(path.delimiter).filter((folder) => folder !== '');
  return folders.map((folder) => path.join(folder, name)).find(isExecutable);
}

export function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false; // absent or not ours to run: the same for whoever looks for a command
  }
}

/** Full path of a command, or an error that says what it is needed for and what else would do. */
export function needCommand(name: string, reason: string): string {
  const found = findCommand(name);
  if (found === undefined) throw new Error(`"${name}" is not on the PATH. ${reason}`);
  return found;
}

export interface ToolRun {
  readonly command: string;
  readonly args: readonly string[];
  /** What the person waits for, as "building versitygw 1.7.0". */
  readonly activity: string;
  readonly logFile: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

/** Runs a slow tool to its end, with a line each quarter of a minute; a failure quotes the end of its output. */
export async function runTool(run: ToolRun): Promise<void> {
  const began = Date.now();
  const seconds = () => Math.round((Date.now() - began) / 1000);
  const progress = setInterval(() => say(`still ${run.activity} (${seconds()} s)`), PROGRESS_EVERY_MS);
  try {
    const code = await runLogged(run);
    if (code !== 0) {
      const output = await lastLines(run.logFile, 15);
      throw new Error(`${path.basename(run.command)} failed (${code}) while ${run.activity}:\n${output}`);
    }
  } finally {
    clearInterval(progress);
  }
}

function runLogged(run: ToolRun): Promise<number | NodeJS.Signals> {
  const [command, args] = endingWithParent(run.command, run.args);
  return new Promise((resolve, reject) => {
    const log = createWriteStream(run.logFile, { flags: 'a' });
    const env = { ...process.env, ...run.env };
    const child = spawn(command, args, { cwd: run.cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
    child.stdout.pipe(log, { end: false });
    child.stderr.pipe(log, { end: false });
    child.once('error', reject);
    child.once('close', (code, signal) => log.end(() => resolve(code ?? signal ?? 'SIGKILL')));
  });
}

/**
 * On Linux the kernel ends the process when its parent ends, however that happens. (The kernel means the parent
 * thread: call this on the main thread.) Elsewhere the command is returned as it is.
 */
export function endingWithParent(
  command: string,
  args: readonly string[],
  privileges: readonly string[] = [],
): [string, string[]] {
  const setpriv = process.platform === 'linux' ? findCommand('setpriv') : undefined;
  if (setpriv === undefined) return [command, [...args]];
  return [setpriv, [...privileges, '--pdeathsig', 'SIGKILL', '--', command, ...args]];
}

/** The end of a log, for an error message. */
export async function lastLines(file: string, count: number): Promise<string> {
  const text = await readFile(file, 'utf8').catch(() => ''); // no log yet is an empty log
  return text.trimEnd().split('\n').slice(-count).join('\n');
}

const execute = promisify(execFile);

/** Output of a short command, both streams: java prints its settings on stderr. */
export async function outputOf(command: string, args: readonly string[]): Promise<string> {
  const { stdout, stderr } = await execute(command, args);
  return stdout + stderr;
}
