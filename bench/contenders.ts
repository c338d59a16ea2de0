// Who is measured: each copies every object of one bucket into another, on two endpoints, through the client.
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { goProgram } from '../stack/go';

export interface Task {
  readonly source: { readonly endpoint: string; readonly bucket: string };
  readonly target: { readonly endpoint: string; readonly bucket: string };
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** For files of the client's own. */
  readonly folder: string;
}

export interface Contender {
  readonly name: string;
  readonly says: string;
  command(task: Task): Promise<readonly string[]>;
  env(task: Task): NodeJS.ProcessEnv;
}

const ROOT = path.resolve(__dirname, '../..');
const REGION = 'us-east-1';

const credentials = ({ accessKeyId, secretAccessKey }: Task) => ({
  ...process.env,
  AWS_ACCESS_KEY_ID: accessKeyId,
  AWS_SECRET_ACCESS_KEY: secretAccessKey,
  AWS_REGION: REGION,
});

export const SNAPFERRY: Contender = {
  name: 'snapferry',
  says: 'snapferry copy --all',
  async command(task) {
    await writeFile(connectionsOf(task), JSON.stringify({ stores: storesOf(task) }));
    return [process.execPath, path.join(ROOT, 'bin/snapferry.js'), 'copy', 'source', 'target', '--all'];
  },
  env: (task) => ({
    ...credentials(task),
    SNAPFERRY_CONFIG: connectionsOf(task),
    XDG_STATE_HOME: path.join(task.folder, 'state'),
  }),
};

const connectionsOf = ({ folder }: Task) => path.join(folder, 'connections.yaml');

export function storesOf({ source, target }: Task) {
  const store = ({ endpoint, bucket }: Task['source']) => ({
    type: 's3',
    bucket,
    region: REGION,
    endpoint,
    pathStyle: true,
    credentials: { accessKeyId: { env: 'AWS_ACCESS_KEY_ID' }, secretAccessKey: { env: 'AWS_SECRET_ACCESS_KEY' } },
    repository: { type: 's3', settings: { bucket } },
  });
  return { source: store(source), target: store(target) };
}

const RCLONE = { name: 'rclone', version: '1.75.0', module: 'github.com/rclone/rclone', withoutGo: 'install Go.' };

function rcloneEnv(task: Task): NodeJS.ProcessEnv {
  const remote = (name: string, endpoint: string) => ({
    [`RCLONE_CONFIG_${name}_TYPE`]: 's3',
    [`RCLONE_CONFIG_${name}_PROVIDER`]: 'Other',
    [`RCLONE_CONFIG_${name}_ACCESS_KEY_ID`]: task.accessKeyId,
    [`RCLONE_CONFIG_${name}_SECRET_ACCESS_KEY`]: task.secretAccessKey,
    [`RCLONE_CONFIG_${name}_ENDPOINT`]: endpoint,
    [`RCLONE_CONFIG_${name}_FORCE_PATH_STYLE`]: 'true',
    [`RCLONE_CONFIG_${name}_REGION`]: REGION,
  });
  // Two remotes on two endpoints: bytes flow through the client, as between two clouds.
  const remotes = { ...remote('SRC', task.source.endpoint), ...remote('DST', task.target.endpoint) };
  return { ...process.env, RCLONE_CONFIG: '/dev/null', ...remotes };
}

const rclone = async ({ source, target }: Task) => [
  await goProgram(RCLONE),
  'copy',
  `SRC:${source.bucket}`,
  `DST:${target.bucket}`,
];

/** Compares both buckets by length and etag where they are MD5s; status 0 when nothing differs. */
export async function rcloneCheck(task: Task): Promise<[string, string[], { env: NodeJS.ProcessEnv }]> {
  const { source, target } = task;
  return [await goProgram(RCLONE), ['check', `SRC:${source.bucket}`, `DST:${target.bucket}`], { env: rcloneEnv(task) }];
}

const rcloneDefault: Contender = {
  name: 'rclone default',
  says: 'rclone copy, as most people type it',
  command: rclone,
  env: rcloneEnv,
};

/** The best found for many small and few large objects: facts/bench.md, section 1. */
const rcloneBest: Contender = {
  name: 'rclone best',
  says: 'rclone copy with the best flags we know',
  async command(task) {
    return [
      ...(await rclone(task)),
      ...['--transfers', '32', '--checkers', '32', '--fast-list', '--size-only', '--buffer-size', '0'],
      ...['--s3-no-head', '--s3-no-check-bucket', '--s3-chunk-size', '16M', '--s3-upload-concurrency', '8'],
      ...['--s3-upload-cutoff', '64M', '--multi-thread-cutoff', '64M', '--multi-thread-streams', '8'],
      ...['--multi-thread-chunk-size', '16M'],
    ];
  },
  env: (task) => ({ ...rcloneEnv(task), GOGC: '400' }),
};

const sdk: Contender = {
  name: 'aws-sdk',
  says: 'a loop over the AWS SDK, 32 at a time',
  async command({ source, target }) {
    const places = [source.endpoint, source.bucket, target.endpoint, target.bucket];
    return [process.execPath, path.join(__dirname, 'sdk-loop.js'), ...places];
  },
  env: credentials,
};

export const CONTENDERS: readonly Contender[] = [SNAPFERRY, rcloneBest, rcloneDefault, sdk];
