import type { OpeningInput } from '../domain/exchange';
import { nextOpening as openingOf } from '../domain/window';
import type { Opening } from '../domain/window';
import type { StepDeps } from './migration';

/** When a round may start next. A step, so that no replay asks another process for its time zones. */
export async function nextOpening(_: StepDeps, { window, at }: OpeningInput): Promise<Opening> {
  return openingOf(window, at);
}
