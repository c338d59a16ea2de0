import { BlobMissingError, ConfigurationError, RepositoryChangedError } from '../../../src/domain/errors';
import { releaseOwnership, claimantOf } from '../../../src/steps/ownership';
import { fixture } from '../repository/fixtures';
import { Recorded } from './recorded';
import { aContext, SHARED } from './world';

const { signal } = new AbortController();
const NAME = '6.8.23-rounds';
const BEFORE = '5.6.16-counter-names-before';
const AFTER = '5.6.16-counter-names-after';

async function transferred(name = NAME, snapshot = 'round-0') {
  const recorded = await Recorded.begin(name, snapshot);
  const round = await recorded.round(0, name, snapshot);
  await round.transfer();
  return { recorded, round, to: recorded.world.to, from: recorded.world.from };
}

/** The newest generation of the source, with some snapshots taken out or put in. */
function editSource(
  recorded: Recorded,
  generation: number,
  edit: (snapshots: { name: string; uuid: string }[]) => unknown[],
) {
  const root = JSON.parse(fixture(NAME).get('index-3')!.toString()) as {
    snapshots: { name: string; uuid: string }[];
    indices: Record<string, { snapshots: unknown[] }>;
  };
  const snapshots = edit(root.snapshots) as { uuid: string }[];
  const standing = new Set(snapshots.map(({ uuid }) => uuid));
  for (const index of Object.values(root.indices)) {
    index.snapshots = index.snapshots.filter((one) =>
      standing.has(typeof one === 'string' ? one : (one as { uuid: string }).uuid),
    );
  }
  recorded.world.from.put(`from/index-${generation}`, Buffer.from(JSON.stringify({ ...root, snapshots })));
}

describe('publishing a round', () => {
  test('writes index-N and index.latest as the source had them, and nothing else', async () => {
    const { round, to } = await transferred();
    const before = new Set(to.blobs.keys());
    expect(await round.publish()).toEqual({ generation: 3 });
    expect([...to.blobs.keys()].filter((key) => !before.has(key)).sort()).toEqual([
      'snapferry-work/run-1/published/index-3',
      'to/index-3',
      'to/index.latest',
    ]);
    expect(to.blobs.get('to/index-3')).toEqual(fixture(NAME).get('index-3'));
    expect(to.blobs.get('to/index.latest')).toEqual(fixture(NAME).get('index.latest'));
  });

  test('makes the target hold the whole manifest, byte for byte', async () => {
    const { round, to } = await transferred();
    await round.publish();
    for (const { key } of round.manifest.blobs) expect(to.blobs.get(`to/${key}`)).toEqual(fixture(NAME).get(key));
  });

  test('twice is once', async () => {
    const { round, to } = await transferred();
    await round.publish();
    const after = new Map(to.blobs);
    expect(await round.publish()).toEqual({ generation: 3 });
    expect(to.blobs).toEqual(after);
  });

  test('an attempt whose answer was lost is completed by the next', async () => {
    const { round, to } = await transferred();
    for (const nth of [2, 1]) {
      to.inject({ call: 'write', nth, effect: 'lost-answer' });
      await expect(round.publish()).rejects.toThrow('did not answer');
    }
    await expect(round.publish()).resolves.toEqual({ generation: 3 });
  });

  test('index-N is there before index.latest says so', async () => {
    const { round, to } = await transferred();
    await round.publish();
    const writes = to.callsOf('write').map((call) => call.slice(6));
    expect(writes.indexOf('to/index-3')).toBeLessThan(writes.indexOf('to/index.latest'));
    expect(writes.indexOf('snapferry-work/run-1/published/index-3')).toBeLessThan(writes.indexOf('to/index-3'));
  });

  test('a later round raises the generation', async () => {
    const { recorded, round, to } = await transferred(BEFORE, 's2');
    await round.publish();
    recorded.show(AFTER);
    const next = await recorded.round(1, AFTER, 's3');
    await next.all();
    expect(to.blobs.get('to/index.latest')).toEqual(fixture(AFTER).get('index.latest'));
    for (const { key } of next.manifest.blobs) expect(to.blobs.get(`to/${key}`)).toEqual(fixture(AFTER).get(key));
  });
});

