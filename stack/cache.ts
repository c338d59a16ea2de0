// What is built or unpacked once and kept outside the checkout, keyed by name and version.
// A folder that stands under its final name is complete: it is filled under another name and renamed.
import { randomUUID } from 'node:crypto';
import { existsSync, rmSync } from 'node:fs';
import { mkdir, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { homedir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { say } from './tools';

/** The holder touches its lock this often ... */
const LOCK_TOUCH_MS = 2_000;
/** ... and one that was not touched for this long belonged to a process that is gone. */
const LOCK_STALE_MS = 20_000;
const LOCK_POLL_MS = 250;

export interface Installation {
  readonly name: string;
  readonly version: string;
  /** A file that a complete installation has, relative to its folder. */
  readonly proof: string;
  /** Fills an empty folder; logs of tools go to `<folder>.log`. */
  readonly install: (folder: string) => Promise<void>;
}

/** `SNAPFERRY_CACHE`, else `snapferry` in the user's cache folder. */
export function cacheRoot(): string {
  const chosen = process.env.SNAPFERRY_CACHE;
  if (chosen !== undefined && chosen !== '') return path.resolve(chosen);
  const xdg = process.env.XDG_CACHE_HOME;
  return path.join(xdg !== undefined && xdg !== '' ? xdg : path.join(homedir(), '.cache'), 'snapferry');
}

/** Folder of the installation; made on first use, by exactly one of the processes that ask at the same time. */
export async function installed(what: Installation): Promise<string> {
  const folder = path.join(cacheRoot(), `${what.name}-${what.version}`);
  if (isComplete(folder, what)) return folder;
  await mkdir(cacheRoot(), { recursive: true });
  await withLock(`${folder}.lock`, async () => {
    if (!isComplete(folder, what)) await fill(folder, what);
  });
  return folder;
}

function isComplete(folder: string, what: Installation): boolean {
  return existsSync(path.join(folder, what.proof));
}

async function fill(folder: string, what: Installation): Promise<void> {
  await removePartial(folder);
  const scratch = `${folder}.partial-${randomUUID()}`;
  say(`installing ${what.name} ${what.version} into ${folder} (first use only)`);
  const began = Date.now();
  try {
    await mkdir(scratch);
    await what.install(scratch);
    if (!isComplete(scratch, what)) {
      throw new Error(`Installing ${what.name} ${what.version} left no ${what.proof}; see ${scratch}.log`);
    }
    await rm(folder, { recursive: true, force: true }); // a folder without its proof is nobody's installation
    await rename(scratch, folder);
    await rm(`${scratch}.log`, { force: true });
  } catch (error) {
    await rm(scratch, { recursive: true, force: true });
    throw error;
  }
  say(`installed ${what.name} ${what.version} in ${Math.round((Date.now() - began) / 1000)} s`);
}

/** What an interrupted installation left: under the lock it is nobody's. */
async function removePartial(folder: string): Promise<void> {
  const left = (await readdir(cacheRoot())).filter((name) => name.startsWith(`${path.basename(folder)}.partial-`));
  for (const name of left) await rm(path.join(cacheRoot(), name), { recursive: true, force: true });
}

async function withLock(lock: string, action: () => Promise<void>): Promise<void> {
  await takeLock(lock);
  const touching = setInterval(() => {
    const now = new Date();
    utimes(lock, now, now).catch(() => undefined); // stolen while we slept: the rename still keeps folders whole
  }, LOCK_TOUCH_MS);
  const release = () => rmSync(lock, { recursive: true, force: true });
  process.once('exit', release); // also after Ctrl-C, so that the next one need not wait for the lock to grow stale
  try {
    await action();
  } finally {
    clearInterval(touching);
    process.off('exit', release);
    release();
  }
}

async function takeLock(lock: string): Promise<void> {
  for (let waited = false; !(await isTaken(lock)); waited = true) {
    if (!waited) say(`waiting for another process that installs ${path.basename(lock, '.lock')}`);
    if (await isStale(lock)) await rm(lock, { recursive: true, force: true });
    await sleep(LOCK_POLL_MS);
  }
}

/** mkdir is the one call that exactly one of two processes can succeed in. */
async function isTaken(lock: string): Promise<boolean> {
  try {
    await mkdir(lock);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

async function isStale(lock: string): Promise<boolean> {
  const found = await stat(lock).catch(() => undefined); // released meanwhile: not stale, the next mkdir decides
  return found !== undefined && Date.now() - found.mtimeMs > LOCK_STALE_MS;
}
