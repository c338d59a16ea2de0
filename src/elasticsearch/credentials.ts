import type { ClusterAuth } from './connection';
import { signing } from './sigv4';

/** A request as it goes over the wire, without what proves who sends it. */
export interface Outgoing {
  readonly method: string;
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | undefined;
}

/** What proves who sends a request. Made anew for each, so that secrets rotate. */
export interface Proof {
  readonly headers: Readonly<Record<string, string>>;
  /** Every form in which they go over the wire or could be quoted back. */
  readonly secrets: readonly string[];
  /** When a signature says that it was made, in milliseconds of our clock; a server whose clock differs refuses it. */
  readonly signedAt?: number;
  /** After a 403: whether the next proof will be another. */
  readonly renew?: () => Promise<boolean>;
}

/** Rejects with what a secret's source says, untouched. */
export type Prove = (request: Outgoing) => Promise<Proof>;

export function proverOf(auth: ClusterAuth): Prove {
  return auth.type === 'sigv4' ? signing(auth) : async () => credentialsOf(auth);
}

function credentialsOf(auth: Exclude<ClusterAuth, { type: 'sigv4' }>): Proof {
  switch (auth.type) {
    case 'basic': {
      const password = auth.password();
      const token = Buffer.from(`${auth.username}:${password}`).toString('base64');
      return { headers: { authorization: `Basic ${token}` }, secrets: [token, password] };
    }
    case 'apiKey': {
      const key = auth.key();
      return { headers: { authorization: `ApiKey ${key}` }, secrets: [key] };
    }
    case 'none':
      return { headers: {}, secrets: [] };
  }
}

/** Shorter ones would tear holes into honest words, and protect nothing. */
const SHORTEST = 4;

export function redact(text: string, secrets: readonly string[]): string {
  return secrets
    .filter((secret) => secret.length >= SHORTEST)
    .reduce((redacted, secret) => redacted.replaceAll(secret, '***'), text);
}
