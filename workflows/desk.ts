import {
  ApplicationFailure,
  CancellationScope,
  condition,
  isCancellation,
  setCurrentDetails,
  setDefaultSignalHandler,
  setHandler,
  sleep,
  upsertMemo,
} from '@temporalio/workflow';
import type { ChildWorkflowHandle } from '@temporalio/workflow';
import type {
  CleanUpResult,
  EventDetails,
  EventName,
  Exclusion,
  FreezeWindow,
  Opened,
  Quiescent,
  ReportInput,
  ReportPlace,
  RoundRef,
  TransferProgress,
  VerifyResult,
  Writes,
} from '../src/domain/exchange';
import type { Waiver } from '../src/domain/ledger';
import { matchesPattern } from '../src/domain/patterns';
import { FREEZE_REQUEST_TTL_MS, withNote } from '../src/domain/state';
import { limitText } from '../src/domain/limits';
import type { MigrationState, Park, Phase, View } from '../src/domain/state';
import { detailsOf, statusOf, stoppedText } from '../src/domain/story';
import { tellSearch } from './attributes';
import { failureOf } from './failure';
import type { Failure } from './failure';
import * as messages from './messages';
import { quick, telling } from './stubs';
import type { transfer } from './transfer';

/**
 * Where everything about one run of `migrate` comes together: its state, the operators' messages, and what people are
 * told. Handlers only note what was asked and never act: `migrate` and `cutover` decide when it is safe.
 */
export class Desk {
  /** All work runs inside; `abort` and Temporal's Cancel cancel it. */
  readonly scope = new CancellationScope();
  /** Time within the freeze that was spent waiting for people. */
  waitedMs = 0;
  approval: { readonly who: string; readonly why: string } | undefined;
  aborted = false;
  /** The lease was asked to commit: it alone knows what comes of it. */
  committing = false;
  /** The lease has committed: nothing is undone any more. */
  committed = false;
  /** Why a requested freeze does not begin yet. */
  freezeWaitsFor: string | undefined;

  private current: MigrationState | undefined;
  private phase: Phase = 'preflight';
  private currentStep: string | undefined;
  private parked: Park | undefined;
  private progress: TransferProgress | undefined;
  private freezing: View['freeze'];
  private news: Quiescent | undefined;
  /** Digests of the scope that the freeze holds: as it began, and without what was excluded since. */
  private frozenScopes: readonly string[] = [];
  private frozenAt: MigrationState['scope'];
  private verification: VerifyResult | undefined;
  private waiver: Waiver | undefined;
  private retries = 0;
  /** Grows with every message, so that waiting code sees that something was asked. */
  private revision = 0;

  constructor(carried: MigrationState | undefined) {
    this.current = carried;
    this.listen();
    if (carried?.freezeRequest !== undefined) void this.expireFreezeRequest();
  }

  /** Since the switch; undefined without `cutover.watch`. */
  get writes(): Writes | undefined {
    return this.watching?.writes;
  }

  get started(): boolean {
    return this.current !== undefined;
  }

  get state(): MigrationState {
    if (this.current === undefined) throw new Error('preflight has not passed');
    return this.current;
  }

  start(state: MigrationState): void {
    // What was asked for during preflight was noted before there was a state.
    const { freezeRequest, roundRequested } = this.early;
    this.set({ ...state, freezeRequest, roundRequested });
  }

  set(state: MigrationState): void {
    this.current = state;
    this.tell();
  }

  update(change: Partial<MigrationState>): void {
    this.set({ ...this.state, ...change });
  }

  enter(phase: Phase): void {
    this.phase = phase;
    this.currentStep = undefined;
    this.progress = undefined;
    this.tellSearch();
    this.tell();
  }

  step(name: string): void {
    // How far a transfer was when it was last told says nothing about the step after it.
    if (name !== this.currentStep) this.progress = undefined;
    this.currentStep = name;
    this.tell();
  }

  note(text: string): void {
    if (this.current === undefined) return;
    this.set(withNote(this.current, Date.now(), text));
  }

