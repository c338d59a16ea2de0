import type { PlanRef, RoundRef } from '../../../src/domain/exchange';
import { readManifest } from '../../../src/repository';
import type { Manifest } from '../../../src/repository';
import { copyUnit, readUnits } from '../../../src/steps/copy-unit';
import type { Migration } from '../../../src/steps/migration';
import { planTransfer } from '../../../src/steps/plan';
import { publish } from '../../../src/steps/publish';
import { resolveScope } from '../../../src/steps/scope';
import { anIndex } from '../../support/fake-cluster';
import { fixture, reader, repositoryOf } from '../repository/fixtures';
import { aContext, anInput, World } from './world';

/** A migration whose source repository was recorded from a real node; the cluster beside it is made to fit. */
export class Recorded {
  private constructor(
    readonly world: World,
    readonly plan: PlanRef,
    readonly migration: Migration,
  ) {}

  /** Starts a migration of the indices of `snapshot`. */
  static async begin(name: string, snapshot: string, planned: object = {}): Promise<Recorded> {
    const world = new World();
    const manifest = await manifestOf(name, snapshot);
    world.source.indexList.push(...indicesOf(manifest));
    const indices = manifest.indices.map((index) => index.name);
    const { plan, migration } = await world.started(anInput({ indices, ...planned }));
    const recorded = new Recorded(world, plan, migration);
    recorded.show(name);
    return recorded;
  }

  /** The source repository is now as in this recording. */
  show(name: string): void {
    const { blobs } = this.world.from;
    for (const key of [...blobs.keys()]) if (key.startsWith('from/')) blobs.delete(key);
    for (const [key, bytes] of fixture(name)) this.world.from.put(`from/${key}`, bytes);
  }

  async round(round: number, name: string, snapshot: string, attempt = 1): Promise<RecordedRound> {
    const manifest = await manifestOf(name, snapshot);
    this.world.source.indexList.splice(0, Infinity, ...indicesOf(manifest));
    const ref = { plan: this.plan, round, attempt };
    await resolveScope(this.world.deps, { ...ref, previous: undefined }, aContext());
    return new RecordedRound(this, ref, manifest);
  }
}

export class RecordedRound {
  constructor(
    readonly recorded: Recorded,
    readonly ref: RoundRef,
    readonly manifest: Manifest,
  ) {}

  get keys() {
    return this.recorded.migration.keys.round(this.ref.round, this.ref.attempt);
  }

  get input() {
    const { name, uuid } = this.manifest.snapshot;
    return { ...this.ref, snapshot: name, snapshotUuid: uuid };
  }

  planned(context = aContext()) {
    return planTransfer(this.recorded.world.deps, this.input, context);
  }

  async transfer(): Promise<void> {
    const { deps } = this.recorded.world;
    const { pages } = await this.planned();
    for (let page = 0; page < pages; page += 1) {
      for (const { unit } of await readUnits(deps, { ...this.ref, page }, aContext())) {
        await copyUnit(deps, { ...this.ref, page, unit }, aContext());
      }
    }
  }

  publish(context = aContext()) {
    return publish(this.recorded.world.deps, this.input, context);
  }

  async all(): Promise<void> {
    await this.transfer();
    await this.publish();
  }
}

export async function manifestOf(name: string, snapshot: string): Promise<Manifest> {
  const blobs = fixture(name);
  return readManifest(await repositoryOf(blobs), snapshot, reader(blobs));
}

export function indicesOf(manifest: Manifest) {
  return manifest.indices.map(({ name, settings, shards, createdVersionId }) => {
    const uuid = String(settings['index.uuid'] ?? `uuid-${name}`);
    // The clusters of a test are 7.10.2, whoever recorded the repository: versions are preflight's to judge.
    return anIndex(name, { uuid, shards: shards.length, createdVersionId: Math.max(createdVersionId, 7000099) });
  });
}
