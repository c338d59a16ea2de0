/** What all requests of one kind have in common of their signatures. */

/** The order in which headers are signed. Requests of one kind have the same names, and there are few kinds. */
export class SignedNames {
  readonly #known = new Map<string, readonly string[]>();

  /** `chosen`: of the names of a request's headers, those that are signed, and any beside them. */
  constructor(private readonly chosen: (names: string[]) => readonly string[]) {}

  of(headers: Readonly<Record<string, string>>): readonly string[] {
    let kind = '';
    for (const name in headers) kind += `${name};`;
    let names = this.#known.get(kind);
    if (names === undefined) this.#known.set(kind, (names = [...this.chosen(Object.keys(headers))].sort()));
    return names;
  }
}

/** The time of a signature: hundreds of requests have the same. */
export class SignedTime {
  #last: { readonly second: number; readonly text: string } | undefined;

  /** Of milliseconds since 1970: `20060102T150405Z` */
  of(at: number): string {
    const second = Math.floor(at / 1000);
    if (this.#last?.second !== second) {
      this.#last = { second, text: new Date(second * 1000).toISOString().replace(/[-:]|\.000/g, '') };
    }
    return this.#last.text;
  }
}
