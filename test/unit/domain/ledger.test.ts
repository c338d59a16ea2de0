import { compareIndex, rowSentence } from '../../../src/domain/ledger';
import type { Check, Expectations, IndexFacts, LedgerRow } from '../../../src/domain/ledger';

const facts = (changes: Partial<IndexFacts> = {}): IndexFacts => ({
  documents: 3,
  shards: [{ shard: 0, docs: 3, deleted: 1, maxSeqNo: 7 }],
  segments: [{ shard: 0, name: '_0', docs: 3, deleted: 1, bytes: 100 }],
  mapping: { properties: { title: { type: 'text' } } },
  settings: { 'index.number_of_shards': '1' },
  ...changes,
});
const expected = (changes: Partial<Expectations> = {}): Expectations => ({
  typedMappings: { source: false, target: false },
  manifestSegments: [{ shard: 0, segments: ['_0'] }],
  plannedSettings: [],
  aliases: { inSnapshot: [], willHave: [], planned: [], obstacles: [], taken: true },
  ...changes,
});
const rowOf = (
  check: Check,
  source: Partial<IndexFacts>,
  target: Partial<IndexFacts>,
  expectations: Partial<Expectations> = {},
): LedgerRow => {
  const rows = compareIndex('movies', facts(source), facts(target), expected(expectations));
  return rows.find((row) => row.check === check) as LedgerRow;
};

test('two equal sides pass every check', () => {
  const rows = compareIndex('movies', facts(), facts(), expected());
  expect(rows.map(({ check, verdict }) => `${check}: ${verdict}`)).toEqual([
    'documents: pass',
    'shards: pass',
    'segments: pass',
    'sequence numbers: pass',
    'mapping: pass',
    'settings: pass',
    'aliases: pass',
  ]);
});

test('an index that is missing is one failed row', () => {
  const rows = compareIndex('movies', facts(), undefined, expected());
  expect(rows).toEqual([
    {
      id: 'movies/index',
      index: 'movies',
      check: 'index',
      verdict: 'fail',
      source: 'present',
      target: 'absent or closed',
    },
  ]);
  expect(rowSentence(rows[0] as LedgerRow)).toBe('movies/index: source present, target absent or closed');
});

test('another number of documents fails', () => {
  expect(rowOf('documents', { documents: 3 }, { documents: 2 })).toMatchObject({
    verdict: 'fail',
    source: 3,
    target: 2,
  });
});

describe('shards and segments', () => {
  const merged: Partial<IndexFacts> = {
    shards: [{ shard: 0, docs: 3, deleted: 0, maxSeqNo: 7 }],
    segments: [{ shard: 0, name: '_1', docs: 3, deleted: 0, bytes: 90 }],
  };

  test('the same segments, one of which has no live document and is not counted on the target, pass', () => {
    const segments = [
      { shard: 0, name: '_0', docs: 3, deleted: 1, bytes: 100 },
      { shard: 0, name: '_1', docs: 0, deleted: 2, bytes: 90 },
    ];
    const counted = (docs: number, deleted: number) => ({
      shards: [{ shard: 0, docs, deleted, maxSeqNo: 7 }],
      segments,
    });
    expect(rowOf('shards', counted(3, 3), counted(3, 1))).toMatchObject({
      verdict: 'pass',
      note: 'the segments are the same: those without a live document are not counted on both sides',
    });
    expect(rowOf('shards', counted(3, 3), counted(2, 1)).verdict).toBe('fail');
    expect(rowOf('shards', counted(3, 3), { ...counted(3, 1), segments: segments.slice(1) }).verdict).toBe('fail');
  });

  test('the same sum in other shards fails', () => {
    const two = (a: number, b: number) => ({
      shards: [
        { shard: 1, docs: b, deleted: 0, maxSeqNo: 1 },
        { shard: 0, docs: a, deleted: 0, maxSeqNo: 1 },
      ],
    });
    expect(rowOf('shards', two(1, 2), two(2, 1)).verdict).toBe('fail');
    expect(rowOf('shards', two(1, 2), two(1, 2)).verdict).toBe('pass');
  });

  test('a source that merged since the snapshot passes, and the row says so', () => {
    expect(rowOf('segments', merged, {})).toMatchObject({ verdict: 'pass', note: expect.stringContaining('merged') });
    expect(rowOf('shards', merged, {})).toMatchObject({ verdict: 'pass', note: expect.stringContaining('merged') });
  });

  test("a merge explains nothing when the target's segments are not the snapshot's", () => {
    const manifest = { manifestSegments: [{ shard: 0, segments: ['_0', '_2'] }] };
    expect(rowOf('segments', merged, {}, manifest)).toMatchObject({ verdict: 'fail' });
    expect(rowOf('shards', merged, {}, manifest)).toMatchObject({ verdict: 'fail' });
  });

  test('a merge explains nothing when live documents differ', () => {
    const lost = { ...merged, shards: [{ shard: 0, docs: 4, deleted: 0, maxSeqNo: 7 }] };
    expect(rowOf('segments', lost, {}).verdict).toBe('fail');
    expect(rowOf('shards', lost, {}).verdict).toBe('fail');
  });

  test('segments of the same names with other sizes fail, and the row says which', () => {
    const other = { segments: [{ shard: 0, name: '_0', docs: 3, deleted: 1, bytes: 101 }] };
    expect(rowOf('segments', {}, other)).toMatchObject({
      verdict: 'fail',
      note: 'source 0/_0: 3 docs, 1 deleted, 100 bytes; target 0/_0: 3 docs, 1 deleted, 101 bytes',
    });
  });
});

