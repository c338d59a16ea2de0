import { BlobCorruptError, ConfigurationError, RepositoryChangedError } from '../../../src/domain/errors';
import { newestGeneration, parseRepositoryData, readRepositoryData } from '../../../src/repository';
import type { RepositoryData } from '../../../src/repository';
import { fixture, reader, repositoryOf, rootKeys } from './fixtures';

const parse = (document: unknown): RepositoryData => parseRepositoryData(Buffer.from(JSON.stringify(document)), 7);
const one = { name: 's1', uuid: 'u1', state: 1 };
const held = { id: 'i1', snapshots: ['u1'] };
const document = { snapshots: [one], indices: { orders: held } };

describe('the newest generation', () => {
  it('is the highest number, not the last key', () => {
    expect(newestGeneration(['index-9', 'index-10', 'index-2', 'index.latest'])).toBe(10);
    expect(newestGeneration(['index-0'])).toBe(0);
  });

  it('is found only directly below the base path, and none where there is none', () => {
    const others = ['index', 'index-', 'index-x', 'index-07', 'indices/a/0/index-99', 'index-5.tmp', 'pending-index-8'];
    expect(newestGeneration(others)).toBeUndefined();
  });
});

describe('index-N', () => {
  it('of 5.0 to 5.4 lists the snapshots of an index as objects, without states', () => {
    const { snapshots } = parse({
      snapshots: [{ name: 's1', uuid: 'u1' }],
      indices: { orders: { id: 'i1', snapshots: [{ name: 's1', uuid: 'u1' }] } },
    });
    expect(snapshots).toMatchObject([{ name: 's1', uuid: 'u1', state: undefined, indices: ['orders'] }]);
  });

  it.each(['5.5.2', '5.6.16', '6.8.23', '7.10.2', '7.17.29', '8.0.0', '8.19.0'])('of %s is read', async (version) => {
    const repository = await repositoryOf(fixture(`${version}-rounds`));
    const rounds = ['empty', 'events', 'orders', 'recreated'];
    const listed = repository.snapshots.map(({ name, state, indices }) => [name, state, indices]).sort();
    expect(listed).toEqual([
      ['final', 'SUCCESS', rounds],
      ['foreign-1', 'SUCCESS', ['foreign']],
      ['round-0', 'SUCCESS', rounds],
      ['round-1', 'SUCCESS', rounds],
    ]);
    expect(repository.generation).toBe(3);
    const shards = repository.indices.get('orders')?.shardGenerations?.length;
    expect(shards).toBe(version < '7' ? undefined : 3);
  });

  it.each(['7.6.0', '7.9.0', '7.12.0', '7.3.1', 7_12_00_99])('that asks for %s is understood', (min_version) => {
    expect(parse({ ...document, min_version }).snapshots).toHaveLength(1);
  });

  it.each(['7.13.0', '8.0.0', '10.0.0', '7.12.1', 8_00_00_99, 9_012_000])(
    'that asks for %s is refused',
    (min_version) => {
      expect(() => parse({ ...document, min_version })).toThrow(ConfigurationError);
      expect(() => parse({ ...document, min_version })).toThrow(`Elasticsearch ${min_version} or later`);
    },
  );

  it('is read with fields that nobody knows yet', () => {
    const snapshot = { ...one, version: 8_10_00_99, index_version: 8_536_000, slm_policy: '', strange: {} };
    expect(parse({ ...document, snapshots: [snapshot], cluster_id: 'c', strange: [] }).snapshots).toHaveLength(1);
  });

  it('of a repository without snapshots is read', () => {
    expect(parse({ snapshots: [], indices: {} })).toMatchObject({ generation: 7, snapshots: [] });
  });

  it('keeps index names that are numbers or called as members of every object', () => {
    const raw =
      '{"snapshots":[{"name":"s1","uuid":"u1"}],"indices":{"2024":{"id":"a","snapshots":["u1"]},"__proto__":{"id":"b","snapshots":["u1"]},"constructor":{"id":"c","snapshots":["u1"]}}}';
    const { indices, snapshots } = parseRepositoryData(Buffer.from(raw), 0);
    expect([...indices.keys()]).toEqual(['2024', '__proto__', 'constructor']);
    expect(snapshots[0]?.indices).toEqual(['2024', '__proto__', 'constructor']);
  });

  it.each([1, 2])(
    'of OpenSearch with hashed paths (type %i) is refused by the name of the index',
    (shard_path_type) => {
      const hashed = { snapshots: [one], indices: { orders: { ...held, shard_path_type } } };
      expect(() => parse(hashed)).toThrow(ConfigurationError);
      expect(() => parse(hashed)).toThrow("keeps the shards of index 'orders' below hashed paths");
      expect(parse({ snapshots: [one], indices: { orders: { ...held, shard_path_type: 0 } } }).indices.size).toBe(1);
    },
  );

  it('that lists names only, as 1.x and 2.x did, is refused', () => {
    expect(() => parse({ snapshots: ['s1'] })).toThrow(ConfigurationError);
  });

  it.each<[string, unknown]>([
    ['is not an object', []],
    ['has no snapshots', { indices: {} }],
    ['has no indices', { snapshots: [] }],
    ['has a snapshot without a name', { ...document, snapshots: [{ uuid: 'u1' }] }],
    ['has a snapshot without a uuid', { ...document, snapshots: [{ name: 's1' }] }],
    ['has a uuid that is a path', { ...document, snapshots: [{ name: 's1', uuid: '../u1' }] }],
    ['has a state that nobody knows', { ...document, snapshots: [{ ...one, state: 5 }] }],
    ['has a state that is a word', { ...document, snapshots: [{ ...one, state: 'SUCCESS' }] }],
    ['lists a uuid twice', { ...document, snapshots: [one, { ...one, name: 's2' }] }],
    ['lists a name twice', { ...document, snapshots: [one, { ...one, uuid: 'u2' }] }],
    [
      'has an index of an unlisted snapshot',
      { ...document, indices: { orders: { id: 'i1', snapshots: ['u1', 'u2'] } } },
    ],
    [
      'has an index that lists a snapshot twice',
      { ...document, indices: { orders: { id: 'i1', snapshots: ['u1', 'u1'] } } },
    ],
    ['has an index without an id', { ...document, indices: { orders: { snapshots: ['u1'] } } }],
    ['has an index without snapshots', { ...document, indices: { orders: { id: 'i1' } } }],
    ['has two indices of one id', { ...document, indices: { orders: held, events: held } }],
    [
      'has shard generations that are no list',
      { ...document, indices: { orders: { ...held, shard_generations: {} } } },
    ],
    ['has a min_version that is none', { ...document, min_version: 'new' }],
  ])('that %s is corrupt', (_, broken) => {
    expect(() => parse(broken)).toThrow(BlobCorruptError);
    expect(() => parse(broken)).toThrow('[key=index-7]');
  });

  it.each([Buffer.alloc(0), Buffer.from('{"snapshots":['), Buffer.from('{}{}'), Buffer.from([0x22, 0xff, 0x22])])(
    'that is not one JSON document in UTF-8 is corrupt',
    (raw) => expect(() => parseRepositoryData(raw, 7)).toThrow(BlobCorruptError),
  );
});

describe('a repository', () => {
  it('is read from its newest index-N', async () => {
    const blobs = fixture('5.5.2-rounds');
    expect(rootKeys(blobs)).toEqual(expect.arrayContaining(['index-2', 'index-3']));
    expect((await readRepositoryData(rootKeys(blobs), reader(blobs))).raw).toBe(blobs.get('index-3'));
  });

  it('that is none is refused with the advice to check store and base path', async () => {
    const none = readRepositoryData(['readme.txt'], reader(new Map()));
    await expect(none).rejects.toThrow(ConfigurationError);
    await expect(none).rejects.toThrow('check store and base path');
  });

  it('of 1.x or 2.x is refused by its age', async () => {
    const old = readRepositoryData(['index', 'snapshot-s1', 'metadata-s1'], reader(new Map()));
    await expect(old).rejects.toThrow(ConfigurationError);
    await expect(old).rejects.toThrow('1.x or 2.x');
  });

  it('whose index-N is replaced between listing and reading has changed', async () => {
    await expect(readRepositoryData(['index-3'], reader(new Map()))).rejects.toThrow(RepositoryChangedError);
  });
});
