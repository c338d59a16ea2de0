import { BlobCorruptError, BlobMissingError, UnavailableError } from '../../../src/domain/errors';
import { copyUnit, readUnits } from '../../../src/steps/copy-unit';
import { readJsonLines, requireJson } from '../../../src/steps/files';
import { LiveLimits } from '../../../src/steps/limits';
import { crc32, showCrc32 } from '../../../src/storage';
import type { ProofLine } from '../../../src/steps/proofs';
import type { TransferUnit } from '../../../src/steps/units';
import { BATCH_BLOBS } from '../../../src/steps/units';
import { HEARTBEAT_BYTES } from '../heartbeats';
import { fixture } from '../repository/fixtures';
import { Recorded } from './recorded';
import type { RecordedRound } from './recorded';
import { aContext } from './world';

const { signal } = new AbortController();
const NAME = '5.6.16-rounds';
const UNPACED = { read: async () => undefined, documentsPerSecond: () => undefined };

async function planned(name = NAME, snapshot = 'round-0') {
  const recorded = await Recorded.begin(name, snapshot);
  const round = await recorded.round(0, name, snapshot);
  const { sendBlobs, sendBytes } = await round.planned();
  const { to } = recorded.world;
  const copy = (unit: number, context = aContext(), page = unit) =>
    copyUnit(recorded.world.deps, { ...round.ref, page, unit }, context);
  return { recorded, round, whole: { blobs: sendBlobs, bytes: sendBytes }, to, copy };
}

/** Each look at the clock is half a minute after the one before. */
function slowly(): void {
  let now = 0;
  jest.spyOn(performance, 'now').mockImplementation(() => (now += 30_001));
}

afterEach(() => jest.restoreAllMocks());

function proofs(round: RecordedRound, unit: number): Promise<ProofLine[]> {
  return readJsonLines<ProofLine>(round.recorded.world.to, round.keys.proof(unit), signal);
}

