import { createServer } from 'node:http';
import type { IncomingMessage, RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Answer {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Text as it is, anything else as JSON. */
  readonly body?: unknown;
}

export interface ScriptedServer {
  readonly url: string;
  /** `GET /path`, in the order of arrival. */
  readonly requests: readonly string[];
  readonly close: () => Promise<void>;
}

/** Answers by `METHOD /path`, the path without its query; for what real nodes cannot be made to say. */
export function answering(script: Readonly<Record<string, Answer | readonly Answer[]>>): Promise<ScriptedServer> {
  const seen = new Map<string, number>();
  return serving((request, response) => {
    const key = keyOf(request).replace(/\?.*/, '');
    const turn = seen.get(key) ?? 0;
    seen.set(key, turn + 1);
    const answers = [script[key] ?? { status: 500, body: `not in the script: ${key}` }].flat() as readonly Answer[];
    const { status = 200, headers = {}, body = {} } = answers[Math.min(turn, answers.length - 1)] ?? {};
    response.writeHead(status, headers).end(typeof body === 'string' ? body : JSON.stringify(body));
  });
}

export async function serving(listener: RequestListener): Promise<ScriptedServer> {
  const requests: string[] = [];
  const server = createServer((request, response) => {
    requests.push(keyOf(request));
    listener(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    close: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

const keyOf = ({ method, url }: IncomingMessage) => `${method} ${url}`;
