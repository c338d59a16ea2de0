import type { z } from 'zod';

/** Reading what people write by hand: plans and the connections file. All faults come at once, each with its path. */

export type Reading<T> =
  | { readonly ok: true; readonly value: T }
  /** Each as `path: what is wrong`. */
  | { readonly ok: false; readonly faults: readonly string[] };

/**
 * Reads with a schema and words its faults for people who do not know zod. The wording never quotes a value: what
 * stands in the wrong place may be a secret.
 */
export function readStrictly<T extends z.ZodType>(schema: T, raw: unknown): Reading<z.output<T>> {
  const read = schema.safeParse(raw, { error: wording });
  return read.success ? { ok: true, value: read.data } : { ok: false, faults: faultsOf(read.error.issues, []) };
}

const TYPES: Readonly<Record<string, string>> = {
  object: 'an object',
  record: 'an object',
  array: 'a list',
  boolean: 'true or false',
  int: 'a whole number',
};

const wording: z.core.$ZodErrorMap = (issue) => {
  const { code, input } = issue;
  if (input === undefined && (code === 'invalid_type' || code === 'invalid_value')) return 'is required';
  if (code === 'invalid_type') return `must be ${TYPES[issue.expected] ?? `a ${issue.expected}`}`;
  if (code === 'invalid_value') return `must be one of ${listed(issue.values)}`;
  if (code === 'invalid_union' && 'options' in issue && Array.isArray(issue.options)) {
    return `must be one of ${listed(issue.options)}`;
  }
  if (code === 'too_small' && issue.origin !== 'array') return `must be at least ${issue.minimum}`;
  return undefined;
};

function listed(values: readonly unknown[]): string {
  return values.map((one) => `'${String(one)}'`).join(', ');
}

function faultsOf(issues: readonly z.core.$ZodIssue[], at: readonly PropertyKey[]): string[] {
  return issues.flatMap((issue) => {
    const path = [...at, ...issue.path];
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((key) => `${written([...path, key])}: is not a known key`);
    }
    if (issue.code === 'invalid_key') return faultsOf(issue.issues, path);
    const meant = issue.code === 'invalid_union' ? meantOf(issue.errors) : undefined;
    return meant === undefined ? [`${written(path)}: ${issue.message}`] : faultsOf(meant, path);
  });
}

/**
 * Of a union's alternatives the one that was meant, whose faults are what the writer needs: it has the form of the
 * value, and the fewest faults of those that have. Undefined when none has.
 */
function meantOf(alternatives: readonly (readonly z.core.$ZodIssue[])[]): readonly z.core.$ZodIssue[] | undefined {
  const fewestFirst = [...alternatives].sort((a, b) => a.length - b.length);
  const without = (...codes: readonly string[]) =>
    fewestFirst.find((faults) => !faults.some(({ code, path }) => path.length === 0 && codes.includes(code)));
  return without('invalid_type', 'invalid_value') ?? without('invalid_type');
}

/** `rounds.every`, `indices[0]`, `restore.settings["index.codec"]`. */
function written(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, step) => {
    if (typeof step === 'number') return `${text}[${step}]`;
    const key = String(step);
    if (!/^[\w-]+$/.test(key)) return `${text}[${JSON.stringify(key)}]`;
    return text === '' ? key : `${text}.${key}`;
  }, '');
}
