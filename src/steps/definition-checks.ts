import { concerning, lacking, LIFECYCLES, patternsOf } from '../domain/definitions';
import type { Definition, Lack } from '../domain/definitions';
import { matchesAny } from '../domain/patterns';
import type { Cluster, FlatSettings, IndexInfo } from '../elasticsearch/cluster';
import type { Findings } from './findings';

/** Preflight's checks of what does not come along with indices: templates, pipelines, lifecycle policies, scripts. */

interface Ends {
  readonly source: Cluster;
  readonly target: Cluster;
}

/** Warns of each definition that the target lacks or has otherwise, and returns them. */
export async function checkDefinitions(
  indices: readonly IndexInfo[],
  settings: Readonly<Record<string, FlatSettings>>,
  { source, target }: Ends,
  findings: Findings,
  signal: AbortSignal,
): Promise<readonly Lack[]> {
  const held = Object.fromEntries(indices.map(({ name }) => [name, settings[name] ?? {}]));
  const [ours, theirs] = [await source.definitions(signal), await target.definitions(signal)];
  const lacks = lacking(concerning(ours.all, held), theirs);
  for (const lack of lacks) warnOfTemplate(lack, Object.keys(held), findings);
  warnOfLifecycles(held, target, lacks, findings);
  warnOfMany('component-template', 'component templates', lacks, target, findings);
  warnOfMany('pipeline', 'pipelines', lacks, target, findings);
  warnOfMany('script', 'stored scripts', lacks, target, findings);
  for (const [{ name }, { scriptsKnown }] of [[source, ours] as const, [target, theirs] as const]) {
    if (scriptsKnown) continue;
    findings.warn('target', name, {
      seen: `Cluster '${name}' does not show its stored scripts, so what the target lacks of them is not known`,
      remedy: 'ask those who search by them, and compare each on both sides (GET _scripts/ID)',
    });
  }
  return lacks;
}

const WRITTEN = '`snapferry check --export DIR` writes them';

/** Indices to come get their mappings from templates. */
function warnOfTemplate({ definition, state }: Lack, indices: readonly string[], findings: Findings): void {
  const { kind, name } = definition;
  if (kind !== 'template' && kind !== 'index-template') return;
  const user = indices.find((index) => matchesAny(patternsOf(definition), index)) ?? '';
  const has = state === 'missing' ? 'has none of that name' : 'has another of that name';
  findings.warn('target', name, {
    seen: `Template '${name}' is for indices like '${user}', and the target ${has}`,
    remedy:
      state === 'missing'
        ? 'create it there before the switchover, or indices to come are made without it'
        : 'compare both before the switchover: indices to come are made by that of the target',
  });
}

function warnOfLifecycles(
  indices: Readonly<Record<string, FlatSettings>>,
  target: Cluster,
  lacks: readonly Lack[],
  findings: Findings,
) {
  const byPolicy = new Map<string, string[]>();
  for (const [name, settings] of Object.entries(indices)) {
    for (const key of LIFECYCLES) {
      const policy = settings[key];
      if (policy !== undefined) byPolicy.set(String(policy), [...(byPolicy.get(String(policy)) ?? []), name]);
    }
  }
  const stateOf = (policy: string) =>
    lacks.find(({ definition: { kind, name } }) => kind.endsWith('policy') && name === policy)?.state;
  for (const [policy, [first, ...others]] of byPolicy) {
    const more = others.length === 0 ? '' : ` and ${others.length} more`;
    const other = stateOf(policy) === 'different' ? ', where another has its name' : '';
    findings.warn('target', policy, {
      seen: `Policy '${policy}' manages index '${first}'${more} on the source; on the target nothing will${other}`,
      remedy: `create the policy on '${target.name}' and assign it after the switchover`,
    });
  }
}

const SHOWN = 5;

/** Of what nobody can tell who uses it there may be hundreds: one line for those that lack, one for those that differ. */
function warnOfMany(
  kind: Definition['kind'],
  words: string,
  lacks: readonly Lack[],
  target: Cluster,
  findings: Findings,
): void {
  for (const state of ['missing', 'different'] as const) {
    const names = lacks
      .filter((lack) => lack.state === state && lack.definition.kind === kind)
      .map(({ definition }) => definition.name);
    if (names.length === 0) continue;
    const more = names.length > SHOWN ? ` and ${names.length - SHOWN} more` : '';
    findings.warn('target', target.name, {
      seen:
        `${names.length} ${words} of the source ${state === 'missing' ? 'are missing on' : 'differ from those of'} the ` +
        `target: ${names.slice(0, SHOWN).join(', ')}${more}`,
      remedy: `bring those that are used to '${target.name}' before the switchover (${WRITTEN})`,
    });
  }
}
