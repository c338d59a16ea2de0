import { canonicalJson } from '../domain/canonical';
import { ConfigurationError } from '../domain/errors';
import { indexOnTarget, nameOnTarget } from '../domain/target-names';
import type { ResolvedPlan } from '../domain/plan';
import type { AliasAction, AliasDefinition, Cluster, IndexInfo } from '../elasticsearch/cluster';
import { inParallel, mapInParallel } from '../storage/parallel';
import { assertMayAct } from './context';
import type { StepContext } from './context';
import { excludedIndices } from './exclusions';
import type { Migration } from './migration';
import { claimantOf, readIndexOwner, recordAliases } from './ownership';

/** One cluster state update: the master answers within its own 30 s or not at all. */
const ALIASES_TIMEOUT_MS = 30_000;
const OWNERS_AT_ONCE = 16;

/**
 * What the switchover does to aliases on the target: decided here once, so that what verification compares and what
 * is then sent cannot differ.
 */
export interface AliasPlan {
  /** In one atomic call: removals, then additions. Empty when everything is as wanted. */
  readonly actions: readonly AliasAction[];
  /** Alias -> index of the target -> definition, as it will be. */
  readonly wanted: ReadonlyMap<string, ReadonlyMap<string, AliasDefinition>>;
  /** Aliases that cannot be set as wanted. While there is one, nothing may be sent. */
  readonly obstacles: readonly AliasObstacle[];
}

export interface AliasObstacle {
  readonly alias: string;
  /** What stands in the way, a sentence. */
  readonly why: string;
}

/**
 * `names`: the indices of the round by their names on the source; what they are called on the target is ours there. One
 * that is gone from a side has no aliases there.
 */
export async function planAliases(
  migration: Migration,
  names: readonly string[],
  round: number,
  signal: AbortSignal,
  planned: Readonly<Record<string, string>> = migration.plan.cutover.switchover.aliases,
): Promise<AliasPlan> {
  const { plan, source, target } = migration;
  const excluded = [...(await excludedIndices(migration, signal))];
  planned = withoutTargets(planned, new Set(excluded.flatMap((name) => [name, nameOnTarget(plan.restore, name)])));
  const onTarget = new Map(names.map((name) => [name, indexOnTarget(plan.restore, name, round)]));
  const ours = [...onTarget.values()];
  const taken = plan.restore.aliases !== 'none';
  const wanted = wantedAliases(
    taken ? await aliasesOf(source, names, await source.indices(signal), signal) : {},
    planned,
    onTarget,
  );
  const indices = await target.indices(signal);
  for (const [alias, index] of taken ? ownNames(plan, names, onTarget, indices) : []) {
    if (!wanted.has(alias)) wanted.set(alias, new Map([[index, {}]]));
  }
  // Of a copy that was excluded only what earlier rounds gave it concerns us: it goes.
  const known = [...ours, ...excluded.map((name) => indexOnTarget(plan.restore, name, round))];
  const given = plan.restore.aliases === 'everyRound' ? await givenAliases(migration, known, signal) : NOTHING_GIVEN;
  if (wanted.size === 0 && given.size === 0) return { actions: [], wanted, obstacles: [] };
  const held = await aliasesOf(target, [...new Set([...ours, ...given.keys()])], indices, signal);
  return {
    actions: [...outdated(wanted, held, given, planned), ...actionsFor(wanted, held, Object.keys(planned))],
    wanted,
    obstacles: obstaclesTo(wanted, await target.allAliases(signal), indices, new Set(ours), given),
  };
}

/** The plan may have an alias point at what was excluded since: that one is not set. */
function withoutTargets(planned: Readonly<Record<string, string>>, gone: ReadonlySet<string>): Record<string, string> {
  return Object.fromEntries(Object.entries(planned).filter(([, index]) => !gone.has(index)));
}

/** With strategy `alias` clients find an index under its own name by an alias, where no index has that name. */
function ownNames(
  plan: ResolvedPlan,
  names: readonly string[],
  onTarget: ReadonlyMap<string, string>,
  indices: readonly IndexInfo[],
): (readonly [string, string])[] {
  if (plan.restore.strategy !== 'alias') return [];
  const taken = new Set(indices.map(({ name }) => name));
  return names
    .map((name) => [nameOnTarget(plan.restore, name), onTarget.get(name) as string] as const)
    .filter(([alias]) => !taken.has(alias));
}

async function aliasesOf(
  cluster: Cluster,
  names: readonly string[],
  indices: readonly IndexInfo[],
  signal: AbortSignal,
): Promise<AliasesByIndex> {
  const existing = new Set(indices.map(({ name }) => name));
  const present = names.filter((name) => existing.has(name));
  return present.length === 0 ? {} : cluster.aliases(present, signal);
}

type AliasesByIndex = Awaited<ReturnType<Cluster['aliases']>>;

/**
 * The source's aliases with their definitions; one that the plan names points where the plan says, and only there. The
 * plan may call an index as the source or as the target does; where both would do, as the source.
 */
function wantedAliases(
  fromSource: AliasesByIndex,
  planned: Readonly<Record<string, string>>,
  onTarget: ReadonlyMap<string, string>,
): Map<string, Map<string, AliasDefinition>> {
  const wanted = new Map<string, Map<string, AliasDefinition>>();
  for (const [index, aliases] of Object.entries(fromSource)) {
    for (const [alias, definition] of Object.entries(aliases)) {
      if (!wanted.has(alias)) wanted.set(alias, new Map());
      wanted.get(alias)?.set(onTarget.get(index) ?? index, definition);
    }
  }
  for (const [alias, called] of Object.entries(planned)) {
    const index = onTarget.has(called) ? called : [...onTarget].find(([, name]) => name === called)?.[0];
    const definition = index === undefined ? undefined : fromSource[index]?.[alias];
    wanted.set(alias, new Map([[onTarget.get(index ?? called) ?? called, definition ?? {}]]));
  }
  return wanted;
}

