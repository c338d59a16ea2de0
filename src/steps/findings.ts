import { ConfigurationError, MigrationError, UnavailableError } from '../domain/errors';

/** More would bury the first ones; an operator mends these and asks again. */
const WARNINGS_AT_MOST = 20;
const PROBLEMS_AT_MOST = 50;

/**
 * Problems and warnings of independent checks, so that an operator learns of all of them in one answer. Each is one
 * sentence with its remedy.
 */
export class Findings {
  private readonly problems: string[] = [];
  private readonly warned: string[] = [];
  private unavailable: UnavailableError | undefined;

  problem(sentence: string): void {
    if (!this.problems.includes(sentence)) this.problems.push(sentence);
  }

  warn(sentence: string): void {
    this.warned.push(sentence);
  }

  get warnings(): readonly string[] {
    if (this.warned.length <= WARNINGS_AT_MOST) return [...this.warned];
    const shown = this.warned.slice(0, WARNINGS_AT_MOST - 1);
    return [...shown, `and ${this.warned.length - shown.length} more warnings`];
  }

  /** The result of a check; `undefined` when it failed, which is then a finding. Bugs and cancellation pass through. */
  async attempt<T>(check: () => Promise<T> | T): Promise<T | undefined> {
    try {
      return await check();
    } catch (error) {
      if (error instanceof UnavailableError) this.unavailable ??= error;
      else if (error instanceof MigrationError) this.problem(error.message);
      else throw error;
      return undefined;
    }
  }

  /**
   * Throws one `ConfigurationError` with every problem, a line each. Else, when something did not answer, its
   * `UnavailableError`: what nobody can mend by waiting comes first.
   */
  refuseIfAny(heading: string): void {
    if (this.problems.length > 0) {
      const shown = this.problems.slice(0, PROBLEMS_AT_MOST).map((problem) => `- ${problem}`);
      const more = this.problems.length - shown.length;
      if (more > 0) shown.push(`- and ${more} more`);
      throw new ConfigurationError([heading, ...shown].join('\n'));
    }
    if (this.unavailable !== undefined) throw this.unavailable;
  }
}
