import { ConfigurationError, RepositoryChangedError, SnapshotIncompleteError } from '../../../src/domain/errors';
import { PHASES } from '../../../src/repository';
import type { ManifestBlob } from '../../../src/repository';
import { readJsonLines, requireJson } from '../../../src/steps/files';
import { planTransfer } from '../../../src/steps/plan';
import { unitsOf } from '../../../src/steps/units';
import type { TransferUnit } from '../../../src/steps/units';
import type { ManifestFile } from '../../../src/steps/work-files';
import { fixture } from '../repository/fixtures';
import { aContext } from './world';
import { Recorded } from './recorded';
import type { RecordedRound } from './recorded';

const { signal } = new AbortController();
const NAME = '7.10.2-rounds';

async function sent(round: RecordedRound): Promise<string[]> {
  const { units } = await round.planned();
  const store = round.recorded.world.to;
  const read = Array.from({ length: units }, (_, unit) =>
    requireJson<TransferUnit>(store, round.keys.unit(unit), signal),
  );
  return (await Promise.all(read)).flatMap(({ files }) => files.flatMap(({ blobs }) => blobs.map(({ key }) => key)));
}

describe('the plan of a transfer', () => {
  test('sends the whole manifest to an empty target, but for what publishing writes', async () => {
    const round = await (await Recorded.begin(NAME, 'round-0')).round(0, NAME, 'round-0');
    const planned = await round.planned();
    const { blobs } = round.manifest;
    expect(planned).toMatchObject({ generation: 3, blobs: blobs.length, sendBlobs: blobs.length - 2 });
    expect((await sent(round)).sort()).toEqual(
      blobs
        .map(({ key }) => key)
        .filter((key) => !/^index(-|\.)/.test(key))
        .sort(),
    );
  });

  test('keeps the manifest, every blob, and the bytes that the source may delete', async () => {
    const round = await (await Recorded.begin(NAME, 'round-0')).round(0, NAME, 'round-0');
    await round.planned();
    const store = round.recorded.world.to;
    const file = await requireJson<ManifestFile>(store, round.keys.manifest, signal);
    expect(file.fence.map(({ name }) => name).sort()).toEqual(['final', 'foreign-1', 'round-0', 'round-1']);
    expect(await readJsonLines<ManifestBlob>(store, round.keys.blobs(0), signal)).toHaveLength(file.blobs);
    for (const key of file.volatile) expect(store.blobs.has(round.keys.volatile(key))).toBe(true);
    expect(store.blobs.get(round.keys.volatile('index-3'))).toEqual(fixture(NAME).get('index-3'));
  });

  test('twice gives the same, also after half of it was written', async () => {
    const round = await (await Recorded.begin(NAME, 'round-0')).round(0, NAME, 'round-0');
    const store = round.recorded.world.to;
    const planned = await round.planned();
    const whole = new Map(store.blobs);
    expect(await round.planned()).toEqual(planned);
    for (const key of whole.keys()) if (/planned|manifest|units/.test(key)) store.blobs.delete(key);
    expect(await round.planned()).toEqual(planned);
    expect([...store.blobs].sort()).toEqual([...whole].sort());
  });

  test('what fits into one batch is one unit, in the order in which a repository must be written', async () => {
    const round = await (await Recorded.begin(NAME, 'final')).round(0, NAME, 'final');
    expect(await round.planned()).toMatchObject({ units: 1, pages: 1 });
    const unit = await requireJson<TransferUnit>(round.recorded.world.to, round.keys.unit(0), signal);
    const order = unit.files.map(({ blobs }) => PHASES.indexOf(blobs[0]!.phase));
    expect(order).toEqual([...order].sort((a, b) => a - b));
    expect(new Set(order).size).toBe(4);
  });

  test('a later round sends what is new, and volatile metadata always', async () => {
    const recorded = await Recorded.begin(NAME, 'round-0');
    const baseline = await recorded.round(0, NAME, 'round-0');
    await baseline.all();
    const round = await recorded.round(1, NAME, 'round-1');
    const held = new Set(baseline.manifest.blobs.map(({ key }) => key));
    const expected = round.manifest.blobs
      .map(({ key }) => key)
      .filter((key) => !/^index(-|\.)/.test(key) && (!held.has(key) || round.manifest.volatile.has(key)));
    expect((await sent(round)).sort()).toEqual(expected.sort());
    expect(expected.length).toBeLessThan(round.manifest.blobs.length - 2);
  });

  test('a proof counts only with a fresh listing that shows the blob with its length', async () => {
    const recorded = await Recorded.begin(NAME, 'round-0');
    const baseline = await recorded.round(0, NAME, 'round-0');
    await baseline.all();
    const [gone, cut, kept] = baseline.manifest.blobs.filter(({ phase }) => phase === 'data').map(({ key }) => key);
    recorded.world.to.blobs.delete(`to/${gone}`);
    recorded.world.to.put(`to/${cut}`, Buffer.from('short'));
    const again = await sent(await recorded.round(0, NAME, 'round-0', 2));
    expect(again).toEqual(expect.arrayContaining([gone, cut]));
    expect(again).not.toContain(kept);
  });

  test('a blob in the target without a proof is sent: names prove nothing', async () => {
    const recorded = await Recorded.begin(NAME, 'round-0');
    for (const [key, bytes] of fixture(NAME)) if (key.startsWith('indices/')) recorded.world.to.put(`to/${key}`, bytes);
    const round = await recorded.round(0, NAME, 'round-0');
    expect(await sent(round)).toHaveLength(round.manifest.blobs.length - 2);
  });

  test('a counter name that was used again with other bytes is sent again', async () => {
    const recorded = await Recorded.begin('5.6.16-counter-names-before', 's2');
    const before = await recorded.round(0, '5.6.16-counter-names-before', 's2');
    await before.all();
    recorded.show('5.6.16-counter-names-after');
    const after = await recorded.round(1, '5.6.16-counter-names-after', 's3');
    const held = new Map(before.manifest.blobs.map((blob) => [blob.key, blob]));
    const reused = after.manifest.blobs.filter(({ key, phase, crc32 }) => {
      return phase === 'data' && held.has(key) && held.get(key)!.crc32 !== crc32;
    });
    expect(reused.length).toBeGreaterThan(0);
    expect(await sent(after)).toEqual(expect.arrayContaining(reused.map(({ key }) => key)));
  });

  test('a chunked file is one unit with all its parts in order, and is sent whole when one part is missing', async () => {
    const name = '7.10.2-chunked';
    const recorded = await Recorded.begin(name, 's1');
    const baseline = await recorded.round(0, name, 's1');
    await baseline.all();
    const part = baseline.manifest.blobs.find((blob) => blob.part?.number === 1)!;
    recorded.world.to.blobs.delete(`to/${part.key}`);
    const again = await recorded.round(0, name, 's1', 2);
    const parts = (await sent(again)).filter((key) => key.startsWith(part.key.replace(/\.part\d+$/, '')));
    expect(parts).toHaveLength(part.part!.of);
    expect(await sent(again)).toHaveLength(parts.length + again.manifest.volatile.size - 2);
    await again.transfer();
  });

  test('a store that is not where the cluster writes is refused at once', async () => {
    const recorded = await Recorded.begin(NAME, 'round-0');
    const round = await recorded.round(0, NAME, 'round-0');
    recorded.world.from.blobs.clear();
    await expect(round.planned()).rejects.toThrow(ConfigurationError);
  });

  test('a snapshot that is gone from the source, or is another of its name, is planned again', async () => {
    const recorded = await Recorded.begin(NAME, 'round-0');
    const round = await recorded.round(0, NAME, 'round-0');
    const { deps } = recorded.world;
    await expect(planTransfer(deps, { ...round.input, snapshotUuid: 'other' }, aContext())).rejects.toThrow(
      RepositoryChangedError,
    );
  });

  test('an index that was created again between scope and snapshot fails the round', async () => {
    const recorded = await Recorded.begin(NAME, 'round-0');
    const round = await recorded.round(0, NAME, 'round-0');
    const scope = await requireJson<{ indices: { name: string; uuid: string }[] }>(
      recorded.world.to,
      round.keys.scope,
      signal,
    );
    scope.indices[0]!.uuid = 'another';
    recorded.world.to.put(round.keys.scope, Buffer.from(JSON.stringify(scope)));
    await expect(round.planned()).rejects.toThrow(SnapshotIncompleteError);
  });

  test('an attempt that is too old writes no plan', async () => {
    const round = await (await Recorded.begin(NAME, 'round-0')).round(0, NAME, 'round-0');
    await expect(round.planned(aContext({ actUntil: Date.now() }))).rejects.toThrow('too old');
    expect([...round.recorded.world.to.blobs.keys()].filter((key) => key.includes('volatile'))).toEqual([]);
  });
});

