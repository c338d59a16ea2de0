import { createHash } from 'node:crypto';
import { createWriteStream, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import { formatBytes, formatDuration } from '../domain/durations';
import { Engine } from '../storage';
import type { CopySource, CopyTarget } from '../storage';
import { planSnapshot, planWhole, runMirror } from '../steps/mirror';
import type { Amount, MirrorPlan, MirrorProof } from '../steps/mirror';

export interface CopyCommand {
  readonly source: CopySource;
  readonly target: CopyTarget;
  /** Undefined: the whole prefix. */
  readonly snapshot?: string;
  readonly dryRun: boolean;
  /** Bytes a second at most. */
  readonly bytesPerSecond?: number;
  /** Where the proofs of this pair of places are kept. */
  readonly evidence: string;
}

export interface CopyTerminal {
  out(line: string): void;
  err(line: string): void;
  /** Rewrites one line; undefined where nobody watches. */
  readonly live?: (line: string) => void;
}

/** Seldom enough to cost nothing, often enough to look alive. */
const SHOW_EVERY_MS = 500;
const SAY_EVERY_MS = 30_000;
/** About a hundred proofs of small blobs, which a killed run may lose: those are sent again. Larger ones are noted at once. */
const EVIDENCE_CHARACTERS = 30_000;
const WORTH_NOTING_BYTES = 1024 * 1024;

/**
 * `snapferry copy SRC DST`: sends what the target lacks, proves it, and says what it did. Run again after anything, it
 * goes on where it was. Throws what `planSnapshot`, `planWhole` and `runMirror` throw.
 */
export async function copy(command: CopyCommand, terminal: CopyTerminal, signal: AbortSignal): Promise<void> {
  const { source, target, snapshot } = command;
  const evidence = new EvidenceFile(command.evidence);
  const before = evidence.read();
  const plan =
    snapshot === undefined
      ? await planWhole(source, target, before, signal)
      : await planSnapshot(source, target, snapshot, before, signal);
  if (command.dryRun) return sayPlan(plan, terminal);
  const { bytesPerSecond } = command;
  const engine = new Engine(bytesPerSecond === undefined ? {} : { limits: { bytesPerSecond } });
  const meter = new Meter(plan.send, terminal);
  evidence.open();
  try {
    await runMirror(engine, source, target, plan, {
      signal,
      progress: (done) => meter.add(done),
      proved: (proof) => evidence.add(proof),
      retrying: ({ message }, pauseMs) => meter.say(`again in ${formatDuration(pauseMs)}: ${message}`),
    });
  } finally {
    meter.end();
    await evidence.close();
  }
  terminal.out(
    `copied ${amount(plan.send)} in ${formatDuration(meter.elapsedMs)}; ${amount(plan.held)} were there already`,
  );
}

/** One file for each pair of places, below the folder where programs of this user keep their state. */
export function evidenceFileOf(
  source: CopySource,
  target: CopyTarget,
  env: Readonly<Record<string, string | undefined>>,
) {
  const state = env['XDG_STATE_HOME'] ?? path.join(homedir(), '.local', 'state');
  const places = [source, target].map(({ store, basePath }) => `${store.description}\n${basePath}`).join('\n');
  const id = createHash('sha256').update(places).digest('hex').slice(0, 16);
  return path.join(state, 'snapferry', 'copies', `${id}.jsonl`);
}

function sayPlan({ phases, send, held }: MirrorPlan, terminal: CopyTerminal): void {
  for (const { phase, files } of phases) {
    const blobs = files.flatMap((file) => file.blobs);
    const bytes = blobs.reduce((sum, { length }) => sum + length, 0);
    terminal.out(`${phase.padEnd(22)}  ${amount({ blobs: blobs.length, bytes })}`);
  }
  terminal.out(`would copy ${amount(send)}; ${amount(held)} are there already`);
}

function amount({ blobs, bytes }: Amount): string {
  return `${blobs.toLocaleString('en')} ${blobs === 1 ? 'blob' : 'blobs'} (${formatBytes(bytes)})`;
}

/** How far it is: on one line for who watches, now and then on a line of its own for a log. */
class Meter {
  #blobs = 0;
  #bytes = 0;
  readonly #from = Date.now();
  #to: number | undefined;
  #said = Date.now();
  readonly #timer: NodeJS.Timeout;

  constructor(
    private readonly all: Amount,
    private readonly terminal: CopyTerminal,
  ) {
    this.#timer = setInterval(() => this.#show(), SHOW_EVERY_MS).unref();
  }

  get elapsedMs(): number {
    return (this.#to ?? Date.now()) - this.#from;
  }

  add({ blobs, bytes }: Amount): void {
    this.#blobs += blobs;
    this.#bytes += bytes;
  }

  say(line: string): void {
    this.terminal.live?.('');
    this.terminal.err(line);
  }

  end(): void {
    clearInterval(this.#timer);
    this.#to = Date.now();
    this.terminal.live?.('');
  }

  #show(): void {
    if (this.terminal.live) return this.terminal.live(this.#line());
    if (Date.now() - this.#said < SAY_EVERY_MS) return;
    this.#said = Date.now();
    this.terminal.err(this.#line());
  }

  #line(): string {
    const perSecond = this.#bytes / (this.elapsedMs / 1000);
    const rest = this.all.bytes - this.#bytes;
    const left = perSecond > 0 ? `, about ${formatDuration((rest / perSecond) * 1000)} left` : '';
    const blobs = `${this.#blobs.toLocaleString('en')} of ${this.all.blobs.toLocaleString('en')} blobs`;
    return `${formatBytes(this.#bytes)} of ${formatBytes(this.all.bytes)}, ${blobs}, ${formatBytes(perSecond)}/s${left}`;
  }
}

/**
 * What earlier runs proved, one JSON line for each blob; the last one of a key counts. Not in the target, which is to
 * hold nothing but the copy. Without it everything is right and more is sent.
 */
class EvidenceFile {
  readonly #proofs = new Map<string, MirrorProof>();
  #stream: ReturnType<typeof createWriteStream> | undefined;
  #lines = '';

  constructor(private readonly file: string) {}

  read(): ReadonlyMap<string, MirrorProof> {
    if (!existsSync(this.file)) return this.#proofs;
    for (const line of readFileSync(this.file, 'utf8').split('\n')) {
      const proof = parsed(line);
      if (proof !== undefined) this.#proofs.set(proof.key, proof);
    }
    return this.#proofs;
  }

  /** Rewrites the file without what later lines replaced, and goes on behind. */
  open(): void {
    mkdirSync(path.dirname(this.file), { recursive: true });
    const lines = [...this.#proofs.values()].map((proof) => `${JSON.stringify(proof)}\n`);
    writeFileSync(`${this.file}.new`, lines.join(''));
    renameSync(`${this.file}.new`, this.file);
    this.#stream = createWriteStream(this.file, { flags: 'a' });
  }

  add(proof: MirrorProof): void {
    this.#lines += `${JSON.stringify(proof)}\n`;
    if (proof.length > WORTH_NOTING_BYTES || this.#lines.length > EVIDENCE_CHARACTERS) this.#flush();
  }

  #flush(): void {
    this.#stream?.write(this.#lines);
    this.#lines = '';
  }

  close(): Promise<void> {
    this.#flush();
    return new Promise((resolve, reject) => {
      this.#stream?.once('error', reject);
      this.#stream?.end(resolve);
    });
  }
}

/** The last line of a killed run may be half of one. */
function parsed(line: string): MirrorProof | undefined {
  if (line === '') return undefined;
  try {
    return JSON.parse(line) as MirrorProof;
  } catch {
    return undefined;
  }
}
