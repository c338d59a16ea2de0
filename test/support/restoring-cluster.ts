import type {
  FlatSettings,
  IndexHealth,
  IndexInfo,
  RestoreAccepted,
  RestoreRequest,
  Segment,
  ShardRecovery,
  ShardStats,
  WriteTask,
} from '../../src/elasticsearch/cluster';
import { ConfigurationError } from '../../src/domain/errors';
import { anIndex, FakeCluster } from './fake-cluster';

export function aRecovery(index: string, changes: Partial<ShardRecovery> = {}): ShardRecovery {
  return {
    index,
    shard: 0,
    primary: true,
    type: 'SNAPSHOT',
    stage: 'DONE',
    snapshot: 'snap',
    repository: 'snapferry-ours',
    totalBytes: 100,
    reusedBytes: 90,
    recoveredBytes: 10,
    startedAt: 1_000,
    endedAt: 61_000,
    ...changes,
  };
}

export function healthy(shards: number, changes: Partial<IndexHealth> = {}): IndexHealth {
  return {
    status: 'green',
    shards,
    activePrimaries: shards,
    activeShards: shards,
    unassigned: 0,
    initializing: 0,
    relocating: 0,
    ...changes,
  };
}

/** What a restore looks like, one look after the other; the last frame stays. */
export type Frame = (
  index: string,
  shards: number,
  snapshot: string,
) => {
  readonly health: IndexHealth;
  readonly recoveries: readonly ShardRecovery[];
};

const shardsOf = (index: string, shards: number, snapshot: string, changes: Partial<ShardRecovery>) =>
  Array.from({ length: shards }, (_, shard) => aRecovery(index, { shard, snapshot, ...changes }));

export const frames = {
  /** Yellow at once, and nothing listed. */
  accepted: (_index, shards) => ({
    health: healthy(shards, { status: 'yellow', activePrimaries: 0, activeShards: 0, initializing: shards }),
    recoveries: [],
  }),
  /** The only shard that is assigned yet is done: every one listed is. */
  firstDone: (index, shards, snapshot) => ({
    health: healthy(shards, { status: 'yellow', activePrimaries: 1 }),
    recoveries: [aRecovery(index, { snapshot })],
  }),
  /** All listed DONE, the health lags. */
  lagging: (index, shards, snapshot) => ({
    health: healthy(shards, { status: 'yellow', activePrimaries: shards - 1 }),
    recoveries: shardsOf(index, shards, snapshot, {}),
  }),
  done: (index, shards, snapshot) => ({
    health: healthy(shards),
    recoveries: shardsOf(index, shards, snapshot, {}),
  }),
  /** A node restarted: the shards came back from its own disk. */
  vanished: (index, shards, snapshot) => ({
    health: healthy(shards),
    recoveries: shardsOf(index, shards, snapshot, {
      type: 'EXISTING_STORE',
      snapshot: undefined,
      repository: undefined,
    }),
  }),
  failed: (index, shards, snapshot) => ({
    health: healthy(shards, { status: 'red', activePrimaries: shards - 1, unassigned: 1 }),
    recoveries: shardsOf(index, shards, snapshot, {}).slice(1),
  }),
} satisfies Record<string, Frame>;

/** A `FakeCluster` that plays restores frame by frame and shows counters, segments, mappings and tasks as it is told. */
export class RestoringCluster extends FakeCluster {
  frames: Frame[] = [frames.accepted, frames.firstDone, frames.lagging, frames.done];
  /** The indices that a restore answers with; as asked by default. */
  accepts: (names: readonly string[]) => readonly string[] | undefined = (names) => names;
  readonly requests: RestoreRequest[] = [];
  readonly shardCounts: Record<string, number> = {};
  readonly healthOf: Record<string, IndexHealth> = {};
  recoveryList: ShardRecovery[] = [];
  explanation: string | undefined = 'CorruptIndexException[checksum failed]';
  readonly statsOf: Record<string, readonly ShardStats[]> = {};
  readonly segmentsOf: Record<string, readonly Segment[]> = {};
  readonly mappingOf: Record<string, unknown> = {};
  readonly countOf: Record<string, number> = {};
  /** One answer per call; the last stays. */
  taskReads: (readonly WriteTask[] | 'unsupported')[] = [[]];
  /** One per call and index; the last stays. */
  statsReads: Record<string, readonly ShardStats[]>[] = [];
  private readonly playing = new Map<string, { frame: number; snapshot: string }>();