describe('the fence', () => {
  test('newer snapshots at the source are no obstacle', async () => {
    const { recorded, round } = await transferred();
    editSource(recorded, 4, (snapshots) => [...snapshots, { ...snapshots[0], name: 'newer', uuid: 'newer' }]);
    await expect(round.publish()).resolves.toEqual({ generation: 3 });
  });

  test.each(['round-0', 'foreign-1'])('snapshot %s that left the source voids the plan', async (name) => {
    const { recorded, round, to } = await transferred();
    editSource(recorded, 4, (snapshots) => snapshots.filter((snapshot) => snapshot.name !== name));
    await expect(round.publish()).rejects.toThrow(RepositoryChangedError);
    await expect(round.publish()).rejects.toThrow(`'${name}' was deleted from the source`);
    expect(to.blobs.has('to/index-3')).toBe(false);
  });

  test('a snapshot of the same name with another uuid is not the one that was planned', async () => {
    const { recorded, round } = await transferred();
    editSource(recorded, 4, (snapshots) =>
      snapshots
        .filter(({ name }) => name !== 'foreign-1')
        .concat({ ...snapshots[0]!, name: 'foreign-1', uuid: 'other' }),
    );
    await expect(round.publish()).rejects.toThrow("'foreign-1' was deleted");
  });

  test('a source that is empty or went back voids the plan', async () => {
    const { round, from } = await transferred();
    const bytes = from.blobs.get('from/index-3')!;
    from.blobs.delete('from/index-3');
    await expect(round.publish()).rejects.toThrow('went back behind');
    from.put('from/index-2', bytes);
    await expect(round.publish()).rejects.toThrow('went back behind');
  });
});

describe('the target of a publication', () => {
  test('a generation that we did not publish is refused, older, newer and of the same number', async () => {
    for (const generation of [1, 3, 9]) {
      const { round, to } = await transferred();
      to.put(`to/index-${generation}`, Buffer.from('{"snapshots":[],"indices":{}}'));
      await expect(round.publish()).rejects.toThrow(ConfigurationError);
      await expect(round.publish()).rejects.toThrow(`Somebody else wrote to the target location`);
      expect(to.blobs.has('to/index.latest')).toBe(false);
    }
  });

  test('our own generation that somebody changed is not ours any more', async () => {
    const { recorded, round, to } = await transferred(BEFORE, 's2');
    await round.publish();
    to.put('to/index-1', Buffer.from('{"snapshots":[],"indices":{}}'));
    recorded.show(AFTER);
    const next = await recorded.round(1, AFTER, 's3');
    await expect(next.all()).rejects.toThrow('Somebody else wrote');
  });

  test('the published generation never falls: an old attempt that comes late is refused', async () => {
    const { recorded, round, to } = await transferred(BEFORE, 's1');
    recorded.show(BEFORE);
    await round.publish();
    recorded.show(AFTER);
    await (await recorded.round(1, AFTER, 's3')).all();
    recorded.show(BEFORE);
    await expect(round.publish()).rejects.toThrow(RepositoryChangedError);
    expect(to.blobs.get('to/index.latest')).toEqual(fixture(AFTER).get('index.latest'));
  });

  test('a location that is claimed by another, or by nobody any more, is not published to', async () => {
    const { recorded, round, to } = await transferred();
    await releaseOwnership(claimantOf(recorded.migration), { basePath: 'to', indices: [] }, signal);
    await expect(round.publish()).rejects.toThrow(ConfigurationError);
    expect(to.blobs.has('to/index-3')).toBe(false);
  });

  test('nothing is published while a unit has no proof', async () => {
    const { round, to } = await transferred();
    to.blobs.delete(round.keys.proof(0));
    await expect(round.publish()).rejects.toThrow(BlobMissingError);
    await expect(round.publish()).rejects.toThrow('unit=0');
  });

  test('index.latest that another attempt changes meanwhile is noticed', async () => {
    const { round, to } = await transferred();
    const write = to.write.bind(to);
    to.write = async (key, ...rest) => {
      const receipt = await write(key, ...rest);
      if (key === 'to/index.latest') to.put(key, Buffer.from('older'));
      return receipt;
    };
    await expect(round.publish()).rejects.toThrow('Another attempt published at the same time');
  });

  test('an attempt that is too old writes nothing', async () => {
    const { round, to } = await transferred();
    await expect(round.publish(aContext({ actUntil: Date.now() + 1_000 }))).rejects.toThrow('too old');
    expect(to.blobs.has('to/index-3')).toBe(false);
  });
});

describe('a repository that both clusters share', () => {
  test('is sent nothing, and nothing of it is written, deleted or aborted: it is the source cluster’s', async () => {
    const recorded = await Recorded.begin(NAME, 'round-0', SHARED);
    const { from } = recorded.world;
    const round = await recorded.round(0, NAME, 'round-0');
    const theirs = await from.uploads.begin('from/indices/x/0/__1', signal);
    expect(await round.planned()).toMatchObject({ units: 0, sendBlobs: 0, generation: 3 });
    expect(await round.publish()).toEqual({ generation: 3 });
    expect(await from.uploads.unfinished('from/', signal)).toEqual([{ key: 'from/indices/x/0/__1', uploadId: theirs }]);
    for (const [key, bytes] of fixture(NAME)) expect(from.blobs.get(`from/${key}`)).toEqual(bytes);
  });
});
