// The thread of `CopyThread`: the copies that it is told, with stores and connections of its own.
import { setMaxListeners } from 'node:events';
import { parentPort } from 'node:worker_threads';
import type { ApplicationFailure } from '@temporalio/activity';
import { toFailure } from '../activities/failures';
import { loadConfig } from '../src/config';
import { copyUnit } from '../src/steps/copy-unit';
import type { StepDeps } from '../src/steps/migration';
import { openDeps } from '../src/steps/open';
import type { FromCopies, ToCopies } from './copying';

/** Often enough that no heartbeat waits for it; a batch makes progress hundreds of times a second. */
const TELLS_EVERY_MS = 250;

/** The last progress of one copy, told at once when nothing was told for a while, and otherwise a little later. */
class Progress {
  private untold: Readonly<Record<string, unknown>> | undefined;
  private pause: NodeJS.Timeout | undefined;

  constructor(private readonly tell: (progress: Readonly<Record<string, unknown>>) => void) {}

  readonly report = (details: Readonly<Record<string, unknown>>): void => {
    this.untold = details;
    if (this.pause === undefined) this.tellRest();
  };

  tellRest(): void {
    clearTimeout(this.pause);
    this.pause = undefined;
    if (this.untold === undefined) return;
    this.tell(this.untold);
    this.untold = undefined;
    this.pause = setTimeout(() => this.tellRest(), TELLS_EVERY_MS);
  }

  stop(): void {
    clearTimeout(this.pause);
  }
}

function main(deps: Promise<StepDeps>): void {
  const underWay = new Map<number, AbortController>();
  const answer = (news: FromCopies) => parentPort!.postMessage(news);
  parentPort!.on('message', (told: ToCopies) => {
    if ('isCancelled' in told) underWay.get(told.copy)?.abort();
    else void run(told);
  });

  async function run({ copy, input, resumed }: Extract<ToCopies, { input: unknown }>): Promise<void> {
    const abort = new AbortController();
    // One for each request in flight is no leak.
    setMaxListeners(0, abort.signal);
    underWay.set(copy, abort);
    const progress = new Progress((details) => answer({ copy, progress: details }));
    try {
      // Nothing of a copy asks until when it may act: two of the same unit write the same bytes.
      const context = { signal: abort.signal, progress: progress.report, resumed, actUntil: Infinity };
      answer({ copy, result: await copyUnit(await deps, input, context) });
    } catch (error) {
      progress.tellRest();
      answer({ copy, failure: plain(toFailure(error) as ApplicationFailure) });
    } finally {
      progress.stop();
      underWay.delete(copy);
    }
  }
}

/** What a message between threads keeps of a failure: a class it does not. */
function plain({ message, type, nonRetryable, details, nextRetryDelay, cause }: ApplicationFailure) {
  const failure = { message, type, nonRetryable, details, nextRetryDelay, cause };
  return Object.fromEntries(Object.entries(failure).filter(([, value]) => value !== undefined && value !== null));
}

main(loadConfig().then((config) => openDeps(config)));
