// Policies of IAM and RAM as far as the stand-ins ask them: `Allow` statements with actions, resources and conditions.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
// https://www.alibabacloud.com/help/en/ram/user-guide/policy-structure-and-syntax

export interface Statement {
  readonly Effect: 'Allow';
  /** Of trust policies. */
  readonly Principal?: { readonly Service: string };
  readonly Action: string | readonly string[];
  /** Absent in trust policies. */
  readonly Resource?: string | readonly string[];
  /** All of them must hold: operator -> key -> one of these values. */
  readonly Condition?: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>>;
}

/** What a request says beside action and resource: `aws:SourceAccount`, `s3:prefix`. */
export type Context = Readonly<Record<string, string | undefined>>;

/** Actions are compared without regard to case, resources with `*` for anything. */
export function allows(policy: readonly Statement[], action: string, resource: string, context: Context = {}): boolean {
  return policy.some(
    ({ Action, Resource = '*', Condition = {} }) =>
      [Action].flat().some((pattern) => matches(pattern.toLowerCase(), action.toLowerCase())) &&
      [Resource].flat().some((pattern) => matches(pattern, resource)) &&
      Object.entries(Condition).every(([operator, keys]) => holds(operator, keys, context)),
  );
}

/** A key that the request does not have makes a condition false. */
function holds(operator: string, keys: Readonly<Record<string, readonly string[]>>, context: Context): boolean {
  return Object.entries(keys).every(([key, values]) => {
    const given = context[key];
    if (given === undefined) return false;
    switch (operator) {
      case 'StringEquals':
      case 'ForAnyValue:StringEquals':
        return values.includes(given);
      case 'StringLike':
      case 'ArnLike':
        return values.some((pattern) => matches(pattern, given));
      default:
        throw new Error(`The stand-ins do not know the operator ${operator}`);
    }
  });
}

function matches(pattern: string, value: string): boolean {
  const literal = pattern.split('*').map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${literal.join('.*')}$`, 's').test(value);
}

/** How AWS says that nothing allows it: docs.aws.amazon.com/AmazonS3/latest/userguide/troubleshoot-403-errors.html */
export function notAuthorized(who: string, action: string, resource: string): string {
  return (
    `User: ${who} is not authorized to perform: ${action} on resource: "${resource}" because no identity-based policy ` +
    `allows the ${action} action`
  );
}
