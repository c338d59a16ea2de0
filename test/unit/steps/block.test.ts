import { ConfigurationError, UnavailableError, WritesNotBlockedError } from '../../../src/domain/errors';
import {
  blockWrites,
  confirmSourceState,
  obstacleToFreeze,
  proveQuiescence,
  unblockWrites,
  writeFreezeOutcome,
  writeFreezeRecord,
} from '../../../src/steps/block';
import { concerns } from '../../../src/steps/quiescence';
import type { FreezeRecord, QuiescenceFile } from '../../../src/steps/work-files';
import type { ShardStats, WriteTask } from '../../../src/elasticsearch/cluster';
import { AMigration } from '../../support/a-migration';
import { anIndex } from '../../support/fake-cluster';
import { onTick, startClock } from '../../support/fake-clock';

jest.mock('../../../src/steps/pause', () => jest.requireActual<object>('../../support/fake-clock'));
beforeEach(startClock);

const freezeOf = (migration: AMigration) => ({ plan: migration.ref, freeze: 1 });
const WRITE = 'index.blocks.write';

describe('the freeze record', () => {
  const record = (migration: AMigration) =>
    writeFreezeRecord(
      migration.deps,
      { ...freezeOf(migration), scope: { round: 1, attempt: 1 }, deadline: 99 },
      migration.context(),
    );

  test('says what was blocked before, and is written once', async () => {
    const migration = new AMigration({ movies: {}, logs: { aliases: ['current'] } });
    migration.source.settingsOf['logs'] = { 'index.blocks.read_only': 'true' };
    const first = await record(migration);
    expect(first).toMatchObject({ indices: 2, alreadyBlocked: 1 });
    expect(migration.read<FreezeRecord>(migration.keys.freeze(1).record)).toEqual({
      cluster: { name: 'source', uuid: 'uuid-of-source' },
      freeze: 1,
      deadline: 99,
      indices: [
        { name: 'movies', uuid: 'uuid-movies', blockedBefore: false, aliases: [] },
        { name: 'logs', uuid: 'uuid-logs', blockedBefore: true, aliases: ['current'] },
      ],
    });
    migration.source.settingsOf['movies'] = { [WRITE]: 'true' };
    expect(await record(migration)).toEqual(first);
  });

  test('is not written while a snapshot runs on the source', async () => {
    const migration = new AMigration();
    migration.source.running = [{ repository: 'theirs', snapshot: 'nightly', shardsDone: 0, shardsTotal: 1 }];
    await expect(record(migration)).rejects.toThrow(WritesNotBlockedError);
    expect(migration.store.blobs.has(migration.keys.freeze(1).record)).toBe(false);
    expect(await obstacleToFreeze(migration.deps, migration.ref, migration.context())).toEqual({
      why: "snapshot 'nightly' of repository 'theirs' runs on source source",
    });
  });

  test('is written when a snapshot that began just now has ended', async () => {
    const migration = new AMigration();
    migration.source.running = [{ repository: 'theirs', snapshot: 'small', shardsDone: 0, shardsTotal: 1 }];
    onTick(() => (migration.source.running = []));
    expect((await record(migration)).indices).toBe(1);
    expect(await obstacleToFreeze(migration.deps, migration.ref, migration.context())).toEqual({});
  });

  test('is not written when an index was re-created since the scope', async () => {
    const migration = new AMigration();
    migration.source.indexList[0] = anIndex('movies', { uuid: 'another' });
    await expect(record(migration)).rejects.toThrow(/'movies' was re-created/);
    await expect(record(migration)).rejects.toThrow(WritesNotBlockedError);
  });
});

