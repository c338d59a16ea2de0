// `npm run stack`: starts the parts that were asked for, prints where they listen, stops them with Ctrl-C.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArguments, USAGE, UsageError } from './arguments';
import type { Part, Request } from './arguments';
import {
  domainArn,
  fullAccess,
  shareDirectory,
  startAlibabaElasticsearch,
  startAmazonElasticsearch,
  startElasticsearch,
  startOss,
  startTemporal,
  startVersitygw,
  stopAll,
} from './index';
import { isPortFree } from './ports';
import { say } from './tools';

interface Row {
  readonly name: string;
  readonly address: string;
  readonly log: string;
}

/** Where a Temporal CLI or a browser looks first. */
const TEMPORAL_PORT = 7233;
const TEMPORAL_UI_PORT = 8233;
/** Buckets of a root that we made ourselves. */
const BUCKETS = ['source', 'target'];

async function main(): Promise<void> {
  const request = parseArguments(process.argv.slice(2));
  if (request.help) {
    console.log(USAGE);
    return;
  }
  const interrupted = untilInterrupted();
  const temporary = request.root === undefined ? await temporaryRoot() : undefined;
  try {
    await Promise.race([
      interrupted,
      serve(request, temporary ?? path.resolve(request.root ?? '')).then(() => interrupted),
    ]);
  } finally {
    say('stopping');
    await stopAll();
    if (temporary !== undefined) await rm(path.dirname(temporary), { recursive: true, force: true });
    say('all stopped');
  }
}

/** Resolves at the first signal; the ones after it change nothing, because stopping is under way. */
function untilInterrupted(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => resolve());
  });
}

/** One level down, because versitygw keeps metadata beside its root. */
async function temporaryRoot(): Promise<string> {
  const root = path.join(await mkdtemp(path.join(tmpdir(), 'snapferry-data-')), 'buckets');
  for (const bucket of BUCKETS) await shareDirectory(path.join(root, bucket));
  return root;
}

async function serve(request: Request, root: string): Promise<void> {
  const rows: Row[] = [];
  for (const part of request.parts) {
    say(`starting ${titleOf(part)}`);
    rows.push(...(await start(part, root)));
  }
  console.log(`\n${table(rows)}\n\nBuckets and repositories: ${root}\nCtrl-C stops everything.`);
}

function titleOf(part: Part): string {
  return 'version' in part ? `${part.kind} ${part.version}` : part.kind;
}

async function start(part: Part, root: string): Promise<Row[]> {
  switch (part.kind) {
    case 'temporal':
      return startTemporalPart(part);
    case 'elasticsearch':
    case 'opensearch': {
      const pathRepo = part.pathRepo.length > 0 ? part.pathRepo : [root];
      const server = await startElasticsearch({ ...part, distribution: part.kind, pathRepo });
      return [{ name: titleOf(part), address: server.url, log: server.logFile }];
    }
    case 'amazon-elasticsearch':
      return startAmazonPart(part, root);
    case 'alibaba-elasticsearch':
      return startAlibabaPart(part, root);
    case 's3': {
      const server = await startVersitygw({ ...part, root: part.root ?? root });
      const keys = `access key ${part.accessKeyId}, secret ${part.secretAccessKey}, region us-east-1, path style`;
      return [
        { name: 's3', address: server.endpoint, log: server.logFile },
        { name: '', address: keys, log: '' },
      ];
    }
    case 'oss': {
      const server = await startOss({ ...part, root: part.root ?? root });
      const keys = `access key ${part.accessKeyId}, secret ${part.secretAccessKey}, region ${part.region}, signature V4`;
      return [
        { name: 'oss', address: server.endpoint, log: server.logFile },
        { name: '', address: keys, log: '' },
        { name: 'oss faults', address: `${server.control}/__faults`, log: '' },
      ];
    }
  }
}

type Managed = Extract<Part, { kind: 'amazon-elasticsearch' | 'alibaba-elasticsearch' }>;

/** Credentials of a toy, which are printed. */
const KEYS = { accessKeyId: 'snapferry', secretAccessKey: 'snapferry-secret' };
const PASSWORD = 'snapferry-password';
const ROLE = 'arn:aws:iam::123456789012:role/es-snapshots';

async function startAmazonPart(part: Managed, root: string): Promise<Row[]> {
  const node = await startElasticsearch({ version: part.version, pathRepo: [root] });
  const caller = { ...KEYS, arn: 'arn:aws:iam::123456789012:user/snapferry', policy: fullAccess(domainArn(), [ROLE]) };
  const roles = { [ROLE]: { buckets: BUCKETS } };
  const server = await startAmazonElasticsearch({ node, root, port: part.port, callers: [caller], roles });
  const signing = `access key ${KEYS.accessKeyId}, secret ${KEYS.secretAccessKey}, region ${server.region}, service es`;
  return [
    { name: titleOf(part), address: server.url, log: node.logFile },
    { name: '', address: signing, log: '' },
    { name: '', address: `role_arn ${ROLE}, buckets ${BUCKETS.join(', ')}`, log: '' },
  ];
}

async function startAlibabaPart(part: Managed, root: string): Promise<Row[]> {
  const node = await startElasticsearch({ version: part.version, pathRepo: [root] });
  const keys = { [KEYS.accessKeyId]: { secret: KEYS.secretAccessKey, buckets: BUCKETS } };
  const server = await startAlibabaElasticsearch({ node, root, port: part.port, password: PASSWORD, keys });
  const oss = `oss endpoint ${server.endpoint}, access key ${KEYS.accessKeyId}, secret ${KEYS.secretAccessKey}`;
  return [
    { name: titleOf(part), address: server.url, log: node.logFile },
    { name: '', address: `user elastic, password ${PASSWORD}`, log: '' },
    { name: '', address: `${oss}, buckets ${BUCKETS.join(', ')}`, log: '' },
  ];
}

async function startTemporalPart(part: Extract<Part, { kind: 'temporal' }>): Promise<Row[]> {
  const port = part.port ?? (await ifFree(TEMPORAL_PORT));
  const uiPort = part.uiPort ?? (await ifFree(TEMPORAL_UI_PORT));
  const server = await startTemporal({ port, uiPort, dbFile: part.dbFile });
  return [
    { name: 'temporal', address: server.address, log: server.logFile },
    { name: 'temporal web', address: server.uiUrl ?? '', log: '' },
  ];
}

async function ifFree(port: number): Promise<number | undefined> {
  return (await isPortFree(port)) ? port : undefined;
}

function table(rows: readonly Row[]): string {
  const all = [{ name: 'server', address: 'address', log: 'log' }, ...rows];
  const width = Math.max(...all.map((row) => row.name.length)) + 3;
  const addressWidth = Math.max(...all.filter((row) => row.log !== '').map((row) => row.address.length)) + 3;
  const line = (row: Row) => `${row.name.padEnd(width)}${row.address.padEnd(addressWidth)}${row.log}`.trimEnd();
  return all.map(line).join('\n');
}

/** Exits by itself: an installation that was interrupted would go on otherwise. */
main().then(
  () => process.exit(0),
  (error: unknown) => {
    say(error instanceof Error ? error.message : String(error));
    if (error instanceof UsageError) say('npm run stack -- --help shows what can be asked for.');
    process.exit(error instanceof UsageError ? 2 : 1);
  },
);
