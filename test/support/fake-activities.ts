import type { createActivities } from '../../activities';
import type { PlanRef, Settings } from '../../src/domain/exchange';
import type { TransferLimits } from '../../src/domain/limits';

export type Activities = ReturnType<typeof createActivities>;

/** What a fake migration did, in order: the words tests assert on. */
export interface Journal {
  readonly calls: string[];
  readonly blocked: { source: boolean; target: boolean };
}

export interface FakeOptions {
  readonly settings?: Partial<Settings>;
  /** Replaces single activities; `base` is the fake it stands in for. */
  readonly replace?: (base: Activities, journal: Journal) => Partial<Activities>;
  /** Units per phase of every transfer. */
  readonly units?: Readonly<Record<string, number>>;
  readonly scopeDigest?: () => string;
}

const SETTINGS: Settings = {
  source: 'a',
  target: 'b',
  everyMs: 300,
  atMost: undefined,
  restoreEveryRound: true,
  freezeAtMostMs: 30_000,
  approval: false,
  replicas: 'before',
  verify: 'counts',
  switchAliases: true,
  limits: {},
  searchAttributes: ['SnapferryPhase', 'SnapferryRound', 'SnapferryNeedsOperator'],
};

/**
 * Activities without servers, for what only the workflows decide: order, parking, the lease, continue-as-new.
 * Whether the steps themselves are right is shown on real nodes (test/e2e).
 */
