/**
 * Which versions can hand snapshots to which: {@link COMPATIBILITY}, from which preflight, docs/compatibility.md and the
 * matrix of tests are made. Two gates, both of which the cluster opens or shuts only at the restore,
 * after everything was copied: so they are computed before the first byte moves.
 *
 * 1. The version that wrote the snapshot ({@link checkVersions}).
 * 2. The version that created each index ({@link checkIndexVersion}); an upgrade of the cluster does not change it.
 */

import type { Objection } from './objections';

export type Distribution = 'elasticsearch' | 'opensearch';

/** What is needed of a cluster here; the port's `ClusterInfo` is one. */
export interface VersionedCluster {
  /** `major.minor.patch`. */
  readonly version: string;
  readonly distribution: Distribution;
}

export interface Version {
  readonly distribution: Distribution;
  readonly major: number;
  /** Undefined where an id tells the major version only: `index_version` from 8.10 on. */
  readonly minor: number | undefined;
  readonly patch: number | undefined;
}

/** OpenSearch sets this bit in its version ids, so that they are higher than any of Elasticsearch. */
const OPENSEARCH_BIT = 0x0800_0000;

/** Ids from here on count changes of the index format (8.10 and later), not releases: 8536000 is no version 8.53.60. */
const FIRST_INDEX_VERSION = 8_500_000;

/** `index.version.created` and the like: 5050299 -> 5.5.2, 8536000 -> 8.x, 135217827 -> OpenSearch 1.0.0. */
export function parseVersionId(id: number): Version {
  const masked = id >= OPENSEARCH_BIT;
  const plain = masked ? id - OPENSEARCH_BIT : id;
  const major = Math.floor(plain / 1_000_000);
  const exact = masked || plain < FIRST_INDEX_VERSION;
  return {
    distribution: masked ? 'opensearch' : 'elasticsearch',
    major,
    minor: exact ? Math.floor(plain / 10_000) % 100 : undefined,
    patch: exact ? Math.floor(plain / 100) % 100 : undefined,
  };
}

/** `undefined` when the cluster's version is not `major.minor.patch`, perhaps with a suffix. */
export function parseVersion(cluster: VersionedCluster): Version | undefined {
  const match = /^(\d+)\.(\d+)\.(\d+)(?:[-+].*)?$/.exec(cluster.version);
  if (match === null) return undefined;
  return {
    distribution: cluster.distribution,
    major: Number(match[1]),
    minor: Number(match[2]),
    patch: Number(match[3]),
  };
}

/** `Elasticsearch 5.5.2`, `OpenSearch 2.11.0`, `Elasticsearch 8.x`. */
export function describeVersion(version: Version): string {
  const product = version.distribution === 'opensearch' ? 'OpenSearch' : 'Elasticsearch';
  return version.minor === undefined
    ? `${product} ${version.major}.x`
    : `${product} ${version.major}.${version.minor}.${version.patch ?? 0}`;
}

// --- The table ------------------------------------------------------------------------------------------------------

/** `Elasticsearch 6.0 to 6.7`, `Elasticsearch 7.x`: both ends count. */
export type Releases = `${'Elasticsearch' | 'OpenSearch'} ${string}`;

export interface CompatibilityRow {
  /** What wrote a snapshot, or created an index. */
  readonly by: Releases;
  /** What restores it, the nearest first. Within one product never an older version than the one that wrote it. */
  readonly into: readonly Releases[];
  /** False where snapferry does not read the repository; indices that were created so may still be in a younger one. */
  readonly isSource: boolean;
}

