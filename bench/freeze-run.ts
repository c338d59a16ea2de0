// One freeze of an index under load, by the very steps of a cutover: what was acknowledged and is not in its snapshot?
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { loadConfig } from '../src/config';
import type { BlockResult, PlanRef } from '../src/domain/exchange';
import { snapshotName, WorkKeys } from '../src/domain/names';
import { parsePlan } from '../src/domain/plan';
import type { Cluster } from '../src/elasticsearch';
import { blockWrites, unblockWrites, writeFreezeOutcome, writeFreezeRecord } from '../src/steps/block';
import type { StepContext } from '../src/steps/context';
import { writeJson } from '../src/steps/files';
import { scoped } from '../src/steps/index-checks';
import { fingerprintsOf } from '../src/steps/migration';
import type { PlanFile } from '../src/steps/migration';
import { openDeps } from '../src/steps/open';
import type { OpenedDeps } from '../src/steps/open';
import { proveQuiescence } from '../src/steps/quiescence';
import { takeSnapshot } from '../src/steps/snapshot';
import type { ScopeFile } from '../src/steps/work-files';
import { shareDirectory } from '../stack';
import { http, Writers } from '../test/support/writers';

const WRITERS = 4;
const BULK = 200;
const SHARDS = 5;
/** Long enough for merges and a full queue, and never the same. */
const WRITE_MS = [600, 1_400] as const;
const LEASE_MS = 600_000;

export interface FreezeOptions {
  /** False: the control, which blocks by `_settings` and takes the snapshot as soon as that is acknowledged. */
  readonly proof: boolean;
  /** False: as on a service that refuses `_block`. Versions before 7.9 do not know it. */
  readonly blockApi: boolean;
}

export interface FreezeRun {
  /** Operations, not documents. */
  readonly acknowledged: number;
  /** Of them after the block was acknowledged: those that were in flight. */
  readonly late: number;
  /** How it was proved that none is left; the control proves nothing. */
  readonly provedBy: string;
  /** Acknowledged writes that the snapshot lacks, one sentence each. */
  readonly lost: readonly string[];
}

/** A node as a migration's source. Its work prefix lies in a folder; there is no target. */
export class FreezeBench {
  private runs = 0;
  private readonly context: StepContext = {
    signal: new AbortController().signal,
    progress: () => undefined,
    resumed: undefined,
    actUntil: Infinity,
  };

  private constructor(
    private readonly url: string,
    private readonly version: string,
    private readonly deps: OpenedDeps,
    private readonly plan: PlanRef,
    private readonly keys: WorkKeys,
  ) {}

  /** `shared` is a folder of the node's `path.repo`. */
  static async open(node: { readonly url: string; readonly version: string }, shared: string): Promise<FreezeBench> {
    const folder = await mkdtemp(path.join(shared, 'freeze-'));
    const [repository, work] = [path.join(folder, 'repository'), path.join(folder, 'work')];
    await Promise.all([mkdir(repository), mkdir(work)]);
    await shareDirectory(folder);
    const connections = path.join(folder, 'connections.yaml');
    const store = (location: string) => ({
      type: 'directory',
      path: location,
      repository: { type: 'fs', settings: { location } },
    });
    // JSON, which is YAML.
    const file = {
      clusters: { source: { url: node.url }, unused: { url: node.url } },
      stores: { repository: store(repository), work: store(work) },
    };
    await writeFile(connections, JSON.stringify(file));
    const config = await loadConfig({ SNAPFERRY_CONFIG: connections });
    const deps = openDeps(config);
    const { name } = path.parse(folder);
    const keys = WorkKeys.of('snapferry-work', name);
    const { signal } = new AbortController();
    const info = await deps.cluster('source').info(signal);
    const plan = parsePlan({
      ...{ source: 'source', target: 'unused', indices: ['soak-*'] },
      repository: { source: { store: 'repository' }, target: { store: 'work', basePath: 'none' } },
    });
    const registration = { cluster: 'source', name: registrationOf(name), ours: true };
    const planFile: PlanFile = {
      ...{ plan, migration: name, firstRunId: name, clusters: { source: info, target: info } },
      registrations: { source: registration, target: registration },
      fingerprints: fingerprintsOf(config, plan),
    };
    const { digest } = await writeJson(deps.store('work'), keys.plan, planFile, signal);
    const ref: PlanRef = {
      ...{ migration: name, firstRunId: name, store: 'work', storeFingerprint: config.fingerprint('store', 'work') },
      ...{ prefix: keys.prefix, digest },
    };
    return new FreezeBench(node.url, node.version, deps, ref, keys);
  }

