import { BlobMissingError, ConfigurationError, WritesNotBlockedError } from '../../../src/domain/errors';
import { countWrites } from '../../../src/steps/after-switch';
import { blockTarget, proveTargetQuiescence, switchAliasesBack, unblockSource } from '../../../src/steps/rollback';
import { switchAliases, unblockTarget } from '../../../src/steps/switchover';
import { AMigration } from '../../support/a-migration';

const WATCHED = { cutover: { watch: '1h' } };
const accepted = { operations: 0, exact: true };
const by = { accepted, who: 'ana', why: 'the new search is slow' };
const freeze = (migration: AMigration) => ({ plan: migration.ref, freeze: 1 });
const cut = (migration: AMigration) => ({ ...migration.at, freeze: 1 });

/** Cut over: the target takes the writes, the source is blocked. */
async function switched(migration = new AMigration({ movies: { aliases: ['films'] } }, WATCHED)) {
  migration.restored().frozen().decided('committed');
  await unblockTarget(migration.deps, cut(migration), migration.context());
  await switchAliases(migration.deps, cut(migration), migration.context());
  return migration;
}

const write = (migration: AMigration, operations: number) => {
  const [shard] = migration.target.statsOf['movies']!;
  migration.target.statsOf['movies'] = [{ ...shard!, maxSeqNo: shard!.maxSeqNo! + operations }];
};
const block = (migration: AMigration) => blockTarget(migration.deps, freeze(migration), migration.context());
const count = (migration: AMigration) => countWrites(migration.deps, freeze(migration), migration.context());
const aliasesBack = (migration: AMigration, input = by) =>
  switchAliasesBack(migration.deps, { ...freeze(migration), ...input }, migration.context());
const unblock = (migration: AMigration) => unblockSource(migration.deps, freeze(migration), migration.context());
const isBlocked = (migration: AMigration, side: 'source' | 'target') =>
  migration[side].settingsOf['movies']?.['index.blocks.write'] === 'true';

describe('writes since the switch', () => {
  test('are counted from the moment before the target was opened, however often it is looked', async () => {
    const migration = await switched();
    expect(await count(migration)).toEqual({ operations: 0, exact: true });
    write(migration, 3);
    await unblockTarget(migration.deps, cut(migration), migration.context());
    expect(await count(migration)).toEqual({ operations: 3, exact: true });
    write(migration, 2);
    expect(await count(migration)).toEqual({ operations: 5, exact: true });
  });

  test('of an index that was created anew are not known', async () => {
    const migration = await switched();
    write(migration, 3);
    await count(migration);
    const at = migration.target.indexList.findIndex(({ name }) => name === 'movies');
    migration.target.indexList[at] = { ...migration.target.indexList[at]!, uuid: 'another' };
    expect(await count(migration)).toEqual({ operations: 3, exact: false });
  });
});

describe('the way back', () => {
  test('blocks the target, takes the aliases back in one call, and opens the source last', async () => {
    const migration = await switched();
    expect(migration.target.aliasMap['movies']).toEqual({ films: {} });
    expect([isBlocked(migration, 'source'), isBlocked(migration, 'target')]).toEqual([true, false]);
    write(migration, 4);
    const blocked = await block(migration);
    expect(isBlocked(migration, 'target')).toBe(true);
    const input = { ...freeze(migration), block: blocked };
    const writes = await proveTargetQuiescence(migration.deps, input, migration.context());
    expect(writes).toEqual({ operations: 4, exact: true });
    const calls = migration.target.calls.length;
    await aliasesBack(migration, { ...by, accepted: writes });
    expect(migration.target.aliasMap['movies']).toEqual({});
    expect(migration.target.calls).toHaveLength(calls + 1);
    await unblock(migration);
    expect([isBlocked(migration, 'source'), isBlocked(migration, 'target')]).toEqual([false, true]);
    expect(migration.read(migration.keys.freeze(1).rollback)).toEqual({ ...by, accepted: writes });
  });

  test('gives an alias back the definition that it had', async () => {
    const migration = new AMigration({ movies: { aliases: ['films'] } }, WATCHED);
    migration.target.aliasMap['movies'] = { films: { search_routing: '7' } };
    await switched(migration);
    expect(migration.target.aliasMap['movies']).toEqual({ films: {} });
    await block(migration);
    await aliasesBack(migration);
    expect(migration.target.aliasMap['movies']).toEqual({ films: { search_routing: '7' } });
  });

  test('may be repeated after an answer that was lost', async () => {
    const migration = await switched();
    await block(migration);
    migration.target.fail('updateAliases', new Error('reset'), { late: true });
    await expect(aliasesBack(migration)).rejects.toThrow('reset');
    expect(await aliasesBack(migration)).toEqual({ aliases: 1 });
    await unblock(migration);
    await unblock(migration);
    expect(isBlocked(migration, 'source')).toBe(false);
  });
});

describe('never are both sides writable:', () => {
  test('nothing is blocked or opened before the freeze is committed', async () => {
    const migration = new AMigration({ movies: {} }, WATCHED).restored().frozen().decided('released');
    await expect(block(migration)).rejects.toThrow(WritesNotBlockedError);
    await expect(unblock(migration)).rejects.toThrow(BlobMissingError);
  });

  test('the source stays blocked until the rollback is decided', async () => {
    const migration = await switched();
    await block(migration);
    await expect(unblock(migration)).rejects.toThrow(BlobMissingError);
    expect(isBlocked(migration, 'source')).toBe(true);
  });

  test('nothing is decided while the target is open, or took other writes than were accepted', async () => {
    const migration = await switched();
    await expect(aliasesBack(migration)).rejects.toThrow(WritesNotBlockedError);
    await block(migration);
    write(migration, 1);
    await expect(aliasesBack(migration)).rejects.toThrow('took 1 operations where 0 were accepted');
    await expect(unblock(migration)).rejects.toThrow(BlobMissingError);
  });

  test('once it is decided the target is not opened again, and the source only while the target is blocked', async () => {
    const migration = await switched();
    await block(migration);
    await aliasesBack(migration);
    await expect(unblockTarget(migration.deps, cut(migration), migration.context())).rejects.toThrow('rolled back');
    migration.target.settingsOf['movies'] = {};
    await expect(unblock(migration)).rejects.toThrow(WritesNotBlockedError);
    expect(isBlocked(migration, 'source')).toBe(true);
  });

  test('an index that was created anew on the target is for the operator', async () => {
    const migration = await switched();
    const at = migration.target.indexList.findIndex(({ name }) => name === 'movies');
    migration.target.indexList[at] = { ...migration.target.indexList[at]!, uuid: 'another' };
    await expect(block(migration)).rejects.toThrow(ConfigurationError);
  });
});
