// Bytes in and out of a connection, with what the fault script does to them on the way.
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FileBody, Reply } from './call';
import { chunksOf } from './checksums';
import type { FaultAction } from './faults';

/** Slices of a second in which a dripping body moves. */
const DRIPS_PER_SECOND = 10;

/** What was written leaves before a reset, which drops whatever the kernel still holds. */
const FLUSH_MS = 50;

/** The connection was broken by the script or by the client: there is nobody to answer. */
export class ConnectionGone extends Error {}

/** A request's body; fails with ConnectionGone when it ends early. `count` is told of each chunk. */
export async function* incoming(
  request: IncomingMessage,
  fault: FaultAction | undefined,
  count: (bytes: number) => void,
): AsyncGenerator<Buffer> {
  try {
    yield* damaged(counted(request, count), fault, 'request', request.socket);
  } catch (error) {
    if (request.destroyed && !request.complete) throw new ConnectionGone('The request ended early.', { cause: error });
    throw error;
  }
}

/** Left half read, a request stays open, so that it can be answered. */
async function* counted(request: IncomingMessage, count: (bytes: number) => void): AsyncGenerator<Buffer> {
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    count(chunk.length);
    yield chunk;
  }
}

/** Whether a body follows the head. */
export function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}

/** Sends an answer and closes its file. Throws ConnectionGone. */
export async function send(
  response: ServerResponse,
  reply: Reply,
  fault: FaultAction | undefined,
  count: (bytes: number) => void,
): Promise<void> {
  try {
    const { socket } = response.req;
    if (fault?.do === 'lose-reply') await breakOff({ do: 'reset' }, socket);
    if (reply.body === undefined && isBreak(fault, 'response')) await breakOff(fault, socket);
    const size = sizeOf(reply);
    const isCut = fault?.do === 'truncate' && fault.afterBytes < size;
    const length = isCut && fault.contentLength === 'sent' ? fault.afterBytes : size;
    const hasLength = reply.body !== undefined || reply.status === 200;
    const { 'content-length': told } = reply.headers; // of HEAD, which has no body
    // The length last: Node changes the bytes of a Content-Disposition that comes after it.
    response.writeHead(reply.status, { ...reply.headers, ...(hasLength && { 'content-length': told ?? length }) });
    if (fault !== undefined) response.flushHeaders(); // before whatever happens to the body
    if (reply.body !== undefined) await sendBody(response, damaged(bytesOf(reply), fault, 'response', socket), count);
    if (isCut && length === size) socket.end();
    else response.end();
  } finally {
    if (typeof reply.body === 'object') await reply.body.file.close();
  }
}

function sizeOf({ body }: Reply): number {
  if (body === undefined) return 0;
  return typeof body === 'string' ? Buffer.byteLength(body) : body.span.end - body.span.start;
}

async function* bytesOf({ body }: Reply): AsyncGenerator<Buffer> {
  if (typeof body === 'string') yield Buffer.from(body);
  else if (body !== undefined) yield* fileBytes(body);
}

/** A copy of each chunk, because the socket keeps what it has not sent yet. */
async function* fileBytes({ file, span }: FileBody): AsyncGenerator<Buffer> {
  for await (const chunk of chunksOf(file, span.start, span.end)) yield Buffer.from(chunk);
}

async function sendBody(
  response: ServerResponse,
  bytes: AsyncIterable<Buffer>,
  count: (bytes: number) => void,
): Promise<void> {
  for await (const chunk of bytes) {
    if (response.destroyed) throw new ConnectionGone('The client went away.');
    count(chunk.length);
    if (!response.write(chunk)) await roomIn(response);
  }
}

function roomIn(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      response.off('drain', done).off('close', done);
      resolve();
    };
    response.on('drain', done).on('close', done);
  });
}

type Side = 'request' | 'response';
type Break = Extract<FaultAction, { do: 'hang' | 'reset' }>;

/** Whether a fault ends the exchange on that side. */
export function isBreak(fault: FaultAction | undefined, side: Side): fault is Break {
  return (fault?.do === 'hang' || fault?.do === 'reset') && fault.of === side;
}

/** Hangs until the client gives up, or resets the connection. */
export async function breakOff(fault: Pick<Break, 'do'>, socket: Socket): Promise<never> {
  if (fault.do === 'hang') {
    if (!socket.destroyed) await once(socket, 'close');
    throw new ConnectionGone('The client had enough of waiting.');
  }
  while (socket.writableLength > 0 && !socket.destroyed) await sleep(FLUSH_MS);
  await sleep(FLUSH_MS);
  socket.resetAndDestroy();
  throw new ConnectionGone('The script reset the connection.');
}

/** The same bytes, unless the script says otherwise for this side. */
async function* damaged(
  bytes: AsyncIterable<Buffer>,
  fault: FaultAction | undefined,
  side: Side,
  socket: Socket,
): AsyncGenerator<Buffer> {
  if (isBreak(fault, side)) yield* upTo(bytes, fault.afterBytes, () => breakOff(fault, socket));
  else if (fault?.do === 'flip' && fault.of === side) yield* flipped(bytes, fault.byte);
  else if (fault?.do === 'drip' && fault.of === side) yield* dripping(bytes, fault.bytesPerSecond);
  else if (fault?.do === 'truncate' && side === 'response') yield* upTo(bytes, fault.afterBytes, async () => undefined);
  else yield* bytes;
}

/** `then` comes before the source is let go, and not at all when the source ends earlier. */
async function* upTo(
  bytes: AsyncIterable<Buffer>,
  limit: number,
  then: () => Promise<unknown>,
): AsyncGenerator<Buffer> {
  if (limit === 0) return void (await then());
  let left = limit;
  for await (const chunk of bytes) {
    yield chunk.subarray(0, left);
    left -= chunk.length;
    if (left <= 0) return void (await then());
  }
}

async function* flipped(bytes: AsyncIterable<Buffer>, at: number): AsyncGenerator<Buffer> {
  let passed = 0;
  for await (const chunk of bytes) {
    const inside = at - passed;
    if (inside >= 0 && inside < chunk.length) chunk[inside] = (chunk[inside] ?? 0) ^ 1;
    passed += chunk.length;
    yield chunk;
  }
}

async function* dripping(bytes: AsyncIterable<Buffer>, bytesPerSecond: number): AsyncGenerator<Buffer> {
  const size = Math.max(1, Math.ceil(bytesPerSecond / DRIPS_PER_SECOND));
  for await (const chunk of bytes) {
    for (let at = 0; at < chunk.length; at += size) {
      const drip = chunk.subarray(at, at + size);
      await sleep((drip.length / bytesPerSecond) * 1000);
      yield drip;
    }
  }
}
