/** The heads of HTTP/1.1: a request's is written, an answer's is read. Strict: an odd head is refused, never guessed at. */
import type { HttpRequest } from './transport';
import { KEEP_ALIVE_MS, TransportError } from './wire';

/** Node's own limit: https://nodejs.org/api/http.html#httpmaxheadersize */
export const MAX_HEAD_BYTES = 16 * 1024;
/** Ours is shorter than the server's by this, or it would end the connection while a request is on its way. */
const KEEP_ALIVE_MARGIN_MS = 1_000;

const STATUS_LINE = /^HTTP\/1\.([01]) ([1-9]\d\d)(?: [^\r\n]*)?(?:\r\n|$)/;
const TOKEN = /^[!#$%&'*+.^_`|~0-9a-z-]+$/;
const LENGTH = /^\d{1,15}$/;
/** Written as latin1, anything else could become a line break. */
const NOT_IN_A_VALUE = /[^\t\x20-\x7e\x80-\xff]/;
const NOT_IN_A_PATH = /[^\x21-\x7e]/;

/** Names of headers in lower case, by how they were written: there are few, and each is checked once. */
const names = new Map<string, string>();
const MOST_NAMES = 1_000;

export interface Head {
  readonly status: number;
  /** Names in lower case; of a repeated one, the last value. */
  readonly headers: Record<string, string>;
  /** Bytes; `chunked`; or all until the server ends the connection. */
  readonly body: number | 'chunked' | 'until-end';
  /** How long the connection may wait for another request, in milliseconds; 0: not at all. */
  readonly keepMs: number;
}

/** Everything before the body. `host` is sent where the request names none. @throws TransportError for what would break the lines */
export function writeHead(request: HttpRequest, host: string): string {
  const { method, path, headers, body } = request;
  if (NOT_IN_A_PATH.test(path)) throw odd('a path', 'ERR_UNESCAPED_CHARACTERS');
  let head = `${method} ${path} HTTP/1.1\r\n`;
  let values = '';
  let namesHost = false;
  for (const name in headers) {
    const value = headers[name]!;
    const lowerCase = lowerCaseOf(name);
    if (lowerCase === undefined) throw odd(`the header ${name}`, 'ERR_INVALID_CHAR');
    if (lowerCase === 'host') namesHost = true;
    head += `${name}: ${value}\r\n`;
    values += value;
  }
  if (NOT_IN_A_VALUE.test(values)) {
    const name = Object.keys(headers).find((one) => NOT_IN_A_VALUE.test(headers[one]!));
    throw odd(`the header ${name}`, 'ERR_INVALID_CHAR');
  }
  if (!namesHost) head += `host: ${host}\r\n`;
  if (body) return `${head}content-length: ${body.length}\r\n\r\n`;
  return method === 'PUT' || method === 'POST' ? `${head}content-length: 0\r\n\r\n` : `${head}\r\n`;
}

function odd(what: string, code: string): TransportError {
  return new TransportError(`${what} holds what can not be sent`, code, 0);
}

/** `text` without the empty line that ends it. @throws TransportError when it could be read in two ways */
export function readHead(text: string): Head {
  const [line, minor, status] = STATUS_LINE.exec(text) ?? refuse('its first line');
  const headers: Record<string, string> = {};
  for (let from = line!.length; from < text.length;) {
    const next = text.indexOf('\r\n', from);
    const end = next === -1 ? text.length : next;
    const colon = text.indexOf(':', from);
    const name = colon === -1 || colon > end ? undefined : lowerCaseOf(text.slice(from, colon));
    if (name === undefined) refuse('a line without a name');
    if (name === 'content-length' && name in headers) refuse('two lengths');
    headers[name] = text.slice(colon + 1, end).trim();
    from = end + 2;
  }
  return { status: Number(status), headers, body: bodyOf(headers), keepMs: keepMsOf(headers, minor === '1') };
}

/** Undefined for what is no name. */
function lowerCaseOf(name: string): string | undefined {
  const known = names.get(name);
  if (known !== undefined) return known;
  const lowerCase = name.toLowerCase();
  if (!TOKEN.test(lowerCase)) return undefined;
  // A server that makes names up does not fill our memory.
  if (names.size === MOST_NAMES) names.clear();
  names.set(name, lowerCase);
  return lowerCase;
}

function bodyOf(headers: Record<string, string>): Head['body'] {
  const { 'content-length': length, 'transfer-encoding': encoding } = headers;
  if (encoding !== undefined) {
    if (length !== undefined || encoding.toLowerCase() !== 'chunked') refuse(`transfer-encoding ${encoding}`);
    return 'chunked';
  }
  if (length === undefined) return 'until-end';
  return LENGTH.test(length) ? Number(length) : refuse('its length');
}

function keepMsOf({ connection, 'keep-alive': keepAlive }: Record<string, string>, isDefault: boolean): number {
  const options = connection?.toLowerCase() ?? '';
  if (options.includes('close') || !(isDefault || options.includes('keep-alive'))) return 0;
  const seconds = keepAlive === undefined ? undefined : /timeout=(\d+)/i.exec(keepAlive)?.[1];
  if (seconds === undefined) return KEEP_ALIVE_MS;
  return Math.max(0, Math.min(KEEP_ALIVE_MS, Number(seconds) * 1000 - KEEP_ALIVE_MARGIN_MS));
}

export function refuse(what: string): never {
  throw new TransportError(`the answer is not HTTP/1.1 as we know it: ${what}`, 'HPE_INVALID', 0);
}
