import type { ClusterAuth } from './connection';

/** Read anew for each request, so that they rotate. */
export interface Credentials {
  readonly headers: Readonly<Record<string, string>>;
  /** Every form in which they go over the wire or could be quoted back. */
  readonly secrets: readonly string[];
}

export function credentialsOf(auth: ClusterAuth): Credentials {
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
    case 'sigv4': // refused when the cluster is opened
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
