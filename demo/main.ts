import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { freePort, shareDirectory, startElasticsearch, startTemporal, startVersitygw, stopAll } from '../stack';
import { Migration } from './migration';
import { printResult } from './result';
import { Terminal } from './terminal';
import { Writer } from './writer';

/**
 * The model case on this machine, with real servers: Elasticsearch 5.5.2 -> S3 -> S3 -> Elasticsearch 5.6.16, while
 * documents keep arriving. Uses only what a user has: the connections file, the plan, `npx snapferry worker` and the
 * Temporal CLI. Exit code 0 only if every acknowledged write is on the target.
 */

const HELP = `npm run demo [-- --json] [-- --keep]
  --json   last line of output is the result as JSON
  --keep   leave the servers up until Ctrl-C, to look around in Temporal Web`;

const SECRETS = { DEMO_S3_KEY: 'demo-access', DEMO_S3_SECRET: 'demo-secret-demo-secret' };
const WORKFLOW_ID = 'migrate-movies';

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { json: { type: 'boolean' }, keep: { type: 'boolean' }, help: { type: 'boolean' } },
  });
  if (values.help) return console.log(HELP);
  const terminal = new Terminal(values.json === true);
  const children: ChildProcess[] = [];
  try {
    const lost = await demo(terminal, children);
    if (values.keep === true) await untilInterrupted(terminal);
    process.exitCode = lost === 0 ? 0 : 1;
  } finally {
    await Promise.all(children.map(stopped));
    await stopAll();
  }
}

async function demo(terminal: Terminal, children: ChildProcess[]): Promise<number> {
  terminal.title('snapferry demo: Elasticsearch 5.5.2 to 5.6.16 through two S3 buckets, while writes go on');
  const servers = await startServers(terminal);
  const files = writeFiles(servers);
  const env = {
    ...process.env,
    ...SECRETS,
    SNAPFERRY_CONFIG: files.connections,
    TEMPORAL_ADDRESS: servers.temporal.address,
  };

  const writer = new Writer(servers.source.url, 'movies');
  await writer.createIndex();
  await writer.write(['Alien', 'Brazil', 'Chinatown']);
  terminal.say('The source holds index `movies` with 3 documents.');

  const worker = spawn(process.execPath, [path.join(__dirname, '../../bin/snapferry.js'), 'worker'], {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  children.push(worker);
  await terminal.command('npx snapferry worker', worker);

  const migration = new Migration({
    cli: servers.temporal.cli,
    address: servers.temporal.address,
    env,
    id: WORKFLOW_ID,
    terminal,
  });
  await migration.start(files.plan);
  await migration.until((status) => status.totals.rounds >= 1);
  await writer.write(['Dune', 'Eraserhead']);
  terminal.say(
    'Two more documents arrived on the source after the baseline; from now on a writer adds more all the time.',
  );
  writer.start();
  await migration.until((status) => status.totals.rounds >= 2);

  await migration.signal('freeze-writes');
  const report = await migration.result();
  await migration.close();
  await writer.stop();
  const lost = await writer.missingOn(servers.target.url);
  return printResult({
    terminal,
    report,
    writer,
    lost,
    source: servers.source.url,
    target: servers.target.url,
    ui: servers.temporal.uiUrl,
    id: WORKFLOW_ID,
  });
}

type Servers = Awaited<ReturnType<typeof startServers>>;

async function startServers(terminal: Terminal) {
  const root = mkdtempSync(path.join(os.tmpdir(), 'snapferry-demo-'));
  const buckets = path.join(root, 'buckets');
  for (const bucket of ['es-migration-source', 'es-migration-target'])
    mkdirSync(path.join(buckets, bucket), { recursive: true });
  await shareDirectory(buckets);
  terminal.say('Starting real servers (the first run installs them, which takes minutes).');
  const [temporal, s3, source, target] = await Promise.all([
    startTemporal({
      ui: true,
      uiPort: await freePort(),
      searchAttributes: { SnapferryPhase: 'Keyword', SnapferryRound: 'Int', SnapferryNeedsOperator: 'Bool' },
    }),
    startVersitygw({ root: buckets, accessKeyId: SECRETS.DEMO_S3_KEY, secretAccessKey: SECRETS.DEMO_S3_SECRET }),
    startElasticsearch({ version: '5.5.2', pathRepo: [buckets] }),
    startElasticsearch({ version: '5.6.16', pathRepo: [buckets] }),
  ]);
  terminal.list([
    ['source', `Elasticsearch 5.5.2   ${source.url}`],
    ['target', `Elasticsearch 5.6.16  ${target.url}`],
    ['stores', `S3 (versitygw)        ${s3.endpoint}`],
    ['Temporal', `${temporal.address}, web ${temporal.uiUrl ?? 'off'}`],
  ]);
  return { root, buckets, temporal, s3, source, target };
}

/** The two files a user writes, as a user would write them. */
function writeFiles(servers: Servers): { connections: string; plan: string } {
  const store = (bucket: string) => `
    type: s3
    bucket: ${bucket}
    region: us-east-1
    endpoint: ${servers.s3.endpoint}
    pathStyle: true
    credentials: { accessKeyId: { env: DEMO_S3_KEY }, secretAccessKey: { env: DEMO_S3_SECRET } }
    repository: { type: fs, settings: { location: ${path.join(servers.buckets, bucket)}, compress: true } }`;
  const connections = `clusters:
  source: { url: ${servers.source.url}, auth: { type: none } }
  target: { url: ${servers.target.url}, auth: { type: none } }
stores:
  source-bucket:${store('es-migration-source')}
  target-bucket:${store('es-migration-target')}
`;
  const plan = {
    source: 'source',
    target: 'target',
    indices: ['movies'],
    repository: {
      source: { store: 'source-bucket', basePath: 'snapferry/movies' },
      target: { store: 'target-bucket', basePath: 'snapferry/movies' },
    },
    rounds: { every: '3s' },
    cutover: { approval: false },
  };
  const files = {
    connections: path.join(servers.root, 'connections.yaml'),
    plan: path.join(servers.root, 'plan.json'),
  };
  writeFileSync(files.connections, connections);
  writeFileSync(files.plan, `${JSON.stringify(plan, null, 2)}\n`);
  return files;
}

async function stopped(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  child.kill('SIGTERM');
  await once(child, 'exit');
}

async function untilInterrupted(terminal: Terminal): Promise<void> {
  terminal.say('Everything stays up. Ctrl-C stops it.');
  await new Promise((resolve) => process.once('SIGINT', resolve));
}

main().catch((error: unknown) => {
  console.error(`snapferry demo: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
  process.exitCode = 1;
});
