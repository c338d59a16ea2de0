import {
  ActivityFailure,
  ApplicationFailure,
  ChildWorkflowFailure,
  TerminatedFailure,
  TimeoutFailure,
} from '@temporalio/workflow';

/** A failure as the workflow decides on it: the stable code and the sentence. */
export interface Failure {
  readonly code: string;
  readonly message: string;
}

/** Walks the causes down to what the activity threw. */
export function failureOf(error: unknown): Failure {
  let current: unknown = error;
  while (
    (current instanceof ActivityFailure || current instanceof ChildWorkflowFailure) &&
    current.cause !== undefined
  ) {
    current = current.cause;
  }
  if (current instanceof ApplicationFailure) return { code: current.type ?? 'Unexpected', message: current.message };
  if (current instanceof TimeoutFailure) return { code: 'Unavailable', message: `Timed out (${current.message})` };
  if (current instanceof TerminatedFailure) return { code: 'Terminated', message: 'It was terminated' };
  return { code: 'Unexpected', message: current instanceof Error ? current.message : String(current) };
}

/** What a non-final round may fail with and simply be tried again at the next interval. */
export function isPassing(failure: Failure): boolean {
  return (
    failure.code === 'Unavailable' || failure.code === 'SnapshotIncomplete' || failure.code === 'RepositoryChanged'
  );
}

/** What repeating a step cannot mend: the round begins again, with a snapshot of its own. */
export function needsNewSnapshot(failure: Failure): boolean {
  return failure.code === 'RepositoryChanged' || failure.code === 'SnapshotIncomplete';
}
