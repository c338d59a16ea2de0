import { VerificationFailedError } from '../domain/errors';
import type { ReplicasInput, ReplicasResult } from '../domain/exchange';
import { indexOnTarget } from '../domain/target-names';
import type { IndexHealth } from '../elasticsearch/cluster';
import type { ManifestIndex } from '../repository';
import { assertMayAct } from './context';
import type { StepContext } from './context';
import { BLOCK_TIMEOUT_MS } from './frozen-source';
import { roundManifest, roundScope } from './exclusions';
import { openMigration } from './migration';
import type { Migration, StepDeps } from './migration';
import { Polling } from './pause';
import { withoutMerges } from './restore';
import type { ManifestFile, ScopedIndex, ScopeFile } from './work-files';

const REPLICAS = 'index.number_of_replicas';
const AUTO_EXPAND = 'index.auto_expand_replicas';

/**
 * While copies move, one of them initializes or relocates. When for so long none does, the cluster has no place for
 * the rest: a single node never holds a replica.
 */
const STUCK_AFTER_MS = 10_000;

/**
 * Gives the restored indices their copies: as many as the source had, or as the plan's `restore.settings` say; and puts
 * back what else only the restores needed. With `wait` it returns when the copies are active, or when the target has no
 * place for more, which is then a note and no failure. Throws `VerificationFailedError` when a primary is lost meanwhile.
 */
export async function buildReplicas(
  deps: StepDeps,
  input: ReplicasInput,
  context: StepContext,
): Promise<ReplicasResult> {
  const migration = await openMigration(deps, input.plan, context);
  const scope = await roundScope(migration, input, context.signal);
  const manifest = await roundManifest(migration, input, context.signal);
  const wanted = copiesByIndex(migration, input.round, scope, manifest);
  await setCopies(migration, wanted, context);
  const names = [...wanted.keys()];
  const note = input.wait && names.length > 0 ? await awaitCopies(migration, names, context) : undefined;
  return { indices: names.length, ...(note === undefined ? {} : { note }) };
}

type Wanted = Readonly<Record<string, string | number | null>>;

/** By their names on the target. */
function copiesByIndex(
  { plan, clusters }: Migration,
  round: number,
  scope: ScopeFile,
  manifest: ManifestFile,
): ReadonlyMap<string, Wanted> {
  const manifestOf = new Map(manifest.indices.map((index) => [index.name, index]));
  const { settings: planned } = plan.restore;
  return new Map(
    scope.indices.map((index) => {
      const inSnapshot = manifestOf.get(index.name);
      const merging = mergingFor(Object.keys(withoutMerges(clusters.target)), inSnapshot, planned);
      return [indexOnTarget(plan.restore, index.name, round), { ...copiesFor(index, inSnapshot, planned), ...merging }];
    }),
  );
}

type Planned = Readonly<Record<string, string | number | boolean>>;

/** With `auto_expand_replicas` the cluster counts for itself; without it, what the restore set is taken away. */
function copiesFor(index: ScopedIndex, inSnapshot: ManifestIndex | undefined, planned: Planned): Wanted {
  const fromPlan = planned[AUTO_EXPAND] ?? (planned[REPLICAS] === undefined ? undefined : 'false');
  const expand = String(fromPlan ?? inSnapshot?.settings[AUTO_EXPAND] ?? 'false');
  if (expand !== 'false') return { [AUTO_EXPAND]: expand };
  return { [REPLICAS]: Number(planned[REPLICAS] ?? index.replicas), [AUTO_EXPAND]: null };
}

/** What every restore has set in place of what their owner wants. */
function mergingFor(names: readonly string[], inSnapshot: ManifestIndex | undefined, planned: Planned): Wanted {
  const wanted = names.map((name) => {
    const merging = planned[name] ?? inSnapshot?.settings[name];
    return [name, merging === undefined ? null : String(merging)] as const;
  });
  return Object.fromEntries(wanted);
}

/** Looks first, and sends one call for all indices that want the same. */
async function setCopies(
  migration: Migration,
  wanted: ReadonlyMap<string, Wanted>,
  context: StepContext,
): Promise<void> {
  if (wanted.size === 0) return;
  const held = await migration.target.settings([...wanted.keys()], context.signal);
  const groups = new Map<string, { settings: Wanted; names: string[] }>();
  for (const [name, settings] of wanted) {
    const missing = Object.entries(settings).filter(([key, value]) => shown(held[name]?.[key]) !== shown(value));
    if (missing.length === 0) continue;
    const changes = Object.fromEntries(missing);
    const group = groups.get(JSON.stringify(changes)) ?? { settings: changes, names: [] };
    group.names.push(name);
    groups.set(JSON.stringify(changes), group);
  }
  for (const { settings, names } of groups.values()) {
    assertMayAct(context, BLOCK_TIMEOUT_MS);
    await migration.target.updateSettings(names, settings, context.signal);
  }
}

function shown(value: string | number | null | readonly string[] | undefined): string {
  return value === undefined || value === null ? 'unset' : String(value);
}

/** A sentence about what could not be placed; undefined when all copies are active. */
async function awaitCopies(
  migration: Migration,
  names: readonly string[],
  context: StepContext,
): Promise<string | undefined> {
  const polling = new Polling(context.signal);
  let before = '';
  let stuckSince = Date.now();
  for (;;) {
    const health = await migration.target.health(names, context.signal);
    const states = names.map((name) => ({ name, state: health[name] }));
    const waiting = states.filter(({ state }) => !isSettled(state));
    if (waiting.length === 0) return undefined;
    const now = JSON.stringify(waiting);
    if (now !== before || waiting.some(({ state }) => isMoving(state))) stuckSince = Date.now();
    before = now;
    context.progress({
      waitingFor: 'replicas',
      indices: waiting.length,
      shards: sum(waiting.map(({ state }) => state?.unassigned ?? 0)),
    });
    if (Date.now() - stuckSince >= STUCK_AFTER_MS) return stuckNote(migration, waiting, context.signal);
    await polling.pause();
  }
}

function isSettled(state: IndexHealth | undefined): boolean {
  return state?.status === 'green' && !isMoving(state);
}

function isMoving(state: IndexHealth | undefined): boolean {
  return (state?.initializing ?? 0) > 0 || (state?.relocating ?? 0) > 0;
}

async function stuckNote(
  { target }: Migration,
  waiting: readonly { readonly name: string; readonly state: IndexHealth | undefined }[],
  signal: AbortSignal,
): Promise<string> {
  const lost = waiting.find(({ state }) => state === undefined || state.status === 'red');
  if (lost === undefined) {
    const shards = sum(waiting.map(({ state }) => state?.unassigned ?? 0));
    return `${shards} replicas of ${waiting.length} indices have no place on the target (too few nodes?): it goes on without them`;
  }
  const why = lost.state === undefined ? 'the index is gone' : await target.explainAllocation(lost.name, 0, signal);
  throw new VerificationFailedError(`A restored index lost a primary: ${why ?? 'the cluster gives no reason'}`, {
    subject: { index: lost.name, cluster: target.name },
  });
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
