import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { ConfigurationError } from '../../../src/domain/errors';
import type { FreezeOutcome } from '../../../src/domain/exchange';
import { FreezeKeys } from '../../../src/domain/names';
import { releaseFreezes, unfreeze } from '../../../src/cli/unfreeze';
import type { Config } from '../../../src/config';
import type { FreezeRecord } from '../../../src/steps/work-files';
import type { PlanFile, StepDeps } from '../../../src/steps/migration';
import { blockTarget, switchAliasesBack, unblockSource } from '../../../src/steps/rollback';
import { switchAliases, unblockTarget } from '../../../src/steps/switchover';
import { AMigration } from '../../support/a-migration';

// No adapters here: the ends are in memory.
let opened: StepDeps | undefined;
let closed = 0;
jest.mock('../../../src/steps/open', () => ({ openDeps: () => ({ ...opened, close: async () => void closed++ }) }));

const WRITE = 'index.blocks.write';
const BLOCKED = { [WRITE]: 'true' };
const nobody = new AbortController().signal;

async function run(migration: AMigration): Promise<string[]> {
  const lines: string[] = [];
  const { plan } = migration.read<PlanFile>(migration.keys.plan);
  await releaseFreezes(migration.deps, plan, (line) => lines.push(line), nobody);
  return lines;
}

/** A freeze of another migration that keeps its files in the same place. */
function anotherFreeze(migration: AMigration, changes: Partial<FreezeRecord>, outcome?: FreezeOutcome): FreezeKeys {
  const keys = new FreezeKeys('snapferry-work/run-0/freeze-0003');
  const record = migration.read<FreezeRecord>(migration.keys.freeze(1).record);
  migration.save(keys.record, { ...record, ...changes });
  if (outcome !== undefined) migration.save(keys.outcome, outcome);
  return keys;
}

test('undoes exactly the record, and says what it did', async () => {
  const migration = new AMigration({ movies: {}, logs: {} }).frozen(['logs']);
  expect(await run(migration)).toEqual([
    'snapferry-work/run-1/freeze-0001: released, 1 indices of source take writes again; 1 stay blocked, as they were before',
  ]);
  expect(migration.source.settingsOf).toEqual({ movies: {}, logs: BLOCKED });
});

test('decides first, so that a lease that wakes up cannot commit', async () => {
  const migration = new AMigration().frozen();
  migration.source.updateSettings = async () => {
    expect(migration.store.blobs.has(migration.keys.freeze(1).outcome)).toBe(true);
    migration.source.settingsOf['movies'] = {};
  };
  await run(migration);
  expect(migration.read<FreezeOutcome>(migration.keys.freeze(1).outcome)).toEqual({
    outcome: 'released',
    why: 'by snapferry unfreeze',
  });
});

test('run twice, it has nothing to undo', async () => {
  const migration = new AMigration().frozen();
  await run(migration);
  expect(await run(migration)).toEqual(['No freeze of this plan is open on source: nothing to undo']);
});

test('leaves a block alone that was set after the release, and says how to remove it', async () => {
  const migration = new AMigration().frozen();
  await run(migration);
  migration.source.settingsOf['movies'] = { ...BLOCKED };
  expect((await run(migration))[0]).toContain('PUT /movies/_settings {"index.blocks.write":null}');
  expect(migration.source.settingsOf['movies']).toEqual(BLOCKED);
});

test('refuses after the commit', async () => {
  const migration = new AMigration().frozen().decided('committed');
  await expect(run(migration)).rejects.toThrow(ConfigurationError);
  expect(migration.source.settingsOf['movies']).toEqual(BLOCKED);
});

test('undoes every open freeze of this source, and none of another cluster', async () => {
  const migration = new AMigration({ movies: {}, logs: {} }).frozen();
  anotherFreeze(migration, { cluster: { name: 'source', uuid: 'elsewhere' } });
  expect(await run(migration)).toHaveLength(1);
  const two = new AMigration({ movies: {} }).frozen();
  two.source.add('films', {}, BLOCKED);
  anotherFreeze(two, { indices: [{ name: 'films', uuid: 'uuid-films', blockedBefore: false, aliases: [] }] });
  expect(await run(two)).toHaveLength(2);
  expect(two.source.settingsOf).toEqual({ movies: {}, films: {} });
});

