import type { Level } from './ledger';
import type { TransferLimits } from './limits';
import type { RoundsWindow } from './window';
import type { Worked } from './worked';

/**
 * What crosses between workflows and activities: plain JSON, small, no secrets. Lists of indices or blobs stay in the
 * work prefix; what crosses is a key and a digest. All times are epoch milliseconds, all sizes bytes.
 */

/** The resolved plan in the work prefix. A worker whose connections file differs from its fingerprints refuses the task. */
export interface PlanRef {
  readonly migration: string;
  readonly firstRunId: string;
  readonly store: string;
  /** Of the store: in another one the plan, which holds all other fingerprints, would only be missing. */
  readonly storeFingerprint: string;
  /** The work prefix of this migration, `<work>/<first run id>`; `plan.json` lies below it. */
  readonly prefix: string;
  readonly digest: string;
}

/** What the workflow itself decides with. */
export interface Settings {
  readonly source: string;
  readonly target: string;
  readonly everyMs: number;
  readonly atMost: number | undefined;
  /** Rounds start only then. */
  readonly window?: RoundsWindow;
  readonly restoreEveryRound: boolean;
  readonly freezeAtMostMs: number;
  readonly approval: boolean;
  readonly replicas: 'before' | 'after';
  readonly verify: Level;
  readonly switchAliases: boolean;
  /** Whether the plan names a webhook for events, and one for the switchover. */
  readonly notify?: boolean;
  readonly webhook?: boolean;
  /** How long to stay after the switchover; undefined ends at once. */
  readonly watchMs?: number;
  readonly limits: TransferLimits;
  /** Whether settings of the source come back after the switchover. */
  readonly keepsSettings?: boolean;
  /** Whether our snapshots go from the source after the switchover. */
  readonly deletesSnapshots?: boolean;
  /** Whether the target's own throttle is to be changed while the migration runs. */
  readonly changesThrottle?: boolean;
  /** Those of our search attributes that the namespace knows; a missing one must never stop a workflow. */
  readonly searchAttributes: readonly string[];
}

export interface PreflightInput {
  readonly plan: unknown;
  readonly migration: string;
  readonly firstRunId: string;
}
export interface PreflightResult {
  readonly plan: PlanRef;
  readonly settings: Settings;
  readonly indices: number;
  readonly bytes: number;
  /** Sentences for people, at most 20. */
  readonly warnings: readonly string[];
  /** Instead of everything else: what `adopt` takes over after the commit. */
  readonly lost?: LostCutover;
}

/** A cutover that was committed by a migration that ended before its report. `plan` is that migration's. */
export interface LostCutover extends RoundRef {
  readonly freeze: number;
  readonly verification: VerifyResult;
}

export interface OpeningInput {
  readonly window: RoundsWindow;
  readonly at: number;
}

export interface RoundRef {
  readonly plan: PlanRef;
  readonly round: number;
  readonly attempt: number;
}

export interface ScopeInput extends RoundRef {
  /** Where the last resolved scope lies, to tell what joined, left or was re-created. */
  readonly previous: { readonly round: number; readonly attempt: number } | undefined;
}
export interface ScopeResult {
  readonly indices: number;
  /** Live ones of all indices, nested ones included. */
  readonly documents?: number;
  /** Sentences: what joined or left since `previous`, and what is to be known of what joined, at most 10. */
  readonly changes: readonly string[];
  /** Digest over names, uuids and shard counts: equal digests mean the same scope. */
  readonly digest: string;
}

/** What an operator took out of the running migration. */
export interface Exclusion {
  /** Its name on the source. */
  readonly index: string;
  readonly who: string;
  readonly why: string;
}
export interface ExcludeInput extends Exclusion {
  readonly plan: PlanRef;
  readonly at: number;
  /** The last resolved scope, or that of the freeze; undefined before the first. */
  readonly scope: { readonly round: number; readonly attempt: number } | undefined;
  /** Whether `scope` is that of a freeze. */
  readonly frozen?: boolean;
}
export interface ExcludeResult {
  /** Who was first. */
  readonly who: string;
  readonly why: string;
  /** Of `scope` without all that is excluded. */
  readonly digest?: string;
}

export interface SnapshotInput extends RoundRef {
  readonly snapshot: string;
}
export interface SnapshotResult extends Worked {
  readonly uuid: string;
  readonly indices: number;
  readonly shards: number;
}