/** Each pair of versions that the stack runs is tried on real nodes (test/matrix/compatibility.test.ts). */
export const COMPATIBILITY: readonly CompatibilityRow[] = [
  { by: 'Elasticsearch 2.x', into: ['Elasticsearch 2.x', 'Elasticsearch 5.x'], isSource: false },
  { by: 'Elasticsearch 5.x', into: ['Elasticsearch 5.x', 'Elasticsearch 6.x'], isSource: true },
  {
    by: 'Elasticsearch 6.0 to 6.7',
    into: ['Elasticsearch 6.x', 'Elasticsearch 7.x', 'OpenSearch 1.x'],
    isSource: true,
  },
  {
    by: 'Elasticsearch 6.8',
    into: ['Elasticsearch 6.8', 'Elasticsearch 7.2 to 7.17', 'OpenSearch 1.x'],
    isSource: true,
  },
  {
    by: 'Elasticsearch 7.0 to 7.11',
    into: ['Elasticsearch 7.x', 'Elasticsearch 8.x', 'OpenSearch 1.x', 'OpenSearch 2.x'],
    isSource: true,
  },
  { by: 'Elasticsearch 7.12 to 7.17', into: ['Elasticsearch 7.x', 'Elasticsearch 8.x'], isSource: true },
  { by: 'Elasticsearch 8.x', into: ['Elasticsearch 8.x', 'Elasticsearch 9.x'], isSource: true },
  { by: 'Elasticsearch 9.x', into: ['Elasticsearch 9.x'], isSource: false },
  { by: 'OpenSearch 1.x', into: ['OpenSearch 1.x', 'OpenSearch 2.x'], isSource: true },
  { by: 'OpenSearch 2.x', into: ['OpenSearch 2.x', 'OpenSearch 3.x'], isSource: true },
  { by: 'OpenSearch 3.x', into: ['OpenSearch 3.x'], isSource: true },
];

/** Why what is not in the table is refused; the first that fits. A product alone means all its versions. */
export const REFUSALS: readonly { readonly by: string; readonly into: string; readonly why: string }[] = [
  {
    by: 'OpenSearch',
    into: 'Elasticsearch',
    why: 'OpenSearch writes version ids above any of Elasticsearch, which therefore takes its snapshots for future ones',
  },
  { by: 'Elasticsearch', into: 'OpenSearch 3.x', why: 'OpenSearch 3.x takes no index of Elasticsearch' },
  {
    by: 'Elasticsearch 7.12 to 9.99',
    into: 'OpenSearch',
    why: 'OpenSearch does not read the repository format of Elasticsearch 7.12 and later',
  },
  { by: 'Elasticsearch', into: 'OpenSearch 2.x', why: 'OpenSearch 2.x takes nothing older than Elasticsearch 7.0' },
  { by: 'Elasticsearch', into: 'OpenSearch 1.x', why: 'OpenSearch 1.x takes nothing older than Elasticsearch 6.0' },
  {
    by: 'Elasticsearch 6.8',
    into: 'Elasticsearch 7.0 to 7.1',
    why: 'Elasticsearch 6.8 is younger than 7.0 and 7.1',
  },
  {
    by: 'Elasticsearch 5.0 to 6.8',
    into: 'Elasticsearch 8.0 to 9.99',
    why:
      'a version takes what its own and the previous major version created (an archive index, read-only and licensed, ' +
      'is no migration)',
  },
];
const OTHERWISE = 'a version takes what its own and the previous major version created';

interface Range {
  readonly distribution: Distribution;
  /** `major * 100 + minor`. */
  readonly from: number;
  readonly to: number;
}

/** Minor versions are below this. */
const MINORS = 100;

function rangeOf(releases: string): Range {
  const [product, from, , to = from] = releases.split(' ');
  const distribution = product === 'OpenSearch' ? 'opensearch' : 'elasticsearch';
  return { distribution, from: from === undefined ? 0 : place(from, 0), to: place(to ?? '99.x', MINORS - 1) };
}

/** `x` stands for `open`. */
function place(text: string, open: number): number {
  const [major, minor] = text.split('.');
  return Number(major) * MINORS + (minor === 'x' ? open : Number(minor));
}

/** A version whose minor is not known lies in each range that its major touches. */
function contains(range: Range, { distribution, major, minor }: Version): boolean {
  if (range.distribution !== distribution) return false;
  const [least, most] = minor === undefined ? [0, MINORS - 1] : [minor, minor];
  return range.from <= major * MINORS + most && major * MINORS + least <= range.to;
}

function rowOf(version: Version): CompatibilityRow | undefined {
  return COMPATIBILITY.find(({ by }) => contains(rangeOf(by), version));
}

