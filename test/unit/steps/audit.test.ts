import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { ConfigurationError } from '../../../src/domain/errors';
import { audit } from '../../../src/steps/audit';
import type { AuditLine } from '../../../src/steps/audit';
import { expectProofs, expectRound, expectSnapshots, expectWhole } from '../../../src/steps/audit-expected';
import type { AuditPlan } from '../../../src/steps/audit-expected';
import { planSnapshot, planWhole, runMirror } from '../../../src/steps/mirror';
import type { MirrorProof } from '../../../src/steps/mirror';
import { crc32, crc64, Engine, openDirectory, showCrc32, showCrc64 } from '../../../src/storage';
import type { Store } from '../../../src/storage';
import { inPages, Listing } from '../../../src/storage/listing';
import { MemoryStore } from '../../support/memory-store';
import { fixture, repositoryOf } from '../repository/fixtures';
import { Recorded } from './recorded';
import { UploadNotesInMemory } from '../../support/upload-notes';

const NEVER = new AbortController().signal;
const RECORDING = '6.8.23-rounds';

const KEEPS = {
  crc32: (body: Buffer) => [showCrc32(crc32(body))],
  crc64: async (body: Buffer) => [showCrc64(await crc64([body]))],
  md5: (body: Buffer) => [`md5:${createHash('md5').update(body).digest('hex')}`],
  nothing: () => [],
};

async function linesOf(plan: AuditPlan, deep = false): Promise<AuditLine[]> {
  const lines: AuditLine[] = [];
  for await (const line of audit(new Engine(), plan.subject, { deep, signal: NEVER })) lines.push(line);
  return lines;
}

const faults = (lines: readonly AuditLine[]) => lines.filter(({ sign }) => sign !== '=');
const proofsIn = (lines: readonly AuditLine[]) => [...new Set(lines.map(({ proof }) => proof))].sort();

/** A recorded repository below `from/`, and its copy below `to/` of a store that keeps checksums of some kind. */
class Scene {
  readonly source: { store: MemoryStore; basePath: string };
  readonly target: { store: MemoryStore; basePath: string };
  readonly proofs = new Map<string, MirrorProof>();
  snapshot = '';
  generation = 0;

  constructor(keeps: keyof typeof KEEPS, sourceKeeps: keyof typeof KEEPS = 'nothing', md5Etags = false) {
    const options = (kept: keyof typeof KEEPS) => ({ md5Etags, keeps: KEEPS[kept] });
    this.source = { store: new MemoryStore('source', options(sourceKeeps)), basePath: 'from' };
    this.target = { store: new MemoryStore('target', options(keeps)), basePath: 'to' };
  }

  async copied(recording = RECORDING): Promise<this> {
    for (const [key, bytes] of fixture(recording)) this.source.store.put(`from/${key}`, bytes);
    const repository = await repositoryOf(fixture(recording));
    this.snapshot = repository.snapshots.at(-1)!.name;
    this.generation = repository.generation;
    const plan = await planSnapshot(this.source, this.target, this.snapshot, this.proofs, NEVER);
    await this.#run(plan);
    return this;
  }

  async copiedWhole(): Promise<this> {
    await this.copied();
    await this.copyWhole();
    return this;
  }

  async copyWhole(): Promise<void> {
    await this.#run(await planWhole(this.source, this.target, new Map(), NEVER));
  }

  #run(plan: Parameters<typeof runMirror>[3]): Promise<void> {
    const proved = (proof: MirrorProof) => this.proofs.set(proof.key, proof);
    const uploads = new UploadNotesInMemory(this.proofs);
    const run = { signal: NEVER, progress: () => undefined, retrying: () => undefined, proved, uploads };
    return runMirror(new Engine(), this.source, this.target, plan, run);
  }

  /** `proofs`: what the copy wrote down; none of it by default. */
  audit(deep = false, proofs: ReadonlyMap<string, MirrorProof> = new Map()): Promise<AuditLine[]> {
    return expectSnapshots(this.source, this.target, this.snapshot, proofs, NEVER).then((plan) => linesOf(plan, deep));
  }

  async auditWhole(deep = false): Promise<AuditLine[]> {
    return linesOf(await expectWhole(this.source, this.target, new Map(), NEVER), deep);
  }

  get blobs(): Map<string, Buffer> {
    return this.target.store.blobs;
  }

  /** Of the target: a data blob with something in it. */
  get dataKey(): string {
    return [...this.blobs.keys()].filter((key) => /\/__/.test(key)).find((key) => this.blobs.get(key)!.length > 200)!;
  }
}

