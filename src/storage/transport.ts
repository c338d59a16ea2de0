/**
 * One HTTP exchange with a store, its body read straight into the memory of who asked. Knows nothing of any vendor.
 * Two lanes behind one interface: undici for everything (here), and the express lane for plain answers.
 *
 * No exchange can hang: connecting is bounded, and so is every moment without a byte in either direction. Nothing is
 * sent twice: who asked decides what may be repeated.
 */
import type { Socket } from 'node:net';
import { Readable } from 'node:stream';
import { Agent, buildConnector } from 'undici';
import type { Dispatcher } from 'undici';
import { onAbort } from './abort';
import { fill } from './memory';
import type { Filling } from './memory';
import type { Payload } from './payload';

export interface TransportOptions {
  /** `https://host[:port]`: every request goes there. */
  readonly origin: string;
  /** Trusted beside the well-known authorities; PEM. */
  readonly ca?: string;
  /** Connections at a time; more requests wait. Default 256. */
  readonly connections?: number;
  /** Default 5,000 to connect (TLS included) and 30,000 without a byte in either direction. */
  readonly timeouts?: { readonly connectMs: number; readonly idleMs: number };
}

export interface HttpRequest {
  readonly method: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE';
  /** Path and query exactly as they were signed, percent-encoded. */
  readonly path: string;
  /** `host` is among them where it differs from the origin's. `content-length` is not: it is the body's. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Payload;
}

export interface HttpReply {
  readonly status: number;
  /** Names in lower case; of a repeated one, the last value. */
  readonly headers: Readonly<Record<string, string>>;
  /** What `into` gave, filled; else new memory. */
  readonly body: readonly Buffer[];
}

export interface SendOptions {
  readonly signal: AbortSignal;
  /**
   * Called once, when a 2xx answer with a known length comes to anything but HEAD: memory for exactly that many bytes. May throw to refuse
   * the answer, which rejects with the same error. Anything else goes into new memory.
   */
  readonly into?: (length: number, headers: Readonly<Record<string, string>>) => readonly Buffer[];
}

export interface Transport {
  /** Rejects with `TransportError`, with the signal's reason, or with what `into` threw. */
  send(request: HttpRequest, options: SendOptions): Promise<HttpReply>;
  /** Ends the connections; what is in flight fails. */
  close(): Promise<void>;
}

/** The exchange broke before the whole answer was here. The store may have done what was asked. */
export class TransportError extends Error {
  constructor(
    message: string,
    /** Node's or undici's, e.g. `ECONNRESET`, `UND_ERR_SOCKET`. */
    readonly code: string | undefined,
    /** Bytes of the answer's body that are in the memory that `into` gave. */
    readonly received: number,
    options?: { readonly cause?: unknown },
  ) {
    super(message, options);
  }
}

/** Larger than any answer of a store but a blob: listings have a few hundred KiB. */
const MAX_UNASKED_BYTES = 16 * 1024 * 1024;
const CONNECTIONS = 256;
const TIMEOUTS = { connectMs: 5_000, idleMs: 30_000 };
/** Below the shortest that stores keep an idle connection (OSS: a minute), so that they seldom end one under a request. */
const KEEP_ALIVE_MS = 20_000;

export function openTransport(options: TransportOptions): Transport {
  return new UndiciTransport(options);
}

class UndiciTransport implements Transport {
  readonly #agent: Agent;

