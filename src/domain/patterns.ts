import type { Objection } from './objections';

/** Which concrete indices a plan's list of names and patterns means. */

export interface ResolvedPatterns {
  /** Sorted. */
  readonly included: readonly string[];
  /** Names that some item matched and that are left out all the same, sorted, each with the reason, a phrase. */
  readonly excluded: readonly { readonly name: string; readonly because: string }[];
  /** Items, never exclusions, that matched no index at all (not even one that is left out). */
  readonly unmatched: readonly string[];
}

/**
 * Walks the items in order; a later item wins over an earlier one.
 *
 * | item | adds | removes |
 * |---|---|---|
 * | `movies` | the index of that name, a dot index too | - |
 * | `logs-*` | every match that is not a dot index | - |
 * | `-logs-*`, `-movies` | - | every match, dot indices too |
 */
export function resolvePatterns(patterns: readonly string[], names: readonly string[]): ResolvedPatterns {
  const included = new Set<string>();
  const excluded = new Map<string, string>();
  const unmatched: string[] = [];
  for (const pattern of patterns) {
    if (pattern.startsWith('-')) {
      for (const name of [...included].filter((name) => matchesPattern(pattern.slice(1), name))) {
        included.delete(name);
        excluded.set(name, `excluded by ${pattern}`);
      }
      continue;
    }
    const matches = names.filter((name) => matchesPattern(pattern, name));
    if (matches.length === 0) unmatched.push(pattern);
    for (const name of matches) {
      if (name.startsWith('.') && name !== pattern) {
        if (!included.has(name)) excluded.set(name, 'a dot index, taken only when it is named exactly');
        continue;
      }
      included.add(name);
      excluded.delete(name);
    }
  }
  return {
    included: [...included].sort(),
    excluded: [...excluded].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, because]) => ({ name, because })),
    unmatched,
  };
}

/**
 * The items that name an alias. Aliases are refused because a restore brings back indices: what an alias
 * points at may change between rounds, and its name must stay free on the target.
 */
export function aliasFaults(
  patterns: readonly string[],
  aliases: Readonly<Record<string, readonly string[]>>,
): (Objection & { readonly name: string })[] {
  return patterns.flatMap((pattern) => {
    const name = pattern.replace(/^-/, '');
    if (!Object.hasOwn(aliases, name)) return [];
    const remedy = `name its indices instead: ${[...(aliases[name] ?? [])].sort().join(', ')}`;
    return [{ name, seen: `indices: '${name}' is an alias`, remedy }];
  });
}

/** Whether at least one of the patterns matches. */
export function matchesAny(patterns: readonly string[], name: string): boolean {
  return patterns.some((pattern) => matchesPattern(pattern, name));
}

/** `*` stands for any run of characters, all else for itself. Linear: no regular expression that could run away. */
export function matchesPattern(pattern: string, name: string): boolean {
  const [head = '', ...pieces] = pattern.split('*');
  const tail = pieces.pop();
  if (tail === undefined) return pattern === name;
  if (name.length < head.length + tail.length || !name.startsWith(head) || !name.endsWith(tail)) return false;
  const end = name.length - tail.length;
  let at = head.length;
  for (const piece of pieces) {
    const found = name.indexOf(piece, at);
    if (found < 0 || found + piece.length > end) return false;
    at = found + piece.length;
  }
  return true;
}
