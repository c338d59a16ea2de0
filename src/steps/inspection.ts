import { checkVersions, describeVersion, parseVersion } from '../domain/compatibility';
import { estimate, estimateSentence } from '../domain/estimate';
import type { Estimate } from '../domain/estimate';
import type { PreflightInput } from '../domain/exchange';
import type { Lack } from '../domain/definitions';
import { ConfigurationError } from '../domain/errors';
import { WorkKeys } from '../domain/names';
import { formatBytes, formatDuration } from '../domain/durations';
import { isShared, webhooksOf } from '../domain/plan';
import type { ResolvedPlan } from '../domain/plan';
import type { ClusterAuth } from '../elasticsearch';
import type { Cluster, ClusterInfo, IndexInfo } from '../elasticsearch/cluster';
import { endOfSession } from '../net/aws-credentials';
import type { StoreConnection } from '../storage';
import type { Store } from '../storage/store';
import { checkBuckets, warnOfShortUploads } from './bucket-checks';
import type { AskedBucket } from './bucket-checks';
import type { StepContext } from './context';
import { checkDefinitions } from './definition-checks';
import { Findings } from './findings';
import { matchingIndices } from './index-checks';
import type { MatchingIndices } from './index-checks';
import {
  checkRegistrations,
  checkSourceLocation,
  checkTargetLocation,
  probeTarget,
  probeUploads,
} from './location-checks';
import type { StepDeps } from './migration';
import type { Claimant } from './ownership';
import { checkJoining } from './joining-checks';
import { probeRegistrations } from './registration-probe';
import { checkCalls, checkRoom } from './surroundings';

/** The one list of checks, for the first step of a migration and for `snapferry check`. */

/** What was found; nothing was changed on either side. What did not answer is undefined, and among the findings. */
export interface Inspection {
  readonly plan: ResolvedPlan;
  readonly findings: Findings;
  readonly source?: ClusterInfo | undefined;
  readonly target?: ClusterInfo | undefined;
  readonly indices?: readonly IndexInfo[] | undefined;
  readonly excluded?: MatchingIndices['excluded'] | undefined;
  readonly estimate?: Estimate | undefined;
  /** What stands around the indices on the source and not, or not so, on the target. */
  readonly lacks?: readonly Lack[] | undefined;
}

type Who = Pick<PreflightInput, 'migration' | 'firstRunId'>;

/** Checks everything that can be checked. Leaves nothing behind but what the store may keep of deleted probe objects. */
export async function inspect(deps: StepDeps, plan: ResolvedPlan, who: Who, context: StepContext): Promise<Inspection> {
  const findings = new Findings();
  const ends = await openEnds(deps, plan, findings);
  if (ends === undefined) return { plan, findings };
  return { plan, findings, ...(await new Checks(deps, plan, ends, who, findings, context).run()) };
}

/** Who would claim location and indices. */
export function claimantFor(
  store: Store,
  plan: ResolvedPlan,
  target: ClusterInfo,
  { migration, firstRunId }: Who,
): Claimant {
  return { migration, firstRunId, store, work: plan.repository.work, targetUuid: target.uuid };
}

interface OpenEnds {
  readonly source: Cluster;
  readonly target: Cluster;
  readonly sourceStore: Store;
  readonly targetStore: Store;
}

async function openEnds(deps: StepDeps, plan: ResolvedPlan, findings: Findings): Promise<OpenEnds | undefined> {
  const cluster = (name: string) => findings.attempt('connections', name, () => deps.cluster(name));
  const store = (name: string) => findings.attempt('connections', name, () => deps.store(name));
  const { source: from, target: to } = plan.repository;
  const source = await cluster(plan.source);
  const target = await cluster(plan.target);
  const sourceStore = await store(from.store);
  const targetStore = await store(to.store);
  const webhooks = webhooksOf(plan);
  const known = await Promise.all(
    webhooks.map((name) => findings.attempt('connections', name, () => deps.config.webhook(name))),
  );
  if (!source || !target || !sourceStore || !targetStore || known.includes(undefined)) return undefined;
  const names = [plan.source, plan.target, from.store, to.store, ...webhooks];
  findings.ok('connections', [...new Set(names)].join(', '), 'the connections file knows all that the plan names');
  return { source, target, sourceStore, targetStore };
}

class Checks {
  /** Of the target, once it was asked. */
  private bucket: AskedBucket | undefined;

  constructor(
    private readonly deps: StepDeps,
    private readonly plan: ResolvedPlan,
    private readonly ends: OpenEnds,
    private readonly who: Who,
    private readonly findings: Findings,
    private readonly context: StepContext,
  ) {}

