import { ConfigurationError } from '../../../src/domain/errors';
import { cleanUp } from '../../../src/steps/cleanup';
import { restore } from '../../../src/steps/restore';
import { takeSnapshot } from '../../../src/steps/snapshot';
import { raiseThrottle, readThrottle } from '../../../src/steps/throttle';
import { AMigration } from '../../support/a-migration';
import { startClock } from '../../support/fake-clock';

jest.mock('../../../src/steps/pause', () => jest.requireActual<object>('../../support/fake-clock'));
beforeEach(startClock);

const RECOVERY = 'indices.recovery.max_bytes_per_sec';
const planned = () => new AMigration({ movies: {} }, { limits: { recoveryBytesPerSecond: 200_000_000 } });

async function raise(migration: AMigration) {
  const before = await readThrottle(migration.deps, migration.ref, migration.context());
  await raiseThrottle(migration.deps, { plan: migration.ref, before }, migration.context());
  return before;
}

const end = (migration: AMigration, throttle: { readonly recovery: string | null }) =>
  cleanUp(migration.deps, { plan: migration.ref, outcome: 'done', throttle }, migration.context());

test.each([undefined, '40mb'])('the throttle that was %s before is put back at the end', async (was) => {
  const migration = planned();
  if (was !== undefined) migration.target.transient[RECOVERY] = was;
  const before = await raise(migration);
  expect(before).toEqual({ recovery: was ?? null });
  expect(migration.target.transient[RECOVERY]).toBe('200000000b');
  await end(migration, before);
  expect(migration.target.transient[RECOVERY]).toBe(was);
});

test('a value that somebody set since stays', async () => {
  const migration = planned();
  const before = await raise(migration);
  migration.target.transient[RECOVERY] = '1gb';
  await end(migration, before);
  expect(migration.target.transient[RECOVERY]).toBe('1gb');
});

test('a service that lets nobody change it says so, and keeps nobody from cleaning up', async () => {
  const migration = planned();
  migration.target.fail('setTransientSetting', new ConfigurationError('403'));
  await expect(raise(migration)).rejects.toThrow(ConfigurationError);
  await end(migration, { recovery: null });
  expect(migration.target.transient).toEqual({});
});

test("snapshots and restores are throttled by our registrations, and only by the plan's word", async () => {
  const limits = { snapshotBytesPerSecond: 100_000_000, restoreBytesPerSecond: 300_000_000 };
  for (const [plan, snapshots, restores] of [
    [{ limits }, '100000000b', '300000000b'],
    [{}, undefined, undefined],
  ] as const) {
    const migration = new AMigration({ movies: {} }, plan);
    await restore(migration.deps, migration.restoreInput, migration.context());
    await takeSnapshot(migration.deps, { ...migration.at, snapshot: 'snap-2' }, migration.context());
    const settingsIn = ({ registered }: AMigration['target']) => registered['snapferry-ours']?.settings ?? {};
    expect(settingsIn(migration.target)['max_restore_bytes_per_sec']).toBe(restores);
    expect(settingsIn(migration.source)['max_snapshot_bytes_per_sec']).toBe(snapshots);
  }
});
