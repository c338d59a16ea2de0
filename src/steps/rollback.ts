import { ConfigurationError, WritesNotBlockedError } from '../domain/errors';
import type {
  BlockResult,
  FreezeRef,
  RollbackInput,
  RollbackResult,
  TargetQuiescenceInput,
  UnblockResult,
  Writes,
} from '../domain/exchange';
import type { AliasAction } from '../elasticsearch/cluster';
import { heldAliases, placeOf, requireSwitch, tallied } from './after-switch';
import { assertBlocked, blockOrUndo } from './block';
import { assertMayAct } from './context';
import type { StepContext } from './context';
import { createJson, readJson, requireJson } from './files';
import { BLOCK_TIMEOUT_MS, changedSince, indicesByName, undoRecord } from './frozen-source';
import { openMigration } from './migration';
import type { Migration, StepDeps } from './migration';
import { rest } from './quiescence';
import { assertCommitted } from './switchover';
import type { AliasesFile, RollbackFile } from './work-files';

/**
 * The way back after the commit: block the target, prove that no write is in flight there, aliases back, unblock the
 * source last. At no moment may clients write on both sides.
 */

/**
 * Blocks writes on what the switchover has opened. Throws `WritesNotBlockedError` unless the freeze is committed, and
 * `ConfigurationError` when an index was created anew on the target: whoever did so writes there.
 */
export async function blockTarget(deps: StepDeps, input: FreezeRef, context: StepContext): Promise<BlockResult> {
  const migration = await openMigration(deps, input.plan, context);
  await assertCommitted(migration, input, context.signal);
  const names = await openedIndices(migration, input, context.signal);
  const method = await blockOrUndo(migration.target, names, context);
  const blockedAt = Date.now();
  await assertBlocked(migration.target, names, context.signal);
  return { method, blockedAt };
}

/** Those that still are there; one that is gone takes no writes. */
async function openedIndices(migration: Migration, input: FreezeRef, signal: AbortSignal): Promise<string[]> {
  const { target } = migration;
  const { indices } = await requireSwitch(migration, input, signal);
  const infos = await indicesByName(target, signal);
  const there = indices.filter(({ name }) => infos.has(name));
  const anew = changedSince({ indices: there }, infos);
  if (anew.length === 0) return there.map(({ name }) => name);
  throw new ConfigurationError(
    'An index was deleted and created anew on the target since the switch: rollback would lose it. Delete it there first',
    { subject: { cluster: target.name, index: there.find(({ name, uuid }) => infos.get(name)?.uuid !== uuid)?.name } },
  );
}

/** Proves that no write is in flight on the blocked target, as on the source, and counts for the last time. */
export async function proveTargetQuiescence(
  deps: StepDeps,
  input: TargetQuiescenceInput,
  context: StepContext,
): Promise<Writes> {
  const migration = await openMigration(deps, input.plan, context);
  const names = await openedIndices(migration, input, context.signal);
  const { writersStopped } = migration.plan.cutover;
  const { counters } = await rest(migration.target, names, input.block, writersStopped, context);
  return tallied(migration, input, counters, context);
}

/**
 * Decides the rollback, from which moment on nothing opens the target again, and takes the aliases of the switchover
 * back in one call. Looks first; may be repeated. Throws `WritesNotBlockedError` when the target shows no block, or
 * has taken other writes than were accepted.
 */
export async function switchAliasesBack(
  deps: StepDeps,
  input: RollbackInput,
  context: StepContext,
): Promise<RollbackResult> {
  const migration = await openMigration(deps, input.plan, context);
  const { target, targetStore, keys } = migration;
  const files = keys.freeze(input.freeze);
  if ((await readJson<RollbackFile>(targetStore, files.rollback, context.signal)) === undefined) {
    await decide(migration, input, context);
  }
  const { undo } = (await readJson<AliasesFile>(targetStore, files.aliases, context.signal)) ?? { undo: [] };
  const actions = await stillToDo(migration, undo, context.signal);
  if (actions.length > 0) {
    assertMayAct(context, BLOCK_TIMEOUT_MS);
    await target.updateAliases(actions, context.signal);
  }
  return { aliases: undo.length };
}

async function decide(migration: Migration, input: RollbackInput, context: StepContext): Promise<void> {
  await assertCommitted(migration, input, context.signal);
  const names = await openedIndices(migration, input, context.signal);
  await assertBlocked(migration.target, names, context.signal);
  const stats = names.length === 0 ? {} : await migration.target.shardStats(names, context.signal);
  const { operations } = await tallied(migration, input, stats, context);
  if (operations !== input.accepted.operations) {
    throw new WritesNotBlockedError(
      `The target took ${operations} operations where ${input.accepted.operations} were accepted: it is not blocked`,
      { subject: { cluster: migration.target.name } },
    );
  }
  const { accepted, who, why } = input;
  const key = migration.keys.freeze(input.freeze).rollback;
  await createJson(migration.targetStore, key, { accepted, who, why } satisfies RollbackFile, context.signal);
}

/** A removal of what is not there would be refused, and all with it. */
async function stillToDo(
  { target }: Migration,
  undo: readonly AliasAction[],
  signal: AbortSignal,
): Promise<AliasAction[]> {
  const held = await heldAliases(target, undo, signal);
  return undo.filter((action) => {
    const { index, alias } = placeOf(action);
    const has = held.get(index);
    return has !== undefined && ('add' in action || has[alias] !== undefined);
  });
}

/**
 * Opens the source again, last of all: exactly what the freeze has blocked. Throws `WritesNotBlockedError` unless the
 * rollback is decided and the target shows its blocks.
 */
export async function unblockSource(deps: StepDeps, input: FreezeRef, context: StepContext): Promise<UnblockResult> {
  const migration = await openMigration(deps, input.plan, context);
  const { source, target, targetStore, keys } = migration;
  await requireJson<RollbackFile>(targetStore, keys.freeze(input.freeze).rollback, context.signal);
  await assertBlocked(target, await openedIndices(migration, input, context.signal), context.signal);
  return undoRecord(source, targetStore, keys.freeze(input.freeze), context);
}