  /** For what is true at every look: says it once. */
  noteOnce(text: string): void {
    if (this.state.notes.at(-1)?.text !== text) this.note(text);
  }

  /** A new attempt at the next round, with work files of its own. */
  nextAttempt(): RoundRef {
    const attempt = this.state.attempts + 1;
    this.update({ attempts: attempt });
    return { plan: this.state.plan, round: this.state.nextRound, attempt };
  }

  /** Resolves when a message came in or the time is over. */
  async changed(waitMs: number | undefined, summary: string): Promise<void> {
    const seen = this.revision;
    const news = () => this.revision !== seen;
    if (waitMs === undefined) await condition(news);
    else await condition(news, waitMs, { summary });
  }

  /**
   * Waits for `retry`, and says whether that came. A park for unavailability also ends by itself after the plan's interval.
   * Rejects when the surrounding scope is cancelled: by `abort`, or because the lease was released.
   */
  async park(step: string, failure: Failure, isOver: () => boolean = () => false): Promise<'asked' | 'by itself'> {
    const since = Date.now();
    const waitMs = failure.code === 'Unavailable' ? this.state.settings.everyMs : undefined;
    this.parked = { step, code: failure.code, why: failure.message, since, retriesAt: waitMs && since + waitMs };
    this.note(`parked at ${step}: ${failure.message}`);
    this.announce('parked', { step, code: failure.code });
    this.tellSearch();
    const seen = this.retries;
    try {
      const asked = () => this.retries !== seen || isOver();
      if (waitMs === undefined) await condition(asked);
      else await condition(asked, waitMs, { summary: 'until it retries by itself' });
      return asked() ? 'asked' : 'by itself';
    } finally {
      this.waitedMs += Date.now() - since;
      this.parked = undefined;
      this.tellSearch();
      this.tell();
    }
  }

  showVerification(result: VerifyResult): void {
    this.verification = result;
    const waived = result.waived === 0 ? '' : `, ${result.waived} waived`;
    const failed = result.failed === 0 ? '' : `, ${result.failed} failed`;
    this.note(`verified: ${result.passed} checks passed${failed}${waived}, ${result.documents} documents`);
  }

  /** Resolves with what the operator takes for right, or with nothing on `retry`. An approval given before is void. */
  async parkAtFailedRows({ failed, failures }: VerifyResult): Promise<Waiver | undefined> {
    this.approval = undefined;
    this.waiver = undefined;
    const message = `${failed} checks failed: ${failures.join('; ')}`;
    await this.park('verify', { code: FAILED_ROWS, message }, () => this.waiver !== undefined);
    return this.waiver;
  }

  /** Repeats `work` until it succeeds, parking in between. Cancellation and objections are not for retrying. */
  async persist<T>(step: string, work: () => Promise<T>): Promise<T> {
    for (;;) {
      this.step(step);
      try {
        return await work();
      } catch (error) {
        if (isCancellation(error) || error instanceof Objection) throw error;
        await this.park(step, failureOf(error));
      }
    }
  }

  withdrawFreeze(why: string): void {
    this.update({ freezeRequest: undefined });
    this.note(why);
  }

  /** From here on a scope of another digest is an objection: the freeze holds exactly these indices. */
  freezeScope(digest: string, { round, attempt }: RoundRef): void {
    this.frozenScopes = [digest];
    this.frozenAt = { round, attempt };
  }

  requireScope(digest: string): void {
    if (this.frozenScopes.length > 0 && !this.frozenScopes.includes(digest)) {
      throw new Objection('the indices that match the plan changed during the freeze');
    }
  }

  /** A new freeze starts from nothing: what was approved or asked for in an earlier one is void. */
  beginFreeze(freezes: number, lease: { readonly lease: string; readonly deadline: number }): void {
    this.approval = undefined;
    this.verification = undefined;
    this.openAsked = 0;
    this.opened = undefined;
    this.waitedMs = 0;
    this.freezing = { ...lease, firstBlockAt: undefined, quiescentAt: undefined };
    this.update({ freezes, freezeRequest: undefined });
  }

