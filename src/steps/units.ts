import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { formatBytes } from '../domain/durations';
import type { UnitLabel } from '../domain/exchange';
import type { ManifestBlob, ManifestIndex, Phase } from '../repository';

/** What one round sends, cut into activities. Pure and deterministic: a retry of the plan cuts the same units. */

/** Measured: below this, Temporal's share of an activity's time passes 5 %. */
export const OWN_UNIT_FROM_BYTES = 16 * 1024 * 1024;
export const BATCH_BYTES = 64 * 1024 * 1024;
export const BATCH_BLOBS = 500;
/** One page is one read of a work file and one continue-as-new point of the transfer. */
export const PAGE_UNITS = 100;

/** One file as Elasticsearch sees it: a blob, or all parts of a chunked Lucene file in order. Never split over units. */
export interface UnitFile {
  readonly blobs: readonly ManifestBlob[];
  /** Of the bytes saved in the work prefix, which are sent instead of the source's: it may have deleted them. */
  readonly savedCrc32?: number;
}

/** One activity of the transfer, as `units/<page>.json` holds it. */
export interface TransferUnit extends UnitLabel {
  readonly phase: Phase;
  readonly files: readonly UnitFile[];
}

export interface PhasePages {
  readonly phase: Phase;
  readonly pages: readonly (readonly TransferUnit[])[];
}

/** What `transfer` sends, in this order; `index-N` and `index.latest` are for `publish`. */
const TRANSFERRED: readonly Phase[] = [
  'data',
  'shard-metadata',
  'index-metadata',
  'root-metadata',
  'incompatible-snapshots',
];

/**
 * Phases in copy order, without the empty ones. A page holds units of one phase, so that a barrier is always between
 * two pages. Units are numbered from 0 over all pages.
 */
export function pagesOf(
  blobs: readonly ManifestBlob[],
  volatile: ReadonlyMap<string, Buffer>,
  indices: readonly ManifestIndex[],
): PhasePages[] {
  const names = new Map(indices.map(({ id, name }) => [id, name]));
  let unit = 0;
  return TRANSFERRED.flatMap((phase) => {
    const files = filesOf(blobs.filter((blob) => blob.phase === phase)).map((parts): UnitFile => {
      const saved = volatile.get(parts[0]!.key);
      return saved === undefined ? { blobs: parts } : { blobs: parts, savedCrc32: crc32(saved) };
    });
    const units = cut(files).map((content, n): TransferUnit => labelled(unit++, n, phase, content, names));
    return units.length === 0 ? [] : [{ phase, pages: chunked(units, PAGE_UNITS) }];
  });
}

/** Groups the parts of chunked files, in the order of their numbers. */
export function filesOf(blobs: readonly ManifestBlob[]): ManifestBlob[][] {
  const files = new Map<string, ManifestBlob[]>();
  for (const blob of blobs) {
    const file = blob.part === undefined ? blob.key : `${folderOf(blob.key)}${blob.part.file}`;
    const parts = files.get(file);
    if (parts === undefined) files.set(file, [blob]);
    else parts.push(blob);
  }
  for (const parts of files.values()) parts.sort((a, b) => (a.part?.number ?? 0) - (b.part?.number ?? 0));
  return [...files.values()];
}

/**
 * Large files first, the largest in front, so that a phase does not end waiting for one. Batches are shuffled by a hash
 * of the key: stores partition by key order, and neighbours would all meet one partition.
 */
function cut(files: readonly UnitFile[]): UnitFile[][] {
  const isLarge = (file: UnitFile) => bytesOf([file]) >= OWN_UNIT_FROM_BYTES || file.blobs.length > BATCH_BLOBS;
  const shuffled = [...files].map((file) => ({ file, rank: rankOf(file) })).sort((a, b) => (a.rank < b.rank ? -1 : 1));
  const large = shuffled.filter(({ file }) => isLarge(file)).map(({ file }) => [file]);
  large.sort((a, b) => bytesOf(b) - bytesOf(a));
  const small = shuffled.filter(({ file }) => !isLarge(file)).map(({ file }) => file);
  return [...large, ...batches(small)];
}

function batches(files: readonly UnitFile[]): UnitFile[][] {
  const all: UnitFile[][] = [];
  let blobs = 0;
  let bytes = 0;
  for (const file of files) {
    const size = bytesOf([file]);
    const last = all.at(-1);
    if (last === undefined || blobs + file.blobs.length > BATCH_BLOBS || bytes + size > BATCH_BYTES) {
      all.push([file]);
      blobs = 0;
      bytes = 0;
    } else last.push(file);
    blobs += file.blobs.length;
    bytes += size;
  }
  return all;
}

function labelled(
  unit: number,
  n: number,
  phase: Phase,
  files: readonly UnitFile[],
  names: ReadonlyMap<string, string>,
): TransferUnit {
  const blobs = files.reduce((sum, file) => sum + file.blobs.length, 0);
  const bytes = bytesOf(files);
  const kind = files.length === 1 && (bytes >= OWN_UNIT_FROM_BYTES || blobs > BATCH_BLOBS) ? 'blob' : 'batch';
  const label =
    kind === 'blob'
      ? `${placeOf(files[0]!.blobs[0]!, names)} (${formatBytes(bytes)})`
      : `${phase} batch ${n + 1}: ${blobs} ${blobs === 1 ? 'blob' : 'blobs'} (${formatBytes(bytes)})`;
  return { unit, kind, label, phase, blobs, bytes, files };
}

/** `indices/<id>/0/__3` as `orders/0 __3`. */
function placeOf(blob: ManifestBlob, names: ReadonlyMap<string, string>): string {
  const file = blob.part?.file ?? blob.key.slice(folderOf(blob.key).length);
  const [root, id, shard] = blob.key.split('/');
  if (root !== 'indices' || id === undefined || shard === undefined) return blob.key;
  return `${names.get(id) ?? id}/${shard} ${file}`;
}

function bytesOf(files: readonly UnitFile[]): number {
  return files.reduce((sum, file) => file.blobs.reduce((inner, blob) => inner + blob.length, sum), 0);
}

function rankOf(file: UnitFile): string {
  return createHash('md5').update(file.blobs[0]!.key).digest('hex');
}

function folderOf(key: string): string {
  return key.slice(0, key.lastIndexOf('/') + 1);
}

function chunked<T>(items: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, n) => items.slice(n * size, (n + 1) * size));
}
