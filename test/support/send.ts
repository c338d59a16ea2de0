import { request } from 'undici';

/** A request past every port and stand-in, for what only tests do; a body that is no JSON is undefined. */
export async function send(url: string, method: string, target: string, body?: unknown, headers: object = {}) {
  const answer = await request(`${url}${target}`, {
    method: method as 'GET',
    headers: { ...headers, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  return { status: answer.statusCode, body: await answer.body.json().catch(() => undefined) };
}
