/**
 * The plan's `rounds.window`: rounds start only while a clock on the wall of its time zone shows a time from `from` until
 * before `to`. Pure, but it asks what the process knows of time zones, which may change from one release of Node to the
 * next: never call it in a workflow, whose replay must not depend on that.
 */

export interface RoundsWindow {
  /** `HH:MM`. */
  readonly from: string;
  /** `HH:MM`; before `from` it is that of the next day. */
  readonly to: string;
  /** Of the IANA: `Asia/Singapore`. */
  readonly timeZone: string;
}

/** Epoch milliseconds. */
export interface Opening {
  readonly opensAt: number;
  /** The first moment at which no round starts any more. */
  readonly closesAt: number;
}

const MINUTE = 60_000;
const DAY_MINUTES = 24 * 60;
/** A clock change may skip the window of one day. */
const SEARCHED_MINUTES = 4 * DAY_MINUTES;

export const CLOCK_PATTERN = /^([01]\d|2[0-3]):[0-5]\d$/;

export function isTimeZone(name: string): boolean {
  if (!/^[A-Za-z]/.test(name)) return false; // an offset knows of no summer
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch {
    return false;
  }
}

/**
 * The window that is open at `at` or opens next. An hour that a clock change skips has no window; one that it repeats is
 * open twice.
 *
 * @throws RangeError for a time zone that this process does not know, or a window that never opens
 */
export function nextOpening(window: RoundsWindow, at: number): Opening {
  const isOpen = openAt(window);
  const opensAt = isOpen(at) ? at : firstMinute(at, isOpen);
  return { opensAt, closesAt: firstMinute(opensAt, (time) => !isOpen(time)) };
}

/** Clocks change on whole minutes everywhere, so nothing happens in between. */
function firstMinute(after: number, holds: (time: number) => boolean): number {
  const start = (Math.floor(after / MINUTE) + 1) * MINUTE;
  for (let minute = 0; minute < SEARCHED_MINUTES; minute += 1) {
    const time = start + minute * MINUTE;
    if (holds(time)) return time;
  }
  throw new RangeError('rounds.window never opens or never closes');
}

function openAt({ from, to, timeZone }: RoundsWindow): (time: number) => boolean {
  const clock = new Intl.DateTimeFormat('en-GB', { timeZone, hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
  return (time) => {
    const now = clock.format(time);
    return from < to ? from <= now && now < to : from <= now || now < to;
  };
}

export function windowText({ from, to, timeZone }: RoundsWindow): string {
  return `from ${from} to ${to} ${timeZone}`;
}
