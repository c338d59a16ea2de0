import { formatBytes, formatDuration } from './durations';
import type { Exclusion, RoundSummary, TransferProgress, VerifyResult } from './exchange';
import { forecast, forecastSentence } from './forecast';
import type { Forecast } from './forecast';
import { limitText } from './limits';
import { decideFreeze, roundsPaused } from './state';
import type { Park, View } from './state';
import { windowText } from './window';
import { toAccept, writesText } from './writes';

/**
 * What people read while it runs: Temporal Web's current details and the `status` query say the same, from one view.
 * Lists, not wide tables, and what the operator can do now comes first: Temporal Web clips long details.
 */

/** The answer of the `status` query. */
export interface Status {
  readonly phase: string;
  readonly step?: string;
  readonly round: number;
  readonly youCan: readonly string[];
  readonly parked?: {
    readonly step: string;
    readonly code: string;
    readonly why: string;
    readonly since: string;
    /** When it is tried again without anybody's help; absent when it waits for the operator alone. */
    readonly retriesAt?: string;
  };
  /** A freeze that was asked for and has not begun; absent while there is none. */
  readonly freezeRequest?: { readonly at: string; readonly by?: string; readonly state: string };
  readonly progress?: {
    readonly phase: string;
    readonly blobs: string;
    readonly bytes: string;
    readonly percent: number;
    readonly bytesPerSecond: number | null;
    readonly etaSeconds: number | null;
  };
  /** Bytes per second that each transfer worker process may move: `20 MiB/s`. */
  readonly limit?: string;
  readonly freeze?: { readonly lease: string; readonly deadline: string; readonly writesBlockedAt?: string };
  readonly verification?: {
    readonly passed: number;
    readonly failed: number;
    readonly waived: number;
    readonly documents: number;
    /** The first failed checks, a sentence each, beginning with the id that `waive` takes. */
    readonly failures: readonly string[];
  };
  /** After the switchover: what clients have written on the target; a number, or `unknown, at least N`. */
  readonly watch?: { readonly until: string; readonly writesSinceSwitch?: string };
  readonly nextRound?: string;
  /** `rounds.window`: `from 22:00 to 06:00 Asia/Singapore`. */
  readonly roundsStart?: string;
  /** `index by who: why`, of what was excluded; absent while nothing is. */
  readonly excluded?: readonly string[];
  /** Nulls before there is a round to measure. */
  readonly forecast: {
    readonly freezeWindowMs: number | null;
    readonly lowMs: number | null;
    readonly highMs: number | null;
    readonly fetchBytes: number | null;
    readonly advice: string | null;
  };
  readonly rounds: readonly string[];
  readonly totals: {
    readonly rounds: number;
    readonly givenUp: number;
    readonly sentBlobs: number;
    readonly sentBytes: number;
  };
  readonly warnings: readonly string[];
  readonly notes: readonly string[];
}

const EXCLUDE = 'update `exclude` {"index","who","why"}: go on without an index';

const iso = (ms: number) => new Date(ms).toISOString();
const clock = (ms: number) => `${iso(ms).slice(11, 19)} UTC`;

export function statusOf(view: View, now: number): Status {
  const { state, park, progress, freeze } = view;
  const foreseen = state === undefined ? undefined : forecast(state, now);
  const limit = limitText(state?.limits ?? {}, now);
  return {
    phase: park === undefined ? view.phase : 'parked',
    ...(view.step === undefined ? {} : { step: view.step }),
    round: state?.nextRound ?? 0,
    youCan: operatorCan(view, now),
    ...(park === undefined ? {} : { parked: parkOf(park) }),
    ...freezeRequestOf(view, now),
    ...(progress === undefined ? {} : { progress: progressOf(progress) }),
    ...(limit === undefined ? {} : { limit }),
    ...(freeze === undefined
      ? {}
      : {
          freeze: {
            lease: freeze.lease,
            deadline: iso(freeze.deadline),
            ...(freeze.quiescentAt === undefined ? {} : { writesBlockedAt: iso(freeze.quiescentAt) }),
          },
        }),
    ...(view.verification === undefined ? {} : { verification: verificationOf(view.verification) }),
    ...(view.watching === undefined ? {} : { watch: watchOf(view.watching) }),
    ...(view.phase === 'between rounds' && state?.nextRoundAt !== undefined && !roundsPaused(state)
      ? { nextRound: iso(state.nextRoundAt) }
      : {}),
    ...((state?.excluded ?? []).length === 0 ? {} : { excluded: (state?.excluded ?? []).map(exclusionLine) }),
    ...(state?.settings.window === undefined ? {} : { roundsStart: windowText(state.settings.window) }),
    forecast: forecastOf(foreseen),
    rounds: (state?.rounds ?? []).map(roundLine),
    totals: state?.totals ?? { rounds: 0, givenUp: 0, sentBlobs: 0, sentBytes: 0 },
    warnings: state?.warnings ?? [],
    notes: (state?.notes ?? []).map((note) => `${clock(note.at)} ${note.text}`),
  };
}

