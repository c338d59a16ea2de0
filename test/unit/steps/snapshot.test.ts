import { ConfigurationError, SnapshotIncompleteError, UnavailableError } from '../../../src/domain/errors';
import { removeRegistration, registerTarget } from '../../../src/steps/registration';
import { takeSnapshot } from '../../../src/steps/snapshot';
import { aSnapshot } from '../../support/fake-cluster';
import { aContext, anInput, aPlan, SHARED, World } from './world';

const NAME = 'snapferry-0123456789ab-r0-a1';
const PLACE = `snapferry-run1/${NAME}`;

async function begun(world = World.with('logs-1', 'logs-2'), planned = {}) {
  const { ref, migration } = await world.scoped(anInput(planned));
  const take = (context = aContext()) => takeSnapshot(world.deps, { ...ref, snapshot: NAME }, context);
  return { world, migration, take };
}

describe('taking the snapshot', () => {
  test('registers the source repository, asks for exactly the scope and waits without holding a connection', async () => {
    const { world, take } = await begun();
    const context = aContext();
    world.source.running.push({ repository: 'snapferry-run1', snapshot: NAME, shardsDone: 1, shardsTotal: 2 });
    expect(await take(context)).toEqual({ uuid: `uuid-of-${NAME}`, indices: 2, shards: 2 });
    expect(world.source.calls).toEqual(['putRepository snapferry-run1', `createSnapshot ${PLACE} logs-1,logs-2`]);
    expect(context.told).toContainEqual({ snapshot: NAME, shardsDone: 1, shardsTotal: 2 });
  });

  test('of a shared repository is taken while the target does not know the repository', async () => {
    const { world, migration, take } = await begun(undefined, SHARED);
    await registerTarget(world.deps, migration, aContext());
    let known: unknown;
    world.source.ending = (name, names) => {
      known = Object.keys(world.target.registered);
      return aSnapshot(name, names);
    };
    await take();
    expect(known).toEqual([]);
  });

  test('twice is once: a retry finds what its predecessor asked for', async () => {
    const { world, take } = await begun();
    world.source.ending = (name, names) => aSnapshot(name, names, { startedAt: 5_000, endedAt: 65_000 });
    const first = await take();
    // How long it took is known by the cluster alone: nobody may have been there for most of it.
    expect(await take()).toEqual({ ...first, workedMs: 60_000 });
    expect(world.source.calls).toHaveLength(2);
  });

  test('no answer to the request is not read as not done', async () => {
    const { world, take } = await begun();
    world.source.fail('createSnapshot', new UnavailableError('no answer'), { late: true });
    await expect(take()).resolves.toMatchObject({ indices: 2 });
    expect(world.source.calls.filter((call) => call.startsWith('createSnapshot'))).toHaveLength(1);
  });

  test('a name that is taken is our own first request, when the snapshot is there', async () => {
    const { world, take } = await begun();
    world.source.fail('createSnapshot', new ConfigurationError('name taken'), { late: true });
    await expect(take()).resolves.toMatchObject({ indices: 2 });
  });

  test('a request that failed and left nothing fails as it did', async () => {
    const { world, take } = await begun();
    world.source.fail('createSnapshot', new UnavailableError('busy'));
    await expect(take()).rejects.toThrow('busy');
  });

  test.each(['PARTIAL', 'FAILED'] as const)('a snapshot that ends %s is refused with its shards', async (state) => {
    const { world, take } = await begun();
    const failures = ['logs-1/0: disk full'];
    world.source.ending = (name, names) => aSnapshot(name, names, { state, failures });
    await expect(take()).rejects.toThrow(SnapshotIncompleteError);
    await expect(take()).rejects.toThrow(`ended ${state}: logs-1/0: disk full`);
  });

  test('a snapshot of other indices than the scope is refused with the difference', async () => {
    const { world, take } = await begun();
    world.source.ending = (name) => aSnapshot(name, ['logs-1', 'stranger']);
    await expect(take()).rejects.toThrow(/lacks logs-2; it also holds stranger/);
  });

  test('a snapshot that is deleted while it runs is given up', async () => {
    const { world, take } = await begun();
    const look = world.source.snapshot.bind(world.source);
    let looks = 0;
    world.source.snapshot = (...args) => (++looks > 2 ? Promise.resolve(undefined) : look(...args));
    world.source.looksUntilEnd = 100;
    await expect(take()).rejects.toThrow('deleted while it ran');
  });

  test('a snapshot that one look misses, as happens while it is finalised, is looked for again', async () => {
    const { world, take } = await begun();
    const look = world.source.snapshot.bind(world.source);
    let looks = 0;
    world.source.snapshot = (...args) => (++looks === 2 ? Promise.resolve(undefined) : look(...args));
    await expect(take()).resolves.toMatchObject({ indices: 2 });
  });

  test('before 7.9 it waits for the end of another snapshot, and says whose; from 7.9 on it does not', async () => {
    const other = { repository: 'nightly', snapshot: 'n-1', shardsDone: 0, shardsTotal: 1 };
    const old = World.with('logs-1');
    old.source.clusterInfo = { ...old.source.clusterInfo, version: '7.8.1' };
    const { take } = await begun(old);
    old.source.running.push(other);
    await expect(take()).rejects.toThrow(UnavailableError);
    await expect(take()).rejects.toThrow('repository=nightly, snapshot=n-1');
    expect(old.source.calls).toEqual(['putRepository snapferry-run1']);
    const { world, take: takeNow } = await begun();
    world.source.running.push(other);
    await expect(takeNow()).resolves.toBeDefined();
  });

  test('stops at cancellation, and with the reason of the signal', async () => {
    const { world, take } = await begun();
    world.source.looksUntilEnd = 1_000;
    const context = aContext();
    const taking = take(context);
    setTimeout(() => context.abort.abort(new Error('cancelled')), 20);
    await expect(taking).rejects.toThrow('cancelled');
  });

  test('an attempt that is too old asks for nothing', async () => {
    const { world, take } = await begun();
    await expect(take(aContext({ actUntil: Date.now() }))).rejects.toThrow('too old to change anything');
    expect(world.source.calls).toEqual([]);
  });
});

