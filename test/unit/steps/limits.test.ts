import { setTimeout as sleep } from 'node:timers/promises';
import { ConfigurationError, UnavailableError } from '../../../src/domain/errors';
import { WorkKeys } from '../../../src/domain/names';
import { LiveLimits, writeLimits } from '../../../src/steps/limits';
import type { LimitedMigration } from '../../../src/steps/limits';
import { MemoryStore } from '../../support/memory-store';
import { aContext, World } from './world';

const EVERY_MS = 20;
const limited = { signal: new AbortController().signal, waiting: () => undefined };

function aMigration(store: MemoryStore, run = 'run-1', limits: LimitedMigration['plan']['limits'] = {}) {
  return { targetStore: store, keys: new WorkKeys(`work/${run}`), plan: { limits } };
}

function say(store: MemoryStore, { keys }: LimitedMigration, limits: unknown): void {
  store.put(keys.limits, Buffer.from(JSON.stringify(limits)));
}

/** Resolves when the limits have been read again, after what was said before. */
async function readAgain(store: MemoryStore): Promise<void> {
  const before = store.callsOf('read').length;
  while (store.callsOf('read').length < before + 2) await sleep(1);
}

const soon = (promise: Promise<unknown>) => Promise.race([promise.then(() => 'passed'), sleep(50, 'waits')]);

describe('limits that change while copies run', () => {
  test("the plan's hold until others were sent, and those hold whatever the plan says", async () => {
    const store = new MemoryStore();
    const migration = aMigration(store, 'run-1', { bytesPerSecond: 1024 });
    await new LiveLimits(EVERY_MS).during(migration, limited, async (pace) => {
      await pace.take(1e6, 1, limited.signal);
      const next = pace.take(1, 1, limited.signal);
      expect(await soon(next)).toBe('waits');
      say(store, migration, {});
      await next;
    });
  });

  test('a verification that runs follows its own limit on each cluster, and no transfer waits for it', async () => {
    const store = new MemoryStore();
    const migration = aMigration(store, 'run-1', { verifyDocumentsPerSecond: 100 });
    await new LiveLimits(EVERY_MS).during(migration, limited, async (pace) => {
      expect(pace.documentsPerSecond()).toBe(100);
      await pace.take(1e12, 1, limited.signal);
      await pace.read('source', 1e6, limited.signal);
      await pace.read('target', 1e6, limited.signal);
      const next = pace.read('source', 1, limited.signal);
      expect(await soon(next)).toBe('waits');
      say(store, migration, {});
      await next;
      expect(pace.documentsPerSecond()).toBeUndefined();
    });
  });

  test('a limit that is sent slows what runs', async () => {
    const store = new MemoryStore();
    const migration = aMigration(store);
    const stop = new AbortController();
    await new LiveLimits(EVERY_MS).during(migration, limited, async (pace) => {
      for (let i = 0; i < 100; i += 1) await pace.take(1e9, 1, stop.signal);
      say(store, migration, { bytesPerSecond: 1024 });
      await readAgain(store);
      await pace.take(1e6, 1, stop.signal);
      const next = pace.take(1, 1, stop.signal);
      expect(await soon(next)).toBe('waits');
      stop.abort(new Error('enough'));
      await expect(next).rejects.toThrow('enough');
    });
  });

  test('what one copy took in advance is waited for by the next copy of the migration, and by no other', async () => {
    const store = new MemoryStore();
    const live = new LiveLimits(EVERY_MS);
    const slow = aMigration(store, 'run-1', { bytesPerSecond: 1024 });
    const stop = new AbortController();
    await live.during(slow, limited, (pace) => pace.take(1e6, 1, stop.signal));
    const next = live.during(slow, limited, (pace) => pace.take(1, 1, stop.signal));
    expect(await soon(next)).toBe('waits');
    await live.during(aMigration(store, 'run-2', { bytesPerSecond: 1024 }), limited, (pace) =>
      pace.take(1e6, 1, stop.signal),
    );
    stop.abort(new Error('enough'));
    await expect(next).rejects.toThrow('enough');
  });

  test('are read by one for all copies of a migration, and by nobody when none runs', async () => {
    const store = new MemoryStore();
    const migration = aMigration(store);
    const live = new LiveLimits(EVERY_MS);
    const began = Date.now();
    await Promise.all(Array.from({ length: 8 }, () => live.during(migration, limited, () => sleep(10 * EVERY_MS))));
    // One at each beginning, and then one for all.
    const reads = store.callsOf('read').length;
    expect(reads).toBeLessThanOrEqual(8 + (Date.now() - began) / EVERY_MS);
    expect(reads).toBeGreaterThan(8);
    await sleep(5 * EVERY_MS);
    expect(store.callsOf('read')).toHaveLength(reads);
  });

  test('that cannot be read stay as they are while copies run, and stop the copy that begins', async () => {
    const store = new MemoryStore();
    const migration = aMigration(store);
    const live = new LiveLimits(EVERY_MS);
    await live.during(migration, limited, async () => {
      store.inject({ call: 'read', nth: 1, effect: 'unavailable' });
      await readAgain(store);
    });
    await sleep(2 * EVERY_MS);
    store.inject({ call: 'read', nth: 1, effect: 'unavailable' });
    await expect(live.during(migration, limited, async () => undefined)).rejects.toThrow(UnavailableError);
  });
});

describe('set-limits', () => {
  test('writes them for all that copy, and gives them back', async () => {
    const world = World.with('logs-1');
    const { plan, migration } = await world.started();
    const limits = { bytesPerSecond: 5_000_000 };
    expect(await writeLimits(world.deps, { plan, limits }, aContext())).toEqual(limits);
    expect(JSON.parse(world.to.blobs.get(migration.keys.limits)!.toString())).toEqual(limits);
  });

  test('that are none are refused, and change nothing', async () => {
    const world = World.with('logs-1');
    const { plan, migration } = await world.started();
    const wrong = writeLimits(world.deps, { plan, limits: { bytesPerSecond: 'fast' } }, aContext());
    await expect(wrong).rejects.toThrow(ConfigurationError);
    expect(world.to.blobs.has(migration.keys.limits)).toBe(false);
  });

  test('an attempt that is too old writes nothing: a newer one may have written other limits', async () => {
    const world = World.with('logs-1');
    const { plan, migration } = await world.started();
    const late = aContext({ actUntil: Date.now() });
    await expect(writeLimits(world.deps, { plan, limits: {} }, late)).rejects.toThrow('too old');
    expect(world.to.blobs.has(migration.keys.limits)).toBe(false);
  });
});
