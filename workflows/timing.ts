import { waitedOf } from '../src/domain/worked';
import type { Worked } from '../src/domain/worked';

/** How long the steps of a round or a freeze took: those that failed and were repeated count once. Milliseconds. */
export class Timing {
  readonly steps: Record<string, number> = {};
  /** Of `steps`, where nobody was at work for more than it takes to hand a step over. */
  readonly waited: Record<string, number> = {};

  async of<Result>(step: string, work: () => Promise<Result>): Promise<Result> {
    const before = Date.now();
    const result = await work();
    const tookMs = Date.now() - before;
    this.add({ [step]: tookMs }, { [step]: waitedOf(tookMs, (result as Worked | undefined)?.workedMs) });
    return result;
  }

  add(steps: Readonly<Record<string, number>>, waited: Readonly<Record<string, number>> = {}): void {
    for (const [step, ms] of Object.entries(steps)) this.steps[step] = (this.steps[step] ?? 0) + ms;
    for (const [step, ms] of Object.entries(waited)) if (ms > 0) this.waited[step] = (this.waited[step] ?? 0) + ms;
  }
}
