import {
  allHandlersFinished,
  ApplicationFailure,
  CancellationScope,
  CancelledFailure,
  ChildWorkflowCancellationType,
  condition,
  continueAsNew,
  isCancellation,
  ParentClosePolicy,
  startChild,
  uuid4,
  workflowInfo,
} from '@temporalio/workflow';
import type {
  LostCutover,
  PlannedTransfer,
  PreflightInput,
  PreflightResult,
  PublishInput,
  Report,
  RestoreResult,
  RoundRef,
  RoundSummary,
  ScopeResult,
  TransferResult,
} from '../src/domain/exchange';
import { limitInForce } from '../src/domain/limits';
import { snapshotName, transferWorkflowId } from '../src/domain/names';
import { decideFreeze, firstState, GIVEN_UP_BEFORE_PARKING, roundsPaused, withRound } from '../src/domain/state';
import type { MigrationState } from '../src/domain/state';
import { lastRestored } from '../src/domain/rounds';
import type { Opening } from '../src/domain/window';
import { Cutover } from './cutover';
import { Desk, Objection } from './desk';
import { failureOf, isPassing, needsNewSnapshot } from './failure';
import type { Failure } from './failure';
import { glancing, quick, waiting } from './stubs';
import { Timing } from './timing';
import { transfer } from './transfer';

/**
 * Preflight, baseline, rounds until `freeze-writes`, cutover, report.
 *
 * The single argument is the plan; after continue-as-new it is the {@link MigrationState}. Lists of indices or blobs
 * never enter this history: activities exchange keys and counts.
 */
export async function migrate(...args: unknown[]): Promise<Report> {
  const migration = new Migration(new Desk(carriedState(args)), args[0]);
  return migration.run();
}

function carriedState(args: unknown[]): MigrationState | undefined {
  const [argument] = args;
  if (args.length !== 1 || typeof argument !== 'object' || argument === null || Array.isArray(argument)) {
    throw ApplicationFailure.nonRetryable(
      `migrate takes one JSON object, the plan; it was given ${args.length} argument(s)` +
        `${args.length === 1 ? ` of type ${Array.isArray(argument) ? 'array' : typeof argument}` : ''}. ` +
        'Start it with --input-file plan.json',
      'Configuration',
    );
  }
  return workflowInfo().continuedFromExecutionRunId === undefined ? undefined : (argument as MigrationState);
}

/** A freeze that waits for a snapshot of somebody else looks this often, and rounds go on meanwhile. */
const LOOK_AGAIN_MS = 30_000;

/** The one error that ends a non-final round without ending the migration. */
class RoundGivenUp extends Error {
  constructor(readonly failure: Failure) {
    super(failure.message);
  }
}

class Migration {
  /** The window of rounds that was asked for last. */
  private opening: Opening | undefined;

  constructor(
    private readonly desk: Desk,
    private readonly argument: unknown,
  ) {}

  async run(): Promise<Report> {
    try {
      return await this.desk.scope.run(() => this.main());
    } catch (error) {
      if (!isCancellation(error)) throw error;
      return CancellationScope.nonCancellable(() => this.undo());
    }
  }

  private async main(): Promise<Report> {
    const lost = this.desk.started ? undefined : await this.preflight();
    if (lost !== undefined) return new Cutover(this.desk, this.moveOnce.bind(this)).finish(lost);
    for (;;) {
      if ((await this.next()) === 'cutover') {
        const report = await new Cutover(this.desk, this.moveOnce.bind(this)).run();
        if (report !== undefined) return report;
      } else {
        await this.round();
      }
      await this.continueAsNew();
    }
  }

  /** A plan that is wrong ends the workflow at once: nothing has been touched, and a corrected plan is a new start. */
  private async preflight(): Promise<LostCutover | undefined> {
    const { workflowId, firstExecutionRunId } = workflowInfo();
    this.desk.enter('preflight');
    const input = { plan: this.argument, migration: workflowId, firstRunId: firstExecutionRunId };
    let result: PreflightResult;
    try {
      result = await waiting.preflight.executeWithOptions(
        { summary: 'check everything before anything is touched', activityId: 'preflight' },
        [input],
      );
    } catch (error) {
      await CancellationScope.nonCancellable(() => withdraw(input));
      throw isCancellation(error) ? error : refused(error);
    }
    this.desk.start(firstState(result.plan, result.settings, result.warnings, Date.now()));
    if (result.lost !== undefined) return result.lost;
    this.desk.note(`preflight passed: ${result.indices} indices`);
    if (result.settings.changesThrottle === true) await this.raiseThrottle();
    return undefined;
  }

