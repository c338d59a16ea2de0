import type { Config } from '../config';
import { parsePlan } from '../domain/plan';
import { documentOf } from '../domain/policies';
import type { Policy } from '../domain/policies';
import { policiesFor } from '../steps/policies';
import type { Domains } from '../steps/policies';
import { readPlan } from './plan-file';

export interface PoliciesOptions {
  /** One JSON object in place of text: `{ policies: [{ name, holder, kind, document, neededFor: { sid: [call] } }] }`. */
  readonly json: boolean;
  readonly domains: Domains;
}

/** `snapferry policies PLAN`: the least that a plan needs, to be read, or to be given to a cloud's own tools. */
export async function policies(
  planFile: string,
  config: Config,
  { json, domains }: PoliciesOptions,
  write: (line: string) => void,
): Promise<void> {
  const all = policiesFor(parsePlan(await readPlan(planFile)), config, domains);
  if (json) return write(JSON.stringify({ policies: all.map(inJson) }));
  if (all.length === 0) write('Nothing in this plan is permitted by IAM or RAM: its stores are folders.');
  for (const policy of all) for (const line of linesOf(policy)) write(line);
}

function inJson(policy: Policy): object {
  const { name, holder, kind, statements } = policy;
  const neededFor = Object.fromEntries(statements.map((one) => [one.sid, one.neededFor]));
  return { name, holder, kind, document: documentOf(policy), neededFor };
}

function linesOf(policy: Policy): string[] {
  const { name, holder, kind, statements } = policy;
  return [
    `# ${name}: ${kind} for ${holder}`,
    '#',
    ...statements.flatMap(({ sid, neededFor }) => [`#   ${sid}`, ...neededFor.map((call) => `#     ${call}`)]),
    ...JSON.stringify(documentOf(policy), null, 2).split('\n'),
    '',
  ];
}
