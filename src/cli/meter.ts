import { formatBytes, formatDuration } from '../domain/durations';
import type { Amount } from '../steps/mirror';

/** Where a command that takes long speaks. */
export interface LongTerminal {
  out(line: string): void;
  err(line: string): void;
  /** Rewrites one line; undefined where nobody watches. */
  readonly live?: (line: string) => void;
}

/** Seldom enough to cost nothing, often enough to look alive. */
const SHOW_EVERY_MS = 500;
const SAY_EVERY_MS = 30_000;

/** How far it is: on one line for who watches, now and then on a line of its own for a log. */
export class Meter {
  #done: Amount = { blobs: 0, bytes: 0 };
  readonly #from = Date.now();
  #to: number | undefined;
  #said = Date.now();
  #isShown = false;
  readonly #timer: NodeJS.Timeout;

  constructor(
    /** Undefined where it is known at the end only. */
    private readonly all: Amount | undefined,
    private readonly terminal: LongTerminal,
    /** What takes the time, hence tells how much of it is left. */
    private readonly by: keyof Amount = 'bytes',
  ) {
    this.#timer = setInterval(() => this.#show(), SHOW_EVERY_MS).unref();
  }

  get elapsedMs(): number {
    return (this.#to ?? Date.now()) - this.#from;
  }

  get done(): Amount {
    return this.#done;
  }

  add({ blobs, bytes }: Amount): void {
    this.#done = { blobs: this.#done.blobs + blobs, bytes: this.#done.bytes + bytes };
  }

  say(line: string): void {
    this.clear();
    this.terminal.err(line);
  }

  /** Makes room for a line of somebody else. */
  clear(): void {
    if (this.#isShown) this.terminal.live?.('');
    this.#isShown = false;
  }

  end(): void {
    clearInterval(this.#timer);
    this.#to = Date.now();
    this.clear();
  }

  #show(): void {
    if (this.terminal.live) {
      this.#isShown = true;
      return this.terminal.live(this.#line());
    }
    if (Date.now() - this.#said < SAY_EVERY_MS) return;
    this.#said = Date.now();
    this.terminal.err(this.#line());
  }

  #line(): string {
    const perSecond = this.#done[this.by] / (this.elapsedMs / 1000);
    const rate = this.by === 'bytes' ? `${formatBytes(perSecond)}/s` : `${Math.round(perSecond)} blobs/s`;
    const done = `${formatBytes(this.#done.bytes)}${this.#of('bytes', formatBytes)}`;
    const blobs = `${count(this.#done.blobs)}${this.#of('blobs', count)} blobs`;
    const rest = this.all && this.all[this.by] - this.#done[this.by];
    const left = rest && perSecond > 0 ? `, about ${formatDuration((rest / perSecond) * 1000)} left` : '';
    return `${done}, ${blobs}, ${rate}${left}`;
  }

  #of(what: keyof Amount, show: (amount: number) => string): string {
    return this.all === undefined ? '' : ` of ${show(this.all[what])}`;
  }
}

export function amount({ blobs, bytes }: Amount): string {
  return `${count(blobs)} ${blobs === 1 ? 'blob' : 'blobs'} (${formatBytes(bytes)})`;
}

/** As `toLocaleString`, which takes 30 ms the first time. */
export function count(blobs: number): string {
  return String(blobs).replace(/\B(?=(\d{3})+$)/g, ',');
}
