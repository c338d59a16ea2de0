import { condition, isCancellation } from '@temporalio/workflow';
import type { FreezeRef, Writes } from '../src/domain/exchange';
import { toAccept, writesText } from '../src/domain/writes';
import { Objection } from './desk';
import type { Desk, RollbackRequest } from './desk';
import { failureOf } from './failure';
import { glancing, quick, watching } from './stubs';

/** A week of watching still fits into one history. */
const LOOKS_AT_MOST = 200;
const LOOK_EVERY_MS = 10_000;

/**
 * After the switchover: counts the writes on the target for as long as the plan says, and goes back when somebody asks.
 * The order of going back never leaves both sides writable: target blocked and at rest, the number shown and accepted,
 * aliases back, source unblocked last.
 */
export class Watch {
  constructor(
    private readonly desk: Desk,
    private readonly freeze: FreezeRef,
    private readonly watchMs: number,
  ) {}

  /** Whether it was rolled back. */
  async run(): Promise<boolean> {
    const { desk } = this;
    const until = Date.now() + this.watchMs;
    const everyMs = Math.max(LOOK_EVERY_MS, Math.ceil(this.watchMs / LOOKS_AT_MOST));
    desk.watch(until);
    for (;;) {
      await this.count();
      const leftMs = until - Date.now();
      if (leftMs <= 0 && desk.rollback === undefined) return false;
      await condition(() => desk.rollback !== undefined, Math.max(1, Math.min(everyMs, leftMs)), {
        summary: 'until writes are counted again',
      });
      if (desk.rollback !== undefined && (await this.rollBack())) return true;
    }
  }

  private async count(): Promise<void> {
    const { desk } = this;
    try {
      desk.showWrites(
        await glancing.countWrites.executeWithOptions({ summary: 'writes since the switch' }, [this.freeze]),
      );
    } catch (error) {
      if (isCancellation(error)) throw error;
      desk.noteOnce(`the writes on the target could not be counted: ${failureOf(error).message}`);
    }
  }

  private async rollBack(): Promise<boolean> {
    const { desk } = this;
    desk.enter('rolling back');
    desk.reopenAsked = undefined;
    let agreed: { readonly request: RollbackRequest; readonly writes: Writes };
    try {
      agreed = await this.agree(await this.rest());
    } catch (error) {
      if (isCancellation(error)) throw error;
      const why = error instanceof Objection ? error.message : failureOf(error).message;
      await desk.persist('open the target again', () =>
        quick.unblockTarget.executeWithOptions({ summary: 'not rolled back', activityId: this.id('reopen') }, [
          { ...this.freeze, ...desk.lastRound() },
        ]),
      );
      desk.note(`not rolled back, the target is open again: ${why}`);
      desk.answerRollback({ error: `Not rolled back, the target is open again: ${why}` });
      desk.enter('watching');
      return false;
    }
    await this.goBack(agreed.request, agreed.writes);
    return true;
  }

  /** Once it is blocked and at rest the number stands. */
  private async rest(): Promise<Writes> {
    const { desk } = this;
    desk.step('block the target');
    const block = await quick.blockTarget.executeWithOptions(
      { summary: 'before anything goes back', activityId: this.id('block-target') },
      [this.freeze],
    );
    desk.step('no write is in flight on the target');
    const writes = await watching.proveTargetQuiescence.executeWithOptions(
      { summary: 'and how many there were', activityId: this.id('target-quiescence') },
      [{ ...this.freeze, block }],
    );
    desk.showWrites(writes);
    return writes;
  }

  /** Neither side takes writes meanwhile, so it does not wait for longer than a freeze may last. */
  private async agree(writes: Writes): Promise<{ readonly request: RollbackRequest; readonly writes: Writes }> {
    const { desk } = this;
    const wanted = toAccept(writes);
    const untilMs = Date.now() + desk.state.settings.freezeAtMostMs;
    desk.step(`waits for rollback with acceptLosing ${JSON.stringify(wanted)}`);
    for (;;) {
      const request = desk.rollback;
      if (desk.reopenAsked !== undefined) throw new Objection(desk.reopenAsked);
      if (request !== undefined && request.acceptLosing === wanted) {
        desk.decided();
        return { request, writes };
      }
      desk.answerRollback({
        error:
          `The target has taken ${writesText(writes)} operations since the switch, and is blocked now. Send rollback with ` +
          `"acceptLosing": ${JSON.stringify(wanted)} to lose them, or unfreeze-writes to open the target again; it opens ` +
          `by itself at ${new Date(untilMs).toISOString()}`,
      });
      const heard = await condition(
        () => desk.rollback !== undefined || desk.reopenAsked !== undefined,
        Math.max(1, untilMs - Date.now()),
        { summary: 'until the target opens again by itself' },
      );
      if (!heard) throw new Objection('nobody accepted the number of operations in time');
    }
  }

  private async goBack({ who, why }: RollbackRequest, accepted: Writes): Promise<void> {
    const { desk, freeze } = this;
    desk.note(`rollback by ${who}, who accepts to lose ${writesText(accepted)} operations: ${why}`);
    await desk.persist('aliases back', () =>
      quick.switchAliasesBack.executeWithOptions({ summary: 'one atomic call', activityId: this.id('aliases-back') }, [
        { ...freeze, accepted, who, why },
      ]),
    );
    await desk.persist('unblock the source', () =>
      quick.unblockSource.executeWithOptions({ summary: 'last of all', activityId: this.id('unblock-source') }, [
        freeze,
      ]),
    );
    desk.announce('unfrozen');
    await desk.callSwitchWebhook('switchback');
    desk.note('rolled back: the source takes the writes, the target stays blocked');
    desk.answerRollback({ done: 'rolled back: the source takes the writes, the target stays blocked' });
    if (desk.state.settings.keepsSettings === true) await this.takeSettingsBack();
  }

  /** When clients write again: nobody waits for it. */
  private async takeSettingsBack(): Promise<void> {
    const { desk, freeze } = this;
    const { notes } = await desk.persist('settings back', () =>
      quick.takeSettingsBack.executeWithOptions(
        { summary: 'as they were before the switchover', activityId: this.id('settings-back') },
        [freeze],
      ),
    );
    for (const text of notes) desk.note(text);
  }

  private rollbacks = 0;

  private id(step: string): string {
    if (step === 'block-target') this.rollbacks += 1;
    return `${step}-${this.rollbacks}`;
  }
}
