import {
  BlobMissingError,
  ConfigurationError,
  RepositoryChangedError,
  SnapshotIncompleteError,
} from '../domain/errors';
import type { PlannedTransfer, PlanTransferInput } from '../domain/exchange';
import { below } from '../domain/names';
import type { RoundKeys } from '../domain/names';
import { isShared } from '../domain/plan';
import { matchesPattern } from '../domain/patterns';
import { hasFeaturesOf } from '../elasticsearch';
import { bytesToFetch, readManifest } from '../repository';
import type { Manifest, ManifestBlob, RepositoryData } from '../repository';
import { payload } from '../storage';
import type { Store } from '../storage/store';
import { assertMayAct } from './context';
import type { StepContext } from './context';
import { readBytes, readJson, requireJson, writeJson, writeJsonLines } from './files';
import { openMigration } from './migration';
import type { Migration, StepDeps } from './migration';
import { inParallel } from '../storage/parallel';
import { isProvedBy, proofsBefore } from './proofs';
import type { ProofLine } from './proofs';
import { newestRepositoryData } from './source-repository';
import { ofWholeFiles, PAGE_UNITS, unitsOf } from './units';
import type { TransferUnit } from './units';
import type { ManifestFile, ScopeFile } from './work-files';

const WRITES_AT_ONCE = 16;
const WRITE_TIMEOUT_MS = 60_000;
/** About 3 MB a file. */
const BLOBS_A_FILE = 20_000;
/** Listing and reading metadata of a large repository takes minutes: each so many are worth a heartbeat. */
const PROGRESS_EVERY = 100;

/** `planned.json`: written last, so that a plan that is there is whole. */
export interface PlannedFile {
  readonly snapshotUuid: string;
  readonly planned: PlannedTransfer;
}

export function plannedKey(round: RoundKeys): string {
  return `${round.prefix}/planned.json`;
}

/**
 * What the target must be sent: the snapshot's manifest, read from its own metadata, minus the blobs that are proved
 * to be there. Cut into units and written to the work prefix, with the bytes that the source may delete soon.
 *
 * A retry returns the plan that a predecessor finished; otherwise it cuts the same units again. Throws
 * `ConfigurationError` when the store is not where the cluster writes, `RepositoryChangedError` when the source moved on while its metadata was read, `SnapshotIncompleteError` when the
 * snapshot is not of exactly the scope, and what `readManifest` throws on damaged metadata.
 */
export async function planTransfer(
  deps: StepDeps,
  input: PlanTransferInput,
  context: StepContext,
): Promise<PlannedTransfer> {
  const migration = await openMigration(deps, input.plan, context);
  const round = migration.keys.round(input.round, input.attempt);
  const done = await readJson<PlannedFile>(migration.targetStore, plannedKey(round), context.signal);
  if (done?.snapshotUuid === input.snapshotUuid) return done.planned;
  const { manifest, repository } = await readSource(migration, input, context);
  const scope = await requireJson<ScopeFile>(migration.targetStore, round.scope, context.signal);
  assertScopeHeld(manifest, scope);
  const missing = await missingBlobs(migration, manifest, input, context);
  const units = unitsOf(missing, manifest.volatile, manifest.indices);
  const planned = {
    ...(await new PlanWriter(migration.targetStore, round, context).write(manifest, repository, units)),
    fetchBytes: await fetchBytes(migration, manifest, input, context),
    replicaBytes: replicaBytes(manifest, scope),
    heaviest: heaviestOf(migration.plan.indices, manifest, missing),
  };
  const file: PlannedFile = { snapshotUuid: input.snapshotUuid, planned };
  assertMayAct(context, WRITE_TIMEOUT_MS);
  await writeJson(migration.targetStore, plannedKey(round), file, context.signal);
  return planned;
}

/** What is cut into units; without what only a forecast asks. */
type TransferShape = Omit<PlannedTransfer, 'fetchBytes' | 'replicaBytes' | 'heaviest'>;

