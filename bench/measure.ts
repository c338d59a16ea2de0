// What a command costs: wall clock, CPU time of itself and its children, most memory it held.
import { spawn } from 'node:child_process';
import { createWriteStream, readFileSync } from 'node:fs';

export interface Cost {
  readonly ok: boolean;
  readonly wallS: number;
  /** User and system. */
  readonly cpuS: number;
  readonly rssMiB: number;
  /** CPU seconds of everything on the machine beside the command, its servers included. */
  readonly otherCpuS: number;
}

export interface Running {
  readonly pid: number;
  readonly ended: Promise<Cost>;
}

const TICKS_PER_SECOND = 100;
const LOOK_EVERY_MS = 25;

/** Runs a command to its end, its output in `log`. The shell's own `time` counts; it costs 2 ms. */
export function run(command: readonly string[], env: NodeJS.ProcessEnv, log: string): Running {
  const output = createWriteStream(log, { flags: 'a' });
  const before = machineCpuS();
  const timed = spawn('bash', ['-c', 'TIMEFORMAT="%R %U %S"; time "$@" 2>&1', 'time', ...command], {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  let times = '';
  timed.stdout.pipe(output);
  timed.stderr.on('data', (chunk) => (times += String(chunk)));
  let rssMiB = 0;
  const look = setInterval(() => (rssMiB = Math.max(rssMiB, mostMemoryMiB(timed.pid!))), LOOK_EVERY_MS);
  const ended = new Promise<Cost>((resolve, reject) => {
    timed.once('error', reject);
    timed.once('close', (code) => {
      clearInterval(look);
      const [wallS = NaN, user = NaN, system = NaN] = times.trim().split('\n').at(-1)!.split(' ').map(Number);
      const cpuS = user + system;
      resolve({ ok: code === 0, wallS, cpuS, rssMiB, otherCpuS: machineCpuS() - before - cpuS });
    });
  });
  return { pid: timed.pid!, ended };
}

/** SIGKILL to the command and all it started. */
export function killHard(pid: number): void {
  process.kill(-pid, 'SIGKILL');
}

/** Of all processes below `pid`: the kernel keeps the peak of each. */
function mostMemoryMiB(pid: number): number {
  return childrenOf(pid).reduce((sum, child) => sum + peakMiB(child) + mostMemoryMiB(child), 0);
}

function childrenOf(pid: number): number[] {
  return read(`/proc/${pid}/task/${pid}/children`).split(' ').filter(Boolean).map(Number);
}

/** Most memory that a running process has held. */
export function peakMiB(pid: number): number {
  return Number(/VmHWM:\s+(\d+) kB/.exec(read(`/proc/${pid}/status`))?.[1] ?? 0) / 1024;
}

/** CPU seconds that a running process has taken, user and system. */
export function cpuSOf(pid: number): number {
  const stat = read(`/proc/${pid}/stat`);
  // Behind the name, which may hold blanks: proc(5), fields 14 and 15.
  const [user = NaN, system = NaN] = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .slice(11, 13)
    .map(Number);
  return (user + system) / TICKS_PER_SECOND;
}

/** Everything but idle and waiting for disks. */
function machineCpuS(): number {
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = read('/proc/stat')
    .split('\n')[0]!
    .trim()
    .split(/\s+/)
    .slice(1)
    .map(Number);
  return (user + nice + system + irq + softirq) / TICKS_PER_SECOND;
}

/** Empty for what has ended between two looks. */
function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const half = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
}
