import { ConfigurationError } from '../domain/errors';
import type { PreflightInput } from '../domain/exchange';
import { leaseWorkflowId, transferWorkflowId, WorkKeys } from '../domain/names';
import type { ResolvedPlan } from '../domain/plan';
import { nameOnTarget, roundOf } from '../domain/target-names';
import { payload } from '../storage';
import { inParallel } from '../storage/parallel';
import type { Store } from '../storage/store';
import { assertMayAct } from './context';
import type { StepContext } from './context';
import { excludedIndices, without } from './exclusions';
import { namesBelow, readBytes, readJson, requireJson } from './files';
import { blockedByUs, indicesByName, isUndone, standingOutcome, withWriteBlock } from './frozen-source';
import { fingerprintsOf } from './migration';
import type { PlanFile, StepDeps } from './migration';
import { adoptIndex, claimedIndices, claimLocation, releaseAll } from './ownership';
import type { ClaimedIndex, Claimant } from './ownership';
import { removeRegistration } from './registration';
import type { FreezeRecord } from './work-files';

/**
 * Taking over a migration that is closed, with its claims and with its records: what was proved to be in the target
 * location, which target indices we restored, and how the last restore left them. The records are copied, and prove
 * nothing by themselves: planning holds each against a fresh listing and the new snapshot's checksums, publishing
 * against the newest generation, and restoring against the indices as they are.
 */

const WRITE_TIMEOUT_MS = 60_000;
const COPIES_AT_ONCE = 16;

/** Copied as they are: each is named by a snapshot, a generation or an index. */
const RECORDS = ['restored/', 'left/', 'published/', 'snapshots/'] as const;

/** One run of the migration that is taken over; an id may have been used again. */
export interface Predecessor {
  readonly keys: WorkKeys;
  readonly file: PlanFile;
}

/**
 * Runs of the migration that the plan adopts. Throws `ConfigurationError` when there is none, when one still runs or
 * holds a freeze, was committed, or moved between other places than this plan.
 */
export async function predecessorsOf(
  deps: StepDeps,
  plan: ResolvedPlan,
  context: StepContext,
): Promise<readonly Predecessor[]> {
  if (plan.adopt === undefined) return [];
  const store = deps.store(plan.repository.target.store);
  const runs = await closedRuns(deps, plan, context);
  for (const run of runs) await assertAdoptable(deps, plan, store, run, context);
  return runs;
}

/** As `predecessorsOf`, whatever came of them. Throws `ConfigurationError` when there is none, or one still runs. */
export async function closedRuns(
  deps: StepDeps,
  plan: ResolvedPlan,
  context: StepContext,
): Promise<readonly Predecessor[]> {
  const { adopt: migration = '' } = plan;
  const store = deps.store(plan.repository.target.store);
  const { work } = plan.repository;
  const runs = await runsOf(store, work, migration, context);
  if (runs.length === 0) {
    throw new ConfigurationError(
      `adopt: no migration '${migration}' has work files below '${work}' of ${store.description}: correct the id, or leave adopt out`,
    );
  }
  if ((await deps.isRunning(migration)) === true) {
    throw new ConfigurationError(`adopt: migration '${migration}' still runs: abort it, or wait for its end`);
  }
  return runs;
}

/**
 * Makes what the plan adopts this migration's: claims, records, and the end of what was registered. Answers a sentence,
 * undefined where the plan adopts nothing. May be repeated. Throws as `predecessorsOf`, and `ConfigurationError` when
 * a claim is a third migration's by now.
 */
export async function adopt(
  deps: StepDeps,
  plan: ResolvedPlan,
  input: PreflightInput,
  context: StepContext,
): Promise<string | undefined> {
  const runs = (await predecessorsOf(deps, plan, context)).filter(({ file }) => file.firstRunId !== input.firstRunId);
  if (runs.length === 0) return undefined;
  const store = deps.store(plan.repository.target.store);
  const { work } = plan.repository;
  const { uuid: targetUuid } = await deps.cluster(plan.target).info(context.signal);
  const claimant: Claimant = { migration: input.migration, firstRunId: input.firstRunId, store, work, targetUuid };
  const keys = WorkKeys.of(work, input.firstRunId);
  let proofs = 0;
  for (const { keys: from, file } of runs) {
    context.progress({ step: 'taking over', run: file.firstRunId });
    assertMayAct(context, WRITE_TIMEOUT_MS);
    await releaseAll({ store, work, firstRunId: file.firstRunId }, context.signal);
    await claimLocation(claimant, plan.repository.target.basePath, context.signal);
    proofs = await copyProofs(store, from, keys, proofs, context);
    for (const kind of RECORDS) await copyRecords(store, `${from.prefix}/${kind}`, `${keys.prefix}/${kind}`, context);
    await claimRestored(claimant, keys, context);
    await unregister(deps, plan, { keys: from, file }, context);
  }
  return `Took over from migration '${plan.adopt}': its claims, ${proofs} files of proofs, and what it restored`;
}

