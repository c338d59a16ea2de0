/**
 * How many requests of a kind are in flight at one store. It climbs while the throughput grows with it, or while answers
 * take hardly longer than the way there and back, so that a link of any latency is filled without a flag, goes down again
 * while fewer bring as much, and halves when the store asks to slow down.
 */
import { onAbort } from './abort';

export interface GateOptions {
  readonly start: number;
  readonly most: number;
  /** Answers of the store so far that asked to slow down. */
  readonly throttled: () => number;
  /** Its requests are alike, so that one that takes longer than another has waited for something. Default false. */
  readonly isAlike?: boolean;
  /** Monotonic milliseconds. */
  readonly now?: () => number;
}

/** Shorter ones measure noise. */
const WINDOW_MS = 400;
const STEP = 1.5;
/**
 * Of the throughput that a step would bring, or cost, if nothing else were in the way. Less is taken for "it is full".
 * Far below a half: where the throughput does not depend on the limit and only seems to, steps down are believed more
 * often than steps up.
 */
const WORTHWHILE = 0.3;
/**
 * Of the shortest answer, that the mean one takes at most while the line counts as empty. Then nothing waits at the
 * store: if a step brought no throughput, something else was in the way (the other end, or a program that warms up).
 */
const EMPTY_LINE = 1.5;
/** The shortest answer is forgotten slowly, doubling in three minutes: a route may get longer. */
const FORGOTTEN_IN_A_WINDOW = 1.002;
/** After a step that brought nothing, and after a throttle. Doubled each time in a row, up to a minute. */
const REST_MS = 4_000;
const LONGEST_REST_MS = 60_000;
const ONE_WARNING_MS = 1_000;
/** A program that has just begun becomes faster by itself: growth in this time is no sign of more in flight. */
const WARM_UP_MS = 2_000;

export class Gate {
  #limit: number;
  #inFlight = 0;
  readonly #waiting: (() => void)[] = [];

  /** Since the window began. */
  #windowFrom: number;
  #done = 0;
  #weight = 0;
  #wasFull = false;
  #latencyMs = 0;
  #shortestMs = Infinity;

  /** What the limit before the last step brought, and that limit: while it is not known what the step did. */
  #before: { readonly limit: number; readonly rate: number } | undefined;
  /** Which way the steps go; an up that brought nothing is followed by a down, and the other way round. */
  #isGoingDown = false;
  #restUntil = 0;
  #restMs = REST_MS;
  /** After a throttle, an empty line is no invitation. */
  #warnedUntil = 0;
  /** Since the first request. */
  #warmAt = Infinity;
  #throttled: number;
  #slowedAt = -Infinity;
  readonly #now: () => number;

  constructor(private readonly options: GateOptions) {
    this.#now = options.now ?? (() => performance.now());
    this.#limit = options.start;
    this.#windowFrom = this.#now();
    this.#throttled = options.throttled();
  }

  get limit(): number {
    return this.#limit;
  }

  /** Runs `work` when there is room. `weight` is what it moves, in one unit for all of this gate. */
  async run<T>(weight: number, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    const turn = this.#enter(signal);
    if (turn !== undefined) await turn;
    const from = this.#now();
    if (this.#warmAt === Infinity) this.#warmAt = from + WARM_UP_MS;
    try {
      const result = await work();
      const latencyMs = this.#now() - from;
      this.#done += 1;
      this.#weight += weight;
      this.#latencyMs += latencyMs;
      this.#shortestMs = Math.min(this.#shortestMs, latencyMs);
      return result;
    } finally {
      this.#leave();
    }
  }

  #enter(signal: AbortSignal): Promise<void> | undefined {
    signal.throwIfAborted();
    if (this.#inFlight < this.#limit) {
      this.#inFlight += 1;
      return undefined;
    }
    this.#wasFull = true;
    return new Promise((resolve, reject) => {
      const stopWaiting = onAbort(signal, () => {
        this.#waiting.splice(this.#waiting.indexOf(go), 1);
        reject(signal.reason as Error);
      });
      const go = () => {
        stopWaiting();
        resolve();
      };
      this.#waiting.push(go);
    });
  }

  #leave(): void {
    this.#inFlight -= 1;
    this.#judge();
    while (this.#waiting.length > 0 && this.#inFlight < this.#limit) {
      this.#inFlight += 1;
      this.#waiting.shift()!();
    }
  }

  /** At the end of a window: up, down, or as it is. */
  #judge(): void {
    const now = this.#now();
    const elapsed = now - this.#windowFrom;
    if (this.options.throttled() > this.#throttled) return this.#slowDown(now);
    // Each place has been used about once, else a long round trip looks like no throughput.
    if (elapsed < WINDOW_MS || this.#done < this.#limit) return;
    const rate = this.#weight / elapsed;
    const wasFull = this.#wasFull;
    const isEmptyLine = this.options.isAlike === true && this.#latencyMs / this.#done < this.#shortestMs * EMPTY_LINE;
    this.#shortestMs *= FORGOTTEN_IN_A_WINDOW;
    this.#begin(now);
    if (!wasFull) return;
    if (isEmptyLine && now >= this.#warnedUntil) return this.#climb();
    if (now < this.#restUntil || now < this.#warmAt) return;
    const before = this.#before ?? { limit: this.#limit, rate };
    const wanted = 1 + (this.#limit / before.limit - 1) * WORTHWHILE;
    if (rate >= before.rate * wanted) return this.#step(now, rate);
    this.#limit = before.limit;
    this.#turn(now);
  }

  #step(now: number, rate: number): void {
    const held = this.#limit;
    if (this.#before !== undefined) this.#restMs = REST_MS;
    this.#limit = this.#isGoingDown ? Math.max(this.options.start, Math.floor(held / STEP)) : this.#higher();
    if (this.#limit === held) this.#turn(now);
    else this.#before = { limit: held, rate };
  }

  #climb(): void {
    this.#restMs = REST_MS;
    this.#before = undefined;
    this.#isGoingDown = false;
    this.#limit = this.#higher();
  }

  #higher(): number {
    return Math.min(this.options.most, Math.ceil(this.#limit * STEP));
  }

  /** No more steps this way: after a rest, the other way. Below the start there is nothing to look for. */
  #turn(now: number): void {
    this.#isGoingDown = !this.#isGoingDown && this.#limit > this.options.start;
    this.#rest(now);
  }

  #slowDown(now: number): void {
    this.#throttled = this.options.throttled();
    // Those in flight were asked the same question: their answers count once.
    if (now - this.#slowedAt < ONE_WARNING_MS) return;
    this.#slowedAt = now;
    this.#limit = Math.max(1, Math.floor(this.#limit / 2));
    this.#isGoingDown = false;
    this.#rest(now);
    this.#warnedUntil = this.#restUntil;
    this.#begin(now);
  }

  /** What was measured before a rest says nothing about after it. */
  #rest(now: number): void {
    this.#before = undefined;
    this.#restUntil = now + this.#restMs;
    this.#restMs = Math.min(LONGEST_REST_MS, this.#restMs * 2);
  }

  #begin(now: number): void {
    this.#windowFrom = now;
    this.#done = 0;
    this.#weight = 0;
    this.#latencyMs = 0;
    this.#wasFull = false;
  }
}