export interface PlanTransferInput extends SnapshotInput {
  readonly snapshotUuid: string;
  /** The round that the target holds; undefined before the baseline is restored. */
  readonly restored?: { readonly round: number; readonly attempt: number };
}
export interface PlannedTransfer {
  readonly generation: number;
  readonly manifestDigest: string;
  /** The whole manifest. */
  readonly blobs: number;
  readonly bytes: number;
  /** What must be sent: the manifest minus what the target is proved to hold. */
  readonly sendBlobs: number;
  readonly sendBytes: number;
  /** What the target must fetch to restore it, by the grouping rule of its version: all of it where none was restored. */
  readonly fetchBytes: number;
  /** What copies of the primaries will hold. */
  readonly replicaBytes: number;
  /** The item of the plan's `indices` that most is sent for; undefined when nothing is. */
  readonly heaviest: Heaviest | undefined;
  readonly units: number;
  readonly pages: number;
}

export interface Heaviest {
  readonly pattern: string;
  readonly bytes: number;
  readonly sentBytes: number;
}

/** One activity of the transfer: a large file alone, or a batch of small ones. */
export interface UnitLabel {
  readonly unit: number;
  /** A unit begins when all of the stages before its own are complete. */
  readonly stage: number;
  /** For people: `data`, `metadata`. */
  readonly phase: string;
  readonly kind: 'blob' | 'batch';
  /** For Temporal Web: `orders/0 __3 (1.2 GiB)`, `data batch 12: 500 blobs (251 MiB)`. */
  readonly label: string;
  readonly blobs: number;
  readonly bytes: number;
}
export interface ReadUnitsInput extends RoundRef {
  readonly page: number;
}
export interface CopyUnitInput extends RoundRef {
  readonly page: number;
  readonly unit: number;
}
export interface CopyUnitResult extends Worked {
  readonly blobs: number;
  readonly bytes: number;
}

export interface WriteLimitsInput {
  readonly plan: PlanRef;
  /** As somebody sent them. */
  readonly limits: unknown;
}

export interface PublishInput extends SnapshotInput {
  readonly snapshotUuid: string;
}
export interface PublishResult {
  readonly generation: number;
}

export type RestoreInput = PublishInput;
export interface RestoreResult extends Worked {
  readonly indices: number;
  readonly shards: number;
  readonly totalBytes: number;
  readonly reusedBytes: number;
}

export interface LeaseInput {
  readonly plan: PlanRef;
  readonly freeze: number;
  /** The round whose scope is frozen. */
  readonly scope: { readonly round: number; readonly attempt: number };
  readonly freezeAtMostMs: number;
  readonly by: string | undefined;
  /** Tell the plan's webhook when the source is unblocked. */
  readonly notify?: boolean;
  readonly searchAttributes: readonly string[];
}
/** What the lease says of itself: the query `status`. */
export interface LeaseStatus {
  readonly deadline: number;
  /** Undefined while nothing is blocked yet. */
  readonly firstBlockAt?: number;
}
export interface FreezeRef {
  readonly plan: PlanRef;
  readonly freeze: number;
}
export interface FreezeObstacle {
  /** A sentence; without it a freeze can begin. */
  readonly why?: string;
}
export interface FreezeRecordInput extends FreezeRef {
  readonly scope: { readonly round: number; readonly attempt: number };
  readonly deadline: number;
}
export interface FreezeRecordResult {
  readonly digest: string;
  readonly indices: number;
  /** Indices whose owner had blocked them before us: they stay blocked. */
  readonly alreadyBlocked: number;
}
export interface BlockResult extends Worked {
  readonly method: 'block-api' | 'settings';
  readonly blockedAt: number;
}
export interface QuiescenceInput extends FreezeRef {
  readonly block: BlockResult;
}
export interface QuiescenceResult {
  readonly provedBy: 'block-api' | 'tasks-and-counters' | 'writers-stopped';
  readonly countersDigest: string;
  readonly provedAt: number;
}
export interface UnblockResult {
  readonly unblocked: number;
  readonly leftBlocked: number;
}
/** What the lease tells its parent, by signal. */
export interface Quiescent {
  readonly freeze: number;
  readonly firstBlockAt: number;
  readonly quiescentAt: number;
  /** In between, milliseconds in which nobody was at work. */
  readonly waitedMs?: number;
  readonly deadline: number;
  readonly indices: number;
}
/** What the lease tells its parent when the source's excluded indices take writes again. */
export interface Opened {
  readonly freeze: number;
  /** How often it was asked to open them before it did. */
  readonly asked: number;
}
/** The lease's result. */
export interface LeaseResult {
  readonly outcome: 'committed' | 'released';
  /** Why it was released, a sentence. */
  readonly why: string | undefined;
  readonly firstBlockAt: number | undefined;
  readonly endedAt: number;
}