describe('blocking', () => {
  const block = (migration: AMigration) => blockWrites(migration.deps, freezeOf(migration), migration.context());

  test('uses the call that waits for writes in flight, on what was not blocked before', async () => {
    const migration = new AMigration({ movies: {}, logs: {} }).frozen(['logs'], false);
    expect(await block(migration)).toEqual({ method: 'block-api', blockedAt: Date.now() });
    expect(migration.source.calls).toEqual(['addWriteBlock movies']);
  });

  test('sets the setting where the service refuses that call', async () => {
    const migration = new AMigration().frozen([], false);
    migration.source.addWriteBlock = async () => 'unsupported';
    expect(await block(migration)).toMatchObject({ method: 'settings' });
    expect(migration.source.settingsOf['movies']).toEqual({ [WRITE]: 'true' });
  });

  test('of what an earlier attempt blocked nobody knows whether it drained: the settings proof is needed', async () => {
    const migration = new AMigration({ movies: {}, logs: {} }).frozen([], false);
    migration.source.settingsOf['movies'] = { [WRITE]: 'true' };
    expect(await block(migration)).toMatchObject({ method: 'settings' });
    expect(migration.source.calls).toEqual(['addWriteBlock logs']);
    expect(await block(migration)).toMatchObject({ method: 'settings' });
  });

  test('a part that fails undoes the others of the call', async () => {
    const migration = new AMigration({ movies: {}, logs: {} }).frozen([], false);
    migration.source.fail('addWriteBlock', new UnavailableError('cut'), { late: true });
    await expect(block(migration)).rejects.toThrow(UnavailableError);
    expect(migration.source.settingsOf).toEqual({ movies: {}, logs: {} });
    expect(await block(migration)).toMatchObject({ method: 'block-api' });
  });

  test('a request that was sent is waited for, although the step is cancelled', async () => {
    const migration = new AMigration().frozen([], false);
    const cancel = new AbortController();
    migration.source.addWriteBlock = async (_names, signal?: AbortSignal) => {
      cancel.abort(new Error('cancelled'));
      expect(signal?.aborted).toBe(false);
      return 'blocked';
    };
    const context = migration.context({ signal: cancel.signal });
    await expect(blockWrites(migration.deps, freezeOf(migration), context)).rejects.toThrow();
  });

  test('a block that does not show is no block', async () => {
    const migration = new AMigration().frozen([], false);
    migration.source.addWriteBlock = async () => 'blocked';
    await expect(block(migration)).rejects.toThrow(WritesNotBlockedError);
  });

  test('nothing is blocked any more once the freeze was decided', async () => {
    const migration = new AMigration().frozen([], false).decided('released');
    await expect(block(migration)).rejects.toThrow(WritesNotBlockedError);
    expect(migration.source.calls).toEqual([]);
  });

  test('an attempt that is too old blocks nothing', async () => {
    const migration = new AMigration().frozen([], false);
    const old = migration.context({ actUntil: Date.now() + 29_000 });
    await expect(blockWrites(migration.deps, freezeOf(migration), old)).rejects.toThrow(/too old/);
    expect(migration.source.calls).toEqual([]);
  });
});

describe('quiescence', () => {
  const stats = (indexTotal: number): Record<string, readonly ShardStats[]> => ({
    movies: [{ shard: 0, docs: 1, deleted: 0, indexTotal, deleteTotal: 0, maxSeqNo: undefined }],
  });
  const task = (changes: Partial<WriteTask>): WriteTask => ({
    id: 't',
    action: 'indices:data/write/bulk',
    runningMs: 100,
    description: 'requests[1], indices[movies]',
    ...changes,
  });
  const prove = (migration: AMigration, method: 'block-api' | 'settings') =>
    proveQuiescence(migration.deps, { ...freezeOf(migration), block: { method, blockedAt: 0 } }, migration.context());

  test('is proved by the block itself where every shard acknowledged it, and counters are kept', async () => {
    const migration = new AMigration().frozen();
    migration.source.statsReads = [stats(5)];
    const proof = await prove(migration, 'block-api');
    expect(proof).toMatchObject({ provedBy: 'block-api', provedAt: Date.now() });
    expect(migration.read<QuiescenceFile>(migration.keys.freeze(1).quiescence)).toEqual({
      counters: { movies: [{ shard: 0, indexTotal: 5, deleteTotal: 0 }] },
    });
    expect((await prove(migration, 'block-api')).countersDigest).toBe(proof.countersDigest);
  });

  test('else waits until no write task is older than the block and the counters rest', async () => {
    const migration = new AMigration().frozen();
    migration.source.taskReads = [[task({})], [task({ runningMs: 350 })], [task({ runningMs: 3 })]];
    migration.source.statsReads = [stats(5), stats(6), stats(6)];
    expect(await prove(migration, 'settings')).toMatchObject({ provedBy: 'tasks-and-counters' });
    expect(migration.source.taskReads).toHaveLength(1);
    expect(migration.progress).toContainEqual(expect.objectContaining({ waitingFor: 'writes in flight', tasks: 1 }));
    expect(migration.progress).toContainEqual(expect.objectContaining({ waitingFor: 'counters to come to rest' }));
  });

  test('a client that keeps retrying does not hold it up', async () => {
    const migration = new AMigration().frozen();
    migration.source.taskReads = [[task({ runningMs: 0 })], [task({ runningMs: 40 })]];
    migration.source.statsReads = [stats(5)];
    await prove(migration, 'settings');
  });

  test.each([
    ['requests[1], indices[movies, other]', true],
    ['requests[1], indices[other]', false],
    ['requests[1], index[other][0]', false],
    ['requests[1], index[movies][0]', true],
    ['requests[1], indices[an-alias]', true],
    ['update-by-query [other] updated with Script{}', false],
    ['delete-by-query [movies]', true],
    ['', true],
    ['something new', true],
    ['indices[]', true],
  ])('a task described as "%s" concerns movies: %s', (description, expected) => {
    expect(concerns(task({ description }), ['movies'], ['movies', 'other'])).toBe(expected);
  });

  test('where the service refuses _tasks too, nothing is proved unless the operator vouches', async () => {
    const migration = new AMigration().frozen();
    migration.source.taskReads = ['unsupported'];
    await expect(prove(migration, 'settings')).rejects.toThrow(/writersStopped/);
    await expect(prove(migration, 'settings')).rejects.toThrow(WritesNotBlockedError);
  });

  test('where he vouches, counters must stay equal for a minute', async () => {
    const migration = new AMigration({ movies: {} }, { cutover: { writersStopped: true } }).frozen();
    migration.source.taskReads = ['unsupported'];
    migration.source.statsReads = [stats(5), stats(5), stats(6)];
    const startedAt = Date.now();
    expect(await prove(migration, 'settings')).toMatchObject({ provedBy: 'writers-stopped' });
    expect(Date.now() - startedAt).toBe(70_000);
  });

  test('an index that shows no counters is no proof', async () => {
    const migration = new AMigration().frozen();
    await expect(prove(migration, 'block-api')).rejects.toThrow(WritesNotBlockedError);
  });

  test('is waited for until it is cancelled: the deadline bounds it', async () => {
    const migration = new AMigration().frozen();
    migration.source.taskReads = [[task({ runningMs: 1e9 })]];
    const cancel = new AbortController();
    let ticks = 0;
    onTick(() => ++ticks === 50 && cancel.abort(new Error('deadline')));
    const input = { ...freezeOf(migration), block: { method: 'settings', blockedAt: 0 } } as const;
    await expect(proveQuiescence(migration.deps, input, migration.context({ signal: cancel.signal }))).rejects.toThrow(
      'deadline',
    );
  });
});

