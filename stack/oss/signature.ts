// Who may: signature V4 in the header or in the query (presigned), byte for byte; everything older is refused.
import { createHash, createHmac } from 'node:crypto';
import { canonicalRequest, headerText, isAlwaysSigned } from './canonical';
import type { Signed } from './canonical';
import { invalidArgument, OssError } from './errors';

const ALGORITHM = 'OSS4-HMAC-SHA256';
const TERMINATOR = 'aliyun_v4_request';
const MAX_SKEW_MS = 15 * 60_000;
const MAX_EXPIRES_S = 7 * 24 * 3600;

export interface SessionToken {
  readonly token: string;
  /** RFC 3339; a token without it does not expire. */
  readonly expiresAt?: string;
}

export interface Keys {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Without `oss-`, as `cn-hangzhou`. */
  readonly region: string;
  /** When given, the access key is a temporary one: each request must carry one of these. */
  readonly sessionTokens?: readonly SessionToken[];
}

/** What a request claims about its signature, wherever it carries it. */
interface Claim {
  readonly credential: string;
  readonly signature: string;
  readonly additional: readonly string[];
  readonly time: { readonly text: string; readonly ms: number };
  readonly token: string | undefined;
  /** What was signed: of a presigned request, the query without the signature itself. */
  readonly signed: Signed;
}

/** Returns the security token the request carries; throws OssError with OSS's own code when it is refused. */
export function verify(request: Signed, keys: Keys, nowMs: number): string | undefined {
  const query = new Map(request.query);
  const claim = query.has('x-oss-signature') ? presigned(request, query, nowMs) : signedInHeader(request, query, nowMs);
  const [accessKeyId = '', date = '', region = '', product, terminator] = claim.credential.split('/');
  if (product !== 'oss' || terminator !== TERMINATOR || date !== dayOf(claim.time.ms)) {
    throw invalidArgument('Credential', claim.credential, 'Invalid Credential in Authorization.');
  }
  if (accessKeyId !== keys.accessKeyId) throw unknownKey(accessKeyId);
  if (region !== keys.region) {
    const message = `Invalid signing region in Authorization header, expected: ${keys.region}.`;
    throw invalidArgument('Authorization', region, message, '0002-00000226');
  }
  checkToken(claim.token, keys, nowMs);
  checkSignature(claim, `${date}/${region}/${product}/${terminator}`, keys.secretAccessKey);
  return claim.token;
}

/** `20060102`, in UTC. */
function dayOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10).replaceAll('-', '');
}

function unknownKey(accessKeyId: string): OssError {
  return new OssError('InvalidAccessKeyId', { details: { OSSAccessKeyId: accessKeyId } });
}

function signedInHeader(request: Signed, query: ReadonlyMap<string, string>, nowMs: number): Claim {
  const { headers } = request;
  const authorization = headers.authorization?.trim();
  if (query.has('OSSAccessKeyId') || authorization?.startsWith('OSS ')) throw versionOneIsClosed();
  if (authorization === undefined) {
    throw new OssError('AccessDenied', { message: 'Anonymous access is forbidden for this operation.' });
  }
  if (!authorization.startsWith(`${ALGORITHM} `)) {
    throw invalidArgument('Authorization', '', 'Unsupported Authorization Type', '0002-00000002');
  }
  if (headers['x-oss-content-sha256'] !== 'UNSIGNED-PAYLOAD') {
    const message = 'Invalid x-oss-content-sha256, only UNSIGNED-PAYLOAD is supported.';
    throw invalidArgument('x-oss-content-sha256', headers['x-oss-content-sha256'] ?? '', message, '0002-00000214');
  }
  const fields = authorizationFields(authorization.slice(ALGORITHM.length));
  const time = requestTime(request);
  if (Math.abs(nowMs - time.ms) > MAX_SKEW_MS) {
    const details = { MaxAllowedSkewMilliseconds: String(MAX_SKEW_MS), RequestTime: time.text };
    throw new OssError('RequestTimeTooSkewed', { details: { ...details, ServerTime: new Date(nowMs).toISOString() } });
  }
  return {
    credential: fields.get('Credential') ?? '',
    signature: fields.get('Signature') ?? '',
    additional: additionalHeaders(fields.get('AdditionalHeaders')),
    time,
    token: headers['x-oss-security-token'],
    signed: request,
  };
}