  showQuiescence(): void {
    const { freezing, quiescent } = this;
    if (freezing === undefined || quiescent === undefined) return;
    this.freezing = {
      ...freezing,
      deadline: quiescent.deadline,
      firstBlockAt: quiescent.firstBlockAt,
      quiescentAt: quiescent.quiescentAt,
    };
    this.tell();
  }

  endFreeze(): void {
    this.freezing = undefined;
    this.verification = this.committed ? this.verification : undefined;
    this.frozenScopes = [];
    this.frozenAt = undefined;
    this.askLease = undefined;
    this.opened = undefined;
    this.deciding = false;
    this.committing = false;
    this.approval = this.committed ? this.approval : undefined;
    this.update({ freezeRequest: undefined });
  }

  async awaitApproval(isOver: () => boolean): Promise<void> {
    if (!this.state.settings.approval || this.approval !== undefined) return;
    this.enter('awaiting approval');
    this.announce('approval-needed', { deadline: this.freezing?.deadline });
    const since = Date.now();
    await condition(() => this.approval !== undefined || isOver());
    this.waitedMs += Date.now() - since;
  }

  /** Clean-up and report at an end that is not success. Returns sentences; never fails, because it is the end. */
  async closeDown(outcome: 'aborted' | 'cancelled'): Promise<string> {
    const remains = await this.cleanUp(outcome)
      .catch(() => this.cleanUp(outcome, true))
      .catch((error: unknown): CleanUpResult => ({
        remains: [`clean-up did not finish: ${failureOf(error).message}`],
      }));
    for (const text of remains.remains) this.note(text);
    const place = await this.report(outcome, undefined).catch(() => undefined);
    const where = place === undefined ? 'No report could be written' : `Report: ${place.store}/${place.key}`;
    this.note(where);
    this.announce('done', { outcome });
    await this.announced();
    return [where, ...remains.remains].join('. ');
  }

  /** On the last try what does not answer is said, so that the rest is done without it. */
  cleanUp(outcome: ReportInput['outcome'], lastTry = false): Promise<CleanUpResult> {
    return quick.cleanUp.executeWithOptions({ summary: `after ${outcome}`, activityId: 'clean-up' }, [
      {
        ...{ plan: this.state.plan, outcome },
        ...(this.committed ? { committed: this.state.freezes } : {}),
        ...(this.state.throttle === undefined ? {} : { throttle: this.state.throttle }),
        ...(lastTry ? { lastTry } : {}),
      },
    ]);
  }

  /** Writes the evidence, and its place into the memo: readable on a closed run, with no worker alive. */
  async report(outcome: ReportInput['outcome'], freezeWindow: FreezeWindow | undefined): Promise<ReportPlace> {
    const { state } = this;
    const final = this.committed || state.rounds.at(-1)?.final === true ? state.scope : undefined;
    const input: ReportInput = {
      plan: state.plan,
      outcome,
      startedAt: state.startedAt,
      endedAt: Date.now(),
      rounds: state.rounds,
      totals: state.totals,
      freezeWindow,
      approvedBy: this.approval,
      final,
      freeze: state.freezes === 0 ? undefined : state.freezes,
      ...(this.watching?.writes === undefined ? {} : { writesSinceSwitch: this.watching.writes }),
      ...(this.rolledBackBy === undefined
        ? {}
        : { rolledBackBy: { who: this.rolledBackBy.who, why: this.rolledBackBy.why } }),
      notes: state.notes.map((note) => note.text),
    };
    const place = await quick.writeReport.executeWithOptions({ summary: 'evidence', activityId: 'report' }, [input]);
    upsertMemo({ report: `${place.store}/${place.key}` });
    return place;
  }

  /** Tells the plan's webhook in the background. What cannot be told is noted, and holds up nothing. */
  announce(event: EventName, details: EventDetails = {}): void {
    if (this.current?.settings.notify !== true) return;
    const told = CancellationScope.nonCancellable(() => this.tellWebhook(event, details)).catch((error: unknown) =>
      this.note(`the webhook was not told '${event}': ${failureOf(error).message}`),
    );
    this.announcing = Promise.all([this.announcing, told]).then(() => undefined);
  }

