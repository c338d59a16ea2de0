// `npm run bench:transfer`: snapferry against what people use, in one run, interleaved, every copy compared byte by byte.
import { mkdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { stopAll } from '../stack';
import { Arena, memoryFolder, Wire } from './arena';
import type { Endpoints } from './arena';
import { CONTENDERS } from './contenders';
import type { Contender, Task } from './contenders';
import { CORPORA } from './corpus';
import type { CorpusName } from './corpus';
import { killHard, median, run } from './measure';
import type { Cost } from './measure';

const USAGE = `npm run bench:transfer -- [options]

  --cases LIST     of small, mixed, large, wan, noop, resume (default: small,mixed,large,noop,resume)
  --rounds N       how often each contender runs each case (default 5)
  --only LIST      of ${CONTENDERS.map(({ name }) => `'${name}'`).join(', ')}
  --data DIR       where the buckets lie; needs 8 GiB (default: memory, if there is a /dev/shm)
  --json           one last line of JSON

  wan: small over 20 ms in each direction, on both sides. resume: SIGKILL when half of 1 GiB was sent, then again.`;

const MIB = 1024 * 1024;
/** A run beside which the machine did so much else, in cores, is marked. Its servers are among it. */
const NOISY_CORES = 1.6;

/** floor and goal: how many times less than `rclone best`, of client CPU unless `wall`. */
interface Case {
  readonly corpus: CorpusName;
  readonly bar: { readonly of: 'cpuS' | 'wallS'; readonly floor: number; readonly goal: number } | undefined;
}

const CASES: Readonly<Record<string, Case>> = {
  small: { corpus: 'small', bar: { of: 'cpuS', floor: 2, goal: 3 } },
  mixed: { corpus: 'mixed', bar: { of: 'cpuS', floor: 1, goal: 1.2 } },
  large: { corpus: 'large', bar: { of: 'cpuS', floor: 2, goal: 2.8 } },
  wan: { corpus: 'small', bar: { of: 'wallS', floor: 2.5, goal: 3.3 } },
  noop: { corpus: 'small', bar: undefined },
  resume: { corpus: 'one', bar: undefined },
};

interface Result extends Cost {
  readonly case: string;
  readonly contender: string;
  readonly sentTwiceMiB?: number;
}

class Bench {
  readonly results: Result[] = [];

  constructor(private readonly arena: Arena) {}

  async runCase(name: string, contenders: readonly Contender[], rounds: number): Promise<void> {
    const { corpus } = CASES[name]!;
    console.error(`${name}: ${CORPORA[corpus]}`);
    await this.arena.makeSource(corpus);
    const endpoints = name === 'wan' ? await this.arena.delayed() : this.arena.endpoints;
    if (name === 'noop') await this.fill(corpus, contenders[0]!);
    for (let round = 0; round < rounds; round++) {
      // Whoever comes first finds a colder machine.
      const order = round % 2 === 0 ? contenders : [...contenders].reverse();
      for (const contender of order) await this.once(name, corpus, contender, endpoints);
    }
  }

  private async once(name: string, corpus: CorpusName, contender: Contender, endpoints: Endpoints) {
    if (name !== 'noop') await this.arena.emptyTarget();
    const result =
      name === 'resume'
        ? await this.killedAndRunAgain(contender)
        : await this.cost(contender, this.arena.task(corpus, contender.name, endpoints));
    const ok = result.ok && this.arena.isSame(corpus);
    this.results.push({ ...result, ok, case: name, contender: contender.name });
    console.error(`  ${contender.name.padEnd(15)} ${inWords({ ...result, ok })}`);
  }

  private async cost(contender: Contender, task: Task): Promise<Cost> {
    await mkdir(task.folder, { recursive: true });
    return run(await contender.command(task), contender.env(task), path.join(task.folder, 'log')).ended;
  }

  private async fill(corpus: CorpusName, contender: Contender): Promise<void> {
    await this.arena.emptyTarget();
    await this.cost(contender, this.arena.task(corpus, contender.name));
  }

  /** SIGKILL when half of the object has left; what passes twice over the wire to the target is counted. */
  private async killedAndRunAgain(contender: Contender): Promise<Cost & { sentTwiceMiB: number }> {
    const wire = await Wire.before(this.arena.endpoints.target);
    try {
      const task = this.arena.task('one', contender.name, { ...this.arena.endpoints, target: wire.endpoint });
      await mkdir(task.folder, { recursive: true });
      const [command, log] = [await contender.command(task), path.join(task.folder, 'log')];
      const first = run(command, contender.env(task), log);
      let over = false;
      void first.ended.finally(() => (over = true));
      while (!over && wire.sent < 512 * MIB) await sleep(5);
      if (!over) killHard(first.pid);
      await first.ended;
      const cost = await run(command, contender.env(task), log).ended;
      return { ...cost, sentTwiceMiB: Math.round((wire.sent - 1024 * MIB) / MIB) };
    } finally {
      wire.close();
    }
  }
}

function inWords({ ok, wallS, cpuS, rssMiB, otherCpuS, ...more }: Cost & { sentTwiceMiB?: number }): string {
  const twice = more.sentTwiceMiB === undefined ? '' : `  ${more.sentTwiceMiB} MiB sent twice`;
  const noisy = otherCpuS > NOISY_CORES * wallS ? '  NOISY' : '';
  const figures = `wall ${wallS.toFixed(2)} s  cpu ${cpuS.toFixed(2)} s  rss ${rssMiB.toFixed(0)} MiB`;
  return `${ok ? '' : 'FAILED  '}${figures}${twice}${noisy}`;
}

/** Medians, and how many times less than `rclone best` the first contender needs. */
function summary(results: readonly Result[], cases: readonly string[], contenders: readonly Contender[]) {
  return cases.map((name) => {
    const rows = contenders.map((contender) => {
      const own = results.filter((result) => result.case === name && result.contender === contender.name);
      const good = own.filter(({ ok }) => ok);
      const of = (figure: (result: Result) => number) => Number(median(good.map(figure)).toFixed(2));
      const twice = own.some(({ sentTwiceMiB }) => sentTwiceMiB !== undefined);
      return {
        contender: contender.name,
        runs: `${good.length}/${own.length}`,
        wallS: of(({ wallS }) => wallS),
        cpuS: of(({ cpuS }) => cpuS),
        rssMiB: of(({ rssMiB }) => rssMiB),
        ...(twice ? { sentTwiceMiB: of(({ sentTwiceMiB }) => sentTwiceMiB!) } : {}),
      };
    });
    const [ours, best] = ['snapferry', 'rclone best'].map((one) => rows.find(({ contender }) => contender === one));
    const { bar } = CASES[name]!;
    const figure = bar?.of ?? 'cpuS';
    const ratio = ours && best ? Number((best[figure] / ours[figure]).toFixed(2)) : undefined;
    return { case: name, rows, ratio, bar };
  });
}

function print(table: ReturnType<typeof summary>): void {
  console.log('| case | who | runs | wall s | CPU s | RSS MiB | sent twice MiB |\n|---|---|---|---|---|---|---|');
  for (const { case: name, rows } of table) {
    for (const row of rows) {
      const cells = [name, row.contender, row.runs, row.wallS, row.cpuS, row.rssMiB.toFixed(0), row.sentTwiceMiB ?? ''];
      console.log(`| ${cells.join(' | ')} |`);
    }
  }
  console.log();
  for (const { case: name, ratio, bar } of table) {
    if (ratio === undefined) continue;
    const asked = bar === undefined ? '' : ` (floor ${bar.floor}, goal ${bar.goal})`;
    console.log(`${name}: ${ratio} times less ${bar?.of === 'wallS' ? 'time' : 'CPU'} than rclone best${asked}`);
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      cases: { type: 'string', default: 'small,mixed,large,noop,resume' },
      rounds: { type: 'string', default: '5' },
      only: { type: 'string' },
      data: { type: 'string' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return console.log(USAGE);
  const cases = values.cases.split(',');
  const unknown = cases.find((name) => CASES[name] === undefined);
  if (unknown !== undefined) throw new Error(`there is no case '${unknown}'\n\n${USAGE}`);
  const contenders = CONTENDERS.filter(({ name }) => values.only?.split(',').includes(name) ?? true);
  const memory = await memoryFolder();
  try {
    const bench = new Bench(await Arena.open(path.resolve(values.data ?? memory)));
    for (const name of cases) await bench.runCase(name, contenders, Number(values.rounds));
    const table = summary(bench.results, cases, contenders);
    print(table);
    if (values.json) console.log(JSON.stringify(table));
    if (bench.results.some(({ ok }) => !ok)) process.exitCode = 1;
  } finally {
    await stopAll();
    await rm(memory, { recursive: true, force: true });
  }
}

void main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
});