const relative = (key: string) => key.slice('to/'.length);
const flipped = (body: Buffer) => {
  const copy = Buffer.from(body);
  copy[copy.length >> 1]! ^= 1;
  return copy;
};

describe('a copied snapshot is audited', () => {
  test.each([
    ['crc32', 'nothing', ['crc32']],
    ['md5', 'md5', ['md5']],
    ['crc64', 'crc64', ['crc64']],
    ['crc64', 'nothing', ['bytes', 'length']],
    ['md5', 'crc64', ['bytes', 'length']],
    ['nothing', 'nothing', ['bytes', 'length']],
  ] as const)('target keeps %s, source %s: every blob is whole, by %j', async (keeps, sourceKeeps, by) => {
    const scene = await new Scene(keeps, sourceKeeps).copied();
    const lines = await scene.audit();
    expect(faults(lines)).toEqual([]);
    expect(lines.map(({ key }) => `to/${key}`)).toEqual([...scene.blobs.keys()].sort());
    expect(proofsIn(lines)).toEqual(by);
  });

  test('no blob of data is read where the store tells its checksum, and none that it does not tell is called proved', async () => {
    const told = await new Scene('crc32').copied();
    told.target.store.calls.length = 0;
    await told.audit();
    expect(told.target.store.callsOf('read').filter((call) => !/index-\d+$/.test(call))).toEqual([]);
    const silent = await new Scene('nothing').copied();
    const data = (await silent.audit()).filter(({ key }) => /\/__/.test(key));
    expect(proofsIn(data)).toEqual(['length']);
  });

  test('what the copy wrote down tells the CRC64 that OSS must answer, and the etag that a blob had', async () => {
    const oss = await new Scene('crc64').copied();
    const proofs = new Map<string, MirrorProof>();
    for (const [key, proof] of oss.proofs) {
      const [checksum] = await KEEPS.crc64(oss.blobs.get(`to/${key}`)!);
      proofs.set(key, { ...proof, checksum });
    }
    expect(proofsIn(await oss.audit(false, proofs))).toEqual(['crc64']);
    const silent = await new Scene('nothing').copied();
    expect(proofsIn(await silent.audit(false, silent.proofs))).toEqual(['etag']);
    const key = silent.dataKey;
    silent.target.store.put(key, silent.blobs.get(key)!);
    const line = (await silent.audit(false, silent.proofs)).find((one) => one.key === relative(key));
    expect(line).toMatchObject({ sign: '=', proof: 'length' });
  });

  test.each([false, true])('deep %s: each kind of damage is found, and only that', async (deep) => {
    const scene = await new Scene('crc32').copied();
    const keys = [...scene.blobs.keys()].filter((key) => scene.blobs.get(key)!.length > 200);
    const [truncated, wrong, gone] = keys as [string, string, string];
    scene.target.store.put(truncated, scene.blobs.get(truncated)!.subarray(0, -1));
    scene.target.store.put(wrong, flipped(scene.blobs.get(wrong)!));
    scene.blobs.delete(gone);
    scene.target.store.put('to/indices/stray', Buffer.from('x'));
    scene.target.store.put(`to/index-${scene.generation - 1}`, Buffer.from('{}'));
    const expected = [
      [truncated, '*', 'bytes, holds'],
      [wrong, '*', 'expected crc32:'],
      [gone, '-', 'not in the target'],
      ['to/indices/stray', '+', 'belongs to nothing'],
      [`to/index-${scene.generation - 1}`, '+', 'of another generation'],
    ];
    const found = faults(await scene.audit(deep));
    expect(found.map(({ key, sign }) => [`to/${key}`, sign]).sort()).toEqual(
      expected.map(([key, sign]) => [key, sign]).sort(),
    );
    for (const [key, , why] of expected) expect(found.find((one) => `to/${one.key}` === key)!.why).toContain(why);
  });

  test('a bit that rotted in the store, which still tells the old checksum, is found by reading', async () => {
    const scene = await new Scene('crc32').copied();
    const key = scene.dataKey;
    scene.target.store.rot(key);
    expect(faults(await scene.audit())).toEqual([]);
    expect(faults(await scene.audit(true))).toEqual([
      expect.objectContaining({ sign: '*', key: relative(key), why: expect.stringMatching(/^expected crc32:.*holds/) }),
    ]);
  });

  test('a newer generation than the source has is a fault: readers would follow it', async () => {
    const scene = await new Scene('crc32').copied();
    scene.target.store.put(`to/index-${scene.generation + 1}`, Buffer.from('{}'));
    expect(faults(await scene.audit())).toEqual([
      expect.objectContaining({
        sign: '*',
        key: `index-${scene.generation + 1}`,
        why: expect.stringContaining('newer'),
      }),
    ]);
  });

  test('what other snapshots in the target need belongs to them', async () => {
    const scene = await new Scene('crc32').copiedWhole();
    const lines = await scene.audit();
    expect(faults(lines)).toMatchObject([{ sign: '+', key: 'index-2', why: 'of another generation' }]);
    expect(lines.length).toBeLessThan(scene.blobs.size);
    const every = await linesOf(await expectSnapshots(scene.source, scene.target, undefined, new Map(), NEVER));
    expect(every.length).toBeGreaterThan(lines.length);
    expect(faults(every).filter(({ sign }) => sign !== '+')).toEqual([]);
  });

  test('a blob that can not be read is a line that says why, and the others are looked at', async () => {
    const scene = await new Scene('nothing').copied();
    scene.target.store.inject({ call: 'read', nth: 3, effect: 'forbidden' });
    const lines = await scene.audit(true);
    expect(lines).toHaveLength(scene.blobs.size);
    expect(faults(lines)).toEqual([
      expect.objectContaining({ sign: '!', why: expect.stringContaining('denies access') }),
    ]);
  });

  test('a store that does not answer for a moment is asked again', async () => {
    const scene = await new Scene('crc32').copied();
    scene.target.store.inject({ call: 'head', nth: 3, effect: 'unavailable' });
    expect(faults(await scene.audit())).toEqual([]);
  });

  test('a snapshot or a repository that is not there is told', async () => {
    const scene = await new Scene('crc32').copied();
    scene.snapshot = 'other';
    await expect(scene.audit()).rejects.toThrow(`There is no snapshot 'other'`);
    await expect(
      expectSnapshots({ ...scene.source, basePath: 'nowhere' }, scene.target, undefined, new Map(), NEVER),
    ).rejects.toThrow(ConfigurationError);
  });
});

