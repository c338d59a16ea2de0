import { MigrationError, UnavailableError } from '../domain/errors';
import type { CleanUpInput, CleanUpResult } from '../domain/exchange';
import { formatBytes } from '../domain/durations';
import { below } from '../domain/names';
import { isShared } from '../domain/plan';
import type { ShardRecovery } from '../elasticsearch/cluster';
import { assertMayAct } from './context';
import type { StepContext } from './context';
import { ourSnapshots } from './delete-snapshots';
import { createJson, readJson, requireJson } from './files';
import { blockedByUs, indicesByName, showsBlock } from './frozen-source';
import { openMigration } from './migration';
import type { Migration, StepDeps } from './migration';
import { claimantOf, claimedIndices, releaseOwnership } from './ownership';
import type { ClaimedIndex } from './ownership';
import { removeRegistration } from './registration';
import { putThrottleBack } from './throttle';
import { abandonUploads } from './uploads';
import { isFrom } from './restore-state';
import { stoppedRollback } from './rollback';
import type { FreezeRecord, IndexOwner, ManifestFile } from './work-files';

const REMAINS_AT_MOST = 20;
const NAMED_AT_MOST = 10;
const ABORT_TIMEOUT_MS = 30_000;
/** Of an index, or of a snapshot whose shards must stop first. */
const DELETE_TIMEOUT_MS = 180_000;
const PROGRESS_EVERY = 10_000;
const UNFREEZE = 'npx snapferry unfreeze plan.json';

/**
 * Takes away what a migration leaves behind in the clusters and the target store: its registrations, unfinished
 * uploads, its claims; after an abort also the snapshot and the restores that were under way. Whole snapshots, the
 * copied repository, restored indices and evidence stay, and how to remove them is said, with their size.
 *
 * What fails is said too, and does not keep the rest from being cleaned up. Throws `UnavailableError` at the end when
 * something may pass, to be tried again, unless this is the last try.
 */
export async function cleanUp(deps: StepDeps, input: CleanUpInput, context: StepContext): Promise<CleanUpResult> {
  const migration = await openMigration(deps, input.plan, context);
  const key = `${migration.keys.prefix}/cleaned.json`;
  const indices = await claimedIndices(claimantOf(migration), context.signal);
  const before = await readJson<CleanUpResult>(migration.targetStore, key, context.signal);
  if (before === undefined) {
    const remains = await new CleaningUp(migration, input, indices, context).run();
    // Kept before the claims go: a retry could no longer tell which indices were ours.
    await createJson(migration.targetStore, key, { remains: atMost(remains, REMAINS_AT_MOST) }, context.signal);
  }
  const { basePath } = migration.plan.repository.target;
  const claims = { basePath, indices: indices.map(({ name }) => name) };
  await releaseOwnership(claimantOf(migration), claims, context.signal);
  return requireJson<CleanUpResult>(migration.targetStore, key, context.signal);
}

class CleaningUp {
  private readonly remains: string[] = [];
  /** Blocked on the target, and with what clients wrote since the switch: nobody is told how to delete them. */
  private holdsWrites: readonly string[] = [];
  /** The first thing that may pass. */
  private passing: UnavailableError | undefined;

  constructor(
    private readonly migration: Migration,
    private readonly input: CleanUpInput,
    private readonly claimed: readonly ClaimedIndex[],
    private readonly context: StepContext,
  ) {}

  async run(): Promise<readonly string[]> {
    await this.attempt('The rollback under way', () => this.rollback());
    await this.attempt('Throttle of the target', () => this.throttle());
    if (this.input.outcome !== 'done') {
      await this.attempt('The snapshot under way', () => this.runningSnapshots());
      await this.attempt('The restores under way', () => this.runningRestores());
    }
    await this.attempt('Target indices', () => this.indices());
    await this.attempt('Unfinished uploads', () => this.uploads());
    await this.attempt('Snapshots', () => this.snapshots());
    for (const side of ['source', 'target'] as const) {
      await this.attempt(`The registration in the ${side} cluster`, () => this.registration(side));
    }
    await this.attempt('The copied repository', () => this.repository());
    if (this.passing !== undefined) throw this.passing;
    return this.remains;
  }

