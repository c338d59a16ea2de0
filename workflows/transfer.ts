import {
  CancellationScope,
  condition,
  continueAsNew,
  getExternalWorkflowHandle,
  setCurrentDetails,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import { formatBytes } from '../src/domain/durations';
import type {
  TransferCursor,
  TransferInput,
  TransferProgress,
  TransferResult,
  UnitLabel,
} from '../src/domain/exchange';
import { limitText } from '../src/domain/limits';
import type { TransferLimits } from '../src/domain/limits';
import type { Status } from '../src/domain/story';
import { Busy } from '../src/domain/worked';
import { DESCRIPTIONS, limits, progress, record, status } from './messages';
import { quick, transferring, TRANSFER_QUEUE_SUFFIX } from './stubs';

/**
 * Moves what one round must send: stages are barriers, inside a stage a bounded window of activities. It ends when
 * every unit is in the target store and proved. It publishes nothing: `index-N` is the parent's.
 */

/**
 * The slots of eight workers; where there are fewer, a backlog hides the 90 ms between one activity and the next. The
 * heartbeats of all of them are part of this workflow's state (src/steps/units.ts).
 */
const WINDOW = 64;
const PARENT_HEARS_EVERY_MS = 60_000;
const PARENT_HEARS_AT_MOST = 100;

export async function transfer(input: TransferInput): Promise<TransferResult> {
  const run = new TransferRun(input);
  setHandler(limits, (news) => run.hear(news), { description: DESCRIPTIONS.limits });
  setHandler(status, () => run.status() as unknown as Status, { description: DESCRIPTIONS.status });
  return run.run();
}

class TransferRun {
  private readonly stubs = transferring(`${workflowInfo().taskQueue}${TRANSFER_QUEUE_SUFFIX}`);
  private readonly cursor: { -readonly [K in keyof TransferCursor]: TransferCursor[K] };
  private readonly busy: Busy;
  private readonly scope = new CancellationScope();
  private stage = -1;
  private phase = '';
  private inFlight = 0;
  private failed: { readonly error: unknown } | undefined;
  private lastTold = 0;
  private limits: TransferLimits;
  private telling: Promise<void> = Promise.resolve();

  constructor(private readonly input: TransferInput) {
    this.limits = input.limits ?? {};
    this.cursor = {
      ...(input.resume ?? { nextPage: 0, blobsDone: 0, bytesDone: 0, signalsSent: 0, startedAt: Date.now() }),
    };
    this.busy = new Busy(this.cursor.workedMs ?? 0);
  }

  async run(): Promise<TransferResult> {
    try {
      return await this.scope.run(() => this.pages());
    } catch (error) {
      await this.settled();
      throw this.failed === undefined ? error : this.failed.error;
    }
  }

  private async pages(): Promise<TransferResult> {
    const { pages } = this.input.planned;
    for (let page = this.cursor.nextPage; page < pages; page += 1) {
      await this.page(page);
      this.cursor.nextPage = page + 1;
      if (workflowInfo().continueAsNewSuggested) await this.continue();
    }
    await this.drain();
    await this.telling;
    return { blobs: this.cursor.blobsDone, bytes: this.cursor.bytesDone, workedMs: this.busy.ms };
  }

  /** For show: copies read the limits from the work prefix. */
  hear(news: unknown): void {
    this.limits = record(news);
    this.tell(false);
  }

  status(): object {
    const { planned } = this.input;
    const limit = limitText(this.limits, Date.now());
    return {
      phase: this.phase,
      inFlight: this.inFlight,
      blobs: `${this.cursor.blobsDone} of ${planned.sendBlobs}`,
      bytes: `${formatBytes(this.cursor.bytesDone)} of ${formatBytes(planned.sendBytes)}`,
      ...(limit === undefined ? {} : { limit }),
    };
  }

  private async page(page: number): Promise<void> {
    const labels = await quick.readUnits.executeWithOptions({ summary: `units ${page * 100 + 1} and on` }, [
      { ...this.round(), page },
    ]);
    for (const label of labels) {
      if (label.stage !== this.stage) await this.enter(label);
      await condition(() => this.inFlight < WINDOW);
      this.start(page, label);
    }
  }

  private start(page: number, label: UnitLabel): void {
    this.inFlight += 1;
    const startedAt = Date.now();
    void this.copy(page, label)
      .then(
        (done) => {
          this.cursor.blobsDone += done.blobs;
          this.cursor.bytesDone += done.bytes;
          const endedAt = Date.now();
          this.busy.add(endedAt, done.workedMs ?? endedAt - startedAt);
          this.tell(false);
        },
        (error: unknown) => {
          this.failed ??= { error };
          this.scope.cancel();
        },
      )
      .finally(() => {
        this.inFlight -= 1;
      });
  }

  private copy(page: number, label: UnitLabel) {
    const copy = label.kind === 'blob' ? this.stubs.copyBlob : this.stubs.copyBatch;
    return copy.executeWithOptions({ summary: label.label, activityId: `${label.kind}-${label.unit}` }, [
      { ...this.round(), page, unit: label.unit },
    ]);
  }

  /** The barrier: nothing of the next stage begins while anything of this one is in flight. */
  private async drain(): Promise<void> {
    await condition(() => this.inFlight === 0);
  }

  /** Activities that were told to stop do so before we end: nothing writes to the target after us. */
  private settled(): Promise<void> {
    return CancellationScope.nonCancellable(() => condition(() => this.inFlight === 0));
  }

  private async continue(): Promise<never> {
    await this.drain();
    await this.telling;
    return continueAsNew<typeof transfer>({
      ...this.input,
      limits: this.limits,
      resume: { ...this.cursor, workedMs: this.busy.ms },
    });
  }

  private async enter({ stage, phase }: UnitLabel): Promise<void> {
    await this.drain();
    this.stage = stage;
    this.phase = phase;
    this.tell(true);
  }

  private tell(phaseChanged: boolean): void {
    const { planned, parent } = this.input;
    const limit = limitText(this.limits, Date.now());
    setCurrentDetails(
      `**Round ${this.input.round}: ${this.phase}**\n\n- ${this.cursor.blobsDone} of ${planned.sendBlobs} blobs\n` +
        `- ${formatBytes(this.cursor.bytesDone)} of ${formatBytes(planned.sendBytes)}\n` +
        `${limit === undefined ? '' : `- limit: ${limit}\n`}- retries by itself; nothing to do here`,
    );
    const due = phaseChanged || Date.now() - this.lastTold >= PARENT_HEARS_EVERY_MS;
    if (parent === undefined || !due || this.cursor.signalsSent >= PARENT_HEARS_AT_MOST) return;
    this.lastTold = Date.now();
    this.cursor.signalsSent += 1;
    // A parent that is gone does not stop the copy: its close policy or its cancellation does.
    this.telling = getExternalWorkflowHandle(parent)
      .signal(progress, this.news())
      .catch(() => undefined);
  }

  private news(): TransferProgress {
    const { planned, round } = this.input;
    return {
      round,
      phase: this.phase,
      blobsDone: this.cursor.blobsDone,
      bytesDone: this.cursor.bytesDone,
      blobs: planned.sendBlobs,
      bytes: planned.sendBytes,
      startedAt: this.cursor.startedAt,
      at: Date.now(),
    };
  }

  private round() {
    const { plan, round, attempt } = this.input;
    return { plan, round, attempt };
  }
}
