import type { RoundSummary } from './exchange';

/**
 * So many, and among them always the one restored last: with `restore.everyRound: false` it is the baseline, and what a
 * freeze must fetch, and how long that takes, is counted from it.
 */
export function newestRounds(rounds: readonly RoundSummary[], count: number): readonly RoundSummary[] {
  const last = rounds.slice(-count);
  const restored = lastRestored(rounds);
  return restored === undefined || last.includes(restored) ? last : [restored, ...last.slice(1)];
}

/** The round that the target holds. */
export function lastRestored(rounds: readonly RoundSummary[]): RoundSummary | undefined {
  return rounds.filter(({ steps }) => steps['restore'] !== undefined).at(-1);
}