  /** It makes the migration faster, not right: where the service refuses, it is told and goes on. */
  private async raiseThrottle(): Promise<void> {
    const { desk } = this;
    const { plan } = desk.state;
    try {
      const before = await quick.readThrottle.executeWithOptions(
        { summary: "the target's throttle of restores, to be put back", activityId: 'read-throttle' },
        [plan],
      );
      desk.update({ throttle: before });
      await quick.raiseThrottle.executeWithOptions(
        { summary: 'limits.recoveryBytesPerSecond', activityId: 'raise-throttle' },
        [{ plan, before }],
      );
    } catch (error) {
      if (isCancellation(error)) throw error;
      desk.note(`limits.recoveryBytesPerSecond is not in force: ${failureOf(error).message}`);
    }
  }

  /** Waits for what comes next. Decided only between rounds, so a freeze never interrupts a round. */
  private async next(): Promise<'round' | 'cutover'> {
    this.desk.enter('between rounds');
    for (;;) {
      if (workflowInfo().continueAsNewSuggested) await this.continueAsNew();
      await this.keepToWindow();
      const state = this.desk.state;
      const decision = decideFreeze(state, Date.now());
      if (decision.kind === 'begin' && (await this.mayFreeze())) return 'cutover';
      if (decision.kind === 'drop') this.desk.withdrawFreeze(decision.why);
      if (decision.kind === 'held') this.desk.noteOnce(decision.why);
      if (state.nextRoundAt === undefined || this.desk.state.roundRequested) return 'round';
      const waitMs = roundsPaused(state) ? undefined : state.nextRoundAt - Date.now();
      if (waitMs !== undefined && waitMs <= 0) return 'round';
      if (decision.kind !== 'begin') await this.desk.changed(waitMs, 'until the next round');
      else await this.desk.changed(Math.min(waitMs ?? LOOK_AGAIN_MS, LOOK_AGAIN_MS), 'until the freeze is tried again');
    }
  }

  /** What would start outside of `rounds.window` is due when that opens. Asked for once per window. */
  private async keepToWindow(): Promise<void> {
    const { desk } = this;
    const { settings, nextRoundAt, roundRequested } = desk.state;
    const { window } = settings;
    if (window === undefined || roundRequested || roundsPaused(desk.state)) return;
    const due = Math.max(nextRoundAt ?? 0, Date.now());
    if (this.opening !== undefined && this.opening.opensAt <= due && due < this.opening.closesAt) return;
    this.opening = await desk.persist('rounds.window', () =>
      quick.nextOpening.executeWithOptions({ summary: 'when a round may start' }, [{ window, at: due }]),
    );
    if (this.opening.opensAt > due) desk.update({ nextRoundAt: this.opening.opensAt });
  }

  /** A snapshot that runs on the source would hold up the last one for as long as it takes: the freeze waits for its end. */
  private async mayFreeze(): Promise<boolean> {
    const { desk } = this;
    const obstacle = await glancing.obstacleToFreeze
      .executeWithOptions({ summary: 'whether a freeze can begin', activityId: 'may-freeze' }, [desk.state.plan])
      .then(
        (found) => found.why,
        (error: unknown) => {
          if (isCancellation(error)) throw error;
          return failureOf(error).message;
        },
      );
    // Withdrawn or expired while it was asked.
    if (desk.state.freezeRequest === undefined) return false;
    desk.freezeWaitsFor = obstacle;
    if (obstacle !== undefined) desk.noteOnce(`freeze-writes waits: ${obstacle}`);
    return obstacle === undefined;
  }

  /** One round that is not the last. A passing failure gives it up; three in a row park. */
  private async round(): Promise<void> {
    this.desk.enter(this.desk.state.nextRound === 0 ? 'baseline' : 'round');
    this.desk.update({ roundRequested: false });
    const startedAt = Date.now();
    try {
      await this.moveOnce({ final: false, startedAt });
    } catch (error) {
      if (!(error instanceof RoundGivenUp)) throw error;
      await this.giveUp(error.failure, startedAt);
    }
  }

