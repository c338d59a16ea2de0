import { Context } from '@temporalio/activity';
import type { WorkflowHandle } from '@temporalio/client';
import { fakeActivities } from './fake-activities';
import type { Activities, FakeOptions, Journal } from './fake-activities';
import type { TemporalBench } from './temporal';

/**
 * Messages that come before, inside and after each step of a cutover: one migration for each, all at once on one worker,
 * with the real Temporal server and the real workflows. Steps are fakes that ignore nothing: what a real one does when
 * it is cancelled too late, it does as well.
 */

export type Message = 'unfreeze-writes' | 'abort' | 'the deadline';
/** `before` it acts, `inside` while it can still be cancelled, `after` it has acted and before anybody knows. */
export type Moment = 'before' | 'inside' | 'after';
export type StepName = keyof Activities;

/** In the order of a cutover; the last point of return lies between them. */
export const BEFORE_COMMIT = [
  'resolveScope',
  'writeFreezeRecord',
  'blockWrites',
  'proveQuiescence',
  'takeSnapshot',
  'planTransfer',
  'readUnits',
  'copyBlob',
  'publish',
  'restore',
  'takeFingerprints',
  'buildReplicas',
  'verify',
  'recheckBeforeCommit',
] as const satisfies readonly StepName[];
export const AFTER_COMMIT = [
  'writeFreezeOutcome',
  'unblockTarget',
  'switchAliases',
  'confirmSourceState',
  'confirmPublished',
] as const satisfies readonly StepName[];

/** Long enough for a cutover without servers on a busy machine. */
const DEADLINE_MS = 30_000;
/** What one worker process carries without keeping its workflow tasks waiting. */
const AT_ONCE = 6;
const LOOK_EVERY_MS = 300;
/** Until an activity was told of its cancellation. */
const SETTLE_MS = 1_000;

export interface Ended {
  readonly step: StepName;
  readonly how: 'done' | 'released' | 'Aborted';
  readonly blocked: Journal['blocked'];
  /** Whether clients could ever have written on both sides. */
  readonly bothOpen: boolean;
  /** Whether the message came at all. */
  readonly struck: boolean;
}

/** Runs one migration per step and says how each ended. A released one is still there, between rounds. */
export class Moments {
  private readonly acting = new Map<string, Activities>();

  constructor(private readonly bench: TemporalBench) {}

  /** To be called once, before anything runs. */
  async work(): Promise<void> {
    const names = Object.keys(fakeActivities().activities) as StepName[];
    const routed = names.map((name) => [
      name,
      (input: { readonly migration?: string; readonly plan?: { readonly migration: string } }) => {
        const own = this.acting.get(input.migration ?? input.plan?.migration ?? '');
        if (own === undefined) throw new Error(`${name} of a migration that nobody started`);
        return (own[name] as (given: unknown) => Promise<unknown>)(input);
      },
    ]);
    await this.bench.work(Object.fromEntries(routed) as Activities);
  }

  async strike(message: Message, moment: Moment, steps: readonly StepName[]): Promise<Ended[]> {
    const ended: Ended[] = [];
    const waiting = [...steps.entries()];
    const next = async () => {
      for (let turn = waiting.shift(); turn !== undefined; turn = waiting.shift()) {
        const [at, step] = turn;
        ended[at] = await this.one(message, moment, step);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, next));
    return ended;
  }

  /** What must come of it: before the commit the source is open again, after it the message changes nothing. */
  expected(message: Message, ended: readonly Ended[]): Ended[] {
    const early: readonly StepName[] = BEFORE_COMMIT;
    return ended.map((one) => {
      const common = { step: one.step, bothOpen: false, struck: true };
      if (early.includes(one.step)) {
        const how = message === 'abort' ? ('Aborted' as const) : ('released' as const);
        return { ...common, how, blocked: { source: false, target: true } };
      }
      // An abort after the commit stops where it is, and undoes nothing.
      if (message === 'abort') return { ...common, how: 'Aborted', blocked: { ...one.blocked, source: true } };
      return { ...common, how: 'done', blocked: { source: true, target: false } };
    });
  }

