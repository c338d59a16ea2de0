// AWS Signature Version 4 for services that run Elasticsearch:
// https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html
import { createHash } from 'node:crypto';
import { sign } from 'aws4';
import { ConfigurationError } from '../domain/errors';
import type { Subject } from '../domain/errors';
import { AwsCredentials } from '../net/aws-credentials';
import type { AwsKeys } from '../net/aws-credentials';
import type { ClusterAuth } from './connection';
import type { Outgoing, Prove } from './credentials';

type SigV4 = Extract<ClusterAuth, { type: 'sigv4' }>;

/** A proxy may send the body in other pieces, and that is none of the signature's business. */
const NOT_SIGNED = { 'content-length': true };

/** Signs the path and query as they are sent: names in them must be encoded already, `!'()*` too (`encodeName`). */
export function signing(auth: SigV4, now: () => number = Date.now): Prove {
  const credentials = new AwsCredentials(auth, now);
  return async (request) => {
    const keys = await credentials.keys();
    const signedAt = now();
    const headers = signed(request, auth, keys, new Date(signedAt));
    const secrets = [headers['Authorization'] ?? '', keys.secretAccessKey, keys.sessionToken ?? ''];
    return { headers, secrets, signedAt, renew: () => credentials.renew(keys) };
  };
}

function signed({ method, url, headers, body }: Outgoing, auth: SigV4, keys: AwsKeys, date: Date) {
  const request = {
    service: auth.service ?? 'es',
    region: auth.region,
    method,
    path: `${url.pathname}${url.search}`,
    headers: {
      ...headers,
      host: url.host,
      'x-amz-date': date.toISOString().replace(/[:-]|\.\d{3}/g, ''),
      'x-amz-content-sha256': createHash('sha256')
        .update(body ?? '')
        .digest('hex'),
      ...(keys.sessionToken === undefined ? {} : { 'x-amz-security-token': keys.sessionToken }),
    },
    extraHeadersToIgnore: NOT_SIGNED,
  };
  return sign(request, { ...keys }).headers as Record<string, string>;
}

/** AWS accepts signatures for five minutes; the answer was on its way for some seconds of them. */
const ACCEPTED_FOR_MS = 5 * 60_000 - 10_000;

/**
 * The reason of a 403 where it is the clock: `signedAt` is ours, `date` the server's own (header `Date`). Undefined
 * when they agree or the server does not say.
 */
export function clockSkew(
  signedAt: number,
  date: string | undefined,
  subject: Subject,
): ConfigurationError | undefined {
  const theirs = Date.parse(date ?? '');
  const skewMs = signedAt - theirs;
  if (Number.isNaN(theirs) || Math.abs(skewMs) < ACCEPTED_FOR_MS) return undefined;
  const minutes = Math.round(Math.abs(skewMs) / 60_000);
  return new ConfigurationError(
    `The clock of this machine is ${minutes} minutes ${skewMs > 0 ? 'ahead of' : 'behind'} the service's, so its ` +
      `signatures are refused: here it is ${new Date(signedAt).toISOString()}, there ` +
      `${new Date(theirs).toISOString()}: set this machine's clock`,
    { subject },
  );
}
