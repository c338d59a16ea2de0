import {
  allHandlersFinished,
  CancellationScope,
  CancelledFailure,
  ChildWorkflowCancellationType,
  condition,
  isCancellation,
  ParentClosePolicy,
  startChild,
} from '@temporalio/workflow';
import type { ChildWorkflowHandle } from '@temporalio/workflow';
import type {
  FreezeWindow,
  LeaseResult,
  LostCutover,
  Report,
  RoundRef,
  RoundSummary,
  SwitchInput,
  VerifyResult,
} from '../src/domain/exchange';
import { forecast } from '../src/domain/forecast';
import type { Waiver } from '../src/domain/ledger';
import { leaseWorkflowId } from '../src/domain/names';
import { workOf } from '../src/domain/worked';
import { Objection } from './desk';
import type { Desk } from './desk';
import { failureOf } from './failure';
import { freeze } from './freeze';
import { commit, openExcluded, unfreezeWrites } from './messages';
import { quick, waiting } from './stubs';
import { Timing } from './timing';
import { Watch } from './watch';

type Move = (options: { readonly final: boolean; readonly startedAt: number }) => Promise<RoundSummary>;

/**
 * One freeze: lease, last round, verification, approval, commit, switchover. Ends with the report, or with undefined
 * when the freeze was released; then nothing of it counts any more.
 *
 * The lease alone decides. Until it answers `committed` the target stays blocked; after it nothing turns back.
 */
export class Cutover {
  private readonly inside = new CancellationScope();
  private lease: ChildWorkflowHandle<typeof freeze> | undefined;
  private leaseEnded: LeaseResult | undefined;
  private last: RoundRef | undefined;
  private verification: VerifyResult | undefined;
  /** Exclusions of the last comparison. */
  private compared = 0;
  /** What the operator must do about a lease that was terminated or failed. */
  private lost: string | undefined;
  private readonly timing = new Timing();
  private foreseen: FreezeWindow['forecast'];

  constructor(
    private readonly desk: Desk,
    private readonly move: Move,
  ) {}

  async run(): Promise<Report | undefined> {
    const { desk } = this;
    await desk.exclusionsDone();
    desk.enter('freezing');
    if (!(await this.begin())) return undefined;
    const ended = CancellationScope.nonCancellable(() => this.awaitLease());
    void CancellationScope.nonCancellable(() => this.forwardUnfreeze());
    let failure: unknown;
    try {
      await this.inside.run(() => this.prepare());
      this.refuseLateCommit();
      desk.committing = true;
      await CancellationScope.nonCancellable(() => this.tellLease(commit));
    } catch (error) {
      failure = error;
      await CancellationScope.nonCancellable(() => this.release(error));
    }
    const lease = await ended;
    if (lease.outcome === 'committed') return this.switchOver(lease);
    await this.forget(lease);
    if (desk.scope.consideredCancelled) throw isCancellation(failure) ? failure : new CancelledFailure('cancelled');
    return undefined;
  }

  /** What is left of a cutover whose own migration was lost after the commit: each step as if it were repeated. */
  finish({ plan, round, attempt, freeze, verification }: LostCutover): Promise<Report> {
    const { desk } = this;
    desk.committing = true;
    desk.update({ freezes: freeze, scope: { round, attempt } });
    for (const warning of desk.state.warnings) desk.note(warning);
    desk.showVerification(verification);
    this.verification = verification;
    this.last = { plan, round, attempt };
    return this.switchOver();
  }

  /** What must be refused is refused before anything is blocked. */
  private async begin(): Promise<boolean> {
    const { desk } = this;
    desk.unfreezeAsked = undefined;
    let announced = false;
    try {
      const scope = await this.scopeToFreeze();
      // Withdrawn, or expired, while the scope was resolved.
      if (desk.state.freezeRequest === undefined) return false;
      if (desk.state.settings.notify === true) {
        announced = true;
        await desk.tellWebhook('freezing', { freeze: desk.state.freezes + 1 });
        if (desk.state.freezeRequest === undefined) throw new Objection('it was withdrawn');
      }
      await CancellationScope.nonCancellable(() => this.startLease(scope));
      return true;
    } catch (error) {
      // Whoever heard that a freeze begins must hear that none did.
      if (announced) desk.announce('unfrozen', { freeze: desk.state.freezes + 1 });
      if (isCancellation(error)) throw error;
      desk.withdrawFreeze(`the freeze did not begin: ${failureOf(error).message}`);
      return false;
    }
  }

