import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { BlobCorruptError, ConfigurationError, RepositoryChangedError } from '../../../src/domain/errors';
import { readManifest } from '../../../src/repository';
import { planSnapshot, planWhole, runMirror } from '../../../src/steps/mirror';
import type { MirrorPlan, MirrorProof, MirrorRun } from '../../../src/steps/mirror';
import { audit } from '../../../src/steps/audit';
import type { AuditLine } from '../../../src/steps/audit';
import { expectWhole } from '../../../src/steps/audit-expected';
import { crc32, Engine, openDirectory, Pace, showCrc32 } from '../../../src/storage';
import { crc64, showCrc64 } from '../../../src/storage/crc64';
import { MemoryStore } from '../../support/memory-store';
import { fixture, reader, repositoryOf } from '../repository/fixtures';
import { UploadNotesInMemory } from '../../support/upload-notes';

const NEVER = new AbortController().signal;
const RECORDING = '5.5.2-rounds';
const BLOBS = fixture(RECORDING);

/** A recorded repository below `from/`, a place below `to/`, and what earlier runs proved. */
class Scene {
  readonly source = { store: new MemoryStore('source'), basePath: 'from' };
  readonly target: { readonly store: MemoryStore; readonly basePath: string };
  readonly proofs = new Map<string, MirrorProof>();
  readonly uploads = new UploadNotesInMemory(this.proofs);
  sent = { blobs: 0, bytes: 0 };
  retried = 0;

  constructor(recording = RECORDING, settings: ConstructorParameters<typeof MemoryStore>[1] = {}) {
    this.target = { store: new MemoryStore('target', settings), basePath: 'to' };
    for (const [key, bytes] of fixture(recording)) this.source.store.put(`from/${key}`, bytes);
  }

  whole = () => planWhole(this.source, this.target, this.proofs, NEVER);
  snapshot = (name: string) => planSnapshot(this.source, this.target, name, this.proofs, NEVER);

  run(plan: MirrorPlan, options: Partial<MirrorRun> = {}): Promise<void> {
    return runMirror(new Engine(), this.source, this.target, plan, {
      signal: NEVER,
      progress: ({ blobs, bytes }) => (this.sent = { blobs: this.sent.blobs + blobs, bytes: this.sent.bytes + bytes }),
      proved: (proof) => this.proofs.set(proof.key, proof),
      uploads: this.uploads,
      retrying: () => (this.retried += 1),
      ...options,
    });
  }

  get copied(): Map<string, Buffer> {
    return new Map([...this.target.store.blobs].map(([key, bytes]) => [key.slice('to/'.length), bytes]));
  }
}

const newestSnapshot = async () => (await repositoryOf(BLOBS)).snapshots.at(-1)!.name;

test('a whole prefix arrives byte for byte, and is nothing to do afterwards', async () => {
  const scene = new Scene();
  scene.source.store.put('from/notes/readme.txt', Buffer.from('not of Elasticsearch'));
  const plan = await scene.whole();
  await scene.run(plan);
  expect(scene.copied).toEqual(
    new Map([...scene.source.store.blobs].map(([key, bytes]) => [key.slice('from/'.length), bytes])),
  );
  expect(scene.sent).toEqual(plan.send);
  expect((await scene.whole()).send).toEqual({ blobs: 0, bytes: 0 });
});

