/**
 * Which versions can hand snapshots to which. Two gates, both of which the cluster opens or shuts only at the restore,
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

/**
 * Whether the target can restore a snapshot that the source writes; why not, empty when it can.
 *
 * | source -> target | answer |
 * |---|---|
 * | Elasticsearch before 5.0 or after 8.x | refused: a repository format that snapferry does not read |
 * | OpenSearch -> Elasticsearch | refused: masked version ids, another product's metadata |
 * | target older than source, by any part | refused by every version |
 * | two majors apart or more | refused: by snapshot version from 7.11 on, by every single index before |
 * | Elasticsearch 6.8 -> 7.0, 7.1 | refused: 6.8 is the younger of the two |
 * | Elasticsearch -> OpenSearch 1.x | 6.0 to 7.11 |
 * | Elasticsearch -> OpenSearch 2.x | 7.0 to 7.10 |
 * | Elasticsearch -> OpenSearch 3.x | refused |
 */
export function checkVersions(clusters: {
  readonly source: VersionedCluster;
  readonly target: VersionedCluster;
}): Objection[] {
  const source = parseVersion(clusters.source);
  const target = parseVersion(clusters.target);
  if (source === undefined) return [unreadable('source', clusters.source)];
  if (target === undefined) return [unreadable('target', clusters.target)];
  const unread = unreadFormat(source);
  if (unread !== undefined) return [unread];
  const window = windowProblem(source, target);
  return window === undefined
    ? []
    : [
        {
          seen: `The target (${describeVersion(target)}) cannot restore snapshots of the source (${describeVersion(source)}): ${window.seen}`,
          remedy: window.remedy,
        },
      ];
}

/** Whether the target can hold an index that was created by the version of that id; as {@link checkVersions}. */
export function checkIndexVersion(index: string, createdVersionId: number, target: VersionedCluster): Objection[] {
  const reader = parseVersion(target);
  if (reader === undefined) return [unreadable('target', target)];
  const created = parseVersionId(createdVersionId);
  const window = windowProblem(created, reader);
  if (window === undefined) return [];
  return [
    {
      seen: `Index '${index}' was created by ${describeVersion(created)} and cannot be restored into ${describeVersion(reader)}: ${window.seen}`,
      remedy: `${window.remedy}; or leave it out with "-${index}"`,
    },
  ];
}

function unreadable(side: string, cluster: VersionedCluster): Objection {
  return {
    seen: `The ${side} cluster calls its version '${cluster.version}', which is not of the form major.minor.patch`,
    remedy: 'check its url',
  };
}

function unreadFormat(source: Version): Objection | undefined {
  if (source.distribution === 'opensearch' || (source.major >= 5 && source.major <= 8)) return undefined;
  return {
    seen: `The source is ${describeVersion(source)}, but snapferry reads the snapshot repositories of Elasticsearch 5.0 to 8.x and of OpenSearch`,
    remedy: 'move it to one of these versions first',
  };
}

/** Why `reader` refuses what `writer` wrote or created; undefined when it does not. */
function windowProblem(writer: Version, reader: Version): Objection | undefined {
  if (writer.distribution !== reader.distribution) {
    return writer.distribution === 'opensearch'
      ? openSearchToElasticsearch()
      : elasticsearchToOpenSearch(writer, reader);
  }
  if (isOlder(reader, writer)) {
    return { seen: 'a target must not be older', remedy: `upgrade it to ${describeVersion(writer)} or later` };
  }
  if (generation(reader) - generation(writer) >= 2) return twoMajorsApart(writer, reader);
  if (
    writer.distribution === 'elasticsearch' &&
    isRelease(writer, 6, 8) &&
    reader.major === 7 &&
    (reader.minor ?? 0) < 2
  ) {
    return { seen: 'Elasticsearch 6.8 is younger than 7.0 and 7.1', remedy: 'upgrade the target to 7.2 or later' };
  }
  return undefined;
}

function openSearchToElasticsearch(): Objection {
  return {
    seen: 'OpenSearch writes version ids above any of Elasticsearch, which therefore takes its snapshots for future ones',
    remedy: 'choose an OpenSearch target, or reindex from remote',
  };
}

function elasticsearchToOpenSearch(writer: Version, reader: Version): Objection | undefined {
  const minor = writer.minor ?? 0;
  if (reader.major >= 3) {
    return {
      seen: `OpenSearch ${reader.major}.x takes no index of Elasticsearch`,
      remedy: 'go through OpenSearch 2.x and reindex there',
    };
  }
  if (writer.major > 7 || (writer.major === 7 && minor >= 12)) {
    return {
      seen: 'OpenSearch does not read the repository format of Elasticsearch 7.12 and later',
      remedy: 'reindex from remote instead',
    };
  }
  if (reader.major === 2 && writer.major === 7 && minor > 10) {
    return {
      seen: 'OpenSearch 2.x takes Elasticsearch 7.0 to 7.10',
      remedy: 'choose an OpenSearch 1.x target and upgrade it afterwards',
    };
  }
  const oldest = reader.major === 1 ? 6 : 7;
  return writer.major >= oldest
    ? undefined
    : {
        seen: `OpenSearch ${reader.major}.x takes nothing older than Elasticsearch ${oldest}.0`,
        remedy: `bring it to Elasticsearch ${oldest}.x and reindex there first`,
      };
}

function twoMajorsApart(writer: Version, reader: Version): Objection {
  const [product, majors] = LINES[reader.distribution];
  const archive = product === 'Elasticsearch' && reader.major >= 8 && writer.major >= 5 && writer.major < 7;
  return {
    seen:
      'a version takes what its own and the previous major version created' +
      (archive ? ' (an archive index, read-only and licensed, is no migration)' : ''),
    remedy:
      `choose an ${product} ${writer.major}.x or ${majors[generation(writer) + 1]}.x target, ` +
      `or reindex in ${majors[generation(reader) - 1]}.x first`,
  };
}

/** Major versions that exist, in order: Elasticsearch went from 2.x to 5.x. */
const LINES = {
  elasticsearch: ['Elasticsearch', [1, 2, 5, 6, 7, 8, 9]],
  opensearch: ['OpenSearch', [1, 2, 3]],
} as const;

/** The place of a major version in its line; versions from the future come right after the last known one. */
function generation(version: Version): number {
  const [, majors] = LINES[version.distribution];
  return majors.filter((major) => major < version.major).length;
}

function isRelease(version: Version, major: number, minor: number): boolean {
  return version.major === major && version.minor === minor;
}

/** Compares as far as both sides are known: an id that tells the major version only is not older within it. */
function isOlder(a: Version, b: Version): boolean {
  if (a.major !== b.major) return a.major < b.major;
  if (a.minor === undefined || b.minor === undefined) return false;
  if (a.minor !== b.minor) return a.minor < b.minor;
  return (a.patch ?? 0) < (b.patch ?? 0);
}