interface Source {
  readonly manifest: Manifest;
  readonly repository: RepositoryData;
}

async function readSource(migration: Migration, input: PlanTransferInput, context: StepContext): Promise<Source> {
  const { sourceStore } = migration;
  const { basePath } = migration.plan.repository.source;
  const subject = { store: sourceStore.description, snapshot: input.snapshot };
  const repository = await newestRepositoryData(sourceStore, basePath, context.signal);
  if (repository === undefined) {
    throw new ConfigurationError(
      'The source store holds no snapshot repository where the cluster just wrote one: bucket and basePath of the ' +
        'store must be those that the cluster registers',
      { subject: { ...subject, basePath } },
    );
  }
  if (!repository.snapshots.some(({ name, uuid }) => name === input.snapshot && uuid === input.snapshotUuid)) {
    throw new RepositoryChangedError('The source repository does not list our snapshot any more', { subject });
  }
  let read = 0;
  const reader = async (key: string) => {
    if (++read % PROGRESS_EVERY === 1) context.progress({ step: 'reading metadata', files: read });
    return readBytes(sourceStore, below(basePath, key), context.signal);
  };
  try {
    return { repository, manifest: await readManifest(repository, input.snapshot, reader) };
  } catch (error) {
    if (!(error instanceof BlobMissingError)) throw error;
    await throwIfMovedOn(migration, repository.generation, error, context);
    throw error;
  }
}

/** Every new snapshot deletes the metadata of the generation before: what is missing then is not a loss. */
async function throwIfMovedOn(
  migration: Migration,
  generation: number,
  cause: Error,
  context: StepContext,
): Promise<void> {
  const { basePath } = migration.plan.repository.source;
  const now = await newestRepositoryData(migration.sourceStore, basePath, context.signal);
  if (now?.generation === generation) return;
  throw new RepositoryChangedError('The source repository changed while its metadata was read', {
    subject: { store: migration.sourceStore.description, generation, now: now?.generation },
    cause,
  });
}

/** The snapshot was asked for by name; between scope and snapshot an index may have been created again. */
function assertScopeHeld(manifest: Manifest, scope: ScopeFile): void {
  const held = new Map(manifest.indices.map((index) => [index.name, index]));
  for (const { name, uuid, shards } of scope.indices) {
    const index = held.get(name);
    const heldUuid = index?.settings['index.uuid'];
    const same = index?.shards.length === shards && (heldUuid === undefined || heldUuid === uuid);
    if (same) continue;
    throw new SnapshotIncompleteError(
      index === undefined
        ? `The snapshot does not hold index '${name}'`
        : `Index '${name}' in the snapshot is not the one that was in the scope: it was created again in between`,
      { subject: { snapshot: manifest.snapshot.name, index: name } },
    );
  }
}

/**
 * The manifest minus what the target is proved to hold: a proof record of this migration matches key, length and
 * checksum, *and* a fresh listing shows the blob with that length. Volatile blobs are always sent. Proofs of this very
 * attempt do not count: a second attempt at this plan must cut the same units as the first. A shared repository lacks
 * nothing.
 */
async function missingBlobs(
  migration: Migration,
  manifest: Manifest,
  input: PlanTransferInput,
  context: StepContext,
): Promise<ManifestBlob[]> {
  if (isShared(migration.plan)) return [];
  const held = new Held(manifest.blobs.filter(({ key }) => !manifest.volatile.has(key)));
  for await (const proof of proofsBefore(migration.targetStore, migration.keys, input, context)) held.prove(proof);
  const prefix = below(migration.plan.repository.target.basePath, '');
  let listed = 0;
  for await (const page of migration.targetStore.list(prefix, context.signal).pages) {
    for (const { key, length } of page) held.list(key.slice(prefix.length), length);
    listed += page.length;
    context.progress({ step: 'listing the target', blobs: listed });
  }
  return ofWholeFiles(manifest.blobs, (blob) => !held.has(blob));
}

