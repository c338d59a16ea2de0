/** A disk that fills up under a copy: a real one, small, in memory. To mount it the tests need root, as the nodes do. */
import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { copy } from '../../src/cli/copy';
import type { CopyCommand } from '../../src/cli/copy';
import { openDirectory, openOss } from '../../src/storage';
import { startOss } from '../../stack';
import { newBucket, OSS_KEYS } from '../support/oss';

const run = promisify(execFile);
const MIB = 1024 * 1024;
/** In parts and in one piece; together more than the disk holds. */
const SIZES = { 'indices/a/0/__0': 20 * MIB, 'indices/a/0/__1': 9 * MIB, 'indices/a/0/__2': 3 * MIB, notes: 100 };

let folder: string;
let disk: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'snapferry-full-'));
  disk = path.join(folder, 'disk');
  await mkdir(disk);
  for (const [key, size] of Object.entries(SIZES)) {
    await mkdir(path.dirname(path.join(folder, 'from', key)), { recursive: true });
    await writeFile(path.join(folder, 'from', key), randomBytes(size));
  }
  await run('mount', ['-t', 'tmpfs', '-o', 'size=16m,mode=777', 'tmpfs', disk]);
});
afterEach(async () => {
  await run('umount', ['-l', disk]);
  await rm(folder, { recursive: true });
});

/** Copies, makes room once it was told twice of each large blob what it lacks, and waits for the end. */
async function copyWithRoomMadeLater(target: CopyCommand['target']): Promise<string[]> {
  const said: string[] = [];
  const source = { store: openDirectory(path.join(folder, 'from')), basePath: '' };
  const command = { source, target, again: '', dryRun: false, evidence: path.join(folder, 'evidence.jsonl') };
  let isEnlarged = false;
  const err = (line: string) => {
    said.push(line);
    if (isEnlarged || said.length < 4) return;
    isEnlarged = true;
    void run('mount', ['-o', 'remount,size=100m', disk]);
  };
  await copy(command, { out: () => undefined, err }, new AbortController().signal);
  return said;
}

async function digests(root: string): Promise<Record<string, string>> {
  const of = async (key: string) =>
    createHash('md5')
      .update(await readFile(path.join(root, key)))
      .digest('hex');
  return Object.fromEntries(await Promise.all(Object.keys(SIZES).map(async (key) => [key, await of(key)])));
}

test('a directory: it says so, keeps no half of what failed, and ends well when there is room', async () => {
  const said = await copyWithRoomMadeLater({ store: openDirectory(disk), basePath: '' });
  expect(said[0]).toMatch(
    /^again in .*: The disk is full: make room\. \[store=dir:.*, key=indices\/a\/0\/__\d, code=ENOSPC\]$/,
  );
  expect(await digests(disk)).toEqual(await digests(path.join(folder, 'from')));
  expect(await readdir(path.join(disk, '.snapferry-tmp'), { recursive: true })).toEqual(['uploads']);
});

test('an OSS server whose disk is full: the copy waits, and ends well when there is room', async () => {
  const server = await startOss({ root: disk, ...OSS_KEYS });
  try {
    const bucket = newBucket(disk);
    const { region, accessKeyId, secretAccessKey } = OSS_KEYS;
    const credentials = async () => ({ accessKeyId, accessKeySecret: secretAccessKey });
    const store = openOss({ bucket, region, endpoint: server.endpoint, credentials });
    const said = await copyWithRoomMadeLater({ store, basePath: '' });
    expect(said[0]).toMatch(/^again in .*key=indices\/a\/0\/__\d/);
    expect(await digests(path.join(disk, bucket))).toEqual(await digests(path.join(folder, 'from')));
    expect(await readdir(path.join(disk, '.oss/uploads'))).toEqual([]);
    expect(await readdir(path.join(disk, '.oss/staging'))).toEqual([]);
  } finally {
    await server.stop();
  }
});