describe('copying a unit', () => {
  test('the labels of a page are its units without their files', async () => {
    const { round, recorded, whole } = await planned();
    expect(await readUnits(recorded.world.deps, { ...round.ref, page: 0 }, aContext())).toEqual([
      {
        unit: 0,
        stage: 0,
        phase: 'data and metadata',
        kind: 'batch',
        label: expect.stringContaining('data and metadata batch 1: '),
        ...whole,
      },
    ]);
  });

  test('all units of all phases make the target equal to the source, byte for byte', async () => {
    const { round, to } = await planned();
    await round.transfer();
    for (const { key } of round.manifest.blobs.filter((blob) => !/^index(-|\.)/.test(blob.key))) {
      expect(to.blobs.get(`to/${key}`)).toEqual(fixture(NAME).get(key));
    }
    expect([...to.blobs.keys()].filter((key) => /^to\/index/.test(key))).toEqual([]);
  });

  test('ends with a proof of every blob', async () => {
    const { round, copy, whole, to } = await planned();
    const result = await copy(0);
    expect(result).toEqual(whole);
    const lines = await proofs(round, 0);
    expect(lines).toHaveLength(result.blobs);
    for (const line of lines) {
      const sent = to.blobs.get(`to/${line.key}`)!;
      expect(line).toEqual({
        key: line.key,
        length: sent.length,
        crc32: crc32(sent),
        // What is not of Lucene has no footer.
        footerCrc32: line.key === 'incompatible-snapshots' ? null : sent.readUInt32BE(sent.length - 4),
        checksum: showCrc32(crc32(sent)),
        etag: (await to.head(`to/${line.key}`, signal))!.etag,
        requestId: expect.stringMatching(/^request-/),
      });
    }
  });

  test('twice sends nothing again', async () => {
    const { copy, to } = await planned();
    const first = await copy(0);
    const writes = to.callsOf('write').length;
    expect(await copy(0)).toEqual(first);
    expect(to.callsOf('write')).toHaveLength(writes);
  });

  test('of a unit of several phases, none begins before all of the one before is there', async () => {
    const { round, copy, to } = await planned();
    const keysOf = (phase: string) => round.manifest.blobs.filter((blob) => blob.phase === phase).map(({ key }) => key);
    const there = (keys: string[]) => keys.filter((key) => to.blobs.has(`to/${key}`)).length;
    const [data, shards, indices] = [keysOf('data'), keysOf('shard-metadata'), keysOf('index-metadata')];
    to.inject({ call: 'write', nth: data.length, effect: 'unavailable' });
    await expect(copy(0)).rejects.toThrow(UnavailableError);
    expect([there(data) > 0, there(shards), there(indices)]).toEqual([true, 0, 0]);
    for (const key of data) to.blobs.delete(`to/${key}`);
    to.inject({ call: 'write', nth: data.length + 1, effect: 'unavailable' });
    await expect(copy(0)).rejects.toThrow(UnavailableError);
    expect([there(data), there(indices)]).toEqual([data.length, 0]);
  });

  test('volatile metadata comes from the work prefix: the source may have deleted it', async () => {
    const { recorded, round, to } = await planned();
    for (const key of round.manifest.volatile.keys()) recorded.world.from.blobs.delete(`from/${key}`);
    await round.transfer();
    for (const key of round.manifest.volatile.keys()) {
      if (/^index(-|\.)/.test(key)) continue;
      expect(to.blobs.get(`to/${key}`)).toEqual(fixture(NAME).get(key));
    }
  });

  test('every byte keeps to the limits, that of saved metadata too', async () => {
    const { round } = await planned();
    let paced = 0;
    const take = async (bytes: number) => void (paced += bytes);
    const during = jest
      .spyOn(LiveLimits.prototype, 'during')
      .mockImplementation((_, __, copy) => copy({ ...UNPACED, take }));
    await round.transfer();
    during.mockRestore();
    const { sendBytes } = await round.planned();
    expect(paced).toBe(sendBytes);
  });

  test('saved metadata that changed or is gone is never sent', async () => {
    const { round, to } = await planned();
    const key = round.keys.volatile('incompatible-snapshots');
    to.rot(key);
    await expect(round.transfer()).rejects.toThrow(BlobCorruptError);
    to.blobs.delete(key);
    await expect(round.transfer()).rejects.toThrow(BlobMissingError);
    expect(to.blobs.has('to/incompatible-snapshots')).toBe(false);
  });

  test('a blob that differs from the manifest stops the unit without a proof', async () => {
    const { recorded, round, copy } = await planned();
    const blob = round.manifest.blobs.find(({ phase }) => phase === 'data')!;
    recorded.world.from.rot(`from/${blob.key}`);
    await expect(copy(0)).rejects.toThrow(BlobCorruptError);
    expect(await proofs(round, 0)).toEqual([]);
  });

  test('an interrupted batch that takes long goes on after the files its heartbeat told of', async () => {
    const { round, copy, to } = await planned();
    slowly();
    const { length } = (await requireJson<TransferUnit>(to, round.keys.unit(0), signal)).files;
    to.inject({ call: 'write', nth: 10, effect: 'unavailable' });
    const first = aContext();
    await expect(copy(0, first)).rejects.toThrow(UnavailableError);
    const resumed = JSON.parse(JSON.stringify(first.told.at(-1))) as Record<string, unknown>;
    const done = Object.keys(resumed['done'] as object).length;
    expect(done).toBeGreaterThan(0);
    const before = to.callsOf('write').length;
    await copy(0, aContext({ resumed }));
    // The rest of the files, and the proof file.
    expect(to.callsOf('write').length - before).toBe(length - done + 1);
    const lines = await proofs(round, 0);
    expect(lines).toHaveLength(length);
    // A note has no room for what the store answered, which here tells nothing of a blob that it holds.
    expect(lines.filter(({ requestId, checksum }) => !requestId && !checksum)).toHaveLength(done);
  });

  test('when it turns out to take long, what was done before is told, too', async () => {
    const { copy, to } = await planned();
    to.inject({ call: 'write', nth: 20, effect: 'unavailable' });
    const first = aContext();
    const blobsToldOf = () => Number(first.told.at(-1)?.['blobsDone'] ?? 0);
    jest.spyOn(performance, 'now').mockImplementation(() => (blobsToldOf() > 5 ? 60_000 : 0));
    await expect(copy(0, first)).rejects.toThrow(UnavailableError);
    const { done, blobsDone } = first.told.at(-1) as { done: object; blobsDone: number };
    expect(blobsDone).toBeGreaterThan(1);
    expect(Object.keys(done).length).toBeGreaterThanOrEqual(blobsDone);
  });

  test('of one that does not, small files are sent again: asking for each costs as much', async () => {
    const { round, copy, to, whole } = await planned();
    to.inject({ call: 'write', nth: 10, effect: 'unavailable' });
    const first = aContext();
    await expect(copy(0, first)).rejects.toThrow(UnavailableError);
    expect(first.told.at(-1)).toMatchObject({ blobsDone: expect.any(Number), done: {} });
    const heads = to.callsOf('head').length;
    await copy(0, aContext({ resumed: first.told.at(-1)! }));
    expect(to.callsOf('head')).toHaveLength(heads);
    expect(await proofs(round, 0)).toHaveLength(whole.blobs);
  });

  test('a file of several blobs that shares its unit goes on after those that were proved', async () => {
    const { round, copy, to } = await planned('5.6.16-chunked', 's1');
    const first = aContext();
    const progress = (details: Readonly<Record<string, unknown>>) => {
      first.progress(details);
      const cursors = Object.values(details['cursors'] as Record<string, { proved: unknown[] }>);
      if (cursors.some(({ proved }) => proved.length > 0)) first.abort.abort(new Error('killed'));
    };
    await expect(copy(0, { ...first, progress })).rejects.toThrow('killed');
    const parts = round.manifest.blobs.filter(({ part }) => part !== undefined);
    const there = parts.filter(({ key }) => to.blobs.has(`to/${key}`)).length;
    const before = to.callsOf('write').length;
    await copy(0, aContext({ resumed: first.told.at(-1)! }));
    const again = to.callsOf('write').slice(before);
    expect([there, again.filter((call) => call.includes('.part')).length]).toEqual([there, parts.length - there]);
  });

  test('a heartbeat is a hint: what the target does not hold any more is sent again', async () => {
    const { round, copy, to } = await planned();
    slowly();
    to.inject({ call: 'write', nth: 10, effect: 'unavailable' });
    const first = aContext();
    await expect(copy(0, first)).rejects.toThrow(UnavailableError);
    for (const { key } of round.manifest.blobs) {
      if (to.blobs.has(`to/${key}`)) to.put(`to/${key}`, Buffer.alloc(to.blobs.get(`to/${key}`)!.length));
    }
    await copy(0, aContext({ resumed: first.told.at(-1)! }));
    const data = round.manifest.blobs.filter(({ phase }) => phase === 'data');
    for (const { key } of data) expect(to.blobs.get(`to/${key}`)).toEqual(fixture(NAME).get(key));
  });

  test("another unit's heartbeat, or an odd one, is ignored", async () => {
    const { copy, whole } = await planned();
    await expect(copy(0, aContext({ resumed: { unit: 5, done: { 0: [] } } }))).resolves.toEqual(whole);
    await expect(copy(0, aContext({ resumed: { unit: 0, done: 'odd' } }))).resolves.toEqual(whole);
  });

  test('a chunked file is proved part by part, against the checksum of the whole', async () => {
    const { round, copy } = await planned('5.6.16-chunked', 's1');
    await copy(0);
    const lines = await proofs(round, 0);
    const parts = lines.filter(({ key }) => key.includes('.part'));
    expect(parts.length).toBeGreaterThan(1);
    expect(parts.every(({ footerCrc32, fileCrc32 }) => footerCrc32 === null && fileCrc32 !== undefined)).toBe(true);
  });

  test('heartbeats of a full batch stay small', async () => {
    const { copy } = await planned();
    slowly();
    const context = aContext();
    const { blobs } = await copy(0, context);
    const characters = JSON.stringify(context.told.at(-1)).length;
    expect((characters / blobs) * BATCH_BLOBS).toBeLessThan(HEARTBEAT_BYTES);
  });

  test('a cancelled unit stops with the reason, and nothing of it is in flight any more', async () => {
    const { copy, to } = await planned();
    const context = aContext();
    to.inject({ call: 'write', nth: 3, effect: 'hang' });
    const copying = copy(0, context);
    setTimeout(() => context.abort.abort(new Error('cancelled')), 10);
    await expect(copying).rejects.toThrow('cancelled');
    const { length } = to.calls;
    await new Promise((resolve) => setTimeout(resolve, 10));
    expect(to.calls).toHaveLength(length);
  });

  test('a page that does not hold the unit is a fault of its file', async () => {
    const { copy } = await planned();
    await expect(copy(99, aContext(), 0)).rejects.toThrow(BlobMissingError);
  });
});
