import { BlobCorruptError, BlobMissingError, ConfigurationError, RepositoryChangedError } from '../domain/errors';
import type { PublishInput, PublishResult } from '../domain/exchange';
import { below } from '../domain/names';
import type { RoundKeys, WorkKeys } from '../domain/names';
import { isShared } from '../domain/plan';
import { indexLatestKey } from '../repository';
import { payload } from '../storage';
import { assertMayAct } from './context';
import type { StepContext } from './context';
import { digestOf, readBytes, readJson, requireJson, writeJson } from './files';
import { openMigration } from './migration';
import type { Migration, StepDeps } from './migration';
import { assertOwnsLocation } from './ownership';
import { plannedKey } from './plan';
import type { PlannedFile } from './plan';
import { firstFallen, newestGenerationKey, newestRepositoryData } from './source-repository';
import { abandonUploads } from './uploads';
import type { ManifestFile } from './work-files';

const WRITE_TIMEOUT_MS = 30_000;

/** `published/index-N` of a migration: which bytes it was about to publish. Written before they are. */
export interface PublishedRecord {
  readonly generation: number;
  readonly digest: string;
  readonly snapshot: string;
}

export function publishedKey(keys: WorkKeys, generation: number): string {
  return `${keys.prefix}/published/index-${generation}`;
}

/**
 * Makes the round's copy visible: `index-N`, then `index.latest`. Everything they refer to is there and proved. Uploads
 * that attempts left behind are aborted first.
 *
 * Fence: at the source our snapshot and every one listed at planning still stand in the newest `index-N`, else blobs we
 * copied may have been deleted and their names used again. In a shared repository that is all. Newer snapshots are no obstacle. At the target the newest `index-N` is absent or
 * ours, byte for byte, and never falls.
 *
 * Throws `RepositoryChangedError` when the fence fell or a newer generation of ours is there; `ConfigurationError` when
 * somebody else wrote to the target or owns it; `BlobMissingError` when the transfer is not complete.
 */
export async function publish(deps: StepDeps, input: PublishInput, context: StepContext): Promise<PublishResult> {
  const migration = await openMigration(deps, input.plan, context);
  await assertOwnsLocation(migration, context);
  const round = migration.keys.round(input.round, input.attempt);
  const manifest = await requireJson<ManifestFile>(migration.targetStore, round.manifest, context.signal);
  await assertTransferred(migration, round, input, context);
  await assertFence(migration, manifest, context);
  // What is written in a shared repository, uploads too, is the source cluster's.
  if (isShared(migration.plan)) return { generation: manifest.generation };
  // The transfer of this round has ended, and the next begins after us.
  await abandonUploads(migration, () => assertMayAct(context, WRITE_TIMEOUT_MS), context.signal);
  await new Publication(migration, round, manifest, context).write();
  return { generation: manifest.generation };
}

/** One proof file for each unit of the plan: nothing is published that is not proved. */
async function assertTransferred(
  migration: Migration,
  round: RoundKeys,
  input: PublishInput,
  context: StepContext,
): Promise<void> {
  const { targetStore } = migration;
  const { planned, snapshotUuid } = await requireJson<PlannedFile>(targetStore, plannedKey(round), context.signal);
  const subject = { store: targetStore.description, snapshot: input.snapshot };
  if (snapshotUuid !== input.snapshotUuid) {
    throw new RepositoryChangedError('The transfer was planned for another snapshot', { subject });
  }
  const proved = new Set<string>();
  for await (const { key } of targetStore.list(`${round.prefix}/proofs/`, context.signal)) proved.add(key);
  for (let unit = 0; unit < planned.units; unit += 1) {
    if (proved.has(round.proof(unit))) continue;
    throw new BlobMissingError('The transfer is not complete: a unit has no proof', { subject: { ...subject, unit } });
  }
}

async function assertFence(migration: Migration, manifest: ManifestFile, context: StepContext): Promise<void> {
  const { sourceStore } = migration;
  const { basePath } = migration.plan.repository.source;
  const now = await newestRepositoryData(sourceStore, basePath, context.signal);
  const subject = { store: sourceStore.description, generation: manifest.generation, now: now?.generation };
  if (now === undefined || now.generation < manifest.generation) {
    throw new RepositoryChangedError('The source repository went back behind the planned generation', { subject });
  }
  const gone = firstFallen(now, [manifest.snapshot, ...manifest.fence]);
  if (gone === undefined) return;
  throw new RepositoryChangedError(`Snapshot '${gone.name}' was deleted from the source while its files were copied`, {
    subject,
  });
}