async function runsOf(store: Store, work: string, migration: string, context: StepContext): Promise<Predecessor[]> {
  const prefixes: string[] = [];
  for await (const { key } of store.list(`${work}/`, context.signal)) {
    const match = /^([^/]+)\/plan\.json$/.exec(key.slice(work.length + 1));
    if (match !== null) prefixes.push(`${work}/${match[1]}`);
  }
  const runs: Predecessor[] = [];
  for (const prefix of prefixes) {
    const keys = new WorkKeys(prefix);
    const file = await readJson<PlanFile>(store, keys.plan, context.signal);
    if (file?.migration === migration) runs.push({ keys, file });
  }
  return runs;
}

async function assertAdoptable(
  deps: StepDeps,
  plan: ResolvedPlan,
  store: Store,
  { keys, file }: Predecessor,
  { signal }: StepContext,
): Promise<void> {
  const refuse = (seen: string, remedy: string) => refuseRun(store, { keys, file }, seen, remedy);
  refuseOtherPlaces(deps, plan, { keys, file }, store);
  const [freezes, attempts] = [new Set<number>(), new Map<string, { round: number; attempt: number }>()];
  for await (const { key } of store.list(`${keys.prefix}/`, signal)) {
    const below = key.slice(keys.prefix.length + 1);
    const freeze = /^freeze-(\d+)\/record\.json$/.exec(below);
    if (freeze !== null) freezes.add(Number(freeze[1]));
    const round = /^round-(\d+)-a(\d+)\//.exec(below);
    if (round !== null) attempts.set(round[0], { round: Number(round[1]), attempt: Number(round[2]) });
  }
  for (const freeze of freezes) {
    const outcome = await standingOutcome(store, keys.freeze(freeze), signal);
    if (outcome?.outcome === 'committed') {
      const stand = await afterCommit(deps, plan, store, { keys, file }, freeze, signal);
      refuse(stand.seen, stand.remedy);
    }
    const undone = await isUndone(store, keys.freeze(freeze), signal);
    if (!undone || (await deps.isRunning(leaseWorkflowId(file.migration, freeze))) === true) {
      refuse(`still holds freeze ${freeze}`, 'wait for its deadline, or run `npx snapferry unfreeze` with its plan');
    }
  }
  const last = [...attempts.values()].sort((a, b) => a.round - b.round || a.attempt - b.attempt).at(-1);
  if (last === undefined) return;
  if ((await deps.isRunning(transferWorkflowId(file.migration, last.round, last.attempt))) === true) {
    refuse('still has a transfer that runs', 'terminate it, or wait for its end');
  }
}

function refuseRun(store: Store, { keys, file }: Predecessor, seen: string, remedy: string): never {
  throw new ConfigurationError(`adopt: migration '${file.migration}' ${seen}: ${remedy}`, {
    subject: { store: store.description, run: keys.prefix },
  });
}

/** Throws `ConfigurationError` unless it moved between the same places, as the same connections file describes them. */
export function refuseOtherPlaces(deps: StepDeps, plan: ResolvedPlan, run: Predecessor, store: Store): void {
  const elsewhere = otherPlaces(deps, plan, run.file);
  if (elsewhere.length === 0) return;
  refuseRun(store, run, `had another ${elsewhere.join(', ')}`, 'adopt it with a plan between the same places');
}

/**
 * A cutover that was lost after its commit is ended by whoever adopts it (lost-cutover.ts). One that has its report was
 * ended, or stopped by its operator, and a rollback is for `snapferry unfreeze`: whoever asks is told how both sides
 * stand, and what ends that.
 */
