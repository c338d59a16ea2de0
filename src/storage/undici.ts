/** The lane that undici drives: for proxies, and to check the express lane against. */
import type { Socket } from 'node:net';
import { Readable } from 'node:stream';
import { Agent, buildConnector } from 'undici';
import type { Dispatcher } from 'undici';
import { connectorThrough } from '../net/proxy';
import { onAbort } from './abort';
import type { Filling } from './memory';
import type { HttpReply, HttpRequest, SendOptions, Transport, TransportOptions } from './transport';
import {
  CONNECTIONS,
  KEEP_ALIVE_MS,
  MAX_UNASKED_BYTES,
  TIMEOUTS,
  TransportError,
  askedMemory,
  tooLarge,
  trust,
} from './wire';

/** Connects to nothing yet. */
export function openUndici(options: TransportOptions): Transport {
  return new UndiciTransport(options);
}

class UndiciTransport implements Transport {
  readonly #agent: Agent;

  constructor(private readonly options: TransportOptions) {
    const { connectMs, idleMs } = options.timeouts ?? TIMEOUTS;
    const secureContext = trust(options.ca);
    const tls = { timeout: connectMs, ...(secureContext && { secureContext }) };
    const connect = options.proxy === undefined ? buildConnector(tls) : connectorThrough(options.proxy, tls);
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
    return new Promise<HttpReply>((resolve, reject) => {
      if (options.signal.aborted) throw options.signal.reason;
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
      this.#headers[name.toLowerCase()] = String(Array.isArray(value) ? value.at(-1) : value).trim();
    }
    try {
      this.#filling = askedMemory(this.options, status, this.#headers);
    } catch (error) {
      this.#give(error);
    }
  }

  onResponseData(_: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#refusal) return;
    if (this.#filling) return this.#filling.take(chunk);
    this.#unasked += chunk.length;
    if (this.#unasked > MAX_UNASKED_BYTES) return this.#give(tooLarge());
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
