import { TargetChangedError } from '../../../src/domain/errors';
import { confirmPublished, recheckBeforeCommit } from '../../../src/steps/recheck';
import { AMigration } from '../../support/a-migration';
import { anIndex } from '../../support/fake-cluster';

const ready = (plan = {}) => new AMigration({ movies: {}, logs: {} }, plan).restored().frozen().quiescent();
const objections = async (migration: AMigration) => {
  const input = { ...migration.at, freeze: 1 };
  const first = await recheckBeforeCommit(migration.deps, input, migration.context());
  expect(await recheckBeforeCommit(migration.deps, input, migration.context())).toEqual(first);
  return first.objections;
};

test('nothing changed: commit may follow, and nothing was changed by looking', async () => {
  const migration = ready();
  expect(await objections(migration)).toEqual([]);
  expect([...migration.source.calls, ...migration.target.calls, ...migration.store.callsOf('write')]).toEqual([]);
});

test('a block that was taken away is an objection', async () => {
  const migration = ready();
  migration.source.settingsOf['logs'] = {};
  expect(await objections(migration)).toEqual(["index 'logs' is not blocked for writes on the source"]);
});

test('counters that moved are an objection', async () => {
  const migration = ready();
  migration.source.statsOf['movies'] = [
    { shard: 0, docs: 10, deleted: 0, indexTotal: 11, deleteTotal: 0, maxSeqNo: 9 },
  ];
  expect(await objections(migration)).toEqual([
    "index 'movies' counts other operations than when writes had come to rest",
  ]);
});

test('an index that is gone or re-created is an objection', async () => {
  const migration = ready();
  migration.source.indexList[0] = anIndex('movies', { uuid: 'another' });
  migration.source.indexList.pop();
  expect(await objections(migration)).toEqual([
    "index 'movies' was re-created on the source",
    "index 'logs' is gone from the source",
  ]);
});

test('an index that the patterns match by now is an objection', async () => {
  const migration = ready({ indices: ['movies', 'logs*'] });
  migration.source.add('logs-2');
  migration.source.add('other');
  expect(await objections(migration)).toEqual(["index 'logs-2' matches the plan by now and was not moved"]);
});

test('an alias that moved, as a rollover moves one, is an objection', async () => {
  const migration = new AMigration({ movies: { aliases: ['write'] }, logs: {} }).restored().frozen().quiescent();
  expect(await objections(migration)).toEqual([]);
  migration.source.aliasMap['movies'] = {};
  migration.source.aliasMap['logs'] = { write: {} };
  expect(await objections(migration)).toEqual([
    "alias 'write' was taken from index 'movies' during the freeze",
    "alias 'write' was given to index 'logs' during the freeze",
  ]);
});

test('a blob that the target lost, or holds with another length, is an objection', async () => {
  const migration = ready();
  migration.store.put('copy/indices/a/0/__0', Buffer.from('ab'));
  expect(await objections(migration)).toEqual(['the target lacks 1 of 2 blobs of the last snapshot: indices/a/0/__0']);
});

test('a newest index-N that is not ours, byte for byte, is an objection', async () => {
  const migration = ready();
  migration.store.put('copy/index-4', Buffer.from('NEWEST!'));
  expect(await objections(migration)).toEqual(['index-4 on the target is not ours']);
  migration.store.put('copy/index-10', Buffer.from('theirs'));
  expect(await objections(migration)).toEqual(["the target's newest index-N is 10, not the published 4"]);
});

test('an index.latest that a late attempt wrote is an objection, and is told before the report too', async () => {
  const migration = ready();
  migration.store.put('copy/index.latest', Buffer.from('older'));
  expect(await objections(migration)).toEqual(['index.latest on the target is not ours']);
  expect(await confirmPublished(migration.deps, migration.at, migration.context())).toEqual({
    differing: ['index.latest on the target is not ours'],
  });
});

describe('a target that is not as the last restore left it is no objection to the freeze: it is shown', () => {
  const recheck = (migration: AMigration) =>
    recheckBeforeCommit(migration.deps, { ...migration.at, freeze: 1 }, migration.context());
  const set = (migration: AMigration, changes: object) => {
    migration.target.indexList[1] = { ...migration.target.indexList[1]!, ...changes };
  };
  test.each<readonly [string, (migration: AMigration) => void, string]>([
    ['gone', (m) => void m.target.indexList.pop(), "index 'logs' is gone"],
    ['created anew', (m) => set(m, { uuid: 'another' }), "index 'logs' was deleted and created anew"],
    ['closed', (m) => set(m, { open: false }), "index 'logs' is closed"],
    ['open for writes', (m) => set(m, { blocks: [] }), "index 'logs' is not blocked for writes any more"],
    [
      'written to',
      (m) => {
        const [shard] = m.target.statsOf['logs'] ?? [];
        m.target.statsOf['logs'] = [{ ...shard!, docs: 11, maxSeqNo: 10 }];
      },
      "index 'logs' has 11 documents where 10 were left; index 'logs' was written to",
    ],
    ['without a primary', (m) => (m.target.statsOf['logs'] = []), "index 'logs' has 0 of 1 primaries"],
  ])('%s', async (_, change, says) => {
    const migration = ready();
    change(migration);
    await expect(recheck(migration)).rejects.toThrow(TargetChangedError);
    await expect(recheck(migration)).rejects.toThrow(says);
  });

  test('under its name there', async () => {
    const migration = new AMigration({ movies: {} }, { restore: { rename: { movies: 'films' } } }).restored();
    migration.frozen().quiescent();
    expect(await objections(migration)).toEqual([]);
    migration.target.indexList[0] = { ...migration.target.indexList[0]!, blocks: [] };
    await expect(recheck(migration)).rejects.toThrow("index 'films' is not blocked for writes any more");
  });

  test('what releases the freeze comes first', async () => {
    const migration = ready();
    set(migration, { open: false });
    migration.source.settingsOf['logs'] = {};
    expect(await objections(migration)).toHaveLength(1);
  });
});
