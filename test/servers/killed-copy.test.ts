/** A copy that ends between what the store did and the note of it: the next one sends nothing of that blob again. */
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { copy } from '../../src/cli/copy';
import { openDirectory, openOss } from '../../src/storage';
import { startOss } from '../../stack';
import type { OssServer } from '../../stack';
import { newBucket, OSS_KEYS } from '../support/oss';

const LENGTH = 20 * 1024 * 1024;

let root: string;
let server: OssServer;
beforeAll(async () => {
  root = await mkdtemp(path.join(tmpdir(), 'snapferry-killed-copy-'));
  await mkdir(path.join(root, 'buckets'));
  await mkdir(path.join(root, 'from'));
  server = await startOss({ root: path.join(root, 'buckets'), ...OSS_KEYS });
});
afterAll(async () => {
  await server?.stop();
  await rm(root, { recursive: true, force: true });
});

test.each(['whose answer is lost', 'that is not answered before the run is ended'])(
  'a completed upload %s is proved by the store and sent once',
  async (when) => {
    const bytes = randomBytes(LENGTH);
    await writeFile(path.join(root, 'from/large'), bytes);
    const bucket = newBucket(path.join(root, 'buckets'));
    const { accessKeyId, secretAccessKey: accessKeySecret, region } = OSS_KEYS;
    const credentials = async () => ({ accessKeyId, accessKeySecret });
    const store = openOss({ bucket, region, endpoint: server.endpoint, credentials });
    const command = {
      source: { store: openDirectory(path.join(root, 'from')), basePath: '' },
      target: { store, basePath: 'to' },
      dryRun: false,
      evidence: path.join(root, `${bucket}.jsonl`),
      again: 'again',
    };
    const sent = async () => (await server.traffic())['UploadPart']?.bytesIn ?? 0;
    const silent = { out: () => undefined, err: () => undefined };
    const run = (signal: AbortSignal) => copy(command, silent, signal);
    const before = await sent();

    const isEnded = when.includes('ended');
    const then = isEnded ? ({ do: 'hang', of: 'response', afterBytes: 0 } as const) : ({ do: 'lose-reply' } as const);
    await server.setFaults([{ on: { operation: 'CompleteMultipartUpload' }, then }]);
    const ending = new AbortController();
    const first = run(ending.signal);
    if (isEnded) {
      const file = path.join(root, 'buckets', bucket, 'to/large');
      while ((await stat(file).catch(() => undefined))?.size !== LENGTH) await sleep(5);
      ending.abort(new Error('interrupted'));
      await expect(first).rejects.toThrow('interrupted');
    }
    await first.catch(() => undefined);
    await run(new AbortController().signal);

    expect((await sent()) - before).toBe(LENGTH);
    const arrived = await readFile(path.join(root, 'buckets', bucket, 'to/large'));
    expect(arrived.equals(bytes)).toBe(true);
    expect(await store.uploads.unfinished('', new AbortController().signal)).toEqual([]);
  },
);