export interface RecheckInput extends RoundRef {
  readonly freeze: number;
}
export interface RecheckResult {
  /** Sentences; empty means that commit may follow. */
  readonly objections: readonly string[];
}

export interface FingerprintResult {
  readonly digest: string;
  readonly indices: number;
}
export interface VerifyResult {
  /** Of the ledger. */
  readonly digest: string;
  readonly passed: number;
  readonly failed: number;
  readonly waived: number;
  readonly documents: number;
  /** The first ten failed rows, a sentence each. */
  readonly failures: readonly string[];
  /** Ids of the first hundred failed rows. */
  readonly failedRows: readonly string[];
}
export interface WaiveInput extends RoundRef {
  /** Ids of rows, or patterns with `*`. */
  readonly rows: readonly string[];
  readonly who: string;
  readonly why: string;
}

/** What stands in `outcome.json`; whoever wrote first decides. */
export interface FreezeOutcome {
  readonly outcome: 'committed' | 'released';
  readonly why?: string;
}
export interface FreezeOutcomeInput extends FreezeRef, FreezeOutcome {}
export interface SourceStateInput extends FreezeRef {
  readonly expect: 'blocked' | 'unblocked';
}
export interface SourceStateResult {
  /** Sentences; empty when every index of the freeze is as expected. */
  readonly differing: readonly string[];
}

export interface PublishedStateResult {
  /** Sentences; empty when the target's newest generation is the one that the round published. */
  readonly differing: readonly string[];
}

export interface ReplicasInput extends RoundRef {
  readonly wait: boolean;
}
export interface ReplicasResult {
  readonly indices: number;
  readonly note?: string;
}

export interface SwitchInput extends RoundRef {
  readonly freeze: number;
}
export interface SwitchResult {
  readonly indices: number;
  readonly aliases: number;
}

/** What clients have written on the target since the switch. */
export interface Writes {
  /** Documents indexed, updated and deleted. */
  readonly operations: number;
  /** False when a counter was reset or cannot be read: then there were at least so many. */
  readonly exact: boolean;
}
export interface TargetQuiescenceInput extends FreezeRef {
  readonly block: BlockResult;
}
export interface RollbackInput extends FreezeRef {
  readonly accepted: Writes;
  readonly who: string;
  readonly why: string;
}
export interface RollbackResult {
  /** Actions of the one call. */
  readonly aliases: number;
}

/** What webhooks are told: the plan's `notify`, and of the last two its `cutover.switchover.webhook`. */
export type EventName =
  | 'freezing'
  | 'frozen'
  | 'unfrozen'
  | 'parked'
  | 'approval-needed'
  | 'switching'
  | 'done'
  | 'switchover'
  | 'switchback';

export interface EventInput extends EventDetails {
  readonly plan: PlanRef;
  readonly event: EventName;
  readonly at: number;
}
/** No free text: what failed may quote what lies in an index. */
export interface EventDetails {
  readonly freeze?: number | undefined;
  readonly deadline?: number | undefined;
  /** The parked step, and the code of its failure. */
  readonly step?: string | undefined;
  readonly code?: string | undefined;
  readonly outcome?: Outcome | undefined;
}

export interface KeepSettingsResult {
  readonly indices: number;
  /** Of what the target refuses, sentences, at most 10. */
  readonly notes: readonly string[];
}

export interface RoundSummary {
  readonly round: number;
  readonly attempt: number;
  readonly snapshot: string;
  readonly final: boolean;
  readonly outcome: 'done' | 'given-up';
  readonly why?: string;
  readonly startedAt: number;
  readonly endedAt: number;
  readonly indices: number;
  /** As `ScopeResult`. */
  readonly documents?: number;
  readonly blobs: number;
  readonly bytes: number;
  readonly sentBlobs: number;
  readonly sentBytes: number;
  readonly restoredBytes: number;
  readonly reusedBytes: number;
  /** As `PlannedTransfer`; undefined of a round that was given up. */
  readonly fetchBytes?: number;
  readonly replicaBytes?: number;
  readonly heaviest?: Heaviest;
  /** Bytes per second that the transfer began under; absent where there was no limit. */
  readonly limit?: number;
  /** Without parks, milliseconds by step: scope, snapshot, plan, transfer, publish, restore. */
  readonly steps: Readonly<Record<string, number>>;
  /** Of `steps`, what nobody worked at them: a worker was missing, or an attempt had failed. Absent where none waited. */
  readonly waited?: Readonly<Record<string, number>>;
}

