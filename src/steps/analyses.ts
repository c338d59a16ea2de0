import type { FlatSettings } from '../elasticsearch/cluster';

/** What indices do with text, as bodies of `_analyze`: it takes definitions, so a cluster can be asked without an index. */

type Definition = Readonly<Record<string, string | readonly string[]>>;
type Kind = 'analyzer' | 'tokenizer' | 'filter' | 'char_filter' | 'normalizer';
type Definitions = Readonly<Record<Kind, Readonly<Record<string, Definition>>>>;

/** Each different body, with the names of the indices that need it. */
export function analysesOf(
  names: readonly string[],
  settings: Readonly<Record<string, FlatSettings>>,
  mappings: Readonly<Record<string, unknown>>,
): Map<object, string[]> {
  const byText = new Map<string, { readonly body: object; readonly users: string[] }>();
  for (const name of names) {
    const defined = definitionsIn(settings[name] ?? {});
    const own = Object.values(defined.analyzer).map((analyzer) => bodyOf(analyzer, defined));
    const named = [...analyzersIn(mappings[name])].filter((analyzer) => !Object.hasOwn(defined.analyzer, analyzer));
    for (const body of [...own, ...named.map((analyzer) => ({ analyzer }))]) {
      const text = JSON.stringify(body);
      const known = byText.get(text) ?? { body, users: [] };
      byText.set(text, known);
      if (known.users.at(-1) !== name) known.users.push(name);
    }
  }
  return new Map([...byText.values()].map(({ body, users }) => [body, users]));
}

function bodyOf(analyzer: Definition, defined: Definitions): object {
  const { type, tokenizer, filter = [], char_filter = [] } = analyzer;
  // Of another type than `custom` it is made by that type alone.
  if (type !== undefined && type !== 'custom') return { analyzer: type };
  const resolved = (kind: Kind, name: string): string | Definition => defined[kind][name] ?? name;
  const all = (kind: Kind, of: string | readonly string[]) => [of].flat().map((name) => resolved(kind, name));
  return {
    ...(tokenizer === undefined ? {} : { tokenizer: resolved('tokenizer', String(tokenizer)) }),
    filter: all('filter', filter),
    char_filter: all('char_filter', char_filter),
  };
}

/** `index.analysis.filter.mine.type`; lists are lists, or up to 5.x `index.analysis.analyzer.a.filter.0`. */
function definitionsIn(settings: FlatSettings): Definitions {
  const found: Record<Kind, Record<string, Record<string, string | string[]>>> = {
    analyzer: {},
    tokenizer: {},
    filter: {},
    char_filter: {},
    normalizer: {},
  };
  for (const [key, value] of Object.entries(settings)) {
    const match =
      /^index\.analysis\.(analyzer|tokenizer|filter|char_filter|normalizer)\.(.+?)\.([^.]+?)(?:\.(\d+))?$/.exec(key);
    if (match === null) continue;
    const [, kind, name = '', property = '', position] = match;
    const definition = (found[kind as Kind][name] ??= {});
    if (position === undefined) definition[property] = typeof value === 'string' ? value : [...value];
    else (definition[property] = [definition[property] ?? []].flat())[Number(position)] = String(value);
  }
  return found;
}

const ANALYZER_KEYS = new Set(['analyzer', 'search_analyzer', 'search_quote_analyzer']);

/** Names of analyzers anywhere in a mapping. A field may be called `analyzer`: then the value is no text. */
function analyzersIn(mapping: unknown, found = new Set<string>()): Set<string> {
  if (typeof mapping !== 'object' || mapping === null) return found;
  for (const [key, value] of Object.entries(mapping)) {
    if (ANALYZER_KEYS.has(key) && typeof value === 'string') found.add(value);
    else analyzersIn(value, found);
  }
  return found;
}