  private async giveUp(failure: Failure, startedAt: number): Promise<void> {
    const { state } = this.desk;
    const summary: RoundSummary = {
      round: state.nextRound,
      attempt: state.attempts,
      snapshot: '',
      final: false,
      outcome: 'given-up',
      why: `${failure.code}: ${failure.message}`.slice(0, 500),
      startedAt,
      endedAt: Date.now(),
      indices: 0,
      blobs: 0,
      bytes: 0,
      sentBlobs: 0,
      sentBytes: 0,
      restoredBytes: 0,
      reusedBytes: 0,
      steps: {},
    };
    this.desk.set(withRound(state, summary));
    this.desk.note(`round ${state.nextRound} given up, tried again at the next interval: ${failure.message}`);
    if (this.desk.state.givenUpInARow < GIVEN_UP_BEFORE_PARKING) return;
    const retried = await this.desk.park(`round ${state.nextRound}`, failure);
    const keepsToWindow = retried === 'by itself' && state.settings.window !== undefined;
    this.desk.update({ givenUpInARow: 0, ...(keepsToWindow ? {} : { roundRequested: true }) });
  }

  /**
   * Snapshot, transfer, publish, restore, once. The same for every round; the cutover calls it inside the freeze.
   * A repository that changed under us is planned again with a new snapshot: proved blobs stay proved.
   */
  async moveOnce(options: { readonly final: boolean; readonly startedAt: number }): Promise<RoundSummary> {
    for (let replans = 0; ; replans += 1) {
      try {
        const summary = await this.move(options);
        this.desk.set(withRound(this.desk.state, summary));
        return summary;
      } catch (error) {
        if (isCancellation(error) || error instanceof Objection) throw error;
        const failure = failureOf(error);
        if (failure.code === 'RepositoryChanged' && replans < 3) {
          this.desk.note(`planned again: ${failure.message}`);
        } else if (!options.final && isPassing(failure)) {
          throw new RoundGivenUp(failure);
        } else {
          await this.desk.park(`round ${this.desk.state.nextRound}`, failure);
        }
      }
    }
  }

  private async move(options: { readonly final: boolean; readonly startedAt: number }): Promise<RoundSummary> {
    const { desk } = this;
    const ref = desk.nextAttempt();
    const timing = new Timing();
    const timed = <T>(name: string, work: () => Promise<T>): Promise<T> =>
      this.repeated(`${name} of ${named(ref)}`, options.final, () => {
        desk.step(name);
        return timing.of(name, work);
      });
    const scope = await timed('scope', () => this.scope(ref));
    const published = await timed('snapshot', () => this.snapshot(ref, scope));
    const planned = await timed('plan', () =>
      waiting.planTransfer.executeWithOptions(
        { summary: `what ${named(ref)} must send`, activityId: `plan-${id(ref)}` },
        [{ ...published, ...this.restoredBefore() }],
      ),
    );
    const limit = limitInForce(desk.state.limits, Date.now());
    await timed('transfer', () => this.transfer(ref, planned));
    await timed('publish', () =>
      quick.publish.executeWithOptions({ summary: `index-${planned.generation}`, activityId: `publish-${id(ref)}` }, [
        published,
      ]),
    );
    const { everyRound } = this.restores(options.final, ref.round);
    const restored = everyRound ? await timed('restore', () => this.restore(published)) : undefined;
    const summary = this.summary(options, ref, published.snapshot, scope, planned, restored, timing);
    return { ...summary, ...(limit === undefined ? {} : { limit }) };
  }