  close(): Promise<void> {
    return this.deps.close();
  }

  /** Blocks in the middle of writes, takes the snapshot, restores it beside and compares. Leaves the node empty. */
  async run(options: FreezeOptions): Promise<FreezeRun> {
    this.runs += 1;
    const index = `soak-${this.runs}`;
    const writers = new Writers(this.url, Number(this.version.split('.')[0]));
    await writers.createIndex(index, { number_of_shards: SHARDS });
    let writing = true;
    const clients = Array.from({ length: WRITERS }, async () => {
      // On through refusals, as clients do: a rejected bulk must not be taken for one in flight.
      while (writing) if (!(await writers.bulk(index, BULK))) await sleep(10);
    });
    const [least, most] = WRITE_MS;
    await sleep(least + Math.random() * (most - least));
    const { snapshot, provedBy, before } = await this.freeze(options, () => writers.operations);
    writing = false;
    await Promise.all(clients);
    const lost = await this.lost(writers, index, snapshot);
    await this.putBack();
    return { acknowledged: writers.operations, late: writers.operations - before, provedBy, lost };
  }

  private async freeze({ proof, blockApi }: FreezeOptions, operations: () => number) {
    const { context, plan, runs } = this;
    const deps = blockApi
      ? this.deps
      : { ...this.deps, cluster: (name: string) => withoutBlockApi(this.deps.cluster(name)) };
    const at = { plan, round: runs, attempt: 1 };
    const indices = (await deps.cluster('source').indices(context.signal)).filter(({ name }) =>
      name.startsWith('soak-'),
    );
    const scope: ScopeFile = { indices: indices.map(scoped) };
    await writeJson(deps.store('work'), this.keys.round(runs, 1).scope, scope, context.signal);
    const freeze = { plan, freeze: runs };
    await writeFreezeRecord(
      deps,
      { ...freeze, scope: { round: runs, attempt: 1 }, deadline: Date.now() + LEASE_MS },
      context,
    );
    const block: BlockResult = await blockWrites(deps, freeze, context);
    const before = operations();
    const provedBy = proof ? (await proveQuiescence(deps, { ...freeze, block }, context)).provedBy : 'nothing';
    const snapshot = snapshotName(randomBytes(6).toString('hex'), runs, 1);
    await takeSnapshot(deps, { ...at, snapshot }, context);
    return { snapshot, provedBy, before };
  }

  private async lost(writers: Writers, index: string, snapshot: string): Promise<string[]> {
    const place = `${this.url}/_snapshot/${registrationOf(this.plan.migration)}/${snapshot}`;
    await http(`${place}/_restore?wait_for_completion=true`, 'POST', {
      ...{ indices: index, include_global_state: false, rename_pattern: '(.+)', rename_replacement: 'frozen-$1' },
    });
    const found = await writers.differences(this.url, (name) => `frozen-${name}`);
    await http(place, 'DELETE');
    await http(`${this.url}/frozen-${index},${index}`, 'DELETE');
    return found;
  }

  private async putBack(): Promise<void> {
    const freeze = { plan: this.plan, freeze: this.runs };
    await writeFreezeOutcome(this.deps, { ...freeze, outcome: 'released', why: 'the run is over' }, this.context);
    await unblockWrites(this.deps, freeze, this.context);
  }
}

const registrationOf = (migration: string) => `snapferry-${migration.toLowerCase()}`;

/** As a managed service of that version, which refuses the call (facts: Amazon's domains). */
function withoutBlockApi(cluster: Cluster): Cluster {
  return new Proxy(cluster, {
    get: (of, name) => {
      if (name === 'addWriteBlock') return async () => 'unsupported' as const;
      const value: unknown = Reflect.get(of, name);
      return typeof value === 'function' ? (value.bind(of) as unknown) : value;
    },
  });
}