test.each([RECORDING, '7.10.2-chunked'])(
  '%s: what a copy of the whole prefix proved, proves the snapshots in it, to the audit and to the next copy',
  async (recording) => {
    const scene = await new Scene('crc64').copied(recording);
    scene.blobs.clear();
    scene.proofs.clear();
    await scene.copyWhole();
    const lines = await scene.audit(false, scene.proofs);
    expect(faults(lines).filter(({ sign }) => sign !== '+')).toEqual([]);
    expect(proofsIn(lines.filter(({ sign }) => sign === '='))).toEqual(['etag']);
    expect(proofsIn(await scene.audit())).toContain('length');
    const { send } = await planSnapshot(scene.source, scene.target, scene.snapshot, scene.proofs, NEVER);
    expect(send.blobs).toBe(0);
  },
);

test('equal etags that are MD5s prove what the stores have no checksum in common for', async () => {
  const scene = await new Scene('crc64', 'crc32', true).copied();
  expect(proofsIn(await scene.audit())).toEqual(['md5']);
  const wrong = scene.dataKey;
  scene.target.store.put(wrong, flipped(scene.blobs.get(wrong)!));
  expect(proofsIn(await scene.audit())).toEqual(['length', 'md5']);
});

describe('a Lucene file that was cut into chunks', () => {
  const chunksOf = (scene: Scene) => [...scene.blobs.keys()].filter((key) => /\.part\d+$/.test(key));

  test.each([
    ['crc32', false, 'crc32'],
    ['nothing', true, 'bytes'],
    ['nothing', false, 'length'],
  ] as const)('target keeps %s, deep %s: is whole by %s of its chunks together', async (keeps, deep, proof) => {
    const scene = await new Scene(keeps).copied('7.10.2-chunked');
    expect(chunksOf(scene).length).toBeGreaterThan(2);
    const lines = await scene.audit(deep);
    expect(faults(lines)).toEqual([]);
    expect(proofsIn(lines.filter(({ key }) => /\.part\d+$/.test(key)))).toEqual([proof]);
  });

  test.each([
    ['crc32', false],
    ['nothing', true],
  ] as const)('target keeps %s, deep %s: one bit in one chunk tells on all of them', async (keeps, deep) => {
    const scene = await new Scene(keeps).copied('7.10.2-chunked');
    const wrong = chunksOf(scene)[1]!;
    scene.target.store.put(wrong, flipped(scene.blobs.get(wrong)!));
    const file = wrong.slice(0, wrong.lastIndexOf('.part'));
    const found = faults(await scene.audit(deep));
    expect(found.map(({ key }) => `to/${key}`)).toEqual(
      chunksOf(scene)
        .filter((key) => key.startsWith(`${file}.part`))
        .sort(),
    );
    expect(new Set(found.map(({ sign }) => sign))).toEqual(new Set(['*']));
    expect(found[0]!.why).toContain('the chunks of');
  });

  test('where one chunk is missing the others are not called proved by it', async () => {
    const scene = await new Scene('crc32').copied('7.10.2-chunked');
    const gone = chunksOf(scene)[0]!;
    const file = gone.slice(0, gone.lastIndexOf('.part'));
    scene.blobs.delete(gone);
    const lines = (await scene.audit()).filter(({ key }) => `to/${key}`.startsWith(`${file}.part`));
    expect(lines.map(({ sign, proof }) => [sign, proof]).sort()).toEqual([
      ['-', undefined],
      ...lines.slice(1).map(() => ['=', 'length']),
    ]);
  });
});

