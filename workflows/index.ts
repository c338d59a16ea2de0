/**
 * The workflow bundle: the names exported here are the workflow types. Runs in the sandbox, so it may import domain
 * values and activity types, nothing else.
 */
import { ApplicationFailure, workflowInfo } from '@temporalio/workflow';

export { migrate } from './migrate';
export { transfer } from './transfer';
export { freeze } from './freeze';

/** A mistyped type ends at once with a sentence, instead of retrying its workflow task for ever. */
export default async function unknownType(): Promise<never> {
  throw ApplicationFailure.nonRetryable(
    `Unknown workflow type '${workflowInfo().workflowType}': start 'migrate'`,
    'Configuration',
  );
}
