/** Our signature against the AWS SDK's own signer. */
import { createHash, createHmac } from 'node:crypto';
import { SignatureV4 } from '@smithy/signature-v4';
import fc from 'fast-check';
import { encodePath } from '../../../src/storage/percent';
import { S3Signer } from '../../../src/storage/s3-signer';
import type { S3Credentials } from '../../../src/storage/s3-signer';

const KEYS: S3Credentials = { accessKeyId: 'AKIAEXAMPLE', secretAccessKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY' };
const AT = Date.UTC(2026, 0, 2, 3, 4, 5);
const HOST = 'bucket.s3.eu-west-1.amazonaws.com';

interface Case {
  readonly method?: string;
  readonly key?: string;
  readonly query?: Record<string, string>;
  readonly headers?: Record<string, string>;
  readonly credentials?: S3Credentials;
}

function ours({ method = 'GET', key = 'a', query = {}, headers = {}, credentials = KEYS }: Case): string {
  const request = { method, host: HOST, path: `/${encodePath(key)}`, query, headers };
  return new S3Signer('eu-west-1').sign(request, credentials, AT).headers['authorization']!;
}

async function theirs({ method = 'GET', key = 'a', query = {}, headers = {}, credentials = KEYS }: Case) {
  const signer = new SignatureV4({
    service: 's3',
    region: 'eu-west-1',
    credentials,
    sha256: Sha256,
    // As its client for S3 has it: a path is encoded once.
    uriEscapePath: false,
    applyChecksum: true,
  });
  const request = {
    method,
    protocol: 'https:',
    hostname: HOST,
    // It takes the path as it goes over the wire; the table of odd keys below says how that must look.
    path: `/${encodePath(key)}`,
    query,
    headers: { host: HOST, ...headers, 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' },
  };
  const signed = await signer.sign(request, { signingDate: new Date(AT) });
  return signed.headers['authorization'];
}

/** The SDK wants its hash from outside. */
class Sha256 {
  private readonly hash;
  constructor(secret?: string | ArrayBuffer | ArrayBufferView) {
    this.hash = secret === undefined ? createHash('sha256') : createHmac('sha256', secret as Buffer);
  }
  update(data: string | Uint8Array): void {
    this.hash.update(data);
  }
  async digest(): Promise<Uint8Array> {
    return this.hash.digest();
  }
  reset(): void {}
}

test.each<[string, Case]>([
  ['a read', { key: 'indices/x/0/__1', headers: { range: 'bytes=5-9', 'if-match': '"e"' } }],
  [
    'a write',
    { method: 'PUT', headers: { 'x-amz-checksum-crc32': 'y/Q5Jg==', 'if-none-match': '*', 'content-md5': 'x==' } },
  ],
  ['a flag', { method: 'POST', query: { uploads: '' } }],
  ['a part', { method: 'PUT', query: { uploadId: 'a/b+c=d&e', partNumber: '12' } }],
  ['a listing', { query: { 'list-type': '2', prefix: 'a b/é*', 'continuation-token': '1/x+y==', 'max-keys': '7' } }],
  ['a session token', { credentials: { ...KEYS, sessionToken: 'IQoJb3JpZ2luX2Vj//token+with/marks==' } }],
  ['blanks in a header', { headers: { 'x-amz-meta-note': '  two  blanks ' } }],
  [
    'a copy',
    {
      method: 'PUT',
      headers: { 'x-amz-copy-source': 'bucket/%C3%A9%20b%252F', 'x-amz-copy-source-range': 'bytes=0-1' },
    },
  ],
])('%s has the signature that the AWS SDK makes', async (_, request) => {
  expect(ours(request)).toBe(await theirs(request));
});

test('any key, query and header has the signature that the AWS SDK makes', async () => {
  const text = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 });
  const visible = fc.stringMatching(/^[!-~]{1,20}$/);
  const requests = fc.record({
    key: text,
    query: fc.dictionary(fc.stringMatching(/^[a-z-]{1,9}$/), text),
    note: visible,
  });
  await fc.assert(
    fc.asyncProperty(requests, async ({ key, query, note }) => {
      const request = { key, query, headers: { 'x-amz-meta-note': note } };
      expect(ours(request)).toBe(await theirs(request));
    }),
  );
});

// What the store decodes must be the key, and nothing else: these are the forms of AWS's own encoding rules.
test.each([
  ['indices/aB3-_.~/__0', 'indices/aB3-_.~/__0'],
  ['a b+c', 'a%20b%2Bc'],
  ['%2F', '%252F'],
  ['é/日本/😀', '%C3%A9/%E6%97%A5%E6%9C%AC/%F0%9F%98%80'],
  ['?#&=;:@$,', '%3F%23%26%3D%3B%3A%40%24%2C'],
  ["!'()*", '%21%27%28%29%2A'],
])('the key %s goes over the wire as %s', (key, expected) => {
  expect(encodePath(key)).toBe(expected);
});

test('what is sent is what was signed, query included, and the secret is not in it', () => {
  const request = { method: 'GET', host: HOST, path: '/a', query: { prefix: 'a b', 'list-type': '2' }, headers: {} };
  const signed = new S3Signer('eu-west-1').sign(request, KEYS, AT);
  expect(signed.path).toBe('/a?list-type=2&prefix=a%20b');
  expect(JSON.stringify(signed)).not.toContain(KEYS.secretAccessKey);
});

test('the day and the credentials are those of each request', () => {
  const signer = new S3Signer('eu-west-1');
  const request = { method: 'GET', host: HOST, path: '/a', query: {}, headers: {} };
  const fresh = (keys: S3Credentials, at: number) => new S3Signer('eu-west-1').sign(request, keys, at);
  const other = { accessKeyId: 'AKIAOTHER', secretAccessKey: 'other' };
  const nextDay = AT + 24 * 3_600_000;
  for (const [keys, at] of [
    [KEYS, AT],
    [other, AT],
    [other, nextDay],
    [KEYS, nextDay],
    [KEYS, AT],
  ] as const) {
    expect(signer.sign(request, keys, at)).toEqual(fresh(keys, at));
  }
});
