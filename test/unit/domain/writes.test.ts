import { counted, tallyFrom, toAccept, writesOf, writesText } from '../../../src/domain/writes';
import type { Counters, ShardCounters } from '../../../src/domain/writes';

const shard = (indexTotal: number, deleteTotal: number, maxSeqNo?: number, number = 0): ShardCounters => ({
  ...{ shard: number, indexTotal, deleteTotal },
  ...(maxSeqNo === undefined ? {} : { maxSeqNo }),
});
const movies = (...shards: ShardCounters[]): Counters => ({ movies: shards });
/** What is known after these looks. */
const after = (first: Counters, ...looks: Counters[]) => writesOf(looks.reduce(counted, tallyFrom(first)));

test.each<[string, Counters, Counters[], { operations: number; exact: boolean }]>([
  ['nothing', movies(shard(5, 0, 4)), [movies(shard(5, 0, 4))], { operations: 0, exact: true }],
  ['sequence numbers', movies(shard(5, 0, 4)), [movies(shard(7, 1, 9))], { operations: 5, exact: true }],
  ['an empty shard', movies(shard(0, 0, -1)), [movies(shard(2, 0, 1))], { operations: 2, exact: true }],
  // A node restarts: its counters begin anew, its sequence numbers do not.
  ['a restart from 6.0 on', movies(shard(5, 0, 4)), [movies(shard(1, 0, 6))], { operations: 2, exact: true }],
  ['counters alone', movies(shard(5, 2)), [movies(shard(7, 3))], { operations: 3, exact: true }],
  ['a reset of them', movies(shard(5, 2)), [movies(shard(8, 2)), movies(shard(2, 0))], { operations: 5, exact: false }],
  ['a gap', movies(shard(5, 0)), [{}, movies(shard(9, 0))], { operations: 9, exact: false }],
  ['a gap from 6.0 on', movies(shard(5, 0, 4)), [{}, movies(shard(1, 0, 7))], { operations: 3, exact: true }],
  ['a shard that is gone', movies(shard(5, 0, 4)), [movies(shard(6, 0, 5)), {}], { operations: 1, exact: false }],
  ['an older copy', movies(shard(5, 0, 4)), [movies(shard(5, 0, 2))], { operations: 0, exact: false }],
  [
    'every shard of every index',
    { ...movies(shard(1, 0, 0), shard(1, 0, 0, 1)), logs: [shard(0, 0, -1)] },
    [{ ...movies(shard(2, 0, 1), shard(1, 1, 1, 1)), logs: [shard(1, 0, 0)] }],
    { operations: 3, exact: true },
  ],
])('%s', (_, first, looks, expected) => {
  expect(after(first, ...looks)).toEqual(expected);
});

test('what is not known is said, and must be accepted in these words', () => {
  expect([writesText({ operations: 7, exact: true }), toAccept({ operations: 7, exact: true })]).toEqual(['7', 7]);
  const unknown = { operations: 7, exact: false };
  expect([writesText(unknown), toAccept(unknown)]).toEqual(['unknown, at least 7', 'at least 7']);
});
