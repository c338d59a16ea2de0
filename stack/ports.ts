// Ports for servers of this machine. Nothing here holds a port: the server binds it a moment later.
import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

// Below Linux' range for outgoing connections (from 32768): a port from inside it may be taken by any outgoing
// connection between our look and the server's bind.
const LOWEST = 12_000;
const HIGHEST = 32_000;
const ATTEMPTS = 100;

/** Two servers that start side by side both look before either binds. */
const handedOut = new Set<number>();

/** A port of the loopback address that nothing listens on, never the same twice in one process. */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const port = randomInt(LOWEST, HIGHEST);
    if (handedOut.has(port) || !(await isPortFree(port))) continue;
    handedOut.add(port);
    return port;
  }
  throw new Error(`No free port found between ${LOWEST} and ${HIGHEST} in ${ATTEMPTS} attempts.`);
}

/** Whether a server could listen on this port of the loopback address now. */
export function isPortFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve(true)));
  });
}
