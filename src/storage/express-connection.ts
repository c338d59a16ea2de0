/** A connection of the express lane: one exchange at a time, bodies read by the kernel into the memory for them. */
import type { Socket, TcpSocketConnectOpts } from 'node:net';
import { connect as connectPlain, isIP } from 'node:net';
import type { ConnectionOptions, SecureContext } from 'node:tls';
import { connect as connectTls } from 'node:tls';
import type { Answer } from './express-answer';
import type { Payload } from './payload';
import { TransportError } from './wire';

/** What a connection asks and tells of the exchange that it carries. */
export interface Carried {
  /** Everything before the body. */
  readonly head: string;
  readonly body: Payload | undefined;
  readonly answer: Answer;
  fulfil(): void;
  fail(error: unknown): void;
}

export interface Endpoint {
  readonly origin: URL;
  readonly timeouts: { readonly connectMs: number; readonly idleMs: number };
  /** Undefined: Node's own. */
  readonly secureContext: SecureContext | undefined;
  /** Of an earlier connection, to resume. */
  readonly session: Buffer | undefined;
}

/** Whose connection it is. Each is told at most once per event, and `onClosed` once. */
export interface Owner {
  /** The answer was whole and plain: another exchange may use the connection within `keepMs`. */
  onFree(connection: Connection, keepMs: number): void;
  /** Does not come back. `unanswered`: it was kept, and ended before a byte of this exchange's answer. */
  onClosed(connection: Connection, unanswered: Carried | undefined, error: unknown): void;
  onSession(session: Buffer): void;
}

/**
 * Where heads, and all bytes without a place of their own, are read. One for all connections: a read and the callback
 * that empties it are one turn of the event loop.
 */
const SCRATCH = Buffer.allocUnsafeSlow(64 * 1024);
/**
 * A head and a body up to this length are sent in one piece, from memory that all connections share: a plain socket is
 * mostly done with it at once.
 */
const TOGETHER_BYTES = 64 * 1024;
const sendingMemory = (headBytes: number) => Buffer.allocUnsafeSlow(TOGETHER_BYTES + Math.max(headBytes, 16 * 1024));
let together = sendingMemory(0);
/** Encrypted bytes are a copy: pieces bound it, and find it in the cache. */
const TLS_PIECE_BYTES = 256 * 1024;

export class Connection {
  readonly #socket: Socket;
  #carried: Carried | undefined;
  #isKept = false;
  #isClosed = false;
  /** What is left of the body, where it is sent in pieces. */
  #pieces: Iterator<Buffer> | undefined;
  /** Whether sending failed: the answer that may be there already is read nevertheless. */
  #isMute = false;