test("a console's marks of folders are copied and expected where they can be blobs", async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'snapferry-marks-'));
  try {
    const source = { store: new MemoryStore('source'), basePath: 'from' };
    for (const key of ['from/', 'from/a/', 'from/a/b'])
      source.store.put(key, Buffer.from(key.endsWith('b') ? 'x' : ''));
    const bucket = { store: new MemoryStore('target'), basePath: '' };
    const directory = { store: openDirectory(folder), basePath: '' };
    for (const [target, keys] of [
      [bucket, ['a/', 'a/b']],
      [directory, ['a/b']],
    ] as const) {
      const plan = await planWhole(source, target, new Map(), NEVER);
      const uploads = new UploadNotesInMemory();
      const silent = { progress: () => undefined, proved: () => undefined, retrying: () => undefined };
      const run = { signal: NEVER, uploads, ...silent };
      await runMirror(new Engine(), source, target, plan, run);
      const { subject } = await expectWhole(source, target, new Map(), NEVER);
      const lines: AuditLine[] = [];
      for await (const line of audit(new Engine(), subject, { deep: true, signal: NEVER })) lines.push(line);
      expect(lines.map(({ sign, key }) => `${sign} ${key}`)).toEqual(keys.map((key) => `= ${key}`));
    }
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('a snapshot arrives as a repository that can be read, without what only other snapshots need', async () => {
  const scene = new Scene();
  const name = await newestSnapshot();
  await scene.run(await scene.snapshot(name));
  const wanted = await readManifest(await repositoryOf(BLOBS), name, reader(BLOBS));
  expect([...scene.copied.keys()].sort()).toEqual(wanted.blobs.map(({ key }) => key).sort());
  const arrived = await readManifest(await repositoryOf(BLOBS), name, async (key) => scene.copied.get(key));
  expect(arrived.blobs).toEqual(wanted.blobs);
  expect((await scene.snapshot(name)).send).toEqual({ blobs: 0, bytes: 0 });
});

test('every byte that is sent is paced, that of saved metadata too', async () => {
  const scene = new Scene();
  const plan = await scene.snapshot(await newestSnapshot());
  expect(plan.phases.flatMap(({ files }) => files).filter(({ saved }) => saved !== undefined)).not.toEqual([]);
  let paced = 0;
  const take = jest.spyOn(Pace.prototype, 'take').mockImplementation(async (bytes) => void (paced += bytes));
  await scene.run(plan);
  take.mockRestore();
  expect(paced).toBe(plan.send.bytes);
});

test('what is listed but was never proved is sent: old versions use names again', async () => {
  const scene = new Scene();
  const name = await newestSnapshot();
  const plan = await scene.snapshot(name);
  const { key, length } = plan.phases[0]!.files[0]!.blobs[0]!;
  scene.target.store.put(`to/${key}`, randomBytes(length));
  expect((await scene.snapshot(name)).send).toEqual(plan.send);
});

test('what was replaced in the target since it was proved is sent again', async () => {
  const scene = new Scene();
  const name = await newestSnapshot();
  await scene.run(await scene.snapshot(name));
  const { key, length } = (await readManifest(await repositoryOf(BLOBS), name, reader(BLOBS))).blobs[0]!;
  scene.target.store.put(`to/${key}`, randomBytes(length));
  expect((await scene.snapshot(name)).send.blobs).toBe(1);
});

test('a chunk that is missing brings the others of its file, which is proved as a whole', async () => {
  const scene = new Scene('7.10.2-chunked');
  const { name } = (await repositoryOf(fixture('7.10.2-chunked'))).snapshots.at(-1)!;
  await scene.run(await scene.snapshot(name));
  const whole = scene.copied;
  const chunk = [...whole.keys()].find((key) => key.endsWith('.part1'))!;
  scene.target.store.blobs.delete(`to/${chunk}`);
  const plan = await scene.snapshot(name);
  expect(plan.send.blobs).toBe([...whole.keys()].filter((key) => key.startsWith(chunk.slice(0, -1))).length);
  await scene.run(plan);
  expect(scene.copied).toEqual(whole);
});

test('index-N is written last but for index.latest, whatever fails before it', async () => {
  const scene = new Scene();
  scene.target.store.inject({ call: 'write', nth: 20, effect: 'forbidden' });
  await expect(scene.run(await scene.whole())).rejects.toThrow(ConfigurationError);
  expect([...scene.copied.keys()].filter((key) => key.startsWith('index'))).toEqual(
    expect.not.arrayContaining([expect.stringMatching(/^index[-.]/)]),
  );
  await scene.run(await scene.whole());
  const writes = scene.target.store.callsOf('write').map((call) => call.slice('write to/'.length));
  expect(writes.at(-1)).toBe('index.latest');
  expect(writes.slice(0, -1).findLast((key) => !/^index-\d+$/.test(key))).toMatch(/^incompatible|^(snap|meta)-/);
});

test('a damaged blob in the source stops the run, and names the blob', async () => {
  const scene = new Scene();
  const name = await newestSnapshot();
  const plan = await scene.snapshot(name);
  const { key } = plan.phases[0]!.files[0]!.blobs[0]!;
  scene.source.store.rot(`from/${key}`);
  await expect(scene.run(plan)).rejects.toThrow(BlobCorruptError);
  await expect(scene.run(plan)).rejects.toThrow(key);
  expect(scene.copied.has('index.latest')).toBe(false);
});

test('a store that does not answer for a while is asked again', async () => {
  jest.spyOn(Math, 'random').mockReturnValue(0);
  const scene = new Scene();
  scene.target.store.inject(
    { call: 'write', nth: 3, effect: 'unavailable' },
    { call: 'write', nth: 4, effect: 'unavailable' },
  );
  await scene.run(await scene.whole());
  expect(scene.retried).toBe(2);
  expect((await scene.whole()).send.blobs).toBe(0);
});

test('a snapshot that is deleted at the source meanwhile keeps index-N from being written', async () => {
  const scene = new Scene();
  const plan = await scene.whole();
  for (const key of [...scene.source.store.blobs.keys()]) {
    if (/^from\/index/.test(key) && !key.startsWith('from/indices')) scene.source.store.blobs.delete(key);
  }
  await expect(scene.run(plan)).rejects.toThrow(RepositoryChangedError);
  expect(scene.copied.has('index.latest')).toBe(false);
});

test('a blob that is replaced while it is copied stops the run, which says to run it again', async () => {
  const scene = new Scene();
  scene.source.store.put('from/large', randomBytes(20 * 2 ** 20));
  const plan = await scene.whole();
  const { store } = scene.source;
  const read = store.read.bind(store);
  store.read = (key, ...rest) => {
    if (key === 'from/large') store.put(key, randomBytes(20 * 2 ** 20));
    return read(key, ...rest);
  };
  const error = await scene.run(plan).catch((one: unknown) => one);
  expect(error).toBeInstanceOf(RepositoryChangedError);
  expect(String(error)).toMatch(/run it again \[.*key=from\/large/);
});

test("somebody else's repository is not written over", async () => {
  const scene = new Scene();
  for (const [key, bytes] of fixture('6.8.23-rounds')) scene.target.store.put(`to/${key}`, bytes);
  await expect(scene.whole()).rejects.toThrow('another repository');
  await expect(scene.snapshot(await newestSnapshot())).rejects.toThrow('another repository');
  expect(scene.target.store.callsOf('write')).toEqual([]);
});

describe('uploads below the base path, at the end of a run', () => {
  const begun = async (scene: Scene, key: string, isNoted: boolean) => {
    const uploadId = await scene.target.store.uploads.begin(`to/${key}`, NEVER);
    if (isNoted) scene.uploads.note({ file: key, key, uploadId, partBytes: 1, parts: [] }, false);
    return { key: `to/${key}`, uploadId };
  };
  const unfinished = (scene: Scene) => scene.target.store.uploads.unfinished('', NEVER);

  test('are aborted where an earlier run of ours noted them, and where their blob is proved to be there', async () => {
    const scene = new Scene();
    await begun(scene, '__ours', true);
    await begun(scene, 'index.latest', false);
    await scene.run(await scene.whole());
    expect(await unfinished(scene)).toEqual([]);
  });

  test('are left alone where another run that is alive holds them, or nobody knows whose they are', async () => {
    const scene = new Scene();
    const held = await begun(scene, '__held', true);
    const proved = await begun(scene, 'index.latest', false);
    scene.uploads.heldByOthers.add(held.uploadId).add(proved.uploadId);
    const strangers = await begun(scene, '__strangers', false);
    await scene.run(await scene.whole());
    expect(await unfinished(scene)).toEqual([held, proved, strangers]);
  });

  test.each([
    ['the store does not list them', () => Promise.resolve(undefined)],
    [
      'these credentials may not list them',
      () => Promise.reject(new ConfigurationError('The store denies access.', { subject: { status: 403 } })),
    ],
  ])('are aborted by what was noted where %s', async (_, answer) => {
    const scene = new Scene();
    const listing = jest.spyOn(scene.target.store.uploads, 'unfinished').mockImplementation(answer);
    scene.source.store.put('from/large', randomBytes(17 * 1024 * 1024));
    await begun(scene, '__ours', true);
    await scene.run(await scene.whole());
    listing.mockRestore();
    expect(await unfinished(scene)).toEqual([]);
  });
});

describe('a run that is killed between what the store did and its note of it sends nothing twice:', () => {
  const LARGE = 17 * 1024 * 1024;
  const large = (scene: Scene) => {
    const bytes = randomBytes(LARGE);
    scene.source.store.put('from/large', bytes);
    return bytes;
  };
  /** Ends the first run when the upload is completed, before its proof is kept. */
  const killed = async (scene: Scene) => {
    const complete = scene.target.store.uploads.complete.bind(scene.target.store.uploads);
    const kill = jest.spyOn(scene.target.store.uploads, 'complete').mockImplementation(async (...args) => {
      await complete(...args);
      throw new Error('killed');
    });
    await expect(scene.run(await scene.whole())).rejects.toThrow('killed');
    kill.mockRestore();
  };

  test.each([
    ['CRC32 of the whole', (body: Buffer) => [showCrc32(crc32(body))], 0],
    ['CRC64 of the whole', async (body: Buffer) => [showCrc64(await crc64([body]))], 0],
    ['nothing, so it is read back', undefined, 3],
  ])('the store tells %s', async (_, keeps, reads) => {
    const scene = new Scene(RECORDING, { md5Etags: false, ...(keeps && { keeps }) });
    const bytes = large(scene);
    await killed(scene);
    const sent = scene.target.store.callsOf('part').length;
    expect(sent).toBe(3);
    scene.target.store.calls.length = 0;
    await scene.run(await scene.whole());
    expect(scene.copied.get('large')!.equals(bytes)).toBe(true);
    expect(scene.target.store.callsOf('part')).toEqual([]);
    expect(scene.target.store.callsOf('read').filter((call) => call.endsWith('large'))).toHaveLength(reads);
    expect((await scene.whole()).send.blobs).toBe(0);
  });

  test('but what was put there by others meanwhile, of the same length, is sent', async () => {
    const scene = new Scene(RECORDING, { md5Etags: false });
    const bytes = large(scene);
    await killed(scene);
    scene.target.store.put('to/large', randomBytes(LARGE));
    await scene.run(await scene.whole());
    expect(scene.copied.get('large')!.equals(bytes)).toBe(true);
  });

  test('a snapshot, whose manifest says what the bytes are, needs no note at all', async () => {
    const scene = new Scene(RECORDING, { keeps: (body) => [showCrc32(crc32(body))] });
    const name = await newestSnapshot();
    await scene.run(await scene.snapshot(name));
    scene.proofs.clear();
    scene.target.store.calls.length = 0;
    await scene.run(await scene.snapshot(name));
    const blobs = scene.target.store.callsOf('write').filter((call) => /\/__/.test(call));
    expect(blobs).toEqual([]);
    expect(scene.target.store.callsOf('read').filter((call) => /\/__/.test(call))).toEqual([]);
  });
});
