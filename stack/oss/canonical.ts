// The canonical request of signature V4, as the server sees it: everything decoded once, then encoded in the one form
// that client and server agree on. https://help.aliyun.com/en/oss/developer-reference/recommend-to-use-signature-version-4
import { OssError } from './errors';

export type Query = readonly (readonly [name: string, value: string])[];

/** Headers by lower-case name. */
export type Headers = Readonly<Record<string, string | undefined>>;

export interface Signed {
  readonly method: string;
  readonly bucket: string | undefined;
  /** Decoded. */
  readonly key: string | undefined;
  readonly query: Query;
  readonly headers: Headers;
}

/** Letters, digits and `-._~` stay, every other byte of the UTF-8 form becomes `%XX`. */
export function encode(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
}

/** The same with slashes kept, for paths. */
export function encodePath(text: string): string {
  return text.split('/').map(encode).join('/');
}

/** Throws InvalidArgument for what is not percent-encoded UTF-8. */
export function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new OssError('InvalidArgument', { message: 'The request line is not percent-encoded UTF-8.' });
  }
}

/** `?a=1&b` in the order it was sent; a name without `=` has the empty value. */
export function parseQuery(text: string): Query {
  return text
    .split('&')
    .filter((pair) => pair !== '')
    .map((pair) => {
      const at = pair.indexOf('=');
      const [name, value] = at < 0 ? [pair, ''] : [pair.slice(0, at), pair.slice(at + 1)];
      return [decode(name.replaceAll('+', ' ')), decode(value.replaceAll('+', ' '))];
    });
}

/**
 * Verb, path with the bucket, query, headers, names of additional headers, hash of the body. Signed are `x-oss-*`,
 * `content-type` and `content-md5`, each when it was sent, and the additional ones.
 */
export function canonicalRequest(request: Signed, additional: readonly string[]): string {
  const { method, bucket, key, headers } = request;
  const path = bucket === undefined ? '/' : `/${bucket}/${key ?? ''}`;
  return [
    method,
    encodePath(path),
    canonicalQuery(request.query),
    canonicalHeaders(headers, additional),
    additional.join(';'),
    headers['x-oss-content-sha256'] ?? 'UNSIGNED-PAYLOAD',
  ].join('\n');
}

/** Sorted by encoded name; an empty value leaves the name alone, whether the client sent `uploads` or `uploads=`. */
function canonicalQuery(query: Query): string {
  return query
    .map(([name, value]) => [encode(name), encode(value)] as const)
    .sort(([a], [b]) => (a < b ? -1 : Number(a > b)))
    .map(([name, value]) => (value === '' ? name : `${name}=${value}`))
    .join('&');
}

function canonicalHeaders(headers: Headers, additional: readonly string[]): string {
  return Object.keys(headers)
    .filter((name) => isAlwaysSigned(name) || additional.includes(name))
    .sort()
    .map((name) => `${name}:${headerText(headers, name)}\n`)
    .join('');
}

/** Headers that are signed without being named among the additional ones. */
export function isAlwaysSigned(name: string): boolean {
  return name.startsWith('x-oss-') || name === 'content-type' || name === 'content-md5';
}

/** Node reads header bytes as Latin-1; clients sign the UTF-8 text that they meant. */
export function headerText(headers: Headers, name: string): string {
  return Buffer.from(headers[name] ?? '', 'latin1')
    .toString('utf8')
    .trim();
}
