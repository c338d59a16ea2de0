import { crc32 } from 'node:zlib';
import type { ManifestIndex, ManifestShard } from './manifest';

/**
 * What a restore over an index must fetch. A target compares the files it holds by groups: one that differs or is
 * missing makes its whole group be fetched again (facts/elasticsearch.md 3.2, Elasticsearch #77695).
 *
 * | rule | groups | targets |
 * |---|---|---|
 * | segments | a segment but its `.liv`; all `.liv` with `segments_N` | before 7.16, OpenSearch |
 * | generations | a segment's body; its generational files; `segments_N` | 7.16 and newer |
 *
 * `segments_N` always differs: a target that opens a restored shard commits anew, with an id of its own (a round
 * without changes fetched just the commit group, 5.6.16).
 *
 * With the first rule every update or delete of a document under soft deletes (7.0 and newer) writes generational
 * `.fnm` and `.dvd` files into its segment, and the whole segment is fetched.
 */
export type GroupingRule = 'segments' | 'generations';

/** Files that belong together, as bytes and a checksum over their names, lengths and checksums. */
interface FileGroup {
  readonly bytes: number;
  readonly digest: number;
}

/** A Lucene segment: what never changes, and what a later commit adds. */
interface SegmentGroups {
  readonly body: FileGroup;
  /** Generational files but `.liv`: updates of doc values, which soft deletes are. */
  readonly updates: FileGroup;
  /** `.liv`: which documents are deleted. */
  readonly live: FileGroup;
}

interface File {
  readonly physicalName: string;
  readonly length: number;
  readonly crc32: number;
}

/** The segments of a shard by name, their groups in the same order, and the length of `segments_N`. */
export function groupFiles(files: readonly File[]): Pick<ManifestShard, 'segments' | 'segmentGroups' | 'commitBytes'> {
  const bySegment = new Map<string, File[]>();
  const commit: File[] = [];
  for (const file of files) {
    const segment = segmentOf(file.physicalName);
    if (segment === undefined) commit.push(file);
    else bySegment.set(segment, [...(bySegment.get(segment) ?? []), file]);
  }
  const isLive = ({ physicalName }: File) => physicalName.endsWith('.liv');
  const isUpdate = (file: File) => !isLive(file) && isGenerational(file.physicalName);
  const sorted = [...bySegment].sort(([a], [b]) => (a < b ? -1 : 1));
  const groups = sorted.map(([, all]) =>
    encode({
      body: group(all.filter((file) => !isLive(file) && !isUpdate(file))),
      updates: group(all.filter(isUpdate)),
      live: group(all.filter(isLive)),
    }),
  );
  return {
    segments: sorted.map(([name]) => name),
    segmentGroups: groups.join(' '),
    commitBytes: sum(commit.map(({ length }) => length)),
  };
}

/** `<bytes>-<digest>` of body, updates and live in base 36: there may be a million segments, in memory and in the manifest. */
function encode({ body, updates, live }: SegmentGroups): string {
  const text = ({ bytes, digest }: FileGroup) => (bytes === 0 ? '' : `${bytes.toString(36)}-${digest.toString(36)}`);
  return [body, updates, live].map(text).join(':').replace(/:+$/, '');
}

function decode({ segments, segmentGroups }: ManifestShard): ReadonlyMap<string, SegmentGroups> {
  const groups = segmentGroups.split(' ');
  return new Map(
    segments.map((name, at) => {
      const [body, updates, live] = (groups[at] ?? '').split(':').map(decodeGroup);
      return [name, { body: body ?? NOTHING, updates: updates ?? NOTHING, live: live ?? NOTHING }];
    }),
  );
}

const NOTHING: FileGroup = { bytes: 0, digest: 0 };

function decodeGroup(text: string): FileGroup {
  const [bytes, digest] = text.split('-');
  return bytes === undefined || digest === undefined
    ? NOTHING
    : { bytes: parseInt(bytes, 36), digest: parseInt(digest, 36) };
}

/** Bytes that a target which holds `before` must fetch to restore `now`; everything of an index that it does not hold. */
export function bytesToFetch(
  before: readonly ManifestIndex[],
  now: readonly ManifestIndex[],
  rule: GroupingRule,
): number {
  const held = new Map(before.map((index) => [index.id, index]));
  return sum(
    now.flatMap(({ id, shards }) =>
      shards.map((shard) =>
        shardBytes(
          held.get(id)?.shards.find((other) => other.shard === shard.shard),
          shard,
          rule,
        ),
      ),
    ),
  );
}

function shardBytes(before: ManifestShard | undefined, now: ManifestShard, rule: GroupingRule): number {
  const held = before === undefined ? undefined : decode(before);
  const wanted = [...decode(now)];
  const differs = (one: FileGroup | undefined, other: FileGroup) => one?.digest !== other.digest;
  if (rule === 'segments') {
    const live = sum(wanted.map(([, segment]) => segment.live.bytes));
    const segments = wanted.map(([name, { body, updates }]) => {
      const one = held?.get(name);
      return differs(one?.body, body) || differs(one?.updates, updates) ? body.bytes + updates.bytes : 0;
    });
    return now.commitBytes + live + sum(segments);
  }
  const segments = wanted.map(([name, { body, updates, live }]) => {
    const one = held?.get(name);
    const generations = updates.bytes + live.bytes;
    if (differs(one?.body, body)) return body.bytes + generations;
    return differs(one?.updates, updates) || differs(one?.live, live) ? generations : 0;
  });
  return now.commitBytes + sum(segments);
}

/** `_0` of `_0.cfs`, `_0_2.fnm` and `_0_Lucene50_0.doc`; undefined for `segments_3`, which is of no segment. */
function segmentOf(physicalName: string): string | undefined {
  return /^(_[0-9a-z]+)[._]/.exec(physicalName)?.[1];
}

/** `_0_2.fnm` and `_0_2_Lucene80_0.dvd`, but not `_0.cfs` and `_0_Lucene80_0.dvd`: as Lucene's IndexFileNames. */
function isGenerational(physicalName: string): boolean {
  const parts = physicalName.slice(1).replace(/\..*$/, '').split('_');
  return parts.length === 2 || parts.length === 4;
}

function group(files: readonly File[]): FileGroup {
  const lines = files
    .map(({ physicalName, length, crc32: checksum }) => `${physicalName} ${length} ${checksum}`)
    .sort();
  return { bytes: sum(files.map(({ length }) => length)), digest: lines.length === 0 ? 0 : crc32(lines.join('\n')) };
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
