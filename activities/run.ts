import { setMaxListeners } from 'node:events';
import { Context } from '@temporalio/activity';
import type { StepContext } from '../src/steps/context';
import type { StepDeps } from '../src/steps/migration';
import type { Worked } from '../src/domain/worked';
import { toFailure } from './failures';

/** A step as `src/steps` writes it. */
export type Step<Input, Result> = (deps: StepDeps, input: Input, context: StepContext) => Promise<Result>;

/**
 * A step that shows no progress for this long is hung, whatever its sockets say: then its heartbeats stop, and the
 * server gives the work to somebody else. Longer than the longest request (3 minutes on a busy 5.x node).
 */
const HUNG_AFTER_MS = 4 * 60_000;
/** A batch makes progress hundreds of times a second, and telling of all that it did costs as much as doing it. */
const BEAT_AT_MOST_EVERY_MS = 1_000;

/** Wraps a step as an activity: heartbeats, cancellation, the failure table. It decides nothing. */
export function asActivity<Input, Result>(
  deps: StepDeps,
  step: Step<Input, Result>,
): (input: Input) => Promise<Result> {
  return async (input) => {
    const pulse = new Pulse();
    try {
      return await step(deps, input, pulse.context);
    } catch (error) {
      pulse.tellRest();
      // An aborted request may surface as any error; the reason tells cancellation from shutdown.
      if (pulse.context.signal.aborted) throw pulse.context.signal.reason;
      throw toFailure(error);
    } finally {
      pulse.stop();
    }
  };
}

/** As {@link asActivity}, of a step whose length is measured: with how long this attempt ran, where the step says no other. */
export function asMeasuredActivity<Input, Result extends object>(
  deps: StepDeps,
  step: Step<Input, Result>,
): (input: Input) => Promise<Result & Worked> {
  return asActivity(deps, async (...given) => {
    const started = new Stopwatch();
    const result = await step(...given);
    return { workedMs: Math.round(started.elapsedMs()), ...result };
  });
}

/** Beats while the step makes progress, and knows how long this attempt may still change things. */
class Pulse {
  readonly context: StepContext;
  /** Asked for once: progress may be told from outside the activity's asynchronous context. */
  private readonly activity = Context.current();
  private readonly info = this.activity.info;
  private readonly started = new Stopwatch();
  private readonly timer: NodeJS.Timeout | undefined;
  private details: Readonly<Record<string, unknown>> = {};
  private progressed = this.started;
  private beaten = this.started;
  private isTold = true;

  constructor() {
    const signal = this.activity.cancellationSignal;
    // One for each request in flight is no leak, of which Node would warn from the eleventh on.
    setMaxListeners(0, signal);
    const context = {
      signal,
      progress: (details: Readonly<Record<string, unknown>>) => this.progress(details),
      resumed: asRecord(this.info.heartbeatDetails),
      actUntil: 0,
    };
    // Asked anew at each look: how long this attempt may act depends on when it last beat.
    this.context = Object.defineProperty(context, 'actUntil', { get: () => this.actUntil() });
    const { heartbeatTimeoutMs } = this.info;
    if (heartbeatTimeoutMs !== undefined && heartbeatTimeoutMs > 0) {
      this.details = this.context.resumed ?? {};
      this.timer = setInterval(() => this.beat(), Math.min(2_000, heartbeatTimeoutMs / 4));
    }
  }

  stop(): void {
    clearInterval(this.timer);
  }

  private progress(details: Readonly<Record<string, unknown>>): void {
    this.details = details;
    this.progressed = new Stopwatch();
    this.isTold = false;
    if (this.timer !== undefined && this.beaten.elapsedMs() >= BEAT_AT_MOST_EVERY_MS) this.beat();
  }

  /** Before this attempt fails: what the next one need not do again. */
  tellRest(): void {
    if (this.timer !== undefined && !this.isTold) this.beat();
  }

  private beat(): void {
    if (this.progressed.elapsedMs() > HUNG_AFTER_MS) return;
    // Too late once is too late for good: on waking up, a timer beats before anything asks whether it may still act.
    if (!this.isLate()) this.beaten = new Stopwatch();
    this.isTold = true;
    this.activity.heartbeat(this.details);
  }

  /**
   * A process that was stopped (SIGSTOP, a sleeping laptop) finds its last beat too old when it wakes up: by then a
   * successor may run, so nothing may be changed any more. Otherwise the attempt ends with start-to-close.
   */
  private actUntil(): number {
    return Date.now() + (this.isLate() ? 0 : this.info.startToCloseTimeoutMs - this.started.elapsedMs());
  }

  private isLate(): boolean {
    const { heartbeatTimeoutMs } = this.info;
    if (this.timer === undefined || heartbeatTimeoutMs === undefined) return false;
    return this.beaten.elapsedMs() > heartbeatTimeoutMs * 0.8;
  }
}

/** By the clock that says more: the one may be set, the other stands still while a machine sleeps. */
class Stopwatch {
  private readonly wall = Date.now();
  private readonly steady = performance.now();

  elapsedMs(): number {
    return Math.max(Date.now() - this.wall, performance.now() - this.steady);
  }
}

function asRecord(value: unknown): Readonly<Record<string, unknown>> | undefined {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
}
