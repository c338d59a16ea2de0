import type { ClusterInfo } from './cluster';

/**
 * Elasticsearch refuses request lines over 4,096 bytes (http.max_initial_line_length). This leaves room for the method,
 * the longest of our queries and a base path.
 */
const MAX_NAMES_BYTES = 3_500;

export interface NameGroup {
  /** `a,b,c`, encoded. */
  readonly path: string;
  readonly names: readonly string[];
}

/** Groups in the order of `names`, each short enough for one request line; none for no names, which would mean all. */
export function nameGroups(names: readonly string[]): NameGroup[] {
  const groups: { path: string; names: string[] }[] = [];
  for (const name of names) {
    const encoded = encodeName(name);
    const last = groups.at(-1);
    if (last !== undefined && last.path.length + 1 + encoded.length <= MAX_NAMES_BYTES) {
      last.path += `,${encoded}`;
      last.names.push(name);
    } else {
      groups.push({ path: encoded, names: [name] });
    }
  }
  return groups;
}

/**
 * As RFC 3986 has it, so that nothing is left for anybody to encode again: a signature is over the path as it was sent,
 * and whoever checks it may encode what `encodeURIComponent` leaves alone.
 */
export function encodeName(name: string): string {
  return encodeURIComponent(name).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

/** `/_snapshot/<repository>[/<snapshot>]`. */
export function snapshotPath(...names: readonly string[]): string {
  return ['/_snapshot', ...names.map(encodeName)].join('/');
}

/** True when the cluster has what Elasticsearch `minimum` (`7.9`) brought. OpenSearch began at 7.10. */
export function hasFeaturesOf(minimum: string, { version, distribution }: ClusterInfo): boolean {
  if (distribution === 'opensearch') return true;
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const [wantedMajor = 0, wantedMinor = 0] = minimum.split('.').map(Number);
  return major > wantedMajor || (major === wantedMajor && minor >= wantedMinor);
}
