import { ConfigurationError, UnavailableError, VerificationFailedError } from '../domain/errors';
import type { RestoreInput, RestoreResult } from '../domain/exchange';
import { indexOnTarget, nameOnTarget, restoreGroups, roundOf } from '../domain/target-names';
import type { RestoreGroup } from '../domain/target-names';
import type { ClusterInfo, IndexInfo, RestoreRequest, ShardRecovery } from '../elasticsearch/cluster';
import type { ManifestIndex } from '../repository';
import { followAliases } from './alias-plan';
import { assertMayAct } from './context';
import type { StepContext } from './context';
import { excludedIndices, roundManifest } from './exclusions';
import { indicesByName } from './frozen-source';
import { openMigration } from './migration';
import type { Migration, StepDeps } from './migration';
import {
  assertOwnsLocation,
  claimantOf,
  claimedIndices,
  claimIndex,
  recordRestored,
  recordRestoring,
  releaseOwnership,
  requireOwnIndex,
} from './ownership';
import type { ClaimedIndex } from './ownership';
import { inParallel, mapInParallel } from '../storage/parallel';
import { Polling } from './pause';
import { registerTarget } from './registration';
import { isFrom, judge } from './restore-state';
import type { Judgement, Origin, Sight, Watched } from './restore-state';
import { changesSince, readLeft, recordLeft, refuseChanges } from './target-guard';
import type { ManifestFile, IndexOwner } from './work-files';

/** A node that is busy with shard work answers `_snapshot` and `_restore` after 100 s. */
const RESTORE_TIMEOUT_MS = 180_000;
const CLOSE_TIMEOUT_MS = 60_000;
const CLAIM_TIMEOUT_MS = 30_000;
const EXCLUDED_EVERY_MS = 10_000;
/** Elasticsearch retries a missing blob by itself for seconds; corruption fails for good at the first attempt. */
const RED_PATIENCE_MS = 30_000;
/** A node that restarts takes its recoveries with it. More than that is no accident. */
const REQUESTS_AT_MOST = 3;
/** Owner files are one small read each. */
const OWNERS_AT_ONCE = 16;

/**
 * Restores the round's indices over what the last round left on the target, and waits until every primary is active
 * and came from *our* snapshot. The indices come back write-blocked, without replicas and without aliases.
 *
 * Looks first: what an earlier attempt finished or started is not requested again. Throws `ConfigurationError` for an
 * index of that name that we did not restore; `VerificationFailedError` when the snapshot is not the one planned,
 * fewer indices are accepted than asked, or a shard fails; `TargetChangedError` when an index is not as our last restore
 * left it; `UnavailableError` while another restore or a snapshot of the target is in the way.
 */
export async function restore(deps: StepDeps, input: RestoreInput, context: StepContext): Promise<RestoreResult> {
  const migration = await openMigration(deps, input.plan, context);
  const manifest = await roundManifest(migration, input, context.signal);
  if (manifest.snapshot.name !== input.snapshot || manifest.snapshot.uuid !== input.snapshotUuid) {
    throw new VerificationFailedError('The planned manifest is not of this snapshot: run the round again', {
      subject: { snapshot: input.snapshot, uuid: input.snapshotUuid },
    });
  }
  await assertOwnsLocation(migration, context);
  return new Restoring(deps, migration, manifest, input.round, context).run();
}

class Restoring {
  private readonly origin: Origin;
  private readonly claimant;
  private watched: readonly Watched[];
  private readonly manifestOf: ReadonlyMap<string, ManifestIndex>;
  private readonly groups: readonly RestoreGroup[];
  private owners: ReadonlyMap<string, IndexOwner> = new Map();
  /** With strategy `alias`: what rounds before have restored of the same indices, also those of who was taken over. */
  private older: readonly ClaimedIndex[] = [];
  /** All that is on the target, as last seen. */
  private infos: ReadonlyMap<string, IndexInfo> = new Map();
  private readonly recordedUuids = new Map<string, Set<string>>();
  private registered = false;
  private guarded = false;
  private excludedReadAt = Date.now();