  /**
   * A step of a round; `retry` repeats the one that parked. What a passing failure or only a new snapshot can mend is
   * for `moveOnce`.
   */
  private async repeated<T>(step: string, final: boolean, work: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await work();
      } catch (error) {
        if (isCancellation(error) || error instanceof Objection) throw error;
        const failure = failureOf(error);
        if (needsNewSnapshot(failure) || (!final && isPassing(failure))) throw error;
        await this.desk.park(step, failure);
      }
    }
  }

  private restoredBefore() {
    const last = lastRestored(this.desk.state.rounds);
    return last === undefined ? {} : { restored: { round: last.round, attempt: last.attempt } };
  }

  private restores(final: boolean, round: number) {
    return { everyRound: final || round === 0 || this.desk.state.settings.restoreEveryRound };
  }

  private async scope(ref: RoundRef): Promise<ScopeResult> {
    const scope = await waiting.resolveScope.executeWithOptions(
      { summary: 'which indices match now', activityId: `scope-${id(ref)}` },
      [{ ...ref, previous: this.desk.state.scope }],
    );
    for (const change of scope.changes) this.desk.note(change);
    this.desk.update({ scope: { round: ref.round, attempt: ref.attempt } });
    this.desk.requireScope(scope.digest);
    return scope;
  }

  /** The name is minted here: only retries of this very activity may find a snapshot of that name. */
  private async snapshot(ref: RoundRef, scope: ScopeResult): Promise<PublishInput> {
    const snapshot = snapshotName(uuid4().replace(/-/g, '').slice(0, 12), ref.round, ref.attempt);
    const { uuid } = await waiting.takeSnapshot.executeWithOptions(
      { summary: `${snapshot}: ${scope.indices} indices`, activityId: `snapshot-${id(ref)}` },
      [{ ...ref, snapshot }],
    );
    return { ...ref, snapshot, snapshotUuid: uuid };
  }

  private async transfer(ref: RoundRef, planned: PlannedTransfer): Promise<TransferResult | undefined> {
    if (planned.units === 0) return undefined;
    const { limits, settings } = this.desk.state;
    const child = await startChild(transfer, {
      workflowId: transferWorkflowId(ref.plan.migration, ref.round, ref.attempt),
      args: [{ ...ref, planned, parent: ref.plan.migration, searchAttributes: settings.searchAttributes, limits }],
      cancellationType: ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
      parentClosePolicy: ParentClosePolicy.REQUEST_CANCEL,
      staticSummary: `${named(ref)}: ${planned.sendBlobs} blobs`,
    });
    this.desk.transferring = child;
    return child.result().finally(() => (this.desk.transferring = undefined));
  }

  private restore(published: PublishInput): Promise<RestoreResult> {
    return waiting.restore.executeWithOptions(
      {
        summary: `${named(published)} into ${this.desk.state.settings.target}`,
        activityId: `restore-${id(published)}`,
      },
      [published],
    );
  }

  private summary(
    options: { readonly final: boolean; readonly startedAt: number },
    ref: RoundRef,
    snapshot: string,
    scope: ScopeResult,
    planned: PlannedTransfer,
    restored: RestoreResult | undefined,
    { steps, waited }: Timing,
  ): RoundSummary {
    return {
      round: ref.round,
      attempt: ref.attempt,
      snapshot,
      final: options.final,
      outcome: 'done',
      startedAt: options.startedAt,
      endedAt: Date.now(),
      indices: scope.indices,
      ...(scope.documents === undefined ? {} : { documents: scope.documents }),
      blobs: planned.blobs,
      bytes: planned.bytes,
      sentBlobs: planned.sendBlobs,
      sentBytes: planned.sendBytes,
      restoredBytes: restored?.totalBytes ?? 0,
      reusedBytes: restored?.reusedBytes ?? 0,
      fetchBytes: planned.fetchBytes,
      replicaBytes: planned.replicaBytes,
      ...(planned.heaviest === undefined ? {} : { heaviest: planned.heaviest }),
      steps,
      ...(Object.keys(waited).length === 0 ? {} : { waited }),
    };
  }

  /**
   * The static summary that somebody gave at the start is not carried over: SDK 1.24 has no such option
   * (ContinueAsNewOptions), and the server starts the new run without it. The current details tell the story instead.
   */
  private async continueAsNew(): Promise<void> {
    await condition(allHandlersFinished);
    await this.desk.announced();
    await continueAsNew<typeof migrate>(this.desk.state);
  }

  /** After `abort` or Temporal's Cancel: clean up, write the report, end as what was asked for. */
  private async undo(): Promise<never> {
    const outcome = this.desk.aborted ? 'aborted' : 'cancelled';
    const stopped = this.desk.committed ? this.desk.stop() : undefined;
    this.desk.enter('aborting');
    const closed = this.desk.started ? await this.desk.closeDown(outcome) : 'Nothing had been touched';
    const said = stopped === undefined ? closed : `${stopped}. ${closed}`;
    const message = `The migration was ${outcome}. ${said}`;
    if (outcome === 'cancelled') throw new CancelledFailure(message);
    throw ApplicationFailure.nonRetryable(message, 'Aborted');
  }
}

/** What lists and pages of Temporal Web show of a run that failed is its own message, and not that of a cause. */
function refused(error: unknown): ApplicationFailure {
  const { code, message } = failureOf(error);
  return ApplicationFailure.nonRetryable(message, code);
}

/** An attempt that died may have claimed what stands in the way of the next migration. */
async function withdraw(input: PreflightInput): Promise<void> {
  await quick.withdrawPreflight
    .executeWithOptions(
      { summary: 'give back what it claimed', activityId: 'withdraw', retry: { maximumAttempts: 3 } },
      [input],
    )
    // A claim that stays is named to whoever it refuses, with the file to remove.
    .catch(() => undefined);
}

function named(ref: RoundRef): string {
  return ref.round === 0 ? 'baseline' : `round ${ref.round}`;
}

function id(ref: RoundRef): string {
  return `r${ref.round}-a${ref.attempt}`;
}
