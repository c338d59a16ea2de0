import { UnavailableError } from '../../../src/domain/errors';
import { Reading } from '../../../src/steps/reading';
import { Bucket } from '../../../src/storage';
import { onTick, startClock } from '../../support/fake-clock';

jest.mock('../../../src/steps/pause', () => jest.requireActual<object>('../../support/fake-clock'));
beforeEach(startClock);

const NEVER = new AbortController().signal;
const busy = (retryAfterMs?: number) =>
  new UnavailableError('the queue is full', {
    isRejected: true,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
const UNLIMITED = { read: async () => undefined, documentsPerSecond: () => undefined };

function begun(atOnce = 4, pace: ConstructorParameters<typeof Reading>[0] = UNLIMITED) {
  const told: Readonly<Record<string, unknown>>[] = [];
  return { reading: new Reading(pace, { progress: (details) => void told.push(details) }, atOnce), told };
}

/** A request that fails so often, and then answers. */
function failing(times: number, error: () => Error) {
  let asked = 0;
  const request = async () => {
    asked += 1;
    if (asked <= times) throw error();
    return 'documents';
  };
  return { request, asked: () => asked };
}

describe('a request that the cluster rejects', () => {
  test('is sent again after growing pauses, and says so', async () => {
    const { reading, told } = begun();
    const { request, asked } = failing(3, busy);
    const from = Date.now();
    expect(await reading.read('source', 10, NEVER, request)).toBe('documents');
    expect(asked()).toBe(4);
    expect(Date.now() - from).toBe(500 + 1_000 + 2_000);
    expect(told.map(({ step }) => step)).toEqual(Array(3).fill('the source has too much to do'));
  });

  test('is sent again after the time that the cluster names', async () => {
    const from = Date.now();
    await begun().reading.read('target', 10, NEVER, failing(1, () => busy(17_000)).request);
    expect(Date.now() - from).toBe(17_000);
  });

  test.each([
    ['for longer than a scroll is kept', 1, () => busy(120_000), 1],
    ['again and again', 100, busy, 9],
  ])('%s is left to Temporal, which waits as long', async (_, times, error, most) => {
    const { request, asked } = failing(times, () => error());
    await expect(begun().reading.read('source', 10, NEVER, request)).rejects.toThrow('the queue is full');
    expect(asked()).toBe(most);
  });

  test('is not sent again when that could lose a page: a circuit breaker, a time-out', async () => {
    const { request, asked } = failing(1, () => new UnavailableError('no answer'));
    await expect(begun().reading.read('source', 10, NEVER, request)).rejects.toThrow('no answer');
    expect(asked()).toBe(1);
  });

  test('halves what that cluster is asked at once, and not the other', async () => {
    const { reading } = begun(8);
    await reading.read('source', 1, NEVER, failing(1, busy).request);
    const atOnce = async (side: 'source' | 'target') => {
      let [inFlight, most] = [0, 0];
      const request = async () => {
        most = Math.max(most, (inFlight += 1));
        await new Promise((resolve) => setImmediate(resolve));
        inFlight -= 1;
      };
      await Promise.all(Array.from({ length: 40 }, () => reading.read(side, 1, NEVER, request)));
      return most;
    };
    expect(await atOnce('source')).toBe(4);
    expect(await atOnce('target')).toBe(8);
  });

  test('stops at cancellation', async () => {
    const stop = new AbortController();
    onTick(() => stop.abort(new Error('enough')));
    await expect(begun().reading.read('source', 1, stop.signal, failing(9, busy).request)).rejects.toThrow('enough');
  });
});

describe('under a limit', () => {
  /** What the limiter would sleep passes at once. */
  const limited = (perSecond: number) => {
    let now = 0;
    const bucket = new Bucket({ now: () => now, sleep: async (ms) => void (now += ms) });
    bucket.perSecond = perSecond;
    const read = (_: unknown, documents: number, signal: AbortSignal) => bucket.take(documents, signal);
    return { pace: { read, documentsPerSecond: () => bucket.perSecond }, bucket, seconds: () => now / 1_000 };
  };

  test('no more documents are read by any time, and hardly fewer', async () => {
    const { pace, seconds } = limited(100);
    const { reading } = begun(4, pace);
    let documents = 0;
    await Promise.all(
      Array.from({ length: 50 }, () =>
        reading.read('source', 60, NEVER, async () => {
          // One page is taken whole, and a quarter of a second's documents at once.
          expect(documents).toBeLessThanOrEqual(100 * seconds() + 25);
          documents += 60;
        }),
      ),
    );
    expect(seconds()).toBeGreaterThan(3_000 / 100 - 2);
    expect(seconds()).toBeLessThan(3_000 / 100 + 2);
  });

  test('pages are small enough for their turn to come while their scroll lives', () => {
    expect(begun(4, limited(1).pace).reading.pageSize(1_000)).toBe(10);
    expect(begun(4, limited(20).pace).reading.pageSize(1_000)).toBe(200);
    expect(begun(4, limited(1e6).pace).reading.pageSize(1_000)).toBe(1_000);
    expect(begun().reading.pageSize(1_000)).toBe(1_000);
  });
});
