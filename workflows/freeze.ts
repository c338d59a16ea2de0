import {
  ApplicationFailure,
  CancellationScope,
  condition,
  getExternalWorkflowHandle,
  isCancellation,
  setCurrentDetails,
  setHandler,
  sleep,
  workflowInfo,
} from '@temporalio/workflow';
import type { SignalDefinition } from '@temporalio/workflow';
import type { FreezeRef, LeaseInput, LeaseResult, LeaseStatus, Opened, Quiescent } from '../src/domain/exchange';
import type { Status } from '../src/domain/story';
import { waitedOf } from '../src/domain/worked';
import { failureOf } from './failure';
import {
  commit,
  DESCRIPTIONS,
  openExcluded,
  opened,
  quiescent,
  record,
  status,
  text,
  unfreezeWrites,
} from './messages';
import { blocking, telling, watching } from './stubs';

/** Pauses grow, so that weeks of trying fit into one history. */
const OWED_FIRST_MS = 5_000;
const OWED_AT_MOST_MS = 10 * 60_000;

/**
 * The lease: writes on the source are blocked for as long as this workflow says, and no longer than its deadline.
 * Only this workflow blocks and unblocks the source. It outlives its parent (close policy ABANDON), so a terminated or
 * failing parent can not leave the source blocked. What its history holds first decides: commit, unfreeze, or deadline.
 */
export async function freeze(input: LeaseInput): Promise<LeaseResult> {
  if (typeof input !== 'object' || input === null || typeof input.freezeAtMostMs !== 'number') {
    throw ApplicationFailure.nonRetryable('freeze is started by migrate, never by hand', 'Configuration');
  }
  return new Lease(input).run();
}

type Decision = { readonly commit: true } | { readonly commit: false; readonly why: string };

class Lease {
  private readonly deadline: number;
  private readonly freeze: FreezeRef;
  private readonly preparing = new CancellationScope();
  private decision: Decision | undefined;
  private firstBlockAt: number | undefined;
  private quiescentAt: number | undefined;
  /** How often the parent asked to open what was excluded, and how many of those are done. */
  private openAsked = 0;
  private openDone = 0;

  constructor(private readonly input: LeaseInput) {
    this.deadline = Date.now() + input.freezeAtMostMs;
    this.freeze = { plan: input.plan, freeze: input.freeze };
    setHandler(status, () => this.status() as unknown as Status, { description: DESCRIPTIONS.status });
    setHandler(openExcluded, () => void (this.openAsked += 1), { description: DESCRIPTIONS.openExcluded });
    setHandler(commit, (argument) => this.requestCommit(argument), { description: DESCRIPTIONS.commit });
    setHandler(unfreezeWrites, (argument) => this.requestRelease(argument), {
      description: DESCRIPTIONS.unfreezeWrites,
    });
  }

  async run(): Promise<LeaseResult> {
    void this.watchDeadline();
    try {
      await this.preparing.run(async () => {
        await this.block();
        this.tell();
        await this.hold();
      });
    } catch (error) {
      this.decide({ commit: false, why: this.reasonOf(error) });
    }
    return CancellationScope.nonCancellable(() => this.end());
  }

  private status(): LeaseStatus {
    const { deadline, firstBlockAt } = this;
    return { deadline, ...(firstBlockAt === undefined ? {} : { firstBlockAt }) };
  }

  /**
   * Before quiescence there is nothing to commit: such a signal is a mistake, and harmless. After a sleep of all
   * workers the SDK hands over signals before timers, whatever came first; the time of sending tells them apart.
   */
  private requestCommit(argument: unknown): void {
    if (this.quiescentAt === undefined) return;
    const { at } = record(argument);
    const inTime = Date.now() < this.deadline || (typeof at === 'number' && at < this.deadline);
    this.decide(inTime ? { commit: true } : { commit: false, why: this.deadlinePassed() });
  }

  private deadlinePassed(): string {
    return `the deadline passed: freezeAtMost is ${this.input.freezeAtMostMs / 1000} s`;
  }

  private requestRelease(argument: unknown): void {
    const { by, why } = record(argument);
    this.decide({
      commit: false,
      why: text(why) ?? `unfreeze-writes${text(by) === undefined ? '' : ` by ${text(by)}`}`,
    });
  }

  private async watchDeadline(): Promise<void> {
    try {
      await sleep(this.input.freezeAtMostMs, { summary: 'the deadline of the freeze' });
      this.decide({ commit: false, why: this.deadlinePassed() });
    } catch {
      this.decide({ commit: false, why: 'the lease was cancelled' });
    }
  }

  private decide(decision: Decision): void {
    if (this.decision !== undefined) return;
    this.decision = decision;
    if (!decision.commit) this.preparing.cancel();
  }

