/**
 * What a failed S3 request means, in one table. Goes by the code of the answer, then by its HTTP status, never by the
 * text.
 */
import type { MigrationError, MigrationErrorOptions, Subject } from '../domain/errors';
import {
  BlobCorruptError,
  BlobMissingError,
  ConfigurationError,
  RepositoryChangedError,
  UnavailableError,
} from '../domain/errors';
import { joined } from './payload';
import { TransportError } from './transport';
import type { HttpReply } from './transport';
import { parseXml, textOf } from './xml';

interface Failure {
  /** Of the answer, or of a system error: `ECONNREFUSED`. */
  readonly code: string | undefined;
  /** Undefined where nobody answered. */
  readonly status: number | undefined;
  readonly message: string;
  readonly requestId: string | undefined;
  readonly headers: Readonly<Record<string, string>>;
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

const BY_CODE = new Map<string, Verdict>(
  Object.entries<Verdict>({
    AccessDenied: DENIED,
    AllAccessDisabled: DENIED,
    AccountProblem: DENIED,
    KMSAccessDeniedException: DENIED,
    InvalidAccessKeyId: WRONG_KEY,
    SignatureDoesNotMatch: WRONG_KEY,
    ExpiredToken: STALE,
    InvalidToken: STALE,
    TokenRefreshRequired: STALE,
    NoSuchBucket: NO_BUCKET,
    InvalidBucketName: NO_BUCKET,
    PermanentRedirect: WRONG_REGION,
    TemporaryRedirect: BUSY,
    AuthorizationHeaderMalformed: WRONG_REGION,
    IllegalLocationConstraintException: WRONG_REGION,
    RequestTimeTooSkewed: [
      'clock-skew',
      'The clock of the worker and that of the store differ too much: set the clock.',
    ],
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
  }),
);

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

/** The error of the family that says who must act. Takes a 200 too, for an answer that turned into an error on its way. */
export function errorOf(failure: HttpReply | TransportError, subject: Subject): MigrationError {
  return errorFrom(failure instanceof TransportError ? brokenOff(failure) : failureIn(failure), subject);
}

/** Whether the answer asks to be left alone for a while. */
export function isThrottle(reply: HttpReply): boolean {
  if (reply.status === 429 || reply.status === 503) return true;
  const { code } = failureIn(reply);
  return code !== undefined && THROTTLES.has(code);
}

/** Whether another try may help. A blob that is too short for a range stays so. */
export function mayPass(reply: HttpReply): boolean {
  const verdict = verdictOf(failureIn(reply));
  return verdict[0] === 'unavailable' && verdict !== SHORT;
}

const THROTTLES = new Set(['SlowDown', 'ThrottlingException', 'Throttling', 'TooManyRequests', 'RequestLimitExceeded']);

function failureIn({ status, headers, body }: HttpReply): Failure {
  const text = joined(body).toString();
  const error = parseXml(text);
  const isError = error?.name === 'Error';
  return {
    code: isError ? textOf(error, 'Code') : status === 404 && text === '' ? 'NotFound' : undefined,
    status,
    message: (isError ? textOf(error, 'Message') : undefined) ?? '',
    requestId: (isError ? textOf(error, 'RequestId') : undefined) ?? headers['x-amz-request-id'],
    headers,
  };
}

function brokenOff({ code, message }: TransportError): Failure {
  return { code, status: undefined, message, requestId: undefined, headers: {} };
}

function errorFrom(failure: Failure, subject: Subject): MigrationError {
  const [meaning, message] = verdictOf(failure);
  const { code, status, requestId } = failure;
  const options = { subject: { ...subject, code, status, requestId }, cause: harmlessCause(failure) };
  return build(meaning, message, options, failure);
}

function build(meaning: Meaning, message: string, options: MigrationErrorOptions, failure: Failure): MigrationError {
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

function verdictOf({ code, status }: Failure): Verdict {
  const byCode = BY_CODE.get(code ?? '');
  if (byCode) return byCode;
  if (status === undefined) return AWAY;
  return BY_STATUS[status] ?? (status >= 400 && status < 500 ? REFUSED : AWAY);
}

/**
 * The code and text of the answer and nothing else of it: beside them, an answer about a signature repeats what was
 * signed, session token included.
 */
function harmlessCause({ code, message }: Failure): Error {
  const cause = new Error(message);
  cause.name = code ?? 'Error';
  return cause;
}

function clocks({ headers }: Failure) {
  const theirs = Date.parse(headers['date'] ?? '');
  return {
    workerClock: new Date().toISOString(),
    storeClock: Number.isNaN(theirs) ? undefined : new Date(theirs).toISOString(),
  };
}

/** Seconds, or a date. */
function retryAfter({ headers }: Failure): { retryAfterMs?: number } {
  const header = headers['retry-after'];
  if (header === undefined) return {};
  const seconds = Number(header);
  const ms = Number.isNaN(seconds) ? Date.parse(header) - Date.now() : seconds * 1000;
  return Number.isNaN(ms) ? {} : { retryAfterMs: Math.max(0, Math.round(ms)) };
}
