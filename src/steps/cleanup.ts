import { MigrationError, UnavailableError } from '../domain/errors';
import type { CleanUpInput, CleanUpResult } from '../domain/exchange';
import { isShared } from '../domain/plan';
import { assertMayAct } from './context';
import type { StepContext } from './context';
import { createJson, readJson, requireJson } from './files';
import { indicesByName, showsBlock } from './frozen-source';
import { openMigration } from './migration';
import type { Migration, StepDeps } from './migration';
import { claimantOf, indexKey, releaseOwnership } from './ownership';
import { mapInParallel } from '../storage/parallel';
import { removeRegistration } from './registration';
import { putThrottleBack } from './throttle';
import { abandonUploads } from './uploads';
import type { ManifestFile, OwnerFile } from './work-files';

const REMAINS_AT_MOST = 20;
const NAMED_AT_MOST = 10;
const OWNERS_AT_ONCE = 16;
const ABORT_TIMEOUT_MS = 30_000;

/**
 * Takes away what a migration leaves behind in the clusters and the target store: its registrations, unfinished
 * uploads, its claims. Snapshots, the copied repository, restored indices and evidence stay, and how to remove them is
 * said. What fails is said too, and does not keep the rest from being cleaned up; only `UnavailableError` is thrown,
 * to be tried again.
 */
export async function cleanUp(deps: StepDeps, input: CleanUpInput, context: StepContext): Promise<CleanUpResult> {
  const migration = await openMigration(deps, input.plan, context);
  const key = `${migration.keys.prefix}/cleaned.json`;
  const indices = await claimedIndices(migration, context.signal);
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

interface ClaimedIndex {
  readonly name: string;
  readonly uuids: readonly string[];
}

/** Every target index this migration ever claimed, also those that left its scope. */
async function claimedIndices(migration: Migration, signal: AbortSignal): Promise<ClaimedIndex[]> {
  const claimant = claimantOf(migration);
  // The key of the empty name, without what follows the name.
  const prefix = indexKey(claimant, '').replace(/\/owner\.json$/, '');
  const names: string[] = [];
  for await (const { key } of claimant.store.list(prefix, signal)) {
    names.push(decodeURIComponent(key.slice(prefix.length).split('/')[0] ?? ''));
  }
  const owners = await mapInParallel(names, OWNERS_AT_ONCE, signal, (name, either) =>
    readJson<OwnerFile>(claimant.store, indexKey(claimant, name), either),
  );
  return names.flatMap((name, at) => {
    const owner = owners[at];
    return owner?.firstRunId === claimant.firstRunId ? [{ name, uuids: owner.uuids ?? [] }] : [];
  });
}

class CleaningUp {
  private readonly remains: string[] = [];

  constructor(
    private readonly migration: Migration,
    private readonly input: CleanUpInput,
    private readonly claimed: readonly ClaimedIndex[],
    private readonly context: StepContext,
  ) {}

  async run(): Promise<readonly string[]> {
    await this.attempt('Throttle of the target', () => this.throttle());
    await this.attempt('Target indices', () => this.indices());
    await this.attempt('Unfinished uploads', () => this.uploads());
    await this.attempt('Snapshots', () => this.snapshots());
    for (const side of ['source', 'target'] as const) {
      await this.attempt(`The registration in the ${side} cluster`, () => this.registration(side));
    }
    this.repository();
    return this.remains;
  }

  /** A failure that somebody must look at is a sentence. Bugs, cancellation and what may pass go on as they are. */
  private async attempt(what: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.context.signal.throwIfAborted();
      if (!(error instanceof MigrationError) || error instanceof UnavailableError) throw error;
      this.remains.push(`${what} could not be cleaned up: ${error.message}`);
    }
    this.context.progress({ step: 'clean-up', done: what });
  }

  private async throttle(): Promise<void> {
    if (this.input.throttle !== undefined) await putThrottleBack(this.migration, this.input.throttle, this.context);
  }

  /** Those we restored that still take no writes: all of them after an abort, those that left the scope after success. */
  private async indices(): Promise<void> {
    const { target } = this.migration;
    const { signal } = this.context;
    const infos = await indicesByName(target, signal);
    const ours = this.claimed
      .filter(({ name, uuids }) => uuids.includes(infos.get(name)?.uuid ?? ''))
      .map(({ name }) => name);
    if (ours.length === 0) return;
    const settings = await target.settings(ours, signal);
    const blocked = ours.filter((name) => showsBlock(settings[name]) || infos.get(name)?.open !== true);
    if (blocked.length === 0) return;
    const path = blocked.length > NAMED_AT_MOST ? '<index>' : blocked.join(',');
    this.remains.push(
      `${blocked.length} restored indices stay on target ${target.name}, blocked for writes: ${some(blocked)}. ` +
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
    const newest = manifests.at(-1);
    if (newest === undefined) return;
    const { snapshot } = await requireJson<ManifestFile>(targetStore, newest, signal);
    const { cluster, name } = registrations.source;
    this.remains.push(
      `${manifests.length} snapshots stay in the source repository, the newest ${snapshot.name}: each manifest.json ` +
        `below ${keys.prefix} names one. Remove them with DELETE /_snapshot/${name}/<snapshot> on ${cluster}` +
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

  private repository(): void {
    const { targetStore, plan, keys } = this.migration;
    if (isShared(plan)) {
      this.remains.push(
        `The evidence stays below '${keys.prefix}' of ${targetStore.description}, beside the shared repository`,
      );
      return;
    }
    this.remains.push(
      `The copied repository stays below '${plan.repository.target.basePath}' of ${targetStore.description}, and the ` +
        `evidence below '${keys.prefix}': remove the former when nothing is to be restored from it`,
    );
  }
}

function some(names: readonly string[]): string {
  const more = names.length > NAMED_AT_MOST ? ` and ${names.length - NAMED_AT_MOST} more` : '';
  return names.slice(0, NAMED_AT_MOST).join(', ') + more;
}

function atMost(sentences: readonly string[], limit: number): readonly string[] {
  if (sentences.length <= limit) return sentences;
  return [...sentences.slice(0, limit - 1), `and ${sentences.length - limit + 1} more`];
}
