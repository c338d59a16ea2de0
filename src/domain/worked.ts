/**
 * Of the time that a step took by the clock, what somebody worked at it. The rest is waiting: for a worker, or for an
 * activity to be tried again. It says nothing about the next time that the step is taken. Pure.
 */

/** Milliseconds. Of a step's result: how long the attempt ran that brought it; absent where that cannot be told. */
export interface Worked {
  readonly workedMs?: number | undefined;
}

/** A step is handed to a worker, and its result back, well within this: what is more was waiting. */
const HANDED_OVER_MS = 1_000;

/** Of a step that took so long: how much of it nobody worked at it. */
export function waitedOf(tookMs: number, workedMs: number | undefined): number {
  return Math.max(0, tookMs - (workedMs ?? tookMs) - HANDED_OVER_MS);
}

/** The milliseconds by step without those that were waited. */
export function workOf(
  steps: Readonly<Record<string, number>>,
  waited: Readonly<Record<string, number>> = {},
): Record<string, number> {
  return Object.fromEntries(Object.entries(steps).map(([step, ms]) => [step, ms - (waited[step] ?? 0)]));
}

export function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

/** The time in which at least one of several attempts was at work. They are told in the order of their ends. */
export class Busy {
  private readonly spans: { readonly from: number; readonly to: number }[] = [];

  /** `before`: as `ms` was when the work was carried on elsewhere. */
  constructor(private readonly before: number) {}

  /** An attempt that ended at `to`. A pause as short as handing over is none, which also keeps the list short. */
  add(to: number, workedMs: number): void {
    let from = to - workedMs;
    for (let last = this.spans.at(-1); last !== undefined; last = this.spans.at(-1)) {
      if (last.to + HANDED_OVER_MS < from) break;
      from = Math.min(from, last.from);
      this.spans.pop();
    }
    this.spans.push({ from, to });
  }

  get ms(): number {
    return this.before + sum(this.spans.map(({ from, to }) => to - from));
  }
}
