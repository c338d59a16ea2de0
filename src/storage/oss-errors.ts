/**
 * What a failed request to OSS means, in one table. Goes by the code of the answer, then by its HTTP status, never by
 * the text. Codes: https://help.aliyun.com/en/oss/user-guide/overview-14 and facts/object-stores.md section 2.4.
 */
import type { MigrationError, Subject } from '../domain/errors';
import { joined } from './payload';
import { TransportError } from './transport';
import type { HttpReply } from './transport';
import { brokenOff, errorOfVerdict, KEY_DENIED, keyDenied, UNTRUSTED_BY_CODE } from './verdicts';
import type { Failure, Verdict } from './verdicts';
import { parseXml, textOf } from './xml';

const DENIED: Verdict = [
  'configuration',
  'The store denies access: grant the credentials oss:ListObjects and oss:ListMultipartUploads on the bucket, and ' +
    'oss:GetObject, oss:PutObject, oss:DeleteObject, oss:ListParts and oss:AbortMultipartUpload on its blobs ' +
    '(and the use of its key, where it is encrypted).',
];
const WRONG_KEY: Verdict = [
  'configuration',
  'The store refuses the credentials: correct the access key and its secret.',
];
const STALE: Verdict = ['configuration', 'The security token has expired or is invalid: provide fresh credentials.'];
const WRONG_REGION: Verdict = ['configuration', 'The bucket lies in another region: correct region and endpoint.'];
const NO_BUCKET: Verdict = ['configuration', 'There is no such bucket: correct its name, or create it.'];
const PUBLIC_ENDPOINT: Verdict = [
  'configuration',
  "This account may not use OSS's public endpoints (new accounts, regions of mainland China): give the store its " +
    'internal endpoint, where the worker runs in that region, or a domain of its own (cname: true).',
];
const ARCHIVED: Verdict = ['configuration', 'A blob is archived and can not be read: restore it in OSS first.'];
const IMMUTABLE: Verdict = [
  'configuration',
  'The bucket forbids overwriting a blob: lift its retention policy or overwrite rule.',
];
const SKEWED: Verdict = ['clock-skew', 'The clock of the worker and that of the store differ too much: set the clock.'];
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
const SHORT: Verdict = ['unavailable', 'A blob ended before the bytes that were asked for.'];
const REFUSED: Verdict = ['configuration', 'The store refused the request: check its endpoint, region and bucket.'];

/** Of an answer to HEAD that does not say what is missing. */
export const NOT_FOUND = 'NotFound';
/** `x-oss-forbid-overwrite` did its work, or a rule of the bucket. */
export const EXISTS = 'FileAlreadyExists';

/**
 * OSS's finer codes, for a sentence that helps more: of the same class as that of the plain code, since they may change
 * (https://help.aliyun.com/document_detail/32005.htm).
 */
const BY_EC: Readonly<Record<string, Verdict>> = {
  // InvalidArgument: the region in the signature is none, or not that of the endpoint (…226) or of the bucket (…228).
  '0002-00000226': WRONG_REGION,
  '0002-00000228': WRONG_REGION,
  '0048-00000401': PUBLIC_ENDPOINT,
  // NoSuchKey, also where the body that says so was cut short: the header has it.
  '0026-00000001': MISSING,
};

const BY_CODE = new Map<string, Verdict>([
  ...UNTRUSTED_BY_CODE,
  ...Object.entries<Verdict>({
    AccessDenied: DENIED,
    UserDisable: DENIED,
    InvalidAccessKeyId: WRONG_KEY,
    SignatureDoesNotMatch: WRONG_KEY,
    SecurityTokenExpired: STALE,
    InvalidSecurityToken: STALE,
    NoSuchBucket: NO_BUCKET,
    InvalidBucketName: NO_BUCKET,
    PublicEndpointForbidden: PUBLIC_ENDPOINT,
    InvalidObjectState: ARCHIVED,
    FileImmutable: IMMUTABLE,
    [EXISTS]: IMMUTABLE,
    RequestTimeTooSkewed: SKEWED,
    NoSuchKey: MISSING,
    [NOT_FOUND]: MISSING,
    NoSuchUpload: UNKNOWN_UPLOAD,
    PreconditionFailed: CHANGED,
    InvalidDigest: CORRUPT,
    BadDigest: CORRUPT,
    InvalidPart: WRONG_PART,
    InvalidPartOrder: WRONG_PART,
    EntityTooSmall: WRONG_PART,
    InvalidRange: SHORT,
    IncompleteBody: AWAY,
    RequestTimeout: AWAY,
  }),
]);

const BY_STATUS: Readonly<Record<number, Verdict>> = {
  401: WRONG_KEY,
  403: DENIED,
  408: AWAY,
  409: BUSY,
  412: CHANGED,
  416: SHORT,
  429: BUSY,
  503: BUSY,
};

/**
 * Credentials are read anew for every try, and the last ones may have been caught in the middle of their rotation: old
 * token, new key.
 */
const MAY_BE_ROTATING = new Set(['SecurityTokenExpired', 'InvalidSecurityToken', 'SignatureDoesNotMatch']);

/** The error of the family that says who must act. Takes a 200 too, for an answer that is not what was asked for. */
export function errorOf(failure: HttpReply | TransportError, subject: Subject): MigrationError {
  const found = failure instanceof TransportError ? brokenOff(failure) : failureIn(failure);
  return errorOfVerdict(verdictOf(found), found, subject);
}

/**
 * Whether the answer asks to be left alone for a while. OSS says so with 503 and one of seven codes (of bandwidth,
 * requests, and requests to one range of keys; facts section 2.4).
 */
export function isThrottle({ status }: HttpReply): boolean {
  return status === 503 || status === 429;
}

/** Whether another try may help: also for what was damaged on its way. A blob that is too short for a range stays so. */
export function mayPass(reply: HttpReply): boolean {
  const failure = failureIn(reply);
  const verdict = verdictOf(failure);
  if (verdict === CORRUPT || MAY_BE_ROTATING.has(failure.code ?? '')) return true;
  return verdict[0] === 'unavailable' && verdict !== SHORT;
}

/** An answer to HEAD has no body; OSS then sends it in base64, in a header. */
function failureIn({ status, headers, body }: HttpReply): Failure {
  const text = joined(body).toString() || Buffer.from(headers['x-oss-err'] ?? '', 'base64').toString();
  const root = parseXml(text);
  const error = root?.name === 'Error' ? root : undefined;
  const message = textOf(error, 'Message') ?? '';
  return {
    code: textOf(error, 'Code') ?? (status === 404 && text === '' ? NOT_FOUND : undefined),
    status,
    message,
    requestId: textOf(error, 'RequestId') ?? headers['x-oss-request-id'],
    details: {
      ec: textOf(error, 'EC') ?? headers['x-oss-ec'],
      // Only ever the right one for a bucket that was asked at the wrong one.
      rightEndpoint: textOf(error, 'Endpoint'),
      ...keyDenied(status, message),
    },
    headers,
  };
}

function verdictOf({ verdict, code, status, details }: Failure): Verdict {
  if (verdict) return verdict;
  if (details?.['rightEndpoint'] !== undefined) return WRONG_REGION;
  if (details?.['lacks'] !== undefined) return KEY_DENIED;
  const known = BY_EC[details?.['ec'] ?? ''] ?? BY_CODE.get(code ?? '');
  if (known) return known;
  if (status === undefined) return AWAY;
  return BY_STATUS[status] ?? (status >= 400 && status < 500 ? REFUSED : AWAY);
}
