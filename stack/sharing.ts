// Elasticsearch refuses to run as root, so a stack started by root runs its nodes as a user of their own. Workers and
// versitygw stay root. This file makes folders that both sides read and write.
import { chmod, chown, lstat, mkdir, readdir, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { findCommand, outputOf } from './tools';

const USER = 'snapferry';
/** Everybody writes; what is made inside inherits the group. */
const SHARED_FOLDER_MODE = 0o2777;
const SHARED_FILE_MODE = 0o666;

export interface Account {
  readonly uid: number;
  readonly gid: number;
}

let account: Promise<Account> | undefined;

/** The nodes' user (made on first use) when we are root; undefined when nodes run as ourselves. */
export async function nodeAccount(): Promise<Account | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  account ??= findAccount().then((found) => found ?? createAccount());
  return account;
}

async function findAccount(): Promise<Account | undefined> {
  try {
    const [uid, gid] = await Promise.all([outputOf('id', ['-u', USER]), outputOf('id', ['-g', USER])]);
    return { uid: Number(uid), gid: Number(gid) };
  } catch {
    return undefined; // `id` fails for a user that does not exist
  }
}

async function createAccount(): Promise<Account> {
  let cause: unknown;
  try {
    if (findCommand('useradd') !== undefined) await outputOf('useradd', ['--system', '--user-group', USER]);
    else await outputOf('adduser', ['-S', '-D', '-H', USER]); // busybox
  } catch (error) {
    cause = error; // another process may have made it in the same moment, so look before giving up
  }
  const found = await findAccount();
  if (found !== undefined) return found;
  throw new Error(`Elasticsearch does not run as root, and the user "${USER}" could not be created.`, { cause });
}

/**
 * Makes a folder (created when missing) and all it holds readable and writable for workers and versitygw on one side
 * and the nodes' user on the other. New files of one side are readable for the other; call it again for folders that
 * root makes inside later and a node shall write to.
 */
export async function shareDirectory(folder: string): Promise<void> {
  const absolute = path.resolve(folder);
  await mkdir(absolute, { recursive: true });
  const user = await nodeAccount();
  if (user === undefined) return; // everything runs as one user
  await openAncestors(absolute);
  await openTree(absolute, user);
}

async function openTree(entry: string, user: Account): Promise<void> {
  const found = await lstat(entry);
  if (found.isSymbolicLink()) return; // its target was not given to us
  await chown(entry, found.uid, user.gid);
  if (!found.isDirectory()) {
    await chmod(entry, found.mode | SHARED_FILE_MODE);
    return;
  }
  await chmod(entry, SHARED_FOLDER_MODE);
  for (const name of await readdir(entry)) await openTree(path.join(entry, name), user);
}

/** A folder is reached through all its ancestors. Temporary ones are ours to open, others are their owner's. */
async function openAncestors(folder: string): Promise<void> {
  for (let parent = path.dirname(folder); ; parent = path.dirname(parent)) {
    const { mode } = await stat(parent);
    if ((mode & 0o001) === 0) {
      if (!isInside(parent, tmpdir())) throw new Error(closedAncestor(folder, parent));
      await chmod(parent, mode | 0o011);
    }
    if (parent === path.dirname(parent)) return;
  }
}

function closedAncestor(folder: string, parent: string): string {
  return (
    `The node's user "${USER}" cannot reach ${folder}: ${parent} is closed to other users. ` +
    `Choose a folder elsewhere, for example under ${tmpdir()}, or run: chmod o+x ${parent}`
  );
}

/** Whether a path lies below a folder. */
export function isInside(entry: string, folder: string): boolean {
  const relative = path.relative(folder, entry);
  return relative !== '' && relative !== '..' && !relative.startsWith(`..${path.sep}`) && !path.isAbsolute(relative);
}

/** Whether the nodes' user gets to this path through its ancestors. */
export async function isReachable(entry: string): Promise<boolean> {
  if ((await nodeAccount()) === undefined) return true;
  for (let parent = path.resolve(entry); ; parent = path.dirname(parent)) {
    if (((await stat(parent)).mode & 0o001) === 0) return false;
    if (parent === path.dirname(parent)) return true;
  }
}
