/**
 * What a failed S3 request means, in one table. Goes by the code of the answer, then by its HTTP status, never by the
 * text. Knows no SDK: an error is anything of the shape below.
 */
import type { MigrationErrorOptions } from '../domain/errors';
import {
  BlobCorruptError,
  BlobMissingError,
  ConfigurationError,
  MigrationError,
  RepositoryChangedError,
  UnavailableError,
} from '../domain/errors';

/** As the SDK throws it: `name` is the code of the answer, or the kind of a local failure. */
export interface S3Failure {
  readonly name?: string;
  /** Of a system error: `ECONNREFUSED`. */
  readonly code?: unknown;
  readonly message?: string;
  readonly $metadata?: { readonly httpStatusCode?: number; readonly requestId?: string };
  readonly $response?: { readonly headers?: Readonly<Record<string, string>> };
}

type Meaning = 'configuration' | 'clock-skew' | 'missing' | 'changed' | 'corrupt' | 'unavailable';
type Verdict = readonly [Meaning, string];

const DENIED: Verdict = [
  'configuration',
  'The store denies access: grant the credentials s3:ListBucket on the bucket and s3:GetObject, s3:PutObject, ' +
    's3:DeleteObject and s3:AbortMultipartUpload on its blobs (and the use of its key, where it is encrypted).',
];
const WRONG_KEY: Verdict = [
  'configuration',
  'The store refuses the credentials: correct the access key and its secret.',
];
const STALE: Verdict = ['configuration', 'The session token has expired or is invalid: provide fresh credentials.'];
const WRONG_REGION: Verdict = ['configuration', 'The bucket lies in another region: correct region and endpoint.'];
const NO_BUCKET: Verdict = ['configuration', 'There is no such bucket: correct its name, or create it.'];
const NO_CREDENTIALS: Verdict = [
  'configuration',
  'No credentials were found: name some for this store, or give the worker a role.',
];
const UNTRUSTED: Verdict = [
  'configuration',
  'The certificate of the store is not trusted: correct the endpoint, or give the worker the authority (NODE_EXTRA_CA_CERTS).',
];
const MISSING: Verdict = ['missing', 'A blob is not in the store.'];
const UNKNOWN_UPLOAD: Verdict = ['missing', 'The store knows no such upload: it was completed or aborted.'];
const CHANGED: Verdict = ['changed', 'A blob was replaced while it was read.'];
const CORRUPT: Verdict = ['corrupt', 'The store received other bytes than were sent, and refused them.'];
const WRONG_PART: Verdict = ['corrupt', 'A part of an upload is not as the store acknowledged it.'];
const BUSY: Verdict = ['unavailable', 'The store asks to be left alone for a while.'];
const AWAY: Verdict = ['unavailable', 'The store did not answer the request.'];
const SHORT: Verdict = ['unavailable', 'A blob ended before the bytes that were asked for.'];

const BY_CODE: Readonly<Record<string, Verdict>> = {
  AccessDenied: DENIED,
  AllAccessDisabled: DENIED,
  AccountProblem: DENIED,
  KMSAccessDeniedException: DENIED,
  InvalidAccessKeyId: WRONG_KEY,
  SignatureDoesNotMatch: WRONG_KEY,
  ExpiredToken: STALE,
  InvalidToken: STALE,
  TokenRefreshRequired: STALE,
  CredentialsProviderError: NO_CREDENTIALS,
  NoSuchBucket: NO_BUCKET,
  InvalidBucketName: NO_BUCKET,
  PermanentRedirect: WRONG_REGION,
  TemporaryRedirect: BUSY,
  AuthorizationHeaderMalformed: WRONG_REGION,
  IllegalLocationConstraintException: WRONG_REGION,
  RequestTimeTooSkewed: ['clock-skew', 'The clock of the worker and that of the store differ too much: set the clock.'],
  NoSuchKey: MISSING,
  // Of an answer to HEAD: it has no body to say what is not found. A 404 with another code is something else: one gateway
  // answers so to an unknown access key.
  NotFound: MISSING,
  NoSuchUpload: UNKNOWN_UPLOAD,
  PreconditionFailed: CHANGED,
  BadDigest: CORRUPT,
  InvalidDigest: CORRUPT,
  XAmzContentChecksumMismatch: CORRUPT,
  XAmzContentSHA256Mismatch: CORRUPT,
  InvalidPart: WRONG_PART,
  InvalidPartOrder: WRONG_PART,
  EntityTooSmall: WRONG_PART,
  InvalidRange: SHORT,
  IncompleteBody: AWAY,
  RequestTimeout: AWAY,
  SlowDown: BUSY,
  ThrottlingException: BUSY,
  TooManyRequests: BUSY,
  OperationAborted: BUSY,
  ConditionalRequestConflict: BUSY,
  CERT_HAS_EXPIRED: UNTRUSTED,
  DEPTH_ZERO_SELF_SIGNED_CERT: UNTRUSTED,
  SELF_SIGNED_CERT_IN_CHAIN: UNTRUSTED,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: UNTRUSTED,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: UNTRUSTED,
  ERR_TLS_CERT_ALTNAME_INVALID: UNTRUSTED,
  ERR_STREAM_PREMATURE_CLOSE: AWAY,
};