  add(name: string, changes: Partial<IndexInfo> = {}, settings: FlatSettings = {}): void {
    this.indexList.push(anIndex(name, changes));
    this.settingsOf[name] = { ...settings };
  }

  /** As if a restore of that snapshot had reached that frame when we begin to look. */
  play(name: string, snapshot: string, frame: number): void {
    this.playing.set(name, { frame, snapshot });
  }

  /** As a real one: naming an index that does not exist is refused, whatever is asked about it. */
  private mustExist(names: readonly string[]): void {
    const missing = names.find((name) => !this.indexList.some((index) => index.name === name));
    if (missing !== undefined) throw new ConfigurationError(`no such index ${missing}`);
  }

  override async settings(names: readonly string[]): Promise<Record<string, FlatSettings>> {
    this.mustExist(names);
    return super.settings(names);
  }

  override async aliases(names: readonly string[]) {
    this.mustExist(names);
    return super.aliases(names);
  }

  override async updateSettings(names: readonly string[], settings: Parameters<FakeCluster['updateSettings']>[1]) {
    this.mustExist(names);
    return super.updateSettings(names, settings);
  }

  override async restore(repository: string, snapshot: string, request: RestoreRequest): Promise<RestoreAccepted> {
    await super.restore(repository, snapshot, request);
    this.requests.push(request);
    const { pattern = '^$', replacement = '' } = request.rename ?? {};
    const renamed = request.indices.map((name) => name.replace(new RegExp(pattern), replacement));
    const accepted = this.accepts(renamed);
    for (const name of accepted ?? renamed) {
      const at = this.indexList.findIndex((index) => index.name === name);
      const blocks = request.indexSettings['index.blocks.write'] === true ? ['write'] : [];
      if (at < 0) this.add(name, { uuid: `restored-${name}`, shards: this.shardCounts[name] ?? 1, blocks });
      else this.indexList[at] = { ...(this.indexList[at] as IndexInfo), open: true, health: 'yellow', blocks };
      this.play(name, snapshot, 0);
    }
    return { indices: accepted };
  }

  override async health(names: readonly string[] = []): Promise<Record<string, IndexHealth>> {
    const found: Record<string, IndexHealth> = {};
    this.recoveryList = this.recoveryList.filter(({ index }) => !this.playing.has(index));
    for (const name of names) {
      const playing = this.playing.get(name);
      if (playing === undefined) {
        const known = this.healthOf[name];
        if (known !== undefined) found[name] = known;
        continue;
      }
      const frame = this.frames[Math.min(playing.frame, this.frames.length - 1)] as Frame;
      const shown = frame(name, this.shardCounts[name] ?? 1, playing.snapshot);
      playing.frame += 1;
      found[name] = shown.health;
      this.recoveryList.push(...shown.recoveries);
    }
    return found;
  }

  override async recoveries(names: readonly string[] = []): Promise<readonly ShardRecovery[]> {
    this.mustExist(names);
    return this.recoveryList.filter(({ index }) => names.includes(index));
  }

  override async explainAllocation(): Promise<string | undefined> {
    return this.explanation;
  }

  override async count(name: string): Promise<number> {
    return this.countOf[name] ?? 0;
  }

  override async shardStats(names: readonly string[] = []): Promise<Record<string, readonly ShardStats[]>> {
    this.mustExist(names);
    const read = this.statsReads.length > 1 ? this.statsReads.shift() : this.statsReads[0];
    return Object.fromEntries(
      names.flatMap((name) => {
        const stats = read?.[name] ?? this.statsOf[name];
        return stats === undefined ? [] : [[name, stats]];
      }),
    );
  }

  override async segments(names: readonly string[] = []): Promise<Record<string, readonly Segment[]>> {
    this.mustExist(names);
    return Object.fromEntries(names.map((name) => [name, this.segmentsOf[name] ?? []]));
  }

  override async mappings(names: readonly string[]): Promise<Record<string, unknown>> {
    this.mustExist(names);
    return Object.fromEntries(names.map((name) => [name, this.mappingOf[name] ?? {}]));
  }

  override async writeTasks(): Promise<readonly WriteTask[] | 'unsupported'> {
    return (this.taskReads.length > 1 ? this.taskReads.shift() : this.taskReads[0]) ?? [];
  }
}
