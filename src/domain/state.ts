import { formatDuration } from './durations';
import type {
  Exclusion,
  FreezeWindow,
  PlanRef,
  RoundSummary,
  Settings,
  ThrottleBefore,
  Totals,
  TransferProgress,
  VerifyResult,
  Writes,
} from './exchange';
import { forecast } from './forecast';
import { newestRounds } from './rounds';
import { sum, workOf } from './worked';
import type { TransferLimits } from './limits';

/** What `migrate` carries over continue-as-new: one JSON type, versioned. */
export interface MigrationState {
  readonly version: 1;
  readonly plan: PlanRef;
  readonly settings: Settings;
  /** The plan's, or those of the last `set-limits`. */
  readonly limits: TransferLimits;
  readonly warnings: readonly string[];
  readonly startedAt: number;
  /** Number of the next round; 0 is the baseline. */
  readonly nextRound: number;
  /** Attempts at `nextRound` so far. A new attempt has new work files, so proofs of an older plan never count for it. */
  readonly attempts: number;
  /** Where the last resolved scope lies. */
  readonly scope: { readonly round: number; readonly attempt: number } | undefined;
  /** The newest {@link KEPT_ROUNDS}, and among them always the one restored last; others live in the totals. */
  readonly rounds: readonly RoundSummary[];
  readonly totals: Totals;
  readonly givenUpInARow: number;
  readonly freezes: number;
  readonly freezeRequest: FreezeRequest | undefined;
  readonly roundRequested: boolean;
  /** Epoch milliseconds; undefined before the baseline. */
  readonly nextRoundAt: number | undefined;
  /** Milliseconds of the steps of the last freeze that was released: what only a freeze can measure. */
  readonly freezeSteps?: Readonly<Record<string, number>>;
  /** What the target's own throttle was before we changed it. Undo runs whenever the change may have been sent. */
  readonly throttle?: ThrottleBefore;
  /** What operators took out of the running migration, in that order. */
  readonly excluded?: readonly Exclusion[];
  /** The newest {@link KEPT_NOTES} sentences of what happened. */
  readonly notes: readonly Note[];
}

export interface Note {
  readonly at: number;
  readonly text: string;
}

export interface FreezeRequest {
  readonly at: number;
  readonly by: string | undefined;
  /** Waits for as long as it takes, instead of being dropped after ten minutes. */
  readonly whenReady: boolean;
  /** Begins although the forecast says that it does not fit `freezeAtMost`. */
  readonly force: boolean;
}

/** A month of rounds every 15 minutes is 3,000: state and report show the newest. */
export const KEPT_ROUNDS = 50;
export const KEPT_NOTES = 20;

/** A freeze that nobody expects any more must not begin: the operator has gone home. */
export const FREEZE_REQUEST_TTL_MS = 10 * 60_000;

/** Three in a row are no accident. */
export const GIVEN_UP_BEFORE_PARKING = 3;

export function firstState(
  plan: PlanRef,
  settings: Settings,
  warnings: readonly string[],
  startedAt: number,
): MigrationState {
  return {
    version: 1,
    plan,
    settings,
    limits: settings.limits,
    warnings,
    startedAt,
    nextRound: 0,
    attempts: 0,
    scope: undefined,
    rounds: [],
    totals: { rounds: 0, givenUp: 0, sentBlobs: 0, sentBytes: 0 },
    givenUpInARow: 0,
    freezes: 0,
    freezeRequest: undefined,
    roundRequested: false,
    nextRoundAt: undefined,
    notes: [],
  };
}

export function withNote(state: MigrationState, at: number, text: string): MigrationState {
  return { ...state, notes: [...state.notes, { at, text }].slice(-KEPT_NOTES) };
}

/**
 * Books a finished or given-up round, and says when the next one is due: the interval, stretched to what the round's own
 * steps worked. A round that was parked, or waited for a worker, is no reason to leave the source uncopied for as long.
 */
