import type { Side } from '../domain/contents';
import type { FingerprintResult, RoundRef, VerifyResult, WaiveInput } from '../domain/exchange';
import { compareIndex, keepWaived, ledgerRow, rowSentence, waiveRows } from '../domain/ledger';
import type {
  AliasExpectation,
  Expectations,
  Fingerprint,
  Fingerprints,
  IndexFacts,
  Ledger,
  LedgerRow,
  Level,
} from '../domain/ledger';
import type { RoundKeys } from '../domain/names';
import { matchesAny } from '../domain/patterns';
import type { GoldenQuery } from '../domain/plan';
import { indexOnTarget, nameOnTarget } from '../domain/target-names';
import type { Cluster, ClusterInfo } from '../elasticsearch/cluster';
import type { ManifestIndex } from '../repository';
import { mapInParallel } from '../storage/parallel';
import { planAliases } from './alias-plan';
import type { AliasPlan } from './alias-plan';
import { compareAllDocuments, sampleDocuments } from './compare-documents';
import type { ContentsInput } from './compare-documents';
import type { StepContext, Telling } from './context';
import { excludedIndices, roundManifest, roundScope } from './exclusions';
import { readJson, requireJson, writeJson } from './files';
import { indicesByName } from './frozen-source';
import { runGoldenQueries } from './golden-queries';
import { openMigration } from './migration';
import type { Migration, StepDeps } from './migration';
import { ALWAYS_DROPPED } from './restore';
import type { ManifestFile } from './work-files';

/** Inside the freeze window every call counts, and a small cluster serves few at a time. */
const COUNTS_AT_ONCE = 16;
const FAILURES_SHOWN = 10;
const FAILED_ROWS_NAMED = 100;

/**
 * Reads of both sides what the restore has fixed and what merges and copies will change: documents, deleted ones and
 * sequence numbers per shard, and the segments. Called right after the restore; may be repeated.
 */
export async function takeFingerprints(
  deps: StepDeps,
  input: RoundRef,
  context: StepContext,
): Promise<FingerprintResult> {
  const { migration, keys, names, onTarget } = await openRound(deps, input, context);
  const [source, target] = await Promise.all([
    fingerprintsOf(migration.source, names, asNamed, context),
    fingerprintsOf(migration.target, names, onTarget, context),
  ]);
  const taken: Fingerprints = { source, target };
  const { digest } = await writeJson(migration.targetStore, keys.fingerprints, taken, context.signal);
  return { digest, indices: names.length };
}

/**
 * Compares source and target index by index and writes the ledger. A difference is a failed row, not an exception:
 * the operator decides. May be repeated; the ledger of the last run stands, and rows that were waived stay so while
 * they say the same.
 */
export async function verify(deps: StepDeps, input: RoundRef, context: StepContext): Promise<VerifyResult> {
  // Carried by the heartbeat: a successor goes on with what this verification, and no earlier one, has read.
  const pass = typeof context.resumed?.['pass'] === 'string' ? context.resumed['pass'] : Date.now().toString(36);
  const telling: Telling = {
    signal: context.signal,
    progress: (details) => context.progress({ pass, ...details }),
  };
  const round = await openRound(deps, input, context);
  const { migration, keys, names, onTarget } = round;
  const { level } = migration.plan.cutover.verify;
  const [source, target, aliases] = await Promise.all([
    factsOf(migration.source, names, asNamed, telling),
    factsOf(migration.target, names, onTarget, telling),
    planAliases(migration, names, input.round, context.signal),
  ]);
  const taken = await readJson<Fingerprints>(migration.targetStore, keys.fingerprints, context.signal);
  const rows = [
    ...names.flatMap((name) =>
      compareNowOrThen(name, source.get(name), target.get(name), taken, expectations(round, name, aliases)),
    ),
    ...homelessObstacles(aliases, names.map(onTarget)),
    ...(await documentRows(deps, level, round, { source, target }, pass, telling)),
    ...(await runGoldenQueries(
      migration,
      await queriesLeft(migration, names, context),
      [...target.keys()],
      onTarget,
      telling,
    )),
  ];
  const before = await readJson<Ledger>(migration.targetStore, keys.ledger, context.signal);
  return writeLedger(migration, keys, { level, rows: keepWaived(rows, before?.rows ?? []) }, context);
}

/** Takes failed rows of the last verification for right, as the operator says. May be repeated. */
export async function waiveFailedRows(deps: StepDeps, input: WaiveInput, context: StepContext): Promise<VerifyResult> {
  const migration = await openMigration(deps, input.plan, context);
  const keys = migration.keys.round(input.round, input.attempt);
  const ledger = await requireJson<Ledger>(migration.targetStore, keys.ledger, context.signal);
  return writeLedger(migration, keys, { ...ledger, rows: waiveRows(ledger.rows, input) }, context);
}

