import { Gate } from '../../../src/storage/gate';
import { random } from '../random';

const NEVER = new AbortController().signal;

/** A store whose requests take as long as a model says, on a clock that moves only here. */
class Simulation {
  now = 0;
  throttled = 0;
  private readonly due: { readonly at: number; readonly end: () => void }[] = [];
  readonly gate: Gate;

  constructor(
    start: number,
    /** Milliseconds that a request takes when so many are in flight. */
    private readonly latency: (inFlight: number) => number,
    isAlike = false,
  ) {
    this.gate = new Gate({ start, most: 256, throttled: () => this.throttled, isAlike, now: () => this.now });
  }

  /** More work is always there. */
  async run(ms: number): Promise<void> {
    const end = this.now + ms;
    let waiting = 0;
    const ask = () => {
      waiting += 1;
      void this.gate.run(1, NEVER, () => this.request()).finally(() => (waiting -= 1));
    };
    while (this.now < end) {
      while (waiting < 512) ask();
      await settled();
      this.due.sort((a, b) => a.at - b.at);
      this.now = Math.max(this.now, this.due[0]!.at);
      while (this.due.length > 0 && this.due[0]!.at <= this.now) this.due.shift()!.end();
      await settled();
    }
  }

  /** So much work comes at a time. */
  async runFed({ ms, everyMs, each }: { ms: number; everyMs: number; each: number }): Promise<void> {
    for (let next = this.now; next < ms; next += everyMs) {
      this.now = Math.max(this.now, next);
      for (let i = 0; i < each; i++) void this.gate.run(1, NEVER, () => this.request());
      await settled();
      while (this.due.length > 0) {
        this.due.sort((a, b) => a.at - b.at);
        this.now = this.due[0]!.at;
        this.due.shift()!.end();
        await settled();
      }
    }
  }

  private request(): Promise<void> {
    return new Promise((end) => this.due.push({ at: this.now + this.latency(this.due.length + 1), end }));
  }
}

const settled = async () => {
  for (let i = 0; i < 5; i++) await Promise.resolve();
};

test('climbs while more in flight bring more: a long round trip is hidden', async () => {
  const wan = new Simulation(32, () => 80);
  await wan.run(10_000);
  expect(wan.gate.limit).toBe(256);
});

test('stays where more in flight bring nothing', async () => {
  // A server that does one after the other: twice as many wait twice as long.
  const lan = new Simulation(32, (inFlight) => inFlight * 0.5);
  await lan.run(10_000);
  expect(lan.gate.limit).toBeLessThanOrEqual(48);
});

test('does not climb by chance, however long it runs', async () => {
  const below = random(7);
  let [slowness, until] = [1, 0];
  const lan: Simulation = new Simulation(32, (inFlight) => {
    if (lan.now >= until) [slowness, until] = [0.75 + below(500) / 1_000, lan.now + 500];
    return inFlight * 5 * slowness;
  });
  const limits: number[] = [];
  for (let minute = 0; minute < 30; minute += 1) {
    await lan.run(60_000);
    limits.push(lan.gate.limit);
  }
  expect(limits.sort((a, b) => a - b)[15]).toBeLessThanOrEqual(48);
  expect(limits.at(-1)).toBeLessThanOrEqual(108);
});

test('comes down again from where more in flight once brought more', async () => {
  let isNear = false;
  const store = new Simulation(32, (inFlight) => (isNear ? inFlight * 2 : 80));
  await store.run(20_000);
  expect(store.gate.limit).toBe(256);
  isNear = true;
  await store.run(60_000);
  expect(store.gate.limit).toBeLessThanOrEqual(48);
});

test('stays up where fewer bring less', async () => {
  const wan = new Simulation(32, () => 80);
  await wan.run(20_000);
  for (let minute = 0; minute < 3; minute += 1) {
    await wan.run(60_000);
    expect(wan.gate.limit).toBe(256);
  }
});

test('climbs on an empty line, though the other end keeps the throughput down', async () => {
  // The other end gives 200 every 480 ms, however many are let through.
  const [alike, mixed] = [new Simulation(32, () => 80, true), new Simulation(32, () => 80)];
  for (const store of [alike, mixed]) await store.runFed({ ms: 10_000, everyMs: 480, each: 200 });
  expect(alike.gate.limit).toBe(243);
  expect(mixed.gate.limit).toBeLessThan(200);
});

test('halves when the store asks to slow down, once for all that were in flight', async () => {
  const store = new Simulation(32, () => 80);
  await store.run(500);
  const before = store.gate.limit;
  store.throttled += 1;
  await store.run(100);
  store.throttled += 20;
  await store.run(100);
  expect(store.gate.limit).toBe(Math.floor(before / 2));
  await store.run(1_000);
  store.throttled += 1;
  await store.run(2_000);
  expect(store.gate.limit).toBe(Math.floor(Math.floor(before / 2) / 2));
});

test('climbs again when the store has been left alone for a while', async () => {
  const store = new Simulation(64, () => 80);
  store.throttled += 1;
  await store.run(1_000);
  expect(store.gate.limit).toBe(32);
  await store.run(15_000);
  expect(store.gate.limit).toBeGreaterThan(64);
});

test('who waits may give up, and a failure frees its place', async () => {
  const gate = new Gate({ start: 1, most: 1, throttled: () => 0 });
  const controller = new AbortController();
  const reason = new Error('the operator said stop');
  let fail: () => void = () => undefined;
  const failing = gate.run(
    1,
    NEVER,
    () => new Promise<void>((_, reject) => (fail = () => reject(new Error('broken')))),
  );
  const given = gate.run(1, controller.signal, async () => 'never');
  const third = gate.run(1, NEVER, async () => 'third');
  controller.abort(reason);
  await expect(given).rejects.toBe(reason);
  fail();
  await expect(failing).rejects.toThrow('broken');
  expect(await third).toBe('third');
});
