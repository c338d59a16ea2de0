// Identity policies of IAM as far as this service asks them: actions and resources of `Allow` statements, with `*`.
// https://docs.aws.amazon.com/elasticsearch-service/latest/developerguide/es-ac.html

export interface Statement {
  readonly Effect: 'Allow';
  readonly Action: string | readonly string[];
  readonly Resource: string | readonly string[];
}

/** Actions are compared as IAM does, without regard to case. */
export function allows(policy: readonly Statement[], action: string, resource: string): boolean {
  return policy.some(
    ({ Action, Resource }) =>
      [Action].flat().some((pattern) => matches(pattern.toLowerCase(), action.toLowerCase())) &&
      [Resource].flat().some((pattern) => matches(pattern, resource)),
  );
}

function matches(pattern: string, value: string): boolean {
  const literal = pattern.split('*').map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${literal.join('.*')}$`, 's').test(value);
}
