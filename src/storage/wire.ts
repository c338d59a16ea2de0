/** What both lanes of the transport keep to: the error, the limits, whom they trust, and where a body goes. */
import { rootCertificates, createSecureContext } from 'node:tls';
import type { SecureContext } from 'node:tls';
import { Filling } from './memory';
import type { SendOptions } from './transport';

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
export const MAX_UNASKED_BYTES = 16 * 1024 * 1024;
export const CONNECTIONS = 256;
export const TIMEOUTS = { connectMs: 5_000, idleMs: 30_000 };
/** Below the shortest that stores keep an idle connection (OSS: a minute), so that they seldom end one under a request. */
export const KEEP_ALIVE_MS = 20_000;

export function tooLarge(): TransportError {
  return new TransportError('an answer is larger than any store sends', undefined, 0);
}

/** Those who are trusted, read once for all connections; undefined without a `ca`: Node's own. */
export function trust(ca: string | undefined): SecureContext | undefined {
  return ca === undefined ? undefined : createSecureContext({ ca: [...rootCertificates, ca] });
}

/** The memory that `into` gives for the body of an answer; undefined where it is not to be asked. Throws what it throws. */
export function askedMemory(
  { into }: Pick<SendOptions, 'into'>,
  status: number,
  headers: Readonly<Record<string, string>>,
): Filling | undefined {
  const length = headers['content-length'];
  if (into === undefined || status < 200 || status > 299 || length === undefined) return undefined;
  const buffers = into(Number(length), headers);
  const given = buffers.reduce((sum, buffer) => sum + buffer.length, 0);
  if (given !== Number(length)) throw new Error(`memory for ${given} bytes was given to an answer of ${length}`);
  return new Filling(buffers);
}
