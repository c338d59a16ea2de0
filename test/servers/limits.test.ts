/** A transfer that runs is slowed down and speeds up when its limits change, without a restart. Directory to S3. */
import { randomBytes, randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { WorkKeys } from '../../src/domain/names';
import { LiveLimits } from '../../src/steps/limits';
import { copyFile, crc32, Engine, inParallel, openDirectory, openS3, payload } from '../../src/storage';
import type { Pace } from '../../src/storage';
import { testServers } from '../support/temporal';

const NEVER = new AbortController().signal;
const EVERY_MS = 100;
const BLOB_BYTES = 256 * 1024;
const BLOBS = 200;
const SLOW = 100 * 1024;

let folder: string;
beforeAll(async () => void (folder = await mkdtemp(path.join(tmpdir(), 'snapferry-limits-'))));
afterAll(() => rm(folder, { recursive: true, force: true }));

async function places() {
  const { s3, buckets } = testServers();
  const bucket = `limits-${randomUUID()}`;
  await mkdir(path.join(buckets, bucket));
  const { endpoint, ...keys } = s3;
  const credentials = async () => keys;
  const target = openS3({ bucket, region: 'us-east-1', endpoint, pathStyle: true, credentials });
  const source = openDirectory(folder);
  const content = randomBytes(BLOB_BYTES - 8);
  const footer = Buffer.alloc(8);
  footer.writeUInt32BE(crc32(content), 4);
  const body = payload(Buffer.concat([content, footer]));
  const blobs = Array.from({ length: BLOBS }, (_, n) => ({
    key: `__${n}`,
    length: BLOB_BYTES,
    crc32: crc32(content),
    phase: 'data' as const,
  }));
  for (const { key } of blobs) await source.write(key, body, {}, NEVER);
  return { source, target, blobs };
}

/** What the pace let pass, counted. */
function counted(pace: Pick<Pace, 'take'>, passed: { bytes: number }): Pick<Pace, 'take'> {
  return {
    take: async (bytes, requests, signal) => {
      await pace.take(bytes, requests, signal);
      passed.bytes += bytes;
    },
  };
}

test('limits that are written while a transfer runs slow it down, and speed it up when they are lifted', async () => {
  const { source, target, blobs } = await places();
  const keys = new WorkKeys('work/run-1');
  const put = (limits: object) => target.write(keys.limits, payload(Buffer.from(JSON.stringify(limits))), {}, NEVER);
  await put({ bytesPerSecond: SLOW });
  let reads = 0;
  const watched = Object.assign(Object.create(target) as typeof target, {
    read: (...args: Parameters<typeof target.read>) => target.read(...args).finally(() => (reads += 1)),
  });
  const readTwice = async () => {
    for (const until = reads + 2; reads < until;) await sleep(5);
  };
  const passed = { bytes: 0 };
  const migration = { targetStore: watched, keys, plan: { limits: {} } };
  const engine = new Engine();
  const copying = new LiveLimits(EVERY_MS).during(migration, { signal: NEVER, waiting: () => undefined }, (pace) =>
    inParallel(blobs, 4, NEVER, async (blob, signal) => {
      const options = { signal, progress: () => undefined, onCursor: () => undefined, pace: counted(pace, passed) };
      await copyFile(
        engine,
        { store: source, basePath: '' },
        { store: target, basePath: 'to' },
        { blobs: [blob] },
        options,
      );
    }),
  );
  /** Bytes that passed from one reading of the limits to another, against what may pass in that time. */
  const overASecond = async () => {
    const [from, bytes] = [performance.now(), passed.bytes];
    while (performance.now() - from < 1_500) await readTwice();
    return { bytes: passed.bytes - bytes, seconds: (performance.now() - from) / 1000 };
  };

  const slow = await overASecond();
  // A blob is let pass as a whole, and waited for by the next one.
  expect(slow.bytes).toBeLessThanOrEqual(SLOW * (slow.seconds + 0.25) + BLOB_BYTES);
  await put({ bytesPerSecond: 10 * 1024 * 1024 });
  await readTwice();
  while (passed.bytes < 10 * BLOB_BYTES) await sleep(5);
  await put({ bytesPerSecond: SLOW });
  await readTwice();
  const slowAgain = await overASecond();
  expect(slowAgain.bytes).toBeLessThanOrEqual(SLOW * (slowAgain.seconds + 0.25) + BLOB_BYTES);
  expect(passed.bytes).toBeLessThan(BLOBS * BLOB_BYTES);
  await put({});
  // Under the limit before it would take eight minutes.
  await copying;
  expect(passed.bytes).toBe(BLOBS * BLOB_BYTES);
  for (const { key } of blobs) expect((await target.head(`to/${key}`, NEVER))?.length).toBe(BLOB_BYTES);
});
