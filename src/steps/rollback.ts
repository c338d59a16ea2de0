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
import {
  heldAliases,
  placeOf,
  refuseReopened,
  requireRollback,
  requireSwitch,
  standingRollback,
  tallied,
} from './after-switch';
import { assertBlocked, blockOrUndo } from './block';
import { assertMayAct } from './context';
import type { StepContext } from './context';
import { excludedIndices } from './exclusions';
import { createJson, readJson } from './files';
import {
  BLOCK_TIMEOUT_MS,
  changedSince,
  indicesByName,
  removeWriteBlocks,
  isUndone,
  undoRecord,
  withWriteBlock,
} from './frozen-source';
import { takeSettingsBack } from './keep-settings';
import { openMigration } from './migration';
import type { Migration, StepDeps } from './migration';
import { rest } from './quiescence';
import { assertCommitted } from './switchover';
import type { AliasesFile, RollbackFile, TargetBlockFile } from './work-files';

/**
 * The way back after the commit: block the target, prove that no write is in flight there, aliases back, unblock the
 * source last. At no moment may clients write on both sides.
 */

/**
 * Blocks writes on what the switchover has opened. Throws `WritesNotBlockedError` unless the freeze is committed, and
 * `ConfigurationError` when an index was created anew on the target: whoever did so writes there. What it blocks is
 * recorded first.
 */
export async function blockTarget(deps: StepDeps, input: FreezeRef, context: StepContext): Promise<BlockResult> {
  const migration = await openMigration(deps, input.plan, context);
  await assertCommitted(migration, input, context.signal);
  refuseReopened(await standingRollback(migration, input, context.signal));
  const names = await openedIndices(migration, input, context.signal);
  await recordTargetBlock(migration, input, context.signal);
  const method = await blockOrUndo(migration.target, names, context);
  const blockedAt = Date.now();
  await assertBlocked(migration.target, names, context.signal);
  return { method, blockedAt };
}

/** For whoever finds the rollback stopped: what shows a block and is none of these is blocked by somebody else. */
async function recordTargetBlock(migration: Migration, input: FreezeRef, signal: AbortSignal): Promise<void> {
  const { indices } = await requireSwitch(migration, input, signal);
  const { targetBlock } = migration.keys.freeze(input.freeze);
  await createJson(migration.targetStore, targetBlock, { indices } satisfies TargetBlockFile, signal);
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
  if ((await standingRollback(migration, input, context.signal)) === undefined) {
    await decide(migration, input, context);
  }
  await requireRollback(migration, input, context.signal);
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
 * Opens the source again, last of all: exactly what the freeze has blocked, without what was excluded since, which is
 * open already or blocked by its owner. Throws `WritesNotBlockedError` unless the
 * rollback is decided and the target shows its blocks.
 */
export async function unblockSource(deps: StepDeps, input: FreezeRef, context: StepContext): Promise<UnblockResult> {
  const migration = await openMigration(deps, input.plan, context);
  const { source, target, targetStore, keys } = migration;
  await requireRollback(migration, input, context.signal);
  await assertBlocked(target, await openedIndices(migration, input, context.signal), context.signal);
  const excluded = await excludedIndices(migration, context.signal);
  return undoRecord(source, targetStore, keys.freeze(input.freeze), context, ({ name }) => excluded.has(name));
}

/** A rollback that neither went back nor opened the target again: writes are refused on both sides. */
export interface StoppedRollback {
  /** From which moment on it can only go back. */
  readonly isDecided: boolean;
  /** On the target, of those that it blocked: what still shows a block. */
  readonly blocked: readonly string[];
}

/** Undefined where no rollback was begun, where it went back, and where nothing on the target shows its block. */
export async function stoppedRollback(
  migration: Migration,
  input: FreezeRef,
  signal: AbortSignal,
): Promise<StoppedRollback | undefined> {
  const { target, targetStore, keys } = migration;
  const files = keys.freeze(input.freeze);
  const begun = await readJson<TargetBlockFile>(targetStore, files.targetBlock, signal);
  if (begun === undefined || (await isUndone(targetStore, files, signal))) return undefined;
  const infos = await indicesByName(target, signal);
  const same = begun.indices.filter(({ name, uuid }) => infos.get(name)?.uuid === uuid).map(({ name }) => name);
  const blocked = await withWriteBlock(target, same, signal);
  const isDecided = (await standingRollback(migration, input, signal))?.accepted !== undefined;
  return isDecided || blocked.length > 0 ? { isDecided, blocked } : undefined;
}

/**
 * Ends a rollback that was stopped, for `snapferry unfreeze`: a decided one goes back, of any other the target is opened
 * again, which is decided first, so that a rollback that wakes up cannot go back as well. May be repeated. Undefined
 * where there is none, else whether it went back.
 */
export async function endRollback(
  deps: StepDeps,
  input: FreezeRef,
  context: StepContext,
): Promise<{ readonly wentBack: boolean; readonly indices: number; readonly notes: readonly string[] } | undefined> {
  const migration = await openMigration(deps, input.plan, context);
  const { target, targetStore, keys } = migration;
  const stopped = await stoppedRollback(migration, input, context.signal);
  if (stopped === undefined) return undefined;
  const decision = { reopenedBy: '`snapferry unfreeze`' } satisfies RollbackFile;
  await createJson(targetStore, keys.freeze(input.freeze).rollback, decision, context.signal);
  const stands = await standingRollback(migration, input, context.signal);
  if (stands?.accepted === undefined) {
    await removeWriteBlocks(target, stopped.blocked, context);
    return { wentBack: false, indices: stopped.blocked.length, notes: [] };
  }
  await switchAliasesBack(deps, { ...input, ...stands }, context);
  const { unblocked } = await unblockSource(deps, input, context);
  return { wentBack: true, indices: unblocked, notes: (await takeSettingsBack(deps, input, context)).notes };
}
