import { checkIndexVersion } from '../domain/compatibility';
import type { Objection } from '../domain/objections';
import type { ResolvedPlan } from '../domain/plan';
import { aliasFaults, resolvePatterns } from '../domain/patterns';
import { nameOnTarget, namingFaults, roundOf } from '../domain/target-names';
import type { Naming } from '../domain/target-names';
import type { Cluster, ClusterInfo, FlatSettings, IndexInfo } from '../elasticsearch/cluster';
import { strangersBehind } from './alias-plan';
import type { Findings } from './findings';
import { indexKey, readIndexOwner, refusal } from './ownership';
import type { Claimant } from './ownership';
import { mapInParallel } from '../storage/parallel';
import type { IndexOwner, ScopedIndex } from './work-files';

/** Which indices a plan means now, and what speaks against each of them. Preflight and every later scope ask the same. */

const OWNERS_AT_ONCE = 16;

export interface MatchingIndices {
  readonly indices: readonly IndexInfo[];
  /** The other indices of the source, each with the reason. */
  readonly excluded: readonly { readonly name: string; readonly because: string }[];
  readonly unmatched: readonly string[];
  /** All of the source, with the indices that they point at. */
  readonly aliases: Readonly<Record<string, readonly string[]>>;
}

/**
 * The indices of the source that the plan's patterns mean, sorted by name, without those that were taken out since.
 * Patterns that name aliases are problems.
 */
export async function matchingIndices(
  plan: ResolvedPlan,
  source: Cluster,
  findings: Findings,
  signal: AbortSignal,
  takenOut: ReadonlySet<string> = new Set(),
): Promise<MatchingIndices> {
  const all = new Map((await source.indices(signal)).map((index) => [index.name, index]));
  const aliases = await source.allAliases(signal);
  const faults = aliasFaults(plan.indices, aliases);
  for (const fault of faults) findings.refuse('scope', fault.name, fault);
  const { included: meant, excluded, unmatched } = resolvePatterns(plan.indices, [...all.keys()]);
  const included = meant.filter((name) => !takenOut.has(name));
  for (const fault of namingFaults(plan.restore, included, aliasesToCome(plan, included, aliases))) {
    findings.refuse('target', fault.name, fault);
  }
  return {
    indices: included.map((name) => all.get(name)!),
    excluded: [...excluded, ...unnamed(all.keys(), [...included, ...excluded.map(({ name }) => name)])],
    // An alias matches no index; it has been refused by name already.
    unmatched: unmatched.filter((pattern) => !Object.hasOwn(aliases, pattern)),
    aliases,
  };
}

/** Those of the plan, and those of the moved indices unless they stay behind. */
function aliasesToCome(
  plan: ResolvedPlan,
  indices: readonly string[],
  aliases: Readonly<Record<string, readonly string[]>>,
): Readonly<Record<string, readonly string[]>> {
  const planned = Object.entries(plan.cutover.switchover.aliases).map(([alias, index]) => [alias, [index]] as const);
  if (plan.restore.aliases === 'none') return Object.fromEntries(planned);
  const moved = new Set(indices);
  return Object.fromEntries([
    ...Object.entries(aliases).filter(([, places]) => places.some((index) => moved.has(index))),
    ...planned,
  ]);
}

function unnamed(all: Iterable<string>, known: readonly string[]): MatchingIndices['excluded'] {
  const named = new Set(known);
  return [...all]
    .filter((name) => !named.has(name))
    .map((name) => ({ name, because: 'no item of the plan matches it' }));
}

export interface Ends {
  readonly source: Cluster;
  readonly target: Cluster;
  readonly targetInfo: ClusterInfo;
  readonly naming: Naming;
  readonly claimant: Claimant;
}

export interface CheckedIndices {
  /** Of those that are open on the source. */
  readonly settings: Readonly<Record<string, FlatSettings>>;
  readonly there: TargetSurvey;
}

