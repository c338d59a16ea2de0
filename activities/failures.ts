import { ApplicationFailure, CancelledFailure } from '@temporalio/activity';
import { MigrationError, UnavailableError } from '../src/domain/errors';

/**
 * The one table from our errors to Temporal's failures:
 *
 * | error | type | retried |
 * |---|---|---|
 * | UnavailableError | `Unavailable` | yes, after the server's Retry-After where it gave one |
 * | every other MigrationError | its code | no: somebody must act first |
 * | cancellation | untouched | – |
 * | anything else (a fault of ours) | `Unexpected` | yes: a fixed worker takes over |
 *
 * The message says what to do, because Temporal's CLI shows neither type nor details.
 */
export function toFailure(error: unknown): Error {
  if (error instanceof CancelledFailure || error instanceof ApplicationFailure) return error;
  if (error instanceof MigrationError) {
    return ApplicationFailure.create({
      message: error.message,
      type: error.code,
      nonRetryable: !error.retryable,
      details: [error.subject],
      ...(error instanceof UnavailableError && error.retryAfterMs !== undefined
        ? { nextRetryDelay: error.retryAfterMs }
        : {}),
      cause: causeOf(error),
    });
  }
  const message = error instanceof Error ? error.message : String(error);
  return ApplicationFailure.create({
    message: `Unexpected: ${message}`,
    type: 'Unexpected',
    cause: error instanceof Error ? error : undefined,
  });
}

/** One level is enough for a person; deeper ones repeat it, and history keeps every retry's last failure. */
function causeOf(error: MigrationError): Error | undefined {
  return error.cause instanceof Error ? new Error(error.cause.message) : undefined;
}
