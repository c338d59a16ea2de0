import { randomUUID } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { Config } from '../config';
import type { Lack } from '../domain/definitions';
import { ConfigurationError } from '../domain/errors';
import { parsePlan } from '../domain/plan';
import type { StepContext } from '../steps/context';
import type { Finding } from '../steps/findings';
import { predecessorsOf } from '../steps/adopt';
import { lostCutover } from '../steps/lost-cutover';
import { inspect } from '../steps/inspection';
import { openDeps } from '../steps/open';
import { readPlan } from './plan-file';

/** Whatever comes from a cluster may be long; an operator reads lines. */
const EXCLUDED_SHOWN = 20;

export interface CheckOptions {
  /** One JSON object in place of lines: `{ findings, indices, excluded, estimate }`. */
  readonly json: boolean;
  /** A folder for what the source has around the indices and the target lacks or has otherwise; undefined writes nothing. */
  readonly exportTo?: string;
}

/**
 * `snapferry check PLAN`: what a migration checks before it touches anything, without Temporal. Every finding is told,
 * then throws `ConfigurationError` when one of them would keep the migration from starting.
 */
export async function check(
  planFile: string,
  config: Config,
  options: CheckOptions,
  write: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const plan = parsePlan(await readPlan(planFile));
  const deps = openDeps(config);
  const context: StepContext = { signal, progress: () => undefined, resumed: undefined, actUntil: Infinity };
  try {
    const lost = await lostCutover(deps, plan, context);
    if (lost !== undefined) {
      const seen = 'was committed and lost before its report: the migration would end its cutover, and move nothing';
      const found = [{ check: 'scope', verdict: 'ok', subject: lost.file.migration, seen }] as const;
      if (options.json) write(JSON.stringify({ findings: found, indices: [], excluded: [] }));
      else for (const line of linesOf(found, [])) write(line);
      return;
    }
    // No migration has this run, so that claims and indices count as another's; but those that it takes over.
    const [adopted] = await predecessorsOf(deps, plan, context);
    const who = { migration: 'snapferry check', firstRunId: adopted?.file.firstRunId ?? `check-${randomUUID()}` };
    const { findings, indices = [], excluded = [], estimate, lacks } = await inspect(deps, plan, who, context);
    // Undefined when one side could not be asked, which refuses the plan.
    if (options.exportTo !== undefined && lacks !== undefined) await exportTo(options.exportTo, lacks);
    if (options.json) {
      write(JSON.stringify({ findings: findings.all, indices: indices.map(({ name }) => name), excluded, estimate }));
    } else {
      for (const line of linesOf(findings.all, excluded)) write(line);
    }
    const refused = findings.all.filter(({ verdict }) => verdict === 'refused').length;
    if (refused > 0)
      throw new ConfigurationError(`The migration would not start: ${refused} of the findings refuse it`);
  } finally {
    await deps.close();
  }
}

/** One file for each definition, called as what it is: its content is the body of `PUT <path>`, of which index.txt tells. */
async function exportTo(folder: string, lacks: readonly Lack[]): Promise<void> {
  const index: string[] = [];
  for (const { definition, state } of lacks) {
    const { kind, name, path: put, body } = definition;
    const file = path.join(kind, `${encodeURIComponent(name)}.json`);
    await mkdir(path.join(folder, kind), { recursive: true });
    await writeFile(path.join(folder, file), `${JSON.stringify(body, null, 2)}\n`);
    index.push(`PUT ${put} < ${file} (${state} on the target)\n`);
  }
  await mkdir(folder, { recursive: true });
  await writeFile(path.join(folder, 'index.txt'), index.sort().join(''));
}

const MARKS = { ok: 'ok     ', warning: 'warning', refused: 'REFUSED' } as const;

/** What refuses comes last, where the eye is. */
function linesOf(
  findings: readonly Finding[],
  excluded: readonly { readonly name: string; readonly because: string }[],
): string[] {
  const lines = (['ok', 'warning', 'refused'] as const).flatMap((wanted) =>
    findings
      .filter(({ verdict }) => verdict === wanted)
      .flatMap(({ verdict, check: of, subject, seen, remedy }) => [
        `${MARKS[verdict]}  ${of.padEnd(12)}  ${subject}: ${seen}`,
        ...(remedy === undefined ? [] : [`${' '.repeat(23)}-> ${remedy}`]),
      ]),
  );
  const left = excluded
    .slice(0, EXCLUDED_SHOWN)
    .map(({ name, because }) => `        not moved     ${name}: ${because}`);
  if (excluded.length > left.length) left.push(`        and ${excluded.length - left.length} more are not moved`);
  return [...left, ...lines];
}
