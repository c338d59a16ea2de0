import { UnavailableError } from '../domain/errors';
import type { DeletedSnapshots, PlanRef } from '../domain/exchange';
import { assertMayAct } from './context';
import type { StepContext } from './context';
import { namesBelow } from './files';
import { openMigration } from './migration';
import type { Migration, StepDeps } from './migration';
import { newestRepositoryData } from './source-repository';

const DELETE_TIMEOUT_MS = 180_000;

/**
 * Deletes what this migration has taken of snapshots, where the plan says so; after the switchover, when nothing is
 * restored from them any more. The copies in the target's repository stay, as the evidence does. May be repeated.
 *
 * Throws `UnavailableError` while the source deletes none, because it takes a snapshot itself, or shows one afterwards.
 */
export async function deleteSnapshots(deps: StepDeps, input: PlanRef, context: StepContext): Promise<DeletedSnapshots> {
  const migration = await openMigration(deps, input, context);
  const { source, registrations } = migration;
  const ours = await ourSnapshots(migration, context.signal);
  for (const [done, name] of ours.entries()) {
    context.progress({ step: 'deleting snapshots', done, snapshots: ours.length });
    assertMayAct(context, DELETE_TIMEOUT_MS);
    await source.deleteSnapshot(registrations.source.name, name, context.signal);
  }
  const left = ours.length === 0 ? [] : await ourSnapshots(migration, context.signal);
  if (left.length === 0) return { deleted: ours.length };
  throw new UnavailableError(`${left.length} snapshots still stand in the source repository after they were deleted`, {
    subject: { cluster: source.name, snapshot: left[0] },
  });
}

/** Names of those in the source repository, known by what was asked for, never by how they are called. */
export async function ourSnapshots(
  { targetStore, sourceStore, keys, plan }: Migration,
  signal: AbortSignal,
): Promise<string[]> {
  const asked = new Set(await namesBelow(targetStore, keys.snapshots, signal));
  const there = await newestRepositoryData(sourceStore, plan.repository.source.basePath, signal);
  return (there?.snapshots ?? []).map(({ name }) => name).filter((name) => asked.has(name));
}
