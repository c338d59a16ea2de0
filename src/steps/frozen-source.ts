import { ConfigurationError, UnavailableError } from '../domain/errors';
import type { FreezeOutcome, UnblockResult } from '../domain/exchange';
import type { FreezeKeys } from '../domain/names';
import type { Cluster, FlatSettings, IndexInfo } from '../elasticsearch/cluster';
import { nameGroups } from '../elasticsearch/paths';
import type { Store } from '../storage/store';
import { assertMayAct } from './context';
import type { StepContext } from './context';
import { createJson, readJson, requireJson } from './files';
import type { FreezeRecord } from './work-files';

/** The source as a freeze record describes it, and the one way to undo it: for the lease, and for the CLI. */

/** Settings and blocks are cluster state updates: the master answers within its own 30 s or not at all. */
export const BLOCK_TIMEOUT_MS = 30_000;

export const WRITE_BLOCK = 'index.blocks.write';

/** `read_only_allow_delete` does not count: Elasticsearch takes it away by itself when there is disk again. */
const BLOCKING = ['index.blocks.write', 'index.blocks.read_only'];

export function showsBlock(settings: FlatSettings | undefined): boolean {
  return BLOCKING.some((name) => settings?.[name] === 'true');
}

export type FrozenIndex = FreezeRecord['indices'][number];

export async function indicesByName(cluster: Cluster, signal: AbortSignal): Promise<ReadonlyMap<string, IndexInfo>> {
  return new Map((await cluster.indices(signal)).map((info) => [info.name, info]));
}

/** A record, or a scope. */
export interface NamedIndices {
  readonly indices: readonly { readonly name: string; readonly uuid: string }[];
}

/** Sentences for indices that are gone or were re-created. */
export function changedSince({ indices }: NamedIndices, infos: ReadonlyMap<string, IndexInfo>): string[] {
  return indices.flatMap(({ name, uuid }) => {
    const info = infos.get(name);
    if (info?.uuid === uuid) return [];
    return [
      info === undefined ? `index '${name}' is gone from the source` : `index '${name}' was re-created on the source`,
    ];
  });
}

/**
 * What the freeze blocks, and an undo opens: not what its owner had blocked before. With `infos`, without those that are
 * gone or were re-created.
 */
export function blockedByUs(
  { indices }: Pick<FreezeRecord, 'indices'>,
  infos?: ReadonlyMap<string, IndexInfo>,
): readonly FrozenIndex[] {
  return indices.filter(
    ({ name, uuid, blockedBefore }) => !blockedBefore && (infos === undefined || infos.get(name)?.uuid === uuid),
  );
}

/** What stands in `outcome.json`; undefined while the freeze is undecided. */
export function standingOutcome(
  store: Store,
  keys: FreezeKeys,
  signal: AbortSignal,
): Promise<FreezeOutcome | undefined> {
  return readJson<FreezeOutcome>(store, keys.outcome, signal);
}

/** The first word decides: what stands afterwards, whoever wrote it. */
export async function decideOutcome(
  store: Store,
  keys: FreezeKeys,
  outcome: FreezeOutcome,
  signal: AbortSignal,
): Promise<FreezeOutcome> {
  if (await createJson(store, keys.outcome, outcome, signal)) return outcome;
  return requireJson<FreezeOutcome>(store, keys.outcome, signal);
}

/** Written when the source was seen unblocked after a release: from then on a block is somebody else's. */
export function undoneKey(keys: FreezeKeys): string {
  return `${keys.prefix}/undone.json`;
}

/** Whether the source was seen unblocked since. Decided is not done: who lost the lease in between still blocks it. */
export async function isUndone(store: Store, keys: FreezeKeys, signal: AbortSignal): Promise<boolean> {
  return (await store.head(undoneKey(keys), signal)) !== undefined;
}

/**
 * Takes our blocks away: exactly those that the record says were not there before, on indices that are still the same.
 * Verified by reading again. May be repeated; once it was seen done it changes nothing any more.
 *
 * Throws `ConfigurationError` after `committed` and for another cluster, `UnavailableError` while a block still stands.
 */