/** Which blobs of a manifest are proved and listed: two bits for each, as there may be a million. */
class Held {
  readonly #places: ReadonlyMap<string, number>;
  readonly #proved: Uint8Array;
  readonly #listed: Uint8Array;

  constructor(private readonly blobs: readonly ManifestBlob[]) {
    this.#places = new Map(blobs.map(({ key }, place) => [key, place]));
    this.#proved = new Uint8Array(blobs.length);
    this.#listed = new Uint8Array(blobs.length);
  }

  /** Proofs come oldest first: the last word counts, as names come back with other bytes. */
  prove(proof: ProofLine): void {
    const place = this.#places.get(proof.key);
    if (place !== undefined) this.#proved[place] = isProvedBy(proof, this.blobs[place]!) ? 1 : 0;
  }

  list(key: string, length: number): void {
    const place = this.#places.get(key);
    if (place !== undefined && this.blobs[place]!.length === length) this.#listed[place] = 1;
  }

  has({ key }: ManifestBlob): boolean {
    const place = this.#places.get(key);
    return place !== undefined && this.#proved[place] === 1 && this.#listed[place] === 1;
  }
}

/** Writes what a plan consists of: volatile bytes, blobs, units, manifest. */
class PlanWriter {
  constructor(
    private readonly store: Store,
    private readonly round: RoundKeys,
    private readonly context: StepContext,
  ) {}

  async write(manifest: Manifest, repository: RepositoryData, units: Iterable<TransferUnit>): Promise<TransferShape> {
    await this.writeVolatile(manifest.volatile);
    const labels = await this.writeUnits(units);
    const pages = pagesOf(labels);
    await this.writePages(pages);
    const file = manifestFile(manifest, repository, await this.writeBlobs(manifest.blobs));
    assertMayAct(this.context, WRITE_TIMEOUT_MS);
    const { digest } = await writeJson(this.store, this.round.manifest, file, this.context.signal);
    return plannedTransfer(file, digest, labels, pages.length);
  }

  private writeVolatile(volatile: ReadonlyMap<string, Buffer>): Promise<void> {
    return inParallel([...volatile], WRITES_AT_ONCE, this.context.signal, async ([key, bytes], signal, n) => {
      assertMayAct(this.context, WRITE_TIMEOUT_MS);
      await this.store.write(this.round.volatile(key), payload(bytes), {}, signal);
      if (n % PROGRESS_EVERY === 0) this.context.progress({ step: 'saving volatile metadata', files: n + 1 });
    });
  }

  private async writeUnits(units: Iterable<TransferUnit>): Promise<Label[]> {
    const labels: Label[] = [];
    await inParallel(units, WRITES_AT_ONCE, this.context.signal, async (unit, signal) => {
      assertMayAct(this.context, WRITE_TIMEOUT_MS);
      await writeJson(this.store, this.round.unit(unit.unit), unit, signal);
      labels[unit.unit] = { ...unit, files: undefined };
      this.context.progress({ step: 'writing units', unit: unit.unit });
    });
    return labels;
  }

  private writePages(pages: readonly (readonly Label[])[]): Promise<void> {
    return inParallel(pages, WRITES_AT_ONCE, this.context.signal, async (labels, signal, page) => {
      assertMayAct(this.context, WRITE_TIMEOUT_MS);
      await writeJson(this.store, this.round.page(page), labels, signal);
    });
  }

  /** Returns their digests, in order. */
  private async writeBlobs(blobs: readonly ManifestBlob[]): Promise<string[]> {
    const digests: string[] = [];
    for (let from = 0; from < blobs.length; from += BLOBS_A_FILE) {
      const some = blobs.slice(from, from + BLOBS_A_FILE);
      assertMayAct(this.context, WRITE_TIMEOUT_MS);
      const { digest } = await writeJsonLines(this.store, this.round.blobs(digests.length), some, this.context.signal);
      digests.push(digest);
      this.context.progress({ step: 'writing the manifest', blobs: from + some.length });
    }
    return digests;
  }
}