/** From the first block until clients may write on the target. */
export interface FreezeWindow {
  readonly totalMs: number;
  /** Without the time spent waiting for `approve` and in parks. */
  readonly machineMs: number;
  readonly waitedMs: number;
  readonly steps: Readonly<Record<string, number>>;
  /** Of the machine time, when the freeze began; undefined without a measured round. */
  readonly forecast?: { readonly windowMs: number; readonly lowMs: number; readonly highMs: number };
}

export interface Totals {
  readonly rounds: number;
  readonly givenUp: number;
  readonly sentBlobs: number;
  readonly sentBytes: number;
}

/** How a migration ends. */
export type Outcome = 'done' | 'rolled-back' | 'aborted' | 'cancelled';

export interface ReportInput {
  readonly plan: PlanRef;
  readonly outcome: Outcome;
  readonly startedAt: number;
  readonly endedAt: number;
  readonly rounds: readonly RoundSummary[];
  readonly totals: Totals;
  readonly freezeWindow: FreezeWindow | undefined;
  readonly approvedBy: { readonly who: string; readonly why: string } | undefined;
  /** The final round, whose ledger the report quotes. */
  readonly final: { readonly round: number; readonly attempt: number } | undefined;
  readonly freeze: number | undefined;
  /** As `cutover.watch` counted them last. */
  readonly writesSinceSwitch?: Writes;
  readonly rolledBackBy?: { readonly who: string; readonly why: string };
  readonly notes: readonly string[];
}
export interface ReportPlace {
  readonly store: string;
  readonly key: string;
  readonly digest: string;
}
/** Of the target, before `limits.recoveryBytesPerSecond` was set there; null where nothing was set. */
export interface ThrottleBefore {
  readonly recovery: string | null;
}
export interface RaiseThrottleInput {
  readonly plan: PlanRef;
  readonly before: ThrottleBefore;
}
export interface DeletedSnapshots {
  readonly deleted: number;
}
export interface CleanUpInput {
  readonly plan: PlanRef;
  /** To be put back; undefined where nothing was changed. */
  readonly throttle?: ThrottleBefore;
  readonly outcome: Outcome;
  /** The freeze that was committed; undefined before there is one. */
  readonly committed?: number;
  /** What does not answer is said and left, instead of asked again. */
  readonly lastTry?: boolean;
}
export interface CleanUpResult {
  /** What remains and how to remove it, sentences, at most 20. */
  readonly remains: readonly string[];
}
/** The workflow's result; the whole of it lies at `place`. */
export interface Report {
  readonly outcome: 'done' | 'rolled-back';
  readonly place: ReportPlace;
  readonly rounds: readonly RoundSummary[];
  readonly totals: Totals;
  readonly freezeWindow: FreezeWindow | undefined;
  readonly writesSinceSwitch?: Writes;
  readonly verification: VerifyResult;
  readonly remains: readonly string[];
  readonly warnings: readonly string[];
}

/** From the transfer to its parent, at most once a minute, on phase changes, and 100 times a round. */
export interface TransferProgress {
  readonly round: number;
  readonly phase: string;
  readonly blobsDone: number;
  readonly bytesDone: number;
  readonly blobs: number;
  readonly bytes: number;
  readonly startedAt: number;
  readonly at: number;
}
export interface TransferInput extends RoundRef {
  readonly planned: PlannedTransfer;
  /** Whom to tell; undefined tells nobody. */
  readonly parent: string | undefined;
  readonly searchAttributes: readonly string[];
  /** For people: what is in force lies in the work prefix, where running copies look. */
  readonly limits?: TransferLimits;
  /** Carried over continue-as-new. */
  readonly resume?: TransferCursor;
}
export interface TransferCursor {
  readonly nextPage: number;
  readonly blobsDone: number;
  readonly bytesDone: number;
  readonly signalsSent: number;
  readonly startedAt: number;
  /** As in the result. */
  readonly workedMs?: number;
}
export interface TransferResult extends Worked {
  readonly blobs: number;
  readonly bytes: number;
}