export async function undoFreeze(
  source: Cluster,
  store: Store,
  keys: FreezeKeys,
  context: StepContext,
  keep: (index: FrozenIndex) => boolean = () => false,
): Promise<UnblockResult> {
  await refuseCommitted(store, keys, context.signal);
  return undoRecord(source, store, keys, context, keep);
}

/** As `undoFreeze`, whatever came of the freeze: `rollback` alone goes back after a commit. */
export async function undoRecord(
  source: Cluster,
  store: Store,
  keys: FreezeKeys,
  context: StepContext,
  keep: (index: FrozenIndex) => boolean = () => false,
): Promise<UnblockResult> {
  const { signal } = context;
  const record = await readJson<FreezeRecord>(store, keys.record, signal);
  if (record === undefined) return { unblocked: 0, leftBlocked: 0 };
  const opens = (index: FrozenIndex) => !keep(index);
  const leftBlocked = record.indices.length - blockedByUs(record).filter(opens).length;
  const done = await readJson<UnblockResult>(store, undoneKey(keys), signal);
  if (done !== undefined) return { unblocked: done.unblocked, leftBlocked };
  await refuseOtherCluster(source, record, signal);
  const infos = await indicesByName(source, signal);
  const ours = blockedByUs(record, infos)
    .filter(opens)
    .map(({ name }) => name);
  await clearWriteBlocks(source, ours, context);
  const result = { unblocked: ours.length, leftBlocked };
  await createJson(store, undoneKey(keys), result, signal);
  return result;
}

/** Changes nothing where no block shows. Throws as `clearWriteBlocks`. */
export async function removeWriteBlocks(
  cluster: Cluster,
  names: readonly string[],
  context: StepContext,
): Promise<void> {
  await clearWriteBlocks(cluster, await withWriteBlock(cluster, names, context.signal), context);
}

/**
 * Asked for even where no block shows: a block that was sent but is not applied yet comes before this in the master's
 * queue. Throws `UnavailableError` when one shows afterwards.
 */
export async function clearWriteBlocks(
  cluster: Cluster,
  names: readonly string[],
  context: StepContext,
): Promise<void> {
  // One request at a time, so that each asks whether this attempt may still act.
  for (const { names: group } of nameGroups(names)) {
    assertMayAct(context, BLOCK_TIMEOUT_MS);
    await cluster.updateSettings(group, { [WRITE_BLOCK]: null }, context.signal);
  }
  const still = await withWriteBlock(cluster, names, context.signal);
  if (still.length === 0) return;
  throw new UnavailableError(`${still.length} indices still show our write block after it was removed`, {
    subject: { cluster: cluster.name, index: still[0] },
  });
}

/** Which of them show it. */
export async function withWriteBlock(
  cluster: Cluster,
  names: readonly string[],
  signal: AbortSignal,
): Promise<string[]> {
  if (names.length === 0) return [];
  const settings = await cluster.settings(names, signal);
  return names.filter((name) => settings[name]?.[WRITE_BLOCK] === 'true');
}

async function refuseCommitted(store: Store, keys: FreezeKeys, signal: AbortSignal): Promise<void> {
  if ((await standingOutcome(store, keys, signal))?.outcome !== 'committed') return;
  throw new ConfigurationError(
    'This freeze was committed: the target takes the writes now, and the source stays blocked. Only `rollback` goes back',
    { subject: { store: store.description, key: keys.outcome } },
  );
}

async function refuseOtherCluster(source: Cluster, record: FreezeRecord, signal: AbortSignal): Promise<void> {
  const { uuid } = await source.info(signal);
  if (uuid === record.cluster.uuid) return;
  throw new ConfigurationError('The connections file names another cluster than the one that was frozen', {
    subject: { cluster: source.name, uuid, frozen: record.cluster.uuid },
  });
}
