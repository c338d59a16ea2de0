import { BlobCorruptError, ConfigurationError, SnapshotIncompleteError } from '../../../src/domain/errors';
import { readManifest } from '../../../src/repository';
import type { Manifest } from '../../../src/repository';
import { decodeFrame } from '../../../src/repository/frames';
import type { Codec } from '../../../src/repository/frames';
import { frame } from './encode';
import { changed, fixture, reader, repositoryOf } from './fixtures';
import type { Blobs } from './fixtures';

const NAME = '7.10.2-chunked';
const blobs = fixture(NAME);
const keyLike = (pattern: RegExp) => [...blobs.keys()].sort().find((key) => pattern.test(key))!;
const ROOT = keyLike(/^snap-/);
const INDEX = keyLike(/^indices\/[^/]+\/meta-/);
const SHARD = keyLike(/\/0\/snap-/);
const SHARD_INDEX = keyLike(/\/0\/index-/);

type Members = Record<string, unknown>;

/** The same repository with one intact blob that says something else. */
function saying(key: string, codec: Codec, change: (content: Members) => void): Blobs {
  const content = structuredCloneWithBuffers(decodeFrame(blobs.get(key)!, codec, key).value) as Members;
  change(content);
  return changed(blobs, { [key]: frame(codec, content) });
}

function structuredCloneWithBuffers(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(structuredCloneWithBuffers);
  if (typeof value !== 'object' || value === null || Buffer.isBuffer(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, structuredCloneWithBuffers(member)]));
}

const rootSaying = (members: Members) =>
  saying(ROOT, 'snapshot', (root) => Object.assign(root.snapshot as Members, members));
const filesSaying = (members: Members) =>
  saying(SHARD, 'snapshot', (shard) => Object.assign((shard.files as Members[])[0]!, members));
const settingsSaying = (members: Members) =>
  saying(INDEX, 'index-metadata', (content) => {
    Object.assign((content.orders as Members).settings as Members, members);
  });

function inState(state: number, repository: Blobs = blobs): Blobs {
  const index = JSON.parse(blobs.get('index-0')!.toString()) as { snapshots: { state?: number }[] };
  index.snapshots[0]!.state = state;
  return changed(repository, { 'index-0': Buffer.from(JSON.stringify(index)) });
}

async function manifestOf(repository: Blobs): Promise<Manifest> {
  return readManifest(await repositoryOf(repository), 's1', reader(repository));
}

async function refusal(repository: Blobs): Promise<Error> {
  return manifestOf(repository).then(
    () => Promise.reject(new Error('it was accepted')),
    (error: unknown) => error as Error,
  );
}

const failures = [
  { index: 'orders', index_uuid: 'x', shard_id: 1, reason: 'IOException: disk full\n at x', status: 'INTERNAL' },
];

describe('a snapshot that is not complete', () => {
  it.each([
    ['FAILED', 2],
    ['PARTIAL', 3],
  ])('(%s) is refused with its failed shards', async (state, code) => {
    const error = await refusal(inState(code, rootSaying({ state, failures, successful_shards: 1 })));
    expect(error).toBeInstanceOf(SnapshotIncompleteError);
    expect(error.message).toContain(
      `${state}, only a complete one can be moved. Failed shards: [orders][1] IOException: disk full [`,
    );
  });

  it.each([
    ['IN_PROGRESS', 0],
    ['INCOMPATIBLE', 4],
  ])('(%s) is refused without reading anything of it', async (state, code) => {
    const error = await refusal(inState(code, changed(blobs, { [ROOT]: undefined })));
    expect(error).toBeInstanceOf(SnapshotIncompleteError);
    expect(error.message).toContain(state);
  });

  it.each<[string, Members]>([
    ['its own state is PARTIAL', { state: 'PARTIAL' }],
    ['it lists a failed shard', { failures }],
    ['fewer shards succeeded than it has', { successful_shards: 1 }],
  ])('is refused although index-N says SUCCESS: %s', async (_, members) => {
    expect(await refusal(rootSaying(members))).toBeInstanceOf(SnapshotIncompleteError);
  });
});

describe('a shallow copy of OpenSearch', () => {
  it.each([{ remote_store_index_shallow_copy: true }, { pinned_timestamp: 1_700_000_000_000 }])(
    'is refused: %j',
    async (members) => {
      const error = await refusal(rootSaying(members));
      expect(error).toBeInstanceOf(ConfigurationError);
      expect(error.message).toContain('its data lies in a remote store');
    },
  );

  it('is none when the setting is off', async () => {
    const manifest = await manifestOf(rootSaying({ remote_store_index_shallow_copy: false, pinned_timestamp: 0 }));
    expect(manifest.indices).toHaveLength(1);
  });
});