// --- The questions --------------------------------------------------------------------------------------------------

/** Whether the target can restore a snapshot that the source writes; why not, empty when it can. */
export function checkVersions(clusters: {
  readonly source: VersionedCluster;
  readonly target: VersionedCluster;
}): Objection[] {
  const source = parseVersion(clusters.source);
  const target = parseVersion(clusters.target);
  if (source === undefined) return [unreadable('source', clusters.source)];
  if (target === undefined) return [unreadable('target', clusters.target)];
  if (rowOf(source)?.isSource !== true) return [unreadFormat(source)];
  const refused = refusalOf(source, target);
  return refused === undefined
    ? []
    : [
        {
          seen: `The target (${describeVersion(target)}) cannot restore snapshots of the source (${describeVersion(source)}): ${refused.seen}`,
          remedy: refused.remedy,
        },
      ];
}

/** Whether the target can hold an index that was created by the version of that id; as {@link checkVersions}. */
export function checkIndexVersion(index: string, createdVersionId: number, target: VersionedCluster): Objection[] {
  const reader = parseVersion(target);
  if (reader === undefined) return [unreadable('target', target)];
  const created = parseVersionId(createdVersionId);
  const refused = refusalOf(created, reader);
  if (refused === undefined) return [];
  return [
    {
      seen: `Index '${index}' was created by ${describeVersion(created)} and cannot be restored into ${describeVersion(reader)}: ${refused.seen}`,
      remedy: `${refused.remedy}; or leave it out with "-${index}"`,
    },
  ];
}

function unreadable(side: string, cluster: VersionedCluster): Objection {
  return {
    seen: `The ${side} cluster calls its version '${cluster.version}', which is not of the form major.minor.patch`,
    remedy: 'check its url',
  };
}

function unreadFormat(source: Version): Objection {
  return {
    seen: `The source is ${describeVersion(source)}, but snapferry reads the snapshot repositories of Elasticsearch 5.0 to 8.x and of OpenSearch`,
    remedy: 'move it to one of these versions first',
  };
}

/** Why `reader` refuses what `writer` wrote or created; undefined when it does not. */
export function refusalOf(writer: Version, reader: Version): Objection | undefined {
  const isOlderOne = writer.distribution === reader.distribution && isOlder(reader, writer);
  if (isOlderOne) {
    return { seen: 'a target must not be older', remedy: `upgrade it to ${describeVersion(writer)} or later` };
  }
  const row = rowOf(writer);
  if (row?.into.some((releases) => contains(rangeOf(releases), reader)) === true) return undefined;
  const why = REFUSALS.find(({ by, into }) => contains(rangeOf(by), writer) && contains(rangeOf(into), reader))?.why;
  return { seen: why ?? OTHERWISE, remedy: remedyOf(writer, reader, row) };
}

function remedyOf(writer: Version, reader: Version, row: CompatibilityRow | undefined): string {
  const later = row?.into.map(rangeOf).find((range) => isOfMajor(range, reader));
  if (later !== undefined) return `upgrade the target to ${shown(later.from)} or later`;
  const chain = chainOf(writer, reader);
  if (chain !== undefined) {
    const steps = chain.map((releases) => `${releases}, reindex there,`).join(' -> ');
    return `go in steps: ${describeVersion(writer)} -> ${steps} -> ${describeVersion(reader)}`;
  }
  return writer.distribution === 'opensearch'
    ? 'choose an OpenSearch target, or reindex from remote'
    : 'reindex from remote instead';
}

function isOfMajor(range: Range, { distribution, major }: Pick<Version, 'distribution' | 'major'>): boolean {
  return range.distribution === distribution && Math.floor(range.from / MINORS) === major;
}

/**
 * The fewest clusters in between that lead from `writer` to `reader`, where each is restored into and then reindexed in,
 * so that it is the one that created the indices. Undefined when none do.
 */