  private async block(): Promise<void> {
    const { freeze } = this;
    setCurrentDetails('**Blocking writes on the source**\n\n- signal `unfreeze-writes`: stop and unblock');
    const written = await blocking.writeFreezeRecord.executeWithOptions(
      { summary: 'what was blocked before', activityId: `record-${freeze.freeze}` },
      [{ ...freeze, scope: this.input.scope, deadline: this.deadline }],
    );
    this.firstBlockAt = Date.now();
    const block = await blocking.blockWrites.executeWithOptions(
      { summary: `block writes on ${written.indices} indices`, activityId: `block-${freeze.freeze}` },
      [freeze],
    );
    const proof = await watching.proveQuiescence.executeWithOptions(
      { summary: 'no write is in flight', activityId: `quiescence-${freeze.freeze}` },
      [{ ...freeze, block }],
    );
    this.quiescentAt = Math.max(proof.provedAt, this.firstBlockAt);
    const workedMs =
      block.workedMs === undefined || proof.workedMs === undefined ? undefined : block.workedMs + proof.workedMs;
    await this.tellParent({
      freeze: freeze.freeze,
      firstBlockAt: this.firstBlockAt,
      quiescentAt: this.quiescentAt,
      waitedMs: waitedOf(this.quiescentAt - this.firstBlockAt, workedMs),
      deadline: this.deadline,
      indices: written.indices,
    });
  }

  /** Until it is decided. The parent asks for no commit before it has heard that what was excluded is open. */
  private async hold(): Promise<void> {
    for (;;) {
      await condition(() => this.decision !== undefined || this.openAsked > this.openDone);
      if (this.decision !== undefined) return;
      const asked = this.openAsked;
      await blocking.unblockExcluded.executeWithOptions({ summary: 'what was excluded from the freeze' }, [
        this.freeze,
      ]);
      this.openDone = asked;
      await this.signalParent(opened, { freeze: this.freeze.freeze, asked });
    }
  }

  private async tellParent(news: Quiescent): Promise<void> {
    await this.signalParent(quiescent, news);
  }

  private async signalParent<News extends Quiescent | Opened>(
    signal: SignalDefinition<[News?]>,
    news: News,
  ): Promise<void> {
    // Exactly the run that waits for it: another one of that id would take it for the word of its own lease. A parent
    // that is gone will not commit; the deadline then releases.
    await getExternalWorkflowHandle(this.input.plan.migration, workflowInfo().parent?.runId)
      .signal(signal, news)
      .catch(() => undefined);
  }

  private async end(): Promise<LeaseResult> {
    const decision = this.decision as Decision;
    const stands = await this.owed(() =>
      blocking.writeFreezeOutcome.executeWithOptions(
        { summary: decision.commit ? 'committed' : 'released', activityId: `outcome-${this.input.freeze}` },
        [
          {
            ...this.freeze,
            ...(decision.commit ? { outcome: 'committed' } : { outcome: 'released', why: decision.why }),
          },
        ],
      ),
    );
    // `snapferry unfreeze` may have written first, without Temporal: then its word stands, whatever we decided.
    if (stands.outcome === 'committed') return this.result('committed', undefined);
    const why = decision.commit ? (stands.why ?? 'snapferry unfreeze') : decision.why;
    setCurrentDetails(`**Unblocking the source**: ${why}`);
    await this.owed(() =>
      blocking.unblockWrites.executeWithOptions(
        { summary: 'undo exactly the record', activityId: `unblock-${this.input.freeze}` },
        [this.freeze],
      ),
    );
    setCurrentDetails(`**Released**: ${why}. Writes on the source are open again`);
    await this.tellWebhook();
    return this.result('released', why);
  }

  /** Here and not by the parent, which may be gone; it waits for the result, so not for long. */
  private async tellWebhook(): Promise<void> {
    if (this.input.notify !== true) return;
    const event = { ...this.freeze, event: 'unfrozen' as const, at: Date.now() };
    await telling.notify
      .executeWithOptions({ summary: event.event, scheduleToCloseTimeout: '20s' }, [event])
      .catch(() => undefined);
  }

  /**
   * Repeats until it is done, also what only a person can mend (a password that was changed during the freeze): a lease
   * that failed would leave the source blocked, and nobody else may unblock it.
   */
  private async owed<T>(work: () => Promise<T>): Promise<T> {
    for (let pauseMs = OWED_FIRST_MS; ; pauseMs = Math.min(2 * pauseMs, OWED_AT_MOST_MS)) {
      try {
        return await work();
      } catch (error) {
        setCurrentDetails(
          `**The freeze cannot be ended, and is tried again**: ${failureOf(error).message}\n\n` +
            '- mend the cause, and wait\n- or run `npx snapferry unfreeze plan.json`, which needs no worker',
        );
        await sleep(pauseMs, { summary: 'until it tries again to end the freeze' });
      }
    }
  }

  private result(outcome: LeaseResult['outcome'], why: string | undefined): LeaseResult {
    return { outcome, why, firstBlockAt: this.firstBlockAt, endedAt: Date.now() };
  }

  private reasonOf(error: unknown): string {
    if (isCancellation(error)) return 'the lease was cancelled';
    return `writes could not be blocked: ${failureOf(error).message}`;
  }

  private tell(): void {
    setCurrentDetails(
      [
        '**Writes on the source are blocked**',
        '',
        'You can now:',
        '',
        '- signal `unfreeze-writes`: unblock the source',
        '- wait: unless committed, it unblocks by itself',
        '',
        `Deadline: ${new Date(this.deadline).toISOString()}`,
        'If no worker is alive, nothing here can unblock: run `npx snapferry unfreeze plan.json`',
      ].join('\n'),
    );
  }
}
