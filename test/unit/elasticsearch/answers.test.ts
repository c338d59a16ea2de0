// Answers as real nodes sent them, shortened to what is read.
import {
  explanation,
  indexInfo,
  primarySegments,
  primaryStats,
  runningSnapshots,
  shardRecoveries,
  snapshotInfo,
  writeTasks,
} from '../../../src/elasticsearch/answers';
import type { SnapshotAnswer } from '../../../src/elasticsearch/answers';

describe('an index', () => {
  const settings = {
    'index.blocks.write': 'true',
    'index.blocks.read_only_allow_delete': 'false',
    'index.number_of_replicas': '1',
    'index.number_of_shards': '2',
    'index.uuid': 'Kdn9_rtuROeKf3zyP70Trg',
    'index.version.created': '5050299',
  };
  const common = { name: 'a.b', uuid: 'Kdn9_rtuROeKf3zyP70Trg', shards: 2, replicas: 1, createdVersionId: 5050299 };
  const row = { index: 'a.b', status: 'open', health: 'green', 'docs.count': '1', 'pri.store.size': '162' };

  test('that is open', () => {
    const info = { ...common, open: true, health: 'green', docs: 1, primaryBytes: 162, blocks: ['write'] };
    expect(indexInfo('a.b', settings, row)).toEqual(info);
  });

  test.each([
    ['5.5.2', { ...row, status: 'close', health: null, 'docs.count': null, 'pri.store.size': null }],
    ['8.19.0', { ...row, status: 'close', health: 'green', 'docs.count': null, 'pri.store.size': null }],
  ])('that is closed, on %s', (_, closed) => {
    const nothing = { health: undefined, docs: undefined, primaryBytes: undefined };
    expect(indexInfo('a.b', settings, closed)).toMatchObject({ open: false, ...nothing });
  });

  test('that is red has no counts yet', () => {
    const red = { ...row, health: 'red', 'docs.count': '', 'pri.store.size': null };
    expect(indexInfo('a.b', settings, red)).toMatchObject({ health: 'red', docs: undefined, primaryBytes: undefined });
  });

  test('that came between the two calls is taken for open', () => {
    expect(indexInfo('a.b', settings, undefined)).toMatchObject({ open: true, health: undefined, docs: undefined });
  });

  test('created on 8.19.0 carries an index version, passed on as it is', () => {
    const created = { ...settings, 'index.version.created': '8536000' };
    expect(indexInfo('a.b', created, row).createdVersionId).toBe(8536000);
  });
});

describe('a snapshot', () => {
  const done: SnapshotAnswer = {
    ...{ snapshot: 's1', uuid: 'Uqdtd2MjQwGwu6Oc8HEn7Q', state: 'SUCCESS' as const, indices: ['a.b'], failures: [] },
    ...{ start_time_in_millis: 1795240213052, end_time_in_millis: 1795240213170 },
    shards: { total: 2, failed: 0, successful: 2 },
  };

  test('that ended', () => {
    expect(snapshotInfo(done)).toEqual({
      ...{ name: 's1', uuid: 'Uqdtd2MjQwGwu6Oc8HEn7Q', state: 'SUCCESS', indices: ['a.b'], failures: [] },
      ...{ shards: { total: 2, failed: 0, successful: 2 }, startedAt: 1795240213052, endedAt: 1795240213170 },
    });
  });

  test('that runs has not ended, whatever it says (0 on 5.x, the start on others)', () => {
    const running = { ...done, state: 'IN_PROGRESS' as const };
    expect(snapshotInfo({ ...running, end_time_in_millis: 0 }).endedAt).toBeUndefined();
    expect(snapshotInfo(running).endedAt).toBeUndefined();
  });

  test('that failed names the shards', () => {
    const failures = [{ index: 'a.b', shard_id: 1, reason: 'IndexShardSnapshotFailedException[no space left]' }];
    const failed = snapshotInfo({ ...done, state: 'PARTIAL', failures });
    expect(failed.failures).toEqual(['a.b/1: IndexShardSnapshotFailedException[no space left]']);
  });

  test('that runs elsewhere is told with its shards', () => {
    const one = { repository: 'r', snapshot: 's', shards_stats: { initializing: 1, done: 2, total: 3 } };
    expect(runningSnapshots({ snapshots: [one] })).toEqual([
      { repository: 'r', snapshot: 's', shardsDone: 2, shardsTotal: 3 },
    ]);
    expect(runningSnapshots({})).toEqual([]);
  });
});

