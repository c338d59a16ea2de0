// The control port, on the loopback address and without signatures: a test changes the fault script while requests run.
//   GET  /__faults    the script, each fault with the requests it matched and struck
//   POST /__faults    a new script (a JSON array, see docs/oss-server.md) in place of the old one, counted from zero
//   POST /__policy    the statements of the key's RAM policy from now on (a JSON array); null allows everything
//   GET  /__traffic   requests and body bytes by operation since the start
import { createServer } from 'node:http';
import type { IncomingMessage, Server } from 'node:http';
import type { Statement } from '../policy';
import { FaultScript } from './faults';
import type { Traffic } from './server';

export interface Controlled {
  script: FaultScript;
  policy: readonly Statement[] | undefined;
  readonly traffic: Traffic;
}

/** Not listening yet. */
export function createControlServer(controlled: Controlled): Server {
  return createServer((request, response) => {
    answer(request, controlled).then(
      (value) => response.setHeader('content-type', 'application/json').end(JSON.stringify(value)),
      (error: unknown) => response.writeHead(400).end(error instanceof Error ? error.message : String(error)),
    );
  });
}

async function answer(request: IncomingMessage, controlled: Controlled): Promise<unknown> {
  switch (`${request.method} ${request.url}`) {
    case 'POST /__faults':
      controlled.script = new FaultScript(JSON.parse(await textOf(request)));
      return controlled.script;
    case 'GET /__faults':
      return controlled.script;
    case 'POST /__policy':
      controlled.policy = (JSON.parse(await textOf(request)) as Statement[] | null) ?? undefined;
      return {};
    case 'GET /__traffic':
      return controlled.traffic;
    default:
      throw new Error('GET or POST /__faults, POST /__policy, GET /__traffic');
  }
}

async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}
