/**
 * Stands in for `src/steps/pause`, so that half a minute of patience takes none: pausing moves the clock. Use as
 * `jest.mock('.../src/steps/pause', () => jest.requireActual('.../support/fake-clock'))`.
 */
let now = Date.UTC(2026, 0, 1);
let ticks: (() => void)[] = [];

/** To be called before each test. */
export function startClock(): void {
  now = Date.UTC(2026, 0, 1);
  ticks = [];
  jest.spyOn(Date, 'now').mockImplementation(() => now);
  jest.spyOn(performance, 'now').mockImplementation(() => now);
}

/** Called at each pause, after the clock has moved. */
export function onTick(work: () => void): void {
  ticks.push(work);
}

export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  now += ms;
  for (const tick of ticks) tick();
  if (now > Date.UTC(2026, 0, 2)) throw new Error('A step would wait for more than a day');
  await Promise.resolve();
  signal.throwIfAborted();
}

export class Polling {
  constructor(private readonly signal: AbortSignal) {}

  pause(): Promise<void> {
    return pause(1_000, this.signal);
  }
}
