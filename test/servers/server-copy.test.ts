/** Copies that real stores make by themselves: from bucket to bucket of one versitygw, and of one OSS server. */
import { randomBytes, randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { MigrationError } from '../../src/domain/errors';
import type { ManifestBlob } from '../../src/repository';
import { planSnapshot, planWhole, runMirror } from '../../src/steps/mirror';
import type { MirrorProof } from '../../src/steps/mirror';
import { copyFile, crc32, crc64, Engine, openOss, openS3, payload, showCrc32, showCrc64 } from '../../src/storage';
import type { Store } from '../../src/storage';
import type { OssServer, S3Server } from '../../stack';
import { startOss, startVersitygw } from '../../stack';
import { collect } from '../contract/store';
import { fixture, repositoryOf } from '../unit/repository/fixtures';
import { UploadNotesInMemory } from '../support/upload-notes';

const NEVER = new AbortController().signal;
const MIB = 1024 * 1024;
const S3_KEYS = { accessKeyId: 'snapferry', secretAccessKey: 'planted-secret-7f3a' };
const OSS_KEYS = { accessKeyId: 'snapferry', accessKeySecret: 'planted-secret-7f3a' };
const REGION = 'cn-hangzhou';
const RECORDING = '6.8.23-rounds';

let folder: string;
let s3: S3Server;
let oss: OssServer;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'snapferry-server-copy-'));
  s3 = await startVersitygw({ root: path.join(folder, 's3'), ...S3_KEYS });
  await mkdir(path.join(folder, 'oss'));
  const keys = { accessKeyId: OSS_KEYS.accessKeyId, secretAccessKey: OSS_KEYS.accessKeySecret };
  oss = await startOss({ root: path.join(folder, 'oss'), region: REGION, ...keys });
});
afterAll(async () => {
  await s3?.stop();
  await oss?.stop();
  await rm(folder, { recursive: true, force: true });
});
afterEach(() => oss.setFaults([]));

async function newStore(kind: 'S3' | 'OSS'): Promise<Store> {
  const bucket = `b-${randomUUID()}`;
  await mkdir(path.join(folder, kind.toLowerCase(), bucket));
  if (kind === 'OSS') {
    return openOss({ bucket, region: REGION, endpoint: oss.endpoint, credentials: async () => OSS_KEYS });
  }
  const options = { bucket, region: 'us-east-1', endpoint: s3.endpoint, pathStyle: true };
  return openS3({ ...options, credentials: async () => S3_KEYS });
}

/** Two buckets of one provider; the source holds a Lucene file. `maxCopyBytes`: of one copy by the store. */
async function scene(kind: 'S3' | 'OSS', length: number, maxCopyBytes?: number) {
  const [source, target] = [await newStore(kind), await newStore(kind)];
  const copierFrom = target.copierFrom!.bind(target);
  if (maxCopyBytes !== undefined) target.copierFrom = (from) => ({ ...copierFrom(from)!, maxBytes: maxCopyBytes });
  const content = randomBytes(length - 8);
  const footer = Buffer.alloc(8);
  footer.writeUInt32BE(crc32(content), 4);
  const body = Buffer.concat([content, footer]);
  await source.write('from/__0', payload(body), {}, NEVER);
  const blob: ManifestBlob = { key: '__0', length, crc32: crc32(content), phase: 'data' };
  const reads = jest.spyOn(source, 'read');
  const refusals: MigrationError[] = [];
  const engine = new Engine({ onRefusedRoute: (reason) => void refusals.push(reason) });
  const copy = () => {
    const options = { signal: NEVER, progress: () => undefined, onCursor: () => undefined };
    const [from, to] = [
      { store: source, basePath: 'from' },
      { store: target, basePath: 'to' },
    ];
    return copyFile(engine, from, to, { blobs: [blob] }, options);
  };
  const isCopied = async () => (await collect(target, 'to/__0')).equals(body);
  return { source, target, body, copy, reads, refusals, isCopied };
}

test('versitygw copies a blob, and tells its CRC32', async () => {
  const { body, copy, reads, isCopied, target } = await scene('S3', 3 * MIB);
  const readBack = jest.spyOn(target, 'read');
  const [proof] = await copy();
  expect([proof!.checksum, proof!.crc32]).toEqual([showCrc32(crc32(body)), crc32(body)]);
  expect([reads.mock.calls.length, readBack.mock.calls.length]).toEqual([0, 0]);
  expect(await isCopied()).toBe(true);
});

