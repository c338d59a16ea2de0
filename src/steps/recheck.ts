import type { PublishedStateResult, RecheckInput, RecheckResult, RoundRef } from '../domain/exchange';
import { indicesWithWaivedDocuments } from '../domain/ledger';
import type { Ledger } from '../domain/ledger';
import { below } from '../domain/names';
import { resolvePatterns } from '../domain/patterns';
import { isShared } from '../domain/plan';
import { indexOnTarget } from '../domain/target-names';
import { indexLatestKey } from '../repository';
import type { ManifestBlob } from '../repository';
import { differingBlocks } from './block';
import type { StepContext } from './context';
import { excludedIndices, heldRecord, roundManifest, roundScope } from './exclusions';
import { readBytes, readJson, readJsonLines, requireJson } from './files';
import { indicesByName } from './frozen-source';
import { openMigration } from './migration';
import type { Migration, StepDeps } from './migration';
import { readCounters } from './quiescence';
import { firstFallen, newestGenerationKey, newestRepositoryData } from './source-repository';
import { changesSince, readLeft, refuseChanges } from './target-guard';
import type { FreezeRecord, ManifestFile, QuiescenceFile } from './work-files';

/** An objection is for a person; a long list is for the logs. */
const NAMED_AT_MOST = 5;
const PROGRESS_EVERY = 1_000;

/**
 * Looks once more, right before the last point of return, whether everything is still as it was proved: blocks,
 * counters, identities and patterns on the source, the last manifest on the target. Changes nothing; each thing that
 * is otherwise is one sentence, and any of them releases the freeze.
 *
 * Throws `TargetChangedError` when all that stands, but the target's indices are not as the last restore left them;
 * documents that somebody has waived excepted.
 */
export async function recheckBeforeCommit(
  deps: StepDeps,
  input: RecheckInput,
  context: StepContext,
): Promise<RecheckResult> {
  const migration = await openMigration(deps, input.plan, context);
  const record = await heldRecord(migration, input.freeze, context.signal);
  const found = await Promise.all([
    sourceObjections(migration, input.freeze, record, context.signal),
    movedAliases(migration, record, context.signal),
    newMatches(migration, input, record, context.signal),
    missingBlobs(migration, input, context),
    otherGeneration(migration, input, context.signal),
  ]);
  const objections = found.flat();
  if (objections.length === 0) await refuseChangedTarget(migration, input, context.signal);
  return { objections };
}

type Counters = QuiescenceFile['counters'][string];

const inAll = (then: Counters, now: Counters) => JSON.stringify(then) === JSON.stringify(now);

/** Counters begin anew where a shard restarts or moves, which within a freeze is a reason to stop; sequence numbers do not. */
export const inOperations = (then: Counters, now: Counters) => {
  const numbers = (shards: Counters) => shards.map(({ maxSeqNo }) => maxSeqNo);
  const [before, after] = [numbers(then), numbers(now)];
  return after.includes(undefined) ? inAll(then, now) : JSON.stringify(before) === JSON.stringify(after);
};

/** Whether the source may have taken writes since it was proved at rest: sentences. */
export async function sourceObjections(
  migration: Migration,
  freeze: number,
  record: FreezeRecord,
  signal: AbortSignal,
  isSame = inAll,
): Promise<string[]> {
  const found = await Promise.all([
    differingBlocks(migration, record, 'blocked', signal),
    movedCounters(migration, freeze, record, isSame, signal),
  ]);
  return found.flat();
}

async function refuseChangedTarget(migration: Migration, input: RecheckInput, signal: AbortSignal): Promise<void> {
  const { target, targetStore, keys } = migration;
  const round = keys.round(input.round, input.attempt);
  const { snapshot, indices } = await roundManifest(migration, input, signal);
  const onTarget = (name: string) => indexOnTarget(migration.plan.restore, name, input.round);
  const left = await readLeft(migration, new Map(indices.map(({ name }) => [onTarget(name), snapshot.name])), signal);
  const ledger = await readJson<Ledger>(targetStore, round.ledger, signal);
  const waived = new Set([...indicesWithWaivedDocuments(ledger?.rows ?? [])].map(onTarget));
  const guarded = new Map(
    // Whoever waives documents has seen that they differ; that they are not as they were left is the same news twice.
    [...left].map(([name, was]) => [name, waived.has(name) ? { ...was, shards: [] } : was]),
  );
  const changes = await changesSince(target, guarded, await indicesByName(target, signal), 'a change', signal);
  refuseChanges(
    changes,
    target.name,
    'What was verified is not what is there: put it back as it was and `retry`, or `unfreeze-writes`',
  );
}

async function movedCounters(
  migration: Migration,
  freeze: number,
  record: FreezeRecord,
  isSame: typeof inAll,
  signal: AbortSignal,
): Promise<string[]> {
  const key = migration.keys.freeze(freeze).quiescence;
  const { counters } = await requireJson<QuiescenceFile>(migration.targetStore, key, signal);
  const infos = await indicesByName(migration.source, signal);
  // An index that is gone is an objection of its own, and has no counters to read.
  const names = record.indices.map(({ name }) => name).filter((name) => infos.get(name)?.open === true);
  const now = await readCounters(migration.source, names, signal);
  const moved = names.filter((name) => !isSame(counters[name] ?? [], now[name] ?? []));
  return moved.map((name) => `index '${name}' counts other operations than when writes had come to rest`);
}

