import type { Config } from '../../../src/config';
import type { PlanRef, PreflightInput } from '../../../src/domain/exchange';
import { ConfigurationError } from '../../../src/domain/errors';
import type { StepContext } from '../../../src/steps/context';
import { openMigration } from '../../../src/steps/migration';
import type { Migration, StepDeps } from '../../../src/steps/migration';
import { preflight } from '../../../src/steps/preflight';
import { resolveScope } from '../../../src/steps/scope';
import { anIndex, FakeCluster } from '../../support/fake-cluster';
import { MemoryStore } from '../../support/memory-store';
import { LiveLimits } from '../../../src/steps/limits';
import { Engine } from '../../../src/storage';

/** Two clusters, two stores, and what a worker makes of them. */
export class World {
  readonly source = new FakeCluster('aws');
  readonly target = new FakeCluster('ali');
  readonly from = new MemoryStore('s3');
  readonly to = new MemoryStore('oss');
  readonly url: Record<string, string> = { aws: 'https://aws.example', ali: 'https://ali.example' };
  /** Of stores that are not called as their bucket. */
  readonly bucket: Record<string, string> = {};
  /** Of stores that tell theirs. */
  readonly region: Record<string, string> = {};
  knownAttributes: readonly string[] = [];
  /** Ids of workflows. */
  readonly running: string[] = [];
  readonly deps: StepDeps;

  constructor() {
    const cluster = { aws: this.source, ali: this.target };
    const store = { s3: this.from, oss: this.to };
    this.deps = {
      config: this.config() as unknown as Config,
      cluster: (name) => known(cluster, 'cluster', name),
      store: (name) => known(store, 'store', name),
      engine: new Engine(),
      limits: new LiveLimits(),
      searchAttributes: async () => this.knownAttributes,
      isRunning: async (workflowId) => this.running.includes(workflowId),
    };
  }

  /** With the named indices on the source. */
  static with(...indices: readonly string[]): World {
    const world = new World();
    world.source.indexList.push(...indices.map((name) => anIndex(name)));
    return world;
  }

  async started(
    input: Partial<PreflightInput> = {},
  ): Promise<{ readonly plan: PlanRef; readonly migration: Migration }> {
    const { plan } = await preflight(this.deps, { ...anInput(), ...input }, aContext());
    for (const { calls } of [this.source, this.target]) calls.length = 0;
    return { plan, migration: await openMigration(this.deps, plan, aContext()) };
  }

  /** As `started`, with the scope of round 0. */
  async scoped(input: Partial<PreflightInput> = {}) {
    const started = await this.started(input);
    const ref = { plan: started.plan, round: 0, attempt: 1 };
    await resolveScope(this.deps, { ...ref, previous: undefined }, aContext());
    return { ...started, ref };
  }

  private config() {
    return {
      cluster: (name: string) => ({ url: this.url[name], auth: { type: 'basic' } }),
      store: (name: string) => ({ type: 's3', bucket: this.bucket[name] ?? name, region: this.region[name] }),
      webhook: (name: string) => ({ name, url: known({ pager: 'https://pager.example' }, 'webhook', name) }),
      fingerprint: (kind: string, name: string) => `${kind} ${name}`,
      repositoryDefinition: (store: string, _cluster: string, basePath: string) => ({
        type: 's3',
        settings: { bucket: store, base_path: basePath },
      }),
    };
  }
}

function known<T>(all: Readonly<Record<string, T>>, kind: string, name: string): T {
  const found = all[name];
  if (found === undefined) throw new ConfigurationError(`The connections file has no ${kind} '${name}'`);
  return found;
}

export function aPlan(changes: Readonly<Record<string, unknown>> = {}) {
  return {
    source: 'aws',
    target: 'ali',
    indices: ['logs-*'],
    repository: { source: { store: 's3', basePath: 'from' }, target: { store: 'oss', basePath: 'to' } },
    ...changes,
  };
}

/** One repository for both clusters. */
export const SHARED = {
  repository: { source: { store: 's3', basePath: 'from' }, target: { store: 's3', basePath: 'from' } },
};

export function anInput(planned: Readonly<Record<string, unknown>> = {}): PreflightInput {
  return { plan: aPlan(planned), migration: 'move-logs', firstRunId: 'run-1' };
}

export interface TestContext extends StepContext {
  readonly told: Readonly<Record<string, unknown>>[];
  readonly abort: AbortController;
}

export function aContext(changes: Partial<Pick<StepContext, 'resumed' | 'actUntil'>> = {}): TestContext {
  const abort = new AbortController();
  const told: Readonly<Record<string, unknown>>[] = [];
  return {
    signal: abort.signal,
    progress: (details) => told.push(details),
    resumed: undefined,
    actUntil: Date.now() + 3_600_000,
    told,
    abort,
    ...changes,
  };
}