  /** Resolves when nothing is being told any more: before a run ends, for what it has begun ends with it. */
  announced(): Promise<void> {
    return this.announcing;
  }

  /** One message with its own retries; the key that it carries is the same in all of them. */
  tellWebhook(event: EventName, details: EventDetails & { readonly at?: number } = {}): Promise<void> {
    const { plan, freezes } = this.state;
    const freeze = freezes === 0 ? {} : { freeze: freezes };
    const input = { plan, event, at: Date.now(), ...freeze, ...details };
    return telling.notify.executeWithOptions({ summary: event }, [input]);
  }

  private announcing: Promise<void> = Promise.resolve();

  /** The webhook of the switchover, there and back; what it refuses parks. The same message every time. */
  async callSwitchWebhook(event: 'switchover' | 'switchback'): Promise<void> {
    if (this.state.settings.webhook !== true) return;
    const at = Date.now();
    await this.persist('webhook', () => this.tellWebhook(event, { at }));
  }

  /** A rollback that nobody has answered yet. */
  rollback: RollbackRequest | undefined;
  /** `unfreeze-writes` while the target is blocked for a rollback that is not decided. */
  reopenAsked: string | undefined;
  private watching: View['watching'];
  private stopped: string | undefined;
  private isDecided = false;
  private isBack = false;
  private rolledBackBy: RollbackRequest | undefined;

  watch(until: number): void {
    this.watching = { until, writes: undefined };
    this.freezing = undefined;
    this.enter('watching');
  }

  showWrites(writes: Writes): void {
    if (this.watching !== undefined) this.watching = { ...this.watching, writes };
    this.tell();
  }

  /** From here on `unfreeze-writes` changes nothing. */
  decided(): void {
    this.isDecided = true;
    this.rolledBackBy = this.rollback;
  }

  answerRollback(answer: RollbackAnswer): void {
    this.isBack = answer.done !== undefined;
    if (this.rollback !== undefined) this.rollback.answer = answer;
    this.rollback = undefined;
  }

  /** To be said by whoever stops after the commit, which undoes nothing. */
  stop(): string {
    const { phase, isDecided, isBack } = this;
    this.stopped = stoppedText(
      isBack ? 'back' : isDecided ? 'decided' : phase === 'rolling back' ? 'asked' : undefined,
    );
    this.note(this.stopped);
    return this.stopped;
  }

  lastRound(): { readonly round: number; readonly attempt: number } {
    if (this.state.scope === undefined) throw new Error('no round has been restored');
    return this.state.scope;
  }

  private refuseRollback(argument: unknown): void {
    refuseOddity('rollback', argument);
    const { acceptLosing, who, why } = messages.record(argument);
    const isNumber = Number.isInteger(acceptLosing) || messages.text(acceptLosing) !== undefined;
    if (!isNumber || messages.text(who) === undefined || messages.text(why) === undefined) {
      throw new Error(
        'rollback takes {"acceptLosing": 0, "who": "...", "why": "..."}: how many operations on the target',
      );
    }
    if (this.current !== undefined && this.current.settings.watchMs === undefined) {
      throw new Error(
        'Nothing can be rolled back: this plan has no cutover.watch. Before the commit, unfreeze-writes goes back',
      );
    }
    if ((this.phase !== 'watching' && this.phase !== 'rolling back') || this.isDecided) {
      throw new Error(
        `Nothing can be rolled back in phase '${this.phase}': send it after the switchover, while status says 'watching'. ` +
          'Before the commit, unfreeze-writes goes back',
      );
    }
    if (this.rollback !== undefined) throw new Error('A rollback has begun: status shows how far it is');
  }

  private async onRollback(argument: unknown): Promise<string> {
    const { acceptLosing, who, why } = messages.record(argument);
    const request: RollbackRequest = {
      acceptLosing: typeof acceptLosing === 'number' ? acceptLosing : (messages.text(acceptLosing) ?? ''),
      who: messages.text(who) ?? '',
      why: messages.text(why) ?? '',
      answer: undefined,
    };
    this.rollback = request;
    this.revision += 1;
    await condition(() => request.answer !== undefined || this.scope.consideredCancelled);
    const { answer } = request;
    if (answer?.done !== undefined) return answer.done;
    throw ApplicationFailure.nonRetryable(answer?.error ?? 'The migration was stopped before it was rolled back');
  }