function parkOf({ step, code, why, since, retriesAt }: Park): NonNullable<Status['parked']> {
  return { step, code, why, since: iso(since), ...(retriesAt === undefined ? {} : { retriesAt: iso(retriesAt) }) };
}

function freezeRequestOf({ phase, state, freezeWaitsFor }: View, now: number): Pick<Status, 'freezeRequest'> {
  const request = state?.freezeRequest;
  if (state === undefined || request === undefined) return {};
  const decision = decideFreeze(state, now);
  const begins = phase === 'between rounds' || phase === 'freezing' ? 'it begins now' : 'it begins after this round';
  const waits = freezeWaitsFor === undefined ? undefined : `it waits: ${freezeWaitsFor}`;
  return {
    freezeRequest: {
      at: iso(request.at),
      ...(request.by === undefined ? {} : { by: request.by }),
      state: 'why' in decision ? decision.why : (waits ?? begins),
    },
  };
}

function watchOf({ until, writes }: NonNullable<View['watching']>): NonNullable<Status['watch']> {
  return { until: iso(until), ...(writes === undefined ? {} : { writesSinceSwitch: writesText(writes) }) };
}

function forecastOf(foreseen: Forecast | undefined): Status['forecast'] {
  const whole = (value: number | undefined) => (value === undefined ? null : Math.round(value));
  return {
    freezeWindowMs: whole(foreseen?.windowMs),
    lowMs: whole(foreseen?.lowMs),
    highMs: whole(foreseen?.highMs),
    fetchBytes: whole(foreseen?.fetchBytes),
    advice: foreseen === undefined ? null : forecastSentence(foreseen),
  };
}

function verificationOf(result: VerifyResult): NonNullable<Status['verification']> {
  const { passed, failed, waived, documents, failures } = result;
  return { passed, failed, waived, documents, failures };
}

function progressOf(progress: TransferProgress): NonNullable<Status['progress']> {
  const elapsed = (progress.at - progress.startedAt) / 1000;
  const rate = elapsed > 0 && progress.bytesDone > 0 ? progress.bytesDone / elapsed : null;
  return {
    phase: progress.phase,
    blobs: `${progress.blobsDone} of ${progress.blobs}`,
    bytes: `${formatBytes(progress.bytesDone)} of ${formatBytes(progress.bytes)}`,
    percent: progress.bytes === 0 ? 100 : Math.floor((100 * progress.bytesDone) / progress.bytes),
    bytesPerSecond: rate === null ? null : Math.round(rate),
    etaSeconds: rate === null ? null : Math.ceil((progress.bytes - progress.bytesDone) / rate),
  };
}

