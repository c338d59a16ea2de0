/**
 * AWS Signature Version 4 for S3, in the `Authorization` header:
 * https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
 *
 * Bodies are not part of the signature (`UNSIGNED-PAYLOAD`), over http as over https. Their SHA-256 would cost as much
 * CPU as all the rest of sending them (0.9 s per GiB; facts/object-stores.md section 4.1), to keep from harm on a plain
 * wire what anybody there may read, and change in the other direction, anyway. Accidents are found by the CRC32 or MD5
 * that goes along, which is signed. Presigned URLs, over http too, are never signed otherwise.
 */
import { createHmac, hash } from 'node:crypto';
import { percentEncode } from './percent';
import { SignedNames, SignedTime } from './signed-names';

export interface S3Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
}

export interface Signable {
  readonly method: string;
  /** `name[:port]`, exactly as it is sent. */
  readonly host: string;
  /** Percent-encoded as by `encodePath`. */
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  /** Names in lower case. All of them are signed, so none that a proxy may change. */
  readonly headers: Readonly<Record<string, string>>;
}

export interface Signed {
  /** With the query: to be sent as it is. */
  readonly path: string;
  /** Those that were given and those of the signature. `host` is signed but left to whoever connects. */
  readonly headers: Readonly<Record<string, string>>;
}

const ALGORITHM = 'AWS4-HMAC-SHA256';
const UNSIGNED = 'UNSIGNED-PAYLOAD';

/** One per store: remembers the key that is derived from the secret, the day and the region. */
export class S3Signer {
  #derived: { readonly of: string; readonly key: Buffer } | undefined;
  readonly #time = new SignedTime();
  readonly #names = new SignedNames((names) => [...names, 'host']);

  constructor(private readonly region: string) {}

  /** `at`: milliseconds since 1970. Skew is not mended: a store that refuses it says so in words of its own. */
  sign(request: Signable, credentials: S3Credentials, at: number): Signed {
    const time = this.#time.of(at);
    const day = time.slice(0, 8);
    const scope = `${day}/${this.region}/s3/aws4_request`;
    const headers: Record<string, string> = {
      'x-amz-content-sha256': UNSIGNED,
      'x-amz-date': time,
      ...request.headers,
    };
    if (credentials.sessionToken !== undefined) headers['x-amz-security-token'] = credentials.sessionToken;
    const query = canonicalQuery(request.query);

    let lines = '';
    const names = this.#names.of(headers);
    for (const name of names) lines += `${name}:${name === 'host' ? request.host : withoutBlanks(headers[name]!)}\n`;
    const signed = names.join(';');
    const canonical = `${request.method}\n${request.path}\n${query}\n${lines}\n${signed}\n${UNSIGNED}`;
    const toSign = `${ALGORITHM}\n${time}\n${scope}\n${hash('sha256', canonical)}`;
    const key = this.#keyFor(credentials.secretAccessKey, day);
    const signature = createHmac('sha256', key).update(toSign).digest('hex');
    headers['authorization'] =
      `${ALGORITHM} Credential=${credentials.accessKeyId}/${scope}, SignedHeaders=${signed}, Signature=${signature}`;
    return { path: query === '' ? request.path : `${request.path}?${query}`, headers };
  }

  #keyFor(secret: string, day: string): Buffer {
    const of = `${day}/${secret}`;
    if (this.#derived?.of !== of) {
      const key = [day, this.region, 's3', 'aws4_request'].reduce<string | Buffer>(hmac, `AWS4${secret}`) as Buffer;
      this.#derived = { of, key };
    }
    return this.#derived.key;
  }
}

/** Also as it is sent, so that nobody has to order or encode it again. A flag is sent with its `=`. */
function canonicalQuery(query: Readonly<Record<string, string>>): string {
  return Object.keys(query)
    .sort()
    .map((name) => `${percentEncode(name)}=${percentEncode(query[name]!)}`)
    .join('&');
}

/** Values are signed without what a proxy may take away. */
function withoutBlanks(value: string): string {
  return value.includes(' ') ? value.trim().replace(/ {2,}/g, ' ') : value;
}

function hmac(key: string | Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}
