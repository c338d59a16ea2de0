import { ConfigurationError, UnavailableError } from '../../../src/domain/errors';
import { locationOwnerKey } from '../../../src/domain/names';
import { cleanUp } from '../../../src/steps/cleanup';
import { AMigration } from '../../support/a-migration';
import { aRecovery } from '../../support/restoring-cluster';

function ended(plan = {}): AMigration {
  const migration = new AMigration({ movies: {}, 'logs-ä': {} }, plan).restored();
  for (const name of ['snap', 'failed']) migration.save(migration.keys.snapshot(name), {});
  const snapshots = [
    { name: 'snap', uuid: 'a' },
    { name: 'theirs', uuid: 'b' },
  ];
  migration.sourceStore.put('repo/index-4', Buffer.from(JSON.stringify({ snapshots, indices: {} })));
  for (const cluster of [migration.source, migration.target]) {
    cluster.registered['snapferry-ours'] = { type: 'fs', settings: {} };
    cluster.registered['theirs'] = { type: 'fs', settings: {} };
    migration.save(migration.keys.registration(cluster.name, 'snapferry-ours'), { cluster: cluster.name });
  }
  return migration;
}
const run = (migration: AMigration, outcome: 'done' | 'aborted' | 'cancelled') =>
  cleanUp(migration.deps, { plan: migration.ref, outcome }, migration.context());
const owners = (migration: AMigration) => [...migration.store.blobs.keys()].filter((key) => key.includes('/owners/'));
const open = (migration: AMigration) => {
  for (const settings of Object.values(migration.target.settingsOf)) delete settings['index.blocks.write'];
};

test('after success our registrations and claims go, everything else stays and is named', async () => {
  const migration = ended();
  open(migration);
  migration.save(`snapferry-work/owners/index/${migration.target.clusterInfo.uuid}/other/owner.json`, {
    firstRunId: 'run-2',
  });
  const { remains } = await run(migration, 'done');
  expect(Object.keys(migration.source.registered)).toEqual(['theirs']);
  expect(Object.keys(migration.target.registered)).toEqual(['theirs']);
  expect(owners(migration)).toEqual([expect.stringContaining('/other/')]);
  expect(remains).toEqual([
    expect.stringContaining('1 snapshots stay in the source repository, the newest snap (10 B)'),
    expect.stringContaining("The copied repository stays below 'copy' of memory:target (3 blobs, 11 B)"),
  ]);
  expect(migration.store.blobs.has('copy/index-4')).toBe(true);
  expect(migration.store.blobs.has(migration.round.manifest)).toBe(true);
});

test('a second run says the same and changes nothing', async () => {
  const migration = ended();
  const first = await run(migration, 'aborted');
  const calls = [...migration.target.calls];
  expect(await run(migration, 'aborted')).toEqual(first);
  expect(migration.target.calls).toEqual(calls);
});

test('a run that was interrupted while it gave claims back loses no sentence', async () => {
  const migration = ended();
  migration.store.inject({ call: 'delete', nth: 3, effect: 'unavailable' });
  await expect(run(migration, 'aborted')).rejects.toThrow(UnavailableError);
  const { remains } = await run(migration, 'aborted');
  expect(remains[0]).toContain('2 restored indices stay');
  expect(owners(migration)).toEqual([]);
});

test('after an abort the restored indices stay blocked, with the calls that remove or open them', async () => {
  const migration = ended();
  migration.target.add('stranger', {}, { 'index.blocks.write': 'true' });
  const { remains } = await run(migration, 'aborted');
  expect(remains[0]).toContain('2 restored indices stay on target target (2 KiB), blocked for writes: logs-ä, movies.');
  expect(remains[0]).toContain(
    'DELETE /logs-ä,movies, or open them with PUT /logs-ä,movies/_settings {"index.blocks.write":null}',
  );
  expect(migration.target.calls).toEqual(['deleteRepository snapferry-ours']);
  expect(migration.store.blobs.has(locationOwnerKey('snapferry-work', 'copy'))).toBe(false);
});

test('registrations stay when the plan keeps them, but not after an abort', async () => {
  const kept = ended({ cleanup: { registrations: 'keep' } });
  const { remains } = await run(kept, 'done');
  expect(kept.target.registered).toHaveProperty('snapferry-ours');
  expect(remains.filter((sentence) => sentence.startsWith('Registration'))).toHaveLength(2);
  const aborted = ended({ cleanup: { registrations: 'keep' } });
  await run(aborted, 'cancelled');
  expect(aborted.target.registered).not.toHaveProperty('snapferry-ours');
});

test('unfinished uploads below the target location are aborted, others are not', async () => {
  const migration = ended();
  const signal = migration.context().signal;
  await migration.store.uploads.begin('copy/indices/a/0/__1', signal);
  const theirs = await migration.store.uploads.begin('copy-of-others/x', signal);
  await run(migration, 'done');
  expect(await migration.store.uploads.unfinished('', signal)).toEqual([{ key: 'copy-of-others/x', uploadId: theirs }]);
});

