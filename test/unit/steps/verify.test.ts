import type { Ledger } from '../../../src/domain/ledger';
import { verify } from '../../../src/steps/verify';
import { AMigration } from '../../support/a-migration';

function verified(plan = {}, versions = {}): AMigration {
  const migration = new AMigration({ movies: { aliases: ['films'] }, logs: {} }, plan, versions).restored().frozen();
  for (const cluster of [migration.source, migration.target]) {
    for (const name of ['movies', 'logs']) {
      cluster.countOf[name] = 3;
      cluster.statsOf[name] = [{ shard: 0, docs: 3, deleted: 0, indexTotal: 3, deleteTotal: 0, maxSeqNo: 2 }];
      cluster.segmentsOf[name] = [{ shard: 0, name: '_0', docs: 3, deleted: 0, bytes: 10 }];
    }
  }
  return migration;
}
const run = (migration: AMigration) => verify(migration.deps, migration.at, migration.context());
const ledger = (migration: AMigration) => migration.read<Ledger>(migration.round.ledger);

test('equal sides pass, the ledger is written, and a second run writes the same', async () => {
  const migration = verified();
  const first = await run(migration);
  expect(first).toMatchObject({ passed: 14, failed: 0, documents: 6, failures: [] });
  expect(ledger(migration).rows).toHaveLength(14);
  expect(await run(migration)).toEqual(first);
});

test('a difference is a failed row and a sentence, not an exception', async () => {
  const migration = verified();
  migration.target.countOf['logs'] = 2;
  expect(await run(migration)).toMatchObject({
    passed: 13,
    failed: 1,
    failures: ['logs: documents: source 3, target 2'],
  });
});

test('an index that is missing on the target is a failed row', async () => {
  const migration = verified();
  migration.target.indexList.pop();
  expect(await run(migration)).toMatchObject({
    failed: 1,
    failures: ['logs: index: source present, target absent or closed'],
  });
});

test('shows the first ten failures only', async () => {
  const names = Object.fromEntries(Array.from({ length: 12 }, (_, n) => [`index-${n}`, {}]));
  const migration = new AMigration(names).frozen();
  const result = await run(migration);
  expect(result.failed).toBe(12);
  expect(result.failures).toHaveLength(10);
});

test('the type level counts by version', async () => {
  const migration = verified({}, { source: '6.8.23', target: '7.10.2' });
  migration.source.mappingOf['movies'] = { doc: { properties: { title: { type: 'text' } } } };
  migration.target.mappingOf['movies'] = { properties: { title: { type: 'text' } } };
  expect(await run(migration)).toMatchObject({ failed: 0 });
});

test("an alias that a stranger has on the target fails before the commit, with the plan's aliases too", async () => {
  const migration = verified({ cutover: { switchover: { aliases: { current: 'movies' } } } });
  migration.target.add('theirs');
  migration.target.aliasMap['theirs'] = { films: {}, current: {} };
  const { failed, failures } = await run(migration);
  expect(failed).toBe(1);
  expect(failures[0]).toContain("alias 'films' already points at theirs");
  expect(failures[0]).toContain("alias 'current' already points at theirs");
});

test('an alias that the plan gives to no index of this round fails', async () => {
  const migration = verified({ cutover: { switchover: { aliases: { current: 'nowhere' } } } });
  expect((await run(migration)).failures).toEqual([
    "nowhere: aliases: source current, target none (alias 'current' is to point at 'nowhere', which is not an index of this round)",
  ]);
});

test('changes nothing on either side', async () => {
  const migration = verified();
  await run(migration);
  expect([...migration.source.calls, ...migration.target.calls]).toEqual([]);
});
