import { ConfigurationError } from '../../../src/domain/errors';
import type { Ledger } from '../../../src/domain/ledger';
import { confirmSourceState, unblockExcluded } from '../../../src/steps/block';
import { excludeIndex, readExclusions } from '../../../src/steps/exclusions';
import { recheckBeforeCommit } from '../../../src/steps/recheck';
import { blockTarget, switchAliasesBack, unblockSource } from '../../../src/steps/rollback';
import { buildReplicas } from '../../../src/steps/replicas';
import { restore } from '../../../src/steps/restore';
import { resolveScope } from '../../../src/steps/scope';
import { switchAliases, unblockTarget } from '../../../src/steps/switchover';
import { verify } from '../../../src/steps/verify';
import { AMigration } from '../../support/a-migration';
import { anIndex } from '../../support/fake-cluster';
import { aContext, World } from './world';

const said = { who: 'ana', why: 'it is red' };
const scope = { round: 1, attempt: 1 };
const exclude = (migration: AMigration, index = 'logs', frozen = true) =>
  excludeIndex(migration.deps, { plan: migration.ref, index, ...said, at: 7, scope, frozen }, migration.context());
const freeze = (migration: AMigration) => ({ ...migration.at, freeze: 1 });

describe('exclude', () => {
  test('is written once: who was first stands', async () => {
    const migration = new AMigration({ movies: {}, logs: {} });
    const first = await exclude(migration);
    expect(first).toMatchObject(said);
    const again = { plan: migration.ref, index: 'logs', who: 'bo', why: 'another', at: 8, scope };
    expect(await excludeIndex(migration.deps, again, migration.context())).toEqual(first);
    const { store: targetStore, keys } = migration;
    expect(await readExclusions({ targetStore, keys }, new AbortController().signal)).toEqual([
      { index: 'logs', ...said, at: 7 },
    ]);
  });

  test('is refused for what is not in scope, and for the last index', async () => {
    const migration = new AMigration({ movies: {}, logs: {} });
    await expect(exclude(migration, 'log')).rejects.toThrow("Index 'log' is not in scope. In scope are logs, movies");
    await exclude(migration);
    await expect(exclude(migration, 'movies')).rejects.toThrow(ConfigurationError);
    await expect(exclude(migration, 'movies')).rejects.toThrow(/is the last one in scope.*`abort`/);
    expect([...migration.store.blobs.keys()].filter((key) => key.includes('/excluded/'))).toHaveLength(1);
  });

  test('lets an index go that keeps a round from beginning, and tells nobody that it is gone from the source', async () => {
    const world = World.with('logs-1', 'logs-2');
    const { plan, ref } = await world.scoped();
    world.source.indexList[1] = anIndex('logs-2', { uuid: 'another' });
    world.source.indexList.push(anIndex('logs-3', { open: false }));
    const round = { plan, round: 1, attempt: 1, previous: ref };
    await expect(resolveScope(world.deps, round, aContext())).rejects.toThrow(/'logs-2' was deleted[\s\S]*'logs-3'/);
    for (const index of ['logs-2', 'logs-3']) {
      await excludeIndex(world.deps, { plan, index, ...said, at: 7, scope: ref }, aContext());
    }
    expect(await resolveScope(world.deps, round, aContext())).toMatchObject({ indices: 1, changes: [] });
  });
});

describe('what is excluded during a freeze', () => {
  const frozen = async (blockedBefore: string[] = [], plan = {}) => {
    const migration = new AMigration({ movies: { aliases: ['films'] }, logs: { aliases: ['all'] } }, plan)
      .restored()
      .frozen(blockedBefore)
      .quiescent();
    await exclude(migration);
    return migration;
  };
  const opening = (migration: AMigration) => unblockExcluded(migration.deps, freeze(migration), migration.context());

  test('takes writes again on the source, and only that', async () => {
    const migration = await frozen();
    expect(await opening(migration)).toEqual({ unblocked: 1, leftBlocked: 0 });
    expect(migration.source.settingsOf['logs']).not.toHaveProperty(['index.blocks.write']);
    expect(migration.source.settingsOf['movies']).toHaveProperty(['index.blocks.write'], 'true');
  });

  test('stays as its owner had it where that was blocked before us', async () => {
    const migration = await frozen(['logs']);
    expect(await opening(migration)).toEqual({ unblocked: 0, leftBlocked: 1 });
    expect(migration.source.calls).toEqual([]);
  });

  test('is no objection before the commit, whatever it is like by now on either side', async () => {
    const migration = await frozen();
    await opening(migration);
    migration.source.statsOf['logs'] = [
      { shard: 0, docs: 11, deleted: 0, indexTotal: 11, deleteTotal: 0, maxSeqNo: 10 },
    ];
    migration.source.aliasMap['logs'] = {};
    migration.target.indexList.splice(1, 1);
    const { deps } = migration;
    expect(await recheckBeforeCommit(deps, freeze(migration), migration.context())).toEqual({ objections: [] });
    const expected = { plan: migration.ref, freeze: 1, expect: 'blocked' as const };
    expect(await confirmSourceState(deps, expected, migration.context())).toEqual({ differing: [] });
  });

  test('is not compared, gets no copies, is not opened, and has no alias of source or plan', async () => {
    const planned = { cutover: { switchover: { aliases: { live: 'logs', films: 'movies' } } } };
    const migration = (await frozen([], planned)).decided('committed');
    const [{ deps }, context] = [migration, migration.context()];
    await verify(deps, migration.at, context);
    const { rows } = migration.read<Ledger>(migration.round.ledger);
    expect([...new Set(rows.map(({ index }) => index))]).toEqual(['movies']);
    expect(await buildReplicas(deps, { ...migration.at, wait: false }, context)).toEqual({ indices: 1 });
    expect(await unblockTarget(deps, freeze(migration), context)).toEqual({ indices: 1, aliases: 0 });
    expect(await switchAliases(deps, freeze(migration), context)).toEqual({ indices: 1, aliases: 1 });
    expect(migration.target.settingsOf['logs']).toHaveProperty(['index.blocks.write'], 'true');
    expect(migration.target.aliasMap).toEqual({ movies: { films: {} } });
  });
});

