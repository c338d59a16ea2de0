import { ConfigurationError, UnavailableError, WritesNotBlockedError } from '../../../src/domain/errors';
import { keepSettings } from '../../../src/steps/keep-settings';
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
