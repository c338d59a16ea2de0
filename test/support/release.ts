import type { Distribution } from '../../src/domain/compatibility';

/** `opensearch-2.19.1`, or of Elasticsearch `5.5.2` alone. */
export function releaseOf(label: string): { readonly distribution: Distribution; readonly version: string } {
  const [version = '', fork] = label.split('-').reverse();
  return { distribution: fork === 'opensearch' ? fork : 'elasticsearch', version };
}
