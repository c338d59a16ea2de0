import { FIELD_PLUGINS, fieldTypesIn } from '../domain/field-types';
import { matchesAny } from '../domain/patterns';
import type { ResolvedPlan } from '../domain/plan';
import type { Cluster, FlatSettings, IndexInfo } from '../elasticsearch/cluster';
import { analysesOf } from './analyses';
import type { Findings } from './findings';
import { ALWAYS_DROPPED } from './restore';

/** Preflight's checks of what indices themselves need of the target: settings, pipelines, analyzers, field types. */

interface Ends {
  readonly source: Cluster;
  readonly target: Cluster;
}

/** What the source has and the target lacks. */
export async function checkNeeds(
  plan: ResolvedPlan,
  indices: readonly IndexInfo[],
  settings: Readonly<Record<string, FlatSettings>>,
  ends: Ends,
  findings: Findings,
  signal: AbortSignal,
) {
  await checkSettings(plan, indices, settings, ends.target, findings, signal);
  await checkPipelines(indices, settings, ends.target, findings, signal);
  const open = indices.filter((index) => index.open).map(({ name }) => name);
  const mappings = open.length === 0 ? {} : await ends.source.mappings(open, signal);
  await checkFieldTypes(open, mappings, ends.target, findings, signal);
  for (const [body, users] of analysesOf(open, settings, mappings)) {
    const fault = await ends.target.analysisFault(body, signal);
    // What the source cannot do either is not the target's lack.
    if (fault === undefined || (await ends.source.analysisFault(body, signal)) !== undefined) continue;
    const [first = ''] = users;
    findings.refuse('indices', first, {
      seen: `${indexAndMore(users)} analyzes text in a way that the target does not know (${fault})`,
      remedy: `install on '${ends.target.name}' the plugin or file that it needs, or leave it out with "-${first}"`,
    });
  }
}

/** `Index 'a' and 3 more`. */
function indexAndMore([first = '', ...others]: readonly string[]): string {
  return `Index '${first}'${others.length === 0 ? '' : ` and ${others.length} more`}`;
}

/** Which a cluster sets itself and nobody else may, so that it says it did not know them; or which have a check of theirs. */
const OF_CLUSTERS = [
  ...['index.uuid', 'index.history.uuid', 'index.version.*', 'index.creation_date*', 'index.provided_name'],
  ...['index.resize.*', 'index.shrink.*', 'index.merge.enabled', 'index.verified_before_close', 'archived.*'],
  'index.analysis.*',
];

/**
 * A restore does not fail over a setting that the target does not know: it keeps it as `archived.<name>`, and the last
 * verification, which finds it missing, keeps the migration from its switchover.
 */
async function checkSettings(
  { restore }: ResolvedPlan,
  indices: readonly IndexInfo[],
  settings: Readonly<Record<string, FlatSettings>>,
  target: Cluster,
  findings: Findings,
  signal: AbortSignal,
) {
  const isDropped = (key: string) => matchesAny([...OF_CLUSTERS, ...ALWAYS_DROPPED, ...restore.dropSettings], key);
  const planned = Object.keys(restore.settings);
  const users = new Map<string, string[]>(planned.map((key) => [key, []]));
  for (const { name } of indices) {
    for (const key of Object.keys(settings[name] ?? {})) {
      if (!isDropped(key) && !planned.includes(key)) users.set(key, [...(users.get(key) ?? []), name]);
    }
  }
  if (users.size === 0) return;
  for (const key of await target.unknownSettings([...users.keys()], signal)) {
    const names = users.get(key) ?? [];
    if (planned.includes(key)) {
      findings.refuse('target', target.name, {
        seen: `restore.settings sets ${key}, which the target does not know`,
        remedy: `correct it, or install on '${target.name}' the plugin that it is of`,
      });
    } else {
      findings.refuse('indices', names[0] ?? '', {
        seen: `${indexAndMore(names)} has setting ${key}, which the target does not know and would archive`,
        remedy: `plan restore.dropSettings: ["${key}"], or install on '${target.name}' the plugin that it is of`,
      });
    }
  }
}

/** A restore fails over a field whose type nobody there knows. */
async function checkFieldTypes(
  names: readonly string[],
  mappings: Readonly<Record<string, unknown>>,
  target: Cluster,
  findings: Findings,
  signal: AbortSignal,
) {
  const users = new Map<string, string[]>();
  for (const name of names) {
    for (const type of fieldTypesIn(mappings[name])) {
      if (Object.hasOwn(FIELD_PLUGINS, type)) users.set(type, [...(users.get(type) ?? []), name]);
    }
  }
  if (users.size === 0) return;
  const installed = await target.plugins(signal);
  for (const [type, of] of users) {
    const plugins = FIELD_PLUGINS[type] ?? [];
    if (installed?.some((plugin) => plugins.includes(plugin)) === true) continue;
    const seen = `${indexAndMore(of)} has fields of type ${type}, which plugin ${plugins.join(' or ')} knows`;
    const remedy = `install it on '${target.name}', or leave the index out with "-${of[0] ?? ''}"`;
    if (installed === undefined) {
      findings.warn('indices', of[0] ?? '', { seen: `${seen}; which plugins the target has is not known`, remedy });
    } else findings.refuse('indices', of[0] ?? '', { seen: `${seen} and the target lacks`, remedy });
  }
}

async function checkPipelines(
  indices: readonly IndexInfo[],
  settings: Readonly<Record<string, FlatSettings>>,
  target: Cluster,
  findings: Findings,
  signal: AbortSignal,
) {
  const needed = indices.flatMap(({ name }) =>
    ['index.default_pipeline', 'index.final_pipeline'].flatMap((key) => {
      const pipeline = settings[name]?.[key];
      return pipeline === undefined || pipeline === '_none' ? [] : [{ name, key, pipeline: String(pipeline) }];
    }),
  );
  if (needed.length === 0) return;
  const known = new Set(await target.pipelines(signal));
  for (const { name, key, pipeline } of needed) {
    if (known.has(pipeline)) continue;
    findings.refuse('indices', name, {
      seen: `Index '${name}' sends each write through pipeline '${pipeline}' (${key}), which the target does not have`,
      remedy: `create it there, or plan restore.dropSettings: ["${key}"]`,
    });
  }
}
