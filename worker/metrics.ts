import type { Client } from '@temporalio/client';
import type { MetricGauge, MetricMeter } from '@temporalio/common';
import type { LeaseStatus } from '../src/domain/exchange';
import type { Status } from '../src/domain/story';

/** Shorter than any sensible scrape interval, longer than a look takes. */
const LOOK_EVERY_MS = 10_000;

/**
 * What alerts are built on, read from the running workflows themselves: so it is right after a restart of the worker,
 * from whichever worker it comes, and also when only the lease of a terminated migration is left.
 */
export class Gauges {
  private readonly gauges: Readonly<Record<'parked' | 'frozen' | 'deadline', MetricGauge>>;
  /** Told before: a series that nobody sets any more would keep its last value for ever. */
  private readonly told = new Set<string>();
  private timer: NodeJS.Timeout | undefined;
  private isStopped = false;
  private looking: Promise<void> = Promise.resolve();

  constructor(
    private readonly workflow: Client['workflow'],
    private readonly taskQueue: string,
    meter: MetricMeter,
  ) {
    const gauge = (name: string, unit: string, description: string) =>
      meter.createGauge(`snapferry_${name}`, 'float', unit, description);
    this.gauges = {
      parked: gauge('parked', '', '1 while a migration waits for an operator'),
      frozen: gauge('frozen_seconds', 's', 'How long writes on the source have been blocked; 0 while they are not'),
      deadline: gauge('freeze_deadline_seconds', 's', 'Until the freeze releases by itself; 0 when there is none'),
    };
  }

  start(): void {
    const again = () => {
      this.looking = this.look().finally(() => {
        if (!this.isStopped) this.timer = setTimeout(again, LOOK_EVERY_MS);
      });
    };
    again();
  }

  async stop(): Promise<void> {
    this.isStopped = true;
    clearTimeout(this.timer);
    await this.looking;
  }

  /** Never rejects: what does not answer now is asked again, and what was told last stands. */
  async look(now = Date.now()): Promise<void> {
    try {
      const parked = new Map<string, boolean>();
      const leases = new Map<string, LeaseStatus>();
      const silent = new Set<string>();
      const query = `ExecutionStatus = 'Running' AND TaskQueue = '${this.taskQueue}'`;
      for await (const { workflowId, type } of this.workflow.list({ query })) {
        if (type !== 'migrate' && type !== 'freeze') continue;
        const migration = workflowId.replace(/\/freeze-\d+$/, '');
        this.told.add(migration);
        try {
          const ask = <T>() => this.workflow.getHandle(workflowId).query<T>('status');
          if (type === 'migrate') parked.set(migration, (await ask<Status>()).phase === 'parked');
          else leases.set(migration, await ask<LeaseStatus>());
        } catch {
          silent.add(migration); // what was told of it last stands
        }
      }
      const answered = [...this.told].filter((migration) => !silent.has(migration));
      for (const migration of answered) this.tell(migration, parked.get(migration), leases.get(migration), now);
    } catch {
      // The next look repeats it.
    }
  }

  private tell(migration: string, isParked: boolean | undefined, lease: LeaseStatus | undefined, now: number): void {
    const tags = { migration };
    const seconds = (ms: number) => Math.max(0, ms) / 1000;
    this.gauges.parked.set(isParked === true ? 1 : 0, tags);
    this.gauges.frozen.set(lease?.firstBlockAt === undefined ? 0 : seconds(now - lease.firstBlockAt), tags);
    this.gauges.deadline.set(lease === undefined ? 0 : seconds(lease.deadline - now), tags);
  }
}