  constructor(
    private readonly deps: StepDeps,
    private readonly migration: Migration,
    private readonly manifest: ManifestFile,
    private readonly round: number,
    private readonly context: StepContext,
  ) {
    this.origin = { repository: migration.registrations.target.name, snapshot: manifest.snapshot.name };
    this.claimant = claimantOf(migration);
    this.manifestOf = new Map(manifest.indices.map((index) => [index.name, index]));
    const { restore: naming } = migration.plan;
    this.groups = restoreGroups(
      naming,
      manifest.indices.map(({ name }) => name),
      round,
    );
    this.watched = manifest.indices.map(({ name, shards }) => ({
      name: indexOnTarget(naming, name, round),
      source: name,
      shards: shards.length,
      doneShards: new Map<number, ShardRecovery>(),
      requested: false,
      requestedNow: 0,
      redSince: undefined,
    }));
  }

  async run(): Promise<RestoreResult> {
    if (this.migration.plan.restore.strategy === 'alias') await this.claimOfRound();
    await this.readOwners();
    const polling = new Polling(this.context.signal);
    for (;;) {
      await this.leaveExcluded();
      const { sights, judged } = await this.look();
      await this.guard();
      const group = this.nextGroup(judged);
      if (group !== undefined) await this.request(group, this.wantedOf(group, judged), sights);
      await this.explainRed(judged);
      this.report(sights);
      if (this.watched.every(({ name }) => judged.get(name) === 'done')) return this.end(sights);
      await polling.pause();
    }
  }

  /** What is excluded while it is restored is not waited for any more. */
  private async leaveExcluded(): Promise<void> {
    if (Date.now() - this.excludedReadAt < EXCLUDED_EVERY_MS) return;
    const excluded = await excludedIndices(this.migration, this.context.signal);
    this.watched = this.watched.filter(({ source }) => !excluded.has(source));
    this.excludedReadAt = Date.now();
  }

  /** The names that clients will find are claimed since preflight; those of a round are when it restores. */
  private async claimOfRound(): Promise<void> {
    const { claimant } = this;
    const { signal } = this.context;
    const names = this.watched.map(({ source }) => nameOnTarget(this.migration.plan.restore, source));
    await inParallel(names, OWNERS_AT_ONCE, signal, async (name, either) => {
      await requireOwnIndex(claimant, name, either);
    });
    assertMayAct(this.context, CLAIM_TIMEOUT_MS);
    await inParallel(this.watched, OWNERS_AT_ONCE, signal, async ({ name }, either) => {
      await claimIndex(claimant, name, either);
    });
    const wanted = new Set(names);
    this.older = (await claimedIndices(claimant, signal)).filter(({ name, adopted }) => {
      const of = roundOf(name);
      if (of === undefined || !wanted.has(of.name)) return false;
      // Rounds of a migration that was taken over are older than each of ours, whatever their number.
      return of.round < this.round || (adopted === true && of.round !== this.round);
    });
  }

  private async readOwners(): Promise<void> {
    const owners = await mapInParallel(this.watched, OWNERS_AT_ONCE, this.context.signal, ({ name }, signal) =>
      requireOwnIndex(this.claimant, name, signal),
    );
    this.owners = new Map(this.watched.map(({ name }, at) => [name, owners[at] as IndexOwner]));
    for (const index of this.watched) {
      const owner = this.owners.get(index.name);
      index.requested =
        owner?.restoring?.snapshot === this.origin.snapshot && owner.restoring.repository === this.origin.repository;
      this.recordedUuids.set(index.name, new Set(owner?.uuids ?? []));
    }
  }

