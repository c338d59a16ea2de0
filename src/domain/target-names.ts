import type { Objection } from './objections';
import { matchesPattern } from './patterns';
import type { ResolvedPlan } from './plan';

/** How the indices of the source are called on the target: said once here, for every step that names one there. */

/** What of the plan decides it. */
export type Naming = Pick<ResolvedPlan['restore'], 'rename' | 'strategy'>;

/**
 * The name under which clients find an index on the target. A plain name of `restore.rename` wins over patterns; of
 * those the first that matches. An index without one keeps its name.
 */
export function nameOnTarget({ rename }: Pick<Naming, 'rename'>, index: string): string {
  const from = ruleFor(rename, index);
  if (from === undefined) return index;
  const to = rename[from] as string;
  const [head = '', tail] = from.split('*');
  return tail === undefined ? to : to.split('*').join(index.slice(head.length, index.length - tail.length));
}

function ruleFor(rename: Naming['rename'], index: string): string | undefined {
  if (Object.hasOwn(rename, index)) return index;
  return Object.keys(rename).find((pattern) => matchesPattern(pattern, index));
}

const OF_ROUND = '-snapferry-r';

/** The index that a round restores: with strategy `alias` one of its own, to which that name will point. */
export function indexOnTarget(naming: Naming, index: string, round: number): string {
  return nameOnTarget(naming, index) + suffix(naming, round);
}

function suffix({ strategy }: Naming, round: number): string {
  return strategy === 'alias' ? `${OF_ROUND}${round}` : '';
}

/** With strategy `alias`: the name that clients will find, and the round, of an index that a round restored. */
export function roundOf(restored: string): { readonly name: string; readonly round: number } | undefined {
  const [, name, round] = /^(.+)-snapferry-r(\d+)$/.exec(restored) ?? [];
  return name === undefined ? undefined : { name, round: Number(round) };
}

/** Indices that one restore request can name. */
export interface RestoreGroup {
  readonly indices: readonly string[];
  /** As a restore takes it: a Java regular expression, replaced wherever it matches. Names it does not match stay. */
  readonly rename?: { readonly pattern: string; readonly replacement: string };
}

/** One request knows one pattern, so there are as many as rules are used; what keeps its name goes with the first. */
export function restoreGroups(naming: Naming, indices: readonly string[], round: number): RestoreGroup[] {
  const { rename, strategy } = naming;
  const byRule = new Map<string | undefined, string[]>();
  for (const index of indices) {
    const rule = ruleFor(rename, index) ?? (strategy === 'alias' ? '*' : undefined);
    byRule.set(rule, [...(byRule.get(rule) ?? []), index]);
  }
  const kept = byRule.get(undefined) ?? [];
  byRule.delete(undefined);
  const [first, ...others] = [...byRule].map(([from, members]) => ({
    indices: members,
    rename: {
      pattern: expression(from as string),
      replacement: replacement(rename[from as string] ?? '*') + suffix(naming, round),
    },
  }));
  if (first === undefined) return [{ indices: kept }];
  return [{ ...first, indices: [...first.indices, ...kept] }, ...others];
}

function expression(from: string): string {
  const literal = (text: string) => text.replace(/[.^$+{}[\]()|\\?*]/g, '\\$&');
  return `^${from.split('*').map(literal).join('(.*)')}$`;
}

function replacement(to: string): string {
  return to
    .split('*')
    .map((text) => text.replaceAll('$', '\\$'))
    .join('$1');
}

/** A name of an index at most this long, in bytes of UTF-8 (`MetaDataCreateIndexService.MAX_INDEX_NAME_BYTES`). */
const LONGEST_NAME = 255;
const MANY_ROUNDS = 999_999;

/**
 * Why these indices cannot come to the target under their names there: two of one name, a name that no index can have,
 * or one that an alias will have. `aliases`: of the target once the switchover is done, with the indices of the source
 * that they point at.
 */
export function namingFaults(
  naming: Naming,
  indices: readonly string[],
  aliases: Readonly<Record<string, readonly string[]>>,
): (Objection & { readonly name: string })[] {
  const longest = LONGEST_NAME - suffix(naming, MANY_ROUNDS).length;
  const sources = new Map<string, string[]>();
  for (const index of indices) {
    const name = nameOnTarget(naming, index);
    sources.set(name, [...(sources.get(name) ?? []), index]);
  }
  return [...sources].flatMap(([name, from]) => {
    const [index = ''] = from;
    const remedy = 'correct restore.rename, or leave one of them out';
    const faults: string[] = [];
    if (from.length > 1) faults.push(`Indices ${quoted(from)} would all be called '${name}' on the target`);
    if (/^([-_+]|\.{0,2}$)/.test(name) || encodeURIComponent(name).replace(/%../g, ' ').length > longest) {
      faults.push(`Index '${index}' would be called '${name}' on the target, which is no name of an index`);
    }
    if (Object.hasOwn(aliases, name)) {
      faults.push(
        `Index '${index}' would be called '${name}' on the target, which is an alias there after the switchover`,
      );
    }
    return faults.map((seen) => ({ name: index, seen, remedy }));
  });
}

function quoted(names: readonly string[]): string {
  return names.map((name) => `'${name}'`).join(', ');
}
