import { crc32 } from 'node:zlib';
import { formatBytes } from '../domain/durations';
import type { UnitLabel } from '../domain/exchange';
import type { ManifestBlob, ManifestIndex, Phase } from '../repository';

/** What one round sends, cut into activities. Pure and deterministic: a retry of the plan cuts the same units. */

/**
 * Measured (`npm run bench:share`): an activity costs Temporal's server and the control worker 20 ms of CPU, 16 MiB cost
 * gateways and worker 130, and so do 150 small blobs. So blobs share activities up to this, which costs 2 %.
 *
 * A heartbeat notes each blob that is done, and each part of one that is not: 64 KB in either case, 4 MiB of a transfer's
 * 64 activities. Temporal terminates a workflow with twice as much.
 */
export const OWN_UNIT_FROM_BYTES = 128 * 1024 * 1024;
export const BATCH_BYTES = 256 * 1024 * 1024;
export const BATCH_BLOBS = 2_000;
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
  /** Phase by phase: a file of the next one is written when all of the one before are there and proved. */
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
 * Stage by stage in copy order, each unit made when it is asked for: there may be a million blobs. Units are numbered
 * from 0 over all stages.
 *
 * Large files come first, the largest in front, so that a stage does not end waiting for one. The others are shuffled.
 */
export function* unitsOf(
  blobs: readonly ManifestBlob[],
  volatile: ReadonlyMap<string, Buffer>,
  indices: readonly ManifestIndex[],
): Generator<TransferUnit> {
  const names = new Map(indices.map(({ id, name }) => [id, name]));
  let unit = 0;
  let stage = 0;
  for (const { phase, units } of stagesOf(blobs)) {
    let n = 0;
    for (const content of units) {
      const files = content.map((file) => unitFile(file, volatile));
      yield { unit: unit++, stage, phase, ...labelled(n++, phase, files, names), files };
    }
    stage += 1;
  }
}

/** What lies between two barriers of the transfer. */
interface Stage {
  /** For people. */
  readonly phase: string;
  readonly units: Iterable<readonly PlannedFile[]>;
}

/** Phases that fit into one batch together are one stage: a small round is a single activity, metadata another. */
function* stagesOf(blobs: readonly ManifestBlob[]): Generator<Stage> {
  let joined = new JoinedPhases();
  for (const phase of TRANSFERRED) {
    const files = filesOf(blobs.filter((blob) => blob.phase === phase));
    const large = files.filter(isLarge).sort((a, b) => bytesOf(b) - bytesOf(a));
    const small = shuffled(
      files.filter((file) => !isLarge(file)),
      (file) => blobsOf(file)[0]!.key,
    );
    if (large.length === 0 && joined.add(phase, small)) continue;
    yield* joined.stages();
    joined = new JoinedPhases();
    if (large.length > 0 || !joined.add(phase, small)) {
      yield {
        phase,
        units: chain(
          large.map((file) => [file]),
          batches(small),
        ),
      };
    }
  }
  yield* joined.stages();
}

class JoinedPhases {
  private readonly phases: Phase[] = [];
  private readonly files: PlannedFile[] = [];
  private blobs = 0;
  private bytes = 0;

  /** Whether there was room for all of them. */
  add(phase: Phase, files: readonly PlannedFile[]): boolean {
    const blobs = this.blobs + files.reduce((sum, file) => sum + blobsOf(file).length, 0);
    const bytes = this.bytes + files.reduce((sum, file) => sum + bytesOf(file), 0);
    if (blobs > BATCH_BLOBS || bytes > BATCH_BYTES) return false;
    [this.blobs, this.bytes] = [blobs, bytes];
    if (files.length > 0) this.phases.push(phase);
    this.files.push(...files);
    return true;
  }

  stages(): Stage[] {
    const [first, ...others] = this.phases;
    if (first === undefined) return [];
    const all = first === 'data' ? 'data and metadata' : 'metadata';
    return [{ phase: others.length === 0 ? first : all, units: [this.files] }];
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

/** The blobs that are missing; a chunked file is proved as a whole, so one missing chunk brings all of them. */
export function ofWholeFiles(
  blobs: readonly ManifestBlob[],
  isMissing: (blob: ManifestBlob) => boolean,
): ManifestBlob[] {
  const fileOf = ({ key, part }: ManifestBlob) => `${folderOf(key)}${part!.file}`;
  const broken = new Set(blobs.filter((blob) => blob.part !== undefined && isMissing(blob)).map(fileOf));
  return blobs.filter((blob) => isMissing(blob) || (blob.part !== undefined && broken.has(fileOf(blob))));
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

/**
 * The same order each time, whatever the order of the items. Stores partition by the order of keys: neighbours would all
 * meet one partition.
 */
export function shuffled<T>(items: readonly T[], keyOf: (item: T) => string): T[] {
  const ranks = Uint32Array.from(items, (item) => crc32(keyOf(item)));
  const order = Uint32Array.from(items, (_, n) => n);
  order.sort((a, b) => ranks[a]! - ranks[b]! || (keyOf(items[a]!) < keyOf(items[b]!) ? -1 : 1));
  return Array.from(order, (n) => items[n]!);
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
  n: number,
  phase: string,
  files: readonly UnitFile[],
  names: ReadonlyMap<string, string>,
): Pick<UnitLabel, 'kind' | 'label' | 'blobs' | 'bytes'> {
  const blobs = files.reduce((sum, file) => sum + file.blobs.length, 0);
  const bytes = files.reduce((sum, file) => sum + bytesOf(file.blobs), 0);
  const kind = files.length === 1 && (bytes >= OWN_UNIT_FROM_BYTES || blobs > BATCH_BLOBS) ? 'blob' : 'batch';
  const label =
    kind === 'blob'
      ? `${placeOf(files[0]!.blobs[0]!, names)} (${formatBytes(bytes)})`
      : `${phase} batch ${n + 1}: ${blobs} ${blobs === 1 ? 'blob' : 'blobs'} (${formatBytes(bytes)})`;
  return { kind, label, blobs, bytes };
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