  async run(): Promise<Omit<Inspection, 'plan' | 'findings'>> {
    const { plan, ends, findings, context } = this;
    const source = await this.cluster(this.ends.source);
    const target = await this.cluster(this.ends.target);
    if (source !== undefined && target !== undefined) this.clusters(source, target);
    const runsSnapshot = await this.snapshots();
    context.progress({ step: 'checking permissions' });
    // A node lets questions about snapshots wait until the one that runs has ended.
    if (source !== undefined && target !== undefined && !runsSnapshot) {
      await checkCalls(plan, ends, findings, context.signal);
    }
    await this.stores(target);
    return { source, target, ...(await this.indices(target)) };
  }

  private cluster(cluster: Cluster): Promise<ClusterInfo | undefined> {
    this.context.progress({ step: `checking cluster ${cluster.name}` });
    return this.findings.attempt('clusters', cluster.name, async () => {
      const info = await permitted(cluster.info(this.context.signal));
      const version = parseVersion(info);
      const product = version === undefined ? info.version : describeVersion(version);
      this.findings.ok('clusters', cluster.name, `answers as ${info.clusterName}, ${product}`);
      return info;
    });
  }

  private clusters(source: ClusterInfo, target: ClusterInfo): void {
    const { plan, findings } = this;
    if (source.uuid === target.uuid) {
      findings.refuse('clusters', plan.target, {
        seen: `'${plan.source}' and '${plan.target}' are the same cluster (${source.uuid})`,
        remedy: 'correct one of their urls',
      });
    }
    for (const objection of checkVersions({ source, target })) findings.refuse('clusters', plan.target, objection);
    const { strategy } = plan.restore;
    if (strategy !== 'close') {
      findings.warn('clusters', plan.target, {
        seen: `restore.strategy "${strategy}" restores every index in full in every round and in the freeze`,
        remedy: 'forecast the freeze by the size of the indices, or use "close" where the target permits it',
      });
    } else if (restoresInFull(target)) {
      const version = parseVersion(target);
      findings.warn('clusters', plan.target, {
        seen:
          `The target is ${version === undefined ? target.version : describeVersion(version)}: an index with updates or ` +
          'deletes is restored in full in every round and in the freeze, however little changed',
        remedy: 'forecast the freeze by the size of the index',
      });
    }
    for (const name of [plan.source, plan.target]) this.warnOfClearText(name);
  }

  private warnOfClearText(name: string): void {
    const { url, auth } = this.deps.config.cluster(name);
    const { protocol, hostname } = new URL(url);
    if (protocol !== 'http:' || auth.type === 'none' || isLoopback(hostname)) return;
    this.findings.warn('clusters', name, {
      seen: `Cluster '${name}' is reached over http, so its credentials and documents' names cross the network in clear text`,
      remedy: 'use https, or a network that nobody else listens to',
    });
  }

  private async stores(targetInfo: ClusterInfo | undefined): Promise<void> {
    const { sourceStore, targetStore } = this.ends;
    const { source, target, work } = this.plan.repository;
    const { findings, context } = this;
    context.progress({ step: 'checking stores' });
    const keyId = keyOf(this.deps.config.store(source.store));
    await checkSourceLocation(sourceStore, source.basePath, keyId, findings, context.signal);
    this.bucket = await checkBuckets(this.deps.config, this.plan, this.ends, findings, context.signal);
    if (this.bucket?.isProbed !== true) {
      await probeTarget(targetStore, WorkKeys.of(work, this.who.firstRunId).prefix, findings, context.signal);
    }
    // Of a folder nobody asks whether: it belongs to the worker's user, or the probe has said so.
    if (!isShared(this.plan) && this.deps.config.store(target.store).type !== 'directory') {
      await probeUploads(targetStore, target.basePath, findings, context.signal);
    }
    context.progress({ step: 'checking repositories' });
    const probed = { config: this.deps.config, plan: this.plan, firstRunId: this.who.firstRunId, ...this.ends };
    await probeRegistrations(probed, findings, context);
    await checkRegistrations({ config: this.deps.config, plan: this.plan, ...this.ends }, findings, context.signal);
    if (targetInfo === undefined) return;
    await checkTargetLocation(this.claimant(targetInfo), this.plan, findings, context.signal);
  }

  /** Whether one runs. Nothing is known of it: it may be of a schedule that would meet each of our rounds. */
  private async snapshots(): Promise<boolean> {
    const { source } = this.ends;
    this.context.progress({ step: 'checking snapshots' });
    const found = await this.findings.attempt('snapshots', source.name, async () => {
      const running = await source.runningSnapshots(this.context.signal);
      if (running.length === 0) this.findings.ok('snapshots', source.name, 'no snapshot runs');
      for (const { repository, snapshot } of running) {
        this.findings.refuse('snapshots', source.name, {
          seen: `Snapshot '${snapshot}' of repository '${repository}' runs on the source`,
          remedy: 'start again when it has ended',
        });
      }
      return running.length > 0;
    });
    return found ?? false;
  }

