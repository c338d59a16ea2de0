import { SnapshotIncompleteError, UnavailableError } from '../domain/errors';
import type { SnapshotInput, SnapshotResult } from '../domain/exchange';
import { isShared } from '../domain/plan';
import type { ClusterInfo, RunningSnapshot, SnapshotInfo } from '../elasticsearch/cluster';
import { assertMayAct } from './context';
import type { StepContext } from './context';
import { createJson, requireJson } from './files';
import { openMigration } from './migration';
import type { Migration, StepDeps } from './migration';
import { Polling } from './pause';
import { ensureSourceRegistration, removeRegistration } from './registration';
import type { ScopeFile } from './work-files';

/** A busy 5.x node answers after 100 s. */
const CREATE_TIMEOUT_MS = 180_000;
const NAMED_AT_MOST = 10;
/** While a snapshot is finalised it may be in neither of the two places a cluster looks in: for a moment is no sign. */
const MISSING_FOR_MS = 1_500;

/**
 * Takes the snapshot of exactly the round's scope, under the name the workflow minted, and waits for its end.
 *
 * Looks first: a retry finds the snapshot that an earlier attempt requested. Throws `SnapshotIncompleteError` when it
 * ends otherwise than complete, vanishes, or holds other indices than the scope; `UnavailableError` while another
 * snapshot runs on a cluster that takes one at a time.
 */
export async function takeSnapshot(
  deps: StepDeps,
  input: SnapshotInput,
  context: StepContext,
): Promise<SnapshotResult> {
  const migration = await openMigration(deps, input.plan, context);
  const key = migration.keys.round(input.round, input.attempt).scope;
  const scope = await requireJson<ScopeFile>(migration.targetStore, key, context.signal);
  // One that writes and one that remembers what it read: never both on one repository.
  if (isShared(migration.plan)) await removeRegistration(migration, 'target', context);
  await ensureSourceRegistration(deps, migration, context);
  const snapshot = new RequestedSnapshot(migration, input.snapshot, context);
  const isRequested = (await snapshot.look()) !== undefined;
  if (!isRequested) await snapshot.request(scope);
  const info = await snapshot.ended();
  assertComplete(info, scope, migration.registrations.source.name);
  return {
    ...{ uuid: info.uuid, indices: info.indices.length, shards: info.shards.total },
    // It went on without us between the attempts, and may have ended there: by the cluster's own clock.
    ...(isRequested ? { workedMs: info.endedAt && info.endedAt - info.startedAt } : {}),
  };
}

class RequestedSnapshot {
  private readonly repository: string;

  constructor(
    private readonly migration: Migration,
    private readonly name: string,
    private readonly context: StepContext,
  ) {
    this.repository = migration.registrations.source.name;
  }

  look(): Promise<SnapshotInfo | undefined> {
    return this.migration.source.snapshot(this.repository, this.name, this.context.signal);
  }

  /** "No answer" is not "not done", and "name taken" may be our own first request: whatever failed, look again. */
  async request(scope: ScopeFile): Promise<void> {
    await this.refuseWhileAnotherRuns();
    const names = scope.indices.map(({ name }) => name);
    const { targetStore, keys } = this.migration;
    // What an abort finds running under this name is ours.
    await createJson(targetStore, keys.snapshot(this.name), { repository: this.repository }, this.context.signal);
    assertMayAct(this.context, CREATE_TIMEOUT_MS);
    try {
      await this.migration.source.createSnapshot(this.repository, this.name, names, this.context.signal);
    } catch (error) {
      this.context.signal.throwIfAborted();
      if ((await this.look()) === undefined) throw error;
    }
  }

  /** Never wait_for_completion: a connection held for hours is cut by somebody. */
  async ended(): Promise<SnapshotInfo> {
    const polling = new Polling(this.context.signal);
    let missingSince: number | undefined;
    for (; ; await polling.pause()) {
      const info = await this.look();
      if (info === undefined) {
        missingSince ??= Date.now();
        if (Date.now() - missingSince >= MISSING_FOR_MS) throw this.vanished();
        continue;
      }
      missingSince = undefined;
      if (info.state !== 'IN_PROGRESS') return info;
      const running = (await this.running()).find((other) => this.isOurs(other));
      this.context.progress({
        snapshot: this.name,
        shardsDone: running?.shardsDone ?? 0,
        shardsTotal: running?.shardsTotal ?? info.shards.total,
      });
    }
  }

  private async refuseWhileAnotherRuns(): Promise<void> {
    if (takesSeveralAtOnce(this.migration.clusters.source)) return;
    const other = (await this.running()).find((running) => !this.isOurs(running));
    if (other === undefined) return;
    throw new UnavailableError(
      'Another snapshot runs on the source, which takes one at a time: ours waits for its end',
      {
        subject: { repository: other.repository, snapshot: other.snapshot },
      },
    );
  }

  private running(): Promise<readonly RunningSnapshot[]> {
    return this.migration.source.runningSnapshots(this.context.signal);
  }

  private isOurs(other: RunningSnapshot): boolean {
    return other.repository === this.repository && other.snapshot === this.name;
  }

  private vanished(): SnapshotIncompleteError {
    return new SnapshotIncompleteError('The snapshot was deleted while it ran: the next attempt takes another', {
      subject: { repository: this.repository, snapshot: this.name },
    });
  }
}

/** Elasticsearch queues a second snapshot since 7.9; OpenSearch always did. */
function takesSeveralAtOnce({ distribution, version }: ClusterInfo): boolean {
  if (distribution === 'opensearch') return true;
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > 7 || (major === 7 && minor >= 9);
}

function assertComplete(info: SnapshotInfo, scope: ScopeFile, repository: string): void {
  const subject = { repository, snapshot: info.name };
  if (info.state !== 'SUCCESS' || info.shards.failed > 0) {
    throw new SnapshotIncompleteError(`The snapshot ended ${info.state}: ${failuresOf(info)}`, { subject });
  }
  const wanted = new Set(scope.indices.map(({ name }) => name));
  const held = new Set(info.indices);
  const missing = [...wanted].filter((name) => !held.has(name));
  const surplus = [...held].filter((name) => !wanted.has(name));
  if (missing.length + surplus.length === 0) return;
  const lacks = missing.length === 0 ? '' : `; it lacks ${some(missing)}`;
  const holds = surplus.length === 0 ? '' : `; it also holds ${some(surplus)}`;
  throw new SnapshotIncompleteError(`The snapshot does not hold exactly the scope${lacks}${holds}`, { subject });
}

function failuresOf({ failures, shards }: SnapshotInfo): string {
  if (failures.length === 0) return `${shards.failed} of ${shards.total} shards failed`;
  return some(failures, '; ');
}

function some(all: readonly string[], separator = ', '): string {
  const more = all.length > NAMED_AT_MOST ? `${separator}and ${all.length - NAMED_AT_MOST} more` : '';
  return all.slice(0, NAMED_AT_MOST).join(separator) + more;
}
