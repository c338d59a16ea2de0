/** Keys are ordered by their UTF-8 bytes, as every object store lists them. */

/**
 * Negative when `a` comes first. JavaScript's own order goes by UTF-16 units, in which the surrogates (characters above
 * U+FFFF) wrongly precede U+E000 to U+FFFF; everywhere else the two orders agree.
 */
export function compareKeys(a: string, b: string): number {
  const end = Math.min(a.length, b.length);
  for (let i = 0; i < end; i++) {
    const unitA = a.charCodeAt(i);
    const unitB = b.charCodeAt(i);
    if (unitA !== unitB) return rank(unitA) - rank(unitB);
  }
  return a.length - b.length;
}

function rank(unit: number): number {
  const isSurrogate = unit >= 0xd800 && unit <= 0xdfff;
  return isSurrogate ? unit + 0x10000 : unit;
}

/** The key of `key` below `basePath`, which has no slash at either end and is empty for the root. */
export function keyBelow(basePath: string, key: string): string {
  return basePath === '' ? key : `${basePath}/${key}`;
}