describe('a whole prefix is audited', () => {
  test('by what the stores say of both sides', async () => {
    const scene = await new Scene('crc64', 'crc64').copiedWhole();
    const lines = await scene.auditWhole();
    expect([faults(lines), proofsIn(lines)]).toEqual([[], ['crc64']]);
    scene.target.store.put(scene.dataKey, flipped(scene.blobs.get(scene.dataKey)!));
    expect(faults(await scene.auditWhole())).toMatchObject([{ sign: '*', key: relative(scene.dataKey) }]);
  });

  test('by etags that are the same MD5, without one request for a blob', async () => {
    const [source, target] = ['source', 'target'].map((name) => ({ store: new MemoryStore(name), basePath: '' }));
    for (const key of ['a', 'b']) for (const place of [source!, target!]) place.store.put(key, Buffer.from(key));
    target!.store.put('b', Buffer.from('c'));
    const lines = await linesOf(await expectWhole(source!, target!, new Map(), NEVER));
    expect(lines).toMatchObject([
      { sign: '=', proof: 'md5', key: 'a' },
      { sign: '=', proof: 'length', key: 'b' },
    ]);
    expect([...target!.store.callsOf('read'), ...target!.store.callsOf('head')]).toEqual([]);
    expect(faults(await linesOf(await expectWhole(source!, target!, new Map(), NEVER), true))).toMatchObject([
      { sign: '*', key: 'b' },
    ]);
  });

  test('as many blobs as there may be pass through without being kept', async () => {
    const place = (name: string) => ({ store: manyBlobs(name), basePath: '' });
    const plan = await expectWhole(place('source'), place('target'), new Map(), NEVER);
    let seen = 0;
    let most = 0;
    for await (const { sign } of audit(new Engine(), plan.subject, { deep: false, signal: NEVER })) {
      seen += sign === '=' ? 1 : 0;
      most = Math.max(most, listedAhead - seen);
    }
    expect(seen).toBe(MANY);
    expect(most).toBeLessThan(3_000);
  });

  const MANY = 20_000;
  let listedAhead = 0;
  /** Lists blobs that it makes up while it is asked. */
  function manyBlobs(name: string): Store {
    const store: Store = new MemoryStore(name);
    const blobs = async function* (prefix: string) {
      if (prefix !== '') return;
      for (let n = 0; n < MANY; n += 1) {
        if (name === 'target') listedAhead = n;
        yield {
          key: `blobs/${String(n).padStart(9, '0')}`,
          length: n,
          etag: createHash('md5').update(`${n}`).digest('hex'),
        };
      }
    };
    store.list = (prefix) => new Listing(inPages(blobs(prefix)));
    return store;
  }
});

