/**
 * One family of errors, told apart by who must act. Adapters classify by status or code, never by message text.
 * Messages say what failed and what to do; the subject is appended as `[key=value, ...]`.
 * Secrets never enter a subject or a message.
 */

export type Subject = Readonly<Record<string, string | number | undefined>>;

export type ErrorCode =
  | 'Configuration'
  | 'Unavailable'
  | 'SnapshotIncomplete'
  | 'RepositoryChanged'
  | 'BlobCorrupt'
  | 'BlobMissing'
  | 'WritesNotBlocked'
  | 'VerificationFailed'
  | 'TargetChanged';

export interface MigrationErrorOptions {
  readonly subject?: Subject;
  readonly cause?: unknown;
}

function withSubject(message: string, subject: Subject): string {
  const parts = Object.entries(subject)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => `${key}=${value}`);
  return parts.length === 0 ? message : `${message} [${parts.join(', ')}]`;
}

export abstract class MigrationError extends Error {
  /** Stable: histories, alerts and the CLI's exit codes are built on it. */
  abstract readonly code: ErrorCode;
  /** True when trying the same thing again later may succeed without anybody acting. */
  readonly retryable: boolean = false;
  readonly subject: Subject;

  constructor(message: string, options: MigrationErrorOptions = {}) {
    super(withSubject(message, options.subject ?? {}), { cause: options.cause });
    this.name = new.target.name;
    this.subject = options.subject ?? {};
  }
}

/** The plan, the connections file or a permission is wrong: the operator acts before anything is tried again. */
export class ConfigurationError extends MigrationError {
  readonly code = 'Configuration';
}

/** A cluster or store did not answer, or asked to be left alone for a while. The only error that is retried. */
export class UnavailableError extends MigrationError {
  readonly code = 'Unavailable';
  override readonly retryable = true;
  /** What the server asked for (Retry-After), in milliseconds. */
  readonly retryAfterMs: number | undefined;
  /** It has too much to do, and has not begun what was asked: the same request may be sent again. */
  readonly isRejected: boolean;

  constructor(
    message: string,
    options: MigrationErrorOptions & { readonly retryAfterMs?: number; readonly isRejected?: boolean } = {},
  ) {
    super(message, options);
    this.retryAfterMs = options.retryAfterMs;
    this.isRejected = options.isRejected ?? false;
  }
}

/** A snapshot ended FAILED or PARTIAL, or does not hold exactly the scope that was asked for. */
export class SnapshotIncompleteError extends MigrationError {
  readonly code = 'SnapshotIncomplete';
}

/** A snapshot we rely on left the source repository, or the target's generation is not ours: plan again. */
export class RepositoryChangedError extends MigrationError {
  readonly code = 'RepositoryChanged';
}

/** Length, checksum or structure disagrees with what the snapshot's own metadata says. Never cut over on it. */
export class BlobCorruptError extends MigrationError {
  readonly code = 'BlobCorrupt';
}

/** A blob that the manifest names is not in the store. Never cut over on it. */
export class BlobMissingError extends MigrationError {
  readonly code = 'BlobMissing';
}

/** A write got through, or could have: the freeze does not hold. */
export class WritesNotBlockedError extends MigrationError {
  readonly code = 'WritesNotBlocked';
}

/** Source and target differ after the restore, or a restore brought back less than was asked for. */
export class VerificationFailedError extends MigrationError {
  readonly code = 'VerificationFailed';
}

/** Somebody else touched what we restored on the target: shown, never restored over or committed. */
export class TargetChangedError extends MigrationError {
  readonly code = 'TargetChanged';
}
