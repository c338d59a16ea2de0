import {
  ConfigurationError,
  TargetChangedError,
  UnavailableError,
  VerificationFailedError,
} from '../../../src/domain/errors';
import { restore } from '../../../src/steps/restore';
import { switchAliases } from '../../../src/steps/switchover';
import type { LeftFile, RestoredFile } from '../../../src/steps/work-files';
import { AMigration } from '../../support/a-migration';
import { aSnapshot } from '../../support/fake-cluster';
import { onTick, startClock } from '../../support/fake-clock';
import { aRecovery, frames, healthy } from '../../support/restoring-cluster';

jest.mock('../../../src/steps/pause', () => jest.requireActual<object>('../../support/fake-clock'));
beforeEach(startClock);

const run = (migration: AMigration) => restore(migration.deps, migration.restoreInput, migration.context());
const changes = (migration: AMigration) => migration.target.calls.map((call) => call.split(' ')[0]);

describe('a first restore', () => {
  test('ends when every primary is active and came from our snapshot, whatever health and lists say before', async () => {
    const migration = new AMigration({ movies: { shards: 2 } });
    expect(await run(migration)).toEqual({ indices: 1, shards: 2, totalBytes: 200, reusedBytes: 180 });
    expect(changes(migration)).toEqual(['putRepository', 'restore']);
    expect(migration.progress.at(-1)).toMatchObject({ shardsDone: 2, shards: 2, bytesTotal: 200, bytesReused: 180 });
  });

  test('asks for exactly the indices, blocked for writes, without replicas and aliases', async () => {
    const migration = new AMigration(
      { movies: { settings: { 'index.auto_expand_replicas': '0-1' } }, logs: {} },
      { restore: { settings: { 'index.refresh_interval': '30s' }, dropSettings: ['index.codec'] } },
    );
    await run(migration);
    expect(migration.target.requests).toEqual([
      {
        indices: ['movies', 'logs'],
        indexSettings: {
          'index.refresh_interval': '30s',
          'index.auto_expand_replicas': 'false',
          'index.merge.policy.segments_per_tier': 1_000,
          'index.merge.policy.deletes_pct_allowed': 50,
          'index.number_of_replicas': 0,
          'index.blocks.write': true,
        },
        ignoreIndexSettings: [
          'index.lifecycle.*',
          'index.opendistro.*',
          'index.plugins.*',
          'index.routing.allocation.*',
          'index.blocks.*',
          'index.codec',
        ],
        includeAliases: false,
      },
    ]);
  });

  const tiers = { segments_per_tier: 1_000 };
  const patient = { ...tiers, deletes_pct_allowed: 50 };
  test.each<[string, object]>([
    ['5.6.16', {}],
    ['6.8.23', tiers],
    ['7.10.2', patient],
    ['8.19.0', patient],
    ['9.0.0', { type: 'time_based', merge_factor: 1_000 }],
    ['opensearch-1.3.20', patient],
    ['opensearch-2.1.0', patient],
    ['opensearch-2.2.0', { ...patient, merge_on_flush: false }],
    ['opensearch-3.0.0', { ...patient, merge_on_flush: false }],
  ])('into %s sets of merges %j, whatever the plan says', async (target, wanted) => {
    const planned = { 'index.merge_on_flush.enabled': true, 'index.merge.policy.segments_per_tier': 5 };
    for (const settings of [{}, planned]) {
      const migration = new AMigration({ movies: {} }, { restore: { settings } }, { target });
      await run(migration);
      const { indexSettings } = migration.target.requests[0]!;
      const merging = Object.entries(indexSettings).filter(([name]) => name.startsWith('index.merge'));
      const short = merging.map(([name, value]) => [name.replace(/index\.(merge\.policy\.)?|\.enabled/g, ''), value]);
      const { 'index.merge_on_flush.enabled': inFlush, 'index.merge.policy.segments_per_tier': perTier } =
        settings as typeof planned;
      const untouched = { ...(perTier && { segments_per_tier: perTier }), ...(inFlush && { merge_on_flush: inFlush }) };
      expect(Object.fromEntries(short)).toEqual({ ...untouched, ...wanted });
    }
  });

  test('records what is restored before the request and the uuid after it', async () => {
    const migration = new AMigration();
    migration.target.fail('restore', new UnavailableError('no answer'));
    await expect(run(migration)).rejects.toThrow(UnavailableError);
    const restoring = { repository: 'snapferry-ours', snapshot: 'snap' };
    expect(migration.read<RestoredFile>(migration.keys.restored('movies'))).toMatchObject({ restoring });
    await run(migration);
    expect(migration.read<RestoredFile>(migration.keys.restored('movies'))).toMatchObject({
      restoring,
      uuids: ['restored-movies'],
    });
  });

  test('registers the target anew and read-only', async () => {
    const migration = new AMigration();
    await run(migration);
    expect(migration.target.registered['snapferry-ours']?.settings).toMatchObject({ readonly: true });
  });
});