/** What a signal or update would do right now, most useful first. */
export function operatorCan(view: View, now: number): string[] {
  const { park, state } = view;
  if (view.phase === 'done') return ['nothing: the migration is done'];
  if (view.phase === 'aborting') return [view.stopped ?? 'nothing: it undoes what it did and ends'];
  if (park !== undefined) return parkedOptions(view);
  switch (view.phase) {
    case 'awaiting approval':
      return [
        'update `approve` {"who","why"}: commit and let clients write on the target',
        'signal `unfreeze-writes`: back to rounds',
        'signal `abort`',
      ];
    case 'freezing':
    case 'cutover':
      return [
        'signal `unfreeze-writes`: unblock the source, back to rounds',
        'update `approve` with {"ifVerified":true}',
        'signal `abort`',
      ];
    case 'committed':
      return ['wait: the last point of return has passed, the target is being opened'];
    case 'watching':
      return [
        'wait: it ends by itself',
        `update \`rollback\` {"acceptLosing":${accepting(view)},"who","why"}: back to the source, and lose what was written here`,
        'signal `abort`: stop where it is; nothing is undone any more',
      ];
    case 'rolling back':
      return [
        `update \`rollback\` {"acceptLosing":${accepting(view)},"who","why"}: back to the source`,
        'signal `unfreeze-writes`: open the target again and go on watching, until the rollback is decided',
        'signal `abort`: stop where it is, with both sides blocked; `npx snapferry unfreeze plan.json` then ends that',
      ];
    case 'preflight':
      return ['wait for preflight', 'signal `abort`'];
    case 'baseline':
    case 'round':
    case 'between rounds':
      return roundOptions(
        state !== undefined && decideFreeze(state, now).kind === 'held',
        state?.freezeRequest !== undefined,
      );
  }
}

/** Of a migration that was stopped after the commit; `rollback`: how far one had come, undefined where there is none. */
export function stoppedText(rollback: 'asked' | 'decided' | 'back' | undefined): string {
  const stopped = 'Stopped after the commit, the last point of return: nothing is undone';
  switch (rollback) {
    case undefined:
      return (
        `${stopped}, the source stays blocked, and what was not opened yet on the target stays blocked too. To go on, ` +
        'open the target by hand; to go back, unblock the source; never both'
      );
    case 'asked':
      return (
        `${stopped}, and the target may be blocked for the rollback as the source is for the cutover: then nobody can ` +
        'write. Run `npx snapferry unfreeze plan.json`, which opens the target again; the source stays blocked'
      );
    case 'decided':
      return (
        `${stopped}, and the rollback is decided: the target stays blocked, and the source is until it is done. Run ` +
        '`npx snapferry unfreeze plan.json`, which takes the aliases back and opens the source'
      );
    case 'back':
      return 'Stopped after the rollback: the source takes the writes, the target stays blocked';
  }
}

function accepting({ watching }: View): string {
  return watching?.writes === undefined ? '<operations>' : JSON.stringify(toAccept(watching.writes));
}

function parkedOptions(view: View): string[] {
  const waive = 'update `waive` {"rows","who","why"}: take failed checks for right';
  const always = [
    'signal `retry`: repeat the parked step once its cause is gone',
    ...(view.park?.step === 'verify' && (view.verification?.failed ?? 0) > 0 ? [waive] : []),
  ];
  if (view.phase === 'committed' || view.phase === 'watching' || view.phase === 'rolling back')
    return [...always, 'signal `abort`: stop where it is; nothing is undone any more'];
  return view.freeze === undefined
    ? [...always, EXCLUDE, 'signal `abort`: undo and end']
    : [
        ...always,
        EXCLUDE,
        'signal `unfreeze-writes`: unblock the source, back to rounds',
        'signal `abort`: undo and end',
      ];
}

function roundOptions(held: boolean, requested: boolean): string[] {
  const cancel = requested ? ['signal `unfreeze-writes`: withdraw the requested freeze'] : [];
  const begin = requested && !held ? [] : ['signal `freeze-writes`: block writes on the source and cut over'];
  return [...begin, ...cancel, 'signal `run-round`: one round now', EXCLUDE, 'signal `abort`: undo and end'];
}

function exclusionLine({ index, who, why }: Exclusion): string {
  return `${index} by ${who}: ${why}`;
}

/** One line per round, for status, Temporal Web and the report. */
export function roundLine(round: RoundSummary): string {
  const name = round.round === 0 ? 'baseline' : round.final ? `final round ${round.round}` : `round ${round.round}`;
  const took = formatDuration(round.endedAt - round.startedAt);
  if (round.outcome === 'given-up')
    return `${name} (attempt ${round.attempt}) given up after ${took}: ${round.why ?? ''}`;
  return (
    `${name}: ${round.sentBlobs} of ${round.blobs} blobs sent (${formatBytes(round.sentBytes)} of ${formatBytes(round.bytes)}), ` +
    `${formatBytes(round.reusedBytes)} of ${formatBytes(round.restoredBytes)} reused by the target, ${took}`
  );
}

