// What managed services have in common: an HTTP server before a real node, which decides about each request and passes
// most of them on. The services themselves are amazon-elasticsearch/ and alibaba-elasticsearch/.
import { Agent, createServer as createHttp, request as requestOf } from 'node:http';
import type { IncomingMessage, OutgoingHttpHeaders, Server as HttpServer, ServerResponse } from 'node:http';
import { createServer as createHttps } from 'node:https';
import { buffer } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ElasticsearchServer } from './elasticsearch';
import { freePort } from './ports';

export interface ServiceRequest {
  readonly method: string;
  /** Path and query, byte for byte as sent. */
  readonly target: string;
  /** Path without query, and its parts, decoded: `['_snapshot', 'r']`. */
  readonly path: string;
  readonly parts: readonly string[];
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
}

export interface Reply {
  readonly status: number;
  readonly headers?: OutgoingHttpHeaders;
  readonly body: Buffer | string;
}

/** Of a node that is there already, or a version to start one of. */
export type NodeBehind = Pick<ElasticsearchServer, 'url' | 'version'>;

export interface FrontOptions {
  readonly port?: number;
  /** PEM of both; without it the front speaks http. */
  readonly tls?: { readonly cert: string; readonly key: string };
  /** Milliseconds after which the answer is 504, while the node goes on. */
  readonly longestCallMs?: number;
}

export interface Front {
  readonly url: string;
  /** Ends connections at once; the node behind is whoever started it's to stop. */
  stop(): Promise<void>;
}

export const json = (status: number, body: object, headers: OutgoingHttpHeaders = {}): Reply => ({
  status,
  headers: { 'content-type': 'application/json', ...headers },
  body: JSON.stringify(body),
});

/** The body as an object; undefined when it is none. */
export function objectIn(body: Buffer | string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(body.toString());
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

/** Serves on the loopback address. What `decide` throws is the stand-in's own fault, and answered as such. */
export async function startFront(
  options: FrontOptions,
  decide: (request: ServiceRequest) => Promise<Reply>,
): Promise<Front> {
  const limitMs = options.longestCallMs;
  const answer = async (incoming: IncomingMessage, response: ServerResponse) => {
    const decided = decide(await received(incoming)).catch((error: unknown) =>
      json(500, { error: `stand-in: ${String(error)}`, status: 500 }),
    );
    send(response, await (limitMs === undefined ? decided : Promise.race([decided, timedOut(limitMs)])));
  };
  const listener = (incoming: IncomingMessage, response: ServerResponse) => {
    answer(incoming, response).catch(() => response.destroy()); // the client is gone
  };
  const server = options.tls ? createHttps(options.tls, listener) : createHttp(listener);
  const port = options.port ?? (await freePort());
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  return { url: `${options.tls ? 'https' : 'http'}://127.0.0.1:${port}`, stop: () => stop(server) };
}

async function received(incoming: IncomingMessage): Promise<ServiceRequest> {
  const { method = '', url: target = '/', headers } = incoming;
  const path = target.replace(/\?.*$/s, '');
  const parts = path
    .split('/')
    .filter((part) => part !== '')
    .map(decoded);
  return { method, target, path, parts, headers, body: await buffer(incoming) };
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // a percent sign that means itself: the node will say what it thinks of it
  }
}

async function timedOut(ms: number): Promise<Reply> {
  await sleep(ms, undefined, { ref: false });
  const page = '<html>\r\n<head><title>504 Gateway Time-out</title></head>\r\n<body></body>\r\n</html>\r\n';
  return { status: 504, headers: { 'content-type': 'text/html' }, body: page };
}

function send(response: ServerResponse, { status, headers, body }: Reply): void {
  response.writeHead(status, { ...headers, 'content-length': Buffer.byteLength(body) });
  response.end(response.req.method === 'HEAD' ? undefined : body);
}

function stop(server: HttpServer): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeAllConnections();
  return closed;
}

/** The node's own HTTP, to which nothing of the service's authentication goes. */
export class NodeHttp {
  private readonly agent = new Agent({ keepAlive: true });

  constructor(private readonly node: NodeBehind) {}

  forward({ method, target, body }: ServiceRequest): Promise<Reply> {
    return this.exchange(method, target, body);
  }

  send(method: string, target: string, body?: object): Promise<Reply> {
    return this.exchange(method, target, body === undefined ? Buffer.alloc(0) : Buffer.from(JSON.stringify(body)));
  }

  /** The body of an answer that must be 2xx. */
  async must(method: string, target: string, body?: object): Promise<Record<string, unknown>> {
    const reply = await this.send(method, target, body);
    if (reply.status >= 300) throw new Error(`${method} ${target}: ${reply.status} ${reply.body.toString()}`);
    return objectIn(reply.body) ?? {};
  }

  close(): void {
    this.agent.destroy();
  }

  private exchange(method: string, target: string, body: Buffer): Promise<Reply> {
    const { hostname, port } = new URL(this.node.url);
    const headers = body.length === 0 ? {} : { 'content-type': 'application/json', 'content-length': body.length };
    return new Promise((resolve, reject) => {
      const request = requestOf({ hostname, port, method, path: target, headers, agent: this.agent }, (response) => {
        const { statusCode = 502, headers: answered } = response;
        const kept = answered['content-type'] === undefined ? {} : { 'content-type': answered['content-type'] };
        buffer(response).then((bytes) => resolve({ status: statusCode, headers: kept, body: bytes }), reject);
      });
      request.once('error', reject);
      request.end(body);
    });
  }
}
