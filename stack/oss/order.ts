// Keys in the order of their UTF-8 bytes. (Not shared with src/storage: a server that judges it must not agree by accident.)

/** Negative when `a` comes first. UTF-16 order, JavaScript's own, differs where surrogates meet U+E000 to U+FFFF. */
export function compareKeys(a: string, b: string): number {
  for (let at = 0; at < a.length && at < b.length; at++) {
    const [one, other] = [a.charCodeAt(at), b.charCodeAt(at)];
    if (one !== other) {
      return isSurrogate(one) === isSurrogate(other)
        ? one - other
        : Number(isSurrogate(one)) - Number(isSurrogate(other));
    }
  }
  return a.length - b.length;
}

function isSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdfff;
}