describe('a folder is audited', () => {
  let folder: string;
  beforeEach(() => void (folder = mkdtempSync(path.join(tmpdir(), 'snapferry-audit-'))));
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  test('each kind of damage is found in its files', async () => {
    const [from, to] = ['from', 'to'].map((name) => path.join(folder, name));
    for (const root of [from!, to!]) {
      for (const [key, bytes] of fixture(RECORDING)) {
        mkdirSync(path.dirname(path.join(root, key)), { recursive: true });
        writeFileSync(path.join(root, key), bytes);
      }
    }
    const [source, target] = [from!, to!].map((root) => ({ store: openDirectory(root), basePath: '' }));
    const every = () => expectSnapshots(source!, target!, undefined, new Map(), NEVER);
    const extra = faults(await linesOf(await every(), true));
    expect(extra.map(({ sign }) => sign)).toEqual(extra.map(() => '+'));

    const files = readdirSync(to!, { recursive: true })
      .map(String)
      .filter((key) => /\/__/.test(key))
      .sort();
    const large = files.filter((key) => readFileSync(path.join(to!, key)).length > 200);
    const [gone, short, rotten] = large as [string, string, string];
    rmSync(path.join(to!, gone));
    truncateSync(path.join(to!, short), 10);
    writeFileSync(path.join(to!, rotten), flipped(readFileSync(path.join(to!, rotten))));
    const known = new Set(extra.map(({ key }) => key));
    const found = faults(await linesOf(await every(), true)).filter(({ key }) => !known.has(key));
    expect(found.map(({ sign, key }) => [key, sign]).sort()).toEqual(
      [
        [gone, '-'],
        [short, '*'],
        [rotten, '*'],
      ].sort(),
    );
    const shallow = faults(await linesOf(await every())).filter(({ key }) => !known.has(key));
    expect(shallow.map(({ sign, key }) => [key, sign]).sort()).toEqual(
      [
        [gone, '-'],
        [short, '*'],
      ].sort(),
    );
  });
});