  private async look(): Promise<{ sights: Map<string, Sight>; judged: Map<string, Judgement> }> {
    const { target } = this.migration;
    const { signal } = this.context;
    const infos = await indicesByName(target, signal);
    this.infos = infos;
    const open = this.watched.map(({ name }) => name).filter((name) => infos.get(name)?.open === true);
    const health = open.length === 0 ? {} : await target.health(open, signal);
    const recoveries = open.length === 0 ? [] : await target.recoveries(open, signal);
    const byIndex = new Map<string, ShardRecovery[]>();
    for (const one of recoveries) byIndex.set(one.index, [...(byIndex.get(one.index) ?? []), one]);
    const sights = new Map<string, Sight>();
    for (const { name } of this.watched) {
      sights.set(name, { info: infos.get(name), health: health[name], recoveries: byIndex.get(name) ?? [] });
    }
    await this.recognise(sights);
    return { sights, judged: new Map(this.watched.map((index) => [index.name, this.judge(index, sights)])) };
  }

  /** Once, before anything is closed or restored over. What this very restore was requested for is in its hands already. */
  private async guard(): Promise<void> {
    if (this.guarded) return;
    const { signal } = this.context;
    const older = this.older.map((owner) => [owner.name, owner] as const);
    const before = [...this.owners, ...older].flatMap(([name, { restoring }]) =>
      restoring === undefined || restoring.snapshot === this.origin.snapshot
        ? []
        : [[name, restoring.snapshot] as const],
    );
    const left = await readLeft(this.migration, new Map(before), signal);
    const changes = await changesSince(this.migration.target, left, this.infos, 'to be restored', signal);
    refuseChanges(
      changes,
      this.migration.target.name,
      'A restore would undo that: put it back as it was, or delete the index there to have it restored whole, then `retry`',
    );
    this.guarded = true;
  }

  private judge(index: Watched, sights: ReadonlyMap<string, Sight>): Judgement {
    const sight = sights.get(index.name) as Sight;
    const judgement = judge(index, sight, this.origin);
    if (sight.info === undefined || this.isRecorded(index.name, sight.info.uuid)) return judgement;
    // Whose it is will be known when its first shard is assigned: until then it is not touched.
    return sight.health?.status === 'red' ? 'failing' : 'running';
  }

  private isRecorded(name: string, uuid: string): boolean {
    return this.recordedUuids.get(name)?.has(uuid) === true;
  }

  /** Every index that exists must be ours, before anything is closed; the uuid of what we restored is recorded. */
  private async recognise(sights: ReadonlyMap<string, Sight>): Promise<void> {
    const fresh = [...sights].filter(([name, { info }]) => info !== undefined && !this.isRecorded(name, info.uuid));
    await inParallel(fresh, OWNERS_AT_ONCE, this.context.signal, async ([name, sight], signal) => {
      const uuid = sight.info?.uuid as string;
      if (!this.cameFromUs(name, sight)) return;
      await recordRestored(this.claimant, name, uuid, signal);
      this.recordedUuids.get(name)?.add(uuid);
    });
  }

  /**
   * An index whose uuid is not recorded is ours only if its recoveries come from the restore that was recorded before
   * it was requested. False while nothing is listed yet, which proves nothing. Throws `ConfigurationError` otherwise.
   */
  private cameFromUs(name: string, { info, recoveries }: Sight): boolean {
    const index = this.watched.find((watched) => watched.name === name);
    const restoring = index?.requested === true ? this.origin : this.owners.get(name)?.restoring;
    if (restoring !== undefined && recoveries.some((recovery) => isFrom(recovery, restoring))) return true;
    if (restoring !== undefined && info?.open === true && recoveries.length === 0) return false;
    throw new ConfigurationError(
      "A stranger's index has this name on the target: it is never closed, restored over or deleted. " +
        'Rename or remove it, or leave the index out of the plan',
      { subject: { index: name, uuid: info?.uuid, cluster: this.migration.target.name } },
    );
  }