/** Not `Omit`: the unit's files are to be forgotten, not only unseen. */
type Label = Omit<TransferUnit, 'files'> & { readonly files: undefined };

function pagesOf(labels: readonly Label[]): (readonly Label[])[] {
  return Array.from({ length: Math.ceil(labels.length / PAGE_UNITS) }, (_, page) =>
    labels.slice(page * PAGE_UNITS, (page + 1) * PAGE_UNITS),
  );
}

/** The manifest as it is kept; the digests of its blobs make the manifest's own digest vouch for them too. */
function manifestFile(manifest: Manifest, repository: RepositoryData, blobsDigests: readonly string[]): ManifestFile {
  return {
    snapshot: manifest.snapshot,
    generation: manifest.generation,
    indices: manifest.indices,
    blobs: manifest.blobs.length,
    bytes: manifest.blobs.reduce((sum, { length }) => sum + length, 0),
    volatile: [...manifest.volatile.keys()],
    fence: repository.snapshots.map(({ name, uuid }) => ({ name, uuid })),
    blobsDigests,
  };
}

/** What the target must fetch, by the rule of its version, given the round it was restored from last. */
async function fetchBytes(
  { targetStore, keys, clusters, plan }: Migration,
  manifest: Manifest,
  { restored }: PlanTransferInput,
  { signal }: StepContext,
): Promise<number> {
  const before =
    restored === undefined || plan.restore.strategy !== 'close'
      ? undefined
      : await readJson<ManifestFile>(targetStore, keys.round(restored.round, restored.attempt).manifest, signal);
  const rule = hasFeaturesOf('7.16', clusters.target) && clusters.target.distribution !== 'opensearch';
  return bytesToFetch(before?.indices ?? [], manifest.indices, rule ? 'generations' : 'segments');
}

function replicaBytes({ indices }: Manifest, scope: ScopeFile): number {
  const replicas = new Map(scope.indices.map((index) => [index.name, index.replicas]));
  return indices.reduce((total, { name, shards }) => {
    const bytes = shards.reduce((sum, { dataBytes, virtualBytes }) => sum + dataBytes + virtualBytes, 0);
    return total + bytes * (replicas.get(name) ?? 0);
  }, 0);
}

/** Of the plan's items the one that most is sent for; an index counts for the first that matches it. */
function heaviestOf(items: readonly string[], manifest: Manifest, missing: readonly ManifestBlob[]) {
  const patternOf = new Map(
    manifest.indices.map(({ id, name }) => [id, items.find((item) => matchesPattern(item, name)) ?? name]),
  );
  const byPattern = new Map<string, { pattern: string; bytes: number; sentBytes: number }>();
  const add = (blobs: readonly ManifestBlob[], of: 'bytes' | 'sentBytes') => {
    for (const { key, length } of blobs) {
      const pattern = patternOf.get(key.split('/')[1] ?? '');
      if (pattern === undefined) continue;
      const entry = byPattern.get(pattern) ?? { pattern, bytes: 0, sentBytes: 0 };
      entry[of] += length;
      byPattern.set(pattern, entry);
    }
  };
  add(manifest.blobs, 'bytes');
  add(missing, 'sentBytes');
  return [...byPattern.values()].sort((a, b) => b.sentBytes - a.sentBytes).find(({ sentBytes }) => sentBytes > 0);
}

function plannedTransfer(
  manifest: ManifestFile,
  manifestDigest: string,
  labels: readonly Label[],
  pages: number,
): TransferShape {
  return {
    generation: manifest.generation,
    manifestDigest,
    blobs: manifest.blobs,
    bytes: manifest.bytes,
    sendBlobs: labels.reduce((sum, { blobs }) => sum + blobs, 0),
    sendBytes: labels.reduce((sum, { bytes }) => sum + bytes, 0),
    units: labels.length,
    pages,
  };
}