/** For answers without a body, as those to HEAD, and for codes that are not above. */
const BY_STATUS: Readonly<Record<number, Verdict>> = {
  301: WRONG_REGION,
  307: BUSY,
  401: WRONG_KEY,
  403: DENIED,
  408: AWAY,
  409: BUSY,
  412: CHANGED,
  416: SHORT,
  429: BUSY,
  503: BUSY,
};
const REFUSED: Verdict = [
  'configuration',
  'The store refused the request: check its endpoint, region and addressing style.',
];

/** The error of the family that says who must act. Errors of the family and everything unknown to it pass as they are. */
export function fromS3(error: unknown, subject: Readonly<Record<string, string | number | undefined>>): unknown {
  if (error instanceof MigrationError) return error;
  const failure = error as S3Failure;
  const verdict = verdictOf(failure);
  if (!verdict) return error;
  const [meaning, message] = verdict;
  const options = {
    subject: { ...subject, ...diagnostics(failure) },
    cause: harmlessCause(failure),
  };
  return build(meaning, message, options, failure);
}

function build(meaning: Meaning, message: string, options: MigrationErrorOptions, failure: S3Failure): MigrationError {
  switch (meaning) {
    case 'configuration':
      return new ConfigurationError(message, options);
    case 'clock-skew':
      return new ConfigurationError(message, { ...options, subject: { ...options.subject, ...clocks(failure) } });
    case 'missing':
      return new BlobMissingError(message, options);
    case 'changed':
      return new RepositoryChangedError(message, options);
    case 'corrupt':
      return new BlobCorruptError(message, options);
    case 'unavailable':
      return new UnavailableError(message, { ...options, ...retryAfter(failure) });
  }
}

/** `undefined` for what did not come of a request: a programming error is not dressed up as a store's. */
function verdictOf(failure: S3Failure): Verdict | undefined {
  const byCode = BY_CODE[failure.name ?? ''] ?? BY_CODE[String(failure.code)];
  if (byCode) return byCode;
  const status = failure.$metadata?.httpStatusCode;
  // A broken answer has the status 200 and no code: the connection was cut in the middle of its XML.
  if (status !== undefined) return BY_STATUS[status] ?? (status >= 400 && status < 500 ? REFUSED : AWAY);
  // System errors have bare codes (ECONNREFUSED), those of Node about its own arguments begin with ERR_.
  const isOfTheNetwork = typeof failure.code === 'string' && !failure.code.startsWith('ERR_');
  return isOfTheNetwork || failure.name === 'TimeoutError' ? AWAY : undefined;
}

function diagnostics({ name, code, $metadata }: S3Failure) {
  return {
    code: name === undefined || name === 'Error' || name === 'TimeoutError' ? String(code ?? name) : name,
    status: $metadata?.httpStatusCode,
    requestId: $metadata?.requestId,
  };
}

/**
 * The code and text of the answer and nothing else of it: beside them, an answer about a signature repeats what was
 * signed, session token included, and the SDK hangs request and response on its error.
 */
function harmlessCause({ name, message }: S3Failure): Error {
  const cause = new Error(message);
  cause.name = name ?? 'Error';
  return cause;
}

function clocks({ $response }: S3Failure) {
  const date = $response?.headers?.['date'];
  const theirs = date === undefined ? NaN : Date.parse(date);
  return {
    workerClock: new Date().toISOString(),
    storeClock: Number.isNaN(theirs) ? undefined : new Date(theirs).toISOString(),
  };
}

/** Seconds, or a date. */
function retryAfter({ $response }: S3Failure): { retryAfterMs?: number } {
  const header = $response?.headers?.['retry-after'];
  if (header === undefined) return {};
  const seconds = Number(header);
  const ms = Number.isNaN(seconds) ? Date.parse(header) - Date.now() : seconds * 1000;
  return Number.isNaN(ms) ? {} : { retryAfterMs: Math.max(0, Math.round(ms)) };
}
