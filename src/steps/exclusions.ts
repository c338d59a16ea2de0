import { ConfigurationError } from '../domain/errors';
import type { ExcludeInput, ExcludeResult, RoundRef } from '../domain/exchange';
import type { WorkKeys } from '../domain/names';
import { resolvePatterns } from '../domain/patterns';
import type { Store } from '../storage';
import { assertMayAct } from './context';
import type { StepContext } from './context';
import { createJson, namesBelow, readJson, requireJson } from './files';
import { openMigration } from './migration';
import type { Migration, StepDeps } from './migration';
import { scopeDigest } from './scope-digest';
import type { ExclusionFile, FreezeRecord, ManifestFile, ScopeFile } from './work-files';

/**
 * Indices that an operator has taken out of a running migration. One file each, created once and never rewritten: from
 * then on every step that waits for, compares, guards or opens indices leaves it out, also in a round that had begun
 * with it. Scope and record keep what was true when they were written.
 */

const WRITE_TIMEOUT_MS = 30_000;
const NAMED_AT_MOST = 10;

interface Excluding {
  readonly targetStore: Store;
  readonly keys: WorkKeys;
}

/**
 * Takes an index out. May be repeated; who was first stands. Throws `ConfigurationError` for an index that is not in
 * scope, and for the last one.
 */
export async function excludeIndex(deps: StepDeps, input: ExcludeInput, context: StepContext): Promise<ExcludeResult> {
  const migration = await openMigration(deps, input.plan, context);
  const { targetStore, keys } = migration;
  const { signal } = context;
  const scope = input.scope && (await requireJson<ScopeFile>(targetStore, scopeKey(migration, input.scope), signal));
  const key = keys.exclusion(input.index);
  if ((await readJson<ExclusionFile>(targetStore, key, signal)) === undefined) {
    await refuseExclusion(migration, input, scope, signal);
    const { index, who, why, at } = input;
    assertMayAct(context, WRITE_TIMEOUT_MS);
    await createJson(targetStore, key, { index, who, why, at } satisfies ExclusionFile, signal);
  }
  const { who, why } = await requireJson<ExclusionFile>(targetStore, key, signal);
  const left = scope && without(scope, await excludedIndices(migration, signal));
  return { who, why, ...(left === undefined ? {} : { digest: scopeDigest(left) }) };
}

/** In scope is what the last round has moved, and what the next one would. */
async function refuseExclusion(
  { plan, source, targetStore, keys }: Migration,
  { index, frozen }: ExcludeInput,
  scope: ScopeFile | undefined,
  signal: AbortSignal,
): Promise<void> {
  const excluded = await excludedIndices({ targetStore, keys }, signal);
  const now = (await source.indices(signal)).map(({ name }) => name);
  const next = resolvePatterns(plan.indices, now).included.filter((name) => !excluded.has(name));
  const moved = (scope?.indices ?? []).map(({ name }) => name).filter((name) => !excluded.has(name));
  const inScope = [...new Set([...moved, ...next])].sort();
  if (!inScope.includes(index)) {
    const more = inScope.length > NAMED_AT_MOST ? ` and ${inScope.length - NAMED_AT_MOST} more` : '';
    throw new ConfigurationError(
      `Index '${index}' is not in scope. In scope are ${inScope.slice(0, NAMED_AT_MOST).join(', ')}${more}`,
    );
  }
  // A freeze holds exactly its scope: what would only join later does not count for it.
  if ((frozen === true ? moved : next).some((name) => name !== index)) return;
  throw new ConfigurationError(
    `Index '${index}' is the last one in scope, and nothing would be left to move: \`abort\` ends the migration`,
  );
}

/** Their names on the source. */
export async function excludedIndices(
  { targetStore, keys }: Excluding,
  signal: AbortSignal,
): Promise<ReadonlySet<string>> {
  return new Set(await namesBelow(targetStore, keys.exclusions, signal));
}

/** By name. */
export async function readExclusions(migration: Excluding, signal: AbortSignal): Promise<readonly ExclusionFile[]> {
  const { targetStore, keys } = migration;
  const names = [...(await excludedIndices(migration, signal))].sort();
  return Promise.all(names.map((name) => requireJson<ExclusionFile>(targetStore, keys.exclusion(name), signal)));
}

/** A scope, a manifest or a record without them. */
export function without<Index extends { readonly name: string }, File extends { readonly indices: readonly Index[] }>(
  file: File,
  excluded: ReadonlySet<string>,
): File {
  return { ...file, indices: file.indices.filter(({ name }) => !excluded.has(name)) };
}

function scopeKey({ keys }: Migration, { round, attempt }: Pick<RoundRef, 'round' | 'attempt'>): string {
  return keys.round(round, attempt).scope;
}

/** The scope of a round as it counts now. */
export async function roundScope(
  migration: Migration,
  ref: Pick<RoundRef, 'round' | 'attempt'>,
  signal: AbortSignal,
): Promise<ScopeFile> {
  const scope = await requireJson<ScopeFile>(migration.targetStore, scopeKey(migration, ref), signal);
  return without(scope, await excludedIndices(migration, signal));
}

/** The manifest of a round, with the indices that count now; its blobs are those of all. */
export async function roundManifest(
  migration: Migration,
  { round, attempt }: Pick<RoundRef, 'round' | 'attempt'>,
  signal: AbortSignal,
): Promise<ManifestFile> {
  const { targetStore, keys } = migration;
  const manifest = await requireJson<ManifestFile>(targetStore, keys.round(round, attempt).manifest, signal);
  return without(manifest, await excludedIndices(migration, signal));
}

/** What a freeze still holds. Undoing it needs the whole record. */
export async function heldRecord(migration: Migration, freeze: number, signal: AbortSignal): Promise<FreezeRecord> {
  const { targetStore, keys } = migration;
  const record = await requireJson<FreezeRecord>(targetStore, keys.freeze(freeze).record, signal);
  return without(record, await excludedIndices(migration, signal));
}
