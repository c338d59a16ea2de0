/**
 * Policies in the languages of AWS (IAM) and Alibaba Cloud (RAM), which are one but for version and names: statements
 * that allow actions on resources. JSON has no comments, so what each statement is for stands beside it, by its Sid.
 */

/** https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements.html; RAM has no Sid. */
export interface Statement {
  readonly Effect: 'Allow';
  /** Of trust policies only. */
  readonly Principal?: { readonly Service: string };
  readonly Action: readonly string[];
  /** Absent in trust policies. */
  readonly Resource?: readonly string[];
  readonly Condition?: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>>;
}

/** One statement with its name and the calls that need it. */
export interface NotedStatement extends Statement {
  /** Letters and digits, as IAM wants a Sid. */
  readonly sid: string;
  readonly neededFor: readonly string[];
}

export interface Policy {
  /** Short and unique in a set: `source caller`, `worker on oss-hangzhou`. */
  readonly name: string;
  /** Who is given it, a sentence's end. */
  readonly holder: string;
  readonly kind: 'IAM trust policy' | 'IAM policy' | 'RAM policy';
  readonly statements: readonly NotedStatement[];
}

/** As the console and the CLI of the service take it. */
export function documentOf({ kind, statements }: Policy): object {
  const isRam = kind === 'RAM policy';
  return {
    Version: isRam ? '1' : '2012-10-17',
    Statement: statements.map(({ sid, Effect, Principal, Action, Resource, Condition }) => ({
      ...(isRam ? {} : { Sid: sid }),
      ...{ Effect, Principal, Action, Resource, Condition },
    })),
  };
}
