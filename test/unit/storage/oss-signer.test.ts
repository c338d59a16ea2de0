/** Our signature beside the vendor's: ali-oss signs the same requests, and every byte must agree. */
import OSS from 'ali-oss';
import fc from 'fast-check';
import { OssSigner } from '../../../src/storage/oss-signer';
import { percentEncode } from '../../../src/storage/percent';

const KEYS = { accessKeyId: 'LTAIplanted', accessKeySecret: 'planted-secret' };
const AT = Date.UTC(2026, 10, 21, 7, 5, 9, 123);

interface Request {
  readonly method?: string;
  readonly key?: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly securityToken?: string;
}

/** Ours, and what ali-oss signs of the headers that we send. */
function both({ method = 'GET', key = '', query = {}, headers = {}, securityToken }: Request, region = 'cn-hangzhou') {
  const credentials = { ...KEYS, ...(securityToken === undefined ? {} : { securityToken }) };
  const signed = new OssSigner(region).sign({ method, bucket: 'bucket', key, query, headers }, credentials, AT);
  const { authorization, ...sent } = signed.headers;
  const client = new OSS({ ...KEYS, region: `oss-${region}`, bucket: 'bucket' }) as unknown as {
    authorizationV4(method: string, request: object, bucket: string, key: string): string;
  };
  // Its word for a parameter without a value is null.
  const queries = Object.fromEntries(Object.entries(query).map(([name, value]) => [name, value === '' ? null : value]));
  return { ours: authorization, theirs: client.authorizationV4(method, { headers: sent, queries }, 'bucket', key) };
}

function expectAgreement(request: Request, region?: string): void {
  const { ours, theirs } = both(request, region);
  expect(ours).toBe(theirs);
}

test.each([
  'snapferry/movies/index-7',
  'a b+c%2Fd//e',
  "tricky !'()*;:@&=$,/?#[]~",
  '日本/😀/\uff5e/é',
  '/leading',
  'trailing/',
  '.',
  '../up',
])('ali-oss signs the key %s as we do', (key) => {
  expectAgreement({ method: 'PUT', key, headers: { 'content-md5': '1B2M2Y8AsgTpgAmY7PhCfg==' } });
});

test.each<[string, Readonly<Record<string, string>>]>([
  ['a flag', { uploads: '' }],
  ['a part', { partNumber: '3', uploadId: '0004B9894A22E5B1888A1E29F823' }],
  ['a listing', { 'list-type': '2', prefix: "a b+/%2F日'", 'max-keys': '1000', 'encoding-type': 'url' }],
  ['a token', { 'continuation-token': 'ChR1c2VyL2E=+/', 'list-type': '2' }],
])('ali-oss signs the query of %s as we do', (_, query) => {
  expectAgreement({ query });
});

test('ali-oss signs headers, a security token and another region as we do', () => {
  const headers = {
    'x-oss-forbid-overwrite': 'true',
    'content-type': ' text/plain ',
    range: 'bytes=0-1',
    'if-match': '"e"',
  };
  expectAgreement({ method: 'PUT', key: 'k', headers, securityToken: 'CAIS+planted/token==' }, 'ap-southeast-1');
});

test('ali-oss signs any key and prefix as we do', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: 'grapheme', minLength: 1 }),
      fc.string({ unit: 'grapheme', minLength: 1 }),
      (key, prefix) => {
        expectAgreement({ key, query: { prefix, 'max-keys': '1' } });
      },
    ),
  );
});

test('the query is sent in the form that is signed', () => {
  const query = { uploads: '', prefix: 'a b/ü', 'encoding-type': 'url' };
  const signed = new OssSigner('cn-hangzhou').sign(
    { method: 'GET', bucket: 'b', key: '', query, headers: {} },
    KEYS,
    AT,
  );
  expect(signed.query).toBe('encoding-type=url&prefix=a%20b%2F%C3%BC&uploads');
  expect(percentEncode("!'()*~")).toBe('%21%27%28%29%2A~');
});

test('a day, a secret or a region later another key signs', () => {
  const signer = new OssSigner('cn-hangzhou');
  const request = { method: 'GET', bucket: 'b', key: 'k', query: {}, headers: {} };
  const sign = (at: number, accessKeySecret = 'x') =>
    signer.sign(request, { accessKeyId: 'i', accessKeySecret }, at).headers['authorization']!;
  const day = 24 * 3600 * 1000;
  expect(sign(AT)).toBe(sign(AT));
  expect(new Set([sign(AT), sign(AT + day), sign(AT, 'y')]).size).toBe(3);
  expect(sign(AT + day)).toContain('Credential=i/20261122/cn-hangzhou/oss/aliyun_v4_request,Signature=');
});
