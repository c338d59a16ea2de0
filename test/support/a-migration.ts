import type { Config } from '../../src/config';
import type { PlanRef, RestoreInput } from '../../src/domain/exchange';
import { indexOwnerKey, locationOwnerKey, WorkKeys } from '../../src/domain/names';
import { parsePlan } from '../../src/domain/plan';
import { indexOnTarget, nameOnTarget } from '../../src/domain/target-names';
import type { ManifestBlob, ManifestIndex } from '../../src/repository';
import type { StepContext } from '../../src/steps/context';
import { digestOf } from '../../src/steps/files';
import type { PlanFile, StepDeps } from '../../src/steps/migration';
import type {
  FreezeRecord,
  LeftFile,
  ManifestFile,
  OwnerFile,
  QuiescenceFile,
  RestoredFile,
  ScopeFile,
} from '../../src/steps/work-files';
import { MemoryStore } from './memory-store';
import { aSnapshot } from './fake-cluster';
import { releaseOf } from './release';
import { RestoringCluster } from './restoring-cluster';
import { LiveLimits } from '../../src/steps/limits';
import { Engine } from '../../src/storage';

const NOBODY = new AbortController().signal;

interface IndexSpec {
  readonly shards?: number;
  readonly settings?: ManifestIndex['settings'];
  readonly aliases?: readonly string[];
  readonly segments?: readonly string[];
  readonly replicas?: number;
}

/**
 * A migration in memory that has published round 1: plan, scope, manifest and claims lie in the work prefix, source
 * indices stand. Tests of what follows begin here.
 */
export class AMigration {
  readonly source = new RestoringCluster('source');
  readonly target = new RestoringCluster('target');
  readonly sourceStore = new MemoryStore('source');
  readonly store = new MemoryStore('target');
  readonly keys = WorkKeys.of('snapferry-work', 'run-1');
  readonly round = this.keys.round(1, 1);
  readonly progress: Readonly<Record<string, unknown>>[] = [];
  readonly deps: StepDeps;
  private digest = '';
  private file: PlanFile;

  constructor(
    readonly indices: Readonly<Record<string, IndexSpec>> = { movies: {} },
    plan: Readonly<Record<string, unknown>> = {},
    versions: { readonly source?: string; readonly target?: string } = {},
  ) {
    const config = {
      fingerprint: (kind: string, name: string) => `${kind}-${name}`,
      repositoryDefinition: () => ({ type: 'fs', settings: { location: '/srv/copy', secret: 'hush' } }),
    } as unknown as Config;
    const clusters: Record<string, RestoringCluster> = { source: this.source, target: this.target };
    const stores: Record<string, MemoryStore> = { 'source-store': this.sourceStore, 'target-store': this.store };
    this.deps = {
      config,
      cluster: (name) => clusters[name] as RestoringCluster,
      store: (name) => stores[name] as MemoryStore,
      engine: new Engine(),
      limits: new LiveLimits(),
      searchAttributes: async () => [],
      isRunning: async () => false,
    };
    this.source.clusterInfo = { ...this.source.clusterInfo, ...releaseOf(versions.source ?? '7.10.2') };
    this.target.clusterInfo = { ...this.target.clusterInfo, ...releaseOf(versions.target ?? '7.10.2') };
    this.file = this.planFile(plan);
    this.savePlan();
    this.fill();
  }

  get ref(): PlanRef {
    return {
      migration: 'm',
      firstRunId: 'run-1',
      store: 'target-store',
      storeFingerprint: 'store-target-store',
      prefix: this.keys.prefix,
      digest: this.digest,
    };
  }

  get at() {
    return { plan: this.ref, round: 1, attempt: 1 };
  }

  get restoreInput(): RestoreInput {
    return { ...this.at, snapshot: 'snap', snapshotUuid: 'uuid-of-snap' };
  }

  context(changes: Partial<StepContext> = {}): StepContext {
    return {
      signal: NOBODY,
      progress: (details) => this.progress.push(details),
      resumed: undefined,
      actUntil: Number.POSITIVE_INFINITY,
      ...changes,
    };
  }

  read<T>(key: string): T {
    const bytes = this.store.blobs.get(key);
    if (bytes === undefined) throw new Error(`${key} is not there`);
    return JSON.parse(bytes.toString('utf8')) as T;
  }

  save(key: string, value: unknown): void {
    this.store.put(key, Buffer.from(`${JSON.stringify(value, null, 1)}\n`));
  }

  ownerKey(index: string): string {
    return indexOwnerKey('snapferry-work', this.target.clusterInfo.uuid, index);
  }

  claim(index: string, restored?: RestoredFile): void {
    this.save(this.ownerKey(index), { migration: 'm', firstRunId: 'run-1' } satisfies OwnerFile);
    if (restored !== undefined) this.save(this.keys.restored(index), restored);
  }

  /** The name of a source's index there. */
  readonly onTarget = (index: string): string => indexOnTarget(this.file.plan.restore, index, 1);

  /** The target as it is after round 1: restored, blocked, recorded. */
  restored(): this {
    for (const [index, { shards = 1 }] of Object.entries(this.indices)) {
      const name = this.onTarget(index);
      this.target.add(
        name,
        { uuid: `restored-${name}`, shards, blocks: ['write'] },
        { 'index.blocks.write': 'true', 'index.number_of_replicas': '0' },
      );
      this.target.play(name, 'snap', 99);
      this.target.statsOf[name] = [{ shard: 0, docs: 10, deleted: 0, indexTotal: 0, deleteTotal: 0, maxSeqNo: 9 }];
      this.claim(name, { uuids: [`restored-${name}`], restoring: { repository: 'snapferry-ours', snapshot: 'snap' } });
    }
    const left = Object.keys(this.indices)
      .map(this.onTarget)
      .map((name) => [name, { uuid: `restored-${name}`, shards: [{ shard: 0, docs: 10, maxSeqNo: 9 }] }]);
    this.save(this.keys.left('snap'), { indices: Object.fromEntries(left) as LeftFile['indices'] });
    return this;
  }