describe('units', () => {
  const MIB = 1024 * 1024;
  const blob = (name: string, length: number, changes: Partial<ManifestBlob> = {}): ManifestBlob => {
    return { key: `indices/ID/0/${name}`, length, crc32: 1, phase: 'data', ...changes };
  };
  const cut = (blobs: ManifestBlob[]) => [
    ...unitsOf(blobs, new Map(), [
      { name: 'orders', id: 'ID', createdVersionId: 1, shards: [], settings: {}, aliases: [] },
    ]),
  ];

  test('files of 128 MiB and more are alone, the largest in front, and say whose they are', () => {
    const units = cut([blob('__a', 128 * MIB), blob('__b', 128 * MIB - 1), blob('__c', 160 * MIB)]);
    expect(units.map(({ unit, kind, label }) => `${unit} ${kind} ${label}`)).toEqual([
      '0 blob orders/0 __c (160 MiB)',
      '1 blob orders/0 __a (128 MiB)',
      '2 batch data batch 3: 1 blob (128 MiB)',
    ]);
  });

  test('batches hold at most 2,000 blobs and 256 MiB', () => {
    const many = cut(Array.from({ length: 4_801 }, (_, n) => blob(`__${n}`, 10)));
    expect(many.map(({ blobs }) => blobs)).toEqual([2_000, 2_000, 801]);
    const heavy = cut(Array.from({ length: 20 }, (_, n) => blob(`__${n}`, 50 * MIB)));
    expect(heavy.map(({ bytes }) => bytes / MIB)).toEqual([250, 250, 250, 250]);
  });

  test('phases that fit into one batch together are one unit, and no other unit is of two', () => {
    const metadata = (count: number, phase: ManifestBlob['phase']) =>
      Array.from({ length: count }, (_, n) => blob(`${phase}-${n}`, 10, { phase }));
    const told = (blobs: ManifestBlob[]) =>
      cut(blobs).map((each) => `${each.unit} ${each.stage} ${each.phase} ${each.blobs}`);
    const large = Array.from({ length: 2 }, (_, n) => blob(`__${n}`, 128 * MIB));
    const tail = [...metadata(3, 'shard-metadata'), ...metadata(2, 'root-metadata')];
    expect(told([...large, ...tail])).toEqual(['0 0 data 1', '1 0 data 1', '2 1 metadata 5']);
    expect(told([...metadata(1_900, 'data'), ...metadata(200, 'shard-metadata'), ...tail])).toEqual([
      '0 0 data 1900',
      '1 1 metadata 205',
    ]);
    expect(
      told([...metadata(5, 'data'), ...metadata(2_001, 'shard-metadata'), ...metadata(2, 'root-metadata')]),
    ).toEqual(['0 0 data 5', '1 1 shard-metadata 2000', '2 1 shard-metadata 1', '3 2 root-metadata 2']);
  });

  test('keys are shuffled, the same way each time', () => {
    const blobs = Array.from({ length: 100 }, (_, n) => blob(`__${String(n).padStart(3, '0')}`, 10));
    const keys = (units: TransferUnit[]) => units.flatMap(({ files }) => files.map((file) => file.blobs[0]!.key));
    expect(keys(cut(blobs))).not.toEqual([...keys(cut(blobs))].sort());
    expect(cut(blobs)).toEqual(cut([...blobs].reverse()));
  });

  test('parts of one file stay together, in order, whatever their number', () => {
    const parts = Array.from({ length: 12 }, (_, n) =>
      blob(`__f.part${n}`, MIB, { crc32: null, part: { file: '__f', number: n, of: 12, fileCrc32: 7 } }),
    );
    const units = cut([...parts].reverse());
    expect(units).toHaveLength(1);
    expect(units[0]!.files).toEqual([{ blobs: parts }]);
  });
});
