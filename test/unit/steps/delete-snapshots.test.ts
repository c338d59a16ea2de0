import { UnavailableError } from '../../../src/domain/errors';
import { deleteSnapshots } from '../../../src/steps/delete-snapshots';
import { AMigration } from '../../support/a-migration';

/** A source repository with three snapshots, of which two are ours. */
function finished(): AMigration {
  const migration = new AMigration();
  let names = ['theirs', 'ours-1', 'ours-2'];
  const write = () => {
    const snapshots = names.map((name) => ({ name, uuid: `uuid-of-${name}` }));
    migration.sourceStore.put('repo/index-4', Buffer.from(JSON.stringify({ snapshots, indices: {} })));
  };
  write();
  for (const name of ['ours-1', 'ours-2', 'failed']) migration.save(migration.keys.snapshot(name), {});
  migration.source.deleteSnapshot = async (repository, snapshot) => {
    migration.source.calls.push(`delete ${repository}/${snapshot}`);
    names = names.filter((name) => name !== snapshot);
    write();
  };
  return migration;
}
const run = (migration: AMigration) => deleteSnapshots(migration.deps, migration.ref, migration.context());

test('deletes what was asked for and stands, never somebody else’s, and may be repeated', async () => {
  const migration = finished();
  expect(await run(migration)).toEqual({ deleted: 2 });
  expect(migration.source.calls).toEqual(['delete snapferry-ours/ours-1', 'delete snapferry-ours/ours-2']);
  expect(await run(migration)).toEqual({ deleted: 0 });
  expect(migration.source.calls).toHaveLength(2);
});

test('a source that says yes and keeps them is asked again', async () => {
  const migration = finished();
  migration.source.deleteSnapshot = async () => undefined;
  await expect(run(migration)).rejects.toThrow(UnavailableError);
});
