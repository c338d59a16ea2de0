import type { RaiseThrottleInput, PlanRef, ThrottleBefore } from '../domain/exchange';
import { assertMayAct } from './context';
import type { StepContext } from './context';
import { openMigration } from './migration';
import type { Migration, StepDeps } from './migration';

/**
 * The target's own throttle of restores and replicas, as `limits.recoveryBytesPerSecond` has it while a migration runs.
 * Two activities: the first reads what was there into the workflow's history, the second changes exactly that.
 *
 * Transient: it comes before what the cluster's owner made persistent, and is gone after a full restart of the cluster
 * (docs: Elasticsearch, cluster update settings).
 */
const RECOVERY = 'indices.recovery.max_bytes_per_sec';

const SETTINGS_TIMEOUT_MS = 30_000;

/** What is to be put back at the end: the transient value, null where there is none. Changes nothing. */
export async function readThrottle(deps: StepDeps, input: PlanRef, context: StepContext): Promise<ThrottleBefore> {
  const { target } = await openMigration(deps, input, context);
  return { recovery: (await target.transientSetting(RECOVERY, context.signal)) ?? null };
}

/** May be repeated. Throws `ConfigurationError` where the service lets nobody change it. */
export async function raiseThrottle(
  deps: StepDeps,
  input: RaiseThrottleInput,
  context: StepContext,
): Promise<ThrottleBefore> {
  const migration = await openMigration(deps, input.plan, context);
  const ours = ourValue(migration);
  if (ours === undefined) return input.before;
  assertMayAct(context, SETTINGS_TIMEOUT_MS);
  await migration.target.setTransientSetting(RECOVERY, ours, context.signal);
  return input.before;
}

/** Puts back what was there before, if our value still stands: whoever changed it since knows better. */
export async function putThrottleBack(
  migration: Migration,
  { recovery }: ThrottleBefore,
  context: StepContext,
): Promise<void> {
  const ours = ourValue(migration);
  if (ours === undefined || (await migration.target.transientSetting(RECOVERY, context.signal)) !== ours) return;
  assertMayAct(context, SETTINGS_TIMEOUT_MS);
  await migration.target.setTransientSetting(RECOVERY, recovery, context.signal);
}

function ourValue({ plan }: Migration): string | undefined {
  const { recoveryBytesPerSecond } = plan.throttles;
  return recoveryBytesPerSecond === undefined ? undefined : `${recoveryBytesPerSecond}b`;
}
