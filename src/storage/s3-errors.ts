/**
 * What a failed S3 request means, in one table. Goes by the code of the answer, then by its HTTP status, never by the
 * text.
 */
import type { MigrationError, Subject } from '../domain/errors';
import { joined } from './payload';
import { TransportError } from './transport';
import type { HttpReply } from './transport';
import { brokenOff, errorOfVerdict, KEY_DENIED, keyDenied, skewMs, UNTRUSTED_BY_CODE } from './verdicts';
import type { Failure, Verdict } from './verdicts';
import type { Element } from './xml';
import { parseXml, textOf } from './xml';

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
const MISSING: Verdict = ['missing', 'A blob is not in the store.'];
const UNKNOWN_UPLOAD: Verdict = ['missing', 'The store knows no such upload: it was completed or aborted.'];
const CHANGED: Verdict = ['changed', 'A blob was replaced while it was read.'];
const CORRUPT: Verdict = [
  'corrupt',
  'Bytes were changed on their way to the store, which refused them each time: look for what changes them ' +
    "(a proxy, a network card, the worker's memory).",
];
const WRONG_PART: Verdict = ['corrupt', 'A part of an upload is not as the store acknowledged it.'];
const BUSY: Verdict = ['unavailable', 'The store asks to be left alone for a while.'];
const AWAY: Verdict = ['unavailable', 'The store did not answer the request.'];
const FULL: Verdict = ['unavailable', 'The store is full, or its quota is used up: make room.'];
const IN_THE_WAY: Verdict = [
  'configuration',
  'The store keeps blobs as files: there is a blob where a folder belongs, or a folder where this blob does. Move it away.',
];
const ARCHIVED: Verdict = ['configuration', 'A blob is archived and can not be read: restore it first.'];
const NOT_HERE: Verdict = ['configuration', 'The store does not have this call.'];
const SKEWED: Verdict = ['clock-skew', 'The clock of the worker and that of the store differ too much: set the clock.'];
const SHORT: Verdict = ['unavailable', 'A blob ended before the bytes that were asked for.'];

const BY_CODE = new Map<string, Verdict>([
  ...UNTRUSTED_BY_CODE,
  ...Object.entries<Verdict>({
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
    InvalidObjectState: ARCHIVED,
    RequestTimeTooSkewed: SKEWED,
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
    // Of gateways over disks: https://github.com/minio/minio/blob/master/cmd/api-errors.go and versitygw's s3err.
    XMinioStorageFull: FULL,
    QuotaExceeded: FULL,
    ObjectParentIsFile: IN_THE_WAY,
    ExistingObjectIsDirectory: IN_THE_WAY,
    XMinioObjectExistsAsDirectory: IN_THE_WAY,
    SlowDown: BUSY,
    ThrottlingException: BUSY,
    TooManyRequests: BUSY,
    OperationAborted: BUSY,
    ConditionalRequestConflict: BUSY,
  }),
]);

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
  501: NOT_HERE,
  503: BUSY,
  507: FULL,
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

/** Whether another try may help: also for what was damaged on its way. A blob that is too short for a range stays so. */
export function mayPass(reply: HttpReply): boolean {
  const verdict = verdictOf(failureIn(reply));
  return verdict === CORRUPT || (verdict[0] === 'unavailable' && verdict !== SHORT);
}

/** What signatures of version 4 allow for: 15 minutes. */
const SKEW_MS = 900_000;

const THROTTLES = new Set(['SlowDown', 'ThrottlingException', 'Throttling', 'TooManyRequests', 'RequestLimitExceeded']);

function failureIn({ status, headers, body }: HttpReply): Failure {
  const text = joined(body).toString();
  const error = parseXml(text);
  const isError = error?.name === 'Error';
  const message = (isError ? textOf(error, 'Message') : undefined) ?? '';
  return {
    code: isError ? textOf(error, 'Code') : text === '' ? codeWithoutBody(status, headers) : undefined,
    status,
    message,
    requestId: (isError ? textOf(error, 'RequestId') : undefined) ?? headers['x-amz-request-id'],
    details: { ...keyDenied(status, message), ...placeIn(status, isError ? error : undefined, headers) },
    headers,
  };
}

/**
 * Where the bucket is, of an answer that it is elsewhere: docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
 * (PermanentRedirect, AuthorizationHeaderMalformed) and API_HeadBucket.html.
 */
function placeIn(status: number, error: Element | undefined, headers: HttpReply['headers']): Subject {
  if (status !== 301 && status !== 307 && status !== 400) return {};
  return {
    rightRegion: textOf(error, 'Region') ?? headers['x-amz-bucket-region'],
    rightEndpoint: textOf(error, 'Endpoint'),
  };
}

/** An answer to HEAD has no body. Of a signature that is too old or of the future, it is the date that tells. */
function codeWithoutBody(status: number, headers: HttpReply['headers']): string | undefined {
  if (status === 404) return 'NotFound';
  return status === 403 && skewMs(headers) > SKEW_MS ? 'RequestTimeTooSkewed' : undefined;
}

function errorFrom(failure: Failure, subject: Subject): MigrationError {
  return errorOfVerdict(verdictOf(failure), failure, subject);
}

function verdictOf({ verdict, code, status, details }: Failure): Verdict {
  if (details?.['lacks'] !== undefined) return KEY_DENIED;
  const byCode = verdict ?? BY_CODE.get(code ?? '');
  if (byCode) return byCode;
  if (status === undefined) return AWAY;
  return BY_STATUS[status] ?? (status >= 400 && status < 500 ? REFUSED : AWAY);
}