describe('shards', () => {
  const primary = { routing: { primary: true } };
  const replica = { routing: { primary: false } };

  test('are those of primaries, in the order of their numbers', () => {
    const copy = (index_total: number, max_seq_no?: number) => ({
      ...primary,
      docs: { count: 3, deleted: 1 },
      indexing: { index_total, delete_total: 1 },
      ...(max_seq_no === undefined ? {} : { seq_no: { max_seq_no } }),
    });
    const shards = { '10': [copy(5, 5)], '2': [{ ...copy(9), ...replica }, copy(4)] };
    expect(primaryStats({ indices: { x: { shards } } })).toEqual({
      x: [
        { shard: 2, docs: 3, deleted: 1, indexTotal: 4, deleteTotal: 1, maxSeqNo: undefined },
        { shard: 10, docs: 3, deleted: 1, indexTotal: 5, deleteTotal: 1, maxSeqNo: 5 },
      ],
    });
  });

  test('whose primary is not assigned are absent', () => {
    expect(primaryStats({ indices: { x: { shards: { '0': [replica] } } } })).toEqual({ x: [] });
  });

  test('list the segments that are committed or searchable, by name', () => {
    const segment = (committed: boolean, search: boolean) => ({
      ...{ num_docs: 1, deleted_docs: 0, size_in_bytes: 3031, committed, search },
    });
    const segments = {
      _b: segment(true, true),
      _a: segment(false, true),
      _9: segment(true, false),
      _c: segment(false, false),
    };
    const answer = { indices: { x: { shards: { '0': [{ ...primary, segments }], '1': [primary] } } } };
    expect(primarySegments(answer)['x']?.map(({ name }) => name)).toEqual(['_9', '_a', '_b']);
  });

  test('recover from a snapshot, or from elsewhere', () => {
    const index = { size: { total_in_bytes: 3, reused_in_bytes: 1, recovered_in_bytes: 2 } };
    const source = { repository: 'r', snapshot: 's', version: '5.5.2', index: 'x' };
    const times = { start_time_in_millis: 5 };
    const shards = [
      ...[{ id: 1, type: 'SNAPSHOT', stage: 'done', primary: true, source, index, ...times, stop_time_in_millis: 9 }],
      ...[{ id: 0, type: 'peer', stage: 'INDEX', primary: false, source: {}, index, ...times }],
    ];
    const bytes = { totalBytes: 3, reusedBytes: 1, recoveredBytes: 2, startedAt: 5, endedAt: undefined as unknown };
    expect(shardRecoveries({ x: { shards } })).toEqual([
      {
        index: 'x',
        shard: 1,
        primary: true,
        type: 'SNAPSHOT',
        stage: 'DONE',
        snapshot: 's',
        repository: 'r',
        ...bytes,
        endedAt: 9,
      },
      {
        index: 'x',
        shard: 0,
        primary: false,
        type: 'PEER',
        stage: 'INDEX',
        snapshot: undefined,
        repository: undefined,
        ...bytes,
      },
    ]);
  });

  test('that are not active are explained, at most in 1,000 characters', () => {
    const details = `failed shard on node: CorruptIndexException[checksum failed]${' at java'.repeat(1_000)}`;
    const answer = { current_state: 'unassigned', unassigned_info: { reason: 'ALLOCATION_FAILED', details } };
    const words = explanation(answer);
    expect(words).toMatch(/^ALLOCATION_FAILED: failed shard on node: CorruptIndexException/);
    expect(words).toHaveLength(1_000);
    expect(explanation({ current_state: 'initializing' })).toBe('the shard is initializing');
  });

  test.each(['started', 'relocating'])('that are %s need no explanation', (current_state) => {
    expect(explanation({ current_state, allocate_explanation: 'x' })).toBeUndefined();
  });
});

test('write tasks of all nodes are one list', () => {
  const task = {
    action: 'indices:data/write/bulk[s]',
    running_time_in_nanos: 2_500_000,
    description: 'requests[1], index[x]',
  };
  const nodes = { n1: { tasks: { 'n1:7': task } }, n2: { tasks: { 'n2:9': { ...task, description: undefined } } } };
  expect(writeTasks({ nodes })).toEqual([
    { id: 'n1:7', action: 'indices:data/write/bulk[s]', runningMs: 2.5, description: 'requests[1], index[x]' },
    { id: 'n2:9', action: 'indices:data/write/bulk[s]', runningMs: 2.5, description: '' },
  ]);
  expect(writeTasks({})).toEqual([]);
});
