/**
 * Types of fields that a plugin brings, with the names by which clusters list that plugin, one of which is enough.
 * https://www.elastic.co/guide/en/elasticsearch/plugins/7.17/mapper.html and analysis-icu.html there; of nearest
 * neighbours https://docs.aws.amazon.com/opensearch-service/latest/developerguide/knn.html. `_size` is no type of a field
 * but one of the document.
 */
export const FIELD_PLUGINS: Readonly<Record<string, readonly string[]>> = {
  _size: ['mapper-size'],
  annotated_text: ['mapper-annotated-text'],
  attachment: ['mapper-attachments'],
  icu_collation_keyword: ['analysis-icu'],
  knn_vector: ['opensearch-knn', 'opendistro-knn'],
  murmur3: ['mapper-murmur3'],
};

/** Of an index's mapping, with or without the level of mapping types. Fields below fields count. */
export function fieldTypesIn(mapping: unknown): ReadonlySet<string> {
  const found = new Set<string>();
  collect(mapping, found);
  return found;
}

function collect(node: unknown, found: Set<string>): void {
  if (!isObject(node)) return;
  for (const [key, value] of Object.entries(node)) {
    // What somebody noted there is no mapping.
    if (key === '_meta' || !isObject(value)) continue;
    if (key === '_size') found.add(key);
    if (key !== 'properties' && key !== 'fields') {
      collect(value, found);
      continue;
    }
    for (const field of Object.values(value)) {
      if (!isObject(field)) continue;
      if (typeof field['type'] === 'string') found.add(field['type']);
      collect(field, found);
    }
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}
