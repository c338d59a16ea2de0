import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { freePort, startTemporal, stopAll } from '../stack';
import { startClouds } from './clouds';
import { Migration } from './migration';
import { printResult } from './result';
import { Terminal } from './terminal';
import { Writer } from './writer';

/**
 * The model case on this machine: an Amazon Elasticsearch domain (5.5.2, S3) to an Alibaba Cloud Elasticsearch cluster
 * (5.6.16, OSS) while documents keep arriving, with real nodes behind stand-ins of both services. Uses only what a user
 * has: the connections file, the plan, `npx snapferry worker` and the Temporal CLI. Exit code 0 only if every
 * acknowledged write is on the target.
 */

const HELP = `npm run demo [-- --json] [-- --keep]
  --json   last line of output is the result as JSON
  --keep   leave the servers up until Ctrl-C, to look around in Temporal Web`;

const WORKFLOW_ID = 'migrate-movies';

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { json: { type: 'boolean' }, keep: { type: 'boolean' }, help: { type: 'boolean' } },
  });
  if (values.help) return console.log(HELP);
  const terminal = new Terminal(values.json === true);
  const children: ChildProcess[] = [];
  const root = mkdtempSync(path.join(os.tmpdir(), 'snapferry-demo-'));
  try {
    const lost = await demo(terminal, root, children, values.keep === true);
    if (values.keep === true) await untilInterrupted(terminal);
    process.exitCode = lost === 0 ? 0 : 1;
  } finally {
    await Promise.all(children.map(stopped));
    await stopAll();
    rmSync(root, { recursive: true, force: true });
  }
}

async function demo(terminal: Terminal, root: string, children: ChildProcess[], keep: boolean): Promise<number> {
  terminal.title('snapferry demo: Amazon Elasticsearch (S3) to Alibaba Cloud Elasticsearch (OSS), while writes go on');
  terminal.say('Starting real servers (the first run installs them, which takes minutes).');
  const [temporal, clouds] = await Promise.all([startTemporalWithWeb(), startClouds(root)]);
  terminal.list([...clouds.servers, ['Temporal', `${temporal.address}, web ${temporal.uiUrl ?? 'off'}`]]);
  const env = {
    ...process.env,
    ...clouds.secrets,
    SNAPFERRY_CONFIG: clouds.files.connections,
    TEMPORAL_ADDRESS: temporal.address,
  };

  const writer = new Writer(clouds.source, 'movies');
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
    cli: temporal.cli,
    address: temporal.address,
    env,
    id: WORKFLOW_ID,
    terminal,
  });
  await migration.start(clouds.files.plan);
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
  const lost = await writer.missingOn(clouds.target);
  return printResult({
    terminal,
    report,
    writer,
    lost,
    source: clouds.source,
    target: clouds.target,
    ui: keep ? temporal.uiUrl : undefined,
    id: WORKFLOW_ID,
  });
}

function startTemporalWithWeb() {
  return freePort().then((uiPort) =>
    startTemporal({
      ui: true,
      uiPort,
      searchAttributes: { SnapferryPhase: 'Keyword', SnapferryRound: 'Int', SnapferryNeedsOperator: 'Bool' },
    }),
  );
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

/** Exits by itself: a server that was still starting when another failed would keep it alive. */
main().then(
  () => process.exit(),
  (error: unknown) => {
    console.error(`snapferry demo: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
    process.exit(1);
  },
);
