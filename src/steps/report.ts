import type { FreezeOutcome, ReportInput, ReportPlace } from '../domain/exchange';
import type { Ledger, LedgerRow, Level } from '../domain/ledger';
import { matchesAny } from '../domain/patterns';
import { indexOnTarget, nameOnTarget } from '../domain/target-names';
import { payload } from '../storage';
import type { StepContext } from './context';
import { excludedIndices, readExclusions } from './exclusions';
import { digestOf, readBytes, readJson, writeJson } from './files';
import { openMigration } from './migration';
import type { Migration, StepDeps } from './migration';
import { reportPage } from './report-page';
import { ALWAYS_DROPPED } from './restore';
import type { ExclusionFile, FreezeRecord, ManifestFile } from './work-files';

/**
 * `report.json`: what an auditor asks for later. Names, counts, times and digests; no field values, no secrets, no
 * addresses. The files it points at lie beside it and are never removed by us.
 */
export interface ReportFile extends Omit<ReportInput, 'plan' | 'freeze' | 'final'> {
  readonly version: 1;
  readonly migration: string;
  readonly firstRunId: string;
  readonly planDigest: string;
  readonly source: ReportedCluster;
  readonly target: ReportedCluster;
  readonly verification: ReportedVerification | undefined;
  readonly indices: readonly ReportedIndex[];
  /** What operators took out while it ran; absent where nothing was. */
  readonly excluded?: readonly (ExclusionFile & { readonly onTarget: string })[];
  readonly freeze: ReportedFreeze | undefined;
  readonly settings: { readonly applied: readonly string[]; readonly droppedPatterns: readonly string[] };
}

interface ReportedCluster {
  readonly name: string;
  readonly uuid: string;
  readonly version: string;
}

interface ReportedVerification {
  readonly ledger: string;
  readonly digest: string;
  readonly level: Level;
  readonly passed: number;
  readonly failed: number;
  readonly waived: number;
  /** How many passed, by check. */
  readonly passedChecks: Readonly<Record<string, number>>;
  /** Every row that did not pass. */
  readonly exceptions: readonly LedgerRow[];
}

export interface ReportedIndex {
  readonly name: string;
  /** Its name on the target, where that is another. */
  readonly onTarget?: string;
  /** Undefined when the migration ended before the final round was verified. */
  readonly documents: { readonly source: number | string; readonly target: number | string } | undefined;
  readonly failedChecks: readonly string[];
  /** Settings of the source's index that were left behind. */
  readonly droppedSettings: readonly string[];
}

interface ReportedFreeze {
  readonly record: string;
  readonly digest: string;
  readonly indices: number;
  readonly outcome: FreezeOutcome | undefined;
}

/** Writes `report.json`, and `report.md` for people. May be repeated: the same input gives the same bytes. */
export async function writeReport(deps: StepDeps, input: ReportInput, context: StepContext): Promise<ReportPlace> {
  const migration = await openMigration(deps, input.plan, context);
  const { targetStore, keys } = migration;
  const report = await compose(migration, input, context.signal);
  await targetStore.write(`${keys.prefix}/report.md`, payload(Buffer.from(reportPage(report))), {}, context.signal);
  const { digest } = await writeJson(targetStore, keys.report, report, context.signal);
  return { store: input.plan.store, key: keys.report, digest };
}

async function compose(migration: Migration, input: ReportInput, signal: AbortSignal): Promise<ReportFile> {
  const { plan, final, freeze, ...said } = input;
  const ledger = await readLedger(migration, final, signal);
  const { settings, dropSettings } = migration.plan.restore;
  const excluded = await readExclusions(migration, signal);
  return {
    version: 1,
    migration: migration.migration,
    firstRunId: migration.firstRunId,
    planDigest: plan.digest,
    source: reported(migration.plan.source, migration.clusters.source),
    target: reported(migration.plan.target, migration.clusters.target),
    ...said,
    verification: ledger?.verification,
    indices: await reportedIndices(migration, final, ledger?.rows ?? [], signal),
    ...(excluded.length === 0
      ? {}
      : { excluded: excluded.map((one) => ({ ...one, onTarget: nameOnTarget(migration.plan.restore, one.index) })) }),
    freeze: freeze === undefined ? undefined : await reportedFreeze(migration, freeze, signal),
    settings: { applied: Object.keys(settings), droppedPatterns: [...ALWAYS_DROPPED, ...dropSettings] },
  };
}

