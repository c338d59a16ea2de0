import { checkVersions, describeVersion, parseVersion } from '../domain/compatibility';
import { ConfigurationError, UnavailableError } from '../domain/errors';
import type { PlanRef, PreflightInput, PreflightResult, Settings } from '../domain/exchange';
import { registrationName, WorkKeys } from '../domain/names';
import { parsePlan } from '../domain/plan';
import type { ResolvedPlan } from '../domain/plan';
import type { Cluster, ClusterInfo, IndexInfo } from '../elasticsearch/cluster';
import type { Store } from '../storage/store';
import { assertMayAct } from './context';
import type { StepContext } from './context';
import { createJson, digestOf, readBytes, requireJson, writeJson } from './files';
import { Findings } from './findings';
import { checkIndices, matchingIndices } from './index-checks';
import { checkRegistrations, checkSourceLocation, checkTargetLocation, probeTarget } from './location-checks';
import { fingerprintsOf } from './migration';
import type { PlanFile, StepDeps } from './migration';
import { claimIndex, claimLocation, releaseOwnership } from './ownership';
import type { Claimant } from './ownership';
import { inParallel } from '../storage/parallel';

/** Search attributes that workflows set where the namespace knows them. */
const SEARCH_ATTRIBUTES = ['SnapferryPhase', 'SnapferryRound', 'SnapferryNeedsOperator'];
const CLAIMS_AT_ONCE = 16;
const WRITE_TIMEOUT_MS = 60_000;

/** `preflight.json`: what a retry answers with, beside the plan. */
interface PreflightFile {
  readonly indices: number;
  readonly bytes: number;
  readonly warnings: readonly string[];
}

/** What preflight learned; nothing was changed on either side. */
export interface Inspection {
  readonly plan: ResolvedPlan;
  readonly source: ClusterInfo;
  readonly target: ClusterInfo;
  readonly indices: readonly IndexInfo[];
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
  const inspection = await inspect(deps, plan, input, context);
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
  const known = await deps.searchAttributes();
  const searchAttributes = SEARCH_ATTRIBUTES.filter((name) => known.includes(name));
  return { plan: ref, settings: settingsOf(plan, searchAttributes), ...file };
}

function settingsOf(plan: ResolvedPlan, searchAttributes: readonly string[]): Settings {
  const { rounds, restore, cutover } = plan;
  return {
    source: plan.source,
    target: plan.target,
    everyMs: rounds.everyMs,
    atMost: rounds.atMost,
    restoreEveryRound: restore.everyRound,
    freezeAtMostMs: cutover.freezeAtMostMs,
    approval: cutover.approval,
    replicas: cutover.replicas,
    switchAliases: restore.aliases === 'switchover' || Object.keys(cutover.switchover.aliases).length > 0,
    verify: cutover.verify.level,
    limits: plan.limits,
    ...(plan.throttles.recoveryBytesPerSecond === undefined ? {} : { changesThrottle: true }),
    searchAttributes,
  };
}

function preflightFile({ indices, warnings }: Inspection): PreflightFile {
  const bytes = indices.reduce((sum, { primaryBytes }) => sum + (primaryBytes ?? 0), 0);
  return { indices: indices.length, bytes, warnings };
}