describe('looking first', () => {
  test('an index that is done from our snapshot is not restored again', async () => {
    const migration = new AMigration();
    await run(migration);
    migration.target.calls.length = 0;
    expect(await run(migration)).toMatchObject({ indices: 1, shards: 1 });
    expect(migration.target.calls).toEqual([]);
  });

  test('a restore that runs is waited for, although its answer was lost', async () => {
    const migration = new AMigration();
    migration.target.fail('restore', new UnavailableError('no answer'), { late: true });
    await expect(run(migration)).rejects.toThrow(UnavailableError);
    migration.target.add('movies', { uuid: 'new' });
    migration.target.play('movies', 'snap', 0);
    // How long it took is known by the cluster alone: nobody may have been there for most of it.
    expect(await run(migration)).toMatchObject({ workedMs: 60_000 });
    expect(migration.target.requests).toEqual([]);
    expect(migration.read<RestoredFile>(migration.keys.restored('movies')).uuids).toEqual(['new']);
  });

  test("the last round's index is closed and restored over", async () => {
    const migration = new AMigration();
    migration.claim('movies', { uuids: ['ours'] });
    migration.target.add('movies', { uuid: 'ours' });
    migration.target.healthOf['movies'] = healthy(1);
    migration.target.recoveryList = [aRecovery('movies', { snapshot: 'older' })];
    await run(migration);
    expect(changes(migration)).toEqual(['putRepository', 'close', 'restore']);
  });

  test('an index that is closed already is restored over without closing it again', async () => {
    const migration = new AMigration();
    migration.claim('movies', { uuids: ['ours'] });
    migration.target.add('movies', { uuid: 'ours', open: false });
    await run(migration);
    expect(changes(migration)).toEqual(['putRepository', 'restore']);
  });

  test('an index left red by an earlier attempt is restored again, once its cause is mended', async () => {
    const migration = new AMigration();
    migration.claim('movies', { uuids: ['ours'], restoring: { repository: 'snapferry-ours', snapshot: 'snap' } });
    migration.target.add('movies', { uuid: 'ours' });
    migration.target.healthOf['movies'] = healthy(1, { status: 'red', activePrimaries: 0 });
    await run(migration);
    expect(changes(migration)).toEqual(['putRepository', 'close', 'restore']);
  });
});