function reported(name: string, { uuid, version }: { uuid: string; version: string }): ReportedCluster {
  return { name, uuid, version };
}

async function readLedger(
  { targetStore, keys }: Migration,
  final: ReportInput['final'],
  signal: AbortSignal,
): Promise<{ readonly verification: ReportedVerification; readonly rows: readonly LedgerRow[] } | undefined> {
  if (final === undefined) return undefined;
  const key = keys.round(final.round, final.attempt).ledger;
  const bytes = await readBytes(targetStore, key, signal);
  const ledger = await readJson<Ledger>(targetStore, key, signal);
  if (bytes === undefined || ledger === undefined) return undefined;
  return { verification: reportedVerification(key, digestOf(bytes), ledger), rows: ledger.rows };
}

function reportedVerification(key: string, digest: string, { level, rows }: Ledger): ReportedVerification {
  const passedChecks: Record<string, number> = {};
  const exceptions: LedgerRow[] = [];
  for (const row of rows) {
    if (row.verdict === 'pass') passedChecks[row.check] = (passedChecks[row.check] ?? 0) + 1;
    else exceptions.push(row);
  }
  const waived = exceptions.filter(({ verdict }) => verdict === 'waived').length;
  const failed = exceptions.length - waived;
  return {
    ledger: key,
    digest,
    level,
    passed: rows.length - exceptions.length,
    failed,
    waived,
    passedChecks,
    exceptions,
  };
}

async function reportedIndices(
  { targetStore, keys, plan }: Migration,
  final: ReportInput['final'],
  rows: readonly LedgerRow[],
  signal: AbortSignal,
): Promise<ReportedIndex[]> {
  if (final === undefined) return [];
  const manifest = await readJson<ManifestFile>(targetStore, keys.round(final.round, final.attempt).manifest, signal);
  const excluded = await excludedIndices({ targetStore, keys }, signal);
  const isDropped = (key: string) =>
    matchesAny([...ALWAYS_DROPPED, ...plan.restore.dropSettings], key) && !matchesAny(plan.restore.keepSettings, key);
  const moved = (manifest?.indices ?? []).filter(({ name }) => !excluded.has(name));
  return moved.map(({ name, settings }) => {
    const own = rows.filter((row) => row.index === name);
    const counted = own.find(({ check }) => check === 'documents');
    const onTarget = indexOnTarget(plan.restore, name, final.round);
    return {
      name,
      ...(onTarget === name ? {} : { onTarget }),
      documents: counted === undefined ? undefined : { source: counted.source, target: counted.target },
      failedChecks: own.filter(({ verdict }) => verdict === 'fail').map(({ check }) => check),
      droppedSettings: Object.keys(settings).filter((key) => isDropped(key)),
    };
  });
}

async function reportedFreeze(
  { targetStore, keys }: Migration,
  freeze: number,
  signal: AbortSignal,
): Promise<ReportedFreeze | undefined> {
  const { record: key, outcome } = keys.freeze(freeze);
  const bytes = await readBytes(targetStore, key, signal);
  const record = await readJson<FreezeRecord>(targetStore, key, signal);
  if (bytes === undefined || record === undefined) return undefined;
  const decided = await readJson<FreezeOutcome>(targetStore, outcome, signal);
  return { record: key, digest: digestOf(bytes), indices: record.indices.length, outcome: decided };
}