/** Adds a problem for each reason why one of `indices` can not be moved. Returns what was read for that. */
export async function checkIndices(
  indices: readonly IndexInfo[],
  ends: Ends,
  findings: Findings,
  signal: AbortSignal,
): Promise<CheckedIndices> {
  const open = indices.filter((index) => index.open).map(({ name }) => name);
  const settings = open.length === 0 ? {} : await ends.source.settings(open, signal);
  const there = await surveyTarget(indices, ends, signal);
  for (const index of indices) {
    const { name } = index;
    for (const objection of onSource(index, settings[name] ?? {})) findings.refuse('indices', name, objection);
    for (const objection of onTarget(index, there)) findings.refuse('target', name, objection);
    if (ends.naming.strategy === 'alias') warnOfOwnName(nameOnTarget(ends.naming, name), there, findings);
    for (const objection of checkIndexVersion(name, index.createdVersionId, ends.targetInfo)) {
      findings.refuse('indices', name, objection);
    }
    if (index.blocks.includes(FLOOD_BLOCK)) {
      findings.warn('indices', name, {
        seen: `A disk of the source is too full, so index '${name}' takes no writes there (${FLOOD_BLOCK})`,
        remedy: 'free disk there, or clients find the index blocked until the switchover',
      });
    } else if (index.blocks.length > 0) {
      findings.warn('indices', name, {
        seen: `Index '${name}' is blocked on the source already (${index.blocks.join(', ')})`,
        remedy: 'that is left as it is',
      });
    }
  }
  const flooded = [...there.indices.values()].filter(({ blocks }) => blocks.includes(FLOOD_BLOCK));
  if (flooded.length > 0) {
    findings.warn('room', ends.target.name, {
      seen: `A disk of the target is, or was, so full that ${flooded.length} of its indices take no writes (${FLOOD_BLOCK}), such as '${flooded[0]?.name}'`,
      remedy: 'give it larger disks; before 7.4 the block stays until somebody removes it',
    });
  }
  return { settings, there };
}

/** Set by a cluster itself when a disk is beyond the watermark `flood_stage`. */
const FLOOD_BLOCK = 'read_only_allow_delete';

/**
 * What would be found in the freeze only: aliases of the source that cannot be set on the target, or not as they were.
 * With `only`, those of these indices.
 */
export function checkAliases(
  plan: ResolvedPlan,
  { indices, aliases }: Pick<MatchingIndices, 'indices' | 'aliases'>,
  there: TargetSurvey,
  findings: Findings,
  only?: ReadonlySet<string>,
): void {
  const moved = new Set(indices.map(({ name }) => name));
  const coming = aliasesToCome(plan, [...moved], aliases);
  const ours = new Set(indices.map(({ name }) => nameOnTarget(plan.restore, name)));
  const isOurs = (index: string) =>
    ours.has(plan.restore.strategy === 'alias' ? (roundOf(index)?.name ?? index) : index);
  for (const [alias, places] of Object.entries(coming)) {
    if (only !== undefined && !places.some((index) => only.has(index))) continue;
    const strangers = strangersBehind(alias, there.aliases, isOurs);
    // A moved index of that name has been refused by name already.
    if (there.indices.has(alias) && !ours.has(alias)) {
      findings.refuse('target', alias, {
        seen: `Alias '${alias}' cannot be set: an index of that name exists on the target`,
        remedy: 'remove or rename that index, or plan restore.aliases: "none"',
      });
    }
    if (strangers.length > 0) {
      findings.refuse('target', alias, {
        seen: `Alias '${alias}' points at ${strangers.join(', ')} on the target, which this migration does not restore`,
        remedy: 'remove it there, or plan restore.aliases: "none"',
      });
    }
    const left = places.filter((index) => !moved.has(index) && plan.cutover.switchover.aliases[alias] === undefined);
    if (left.length === 0) continue;
    findings.warn('target', alias, {
      seen: `Alias '${alias}' points at ${left.join(', ')} too, which is not moved, so on the target it finds less`,
      remedy: 'take that into indices as well, or tell those who search by it',
    });
  }
}

