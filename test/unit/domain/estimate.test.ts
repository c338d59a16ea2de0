import { estimate, estimateSentence } from '../../../src/domain/estimate';
import { parsePlan } from '../../../src/domain/plan';

const MIB = 1024 ** 2;
const HOUR = 3_600_000;
const NOON = 12 * HOUR;

function given(changes: object = {}) {
  const repository = { source: { store: 's3', basePath: 'a' }, target: { store: 'oss', basePath: 'b' } };
  return parsePlan({ source: 'aws', target: 'ali', indices: ['*'], repository, ...changes });
}

test('bytes and requests grow with the indices; a closed one counts by its shards alone', () => {
  const indices = [
    { shards: 5, primaryBytes: 800 * MIB },
    { shards: 1, primaryBytes: undefined },
  ];
  expect(estimate(given(), indices, NOON)).toMatchObject({ bytes: 800 * MIB, reads: 460, writes: 460 });
  expect(estimate(given(), [], NOON)).toMatchObject({
    bytes: 0,
    reads: 0,
    ms: { snapshot: 0, transfer: 0, restore: 0 },
  });
});

test('each step keeps to what the plan limits it to, or else to a rate that is said', () => {
  const indices = [{ shards: 1, primaryBytes: 4_000 * MIB }];
  const free = estimate(given(), indices, NOON);
  expect(free.ms).toEqual({ snapshot: 100_000, transfer: 40_000, restore: 100_000 });
  expect(free.assumed.join()).toMatch(/40 MiB\/s where the plan sets no throttle.*100 MiB\/s where limits set none/);
  const limits = { bytesPerSecond: 10 * MIB, snapshotBytesPerSecond: 20 * MIB, restoreBytesPerSecond: 80 * MIB };
  const limited = estimate(given({ limits: { ...limits, recoveryBytesPerSecond: 50 * MIB } }), indices, NOON);
  expect(limited.ms).toEqual({ snapshot: 200_000, transfer: 400_000, restore: 80_000 });
  expect(limited.assumed.join()).not.toContain('no throttle');
});

test('a limit by the hour holds in its hours, over days too', () => {
  const byHour = Array.from({ length: 24 }, (_, hour) => (hour === 12 ? MIB : hour === 13 ? 2 * MIB : 3 * MIB));
  const transfer = (mib: number, now = NOON) =>
    estimate(given({ limits: { byHour } }), [{ shards: 1, primaryBytes: mib * MIB }], now).ms.transfer;
  expect(transfer(1_800)).toBe(HOUR / 2);
  expect(transfer(3_600)).toBe(HOUR);
  expect(transfer(3_600 + 3_600)).toBe(1.5 * HOUR);
  expect(transfer(1_800 + 7_200, NOON + HOUR / 2)).toBe(1.5 * HOUR);
  const day = 3_600 * (1 + 2 + 22 * 3);
  expect(transfer(10 * day)).toBe(240 * HOUR);
  expect(transfer(10 * day + 1_800)).toBe(240 * HOUR + HOUR / 2);
});

test('within one repository nothing is sent', () => {
  const store = { store: 's3', basePath: 'a' };
  const found = estimate(
    given({ repository: { source: store, target: store } }),
    [{ shards: 1, primaryBytes: MIB }],
    NOON,
  );
  expect(found).toMatchObject({ bytes: MIB, reads: 0, writes: 0, ms: { transfer: 0 } });
});

test('is one sentence with all that it assumes', () => {
  expect(estimateSentence(estimate(given(), [{ shards: 1, primaryBytes: 4_000 * MIB }], NOON))).toBe(
    'the first round moves about 3.9 GiB by 560 reads and 560 writes: 1 min 40 s of snapshot, 40 s of transfer, 1 min 40 s ' +
      'of restore (assumed: one node on each side; 40 MiB/s where the plan sets no throttle of a cluster; one worker process, ' +
      '100 MiB/s where limits set none; 60 blobs a shard, parts of 8 MiB)',
  );
});
