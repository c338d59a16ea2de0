/**
 * JSON with sorted keys, so that equal values are equal text, whatever the order in which they were written. Undefined for
 * what JSON cannot say. Numbers are those of JavaScript: documents, which may hold larger ones, are compared by
 * `elasticsearch/documents.ts`.
 */
export function canonicalJson(value: unknown): string | undefined {
  return JSON.stringify(value, (_, held: unknown) =>
    typeof held === 'object' && held !== null && !Array.isArray(held)
      ? Object.fromEntries(Object.entries(held).sort(([a], [b]) => (a < b ? -1 : 1)))
      : held,
  );
}
