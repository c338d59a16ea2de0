import { setMaxListeners } from 'node:events';

/**
 * Runs `work` over `items`, at most `limit` at a time; an item is asked for when there is room for it. A limit that is a
 * function may change: it is asked after each item. The first failure cancels the others through the signal they are
 * given, and is thrown only when all of them have ended: nothing writes behind the back of a step that failed.
 */
export async function inParallel<T>(
  items: Iterable<T>,
  limit: number | (() => number),
  signal: AbortSignal,
  work: (item: T, signal: AbortSignal, index: number) => Promise<void>,
): Promise<void> {
  const failing = new AbortController();
  const either = AbortSignal.any([signal, failing.signal]);
  // One for each request in flight is no leak, of which Node would warn from the eleventh on.
  setMaxListeners(0, either);
  const iterator = items[Symbol.iterator]();
  const limitNow = typeof limit === 'number' ? () => limit : limit;
  const lanes: Promise<void>[] = [];
  let running = 0;
  let next = 0;
  let isEmpty = false;
  let failure: { readonly error: unknown } | undefined;
  const widen = () => {
    while (running < Math.max(1, limitNow()) && !isEmpty && !either.aborted) {
      running += 1;
      lanes.push(lane());
    }
  };
  const lane = async () => {
    try {
      while (!either.aborted && (running === 1 || running <= limitNow())) {
        const item = iterator.next();
        if (item.done === true) {
          isEmpty = true;
          return;
        }
        await work(item.value, either, next++);
        widen();
      }
    } catch (error) {
      failure ??= { error };
      failing.abort(error);
    } finally {
      running -= 1;
    }
  };
  widen();
  // Lanes that begin meanwhile are behind those that are waited for.
  for (const one of lanes) await one;
  signal.throwIfAborted();
  if (failure !== undefined) throw failure.error;
}

/** As `inParallel`, with the results in the order of the items. */
export async function mapInParallel<T, R>(
  items: readonly T[],
  limit: number,
  signal: AbortSignal,
  work: (item: T, signal: AbortSignal) => Promise<R>,
): Promise<R[]> {
  const results = new Array<R>(items.length);
  await inParallel(items, limit, signal, async (item, either, index) => {
    results[index] = await work(item, either);
  });
  return results;
}

/**
 * Results of `work` in the order of the items, at most `limit` of them under way or waiting to be taken. When the first
 * one fails, or nobody takes results any more, the others are cancelled through the signal they are given and awaited.
 */
export async function* inTurn<T, R>(
  items: AsyncIterable<T>,
  limit: number,
  signal: AbortSignal,
  work: (item: T, signal: AbortSignal) => Promise<R>,
): AsyncGenerator<R> {
  const ending = new AbortController();
  const either = AbortSignal.any([signal, ending.signal]);
  const begun: Promise<R>[] = [];
  try {
    for await (const item of items) {
      const result = work(item, either);
      // Its failure is thrown when it is its turn.
      result.catch(() => undefined);
      begun.push(result);
      if (begun.length >= limit) yield await begun.shift()!;
    }
    while (begun.length > 0) yield await begun.shift()!;
  } finally {
    ending.abort(new Error('nobody waits for this any more'));
    await Promise.allSettled(begun);
  }
}