describe('a migration with another plan, whose work files lie in the same place', () => {
  /** Freeze 3 of a migration of films to another location. */
  function withAnother(migration: AMigration, outcome?: FreezeOutcome): AMigration {
    migration.source.add('films', {}, BLOCKED);
    anotherFreeze(
      migration,
      { indices: [{ name: 'films', uuid: 'uuid-films', blockedBefore: false, aliases: [] }] },
      outcome,
    );
    const file = migration.read<PlanFile>(migration.keys.plan);
    const repository = { ...file.plan.repository, target: { store: 'target-store', basePath: 'films' } };
    migration.save('snapferry-work/run-0/plan.json', { ...file, plan: { ...file.plan, repository } });
    return migration;
  }

  test('keeps its open freeze, which is named', async () => {
    const migration = withAnother(new AMigration().frozen());
    expect(await run(migration)).toEqual([
      'snapferry-work/run-0/freeze-0003: open too, of a migration with another plan, and left alone: unfreeze it with its plan',
      'snapferry-work/run-1/freeze-0001: released, 1 indices of source take writes again',
    ]);
    expect(migration.source.settingsOf).toEqual({ movies: {}, films: BLOCKED });
  });

  test('and is committed, is not taken for this one', async () => {
    const migration = withAnother(new AMigration().frozen(), { outcome: 'committed' });
    await run(migration);
    expect(await run(migration)).toEqual(['No freeze of this plan is open on source: nothing to undo']);
    expect(migration.source.settingsOf).toEqual({ movies: {}, films: BLOCKED });
  });
});

test('undoes what a lease decided to release but never did', async () => {
  const migration = new AMigration().frozen().decided('released');
  expect(await run(migration)).toHaveLength(1);
  expect(migration.source.settingsOf['movies']).toEqual({});
});

test('what a later freeze committed stays blocked', async () => {
  const migration = new AMigration().frozen().decided('released');
  anotherFreeze(migration, { deadline: 2_000 }, { outcome: 'committed' });
  expect((await run(migration))[0]).toContain('0 indices of source take writes again; 1 stay blocked');
  expect(migration.source.settingsOf['movies']).toEqual(BLOCKED);
});

test('a freeze that is committed a moment before it is decided stays', async () => {
  const migration = new AMigration().frozen();
  const { outcome } = migration.keys.freeze(1);
  const write = migration.store.write.bind(migration.store);
  migration.store.write = (key, body, options, signal) => {
    if (key === outcome) migration.decided('committed');
    return write(key, body, options, signal);
  };
  expect(await run(migration)).toEqual([expect.stringContaining('committed a moment ago')]);
  expect(migration.source.settingsOf['movies']).toEqual(BLOCKED);
});

