import { formatBytes, formatDuration } from '../domain/durations';
import type { LedgerRow } from '../domain/ledger';
import { roundLine } from '../domain/story';
import { writesText } from '../domain/writes';
import type { ReportedIndex, ReportFile } from './report';

/** A page is for reading: whoever needs all rows has `report.json`. */
const INDICES_SHOWN = 200;
const ROWS_SHOWN = 200;

/** The report as Markdown. Pure. */
export function reportPage(report: ReportFile): string {
  const sections = [
    heading(report),
    section('Freeze window', freezeWindow(report)),
    section('Verification', verification(report)),
    section('Indices', indices(report.indices)),
    section('Excluded', (report.excluded ?? []).map(exclusion)),
    section(
      'Rounds',
      report.rounds.map((round) => `- ${roundLine(round)}`),
    ),
    section('Settings', settings(report)),
    section(
      'Notes, and what remains',
      report.notes.map((note) => `- ${note}`),
    ),
    section('Evidence', evidence(report)),
  ];
  return `${sections.flat().join('\n').trimEnd()}\n`;
}

function heading(report: ReportFile): string[] {
  const { source, target, totals, approvedBy, writesSinceSwitch: written, rolledBackBy } = report;
  return [
    `# Migration ${report.migration}: ${report.outcome}`,
    '',
    `- from ${source.name} (${source.version}, cluster ${source.uuid}) to ${target.name} (${target.version}, cluster ${target.uuid})`,
    `- ${iso(report.startedAt)} to ${iso(report.endedAt)}, ${formatDuration(report.endedAt - report.startedAt)}`,
    `- ${totals.rounds} rounds, ${totals.givenUp} given up; ${totals.sentBlobs} blobs sent, ${formatBytes(totals.sentBytes)}`,
    ...(approvedBy === undefined ? [] : [`- approved by ${approvedBy.who}: ${approvedBy.why}`]),
    ...(written === undefined ? [] : [`- written on the target since the switch: ${writesText(written)} operations`]),
    ...(rolledBackBy === undefined ? [] : [`- rolled back by ${rolledBackBy.who}: ${rolledBackBy.why}`]),
    '',
  ];
}

function freezeWindow({ freezeWindow: window }: ReportFile): string[] {
  if (window === undefined) return [];
  const { totalMs, machineMs, waitedMs, steps, forecast } = window;
  return [
    `${formatDuration(totalMs)} from the first block until clients could write again: ${formatDuration(machineMs)} of machine time, ${formatDuration(waitedMs)} of waiting for people.`,
    ...(forecast === undefined
      ? []
      : [
          '',
          `Forecast when it began: ${formatDuration(forecast.windowMs)} of machine time (${formatDuration(forecast.lowMs)} to ${formatDuration(forecast.highMs)}).`,
        ]),
    '',
    '| step | time |',
    '|---|---|',
    ...Object.entries(steps).map(([step, ms]) => `| ${step} | ${formatDuration(ms)} |`),
  ];
}

function verification({ verification: done }: ReportFile): string[] {
  if (done === undefined) return ['Nothing was verified.'];
  const { level, passed, failed, waived, passedChecks, exceptions } = done;
  const more = exceptions.length > ROWS_SHOWN ? ['', `And ${exceptions.length - ROWS_SHOWN} more in the ledger.`] : [];
  return [
    `Level ${level}: ${passed} checks passed, ${failed} failed, ${waived} waived. Ledger: \`${done.ledger}\`, SHA-256 \`${done.digest}\`.`,
    '',
    `Passed: ${Object.entries(passedChecks)
      .map(([check, count]) => `${check} (${count})`)
      .join(', ')}.`,
    ...(exceptions.length === 0 ? [] : ['', '| check | verdict | source | target | note |', '|---|---|---|---|---|']),
    ...exceptions.slice(0, ROWS_SHOWN).map(exceptionLine),
    ...more,
  ];
}

function exceptionLine({ id, verdict, source, target, note, waived }: LedgerRow): string {
  const said = waived === undefined ? verdict : `waived by ${waived.who}: ${waived.why}`;
  return `| ${[id, said, source, target, note ?? ''].map(cell).join(' | ')} |`;
}

/** What people wrote, and ids, may hold what ends a cell. */
function cell(content: string | number): string {
  return String(content).replace(/\|/g, '\\|').replace(/\s+/g, ' ');
}

function indices(all: readonly ReportedIndex[]): string[] {
  if (all.length === 0) return [];
  const more = all.length > INDICES_SHOWN ? ['', `And ${all.length - INDICES_SHOWN} more in report.json.`] : [];
  return [
    '| index | documents on the source | on the target | failed checks | settings left behind |',
    '|---|---|---|---|---|',
    ...all.slice(0, INDICES_SHOWN).map(indexLine),
    ...more,
  ];
}

function indexLine({ name, onTarget, documents, failedChecks, droppedSettings }: ReportedIndex): string {
  const called = onTarget === undefined ? name : `${name} (on the target ${onTarget})`;
  const cells = [called, documents?.source ?? '-', documents?.target ?? '-', some(failedChecks), some(droppedSettings)];
  return `| ${cells.join(' | ')} |`;
}

function exclusion({ index, onTarget, who, why, at }: NonNullable<ReportFile['excluded']>[number]): string {
  return (
    `- ${index}, by ${who} at ${iso(at)}: ${why}. It stays on the source. What was restored of it on the target as ` +
    `${onTarget} stays there, blocked and without aliases; the notes name it, and how to remove it`
  );
}

function settings({ settings: { applied, droppedPatterns } }: ReportFile): string[] {
  return [
    `- dropped on every restore: ${droppedPatterns.map((name) => `\`${name}\``).join(', ')}`,
    ...(applied.length === 0 ? [] : [`- applied on every restore: ${applied.map((name) => `\`${name}\``).join(', ')}`]),
  ];
}

function evidence({ freeze, planDigest }: ReportFile): string[] {
  const decided = freeze?.outcome?.outcome ?? 'undecided';
  return [
    `- plan: \`plan.json\`, SHA-256 \`${planDigest}\``,
    ...(freeze === undefined
      ? []
      : [`- freeze of ${freeze.indices} indices, ${decided}: \`${freeze.record}\`, SHA-256 \`${freeze.digest}\``]),
  ];
}

function section(title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : [`## ${title}`, '', ...lines, ''];
}

const some = (texts: readonly string[]) => (texts.length === 0 ? '-' : texts.join(', '));
const iso = (ms: number) => new Date(ms).toISOString();