test('an alias that rounds before gave to its copy goes, and stands in nobody’s way', async () => {
  const plan = { restore: { aliases: 'everyRound' } };
  const migration = new AMigration({ movies: { aliases: ['all'] }, logs: { aliases: ['all'] } }, plan).restored();
  migration.frozen().decided('committed');
  for (const name of ['movies', 'logs']) {
    migration.target.aliasMap[name] = { all: {} };
    migration.claim(name, { uuids: [`restored-${name}`], aliases: ['all'] });
  }
  await exclude(migration);
  await switchAliases(migration.deps, freeze(migration), migration.context());
  expect(migration.target.aliasMap['logs'] ?? {}).toEqual({});
  expect(migration.target.aliasMap['movies']).toEqual({ all: {} });
});

describe.each([
  ['close', 'everyRound'],
  ['replace', 'everyRound'],
  ['close', 'switchover'],
  ['alias', 'switchover'],
] as const)('a rollback after it, with strategy %s and aliases %s', (strategy, aliases) => {
  const plan = { restore: { strategy, aliases }, cutover: { watch: '1h' } };

  test('goes back with what was cut over, and leaves what was excluded to its owner', async () => {
    const specs = { movies: { aliases: ['films', 'all'] }, logs: { aliases: ['all'] } };
    const migration = new AMigration(specs, plan).restored().frozen().quiescent();
    const { deps, source, target, onTarget } = migration;
    const [movies, logs] = [onTarget('movies'), onTarget('logs')];
    if (aliases === 'everyRound') {
      for (const name of ['movies', 'logs']) {
        const given = specs[name as keyof typeof specs].aliases;
        target.aliasMap[name] = Object.fromEntries(given.map((alias) => [alias, {}]));
        migration.claim(name, { uuids: [`restored-${name}`], aliases: given });
      }
    }
    const before = { ...target.aliasMap[movies] };
    const [at, context] = [freeze(migration), migration.context()];
    await exclude(migration);
    await unblockExcluded(deps, at, context);
    migration.decided('committed');
    await unblockTarget(deps, at, context);
    await switchAliases(deps, at, context);
    expect(target.aliasMap[logs] ?? {}).toEqual({});
    expect(target.aliasMap[movies]).toMatchObject({ films: {}, all: {} });
    // Its owner has blocked it since, for reasons of their own.
    source.settingsOf['logs'] = { 'index.blocks.write': 'true' };

    await blockTarget(deps, at, context);
    const accepted = { operations: 0, exact: true };
    await switchAliasesBack(deps, { ...at, accepted, who: 'ana', why: 'slow' }, context);
    expect(await unblockSource(deps, at, context)).toEqual({ unblocked: 1, leftBlocked: 1 });
    expect(target.aliasMap[movies]).toEqual(before);
    expect(target.aliasMap[logs] ?? {}).toEqual({});
    for (const name of [movies, logs]) expect(target.settingsOf[name]).toHaveProperty(['index.blocks.write'], 'true');
    expect(source.settingsOf['movies']).not.toHaveProperty(['index.blocks.write']);
    expect(source.settingsOf['logs']).toHaveProperty(['index.blocks.write'], 'true');
  });
});

test('what is excluded is not restored again', async () => {
  const migration = new AMigration({ movies: {}, logs: {} });
  await exclude(migration);
  expect(await restore(migration.deps, migration.restoreInput, migration.context())).toMatchObject({ indices: 1 });
  expect(migration.target.requests).toMatchObject([{ indices: ['movies'] }]);
});

test('a golden query that asks only for what is excluded is not asked', async () => {
  const queries = ['logs', 'nothing'].map((name) => ({ name, indices: [name], body: {} }));
  const migration = new AMigration({ movies: {}, logs: {} }, { cutover: { verify: { level: 'counts', queries } } });
  migration.restored().frozen();
  await exclude(migration);
  expect((await verify(migration.deps, migration.at, migration.context())).failedRows).toContain('query/nothing');
  const { rows } = migration.read<Ledger>(migration.round.ledger);
  expect(rows.map(({ id }) => id)).not.toContain('query/logs');
});
