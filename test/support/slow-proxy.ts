import { createServer, connect } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';

/** One HTTP request as it went by. */
export interface SeenRequest {
  readonly method: string;
  /** With query. */
  readonly path: string;
  /** Bytes of the body that were passed on so far. */
  bytes: number;
}

type Matcher = (request: SeenRequest) => boolean;

/** The first request that matches, or its answer, is kept on its way; later ones go by. */
export interface Hold {
  readonly met: Promise<SeenRequest>;
  release(): void;
}

const PIECE_BYTES = 64 * 1024;

/**
 * A network between a worker and one HTTP server: it limits bytes per second in each direction, counts what is sent, and
 * keeps single requests or answers on their way, so that a fault strikes at a known place. Understands requests of one
 * connection one after the other, with a Content-Length: what our clients send.
 */
export class SlowProxy {
  readonly requests: SeenRequest[] = [];
  private readonly up = new Throttle();
  private readonly down = new Throttle();
  private readonly holds = new Set<HeldRequests>();
  private readonly sockets = new Set<Socket>();

  private constructor(
    private readonly server: Server,
    private readonly origin: URL,
  ) {}

  static async before(url: string): Promise<SlowProxy> {
    const server = createServer();
    const proxy = new SlowProxy(server, new URL(url));
    server.on('connection', (client) => proxy.connect(client));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  /** Of all connections together, in each direction; undefined is no limit. */
  limit(bytesPerSecond: number | undefined): void {
    this.up.set(bytesPerSecond);
    this.down.set(bytesPerSecond);
  }

  /** Bytes of bodies that went to the server. */
  sent(match: Matcher): number {
    return this.requests.filter(match).reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** Resolves when nobody is connected any more: nothing that a killed client sent is on its way. */
  async quiet(): Promise<void> {
    const deadline = Date.now() + 10_000;
    while (this.sockets.size > 0) {
      if (Date.now() > deadline) throw new Error(`${this.sockets.size} connections are still open`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  /** Keeps requests before the server sees them. */
  holdRequests(match: Matcher): Hold {
    return this.hold(new HeldRequests('request', match));
  }

  /** Lets the server act, and keeps what it answers. */
  holdAnswers(match: Matcher): Hold {
    return this.hold(new HeldRequests('answer', match));
  }

  async close(): Promise<void> {
    for (const hold of this.holds) hold.release();
    this.limit(undefined);
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private hold(hold: HeldRequests): Hold {
    this.holds.add(hold);
    void hold.released.then(() => this.holds.delete(hold));
    return hold;
  }

  private connect(client: Socket): void {
    const server = connect({ host: this.origin.hostname, port: Number(this.origin.port) });
    const reader = new RequestReader();
    let answers = Promise.resolve();
    const watch = (request: SeenRequest) => {
      this.requests.push(request);
      const held = [...this.holds].filter((hold) => hold.keeps(request));
      answers = this.all(held, 'answer');
      return this.all(held, 'request');
    };
    pass(client, server, this.up, async (piece) => {
      const begun = reader.take(piece);
      if (begun !== undefined) await watch(begun);
      return () => reader.count();
    });
    pass(server, client, this.down, async () => {
      await answers;
      return () => undefined;
    });
    for (const [socket, other] of [
      [client, server],
      [server, client],
    ] as const) {
      this.sockets.add(socket);
      socket.on('error', () => socket.destroy());
      socket.on('close', () => {
        this.sockets.delete(socket);
        other.destroy();
      });
    }
  }

  private async all(holds: readonly HeldRequests[], what: HeldRequests['what']): Promise<void> {
    await Promise.all(holds.filter((hold) => hold.what === what).map((hold) => hold.released));
  }
}

class HeldRequests implements Hold {
  readonly met: Promise<SeenRequest>;
  readonly released: Promise<void>;
  private meet: ((request: SeenRequest) => void) | undefined;
  private open!: () => void;

  constructor(
    readonly what: 'request' | 'answer',
    private readonly match: Matcher,
  ) {
    this.met = new Promise((resolve) => (this.meet = resolve));
    this.released = new Promise((resolve) => (this.open = resolve));
  }

  keeps(request: SeenRequest): boolean {
    if (this.meet === undefined || !this.match(request)) return false;
    this.meet(request);
    this.meet = undefined;
    return true;
  }

  release(): void {
    this.open();
  }
}

/** In order, piece by piece; what comes after the other side has gone is dropped. */
function pass(from: Socket, to: Socket, throttle: Throttle, before: (piece: Buffer) => Promise<() => void>): void {
  let order = Promise.resolve();
  from.on('data', (chunk: Buffer) => {
    from.pause();
    order = order.then(async () => {
      for (let at = 0; at < chunk.length; at += PIECE_BYTES) {
        const piece = chunk.subarray(at, at + PIECE_BYTES);
        const passed = await before(piece);
        await throttle.take(piece.length);
        if (to.destroyed || from.destroyed) return;
        to.write(piece);
        passed();
      }
      from.resume();
    });
  });
  // None of our clients half-closes: who ends has gone, and what it sent last is on its way already.
  from.on('end', () => void order.then(() => to.destroySoon()));
}

/** Reads method, path and length of the requests of one connection. */
class RequestReader {
  private head = Buffer.alloc(0);
  private current: SeenRequest | undefined;
  /** Bytes of the current body that are still to come. */
  private left = 0;
  private body = 0;

  /** The request that begins with this piece, once its head is whole. */
  take(piece: Buffer): SeenRequest | undefined {
    this.body = 0;
    if (this.left > 0) {
      this.body = Math.min(this.left, piece.length);
      this.left -= this.body;
      return undefined;
    }
    this.head = Buffer.concat([this.head, piece]);
    const end = this.head.indexOf('\r\n\r\n');
    if (end < 0) return undefined;
    const head = this.head.toString('latin1', 0, end);
    const rest = this.head.length - end - 4;
    this.head = Buffer.alloc(0);
    const [method = '', path = ''] = head.split(' ');
    const length = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0);
    this.body = Math.min(rest, length);
    this.left = length - this.body;
    this.current = { method, path, bytes: 0 };
    return this.current;
  }

  /** The piece that was taken last has been passed on. */
  count(): void {
    if (this.current !== undefined) this.current.bytes += this.body;
  }
}

/** Shared by all connections of one direction; a new limit also concerns who waits already. */
class Throttle {
  private bytesPerSecond: number | undefined;
  private credit = 0;
  private last = Date.now();
  private readonly waiting: { readonly bytes: number; readonly go: () => void }[] = [];
  private timer: NodeJS.Timeout | undefined;

  set(bytesPerSecond: number | undefined): void {
    this.bytesPerSecond = bytesPerSecond;
    this.credit = 0;
    this.last = Date.now();
    this.serve();
  }

  take(bytes: number): Promise<void> {
    if (this.bytesPerSecond === undefined) return Promise.resolve();
    return new Promise((go) => {
      this.waiting.push({ bytes, go });
      this.serve();
    });
  }

  private serve(): void {
    clearTimeout(this.timer);
    const now = Date.now();
    // Nothing is saved up for longer than a moment: a limit holds from its first byte on.
    const rate = this.bytesPerSecond;
    this.credit = rate === undefined ? Infinity : Math.min(this.credit + ((now - this.last) * rate) / 1_000, rate / 10);
    this.last = now;
    while (this.waiting.length > 0 && this.credit >= 0) {
      const { bytes, go } = this.waiting.shift() as (typeof this.waiting)[number];
      this.credit -= bytes;
      go();
    }
    if (this.waiting.length > 0 && rate !== undefined) this.timer = setTimeout(() => this.serve(), 10);
  }
}
