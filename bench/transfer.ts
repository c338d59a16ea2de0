// `npm run bench:transfer`: snapferry against what people use, in one run, interleaved, every copy compared byte by byte.
import { spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { goProgram } from '../stack/go';
import { freePort, startVersitygw, stopAll } from '../stack';
import { launch, runFolder } from '../stack/processes';
import { CONTENDERS } from './contenders';
import type { Contender, Task } from './contenders';
import { CORPORA, makeBucket } from './corpus';
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

const KEYS = { accessKeyId: 'benchkey', secretAccessKey: 'benchsecretbenchsecret' };
const TARGET_BUCKET = 'target';
const LATENCY_MS = 20;
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
  private constructor(
    private readonly data: string,
    private readonly endpoints: { readonly source: string; readonly target: string },
  ) {}

  static async start(data: string): Promise<Bench> {
    for (const side of ['source', 'target']) await mkdir(path.join(data, side), { recursive: true });
    const [source, target] = await Promise.all([
      startVersitygw({ root: path.join(data, 'source'), ...KEYS }),
      startVersitygw({ root: path.join(data, 'target'), ...KEYS }),
    ]);
    return new Bench(data, { source: source.endpoint, target: target.endpoint });
  }

  async runCase(name: string, contenders: readonly Contender[], rounds: number): Promise<void> {
    const { corpus } = CASES[name]!;
    console.error(`${name}: ${CORPORA[corpus]}`);
    await makeBucket(corpus, path.join(this.data, 'source'), this.metadata('source'));
    const endpoints = name === 'wan' ? await this.delayed() : this.endpoints;
    if (name === 'noop') await this.fill(corpus, contenders[0]!);
    for (let round = 0; round < rounds; round++) {
      // Whoever comes first finds a colder machine.
      const order = round % 2 === 0 ? contenders : [...contenders].reverse();
      for (const contender of order) await this.once(name, corpus, contender, endpoints);
    }
  }

  private async once(name: string, corpus: CorpusName, contender: Contender, endpoints: Bench['endpoints']) {
    if (name !== 'noop') await this.emptyTarget();
    const result =
      name === 'resume'
        ? await this.killedAndRunAgain(contender)
        : await this.cost(contender, this.task(corpus, endpoints, contender));
    const ok = result.ok && this.isSame(corpus);
    this.results.push({ ...result, ok, case: name, contender: contender.name });
    console.error(`  ${contender.name.padEnd(15)} ${inWords({ ...result, ok })}`);
  }

  private async cost(contender: Contender, task: Task): Promise<Cost> {
    await mkdir(task.folder, { recursive: true });
    return run(await contender.command(task), contender.env(task), path.join(task.folder, 'log')).ended;
  }

  private async fill(corpus: CorpusName, contender: Contender): Promise<void> {
    await this.emptyTarget();
    await this.cost(contender, this.task(corpus, this.endpoints, contender));
  }

  /** SIGKILL when half of the object has left; what passes twice over the wire to the target is counted. */
  private async killedAndRunAgain(contender: Contender): Promise<Cost & { sentTwiceMiB: number }> {
    const wire = await Wire.before(this.endpoints.target);
    try {
      const task = this.task('one', { ...this.endpoints, target: wire.endpoint }, contender);
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

  private task(corpus: CorpusName, { source, target }: Bench['endpoints'], { name }: Contender): Task {
    return {
      ...KEYS,
      source: { endpoint: source, bucket: corpus },
      target: { endpoint: target, bucket: TARGET_BUCKET },
      folder: path.join(this.data, 'clients', name.replace(' ', '-')),
    };
  }

  private async emptyTarget(): Promise<void> {
    for (const root of [path.join(this.data, 'target'), this.metadata('target')]) {
      await rm(path.join(root, TARGET_BUCKET), { recursive: true, force: true });
    }
    await mkdir(path.join(this.data, 'target', TARGET_BUCKET), { recursive: true });
    await rm(path.join(this.data, 'clients'), { recursive: true, force: true });
  }

  /** Where versitygw keeps what is no byte of an object: stack/versitygw.ts. */
  private metadata(side: 'source' | 'target'): string {
    return path.join(this.data, `.s3-metadata-${side}`);
  }

  private isSame(corpus: CorpusName): boolean {
    const folders = [path.join(this.data, 'source', corpus), path.join(this.data, 'target', TARGET_BUCKET)];
    const { status, stdout } = spawnSync('diff', ['-rq', '-x', '.sgwtmp', ...folders], { encoding: 'utf8' });
    if (status !== 0) console.error(stdout.slice(0, 500));
    return status === 0;
  }

  /** The same endpoints behind a line of 40 ms there and back. */
  private async delayed(): Promise<Bench['endpoints']> {
    const port = await freePort();
    const api = `http://127.0.0.1:${port}`;
    const program = await goProgram({
      name: 'server',
      version: '2.12.0',
      module: 'github.com/Shopify/toxiproxy/v2/cmd/server',
      withoutGo: 'install Go.',
    });
    await launch({
      title: 'toxiproxy',
      command: program,
      args: ['-host', '127.0.0.1', '-port', String(port)],
      env: { ...process.env, LOG_LEVEL: 'error' },
      folder: await runFolder('toxiproxy'),
      isReady: async () => (await fetch(`${api}/version`)).ok,
      readyWithinMs: 10_000,
    });
    const before = async (name: string, endpoint: string) => {
      const listen = `127.0.0.1:${await freePort()}`;
      await post(`${api}/proxies`, { name, listen, upstream: new URL(endpoint).host, enabled: true });
      for (const stream of ['upstream', 'downstream']) {
        await post(`${api}/proxies/${name}/toxics`, { type: 'latency', stream, attributes: { latency: LATENCY_MS } });
      }
      return `http://${listen}`;
    };
    return {
      source: await before('source', this.endpoints.source),
      target: await before('target', this.endpoints.target),
    };
  }
}

async function post(url: string, body: unknown): Promise<void> {
  const answer = await fetch(url, { method: 'POST', body: JSON.stringify(body) });
  if (!answer.ok) throw new Error(`toxiproxy refused: ${await answer.text()}`);
}

/** Counts what clients send to a server. */
class Wire {
  sent = 0;
  endpoint = '';
  private readonly server: net.Server;

  private constructor(to: URL) {
    this.server = net.createServer((client) => {
      const server = net.connect(Number(to.port), to.hostname);
      for (const socket of [client, server]) {
        socket.setNoDelay(true).on('error', () => {
          client.destroy();
          server.destroy();
        });
      }
      client.on('data', (chunk) => (this.sent += chunk.length));
      client.pipe(server).pipe(client);
    });
  }

  static async before(endpoint: string): Promise<Wire> {
    const wire = new Wire(new URL(endpoint));
    await new Promise<void>((resolve) => wire.server.listen(0, '127.0.0.1', resolve));
    wire.endpoint = `http://127.0.0.1:${(wire.server.address() as net.AddressInfo).port}`;
    return wire;
  }

  close(): void {
    this.server.close();
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
  const memory = await mkdtemp(path.join(process.platform === 'linux' ? '/dev/shm' : os.tmpdir(), 'snapferry-bench-'));
  try {
    const bench = await Bench.start(path.resolve(values.data ?? memory));
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