async function afterCommit(
  deps: StepDeps,
  plan: ResolvedPlan,
  store: Store,
  { keys, file }: Predecessor,
  freeze: number,
  signal: AbortSignal,
): Promise<{ readonly seen: string; readonly remedy: string }> {
  const files = keys.freeze(freeze);
  const target = deps.cluster(plan.target);
  if (await isUndone(store, files, signal)) {
    return {
      seen: 'was committed and rolled back',
      remedy: `the source takes the writes. Remove its indices from ${target.name}, and start without adopt`,
    };
  }
  if ((await store.head(files.targetBlock, signal)) !== undefined) {
    return {
      seen: 'was committed, and a rollback was begun',
      remedy: 'if neither side takes writes, run `npx snapferry unfreeze` with its plan; nothing is left to move',
    };
  }
  const { uuid: targetUuid } = await target.info(signal);
  const { migration, firstRunId } = file;
  const claimant = { migration, firstRunId, store, work: plan.repository.work, targetUuid };
  const record = await requireJson<FreezeRecord>(store, files.record, signal);
  const excluded = await excludedIndices({ targetStore: store, keys }, signal);
  const owned = blockedByUs(without(record, excluded)).map(({ name }) => name);
  const infos = await indicesByName(target, signal);
  // With strategy `alias` a round has its own names, and the plan of then says which index they are of.
  const isOpened = ({ name, uuids = [] }: ClaimedIndex) => {
    const called = file.plan.restore.strategy === 'alias' ? (roundOf(name)?.name ?? '') : name;
    return (
      uuids.includes(infos.get(name)?.uuid ?? '') &&
      owned.some((index) => nameOnTarget(file.plan.restore, index) === called)
    );
  };
  const names = (await claimedIndices(claimant, signal)).filter(isOpened).map(({ name }) => name);
  const closed = await withWriteBlock(target, names, signal);
  if (closed.length === 0) {
    return { seen: 'was committed', remedy: 'clients may write on the target, nothing is left to move' };
  }
  const some = closed.slice(0, 10).join(',');
  return {
    seen: `was committed, but stopped before ${closed.length} of its indices were opened on ${target.name}`,
    remedy:
      `nothing is left to move, and the source stays blocked. Open them with PUT /${some}/_settings ` +
      '{"index.blocks.write":null} there, and set the aliases',
  };
}

/** What of the plan must be as it was, where it is not. */
function otherPlaces(deps: StepDeps, plan: ResolvedPlan, { plan: was, fingerprints }: PlanFile): string[] {
  const place = ({ store, basePath }: ResolvedPlan['repository']['target']) => `${store} ${basePath}`;
  const now = fingerprintsOf(deps.config, plan);
  return [
    ...(was.source === plan.source ? [] : ['source']),
    ...(was.target === plan.target ? [] : ['target']),
    ...(place(was.repository.source) === place(plan.repository.source) ? [] : ['repository.source']),
    ...(place(was.repository.target) === place(plan.repository.target) ? [] : ['repository.target']),
    ...(JSON.stringify(now) === JSON.stringify(fingerprints) ? [] : ['connections file']),
  ];
}

/** As round 0 of an attempt before the first; `from` counts on, the oldest first. */
async function copyProofs(
  store: Store,
  from: WorkKeys,
  to: WorkKeys,
  already: number,
  context: StepContext,
): Promise<number> {
  const files: { readonly key: string; readonly round: number; readonly attempt: number }[] = [];
  for await (const { key } of store.list(from.rounds, context.signal)) {
    const match = /^(\d+)-a(\d+)\/proofs\/\d+\.jsonl$/.exec(key.slice(from.rounds.length));
    if (match !== null) files.push({ key, round: Number(match[1]), attempt: Number(match[2]) });
  }
  files.sort((a, b) => a.round - b.round || a.attempt - b.attempt);
  await inParallel([...files.entries()], COPIES_AT_ONCE, context.signal, async ([at, { key }], signal) => {
    const name = String(already + at).padStart(8, '0');
    await copyFile(store, key, `${to.rounds}0000-a0/proofs/${name}.jsonl`, context, signal);
  });
  return already + files.length;
}

async function copyRecords(store: Store, from: string, to: string, context: StepContext): Promise<void> {
  const names: string[] = [];
  for await (const { key } of store.list(from, context.signal)) names.push(key.slice(from.length));
  await inParallel(names, COPIES_AT_ONCE, context.signal, (name, signal) =>
    copyFile(store, `${from}${name}`, `${to}${name}`, context, signal),
  );
}

async function copyFile(store: Store, from: string, to: string, context: StepContext, signal: AbortSignal) {
  const bytes = await readBytes(store, from, signal);
  if (bytes === undefined) return;
  assertMayAct(context, WRITE_TIMEOUT_MS);
  await store.write(to, payload(bytes), {}, signal);
  context.progress({ step: 'taking over', file: to });
}

/** Every index that was ever restored, also one that this plan does not mean: it stays blocked, and is named at the end. */
async function claimRestored(claimant: Claimant, keys: WorkKeys, { signal }: StepContext): Promise<void> {
  const names = await namesBelow(claimant.store, `${keys.prefix}/restored/`, signal);
  await inParallel(names, COPIES_AT_ONCE, signal, (name, either) => adoptIndex(claimant, name, either));
}

async function unregister(
  deps: StepDeps,
  plan: ResolvedPlan,
  { keys, file }: Predecessor,
  context: StepContext,
): Promise<void> {
  const old = {
    registrations: file.registrations,
    source: deps.cluster(file.plan.source),
    target: deps.cluster(file.plan.target),
    targetStore: deps.store(plan.repository.target.store),
    keys,
  };
  for (const side of ['source', 'target'] as const) await removeRegistration(old, side, context);
}
