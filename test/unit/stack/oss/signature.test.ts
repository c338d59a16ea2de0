// The signatures that the SDK of the vendor makes (its own test vectors, OSS Go SDK v2 1.5.1, signer_test.go), and refusals.
import { addressOf } from '../../../../stack/oss/address';
import type { Headers, Signed } from '../../../../stack/oss/canonical';
import { OssError } from '../../../../stack/oss/errors';
import { verify } from '../../../../stack/oss/signature';
import type { Keys } from '../../../../stack/oss/signature';

const KEYS: Keys = { accessKeyId: 'ak', secretAccessKey: 'sk', region: 'cn-hangzhou' };
const URL = '/1234%2B-/123/1.txt?%2Bparam1=value3&%2Bparam2=&%7Cparam1=value4&%7Cparam2=&param1=value1&param2=';
const SIGNED_AT = 1702743657_000;
const PLAIN = { signature: 'e21d18daa82167720f9b1047ae7e7f1ce7cb77a31e8203a7d5f4624fa0284afe', day: '20231216' };

function put(headers: Headers, url = URL): Signed {
  const host = 'bucket.oss-cn-hangzhou.aliyuncs.com';
  const own = { 'x-oss-head1': 'value', abc: 'value', zabc: 'value', xyz: 'value', 'content-type': 'text/plain' };
  return { method: 'PUT', headers: { host, ...own, ...headers }, ...addressOf(host, url) };
}

function authorization({ signature, day }: typeof PLAIN, more = ''): string {
  return `OSS4-HMAC-SHA256 Credential=ak/${day}/cn-hangzhou/oss/aliyun_v4_request,${more}Signature=${signature}`;
}

const DATED = { 'x-oss-content-sha256': 'UNSIGNED-PAYLOAD', 'x-oss-date': '20231216T162057Z' };
const GOOD = { ...DATED, authorization: authorization(PLAIN) };

function refusal(request: Signed, keys = KEYS, nowMs = SIGNED_AT): Partial<OssError> {
  try {
    verify(request, keys, nowMs);
  } catch (error) {
    if (error instanceof OssError) return error;
    throw error;
  }
  throw new Error('was not refused');
}

test('a signature in the header, as the Go SDK makes it', () => {
  expect(verify(put(GOOD), KEYS, SIGNED_AT)).toBeUndefined();
});

test('additional headers are signed, and are named', () => {
  const signature = '4a4183c187c07c8947db7620deb0a6b38d9fbdd34187b6dbaccb316fa251212f';
  const headers = { ...DATED, 'x-oss-date': '20231216T172512Z' };
  const signed = authorization({ signature, day: '20231216' }, 'AdditionalHeaders=abc;zabc,');
  verify(put({ ...headers, authorization: signed }), KEYS, 1702747512_000);
  expect(refusal(put({ ...headers, zabc: 'other', authorization: signed }), KEYS, 1702747512_000)).toMatchObject({
    code: 'SignatureDoesNotMatch',
  });
});

describe('temporary keys', () => {
  const signature = 'b94a3f999cf85bcdc00d332fbd3734ba03e48382c36fa4d5af5df817395bd9ea';
  const headers = {
    'x-oss-content-sha256': 'UNSIGNED-PAYLOAD',
    'x-oss-date': '20231217T034736Z',
    'x-oss-security-token': 'token',
    authorization: authorization({ signature, day: '20231217' }),
  };
  const NOW = 1702784856_000;
  const withTokens = (...sessionTokens: NonNullable<Keys['sessionTokens']>) => ({ ...KEYS, sessionTokens });

  test('a known token is returned', () => {
    expect(verify(put(headers), withTokens({ token: 'old' }, { token: 'token' }), NOW)).toBe('token');
  });

  test.each([
    [
      'an expired one',
      withTokens({ token: 'token', expiresAt: '2023-12-17T03:00:00Z' }),
      headers,
      'SecurityTokenExpired',
    ],
    ['another one', withTokens({ token: 'other' }), headers, 'InvalidSecurityToken'],
    ['one for a lasting key', KEYS, headers, 'InvalidSecurityToken'],
    ['none', withTokens({ token: 'token' }), { ...headers, 'x-oss-security-token': undefined }, 'InvalidAccessKeyId'],
  ])('%s is refused', (_, keys, given, code) => {
    const present = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
    expect(refusal(put(present), keys, NOW)).toMatchObject({ code, status: 403 });
  });

  test('an error about a wrong signature does not show the token', () => {
    const wrong = { ...headers, 'x-oss-head2': 'not signed', 'x-oss-security-token': 'secret-token' };
    const error = refusal(put(wrong), withTokens({ token: 'secret-token' }), NOW);
    expect(error.code).toBe('SignatureDoesNotMatch');
    expect(JSON.stringify(error.details)).not.toContain('secret-token');
  });
});

