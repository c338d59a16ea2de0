// An OSS server over a folder: each folder of its root is a bucket, files are objects. The same folder is an `fs`
// repository for a node, so that a real node writes "to OSS". A process of its own: it can be killed in the middle, has
// a umask of its own, and its CPU time is not the test's or the client's.
import { request } from 'node:http';
import path from 'node:path';
import { httpGet } from '../http';
import { freePort } from '../ports';
import { launch, runFolder } from '../processes';
import type { Server } from '../processes';
import type { Statement } from '../policy';
import { FaultScript } from './faults';
import type { Fault } from './faults';
import type { Traffic } from './server';
import type { SessionToken } from './signature';

export type { Fault, FaultAction } from './faults';
export type { SessionToken } from './signature';
export type { Traffic } from './server';

const READY_WITHIN_MS = 30_000;
/** Compiled also where tests run the sources. */
const PROGRAM = __filename.endsWith('.ts')
  ? path.join(__dirname, '../../lib/stack/oss/main.js')
  : path.join(__dirname, 'main.js');

export interface OssOptions {
  /** Each folder in it is a bucket. */
  readonly root: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** As in signatures, without `oss-`: `cn-hangzhou`. */
  readonly region: string;
  readonly port?: number;
  /** When given, the key is a temporary one and each request must carry one of these that is not expired. */
  readonly sessionTokens?: readonly SessionToken[];
  /** What goes wrong from the start; see `setFaults`. */
  readonly faults?: readonly Fault[];
  /** The key's RAM policy; without it, everything is allowed. See `setPolicy`. */
  readonly policy?: readonly Statement[];
  /** Of the loopback address, for `setFaults` by other programs: see control.ts. */
  readonly controlPort?: number;
}

export interface OssServer extends Server {
  /** An IP address: clients send the bucket in the path, or in the Host header as `<bucket>.oss-<region>…`. */
  readonly endpoint: string;
  /** Base URL of the control port. */
  readonly control: string;
  /** Replaces the fault script; it is counted from zero. Throws an Error that names what is wrong with it. */
  setFaults(faults: readonly Fault[]): Promise<void>;
  /** The script with the requests that each fault matched (`seen`) and struck. */
  faults(): Promise<readonly { readonly seen: number; readonly struck: number }[]>;
  /** The key's RAM policy from now on; undefined allows everything. */
  setPolicy(policy: readonly Statement[] | undefined): Promise<void>;
  /** What went through since the start. */
  traffic(): Promise<Traffic>;
}

/**
 * Buckets made through OSS are open to nodes; for a folder that was made otherwise, name it in a node's `pathRepo` or
 * call `shareDirectory`. Metadata and unfinished uploads lie in `<root>/.oss` and outlive the server.
 */
export async function startOss(options: OssOptions): Promise<OssServer> {
  new FaultScript(options.faults ?? []); // a wrong script is said here, not in the server's log
  const port = options.port ?? (await freePort());
  const controlPort = options.controlPort ?? (await freePort());
  const control = `http://127.0.0.1:${controlPort}`;
  const settings = { ...options, root: path.resolve(options.root), port, controlPort };
  const server = await launch({
    title: 'OSS',
    command: process.execPath,
    args: [PROGRAM],
    env: { ...process.env, SNAPFERRY_OSS: JSON.stringify(settings) },
    folder: await runFolder(`oss-${port}`),
    isReady: async () => (await httpGet(`${control}/__faults`)).status === 200,
    readyWithinMs: READY_WITHIN_MS,
  });
  const ask = async (name: string) => JSON.parse((await httpGet(`${control}/${name}`)).body) as never;
  return Object.assign(server, {
    endpoint: `http://127.0.0.1:${port}`,
    control,
    setFaults: (faults: readonly Fault[]) => post(`${control}/__faults`, JSON.stringify(faults)),
    setPolicy: (policy: readonly Statement[] | undefined) =>
      post(`${control}/__policy`, JSON.stringify(policy ?? null)),
    faults: () => ask('__faults'),
    traffic: () => ask('__traffic'),
  });
}

function post(url: string, body: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { method: 'POST', agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      response.once('end', () => (response.statusCode === 200 ? resolve() : reject(new Error(text))));
    });
    sent.once('error', reject).end(body);
  });
}
