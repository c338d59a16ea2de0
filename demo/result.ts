import { formatBytes, formatDuration } from '../src/domain/durations';
import type { Report } from '../src/domain/exchange';
import type { Client } from './client';
import type { Terminal } from './terminal';
import type { Writer } from './writer';

interface Outcome {
  readonly terminal: Terminal;
  readonly report: Report;
  readonly writer: Writer;
  readonly lost: number;
  readonly source: Client;
  readonly target: Client;
  /** Temporal Web, where it stays up. */
  readonly ui: string | undefined;
  readonly id: string;
}

/** Source against target, what each round moved, the freeze window, and where to read the story. Returns what was lost. */
export async function printResult(outcome: Outcome): Promise<number> {
  const { terminal, report, writer, lost } = outcome;
  const movies = { index: 'movies', source: await count(outcome.source), target: await count(outcome.target) };
  terminal.table(
    ['index', 'documents on source', 'on target', 'acknowledged writes', 'lost'],
    [[movies.index, String(movies.source), String(movies.target), String(writer.acknowledged.size), String(lost)]],
  );
  terminal.table(
    ['round', 'blobs', 'blobs sent', 'sent', 'reused by the target', 'took'],
    report.rounds.map((round) => [
      round.round === 0 ? 'baseline' : round.final ? `${round.round}, final` : String(round.round),
      String(round.blobs),
      String(round.sentBlobs),
      formatBytes(round.sentBytes),
      `${formatBytes(round.reusedBytes)} of ${formatBytes(round.restoredBytes)}`,
      formatDuration(round.endedAt - round.startedAt),
    ]),
  );
  const window = report.freezeWindow;
  terminal.table(
    ['freeze window', 'took'],
    [...Object.entries(window?.steps ?? {}), ['all of it', window?.totalMs ?? 0] as const].map(([name, ms]) => [
      name,
      formatDuration(ms),
    ]),
  );
  terminal.gap();
  const forecast = window?.forecast;
  if (forecast !== undefined) {
    const [about, low, high] = [forecast.windowMs, forecast.lowMs, forecast.highMs].map(formatDuration);
    terminal.say(`Forecast when it began: ${about} (${low} to ${high}).`);
  }
  terminal.say(
    lost === 0 && movies.source === movies.target ? 'Every acknowledged write is on the target.' : 'WRITES WERE LOST.',
  );
  terminal.say(
    outcome.ui === undefined
      ? 'The whole story is in Temporal Web: npm run demo -- --keep leaves it up.'
      : `The whole story: ${outcome.ui}/namespaces/default/workflows/${outcome.id}`,
  );
  const missing = Math.max(lost, Math.abs(movies.source - movies.target));
  terminal.result({
    lost: missing,
    rounds: report.totals.rounds,
    freezeWindowMs: window?.totalMs ?? null,
    acknowledged: writer.acknowledged.size,
    sentBlobs: report.totals.sentBlobs,
    sentBytes: report.totals.sentBytes,
    indices: [movies],
  });
  return missing;
}

async function count(cluster: Client): Promise<number> {
  await cluster.call('POST', '/movies/_refresh');
  return ((await cluster.call('GET', '/movies/_count')) as { count: number }).count;
}