const NOTHING_GIVEN: ReadonlyMap<string, readonly string[]> = new Map();

/** By index of the target: the aliases that rounds before gave it. */
async function givenAliases(
  migration: Migration,
  ours: readonly string[],
  signal: AbortSignal,
): Promise<ReadonlyMap<string, readonly string[]>> {
  const claimant = claimantOf(migration);
  const owners = await mapInParallel(ours, OWNERS_AT_ONCE, signal, (name, either) =>
    readIndexOwner(claimant, name, either),
  );
  return new Map(
    ours.flatMap((name, at) => {
      const aliases = owners[at]?.aliases ?? [];
      return aliases.length === 0 ? [] : [[name, aliases] as const];
    }),
  );
}

/** What rounds before gave and the source has no longer; what somebody else set on the target stays. */
function outdated(
  wanted: AliasPlan['wanted'],
  held: AliasesByIndex,
  given: ReadonlyMap<string, readonly string[]>,
  planned: Readonly<Record<string, string>>,
): AliasAction[] {
  return [...given].flatMap(([index, aliases]) =>
    aliases
      .filter((alias) => held[index]?.[alias] !== undefined && wanted.get(alias)?.has(index) !== true)
      .filter((alias) => planned[alias] === undefined) // those are removed everywhere else anyway
      .map((alias) => ({ remove: { index, alias } })),
  );
}

/**
 * After each round, where the plan says so: the target's aliases become the source's. Recorded before they are set, so
 * that a later round may take them away again. Throws `ConfigurationError` before anything when one cannot be set.
 */
export async function followAliases(
  migration: Migration,
  names: readonly string[],
  round: number,
  context: StepContext,
): Promise<void> {
  const { signal } = context;
  const { actions, wanted, obstacles } = await planAliases(migration, names, round, signal, {});
  refuseObstacles(migration, obstacles);
  if (actions.length === 0) return;
  const byIndex = new Map<string, string[]>();
  for (const [alias, indices] of wanted) {
    for (const index of indices.keys()) byIndex.set(index, [...(byIndex.get(index) ?? []), alias]);
  }
  assertMayAct(context, ALIASES_TIMEOUT_MS);
  const claimant = claimantOf(migration);
  await inParallel([...byIndex], OWNERS_AT_ONCE, signal, ([index, aliases], either) =>
    recordAliases(claimant, index, aliases, either),
  );
  assertMayAct(context, ALIASES_TIMEOUT_MS);
  await migration.target.updateAliases(actions, signal);
}

/** Throws `ConfigurationError` if there are any. */
export function refuseObstacles({ target }: Migration, obstacles: readonly AliasObstacle[]): void {
  if (obstacles.length === 0) return;
  const sentences = obstacles.slice(0, 10).map(({ why }) => why);
  throw new ConfigurationError(`The aliases cannot be set: ${sentences.join('; ')}`, {
    subject: { cluster: target.name },
  });
}

function actionsFor(wanted: AliasPlan['wanted'], held: AliasesByIndex, planned: readonly string[]): AliasAction[] {
  const removals = planned.flatMap((alias) =>
    Object.keys(held)
      .filter((index) => held[index]?.[alias] !== undefined && wanted.get(alias)?.has(index) !== true)
      .map((index) => ({ remove: { index, alias } })),
  );
  const additions = [...wanted].flatMap(([alias, indices]) =>
    [...indices]
      .filter(([index, definition]) => !sameDefinition(held[index]?.[alias], definition))
      .map(([index, definition]) => ({ add: { index, alias, ...definition } })),
  );
  return [...removals, ...additions];
}

/** Whose alias it is on the target, besides ours. `everywhere`: all aliases there, with the indices they point at. */
export function strangersBehind(
  alias: string,
  everywhere: Readonly<Record<string, readonly string[]>>,
  isOurs: (index: string) => boolean,
): readonly string[] {
  // An alias may be called `constructor`.
  return Object.hasOwn(everywhere, alias) ? (everywhere[alias] ?? []).filter((index) => !isOurs(index)) : [];
}

function obstaclesTo(
  wanted: AliasPlan['wanted'],
  everywhere: Readonly<Record<string, readonly string[]>>,
  indices: readonly IndexInfo[],
  ours: ReadonlySet<string>,
  given: ReadonlyMap<string, readonly string[]>,
): AliasObstacle[] {
  const indexNames = new Set(indices.map(({ name }) => name));
  const obstacles: AliasObstacle[] = [];
  for (const [alias, places] of wanted) {
    const stands = (why: string) => obstacles.push({ alias, why: `alias '${alias}' ${why}` });
    const isOurs = (index: string) => ours.has(index) || given.get(index)?.includes(alias) === true;
    const strangers = strangersBehind(alias, everywhere, isOurs);
    if (indexNames.has(alias)) stands('cannot be set: an index of that name exists on the target');
    if (strangers.length > 0) {
      stands(`already points at ${strangers.join(', ')} on the target, which this migration did not restore`);
    }
    for (const index of places.keys()) {
      if (!ours.has(index)) stands(`is to point at '${index}', which is not an index of this round`);
    }
  }
  return obstacles;
}

function sameDefinition(held: AliasDefinition | undefined, wanted: AliasDefinition): boolean {
  return held !== undefined && canonicalJson(held) === canonicalJson(wanted);
}