export function withRound(state: MigrationState, round: RoundSummary): MigrationState {
  const done = round.outcome === 'done';
  const took = sum(Object.values(workOf(round.steps, round.waited)));
  return {
    ...state,
    nextRound: done ? state.nextRound + 1 : state.nextRound,
    attempts: done ? 0 : state.attempts,
    rounds: newestRounds([...state.rounds, round], KEPT_ROUNDS),
    totals: {
      rounds: state.totals.rounds + (done ? 1 : 0),
      givenUp: state.totals.givenUp + (done ? 0 : 1),
      sentBlobs: state.totals.sentBlobs + round.sentBlobs,
      sentBytes: state.totals.sentBytes + round.sentBytes,
    },
    givenUpInARow: done ? 0 : state.givenUpInARow + 1,
    nextRoundAt: round.endedAt + Math.max(state.settings.everyMs, took),
  };
}

export function roundsPaused(state: MigrationState): boolean {
  const { atMost } = state.settings;
  return atMost !== undefined && state.totals.rounds >= atMost;
}

export type FreezeDecision =
  | { readonly kind: 'begin' }
  | { readonly kind: 'wait' }
  | { readonly kind: 'held'; readonly why: string }
  | { readonly kind: 'drop'; readonly why: string };

/**
 * Whether a requested freeze begins now. Asked between rounds.
 *
 * | baseline done | older than 10 min | whenReady | forecast fits freezeAtMost | force | -> |
 * |---|---|---|---|---|---|
 * | no  | no  | any | -   | -   | wait |
 * | any | yes | no  | -   | -   | drop |
 * | no  | yes | yes | -   | -   | wait |
 * | yes | -   | -   | yes | any | begin |
 * | yes | -   | -   | no  | yes | begin |
 * | yes | -   | -   | no  | no  | held |
 */
export function decideFreeze(state: MigrationState, now: number): FreezeDecision {
  const request = state.freezeRequest;
  if (request === undefined) return { kind: 'wait' };
  if (!request.whenReady && now - request.at > FREEZE_REQUEST_TTL_MS) {
    return {
      kind: 'drop',
      why: 'freeze-writes was dropped: the freeze could not begin within 10 minutes. Send it again, or with {"whenReady":true}',
    };
  }
  if (!state.rounds.some((round) => round.outcome === 'done')) return { kind: 'wait' };
  const foreseen = forecast(state, now);
  const { freezeAtMostMs } = state.settings;
  if (foreseen === undefined || foreseen.windowMs <= freezeAtMostMs || request.force) return { kind: 'begin' };
  return {
    kind: 'held',
    why:
      `freeze-writes is held: it would take about ${formatDuration(foreseen.windowMs)}, longer than freezeAtMost ` +
      `(${formatDuration(freezeAtMostMs)}): ${foreseen.advice.sentence}. Send it with {"force":true} to freeze all the same`,
  };
}

export type Phase =
  | 'preflight'
  | 'baseline'
  | 'round'
  | 'between rounds'
  | 'freezing'
  | 'cutover'
  | 'awaiting approval'
  | 'committed'
  | 'watching'
  | 'rolling back'
  | 'done'
  | 'aborting';

export interface Park {
  readonly step: string;
  readonly code: string;
  readonly why: string;
  readonly since: number;
  /** When it retries by itself; undefined when it waits for the operator alone. */
  readonly retriesAt: number | undefined;
}

/** Everything `status` and Temporal Web are told from. */
export interface View {
  readonly phase: Phase;
  readonly step: string | undefined;
  readonly state: MigrationState | undefined;
  readonly park: Park | undefined;
  /** Why a requested freeze does not begin yet, where that is no decision of {@link decideFreeze}. */
  readonly freezeWaitsFor?: string | undefined;
  readonly progress: TransferProgress | undefined;
  readonly freeze:
    | {
        readonly lease: string;
        readonly deadline: number;
        readonly firstBlockAt: number | undefined;
        readonly quiescentAt: number | undefined;
      }
    | undefined;
  readonly approval: 'not needed' | 'given' | 'needed' | 'not yet';
  readonly freezeWindow: FreezeWindow | undefined;
  /** Of the present freeze. */
  readonly verification: VerifyResult | undefined;
  /** After the switchover. */
  readonly watching: { readonly until: number; readonly writes: Writes | undefined } | undefined;
  /** What remains to be done where it was stopped after the commit. */
  readonly stopped?: string;
}