describe('a rollback that was stopped', () => {
  const by = { accepted: { operations: 0, exact: true }, who: 'ana', why: 'slow' };
  const freeze = (migration: AMigration) => ({ plan: migration.ref, freeze: 1 });
  const writable = ({ source, target }: AMigration) => ({
    source: source.settingsOf['movies']?.[WRITE] !== 'true',
    target: target.settingsOf['movies']?.[WRITE] !== 'true',
  });

  /** Cut over with an alias, and the target blocked for a rollback. */
  async function begun(): Promise<AMigration> {
    const migration = new AMigration({ movies: { aliases: ['films'] } }, { cutover: { watch: '1h' } });
    migration.restored().frozen().decided('committed');
    const cut = { ...migration.at, freeze: 1 };
    await unblockTarget(migration.deps, cut, migration.context());
    await switchAliases(migration.deps, cut, migration.context());
    await blockTarget(migration.deps, freeze(migration), migration.context());
    return migration;
  }

  test('before it was decided: the target takes writes again, and no rollback goes back any more', async () => {
    const migration = await begun();
    expect(writable(migration)).toEqual({ source: false, target: false });
    expect(await run(migration)).toEqual([
      'snapferry-work/run-1/freeze-0001: the rollback was not decided, 1 indices of target take writes again; the source stays blocked',
    ]);
    expect(writable(migration)).toEqual({ source: false, target: true });
    const goBack = () => switchAliasesBack(migration.deps, { ...freeze(migration), ...by }, migration.context());
    await expect(goBack()).rejects.toThrow('`snapferry unfreeze`, which opened the target again');
    await expect(blockTarget(migration.deps, freeze(migration), migration.context())).rejects.toThrow('signal `abort`');
    await expect(unblockSource(migration.deps, freeze(migration), migration.context())).rejects.toThrow(
      'keeps the writes',
    );
    expect(writable(migration)).toEqual({ source: false, target: true });
    await expect(run(migration)).rejects.toThrow(ConfigurationError);
  });

  test('after it was decided: it goes back, as often as it is asked', async () => {
    const migration = await begun();
    migration.target.fail('updateAliases', new Error('killed'), { late: true });
    const goBack = switchAliasesBack(migration.deps, { ...freeze(migration), ...by }, migration.context());
    await expect(goBack).rejects.toThrow('killed');
    expect(await run(migration)).toEqual([
      'snapferry-work/run-1/freeze-0001: the rollback went back, 1 indices of source take writes again; the target stays blocked',
    ]);
    expect(writable(migration)).toEqual({ source: true, target: false });
    expect(migration.target.aliasMap['movies']).toEqual({});
    await expect(run(migration)).rejects.toThrow(ConfigurationError);
    expect(writable(migration)).toEqual({ source: true, target: false });
  });

  test('is decided at the very moment: one of the two happens, never both', async () => {
    const migration = await begun();
    const { rollback } = migration.keys.freeze(1);
    const write = migration.store.write.bind(migration.store);
    migration.store.write = (key, body, options, signal) => {
      if (key === rollback) migration.save(rollback, by);
      return write(key, body, options, signal);
    };
    expect((await run(migration))[0]).toContain('the rollback went back');
    expect(writable(migration)).toEqual({ source: true, target: false });
  });

  test('a block that no rollback has set on the target is left alone', async () => {
    const migration = await begun();
    await unblockTarget(migration.deps, { ...migration.at, freeze: 1 }, migration.context());
    await expect(run(migration)).rejects.toThrow('Only `rollback` goes back');
    const never = new AMigration({ movies: {} }, { cutover: { watch: '1h' } }).restored().frozen().decided('committed');
    await expect(run(never)).rejects.toThrow('Only `rollback` goes back');
    expect(writable(never)).toEqual({ source: false, target: false });
  });
});

describe('the plan file', () => {
  const save = async (text: string) => {
    const file = path.join(await mkdtemp(path.join(tmpdir(), 'snapferry-')), 'plan.json');
    await writeFile(file, text);
    return file;
  };

  test('names the source and the place of the records', async () => {
    const migration = new AMigration().frozen();
    opened = migration.deps;
    const file = await save(
      JSON.stringify({
        source: 'source',
        target: 'target',
        indices: ['movies'],
        repository: {
          source: { store: 'source-store', basePath: 'repo' },
          target: { store: 'target-store', basePath: 'copy' },
        },
      }),
    );
    const lines: string[] = [];
    await unfreeze(file, {} as Config, (line) => lines.push(line), nobody);
    expect(lines).toHaveLength(1);
    expect(migration.source.settingsOf['movies']).toEqual({});
    expect(closed).toBe(1);
  });

  test('is refused by its name when it cannot be read, and by its faults when it is no plan', async () => {
    await expect(unfreeze('/nowhere/plan.json', {} as Config, () => undefined, nobody)).rejects.toThrow(/nowhere/);
    const none = await save('{}');
    await expect(unfreeze(none, {} as Config, () => undefined, nobody)).rejects.toThrow(ConfigurationError);
  });
});
