// Whether a request is signed as AWS wants it (Signature Version 4), found out by the signer of AWS's own SDK: it signs
// the request again, as it arrived, with the secret of the key that it names. Nothing of snapferry's signer is in here.
import { createHash, createHmac } from 'node:crypto';
import type { Hash, Hmac } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { SignatureV4 } from '@smithy/signature-v4';

export interface ReceivedRequest {
  readonly method: string;
  /** Path and query, byte for byte as sent. */
  readonly target: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

export interface AccessKey {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Of temporary keys, which are refused without it. */
  readonly sessionToken?: string;
  /** Milliseconds. */
  readonly expiresAt?: number;
}

export interface Scope {
  readonly region: string;
  readonly service: string;
}

/** AWS's own name of the refusal (header `x-amzn-ErrorType`) and its words. */
export class SignatureRefused extends Error {
  constructor(
    readonly type: string,
    message: string,
  ) {
    super(message);
  }
}

/** Either way: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html */
const ACCEPTED_FOR_MS = 5 * 60_000;
const AUTHORIZATION = /^AWS4-HMAC-SHA256 Credential=([^,\s]+),\s*SignedHeaders=([^,\s]+),\s*Signature=([0-9a-f]{64})$/;

/**
 * The key that signed the request; undefined when it is not signed at all.
 * @throws SignatureRefused in the words of AWS
 */
export async function signer<Key extends AccessKey>(
  request: ReceivedRequest,
  keys: readonly Key[],
  scope: Scope,
  now: number,
): Promise<Key | undefined> {
  const { authorization } = request.headers;
  if (authorization === undefined || !authorization.startsWith('AWS4-')) return undefined;
  const [, credential = '', signed = '', signature] = AUTHORIZATION.exec(authorization) ?? [];
  if (signature === undefined) {
    throw new SignatureRefused(
      'IncompleteSignatureException',
      'Authorization header requires Credential, Signature and SignedHeaders.',
    );
  }
  const [accessKeyId, day, region, service, end] = credential.split('/');
  const date = dateOf(request);
  if (region !== scope.region || day !== date.text.slice(0, 8) || end !== 'aws4_request') {
    throw new SignatureRefused('InvalidSignatureException', 'Credential should be scoped to a valid region. ');
  }
  if (service !== scope.service) {
    const message = `Credential should be scoped to correct service: '${scope.service}'. `;
    throw new SignatureRefused('InvalidSignatureException', message);
  }
  const key = keys.find((one) => one.accessKeyId === accessKeyId);
  if (key === undefined || key.sessionToken !== request.headers['x-amz-security-token']) throw unknownToken();
  if (key.expiresAt !== undefined && key.expiresAt <= now) {
    throw new SignatureRefused('ExpiredTokenException', 'The security token included in the request is expired');
  }
  refuseOtherTimes(date, now);
  const names = signed.split(';');
  if (!names.includes('host') || signature !== (await signatureOf(request, names, key, scope, date.at))) {
    throw new SignatureRefused(
      'InvalidSignatureException',
      'The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key ' +
        'and signing method. Consult the service documentation for details.',
    );
  }
  refuseOtherBody(request);
  return key;
}

function unknownToken() {
  return new SignatureRefused('UnrecognizedClientException', 'The security token included in the request is invalid.');
}

function dateOf({ headers }: ReceivedRequest): { readonly text: string; readonly at: Date } {
  const text = String(headers['x-amz-date'] ?? '');
  const at = new Date(text.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z'));
  if (!Number.isNaN(at.getTime())) return { text, at };
  const message = "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.";
  throw new SignatureRefused('IncompleteSignatureException', message);
}

function refuseOtherTimes({ text, at }: { text: string; at: Date }, now: number): void {
  const [early, late] = [now - ACCEPTED_FOR_MS, now + ACCEPTED_FOR_MS];
  const show = (ms: number) => new Date(ms).toISOString().replace(/[:-]|\.\d{3}/g, '');
  if (at.getTime() < early) {
    const message = `Signature expired: ${text} is now earlier than ${show(early)} (${show(now)} - 5 min.)`;
    throw new SignatureRefused('InvalidSignatureException', message);
  }
  if (at.getTime() > late) {
    const message = `Signature not yet current: ${text} is still later than ${show(late)} (${show(now)} + 5 min.)`;
    throw new SignatureRefused('InvalidSignatureException', message);
  }
}

/** The hash in the header is signed, but that the body has it must be looked at. */
function refuseOtherBody({ headers, body }: ReceivedRequest): void {
  const claimed = headers['x-amz-content-sha256'];
  if (claimed === undefined || claimed === createHash('sha256').update(body).digest('hex')) return;
  const message = "The provided 'x-amz-content-sha256' header does not match what was computed.";
  throw new SignatureRefused('InvalidSignatureException', message);
}

async function signatureOf(
  request: ReceivedRequest,
  names: readonly string[],
  { accessKeyId, secretAccessKey }: AccessKey,
  { region, service }: Scope,
  signingDate: Date,
): Promise<string | undefined> {
  const sdk = new SignatureV4({
    ...{ region, service, sha256: NodeHash, applyChecksum: false },
    // Without the token: it is among the headers already where it was signed.
    credentials: { accessKeyId, secretAccessKey },
  });
  const { pathname, query } = parsed(request.target);
  const headers = Object.fromEntries(names.map((name) => [name, String(request.headers[name] ?? '')]));
  const toSign = { method: request.method, protocol: 'https:', hostname: '', path: pathname, query, headers };
  const again = await sdk.sign({ ...toSign, body: request.body }, { signingDate, signableHeaders: new Set(names) });
  return /Signature=(\w+)$/.exec(again.headers['authorization'] ?? '')?.[1];
}

/** The path as it is, because it is encoded a second time; the query decoded, because it is encoded anew. */
function parsed(target: string): { pathname: string; query: Record<string, string | string[]> } {
  const [pathname = '/', search = ''] = target.split(/\?(.*)/s, 2);
  const query: Record<string, string | string[]> = {};
  for (const [name, value] of new URLSearchParams(search)) {
    const before = query[name];
    query[name] = before === undefined ? value : [before, value].flat();
  }
  return { pathname, query };
}

/** Node's SHA-256 in the form that the SDK wants. */
class NodeHash {
  private hash: Hash | Hmac;

  constructor(private readonly secret?: string | ArrayBuffer | ArrayBufferView) {
    this.hash = this.made();
  }
  update(chunk: Uint8Array): void {
    this.hash.update(chunk);
  }
  async digest(): Promise<Uint8Array> {
    return this.hash.digest();
  }
  reset(): void {
    this.hash = this.made();
  }
  private made(): Hash | Hmac {
    if (this.secret === undefined) return createHash('sha256');
    return createHmac('sha256', this.secret as Uint8Array);
  }
}
