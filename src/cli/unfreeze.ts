import path from 'node:path';
import type { Config } from '../config';
import { ConfigurationError } from '../domain/errors';
import type { FreezeOutcome } from '../domain/exchange';
import { FreezeKeys, WorkKeys } from '../domain/names';
import { parsePlan } from '../domain/plan';
import type { ResolvedPlan } from '../domain/plan';
import type { Cluster } from '../elasticsearch/cluster';
import type { Store } from '../storage/store';
import type { StepContext } from '../steps/context';
import { digestOf, readBytes, readJson, requireJson } from '../steps/files';
import {
  blockedByUs,
  decideOutcome,
  indicesByName,
  standingOutcome,
  undoFreeze,
  isUndone,
  withWriteBlock,
} from '../steps/frozen-source';
import type { PlanFile, StepDeps } from '../steps/migration';
import { openDeps } from '../steps/open';
import { endRollback } from '../steps/rollback';
import type { FreezeRecord } from '../steps/work-files';
import { readPlan } from './plan-file';

/**
 * `snapferry unfreeze PLAN`: undoes the freezes of a plan without Temporal, for the day when no worker is alive. Each
 * freeze is first decided `released`, so that a lease that wakes up later finds the decision and cannot commit.
 * A plan's freezes are those of migrations to its target location, which belongs to one migration at a time: the rest
 * of the plan may have been edited since. An open freeze of another plan is named and left alone.
 *
 * A rollback that was stopped after a commit leaves both sides blocked: it is ended too. One that was decided goes back,
 * of any other the target is opened again.
 *
 * Throws `ConfigurationError` for a plan that is none, and when all there is was committed.
 */
export async function unfreeze(
  planFile: string,
  config: Config,
  write: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const plan = parsePlan(await readPlan(planFile));
  const deps = openDeps(config);
  try {
    await releaseFreezes(deps, plan, write, signal);
  } finally {
    await deps.close();
  }
}

/** As `unfreeze`, with the plan and the ends at hand. */
export async function releaseFreezes(
  deps: StepDeps,
  plan: ResolvedPlan,
  write: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const store = deps.store(plan.repository.target.store);
  const source = deps.cluster(plan.source);
  const { uuid } = await source.info(signal);
  const ofSource = (await readFreezes(store, plan.repository.work, signal)).filter(
    ({ record }) => record.cluster.uuid === uuid,
  );
  const committed = ofSource.filter(isCommitted);
  const released = ofSource.filter((freeze) => !isCommitted(freeze) && isOf(plan, freeze));
  const open = released.filter(({ undone }) => !undone);
  tellOfOthers(plan, ofSource, write);
  await tellOfLaterBlocks(source, released.filter(({ undone }) => undone).at(-1), write, signal);
  const ours = committed.filter((freeze) => isOf(plan, freeze));
  let ended = 0;
  for (const freeze of ours) ended += (await endStopped(deps, plan, freeze, write, signal)) ? 1 : 0;
  if (open.length === 0 && ended === 0) return nothingOpen(plan, ours.at(-1), write);
  for (const freeze of open) {
    const stands = await decideOutcome(
      store,
      freeze.keys,
      { outcome: 'released', why: 'by snapferry unfreeze' },
      signal,
    );
    if (stands.outcome === 'committed') {
      write(`${freeze.keys.prefix}: committed a moment ago, the source stays blocked`);
      continue;
    }
    const keep = ({ name, uuid: index }: { name: string; uuid: string }) =>
      committed.some((later) => later.record.deadline > freeze.record.deadline && holds(later.record, name, index));
    const { unblocked, leftBlocked } = await undoFreeze(source, store, freeze.keys, contextOf(signal), keep);
    const left = leftBlocked === 0 ? '' : `; ${leftBlocked} stay blocked, as they were before`;
    write(`${freeze.keys.prefix}: released, ${unblocked} indices of ${plan.source} take writes again${left}`);
  }
}

