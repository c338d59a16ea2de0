/** Real proxies that others wrote, on ports of their own, and what goes through them. `closing.all()` ends everything. */
import { createServer as createHttp } from 'node:http';
import { createServer as createTcp } from 'node:net';
import type { AddressInfo, Server } from 'node:net';
import { Socks5Server } from '@pondwader/socks5-server';
import { createProxy } from 'proxy';

/** What is to end with the test, the last opened first. */
class Closing {
  private works: (() => Promise<unknown>)[] = [];

  first(work: () => Promise<unknown>): void {
    this.works.push(work);
  }

  last(work: () => Promise<unknown>): void {
    this.works.unshift(work);
  }

  async all(): Promise<void> {
    for (const work of this.works.splice(0).reverse()) await work();
  }
}

export const closing = new Closing();

/** Its port; sockets end with the test. */
export async function listening(server: Server): Promise<number> {
  const sockets = new Set<{ destroy(): void }>();
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined); // a tunnel that the test has cut
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closing.first(() => {
    for (const socket of sockets) socket.destroy();
    return new Promise((resolve) => server.close(resolve));
  });
  return (server.address() as AddressInfo).port;
}

export interface Tunnels {
  readonly url: string;
  /** What clients asked for, in order: `host:port`. */
  readonly asked: string[];
}

/** SOCKS5. `names` are those that only this proxy can resolve: to an address, or to another port, `address:port`. */
export async function socks(
  names: Readonly<Record<string, string>> | ((host: string) => string | undefined) = {},
  denied?: string,
): Promise<Tunnels> {
  const asked: string[] = [];
  const inside = new Socks5Server().setRulesetValidator((connection, accept, deny) => {
    const { destAddress } = connection;
    asked.push(`${destAddress}:${connection.destPort}`);
    const known = typeof names === 'function' ? names(destAddress ?? '') : names[destAddress ?? ''];
    const [address, port] = known?.split(':') ?? [];
    connection.destAddress = address ?? destAddress;
    if (port !== undefined) connection.destPort = Number(port);
    if (destAddress === denied) deny();
    else accept();
  });
  const port = await listening(createTcp((socket) => void inside._handleConnection(socket)));
  return { url: `socks5://127.0.0.1:${port}`, asked };
}

/** HTTP with CONNECT, which it answers with `refusal` where given. */
export async function squid(refusal?: number): Promise<Tunnels> {
  const asked: string[] = [];
  const server = createHttp();
  server.on('connect', ({ url = '' }) => asked.push(url));
  if (refusal === undefined) createProxy(server);
  else server.on('connect', (_, socket) => socket.end(`HTTP/1.1 ${refusal} No\r\nContent-Length: 0\r\n\r\n`));
  return { url: `http://127.0.0.1:${await listening(server)}`, asked };
}
