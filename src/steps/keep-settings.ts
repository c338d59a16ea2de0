import { ConfigurationError } from '../domain/errors';
import type { FreezeRef, KeepSettingsResult, SwitchInput } from '../domain/exchange';
import { matchesAny } from '../domain/patterns';
import { indexOnTarget } from '../domain/target-names';
import type { FlatSettings } from '../elasticsearch/cluster';
import type { ManifestIndex } from '../repository';
import { requireRollback } from './after-switch';
import { assertMayAct } from './context';
import type { StepContext } from './context';
import { createJson, readJson } from './files';
import { BLOCK_TIMEOUT_MS, indicesByName } from './frozen-source';
import { roundManifest } from './exclusions';
import { openMigration } from './migration';
import type { Migration, StepDeps } from './migration';
import { assertCommitted, assertRestoredByUs } from './switchover';
import type { ChangedSettings, SettingsFile } from './work-files';

const NOTES_AT_MOST = 10;

type Changes = ChangedSettings['set'];

/** Whether an index takes writes is for the switchover alone. */
const NEVER_KEPT = ['index.blocks.*'];

/**
 * Gives the target's indices back what restores have dropped or changed of the settings that the plan keeps, as the
 * last snapshot has them. Looks first; what the target refuses (a setting fixed at creation, a plugin that is missing)
 * is a note, since the switchover has been made. May be repeated. With `cutover.watch` it is recorded first what was there.
 *
 * Throws `WritesNotBlockedError` unless the freeze is committed, `ConfigurationError` when an index is not ours.
 */
export async function keepSettings(
  deps: StepDeps,
  input: SwitchInput,
  context: StepContext,
): Promise<KeepSettingsResult> {
  const migration = await openMigration(deps, input.plan, context);
  const { target, plan } = migration;
  await assertCommitted(migration, input, context.signal);
  const { indices } = await roundManifest(migration, input, context.signal);
  const onTarget = new Map(
    indices.map((index) => [indexOnTarget(plan.restore, index.name, input.round), index] as const),
  );
  const names = [...onTarget.keys()];
  await assertRestoredByUs(migration, names, context.signal);
  const held = await target.settings(names, context.signal);
  const changes = [...onTarget].map(([name, index]) => missingOf(migration, name, index, held[name] ?? {}));
  if (plan.cutover.watchMs !== undefined) await recordSettings(migration, input, changes, context.signal);
  const notes = await setAll(migration, changes, 'did not come back', context);
  return { indices: names.length, notes };
}

/** Before anything is set, and once: what takes exactly this back. */
async function recordSettings(
  { target, targetStore, keys }: Migration,
  { freeze }: FreezeRef,
  changes: readonly Change[],
  signal: AbortSignal,
): Promise<void> {
  const infos = await indicesByName(target, signal);
  const indices = changes
    .filter(({ set }) => Object.keys(set).length > 0)
    .map((change) => ({ ...change, uuid: infos.get(change.name)?.uuid ?? '' }));
  await createJson(targetStore, keys.freeze(freeze).settings, { indices } satisfies SettingsFile, signal);
}

/**
 * After a rollback: the target's indices have the settings again that they had before `keepSettings`, so that no policy
 * acts on what nobody uses any more. Only what still holds the value that we gave it, of indices that are still the
 * same; what the target refuses is a note. May be repeated. Throws `BlobMissingError` while the
 * rollback is undecided, `WritesNotBlockedError` when it is decided against.
 */
export async function takeSettingsBack(
  deps: StepDeps,
  input: FreezeRef,
  context: StepContext,
): Promise<KeepSettingsResult> {
  const migration = await openMigration(deps, input.plan, context);
  const { target, targetStore, keys } = migration;
  const files = keys.freeze(input.freeze);
  await requireRollback(migration, input, context.signal);
  const { indices } = (await readJson<SettingsFile>(targetStore, files.settings, context.signal)) ?? { indices: [] };
  const infos = await indicesByName(target, context.signal);
  const same = indices.filter(({ name, uuid }) => infos.get(name)?.uuid === uuid);
  if (same.length === 0) return { indices: 0, notes: [] };
  const names = same.map(({ name }) => name);
  const held = await target.settings(names, context.signal);
  const changes = same.map(({ name, was, set }) => ({
    name,
    set: Object.fromEntries(Object.entries(was).filter(([key]) => isSame(held[name]?.[key], set[key]))),
  }));
  return { indices: same.length, notes: await setAll(migration, changes, 'stays as the switchover set it', context) };
}

/** Of one index on the target. */
type Change = Pick<ChangedSettings, 'name' | 'was' | 'set'>;

/** What the snapshot has and the index has not; null where only the plan has set it. */
function missingOf({ plan }: Migration, name: string, { settings }: ManifestIndex, held: FlatSettings): Change {
  const { keepSettings: kept, settings: planned } = plan.restore;
  const keys = [...Object.keys(settings), ...Object.keys(planned)].filter(
    (key) => matchesAny(kept, key) && !matchesAny(NEVER_KEPT, key) && !isSame(held[key], settings[key]),
  );
  const valuesIn = (from: FlatSettings) => Object.fromEntries(keys.map((key) => [key, from[key] ?? null]));
  return { name, was: valuesIn(held), set: valuesIn(settings) };
}

/** A setting that is not there and one that is to be taken away are the same. */
function isSame(one: Changes[string] | undefined, other: Changes[string] | undefined): boolean {
  return JSON.stringify(one ?? null) === JSON.stringify(other ?? null);
}

/** Indices of equal changes share calls. Returns sentences of what was refused, at most 10. */
async function setAll(
  migration: Migration,
  changes: readonly Pick<Change, 'name' | 'set'>[],
  refusal: string,
  context: StepContext,
): Promise<string[]> {
  const groups = new Map<string, { readonly settings: Changes; readonly names: string[] }>();
  for (const { name, set } of changes) {
    const group = groups.get(JSON.stringify(set)) ?? { settings: set, names: [] };
    group.names.push(name);
    groups.set(JSON.stringify(set), group);
  }
  const notes: string[] = [];
  for (const group of groups.values()) notes.push(...(await setEach(migration, group, refusal, context)));
  return notes.slice(0, NOTES_AT_MOST);
}

/** All in one call where the target takes them; else one by one, so that one that it refuses does not keep out the rest. */
async function setEach(
  { target }: Migration,
  { settings, names }: { readonly settings: Changes; readonly names: readonly string[] },
  refusal: string,
  context: StepContext,
): Promise<string[]> {
  const entries = Object.entries(settings);
  if (entries.length === 0) return [];
  const set = async (some: Changes) => {
    assertMayAct(context, BLOCK_TIMEOUT_MS);
    try {
      await target.updateSettings(names, some, context.signal);
      return undefined;
    } catch (error) {
      if (!(error instanceof ConfigurationError)) throw error;
      return error.message;
    }
  };
  const refused = await set(settings);
  if (refused === undefined) return [];
  const notes: string[] = [];
  for (const [name, value] of entries) {
    const why = entries.length === 1 ? refused : await set({ [name]: value });
    const more = names.length === 1 ? '' : ` and ${names.length - 1} more`;
    if (why !== undefined) notes.push(`setting ${name} ${refusal} on '${names[0]}'${more}: ${why}`);
  }
  return notes;
}
