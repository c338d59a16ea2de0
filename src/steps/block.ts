import { ConfigurationError, UnavailableError, WritesNotBlockedError } from '../domain/errors';
import type {
  BlockResult,
  FreezeObstacle,
  FreezeOutcome,
  FreezeOutcomeInput,
  FreezeRecordInput,
  FreezeRecordResult,
  FreezeRef,
  PlanRef,
  SourceStateInput,
  SourceStateResult,
  UnblockResult,
} from '../domain/exchange';
import type { Cluster } from '../elasticsearch/cluster';
import { assertMayAct } from './context';
import type { StepContext } from './context';
import { excludedIndices, heldRecord } from './exclusions';
import { createJson, digestOf, readBytes, requireJson } from './files';
import type { NamedIndices } from './frozen-source';
import {
  blockedByUs,
  BLOCK_TIMEOUT_MS,
  changedSince,
  clearWriteBlocks,
  decideOutcome,
  indicesByName,
  showsBlock,
  standingOutcome,
  undoFreeze,
  WRITE_BLOCK,
} from './frozen-source';
import { openMigration } from './migration';
import type { Migration, StepDeps } from './migration';
import { Polling } from './pause';
import type { FreezeRecord, ScopeFile } from './work-files';

export { proveQuiescence } from './quiescence';

/** Somebody else's small snapshot is over by then; well within the lease's start-to-close. */
const SNAPSHOT_PATIENCE_MS = 30_000;

/**
 * Blocking and unblocking writes on the source. Only the lease calls these: it alone knows the deadline, and what its
 * history holds first decides. The record is written before the first block, and undoing needs nothing else.
 */

/**
 * Records what is about to be blocked and what was blocked before. Looks first: the record of this freeze is written
 * once. Throws `WritesNotBlockedError` when an index is not the one of the scope any more, or when a snapshot runs on
 * the source and does not end soon (it would hold up the last one for as long as it takes).
 */
export async function writeFreezeRecord(
  deps: StepDeps,
  input: FreezeRecordInput,
  context: StepContext,
): Promise<FreezeRecordResult> {
  const migration = await openMigration(deps, input.plan, context);
  const { record: key } = migration.keys.freeze(input.freeze);
  const store = migration.targetStore;
  if ((await readBytes(store, key, context.signal)) === undefined) {
    await refuseWhileSnapshotRuns(migration, context.signal);
    await createJson(store, key, await describeSource(migration, input, context.signal), context.signal);
  }
  const bytes = (await readBytes(store, key, context.signal)) ?? Buffer.alloc(0);
  const record = await requireJson<FreezeRecord>(store, key, context.signal);
  return {
    digest: digestOf(bytes),
    indices: record.indices.length,
    alreadyBlocked: record.indices.length - blockedByUs(record).length,
  };
}

/** Why a freeze cannot begin now, a sentence; undefined when it can. Looks once. */
export async function obstacleToFreeze(deps: StepDeps, input: PlanRef, context: StepContext): Promise<FreezeObstacle> {
  const migration = await openMigration(deps, input, context);
  const why = await runningSnapshot(migration, context.signal);
  return why === undefined ? {} : { why };
}

async function runningSnapshot({ source }: Migration, signal: AbortSignal): Promise<string | undefined> {
  const [running] = await source.runningSnapshots(signal);
  if (running === undefined) return undefined;
  return `snapshot '${running.snapshot}' of repository '${running.repository}' runs on source ${source.name}`;
}

/** None ran when the freeze was decided on, so this is one that began just now. */
async function refuseWhileSnapshotRuns(migration: Migration, signal: AbortSignal): Promise<void> {
  const polling = new Polling(signal);
  const until = Date.now() + SNAPSHOT_PATIENCE_MS;
  for (;;) {
    const why = await runningSnapshot(migration, signal);
    if (why === undefined) return;
    if (Date.now() >= until) throw new WritesNotBlockedError(`The freeze does not begin: ${why}. Send it again later`);
    await polling.pause();
  }
}