function onSource({ name, open, health }: IndexInfo, settings: FlatSettings): Objection[] {
  const found: Objection[] = [];
  const object = (seen: string, remedy: string) =>
    found.push({ seen: `Index '${name}' is ${seen}`, remedy: `${remedy}, or leave it out with "-${name}"` });
  if (!open) {
    object('closed on the source', 'open it');
    return found;
  }
  if (health === 'red') object('red on the source, so no snapshot of it can be whole', 'mend it');
  if (String(settings['index.frozen']) === 'true') {
    object('frozen on the source', `unfreeze it (POST ${name}/_unfreeze)`);
  }
  if (settings['index.store.type'] === 'snapshot') object('a mounted snapshot', 'move the index it was taken of');
  if (settings['index.xpack.ccr.following_index'] === 'true') {
    object(
      'a follower of another cluster’s index (CCR), which writes to it',
      `unfollow it (POST ${name}/_ccr/unfollow)`,
    );
  }
  return found;
}

/** The target as the checks of indices have read it. */
export interface TargetSurvey {
  readonly claimant: Claimant;
  readonly naming: Naming;
  readonly indices: ReadonlyMap<string, IndexInfo>;
  readonly aliases: Readonly<Record<string, readonly string[]>>;
  readonly owners: ReadonlyMap<string, IndexOwner | undefined>;
}

async function surveyTarget(indices: readonly IndexInfo[], ends: Ends, signal: AbortSignal): Promise<TargetSurvey> {
  const { target, naming, claimant } = ends;
  const there = await target.indices(signal);
  const owners = await mapInParallel(indices, OWNERS_AT_ONCE, signal, async (index, either) => {
    const name = nameOnTarget(naming, index.name);
    return [name, await readIndexOwner(claimant, name, either)] as const;
  });
  return {
    claimant,
    naming,
    indices: new Map(there.map((index) => [index.name, index])),
    aliases: await target.allAliases(signal),
    owners: new Map(owners),
  };
}

/** On the target a name is free, or what has it was restored by us; all else is a stranger's and never touched. */
function onTarget(index: IndexInfo, survey: TargetSurvey): Objection[] {
  const name = nameOnTarget(survey.naming, index.name);
  const owner = survey.owners.get(name);
  if (owner !== undefined && owner.firstRunId !== survey.claimant.firstRunId) {
    return [refusal(`The target index '${name}'`, owner, indexKey(survey.claimant, name))];
  }
  const behind = Object.hasOwn(survey.aliases, name) ? survey.aliases[name] : undefined;
  if (behind !== undefined) {
    return [
      {
        seen: `The target has an alias '${name}' (of ${behind.join(', ')}), which is a stranger's`,
        remedy: `remove it there, or leave out "${index.name}"`,
      },
    ];
  }
  const existing = survey.indices.get(name);
  // With strategy `alias` nothing is restored over it; only the alias of its name will be missing.
  if (existing === undefined || survey.naming.strategy === 'alias' || owner?.uuids?.includes(existing.uuid) === true)
    return [];
  return [
    {
      seen: `The target has an index '${name}' already (${existing.open ? 'open' : 'closed'}), which is a stranger's`,
      remedy: `it is never restored over. Remove it there yourself, or leave out "${index.name}"`,
    },
  ];
}

function warnOfOwnName(name: string, { indices }: TargetSurvey, findings: Findings): void {
  if (!indices.has(name)) return;
  findings.warn('target', name, {
    seen: `The target has an index '${name}', so that name can not become an alias of what we restore`,
    remedy: 'remove or rename it before the switchover, or let clients use another alias',
  });
}

export function scoped({ name, uuid, shards, replicas, createdVersionId }: IndexInfo): ScopedIndex {
  return { name, uuid, shards, replicas, createdVersionId };
}
