import { UnavailableError } from '../domain/errors';

/**
 * What a step is given besides its input. Steps know no Temporal: an activity passes heartbeats and cancellation
 * through here, the CLI passes a progress line and Ctrl-C.
 */
export interface StepContext {
  /** Rejects everything in flight with its `reason`. */
  readonly signal: AbortSignal;
  /** Reports real progress (never on a blind timer, which would hide a hung socket). Flat, human, no secrets. */
  progress(details: Readonly<Record<string, unknown>>): void;
  /** What the previous attempt of this step reported last; undefined on a first attempt. A hint, never the truth. */
  readonly resumed: Readonly<Record<string, unknown>> | undefined;
  /**
   * Epoch milliseconds after which no request that changes something may be started: by then a successor may run.
   * Steps that change clusters check it right before each such request.
   */
  readonly actUntil: number;
}

/** What reading alone needs of a context. */
export type Telling = Pick<StepContext, 'signal' | 'progress'>;

/** Throws when a successor of this attempt may already run: nothing may be changed any more. */
export function assertMayAct(context: StepContext, requestTimeoutMs: number): void {
  context.signal.throwIfAborted();
  if (Date.now() + requestTimeoutMs < context.actUntil) return;
  throw new UnavailableError('This attempt is too old to change anything: a newer one takes over');
}