export function chainOf(writer: Version, reader: Version): string[] | undefined {
  const first = rowOf(writer);
  const rows = first === undefined ? undefined : fewest(first, (row) => leadsTo(row, reader));
  if (rows === undefined) return undefined;
  const steps: Range[] = [];
  for (let at = rows.length - 1; at > 0; at -= 1) {
    const next = steps[0];
    const leads = (row: CompatibilityRow) =>
      next === undefined ? leadsTo(row, reader) : readersOf(row).some((one) => overlap(one, next) !== undefined);
    steps.unshift(widened(rows[at]!, rows[at - 1]!, leads));
  }
  return steps.map(textOf);
}

/** Rows from `first` to one that leads there, breadth first. */
function fewest(
  first: CompatibilityRow,
  leads: (row: CompatibilityRow) => boolean,
): readonly CompatibilityRow[] | undefined {
  const seen = new Set([first]);
  for (let paths = [[first]]; paths.length > 0;) {
    const found = paths.find((path) => leads(path.at(-1)!));
    if (found !== undefined) return found;
    paths = paths.flatMap((path) =>
      following(path.at(-1)!)
        .filter((row) => !seen.has(row) && seen.add(row))
        .map((row) => [...path, row]),
    );
  }
  return undefined;
}

/** What restores all that is of the row: nothing older than its first version. */
function readersOf({ by, into }: CompatibilityRow): Range[] {
  const { distribution, from } = rangeOf(by);
  return into
    .map(rangeOf)
    .map((one) => (one.distribution === distribution ? { ...one, from: Math.max(from, one.from) } : one));
}

/** Which can be restored into, and hand on. */
function following(row: CompatibilityRow): CompatibilityRow[] {
  const readers = readersOf(row);
  return COMPATIBILITY.filter(
    ({ by, isSource }) => isSource && readers.some((range) => overlap(range, rangeOf(by)) !== undefined),
  );
}

/** Of one major version all that are as good as this row. */
function widened(row: CompatibilityRow, before: CompatibilityRow, leads: (row: CompatibilityRow) => boolean): Range {
  const major = Math.floor(rangeOf(row.by).from / MINORS);
  const parts = following(before)
    .filter(({ by }) => isOfMajor(rangeOf(by), { distribution: rangeOf(row.by).distribution, major }))
    .filter(leads)
    .flatMap(({ by }) => readersOf(before).map((one) => overlap(one, rangeOf(by))))
    .filter((part) => part !== undefined);
  return {
    distribution: rangeOf(row.by).distribution,
    from: Math.min(...parts.map(({ from }) => from)),
    to: Math.max(...parts.map(({ to }) => to)),
  };
}

function leadsTo(row: CompatibilityRow, reader: Version): boolean {
  return readersOf(row).some((range) => contains(range, reader));
}

function overlap(a: Range, b: Range): Range | undefined {
  const [from, to] = [Math.max(a.from, b.from), Math.min(a.to, b.to)];
  return a.distribution !== b.distribution || from > to ? undefined : { distribution: a.distribution, from, to };
}

/** `Elasticsearch 7.x`, `Elasticsearch 7.2 to 7.17`. */
function textOf({ distribution, from, to }: Range): string {
  const product = distribution === 'opensearch' ? 'OpenSearch' : 'Elasticsearch';
  const line = COMPATIBILITY.map(({ by }) => rangeOf(by)).filter((one) =>
    isOfMajor(one, { distribution, major: Math.floor(from / MINORS) }),
  );
  const isWhole = line.every((one) => from <= one.from && one.to <= to);
  if (isWhole) return `${product} ${Math.floor(from / MINORS)}.x`;
  return from === to ? `${product} ${shown(from)}` : `${product} ${shown(from)} to ${shown(to)}`;
}

function shown(at: number): string {
  return `${Math.floor(at / MINORS)}.${at % MINORS}`;
}

/** Compares as far as both sides are known: an id that tells the major version only is not older within it. */
function isOlder(a: Version, b: Version): boolean {
  if (a.major !== b.major) return a.major < b.major;
  if (a.minor === undefined || b.minor === undefined) return false;
  if (a.minor !== b.minor) return a.minor < b.minor;
  return (a.patch ?? 0) < (b.patch ?? 0);
}
