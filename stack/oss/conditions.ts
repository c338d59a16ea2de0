// Ranges and preconditions of a read.
import type { Headers } from './canonical';
import { OssError } from './errors';

/** Bytes `start` to before `end`. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/**
 * The part of an object that a Range header asks for, undefined for the whole. A range that does not lie inside the
 * object counts as none, so the answer is the whole object with 200, unless the client sent
 * `x-oss-range-behavior: standard`: then it is cut, or refused with InvalidRange (416).
 * https://help.aliyun.com/en/oss/developer-reference/getobject, "How out-of-range requests behave"
 */
export function spanOf(range: string | undefined, size: number, isStandard: boolean): Span | undefined {
  const match = /^bytes=(\d*)-(\d*)$/.exec(range?.split(',')[0]?.trim() ?? '');
  if (match === null) return undefined;
  const [, first = '', last = ''] = match;
  if (first === '' && last === '') return undefined;
  const start = first === '' ? size - Number(last) : Number(first);
  const end = first === '' || last === '' ? size : Number(last) + 1;
  if (start >= 0 && start < end && end <= size) return { start, end };
  if (!isStandard || (first !== '' && start >= end && start < size)) return undefined;
  if (start >= size || size === 0) throw new OssError('InvalidRange', { details: { ActualObjectSize: String(size) } });
  return { start: Math.max(0, start), end: Math.min(size, end) };
}

export interface Version {
  readonly etag: string;
  /** Milliseconds; headers carry whole seconds. */
  readonly modifiedMs: number;
}

/**
 * Throws PreconditionFailed (412) or NotModified (304). `prefix` is empty for a read, `x-oss-copy-source-` for the
 * source of a copy, where also "not modified" is a failed precondition.
 */
export function checkConditions(headers: Headers, version: Version, prefix = ''): void {
  const seconds = Math.floor(version.modifiedMs / 1000) * 1000;
  const failed = (name: string) => new OssError('PreconditionFailed', { details: { Condition: name } });
  const match = headers[`${prefix}if-match`];
  if (match !== undefined && !names(match, version.etag)) throw failed('If-Match');
  const unmodified = dateOf(headers[`${prefix}if-unmodified-since`]);
  if (unmodified !== undefined && seconds > unmodified) throw failed('If-Unmodified-Since');
  const noneMatch = headers[`${prefix}if-none-match`];
  const modified = dateOf(headers[`${prefix}if-modified-since`]);
  const isSame = noneMatch !== undefined && names(noneMatch, version.etag);
  if (isSame || (modified !== undefined && seconds <= modified)) {
    throw prefix === '' ? new OssError('NotModified') : failed(isSame ? 'If-None-Match' : 'If-Modified-Since');
  }
}

function names(header: string, etag: string): boolean {
  return header.split(',').some((one) => one.trim() === '*' || one.trim().replaceAll('"', '') === etag);
}

/** A date that cannot be read counts as none. */
function dateOf(header: string | undefined): number | undefined {
  const ms = Date.parse(header ?? '');
  return Number.isNaN(ms) ? undefined : ms;
}