describe('evidence is audited without a source', () => {
  test('what a copy wrote down', async () => {
    const scene = await new Scene('nothing').copied();
    const lines = await linesOf(expectProofs(scene.target, scene.proofs), true);
    expect([faults(lines), lines.length, proofsIn(lines)]).toEqual([[], scene.blobs.size, ['bytes']]);
    scene.target.store.rot(scene.dataKey);
    expect(faults(await linesOf(expectProofs(scene.target, scene.proofs), true))).toMatchObject([
      { sign: '*', key: relative(scene.dataKey) },
    ]);
  });

  async function migrated() {
    const recorded = await Recorded.begin('5.6.16-counter-names-before', 's2');
    const round = await recorded.round(0, '5.6.16-counter-names-before', 's2');
    await round.transfer();
    await round.publish();
    const { to, plan } = { to: recorded.world.to, plan: recorded.migration.plan };
    const place = { store: to, basePath: plan.repository.target.basePath };
    const expected = (n?: number) =>
      expectRound(place, { work: plan.repository.work, ...(n === undefined ? {} : { round: n }) }, NEVER);
    return { recorded, round, to, place, expected };
  }

  test('a round of a migration: still whole, or not any more', async () => {
    const { round, to, expected, recorded } = await migrated();
    recorded.world.from.blobs.clear();
    const plan = await expected();
    expect(plan.notes[0]).toContain('round 0');
    expect(plan.all!.blobs).toBe(round.manifest.blobs.length);
    for (const deep of [false, true]) {
      const lines = await linesOf(await expected(), deep);
      expect([faults(lines), lines.length]).toEqual([[], round.manifest.blobs.length]);
      expect(proofsIn(lines)).not.toContain('length');
    }
    const data = round.manifest.blobs.find(({ phase, length }) => phase === 'data' && length > 200)!;
    to.rot(`to/${data.key}`);
    to.blobs.delete('to/index.latest');
    to.put('to/index-99', randomBytes(9));
    expect(faults(await linesOf(await expected(0), true)).map(({ sign, key }) => [key, sign])).toEqual(
      [
        ['index-99', '*'],
        ['index.latest', '-'],
        [data.key, '*'],
      ].sort(),
    );
  });

  test('an earlier round, whose names a later one used for other bytes, is not whole any more; the later one is', async () => {
    const { recorded, expected } = await migrated();
    recorded.show('5.6.16-counter-names-after');
    const later = await recorded.round(1, '5.6.16-counter-names-after', 's3');
    await later.transfer();
    await later.publish();
    expect(faults(await linesOf(await expected(), true))).toEqual([]);
    expect((await expected()).notes[0]).toContain('round 1');
    const found = faults(await linesOf(await expected(0), true));
    expect(found.length).toBeGreaterThan(0);
    expect(new Set(found.map(({ sign }) => sign))).toEqual(new Set(['*']));
  });

  test('of several migrations to one place, the one that is named', async () => {
    const { recorded, place, to } = await migrated();
    const { migration, keys, plan } = recorded.migration;
    const { work } = plan.repository;
    const other = JSON.parse(to.blobs.get(keys.plan)!.toString()) as object;
    to.put(
      `${work}/run-2/plan.json`,
      Buffer.from(JSON.stringify({ ...other, migration: 'later', firstRunId: 'run-2' })),
    );
    await expect(expectRound(place, { work }, NEVER)).rejects.toThrow(
      /Several migrations.*--migration.*later \(run-2\)/,
    );
    expect((await expectRound(place, { work, migration }, NEVER)).notes[0]).toContain(migration);
    await expect(expectRound(place, { work, migration: 'later' }, NEVER)).rejects.toThrow('published no round');
  });

  test('a round that was not published, a place without a migration, and evidence that was changed are told', async () => {
    const { recorded, place, expected, round, to } = await migrated();
    await expect(expected(3)).rejects.toThrow('round 3 not');
    const { work } = recorded.migration.plan.repository;
    await expect(expectRound({ ...place, basePath: 'elsewhere' }, { work }, NEVER)).rejects.toThrow(
      'No migration wrote to this place',
    );
    await expect(expectRound(place, { work, migration: 'other' }, NEVER)).rejects.toThrow('No migration wrote');
    to.rot(round.keys.volatile(`index-${round.manifest.generation}`));
    await expect(expected()).rejects.toThrow('was changed since');
    const pieces = round.keys.blobs(0);
    to.put(pieces, Buffer.concat([to.blobs.get(pieces)!, Buffer.from('\n')]));
    await expect(expected()).rejects.toThrow('was changed since');
  });
});