test('OSS copies a blob, which is read back, and its CRC64 is in the proof', async () => {
  const { body, copy, reads, isCopied, target } = await scene('OSS', 3 * MIB);
  const readBack = jest.spyOn(target, 'read');
  const [proof] = await copy();
  expect([proof!.checksum, proof!.crc32]).toEqual([showCrc64(await crc64([body])), crc32(body)]);
  expect([reads.mock.calls.length, readBack.mock.calls.length]).toEqual([0, 1]);
  expect(await isCopied()).toBe(true);
});

test('OSS copies a large blob in parts', async () => {
  const { body, copy, reads, isCopied, target } = await scene('OSS', 3 * MIB, MIB);
  const [proof] = await copy();
  expect(proof!.checksum).toBe(showCrc64(await crc64([body])));
  expect(reads).not.toHaveBeenCalled();
  expect(await isCopied()).toBe(true);
  expect(await target.uploads.unfinished('', NEVER)).toEqual([]);
});

test('versitygw keeps a wrong CRC32 of what it made of parts: the bytes are sent in its place', async () => {
  const { body, copy, reads, isCopied, target } = await scene('S3', 12 * MIB, 5 * MIB);
  const [proof] = await copy();
  // When this fails, versitygw sums copied parts rightly, and the reading may go.
  expect(reads).toHaveBeenCalled();
  expect(proof!.checksum).toBe(showCrc32(crc32(body)));
  expect((await target.checksums!('to/__0', NEVER))!.checksums).toContain(showCrc32(crc32(body)));
  expect(await isCopied()).toBe(true);
  expect(await target.uploads.unfinished('', NEVER)).toEqual([]);
});

describe('OSS that does not copy', () => {
  test.each([
    ['AccessDenied', 403],
    ['NotImplemented', 501],
    ['InvalidRequest', 400],
  ])('%s: the bytes pass here, and it is not asked again', async (code, status) => {
    const { body, copy, reads, refusals, isCopied, target } = await scene('OSS', MIB);
    await oss.setFaults([{ on: { operation: 'CopyObject' }, count: 0, then: { do: 'error', code, status } }]);
    const [proof] = await copy();
    expect(proof!.checksum).toBe(showCrc64(await crc64([body])));
    expect(await isCopied()).toBe(true);
    expect(refusals).toMatchObject([{ subject: { code, status } }]);
    await oss.setFaults([]);
    await target.delete('to/__0', NEVER);
    await copy();
    expect(reads).toHaveBeenCalledTimes(2);
    expect(await isCopied()).toBe(true);
  });

  test('what it says: a bit that it loses on its disk is found by reading back, and the bytes pass here', async () => {
    const { copy, reads, isCopied } = await scene('OSS', MIB);
    await oss.setFaults([{ on: { operation: 'CopyObject' }, then: { do: 'flip', of: 'stored', byte: 1_000 } }]);
    await copy();
    expect(reads).toHaveBeenCalledTimes(1);
    expect(await isCopied()).toBe(true);
  });
});

describe.each(['S3', 'OSS'] as const)('a repository in %s is copied inside of it', (kind) => {
  test.each(['snapshot', 'whole'] as const)('as a %s, without reading a blob of data from the source', async (what) => {
    const places = [await newStore(kind), await newStore(kind)].map((store, i) => ({ store, basePath: `place/${i}` }));
    const [source, target] = places as [(typeof places)[0], (typeof places)[0]];
    for (const [key, bytes] of fixture(RECORDING)) {
      await source.store.write(`place/0/${key}`, payload(bytes), {}, NEVER);
    }
    const name = (await repositoryOf(fixture(RECORDING))).snapshots.at(-1)!.name;
    const proofs = new Map<string, MirrorProof>();
    const plan = () =>
      what === 'whole' ? planWhole(source, target, proofs, NEVER) : planSnapshot(source, target, name, proofs, NEVER);
    const first = await plan();
    const reads = jest.spyOn(source.store, 'read');
    await runMirror(new Engine(), source, target, first, {
      signal: NEVER,
      progress: () => undefined,
      retrying: () => undefined,
      proved: (proof) => proofs.set(proof.key, proof),
      uploads: new UploadNotesInMemory(proofs),
    });
    expect(reads.mock.calls.map(([key]) => key).filter((key) => /\/__/.test(key))).toEqual([]);
    const copied = first.phases.flatMap(({ files }) => files.flatMap(({ blobs }) => blobs.map(({ key }) => key)));
    for (const key of copied) {
      expect((await collect(target.store, `place/1/${key}`)).equals(fixture(RECORDING).get(key)!)).toBe(true);
    }
    expect((await plan()).send.blobs).toBe(0);
  });
});