describe('unblocking', () => {
  const unblock = (migration: AMigration) => unblockWrites(migration.deps, freezeOf(migration), migration.context());

  test('undoes exactly the record: what its owner blocked stays, what was re-created is left alone', async () => {
    const migration = new AMigration({ movies: {}, logs: {}, again: {} }).frozen(['logs']);
    migration.source.indexList[2] = anIndex('again', { uuid: 'another' });
    expect(await unblock(migration)).toEqual({ unblocked: 1, leftBlocked: 1 });
    expect(migration.source.settingsOf).toEqual({ movies: {}, logs: { [WRITE]: 'true' }, again: { [WRITE]: 'true' } });
    expect(migration.source.calls).toEqual(['updateSettings movies {"index.blocks.write":null}']);
  });

  test('done once, it never again takes away a block', async () => {
    const migration = new AMigration().frozen();
    await unblock(migration);
    migration.source.settingsOf['movies'] = { [WRITE]: 'true' };
    expect(await unblock(migration)).toEqual({ unblocked: 1, leftBlocked: 0 });
    expect(migration.source.settingsOf['movies']).toEqual({ [WRITE]: 'true' });
  });

  test('without a record there is nothing to undo', async () => {
    expect(await unblock(new AMigration())).toEqual({ unblocked: 0, leftBlocked: 0 });
  });

  test('is refused after the commit', async () => {
    const migration = new AMigration().frozen().decided('committed');
    await expect(unblock(migration)).rejects.toThrow(ConfigurationError);
    expect(migration.source.calls).toEqual([]);
  });

  test('is refused on another cluster', async () => {
    const migration = new AMigration().frozen();
    migration.source.clusterInfo = { ...migration.source.clusterInfo, uuid: 'elsewhere' };
    await expect(unblock(migration)).rejects.toThrow(ConfigurationError);
  });

  test('a block that is still there afterwards is tried again', async () => {
    const migration = new AMigration().frozen();
    migration.source.updateSettings = async () => undefined;
    await expect(unblock(migration)).rejects.toThrow(UnavailableError);
  });
});

describe('the outcome', () => {
  test('the first word decides', async () => {
    const migration = new AMigration().frozen();
    const say = (outcome: 'committed' | 'released', why?: string) =>
      writeFreezeOutcome(
        migration.deps,
        { ...freezeOf(migration), outcome, ...(why === undefined ? {} : { why }) },
        migration.context(),
      );
    expect(await say('released', 'deadline')).toEqual({ outcome: 'released', why: 'deadline' });
    expect(await say('committed')).toEqual({ outcome: 'released', why: 'deadline' });
    await expect(say('perhaps' as 'released')).rejects.toThrow(ConfigurationError);
  });
});

describe('the state of the source', () => {
  const confirm = (migration: AMigration, expect: 'blocked' | 'unblocked') =>
    confirmSourceState(migration.deps, { ...freezeOf(migration), expect }, migration.context());

  test('is as expected when nothing differs', async () => {
    expect(await confirm(new AMigration().frozen(), 'blocked')).toEqual({ differing: [] });
    expect(await confirm(new AMigration({ movies: {}, logs: {} }).frozen(['logs'], false), 'unblocked')).toEqual({
      differing: [],
    });
  });

  test('names every index that differs', async () => {
    const migration = new AMigration({ movies: {}, logs: {}, gone: {} }).frozen([], false);
    migration.source.indexList.pop();
    migration.source.settingsOf['logs'] = { [WRITE]: 'true' };
    expect(await confirm(migration, 'blocked')).toEqual({
      differing: ["index 'gone' is gone from the source", "index 'movies' is not blocked for writes on the source"],
    });
    expect(await confirm(migration, 'unblocked')).toEqual({
      differing: ["index 'logs' is still blocked for writes on the source"],
    });
  });
});