  /** Up to 5.x a cluster has one restore at a time: another group waits until the ones before are done. */
  private nextGroup(judged: ReadonlyMap<string, Judgement>): RestoreGroup | undefined {
    const isBusy = this.groups.length > 1 && this.watched.some(({ name }) => judged.get(name) === 'running');
    return isBusy ? undefined : this.groups.find((group) => this.wantedOf(group, judged).length > 0);
  }

  private wantedOf({ indices }: RestoreGroup, judged: ReadonlyMap<string, Judgement>): Watched[] {
    const members = new Set(indices);
    return this.watched.filter(({ name, source }) => members.has(source) && judged.get(name) === 'wanted');
  }

  private async request(
    { rename }: RestoreGroup,
    wanted: readonly Watched[],
    sights: ReadonlyMap<string, Sight>,
  ): Promise<void> {
    this.refuseEndless(wanted);
    await this.register();
    // Recorded before the close: an index that we have closed must not look as if somebody else had.
    await inParallel(wanted, OWNERS_AT_ONCE, this.context.signal, ({ name }, signal) =>
      recordRestoring(this.claimant, name, this.origin, signal),
    );
    const names = wanted.map(({ name }) => name);
    await this.makeWay(names, sights);
    const { signal } = this.context;
    assertMayAct(this.context, RESTORE_TIMEOUT_MS);
    const sources = wanted.map(({ source }) => source);
    const request = { ...restoreRequest(this.migration, sources, this.manifestOf), ...(rename && { rename }) };
    const accepted = await this.migration.target.restore(this.origin.repository, this.origin.snapshot, request, signal);
    this.assertAllAccepted(names, accepted.indices);
    for (const index of wanted) {
      index.requested = true;
      index.requestedNow += 1;
      index.redSince = undefined;
      index.doneShards.clear();
    }
  }

  private refuseEndless(wanted: readonly Watched[]): void {
    const again = wanted.find(({ requestedNow }) => requestedNow >= REQUESTS_AT_MOST);
    if (again === undefined) return;
    throw new UnavailableError(
      `The recoveries of this index vanished ${REQUESTS_AT_MOST} times: do its nodes restart?`,
      {
        subject: { index: again.name, snapshot: this.origin.snapshot },
      },
    );
  }

  /** Anew, once per attempt: whatever the cluster remembered of an older generation is gone. */
  private async register(): Promise<void> {
    if (this.registered) return;
    await registerTarget(this.deps, this.migration, this.context);
    const { repository, snapshot } = this.origin;
    const found = await this.migration.target.snapshot(repository, snapshot, this.context.signal);
    const subject = { cluster: this.migration.target.name, repository, snapshot, uuid: found?.uuid };
    if (found === undefined)
      throw new UnavailableError('The target does not see the published snapshot yet', { subject });
    if (found.uuid !== this.manifest.snapshot.uuid) {
      throw new VerificationFailedError('The target sees another snapshot of this name than was planned', { subject });
    }
    this.registered = true;
  }

  /** A stranger's index never gets here. `UnavailableError` while the target snapshots or restores one of them. */
  private async makeWay(names: readonly string[], sights: ReadonlyMap<string, Sight>): Promise<void> {
    const { target, plan } = this.migration;
    const isClosed = plan.restore.strategy === 'close';
    const inTheWay = names.filter((name) => {
      const info = sights.get(name)?.info;
      return info !== undefined && (!isClosed || info.open);
    });
    if (inTheWay.length === 0) return;
    assertMayAct(this.context, CLOSE_TIMEOUT_MS);
    if (isClosed) await target.close(inTheWay, this.context.signal);
    else await target.deleteIndices(inTheWay, this.context.signal);
  }

  /** What rounds before have restored, once it is of no use: ours, and as we left it when this restore began. */
  private async removeOlder(): Promise<void> {
    const { signal } = this.context;
    if (this.older.length === 0) return;
    const infos = await indicesByName(this.migration.target, signal);
    const ours = this.older.filter(({ name, uuids = [] }) => uuids.includes(infos.get(name)?.uuid ?? ''));
    assertMayAct(this.context, CLOSE_TIMEOUT_MS);
    if (ours.length > 0) {
      await this.migration.target.deleteIndices(
        ours.map(({ name }) => name),
        signal,
      );
    }
    await releaseOwnership(this.claimant, { indices: this.older.map(({ name }) => name) }, signal);
  }