/** Markdown for Temporal Web, which takes a list for one only after an empty line. */
export function detailsOf(view: View, now: number): string {
  const status = statusOf(view, now);
  const lines = [
    `**${headline(view)}**`,
    '',
    ...(status.parked === undefined
      ? []
      : [`Parked at *${status.parked.step}* (${status.parked.code}): ${status.parked.why}`, '']),
    ...(status.parked?.retriesAt === undefined ? [] : [`Tried again by itself at ${status.parked.retriesAt}`, '']),
    ...(status.freezeRequest === undefined ? [] : [freezeRequestLine(status.freezeRequest), '']),
    'You can now:',
    '',
    ...status.youCan.map((text) => `- ${text}`),
    '',
    ...(status.progress === undefined
      ? []
      : [
          `Transfer: ${status.progress.phase}, ${status.progress.blobs} blobs, ${status.progress.bytes} (${status.progress.percent} %)`,
          '',
        ]),
    ...(status.limit === undefined ? [] : [`Limit: ${status.limit}`, '']),
    ...(status.freeze === undefined
      ? []
      : [
          `Freeze: lease \`${status.freeze.lease}\`, releases by itself at ${status.freeze.deadline} unless committed`,
          '',
        ]),
    ...(status.watch === undefined
      ? []
      : [`Written on the target since the switch: ${status.watch.writesSinceSwitch ?? 'not counted yet'}`, '']),
    ...verificationLines(status.verification),
    ...(status.forecast.advice === null || status.freeze !== undefined
      ? []
      : [`Forecast: ${status.forecast.advice}`, '']),
    ...(status.nextRound === undefined ? [] : [`Next round: ${status.nextRound}${startText(status)}`, '']),
    ...section('Excluded: stays on the source, and what was restored of it stays blocked', status.excluded ?? []),
    ...section('Rounds', status.rounds.slice(-8).reverse()),
    ...section('Notes', status.notes.slice(-8).reverse()),
    ...section('Warnings', status.warnings),
  ];
  return lines.join('\n').slice(0, 19_000);
}

function freezeRequestLine({ at, by, state }: NonNullable<Status['freezeRequest']>): string {
  return `A freeze was asked for at ${at}${by === undefined ? '' : ` by ${by}`}: ${state}`;
}

function startText({ roundsStart }: Status): string {
  return roundsStart === undefined ? '' : `; rounds start ${roundsStart}, or by \`run-round\``;
}

function verificationLines(done: Status['verification']): string[] {
  if (done === undefined) return [];
  const { passed, failed, waived, documents, failures } = done;
  const counts = `${passed} checks passed, ${failed} failed, ${waived} waived; ${documents} documents on the source`;
  return [`Verification: ${counts}`, '', ...failures.map((text) => `- ${text}`), ...(failures.length > 0 ? [''] : [])];
}

function headline(view: View): string {
  if (view.park !== undefined) return 'Parked: the operator is needed';
  const round = view.state?.nextRound ?? 0;
  const step = view.step === undefined ? '' : `: ${view.step}`;
  switch (view.phase) {
    case 'round':
      return `Round ${round}${step}`;
    case 'between rounds':
      return view.state !== undefined && roundsPaused(view.state)
        ? 'Rounds are paused: rounds.atMost is reached'
        : 'Waiting for the next round';
    case 'awaiting approval':
      return 'Verified. Waiting for approval while writes are blocked on the source';
    case 'preflight':
    case 'baseline':
    case 'freezing':
    case 'cutover':
    case 'committed':
    case 'watching':
    case 'rolling back':
    case 'done':
    case 'aborting':
      return `${view.phase.charAt(0).toUpperCase()}${view.phase.slice(1)}${step}`;
  }
}

function section(title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : [`${title}:`, '', ...lines.map((line) => `- ${line}`), ''];
}