async function describeSource(
  migration: Migration,
  { freeze, deadline, scope: at }: FreezeRecordInput,
  signal: AbortSignal,
): Promise<FreezeRecord> {
  const { source, targetStore, keys } = migration;
  const scope = await requireJson<ScopeFile>(targetStore, keys.round(at.round, at.attempt).scope, signal);
  const { uuid } = await source.info(signal);
  await refuseChanged(migration, scope, signal);
  const names = scope.indices.map(({ name }) => name);
  const settings = await source.settings(names, signal);
  const aliases = await source.aliases(names, signal);
  const indices = scope.indices.map((index) => ({
    name: index.name,
    uuid: index.uuid,
    blockedBefore: showsBlock(settings[index.name]),
    aliases: Object.keys(aliases[index.name] ?? {}).sort(),
  }));
  return { cluster: { name: source.name, uuid }, freeze, deadline, indices };
}

async function refuseChanged({ source }: Migration, expected: NamedIndices, signal: AbortSignal): Promise<void> {
  const changed = changedSince(expected, await indicesByName(source, signal));
  if (changed.length === 0) return;
  throw new WritesNotBlockedError(`The freeze is off: ${changed.slice(0, 10).join('; ')}`, {
    subject: { cluster: source.name },
  });
}

/**
 * Blocks writes on every index of the record that was not blocked before, and reads the blocks back. A part that fails
 * undoes the others of this call. Throws `WritesNotBlockedError` when the freeze was decided meanwhile, an index was
 * re-created, or a block does not show.
 */
export async function blockWrites(deps: StepDeps, input: FreezeRef, context: StepContext): Promise<BlockResult> {
  const migration = await openMigration(deps, input.plan, context);
  const keys = migration.keys.freeze(input.freeze);
  const record = await requireJson<FreezeRecord>(migration.targetStore, keys.record, context.signal);
  const outcome = await standingOutcome(migration.targetStore, keys, context.signal);
  if (outcome !== undefined) {
    throw new WritesNotBlockedError(`This freeze was ${outcome.outcome} already: nothing is blocked any more`);
  }
  await refuseChanged(migration, record, context.signal);
  const names = blockedByUs(record).map(({ name }) => name);
  const method = await blockOrUndo(migration.source, names, context);
  const blockedAt = Date.now();
  await assertBlocked(
    migration.source,
    record.indices.map(({ name }) => name),
    context.signal,
  );
  return { method, blockedAt };
}

/** Blocks writes on indices of either side; a part that fails undoes the others of this call. */
export async function blockOrUndo(
  cluster: Cluster,
  names: readonly string[],
  context: StepContext,
): Promise<BlockResult['method']> {
  const before = names.length === 0 ? {} : await cluster.settings(names, context.signal);
  const open = names.filter((name) => !showsBlock(before[name]));
  try {
    const method = await block(cluster, open, context);
    // What an earlier attempt blocked answered to nobody: whether its writes drained must be proved otherwise.
    return open.length === names.length ? method : 'settings';
  } catch (error) {
    await undoQuietly(cluster, open, context);
    throw error;
  }
}

/** `_block/write` returns after in-flight writes drained; a settings update does not. */
async function block(cluster: Cluster, names: readonly string[], context: StepContext): Promise<BlockResult['method']> {
  if (names.length === 0) return 'block-api';
  const answer = await answered(cluster, context, (signal) => cluster.addWriteBlock(names, signal));
  if (answer === 'blocked') return 'block-api';
  await answered(cluster, context, (signal) => cluster.updateSettings(names, { [WRITE_BLOCK]: true }, signal));
  return 'settings';
}

/**
 * Waits for the answer although the step is cancelled: `_block` sets the block in two phases, and one that is cut off
 * between them would come into force after the lease has undone it.
 */
async function answered<T>(
  { name }: Cluster,
  context: StepContext,
  request: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  assertMayAct(context, BLOCK_TIMEOUT_MS);
  const patience = AbortSignal.timeout(BLOCK_TIMEOUT_MS);
  try {
    return await request(patience);
  } catch (cause) {
    if (!patience.aborted) throw cause;
    throw new UnavailableError(
      `Cluster '${name}' did not answer within ${BLOCK_TIMEOUT_MS / 1000} s whether it blocks`,
      {
        cause,
      },
    );
  }
}