  private async scopeToFreeze(): Promise<RoundRef> {
    const ref = this.desk.nextAttempt();
    const scope = await waiting.resolveScope.executeWithOptions(
      { summary: 'which indices to freeze', activityId: `scope-to-freeze-r${ref.round}-a${ref.attempt}` },
      [{ ...ref, previous: this.desk.state.scope }],
    );
    this.desk.freezeScope(scope.digest, ref);
    return ref;
  }

  private async startLease(scope: RoundRef): Promise<void> {
    const { desk } = this;
    const by = desk.state.freezeRequest?.by;
    const freezes = desk.state.freezes + 1;
    const { plan, settings } = desk.state;
    const workflowId = leaseWorkflowId(plan.migration, freezes);
    this.lease = await startChild(freeze, {
      workflowId,
      args: [
        {
          plan,
          freeze: freezes,
          scope: { round: scope.round, attempt: scope.attempt },
          freezeAtMostMs: settings.freezeAtMostMs,
          by,
          searchAttributes: settings.searchAttributes,
          ...(settings.notify === undefined ? {} : { notify: settings.notify }),
        },
      ],
      parentClosePolicy: ParentClosePolicy.ABANDON,
      cancellationType: ChildWorkflowCancellationType.ABANDON,
      staticSummary: `freeze ${freezes}: writes on ${settings.source} are blocked while this runs`,
    });
    const foreseen = forecast(desk.state, Date.now());
    if (foreseen !== undefined) {
      const { windowMs, lowMs, highMs } = foreseen;
      this.foreseen = { windowMs: Math.round(windowMs), lowMs: Math.round(lowMs), highMs: Math.round(highMs) };
    }
    const { lease } = this;
    desk.askLease = () => lease.signal(openExcluded);
    desk.beginFreeze(freezes, { lease: workflowId, deadline: Date.now() + settings.freezeAtMostMs });
  }

  /** Never rejects: a lease that was terminated or failed is asked for in the work prefix, where the first word stands. */
  private async awaitLease(): Promise<LeaseResult> {
    let result: LeaseResult;
    try {
      result = await (this.lease as ChildWorkflowHandle<typeof freeze>).result();
    } catch (error) {
      result = await this.lostLease(failureOf(error).message);
    }
    this.leaseEnded = result;
    if (result.outcome === 'released') this.inside.cancel();
    return result;
  }

  private async lostLease(why: string): Promise<LeaseResult> {
    const { desk } = this;
    const sentence = `the lease ended without an answer (${why}): the source may still be blocked`;
    const stands = await desk.persist('lost lease', () =>
      quick.writeFreezeOutcome({
        plan: desk.state.plan,
        freeze: desk.state.freezes,
        outcome: 'released',
        why: sentence,
      }),
    );
    if (stands.outcome === 'released')
      this.lost = `${sentence}. Run \`npx snapferry unfreeze plan.json\`, then signal \`retry\``;
    return { outcome: stands.outcome, why: sentence, firstBlockAt: undefined, endedAt: Date.now() };
  }

  private async forwardUnfreeze(): Promise<void> {
    await condition(() => this.desk.unfreezeAsked !== undefined || this.leaseEnded !== undefined);
    if (this.leaseEnded === undefined) await this.tellLease(unfreezeWrites, this.desk.unfreezeAsked);
  }

  /** A last step that was done before its cancellation reached it ends as if nobody had asked to stop. */
  private refuseLateCommit(): void {
    if (this.inside.consideredCancelled) throw new CancelledFailure('cancelled');
    if (this.desk.unfreezeAsked !== undefined) throw new Objection(this.desk.unfreezeAsked);
  }

  /** Everything up to the last point of return. Cancelled as a whole when the lease is released. */
  private async prepare(): Promise<void> {
    const { desk } = this;
    const startedAt = Date.now();
    await condition(() => desk.quiescent !== undefined);
    desk.showQuiescence();
    desk.announce('frozen', { deadline: desk.quiescent?.deadline });
    const { firstBlockAt = 0, quiescentAt = 0, waitedMs = 0 } = desk.quiescent ?? {};
    this.timing.add({ quiescence: quiescentAt - firstBlockAt }, { quiescence: waitedMs });
    desk.enter('cutover');
    const round = await this.move({ final: true, startedAt });
    this.timing.add(round.steps, round.waited);
    this.last = { plan: desk.state.plan, round: round.round, attempt: round.attempt };
    await this.timed('fingerprints', () => this.fingerprints());
    if (desk.state.settings.replicas === 'before') await this.timed('replicas', () => this.replicas(true));
    for (;;) {
      await this.verify();
      await desk.awaitApproval(() => this.isOutdated());
      desk.enter('cutover');
      if (!this.isOutdated()) await this.timed('recheck', () => this.recheck());
      if (!this.isOutdated()) return;
      desk.decide(false);
    }
  }