describe('sequence numbers', () => {
  const at = (maxSeqNo: number | undefined) => ({ shards: [{ shard: 0, docs: 3, deleted: 1, maxSeqNo }] });

  test('must be equal where both sides have them', () => {
    expect(rowOf('sequence numbers', at(7), at(8))).toMatchObject({ verdict: 'fail', note: 'shard 0' });
  });

  test.each([
    [undefined, -1],
    [undefined, 5],
    [5, -1],
  ])('are not compared when one side has none: %s and %s', (source, target) => {
    expect(rowOf('sequence numbers', at(source), at(target))).toMatchObject({
      verdict: 'pass',
      note: expect.stringContaining('not comparable'),
    });
  });
});

describe('mappings', () => {
  const body = { properties: { title: { type: 'text' } } };

  test('are equal whatever the order of their keys', () => {
    const left = { properties: { a: { type: 'text', store: true }, b: { type: 'long' } } };
    const right = { properties: { b: { type: 'long' }, a: { store: true, type: 'text' } } };
    expect(rowOf('mapping', { mapping: left }, { mapping: right })).toMatchObject({
      verdict: 'pass',
      source: '2 fields',
    });
  });

  test('that differ fail with the place', () => {
    const other = { properties: { title: { type: 'keyword' } } };
    expect(rowOf('mapping', {}, { mapping: other })).toMatchObject({
      verdict: 'fail',
      note: 'they part at properties.title.type',
    });
  });

  test('may lose the type level from 6.x to 7.x', () => {
    const typed = { typedMappings: { source: true, target: false } };
    expect(rowOf('mapping', { mapping: { doc: body } }, { mapping: body }, typed)).toMatchObject({
      verdict: 'pass',
      note: "the type level 'doc' is shown on one side only",
    });
    expect(rowOf('mapping', { mapping: {} }, { mapping: {} }, typed)).toMatchObject({ verdict: 'pass' });
    expect(rowOf('mapping', { mapping: { doc: body } }, { mapping: {} }, typed)).toMatchObject({ verdict: 'fail' });
  });

  test('may gain _all from 5.x to 6.x, and nothing else', () => {
    const typed = { typedMappings: { source: true, target: true } };
    const withAll = { doc: { _all: { enabled: true }, ...body } };
    expect(rowOf('mapping', { mapping: { doc: body } }, { mapping: withAll }, typed)).toMatchObject({
      verdict: 'pass',
      note: 'the target shows doc._all.enabled=true',
    });
    const off = { doc: { _all: { enabled: false }, ...body } };
    expect(rowOf('mapping', { mapping: { doc: body } }, { mapping: off }, typed).verdict).toBe('fail');
    expect(rowOf('mapping', { mapping: off }, { mapping: withAll }, typed).verdict).toBe('fail');
  });
});

describe('settings', () => {
  test('that are known to differ, or that we set or dropped, are named and pass', () => {
    const source = { 'index.uuid': 'a', 'index.lifecycle.name': 'hot', 'index.refresh_interval': '1s' };
    const target = {
      'index.uuid': 'b',
      'index.refresh_interval': '30s',
      'index.blocks.write': 'true',
      'index.version.upgraded': '7100299',
      'index.number_of_replicas': '0',
      'index.merge_on_flush.enabled': 'false',
    };
    expect(
      rowOf('settings', { settings: source }, { settings: target }, { plannedSettings: ['index.refresh_interval'] }),
    ).toMatchObject({
      verdict: 'pass',
      note:
        'allowed to differ: index.blocks.write, index.lifecycle.name, ' +
        'index.merge_on_flush.enabled, index.number_of_replicas, index.refresh_interval, index.uuid, index.version.upgraded',
    });
  });

  test('that differ otherwise fail with both values', () => {
    const row = rowOf('settings', { settings: { 'index.codec': 'best_compression' } }, { settings: {} });
    expect(row).toMatchObject({ verdict: 'fail', source: 'index.codec=best_compression', target: 'index.codec=unset' });
  });
});

describe('aliases', () => {
  const aliases = (changes: Partial<Expectations['aliases']>) => ({ aliases: { ...expected().aliases, ...changes } });

  test('are compared as what the switchover will do', () => {
    expect(rowOf('aliases', {}, {}, aliases({ inSnapshot: ['a', 'b'], willHave: ['b', 'a'] })).verdict).toBe('pass');
    expect(rowOf('aliases', {}, {}, aliases({ inSnapshot: ['a', 'b'], willHave: ['a'] })).verdict).toBe('fail');
  });

  test('that the plan moves are no difference', () => {
    const moved = aliases({ inSnapshot: ['a'], willHave: ['new'], planned: ['a', 'new'] });
    expect(rowOf('aliases', {}, {}, moved)).toMatchObject({
      verdict: 'pass',
      note: expect.stringContaining('by the plan'),
    });
  });

  test('fail while something stands in their way', () => {
    const blocked = aliases({ inSnapshot: ['a'], willHave: ['a'], obstacles: ['a stranger has it'] });
    expect(rowOf('aliases', {}, {}, blocked)).toMatchObject({ verdict: 'fail', note: 'a stranger has it' });
  });

  test('are left behind when the plan says so', () => {
    expect(rowOf('aliases', {}, {}, aliases({ inSnapshot: ['a'], taken: false }))).toMatchObject({ verdict: 'pass' });
  });
});