test('a store that cannot list unfinished uploads is said', async () => {
  const migration = ended();
  migration.store.uploads.unfinished = async () => undefined;
  expect((await run(migration, 'done')).remains).toContainEqual(expect.stringContaining('lifecycle rule'));
});

test('a failure is said and does not keep the rest from being cleaned up', async () => {
  const migration = ended();
  migration.source.fail('deleteRepository', new ConfigurationError('not allowed'));
  const { remains } = await run(migration, 'done');
  expect(remains).toContainEqual('The registration in the source cluster could not be cleaned up: not allowed');
  expect(migration.target.registered).not.toHaveProperty('snapferry-ours');
  expect(owners(migration)).toEqual([]);
});

test('what may pass is tried again', async () => {
  const migration = ended();
  migration.target.fail('deleteRepository', new UnavailableError('in use'));
  await expect(run(migration, 'aborted')).rejects.toThrow(UnavailableError);
  expect(owners(migration)).toHaveLength(3);
  await run(migration, 'aborted');
  expect(migration.target.registered).not.toHaveProperty('snapferry-ours');
});

test('one side that does not answer keeps nothing of the other from being cleaned up, and on the last try it is said', async () => {
  const migration = ended();
  migration.source.fail('repository', new UnavailableError('the source is down'));
  await expect(run(migration, 'aborted')).rejects.toThrow('the source is down');
  expect(migration.target.registered).not.toHaveProperty('snapferry-ours');
  migration.source.fail('repository', new UnavailableError('the source is down'));
  const input = { plan: migration.ref, outcome: 'aborted' as const, lastTry: true };
  const { remains } = await cleanUp(migration.deps, input, migration.context());
  expect(remains).toContainEqual('The registration in the source cluster could not be cleaned up: the source is down');
  expect(owners(migration)).toEqual([]);
});

describe('after an abort', () => {
  const running = (repository: string, snapshot: string) => ({ repository, snapshot, shardsDone: 1, shardsTotal: 9 });

  test('our snapshot that still runs is stopped, and nobody else’s', async () => {
    const migration = ended();
    migration.source.running = [
      running('snapferry-ours', 'snap'),
      running('snapferry-ours', 'snapferry-not-in-our-books'),
      running('theirs', 'failed'),
    ];
    const { remains } = await run(migration, 'aborted');
    expect(migration.source.calls[0]).toBe('deleteSnapshot snapferry-ours/snap');
    expect(migration.source.running.map(({ snapshot }) => snapshot)).toEqual(['snapferry-not-in-our-books', 'failed']);
    expect(remains).toContainEqual('Snapshot snap ran on source source: it was stopped and is deleted');
  });

  test('an index that is being restored is deleted: half an index is nothing', async () => {
    const migration = ended();
    migration.target.recoveryList = [aRecovery('movies', { stage: 'INDEX' }), aRecovery('logs-ä')];
    const { remains } = await run(migration, 'aborted');
    expect(migration.target.calls[0]).toBe('deleteIndices movies');
    expect(remains).toContainEqual(expect.stringContaining('held nothing whole: movies. They are deleted'));
    expect(remains).toContainEqual(expect.stringContaining('1 restored indices stay'));
  });

  test('what comes from a snapshot that we did not ask for is left alone', async () => {
    const migration = ended();
    migration.target.recoveryList = [aRecovery('movies', { stage: 'INDEX', snapshot: 'another' })];
    await run(migration, 'aborted');
    expect(migration.target.calls).toEqual(['deleteRepository snapferry-ours']);
  });
});

describe('a rollback that was stopped is named with both sides, and with the command that ends it', () => {
  async function stopped(rollback?: object): Promise<readonly string[]> {
    const migration = ended({ cutover: { watch: '1h' } })
      .frozen(['logs-ä'])
      .decided('committed');
    const indices = [{ name: 'movies', uuid: 'restored-movies' }];
    migration.save(migration.keys.freeze(1).targetBlock, { indices });
    if (rollback !== undefined) migration.save(migration.keys.freeze(1).rollback, rollback);
    const input = { plan: migration.ref, outcome: 'aborted' as const, committed: 1 };
    return (await cleanUp(migration.deps, input, migration.context())).remains;
  }

  test('before it was decided, when the target holds the newest writes and is not to be deleted', async () => {
    const [first, second] = await stopped();
    expect(first).toBe(
      'A rollback was stopped before it was decided, and neither side takes writes: blocked are 1 indices of source ' +
        'source (movies) and 1 of target target (movies). To end this run `npx snapferry unfreeze plan.json`: it opens ' +
        'the target again, with everything that was written there; the source stays blocked',
    );
    expect(second).toContain('blocked for writes: logs-ä. Remove');
  });

  test('after it was decided, when the source is what counts', async () => {
    const [first, second] = await stopped({ accepted: { operations: 3, exact: true }, who: 'ana', why: 'slow' });
    expect(first).toContain('stopped after it was decided');
    expect(first).toContain('`npx snapferry unfreeze plan.json`: it takes the aliases back and opens the source');
    expect(second).toContain('blocked for writes: logs-ä, movies');
  });
});