  constructor(private readonly options: TransportOptions) {
    const { connectMs, idleMs } = options.timeouts ?? TIMEOUTS;
    const connect = buildConnector({ timeout: connectMs, ...(options.ca === undefined ? {} : { ca: options.ca }) });
    this.#agent = new Agent({
      connections: options.connections ?? CONNECTIONS,
      pipelining: 1,
      keepAliveTimeout: KEEP_ALIVE_MS,
      // Undici's own clocks do not see a slow upload that still moves; the socket's does, in both directions.
      headersTimeout: 0,
      bodyTimeout: 0,
      connect: (target, done) =>
        connect(target, (error, socket) => {
          if (error) return done(nodesOwn(error, connectMs), null);
          done(null, watched(socket, idleMs));
        }),
    });
  }

  send(request: HttpRequest, options: SendOptions): Promise<HttpReply> {
    options.signal.throwIfAborted();
    return new Promise<HttpReply>((resolve, reject) => {
      const exchange = new Exchange(request.method === 'HEAD' ? { signal: options.signal } : options, resolve, reject);
      const { body } = request;
      this.#agent.dispatch(
        {
          origin: this.options.origin,
          method: request.method,
          path: request.path,
          // Else undici ends the connection after every HEAD, which makes it three times as dear as a GET.
          reset: false,
          headers: body ? { ...request.headers, 'content-length': String(body.length) } : { ...request.headers },
          body: body === undefined ? null : body.buffers.length === 1 ? body.buffers[0]! : Readable.from(body.buffers),
        },
        exchange,
      );
    });
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }
}

/** As a socket that is too slow to connect would say it, whoever opens it. */
function nodesOwn(error: Error, connectMs: number): Error {
  if ((error as NodeJS.ErrnoException).code !== 'UND_ERR_CONNECT_TIMEOUT') return error;
  return Object.assign(new Error(`no connection within ${connectMs} ms`), { code: 'ETIMEDOUT' });
}

/** Node's own clock of a socket: any byte read, and any progress of a write, starts it again. */
function watched(socket: Socket, idleMs: number): Socket {
  socket.setTimeout(idleMs, () => {
    socket.destroy(Object.assign(new Error(`not a byte for ${idleMs} ms`), { code: 'ETIMEDOUT' }));
  });
  return socket;
}

/** What undici tells of one exchange, until it settles once. */
class Exchange implements Dispatcher.DispatchHandler {
  #status = 0;
  #headers: Record<string, string> = {};
  #filling: Filling | undefined;
  readonly #chunks: Buffer[] = [];
  #unasked = 0;
  #controller: Dispatcher.DispatchController | undefined;
  #refusal: { readonly error: unknown } | undefined;
  readonly #stopWaiting: () => void;

  constructor(
    private readonly options: SendOptions,
    private readonly resolve: (reply: HttpReply) => void,
    private readonly reject: (error: unknown) => void,
  ) {
    this.#stopWaiting = onAbort(options.signal, () => this.#give(options.signal.reason));
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#refusal) controller.abort(asError(this.#refusal.error));
  }

  onResponseStart(
    _: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | string[] | undefined>,
  ): void {
    this.#status = status;
    for (const [name, value] of Object.entries(headers)) {
      this.#headers[name.toLowerCase()] = Array.isArray(value) ? value.at(-1)! : String(value);
    }
    const length = this.#headers['content-length'];
    const { into } = this.options;
    if (into === undefined || status < 200 || status > 299 || length === undefined) return;
    try {
      this.#filling = fill(into(Number(length), this.#headers));
    } catch (error) {
      this.#give(error);
    }
  }

  onResponseData(_: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#refusal) return;
    if (this.#filling) return this.#filling.take(chunk);
    this.#unasked += chunk.length;
    if (this.#unasked > MAX_UNASKED_BYTES) {
      return this.#give(new TransportError('an answer is larger than any store sends', undefined, 0));
    }
    this.#chunks.push(chunk);
  }

  onResponseEnd(): void {
    this.#settle();
    this.resolve({ status: this.#status, headers: this.#headers, body: this.#filling?.buffers ?? this.#chunks });
  }

  onResponseError(_: Dispatcher.DispatchController, error: Error): void {
    this.#settle();
    const { code } = error as NodeJS.ErrnoException;
    const refusal = this.#refusal ?? {
      error: new TransportError(error.message || String(code), code, this.#filling?.filled ?? 0, { cause: error }),
    };
    this.reject(refusal.error);
  }

  /** Ends the exchange, which rejects with exactly `error`. */
  #give(error: unknown): void {
    this.#refusal ??= { error };
    this.#controller?.abort(asError(error));
    // Waiting for a connection: undici would tell only when there is one.
    if (this.#controller === undefined) {
      this.#settle();
      this.reject(error);
    }
  }

  #settle(): void {
    this.#stopWaiting();
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