/** Whether a rollback of that freeze was under way, and is ended now. */
async function endStopped(
  deps: StepDeps,
  plan: ResolvedPlan,
  { keys, record }: Freeze,
  write: (line: string) => void,
  signal: AbortSignal,
): Promise<boolean> {
  const { store: name } = plan.repository.target;
  const store = deps.store(name);
  const prefix = path.posix.dirname(keys.prefix);
  const bytes = await readBytes(store, new WorkKeys(prefix).plan, signal);
  if (bytes === undefined) return false;
  const digest = digestOf(bytes);
  const { migration, firstRunId } = await requireJson<PlanFile>(store, new WorkKeys(prefix).plan, signal, digest);
  const storeFingerprint = deps.config.fingerprint('store', name);
  const ref = { migration, firstRunId, store: name, storeFingerprint, prefix, digest };
  const ended = await endRollback(deps, { plan: ref, freeze: record.freeze }, contextOf(signal));
  if (ended === undefined) return false;
  write(
    ended.wentBack
      ? `${keys.prefix}: the rollback went back, ${ended.indices} indices of ${plan.source} take writes again; the target stays blocked`
      : `${keys.prefix}: the rollback was not decided, ${ended.indices} indices of ${plan.target} take writes again; the source stays blocked`,
  );
  for (const text of ended.notes) write(text);
  return true;
}

interface Freeze {
  readonly keys: FreezeKeys;
  readonly record: FreezeRecord;
  readonly outcome: FreezeOutcome | undefined;
  /** The source was seen unblocked after the release: what is blocked now is somebody else's. */
  readonly undone: boolean;
  /** Of the migration; undefined when it is gone, and then the freeze counts as everybody's. */
  readonly plan: ResolvedPlan | undefined;
}

/** Of every migration that keeps its work files there, oldest run first or not: none is left out. */
async function readFreezes(store: Store, work: string, signal: AbortSignal): Promise<Freeze[]> {
  const prefixes: string[] = [];
  for await (const { key } of store.list(`${work}/`, signal)) {
    const match = /^([^/]+\/freeze-\d+)\/record\.json$/.exec(key.slice(work.length + 1));
    if (match !== null) prefixes.push(`${work}/${match[1]}`);
  }
  const freezes: Freeze[] = [];
  for (const prefix of prefixes) {
    const keys = new FreezeKeys(prefix);
    const { plan: planKey } = new WorkKeys(path.posix.dirname(prefix));
    freezes.push({
      keys,
      record: await requireJson<FreezeRecord>(store, keys.record, signal),
      outcome: await standingOutcome(store, keys, signal),
      undone: await isUndone(store, keys, signal),
      plan: (await readJson<PlanFile>(store, planKey, signal))?.plan,
    });
  }
  return freezes;
}

/** A block that came after the release may be the owner's own: it is named, with the call that takes it away. */
async function tellOfLaterBlocks(
  source: Cluster,
  freeze: Freeze | undefined,
  write: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  if (freeze === undefined) return;
  const infos = await indicesByName(source, signal);
  const ours = blockedByUs(freeze.record, infos);
  for (const name of await withWriteBlock(
    source,
    ours.map((index) => index.name),
    signal,
  )) {
    write(
      `${name} shows a write block that was set after ${freeze.keys.prefix} was undone and is left alone: ` +
        `if it is nobody's, PUT /${name}/_settings {"index.blocks.write":null} on ${source.description}`,
    );
  }
}

function isCommitted({ outcome }: Freeze): boolean {
  return outcome?.outcome === 'committed';
}

function isOf(plan: ResolvedPlan, freeze: Freeze): boolean {
  return freeze.plan === undefined || freeze.plan.repository.target.basePath === plan.repository.target.basePath;
}

function tellOfOthers(plan: ResolvedPlan, freezes: readonly Freeze[], write: (line: string) => void): void {
  for (const other of freezes.filter((freeze) => !isOf(plan, freeze) && !isCommitted(freeze) && !freeze.undone)) {
    write(
      `${other.keys.prefix}: open too, of a migration with another plan, and left alone: unfreeze it with its plan`,
    );
  }
}

function nothingOpen(plan: ResolvedPlan, committed: Freeze | undefined, write: (line: string) => void): void {
  if (committed === undefined) return write(`No freeze of this plan is open on ${plan.source}: nothing to undo`);
  throw new ConfigurationError(
    'The freeze was committed: the target takes the writes now, and the source stays blocked. Only `rollback` goes back',
    { subject: { freeze: committed.keys.prefix } },
  );
}

function holds(record: FreezeRecord, name: string, uuid: string): boolean {
  return record.indices.some((index) => index.name === name && index.uuid === uuid);
}

/** A person runs this once: nobody takes over from it. */
function contextOf(signal: AbortSignal): StepContext {
  return { signal, progress: () => undefined, resumed: undefined, actUntil: Number.POSITIVE_INFINITY };
}