  private async indices(
    targetInfo: ClusterInfo | undefined,
  ): Promise<Pick<Inspection, 'indices' | 'excluded' | 'estimate' | 'lacks'> | undefined> {
    const { plan, findings, context } = this;
    const { source } = this.ends;
    context.progress({ step: 'checking indices' });
    return findings.attempt('scope', source.name, async () => {
      const matching = await matchingIndices(plan, source, findings, context.signal);
      this.scope(matching);
      const { indices, excluded } = matching;
      const found = { indices, excluded, estimate: this.estimate(indices) };
      if (targetInfo === undefined) return found;
      const ends = { ...this.ends, targetInfo, naming: plan.restore, claimant: this.claimant(targetInfo) };
      const joining = { plan, matching, indices, isBeginning: true };
      const { settings } = await checkJoining(joining, ends, findings, context.signal);
      const lacks = await checkDefinitions(indices, settings, this.ends, findings, context.signal);
      await checkRoom(plan, indices, ends.target, findings, context.signal);
      return { ...found, lacks };
    });
  }

  private scope({ indices, unmatched }: MatchingIndices): void {
    const { findings } = this;
    for (const pattern of unmatched) {
      findings.refuse('scope', pattern, {
        seen: `indices: '${pattern}' matches no index of the source`,
        remedy: 'correct it or leave it out',
      });
    }
    if (indices.length === 0 && unmatched.length === 0) {
      findings.refuse('scope', this.plan.source, {
        seen: 'indices: the exclusions leave no index over',
        remedy: 'take one of them out',
      });
    }
    if (indices.length === 0) return;
    const bytes = indices.reduce((sum, { primaryBytes }) => sum + (primaryBytes ?? 0), 0);
    findings.ok('scope', this.plan.source, `${indices.length} indices, ${formatBytes(bytes)} of primaries`);
  }

  private estimate(indices: readonly IndexInfo[]): Estimate {
    const estimated = estimate(this.plan, indices, Date.now());
    if (indices.length > 0) this.findings.ok('estimate', this.plan.target, estimateSentence(estimated));
    const { snapshot, transfer, restore } = estimated.ms;
    if (this.bucket !== undefined) warnOfShortUploads(this.bucket, transfer, this.findings);
    this.warnOfTokens(snapshot + transfer + restore);
    return estimated;
  }

  /** A token does not tell when it ends, and nothing renews one that stands in the connections file or environment. */
  private warnOfTokens(roundMs: number): void {
    const { plan, findings } = this;
    const { config } = this.deps;
    const { source, target } = plan.repository;
    const stores = [...new Set([source.store, target.store])];
    const holders = [
      ...[plan.source, plan.target].map((name) => ({ name, what: 'Cluster', end: endOf(config.cluster(name).auth) })),
      ...stores.map((name) => ({ name, what: 'Store', end: endOf(config.store(name)) })),
    ];
    const roundEnds = Date.now() + roundMs;
    for (const { name, what, end } of holders) {
      if (end === undefined || (end !== 'unknown' && end > roundEnds)) continue;
      const ends =
        end === 'unknown'
          ? `which ends at a time that nobody here knows; the first round takes about ${formatDuration(roundMs)}`
          : `which ends at ${timeOf(end)}; the first round is expected to take until ${timeOf(roundEnds)}`;
      findings.warn('connections', name, {
        seen: `${what} '${name}' is reached by a session token, ${ends}`,
        remedy: 'use credentials that are renewed (the AWS default chain, profile or roleArn) or that do not end',
      });
    }
  }

  private claimant(targetInfo: ClusterInfo): Claimant {
    return claimantFor(this.ends.targetStore, this.plan, targetInfo, this.who);
  }
}

/** When the session of these credentials ends for good, in epoch milliseconds. */
function endOf(connection: ClusterAuth | StoreConnection): number | 'unknown' | undefined {
  if (connection.type === 's3') return endOfSession({ keys: connection.credentials });
  if (connection.type === 'oss') return connection.credentials().securityToken === undefined ? undefined : 'unknown';
  return connection.type === 'sigv4' ? endOfSession(connection) : undefined;
}

/** Who signs may lack a statement; who gives a password has the wrong one, which the error says. */
async function permitted(asked: Promise<ClusterInfo>): Promise<ClusterInfo> {
  try {
    return await asked;
  } catch (error) {
    if (!(error instanceof ConfigurationError) || !error.message.includes('es:ESHttp')) throw error;
    const { subject } = error;
    throw new ConfigurationError(`${error.message} (statement ReadIndices of \`snapferry policies PLAN\`)`, {
      subject,
    });
  }
}

function keyOf(connection: StoreConnection): string | undefined {
  return connection.type === 'directory' ? undefined : connection.encryption?.keyId;
}

function timeOf(time: number): string {
  return new Date(time).toISOString().slice(0, 16) + 'Z';
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