  constructor(
    private readonly endpoint: Endpoint,
    private readonly owner: Owner,
    first: Carried,
  ) {
    this.#carried = first;
    const { origin, timeouts } = endpoint;
    this.#socket = this.#open();
    const tooLate = setTimeout(() => {
      this.close(new TransportError(`no connection within ${timeouts.connectMs} ms`, 'ETIMEDOUT', 0));
    }, timeouts.connectMs);
    this.#socket.once(origin.protocol === 'https:' ? 'secureConnect' : 'connect', () => {
      clearTimeout(tooLate);
      // Node's own clock of a socket: any byte read, and any progress of a write, starts it again.
      this.#socket.setTimeout(timeouts.idleMs, () => {
        this.close(new TransportError(`not a byte for ${timeouts.idleMs} ms`, 'ETIMEDOUT', this.#received()));
      });
      this.#send(this.#carried!);
    });
    this.#socket.once('close', () => clearTimeout(tooLate));
    this.#socket.on('error', (error: NodeJS.ErrnoException) => this.#broke(error.message, error));
    this.#socket.on('end', () => this.#ended());
    this.#socket.on('close', () => this.#broke('the connection was closed'));
  }

  /** Only for a free connection. */
  carry(exchange: Carried): void {
    this.#carried = exchange;
    this.#isKept = true;
    this.#socket.ref();
    this.#send(exchange);
  }

  /** From now on nothing is read into any memory, nor sent from any; the exchange fails with `error`. */
  close(error: unknown): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#socket.destroy();
    const carried = this.#carried;
    this.#carried = undefined;
    this.owner.onClosed(this, undefined, error);
    carried?.fail(error);
  }

  #open(): Socket {
    const { origin, secureContext, session } = this.endpoint;
    // An address of IPv6 is in brackets there.
    const host = origin.hostname.replace(/^\[|\]$/g, '');
    const onread = {
      buffer: () => this.#carried?.answer.rest() ?? SCRATCH,
      callback: (length: number, memory: Uint8Array) => {
        this.#read(length, memory);
        return true;
      },
    };
    if (origin.protocol === 'http:') {
      const socket = connectPlain({ host, port: Number(origin.port || 80), noDelay: true, onread });
      return tellFailuresByReading(socket, () => (this.#isMute = true));
    }
    // Node takes `onread` here too (lib/_tls_wrap.js); its types do not know.
    const tls: ConnectionOptions & Pick<TcpSocketConnectOpts, 'onread'> = {
      host,
      port: Number(origin.port || 443),
      ...(isIP(host) ? {} : { servername: host }),
      ...(secureContext && { secureContext }),
      ...(session && { session }),
      ALPNProtocols: ['http/1.1'],
      onread,
    };
    const socket = connectTls(tls);
    socket.setNoDelay(true);
    socket.on('session', (ticket: Buffer) => this.owner.onSession(ticket));
    return tellFailuresByReading(socket, () => (this.#isMute = true));
  }

  #send({ head, body }: Carried): void {
    const socket = this.#socket;
    if (body === undefined || body.length === 0) {
      socket.write(head, 'latin1');
      return;
    }
    const isPlain = this.endpoint.origin.protocol === 'http:';
    if (isPlain && body.length <= TOGETHER_BYTES) return this.#sendTogether(head, body);
    socket.cork();
    socket.write(head, 'latin1');
    if (isPlain || body.length <= TLS_PIECE_BYTES) {
      for (const buffer of body.buffers) if (buffer.length > 0) socket.write(buffer);
    } else {
      this.#pieces = piecesOf(body);
      this.#sendPiece();
    }
    socket.uncork();
  }

  /** Copying a small body costs less than a write of several pieces. */
  #sendTogether(head: string, { buffers, length }: Payload): void {
    const bytes = together.length < head.length + length ? (together = sendingMemory(head.length)) : together;
    let end = bytes.write(head, 'latin1');
    for (const buffer of buffers) end += buffer.copy(bytes, end);
    this.#socket.write(bytes.subarray(0, end));
    // What the kernel has not taken yet is read from there later.
    if (this.#socket.writableLength > 0) together = sendingMemory(0);
  }

  readonly #sendPiece = (): void => {
    if (this.#isClosed || this.#isMute) return;
    const piece = this.#pieces!.next();
    if (piece.done) this.#pieces = undefined;
    else this.#socket.write(piece.value, this.#sendPiece);
  };

  #read(length: number, memory: Uint8Array): void {
    const carried = this.#carried;
    // Nobody asked: an answer to come would be taken for that of the next request.
    if (carried === undefined) return this.close(undefined);
    const { answer } = carried;
    let behind = 0;
    try {
      if (memory === SCRATCH) behind = answer.take(SCRATCH.subarray(0, length));
      else answer.advance(length);
    } catch (error) {
      return this.close(error);
    }
    // Whoever was asked for memory may have stopped the exchange.
    if (answer.isComplete && !this.#isClosed) this.#complete(carried, behind === 0);
  }

  #complete(carried: Carried, isPlain: boolean): void {
    this.#carried = undefined;
    // An answer may come before the whole request was sent, e.g. 403.
    const isSent = this.#pieces === undefined && this.#socket.writableLength === 0 && !this.#isMute;
    const keepMs = isPlain && isSent ? carried.answer.keepMs : 0;
    carried.fulfil();
    if (keepMs === 0) return this.close(undefined);
    // A connection that only waits does not keep a process alive.
    this.#socket.unref();
    this.owner.onFree(this, keepMs);
  }

  #ended(): void {
    const carried = this.#carried;
    if (carried?.answer.end()) this.#complete(carried, false);
    else this.#broke('the server ended the connection');
  }

  #broke(message: string, cause?: NodeJS.ErrnoException): void {
    if (this.#isClosed) return;
    const code = cause?.code ?? 'ECONNRESET';
    const error = new TransportError(message || code, code, this.#received(), { cause });
    if (this.#carried === undefined || !this.#isKept || this.#carried.answer.isBegun) return this.close(error);
    const unanswered = this.#carried;
    this.#carried = undefined;
    this.#isClosed = true;
    this.#socket.destroy();
    this.owner.onClosed(this, unanswered, error);
  }

  #received(): number {
    return this.#carried?.answer.received ?? 0;
  }
}

/**
 * A server that refuses a request while its body is on the way answers, then resets. A stream that fails in writing is
 * destroyed, with the answer unread; so a failure to write is no failure of the stream: reading ends in one anyway.
 */
function tellFailuresByReading<S extends Socket>(socket: S, onFailure: () => void): S {
  type Done = (error?: Error | null) => void;
  const { _write: write, _writev: writev } = socket;
  const swallow = (done: Done) => (error?: Error | null) => {
    if (error) onFailure();
    done();
  };
  socket._write = (chunk, encoding, done) => write.call(socket, chunk, encoding, swallow(done));
  socket._writev = (chunks, done) => writev!.call(socket, chunks, swallow(done));
  return socket;
}

function* piecesOf({ buffers }: Payload): Generator<Buffer> {
  for (const buffer of buffers) {
    for (let at = 0; at < buffer.length; at += TLS_PIECE_BYTES) yield buffer.subarray(at, at + TLS_PIECE_BYTES);
  }
}
