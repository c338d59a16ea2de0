import { VerificationFailedError } from '../../../src/domain/errors';
import { buildReplicas } from '../../../src/steps/replicas';
import { AMigration } from '../../support/a-migration';
import { onTick, startClock } from '../../support/fake-clock';
import { healthy } from '../../support/restoring-cluster';

jest.mock('../../../src/steps/pause', () => jest.requireActual<object>('../../support/fake-clock'));
beforeEach(startClock);

const run = (migration: AMigration, wait = true) =>
  buildReplicas(migration.deps, { ...migration.at, wait }, migration.context());

test('gives each index the copies it had, one call for all that want the same, and sends nothing twice', async () => {
  const migration = new AMigration({
    movies: { replicas: 2 },
    films: { replicas: 2 },
    logs: { replicas: 0 },
    wide: { settings: { 'index.auto_expand_replicas': '0-all' } },
  }).restored();
  expect(await run(migration)).toEqual({ indices: 4 });
  expect(migration.target.calls).toEqual([
    'updateSettings movies,films {"index.number_of_replicas":2}',
    'updateSettings wide {"index.auto_expand_replicas":"0-all"}',
  ]);
  await run(migration);
  expect(migration.target.calls).toHaveLength(2);
});

test("the plan's settings win over the source's", async () => {
  const migration = new AMigration(
    { movies: { replicas: 2, settings: { 'index.auto_expand_replicas': '0-1' } } },
    { restore: { settings: { 'index.number_of_replicas': 1 } } },
  ).restored();
  migration.target.settingsOf['movies'] = { 'index.auto_expand_replicas': 'false', 'index.number_of_replicas': '0' };
  await run(migration, false);
  expect(migration.target.settingsOf['movies']).toEqual({ 'index.number_of_replicas': '1' });
});

test('what an OpenSearch target had to leave while it was restored into, it does again as its owner wants it', async () => {
  const off = { 'index.merge_on_flush.enabled': 'false' };
  const of = (target: string, settings: Record<string, string> = {}, planned: Record<string, boolean> = {}) => {
    const migration = new AMigration(
      { movies: { settings } },
      { restore: { settings: planned } },
      { target },
    ).restored();
    Object.assign(migration.target.settingsOf['movies']!, off);
    return migration;
  };
  const merging = async (migration: AMigration) => {
    await run(migration, false);
    return migration.target.settingsOf['movies']?.['index.merge_on_flush.enabled'];
  };
  expect(await merging(of('opensearch-2.19.1'))).toBeUndefined();
  expect(await merging(of('opensearch-3.0.0', { 'index.merge_on_flush.enabled': 'true' }))).toBe('true');
  expect(await merging(of('opensearch-2.2.0', off))).toBe('false');
  expect(await merging(of('opensearch-2.2.0', off, { 'index.merge_on_flush.enabled': true }))).toBe('true');
  expect(await merging(of('8.19.0'))).toBe('false');
});

test.each<[string, Record<string, string>]>([
  ['6.8.23', { segments_per_tier: '1000' }],
  ['7.17.29', { segments_per_tier: '1000', deletes_pct_allowed: '50' }],
  ['9.1.0', { type: 'time_based', merge_factor: '1000' }],
])(
  '%s, which had to leave merging while it was restored into, merges again as its owner wants it',
  async (target, quiet) => {
    const named = (policy: Record<string, string>) =>
      Object.fromEntries(Object.entries(policy).map(([name, value]) => [`index.merge.policy.${name}`, value]));
    const afterwards = async (version: string, settings: Record<string, string> = {}) => {
      const migration = new AMigration({ movies: { settings } }, {}, { target: version }).restored();
      Object.assign(migration.target.settingsOf['movies']!, named(quiet));
      await run(migration, false);
      const held = migration.target.settingsOf['movies']!;
      return Object.fromEntries(Object.entries(held).filter(([name]) => name.startsWith('index.merge')));
    };
    const [first] = Object.keys(named(quiet));
    expect(await afterwards(target)).toEqual({});
    expect(await afterwards(target, { [first!]: '7' })).toEqual({ [first!]: '7' });
    expect(await afterwards('5.6.16')).toEqual(named(quiet));
  },
);

test('waits until the copies are active', async () => {
  const migration = new AMigration().restored();
  migration.target.frames = [
    () => ({ health: healthy(1, { status: 'yellow', unassigned: 0, initializing: 1 }), recoveries: [] }),
    () => ({ health: healthy(1, { status: 'yellow', unassigned: 0, initializing: 1 }), recoveries: [] }),
    () => ({ health: healthy(1), recoveries: [] }),
  ];
  migration.target.play('movies', 'snap', 0);
  expect(await run(migration)).toEqual({ indices: 1 });
  expect(migration.progress).toHaveLength(2);
});

test('copies for which the target has no node are a note, not a failure', async () => {
  const migration = new AMigration().restored();
  migration.target.frames = [() => ({ health: healthy(1, { status: 'yellow', unassigned: 1 }), recoveries: [] })];
  const startedAt = Date.now();
  expect(await run(migration)).toMatchObject({
    note: expect.stringContaining('1 replicas of 1 indices have no place'),
  });
  expect(Date.now() - startedAt).toBe(10_000);
});

test('copies that still move are waited for, however long', async () => {
  const migration = new AMigration().restored();
  const moving = healthy(1, { status: 'yellow', initializing: 1 });
  migration.target.frames = [() => ({ health: moving, recoveries: [] })];
  let ticks = 0;
  onTick(() => {
    if (++ticks === 600) migration.target.frames = [() => ({ health: healthy(1), recoveries: [] })];
  });
  expect(await run(migration)).toEqual({ indices: 1 });
});

test('a primary that is lost meanwhile is a failure with its reason', async () => {
  const migration = new AMigration().restored();
  migration.target.frames = [() => ({ health: healthy(1, { status: 'red', unassigned: 1 }), recoveries: [] })];
  await expect(run(migration)).rejects.toThrow(/checksum failed/);
  await expect(run(migration)).rejects.toThrow(VerificationFailedError);
});

test('without waiting it only asks for them', async () => {
  const migration = new AMigration().restored();
  migration.target.frames = [() => ({ health: healthy(1, { status: 'yellow', unassigned: 1 }), recoveries: [] })];
  expect(await run(migration, false)).toEqual({ indices: 1 });
});

test('an index with another name on the target gets the copies of its source', async () => {
  const migration = new AMigration(
    { movies: { replicas: 2 } },
    { restore: { rename: { movies: 'films' } } },
  ).restored();
  await buildReplicas(migration.deps, { ...migration.at, wait: false }, migration.context());
  expect(migration.target.settingsOf['films']).toMatchObject({ 'index.number_of_replicas': '2' });
});