  private early: Pick<MigrationState, 'freezeRequest' | 'roundRequested'> = {
    freezeRequest: undefined,
    roundRequested: false,
  };

  private request(change: Pick<Partial<MigrationState>, 'freezeRequest' | 'roundRequested'>): void {
    this.revision += 1;
    if (this.current === undefined) this.early = { ...this.early, ...change };
    else this.update(change);
  }

  private listen(): void {
    const { DESCRIPTIONS } = messages;
    setHandler(messages.freezeWrites, (argument) => this.onFreeze(argument), {
      description: DESCRIPTIONS.freezeWrites,
    });
    setHandler(messages.unfreezeWrites, (argument) => this.onUnfreeze(argument), {
      description: DESCRIPTIONS.unfreezeWrites,
    });
    setHandler(messages.runRound, () => this.request({ roundRequested: true }), { description: DESCRIPTIONS.runRound });
    setHandler(messages.retry, () => this.onRetry(), { description: DESCRIPTIONS.retry });
    setHandler(messages.abort, () => this.onAbort(), { description: DESCRIPTIONS.abort });
    setHandler(messages.quiescent, (news) => this.onQuiescent(news), { description: DESCRIPTIONS.quiescent });
    setHandler(messages.progress, (news) => this.onProgress(news), { description: DESCRIPTIONS.progress });
    setHandler(messages.status, () => statusOf(this.view(), Date.now()), { description: DESCRIPTIONS.status });
    setHandler(messages.approve, (argument?: unknown) => this.onApprove(argument), {
      validator: (argument?: unknown) => this.refuseApproval(argument),
      description: DESCRIPTIONS.approve,
    });
    setHandler(messages.waive, (argument?: unknown) => this.onWaive(argument), {
      validator: (argument?: unknown) => this.refuseWaiver(argument),
      description: DESCRIPTIONS.waive,
    });
    setHandler(messages.exclude, (argument?: unknown) => this.onExclude(argument), {
      validator: (argument?: unknown) => this.refuseExclusion(argument),
      description: DESCRIPTIONS.exclude,
    });
    setHandler(messages.opened, (news) => this.onOpened(news), { description: DESCRIPTIONS.opened });
    setHandler(messages.rollback, (argument?: unknown) => this.onRollback(argument), {
      validator: (argument?: unknown) => this.refuseRollback(argument),
      description: DESCRIPTIONS.rollback,
    });
    setHandler(messages.setLimits, (argument?: unknown) => this.onSetLimits(argument), {
      description: DESCRIPTIONS.setLimits,
    });
    setDefaultSignalHandler((name) => this.note(`signal '${name}' is unknown and was ignored`));
  }

  private onFreeze(argument: unknown): void {
    const asked = messages.record(argument);
    this.noteOddity('freeze-writes', argument);
    if (this.committed) return this.note('freeze-writes came after the commit and changes nothing');
    if (this.committing || this.freezing !== undefined) return this.note('freeze-writes: a freeze is running already');
    const request = {
      at: Date.now(),
      by: messages.text(asked['by']),
      whenReady: asked['whenReady'] === true,
      force: asked['force'] === true,
    };
    this.freezeWaitsFor = undefined;
    this.request({ freezeRequest: request });
    this.note(`freeze-writes${request.by === undefined ? '' : ` by ${request.by}`}`);
    void this.expireFreezeRequest();
  }

