import { ConfigurationError, UnavailableError, WritesNotBlockedError } from '../../../src/domain/errors';
import { switchAliases, unblockTarget } from '../../../src/steps/switchover';
import { AMigration } from '../../support/a-migration';

const input = (migration: AMigration) => ({ ...migration.at, freeze: 1 });
const unblock = (migration: AMigration) => unblockTarget(migration.deps, input(migration), migration.context());
const switchOver = (migration: AMigration) => switchAliases(migration.deps, input(migration), migration.context());

describe('unblocking the target', () => {
  test('opens what we blocked and leaves blocked what its owner had blocked', async () => {
    const migration = new AMigration({ movies: {}, logs: {} }).restored().frozen(['logs']).decided('committed');
    expect(await unblock(migration)).toEqual({ indices: 1, aliases: 0 });
    expect(migration.target.settingsOf['movies']).not.toHaveProperty(['index.blocks.write']);
    expect(migration.target.settingsOf['logs']).toHaveProperty(['index.blocks.write'], 'true');
    expect(await unblock(migration)).toEqual({ indices: 1, aliases: 0 });
    expect(migration.target.calls).toHaveLength(1);
  });

  test.each([undefined, 'released'] as const)('is refused while the freeze is %s', async (outcome) => {
    const migration = new AMigration().restored().frozen();
    if (outcome !== undefined) migration.decided(outcome);
    await expect(unblock(migration)).rejects.toThrow(WritesNotBlockedError);
    await expect(switchOver(migration)).rejects.toThrow(WritesNotBlockedError);
    expect(migration.target.calls).toEqual([]);
  });

  test('is refused for an index that we did not restore', async () => {
    const migration = new AMigration().restored().frozen().decided('committed');
    migration.claim('movies', { uuids: ['another'] });
    await expect(unblock(migration)).rejects.toThrow(ConfigurationError);
    expect(migration.target.calls).toEqual([]);
  });

  test('a block that still shows afterwards is tried again', async () => {
    const migration = new AMigration().restored().frozen().decided('committed');
    migration.target.updateSettings = async () => undefined;
    await expect(unblock(migration)).rejects.toThrow(UnavailableError);
  });
});

describe('aliases', () => {
  const ready = (plan = {}) =>
    new AMigration({ 'movies-1': { aliases: ['movies', 'films'] }, 'movies-2': {} }, plan)
      .restored()
      .frozen()
      .decided('committed');

  test("are the source's, with their definitions, in one call", async () => {
    const migration = ready();
    const filtered = { filter: { term: { kind: 'film' } }, search_routing: '1' };
    migration.source.aliasMap['movies-1'] = { movies: {}, films: filtered };
    expect(await switchOver(migration)).toEqual({ indices: 2, aliases: 2 });
    expect(migration.target.aliasMap['movies-1']).toEqual({ movies: {}, films: filtered });
    expect(migration.target.calls).toHaveLength(1);
  });

  test('that are as wanted are not sent again', async () => {
    const migration = ready();
    await switchOver(migration);
    expect(await switchOver(migration)).toEqual({ indices: 2, aliases: 0 });
    expect(migration.target.calls).toHaveLength(1);
  });

  test('that the plan names point where it says, and at no other index of ours', async () => {
    const migration = ready({ cutover: { switchover: { aliases: { movies: 'movies-2' } } } });
    migration.target.aliasMap['movies-1'] = { movies: {} };
    expect(await switchOver(migration)).toEqual({ indices: 2, aliases: 3 });
    expect(migration.target.aliasMap).toEqual({ 'movies-1': { films: {} }, 'movies-2': { movies: {} } });
    expect(migration.target.calls[0]).toMatch(/^updateAliases \[{"remove"/);
  });

  test('are only those of the plan when it leaves the others behind', async () => {
    const migration = ready({
      restore: { aliases: 'none' },
      cutover: { switchover: { aliases: { current: 'movies-2' } } },
    });
    await switchOver(migration);
    expect(migration.target.aliasMap).toEqual({ 'movies-2': { current: {} } });
  });

  test('that a stranger has on the target are refused before anything', async () => {
    const migration = ready();
    migration.target.aliasMap['theirs'] = { films: {} };
    await expect(switchOver(migration)).rejects.toThrow(/alias 'films' already points at theirs/);
    migration.target.aliasMap['theirs'] = {};
    migration.target.add('films');
    await expect(switchOver(migration)).rejects.toThrow(/an index of that name exists/);
    await expect(switchOver(migration)).rejects.toThrow(ConfigurationError);
    expect(migration.target.calls).toEqual([]);
  });
});

describe('indices with another name on the target', () => {
  const renamed = (plan = {}) =>
    new AMigration({ movies: { aliases: ['live'] }, logs: {} }, { restore: { rename: { movies: 'films' } }, ...plan })
      .restored()
      .frozen(['logs'])
      .decided('committed');

  test('are opened there, and have the aliases of the source', async () => {
    const migration = renamed();
    expect(await unblock(migration)).toEqual({ indices: 1, aliases: 0 });
    expect(migration.target.settingsOf['films']).not.toHaveProperty(['index.blocks.write']);
    await switchOver(migration);
    expect(migration.target.aliasMap).toEqual({ films: { live: {} } });
  });

  test.each(['movies', 'films'])('may be called %s by the aliases of the plan', async (index) => {
    const migration = renamed({ cutover: { switchover: { aliases: { live: index, other: 'logs' } } } });
    migration.source.aliasMap['movies'] = { live: { search_routing: '1' } };
    await switchOver(migration);
    expect(migration.target.aliasMap).toEqual({ films: { live: { search_routing: '1' } }, logs: { other: {} } });
  });
});

describe('strategy alias', () => {
  const ready = (plan = {}) =>
    new AMigration({ movies: { aliases: ['live'] } }, { restore: { strategy: 'alias' }, ...plan })
      .restored()
      .frozen()
      .decided('committed');

  test("the index's own name becomes an alias of what the last round restored, beside the aliases of the source", async () => {
    const migration = ready();
    expect(await unblock(migration)).toEqual({ indices: 1, aliases: 0 });
    expect(migration.target.settingsOf['movies-snapferry-r1']).not.toHaveProperty(['index.blocks.write']);
    await switchOver(migration);
    expect(migration.target.aliasMap).toEqual({ 'movies-snapferry-r1': { live: {}, movies: {} } });
    expect(await switchOver(migration)).toEqual({ indices: 1, aliases: 0 });
  });

  test('where an index has that name, only the other aliases are set', async () => {
    const migration = ready();
    migration.target.add('movies', { uuid: 'a stranger’s' });
    await switchOver(migration);
    expect(migration.target.aliasMap).toEqual({ 'movies-snapferry-r1': { live: {} } });
  });

  test('a stranger’s alias of that name is not moved', async () => {
    const migration = ready();
    migration.target.add('theirs');
    migration.target.aliasMap['theirs'] = { movies: {} };
    await expect(switchOver(migration)).rejects.toThrow("alias 'movies' already points at theirs");
  });

  test('the plan that leaves aliases behind leaves this one to you too', async () => {
    const migration = ready({ restore: { strategy: 'alias', aliases: 'none' } });
    await switchOver(migration);
    expect(migration.target.aliasMap).toEqual({});
  });
});
