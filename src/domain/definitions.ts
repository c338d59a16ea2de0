import { canonicalJson } from './canonical';
import { matchesAny } from './patterns';

/** What a cluster has around its indices and no snapshot of ours brings along: templates, pipelines, policies, scripts. Pure. */

export interface Definition {
  readonly kind:
    'template' | 'index-template' | 'component-template' | 'pipeline' | 'ilm-policy' | 'ism-policy' | 'script';
  readonly name: string;
  /** Of the PUT that takes `body`. */
  readonly path: string;
  readonly body: object;
}

export interface Definitions {
  readonly all: readonly Definition[];
  /** False where a service shows no stored scripts, whether it has some or not. */
  readonly scriptsKnown: boolean;
}

/** A definition of the source that is not the target's as well, as far as is known. */
export interface Lack {
  readonly definition: Definition;
  readonly state: 'missing' | 'different' | 'not known';
}

/** Settings by index. */
type Indices = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

/** Settings of each kind of lifecycle management. All are dropped on restore: policies stay where they are. */
export const LIFECYCLES = [
  'index.lifecycle.name',
  'index.opendistro.index_state_management.policy_id',
  'index.plugins.index_state_management.policy_id',
];

/**
 * Those of `all` that the indices, or indices to come of such a name, refer to. Which pipelines and scripts clients name in
 * their requests no cluster knows, so every one of these counts.
 *
 * | kind | counts when |
 * |---|---|
 * | template, index-template | a pattern matches one of the indices |
 * | component-template | such a template is composed of it |
 * | ilm-policy, ism-policy | an index or such a template names it, or its own pattern matches an index |
 * | pipeline, script | always |
 */
export function concerning(all: readonly Definition[], indices: Indices): Definition[] {
  const names = Object.keys(indices);
  const meansOne = (definition: Definition) => names.some((name) => matchesAny(patternsOf(definition), name));
  const templates = all.filter(({ kind }) => kind.endsWith('template')).filter(meansOne);
  const composed = new Set(templates.flatMap(({ body }) => listIn(body, 'composed_of')));
  const components = all.filter(({ kind, name }) => kind === 'component-template' && composed.has(name));
  const texts = [...templates, ...components].map(({ body }) => JSON.stringify(body));
  const named = new Set(Object.values(indices).flatMap((settings) => LIFECYCLES.map((key) => settings[key])));
  return all.filter((definition) => {
    const { kind, name } = definition;
    if (kind === 'pipeline' || kind === 'script') return true;
    if (!kind.endsWith('policy')) return templates.includes(definition) || components.includes(definition);
    return named.has(name) || meansOne(definition) || texts.some((text) => text.includes(JSON.stringify(name)));
  });
}

/** Those of `source` that `target` does not have, or has otherwise; or perhaps, of scripts that it does not show. */
export function lacking(source: readonly Definition[], target: Definitions): Lack[] {
  const id = ({ kind, name }: Definition) => `${kind}/${name}`;
  const there = new Map(target.all.map((definition) => [id(definition), definition]));
  return source.flatMap((definition): Lack[] => {
    if (definition.kind === 'script' && !target.scriptsKnown) return [{ definition, state: 'not known' }];
    const other = there.get(id(definition));
    if (other === undefined) return [{ definition, state: 'missing' }];
    return comparable(definition) === comparable(other) ? [] : [{ definition, state: 'different' }];
  });
}

/** The index names, with `*`, that a template or policy is for. */
export function patternsOf({ kind, body }: Definition): readonly string[] {
  if (kind === 'ism-policy') {
    const { policy } = body as { readonly policy?: { readonly ism_template?: readonly object[] } };
    return [policy?.ism_template ?? []].flat().flatMap((template) => listIn(template, 'index_patterns'));
  }
  // `template` is how 5.x calls the one pattern.
  return kind === 'template' || kind === 'index-template'
    ? [...listIn(body, 'index_patterns'), ...(kind === 'template' ? listIn(body, 'template') : [])]
    : [];
}

function listIn(body: object, key: string): readonly string[] {
  const value = (body as Readonly<Record<string, unknown>>)[key];
  return [value].flat().filter((item): item is string => typeof item === 'string');
}

/** 5.x says `template` and `code` where later versions say `index_patterns` and `source`. */
function comparable(definition: Definition): string | undefined {
  const { kind, body } = definition;
  if (kind === 'template') {
    return canonicalJson({ ...body, template: undefined, index_patterns: patternsOf(definition) });
  }
  if (kind !== 'script') return canonicalJson(body);
  const { script } = body as { readonly script: Readonly<Record<string, unknown>> };
  return canonicalJson({ lang: script['lang'], source: script['source'] ?? script['code'] });
}