describe('metadata that is intact but contradicts the rest is refused:', () => {
  it.each<[string, Blobs, string]>([
    ['a root blob of another name', rootSaying({ name: 's2' }), ROOT],
    ['a root blob of another uuid', rootSaying({ uuid: 'other' }), ROOT],
    ['a root blob with other indices than index-N', rootSaying({ indices: ['orders', 'events'] }), 'index-0'],
    ['a root blob with fewer indices than index-N', rootSaying({ indices: [] }), 'index-0'],
    ['a root blob with another number of shards', rootSaying({ total_shards: 3, successful_shards: 3 }), ROOT],
    ['a root blob without a version', rootSaying({ version_id: null }), ROOT],
    [
      'index metadata of another name',
      saying(INDEX, 'index-metadata', (content) => {
        content.events = content.orders;
        delete content.orders;
      }),
      INDEX,
    ],
    ['index metadata of another index uuid', settingsSaying({ 'index.uuid': 'other' }), INDEX],
    ['index metadata with another number of shards', settingsSaying({ 'index.number_of_shards': '1' }), ROOT],
    ['index metadata without shards', settingsSaying({ 'index.number_of_shards': '0' }), INDEX],
    ['index metadata with settings that are not flat', settingsSaying({ index: { number_of_shards: '2' } }), INDEX],
    ['index metadata without a version', settingsSaying({ 'index.version.created': 'seven' }), INDEX],
    [
      'shard metadata of another snapshot',
      saying(SHARD, 'snapshot', (shard) => {
        shard.name = 's2';
      }),
      SHARD,
    ],
    [
      'shard metadata without files',
      saying(SHARD, 'snapshot', (shard) => {
        delete shard.files;
      }),
      SHARD,
    ],
    [
      'a file listed twice',
      saying(SHARD, 'snapshot', (shard) => {
        (shard.files as Members[]).push((shard.files as Members[])[0]!);
      }),
      SHARD,
    ],
    ['a file named like a path', filesSaying({ name: '__a/../../b' }), SHARD],
    ['a file named like nothing known', filesSaying({ name: 'segments_1' }), SHARD],
    ['a file of negative length', filesSaying({ length: -1 }), SHARD],
    ['a file of immeasurable length', filesSaying({ length: 2n ** 60n }), SHARD],
    ['a file without a checksum', filesSaying({ checksum: null }), SHARD],
    ['a file with a checksum that is none', filesSaying({ checksum: 'ABC' }), SHARD],
    ['a file with a checksum beyond 32 bits', filesSaying({ checksum: 'zzzzzzz' }), SHARD],
    ['a file with parts of no size', filesSaying({ part_size: 0 }), SHARD],
    [
      'a shard list without the snapshot',
      saying(SHARD_INDEX, 'snapshots', (list) => {
        list.snapshots = {};
      }),
      SHARD_INDEX,
    ],
  ])('%s', async (_, repository, key) => {
    const error = await refusal(repository);
    expect(error).toBeInstanceOf(BlobCorruptError);
    expect((error as BlobCorruptError).subject).toEqual({ key });
  });
});

describe('parts of a file', () => {
  const partsOf = async (length: number, part_size?: unknown) => {
    const { blobs } = await manifestOf(filesSaying({ name: '__x', length, part_size: part_size ?? 2n ** 63n - 1n }));
    return blobs
      .filter(({ key }) => /\/__x(\.part\d+)?$/.test(key))
      .map((blob) => [/[^/]+$/.exec(blob.key)?.[0], blob.length]);
  };

  it('are computed: full ones and the rest', async () => {
    expect(await partsOf(25, 10)).toEqual([
      ['__x.part0', 10],
      ['__x.part1', 10],
      ['__x.part2', 5],
    ]);
    expect(await partsOf(20, 10)).toEqual([
      ['__x.part0', 10],
      ['__x.part1', 10],
    ]);
  });

  it('are none for a file that fits into one, or without a part size', async () => {
    expect(await partsOf(10, 10)).toEqual([['__x', 10]]);
    expect(await partsOf(0, 10)).toEqual([['__x', 0]]);
    expect(await partsOf(1_000_000)).toEqual([['__x', 1_000_000]]);
  });
});

describe('reading', () => {
  it('has at most 16 requests in flight, and passes on what the store throws', async () => {
    let [running, most] = [0, 0];
    const slow = async (key: string) => {
      most = Math.max(most, ++running);
      await new Promise(setImmediate);
      running--;
      return fixture('7.10.2-rounds').get(key);
    };
    await readManifest(await repositoryOf(fixture('7.10.2-rounds')), 'final', slow);
    expect(most).toBeLessThanOrEqual(16);
    expect(most).toBeGreaterThan(4);
    const failing = readManifest(await repositoryOf(blobs), 's1', (key) =>
      key === SHARD ? Promise.reject(new Error('no network')) : Promise.resolve(blobs.get(key)),
    );
    await expect(failing).rejects.toThrow('no network');
  });
});
