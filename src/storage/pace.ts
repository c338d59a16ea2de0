/** What a transfer may use at most. Without a number: as much as there is. */
export interface Limits {
  readonly bytesPerSecond?: number;
  readonly requestsPerSecond?: number;
}

/** What may be used at once after a pause, in seconds of the limit. */
const BURST_SECONDS = 0.25;
/** A limit that is raised is felt after this long by those who wait under the old one. */
const LOOK_AGAIN_MS = 500;

const AT_ONCE = Promise.resolve();

/** Token buckets for bytes and requests. Changing the limits takes effect on what waits, too. */
export class Pace {
  readonly #bytes: Bucket;
  readonly #requests: Bucket;

  constructor(limits: Limits = {}, now: () => number = Date.now) {
    this.#bytes = new Bucket({ ...CLOCK, now });
    this.#requests = new Bucket({ ...CLOCK, now });
    this.set(limits);
  }

  set({ bytesPerSecond, requestsPerSecond }: Limits): void {
    this.#bytes.perSecond = bytesPerSecond;
    this.#requests.perSecond = requestsPerSecond;
  }

  /** Whether anything has to wait now. */
  get isLimited(): boolean {
    return !this.#bytes.isFree() || !this.#requests.isFree();
  }

  /** Resolves when that much may be sent. Rejects with the signal's reason. */
  take(bytes: number, requests: number, signal: AbortSignal): Promise<void> {
    return this.isLimited ? this.#takeInTurn(bytes, requests, signal) : AT_ONCE;
  }

  async #takeInTurn(bytes: number, requests: number, signal: AbortSignal): Promise<void> {
    if (!this.#bytes.isFree()) await this.#bytes.take(bytes, signal);
    if (!this.#requests.isFree()) await this.#requests.take(requests, signal);
  }
}

/** Epoch or monotonic milliseconds, and a pause of so many. */
export interface Clock {
  readonly now: () => number;
  readonly sleep: (ms: number) => Promise<unknown>;
}

const CLOCK: Clock = { now: Date.now, sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms)) };

/** Tokens of one kind, filled evenly. `perSecond` may be changed while somebody waits; undefined is no limit. */
export class Bucket {
  perSecond: number | undefined;
  /** Negative when more was taken than there was: whoever comes next waits. A large blob is thus taken whole. */
  #tokens = 0;
  #filledAt: number;
  #queue: Promise<void> = Promise.resolve();

  constructor(private readonly clock: Clock = CLOCK) {
    this.#filledAt = clock.now();
  }

  isFree(): boolean {
    return this.perSecond === undefined;
  }

  /** In turn: a small request does not slip past a large one for ever. */
  take(amount: number, signal: AbortSignal): Promise<void> {
    const turn = this.#queue.then(async () => {
      while (this.#fill() < 0) {
        signal.throwIfAborted();
        const missingMs = (-this.#tokens / this.perSecond!) * 1000;
        await this.clock.sleep(Math.min(LOOK_AGAIN_MS, Math.ceil(missingMs)));
      }
      signal.throwIfAborted();
      this.#tokens -= amount;
    });
    this.#queue = turn.catch(() => undefined);
    return turn;
  }

  /** Tokens there are now; none are counted where there is no limit. */
  #fill(): number {
    const now = this.clock.now();
    const passedSeconds = (now - this.#filledAt) / 1000;
    this.#filledAt = now;
    if (this.perSecond === undefined) return (this.#tokens = 0);
    this.#tokens = Math.min(this.#tokens + passedSeconds * this.perSecond, BURST_SECONDS * this.perSecond);
    return this.#tokens;
  }
}
