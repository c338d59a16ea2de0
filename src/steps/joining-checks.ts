import type { ResolvedPlan } from '../domain/plan';
import type { IndexInfo } from '../elasticsearch/cluster';
import type { Findings } from './findings';
import { checkAliases, checkIndices } from './index-checks';
import type { CheckedIndices, Ends, MatchingIndices } from './index-checks';
import { checkNeeds } from './index-needs';
import { checkDataStreams, checkSlowIndices } from './surroundings';

/** Who is to join a migration: all that match when it begins, later those of them that are new. */
export interface Joining {
  readonly plan: ResolvedPlan;
  readonly matching: MatchingIndices;
  readonly indices: readonly IndexInfo[];
  readonly isBeginning: boolean;
}

/**
 * What speaks against indices that are to join: the same at preflight and in every round, so that nothing gets in by a
 * rollover that preflight would have refused. Returns what was read for that.
 */
export async function checkJoining(
  { plan, matching, indices, isBeginning }: Joining,
  ends: Ends,
  findings: Findings,
  signal: AbortSignal,
): Promise<CheckedIndices> {
  const checked = await checkIndices(indices, ends, findings, signal);
  const names = new Set(indices.map(({ name }) => name));
  checkAliases(plan, matching, checked.there, findings, isBeginning ? undefined : names);
  // What is no index, only called as the plan says, cannot be excluded: later it is no reason to park.
  const meant = isBeginning ? plan.indices : [];
  await checkDataStreams(meant, ends.source, indices, findings, signal);
  await checkSlowIndices(meant, ends.source, indices, findings, signal);
  await checkNeeds(plan, indices, checked.settings, ends, findings, signal);
  return checked;
}
