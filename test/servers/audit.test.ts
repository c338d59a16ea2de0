/** What an audit finds in real stores: versitygw, which keeps CRC32 and MD5, and our OSS server, which keeps CRC64. */
import { randomUUID } from 'node:crypto';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { audit } from '../../src/steps/audit';
import type { AuditLine } from '../../src/steps/audit';
import { expectSnapshots } from '../../src/steps/audit-expected';
import { planSnapshot, planWhole, runMirror } from '../../src/steps/mirror';
import type { MirrorProof } from '../../src/steps/mirror';
import { Engine, openDirectory, openOss, openS3, payload } from '../../src/storage';
import type { Store } from '../../src/storage';
import { startOss, startVersitygw } from '../../stack';
import { fixture, repositoryOf } from '../unit/repository/fixtures';
import { UploadNotesInMemory } from '../support/upload-notes';

const NEVER = new AbortController().signal;
const RECORDING = '6.8.23-rounds';
const S3_KEYS = { accessKeyId: 'snapferry', secretAccessKey: 'planted-secret-7f3a' };
const OSS_KEYS = { accessKeyId: 'snapferry', accessKeySecret: 'planted-secret-7f3a' };
const REGION = 'cn-hangzhou';

let folder: string;
const servers: { endpoint: string; stop(): Promise<void> }[] = [];

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'snapferry-audit-'));
  servers.push(await startVersitygw({ root: path.join(folder, 's3'), ...S3_KEYS }));
  await mkdir(path.join(folder, 'oss'));
  const keys = { accessKeyId: OSS_KEYS.accessKeyId, secretAccessKey: OSS_KEYS.accessKeySecret };
  servers.push(await startOss({ root: path.join(folder, 'oss'), region: REGION, ...keys }));
});
afterAll(async () => {
  for (const server of servers) await server.stop();
  await rm(folder, { recursive: true, force: true });
});

interface Place {
  readonly store: Store;
  /** Where the server keeps its files. */
  readonly root: string;
  /** What the store tells of blobs that were sent to it. */
  readonly kind: 'crc32' | 'crc64';
}

async function newPlace(kind: 'S3' | 'OSS'): Promise<Place> {
  const bucket = `b-${randomUUID()}`;
  const root = path.join(folder, kind.toLowerCase(), bucket);
  await mkdir(root);
  const [s3, oss] = servers;
  return kind === 'S3'
    ? {
        store: openS3({
          bucket,
          region: 'us-east-1',
          endpoint: s3!.endpoint,
          pathStyle: true,
          credentials: async () => S3_KEYS,
        }),
        root,
        kind: 'crc32',
      }
    : {
        store: openOss({ bucket, region: REGION, endpoint: oss!.endpoint, credentials: async () => OSS_KEYS }),
        root,
        kind: 'crc64',
      };
}

/** A recorded repository in a folder, and its copy in a bucket. */
async function copied({ store }: Place, isWhole = false) {
  const from = await mkdtemp(path.join(folder, 'from-'));
  for (const [key, bytes] of fixture(RECORDING)) {
    await mkdir(path.dirname(path.join(from, key)), { recursive: true });
    await writeFile(path.join(from, key), bytes);
  }
  const [source, target] = [
    { store: openDirectory(from), basePath: '' },
    { store, basePath: 'to/it' },
  ];
  const { snapshots } = await repositoryOf(fixture(RECORDING));
  const { name } = snapshots.at(-1)!;
  const proofs = new Map<string, MirrorProof>();
  const proved = (proof: MirrorProof) => proofs.set(proof.key, proof);
  const plan = isWhole
    ? await planWhole(source, target, proofs, NEVER)
    : await planSnapshot(source, target, name, proofs, NEVER);
  await runMirror(new Engine(), source, target, plan, {
    signal: NEVER,
    progress: () => undefined,
    retrying: () => undefined,
    proved,
    uploads: new UploadNotesInMemory(proofs),
  });
  const lines = async (deep: boolean, known = proofs, at = store): Promise<AuditLine[]> => {
    const { subject } = await expectSnapshots(source, { ...target, store: at }, name, known, NEVER);
    const all: AuditLine[] = [];
    for await (const line of audit(new Engine(), subject, { deep, signal: NEVER })) all.push(line);
    return all;
  };
  const faults = async (deep: boolean) => {
    const found = (await lines(deep)).filter(({ sign }) => sign !== '=');
    return Object.fromEntries(found.map(({ key, sign }) => [key, sign]));
  };
  const data = [...proofs.keys()].filter((key) => /\/__[^.]+$/.test(key) && fixture(RECORDING).get(key)!.length > 100);
  return { target, proofs, lines, faults, data };
}

const flipped = (body: Buffer) => {
  const copy = Buffer.from(body);
  copy[copy.length >> 1]! ^= 1;
  return copy;
};

describe.each(['S3', 'OSS'] as const)('a repository in %s', (kind) => {
  test('is whole by what the store itself says of each blob', async () => {
    const place = await newPlace(kind);
    const { lines, proofs } = await copied(place);
    const all = await lines(false);
    expect(all.map(({ sign, proof }) => [sign, proof])).toEqual(all.map(() => ['=', place.kind]));
    expect(all.map(({ key }) => key)).toEqual([...proofs.keys()].sort());
    expect((await lines(true)).map(({ sign, proof }) => [sign, proof])).toEqual(all.map(() => ['=', 'bytes']));
  });

  test('is whole by what the store says and a copy of the whole prefix noted', async () => {
    const place = await newPlace(kind);
    const { lines } = await copied(place, true);
    const held = (await lines(false)).filter(({ sign }) => sign !== '+');
    expect(held.map(({ sign, proof }) => [sign, proof])).toEqual(held.map(() => ['=', place.kind]));
  });

  test('shows each kind of damage that came through its door', async () => {
    const { target, faults, data } = await copied(await newPlace(kind));
    const write = (key: string, body: Buffer) => target.store.write(`to/it/${key}`, payload(body), {}, NEVER);
    const [gone, short, wrong] = data as [string, string, string];
    await target.store.delete(`to/it/${gone}`, NEVER);
    await write(short, fixture(RECORDING).get(short)!.subarray(1));
    await write(wrong, flipped(fixture(RECORDING).get(wrong)!));
    await write('indices/stray', Buffer.from('x'));
    await write('index-7', Buffer.from('{}'));
    const expected = { [gone]: '-', [short]: '*', [wrong]: '*', 'indices/stray': '+', 'index-7': '*' };
    for (const deep of [false, true]) expect(await faults(deep)).toEqual(expected);
  });

  test('shows a bit that rotted on its disk to who reads', async () => {
    const place = await newPlace(kind);
    const { faults, data } = await copied(place);
    const [key] = data as [string];
    const file = path.join(place.root, 'to/it', key);
    await writeFile(file, flipped(await readFile(file)));
    expect(await faults(true)).toEqual({ [key]: '*' });
  });

  test('put there by somebody else is never called proved by more than is known', async () => {
    const [place, other] = [await newPlace(kind), await newPlace(kind)];
    const { lines } = await copied(place);
    await cp(path.join(place.root, 'to'), path.join(other.root, 'to'), { recursive: true });
    const all = await lines(false, new Map(), other.store);
    expect(all.filter(({ sign }) => sign !== '=')).toEqual([]);
    const data = all.filter(({ key }) => /\/__/.test(key));
    expect(new Set(data.map(({ proof }) => proof))).toEqual(new Set(['length']));
    expect(new Set(all.filter((line) => !data.includes(line)).map(({ proof }) => proof))).toEqual(new Set(['bytes']));
  });
});