  /** A failure that somebody must look at is a sentence; what may pass waits for the end. Others go on as they are. */
  private async attempt(what: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.context.signal.throwIfAborted();
      if (!(error instanceof MigrationError)) throw error;
      if (error instanceof UnavailableError && this.input.lastTry !== true) this.passing ??= error;
      else this.remains.push(`${what} could not be cleaned up: ${error.message}`);
    }
    this.context.progress({ step: 'clean-up', done: what });
  }

  /** Whoever stops one leaves both sides blocked: nobody may guess which of them holds what clients wrote last. */
  private async rollback(): Promise<void> {
    const { migration, input } = this;
    if (input.committed === undefined || input.outcome === 'done' || input.outcome === 'rolled-back') return;
    const { signal } = this.context;
    const freeze = { plan: input.plan, freeze: input.committed };
    const stopped = await stoppedRollback(migration, freeze, signal);
    if (stopped === undefined) return;
    const { source, target, targetStore, keys } = migration;
    const record = await requireJson<FreezeRecord>(targetStore, keys.freeze(freeze.freeze).record, signal);
    const frozen = blockedByUs(record).map(({ name }) => name);
    this.holdsWrites = stopped.isDecided ? [] : stopped.blocked;
    this.remains.push(
      `A rollback was stopped ${stopped.isDecided ? 'after' : 'before'} it was decided, and neither side takes writes: ` +
        `blocked are ${frozen.length} indices of source ${source.name} (${some(frozen)}) and ${stopped.blocked.length} of ` +
        `target ${target.name} (${some(stopped.blocked)}). To end this run \`${UNFREEZE}\`: ` +
        (stopped.isDecided
          ? 'it takes the aliases back and opens the source'
          : 'it opens the target again, with everything that was written there; the source stays blocked'),
    );
  }

  private async throttle(): Promise<void> {
    if (this.input.throttle !== undefined) await putThrottleBack(this.migration, this.input.throttle, this.context);
  }

  /** It would go on for hours, and keep the repository from being unregistered. Known by name, never by its looks. */
  private async runningSnapshots(): Promise<void> {
    const { source, targetStore, keys, registrations } = this.migration;
    const { signal } = this.context;
    for (const { repository, snapshot } of await source.runningSnapshots(signal)) {
      if (repository !== registrations.source.name) continue;
      if ((await targetStore.head(keys.snapshot(snapshot), signal)) === undefined) continue;
      assertMayAct(this.context, DELETE_TIMEOUT_MS);
      await source.deleteSnapshot(repository, snapshot, signal);
      this.remains.push(`Snapshot ${snapshot} ran on source ${source.name}: it was stopped and is deleted`);
    }
  }

  /** Half an index is nothing, and its restore keeps the repository from being unregistered. */
  private async runningRestores(): Promise<void> {
    const { target } = this.migration;
    const { signal } = this.context;
    const infos = await indicesByName(target, signal);
    const open = this.claimed.filter(({ name }) => infos.get(name)?.open === true);
    if (open.length === 0) return;
    const recoveries = await target.recoveries(
      open.map(({ name }) => name),
      signal,
    );
    // What comes from the snapshot that we asked for is ours, also where its uuid was not recorded any more.
    const half = open
      .filter(({ name, restoring }) => recoveries.some((one) => one.index === name && isUnderWay(one, restoring)))
      .map(({ name }) => name);
    if (half.length === 0) return;
    assertMayAct(this.context, DELETE_TIMEOUT_MS);
    await target.deleteIndices(half, signal);
    this.remains.push(
      `${half.length} indices were being restored on target ${target.name} and held nothing whole: ${some(half)}. They are deleted`,
    );
  }

  /** Those we restored that still take no writes: all of them after an abort, those that left the scope after success. */
  private async indices(): Promise<void> {
    const { target } = this.migration;
    const { signal } = this.context;
    const infos = await indicesByName(target, signal);
    const ours = this.claimed
      .filter(({ name, uuids = [] }) => uuids.includes(infos.get(name)?.uuid ?? '') && !this.holdsWrites.includes(name))
      .map(({ name }) => name);
    if (ours.length === 0) return;
    const settings = await target.settings(ours, signal);
    const blocked = ours.filter((name) => showsBlock(settings[name]) || infos.get(name)?.open !== true);
    if (blocked.length === 0) return;
    // A closed one tells nothing of its size.
    const bytes = blocked.reduce((sum, name) => sum + (infos.get(name)?.primaryBytes ?? 0), 0);
    const path = blocked.length > NAMED_AT_MOST ? '<index>' : blocked.join(',');
    this.remains.push(
      `${blocked.length} restored indices stay on target ${target.name} (${formatBytes(bytes)}), blocked for writes: ${some(blocked)}. ` +
        `Remove them with DELETE /${path}, or open them with PUT /${path}/_settings {"index.blocks.write":null}. ` +
        'A new migration takes them for a stranger’s and refuses their names',
    );
  }

  private async uploads(): Promise<void> {
    if (isShared(this.migration.plan)) return; // they would be the source cluster's
    const { signal } = this.context;
    const mayAct = () => assertMayAct(this.context, ABORT_TIMEOUT_MS);
    if (await abandonUploads(this.migration, mayAct, signal)) return;
    this.remains.push(
      `${this.migration.targetStore.description} cannot list unfinished uploads: those we noted are aborted, and a ` +
        'lifecycle rule would remove what a crash kept from being noted',
    );
  }

  private async snapshots(): Promise<void> {
    const { targetStore, keys, registrations } = this.migration;
    const { signal } = this.context;
    const manifests: string[] = [];
    for await (const { key } of targetStore.list(keys.rounds, signal)) {
      if (key.endsWith('/manifest.json')) manifests.push(key);
    }
    const ours = await ourSnapshots(this.migration, signal);
    if (ours.length === 0) return;
    const newest = manifests.at(-1);
    const manifest = newest === undefined ? undefined : await requireJson<ManifestFile>(targetStore, newest, signal);
    const size =
      manifest === undefined ? '' : `, the newest ${manifest.snapshot.name} (${formatBytes(manifest.bytes)})`;
    const { cluster, name } = registrations.source;
    this.remains.push(
      `${ours.length} snapshots stay in the source repository${size}: each file below ${keys.snapshots} ` +
        `names one. Remove them with DELETE /_snapshot/${name}/<snapshot> on ${cluster}` +
        (this.removes() && registrations.source.ours ? ', once the repository is registered again' : ''),
    );
  }

  /** Never one that existed before us. */
  private async registration(side: 'source' | 'target'): Promise<void> {
    const { ours, cluster, name } = this.migration.registrations[side];
    if (!ours) return;
    if (this.removes()) await removeRegistration(this.migration, side, this.context);
    else this.remains.push(`Registration ${name} stays in ${cluster}: remove it with DELETE /_snapshot/${name}`);
  }

  private removes(): boolean {
    return this.input.outcome !== 'done' || this.migration.plan.cleanup.registrations === 'remove';
  }

  private async repository(): Promise<void> {
    const { targetStore, plan, keys } = this.migration;
    if (isShared(plan)) {
      this.remains.push(
        `The evidence stays below '${keys.prefix}' of ${targetStore.description}, beside the shared repository`,
      );
      return;
    }
    const { basePath } = plan.repository.target;
    let [blobs, bytes] = [0, 0];
    for await (const { length } of targetStore.list(below(basePath, ''), this.context.signal)) {
      [blobs, bytes] = [blobs + 1, bytes + length];
      if (blobs % PROGRESS_EVERY === 0) this.context.progress({ step: 'clean-up', blobs });
    }
    this.remains.push(
      `The copied repository stays below '${basePath}' of ${targetStore.description} (${blobs} blobs, ` +
        `${formatBytes(bytes)}), and the evidence below '${keys.prefix}': remove the former when nothing is to be ` +
        'restored from it',
    );
  }
}

function isUnderWay(recovery: ShardRecovery, restoring: IndexOwner['restoring']): boolean {
  return restoring !== undefined && isFrom(recovery, restoring) && recovery.stage !== 'DONE';
}

function some(names: readonly string[]): string {
  const more = names.length > NAMED_AT_MOST ? ` and ${names.length - NAMED_AT_MOST} more` : '';
  return names.slice(0, NAMED_AT_MOST).join(', ') + more;
}

function atMost(sentences: readonly string[], limit: number): readonly string[] {
  if (sentences.length <= limit) return sentences;
  return [...sentences.slice(0, limit - 1), `and ${sentences.length - limit + 1} more`];
}
