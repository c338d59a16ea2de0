import { ConfigurationError, WritesNotBlockedError } from '../domain/errors';
import type { FreezeRef, SwitchInput, SwitchResult } from '../domain/exchange';
import { indexOnTarget } from '../domain/target-names';
import { planAliases, refuseObstacles } from './alias-plan';
import { recordAliases, recordSwitch, standingRollback } from './after-switch';
import { assertMayAct } from './context';
import type { StepContext } from './context';
import { roundScope } from './exclusions';
import { requireJson } from './files';
import { blockedByUs, BLOCK_TIMEOUT_MS, indicesByName, removeWriteBlocks, standingOutcome } from './frozen-source';
import { openMigration } from './migration';
import type { Migration, StepDeps } from './migration';
import { claimantOf, requireOwnIndex } from './ownership';
import { mapInParallel } from '../storage/parallel';
import type { FreezeRecord } from './work-files';

const OWNERS_AT_ONCE = 16;

/**
 * Opens the target for writes: the last point of return has passed. An index whose owner had blocked it on the source
 * stays blocked. Verified by reading again; may be repeated. Throws `WritesNotBlockedError` unless the freeze is
 * committed, and `ConfigurationError` when an index of that name is not the one we restored.
 */
export async function unblockTarget(deps: StepDeps, input: SwitchInput, context: StepContext): Promise<SwitchResult> {
  const migration = await openMigration(deps, input.plan, context);
  await assertCommitted(migration, input, context.signal);
  const names = await roundIndices(migration, input, context.signal);
  const onTarget = (name: string) => indexOnTarget(migration.plan.restore, name, input.round);
  await assertRestoredByUs(migration, names.map(onTarget), context.signal);
  const { record: key } = migration.keys.freeze(input.freeze);
  const record = await requireJson<FreezeRecord>(migration.targetStore, key, context.signal);
  const frozenByUs = new Set(blockedByUs(record).map(({ name }) => name));
  const opened = names.filter((name) => frozenByUs.has(name)).map(onTarget);
  await recordSwitch(migration, input, opened, context.signal);
  await removeWriteBlocks(migration.target, opened, context);
  return { indices: opened.length, aliases: 0 };
}

/**
 * Sets the aliases on the target in one atomic call. Looks first: what is as wanted is not sent again. Throws
 * `ConfigurationError` before anything when a stranger has the name of an alias, `WritesNotBlockedError` unless the
 * freeze is committed.
 */
export async function switchAliases(deps: StepDeps, input: SwitchInput, context: StepContext): Promise<SwitchResult> {
  const migration = await openMigration(deps, input.plan, context);
  await assertCommitted(migration, input, context.signal);
  const names = await roundIndices(migration, input, context.signal);
  const { actions, obstacles } = await planAliases(migration, names, input.round, context.signal);
  refuseObstacles(migration, obstacles);
  if (actions.length > 0) {
    await recordAliases(migration, input, actions, context.signal);
    assertMayAct(context, BLOCK_TIMEOUT_MS);
    await migration.target.updateAliases(actions, context.signal);
  }
  return { indices: names.length, aliases: actions.length };
}

/** Never are both sides writable: without this word, or after a rollback, the source may be at any moment. */
export async function assertCommitted(migration: Migration, input: FreezeRef, signal: AbortSignal): Promise<void> {
  const { targetStore, keys, plan } = migration;
  const isWatched = plan.cutover.watchMs !== undefined;
  if (isWatched && (await standingRollback(migration, input, signal))?.accepted !== undefined) {
    throw new WritesNotBlockedError(
      'The cutover was rolled back: the source takes the writes, the target stays blocked',
    );
  }
  const stands = await standingOutcome(targetStore, keys.freeze(input.freeze), signal);
  if (stands?.outcome === 'committed') return;
  throw new WritesNotBlockedError(
    `The freeze is ${stands?.outcome ?? 'undecided'}, so the source may take writes: the target stays blocked`,
  );
}

/** Their names on the source. */
async function roundIndices(migration: Migration, input: SwitchInput, signal: AbortSignal): Promise<string[]> {
  const scope = await roundScope(migration, input, signal);
  return scope.indices.map(({ name }) => name);
}

/** `names`: on the target. Throws `ConfigurationError` unless each is recorded as ours. */
export async function assertRestoredByUs(
  migration: Migration,
  names: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  const infos = await indicesByName(migration.target, signal);
  const claimant = claimantOf(migration);
  const owners = await mapInParallel(names, OWNERS_AT_ONCE, signal, (name, either) =>
    requireOwnIndex(claimant, name, either),
  );
  const stranger = names.find((name, at) => owners[at]?.uuids?.includes(infos.get(name)?.uuid ?? '') !== true);
  if (stranger === undefined) return;
  throw new ConfigurationError('The target index is gone or not the one this migration restored: nothing was changed', {
    subject: { index: stranger, uuid: infos.get(stranger)?.uuid, cluster: migration.target.name },
  });
}
