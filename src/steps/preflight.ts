import { ConfigurationError, UnavailableError } from '../domain/errors';
import type { LostCutover, PlanRef, PreflightInput, PreflightResult, Settings } from '../domain/exchange';
import { registrationName, WorkKeys } from '../domain/names';
import { parsePlan } from '../domain/plan';
import type { ResolvedPlan } from '../domain/plan';
import { nameOnTarget } from '../domain/target-names';
import type { ClusterInfo, IndexInfo } from '../elasticsearch/cluster';
import { adopt } from './adopt';
import { lostCutover, takeOver } from './lost-cutover';
import type { FoundCutover } from './lost-cutover';
import { assertMayAct } from './context';
import type { StepContext } from './context';
import { createJson, digestOf, readBytes, requireJson, writeJson } from './files';
import { claimantFor, inspect } from './inspection';
import type { Inspection } from './inspection';
import { fingerprintsOf } from './migration';
import type { PlanFile, StepDeps } from './migration';
import { claimIndex, claimLocation, releaseAll, releaseOwnership } from './ownership';
import type { Claimant } from './ownership';
import { inParallel } from '../storage/parallel';

/** Search attributes that workflows set where the namespace knows them. */
const SEARCH_ATTRIBUTES = ['SnapferryPhase', 'SnapferryRound', 'SnapferryNeedsOperator'];
const CLAIMS_AT_ONCE = 16;
const WRITE_TIMEOUT_MS = 60_000;

/** An inspection that found nothing against a start. */
interface WholeInspection {
  readonly plan: ResolvedPlan;
  readonly source: ClusterInfo;
  readonly target: ClusterInfo;
  readonly indices: readonly IndexInfo[];
  readonly warnings: readonly string[];
}

/** `preflight.json`: what a retry answers with, beside the plan. */
interface PreflightFile {
  readonly indices: number;
  readonly bytes: number;
  readonly warnings: readonly string[];
}

/**
 * Checks everything before anything is touched, claims the target location and indices, and writes the resolved plan.
 *
 * A retry answers with the plan that a predecessor wrote. Throws one `ConfigurationError` with every independent
 * problem, a line each; `UnavailableError` when a cluster or store did not answer and nothing else was wrong.
 */
export async function preflight(deps: StepDeps, input: PreflightInput, context: StepContext): Promise<PreflightResult> {
  const plan = parsePlan(input.plan);
  const done = await resultOfPredecessor(deps, plan, input, context);
  if (done !== undefined) return done;
  const lost = await lostCutover(deps, plan, context);
  if (lost !== undefined) return resultOfTakingOver(deps, lost, await takeOver(deps, plan, lost, input, context));
  const adopted = await adopt(deps, plan, input, context);
  const inspection = whole(await inspect(deps, plan, input, context), adopted);
  const store = deps.store(plan.repository.target.store);
  const claimant = claimantFor(store, plan, inspection.target, input);
  await claimAll(claimant, inspection, context);
  const keys = WorkKeys.of(plan.repository.work, input.firstRunId);
  assertMayAct(context, WRITE_TIMEOUT_MS);
  await writeJson(store, preflightKey(keys), preflightFile(inspection), context.signal);
  // Last, and only once: a plan that is there says that preflight is over.
  await createJson(store, keys.plan, planFile(deps, inspection, input), context.signal);
  const result = await readResult(deps, plan, input, context);
  if (result !== undefined) return result;
  throw new UnavailableError('The target store does not show what was just written', {
    subject: { store: store.description, key: keys.plan },
  });
}

/**
 * Gives back what a preflight that did not pass has claimed: an attempt that died, or was stopped, could not. For when
 * no attempt runs any more. Answers how many claims that were; none where the plan is one that claims nothing.
 */
export async function withdrawPreflight(
  deps: StepDeps,
  input: PreflightInput,
  context: StepContext,
): Promise<{ readonly released: number }> {
  const store = storeOf(deps, input.plan);
  if (store === undefined) return { released: 0 };
  assertMayAct(context, WRITE_TIMEOUT_MS);
  return { released: await releaseAll({ ...store, firstRunId: input.firstRunId }, context.signal) };
}

/** Undefined for a plan that no preflight reads, or that names what the connections file does not. */
function storeOf(deps: StepDeps, raw: unknown): Pick<Claimant, 'store' | 'work'> | undefined {
  try {
    const { target, work } = parsePlan(raw).repository;
    return { store: deps.store(target.store), work };
  } catch (error) {
    if (error instanceof ConfigurationError) return undefined;
    throw error;
  }
}

/** Throws what an inspection has found against a start. */
function whole(inspection: Inspection, adopted: string | undefined): WholeInspection {
  const { findings, source, target, indices } = inspection;
  findings.refuseIfAny(
    findings.all.some(({ check, verdict }) => check === 'connections' && verdict === 'refused')
      ? 'The plan names what the connections file does not:'
      : 'The migration can not start; nothing was changed:',
  );
  const warnings = [...(adopted === undefined ? [] : [adopted]), ...findings.warnings];
  return { plan: inspection.plan, source: source!, target: target!, indices: indices!, warnings };
}

function preflightKey(keys: WorkKeys): string {
  return `${keys.prefix}/preflight.json`;
}

