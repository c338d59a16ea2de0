import { defineSearchAttributeKey } from '@temporalio/common';
import { upsertSearchAttributes } from '@temporalio/workflow';

const phase = defineSearchAttributeKey('SnapferryPhase', 'KEYWORD');
const round = defineSearchAttributeKey('SnapferryRound', 'INT');
const needsOperator = defineSearchAttributeKey('SnapferryNeedsOperator', 'BOOL');

/** Upserts only what the namespace knows: an unregistered key would fail the workflow task for ever. */
export function tellSearch(
  registered: readonly string[],
  values: { readonly phase: string; readonly round: number; readonly needsOperator: boolean },
): void {
  const pairs = [
    { key: phase, value: values.phase },
    { key: round, value: values.round },
    { key: needsOperator, value: values.needsOperator },
  ].filter((pair) => registered.includes(pair.key.name));
  if (pairs.length > 0) upsertSearchAttributes(pairs as Parameters<typeof upsertSearchAttributes>[0]);
}
