import { defineQuery, defineSignal, defineUpdate } from '@temporalio/workflow';
import type { Opened, Quiescent, TransferProgress } from '../src/domain/exchange';
import type { Status } from '../src/domain/story';

/**
 * Every message, with the sentence Temporal Web shows for it. Arguments come from people's terminals: handlers take
 * `unknown` and tolerate nothing at all, because a throwing signal handler would stop the workflow.
 */

export const freezeWrites = defineSignal<[unknown?]>('freeze-writes');
export const unfreezeWrites = defineSignal<[unknown?]>('unfreeze-writes');
export const runRound = defineSignal('run-round');
export const retry = defineSignal('retry');
export const abort = defineSignal('abort');
export const approve = defineUpdate<string, [unknown?]>('approve');
export const waive = defineUpdate<string, [unknown?]>('waive');
export const exclude = defineUpdate<string, [unknown?]>('exclude');
export const rollback = defineUpdate<string, [unknown?]>('rollback');
export const setLimits = defineUpdate<string, [unknown?]>('set-limits');
export const status = defineQuery<Status>('status');

/** From our own workflows, not for operators. */
export const quiescent = defineSignal<[Quiescent?]>('quiescent');
export const progress = defineSignal<[TransferProgress?]>('progress');
/** To a lease, and its answer. */
export const openExcluded = defineSignal<[unknown?]>('open-excluded');
export const opened = defineSignal<[Opened?]>('opened');
/** To a transfer: for its page. */
export const limits = defineSignal<[unknown?]>('limits');
export const commit = defineSignal<[unknown?]>('commit');

export const DESCRIPTIONS = {
  freezeWrites:
    'Block writes on the source and cut over: {"by","whenReady","force"}, all optional. Begins after the running round.',
  unfreezeWrites: 'Back to rounds: withdraw a requested freeze, or unblock the source if it is not yet committed.',
  runRound: 'Run one round now instead of waiting for the interval.',
  retry: 'Repeat the parked step.',
  abort: 'Undo what can be undone and end. After commit it stops where it is, undoes nothing, and says so.',
  approve: 'Commit the verified cutover: {"who","why"}, and "ifVerified": true to approve before verification.',
  waive:
    'Take failed checks of the verification for right: {"rows","who","why"}; rows are ids such as "logs/settings", or patterns.',
  exclude:
    'Go on without an index: {"index","who","why"}. It stays on the source; its copy on the target is never opened or aliased. Cannot be taken back.',
  rollback:
    'While watching, after the switchover: {"acceptLosing","who","why"}. Blocks the target, asks for exactly the number of operations it took, and opens the source again.',
  status: 'Phase, progress, forecast, and what the operator can do now.',
  setLimits:
    'Speed from now on, as the plan\'s limits: {"bytesPerSecond","byHour"} of transfers, {"verifyDocumentsPerSecond"}; ' +
    '{} lifts them. What runs follows.',
  limits: 'Internal: the limits that set-limits gave.',
  quiescent: 'Internal: the lease proved that no write is in flight.',
  openExcluded: 'Internal: the parent asks the lease to unblock what was excluded.',
  opened: 'Internal: the lease unblocked what was excluded.',
  progress: 'Internal: the transfer tells how far it is.',
  commit: 'Internal: the parent asks the lease to commit. Never send it by hand.',
} as const;

/** What operators may say with a message. The others take nothing, or are looked at by an activity. */
const FIELDS = {
  'freeze-writes': { by: 'text', whenReady: 'flag', force: 'flag' },
  'unfreeze-writes': { by: 'text' },
  approve: { who: 'text', why: 'text', ifVerified: 'flag' },
  waive: { rows: 'list', who: 'text', why: 'text' },
  exclude: { index: 'text', who: 'text', why: 'text' },
  rollback: { acceptLosing: 'number', who: 'text', why: 'text' },
} as const;

/**
 * What of a message would be passed over in silence: a field that was misspelt, or a flag that is none. Undefined when
 * there is nothing of the kind.
 */
export function oddity(message: keyof typeof FIELDS, argument: unknown): string | undefined {
  const fields: Readonly<Record<string, string>> = FIELDS[message];
  const takes = `${message} takes {${Object.keys(fields)
    .map((field) => `"${field}"`)
    .join(', ')}}`;
  if (argument === undefined || argument === null) return undefined;
  if (typeof argument !== 'object' || Array.isArray(argument)) return `${takes}: a JSON object`;
  const unknown = Object.keys(argument).filter((field) => !Object.hasOwn(fields, field));
  if (unknown.length > 0) return `${takes}, and no "${unknown[0]?.slice(0, 50)}"`;
  const odd = Object.entries(argument).find(([field, value]) => fields[field] === 'flag' && typeof value !== 'boolean');
  return odd === undefined ? undefined : `${message}: "${odd[0]}" must be true or false`;
}

export function text(value: unknown): string | undefined {
  return typeof value === 'string' && value.trim() !== '' ? value.trim().slice(0, 200) : undefined;
}

/** Of an index: 255 bytes at most, and never cut, for that would name another. */
export function name(value: unknown): string | undefined {
  return typeof value === 'string' && /^[^\s\\/?"<>|,*]{1,255}$/.test(value.trim()) ? value.trim() : undefined;
}

/** The texts of a list; empty when it is none. */
export function texts(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.flatMap((item) => text(item) ?? []) : [];
}

export function record(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

/** Whether it is what our own workflows send, and not something typed by hand that would stop the workflow later. */
export function hasNumbers<T>(value: unknown, keys: readonly (keyof T & string)[]): value is T {
  const given = record(value);
  return keys.every((key) => Number.isFinite(given[key]));
}
