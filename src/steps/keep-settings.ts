import { ConfigurationError } from '../domain/errors';
import type { KeepSettingsResult, SwitchInput } from '../domain/exchange';
import { matchesAny } from '../domain/patterns';
import { indexOnTarget } from '../domain/target-names';
import type { FlatSettings } from '../elasticsearch/cluster';
import type { ManifestIndex } from '../repository';
import { assertMayAct } from './context';
import type { StepContext } from './context';
import { BLOCK_TIMEOUT_MS } from './frozen-source';
import { roundManifest } from './exclusions';
import { openMigration } from './migration';
import type { Migration, StepDeps } from './migration';
import { assertCommitted, assertRestoredByUs } from './switchover';

const NOTES_AT_MOST = 10;

type Changes = Readonly<Record<string, string | readonly string[] | null>>;

/** Whether an index takes writes is for the switchover alone. */
const NEVER_KEPT = ['index.blocks.*'];

/**
 * Gives the target's indices back what restores have dropped or changed of the settings that the plan keeps, as the
 * last snapshot has them. Looks first; what the target refuses (a setting fixed at creation, a plugin that is missing)
 * is a note, since the switchover has been made. May be repeated.
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
  const groups = new Map<string, { readonly settings: Changes; readonly names: string[] }>();
  for (const [name, index] of onTarget) {
    const settings = missingOf(migration, index, held[name] ?? {});
    const group = groups.get(JSON.stringify(settings)) ?? { settings, names: [] };
    group.names.push(name);
    groups.set(JSON.stringify(settings), group);
  }
  const notes: string[] = [];
  for (const group of groups.values()) notes.push(...(await setEach(migration, group, context)));
  return { indices: names.length, notes: notes.slice(0, NOTES_AT_MOST) };
}

/** What the snapshot has and the index has not; null where only the plan has set it. */
function missingOf({ plan }: Migration, { settings }: ManifestIndex, held: FlatSettings): Changes {
  const { keepSettings: kept, settings: planned } = plan.restore;
  const names = [...Object.keys(settings), ...Object.keys(planned)].filter(
    (name) => matchesAny(kept, name) && !matchesAny(NEVER_KEPT, name),
  );
  const differing = names.filter((name) => JSON.stringify(held[name]) !== JSON.stringify(settings[name]));
  return Object.fromEntries(differing.map((name) => [name, settings[name] ?? null]));
}

/** All in one call where the target takes them; else one by one, so that one that it refuses does not keep out the rest. */
async function setEach(
  { target }: Migration,
  { settings, names }: { readonly settings: Changes; readonly names: readonly string[] },
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
    if (why !== undefined) notes.push(`setting ${name} did not come back on '${names[0]}'${more}: ${why}`);
  }
  return notes;
}
