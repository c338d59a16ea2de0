import { ConfigurationError } from '../domain/errors';
import { indexOwnerKey, locationOwnerKey, nameFromKey, WorkKeys } from '../domain/names';
import { sentenceOf } from '../domain/objections';
import type { Objection } from '../domain/objections';
import { inParallel, mapInParallel } from '../storage/parallel';
import type { Store } from '../storage/store';
import type { StepContext } from './context';
import { createJson, readJson, writeJson } from './files';
import type { Migration } from './migration';
import type { IndexOwner, OwnerFile, RestoredFile } from './work-files';

/**
 * Who may publish to a target location and restore over a target index: one `owner.json` each, in the work prefix,
 * created conditionally. A second migration is refused by the name of the first.
 */

const RELEASED_AT_ONCE = 16;
/** Owner files are one small read each. */
const OWNERS_AT_ONCE = 16;

/** A migration as far as claims go; preflight makes claims before there is a `Migration`. */
export interface Claimant {
  readonly migration: string;
  readonly firstRunId: string;
  readonly store: Store;
  /** The prefix of all migrations' work files, without the run. */
  readonly work: string;
  readonly targetUuid: string;
}

export function claimantOf(migration: Migration): Claimant {
  return {
    migration: migration.migration,
    firstRunId: migration.firstRunId,
    store: migration.targetStore,
    work: migration.plan.repository.work,
    targetUuid: migration.clusters.target.uuid,
  };
}

/** True when the claim was made now, false when it was ours before. Throws `ConfigurationError` naming the other owner. */
export function claimLocation(claimant: Claimant, basePath: string, signal: AbortSignal): Promise<boolean> {
  return claim(claimant, locationKey(claimant, basePath), `The target location '${basePath}'`, signal);
}

/** As `claimLocation`, for an index of the target cluster. */
export function claimIndex(claimant: Claimant, index: string, signal: AbortSignal): Promise<boolean> {
  return claim(claimant, indexKey(claimant, index), `The target index '${index}'`, signal);
}

/** Throws `ConfigurationError` unless the target location is claimed by this migration. Asked before each publish. */
export async function assertOwnsLocation(migration: Migration, context: StepContext): Promise<void> {
  const claimant = claimantOf(migration);
  const { basePath } = migration.plan.repository.target;
  const key = locationKey(claimant, basePath);
  const owner = await readOwner(claimant, key, context.signal);
  if (owner?.firstRunId === migration.firstRunId) return;
  throw new ConfigurationError(
    owner === undefined
      ? `The target location '${basePath}' is claimed by nobody any more: its owner file was removed while this migration ran`
      : sentenceOf(refusal(`The target location '${basePath}'`, owner, key)),
    { subject: { store: migration.targetStore.description, key } },
  );
}

/** `undefined` when nobody claims the index. */
export async function readIndexOwner(
  claimant: Claimant,
  index: string,
  signal: AbortSignal,
): Promise<IndexOwner | undefined> {
  const owner = await readOwner(claimant, indexKey(claimant, index), signal);
  if (owner === undefined) return undefined;
  const key = WorkKeys.of(claimant.work, owner.firstRunId).restored(index);
  return { ...owner, ...(await readJson<RestoredFile>(claimant.store, key, signal)) };
}

/** `undefined` when nobody claims the location. */
export function readLocationOwner(
  claimant: Claimant,
  basePath: string,
  signal: AbortSignal,
): Promise<OwnerFile | undefined> {
  return readOwner(claimant, locationKey(claimant, basePath), signal);
}

/** The claim on `index`. Throws `ConfigurationError` unless it is this migration's. Asked before each restore. */
export async function requireOwnIndex(claimant: Claimant, index: string, signal: AbortSignal): Promise<IndexOwner> {
  const key = indexKey(claimant, index);
  const owner = await readIndexOwner(claimant, index, signal);
  if (owner?.firstRunId === claimant.firstRunId) return owner;
  throw new ConfigurationError(
    owner === undefined
      ? `The target index '${index}' is not claimed by this migration: its owner file was removed while it ran`
      : sentenceOf(refusal(`The target index '${index}'`, owner, key)),
    { subject: { index, store: claimant.store.description, key } },
  );
}

/** Claims an index whose record was taken over, and says so in it until this migration restores the index itself. */
export async function adoptIndex(claimant: Claimant, index: string, signal: AbortSignal): Promise<void> {
  await claimIndex(claimant, index, signal);
  const owner = await requireOwnIndex(claimant, index, signal);
  await writeRestored(claimant, index, { ...restoredOf(owner), adopted: true }, signal);
}

/** Records, before the request, what will be restored into `index`: what then appears there is ours. */
export async function recordRestoring(
  claimant: Claimant,
  index: string,
  restoring: { readonly repository: string; readonly snapshot: string },
  signal: AbortSignal,
): Promise<void> {
  const owner = await requireOwnIndex(claimant, index, signal);
  const before = owner.restoring;
  if (before?.repository === restoring.repository && before.snapshot === restoring.snapshot) return;
  await writeRestored(claimant, index, { ...restoredOf(owner), restoring }, signal);
}

