import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative, sep } from 'node:path';
import { readRepositoryData } from '../../../src/repository';
import type { ReadBlob, RepositoryData } from '../../../src/repository';

/** Recorded by real Elasticsearch nodes: `<writer version>-<what>.tar.gz`, each the root of a repository. */
const FOLDER = join(__dirname, '../../fixtures/repositories');

/** A repository in memory: key to bytes. */
export type Blobs = ReadonlyMap<string, Buffer>;

export interface ExpectedSnapshot {
  readonly uuid: string;
  readonly blobs: number;
  readonly bytes: number;
  readonly dataBlobs: number;
  readonly dataBytes: number;
  readonly virtualFiles: number;
  readonly byKind: Readonly<Record<string, number>>;
  readonly docs: Readonly<Record<string, number>>;
}

export interface Expected {
  readonly writer: string;
  readonly generation: number;
  readonly onDisk: number;
  readonly unreferenced: readonly string[];
  readonly snapshots: Readonly<Record<string, ExpectedSnapshot>>;
}

export const expected = JSON.parse(readFileSync(join(FOLDER, 'expected.json'), 'utf8')) as Record<string, Expected>;
export const fixtureNames = Object.keys(expected).sort();

const loaded = new Map<string, Blobs>();

export function fixture(name: string): Blobs {
  const blobs = loaded.get(name) ?? load(name);
  loaded.set(name, blobs);
  return blobs;
}

function load(name: string): Blobs {
  const folder = mkdtempSync(join(tmpdir(), 'snapferry-'));
  try {
    execFileSync('tar', ['xzf', join(FOLDER, `${name}.tar.gz`), '-C', folder]);
    const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
    const paths = files.map((entry) => join(entry.parentPath, entry.name));
    return new Map(paths.map((path) => [relative(folder, path).split(sep).join('/'), readFileSync(path)]));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

export function reader(blobs: Blobs): ReadBlob {
  return (key) => Promise.resolve(blobs.get(key));
}

export function rootKeys(blobs: Blobs): string[] {
  return [...blobs.keys()].filter((key) => !key.includes('/'));
}

export function repositoryOf(blobs: Blobs): Promise<RepositoryData> {
  return readRepositoryData(rootKeys(blobs), reader(blobs));
}

/** The same repository with some blobs replaced, added or (undefined) taken away. */
export function changed(blobs: Blobs, changes: Readonly<Record<string, Buffer | undefined>>): Blobs {
  const copy = new Map(blobs);
  for (const [key, bytes] of Object.entries(changes)) {
    if (bytes === undefined) copy.delete(key);
    else copy.set(key, bytes);
  }
  return copy;
}
