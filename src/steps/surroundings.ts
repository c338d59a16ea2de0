import { formatBytes } from '../domain/durations';
import { resolvePatterns } from '../domain/patterns';
import type { ResolvedPlan } from '../domain/plan';
import { freeBytesAt } from '../domain/watermarks';
import { callsOf } from '../elasticsearch';
import type { CallName, NeededCall } from '../elasticsearch';
import type { Cluster, IndexInfo, Room } from '../elasticsearch/cluster';
import { mapInParallel } from '../storage';
import type { Findings } from './findings';

/** Preflight's checks of what indices need around them: calls, data streams, slow storage, disk and shards. */

interface Ends {
  readonly source: Cluster;
  readonly target: Cluster;
}

const PROBES_AT_ONCE = 4;

/** What of the table of calls a plan needs on that side. */
export function wantedBy({ cutover, throttles, repository, restore }: ResolvedPlan, side: 'source' | 'target') {
  const { level, queries } = cutover.verify;
  return {
    documents: level !== 'counts' || queries.length > 0,
    ourRegistration: repository[side].name === undefined,
    recoveryThrottle: throttles.recoveryBytesPerSecond !== undefined,
    closing: restore.strategy === 'close',
    deleting: restore.strategy !== 'close',
  };
}

/** A dry probe of each call that a migration needs and a service or a role may refuse. */
export async function checkCalls(plan: ResolvedPlan, ends: Ends, findings: Findings, signal: AbortSignal) {
  for (const side of ['source', 'target'] as const) {
    const cluster = ends[side];
    await findings.attempt('calls', cluster.name, async () => {
      // Of blocks it is asked below: what stands in for them counts too.
      const calls = callsOf(side, wantedBy(plan, side)).filter(
        ([name, { probe }]) => name !== 'block' && probe !== undefined,
      );
      const refusals = await mapInParallel(calls, PROBES_AT_ONCE, signal, async ([name, call], either) => ({
        ...{ name, call },
        refusal: await cluster.refusalOf(name, either),
      }));
      const refused = refusals.filter(({ refusal }) => refusal !== undefined);
      for (const { name, call, refusal = '' } of refused) reportRefusal(cluster, name, call, refusal, findings);
      if (refused.length === 0) findings.ok('calls', cluster.name, `permits all ${calls.length} calls asked about`);
    });
  }
  await findings.attempt('calls', plan.source, () => checkProofOfQuiet(plan, ends.source, findings, signal));
}

function reportRefusal(cluster: Cluster, name: CallName, call: NeededCall, refusal: string, findings: Findings) {
  const objection = {
    seen: `Cluster '${cluster.name}' refuses ${refusal} (${call.why})`,
    remedy:
      name === 'close'
        ? 'grant it; Amazon Elasticsearch Service offers it from 7.4 on: choose a newer target, or restore.strategy "replace"'
        : `grant this call to the credentials of the connections file (${statementOf(call.statement)})`,
  };
  if (call.isAdvisory) findings.warn('calls', cluster.name, objection);
  else findings.refuse('calls', cluster.name, objection);
}

function statementOf(sid: string): string {
  return `statement ${sid} of \`snapferry policies PLAN\``;
}

/** Without `_block` and `_tasks` nothing proves that writes have come to rest. */
async function checkProofOfQuiet(plan: ResolvedPlan, source: Cluster, findings: Findings, signal: AbortSignal) {
  const refusal = await source.refusalOf('block', signal);
  if (refusal === undefined) return findings.ok('calls', source.name, 'permits block, which proves that writes rest');
  if ((await source.writeTasks(signal)) !== 'unsupported') {
    return findings.ok('calls', source.name, 'tells of write tasks, which proves that writes rest');
  }
  if (plan.cutover.writersStopped) {
    return findings.ok('calls', source.name, 'proves nothing of writes; cutover.writersStopped vouches for them');
  }
  findings.refuse('calls', source.name, {
    seen: `Cluster '${source.name}' refuses both _block and _tasks, so nothing proves that writes have come to rest`,
    remedy: 'grant one of them, or stop every writer before the freeze and say cutover.writersStopped: true',
  });
}

/**
 * A pattern does not see the hidden indices of a data stream, which would stay behind without a word. `meant`: the plan's
 * `indices`, to be held against what no list of indices has.
 */
export async function checkDataStreams(
  meant: readonly string[],
  source: Cluster,
  indices: readonly IndexInfo[],
  findings: Findings,
  signal: AbortSignal,
) {
  const streams = await source.dataStreams(signal);
  const matched = new Set(resolvePatterns(meant, Object.keys(streams)).included);
  const moved = new Set(indices.map(({ name }) => name));
  for (const [stream, backing] of Object.entries(streams)) {
    if (!matched.has(stream) && !backing.some((index) => moved.has(index))) continue;
    findings.refuse('indices', stream, {
      seen: `'${stream}' is a data stream of ${backing.length} backing indices, and data streams are not moved`,
      remedy: `leave it out with "-${stream}" (and its backing indices), or reindex it into an index`,
    });
  }
}

