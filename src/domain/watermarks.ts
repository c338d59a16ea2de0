/**
 * How full disks may be: settings `cluster.routing.allocation.disk.watermark.*`, as the cluster says them
 * (https://www.elastic.co/guide/en/elasticsearch/reference/8.19/modules-cluster.html#disk-based-shard-allocation).
 */
export interface Watermark {
  /** From the one that is reached first to the last. */
  readonly name: 'low' | 'high' | 'flood_stage';
  /** `85%` or `0.85` of the disk in use, or `10gb` that stay free. */
  readonly value: string;
  /** A share leaves no more free than this: `200GB`. */
  readonly maxHeadroom?: string;
}

/** The bytes that are free when a disk of `totalBytes` reaches the mark; 0 for a value that nobody can read. */
export function freeBytesAt({ value, maxHeadroom }: Watermark, totalBytes: number): number {
  const share = /^([\d.]+)%$/.exec(value)?.[1] ?? (/^[\d.]+$/.test(value) ? String(100 * Number(value)) : undefined);
  if (share === undefined) return bytesOf(value) ?? 0;
  const free = (totalBytes * (100 - Number(share))) / 100;
  return Math.min(free, bytesOf(maxHeadroom ?? '') ?? Infinity);
}

const UNITS = ['b', 'kb', 'mb', 'gb', 'tb', 'pb'];

/** As Elasticsearch writes sizes, in steps of 1024. */
function bytesOf(text: string): number | undefined {
  const [, number = '', unit = ''] = /^([\d.]+)([kmgtp]?b)$/i.exec(text) ?? [];
  return number === '' ? undefined : Number(number) * 1024 ** UNITS.indexOf(unit.toLowerCase());
}