test('a presigned request, until it expires', () => {
  const query = [
    'x-oss-signature-version=OSS4-HMAC-SHA256&x-oss-date=20231217T025437Z&x-oss-expires=599',
    'x-oss-credential=ak%2F20231217%2Fcn-hangzhou%2Foss%2Faliyun_v4_request',
    'x-oss-signature=a39966c61718be0d5b14e668088b3fa07601033f6518ac7b523100014269c0fe',
  ].join('&');
  const request = put({ 'content-type': 'application/octet-stream' }, `${URL}&${query}`);
  verify(request, KEYS, 1702782276_000);
  expect(refusal(request, KEYS, 1702782277_000)).toMatchObject({
    code: 'AccessDenied',
    message: 'Request has expired.',
  });
});

describe('what clients do differently', () => {
  test('Date instead of x-oss-date, as ossutil 1.7.19 sends it: its text itself is signed', () => {
    const authorization =
      'OSS4-HMAC-SHA256 Credential=AK/20261121/cn-hangzhou/oss/aliyun_v4_request,' +
      'Signature=4f8344a1ca5f7ba81379de2226ac65c8855b2cb47545897af92282ededdcc355';
    const date = 'Sat, 21 Nov 2026 09:41:26 GMT';
    const headers = { authorization, date, 'x-oss-content-sha256': 'UNSIGNED-PAYLOAD' };
    const url = '/bkt/?delimiter&encoding-type=url&marker&max-keys=1000&prefix';
    const keys = { ...KEYS, accessKeyId: 'AK', secretAccessKey: 'SK' };
    verify({ method: 'GET', headers, ...addressOf('127.0.0.1', url) }, keys, Date.parse(date));
  });

  test('blanks after the commas of Authorization', () => {
    verify(put({ ...DATED, authorization: authorization(PLAIN).replaceAll(',', ', ') }), KEYS, SIGNED_AT);
  });

  test('parameters in another order, and without the = of an empty value', () => {
    const url = '/1234%2B-%2F123%2F1.txt?param2&param1=value1&%7Cparam2&%7Cparam1=value4&%2Bparam2&%2Bparam1=value3';
    verify(put(GOOD, url), KEYS, SIGNED_AT);
  });
});

test.each<[string, Headers, number, object]>([
  ['one changed byte of a signed header', { ...GOOD, 'x-oss-head1': 'valuf' }, SIGNED_AT, { ec: '0002-00000201' }],
  ['a header that was added', { ...GOOD, 'content-md5': 'x' }, SIGNED_AT, { code: 'SignatureDoesNotMatch' }],
  ['15 minutes and a second late', GOOD, SIGNED_AT + 901_000, { code: 'RequestTimeTooSkewed', status: 403 }],
  ['15 minutes and a second early', GOOD, SIGNED_AT - 901_000, { code: 'RequestTimeTooSkewed', status: 403 }],
  ['no signature', DATED, SIGNED_AT, { code: 'AccessDenied', status: 403 }],
  ['version 1', { ...DATED, authorization: 'OSS ak:c2ln' }, SIGNED_AT, { status: 403, ec: '0002-00000080' }],
  ['AWS', { ...DATED, authorization: 'AWS4-HMAC-SHA256 x' }, SIGNED_AT, { ec: '0002-00000002' }],
  ['a hashed body', { ...GOOD, 'x-oss-content-sha256': 'e3b0' }, SIGNED_AT, { ec: '0002-00000214' }],
  ['a date that is none', { ...GOOD, 'x-oss-date': 'today' }, SIGNED_AT, { code: 'AccessDenied' }],
  [
    'another key',
    { ...GOOD, authorization: authorization(PLAIN).replace('=ak/', '=other/') },
    SIGNED_AT,
    { code: 'InvalidAccessKeyId' },
  ],
  [
    'another region',
    { ...GOOD, authorization: authorization(PLAIN).replace('hangzhou', 'beijing') },
    SIGNED_AT,
    { code: 'InvalidArgument', status: 400, ec: '0002-00000226' },
  ],
  [
    'a scope of another day',
    { ...GOOD, authorization: authorization({ ...PLAIN, day: '20231215' }) },
    SIGNED_AT,
    { code: 'InvalidArgument' },
  ],
])('refused: %s', (_, headers, nowMs, expected) => {
  expect(refusal(put(headers), KEYS, nowMs)).toMatchObject(expected);
});

test('refused: another secret; 15 minutes to the second are allowed', () => {
  expect(refusal(put(GOOD), { ...KEYS, secretAccessKey: 'sk2' })).toMatchObject({ code: 'SignatureDoesNotMatch' });
  verify(put(GOOD), KEYS, SIGNED_AT + 900_000);
});

test('refused: version 1 in the query', () => {
  expect(refusal(put({}, '/k?OSSAccessKeyId=ak&Expires=1&Signature=x'))).toMatchObject({ ec: '0002-00000080' });
});
