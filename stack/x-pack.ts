// Basic authentication in the words of X-Pack, which managed services have in front of their nodes.
import { json } from './managed-service';
import type { Reply, ServiceRequest } from './managed-service';

export interface BasicUser {
  readonly username: string;
  readonly password: string;
}

/** An error as Elasticsearch writes one. */
export function refusal(
  status: number,
  error: { readonly type: string; readonly reason: string },
  more: object = {},
): Reply {
  return json(status, { error: { root_cause: [error], ...error, ...more }, status });
}

/** Why a request is not let in by a cluster of that major version; undefined when it is. */
export function unauthenticated(
  { headers, path: at }: ServiceRequest,
  { username, password }: BasicUser,
  major: number,
): Reply | undefined {
  const { authorization } = headers;
  if (authorization === undefined) return unauthorized(`missing authentication token for REST request [${at}]`);
  const [, token = ''] = /^Basic (.+)$/.exec(authorization) ?? [];
  const given = Buffer.from(token, 'base64').toString();
  if (given === `${username}:${password}`) return undefined;
  const user = given.split(':')[0] ?? '';
  return unauthorized(
    major >= 7
      ? `unable to authenticate user [${user}] for REST request [${at}]`
      : `failed to authenticate user [${user}]`,
  );
}

function unauthorized(reason: string): Reply {
  const challenge = 'Basic realm="security" charset="UTF-8"';
  const header = { 'WWW-Authenticate': challenge };
  const reply = refusal(401, { type: 'security_exception', reason }, { header });
  return { ...reply, headers: { ...reply.headers, 'www-authenticate': challenge } };
}