/** One that asks only for what was excluded has no answer on either side. */
async function queriesLeft(
  migration: Migration,
  names: readonly string[],
  { signal }: StepContext,
): Promise<readonly GoldenQuery[]> {
  const excluded = [...(await excludedIndices(migration, signal))];
  const asksFor = ({ indices }: GoldenQuery, all: readonly string[]) => all.some((name) => matchesAny(indices, name));
  return migration.plan.cutover.verify.queries.filter((query) => asksFor(query, names) || !asksFor(query, excluded));
}

interface Round {
  readonly migration: Migration;
  readonly keys: RoundKeys;
  /** On the source, as the ledger has them. */
  readonly names: readonly string[];
  readonly onTarget: (name: string) => string;
  readonly manifest: ManifestFile;
  readonly manifestOf: ReadonlyMap<string, ManifestIndex>;
}

async function openRound(deps: StepDeps, input: RoundRef, context: StepContext): Promise<Round> {
  const migration = await openMigration(deps, input.plan, context);
  const keys = migration.keys.round(input.round, input.attempt);
  const scope = await roundScope(migration, input, context.signal);
  const manifest = await roundManifest(migration, input, context.signal);
  const manifestOf = new Map(manifest.indices.map((index) => [index.name, index]));
  const onTarget = (name: string) => indexOnTarget(migration.plan.restore, name, input.round);
  return { migration, keys, names: scope.indices.map(({ name }) => name), onTarget, manifest, manifestOf };
}

/** What a cluster calls an index of the source: the source itself. */
function asNamed(name: string): string {
  return name;
}

async function writeLedger(
  { targetStore }: Migration,
  keys: RoundKeys,
  ledger: Ledger,
  { signal }: StepContext,
): Promise<VerifyResult> {
  const { digest } = await writeJson(targetStore, keys.ledger, ledger, signal);
  return resultOf(ledger, digest);
}

/** `digest`: of the ledger's file. */
export function resultOf({ rows }: Ledger, digest: string): VerifyResult {
  const failed = rows.filter(({ verdict }) => verdict === 'fail');
  return {
    digest,
    passed: rows.filter(({ verdict }) => verdict === 'pass').length,
    failed: failed.length,
    waived: rows.filter(({ verdict }) => verdict === 'waived').length,
    documents: rows.reduce((sum, row) => (row.check === 'documents' ? sum + Number(row.source) : sum), 0),
    failures: failed.slice(0, FAILURES_SHOWN).map(rowSentence),
    failedRows: failed.slice(0, FAILED_ROWS_NAMED).map(({ id }) => id),
  };
}

/**
 * What a restore fixes is compared as it was right after the restore, since a target may merge later on; where that
 * differs, as it is now, so that what was mended is seen.
 */
function compareNowOrThen(
  name: string,
  source: NamedFacts | undefined,
  target: NamedFacts | undefined,
  taken: Fingerprints | undefined,
  expected: Expectations,
): LedgerRow[] {
  const now = compareIndex(name, source, target, expected);
  const [left, right] = [taken?.source[name], taken?.target[name]];
  if (source === undefined || target === undefined || left === undefined || right === undefined) return now;
  const then = compareIndex(name, { ...source, ...left }, { ...target, ...right }, expected);
  return then.map((row, at) => (row.verdict === 'pass' ? row : (now[at] ?? row)));
}

interface NamedFacts extends IndexFacts {
  /** In its cluster. */
  readonly name: string;
  readonly bytes: number;
}

/** By their names on the source; `called` says how the cluster calls them. */
async function fingerprintsOf(
  cluster: Cluster,
  names: readonly string[],
  called: (name: string) => string,
  { signal, progress }: Telling,
): Promise<Record<string, Fingerprint>> {
  const infos = await indicesByName(cluster, signal);
  const present = names.filter((name) => infos.get(called(name))?.open === true);
  if (present.length === 0) return {};
  const there = present.map(called);
  await cluster.refresh(there, signal);
  progress({ step: 'fingerprints', cluster: cluster.name, indices: present.length });
  const [shards, segments] = await Promise.all([cluster.shardStats(there, signal), cluster.segments(there, signal)]);
  return Object.fromEntries(
    present.map((name) => [name, { shards: shards[called(name)] ?? [], segments: segments[called(name)] ?? [] }]),
  );
}