  /** Drops a request that could not begin in time, also in the middle of a long round, so that status is true. */
  private async expireFreezeRequest(): Promise<void> {
    const request = this.current?.freezeRequest ?? this.early.freezeRequest;
    if (request === undefined || request.whenReady) return;
    await sleep(Math.max(1, request.at + FREEZE_REQUEST_TTL_MS + 1 - Date.now()), {
      summary: 'freeze-writes expires',
    }).catch(() => undefined);
    this.revision += 1;
    if (this.current?.freezeRequest !== request || this.freezing !== undefined) return;
    const why = this.freezeWaitsFor === undefined ? '' : `: ${this.freezeWaitsFor}`;
    this.withdrawFreeze(`freeze-writes was dropped: the freeze could not begin within 10 minutes${why}`);
  }

  /** A signal cannot be refused: what of it was passed over is said. */
  private noteOddity(signal: 'freeze-writes' | 'unfreeze-writes', argument: unknown): void {
    const odd = messages.oddity(signal, argument);
    if (odd !== undefined) this.note(`${odd}; what is odd was ignored`);
  }

  private onUnfreeze(argument: unknown): void {
    this.noteOddity('unfreeze-writes', argument);
    const by = messages.text(messages.record(argument)['by']);
    const asked = `unfreeze-writes${by === undefined ? '' : ` by ${by}`}`;
    if (this.phase === 'rolling back' && !this.isDecided) {
      this.reopenAsked = asked;
      return this.note(asked);
    }
    if (this.committing) return this.note('unfreeze-writes came after commit and changes nothing');
    this.unfreezeAsked = asked;
    this.request({ freezeRequest: undefined });
    this.note(this.unfreezeAsked);
  }

  private settingLimits: Promise<void> = Promise.resolve();
  /** The transfer that runs now, to be told of limits. */
  transferring: ChildWorkflowHandle<typeof transfer> | undefined;

  /** Set by `unfreeze-writes`; the cutover forwards it to the lease. */
  unfreezeAsked: string | undefined;

  private onRetry(): void {
    this.revision += 1;
    if (this.parked === undefined) return this.note('retry: nothing is parked');
    this.retries += 1;
  }

  /** While the lease is asked to commit it is not known yet which side of the last point of return this is. */
  private onAbort(): void {
    this.aborted = true;
    this.scope.cancel();
  }

  private onQuiescent(argument: unknown): void {
    if (!messages.hasNumbers<Quiescent>(argument, ['freeze', 'firstBlockAt', 'quiescentAt', 'deadline'])) return;
    this.news = argument;
    this.revision += 1;
  }

  /** Of the present freeze: an earlier lease's word counts for nothing. */
  get quiescent(): Quiescent | undefined {
    return this.news?.freeze === this.current?.freezes ? this.news : undefined;
  }

  private onProgress(argument: unknown): void {
    const numbers = ['round', 'blobsDone', 'bytesDone', 'blobs', 'bytes', 'startedAt', 'at'] as const;
    if (!messages.hasNumbers<TransferProgress>(argument, numbers)) return;
    if (argument.round !== this.current?.nextRound) return;
    this.progress = argument;
    this.tell();
  }

  private refuseApproval(argument: unknown): void {
    refuseOddity('approve', argument);
    const asked = messages.record(argument);
    if (this.current !== undefined && !this.current.settings.approval)
      throw new Error('This plan needs no approval: cutover.approval is false');
    if (messages.text(asked['who']) === undefined || messages.text(asked['why']) === undefined) {
      throw new Error('approve takes {"who": "...", "why": "..."}');
    }
    if (this.phase === 'awaiting approval') return;
    if (asked['ifVerified'] === true && this.freezing !== undefined && !this.committing) return;
    throw new Error(
      `Nothing can be approved in phase '${this.phase}': send it when status says 'awaiting approval', ` +
        'or during the freeze with {"ifVerified": true}',
    );
  }

  private onApprove(argument: unknown): string {
    const asked = messages.record(argument);
    this.approval = { who: messages.text(asked['who']) ?? '', why: messages.text(asked['why']) ?? '' };
    this.revision += 1;
    this.note(`approved by ${this.approval.who}: ${this.approval.why}`);
    return this.phase === 'awaiting approval' ? 'approved: committing' : 'approved: commits once verified';
  }

