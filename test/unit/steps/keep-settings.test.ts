import {
  BlobMissingError,
  ConfigurationError,
  UnavailableError,
  WritesNotBlockedError,
} from '../../../src/domain/errors';
import { keepSettings, takeSettingsBack } from '../../../src/steps/keep-settings';
import { AMigration } from '../../support/a-migration';

const onSource = {
  'index.lifecycle.name': 'hot',
  'index.refresh_interval': '5s',
  'index.codec': 'best_compression',
  'index.analysis.filter.f.stopwords': ['a', 'b'],
  'index.blocks.read_only': 'true',
};
const ready = (restore: object) =>
  new AMigration({ movies: { settings: onSource } }, { restore }).restored().frozen().decided('committed');
const run = (migration: AMigration) =>
  keepSettings(migration.deps, { ...migration.at, freeze: 1 }, migration.context());

test('what was dropped or changed comes back as the source has it, and what only the plan had set goes', async () => {
  const migration = ready({
    settings: { 'index.refresh_interval': -1, 'index.translog.durability': 'async', 'index.merge.policy.x': 1 },
    dropSettings: ['index.codec'],
    keepSettings: ['index.lifecycle.*', 'index.refresh_interval', 'index.translog.*', 'index.analysis.*', 'index.b*'],
    rename: { movies: 'films' },
  });
  Object.assign(migration.target.settingsOf['films']!, {
    'index.refresh_interval': '-1',
    'index.translog.durability': 'async',
    'index.merge.policy.x': '1',
  });
  expect(await run(migration)).toEqual({ indices: 1, notes: [] });
  expect(migration.target.settingsOf['films']).toEqual({
    'index.blocks.write': 'true',
    'index.number_of_replicas': '0',
    'index.lifecycle.name': 'hot',
    'index.refresh_interval': '5s',
    'index.analysis.filter.f.stopwords': ['a', 'b'],
    'index.merge.policy.x': '1',
  });
  migration.target.calls.length = 0;
  expect(await run(migration)).toEqual({ indices: 1, notes: [] });
  expect(migration.target.calls).toEqual([]);
});

test('what the target refuses is a note, and keeps nothing else out', async () => {
  const migration = ready({ keepSettings: ['index.codec', 'index.lifecycle.name'] });
  const update = migration.target.updateSettings.bind(migration.target);
  migration.target.updateSettings = (names, settings) =>
    'index.codec' in settings ? Promise.reject(new ConfigurationError('not dynamic')) : update(names, settings);
  expect(await run(migration)).toEqual({
    indices: 1,
    notes: ["setting index.codec did not come back on 'movies': not dynamic"],
  });
  expect(migration.target.settingsOf['movies']).toMatchObject({ 'index.lifecycle.name': 'hot' });
});

test('a target that does not answer is asked again, and nothing is changed before the commit or on a stranger', async () => {
  const silent = ready({ keepSettings: ['index.codec'] });
  silent.target.fail('updateSettings', new UnavailableError('no answer'));
  await expect(run(silent)).rejects.toThrow(UnavailableError);
  const undecided = new AMigration({ movies: { settings: onSource } }, { restore: { keepSettings: ['index.codec'] } });
  await expect(run(undecided.restored().frozen())).rejects.toThrow(WritesNotBlockedError);
  const stranger = ready({ keepSettings: ['index.codec'] });
  stranger.claim('movies', { uuids: ['another'] });
  await expect(run(stranger)).rejects.toThrow(ConfigurationError);
  expect([...undecided.target.calls, ...stranger.target.calls]).toEqual([]);
});

describe('after a rollback', () => {
  const back = (migration: AMigration) =>
    takeSettingsBack(migration.deps, { plan: migration.ref, freeze: 1 }, migration.context());
  const kept = ['index.lifecycle.name', 'index.refresh_interval', 'index.codec'];
  const restored = {
    'index.blocks.write': 'true',
    'index.number_of_replicas': '0',
    'index.refresh_interval': '-1',
    'index.codec': 'best_compression',
  };

  /** Switched over, and with the rollback decided. */
  async function decided() {
    const migration = new AMigration(
      { movies: { settings: onSource }, songs: { settings: { ...onSource, 'index.lifecycle.name': 'cold' } } },
      { restore: { keepSettings: kept }, cutover: { watch: '1h' } },
    );
    migration.restored().frozen().decided('committed');
    for (const name of ['movies', 'songs']) migration.target.settingsOf[name] = { ...restored };
    migration.target.fail('updateSettings', new UnavailableError('reset'), { late: true });
    await expect(run(migration)).rejects.toThrow(UnavailableError);
    await run(migration);
    expect(migration.target.settingsOf['songs']).toMatchObject({ 'index.lifecycle.name': 'cold' });
    await expect(back(migration)).rejects.toThrow(BlobMissingError);
    migration.save(migration.keys.freeze(1).rollback, { accepted: { operations: 0, exact: true }, who: 'a', why: 'b' });
    return migration;
  }

  test('what was brought back is as it was before the switchover again, also when that took two tries', async () => {
    const migration = await decided();
    expect(await back(migration)).toEqual({ indices: 2, notes: [] });
    expect(migration.target.settingsOf).toEqual({ movies: restored, songs: restored });
    migration.target.calls.length = 0;
    expect(await back(migration)).toEqual({ indices: 2, notes: [] });
    expect(migration.target.calls).toEqual([]);
  });

  test('what somebody has changed since stays, as does an index that was created anew', async () => {
    const migration = await decided();
    migration.target.settingsOf['movies'] = { 'index.lifecycle.name': 'warm', 'index.refresh_interval': '5s' };
    const at = migration.target.indexList.findIndex(({ name }) => name === 'songs');
    migration.target.indexList[at] = { ...migration.target.indexList[at]!, uuid: 'another' };
    expect(await back(migration)).toEqual({ indices: 1, notes: [] });
    expect(migration.target.settingsOf['movies']).toEqual({
      'index.lifecycle.name': 'warm',
      'index.refresh_interval': '-1',
    });
    expect(migration.target.settingsOf['songs']).toMatchObject({ 'index.lifecycle.name': 'cold' });
  });

  test('what the target refuses is a note', async () => {
    const migration = await decided();
    migration.target.updateSettings = () => Promise.reject(new ConfigurationError('not now'));
    const { notes } = await back(migration);
    expect(notes).toContain(
      "setting index.refresh_interval stays as the switchover set it on 'movies' and 1 more: not now",
    );
  });

  test('a switchover that kept none has nothing to take back', async () => {
    const migration = ready({ keepSettings: [] });
    migration.save(migration.keys.freeze(1).rollback, { accepted: { operations: 0, exact: true } });
    expect(await back(migration)).toEqual({ indices: 0, notes: [] });
  });
});
