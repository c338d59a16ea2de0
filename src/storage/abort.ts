/** Listeners by the signal they wait for: a signal itself looks through all of its own each time one is added. */
const waiting = new WeakMap<AbortSignal, Set<() => void>>();

/**
 * Calls `listener` when the signal fires, unless the returned function is called before. Thousands may wait for one
 * signal: a signal stops a whole transfer.
 */
export function onAbort(signal: AbortSignal, listener: () => void): () => void {
  let listeners = waiting.get(signal);
  if (listeners === undefined) {
    const all = new Set<() => void>();
    signal.addEventListener('abort', () => [...all].forEach((one) => one()), { once: true });
    waiting.set(signal, all);
    listeners = all;
  }
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/**
 * The outcome of `work`, or a rejection with `signal.reason` as soon as the signal fires, whatever `work` still does.
 * For what can not be interrupted by itself, such as the pause between two tries of a vendor's client.
 */
export async function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  let stopWaiting: () => void;
  const aborted = new Promise<never>((_, reject) => {
    stopWaiting = onAbort(signal, () => reject(signal.reason as Error));
  });
  return Promise.race([work, aborted]).finally(() => stopWaiting());
}