function versionOneIsClosed(): OssError {
  const message = 'Signature version 1 is not supported. Please use signature version 4.';
  return new OssError('AccessDenied', { message, ec: '0002-00000080' });
}

/** `Credential=…, AdditionalHeaders=…,Signature=…`: commas, with or without blanks around them. */
function authorizationFields(text: string): Map<string, string> {
  const pairs = text.split(',').map((part) => part.trim());
  return new Map(pairs.map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]));
}

/** Those that are signed anyway do not count among the additional ones. */
function additionalHeaders(text = ''): string[] {
  const names = text.split(';').map((name) => name.trim().toLowerCase());
  return names.filter((name) => name !== '' && !isAlwaysSigned(name)).sort();
}

/** `x-oss-date`, else `Date`: it is signed as it was sent, in either of its spellings. */
function requestTime({ headers }: Signed): { readonly text: string; readonly ms: number } {
  const text = headers['x-oss-date'] ?? headers.date;
  if (text === undefined) {
    throw new OssError('AccessDenied', { message: 'OSS authentication requires a valid Date.' });
  }
  const ms = toMs(text);
  if (Number.isNaN(ms)) throw new OssError('AccessDenied', { message: 'The date of the request is not valid.' });
  return { text, ms };
}

/** NaN for what is no date. */
function toMs(text: string): number {
  const basic = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(text);
  if (basic === null) return Date.parse(text);
  const [, year, month, day, hours, minutes, seconds] = basic;
  return Date.parse(`${year}-${month}-${day}T${hours}:${minutes}:${seconds}Z`);
}

function presigned(request: Signed, query: ReadonlyMap<string, string>, nowMs: number): Claim {
  const value = (name: string) => query.get(name) ?? '';
  if (value('x-oss-signature-version') !== ALGORITHM) throw versionOneIsClosed();
  const time = { text: value('x-oss-date'), ms: toMs(value('x-oss-date')) };
  const expires = Number(value('x-oss-expires'));
  if (!Number.isInteger(expires) || expires < 1 || expires > MAX_EXPIRES_S) {
    throw invalidArgument('x-oss-expires', value('x-oss-expires'), 'x-oss-expires is between 1 second and 7 days.');
  }
  if (Number.isNaN(time.ms)) throw invalidArgument('x-oss-date', time.text, 'The x-oss-date is not valid.');
  if (nowMs > time.ms + expires * 1000) {
    throw new OssError('AccessDenied', { message: 'Request has expired.', ec: '0002-00000069' });
  }
  return {
    credential: value('x-oss-credential'),
    signature: value('x-oss-signature'),
    additional: additionalHeaders(value('x-oss-additional-headers')),
    time,
    token: query.get('x-oss-security-token'),
    signed: { ...request, query: request.query.filter(([name]) => name !== 'x-oss-signature') },
  };
}

/** A temporary key without its token is to OSS a key that does not exist. */
function checkToken(token: string | undefined, keys: Keys, nowMs: number): void {
  if (token === undefined && keys.sessionTokens === undefined) return;
  if (token === undefined) throw unknownKey(keys.accessKeyId);
  const known = keys.sessionTokens?.find((one) => one.token === token);
  if (known === undefined) throw new OssError('InvalidSecurityToken');
  if (known.expiresAt !== undefined && Date.parse(known.expiresAt) <= nowMs) throw new OssError('SecurityTokenExpired');
}

function checkSignature(claim: Claim, scope: string, secret: string): void {
  const canonical = canonicalRequest(claim.signed, claim.additional);
  const digest = createHash('sha256').update(canonical).digest('hex');
  const stringToSign = [ALGORITHM, claim.time.text, scope, digest].join('\n');
  const steps = [...scope.split('/'), stringToSign];
  const expected = steps.reduce<Buffer>(hmac, Buffer.from(`aliyun_v4${secret}`)).toString('hex');
  if (expected === claim.signature) return;
  const token = headerText(claim.signed.headers, 'x-oss-security-token');
  const details = {
    SignatureProvided: claim.signature,
    StringToSign: stringToSign,
    // An error ends up in logs, where a token has no place.
    CanonicalRequest: token === '' ? canonical : canonical.replaceAll(token, '***'),
  };
  throw new OssError('SignatureDoesNotMatch', { details });
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}
