import { ConfigurationError } from '../domain/errors';
import type { LostCutover, PreflightInput } from '../domain/exchange';
import type { Ledger } from '../domain/ledger';
import type { ResolvedPlan } from '../domain/plan';
import { closedRuns, refuseOtherPlaces } from './adopt';
import type { Predecessor } from './adopt';
import { assertMayAct } from './context';
import type { StepContext } from './context';
import { heldRecord } from './exclusions';
import { createJson, digestOf, namesBelow, readBytes, readJson, requireJson } from './files';
import { isUndone, standingOutcome } from './frozen-source';
import { openMigration } from './migration';
import type { StepDeps } from './migration';
import type { Store } from '../storage/store';
import { inOperations, sourceObjections } from './recheck';
import { resultOf } from './verify';
import type { OwnerFile } from './work-files';

/**
 * A cutover whose parent was lost after the commit (terminated between opening the target and the report, say). Nothing
 * is left to move, and every step that is left may run twice: whoever adopts that migration makes them in its name, under
 * its plan and its claims, with the keys that its webhooks would have had.
 */

const WRITE_TIMEOUT_MS = 30_000;

export interface FoundCutover extends Predecessor {
  readonly freeze: number;
}

/**
 * The one of the migration that the plan adopts; undefined where none was committed, or nothing is left of it. Throws
 * `ConfigurationError` when the migration still runs, is unknown, or moved between other places than this plan.
 */
export async function lostCutover(
  deps: StepDeps,
  plan: ResolvedPlan,
  context: StepContext,
): Promise<FoundCutover | undefined> {
  if (plan.adopt === undefined) return undefined;
  const { signal } = context;
  const store = deps.store(plan.repository.target.store);
  for (const run of await closedRuns(deps, plan, context)) {
    const { keys } = run;
    if ((await store.head(keys.report, signal)) !== undefined) continue;
    const freezes = new Set<number>();
    for await (const { key } of store.list(`${keys.prefix}/freeze-`, signal)) {
      const match = /freeze-(\d+)\/outcome\.json$/.exec(key);
      if (match !== null) freezes.add(Number(match[1]));
    }
    for (const freeze of freezes) {
      const files = keys.freeze(freeze);
      if ((await standingOutcome(store, files, signal))?.outcome !== 'committed') continue;
      // Going back is for `snapferry unfreeze`.
      if (await isUndone(store, files, signal)) continue;
      if ((await store.head(files.targetBlock, signal)) !== undefined) continue;
      refuseOtherPlaces(deps, plan, run, store);
      return { ...run, freeze };
    }
  }
  return undefined;
}

/**
 * Makes this migration the one that ends it. Throws `ConfigurationError` when another that runs does that already, and
 * when the source has taken writes since, or may: of both sides then only a person knows which one counts.
 */
export async function takeOver(
  deps: StepDeps,
  plan: ResolvedPlan,
  { keys, file, freeze }: FoundCutover,
  input: PreflightInput,
  context: StepContext,
): Promise<LostCutover> {
  const { signal } = context;
  const { store: storeName } = plan.repository.target;
  const store = deps.store(storeName);
  const bytes = (await readBytes(store, keys.plan, signal)) ?? Buffer.alloc(0);
  const ref = {
    ...{ migration: file.migration, firstRunId: file.firstRunId, store: storeName, prefix: keys.prefix },
    storeFingerprint: deps.config.fingerprint('store', storeName),
    digest: digestOf(bytes),
  };
  const last = await lastLedger(store, keys.rounds, signal);
  if (last === undefined) throw new ConfigurationError(`adopt: migration '${file.migration}' has no ledger any more`);
  const { ledger: key } = keys.round(last.round, last.attempt);
  const ledger = await requireJson<Ledger>(store, key, signal);
  const migration = await openMigration(deps, ref, context);
  const record = await heldRecord(migration, freeze, signal);
  const objections = await sourceObjections(migration, freeze, record, signal, inOperations);
  if (objections.length > 0) {
    throw new ConfigurationError(
      `adopt: migration '${file.migration}' was committed, and its source is not as it was left: ${objections.slice(0, 5).join('; ')}. ` +
        'What was written there since is not on the target: compare both sides, and end the switchover by hand',
      { subject: { cluster: plan.source, run: keys.prefix } },
    );
  }
  await beTheOnlyOne(deps, store, keys.successors, input, context);
  return {
    ...{ plan: ref, freeze, ...last },
    verification: resultOf(ledger, digestOf((await readBytes(store, key, signal)) ?? Buffer.alloc(0))),
  };
}

async function lastLedger(store: Store, prefix: string, signal: AbortSignal) {
  const found: { readonly round: number; readonly attempt: number }[] = [];
  for await (const { key } of store.list(prefix, signal)) {
    const match = /^(\d+)-a(\d+)\/ledger\.json$/.exec(key.slice(prefix.length));
    if (match !== null) found.push({ round: Number(match[1]), attempt: Number(match[2]) });
  }
  return found.sort((a, b) => a.round - b.round || a.attempt - b.attempt).at(-1);
}

/** Of two that come at the same time each sees the other, and neither goes on. */
async function beTheOnlyOne(
  deps: StepDeps,
  store: Store,
  prefix: string,
  { migration, firstRunId }: PreflightInput,
  context: StepContext,
): Promise<void> {
  const { signal } = context;
  assertMayAct(context, WRITE_TIMEOUT_MS);
  await createJson(store, `${prefix}${firstRunId}.json`, { migration, firstRunId } satisfies OwnerFile, signal);
  for (const name of await namesBelow(store, prefix, signal)) {
    const other = await readJson<OwnerFile>(store, `${prefix}${name}.json`, signal);
    if (other === undefined || other.firstRunId === firstRunId || other.migration === migration) continue;
    if ((await deps.isRunning(other.migration)) !== true) continue;
    throw new ConfigurationError(`adopt: migration '${other.migration}' ends that cutover already: wait for its end`);
  }
}
