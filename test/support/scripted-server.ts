/** A server that sends exactly the bytes it is told, when it is told: what no real server would do twice the same way. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { once } from 'node:events';
import type { AddressInfo, Socket } from 'node:net';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer as createTlsServer } from 'node:tls';
import type { TlsOptions } from 'node:tls';

export interface ReceivedRequest {
  /** `GET /path`. */
  readonly line: string;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

/** One connection, from the server's side. */
export class Peer {
  /** What came and was not asked for yet. */
  #chunks: Buffer[] = [];
  #length = 0;
  #isEnded = false;
  #wake = () => {};

  constructor(readonly socket: Socket) {
    socket.on('data', (chunk) => {
      this.#chunks.push(chunk);
      this.#length += chunk.length;
      this.#wake();
    });
    for (const event of ['end', 'error', 'close']) {
      socket.on(event, () => {
        this.#isEnded = true;
        this.#wake();
      });
    }
  }

  /** The next request, body and all; undefined when the client has gone. */
  async request(): Promise<ReceivedRequest | undefined> {
    const head = await this.#until(() => {
      const end = this.#all().indexOf('\r\n\r\n');
      return end === -1 ? undefined : end + 4;
    });
    if (head === undefined) return undefined;
    const [line, ...rest] = head.toString('latin1').trimEnd().split('\r\n');
    const headers = Object.fromEntries(
      rest.map((each) => [each.slice(0, each.indexOf(':')).toLowerCase(), each.slice(each.indexOf(':') + 1).trim()]),
    );
    const length = Number(headers['content-length'] ?? 0);
    const body = await this.#until(() => (this.#length >= length ? length : undefined));
    return body && { line: line!.replace(' HTTP/1.1', ''), headers, body };
  }

  /** As one segment of its own, where the kernel plays along. */
  async send(bytes: string | Buffer): Promise<void> {
    await new Promise<void>((resolve) => this.socket.write(bytes, 'latin1', () => setImmediate(resolve)));
  }

  /** Resolves when the client has gone. */
  async gone(): Promise<void> {
    while (!this.#isEnded) await new Promise<void>((resolve) => (this.#wake = resolve));
  }

  #all(): Buffer {
    this.#chunks = [Buffer.concat(this.#chunks)];
    return this.#chunks[0]!;
  }

  async #until(length: () => number | undefined): Promise<Buffer | undefined> {
    for (;;) {
      const taken = length();
      if (taken !== undefined) {
        const all = this.#all();
        this.#chunks = [all.subarray(taken)];
        this.#length -= taken;
        return all.subarray(0, taken);
      }
      if (this.#isEnded) return undefined;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}

export interface ScriptedServer {
  readonly origin: string;
  readonly port: number;
  /** Connections so far. */
  readonly peers: readonly Peer[];
  stop(): Promise<void>;
}

/** `script` is run for each connection, with its number from 0. */
export async function startScripted(
  script: (peer: Peer, connection: number) => Promise<void>,
  tls?: TlsOptions,
): Promise<ScriptedServer> {
  const peers: Peer[] = [];
  const sockets: Socket[] = [];
  const failures: unknown[] = [];
  const accept = (socket: Socket) => {
    const peer = new Peer(socket);
    script(peer, peers.push(peer) - 1).catch((error: unknown) => failures.push(error));
  };
  const server = tls ? createTlsServer(tls, accept) : createServer({ noDelay: true }, accept);
  server.on('connection', (socket: Socket) => sockets.push(socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    origin: `${tls ? 'https' : 'http'}://127.0.0.1:${port}`,
    port,
    peers,
    stop: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
      if (failures.length > 0) throw failures[0];
    },
  };
}

/** A certificate for `localhost` and 127.0.0.1 that signs itself, and its key; PEM. */
export function selfSigned(): { readonly cert: string; readonly key: string } {
  const folder = mkdtempSync(join(tmpdir(), 'snapferry-certificate-'));
  try {
    const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
    const names = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'];
    const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
    execFileSync('openssl', ['req', '-x509', ...kind, ...names, '-keyout', key, '-out', cert], { stdio: 'pipe' });
    return { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') };
  } finally {
    rmSync(folder, { recursive: true });
  }
}
