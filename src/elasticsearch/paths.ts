/** Elasticsearch refuses request lines over 4,096 bytes by default (http.max_initial_line_length). */
const MAX_NAMES_BYTES = 3_500;

/** `a,b,c` groups of encoded names, each short enough for one request line. One group at least names one index. */
export function nameGroups(names: readonly string[]): { readonly path: string; readonly names: readonly string[] }[] {
  const groups: { path: string; names: string[] }[] = [];
  for (const name of names) {
    const encoded = encodeURIComponent(name);
    const last = groups.at(-1);
    if (last !== undefined && last.path.length + encoded.length + 1 <= MAX_NAMES_BYTES) {
      last.path += `,${encoded}`;
      last.names.push(name);
    } else {
      groups.push({ path: encoded, names: [name] });
    }
  }
  return groups;
}

/** True when `version` (`7.10.2`) is `minimum` (`7.9`) or newer. */
export function atLeast(version: string, minimum: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const [wantedMajor = 0, wantedMinor = 0] = minimum.split('.').map(Number);
  return major > wantedMajor || (major === wantedMajor && minor >= wantedMinor);
}
