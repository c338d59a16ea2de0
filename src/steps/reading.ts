import type { Side } from '../domain/contents';
import { UnavailableError } from '../domain/errors';
import { Gate } from '../storage/gate';
import type { Telling } from './context';
import type { RunningPace } from './limits';
import { pause } from './pause';

/**
 * How verification reads two clusters that serve users beside it: the source is frozen and searched all the same. At most
 * so many requests at once, as many documents a second as the limit says, and less as soon as the cluster says so: what
 * it rejects is asked for again after the time that it names, and half as much at once from then on.
 */

const FIRST_PAUSE_MS = 500;
/** A scroll lives for five minutes between two of its pages. */
const PAUSE_AT_MOST_MS = 60_000;
const REJECTED_AT_MOST = 8;
/** Of the limit, that one request may take: others wait for their turn meanwhile, and keep their scrolls. */
const SECONDS_OF_A_PAGE = 10;

export class Reading {
  private readonly rejected = { source: 0, target: 0 };
  private readonly gates: Readonly<Record<Side, Gate>>;

  constructor(
    private readonly pace: Pick<RunningPace, 'read' | 'documentsPerSecond'>,
    private readonly telling: Pick<Telling, 'progress'>,
    atOnce: number,
  ) {
    const gate = (side: Side) => new Gate({ start: atOnce, most: atOnce, throttled: () => this.rejected[side] });
    this.gates = { source: gate('source'), target: gate('target') };
  }

  /** Of `size` documents as many as fit the limit that is in force now, at least 10. */
  pageSize(size: number): number {
    const perSecond = this.pace.documentsPerSecond();
    return perSecond === undefined ? size : Math.max(10, Math.min(size, perSecond * SECONDS_OF_A_PAGE));
  }

  /**
   * One request for at most so many documents, in its turn. Repeated while the cluster rejects it; Temporal goes on where
   * it does so for too long. Rejects with the error of the request, or the signal's reason.
   */
  async read<T>(side: Side, documents: number, signal: AbortSignal, request: () => Promise<T>): Promise<T> {
    for (let pauses = 0; ; pauses += 1) {
      await this.pace.read(side, documents, signal);
      try {
        return await this.gates[side].run(documents, signal, request);
      } catch (error) {
        const pauseMs = pauseAfter(error, pauses);
        if (pauseMs === undefined) throw error;
        this.rejected[side] += 1;
        this.telling.progress({ step: `the ${side} has too much to do`, goesOnInSeconds: Math.ceil(pauseMs / 1_000) });
        await pause(pauseMs, signal);
      }
    }
  }
}

/** Undefined where the same request may not be repeated here. */
function pauseAfter(error: unknown, pauses: number): number | undefined {
  if (!(error instanceof UnavailableError) || !error.isRejected || pauses >= REJECTED_AT_MOST) return undefined;
  const pauseMs = error.retryAfterMs ?? Math.min(PAUSE_AT_MOST_MS, FIRST_PAUSE_MS * 2 ** pauses);
  return pauseMs > PAUSE_AT_MOST_MS ? undefined : pauseMs;
}