/** The two writes that make a generation visible, and what must hold before and after each. */
class Publication {
  private readonly indexN: string;
  private readonly indexLatest: string;

  constructor(
    private readonly migration: Migration,
    private readonly round: RoundKeys,
    private readonly manifest: ManifestFile,
    private readonly context: StepContext,
  ) {
    const { basePath } = migration.plan.repository.target;
    this.indexN = below(basePath, this.generationKey);
    this.indexLatest = below(basePath, indexLatestKey);
  }

  async write(): Promise<void> {
    const index = await this.saved(this.generationKey);
    const latest = await this.saved(indexLatestKey);
    await this.assertTargetIsOurs(index);
    await this.writeIndexN(index);
    // The listing above may be old by now: a successor that published more must not be undone.
    await this.assertTargetIsOurs(index);
    await this.writeIndexLatest(latest);
    await this.assertTargetIsOurs(index);
  }

  private get generationKey(): string {
    return `index-${this.manifest.generation}`;
  }

  private async writeIndexN(bytes: Buffer): Promise<void> {
    const { targetStore, keys } = this.migration;
    const { generation, snapshot } = this.manifest;
    const record: PublishedRecord = { generation, digest: digestOf(bytes), snapshot: snapshot.name };
    assertMayAct(this.context, WRITE_TIMEOUT_MS);
    await writeJson(targetStore, publishedKey(keys, generation), record, this.context.signal);
    assertMayAct(this.context, WRITE_TIMEOUT_MS);
    const { created } = await targetStore.write(this.indexN, payload(bytes), { ifAbsent: true }, this.context.signal);
    if (created) return;
    const there = await readBytes(targetStore, this.indexN, this.context.signal);
    if (there?.equals(bytes) !== true) throw this.strangers(this.indexN);
  }

  /** Read again afterwards: an older attempt that was on its way may have come in between. */
  private async writeIndexLatest(bytes: Buffer): Promise<void> {
    const { targetStore } = this.migration;
    const before = await readBytes(targetStore, this.indexLatest, this.context.signal);
    if (before?.equals(bytes) === true) return;
    assertMayAct(this.context, WRITE_TIMEOUT_MS);
    await targetStore.write(this.indexLatest, payload(bytes), {}, this.context.signal);
    const after = await readBytes(targetStore, this.indexLatest, this.context.signal);
    if (after?.equals(bytes) === true) return;
    throw new RepositoryChangedError('Another attempt published at the same time', {
      subject: { store: targetStore.description, key: this.indexLatest },
    });
  }

  /** The newest generation of the target is absent, older and ours, or exactly what we publish. */
  private async assertTargetIsOurs(bytes: Buffer): Promise<void> {
    const { targetStore, plan, keys } = this.migration;
    const newest = await newestGenerationKey(targetStore, plan.repository.target.basePath, this.context.signal);
    if (newest === undefined) return;
    const there = await readBytes(targetStore, newest.key, this.context.signal);
    if (there === undefined) return;
    if (newest.generation === this.manifest.generation && there.equals(bytes)) return;
    const record = await readJson<PublishedRecord>(
      targetStore,
      publishedKey(keys, newest.generation),
      this.context.signal,
    );
    if (record?.digest !== digestOf(there)) throw this.strangers(newest.key);
    if (newest.generation < this.manifest.generation) return;
    throw new RepositoryChangedError('The target holds a newer generation of this migration already: it never falls', {
      subject: { store: targetStore.description, key: newest.key, generation: this.manifest.generation },
    });
  }

  /** As they were at planning: the source may have deleted them since. */
  private async saved(key: string): Promise<Buffer> {
    const { targetStore } = this.migration;
    const saved = this.round.volatile(key);
    const bytes = await readBytes(targetStore, saved, this.context.signal);
    const subject = { store: targetStore.description, key: saved };
    if (bytes === undefined) throw new BlobMissingError('Metadata that was saved at planning is gone', { subject });
    if (bytes.length === 0) throw new BlobCorruptError('Metadata that was saved at planning is empty', { subject });
    return bytes;
  }

  private strangers(key: string): ConfigurationError {
    return new ConfigurationError(
      'Somebody else wrote to the target location: its newest generation is not one that this migration published. ' +
        'Find out who writes there, then start a new migration with an empty basePath',
      { subject: { store: this.migration.targetStore.description, key } },
    );
  }
}
