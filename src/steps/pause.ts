import { setTimeout as sleep } from 'node:timers/promises';

/** Waits; rejects with the signal's own `reason`, as everything in a step does. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  try {
    await sleep(ms, undefined, { signal });
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  }
}

/** Pauses of 50 ms growing to 5 s: a short wait, as in a freeze, ends at once, a long one costs the cluster nothing. */
export class Polling {
  private nextMs = 50;

  constructor(private readonly signal: AbortSignal) {}

  async pause(): Promise<void> {
    await pause(this.nextMs, this.signal);
    this.nextMs = Math.min(this.nextMs * 1.5, 5_000);
  }
}