  /** What was excluded since it was compared must stand in no ledger that is approved. */
  private isOutdated(): boolean {
    return this.compared !== this.desk.exclusions;
  }

  /** Before the target builds copies and merges: what the restore has fixed is compared as it was then. */
  private fingerprints() {
    return waiting.takeFingerprints.executeWithOptions(
      { summary: 'both sides as the restore has left them', activityId: 'fingerprints' },
      [this.round()],
    );
  }

  /** Failed rows park inside the lease: `retry` compares everything again, `waive` takes rows for right. */
  private async verify(): Promise<void> {
    const { desk } = this;
    let result = await this.compare();
    for (;;) {
      this.verification = result;
      desk.showVerification(result);
      if (result.failed === 0) return;
      const waiver = await desk.parkAtFailedRows(result);
      result = waiver === undefined ? await this.compare() : await this.waive(waiver);
    }
  }

  private compare(): Promise<VerifyResult> {
    return this.timed('verify', () => {
      this.compared = this.desk.exclusions;
      return waiting.verify.executeWithOptions({ summary: 'source against target', activityId: 'verify' }, [
        this.round(),
      ]);
    });
  }

  private waive(waiver: Waiver): Promise<VerifyResult> {
    return this.timed('verify', () =>
      quick.waiveFailedRows.executeWithOptions({ summary: `by ${waiver.who}`, activityId: 'waive' }, [
        { ...this.round(), ...waiver },
      ]),
    );
  }

  private replicas(wait: boolean) {
    return waiting.buildReplicas.executeWithOptions(
      { summary: wait ? 'before writes are open' : 'in the background', activityId: 'replicas' },
      [{ ...this.round(), wait }],
    );
  }

  private async recheck(): Promise<void> {
    const { desk } = this;
    await desk.exclusionsDone();
    desk.decide(true);
    try {
      await this.lookOnceMore();
    } catch (error) {
      desk.decide(false);
      throw error;
    }
  }

  private async lookOnceMore(): Promise<void> {
    const { desk } = this;
    const { objections } = await waiting.recheckBeforeCommit.executeWithOptions(
      { summary: 'everything still as proved', activityId: 'recheck' },
      [{ ...this.round(), freeze: desk.state.freezes }],
    );
    if (objections.length > 0) throw new Objection(objections.join('; '));
  }

  private async tellLease(signal: typeof commit | typeof unfreezeWrites, why?: string): Promise<void> {
    // A lease that has ended needs no telling: its result says what it decided.
    await this.lease?.signal(signal.name, { why, at: Date.now() }).catch(() => undefined);
  }

  private async release(error: unknown): Promise<void> {
    if (this.leaseEnded !== undefined) return;
    const { desk } = this;
    const why = isCancellation(error) ? (desk.aborted ? 'abort' : 'the migration was cancelled') : this.reason(error);
    await this.tellLease(unfreezeWrites, why);
  }

  private reason(error: unknown): string {
    return error instanceof Objection ? error.message : failureOf(error).message;
  }

  /** After a release: request, approval and waivers are void; a freeze never repeats by itself. */
  private async forget(lease: LeaseResult): Promise<void> {
    const { desk } = this;
    desk.endFreeze();
    desk.update({ freezeSteps: { ...desk.state.freezeSteps, ...workOf(this.timing.steps, this.timing.waited) } });
    if (this.lost === undefined) {
      desk.note(`freeze ${desk.state.freezes} released, writes on the source are open: ${lease.why ?? ''}`);
    } else {
      await desk.park('freeze', { code: 'WritesNotBlocked', message: this.lost });
      desk.announce('unfrozen');
    }
  }

