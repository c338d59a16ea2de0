/** Something that speaks against going on: what was seen, and what somebody can do about it. */
export interface Objection {
  readonly seen: string;
  readonly remedy: string;
}

/** `Index 'a' is closed on the source: open it`. */
export function sentenceOf({ seen, remedy }: Objection): string {
  return `${seen}: ${remedy}`;
}
