import { setMaxListeners } from 'node:events';

/**
 * The outcome of `work`, or a rejection with `signal.reason` as soon as the signal fires, whatever `work` still does.
 * For what can not be interrupted by itself, such as the pause between two tries of a vendor's client.
 */
export async function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  // One signal stops a whole transfer: dozens of requests listening at once are no leak.
  setMaxListeners(0, signal);
  let onAbort: () => void;
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(signal.reason as Error);
    signal.addEventListener('abort', onAbort, { once: true });
  });
  return Promise.race([work, aborted]).finally(() => signal.removeEventListener('abort', onAbort));
}
