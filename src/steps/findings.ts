import { ConfigurationError, MigrationError, UnavailableError } from '../domain/errors';
import { sentenceOf } from '../domain/objections';
import type { Objection } from '../domain/objections';

/** More would bury the first ones; an operator mends these and asks again. */
const WARNINGS_AT_MOST = 20;
const PROBLEMS_AT_MOST = 50;

/** What is checked, in the order in which an operator reads it. */
export type Check =
  | 'connections'
  | 'clusters'
  | 'calls'
  | 'stores'
  | 'repositories'
  | 'snapshots'
  | 'scope'
  | 'indices'
  | 'target'
  | 'room'
  | 'estimate';

/** One line of the list: `remedy` is what to do, where there is something to do. */
export interface Finding {
  readonly check: Check;
  readonly verdict: 'ok' | 'warning' | 'refused';
  /** A cluster, store, repository or index; for `scope` an item of the plan. */
  readonly subject: string;
  readonly seen: string;
  readonly remedy?: string;
}

/** What independent checks found, so that an operator learns of everything in one answer. */
export class Findings {
  private readonly found: Finding[] = [];
  private unavailable: UnavailableError | undefined;
  /** Clusters that did not even say who they are. */
  private readonly unknown = new Set<string>();
  private readonly causes = new Set<string>();

  /** In the order in which it was found. */
  get all(): readonly Finding[] {
    return this.found;
  }

  refuse(check: Check, subject: string, { seen, remedy }: Objection): void {
    if (this.found.some((one) => one.verdict === 'refused' && one.seen === seen && one.remedy === remedy)) return;
    this.found.push({ check, verdict: 'refused', subject, seen, remedy });
  }

  warn(check: Check, subject: string, { seen, remedy }: Objection): void {
    this.found.push({ check, verdict: 'warning', subject, seen, remedy });
  }

  ok(check: Check, subject: string, seen: string): void {
    this.found.push({ check, verdict: 'ok', subject, seen });
  }

  /** Sentences, at most twenty. */
  get warnings(): readonly string[] {
    const warned = this.found.filter(({ verdict }) => verdict === 'warning').map(sentence);
    if (warned.length <= WARNINGS_AT_MOST) return warned;
    const shown = warned.slice(0, WARNINGS_AT_MOST - 1);
    return [...shown, `and ${warned.length - shown.length} more warnings`];
  }

  /**
   * The result of a check of `subject`; `undefined` when it could not be made, which is then a finding. Bugs and
   * cancellation pass through. One cause is one finding: a cluster that did not pass the check `clusters` is not asked
   * again, and what a store says of itself is told once.
   */
  async attempt<T>(check: Check, subject: string, work: () => Promise<T> | T): Promise<T | undefined> {
    if (this.unknown.has(subject)) return undefined;
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof MigrationError)) throw error;
      if (error instanceof UnavailableError) this.unavailable ??= error;
      if (check === 'clusters') this.unknown.add(subject);
      if (this.isTold(error)) return undefined;
      this.refuse(check, subject, { seen: error.message, remedy: remedyOf(error) });
      return undefined;
    }
  }

  /** Of the same store in the same words, whatever was asked of it. */
  private isTold({ message, subject: { store } }: MigrationError): boolean {
    if (store === undefined) return false;
    const cause = `${store}: ${message.replace(/ \[[^[]*\]$/, '')}`;
    const isTold = this.causes.has(cause);
    this.causes.add(cause);
    return isTold;
  }

  /**
   * Throws one `ConfigurationError` with every problem, a line each. Else, when something did not answer, its
   * `UnavailableError`: what nobody can mend by waiting comes first.
   */
  refuseIfAny(heading: string): void {
    const problems = this.found.filter(({ verdict, remedy }) => verdict === 'refused' && remedy !== WHEN_IT_ANSWERS);
    if (problems.length > 0) {
      const shown = problems.slice(0, PROBLEMS_AT_MOST).map((problem) => `- ${sentence(problem)}`);
      const more = problems.length - shown.length;
      if (more > 0) shown.push(`- and ${more} more`);
      throw new ConfigurationError([heading, ...shown].join('\n'));
    }
    if (this.unavailable !== undefined) throw this.unavailable;
  }
}

const WHEN_IT_ANSWERS = 'try again when it answers';
/** Messages of errors say what to do themselves. */
const AS_IT_SAYS = 'mend that, then check again';

function remedyOf(error: MigrationError): string {
  return error instanceof UnavailableError ? WHEN_IT_ANSWERS : AS_IT_SAYS;
}

function sentence({ seen, remedy = '' }: Finding): string {
  return remedy === AS_IT_SAYS ? seen : sentenceOf({ seen, remedy });
}
