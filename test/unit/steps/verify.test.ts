import type { Ledger } from '../../../src/domain/ledger';
import type { Document } from '../../../src/elasticsearch';
import { takeFingerprints, verify, waiveFailedRows } from '../../../src/steps/verify';
import { AMigration } from '../../support/a-migration';

const MIB = 1024 * 1024;

const aDocument = (id: string, changes: Partial<Document> = {}): Document => ({
  id,
  version: '1',
  source: `{"title":"${id}"}`,
  ...changes,
});

function verified(plan = {}, versions = {}): AMigration {
  const migration = new AMigration({ movies: { aliases: ['films'] }, logs: {} }, plan, versions).restored().frozen();
  for (const cluster of [migration.source, migration.target]) {
    for (const name of ['movies', 'logs']) {
      cluster.countOf[name] = 3;
      cluster.statsOf[name] = [{ shard: 0, docs: 3, deleted: 0, indexTotal: 3, deleteTotal: 0, maxSeqNo: 2 }];
      cluster.documentsOf[name] = [1, 2, 3].map((n) => aDocument(`${name}-${n}`));
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
  expect(first).toMatchObject({ passed: 16, failed: 0, documents: 6, failures: [] });
  expect(ledger(migration).rows).toHaveLength(16);
  expect(await run(migration)).toEqual(first);
});

test('a difference is a failed row and a sentence, not an exception', async () => {
  const migration = verified();
  migration.target.countOf['logs'] = 2;
  expect(await run(migration)).toMatchObject({
    passed: 15,
    failed: 1,
    failures: ['logs/documents: source 3, target 2'],
  });
});

test('an index that is missing on the target is a failed row', async () => {
  const migration = verified();
  migration.target.indexList.pop();
  expect(await run(migration)).toMatchObject({
    failed: 1,
    failures: ['logs/index: source present, target absent or closed'],
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
    "nowhere/aliases: source current, target none (alias 'current' is to point at 'nowhere', which is not an index of this round)",
  ]);
});

test('changes nothing on either side', async () => {
  const migration = verified();
  await run(migration);
  expect([...migration.source.calls, ...migration.target.calls]).toEqual([]);
});

describe.each(['counts+sample', 'full'])('documents at level %s', (level) => {
  const planted = () => verified({ cutover: { verify: level } });
  const plant = (migration: AMigration, change: (documents: Document[]) => Document[]) => {
    migration.target.documentsOf['logs'] = change([...(migration.target.documentsOf['logs'] ?? [])]);
  };

  test.each<[string, (documents: Document[]) => Document[], string]>([
    ['changed', ([a, ...rest]) => [{ ...(a as Document), source: '{"title":"other"}' }, ...rest], 'changed documents'],
    ['of another version', ([a, ...rest]) => [{ ...(a as Document), version: '2' }, ...rest], 'document versions'],
    ['routed elsewhere', ([a, ...rest]) => [...rest, { ...(a as Document), routing: 'r' }], 'routing'],
    ['missing', ([, ...rest]) => rest, 'missing documents'],
    ['extra', (all) => [...all, aDocument('new')], 'extra documents'],
  ])('that are %s are named, and nothing else', async (_, change, check) => {
    const migration = planted();
    plant(migration, change);
    const { failed, failedRows, failures } = await run(migration);
    expect(failedRows).toEqual([`logs/${check}`]);
    expect(failed).toBe(1);
    expect(failures[0]).toContain(check === 'extra documents' ? 'new' : 'logs-1');
  });

  test('without _source are compared all the same, and the row says so', async () => {
    const migration = planted();
    for (const cluster of [migration.source, migration.target]) {
      cluster.documentsOf['logs'] = [1, 2, 3].map((n) => ({ id: `${n}`, version: '1' }));
    }
    expect(await run(migration)).toMatchObject({ failed: 0 });
    const row = ledger(migration).rows.find(({ id }) => id === 'logs/contents');
    expect(row?.note).toBe('all documents; 3 without _source: by id, routing and version only');
  });

  test('that cannot be read are no success', async () => {
    const migration = planted();
    migration.source.documentsOf['logs'] = [];
    migration.target.documentsOf['logs'] = [];
    expect((await run(migration)).failedRows).toEqual(['logs/contents']);
  });
});

test('of large documents a sample takes few, a page at a time', async () => {
  const migration = verified({ cutover: { verify: 'counts+sample' } });
  const asked: number[] = [];
  for (const cluster of [migration.source, migration.target]) {
    cluster.countOf['logs'] = 300;
    cluster.statsOf['logs'] = [{ shard: 0, docs: 300, deleted: 0, indexTotal: 300, deleteTotal: 0, maxSeqNo: 299 }];
    cluster.documentsOf['logs'] = Array.from({ length: 300 }, (_, n) => aDocument(`d${n}`));
    cluster.segmentsOf['logs'] = [{ shard: 0, name: '_0', docs: 300, deleted: 0, bytes: 10 }];
    const at = cluster.indexList.findIndex(({ name }) => name === 'logs');
    cluster.indexList[at] = { ...cluster.indexList[at]!, primaryBytes: 300 * MIB };
    const read = cluster.documentsById.bind(cluster);
    cluster.documentsById = (name, ids) => {
      if (name === 'logs') asked.push(ids.length);
      return read(name, ids);
    };
  }
  expect(await run(migration)).toMatchObject({ failed: 0 });
  // 64 MiB of two indices, three times as large as on disk.
  expect(asked).toEqual(Array.from({ length: 20 }, () => 1));
  expect(ledger(migration).rows.find(({ id }) => id === 'logs/contents')?.note).toBe('a sample');
});

test('at level full a successor goes on where its predecessor was, and a new verification does not', async () => {
  const migration = verified({ cutover: { verify: 'full' } });
  await run(migration);
  const pass = migration.progress.map((told) => told['pass']).find((value) => value !== undefined);
  migration.target.documentsOf['logs'] = [];
  const resumed = migration.context({ resumed: { pass } });
  expect((await verify(migration.deps, migration.at, resumed)).failedRows).toEqual([]);
  expect((await run(migration)).failedRows).toEqual(['logs/missing documents']);
});

test('what a merge changes after the restore is compared as it was right after it', async () => {
  const migration = verified();
  await takeFingerprints(migration.deps, migration.at, migration.context());
  migration.target.segmentsOf['logs'] = [{ shard: 0, name: '_1', docs: 3, deleted: 0, bytes: 9 }];
  expect(await run(migration)).toMatchObject({ failed: 0 });
});

test('what differed right after the restore and was mended since passes', async () => {
  const migration = verified();
  const [mended] = [migration.target.segmentsOf['logs'] ?? []];
  migration.target.segmentsOf['logs'] = [{ shard: 0, name: '_1', docs: 2, deleted: 0, bytes: 9 }];
  await takeFingerprints(migration.deps, migration.at, migration.context());
  expect((await run(migration)).failedRows).toEqual(['logs/segments']);
  migration.target.segmentsOf['logs'] = mended;
  expect((await run(migration)).failedRows).toEqual([]);
});

describe('a failed row that is waived', () => {
  async function waived() {
    const migration = verified();
    migration.target.countOf['logs'] = 2;
    await run(migration);
    const waiver = { rows: ['logs/*'], who: 'ana', why: 'a test document' };
    const result = await waiveFailedRows(migration.deps, { ...migration.at, ...waiver }, migration.context());
    return { migration, result };
  }

  test('says who and why, and no longer counts as failed', async () => {
    const { migration, result } = await waived();
    expect(result).toMatchObject({ failed: 0, waived: 1, passed: 15, failedRows: [] });
    expect(ledger(migration).rows.find(({ verdict }) => verdict === 'waived')).toMatchObject({
      id: 'logs/documents',
      waived: { who: 'ana', why: 'a test document' },
    });
  });

  test('stays so in the next verification only while it says the same', async () => {
    const { migration } = await waived();
    expect(await run(migration)).toMatchObject({ failed: 0, waived: 1 });
    migration.target.countOf['logs'] = 1;
    expect(await run(migration)).toMatchObject({ failed: 1, waived: 0 });
  });
});

describe('golden queries', () => {
  const body = { query: { match_all: {} }, aggs: { top: { terms: { field: 'title' } } } };
  const asked = (indices = ['mov*']) =>
    verified({ cutover: { verify: { level: 'counts', queries: [{ name: 'top-titles', indices, body }] } } });
  const answer = (total: string) => ({ total, documents: [aDocument('a')], aggregations: '{"top":[1]}' });

  test('pass with equal answers and fail with others, in no value of a field', async () => {
    const migration = asked();
    for (const cluster of [migration.source, migration.target]) cluster.answerTo[JSON.stringify(body)] = answer('3');
    expect(await run(migration)).toMatchObject({ failed: 0, passed: 15 });
    migration.target.answerTo[JSON.stringify(body)] = { ...answer('3'), aggregations: '{"top":[2]}' };
    expect((await run(migration)).failedRows).toEqual(['query/top-titles']);
    expect(JSON.stringify(ledger(migration))).not.toContain('{"top"');
  });

  test('that name no index of the round fail', async () => {
    expect((await run(asked(['other']))).failedRows).toEqual(['query/top-titles']);
  });
});

test('an index with another name on the target is compared with its source, by all that the plan asks for', async () => {
  const queries = [{ name: 'all', indices: ['mov*'], body: {} }];
  const plan = { restore: { rename: { movies: 'films' } }, cutover: { verify: { level: 'full', queries } } };
  const migration = new AMigration({ movies: { aliases: ['live'] } }, plan).restored().frozen();
  for (const [cluster, name] of [
    [migration.source, 'movies'],
    [migration.target, 'films'],
  ] as const) {
    cluster.countOf[name] = 1;
    cluster.statsOf[name] = [{ shard: 0, docs: 1, deleted: 0, indexTotal: 1, deleteTotal: 0, maxSeqNo: 0 }];
    cluster.documentsOf[name] = [aDocument('1')];
    cluster.segmentsOf[name] = [{ shard: 0, name: '_0', docs: 1, deleted: 0, bytes: 10 }];
  }
  await takeFingerprints(migration.deps, migration.at, migration.context());
  const asked = [jest.spyOn(migration.source, 'search'), jest.spyOn(migration.target, 'search')];
  expect(await run(migration)).toMatchObject({ failed: 0, documents: 1 });
  expect(asked.map(({ mock }) => mock.calls[0]?.[0])).toEqual([['movies'], ['films']]);
  expect(ledger(migration).rows.map(({ id }) => id)).toEqual(
    expect.arrayContaining(['movies/documents', 'movies/aliases', 'movies/contents', 'query/all']),
  );
  migration.target.documentsOf['films'] = [aDocument('1', { source: '{"title":"2"}' })];
  const { failures } = await run(migration);
  expect(failures).toEqual([expect.stringMatching(/^movies\/changed documents: /)]);
});
