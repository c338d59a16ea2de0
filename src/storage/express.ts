/**
 * The express lane: HTTP/1.1 on plain sockets, where the kernel writes a body straight into the memory for it. No chunk
 * buffers, no streams, no parser but for heads and lists.
 */
import type { SecureContext } from 'node:tls';
import { onAbort } from './abort';
import { Answer } from './express-answer';
import { Connection } from './express-connection';
import type { Carried, Owner } from './express-connection';
import { writeHead } from './express-head';
import type { Payload } from './payload';
import type { HttpReply, HttpRequest, SendOptions, Transport, TransportOptions } from './transport';
import { CONNECTIONS, TIMEOUTS, TransportError, trust } from './wire';

/** Connects to nothing yet. @throws TypeError for an origin that is no URL */
export function openExpress(options: TransportOptions): Transport {
  return new Express(options);
}

class Express implements Transport, Owner {
  readonly #origin: URL;
  readonly #limit: number;
  readonly #timeouts: { readonly connectMs: number; readonly idleMs: number };
  readonly #secureContext: SecureContext | undefined;
  #session: Buffer | undefined;
  readonly #open = new Set<Connection>();
  /** The last used first: few connections stay warm, the others end. */
  readonly #free: { readonly connection: Connection; readonly untilMs: number }[] = [];
  /** First in, first out. */
  readonly #waiting = new Set<Exchange>();
  #isClosed = false;

  constructor({ origin, ca, connections, timeouts }: TransportOptions) {
    this.#origin = new URL(origin);
    this.#limit = connections ?? CONNECTIONS;
    this.#timeouts = timeouts ?? TIMEOUTS;
    this.#secureContext = trust(ca);
  }

  send(request: HttpRequest, options: SendOptions): Promise<HttpReply> {
    return new Promise((resolve, reject) => {
      if (this.#isClosed) throw closed();
      if (options.signal.aborted) throw options.signal.reason;
      const head = writeHead(request, this.#origin.host);
      this.#start(new Exchange(request, head, options, resolve, reject));
    });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const exchange of waiting) exchange.fail(closed());
    for (const connection of this.#open) connection.close(closed());
  }

  onFree(connection: Connection, keepMs: number): void {
    const next = this.#nextWaiting();
    if (next) this.#carry(next, connection);
    else this.#free.push({ connection, untilMs: performance.now() + keepMs });
  }

  onClosed(connection: Connection, unanswered: Carried | undefined, error: unknown): void {
    this.#open.delete(connection);
    const place = this.#free.findIndex((free) => free.connection === connection);
    if (place !== -1) this.#free.splice(place, 1);
    if (unanswered instanceof Exchange) {
      if (unanswered.isRepeatable && !this.#isClosed) return this.#connect(unanswered.repeat());
      unanswered.fail(error);
    }
    const next = this.#nextWaiting();
    if (next) this.#connect(next);
  }

  onSession(session: Buffer): void {
    this.#session = session;
  }

  #start(exchange: Exchange): void {
    for (let free = this.#free.pop(); free; free = this.#free.pop()) {
      if (free.untilMs > performance.now()) return this.#carry(exchange, free.connection);
      free.connection.close(undefined);
    }
    if (this.#open.size < this.#limit) this.#connect(exchange);
    else this.#waiting.add(exchange);
  }

  #nextWaiting(): Exchange | undefined {
    for (const next of this.#waiting) {
      this.#waiting.delete(next);
      // One of those that are being stopped right now must not get the connection that another of them left.
      if (!next.options.signal.aborted) return next;
    }
    return undefined;
  }

  #carry(exchange: Exchange, connection: Connection): void {
    exchange.connection = connection;
    connection.carry(exchange);
  }

  #connect(exchange: Exchange): void {
    const options = {
      origin: this.#origin,
      timeouts: this.#timeouts,
      secureContext: this.#secureContext,
      session: this.#session,
    };
    exchange.connection = new Connection(options, this, exchange);
    this.#open.add(exchange.connection);
  }
}

/** One request until its promise settles. */
class Exchange implements Carried {
  /** Undefined while it waits for one. */
  connection: Connection | undefined;
  readonly answer: Answer;
  readonly body: Payload | undefined;
  /** The same bytes once more do no harm, but to what a POST begins. */
  isRepeatable: boolean;
  readonly #stopWaiting: () => void;

  constructor(
    request: HttpRequest,
    readonly head: string,
    readonly options: SendOptions,
    private readonly resolve: (reply: HttpReply) => void,
    private readonly reject: (error: unknown) => void,
  ) {
    this.body = request.body;
    this.answer = new Answer(request.method, options.into);
    this.isRepeatable = request.method !== 'POST';
    this.#stopWaiting = onAbort(options.signal, () => this.#stop(options.signal.reason));
  }

  /** For the one more time. */
  repeat(): this {
    this.isRepeatable = false;
    return this;
  }

  fulfil(): void {
    this.#settle();
    this.resolve(this.answer.reply);
  }

  fail(error: unknown): void {
    this.#settle();
    this.reject(error);
  }

  /** From here on the connection is another's. */
  #settle(): void {
    this.connection = undefined;
    this.#stopWaiting();
  }

  #stop(reason: unknown): void {
    if (this.connection) this.connection.close(reason);
    else this.fail(reason);
  }
}

function closed(): TransportError {
  return new TransportError('the connections of this store were closed', 'ECONNABORTED', 0);
}