  /** After the last point of return. What fails is parked until it succeeds; `abort` stops where it is, and undoes nothing. */
  private async switchOver(lease?: LeaseResult): Promise<Report> {
    const { desk } = this;
    desk.committed = true;
    desk.enter('committed');
    desk.announce('switching');
    const freezeRef = { ...this.round(), freeze: desk.state.freezes };
    await this.timed('unblock', () =>
      quick.unblockTarget.executeWithOptions({ summary: 'open writes on the target', activityId: 'unblock-target' }, [
        freezeRef,
      ]),
    );
    await this.timed('aliases', () =>
      quick.switchAliases.executeWithOptions({ summary: 'one atomic call', activityId: 'aliases' }, [freezeRef]),
    );
    const window = this.window(lease, Date.now());
    await desk.callSwitchWebhook('switchover');
    if (desk.state.settings.keepsSettings === true) await desk.persist('settings', () => this.keepSettings(freezeRef));
    if (desk.state.settings.replicas === 'after') await desk.persist('replicas', () => this.replicas(false));
    await this.confirm();
    const outcome = (await this.isRolledBack()) ? 'rolled-back' : 'done';
    if (outcome === 'done') await this.deleteSnapshots();
    const { remains } = await desk.persist('clean-up', () => desk.cleanUp(outcome));
    for (const text of remains) desk.note(text);
    const place = await desk.persist('report', () => desk.report(outcome, window));
    desk.endFreeze();
    desk.enter('done');
    desk.announce('done', { outcome });
    await desk.announced();
    await condition(allHandlersFinished);
    return {
      outcome,
      place,
      rounds: desk.state.rounds,
      totals: desk.state.totals,
      freezeWindow: window,
      ...(desk.writes === undefined ? {} : { writesSinceSwitch: desk.writes }),
      verification: this.verification as VerifyResult,
      remains,
      warnings: desk.state.warnings,
    };
  }

  private async isRolledBack(): Promise<boolean> {
    const { plan, freezes, settings } = this.desk.state;
    if (settings.watchMs === undefined) return false;
    return new Watch(this.desk, { plan, freeze: freezes }, settings.watchMs).run();
  }

  /** What cannot be deleted is named at clean-up, and holds up nothing: the migration is done. */
  private async deleteSnapshots(): Promise<void> {
    const { desk } = this;
    if (desk.state.settings.deletesSnapshots !== true) return;
    try {
      const { deleted } = await waiting.deleteSnapshots.executeWithOptions(
        { summary: 'ours, on the source', activityId: 'delete-snapshots' },
        [desk.state.plan],
      );
      desk.note(`${deleted} snapshots of this migration were deleted from source ${desk.state.settings.source}`);
    } catch (error) {
      if (isCancellation(error)) throw error;
      desk.note(`snapshots of this migration could not be deleted from the source: ${failureOf(error).message}`);
    }
  }

  private async keepSettings(freezeRef: SwitchInput): Promise<void> {
    const { notes } = await quick.keepSettings.executeWithOptions(
      { summary: "the source's, where the plan keeps them", activityId: 'keep-settings' },
      [freezeRef],
    );
    for (const text of notes) this.desk.note(text);
  }

  /** A worker that slept through the freeze may have changed a block, or `index.latest`, late: look once more. */
  private async confirm(): Promise<void> {
    const { desk } = this;
    const { plan, freezes } = desk.state;
    const source = await desk.persist('confirm the source is blocked', () =>
      quick.confirmSourceState.executeWithOptions({ summary: 'source still blocked', activityId: 'confirm-source' }, [
        { plan, freeze: freezes, expect: 'blocked' },
      ]),
    );
    const target = await desk.persist('confirm what was published', () =>
      quick.confirmPublished.executeWithOptions({ summary: 'still the last round', activityId: 'confirm-published' }, [
        this.round(),
      ]),
    );
    for (const text of [...source.differing, ...target.differing]) desk.note(text);
  }

  /** Undefined where it began in a migration that was lost. */
  private window(lease: LeaseResult | undefined, openedAt: number): FreezeWindow | undefined {
    if (lease === undefined) return undefined;
    const { desk } = this;
    const first = desk.quiescent?.firstBlockAt ?? lease.firstBlockAt ?? openedAt;
    const totalMs = openedAt - first;
    return {
      ...{ totalMs, machineMs: totalMs - desk.waitedMs, waitedMs: desk.waitedMs, steps: this.timing.steps },
      ...(this.foreseen === undefined ? {} : { forecast: this.foreseen }),
    };
  }

  /** Without the parks in between: they say nothing about the next freeze. */
  private timed<T>(name: string, work: () => Promise<T>): Promise<T> {
    return this.desk.persist(name, () => this.timing.of(name, work));
  }

  private round(): RoundRef {
    if (this.last === undefined) throw new Objection('the last round has not been restored');
    return this.last;
  }
}