  /** 5.x answers 200 for an index that is not in the snapshot, and restores nothing. */
  private assertAllAccepted(asked: readonly string[], accepted: readonly string[] | undefined): void {
    if (accepted === undefined) return;
    const missing = asked.filter((name) => !accepted.includes(name));
    if (missing.length === 0) return;
    throw new VerificationFailedError(
      `The target accepted the restore of ${accepted.length} of ${asked.length} indices; it left out ${missing.slice(0, 10).join(', ')}`,
      { subject: { snapshot: this.origin.snapshot, index: missing[0] } },
    );
  }

  /** A shard that stays red is explained, not waited for. */
  private async explainRed(judged: ReadonlyMap<string, Judgement>): Promise<void> {
    for (const index of this.watched) {
      if (judged.get(index.name) !== 'failing') index.redSince = undefined;
      else index.redSince ??= Date.now();
      if (index.redSince !== undefined && Date.now() - index.redSince >= RED_PATIENCE_MS) await this.fail(index);
    }
  }

  private async fail(index: Watched): Promise<never> {
    const shards = Array.from({ length: index.shards }, (_, shard) => shard).filter(
      (shard) => !index.doneShards.has(shard),
    );
    for (const shard of shards) {
      const why = await this.migration.target.explainAllocation(index.name, shard, this.context.signal);
      if (why !== undefined) throw shardFailed(index.name, shard, this.origin, why);
    }
    throw shardFailed(index.name, shards[0] ?? 0, this.origin, 'the cluster gives no reason');
  }

  private report(sights: ReadonlyMap<string, Sight>): void {
    const ours = [...sights.values()].flatMap(({ recoveries }) => recoveries.filter((one) => isFrom(one, this.origin)));
    this.context.progress({
      snapshot: this.origin.snapshot,
      shardsDone: sum(this.watched.map(({ doneShards }) => doneShards.size)),
      shards: sum(this.watched.map(({ shards }) => shards)),
      bytesRecovered: sum(ours.map(({ recoveredBytes }) => recoveredBytes)),
      bytesTotal: sum(ours.map(({ totalBytes }) => totalBytes)),
      bytesReused: sum(ours.map(({ reusedBytes }) => reusedBytes)),
    });
  }

  private async end(sights: ReadonlyMap<string, Sight>): Promise<RestoreResult> {
    await recordLeft(this.migration, this.origin.snapshot, infosOf(sights), this.context);
    await this.removeOlder();
    if (this.migration.plan.restore.aliases === 'everyRound') {
      const sources = this.watched.map(({ source }) => source);
      await followAliases(this.migration, sources, this.round, this.context);
    }
    return this.result();
  }

  private result(): RestoreResult {
    const done = this.watched.flatMap(({ doneShards }) => [...doneShards.values()]);
    const isTakenOver = this.watched.some(({ requestedNow }) => requestedNow === 0);
    return {
      ...(isTakenOver ? { workedMs: recoveredMs(done) } : {}),
      indices: this.watched.length,
      shards: done.length,
      totalBytes: sum(done.map(({ totalBytes }) => totalBytes)),
      reusedBytes: sum(done.map(({ reusedBytes }) => reusedBytes)),
    };
  }
}

function infosOf(sights: ReadonlyMap<string, Sight>): ReadonlyMap<string, IndexInfo> {
  return new Map([...sights].flatMap(([name, { info }]) => (info === undefined ? [] : [[name, info] as const])));
}

