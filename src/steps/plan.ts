import {
  BlobMissingError,
  ConfigurationError,
  RepositoryChangedError,
  SnapshotIncompleteError,
} from '../domain/errors';
import type { PlannedTransfer, PlanTransferInput } from '../domain/exchange';
import { below } from '../domain/names';
import type { RoundKeys } from '../domain/names';
import { readManifest } from '../repository';
import type { Manifest, ManifestBlob, RepositoryData } from '../repository';
import { payload } from '../storage';
import type { Store } from '../storage/store';
import { assertMayAct } from './context';
import type { StepContext } from './context';
import { readBytes, readJson, requireJson, writeJson, writeJsonLines } from './files';
import { openMigration } from './migration';
import type { Migration, StepDeps } from './migration';
import { inParallel } from '../storage/parallel';
import { isProvedBy, provedBefore } from './proofs';
import { newestRepositoryData } from './source-repository';
import { pagesOf } from './units';
import type { PhasePages } from './units';
import type { ManifestFile, ScopeFile } from './work-files';

const WRITES_AT_ONCE = 16;
const WRITE_TIMEOUT_MS = 60_000;
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
  const phases = pagesOf(missing, manifest.volatile, manifest.indices);
  const planned = await new PlanWriter(migration.targetStore, round, context).write(manifest, repository, phases);
  const file: PlannedFile = { snapshotUuid: input.snapshotUuid, planned };
  assertMayAct(context, WRITE_TIMEOUT_MS);
  await writeJson(migration.targetStore, plannedKey(round), file, context.signal);
  return planned;
}

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
 * attempt do not count: a second attempt at this plan must cut the same units as the first.
 */
async function missingBlobs(
  migration: Migration,
  manifest: Manifest,
  input: PlanTransferInput,
  context: StepContext,
): Promise<ManifestBlob[]> {
  const proved = await provedBefore(migration.targetStore, migration.keys, input, context);
  const listed = await lengthsBelow(migration.targetStore, migration.plan.repository.target.basePath, context);
  const isHeld = (blob: ManifestBlob) =>
    !manifest.volatile.has(blob.key) && listed.get(blob.key) === blob.length && isProvedBy(proved.get(blob.key), blob);
  // A chunked file is proved as a whole, so one missing part sends all of them.
  const files = new Set(manifest.blobs.filter((blob) => !isHeld(blob)).map(fileOf));
  return manifest.blobs.filter((blob) => files.has(fileOf(blob)));
}

function fileOf({ key, part }: ManifestBlob): string {
  return part === undefined ? key : `${key.slice(0, key.lastIndexOf('/'))}/${part.file}`;
}

async function lengthsBelow(store: Store, basePath: string, context: StepContext): Promise<Map<string, number>> {
  const lengths = new Map<string, number>();
  const prefix = below(basePath, '');
  for await (const { key, length } of store.list(prefix, context.signal)) {
    lengths.set(key.slice(prefix.length), length);
    if (lengths.size % 1_000 === 0) context.progress({ step: 'listing the target', blobs: lengths.size });
  }
  return lengths;
}

/** Writes what a plan consists of: volatile bytes, blobs, units, manifest. */
class PlanWriter {
  constructor(
    private readonly store: Store,
    private readonly round: RoundKeys,
    private readonly context: StepContext,
  ) {}

  async write(manifest: Manifest, repository: RepositoryData, phases: readonly PhasePages[]): Promise<PlannedTransfer> {
    await this.writeVolatile(manifest.volatile);
    await this.writeUnits(phases);
    const { signal } = this.context;
    assertMayAct(this.context, WRITE_TIMEOUT_MS);
    const blobs = await writeJsonLines(this.store, this.round.blobs, manifest.blobs, signal);
    const file = manifestFile(manifest, repository, blobs.digest);
    const { digest } = await writeJson(this.store, this.round.manifest, file, signal);
    return plannedTransfer(file, digest, phases);
  }

  private writeVolatile(volatile: ReadonlyMap<string, Buffer>): Promise<void> {
    return inParallel([...volatile], WRITES_AT_ONCE, this.context.signal, async ([key, bytes], signal, n) => {
      assertMayAct(this.context, WRITE_TIMEOUT_MS);
      await this.store.write(this.round.volatile(key), payload(bytes), {}, signal);
      if (n % PROGRESS_EVERY === 0) this.context.progress({ step: 'saving volatile metadata', files: n + 1 });
    });
  }

  private writeUnits(phases: readonly PhasePages[]): Promise<void> {
    const pages = phases.flatMap((phase) => phase.pages);
    return inParallel(pages, WRITES_AT_ONCE, this.context.signal, async (units, signal, page) => {
      assertMayAct(this.context, WRITE_TIMEOUT_MS);
      await writeJson(this.store, this.round.units(page), units, signal);
      this.context.progress({ step: 'writing units', page });
    });
  }
}

/** The manifest as it is kept; the digest of its blobs makes the manifest's own digest vouch for them too. */
function manifestFile(
  manifest: Manifest,
  repository: RepositoryData,
  blobsDigest: string,
): ManifestFile & { readonly blobsDigest: string } {
  return {
    snapshot: manifest.snapshot,
    generation: manifest.generation,
    indices: manifest.indices,
    blobs: manifest.blobs.length,
    bytes: manifest.blobs.reduce((sum, { length }) => sum + length, 0),
    volatile: [...manifest.volatile.keys()],
    fence: repository.snapshots.map(({ name, uuid }) => ({ name, uuid })),
    blobsDigest,
  };
}

function plannedTransfer(
  manifest: ManifestFile,
  manifestDigest: string,
  phases: readonly PhasePages[],
): PlannedTransfer {
  const ranges = phases.map(({ phase, pages }) => {
    const units = pages.flat();
    const sum = (of: 'blobs' | 'bytes') => units.reduce((total, unit) => total + unit[of], 0);
    return { phase, pages: pages.length, units: units.length, blobs: sum('blobs'), bytes: sum('bytes') };
  });
  const total = (of: 'pages' | 'units' | 'blobs' | 'bytes') => ranges.reduce((sum, range) => sum + range[of], 0);
  return {
    generation: manifest.generation,
    manifestDigest,
    blobs: manifest.blobs,
    bytes: manifest.bytes,
    sendBlobs: total('blobs'),
    sendBytes: total('bytes'),
    phases: ranges,
    units: total('units'),
    pages: total('pages'),
  };
}
