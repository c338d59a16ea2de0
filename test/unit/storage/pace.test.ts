import { Pace } from '../../../src/storage/pace';

const NEVER = new AbortController().signal;

beforeEach(() => jest.useFakeTimers());
afterEach(() => jest.useRealTimers());

/** What is sent within `ms`, asked for in pieces by many at once. */
async function sentWithin(pace: Pace, ms: number, piece: number): Promise<number> {
  let sent = 0;
  const stop = new AbortController();
  const sender = async () => {
    while (!stop.signal.aborted) {
      await pace.take(piece, 1, stop.signal);
      sent += piece;
    }
  };
  const senders = Array.from({ length: 8 }, () => sender().catch(() => undefined));
  await jest.advanceTimersByTimeAsync(ms);
  stop.abort(new Error('enough'));
  const result = sent;
  await jest.advanceTimersByTimeAsync(5_000);
  await Promise.all(senders);
  return result;
}

test('sends no more bytes a second than it may, whatever the size of the pieces', async () => {
  for (const piece of [1_000, 300_000]) {
    const sent = await sentWithin(new Pace({ bytesPerSecond: 1_000_000 }), 10_000, piece);
    expect(sent).toBeGreaterThan(9_000_000);
    expect(sent).toBeLessThan(11_500_000);
  }
});

test('asks no more often a second than it may', async () => {
  const sent = await sentWithin(new Pace({ requestsPerSecond: 100 }), 10_000, 1);
  expect(sent).toBeGreaterThan(900);
  expect(sent).toBeLessThan(1_100);
});

test('without limits nothing waits', async () => {
  const pace = new Pace();
  for (let i = 0; i < 1_000; i++) await pace.take(1e9, 1, NEVER);
});

test('a limit that is lifted is felt by what waits', async () => {
  const pace = new Pace({ bytesPerSecond: 1 });
  await pace.take(1_000_000, 1, NEVER);
  let passed = false;
  const waiting = pace.take(1, 1, NEVER).then(() => (passed = true));
  await jest.advanceTimersByTimeAsync(10_000);
  expect(passed).toBe(false);
  pace.set({});
  await jest.advanceTimersByTimeAsync(1_000);
  await waiting;
  expect(passed).toBe(true);
});

test('who waits may give up', async () => {
  const pace = new Pace({ bytesPerSecond: 1 });
  await pace.take(1_000_000, 1, NEVER);
  const controller = new AbortController();
  const reason = new Error('the operator said stop');
  const waiting = expect(pace.take(1, 1, controller.signal)).rejects.toBe(reason);
  controller.abort(reason);
  await jest.advanceTimersByTimeAsync(1_000);
  await waiting;
});
