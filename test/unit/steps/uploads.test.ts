import { randomBytes } from 'node:crypto';
import { UnavailableError } from '../../../src/domain/errors';
import { WorkKeys } from '../../../src/domain/names';
import { cleanUp } from '../../../src/steps/cleanup';
import { abandonUploads, noteUpload } from '../../../src/steps/uploads';
import { copyFile, crc32, Engine, payload } from '../../../src/storage';
import { MemoryStore } from '../../support/memory-store';
import { Recorded } from './recorded';
import { aContext } from './world';

const { signal } = new AbortController();
const NAME = '6.8.23-rounds';
const mayAct = () => undefined;

function aTarget(listsUploads: boolean) {
  const store = new MemoryStore('target');
  store.listsUploads = listsUploads;
  return { targetStore: store, keys: new WorkKeys('work/run-1'), plan: { repository: { target: { basePath: 'to' } } } };
}

async function left(store: MemoryStore): Promise<string[]> {
  store.listsUploads = true;
  return (await store.uploads.unfinished('', signal))!.map(({ key }) => key);
}

/** Copies one file whose first part does not arrive. */
async function interrupted(target: ReturnType<typeof aTarget>): Promise<void> {
  const source = new MemoryStore('source');
  const content = randomBytes(292);
  const footer = Buffer.alloc(8);
  footer.writeUInt32BE(crc32(content), 4);
  source.put('__0', Buffer.concat([content, footer]));
  const blob = { key: '__0', length: 300, crc32: crc32(content), phase: 'data' as const };
  const place = { store: target.targetStore, basePath: 'to' };
  const options = {
    signal,
    progress: () => undefined,
    onCursor: () => undefined,
    onUnlisted: (upload: { key: string; uploadId: string }) => noteUpload(target, upload, signal),
    multipartBytes: 100,
    partBytes: 100,
    partsAtOnce: 1,
  };
  target.targetStore.inject({ call: 'part', nth: 2, effect: 'unavailable' });
  const copy = copyFile(new Engine(), { store: source, basePath: '' }, place, { blobs: [blob] }, options);
  await expect(copy).rejects.toThrow(UnavailableError);
}

describe('uploads that nobody goes on with', () => {
  test.each([true, false])('are aborted, whether the store lists them or not (%s)', async (listsUploads) => {
    const target = aTarget(listsUploads);
    await interrupted(target);
    expect(await abandonUploads(target, mayAct, signal)).toBe(listsUploads);
    expect(await left(target.targetStore)).toEqual([]);
    expect([...target.targetStore.blobs.keys()]).toEqual([]);
  });

  test('are noted before their first part where the store does not list them, and nowhere else', async () => {
    const target = aTarget(false);
    await interrupted(target);
    const { calls } = target.targetStore;
    const begun = calls.findIndex((call) => call.startsWith('begin to/__0'));
    const noted = calls.findIndex((call) => call.startsWith('write work/run-1/uploads/'));
    const sent = calls.findIndex((call) => call.startsWith('part to/__0'));
    expect([begun >= 0, begun < noted, noted < sent]).toEqual([true, true, true]);
    const listing = aTarget(true);
    await interrupted(listing);
    expect(listing.targetStore.callsOf('write')).toEqual([]);
  });

  test('of others are never touched, whatever a note says', async () => {
    for (const listsUploads of [true, false]) {
      const target = aTarget(listsUploads);
      const { uploads } = target.targetStore;
      for (const key of ['to-others/__0', 'other', 'work/x']) {
        const uploadId = await uploads.begin(key, signal);
        await noteUpload(target, { key, uploadId }, signal);
      }
      await abandonUploads(target, mayAct, signal);
      expect((await left(target.targetStore)).sort()).toEqual(['other', 'to-others/__0', 'work/x']);
    }
  });

  test('stay for the next time when one cannot be aborted now', async () => {
    const target = aTarget(false);
    await interrupted(target);
    target.targetStore.inject({ call: 'abort', nth: 1, effect: 'unavailable' });
    await expect(abandonUploads(target, mayAct, signal)).rejects.toThrow(UnavailableError);
    await abandonUploads(target, mayAct, signal);
    expect(await left(target.targetStore)).toEqual([]);
  });

  test.each([true, false])('are gone when a round is published (listed: %s)', async (listsUploads) => {
    const recorded = await Recorded.begin(NAME, 'round-0');
    const round = await recorded.round(0, NAME, 'round-0');
    await round.transfer();
    const { to } = recorded.world;
    const [key, foreign] = ['to/indices/x/0/__9', 'elsewhere/__9'];
    const uploadId = await to.uploads.begin(key, signal);
    await to.uploads.part(key, uploadId, 1, payload(randomBytes(10)), signal);
    await to.uploads.begin(foreign, signal);
    to.listsUploads = listsUploads;
    if (!listsUploads) await noteUpload(recorded.migration, { key, uploadId }, signal);
    await round.publish();
    expect(await left(to)).toEqual([foreign]);
  });

  test('an attempt at publishing that is too old aborts none: a successor may be copying', async () => {
    const recorded = await Recorded.begin(NAME, 'round-0');
    const round = await recorded.round(0, NAME, 'round-0');
    await round.transfer();
    const { to } = recorded.world;
    await to.uploads.begin('to/indices/x/0/__9', signal);
    await expect(round.publish(aContext({ actUntil: Date.now() }))).rejects.toThrow('too old');
    expect(await left(to)).toEqual(['to/indices/x/0/__9']);
  });

  test('are gone after clean-up, which says what it cannot know', async () => {
    const recorded = await Recorded.begin(NAME, 'round-0');
    const { to } = recorded.world;
    const uploadId = await to.uploads.begin('to/__0', signal);
    to.listsUploads = false;
    await noteUpload(recorded.migration, { key: 'to/__0', uploadId }, signal);
    const { remains } = await cleanUp(recorded.world.deps, { plan: recorded.plan, outcome: 'aborted' }, aContext());
    expect(remains.join('\n')).toContain('cannot list unfinished uploads');
    expect(await left(to)).toEqual([]);
  });
});