describe('registrations', () => {
  test("a registration of our name that we did not record is a stranger's", async () => {
    const { world, take } = await begun();
    world.source.registered['snapferry-run1'] = { type: 'fs', settings: {} };
    await expect(take()).rejects.toThrow('was not made by it');
    expect(world.source.calls).toEqual([]);
  });

  test('one that the plan names is used as it is, and missed when it is gone', async () => {
    const world = World.with('logs-1');
    world.source.registered['mine'] = { type: 's3', settings: { bucket: 's3', base_path: 'from' } };
    const repository = { ...aPlan().repository, source: { store: 's3', basePath: 'from', name: 'mine' } };
    const { take, migration } = await begun(world, { repository });
    await take();
    expect(world.source.calls).toEqual([`createSnapshot mine/${NAME} logs-1`]);
    expect(await removeRegistration(migration, 'source', aContext())).toBe(false);
    delete world.source.registered['mine'];
    await expect(take()).rejects.toThrow('is gone: register it again');
  });

  test('a lost answer to the registration is ours at the next try', async () => {
    const { world, take } = await begun();
    world.source.fail('putRepository', new UnavailableError('no answer'), { late: true });
    await expect(take()).rejects.toThrow('no answer');
    await expect(take()).resolves.toBeDefined();
    expect(world.source.calls.filter((call) => call.startsWith('putRepository'))).toHaveLength(1);
  });

  test('one that is refused and registered all the same is taken back, so that a correction counts', async () => {
    const { world, take } = await begun();
    world.source.fail('putRepository', new ConfigurationError('Access Denied'), { late: true });
    await expect(take()).rejects.toThrow('Access Denied');
    expect(world.source.registered).toEqual({});
    await take();
    expect(world.source.calls.filter((call) => call.startsWith('putRepository'))).toHaveLength(2);
  });

  describe('in a bucket of Amazon', () => {
    const settings = { bucket: 'b', region: 'eu-west-1', role_arn: 'arn:aws:iam::1:role/r' };
    const fromRegion = async (refused: number) => {
      const begin = await begun();
      const { config } = begin.world.deps;
      jest.spyOn(config, 'repositoryDefinition').mockReturnValue({ type: 's3', settings });
      for (let call = 1; call <= refused; call += 1) {
        const error = new ConfigurationError(`refused ${call}`);
        begin.world.source.fail('putRepository', error, { late: true });
      }
      return begin;
    };

    test('one that its region does not reach is reached by the endpoint of all', async () => {
      const { world, take } = await fromRegion(1);
      await take();
      const { bucket, role_arn } = settings;
      const registered = { type: 's3', settings: { bucket, role_arn, endpoint: 's3.amazonaws.com' } };
      expect(world.source.registered).toEqual({ 'snapferry-run1': registered });
    });

    test('one that neither reaches is refused for both reasons, and none is left', async () => {
      const { world, take } = await fromRegion(2);
      await expect(take()).rejects.toThrow('refused 1; and by the endpoint of all regions: refused 2');
      expect(world.source.registered).toEqual({});
    });
  });

  test('the target is registered anew and read-only each time, and removed once', async () => {
    const { world, migration } = await begun();
    await registerTarget(world.deps, migration, aContext());
    await registerTarget(world.deps, migration, aContext());
    expect(world.target.calls).toEqual([
      'putRepository snapferry-run1',
      'deleteRepository snapferry-run1',
      'putRepository snapferry-run1',
    ]);
    expect(world.target.registered['snapferry-run1']!.settings).toMatchObject({ readonly: true, base_path: 'to' });
    expect(await removeRegistration(migration, 'target', aContext())).toBe(true);
    expect(await removeRegistration(migration, 'target', aContext())).toBe(false);
    expect(world.target.registered).toEqual({});
  });
});