/** What went on without us between the attempts, and may have ended there: by the cluster's own clock. */
function recoveredMs(done: readonly ShardRecovery[]): number {
  const from = done.reduce((first, { startedAt }) => Math.min(first, startedAt), Infinity);
  const to = done.reduce((last, { endedAt }) => Math.max(last, endedAt ?? from), from);
  return done.length === 0 ? 0 : to - from;
}

function shardFailed(index: string, shard: number, origin: Origin, why: string): VerificationFailedError {
  return new VerificationFailedError(`A shard cannot be restored: ${why}`, {
    subject: { index, shard, snapshot: origin.snapshot },
  });
}

/** Names the owner of policies that exist on the source only, or of nodes that do; and blocks, because ours is set. */
export const ALWAYS_DROPPED = [
  'index.lifecycle.*',
  'index.opendistro.*',
  'index.plugins.*',
  'index.routing.allocation.*',
  'index.blocks.*',
] as const;

/** Merges only where a tier has a thousand segments, or more than half of all documents are deleted. */
const PATIENT_TIERS = { 'index.merge.policy.segments_per_tier': 1_000 };
const PATIENT_DELETES = { 'index.merge.policy.deletes_pct_allowed': 50 };

/**
 * Settings under which the target merges nothing of what was restored. It would lack files of the snapshot: the next round
 * would fetch more than it has to, and neither segments nor deleted documents could be compared.
 *
 * - From 6.0 on, a snapshot in whose sequence numbers there are gaps, as of every index that is being written to, makes a
 *   restored shard fill them with operations of its own (`Engine.fillSeqNoGaps`); what is flushed then, at the latest
 *   before the index is closed, is followed by a look for merges. (7.10.2 to 7.17.29 under four writers: 5.6 MB fetched
 *   instead of 3.8; with these settings none too many.) `deletes_pct_allowed` came with Lucene 7.5, so not with all of 6.x.
 * - OpenSearch merges small segments while it flushes, by default from 2.2 on (opensearch-project/OpenSearch#3561), and
 *   reads the setting when a shard opens (#10048 there).
 * - Elasticsearch 9.0 and later looks for pending merges when a shard has been recovered (`PostRecoveryMerger`; 8.19 does
 *   not, measured), and finds some where many documents are deleted: the policy for time series counts segments only.
 */
export function withoutMerges({
  distribution,
  version,
}: ClusterInfo): Readonly<Record<string, string | number | boolean>> {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (distribution === 'opensearch') {
    const patient = { ...PATIENT_TIERS, ...PATIENT_DELETES };
    const mergesInFlush = major > 2 || (major === 2 && minor >= 2);
    return mergesInFlush ? { ...patient, 'index.merge_on_flush.enabled': false } : patient;
  }
  if (major >= 9) return { 'index.merge.policy.type': 'time_based', 'index.merge.policy.merge_factor': 1_000 };
  if (major >= 7) return { ...PATIENT_TIERS, ...PATIENT_DELETES };
  return major === 6 ? PATIENT_TIERS : {};
}

/**
 * One request for all that are renamed alike. `index_settings` wins over `ignore_index_settings`: the write block stays. The number of
 * replicas can only be set, never ignored (the cluster refuses to remove it).
 */
function restoreRequest(
  migration: Migration,
  names: readonly string[],
  manifestOf: ReadonlyMap<string, ManifestIndex>,
): RestoreRequest {
  const { plan, clusters } = migration;
  const { settings, dropSettings } = plan.restore;
  const expands = names.some((name) => isSet(manifestOf.get(name)?.settings['index.auto_expand_replicas']));
  return {
    indices: names,
    indexSettings: {
      ...settings,
      ...(expands ? { 'index.auto_expand_replicas': 'false' } : {}),
      ...withoutMerges(clusters.target),
      'index.number_of_replicas': 0,
      'index.blocks.write': true,
    },
    ignoreIndexSettings: [...ALWAYS_DROPPED, ...dropSettings],
    includeAliases: false,
  };
}

function isSet(setting: string | readonly string[] | undefined): boolean {
  return setting !== undefined && setting !== 'false';
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