  private async one(message: Message, moment: Moment, step: StepName): Promise<Ended> {
    const id = `moment-${message.replace(' ', '-')}-${moment}-${step}-${Date.now()}`;
    const strike = new Strike(this.bench, id, message, moment);
    const { handle, journal, bothOpen } = await this.start(id, {
      settings: { everyMs: 3_600_000, freezeAtMostMs: message === 'the deadline' ? DEADLINE_MS : 600_000 },
      replace: (base) => strike.wrap(base, step),
    });
    await handle.signal('freeze-writes');
    const how = await this.end(handle);
    return { step, how, blocked: { ...journal.blocked }, bothOpen: bothOpen(), struck: strike.struck };
  }

  /** A migration of that id with activities of its own. */
  async start(id: string, options: FakeOptions) {
    const { activities, journal } = fakeActivities(options);
    const watched = watchBoth(activities, journal);
    this.acting.set(id, watched.activities);
    const handle = await this.bench.migrate(undefined, undefined, id);
    return { handle, journal, bothOpen: watched.bothOpen };
  }

  private async end(handle: WorkflowHandle): Promise<Ended['how']> {
    for (;;) {
      // Asked, not waited for: a released one goes on, and nobody would end the waiting.
      const { status } = await handle.describe();
      if (status.name === 'COMPLETED') return 'done';
      if (status.name !== 'RUNNING' && status.name !== 'CONTINUED_AS_NEW') return 'Aborted';
      const { phase, notes } = await this.bench.status(handle);
      const isBack = notes.some((note) => /freeze 1 released|unfreeze-writes$/.test(note));
      if (phase === 'between rounds' && isBack) return 'released';
      await pause(LOOK_EVERY_MS);
    }
  }
}

class Strike {
  armed = false;
  struck = false;
  private deadline = 0;

  constructor(
    private readonly bench: TemporalBench,
    private readonly id: string,
    private readonly message: Message,
    private readonly moment: Moment,
  ) {}

  wrap(base: Activities, step: StepName): Partial<Activities> {
    const act = base[step] as (input: unknown) => Promise<unknown>;
    const struck = async (input: unknown) => {
      if (!this.armed) return act(input);
      this.armed = false;
      this.struck = true;
      if (this.moment === 'after') {
        const result = await act(input);
        await beating(() => this.send());
        return result;
      }
      await (this.moment === 'inside' ? untilCancelled(this.send()) : beating(() => this.send()));
      return act(input);
    };
    const record = step === 'writeFreezeRecord' ? struck : base.writeFreezeRecord;
    return {
      [step]: struck,
      writeFreezeRecord: (input) => {
        this.deadline = input.deadline;
        return record(input) as ReturnType<Activities['writeFreezeRecord']>;
      },
      // The cutover begins when the baseline is there.
      obstacleToFreeze: (input) => {
        this.armed = true;
        return base.obstacleToFreeze(input);
      },
    };
  }

  private async send(): Promise<void> {
    const { workflow } = this.bench.client;
    const migration = workflow.getHandle(this.id);
    if (this.message === 'the deadline') {
      await pause(this.deadline - Date.now() + 100);
      await workflow.getHandle(`${this.id}/freeze-1`).query('__stack_trace');
    } else {
      await migration.signal(this.message);
    }
    // Whoever answers a query has read what came before it.
    await migration.query('status');
    if (this.moment === 'inside') await pause(SETTLE_MS);
  }
}

/** Ends as cancelled when it is. */
function untilCancelled(work: Promise<void>): Promise<void> {
  return beating(() => Promise.race([work, Context.current().cancelled]));
}

/** An activity without heartbeats is begun anew while it waits, and never learns of its cancellation. */
async function beating(work: () => Promise<void>): Promise<void> {
  const context = Context.current();
  const beat = setInterval(() => context.heartbeat(), 100);
  try {
    await work();
  } finally {
    clearInterval(beat);
  }
}

function watchBoth(activities: Activities, { blocked }: Journal) {
  let bothOpen = false;
  const look = <Input, Result>(act: (input: Input) => Promise<Result>) => {
    return async (input: Input) => {
      const result = await act(input);
      bothOpen ||= !blocked.source && !blocked.target;
      return result;
    };
  };
  const { unblockWrites, unblockTarget } = activities;
  return {
    activities: { ...activities, unblockWrites: look(unblockWrites), unblockTarget: look(unblockTarget) },
    bothOpen: () => bothOpen,
  };
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)));