/** A store that cannot be asked is a finding of its check, together with everything else. */
async function resultOfPredecessor(...args: Parameters<typeof readResult>): Promise<PreflightResult | undefined> {
  try {
    return await readResult(...args);
  } catch (error) {
    if (error instanceof ConfigurationError || error instanceof UnavailableError) return undefined;
    throw error;
  }
}

/** `undefined` until the plan is written. */
async function readResult(
  deps: StepDeps,
  plan: ResolvedPlan,
  input: PreflightInput,
  context: StepContext,
): Promise<PreflightResult | undefined> {
  const { store: storeName } = plan.repository.target;
  const store = deps.store(storeName);
  const keys = WorkKeys.of(plan.repository.work, input.firstRunId);
  const bytes = await readBytes(store, keys.plan, context.signal);
  if (bytes === undefined) return undefined;
  const file = await requireJson<PreflightFile>(store, preflightKey(keys), context.signal);
  const ref: PlanRef = {
    migration: input.migration,
    firstRunId: input.firstRunId,
    store: storeName,
    storeFingerprint: deps.config.fingerprint('store', storeName),
    prefix: keys.prefix,
    digest: digestOf(bytes),
  };
  return { plan: ref, settings: settingsOf(plan, await attributesOf(deps)), ...file };
}

/** Nothing is checked, claimed or written: all of that was done by the migration whose plan it is. */
async function resultOfTakingOver(
  deps: StepDeps,
  { file: { plan, migration, registrations } }: FoundCutover,
  lost: LostCutover,
): Promise<PreflightResult> {
  const { recoveryBytesPerSecond } = plan.throttles;
  const throttle =
    recoveryBytesPerSecond === undefined
      ? []
      : [
          `What indices.recovery.max_bytes_per_sec was on '${registrations.target.cluster}' before limits.recoveryBytesPerSecond ` +
            'is known to the history of the lost migration alone: put it back there',
        ];
  const warnings = [
    `Ends the cutover of migration '${migration}', which was lost after its commit: by its plan, in its work files`,
    ...throttle,
  ];
  return {
    plan: lost.plan,
    settings: settingsOf(plan, await attributesOf(deps)),
    indices: 0,
    bytes: 0,
    warnings,
    lost,
  };
}

async function attributesOf(deps: StepDeps): Promise<string[]> {
  const known = await deps.searchAttributes();
  return SEARCH_ATTRIBUTES.filter((name) => known.includes(name));
}

function settingsOf(plan: ResolvedPlan, searchAttributes: readonly string[]): Settings {
  const { rounds, restore, cutover } = plan;
  return {
    source: plan.source,
    target: plan.target,
    everyMs: rounds.everyMs,
    atMost: rounds.atMost,
    ...(rounds.window === undefined ? {} : { window: rounds.window }),
    restoreEveryRound: restore.everyRound,
    freezeAtMostMs: cutover.freezeAtMostMs,
    approval: cutover.approval,
    replicas: cutover.replicas,
    switchAliases: restore.aliases !== 'none' || Object.keys(cutover.switchover.aliases).length > 0,
    ...(plan.notify === undefined ? {} : { notify: true }),
    ...(cutover.switchover.webhook === undefined ? {} : { webhook: true }),
    ...(cutover.watchMs === undefined ? {} : { watchMs: cutover.watchMs }),
    verify: cutover.verify.level,
    limits: plan.limits,
    ...(restore.keepSettings.length === 0 ? {} : { keepsSettings: true }),
    ...(plan.cleanup.snapshots === 'delete' ? { deletesSnapshots: true } : {}),
    ...(plan.throttles.recoveryBytesPerSecond === undefined ? {} : { changesThrottle: true }),
    searchAttributes,
  };
}

function preflightFile({ indices, warnings }: WholeInspection): PreflightFile {
  const bytes = indices.reduce((sum, { primaryBytes }) => sum + (primaryBytes ?? 0), 0);
  return { indices: indices.length, bytes, warnings };
}

function planFile(deps: StepDeps, inspection: WholeInspection, input: PreflightInput): PlanFile {
  const { plan, source, target } = inspection;
  const registration = (side: 'source' | 'target') => {
    const { name } = plan.repository[side];
    return { cluster: plan[side], name: name ?? registrationName(input.firstRunId), ours: name === undefined };
  };
  return {
    plan,
    migration: input.migration,
    firstRunId: input.firstRunId,
    clusters: { source, target },
    registrations: { source: registration('source'), target: registration('target') },
    fingerprints: fingerprintsOf(deps.config, plan),
  };
}

/** All or nothing: what a refused migration claimed would stand in the way of the next. */
async function claimAll(claimant: Claimant, { plan, indices }: WholeInspection, context: StepContext): Promise<void> {
  const { basePath } = plan.repository.target;
  const names = indices.map(({ name }) => nameOnTarget(plan.restore, name));
  assertMayAct(context, WRITE_TIMEOUT_MS);
  try {
    await claimLocation(claimant, basePath, context.signal);
    await inParallel(names, CLAIMS_AT_ONCE, context.signal, async (name, signal) => {
      await claimIndex(claimant, name, signal);
    });
  } catch (error) {
    const cancelled = context.signal.aborted;
    if (cancelled || error instanceof ConfigurationError) {
      if (!cancelled) assertMayAct(context, WRITE_TIMEOUT_MS);
      await releaseOwnership(claimant, { basePath, indices: names }, AbortSignal.timeout(WRITE_TIMEOUT_MS));
    }
    throw error;
  }
}