/** Records that the target index with this uuid came from our restore. A uuid once recorded stays recorded. */
export async function recordRestored(
  claimant: Claimant,
  index: string,
  uuid: string,
  signal: AbortSignal,
): Promise<void> {
  const owner = await requireOwnIndex(claimant, index, signal);
  const { uuids = [] } = owner;
  if (uuids.includes(uuid)) return;
  await writeRestored(claimant, index, { ...restoredOf(owner), uuids: [...uuids, uuid] }, signal);
}

function restoredOf({ uuids = [], restoring, aliases }: IndexOwner): RestoredFile {
  return { uuids, ...(restoring === undefined ? {} : { restoring }), ...(aliases === undefined ? {} : { aliases }) };
}

async function writeRestored(claimant: Claimant, index: string, file: RestoredFile, signal: AbortSignal) {
  const { work, firstRunId, store } = claimant;
  await writeJson(store, WorkKeys.of(work, firstRunId).restored(index), file, signal);
}

/** Records, before they are set, aliases that we give the target index. One once recorded stays recorded. */
export async function recordAliases(
  claimant: Claimant,
  index: string,
  aliases: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  const owner = await requireOwnIndex(claimant, index, signal);
  const known = new Set(owner.aliases);
  if (aliases.every((alias) => known.has(alias))) return;
  const all = [...new Set([...known, ...aliases])];
  await writeRestored(claimant, index, { ...restoredOf(owner), aliases: all }, signal);
}

export interface ClaimedIndex extends IndexOwner {
  readonly name: string;
}

/** Every target index this claimant ever claimed and has not given back, also those that left its scope. */
export async function claimedIndices(claimant: Claimant, signal: AbortSignal): Promise<ClaimedIndex[]> {
  // The key of the empty name, without what follows the name.
  const prefix = indexKey(claimant, '').replace(/\/owner\.json$/, '');
  const names: string[] = [];
  for await (const { key } of claimant.store.list(prefix, signal)) {
    names.push(nameFromKey(key.slice(prefix.length).replace(/\/owner\.json$/, '')));
  }
  const owners = await mapInParallel(names, OWNERS_AT_ONCE, signal, (name, either) =>
    readIndexOwner(claimant, name, either),
  );
  return names.flatMap((name, at) => {
    const owner = owners[at];
    return owner?.firstRunId === claimant.firstRunId ? [{ name, ...owner }] : [];
  });
}

/** What to give back: claims that are not ours are left alone. */
export interface Claims {
  readonly basePath?: string;
  readonly indices: readonly string[];
}

/** Gives claims back. One that is gone, or not ours, is no error. */
export async function releaseOwnership(claimant: Claimant, claims: Claims, signal: AbortSignal): Promise<void> {
  const keys = claims.indices.map((index) => indexKey(claimant, index));
  if (claims.basePath !== undefined) keys.push(locationKey(claimant, claims.basePath));
  for (const key of keys) {
    const owner = await readOwner(claimant, key, signal);
    if (owner?.firstRunId === claimant.firstRunId) await claimant.store.delete(key, signal);
  }
}

/** As `releaseOwnership`, of every claim that this run ever made in the work prefix, whatever it was of. */
export async function releaseAll(
  { store, work, firstRunId }: Pick<Claimant, 'store' | 'work' | 'firstRunId'>,
  signal: AbortSignal,
): Promise<number> {
  const keys: string[] = [];
  for await (const { key } of store.list(`${work}/owners/`, signal)) keys.push(key);
  let released = 0;
  await inParallel(keys, RELEASED_AT_ONCE, signal, async (key, either) => {
    const owner = await readJson<OwnerFile>(store, key, either);
    if (owner?.firstRunId !== firstRunId) return;
    await store.delete(key, either);
    released += 1;
  });
  return released;
}

/** What an operator is told when another migration holds the claim. */
export function refusal(what: string, owner: OwnerFile, key: string): Objection {
  return {
    seen: `${what} belongs to migration '${owner.migration}' (first run ${owner.firstRunId})`,
    remedy: `choose another, or, when that migration is over and its copy is not needed, remove its claim '${key}'`,
  };
}

export function locationKey(claimant: Claimant, basePath: string): string {
  return locationOwnerKey(claimant.work, basePath);
}

export function indexKey(claimant: Claimant, index: string): string {
  return indexOwnerKey(claimant.work, claimant.targetUuid, index);
}

async function claim(claimant: Claimant, key: string, what: string, signal: AbortSignal): Promise<boolean> {
  const { migration, firstRunId, store } = claimant;
  if (await createJson(store, key, { migration, firstRunId } satisfies OwnerFile, signal)) return true;
  const owner = await readOwner(claimant, key, signal);
  if (owner?.firstRunId === firstRunId) return false;
  if (owner === undefined) return claim(claimant, key, what, signal);
  throw new ConfigurationError(sentenceOf(refusal(what, owner, key)), {
    subject: { store: store.description, migration: owner.migration },
  });
}

function readOwner(claimant: Claimant, key: string, signal: AbortSignal): Promise<OwnerFile | undefined> {
  return readJson<OwnerFile>(claimant.store, key, signal);
}
