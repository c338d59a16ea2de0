import { formatBytes } from '../domain/durations';
import { ConfigurationError } from '../domain/errors';
import { below } from '../domain/names';
import { PHASES, readManifest, readRepositoryData } from '../repository';
import type { Manifest, ManifestBlob, ManifestIndex, ReadBlob, RepositoryData, SnapshotEntry } from '../repository';
import { readBytes } from '../steps/files';
import { rootIndexKeys } from '../steps/source-repository';
import type { Store } from '../storage/store';

export interface InspectOptions {
  /** Without slashes at the ends; empty for the root of the store. */
  readonly basePath: string;
  readonly snapshot?: string;
  /** Print every blob. Of the only snapshot, where none is named. */
  readonly manifest: boolean;
  /** Print JSON lines for programs instead of tables for people. */
  readonly json: boolean;
}

/**
 * `snapferry inspect STORE`: what a repository, or one snapshot in it, consists of. Reads metadata and writes nothing.
 *
 * Lists the snapshots; with `snapshot` its indices and its blobs by phase; with `manifest` every blob, as JSON one line
 * each: `{"key","length","crc32","phase"}`. Throws `ConfigurationError` where there is no repository or no such
 * snapshot, and what `readManifest` throws: what was printed before is then not the whole.
 */
export async function inspect(
  store: Store,
  options: InspectOptions,
  write: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const read: ReadBlob = (key) => readBytes(store, below(options.basePath, key), signal);
  const repository = await readRepositoryData(await rootIndexKeys(store, options.basePath, signal), read);
  if (options.snapshot === undefined && !options.manifest) {
    return writeLines(options.json ? snapshotsAsJson(repository) : snapshotsAsText(repository), write);
  }
  const entry = chosenSnapshot(repository, options.snapshot);
  const manifest = await readManifest(repository, entry.name, read);
  if (options.manifest) writeLines(options.json ? blobsAsJson(manifest) : blobsAsText(manifest), write);
  else writeLines(options.json ? summaryAsJson(manifest) : summaryAsText(manifest), write);
}

function chosenSnapshot({ snapshots }: RepositoryData, name: string | undefined): SnapshotEntry {
  const chosen = name === undefined ? only(snapshots) : snapshots.find((snapshot) => snapshot.name === name);
  if (chosen !== undefined) return chosen;
  const names = snapshots.map((snapshot) => snapshot.name).sort();
  const which = names.length === 0 ? 'The repository holds no snapshot' : `The repository holds ${names.join(', ')}`;
  throw new ConfigurationError(
    name === undefined ? `${which}: name one with --snapshot` : `There is no snapshot '${name}'. ${which}`,
  );
}

function only<T>(items: readonly T[]): T | undefined {
  return items.length === 1 ? items[0] : undefined;
}

function snapshotsAsJson({ generation, snapshots }: RepositoryData): string[] {
  return snapshots.map(({ name, uuid, state, indices }) =>
    JSON.stringify({ name, uuid, state: state ?? null, indices, generation }),
  );
}

function snapshotsAsText({ generation, snapshots }: RepositoryData): string[] {
  const rows = snapshots.map(({ name, uuid, state, indices }) => [name, state ?? '-', uuid, indices.join(', ')]);
  rows.sort(([a = ''], [b = '']) => (a < b ? -1 : 1));
  return [
    `Generation ${generation}, ${snapshots.length} snapshots`,
    ...table(['SNAPSHOT', 'STATE', 'UUID', 'INDICES'], rows),
  ];
}

function blobsAsJson({ blobs }: Manifest): Iterable<string> {
  return mapped(blobs, ({ key, length, crc32, phase }) => JSON.stringify({ key, length, crc32, phase }));
}

/** The key comes last: nothing has to be as wide as the longest one. */
function blobsAsText({ blobs }: Manifest): Iterable<string> {
  const width = Math.max(...PHASES.map((phase) => phase.length));
  return mapped(blobs, ({ key, length, crc32, phase }) =>
    [phase.padEnd(width), String(length).padStart(12), checksum(crc32), key].join('  '),
  );
}

function checksum(crc32: number | null): string {
  return crc32 === null ? '-'.padEnd(8) : crc32.toString(16).padStart(8, '0');
}

function summaryAsJson(manifest: Manifest): string[] {
  const { snapshot, generation, indices } = manifest;
  return [JSON.stringify({ snapshot, generation, indices, phases: totals(manifest.blobs) })];
}

function summaryAsText(manifest: Manifest): string[] {
  const { snapshot, generation, indices } = manifest;
  const phases = totals(manifest.blobs);
  const all = { phase: 'all', blobs: sum(phases, ({ blobs }) => blobs), bytes: sum(phases, ({ bytes }) => bytes) };
  return [
    `Snapshot ${snapshot.name} (${snapshot.uuid}), generation ${generation}`,
    '',
    ...table(['INDEX', 'ID', 'SHARDS', 'FILES', 'SEGMENTS', 'DATA', 'ALIASES'], indices.map(indexRow), [2, 3, 4, 5]),
    '',
    ...table(
      ['PHASE', 'BLOBS', 'BYTES', ''],
      [...phases, all].map(({ phase, blobs, bytes }) => [phase, String(blobs), String(bytes), formatBytes(bytes)]),
      [1, 2, 3],
    ),
  ];
}

function indexRow({ name, id, shards, aliases }: ManifestIndex): string[] {
  const bytes = formatBytes(sum(shards, ({ dataBytes }) => dataBytes));
  const [files, segments] = [sum(shards, (shard) => shard.files), sum(shards, (shard) => shard.segments.length)];
  return [name, id, String(shards.length), String(files), String(segments), bytes, aliases.join(', ')];
}

/** Blobs and bytes of each phase that has any, in copy order. */
function totals(blobs: readonly ManifestBlob[]): { phase: string; blobs: number; bytes: number }[] {
  const byPhase = PHASES.map((phase) => ({ phase, blobs: 0, bytes: 0 }));
  for (const blob of blobs) {
    const total = byPhase[PHASES.indexOf(blob.phase)];
    if (total === undefined) continue;
    total.blobs++;
    total.bytes += blob.length;
  }
  return byPhase.filter((total) => total.blobs > 0);
}

function table(head: readonly string[], rows: readonly (readonly string[])[], right: readonly number[] = []): string[] {
  const widths = head.map((title, column) =>
    rows.reduce((most, row) => Math.max(most, row[column]?.length ?? 0), title.length),
  );
  const line = (row: readonly string[]) =>
    row.map((cell, column) =>
      right.includes(column) ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0),
    );
  return [head, ...rows].map((row) => line(row).join('  ').trimEnd());
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}

/** One line at a time: a manifest may have millions. */
function* mapped<T>(items: readonly T[], line: (item: T) => string): Iterable<string> {
  for (const item of items) yield line(item);
}

function writeLines(lines: Iterable<string>, write: (line: string) => void): void {
  for (const line of lines) write(line);
}