function planFile(deps: StepDeps, inspection: Inspection, input: PreflightInput): PlanFile {
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

function claimantFor(
  store: Store,
  plan: ResolvedPlan,
  target: ClusterInfo,
  { migration, firstRunId }: Pick<PreflightInput, 'migration' | 'firstRunId'>,
): Claimant {
  return { migration, firstRunId, store, work: plan.repository.work, targetUuid: target.uuid };
}

/** All or nothing: what a refused migration claimed would stand in the way of the next. */
async function claimAll(claimant: Claimant, { plan, indices }: Inspection, context: StepContext): Promise<void> {
  const { basePath } = plan.repository.target;
  const names = indices.map(({ name }) => name);
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

/**
 * The checks alone, for `check` too. Leaves nothing behind but what the store may keep of a deleted probe object.
 * Throws as `preflight`.
 */
export async function inspect(
  deps: StepDeps,
  plan: ResolvedPlan,
  input: Pick<PreflightInput, 'migration' | 'firstRunId'>,
  context: StepContext,
): Promise<Inspection> {
  const findings = new Findings();
  const ends = await openEnds(deps, plan, findings);
  findings.refuseIfAny('The plan names what the connections file does not:');
  const infos = await new Checks(deps, plan, ends!, input, findings, context).run();
  findings.refuseIfAny('The migration can not start; nothing was changed:');
  return { plan, ...infos!, warnings: findings.warnings };
}

interface OpenEnds {
  readonly source: Cluster;
  readonly target: Cluster;
  readonly sourceStore: Store;
  readonly targetStore: Store;
}

async function openEnds(deps: StepDeps, plan: ResolvedPlan, findings: Findings): Promise<OpenEnds | undefined> {
  const source = await findings.attempt(() => deps.cluster(plan.source));
  const target = await findings.attempt(() => deps.cluster(plan.target));
  const sourceStore = await findings.attempt(() => deps.store(plan.repository.source.store));
  const targetStore = await findings.attempt(() => deps.store(plan.repository.target.store));
  if (!source || !target || !sourceStore || !targetStore) return undefined;
  return { source, target, sourceStore, targetStore };
}

class Checks {
  constructor(
    private readonly deps: StepDeps,
    private readonly plan: ResolvedPlan,
    private readonly ends: OpenEnds,
    private readonly input: Pick<PreflightInput, 'migration' | 'firstRunId'>,
    private readonly findings: Findings,
    private readonly context: StepContext,
  ) {}

  /** `undefined` when something did not answer; then there are findings. */
  async run(): Promise<Pick<Inspection, 'source' | 'target' | 'indices'> | undefined> {
    const { source, target } = this.ends;
    const sourceInfo = await this.check('source cluster', () => source.info(this.context.signal));
    const targetInfo = await this.check('target cluster', () => target.info(this.context.signal));
    if (sourceInfo !== undefined && targetInfo !== undefined) this.clusters(sourceInfo, targetInfo);
    await this.stores(targetInfo);
    await this.check('snapshots', () => this.snapshots());
    const indices = await this.check('indices', () => this.indices(targetInfo));
    if (sourceInfo === undefined || targetInfo === undefined || indices === undefined) return undefined;
    return { source: sourceInfo, target: targetInfo, indices };
  }

  private check<T>(step: string, work: () => Promise<T>): Promise<T | undefined> {
    this.context.progress({ step: `checking ${step}` });
    return this.findings.attempt(work);
  }

  private clusters(source: ClusterInfo, target: ClusterInfo): void {
    if (source.uuid === target.uuid) {
      this.findings.problem(
        `'${this.plan.source}' and '${this.plan.target}' are the same cluster (${source.uuid}): correct one of their urls`,
      );
    }
    for (const problem of checkVersions({ source, target })) this.findings.problem(problem);
    if (restoresInFull(target)) {
      const version = parseVersion(target);
      this.findings.warn(
        `The target is ${version === undefined ? target.version : describeVersion(version)}: an index with updates or deletes is restored in full in every round and in the ` +
          'freeze, however little changed; forecast the freeze by the size of the index',
      );
    }
    for (const name of [this.plan.source, this.plan.target]) this.warnOfClearText(name);
  }

  private warnOfClearText(name: string): void {
    const { url, auth } = this.deps.config.cluster(name);
    const { protocol, hostname } = new URL(url);
    if (protocol !== 'http:' || auth.type === 'none' || isLoopback(hostname)) return;
    this.findings.warn(
      `Cluster '${name}' is reached over http: its credentials and documents' names cross the network in clear text`,
    );
  }

  private async stores(targetInfo: ClusterInfo | undefined): Promise<void> {
    const { sourceStore, targetStore } = this.ends;
    const { source, work } = this.plan.repository;
    const { findings, context } = this;
    context.progress({ step: 'checking stores' });
    await checkSourceLocation(sourceStore, source.basePath, findings, context.signal);
    await probeTarget(targetStore, WorkKeys.of(work, this.input.firstRunId).prefix, findings, context.signal);
    await checkRegistrations({ config: this.deps.config, plan: this.plan, ...this.ends }, findings, context.signal);
    if (targetInfo === undefined) return;
    await checkTargetLocation(this.claimant(targetInfo), this.plan, findings, context.signal);
  }

  /** Nothing is known of a snapshot that runs: it may be a schedule that would meet each of our rounds. */
  private async snapshots(): Promise<void> {
    for (const { repository, snapshot } of await this.ends.source.runningSnapshots(this.context.signal)) {
      this.findings.problem(
        `Snapshot '${snapshot}' of repository '${repository}' runs on the source: start again when it has ended`,
      );
    }
  }

  private async indices(targetInfo: ClusterInfo | undefined): Promise<readonly IndexInfo[]> {
    const { plan, findings, context } = this;
    const { indices, unmatched } = await matchingIndices(plan, this.ends.source, findings, context.signal);
    for (const pattern of unmatched) {
      findings.problem(`indices: '${pattern}' matches no index of the source: correct it or leave it out`);
    }
    if (indices.length === 0 && unmatched.length === 0) {
      findings.problem('indices: the exclusions leave no index over: take one of them out');
    }
    if (targetInfo === undefined) return indices;
    const ends = { ...this.ends, targetInfo, claimant: this.claimant(targetInfo) };
    await checkIndices(indices, ends, findings, context.signal);
    return indices;
  }

  private claimant(targetInfo: ClusterInfo): Claimant {
    return claimantFor(this.ends.targetStore, this.plan, targetInfo, this.input);
  }
}

/** Measured: there a restore over soft deletes reuses nothing. */
function restoresInFull({ distribution, version }: ClusterInfo): boolean {
  if (distribution === 'opensearch') return true;
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major === 7 && minor <= 15;
}

function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || hostname.startsWith('127.');
}
