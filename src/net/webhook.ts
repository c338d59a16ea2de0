import { createHmac } from 'node:crypto';
import { request } from 'undici';
import { ConfigurationError, UnavailableError } from '../domain/errors';

/** A receiver of signed messages, as the connections file names it. */
export interface Webhook {
  readonly name: string;
  /** Never shown: the paths of many services are secrets. */
  readonly url: string;
  readonly signingKey: () => string;
}

export interface WebhookMessage {
  /** The same for every retry, so that a receiver acts once. */
  readonly id: string;
  /** Plain JSON; the same for every retry too. */
  readonly body: object;
}

const TIMEOUT_MS = 10_000;
/** Answers that may be others in a while, besides 5xx. */
const PASSING = [408, 425, 429];

/**
 * What `x-snapferry-signature` holds: HMAC-SHA256 over the seconds of `x-snapferry-timestamp`, a dot, and the body as it
 * was sent, in hex.
 */
export function signatureOf(key: string, timestamp: string, body: string): string {
  return `sha256=${createHmac('sha256', key).update(`${timestamp}.${body}`).digest('hex')}`;
}

/**
 * Posts the message once; any 2xx is an answer. Signed anew at each call, for receivers refuse old timestamps.
 *
 * Throws `UnavailableError` where trying again may help, with Retry-After, and `ConfigurationError` where it will not.
 */
export async function callWebhook(webhook: Webhook, message: WebhookMessage, signal: AbortSignal): Promise<void> {
  const body = JSON.stringify({ id: message.id, ...message.body });
  const timestamp = String(Math.floor(Date.now() / 1000));
  const deadline = AbortSignal.timeout(TIMEOUT_MS);
  const subject = { webhook: webhook.name };
  try {
    const answer = await request(webhook.url, {
      method: 'POST',
      body,
      headers: {
        'content-type': 'application/json',
        'idempotency-key': message.id,
        'x-snapferry-timestamp': timestamp,
        'x-snapferry-signature': signatureOf(webhook.signingKey(), timestamp, body),
      },
      // Hours lie between two messages: no connection is worth keeping.
      reset: true,
      signal: AbortSignal.any([signal, deadline]),
    });
    await answer.body.dump();
    refuse(answer.statusCode, answer.headers['retry-after'], subject);
  } catch (cause) {
    if (signal.aborted) throw signal.reason;
    if (cause instanceof ConfigurationError || cause instanceof UnavailableError) throw cause;
    const why = deadline.aborted ? 'time-out' : ((cause as NodeJS.ErrnoException).code ?? 'no reason given');
    throw new UnavailableError(`The webhook does not answer (${why}): see that its receiver runs at that url`, {
      subject,
      cause,
    });
  }
}

function refuse(status: number, retryAfter: string | string[] | undefined, webhook: { readonly webhook: string }) {
  if (status >= 200 && status < 300) return;
  const subject = { ...webhook, status };
  if (status >= 500 || PASSING.includes(status)) {
    const seconds = Number(retryAfter);
    throw new UnavailableError('The webhook cannot take the message now: see what its receiver says', {
      subject,
      ...(Number.isFinite(seconds) ? { retryAfterMs: seconds * 1000 } : {}),
    });
  }
  throw new ConfigurationError(`The webhook refuses the message: ${remedyFor(status)}`, { subject });
}

function remedyFor(status: number): string {
  if (status < 400) return 'it answers with a redirect: give the url that it leads to';
  if (status === 401 || status === 403) return 'give both sides the same signingKey, and look at their clocks';
  if (status === 404 || status === 405 || status === 410) return 'correct its url in the connections file';
  return 'see what its receiver says';
}
