import { setTimeout as sleep } from 'node:timers/promises';
import { limitInForce } from '../domain/limits';
import type { TransferLimits } from '../domain/limits';
import type { WriteLimitsInput } from '../domain/exchange';
import { WorkKeys } from '../domain/names';
import { parseLimits } from '../domain/plan';
import type { Side } from '../domain/contents';
import { Bucket, Pace } from '../storage';
import type { Store } from '../storage';
import { assertMayAct } from './context';
import type { StepContext } from './context';
import { readJson, writeJson } from './files';
import type { StepDeps } from './migration';

/**
 * Limits that change while copies and verifications run. `set-limits` writes `limits.json`; every process that copies for
 * the migration, or verifies it, reads it again and again, and what waits follows at once. Each migration of a process has a pace of its own, so the
 * limits of one do not slow another; each process keeps to them by itself.
 */

const WRITE_TIMEOUT_MS = 30_000;
const READ_EVERY_MS = 5_000;
/** Often enough that waiting on purpose is never taken for hanging (activities/run.ts). */
const SAY_WAITING_EVERY_MS = 10_000;

/**
 * Puts these limits in force, in place of all before them, the plan's too. Throws `ConfigurationError` for limits that
 * are none; then nothing has changed.
 */
export async function writeLimits(
  deps: StepDeps,
  input: WriteLimitsInput,
  context: StepContext,
): Promise<TransferLimits> {
  const limits = parseLimits(input.limits);
  assertMayAct(context, WRITE_TIMEOUT_MS);
  const { store, prefix } = input.plan;
  await writeJson(deps.store(store), new WorkKeys(prefix).limits, limits, context.signal);
  return limits;
}

/** Where the limits of a migration stand. */
export interface LimitedMigration {
  readonly targetStore: Store;
  readonly keys: WorkKeys;
  readonly plan: { readonly limits: TransferLimits };
}

export interface LimitedCopy {
  readonly signal: AbortSignal;
  /** Called now and then while something waits for its turn: that is no hanging. */
  readonly waiting: () => void;
}

/** What is in force while a copy or a verification runs. */
export interface RunningPace extends Pick<Pace, 'take'> {
  /** Resolves when so many documents of a cluster may be read. Rejects with the signal's reason. */
  read(side: Side, documents: number, signal: AbortSignal): Promise<void>;
  /** Of each cluster; undefined where there is no limit. */
  documentsPerSecond(): number | undefined;
}

/** The paces of one process, by migration. Read again only while a copy of the migration runs. */
export class LiveLimits {
  readonly #known = new Map<string, LivePace>();

  constructor(private readonly readEveryMs = READ_EVERY_MS) {}

  /**
   * Runs `copy` with the pace of its migration, which is at most one reading old. A reading that fails while copies
   * run changes nothing; one at the start is thrown, as the store's error or `BlobCorruptError`.
   */
  async during<T>(
    migration: LimitedMigration,
    limited: LimitedCopy,
    copy: (pace: RunningPace) => Promise<T>,
  ): Promise<T> {
    const { prefix } = migration.keys;
    let live = this.#known.get(prefix);
    if (live === undefined) this.#known.set(prefix, (live = new LivePace(this.readEveryMs)));
    return live.during(migration, limited, copy);
  }
}

/** Outlives its copies: what was taken in advance is paid for by the next one. */
class LivePace {
  readonly #pace = new Pace();
  readonly #documents: Readonly<Record<Side, Bucket>> = { source: new Bucket(), target: new Bucket() };
  #limits: TransferLimits = {};
  #readAt = -Infinity;
  #copies = 0;
  #watch: AbortController | undefined;

  constructor(private readonly readEveryMs: number) {}

  async during<T>(
    migration: LimitedMigration,
    limited: LimitedCopy,
    copy: (pace: RunningPace) => Promise<T>,
  ): Promise<T> {
    if (performance.now() - this.#readAt >= this.readEveryMs) await this.#read(migration, limited.signal);
    this.#copies += 1;
    if (this.#watch === undefined) {
      this.#watch = new AbortController();
      void this.#readOn(migration, this.#watch.signal);
    }
    try {
      return await copy(this.#running(limited));
    } finally {
      this.#copies -= 1;
      if (this.#copies === 0) {
        this.#watch?.abort(new Error('no copy runs any more'));
        this.#watch = undefined;
      }
    }
  }

  #running({ waiting }: LimitedCopy): RunningPace {
    const saying = (turn: Promise<void>) => {
      const timer = setInterval(waiting, SAY_WAITING_EVERY_MS);
      return turn.finally(() => clearInterval(timer));
    };
    return {
      take: async (bytes, requests, signal) => {
        if (this.#pace.isLimited) await saying(this.#pace.take(bytes, requests, signal));
      },
      read: async (side, documents, signal) => {
        const bucket = this.#documents[side];
        if (!bucket.isFree()) await saying(bucket.take(documents, signal));
      },
      documentsPerSecond: () => this.#documents.source.perSecond,
    };
  }

  /** Never rejects. */
  async #readOn(migration: LimitedMigration, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      // The pause ends early, with an error, when no copy runs any more.
      await sleep(this.readEveryMs, undefined, { signal }).catch(() => undefined);
      if (signal.aborted) return;
      // An hour may have passed although nothing could be read; the start of the next copy says what is wrong.
      await this.#read(migration, signal).catch(() => this.#apply());
    }
  }

  async #read({ targetStore, keys, plan }: LimitedMigration, signal: AbortSignal): Promise<void> {
    this.#limits = (await readJson<TransferLimits>(targetStore, keys.limits, signal)) ?? plan.limits;
    this.#readAt = performance.now();
    this.#apply();
  }

  #apply(): void {
    const bytesPerSecond = limitInForce(this.#limits, Date.now());
    this.#pace.set(bytesPerSecond === undefined ? {} : { bytesPerSecond });
    for (const bucket of Object.values(this.#documents)) bucket.perSecond = this.#limits.verifyDocumentsPerSecond;
  }
}
