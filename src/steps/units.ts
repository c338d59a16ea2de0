import { crc32 } from 'node:zlib';
import { formatBytes } from '../domain/durations';
import type { UnitLabel } from '../domain/exchange';
import type { ManifestBlob, ManifestIndex, Phase } from '../repository';

/** What one round sends, cut into activities. Pure and deterministic: a retry of the plan cuts the same units. */

/** Measured: below this, Temporal's share of an activity's time passes 5 %. */
export const OWN_UNIT_FROM_BYTES = 16 * 1024 * 1024;
export const BATCH_BYTES = 64 * 1024 * 1024;
export const BATCH_BLOBS = 500;
/** One page is what the transfer reads at a time, and after which it may continue as new. */
export const PAGE_UNITS = 100;

/** One file as Elasticsearch sees it: a blob, or all parts of a chunked Lucene file in order. Never split over units. */
export interface UnitFile {
  readonly blobs: readonly ManifestBlob[];
  /** Of the bytes saved in the work prefix, which are sent instead of the source's: it may have deleted them. */
  readonly savedCrc32?: number;
}

/** One activity of the transfer, as `units/<unit>.json` holds it. */
export interface TransferUnit extends UnitLabel {
  readonly phase: Phase;
  readonly files: readonly UnitFile[];
}

/** What `transfer` sends, in this order; `index-N` and `index.latest` are for `publish`. */
const TRANSFERRED: readonly Phase[] = [
  'data',
  'shard-metadata',
  'index-metadata',
  'root-metadata',
  'incompatible-snapshots',
];

/** A file before it is part of a unit: a million of them are in memory, so one that was not cut is its blob alone. */
type PlannedFile = ManifestBlob | readonly ManifestBlob[];

/**
 * Phase by phase in copy order, each unit made when it is asked for: there may be a million blobs. Units are numbered
 * from 0 over all phases.
 *
 * Large files come first, the largest in front, so that a phase does not end waiting for one. The others are shuffled
 * by a checksum of the key: stores partition by key order, and neighbours would all meet one partition.
 */
export function* unitsOf(
  blobs: readonly ManifestBlob[],
  volatile: ReadonlyMap<string, Buffer>,
  indices: readonly ManifestIndex[],
): Generator<TransferUnit> {
  const names = new Map(indices.map(({ id, name }) => [id, name]));
  let unit = 0;
  for (const phase of TRANSFERRED) {
    const files = filesOf(blobs.filter((blob) => blob.phase === phase));
    const large = files.filter(isLarge).sort((a, b) => bytesOf(b) - bytesOf(a));
    const small = shuffled(files.filter((file) => !isLarge(file)));
    let n = 0;
    for (const content of chain(
      large.map((file) => [file]),
      batches(small),
    )) {
      yield labelled(
        unit++,
        n++,
        phase,
        content.map((file) => unitFile(file, volatile)),
        names,
      );
    }
  }
}

function* chain<T>(...parts: readonly Iterable<T>[]): Generator<T> {
  for (const part of parts) yield* part;
}

/** Groups the parts of chunked files, in the order of their numbers. */
export function filesOf(blobs: readonly ManifestBlob[]): PlannedFile[] {
  const whole = blobs.filter(({ part }) => part === undefined);
  const chunked = new Map<string, ManifestBlob[]>();
  for (const blob of blobs) {
    if (blob.part === undefined) continue;
    const file = `${folderOf(blob.key)}${blob.part.file}`;
    const parts = chunked.get(file);
    if (parts === undefined) chunked.set(file, [blob]);
    else parts.push(blob);
  }
  for (const parts of chunked.values()) parts.sort((a, b) => a.part!.number - b.part!.number);
  return [...whole, ...chunked.values()];
}

export function blobsOf(file: PlannedFile): readonly ManifestBlob[] {
  return Array.isArray(file) ? (file as readonly ManifestBlob[]) : [file as ManifestBlob];
}

function unitFile(file: PlannedFile, volatile: ReadonlyMap<string, Buffer>): UnitFile {
  const blobs = blobsOf(file);
  const saved = volatile.get(blobs[0]!.key);
  return saved === undefined ? { blobs } : { blobs, savedCrc32: crc32(saved) };
}

function isLarge(file: PlannedFile): boolean {
  return bytesOf(file) >= OWN_UNIT_FROM_BYTES || blobsOf(file).length > BATCH_BLOBS;
}

/** The same order each time, whatever the order of the files. */
function shuffled(files: readonly PlannedFile[]): PlannedFile[] {
  const keyOf = (n: number) => blobsOf(files[n]!)[0]!.key;
  const ranks = Uint32Array.from(files, (_, n) => crc32(keyOf(n)));
  const order = Uint32Array.from(files, (_, n) => n);
  order.sort((a, b) => ranks[a]! - ranks[b]! || (keyOf(a) < keyOf(b) ? -1 : 1));
  return Array.from(order, (n) => files[n]!);
}

function* batches(files: readonly PlannedFile[]): Generator<PlannedFile[]> {
  let batch: PlannedFile[] = [];
  let blobs = 0;
  let bytes = 0;
  for (const file of files) {
    const [count, size] = [blobsOf(file).length, bytesOf(file)];
    if (batch.length > 0 && (blobs + count > BATCH_BLOBS || bytes + size > BATCH_BYTES)) {
      yield batch;
      [batch, blobs, bytes] = [[], 0, 0];
    }
    batch.push(file);
    blobs += count;
    bytes += size;
  }
  if (batch.length > 0) yield batch;
}

function labelled(
  unit: number,
  n: number,
  phase: Phase,
  files: readonly UnitFile[],
  names: ReadonlyMap<string, string>,
): TransferUnit {
  const blobs = files.reduce((sum, file) => sum + file.blobs.length, 0);
  const bytes = files.reduce((sum, file) => sum + bytesOf(file.blobs), 0);
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

function bytesOf(file: PlannedFile): number {
  return blobsOf(file).reduce((sum, { length }) => sum + length, 0);
}

function folderOf(key: string): string {
  return key.slice(0, key.lastIndexOf('/') + 1);
}