describe('whose index it is', () => {
  test("a stranger's index, open or closed, is never touched", async () => {
    for (const open of [true, false]) {
      const migration = new AMigration();
      migration.target.add('movies', { uuid: 'stranger', open });
      await expect(run(migration)).rejects.toThrow(/stranger's index/);
      await expect(run(migration)).rejects.toThrow(ConfigurationError);
      expect(migration.target.calls).toEqual([]);
    }
  });

  test('an index that our recorded restore brought is ours, although its uuid was not recorded', async () => {
    const migration = new AMigration();
    migration.claim('movies', { restoring: { repository: 'snapferry-ours', snapshot: 'earlier' } });
    migration.target.add('movies', { uuid: 'fresh' });
    migration.target.healthOf['movies'] = healthy(1);
    migration.target.recoveryList = [aRecovery('movies', { snapshot: 'earlier' })];
    await run(migration);
    expect(migration.read<RestoredFile>(migration.keys.restored('movies')).uuids).toEqual(['fresh']);
    expect(migration.target.requests).toHaveLength(1);
  });

  test('an index that came from elsewhere is a stranger, although we were about to restore it', async () => {
    const migration = new AMigration();
    migration.claim('movies', { restoring: { repository: 'snapferry-ours', snapshot: 'snap' } });
    migration.target.add('movies', { uuid: 'fresh' });
    migration.target.healthOf['movies'] = healthy(1);
    migration.target.recoveryList = [aRecovery('movies', { repository: 'theirs' })];
    await expect(run(migration)).rejects.toThrow(ConfigurationError);
    expect(migration.target.calls).toEqual([]);
  });

  test('an index whose claim is another migration’s is refused by its name', async () => {
    const migration = new AMigration();
    migration.save(migration.ownerKey('movies'), { migration: 'other', firstRunId: 'run-2' });
    await expect(run(migration)).rejects.toThrow(/'other'/);
    expect(migration.target.calls).toEqual([]);
  });
});

describe('what goes wrong', () => {
  test('an answer that names fewer indices than asked is a failure', async () => {
    const migration = new AMigration({ movies: {}, logs: {} });
    migration.target.accepts = () => ['movies'];
    await expect(run(migration)).rejects.toThrow(/left out logs/);
  });

  test('an answer without a list is no failure: recoveries tell', async () => {
    const migration = new AMigration();
    migration.target.accepts = () => undefined;
    expect(await run(migration)).toMatchObject({ shards: 1 });
  });

  test('another snapshot of that name is refused', async () => {
    const migration = new AMigration();
    migration.target.snapshots['snapferry-ours/snap'] = aSnapshot('snap', ['movies'], { uuid: 'another' });
    await expect(run(migration)).rejects.toThrow(VerificationFailedError);
    expect(migration.target.requests).toEqual([]);
  });

  test('recoveries that vanish are restored again, at most three times', async () => {
    const two = new AMigration({ movies: { shards: 2 } });
    two.target.frames = [frames.accepted, frames.firstDone, frames.vanished];
    onTick(() => {
      if (two.target.requests.length === 2) two.target.frames = [frames.accepted, frames.done];
    });
    expect(await run(two)).toMatchObject({ shards: 2 });
    expect(two.target.requests).toHaveLength(2);
    const never = new AMigration({ movies: { shards: 2 } });
    never.target.frames = [frames.accepted, frames.firstDone, frames.vanished];
    await expect(run(never)).rejects.toThrow(/vanished 3 times/);
  });

  test('a shard that moves after it was done stays done', async () => {
    const migration = new AMigration({ movies: { shards: 2 } });
    migration.target.frames = [
      frames.accepted,
      frames.lagging,
      (index) => ({
        health: healthy(2),
        recoveries: [aRecovery(index), aRecovery(index, { shard: 1, type: 'PEER', snapshot: undefined })],
      }),
    ];
    expect(await run(migration)).toMatchObject({ shards: 2, totalBytes: 200 });
    expect(migration.target.requests).toHaveLength(1);
  });

  test('a shard that stays red for half a minute is explained, not waited for', async () => {
    const migration = new AMigration({ movies: { shards: 2 } });
    migration.target.frames = [frames.accepted, frames.failed];
    const startedAt = Date.now();
    await expect(run(migration)).rejects.toThrow(/checksum failed.*index=movies, shard=0/);
    expect(Date.now() - startedAt).toBeGreaterThanOrEqual(30_000);
    expect(Date.now() - startedAt).toBeLessThan(40_000);
  });

  test('a shard that recovers by itself from a missing blob is no failure', async () => {
    const migration = new AMigration({ movies: { shards: 2 } });
    migration.target.frames = [...Array.from({ length: 20 }, () => frames.failed), frames.done];
    expect(await run(migration)).toMatchObject({ shards: 2 });
  });

  test('an index that the target snapshots right now cannot be closed: that passes', async () => {
    const migration = new AMigration();
    migration.claim('movies', { uuids: ['ours'] });
    migration.target.add('movies', { uuid: 'ours' });
    migration.target.healthOf['movies'] = healthy(1);
    migration.target.fail('close', new UnavailableError('it is being snapshotted'));
    await expect(run(migration)).rejects.toThrow(UnavailableError);
    expect(migration.target.requests).toEqual([]);
    await run(migration);
  });

  test('an attempt that is too old changes nothing', async () => {
    const migration = new AMigration();
    const old = migration.context({ actUntil: Date.now() });
    await expect(restore(migration.deps, migration.restoreInput, old)).rejects.toThrow(/too old/);
    expect(migration.target.calls).toEqual([]);
  });

  test('a restore that is cancelled stops with the reason', async () => {
    const migration = new AMigration();
    const cancel = new AbortController();
    onTick(() => cancel.abort(new Error('stopped')));
    const context = migration.context({ signal: cancel.signal });
    await expect(restore(migration.deps, migration.restoreInput, context)).rejects.toThrow('stopped');
  });
});

describe('what somebody did to the target since the last restore', () => {
  const shard = (docs: number, maxSeqNo?: number) => ({
    ...{ shard: 0, docs, deleted: 0, indexTotal: docs, deleteTotal: 0 },
    maxSeqNo,
  });
  /** The last restore left 10 documents, and a sequence number unless the target is older than 6.0. */
  const restoredBefore = (maxSeqNo: number | undefined = 9) => {
    const migration = new AMigration({ movies: {} });
    migration.claim('movies', { uuids: ['ours'], restoring: { repository: 'snapferry-ours', snapshot: 'older' } });
    migration.target.add('movies', { uuid: 'ours', blocks: ['write'] });
    migration.target.healthOf['movies'] = healthy(1);
    migration.target.recoveryList = [aRecovery('movies', { snapshot: 'older' })];
    migration.target.statsOf['movies'] = [shard(10, maxSeqNo)];
    const left: LeftFile = {
      indices: {
        movies: { uuid: 'ours', shards: [{ shard: 0, docs: 10, ...(maxSeqNo === undefined ? {} : { maxSeqNo }) }] },
      },
    };
    migration.save(migration.keys.left('older'), left);
    return migration;
  };
  const set = (migration: AMigration, changes: object) => {
    migration.target.indexList[0] = { ...migration.target.indexList[0]!, ...changes };
  };

  test.each<readonly [string, (migration: AMigration) => void, string]>([
    ['closed it', (m) => set(m, { open: false }), "index 'movies' is closed"],
    ['took the block away', (m) => set(m, { blocks: [] }), "index 'movies' is not blocked for writes any more"],
    [
      'deleted and added as much',
      (m) => (m.target.statsOf['movies'] = [shard(10, 11)]),
      'the highest sequence number of shard 0 is 11 where 9 was left',
    ],
    ['added a document', (m) => (m.target.statsOf['movies'] = [shard(11, 10)]), 'has 11 documents where 10 were left'],
  ])('%s: it is shown, and nothing is closed or restored over', async (_, change, says) => {
    const migration = restoredBefore();
    change(migration);
    for (let attempt = 1; attempt <= 2; attempt += 1) {
      await expect(run(migration)).rejects.toThrow(says);
      await expect(run(migration)).rejects.toThrow(TargetChangedError);
    }
    expect(changes(migration).filter((call) => call !== 'refresh')).toEqual([]);
  });

  test('before 6.0 the number of documents tells', async () => {
    const migration = restoredBefore(undefined);
    migration.target.statsOf['movies'] = [shard(9)];
    await expect(run(migration)).rejects.toThrow('has 9 documents where 10 were left');
  });

  test('nothing: it is restored over, and what that leaves is recorded', async () => {
    const migration = restoredBefore();
    await run(migration);
    expect(migration.read<LeftFile>(migration.keys.left('snap'))).toEqual({
      indices: { movies: { uuid: 'ours', shards: [{ shard: 0, docs: 10, maxSeqNo: 9 }] } },
    });
  });

  test('an index that is gone comes back whole, and a lost primary is restored', async () => {
    const gone = restoredBefore();
    gone.target.indexList.length = 0;
    expect(await run(gone)).toMatchObject({ indices: 1 });
    const lost = restoredBefore();
    lost.target.healthOf['movies'] = healthy(1, { status: 'red', activePrimaries: 0 });
    lost.target.statsOf['movies'] = [];
    expect(await run(lost)).toMatchObject({ indices: 1 });
  });

  test('an attempt that was interrupted between close and restore is not taken for somebody else', async () => {
    const migration = restoredBefore();
    migration.target.fail('restore', new UnavailableError('no answer'));
    await expect(run(migration)).rejects.toThrow(UnavailableError);
    set(migration, { open: false });
    expect(await run(migration)).toMatchObject({ indices: 1 });
  });
});

describe('indices with another name on the target', () => {
  const plan = { restore: { rename: { 'logs-*': 'aws-logs-*', movies: 'films' } } };

  test('are asked for by their old names and awaited by their new ones, one request for each rule', async () => {
    const migration = new AMigration({ 'logs-1': {}, movies: {}, other: {} }, plan);
    expect(await run(migration)).toMatchObject({ indices: 3, shards: 3 });
    expect(migration.target.requests).toMatchObject([
      { indices: ['logs-1', 'other'], rename: { pattern: '^logs-(.*)$', replacement: 'aws-logs-$1' } },
      { indices: ['movies'], rename: { pattern: '^movies$', replacement: 'films' } },
    ]);
    expect(migration.target.indexList.map(({ name }) => name)).toEqual(['aws-logs-1', 'other', 'films']);
    expect(migration.read<RestoredFile>(migration.keys.restored('films'))).toMatchObject({ uuids: ['restored-films'] });
    migration.target.calls.length = 0;
    await run(migration);
    expect(migration.target.calls).toEqual([]);
  });

  test('wait for the request before, as a 5.x cluster has one restore at a time', async () => {
    const migration = new AMigration({ 'logs-1': {}, movies: {} }, plan);
    const underWay: number[] = [];
    const request = migration.target.restore.bind(migration.target);
    migration.target.restore = (...args) => {
      underWay.push(migration.target.indexList.filter(({ health }) => health === 'yellow').length);
      return request(...args);
    };
    await run(migration);
    expect(underWay).toHaveLength(2);
    expect(migration.progress.filter(({ shardsDone }) => shardsDone === 0).length).toBeGreaterThan(0);
  });

  test('are restored over when they are ours, and an index with the old name is nobody’s business', async () => {
    const migration = new AMigration({ movies: {} }, plan);
    migration.claim('films', { uuids: ['ours'] });
    migration.target.add('films', { uuid: 'ours' });
    migration.target.add('movies', { uuid: 'a stranger’s' });
    migration.target.healthOf['films'] = healthy(1);
    migration.target.recoveryList = [aRecovery('films', { snapshot: 'older' })];
    await run(migration);
    expect(migration.target.calls.filter((call) => call.includes('close'))).toEqual(['close films']);
  });

  test('are refused when a stranger has the new name', async () => {
    const migration = new AMigration({ movies: {} }, plan);
    migration.target.add('films', { uuid: 'a stranger’s' });
    migration.target.healthOf['films'] = healthy(1);
    migration.target.recoveryList = [aRecovery('films', { type: 'EXISTING_STORE' })];
    await expect(run(migration)).rejects.toThrow(ConfigurationError);
    expect(migration.target.calls).toEqual([]);
  });
});

describe('strategy replace', () => {
  const plan = { restore: { strategy: 'replace' } };

  test('deletes what the last round left, never closes, and knows the new index by its recoveries', async () => {
    const migration = new AMigration({ movies: {}, logs: {} }, plan);
    migration.claim('movies', { uuids: ['ours'] });
    migration.target.add('movies', { uuid: 'ours' });
    migration.target.healthOf['movies'] = healthy(1);
    migration.target.recoveryList = [aRecovery('movies', { snapshot: 'older' })];
    await run(migration);
    expect(migration.target.calls.map((call) => call.split(' ').slice(0, 2).join(' '))).toEqual([
      'putRepository snapferry-ours',
      'deleteIndices movies',
      'restore snapferry-ours/snap',
    ]);
    expect(migration.read<RestoredFile>(migration.keys.restored('movies')).uuids).toEqual(['ours', 'restored-movies']);
    migration.target.calls.length = 0;
    await run(migration);
    expect(migration.target.calls).toEqual([]);
  });

  test('finds the index gone that it deleted before it was stopped', async () => {
    const migration = new AMigration({ movies: {} }, plan);
    migration.claim('movies', { uuids: ['ours'], restoring: { repository: 'snapferry-ours', snapshot: 'snap' } });
    await run(migration);
    expect(changes(migration)).toEqual(['putRepository', 'restore']);
  });

  test('never deletes an index that is not recorded as ours', async () => {
    const migration = new AMigration({ movies: {} }, plan);
    migration.claim('movies', { uuids: ['ours'] });
    migration.target.add('movies', { uuid: 'a stranger’s' });
    migration.target.healthOf['movies'] = healthy(1);
    migration.target.recoveryList = [aRecovery('movies', { type: 'EXISTING_STORE' })];
    await expect(run(migration)).rejects.toThrow(ConfigurationError);
    expect(migration.target.calls).toEqual([]);
  });

  test('shows what somebody did to the index, instead of deleting it', async () => {
    const migration = new AMigration({ movies: {} }, plan).restored();
    migration.claim('movies', {
      uuids: ['restored-movies'],
      restoring: { repository: 'snapferry-ours', snapshot: 'older' },
    });
    migration.save(migration.keys.left('older'), { indices: { movies: { uuid: 'restored-movies', shards: [] } } });
    migration.target.play('movies', 'older', 99);
    migration.target.indexList[0] = { ...migration.target.indexList[0]!, blocks: [] };
    await expect(run(migration)).rejects.toThrow(TargetChangedError);
    expect(migration.target.calls).toEqual([]);
  });
});

describe('strategy alias', () => {
  /** What round 0 has left, of which only `uuid` may differ from what was recorded. */
  const after = (uuid = 'older', changes = {}) => {
    const migration = new AMigration({ movies: {} }, { restore: { strategy: 'alias' } });
    migration.claim('movies-snapferry-r0', {
      uuids: ['older'],
      restoring: { repository: 'snapferry-ours', snapshot: 'before' },
    });
    migration.target.add('movies-snapferry-r0', { uuid, blocks: ['write'], ...changes });
    const left: LeftFile = { indices: { 'movies-snapferry-r0': { uuid: 'older', shards: [] } } };
    migration.save(migration.keys.left('before'), left);
    return migration;
  };
  const names = (migration: AMigration) => migration.target.indexList.map(({ name }) => name);

  test('restores beside, under the name of the round, and removes what the round before has left', async () => {
    const migration = after();
    migration.target.add('movies', { uuid: 'a stranger’s' });
    migration.target.add('movies-snapferry-r9', { uuid: 'of a later round' });
    expect(await run(migration)).toMatchObject({ indices: 1 });
    expect(changes(migration)).toEqual(['putRepository', 'restore', 'deleteIndices']);
    expect(names(migration)).toEqual(['movies', 'movies-snapferry-r9', 'movies-snapferry-r1']);
    expect(migration.target.requests).toMatchObject([
      { indices: ['movies'], rename: { pattern: '^(.*)$', replacement: '$1-snapferry-r1' } },
    ]);
    expect(migration.read<RestoredFile>(migration.keys.restored('movies-snapferry-r1')).uuids).toEqual([
      'restored-movies-snapferry-r1',
    ]);
    // A late attempt of that round could not bring it back.
    expect(migration.store.blobs.has(migration.ownerKey('movies-snapferry-r0'))).toBe(false);
    migration.target.calls.length = 0;
    await run(migration);
    expect(migration.target.calls).toEqual([]);
  });

  test('removes what a migration that was taken over has left, whatever its round; never a later one of its own', async () => {
    const migration = after();
    for (const [name, adopted] of [
      ['movies-snapferry-r1', { adopted: true }],
      ['movies-snapferry-r5', { adopted: true }],
      ['movies-snapferry-r9', {}],
    ] as const) {
      migration.target.add(name, { uuid: `${name} of before`, blocks: ['write'] });
      const restoring = { repository: 'snapferry-ours', snapshot: `before ${name}` };
      migration.claim(name, { uuids: [`${name} of before`], restoring, ...adopted });
    }
    await run(migration);
    expect(names(migration)).toEqual(['movies-snapferry-r9', 'movies-snapferry-r1']);
    expect(migration.target.indexList[1]?.uuid).toBe('restored-movies-snapferry-r1');
    expect(migration.store.blobs.has(migration.ownerKey('movies-snapferry-r5'))).toBe(false);
    expect(migration.read<RestoredFile>(migration.keys.restored('movies-snapferry-r1')).adopted).toBeUndefined();
    // An attempt that comes later finds its own index, and removes nothing more.
    migration.target.calls.length = 0;
    await run(migration);
    expect(migration.target.calls).toEqual([]);
    expect(migration.store.blobs.has(migration.ownerKey('movies-snapferry-r1'))).toBe(true);
  });

  test('what failed to be removed is removed by the next attempt', async () => {
    const migration = after();
    migration.target.fail('deleteIndices', new UnavailableError('a snapshot runs'));
    await expect(run(migration)).rejects.toThrow(UnavailableError);
    await run(migration);
    expect(names(migration)).toEqual(['movies-snapferry-r1']);
  });

  test('never removes an index that is not recorded as ours, or that somebody changed', async () => {
    await expect(run(after('a stranger’s'))).rejects.toThrow('was deleted and created anew');
    await expect(run(after('older', { blocks: [] }))).rejects.toThrow('is not blocked for writes any more');
    const unknown = after('a stranger’s');
    unknown.store.blobs.delete(unknown.keys.left('before'));
    await run(unknown);
    expect(names(unknown)).toEqual(['movies-snapferry-r0', 'movies-snapferry-r1']);
  });

  test('is refused for an index whose name another migration has claimed', async () => {
    const migration = after();
    migration.save(migration.ownerKey('movies'), { migration: 'another', firstRunId: 'run-2' });
    await expect(run(migration)).rejects.toThrow("belongs to migration 'another'");
    expect(migration.target.calls).toEqual([]);
  });
});

describe('aliases in every round', () => {
  const following = () => new AMigration({ movies: { aliases: ['live'] } }, { restore: { aliases: 'everyRound' } });

  test('appear with the restore, and go when the source has them no longer; what somebody else set stays', async () => {
    const migration = following();
    await run(migration);
    expect(migration.target.aliasMap).toEqual({ movies: { live: {} } });
    migration.target.aliasMap['movies']!['theirs'] = {};
    migration.source.aliasMap['movies'] = { newer: {} };
    migration.target.calls.length = 0;
    await run(migration);
    expect(migration.target.aliasMap).toEqual({ movies: { theirs: {}, newer: {} } });
    expect(migration.target.calls).toHaveLength(1);
    await run(migration);
    expect(migration.target.calls).toHaveLength(1);
  });

  test('are those of the source only: the plan’s own wait for the switchover', async () => {
    const restore = { aliases: 'everyRound' };
    const cutover = { switchover: { aliases: { live: 'logs', other: 'logs' } } };
    const migration = new AMigration({ movies: { aliases: ['live'] }, logs: {} }, { restore, cutover });
    await run(migration);
    expect(migration.target.aliasMap).toEqual({ movies: { live: {} } });
    migration.frozen().decided('committed');
    await switchAliases(migration.deps, { ...migration.at, freeze: 1 }, migration.context());
    expect(migration.target.aliasMap).toEqual({ movies: {}, logs: { live: {}, other: {} } });
  });

  test('that a stranger has are refused before any is set', async () => {
    const migration = following();
    migration.target.add('theirs');
    migration.target.aliasMap['theirs'] = { live: {} };
    await expect(run(migration)).rejects.toThrow("alias 'live' already points at theirs");
    expect(changes(migration)).not.toContain('updateAliases');
  });
});

describe('a migration that is taken over may have been lost inside its restore:', () => {
  const before = { repository: 'snapferry-before', snapshot: 'before' };
  const ours = { uuids: ['before'], restoring: before, adopted: true as const };
  const add = (m: AMigration, changes = {}) =>
    m.target.add('movies', { uuid: 'before', blocks: ['write'], ...changes }, { 'index.blocks.write': 'true' });
  const left = (m: AMigration, docs: number) =>
    m.save(m.keys.left('before'), { indices: { movies: { uuid: 'before', shards: [{ shard: 0, docs }] } } });
  const done = [aRecovery('movies', before)];
  const half = [aRecovery('movies', { ...before, stage: 'INDEX' })];

  test.each<[string, (migration: AMigration) => void, string[]]>([
    ['asked for, and nothing done', (m) => m.claim('movies', ours), ['putRepository', 'restore']],
    [
      'asked for again, and not closed yet',
      (m) => (m.claim('movies', ours), add(m)),
      ['putRepository', 'close', 'restore'],
    ],
    ['closed', (m) => (m.claim('movies', ours), add(m, { open: false })), ['putRepository', 'restore']],
    [
      'restored and not recorded as ours',
      (m) => (m.claim('movies', { ...ours, uuids: [] }), add(m), (m.target.recoveryList = done)),
      ['putRepository', 'close', 'restore'],
    ],
    [
      'half restored',
      (m) => (m.claim('movies', ours), add(m), (m.target.recoveryList = half)),
      ['putRepository', 'close', 'restore'],
    ],
    [
      'done, with what it left on record',
      (m) => {
        m.claim('movies', { ...ours, aliases: ['films'] });
        add(m);
        m.target.healthOf['movies'] = healthy(1);
        m.target.statsOf['movies'] = [
          { shard: 0, docs: 3, deleted: 0, indexTotal: 0, deleteTotal: 0, maxSeqNo: undefined },
        ];
        left(m, 3);
      },
      ['putRepository', 'close', 'restore'],
    ],
  ])('%s', async (_, change, expected) => {
    const migration = new AMigration({ movies: { aliases: ['films'] } }, { restore: { aliases: 'everyRound' } });
    change(migration);
    await run(migration);
    expect(changes(migration)).toEqual([...expected, 'updateAliases']);
    expect(migration.target.aliasMap['movies']).toEqual({ films: {} });
    const restored = migration.read<RestoredFile>(migration.keys.restored('movies'));
    expect(restored).toMatchObject({ restoring: { snapshot: 'snap' }, aliases: ['films'] });
    expect(restored.adopted).toBeUndefined();
  });

  test('what somebody has changed since is shown, and not restored over', async () => {
    const migration = new AMigration();
    migration.claim('movies', ours);
    add(migration);
    migration.target.statsOf['movies'] = [
      { shard: 0, docs: 4, deleted: 0, indexTotal: 0, deleteTotal: 0, maxSeqNo: undefined },
    ];
    left(migration, 3);
    await expect(run(migration)).rejects.toThrow('has 4 documents where 3 were left');
  });
});
