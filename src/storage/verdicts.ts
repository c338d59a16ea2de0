/** What a store's failure means, made an error of the family. Which failure means what is in each vendor's table. */
import type { MigrationError, MigrationErrorOptions, Subject } from '../domain/errors';
import {
  BlobCorruptError,
  BlobMissingError,
  ConfigurationError,
  RepositoryChangedError,
  UnavailableError,
} from '../domain/errors';
import { ProxyError } from '../net/proxy-error';
import type { TransportError } from './wire';

export interface Failure {
  /** Of the answer, or of a system error: `ECONNREFUSED`. */
  readonly code: string | undefined;
  /** Undefined where nobody answered. */
  readonly status: number | undefined;
  readonly message: string;
  readonly requestId: string | undefined;
  /** More of the answer that the error is to show. */
  readonly details?: Subject;
  readonly headers: Readonly<Record<string, string>>;
  /** Known already, whatever a table says: it is not about the store. */
  readonly verdict?: Verdict;
}

/**
 * What a denial says of keys of KMS, for the sentence alone: neither S3 nor OSS has a code of its own for it. S3 names the
 * action and, where it is not the caller's own key, its ARN:
 * docs.aws.amazon.com/AmazonS3/latest/userguide/troubleshoot-403-errors.html. OSS says `forbidden by kms`:
 * www.alibabacloud.com/help/en/oss/the-this-request-is-forbidden-by-kms-error-message-is-returned-when-you-upload-download-or-access-files-that-are-encrypted-by-using-kms
 */
export function keyDenied(status: number, message: string): Subject {
  if (status !== 403 || !/\bkms\b/i.test(message)) return {};
  return { lacks: /\bkms:\w+/.exec(message)?.[0] ?? 'kms', keyId: /\barn:[\w-]+:kms:[\w:/-]+/.exec(message)?.[0] };
}

/** Of a denial that `keyDenied` knows. */
export const KEY_DENIED: Verdict = [
  'configuration',
  'These credentials may not use the key by which the store encrypts: grant them kms:GenerateDataKey and kms:Decrypt ' +
    '(to read, kms:Decrypt) on it.',
];

type Meaning = 'configuration' | 'clock-skew' | 'missing' | 'changed' | 'corrupt' | 'unavailable';
export type Verdict = readonly [Meaning, string];

/** Node's codes for a certificate that nobody here trusts. */
export const UNTRUSTED_BY_CODE: readonly (readonly [string, Verdict])[] = [
  'CERT_HAS_EXPIRED',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'ERR_TLS_CERT_ALTNAME_INVALID',
].map((code) => [
  code,
  [
    'configuration',
    'The certificate of the store is not trusted: correct the endpoint, or give the worker the authority (NODE_EXTRA_CA_CERTS).',
  ],
]);

/** The store took what was sent, which it had compared, and says now that it holds something else. */
export function damagedThere(subject: Subject): BlobCorruptError {
  return new BlobCorruptError(
    'The store holds other bytes than were sent: it damaged them. Send them again, and use another store if it repeats.',
    { subject },
  );
}

/** An exchange without an answer. */
export function brokenOff({ code, message, cause }: TransportError): Failure {
  const failure = { code, status: undefined, message, requestId: undefined, headers: {} };
  if (!(cause instanceof ProxyError)) return failure;
  return { ...failure, verdict: [cause.isFinal ? 'configuration' : 'unavailable', cause.message] };
}

export function errorOfVerdict([meaning, message]: Verdict, failure: Failure, about: Subject): MigrationError {
  const { code, status, requestId, details } = failure;
  const subject = { ...about, code, status, requestId, ...details };
  const options: MigrationErrorOptions = { subject, cause: harmlessCause(failure) };
  switch (meaning) {
    case 'configuration':
      return new ConfigurationError(message, options);
    case 'clock-skew':
      return new ConfigurationError(message, { ...options, subject: { ...subject, ...clocks(failure) } });
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

/** By how much the worker's clock differs from the answer's date; 0 where there is none. */
export function skewMs({ date = '' }: Failure['headers']): number {
  const theirs = Date.parse(date);
  return Number.isNaN(theirs) ? 0 : Math.abs(Date.now() - theirs);
}

/** Seconds, or a date. */
function retryAfter({ headers }: Failure): { retryAfterMs?: number } {
  const header = headers['retry-after'];
  if (header === undefined) return {};
  const seconds = Number(header);
  const ms = Number.isNaN(seconds) ? Date.parse(header) - Date.now() : seconds * 1000;
  return Number.isNaN(ms) ? {} : { retryAfterMs: Math.max(0, Math.round(ms)) };
}
