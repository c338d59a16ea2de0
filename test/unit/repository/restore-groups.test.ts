import { bytesToFetch } from '../../../src/repository';
import { groupFiles } from '../../../src/repository/restore-groups';
import { manifestOf } from '../steps/recorded';

const file = (physicalName: string, length: number, crc32 = 1) => ({ physicalName, length, crc32 });
const index = (files: readonly ReturnType<typeof file>[]) => ({
  ...{ name: 'movies', id: 'id', createdVersionId: 7_100_299, settings: {}, aliases: [] },
  shards: [{ ...{ shard: 0, dataBytes: 0, virtualBytes: 0, files: 0 }, ...groupFiles(files) }],
});
const before = [file('_0.cfs', 1_000), file('_0.si', 10), file('_1.cfs', 500), file('segments_2', 5)];
const fetched = (now: readonly ReturnType<typeof file>[]) =>
  (['segments', 'generations'] as const).map((rule) => bytesToFetch([index(before)], [index(now)], rule));

test('an unchanged shard fetches its commit, and one that the target does not hold everything', () => {
  expect(fetched(before)).toEqual([5, 5]);
  expect(bytesToFetch([], [index(before)], 'segments')).toBe(1_515);
});

test('a new segment is fetched with the commit', () => {
  const now = [...before.slice(0, 3), file('_2.cfs', 70), file('segments_3', 6)];
  expect(fetched(now)).toEqual([76, 76]);
});

test('a deleted document costs its .liv, and by the older rule those of all segments', () => {
  const deleted = [...before.slice(0, 3), file('_0_1.liv', 20), file('_1_1.liv', 30), file('segments_3', 6)];
  expect(fetched(deleted)).toEqual([56, 56]);
  const again = [...deleted.slice(0, 3), file('_0_2.liv', 21), file('_1_1.liv', 30), file('segments_4', 7)];
  const rules = (['segments', 'generations'] as const).map((rule) =>
    bytesToFetch([index(deleted)], [index(again)], rule),
  );
  expect(rules).toEqual([58, 28]);
});

test('a generational file brings the whole segment along by the older rule, and comes alone by the newer', () => {
  const now = [...before.slice(0, 3), file('_0_1.fnm', 8), file('_0_1_Lucene80_0.dvd', 9), file('segments_3', 6)];
  expect(fetched(now)).toEqual([1_010 + 17 + 6, 17 + 6]);
});

test('a file of the same name and length, but of other content, is fetched with its segment', () => {
  expect(fetched([file('_0.cfs', 1_000, 2), ...before.slice(1)])).toEqual([1_015, 1_015]);
});

test('a recorded round of updates under soft deletes costs more by the older rule', async () => {
  const [one, two] = await Promise.all([
    manifestOf('7.10.2-rounds', 'round-0'),
    manifestOf('7.10.2-rounds', 'round-1'),
  ]);
  const bytes = (rule: 'segments' | 'generations') => bytesToFetch(one.indices, two.indices, rule);
  expect(bytes('generations')).toBeGreaterThan(0);
  expect(bytes('segments')).toBeGreaterThan(bytes('generations'));
  const everything = two.indices.flatMap(({ shards }) => shards.map((shard) => shard.dataBytes + shard.virtualBytes));
  expect(bytesToFetch([], two.indices, 'segments')).toBe(everything.reduce((sum, one) => sum + one, 0));
});