  /** Freeze 1: its record, and unless told otherwise the blocks on the source. */
  frozen(blockedBefore: readonly string[] = [], blocked = true): this {
    const record: FreezeRecord = {
      cluster: { name: 'source', uuid: this.source.clusterInfo.uuid },
      freeze: 1,
      deadline: 1_000,
      indices: Object.keys(this.indices).map((name) => ({
        name,
        uuid: `uuid-${name}`,
        blockedBefore: blockedBefore.includes(name),
        aliases: Object.keys(this.source.aliasMap[name] ?? {}),
      })),
    };
    this.save(this.keys.freeze(1).record, record);
    for (const name of Object.keys(this.indices)) {
      if (blocked || blockedBefore.includes(name)) (this.source.settingsOf[name] ??= {})['index.blocks.write'] = 'true';
    }
    return this;
  }

  quiescent(): this {
    const counters: Record<string, QuiescenceFile['counters'][string]> = {};
    for (const name of Object.keys(this.indices)) {
      this.source.statsOf[name] = [{ shard: 0, docs: 10, deleted: 0, indexTotal: 10, deleteTotal: 0, maxSeqNo: 9 }];
      counters[name] = [{ shard: 0, indexTotal: 10, deleteTotal: 0, maxSeqNo: 9 }];
    }
    this.save(this.keys.freeze(1).quiescence, { counters });
    return this;
  }

  decided(outcome: 'committed' | 'released'): this {
    this.save(this.keys.freeze(1).outcome, { outcome });
    return this;
  }

  private planFile(plan: Readonly<Record<string, unknown>>): PlanFile {
    return {
      plan: parsePlan({
        source: 'source',
        target: 'target',
        indices: Object.keys(this.indices),
        repository: {
          source: { store: 'source-store', basePath: 'repo' },
          target: { store: 'target-store', basePath: 'copy' },
        },
        ...plan,
      }),
      migration: 'm',
      firstRunId: 'run-1',
      clusters: { source: this.source.clusterInfo, target: this.target.clusterInfo },
      registrations: {
        source: { cluster: 'source', name: 'snapferry-ours', ours: true },
        target: { cluster: 'target', name: 'snapferry-ours', ours: true },
      },
      fingerprints: {
        clusters: { source: 'cluster-source', target: 'cluster-target' },
        stores: { 'source-store': 'store-source-store', 'target-store': 'store-target-store' },
        webhooks: { pager: 'webhook-pager', dns: 'webhook-dns' },
      },
    };
  }

  private savePlan(): void {
    this.save(this.keys.plan, this.file);
    this.digest = digestOf(this.store.blobs.get(this.keys.plan) as Buffer);
  }

  private fill(): void {
    const names = Object.keys(this.indices);
    for (const name of names) {
      const { shards = 1, replicas = 1, aliases = [] } = this.indices[name] as IndexSpec;
      this.source.add(name, { shards, replicas });
      this.source.aliasMap[name] = Object.fromEntries(aliases.map((alias) => [alias, {}]));
      this.target.shardCounts[this.onTarget(name)] = shards;
      this.claim(nameOnTarget(this.file.plan.restore, name));
    }
    this.target.snapshots['snapferry-ours/snap'] = aSnapshot('snap', names);
    this.save(locationOwnerKey('snapferry-work', 'copy'), { migration: 'm', firstRunId: 'run-1' });
    this.save(this.round.scope, this.scope());
    this.save(this.round.manifest, this.manifest());
    const blobs: ManifestBlob[] = [
      { key: 'indices/a/0/__0', length: 3, crc32: 1, phase: 'data' },
      { key: 'index-4', length: 7, crc32: null, phase: 'index-N' },
    ];
    this.store.put(this.round.blobs(0), Buffer.from(blobs.map((blob) => `${JSON.stringify(blob)}\n`).join('')));
    this.store.put('copy/indices/a/0/__0', Buffer.from('abc'));
    this.store.put('copy/index-4', Buffer.from('newest!'));
    this.store.put(this.round.volatile('index-4'), Buffer.from('newest!'));
    this.store.put('copy/index.latest', Buffer.from('4'));
    this.store.put(this.round.volatile('index.latest'), Buffer.from('4'));
  }

  private scope(): ScopeFile {
    return {
      indices: Object.entries(this.indices).map(([name, { shards = 1, replicas = 1 }]) => ({
        name,
        uuid: `uuid-${name}`,
        shards,
        replicas,
        createdVersionId: 7100299,
      })),
    };
  }

  private manifest(): ManifestFile {
    return {
      snapshot: { name: 'snap', uuid: 'uuid-of-snap', versionId: 7100299 },
      generation: 4,
      indices: Object.entries(this.indices).map(
        ([name, { shards = 1, settings = {}, aliases = [], segments = ['_0'] }]) => ({
          name,
          id: `id-${name}`,
          createdVersionId: 7100299,
          shards: Array.from({ length: shards }, (_, shard) => ({
            shard,
            dataBytes: 100,
            virtualBytes: 0,
            files: 1,
            segments,
            segmentGroups: '',
            commitBytes: 0,
          })),
          settings,
          aliases,
        }),
      ),
      blobs: 2,
      bytes: 10,
      blobsDigests: ['of no matter here'],
      volatile: ['index-4'],
      fence: [],
    };
  }
}
