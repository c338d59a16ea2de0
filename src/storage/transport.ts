/**
 * One HTTP exchange with a store, its body read straight into the memory of who asked. Knows nothing of any vendor.
 * Two lanes behind one interface: the express lane, on sockets, and undici for what goes through a proxy.
 *
 * No exchange can hang: connecting is bounded, and so is every moment without a byte in either direction. Who asked
 * decides what is repeated; but a request other than POST goes once more to a new connection (in the express lane) where
 * a kept one turns out to have ended before the answer's first byte.
 */
import { createRequire } from 'node:module';
import { openExpress } from './express';
import type { Payload } from './payload';
import type { openUndici as OpenUndici } from './undici';

export { TransportError } from './wire';

export interface TransportOptions {
  /** `https://host[:port]`: every request goes there. */
  readonly origin: string;
  /** Trusted beside the well-known authorities; PEM. */
  readonly ca?: string;
  /** Connections at a time; more requests wait. Default 256. */
  readonly connections?: number;
  /** Default 5,000 to connect (TLS included) and 30,000 without a byte in either direction. */
  readonly timeouts?: { readonly connectMs: number; readonly idleMs: number };
  /** `socks5:`, `socks5h:`, `http:` or `https:`; it resolves the names. */
  readonly proxy?: string;
  /** Default: express, undici through a proxy. */
  readonly lane?: 'express' | 'undici';
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

/** Most processes never need undici, whose loading is a third of what it takes to start one. */
const load = createRequire(__filename);

/** Express, but for what only undici does: proxies. Connects to nothing yet. */
export function openTransport(options: TransportOptions): Transport {
  const lane = options.proxy === undefined ? (options.lane ?? 'express') : 'undici';
  if (lane === 'express') return openExpress(options);
  const { openUndici } = load('./undici') as { openUndici: typeof OpenUndici };
  return openUndici(options);
}
