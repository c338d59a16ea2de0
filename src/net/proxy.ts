// The way to a server that is not reached directly. Names are resolved by the proxy: those of a private network often
// mean nothing here. undici's own agents for proxies open as many tunnels as there are requests
// (facts/object-stores.md section 3.3), so this is a dialer for its ordinary `Agent`, which keeps to `connections`.
import { request as overHttp } from 'node:http';
import { request as overHttps } from 'node:https';
import type { Socket } from 'node:net';
import type { SecureContext } from 'node:tls';
import { SocksClient } from 'socks';
import { buildConnector } from 'undici';
import { ProxyError } from './proxy-error';

export interface Destination {
  readonly host: string;
  readonly port: number;
}

export interface TlsOptions {
  /** PEM; instead of the authorities that Node knows. */
  readonly ca?: string;
  /** Or this, made once for all connections. */
  readonly secureContext?: SecureContext;
  /** Milliseconds, for the proxy's answer and again for TLS. */
  readonly timeout: number;
}

/** For undici's `Agent`: `new Agent({ connections, connect: connectorThrough(proxy, { timeout }) })`. */
export function connectorThrough(proxy: string, tls: TlsOptions): buildConnector.connector {
  const secure = buildConnector(tls);
  return (options, callback) => {
    const isSecure = options.protocol === 'https:';
    const port = Number(options.port) || (isSecure ? 443 : 80);
    dialThrough(proxy, { host: options.hostname, port }, tls.timeout).then(
      (socket) => (isSecure ? secure({ ...options, httpSocket: socket }, callback) : callback(null, socket)),
      (error: Error) => callback(error, null),
    );
  };
}

/**
 * A connection to `destination` through a `socks5:`, `socks5h:`, `http:` or `https:` proxy; over the latter two by
 * CONNECT, whatever the server speaks. @throws ProxyError
 */
export async function dialThrough(proxy: string, destination: Destination, timeoutMs: number): Promise<Socket> {
  const { protocol } = new URL(proxy);
  const dial = protocol.startsWith('socks5') ? dialSocks : dialConnect;
  const socket = await dial(new URL(proxy), destination, timeoutMs);
  return socket.setNoDelay(true).setKeepAlive(true, 60_000);
}

async function dialSocks(proxy: URL, destination: Destination, timeoutMs: number): Promise<Socket> {
  try {
    const { socket } = await SocksClient.createConnection({
      proxy: { host: hostOf(proxy), port: Number(proxy.port) || 1080, type: 5 },
      command: 'connect',
      destination,
      timeout: timeoutMs,
    });
    return socket;
  } catch (cause) {
    // The package says only in words whether the proxy refused, could not get through or is not there.
    throw new ProxyError(noConnection(proxy, destination, (cause as Error).message), false, { cause });
  }
}

function dialConnect(proxy: URL, destination: Destination, timeoutMs: number): Promise<Socket> {
  const authority = `${destination.host.includes(':') ? `[${destination.host}]` : destination.host}:${destination.port}`;
  const request = (proxy.protocol === 'https:' ? overHttps : overHttp)({
    host: hostOf(proxy),
    port: proxy.port || undefined,
    method: 'CONNECT',
    path: authority,
    headers: { host: authority },
    agent: false,
    signal: AbortSignal.timeout(timeoutMs),
  });
  return new Promise((resolve, reject) => {
    const fail = (why: string, isFinal: boolean, cause?: unknown) =>
      reject(new ProxyError(noConnection(proxy, destination, why), isFinal, { cause }));
    request.once('connect', ({ statusCode = 0 }, socket: Socket, head) => {
      if (statusCode >= 200 && statusCode < 300) {
        if (head.length > 0) socket.unshift(head);
        return resolve(socket);
      }
      socket.destroy();
      // Gateway errors are about the way behind the proxy; any other refusal is its own decision.
      fail(`status ${statusCode}`, statusCode >= 400 && statusCode < 500 && statusCode !== 429);
    });
    request.once('error', (cause: NodeJS.ErrnoException) => fail(cause.code ?? cause.message, false, cause));
    request.end();
  });
}

function noConnection(proxy: URL, { host, port }: Destination, why: string): string {
  return (
    `The proxy ${proxy.protocol}//${proxy.host} gives no connection to ${host}:${port} (${why}): ` +
    'see that it runs and lets this server through, or correct proxy in the connections file'
  );
}

/** Without the brackets of an IPv6 address. */
function hostOf(url: URL): string {
  return url.hostname.replace(/^\[(.*)\]$/, '$1');
}
