import { formatBytes } from './durations';

/**
 * How fast a migration may move bytes between the stores, and read documents of the clusters: the plan's field `limits`
 * and the argument of `set-limits` are one thing. Each transfer worker process keeps to it by itself: two processes may
 * use twice as much. A verification runs in one.
 */

/** What transfers and verification keep to; empty is no limit. */
export interface TransferLimits {
  readonly bytesPerSecond?: number | undefined;
  /** By the hour of the day in UTC. A number stands in place of `bytesPerSecond` for its hour, null leaves it. */
  readonly byHour?: readonly (number | null)[] | undefined;
  /** Documents that verification reads of each cluster; the source serves its users meanwhile. */
  readonly verifyDocumentsPerSecond?: number | undefined;
}

/** Bytes per second at `now` (epoch milliseconds); undefined is no limit. */
export function limitInForce({ bytesPerSecond: always, byHour }: TransferLimits, now: number): number | undefined {
  return byHour?.[new Date(now).getUTCHours()] ?? always;
}

/**
 * For people: `20 MiB/s`, `5 MiB/s at 14 h UTC (byHour)`, `20 MiB/s, verification 500 documents/s`; undefined where no
 * limit was ever set.
 */
export function limitText(limits: TransferLimits, now: number): string | undefined {
  const { verifyDocumentsPerSecond: documents } = limits;
  const verification = documents === undefined ? [] : [`verification ${documents} documents/s`];
  const all = [...transfersText(limits, now), ...verification];
  return all.length === 0 ? undefined : all.join(', ');
}

function transfersText(limits: TransferLimits, now: number): string[] {
  const { bytesPerSecond: always, byHour } = limits;
  if (always === undefined && byHour === undefined) return [];
  const inForce = limitInForce(limits, now);
  const rate = inForce === undefined ? 'none' : `${formatBytes(inForce)}/s`;
  return [byHour === undefined ? rate : `${rate} at ${new Date(now).getUTCHours()} h UTC (byHour)`];
}
