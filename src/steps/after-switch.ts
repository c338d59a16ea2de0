import { WritesNotBlockedError } from '../domain/errors';
import type { FreezeRef, SwitchInput, Writes } from '../domain/exchange';
import { indexOnTarget } from '../domain/target-names';
import { counted, tallyFrom, writesOf } from '../domain/writes';
import type { Counters } from '../domain/writes';
import type { AliasAction, AliasDefinition, Cluster } from '../elasticsearch/cluster';
import { assertMayAct } from './context';
import type { StepContext } from './context';
import { excludedIndices } from './exclusions';
import { createJson, readJson, requireJson, writeJson } from './files';
import { indicesByName } from './frozen-source';
import { openMigration } from './migration';
import type { Migration, StepDeps } from './migration';
import { readCounters } from './quiescence';
import type { AliasesFile, RollbackFile, SwitchFile } from './work-files';

/** What `cutover.watch` needs to know of the switchover, and the counting itself. */

const WRITE_TIMEOUT_MS = 30_000;

/** Before the target is opened, and once: while it is blocked nobody but us has written there. */
export async function recordSwitch(
  migration: Migration,
  { freeze }: FreezeRef,
  names: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  const { target, targetStore, keys, plan } = migration;
  if (plan.cutover.watchMs === undefined) return;
  const key = keys.freeze(freeze).switch;
  if ((await readJson<SwitchFile>(targetStore, key, signal)) !== undefined) return;
  const infos = await indicesByName(target, signal);
  const tally = tallyFrom(await readCounters(target, names, signal));
  const indices = names.map((name) => ({ name, uuid: infos.get(name)?.uuid ?? '' }));
  await createJson(targetStore, key, { indices, tally } satisfies SwitchFile, signal);
}

/**
 * Before the aliases are set, and once: what takes exactly these actions back. Those that a copy loses because its index
 * was excluded stay away: no alias points at it any more.
 */
export async function recordAliases(
  migration: Migration,
  { freeze, round }: SwitchInput,
  actions: readonly AliasAction[],
  signal: AbortSignal,
): Promise<void> {
  const { target, targetStore, keys, plan } = migration;
  if (plan.cutover.watchMs === undefined) return;
  const held = await heldAliases(target, actions, signal);
  const excluded = [...(await excludedIndices(migration, signal))].map((name) =>
    indexOnTarget(plan.restore, name, round),
  );
  const undo = actions
    .map(placeOf)
    .filter(({ index }) => !excluded.includes(index))
    .map(({ index, alias }) => backTo(held.get(index)?.[alias], index, alias));
  await createJson(targetStore, keys.freeze(freeze).aliases, { undo } satisfies AliasesFile, signal);
}

export function placeOf(action: AliasAction): { readonly index: string; readonly alias: string } {
  return 'add' in action ? action.add : action.remove;
}

/** Of the indices that the actions name: the aliases of each that is there. */
export async function heldAliases(
  target: Cluster,
  actions: readonly AliasAction[],
  signal: AbortSignal,
): Promise<ReadonlyMap<string, Readonly<Record<string, AliasDefinition>>>> {
  const infos = await indicesByName(target, signal);
  const names = [...new Set(actions.map((action) => placeOf(action).index))].filter((name) => infos.has(name));
  const held = names.length === 0 ? {} : await target.aliases(names, signal);
  return new Map(names.map((name) => [name, held[name] ?? {}]));
}

function backTo(held: AliasDefinition | undefined, index: string, alias: string): AliasAction {
  return held === undefined ? { remove: { index, alias } } : { add: { index, alias, ...held } };
}

/** Counts what was written on the target since the switch. Changes nothing there. */
export async function countWrites(deps: StepDeps, input: FreezeRef, context: StepContext): Promise<Writes> {
  const migration = await openMigration(deps, input.plan, context);
  const { indices } = await requireSwitch(migration, input, context.signal);
  const { target } = migration;
  const infos = await indicesByName(target, context.signal);
  // One that was created anew is another index, and says nothing of what was written to ours.
  const ours = indices.filter(({ name, uuid }) => infos.get(name)?.uuid === uuid && infos.get(name)?.open === true);
  const names = ours.map(({ name }) => name);
  const counters = names.length === 0 ? {} : await target.shardStats(names, context.signal);
  return tallied(migration, input, counters, context);
}

export function requireSwitch({ targetStore, keys }: Migration, { freeze }: FreezeRef, signal: AbortSignal) {
  return requireJson<SwitchFile>(targetStore, keys.freeze(freeze).switch, signal);
}

/** The first word on a rollback; undefined while none is said. */
export function standingRollback(
  { targetStore, keys }: Migration,
  { freeze }: FreezeRef,
  signal: AbortSignal,
): Promise<RollbackFile | undefined> {
  return readJson<RollbackFile>(targetStore, keys.freeze(freeze).rollback, signal);
}

/** Throws `BlobMissingError` while the rollback is undecided, `WritesNotBlockedError` when it is decided against. */
export async function requireRollback(
  { targetStore, keys }: Migration,
  { freeze }: FreezeRef,
  signal: AbortSignal,
): Promise<void> {
  refuseReopened(await requireJson<RollbackFile>(targetStore, keys.freeze(freeze).rollback, signal));
}

export function refuseReopened(stands: RollbackFile | undefined): void {
  if (stands === undefined || stands.accepted !== undefined) return;
  throw new WritesNotBlockedError(
    `The rollback was ended by ${stands.reopenedBy}, which opened the target again: it keeps the writes, and no ` +
      'rollback goes back any more. Where one still waits, signal `abort`',
  );
}

/** Adds one look to what was counted before. */
export async function tallied(
  migration: Migration,
  input: FreezeRef,
  counters: Counters,
  context: StepContext,
): Promise<Writes> {
  const { targetStore, keys } = migration;
  const key = keys.freeze(input.freeze).writes;
  const before =
    (await readJson<SwitchFile>(targetStore, key, context.signal)) ??
    (await requireSwitch(migration, input, context.signal));
  const tally = counted(before.tally, counters);
  assertMayAct(context, WRITE_TIMEOUT_MS);
  await writeJson(targetStore, key, { ...before, tally } satisfies SwitchFile, context.signal);
  return writesOf(tally);
}
