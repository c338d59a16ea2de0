// A real S3 server over a folder: each folder of its root is a bucket, files are objects. The same folder is an `fs`
// repository for a node, so that a real node writes "to S3".
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { goProgram } from './go';
import { httpGet } from './http';
import { freePort } from './ports';
import { launch, runFolder } from './processes';
import type { Server } from './processes';

const READY_WITHIN_MS = 30_000;
/** No bucket can be called so: names have no underscore. */
const HEALTH_PATH = '/_health';

export interface S3Options {
  /** Each folder in it is a bucket. */
  readonly root: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly port?: number;
  /** Default us-east-1: requests that are signed for another one are refused. */
  readonly region?: string;
  /** Takes the bucket from the Host header too: `<bucket>.<virtualDomain>`. */
  readonly virtualDomain?: string;
}

export interface S3Server extends Server {
  readonly endpoint: string;
}

const PROGRAM = {
  name: 'versitygw',
  version: '1.7.0',
  module: 'github.com/versity/versitygw/cmd/versitygw',
  withoutGo: 'install Go.',
};

/**
 * Path style unless `virtualDomain` is given. Buckets made through S3 are open to nodes; for a folder that was made otherwise, name it
 * in a node's `pathRepo` or call `shareDirectory`. Object metadata lies beside the root, so that it outlives a restart.
 */
export async function startVersitygw(options: S3Options): Promise<S3Server> {
  const program = await goProgram(PROGRAM);
  const root = path.resolve(options.root);
  const sidecar = sidecarOf(root);
  for (const folder of [root, sidecar]) await mkdir(folder, { recursive: true });
  const port = options.port ?? (await freePort());
  const endpoint = `http://127.0.0.1:${port}`;
  const server = await launch({
    title: 'versitygw',
    // Folders and files that it makes, as root, are for nodes to read, write and delete.
    command: '/bin/sh',
    args: ['-c', 'umask 000; exec "$0" "$@"', program, ...serverArguments(options, port, sidecar, root)],
    env: { ...process.env, ROOT_ACCESS_KEY: options.accessKeyId, ROOT_SECRET_KEY: options.secretAccessKey },
    folder: await runFolder(`s3-${port}`),
    isReady: async () => (await httpGet(endpoint + HEALTH_PATH)).status === 200,
    readyWithinMs: READY_WITHIN_MS,
  });
  return Object.assign(server, { endpoint });
}

/** versitygw refuses a sidecar whose path begins with the root's, hence the name in front. */
function sidecarOf(root: string): string {
  const parent = path.dirname(root);
  if (parent === root) throw new Error('The S3 root cannot be the root folder of the machine.');
  return path.join(parent, `.s3-metadata-${path.basename(root)}`);
}

function serverArguments(
  { region = 'us-east-1', virtualDomain }: S3Options,
  port: number,
  sidecar: string,
  root: string,
): string[] {
  return [
    ...['--region', region, ...(virtualDomain === undefined ? [] : ['--virtual-domain', virtualDomain])],
    ...['--port', `127.0.0.1:${port}`, '--health', HEALTH_PATH, '--keep-alive', '--quiet'],
    ...['posix', '--sidecar', sidecar, '--dir-perms', '0777', root],
  ];
}
