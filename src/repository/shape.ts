/**
 * Reading decoded JSON and SMILE without trust: each function hands out a value of the asked type or throws `WrongShape`
 * with the path to it. Whoever knows the blob's key catches that and says which blob it was.
 */
export class WrongShape extends Error {}

export type Fields = Readonly<Record<string, unknown>>;

export function fields(value: unknown, path: string): Fields {
  if (!isFields(value)) throw new WrongShape(`${path} is not an object`);
  return value;
}

export function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !Buffer.isBuffer(value);
}

/** The member `name` of an object; undefined when it is absent, also where the prototype would have one. */
export function member(object: Fields, name: string): unknown {
  return Object.hasOwn(object, name) ? object[name] : undefined;
}

export function list(value: unknown, path: string): readonly unknown[] {
  if (!Array.isArray(value)) throw new WrongShape(`${path} is not a list`);
  return value;
}

export function text(value: unknown, path: string): string {
  if (typeof value !== 'string' || value === '') throw new WrongShape(`${path} is not a non-empty string`);
  return value;
}

/** A whole number from 0 to 2^53 - 1. */
export function count(value: unknown, path: string): number {
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw new WrongShape(`${path} is not a whole number`);
  return value as number;
}

export function textOrNull(value: unknown, path: string): string | null {
  return value === null ? null : text(value, path);
}

/** A part of a key: a uuid or id that leaves no folder. */
export function keySegment(value: unknown, path: string): string {
  const segment = text(value, path);
  if (/[/\\\0]/.test(segment) || segment === '.' || segment === '..') throw new WrongShape(`${path} is not an id`);
  return segment;
}

/** Throws `WrongShape` for what is not one JSON document in UTF-8. */
export function parseJson(raw: Buffer): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(raw)) as unknown;
  } catch (error) {
    throw new WrongShape(`it is not JSON (${error instanceof Error ? error.message : String(error)})`);
  }
}
