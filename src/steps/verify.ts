import type { RoundRef, VerifyResult } from '../domain/exchange';
import { compareIndex, rowSentence } from '../domain/ledger';
import type { AliasExpectation, Expectations, IndexFacts, Ledger, LedgerRow } from '../domain/ledger';
import type { Cluster, ClusterInfo } from '../elasticsearch/cluster';
import type { ManifestIndex } from '../repository';
import { planAliases } from './alias-plan';
import type { AliasPlan } from './alias-plan';
import type { StepContext } from './context';
import { requireJson, writeJson } from './files';
import { indicesByName } from './frozen-source';
import { openMigration } from './migration';
import type { Migration, StepDeps } from './migration';
import { mapInParallel } from '../storage/parallel';
import { ALWAYS_DROPPED } from './restore';
import type { ManifestFile, ScopeFile } from './work-files';

/** Inside the freeze window every call counts, and a small cluster serves few at a time. */
const COUNTS_AT_ONCE = 16;
const FAILURES_SHOWN = 10;

/**
 * Compares source and target index by index and writes the ledger. A difference is a failed row, not an exception:
 * the operator decides. May be repeated; the ledger of the last run stands.
 */
export async function verify(deps: StepDeps, input: RoundRef, context: StepContext): Promise<VerifyResult> {
  const migration = await openMigration(deps, input.plan, context);
  const keys = migration.keys.round(input.round, input.attempt);
  const scope = await requireJson<ScopeFile>(migration.targetStore, keys.scope, context.signal);
  const manifest = await requireJson<ManifestFile>(migration.targetStore, keys.manifest, context.signal);
  const names = scope.indices.map(({ name }) => name);
  const [source, target, aliases] = await Promise.all([
    factsOf(migration.source, names, context),
    factsOf(migration.target, names, context),
    planAliases(migration, names, context.signal),
  ]);
  const manifestOf = new Map(manifest.indices.map((index) => [index.name, index]));
  const rows = [
    ...names.flatMap((name) =>
      compareIndex(
        name,
        source.get(name),
        target.get(name),
        expectations(migration, manifestOf.get(name), name, aliases),
      ),
    ),
    ...homelessObstacles(aliases, names),
  ];
  const ledger: Ledger = { level: 'counts', rows };
  const { digest } = await writeJson(migration.targetStore, keys.ledger, ledger, context.signal);
  return summary(digest, rows, source);
}

function summary(digest: string, rows: readonly LedgerRow[], source: ReadonlyMap<string, IndexFacts>): VerifyResult {
  const failed = rows.filter(({ verdict }) => verdict === 'fail');
  return {
    digest,
    passed: rows.length - failed.length,
    failed: failed.length,
    documents: [...source.values()].reduce((total, { documents }) => total + documents, 0),
    failures: failed.slice(0, FAILURES_SHOWN).map(rowSentence),
  };
}

/** One call per kind of fact for all indices; only `_count` is one per index, because its sum would hide a difference. */
async function factsOf(
  cluster: Cluster,
  names: readonly string[],
  context: StepContext,
): Promise<ReadonlyMap<string, IndexFacts>> {
  const { signal } = context;
  const infos = await indicesByName(cluster, signal);
  const present = names.filter((name) => infos.get(name)?.open === true);
  if (present.length === 0) return new Map();
  await cluster.refresh(present, signal);
  context.progress({ step: 'verify', cluster: cluster.name, indices: present.length });
  const [counts, shards, segments, mappings, settings] = await Promise.all([
    countAll(cluster, present, context),
    cluster.shardStats(present, signal),
    cluster.segments(present, signal),
    cluster.mappings(present, signal),
    cluster.settings(present, signal),
  ]);
  return new Map(
    present.map((name, at) => [
      name,
      {
        documents: counts[at] ?? -1,
        shards: shards[name] ?? [],
        segments: segments[name] ?? [],
        mapping: mappings[name],
        settings: settings[name] ?? {},
      },
    ]),
  );
}

function countAll(cluster: Cluster, names: readonly string[], context: StepContext): Promise<number[]> {
  return mapInParallel(names, COUNTS_AT_ONCE, context.signal, async (name, signal) => {
    const count = await cluster.count(name, signal);
    context.progress({ step: 'counting', cluster: cluster.name, index: name });
    return count;
  });
}

function expectations(
  migration: Migration,
  inSnapshot: ManifestIndex | undefined,
  name: string,
  aliases: AliasPlan,
): Expectations {
  const { clusters, plan } = migration;
  const { settings, dropSettings } = plan.restore;
  return {
    typedMappings: { source: showsTypes(clusters.source), target: showsTypes(clusters.target) },
    manifestSegments: inSnapshot?.shards ?? [],
    plannedSettings: [...Object.keys(settings), ...dropSettings, ...ALWAYS_DROPPED],
    aliases: aliasExpectation(migration, name, inSnapshot?.aliases ?? [], aliases),
  };
}

function aliasExpectation(
  { plan }: Migration,
  index: string,
  inSnapshot: readonly string[],
  { wanted, obstacles }: AliasPlan,
): AliasExpectation {
  const willHave = [...wanted].filter(([, places]) => places.has(index)).map(([alias]) => alias);
  return {
    inSnapshot,
    willHave,
    planned: Object.keys(plan.cutover.switchover.aliases),
    obstacles: obstacles.filter(({ alias }) => willHave.includes(alias)).map(({ why }) => why),
    taken: plan.restore.aliases === 'switchover',
  };
}

/** An alias that the plan gives to an index outside this round stands in no row of the round's indices. */
function homelessObstacles({ wanted, obstacles }: AliasPlan, names: readonly string[]): LedgerRow[] {
  return obstacles.flatMap(({ alias, why }) => {
    const places = [...(wanted.get(alias)?.keys() ?? [])];
    if (places.some((place) => names.includes(place))) return [];
    return [
      { index: places.join(), check: 'aliases', verdict: 'fail', source: alias, target: 'none', note: why } as const,
    ];
  });
}

/** Up to 6.x a mapping has a type level. The versions are those of preflight; no cluster is upgraded on the way. */
function showsTypes({ distribution, version }: ClusterInfo): boolean {
  return distribution === 'elasticsearch' && Number(version.split('.')[0]) < 7;
}