/** One call per kind of fact for all indices; only `_count` is one per index, because its sum would hide a difference. */
async function factsOf(
  cluster: Cluster,
  names: readonly string[],
  called: (name: string) => string,
  context: Telling,
): Promise<ReadonlyMap<string, NamedFacts>> {
  const { signal } = context;
  const infos = await indicesByName(cluster, signal);
  const fingerprints = await fingerprintsOf(cluster, names, called, context);
  const present = Object.keys(fingerprints);
  if (present.length === 0) return new Map();
  const there = present.map(called);
  const [counts, mappings, settings] = await Promise.all([
    countAll(cluster, there, context),
    cluster.mappings(there, signal),
    cluster.settings(there, signal),
  ]);
  return new Map(
    present.map((name, at) => [
      name,
      {
        name: called(name),
        documents: counts[at] ?? -1,
        shards: fingerprints[name]?.shards ?? [],
        segments: fingerprints[name]?.segments ?? [],
        mapping: mappings[called(name)],
        settings: settings[called(name)] ?? {},
        bytes: infos.get(called(name))?.primaryBytes ?? 0,
      },
    ]),
  );
}

function countAll(cluster: Cluster, names: readonly string[], context: Telling): Promise<number[]> {
  return mapInParallel(names, COUNTS_AT_ONCE, context.signal, async (name, signal) => {
    const count = await cluster.count(name, signal);
    context.progress({ step: 'counting', cluster: cluster.name, index: name });
    return count;
  });
}

/** None for level `counts`, and for an index that is missing on a side, which has its row. */
async function documentRows(
  deps: StepDeps,
  level: Level,
  { migration, keys, names, manifest, manifestOf }: Round,
  facts: Readonly<Record<Side, ReadonlyMap<string, NamedFacts>>>,
  pass: string,
  telling: Telling,
): Promise<LedgerRow[]> {
  if (level === 'counts') return [];
  const { clusters } = migration;
  const contents: Omit<ContentsInput, 'pace'> = {
    source: migration.source,
    target: migration.target,
    typed: showsTypes(clusters.source) && showsTypes(clusters.target),
    indices: names.flatMap((name) => {
      const [source, target] = [facts.source.get(name), facts.target.get(name)];
      if (source === undefined || target === undefined) return [];
      const shards = manifestOf.get(name)?.shards.length ?? source.shards.length;
      return [{ name, shards, source: sideFacts(source), target: sideFacts(target) }];
    }),
  };
  const limited = {
    signal: telling.signal,
    waiting: () => telling.progress({ step: 'waiting for limits.verifyDocumentsPerSecond' }),
  };
  return deps.limits.during(migration, limited, (pace) => {
    const input = { ...contents, pace };
    if (level === 'counts+sample') return sampleDocuments(input, manifest.snapshot.uuid, telling);
    return compareAllDocuments(input, { store: migration.targetStore, keys, pass }, telling);
  });
}

function sideFacts({ name, documents, segments, bytes }: NamedFacts) {
  return { name, documents, segments, bytesPerDocument: bytes / Math.max(1, documents) };
}

function expectations({ migration, manifestOf, onTarget }: Round, name: string, aliases: AliasPlan): Expectations {
  const { clusters, plan } = migration;
  const inSnapshot = manifestOf.get(name);
  const { settings, dropSettings } = plan.restore;
  return {
    typedMappings: { source: showsTypes(clusters.source), target: showsTypes(clusters.target) },
    manifestSegments: inSnapshot?.shards ?? [],
    plannedSettings: [...Object.keys(settings), ...dropSettings, ...ALWAYS_DROPPED],
    aliases: aliasExpectation(migration, name, onTarget(name), inSnapshot?.aliases ?? [], aliases),
  };
}

function aliasExpectation(
  { plan }: Migration,
  name: string,
  index: string,
  inSnapshot: readonly string[],
  { wanted, obstacles }: AliasPlan,
): AliasExpectation {
  const willHave = [...wanted].filter(([, places]) => places.has(index)).map(([alias]) => alias);
  return {
    inSnapshot,
    willHave,
    planned: [
      ...Object.keys(plan.cutover.switchover.aliases),
      ...(plan.restore.strategy === 'alias' ? [nameOnTarget(plan.restore, name)] : []),
    ],
    obstacles: obstacles.filter(({ alias }) => willHave.includes(alias)).map(({ why }) => why),
    taken: plan.restore.aliases !== 'none',
  };
}

/** An alias that the plan gives to an index outside this round stands in no row of the round's indices. */
function homelessObstacles({ wanted, obstacles }: AliasPlan, names: readonly string[]): LedgerRow[] {
  return obstacles.flatMap(({ alias, why }) => {
    const places = [...(wanted.get(alias)?.keys() ?? [])];
    if (places.some((place) => names.includes(place))) return [];
    return [ledgerRow(places.join(), 'aliases', false, alias, 'none', why)];
  });
}

/** Up to 6.x a mapping has a type level. The versions are those of preflight; no cluster is upgraded on the way. */
function showsTypes({ distribution, version }: ClusterInfo): boolean {
  return distribution === 'elasticsearch' && Number(version.split('.')[0]) < 7;
}