/**
 * Amazon's warm indices go into no snapshot together with others
 * (https://docs.aws.amazon.com/opensearch-service/latest/developerguide/ultrawarm.html#ultrawarm-manual-snapshot), and cold
 * ones, which no list of indices has, would stay behind without a word. `meant` as above.
 */
export async function checkSlowIndices(
  meant: readonly string[],
  source: Cluster,
  indices: readonly IndexInfo[],
  findings: Findings,
  signal: AbortSignal,
) {
  const { warm, cold } = await source.slowIndices(signal);
  const isWarm = new Set(warm);
  const moved = indices.map(({ name }) => name).filter((name) => isWarm.has(name));
  refuseSlow(
    moved,
    'UltraWarm',
    (name) => `return it to hot storage (POST _ultrawarm/migration/${name}/_hot)`,
    findings,
  );
  const behind = resolvePatterns(meant, cold).included;
  const thaw = (name: string) =>
    `bring it back (POST _cold/migration/_warm {"indices": "${name}"}, then POST _ultrawarm/migration/${name}/_hot)`;
  refuseSlow(behind, 'cold storage', thaw, findings);
}

function refuseSlow(names: readonly string[], where: string, how: (name: string) => string, findings: Findings): void {
  for (const name of names) {
    findings.refuse('indices', name, {
      seen: `Index '${name}' lies in ${where}, from where no snapshot of ours takes it`,
      remedy: `${how(name)}, or leave it out with "-${name}"`,
    });
  }
}

/** Whether the target has disk and shards for all copies of the indices. */
export async function checkRoom(
  { restore }: ResolvedPlan,
  indices: readonly IndexInfo[],
  target: Cluster,
  findings: Findings,
  signal: AbortSignal,
) {
  const room = await target.room(signal);
  if (room === undefined) return;
  // With strategy `alias` the index of the last round, without replicas, stays until the new one is there.
  const beside = restore.strategy === 'alias' ? 1 : 0;
  // Copies that no node may hold are not made.
  const copies = ({ replicas }: IndexInfo) => 1 + Math.min(replicas, room.nodes - 1);
  const bytes = indices.reduce(
    (sum, index) => sum + (index.primaryBytes ?? 0) * Math.max(copies(index), 1 + beside),
    0,
  );
  const shards = indices.reduce((sum, { shards, replicas }) => sum + shards * (1 + Math.max(replicas, beside)), 0);
  const has = `${room.nodes} nodes, ${formatBytes(room.freeBytes)} free of ${formatBytes(room.totalBytes)}`;
  const needs = `the indices with their replicas${beside === 0 ? '' : ', or two rounds beside each other,'} need ${formatBytes(bytes)}`;
  if (bytes > room.freeBytes) {
    findings.refuse('room', target.name, { seen: `The target has ${has}; ${needs}`, remedy: 'give it larger disks' });
  } else judgeWatermarks(room, bytes, `${has}; ${needs}`, target.name, findings);
  const limit = (room.shardsPerNode ?? Infinity) * room.nodes;
  if (room.shards + shards <= limit) return;
  findings.refuse('room', target.name, {
    seen: `The target holds ${room.shards} of at most ${limit} shards (cluster.max_shards_per_node); the indices have ${shards}`,
    remedy: 'raise the limit, add nodes, or shrink indices first',
  });
}

/** What a cluster does with a disk that is fuller, and what to do about it. */
const BEYOND = {
  low: 'no more shards are given to such a disk',
  high: 'shards are moved away from such a disk',
  flood_stage: 'indices of such a disk take no writes',
} as const;

/** Disks are taken together: where shards are spread unevenly, one is full earlier. */
function judgeWatermarks(room: Room, bytes: number, seen: string, target: string, findings: Findings): void {
  const left = (room.freeBytes - bytes) / room.nodes;
  const passed = room.watermarks.filter((watermark) => left < freeBytesAt(watermark, room.totalBytes / room.nodes));
  const worst = passed.at(-1);
  if (worst === undefined) return findings.ok('room', target, seen);
  const objection = {
    seen: `${seen}: beyond the watermark ${worst.name} (${worst.value}) ${BEYOND[worst.name]}`,
    remedy: `give it larger disks, or set cluster.routing.allocation.disk.watermark.${worst.name} for them`,
  };
  if (worst.name === 'flood_stage') findings.refuse('room', target, objection);
  else findings.warn('room', target, objection);
}