/** Whoever writes through an alias that moved, as a rollover moves one, writes to what is not blocked. */
async function movedAliases({ source }: Migration, { indices }: FreezeRecord, signal: AbortSignal): Promise<string[]> {
  const infos = await indicesByName(source, signal);
  const same = indices.filter(({ name, uuid }) => infos.get(name)?.uuid === uuid);
  const names = same.map(({ name }) => name);
  const now = names.length === 0 ? {} : await source.aliases(names, signal);
  return same.flatMap(({ name, aliases }) => {
    const has = Object.keys(now[name] ?? {});
    const gone = aliases.filter((alias) => !has.includes(alias));
    const come = has.filter((alias) => !aliases.includes(alias));
    return [
      ...gone.map((alias) => `alias '${alias}' was taken from index '${name}' during the freeze`),
      ...come.map((alias) => `alias '${alias}' was given to index '${name}' during the freeze`),
    ];
  });
}

/** An index that the patterns match by now was neither copied nor blocked. */
async function newMatches(
  migration: Migration,
  input: RecheckInput,
  record: FreezeRecord,
  signal: AbortSignal,
): Promise<string[]> {
  const scope = await roundScope(migration, input, signal);
  const excluded = await excludedIndices(migration, signal);
  const frozen = new Map(record.indices.map(({ name, uuid }) => [name, uuid]));
  const names = [...(await indicesByName(migration.source, signal)).keys()];
  const { included } = resolvePatterns(migration.plan.indices, names);
  const known = new Set(scope.indices.map(({ name }) => name));
  const surplus = included.filter((name) => !known.has(name) && !excluded.has(name));
  const unfrozen = scope.indices.filter(({ name, uuid }) => frozen.get(name) !== uuid);
  return [
    ...surplus.map((name) => `index '${name}' matches the plan by now and was not moved`),
    ...unfrozen.map(({ name }) => `index '${name}' was moved but is not the one that is frozen`),
  ];
}

async function missingBlobs(migration: Migration, input: RecheckInput, context: StepContext): Promise<string[]> {
  const { targetStore, keys, plan } = migration;
  const round = keys.round(input.round, input.attempt);
  const { blobsDigests } = await requireJson<ManifestFile>(targetStore, round.manifest, context.signal);
  const lost = new Map<string, number>();
  for (const piece of blobsDigests.keys()) {
    const blobs = await readJsonLines<ManifestBlob>(targetStore, round.blobs(piece), context.signal);
    if (blobs.length === 0) return ['the manifest of the last round is gone from the work prefix'];
    for (const { key, length } of blobs) lost.set(key, length);
  }
  const wanted = lost.size;
  const prefix = below(plan.repository.target.basePath, '');
  let listed = 0;
  for await (const { key, length } of targetStore.list(prefix, context.signal)) {
    const below = key.slice(prefix.length);
    if (lost.get(below) === length) lost.delete(below);
    if (++listed % PROGRESS_EVERY === 0) context.progress({ step: 'listing the target', blobs: listed });
  }
  if (lost.size === 0) return [];
  return [`the target lacks ${lost.size} of ${wanted} blobs of the last snapshot: ${some([...lost.keys()])}`];
}

/** Looks once more at what the round published. Changes nothing. */
export async function confirmPublished(
  deps: StepDeps,
  input: RoundRef,
  context: StepContext,
): Promise<PublishedStateResult> {
  const migration = await openMigration(deps, input.plan, context);
  return { differing: await otherGeneration(migration, input, context.signal) };
}

/**
 * Whoever reads the repository reads its newest generation: that must be the one we published, byte for byte. In a
 * shared one the source may have taken more snapshots since; there ours must stand.
 */
async function otherGeneration(migration: Migration, input: RoundRef, signal: AbortSignal): Promise<string[]> {
  const { targetStore, keys, plan } = migration;
  const { basePath } = plan.repository.target;
  const round = keys.round(input.round, input.attempt);
  const { generation, snapshot } = await requireJson<ManifestFile>(targetStore, round.manifest, signal);
  if (isShared(plan)) {
    const now = await newestRepositoryData(targetStore, basePath, signal);
    const stands = now !== undefined && firstFallen(now, [snapshot]) === undefined;
    return stands ? [] : [`snapshot '${snapshot.name}' is gone from the shared repository`];
  }
  const newest = await newestGenerationKey(targetStore, basePath, signal);
  if (newest?.generation !== generation) {
    return [`the target's newest index-N is ${newest?.generation ?? 'gone'}, not the published ${generation}`];
  }
  const published = [`index-${generation}`, indexLatestKey];
  const others = await Promise.all(
    published.map(async (key) => {
      const held = await readBytes(targetStore, below(basePath, key), signal);
      const ours = await readBytes(targetStore, round.volatile(key), signal);
      return held !== undefined && ours?.equals(held) === true ? [] : [`${key} on the target is not ours`];
    }),
  );
  return others.flat();
}

function some(all: readonly string[]): string {
  const more = all.length > NAMED_AT_MOST ? ` and ${all.length - NAMED_AT_MOST} more` : '';
  return all.slice(0, NAMED_AT_MOST).join(', ') + more;
}
