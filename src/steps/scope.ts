import type { ScopeInput, ScopeResult } from '../domain/exchange';
import { nameOnTarget } from '../domain/target-names';
import type { IndexInfo } from '../elasticsearch/cluster';
import type { StepContext } from './context';
import { excludedIndices, without } from './exclusions';
import { createJson, readJson, requireJson } from './files';
import { Findings } from './findings';
import { matchingIndices, scoped } from './index-checks';
import { checkJoining } from './joining-checks';
import { openMigration } from './migration';
import type { Migration, StepDeps } from './migration';
import { claimantOf, claimIndex } from './ownership';
import { inParallel } from '../storage/parallel';
import { scopeDigest } from './scope-digest';
import { checkRoom } from './surroundings';
import type { ScopedIndex, ScopeFile } from './work-files';

const CLAIMS_AT_ONCE = 16;
const CHANGES_AT_MOST = 10;

/**
 * Which indices this round moves: patterns are resolved anew. What joins passes preflight's checks and is claimed, what
 * is gone leaves, and its target copy stays blocked.
 *
 * A retry finds the scope that its predecessor wrote. Throws `ConfigurationError` when an index that is to join is
 * refused, when one was re-created since the last scope, or when nothing is left.
 */
export async function resolveScope(deps: StepDeps, input: ScopeInput, context: StepContext): Promise<ScopeResult> {
  const migration = await openMigration(deps, input.plan, context);
  const key = migration.keys.round(input.round, input.attempt).scope;
  const previous = await previousScope(migration, input, context);
  let scope = await readJson<ScopeFile>(migration.targetStore, key, context.signal);
  if (scope === undefined) {
    const resolved = await resolve(migration, previous, context);
    await createJson(migration.targetStore, key, resolved, context.signal);
    // Two attempts may have resolved at the same time: the one that wrote first decides for both.
    scope = await requireJson<ScopeFile>(migration.targetStore, key, context.signal);
  }
  // What was excluded has been told.
  const before = previous && without(previous, await excludedIndices(migration, context.signal));
  return {
    indices: scope.indices.length,
    ...(scope.documents === undefined ? {} : { documents: scope.documents }),
    changes: changesBetween(before, scope),
    digest: scopeDigest(scope),
  };
}

function previousScope(migration: Migration, input: ScopeInput, context: StepContext): Promise<ScopeFile | undefined> {
  if (input.previous === undefined) return Promise.resolve(undefined);
  const { round, attempt } = input.previous;
  return requireJson<ScopeFile>(migration.targetStore, migration.keys.round(round, attempt).scope, context.signal);
}

async function resolve(
  migration: Migration,
  previous: ScopeFile | undefined,
  context: StepContext,
): Promise<ScopeFile> {
  const findings = new Findings();
  const excluded = await excludedIndices(migration, context.signal);
  const matching = await matchingIndices(migration.plan, migration.source, findings, context.signal, excluded);
  const { indices } = matching;
  context.progress({ step: 'scope', indices: indices.length });
  const known = new Map((previous?.indices ?? []).map((index) => [index.name, index]));
  const joining = indices.filter(({ name }) => !known.has(name));
  checkKnown(indices, known, findings);
  if (joining.length > 0) {
    const { plan, target } = migration;
    const isBeginning = previous === undefined;
    await checkJoining({ plan, matching, indices: joining, isBeginning }, endsOf(migration), findings, context.signal);
    await checkRoom(plan, joining, target, findings, context.signal);
  }
  if (indices.length === 0)
    findings.refuse('scope', migration.plan.source, {
      seen: 'No index of the plan is left on the source',
      remedy: 'bring one back, or abort the migration',
    });
  findings.refuseIfAny('The indices of this round can not be moved (mend that and `retry`, or `exclude` the index):');
  await claimAll(migration, indices, context);
  // What stood at preflight was told by it.
  const warnings = previous === undefined ? [] : findings.warnings;
  const documents = indices.reduce((sum, { docs = 0 }) => sum + docs, 0);
  return { indices: indices.map(scoped), documents, ...(warnings.length === 0 ? {} : { warnings }) };
}

/** A closed index would fail the snapshot of all; a re-created one would be mixed with the copy of the old one. */
function checkKnown(indices: readonly IndexInfo[], known: ReadonlyMap<string, ScopedIndex>, findings: Findings): void {
  for (const { name, uuid, shards, open } of indices) {
    const before = known.get(name);
    if (before === undefined) continue;
    if (before.uuid !== uuid || before.shards !== shards) {
      const became = before.shards === shards ? '' : ` with ${shards} instead of ${before.shards} shards`;
      findings.refuse('indices', name, {
        seen: `Index '${name}' was deleted and created again on the source${became}, so the copy on the target is of another index`,
        remedy: 'abort this migration, remove the copy, and start a new one',
      });
    } else if (!open) {
      findings.refuse('indices', name, {
        seen: `Index '${name}' was closed on the source`,
        remedy: 'open it, then retry',
      });
    }
  }
}

function endsOf(migration: Migration) {
  const { source, target, clusters, plan } = migration;
  return { source, target, targetInfo: clusters.target, naming: plan.restore, claimant: claimantOf(migration) };
}

/** All, not only what joins: an attempt that was interrupted may have left a claim out. */
async function claimAll(migration: Migration, indices: readonly IndexInfo[], context: StepContext): Promise<void> {
  const claimant = claimantOf(migration);
  await inParallel(indices, CLAIMS_AT_ONCE, context.signal, async ({ name }, signal) => {
    await claimIndex(claimant, nameOnTarget(migration.plan.restore, name), signal);
  });
}

function changesBetween(previous: ScopeFile | undefined, scope: ScopeFile): string[] {
  if (previous === undefined) return [];
  const before = new Set(previous.indices.map(({ name }) => name));
  const now = new Set(scope.indices.map(({ name }) => name));
  const joined = [...now].filter((name) => !before.has(name)).map((name) => `index '${name}' joined`);
  const left = [...before]
    .filter((name) => !now.has(name))
    .map((name) => `index '${name}' is gone from the source and left: its copy on the target stays, blocked`);
  const changes = [...left, ...joined, ...(scope.warnings ?? [])];
  if (changes.length <= CHANGES_AT_MOST) return changes;
  return [...changes.slice(0, CHANGES_AT_MOST - 1), `and ${changes.length - CHANGES_AT_MOST + 1} more changes`];
}
