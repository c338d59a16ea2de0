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
    // An analyzer without a tokenizer; 5.5 looks at filters only behind one, whichever it is.
    const normalizers = Object.values(defined.normalizer).filter(isCustom);
    const all = [...Object.values(defined.analyzer), ...normalizers.map((one) => ({ tokenizer: 'standard', ...one }))];
    const own = all.map((one) => bodyOf(one, defined));
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

function isCustom({ type = 'custom' }: Definition): boolean {
  return type === 'custom';
}

/**
 * Names that a cluster takes in indices created before, but not in a body, which counts as of now; with those that have
 * meant the same since 6.4. The filter `standard` does nothing, and is left out.
 * https://www.elastic.co/guide/en/elasticsearch/reference/7.17/breaking-changes-7.0.html#breaking_70_analysis_changes
 * https://www.elastic.co/guide/en/elasticsearch/reference/8.19/migrating-8.0.html
 */
const RENAMED: Readonly<Record<string, string>> = {
  nGram: 'ngram',
  edgeNGram: 'edge_ngram',
  delimited_payload_filter: 'delimited_payload',
};

function bodyOf(analyzer: Definition, defined: Definitions): object {
  const { type, tokenizer, filter = [], char_filter = [] } = analyzer;
  // Of another type than `custom` it is made by that type alone.
  if (!isCustom(analyzer)) return { analyzer: type };
  const all = (kind: Kind, of: string | readonly string[]) =>
    [of].flat().map((name) => asOfNow(defined[kind][name] ?? name));
  return {
    ...(tokenizer === undefined ? {} : { tokenizer: all('tokenizer', tokenizer)[0] }),
    filter: all('filter', filter).filter((one) => nameOf(one) !== 'standard'),
    char_filter: all('char_filter', char_filter),
  };
}

function nameOf(one: string | Definition): string {
  return typeof one === 'string' ? one : String(one['type']);
}

function asOfNow(one: string | Definition): string | Definition {
  const name = nameOf(one);
  const now = Object.hasOwn(RENAMED, name) ? (RENAMED[name] ?? name) : name;
  return typeof one === 'string' ? now : { ...one, type: now };
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
