import { setMaxListeners } from 'node:events';

/** Calls `listener` once when the signal fires. One signal stops a whole transfer: dozens of listeners are no leak. */
export function onAbort(signal: AbortSignal, listener: () => void): void {
  setMaxListeners(0, signal);
  signal.addEventListener('abort', listener, { once: true });
}

/**
 * The outcome of `work`, or a rejection with `signal.reason` as soon as the signal fires, whatever `work` still does.
 * For what can not be interrupted by itself, such as the pause between two tries of a vendor's client.
 */
export async function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  let giveUp: () => void;
  const aborted = new Promise<never>((_, reject) => {
    giveUp = () => reject(signal.reason as Error);
    onAbort(signal, giveUp);
  });
  return Promise.race([work, aborted]).finally(() => signal.removeEventListener('abort', giveUp));
}