  private refuseWaiver(argument: unknown): void {
    refuseOddity('waive', argument);
    const { rows, who, why } = waiverIn(argument);
    if (rows.length === 0 || who === '' || why === '') {
      throw new Error('waive takes {"rows": ["index/check"], "who": "...", "why": "..."}');
    }
    if (this.parked?.code !== FAILED_ROWS || this.verification === undefined) {
      throw new Error(
        `Nothing can be waived in phase '${this.phase}': send it when the verification has failed checks`,
      );
    }
    const { failedRows, failed } = this.verification;
    const unknown = rows.filter((name) => !failedRows.some((row) => matchesPattern(name, row)));
    // Not all failed rows are known here when there are very many.
    if (unknown.length === 0 || failed > failedRows.length) return;
    throw new Error(
      `No failed check is called ${unknown.join(', ')}. Failed are: ${failedRows.slice(0, 20).join(', ')}`,
    );
  }

  private onWaive(argument: unknown): string {
    this.waiver = waiverIn(argument);
    this.revision += 1;
    const { rows, who, why } = this.waiver;
    this.note(`${rows.join(', ')} waived by ${who}: ${why}`);
    return 'waived: status says what is left';
  }

  /** How many indices this run has excluded. */
  exclusions = 0;
  /** Asks the lease of the present freeze to open what is excluded. */
  askLease: (() => Promise<void>) | undefined;
  private openAsked = 0;
  private opened: Opened | undefined;
  private excluding = 0;
  private exclusionTurn: Promise<unknown> = Promise.resolve();
  /** Everything is looked at for the last time: what is left out must be known before. */
  private deciding = false;

  decide(deciding: boolean): void {
    this.deciding = deciding;
  }

  /** Resolves when no `exclude` is being carried out. */
  exclusionsDone(): Promise<void> {
    return condition(() => this.excluding === 0);
  }

  private refuseExclusion(argument: unknown): void {
    refuseOddity('exclude', argument);
    const { index, who, why } = exclusionIn(argument);
    if (index === '' || who === '' || why === '') {
      throw new Error(
        'exclude takes {"index": "...", "who": "...", "why": "..."}: one index, by its name on the source',
      );
    }
    const wrong = (when: string) => new Error(`Nothing can be excluded in phase '${this.phase}': ${when}`);
    if (this.current === undefined) throw wrong('send it when preflight has passed');
    if (this.committing || this.committed || PAST_EXCLUDING.includes(this.phase)) {
      throw wrong('the cutover is decided, and all of its indices are switched over');
    }
    if (this.phase === 'freezing') throw wrong("writes are just being blocked. Send it when status says 'cutover'");
    if (this.deciding && this.parked === undefined) {
      throw wrong('everything is being looked at for the last time before the commit');
    }
  }

  /** One after the other: two at a time could exclude the last two indices. */
  private async onExclude(argument: unknown): Promise<string> {
    this.excluding += 1;
    const turn = this.exclusionTurn.then(() => this.carryOutExclusion(exclusionIn(argument)));
    this.exclusionTurn = turn.catch(() => undefined);
    try {
      return await turn;
    } catch (error) {
      throw isCancellation(error) ? error : ApplicationFailure.nonRetryable(failureOf(error).message);
    } finally {
      this.excluding -= 1;
      this.revision += 1;
    }
  }

  private async carryOutExclusion(asked: Exclusion): Promise<string> {
    const { plan, scope } = this.state;
    const frozen = this.frozenAt === undefined ? {} : { frozen: true };
    const input = { plan, ...asked, at: Date.now(), scope: this.frozenAt ?? scope, ...frozen };
    const { who, why, digest } = await quick.excludeIndex.executeWithOptions({ summary: asked.index }, [input]);
    const { index } = asked;
    const excluded = this.state.excluded ?? [];
    if (!excluded.some((one) => one.index === index)) {
      this.update({ excluded: [...excluded, { index, who, why }] });
      this.note(`index '${index}' was excluded by ${who}: ${why}`);
      this.exclusions += 1;
      // What was approved is not what would be switched over.
      this.approval = undefined;
    }
    if (this.frozenAt !== undefined && digest !== undefined) this.frozenScopes = [...this.frozenScopes, digest];
    await this.openAtSource();
    return `excluded: '${index}' stays on the source, and what was restored of it stays blocked on the target`;
  }