export function fakeActivities(options: FakeOptions = {}): { activities: Activities; journal: Journal } {
  const journal: Journal = { calls: [], blocked: { source: false, target: true } };
  const outcomes = new Map<number, { outcome: 'committed' | 'released'; why?: string }>();
  const log = (name: string) => void journal.calls.push(name);
  const units = options.units ?? { data: 3, 'shard-metadata': 1 };
  const perPhase = Object.entries(units);
  const total = perPhase.reduce((sum, [, count]) => sum + count, 0);
  const phaseOfPage = perPhase.flatMap(([phase, count]) =>
    Array.from({ length: Math.ceil(count / 100) }, (_, page) => ({ phase, count: Math.min(100, count - page * 100) })),
  );
  const firstUnit = (page: number) => phaseOfPage.slice(0, page).reduce((sum, entry) => sum + entry.count, 0);

  const base: Activities = {
    async preflight({ migration, firstRunId }) {
      log('preflight');
      const place = { store: 's', storeFingerprint: 'f', prefix: `work/${firstRunId}` };
      const plan: PlanRef = { migration, firstRunId, ...place, digest: 'd' };
      return { plan, settings: { ...SETTINGS, ...options.settings }, indices: 1, bytes: 1, warnings: [] };
    },
    async withdrawPreflight() {
      log('give claims back');
      return { released: 0 };
    },
    async resolveScope({ round }) {
      log(`scope ${round}`);
      return { indices: 1, changes: [], digest: options.scopeDigest?.() ?? 'scope' };
    },
    async takeSnapshot({ round, snapshot }) {
      log(`snapshot ${round}${journal.blocked.source ? ' under block' : ''}`);
      return { uuid: `uuid-of-${snapshot}`, indices: 1, shards: 1 };
    },
    async planTransfer({ round }) {
      log(`plan ${round}`);
      return {
        generation: round,
        manifestDigest: 'm',
        blobs: total,
        bytes: total * 10,
        sendBlobs: total,
        sendBytes: total * 10,
        fetchBytes: total * 10,
        replicaBytes: 0,
        heaviest: undefined,
        units: total,
        pages: phaseOfPage.length,
      };
    },
    async nextOpening({ at }) {
      log('opening');
      return { opensAt: at, closesAt: at + 3_600_000 };
    },
    async readUnits({ page }) {
      const { phase, count } = phaseOfPage[page] ?? { phase: '', count: 0 };
      return Array.from({ length: count }, (_, i) => {
        const unit = firstUnit(page) + i;
        return {
          unit,
          stage: perPhase.findIndex(([each]) => each === phase),
          phase,
          kind: unit % 2 === 0 ? ('blob' as const) : ('batch' as const),
          label: `${phase} ${unit}`,
          blobs: 1,
          bytes: 10,
        };
      });
    },
    async copyBlob({ round, page, unit }) {
      log(`copy ${round} ${phaseOfPage[page]?.phase} ${unit}`);
      return { blobs: 1, bytes: 10 };
    },
    async copyBatch({ round, page, unit }) {
      log(`copy ${round} ${phaseOfPage[page]?.phase} ${unit}`);
      return { blobs: 1, bytes: 10 };
    },
    async writeLimits({ limits }) {
      log(`limits ${JSON.stringify(limits)}`);
      return limits as TransferLimits;
    },
    async readThrottle() {
      log('read throttle');
      return { recovery: null };
    },
    async raiseThrottle({ before }) {
      log('raise throttle');
      return before;
    },
    async publish({ round }) {
      log(`publish ${round}`);
      return { generation: round };
    },
    async restore({ round }) {
      log(`restore ${round}`);
      return { indices: 1, shards: 1, totalBytes: 10, reusedBytes: 5 };
    },
    async writeFreezeRecord({ freeze }) {
      log(`record ${freeze}`);
      return { digest: 'r', indices: 1, alreadyBlocked: 0 };
    },
    async blockWrites() {
      log('block source');
      journal.blocked.source = true;
      return { method: 'settings', blockedAt: Date.now() };
    },
    async proveQuiescence() {
      log('quiescent');
      return { provedBy: 'tasks-and-counters', countersDigest: 'c', provedAt: Date.now() };
    },
    async writeFreezeOutcome({ freeze, outcome, why }) {
      if (!outcomes.has(freeze)) outcomes.set(freeze, { outcome, ...(why === undefined ? {} : { why }) });
      const stands = outcomes.get(freeze) as { outcome: 'committed' | 'released'; why?: string };
      log(`outcome ${stands.outcome}`);
      return stands;
    },
    async unblockWrites() {
      log('unblock source');
      journal.blocked.source = false;
      return { unblocked: 1, leftBlocked: 0 };
    },
    async excludeIndex({ index, who, why }) {
      log(`exclude ${index}`);
      return { who, why, digest: options.scopeDigest?.() ?? 'scope' };
    },
    async unblockExcluded() {
      log('unblock excluded');
      return { unblocked: 1, leftBlocked: 0 };
    },
    async confirmSourceState() {
      log('confirm source');
      return { differing: [] };
    },
    async obstacleToFreeze() {
      return {};
    },
    async confirmPublished() {
      log('confirm published');
      return { differing: [] };
    },
    async recheckBeforeCommit() {
      log('recheck');
      return { objections: [] };
    },
    async takeFingerprints() {
      log('fingerprints');
      return { digest: 'f', indices: 1 };
    },
    async verify() {
      log('verify');
      return { digest: 'l', passed: 5, failed: 0, waived: 0, documents: 3, failures: [], failedRows: [] };
    },
    async waiveFailedRows({ rows, who }) {
      log(`waive ${rows.join()} by ${who}`);
      return { digest: 'w', passed: 4, failed: 0, waived: 1, documents: 3, failures: [], failedRows: [] };
    },
    async buildReplicas({ wait }) {
      log(`replicas ${wait ? 'before' : 'after'}`);
      return { indices: 1 };
    },
    async unblockTarget() {
      log('unblock target');
      journal.blocked.target = false;
      return { indices: 1, aliases: 0 };
    },
    async switchAliases() {
      log('aliases');
      return { indices: 1, aliases: 1 };
    },
    async countWrites() {
      return { operations: 3, exact: true };
    },
    async blockTarget() {
      log('block target');
      journal.blocked.target = true;
      return { method: 'block-api', blockedAt: Date.now() };
    },
    async proveTargetQuiescence() {
      log('target quiescent');
      return { operations: 3, exact: true };
    },
    async switchAliasesBack({ who }) {
      log(`aliases back by ${who}`);
      return { aliases: 1 };
    },
    async unblockSource() {
      log('unblock source');
      journal.blocked.source = false;
      return { unblocked: 1, leftBlocked: 0 };
    },
    async notify({ event }) {
      log(`told ${event}`);
    },
    async keepSettings() {
      log('settings');
      return { indices: 1, notes: ['setting index.codec did not come back'] };
    },
    async takeSettingsBack() {
      log('settings back');
      return { indices: 1, notes: ['setting index.codec stays as the switchover set it'] };
    },
    async deleteSnapshots() {
      log('delete snapshots');
      return { deleted: 3 };
    },
    async writeReport({ outcome }) {
      log(`report ${outcome}`);
      return { store: 's', key: 'work/report.json', digest: 'x' };
    },
    async cleanUp({ outcome, throttle, committed }) {
      const after =
        committed === undefined || outcome === 'done' || outcome === 'rolled-back' ? '' : ` after commit ${committed}`;
      log(`clean up ${outcome}${after}${throttle === undefined ? '' : ', throttle put back'}`);
      return { remains: [] };
    },
  };
  return { activities: { ...base, ...options.replace?.(base, journal) }, journal };
}
