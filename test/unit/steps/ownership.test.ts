import { ConfigurationError } from '../../../src/domain/errors';
import {
  assertOwnsLocation,
  claimantOf,
  claimIndex,
  claimLocation,
  readIndexOwner,
  readLocationOwner,
  recordRestored,
  recordRestoring,
  releaseOwnership,
} from '../../../src/steps/ownership';
import type { Claimant } from '../../../src/steps/ownership';
import { MemoryStore } from '../../support/memory-store';
import { aContext, World } from './world';

const { signal } = new AbortController();

function claimants() {
  const store = new MemoryStore('oss');
  const claimant = (migration: string, firstRunId: string): Claimant => {
    return { migration, firstRunId, store, work: 'snapferry-work', targetUuid: 'target' };
  };
  return { store, first: claimant('first', 'run-1'), second: claimant('second', 'run-2') };
}

describe('ownership of a target location or index', () => {
  test('a claim is made once and is ours when it is made again', async () => {
    const { first } = claimants();
    expect(await claimLocation(first, 'to', signal)).toBe(true);
    expect(await claimLocation(first, 'to', signal)).toBe(false);
  });

  test('a second migration is refused by the name of the first, and told which claim to remove', async () => {
    const { first, second } = claimants();
    await claimIndex(first, 'logs', signal);
    await expect(claimIndex(second, 'logs', signal)).rejects.toThrow(ConfigurationError);
    await expect(claimIndex(second, 'logs', signal)).rejects.toThrow(
      /'first'.*owners\/index\/target\/logs\/owner\.json/,
    );
  });

  test('a claim whose answer was lost is ours at the next try', async () => {
    const { store, first } = claimants();
    store.inject({ call: 'write', nth: 1, effect: 'lost-answer' });
    await expect(claimLocation(first, 'to', signal)).rejects.toThrow('did not answer');
    expect(await claimLocation(first, 'to', signal)).toBe(false);
  });

  test("releasing gives back what is ours and leaves others' claims alone", async () => {
    const { first, second } = claimants();
    await claimIndex(first, 'ours', signal);
    await claimIndex(second, 'theirs', signal);
    await releaseOwnership(first, { basePath: 'to', indices: ['ours', 'theirs', 'never-claimed'] }, signal);
    expect(await readIndexOwner(first, 'ours', signal)).toBeUndefined();
    expect(await readIndexOwner(first, 'theirs', signal)).toMatchObject({ migration: 'second' });
  });

  test('a restore is recorded before it is requested, and every uuid that it brought stays recorded', async () => {
    const { first } = claimants();
    await claimIndex(first, 'logs', signal);
    await recordRestoring(first, 'logs', { repository: 'r', snapshot: 's1' }, signal);
    await recordRestored(first, 'logs', 'uuid-1', signal);
    await recordRestored(first, 'logs', 'uuid-2', signal);
    await recordRestoring(first, 'logs', { repository: 'r', snapshot: 's2' }, signal);
    expect(await readIndexOwner(first, 'logs', signal)).toEqual({
      migration: 'first',
      firstRunId: 'run-1',
      uuids: ['uuid-1', 'uuid-2'],
      restoring: { repository: 'r', snapshot: 's2' },
    });
  });

  test('recording the same again writes nothing', async () => {
    const { store, first } = claimants();
    await claimIndex(first, 'logs', signal);
    await recordRestored(first, 'logs', 'uuid-1', signal);
    const writes = store.callsOf('write').length;
    await recordRestored(first, 'logs', 'uuid-1', signal);
    expect(store.callsOf('write')).toHaveLength(writes);
  });

  test('nothing is recorded on an index that another migration claims', async () => {
    const { first, second } = claimants();
    await claimIndex(first, 'logs', signal);
    await expect(recordRestored(second, 'logs', 'uuid', signal)).rejects.toThrow("belongs to migration 'first'");
  });

  test('names with slashes and dots in them stay one segment of the key', async () => {
    const { store, first } = claimants();
    await claimLocation(first, 'a/b', signal);
    expect([...store.blobs.keys()]).toEqual(['snapferry-work/owners/location/a%2Fb/owner.json']);
  });

  test('a location that is claimed by nobody or by another is not published to', async () => {
    const world = World.with('logs-1');
    const { migration } = await world.started();
    await expect(assertOwnsLocation(migration, aContext())).resolves.toBeUndefined();
    const claimant = claimantOf(migration);
    await releaseOwnership(claimant, { basePath: 'to', indices: [] }, signal);
    await expect(assertOwnsLocation(migration, aContext())).rejects.toThrow('claimed by nobody');
    await claimLocation({ ...claimant, migration: 'other', firstRunId: 'run-2' }, 'to', signal);
    await expect(assertOwnsLocation(migration, aContext())).rejects.toThrow("belongs to migration 'other'");
    expect(await readLocationOwner(claimant, 'to', signal)).toMatchObject({ migration: 'other' });
  });
});
