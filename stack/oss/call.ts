// One request as its handler sees it, and what the handler makes of it.
import type { FileHandle } from 'node:fs/promises';
import type { Operation } from './address';
import type { Headers } from './canonical';
import { headerText } from './canonical';
import type { Span } from './conditions';
import { invalidArgument, OssError } from './errors';
import type { FaultAction } from './faults';
import type { Storage } from './storage';
import type { Uploads } from './uploads';
import { toXml } from './xml';
import type { XmlElements } from './xml';

/** 5 GiB, of a PutObject as of a part. */
export const MAX_BODY_BYTES = 5 * 1024 ** 3;
/** Lists of keys and parts: 10,000 parts are 1 MiB. */
const MAX_XML_BYTES = 8 * 1024 * 1024;
const KEPT_HEADERS = new Set([
  ...['content-type', 'content-encoding', 'content-disposition', 'content-language', 'cache-control', 'expires'],
  ...['x-oss-storage-class', 'x-oss-server-side-encryption', 'x-oss-server-side-encryption-key-id'],
]);

export interface Call {
  readonly operation: Operation;
  readonly bucket: string | undefined;
  readonly key: string | undefined;
  readonly query: ReadonlyMap<string, string>;
  readonly headers: Headers;
  /** Fails when the client goes away before its end. */
  readonly body: AsyncIterable<Buffer>;
  readonly fault: FaultAction | undefined;
}

/** Bytes of a file, which is closed when they were sent or not. */
export interface FileBody {
  readonly file: FileHandle;
  readonly span: Span;
}

export interface Reply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | FileBody;
}

/** What handlers work on. */
export interface Service {
  readonly storage: Storage;
  readonly uploads: Uploads;
  readonly region: string;
}

export type Handler = (call: Call, service: Service) => Promise<Reply>;

export const OWNER = { ID: '1000000000000000', DisplayName: '1000000000000000' };

/** Of a call whose operation has both. */
export function objectOf(call: Call): { readonly bucket: string; readonly key: string } {
  return { bucket: bucketOf(call), key: call.key ?? '' };
}

/** Of a call whose operation has one. */
export function bucketOf(call: Call): string {
  return call.bucket ?? '';
}

export function xmlReply(root: string, content: XmlElements | string, headers: Reply['headers'] = {}): Reply {
  return { status: 200, headers: { 'content-type': 'application/xml', ...headers }, body: toXml(root, content) };
}

/** A body of XML, checked against its Content-MD5. */
export async function readXml(call: Call): Promise<{ readonly text: string; readonly bytes: Buffer }> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of call.body) {
    size += chunk.length;
    if (size > MAX_XML_BYTES) throw new OssError('EntityTooLarge');
    chunks.push(Buffer.from(chunk));
  }
  const bytes = Buffer.concat(chunks);
  return { text: bytes.toString('utf8'), bytes };
}

/**
 * Throws InvalidArgument for anything but `true` and `false`. Where versions are kept, or were, the header means nothing:
 * https://help.aliyun.com/en/oss/developer-reference/putobject
 */
export function forbidsOverwrite(call: Call, { settings }: Storage): boolean {
  if (settings.of(bucketOf(call)).versioning !== undefined) return false;
  const value = call.headers['x-oss-forbid-overwrite']?.toLowerCase();
  if (value === undefined || value === 'false') return false;
  if (value === 'true') return true;
  throw invalidArgument('x-oss-forbid-overwrite', value, 'The value of x-oss-forbid-overwrite is true or false.');
}

/** The headers that are kept with an object. */
export function keptHeaders(headers: Headers): Record<string, string> {
  const kept = Object.entries(headers).filter(([name]) => KEPT_HEADERS.has(name) || name.startsWith('x-oss-meta-'));
  return Object.fromEntries(kept.map(([name, value]) => [name, value ?? '']));
}

/** Which byte of what is stored this call shall find damaged. */
export function flipByteOf({ fault }: Call): number | undefined {
  return fault?.do === 'flip' && fault.of === 'stored' ? fault.byte : undefined;
}

export interface Limits {
  readonly fallback: number;
  readonly max: number;
  /** Default 1. */
  readonly min?: number;
  /** Of the refusal, where a page names it. */
  readonly ec?: string;
}

/** A whole number of the query inside its limits; throws InvalidArgument. */
export function numberOf(call: Call, name: string, { fallback, max, min = 1, ec }: Limits): number {
  const text = call.query.get(name) ?? '';
  const value = text === '' ? fallback : Number(text);
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  throw invalidArgument(name, text, `Argument ${name} must be an integer between ${min} and ${max}.`, ec);
}

/** `encoding-type=url`, or undefined. */
export function encodingOf(call: Call): 'url' | undefined {
  const value = call.query.get('encoding-type') ?? '';
  if (value === '') return undefined;
  if (value === 'url') return value;
  throw invalidArgument('encoding-type', value, 'Invalid encoding type.');
}

/** A header that carries text rather than a token. */
export function textHeader(call: Call, name: string): string | undefined {
  return call.headers[name] === undefined ? undefined : headerText(call.headers, name);
}

export function quoted(etag: string): string {
  return `"${etag}"`;
}

/** `2012-02-24T08:43:07.000Z`: whole seconds, as in headers. */
export function xmlTime(ms: number): string {
  return new Date(Math.floor(ms / 1000) * 1000).toISOString();
}
