import { formatDuration } from '../domain/durations';
import { Engine } from '../storage';
import type { CopySource, CopyTarget } from '../storage';
import { planSnapshot, planWhole, runMirror } from '../steps/mirror';
import type { MirrorPlan } from '../steps/mirror';
import { EvidenceFile } from './evidence';
import { amount, Meter } from './meter';
import type { LongTerminal } from './meter';

export interface CopyCommand {
  readonly source: CopySource;
  readonly target: CopyTarget;
  /** Undefined: the whole prefix. */
  readonly snapshot?: string;
  readonly dryRun: boolean;
  /** Bytes a second at most. */
  readonly bytesPerSecond?: number;
  /** Where the proofs of this pair of places are kept. */
  readonly evidence: string;
  /** The command line that says the same again. */
  readonly again: string;
}

/**
 * `snapferry copy SRC DST`: sends what the target lacks, proves it, and says what it did. Run again after anything, it
 * goes on where it was. Throws what `planSnapshot`, `planWhole` and `runMirror` throw, and of an interruption how far it
 * came and how to go on.
 */
export async function copy(command: CopyCommand, terminal: LongTerminal, signal: AbortSignal): Promise<void> {
  let done = 'before anything was copied';
  try {
    await run(command, terminal, signal, (copied) => (done = copied));
  } catch (error) {
    if (!signal.aborted) throw error;
    throw new Error(`interrupted ${done}: run it again, it goes on where it stopped: ${command.again}`, {
      cause: error,
    });
  }
}

async function run(
  command: CopyCommand,
  terminal: LongTerminal,
  signal: AbortSignal,
  copied: (amount: string) => void,
): Promise<void> {
  const { source, target, snapshot } = command;
  const evidence = new EvidenceFile(command.evidence);
  const before = evidence.read();
  const plan =
    snapshot === undefined
      ? await planWhole(source, target, before, signal)
      : await planSnapshot(source, target, snapshot, before, signal);
  if (command.dryRun) return sayPlan(plan, terminal);
  const { bytesPerSecond } = command;
  const meter = new Meter(plan.send, terminal);
  const engine = new Engine({
    ...(bytesPerSecond === undefined ? {} : { limits: { bytesPerSecond } }),
    onRefusedRoute: ({ message }) => meter.say(`the store does not copy by itself, all bytes pass here: ${message}`),
  });
  evidence.open(({ message }) => meter.say(message));
  try {
    await runMirror(engine, source, target, plan, {
      signal,
      progress: (done) => meter.add(done),
      proved: (proof) => evidence.add(proof),
      uploads: evidence,
      retrying: ({ message }, pauseMs) => meter.say(`again in ${formatDuration(pauseMs)}: ${message}`),
    });
  } finally {
    meter.end();
    await evidence.close();
    copied(`after ${amount(meter.done)} of ${amount(plan.send)}`);
  }
  terminal.out(
    `copied ${amount(plan.send)} in ${formatDuration(meter.elapsedMs)}; ${amount(plan.held)} were there already`,
  );
}

function sayPlan({ phases, send, held }: MirrorPlan, terminal: LongTerminal): void {
  for (const { phase, files } of phases) {
    const blobs = files.flatMap((file) => file.blobs);
    const bytes = blobs.reduce((sum, { length }) => sum + length, 0);
    terminal.out(`${phase.padEnd(22)}  ${amount({ blobs: blobs.length, bytes })}`);
  }
  terminal.out(`would copy ${amount(send)}; ${amount(held)} are there already`);
}