  /** By the lease, which alone unblocks the source. One that ends meanwhile was released, and opens everything. */
  private async openAtSource(): Promise<void> {
    const { askLease } = this;
    if (askLease === undefined) return;
    this.openAsked += 1;
    const wanted = this.openAsked;
    await askLease().catch(() => undefined);
    await condition(() => (this.opened?.asked ?? 0) >= wanted || this.askLease !== askLease);
  }

  private onOpened(argument: unknown): void {
    if (!messages.hasNumbers<Opened>(argument, ['freeze', 'asked'])) return;
    if (argument.freeze === this.current?.freezes) this.opened = argument;
  }

  /** In the order they came, so that the last one given is the last one written. In force, and told, once written. */
  private onSetLimits(argument: unknown): Promise<string> {
    const turn = this.settingLimits.then(() => this.putLimits(argument));
    this.settingLimits = turn.then(
      () => undefined,
      () => undefined,
    );
    return turn;
  }

  private async putLimits(argument: unknown): Promise<string> {
    await condition(() => this.current !== undefined);
    const { plan } = this.state;
    const limits = await quick.writeLimits
      .executeWithOptions({ summary: 'set-limits' }, [{ plan, limits: argument }])
      .catch((error: unknown) => {
        throw isCancellation(error) ? error : ApplicationFailure.nonRetryable(failureOf(error).message);
      });
    const text = limitText(limits, Date.now()) ?? 'none';
    this.update({ limits });
    this.note(`set-limits: ${text}`);
    // A transfer that ends just now needs no telling.
    await this.transferring?.signal(messages.limits, limits).catch(() => undefined);
    return `limit: ${text}; running copies follow within 5 s`;
  }

  private view(): View {
    return {
      phase: this.phase,
      step: this.currentStep,
      state: this.current,
      park: this.parked,
      freezeWaitsFor: this.freezeWaitsFor,
      progress: this.progress,
      freeze: this.freezing,
      approval: this.approval === undefined ? 'not yet' : 'given',
      freezeWindow: undefined,
      verification: this.verification,
      watching: this.watching,
      ...(this.stopped === undefined ? {} : { stopped: this.stopped }),
    };
  }

  private tell(): void {
    setCurrentDetails(detailsOf(this.view(), Date.now()));
  }

  private tellSearch(): void {
    if (this.current === undefined) return;
    const { settings, nextRound } = this.current;
    tellSearch(settings.searchAttributes, {
      phase: this.parked === undefined ? this.phase : 'parked',
      round: nextRound,
      needsOperator: this.parked !== undefined || this.phase === 'awaiting approval',
    });
  }
}

export interface RollbackRequest {
  /** As `toAccept` of the writes, or it is not one. */
  readonly acceptLosing: number | string;
  readonly who: string;
  readonly why: string;
  answer: RollbackAnswer | undefined;
}

export type RollbackAnswer =
  { readonly done: string; readonly error?: undefined } | { readonly error: string; readonly done?: undefined };

const PAST_EXCLUDING: readonly Phase[] = ['committed', 'watching', 'rolling back', 'done', 'aborting'];

function refuseOddity(update: 'approve' | 'waive' | 'exclude' | 'rollback', argument: unknown): void {
  const odd = messages.oddity(update, argument);
  if (odd !== undefined) throw new Error(odd);
}

function exclusionIn(argument: unknown): Exclusion {
  const { index, who, why } = messages.record(argument);
  return { index: messages.name(index) ?? '', who: messages.text(who) ?? '', why: messages.text(why) ?? '' };
}

const FAILED_ROWS = 'VerificationFailed';

function waiverIn(argument: unknown): Waiver {
  const { rows, who, why } = messages.record(argument);
  return { rows: messages.texts(rows), who: messages.text(who) ?? '', why: messages.text(why) ?? '' };
}

/** Something that must not be true during a freeze is: release, say why, go back to rounds. */
export class Objection extends Error {}
