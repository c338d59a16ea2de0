/**
 * OSS's signature version 4, in the `Authorization` header:
 * https://help.aliyun.com/en/oss/developer-reference/recommend-to-use-signature-version-4
 * Version 1 is never sent: OSS no longer takes it of new accounts and buckets (facts/object-stores.md section 2.1).
 *
 * It differs from AWS's: the bucket is part of the signed path even where it is sent in the host name, a query
 * parameter without a value has no `=`, neither `host` nor any header but OSS's own is signed, bodies never are.
 */
import { createHmac, hash } from 'node:crypto';
import { encodePath, percentEncode } from './percent';
import { SignedNames, SignedTime } from './signed-names';

export interface OssCredentials {
  readonly accessKeyId: string;
  readonly accessKeySecret: string;
  /** Of temporary credentials (STS). */
  readonly securityToken?: string;
}

export interface OssSignable {
  readonly method: string;
  readonly bucket: string;
  /** Empty for the bucket itself. */
  readonly key: string;
  /** An empty value is a flag, such as `uploads`. */
  readonly query: Readonly<Record<string, string>>;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
}

export interface OssSigned {
  /** Without the question mark; to be sent as it is. */
  readonly query: string;
  /** Those that were given and those of the signature. */
  readonly headers: Readonly<Record<string, string>>;
}

const ALGORITHM = 'OSS4-HMAC-SHA256';
const UNSIGNED = 'UNSIGNED-PAYLOAD';

/** One per store: remembers the key that is derived from the secret, the day and the region. */
export class OssSigner {
  #derived: { readonly of: string; readonly key: Buffer } | undefined;
  readonly #time = new SignedTime();
  readonly #names = new SignedNames((names) => names.filter(isSigned));

  /** `region`: the bucket's own, through whatever endpoint, without `oss-`: `cn-hangzhou`. */
  constructor(private readonly region: string) {}

  /** `at`: milliseconds since 1970. OSS refuses what differs from its own clock by more than 15 minutes. */
  sign(request: OssSignable, credentials: OssCredentials, at: number): OssSigned {
    const time = this.#time.of(at);
    const day = time.slice(0, 8);
    const scope = `${day}/${this.region}/oss/aliyun_v4_request`;
    const headers: Record<string, string> = {
      'x-oss-content-sha256': UNSIGNED,
      'x-oss-date': time,
      ...request.headers,
    };
    if (credentials.securityToken !== undefined) headers['x-oss-security-token'] = credentials.securityToken;
    const query = canonicalQuery(request.query);

    let lines = '';
    for (const name of this.#names.of(headers)) lines += `${name}:${headers[name]!.trim()}\n`;
    const path = encodePath(`/${request.bucket}/${request.key}`);
    // The empty line is the list of headers that are signed although they need not be.
    const canonical = [request.method, path, query, lines, '', UNSIGNED].join('\n');
    const toSign = [ALGORITHM, time, scope, hash('sha256', canonical)].join('\n');
    const key = this.#keyFor(credentials.accessKeySecret, day);
    const signature = createHmac('sha256', key).update(toSign).digest('hex');
    headers['authorization'] = `${ALGORITHM} Credential=${credentials.accessKeyId}/${scope},Signature=${signature}`;
    return { query, headers };
  }

  #keyFor(secret: string, day: string): Buffer {
    const of = `${day}/${secret}`;
    if (this.#derived?.of !== of) {
      const steps = [day, this.region, 'oss', 'aliyun_v4_request'];
      this.#derived = { of, key: steps.reduce<string | Buffer>(hmac, `aliyun_v4${secret}`) as Buffer };
    }
    return this.#derived.key;
  }
}

function isSigned(name: string): boolean {
  return name.startsWith('x-oss-') || name === 'content-type' || name === 'content-md5';
}

function canonicalQuery(query: Readonly<Record<string, string>>): string {
  return Object.entries(query)
    .map(([name, value]) => [percentEncode(name), percentEncode(value)] as const)
    .sort(([a], [b]) => (a < b ? -1 : Number(a > b)))
    .map(([name, value]) => (value === '' ? name : `${name}=${value}`))
    .join('&');
}

function hmac(key: string | Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}