async function undoQuietly(cluster: Cluster, names: readonly string[], context: StepContext): Promise<void> {
  try {
    await clearWriteBlocks(cluster, names, context);
  } catch {
    // Safe to ignore: the record stands, and the lease undoes it at its end, whatever happened here.
  }
}

/** @throws WritesNotBlockedError when one of them shows no block */
export async function assertBlocked(cluster: Cluster, names: readonly string[], signal: AbortSignal): Promise<void> {
  const settings = names.length === 0 ? {} : await cluster.settings(names, signal);
  const open = names.filter((name) => !showsBlock(settings[name]));
  if (open.length === 0) return;
  throw new WritesNotBlockedError(
    `${open.length} of ${names.length} indices do not show the write block that was set: ${open.slice(0, 10).join(', ')}`,
    { subject: { cluster: cluster.name, index: open[0] } },
  );
}

/** Undoes exactly the record; see `undoFreeze`. */
export async function unblockWrites(deps: StepDeps, input: FreezeRef, context: StepContext): Promise<UnblockResult> {
  const migration = await openMigration(deps, input.plan, context);
  return undoFreeze(migration.source, migration.targetStore, migration.keys.freeze(input.freeze), context);
}

/**
 * Opens the source's indices that were excluded since this freeze began; one that its owner had blocked stays so. May
 * be repeated. Throws as `clearWriteBlocks`.
 */
export async function unblockExcluded(deps: StepDeps, input: FreezeRef, context: StepContext): Promise<UnblockResult> {
  const migration = await openMigration(deps, input.plan, context);
  const { source, targetStore, keys } = migration;
  const record = await requireJson<FreezeRecord>(targetStore, keys.freeze(input.freeze).record, context.signal);
  const excluded = await excludedIndices(migration, context.signal);
  const infos = await indicesByName(source, context.signal);
  const left = record.indices.filter(({ name }) => excluded.has(name));
  const ours = blockedByUs({ indices: left }, infos);
  await clearWriteBlocks(
    source,
    ours.map(({ name }) => name),
    context,
  );
  return { unblocked: ours.length, leftBlocked: left.length - ours.length };
}

/** Writes `outcome.json` unless it is there; answers with what stands. */
export async function writeFreezeOutcome(
  deps: StepDeps,
  input: FreezeOutcomeInput,
  context: StepContext,
): Promise<FreezeOutcome> {
  const { targetStore, keys } = await openMigration(deps, input.plan, context);
  const { outcome, why } = input;
  if (outcome !== 'committed' && outcome !== 'released') {
    throw new ConfigurationError(`A freeze ends committed or released, not '${String(outcome)}'`);
  }
  const wanted = { outcome, ...(why === undefined ? {} : { why }) };
  return decideOutcome(targetStore, keys.freeze(input.freeze), wanted, context.signal);
}

/**
 * Reads the blocks once more, before the report: an attempt that slept may have changed one late. What its owner had
 * blocked before, and what is gone, is as it should be when `unblocked` is expected.
 */
export async function confirmSourceState(
  deps: StepDeps,
  input: SourceStateInput,
  context: StepContext,
): Promise<SourceStateResult> {
  const migration = await openMigration(deps, input.plan, context);
  const record = await heldRecord(migration, input.freeze, context.signal);
  return { differing: await differingBlocks(migration, record, input.expect, context.signal) };
}

/** Sentences for the indices of the record whose block, or identity, is not as expected. */
export async function differingBlocks(
  { source }: Migration,
  record: FreezeRecord,
  expect: SourceStateInput['expect'],
  signal: AbortSignal,
): Promise<string[]> {
  const infos = await indicesByName(source, signal);
  const changed = expect === 'blocked' ? changedSince(record, infos) : [];
  const same = record.indices.filter(({ name, uuid }) => infos.get(name)?.uuid === uuid);
  const asked = (expect === 'blocked' ? same : blockedByUs(record, infos)).map(({ name }) => name);
  const settings = asked.length === 0 ? {} : await source.settings(asked, signal);
  const word = expect === 'blocked' ? 'is not blocked for writes' : 'is still blocked for writes';
  const wrong = asked.filter((name) => showsBlock(settings[name]) !== (expect === 'blocked'));
  return [...changed, ...wrong.map((name) => `index '${name}' ${word} on the source`)];
}
