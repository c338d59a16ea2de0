import type { Config } from '../config';
import { ConfigurationError, UnavailableError } from '../domain/errors';
import type { PlanRef } from '../domain/exchange';
import { WorkKeys } from '../domain/names';
import { webhooksOf } from '../domain/plan';
import type { ResolvedPlan } from '../domain/plan';
import type { Cluster, ClusterInfo } from '../elasticsearch/cluster';
import type { Engine, Store } from '../storage';
import type { StepContext } from './context';
import { requireJson } from './files';
import type { LiveLimits } from './limits';

/** What every step is built on; one per process. `cluster` and `store` open on first use and are then shared. */
export interface StepDeps {
  readonly config: Config;
  cluster(name: string): Cluster;
  store(name: string): Store;
  /** Shared by all copies of this process. */
  readonly engine: Engine;
  /** Shared too: the paces that `set-limits` changes while copies run. */
  readonly limits: LiveLimits;
  /** Search attributes that the Temporal namespace knows; empty where there is no Temporal. */
  searchAttributes(): Promise<readonly string[]>;
  /** Whether a workflow of that id runs; undefined where there is no Temporal. One it has forgotten does not. */
  isRunning(workflowId: string): Promise<boolean | undefined>;
}

/** A registration that this migration uses in one cluster. */
export interface Registration {
  readonly cluster: string;
  readonly name: string;
  /** False for one that existed before us (`repository.*.name`): never changed, never removed. */
  readonly ours: boolean;
}

/** `plan.json` in the work prefix: written once by preflight, never changed. */
export interface PlanFile {
  readonly plan: ResolvedPlan;
  readonly migration: string;
  readonly firstRunId: string;
  readonly clusters: { readonly source: ClusterInfo; readonly target: ClusterInfo };
  readonly registrations: { readonly source: Registration; readonly target: Registration };
  /** Of every cluster and store the plan names: URL, bucket, region, endpoint, hashed. */
  readonly fingerprints: {
    readonly clusters: Readonly<Record<string, string>>;
    readonly stores: Readonly<Record<string, string>>;
    readonly webhooks: Readonly<Record<string, string>>;
  };
}

/** A migration as steps see it: its plan, its two ends, its files. */
export interface Migration extends PlanFile {
  readonly ref: PlanRef;
  readonly source: Cluster;
  readonly target: Cluster;
  readonly sourceStore: Store;
  /** Holds the work prefix too. */
  readonly targetStore: Store;
  readonly keys: WorkKeys;
}

/**
 * Reads the resolved plan and opens what it names. Throws `UnavailableError` when this worker's connections file
 * describes a name otherwise than at preflight: another worker may be right, and the operator can mend this one.
 */
export async function openMigration(deps: StepDeps, ref: PlanRef, context: StepContext): Promise<Migration> {
  refuseOtherConnections(deps.config, { stores: { [ref.store]: ref.storeFingerprint } });
  const targetStore = deps.store(ref.store);
  const keys = new WorkKeys(ref.prefix);
  const file = await requireJson<PlanFile>(targetStore, keys.plan, context.signal, ref.digest);
  const { clusters, stores } = file.fingerprints;
  refuseOtherConnections(deps.config, { clusters, stores });
  return {
    ...file,
    ref,
    source: deps.cluster(file.plan.source),
    target: deps.cluster(file.plan.target),
    sourceStore: deps.store(file.plan.repository.source.store),
    targetStore,
    keys,
  };
}

/** The fingerprints of everything a plan names. */
export function fingerprintsOf(config: Config, plan: ResolvedPlan): PlanFile['fingerprints'] {
  const stores = [plan.repository.source.store, plan.repository.target.store];
  const of = (kind: Kind, names: readonly string[]) =>
    Object.fromEntries(names.map((name) => [name, config.fingerprint(kind, name)]));
  return {
    clusters: of('cluster', [plan.source, plan.target]),
    stores: of('store', stores),
    webhooks: of('webhook', webhooksOf(plan)),
  };
}

type Kind = 'cluster' | 'store' | 'webhook';

/** Of what is given only: a webhook that is described otherwise must not keep the source blocked. */
export function refuseOtherConnections(config: Config, recorded: Partial<PlanFile['fingerprints']>): void {
  const check = (kind: Kind, expected: Readonly<Record<string, string>> = {}) => {
    for (const [name, fingerprint] of Object.entries(expected)) {
      const fault = difference(config, kind, name, fingerprint);
      if (fault === undefined) continue;
      throw new UnavailableError(`${fault}: give every worker the same file`, { subject: { [kind]: name } });
    }
  };
  check('cluster', recorded.clusters);
  check('store', recorded.stores);
  check('webhook', recorded.webhooks);
}

/** What is different about this worker, a sentence. A name that it does not know is a difference as any other. */
function difference(config: Config, kind: Kind, name: string, expected: string): string | undefined {
  try {
    if (config.fingerprint(kind, name) === expected) return undefined;
  } catch (error) {
    if (error instanceof ConfigurationError) return error.message;
    throw error;
  }
  return `This worker's connections file describes ${kind} '${name}' otherwise than at the start of the migration`;
}
