// Real Elasticsearch nodes of many versions side by side, each a cluster of its own, on the machine's Java 17.
import { existsSync } from 'node:fs';
import { chown, copyFile, cp, link, mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { elasticsearchHome } from './elasticsearch-install';
import { javaHome } from './java';
import { jvmOptions } from './jvm-options';
import { httpGet } from './http';
import { freePort } from './ports';
import { launch, runFolder } from './processes';
import type { Server } from './processes';
import { isReachable, nodeAccount, shareDirectory } from './sharing';
import type { Account } from './sharing';

const DEFAULT_HEAP_MB = 512;
/** 7 s on an idle machine; this is for one that builds and tests at the same time. */
const READY_WITHIN_MS = 180_000;

export interface ElasticsearchOptions {
  readonly version: string;
  /** Folders where `fs` repositories may lie; shared with root's processes. */
  readonly pathRepo: readonly string[];
  /** Kept when the node stops; without it, data end with the node. */
  readonly dataDir?: string;
  readonly port?: number;
  /** Megabytes, 512 by default. */
  readonly heapMb?: number;
  /** Added to elasticsearch.yml, last word over ours. */
  readonly settings?: Record<string, string>;
  readonly clusterName?: string;
  /** Last words of jvm.options. For measurements: `-XX:TieredStopAtLevel=4`, because nodes are tuned to start fast. */
  readonly jvmOptions?: readonly string[];
}

export interface ElasticsearchServer extends Server {
  readonly url: string;
  readonly version: string;
}

interface Folders {
  /** The node's own folder; everything else lies in it unless the caller chose otherwise. */
  readonly run: string;
  readonly home: string;
  readonly config: string;
  readonly data: string;
  readonly temporary: string;
}

/** Returns when the cluster answers and is not red. */
export async function startElasticsearch(options: ElasticsearchOptions): Promise<ElasticsearchServer> {
  const [installation, java, account] = await Promise.all([
    elasticsearchHome(options.version),
    javaHome(majorOf(options.version)),
    nodeAccount(),
  ]);
  const port = options.port ?? (await freePort());
  for (const folder of options.pathRepo) await shareDirectory(folder);
  const folders = await prepareFolders(options, installation, port, account);
  await writeConfig(options, folders, port, account);
  const url = `http://127.0.0.1:${port}`;
  const server = await launch({
    title: `Elasticsearch ${options.version}`,
    command: '/bin/sh',
    // What a node writes is for root's processes and for whoever runs the tests to read and remove.
    args: ['-c', 'umask 000; exec "$0" "$@"', ...nodeCommand(options.version, folders)],
    env: await nodeEnvironment(options.version, folders, java),
    account,
    folder: folders.run,
    isReady: () => isServing(url),
    readyWithinMs: READY_WITHIN_MS,
  });
  return Object.assign(server, { url, version: options.version });
}

async function prepareFolders(
  options: ElasticsearchOptions,
  installation: string,
  port: number,
  account: Account | undefined,
): Promise<Folders> {
  const run = await runFolder(`elasticsearch-${options.version}-${port}`, account);
  const folders = {
    run,
    home: (await isReachable(installation)) ? installation : path.join(run, 'home'),
    config: path.join(run, 'config'),
    data: options.dataDir === undefined ? path.join(run, 'data') : path.resolve(options.dataDir),
    temporary: path.join(run, 'tmp'),
  };
  if (folders.home !== installation) await linkTree(installation, folders.home);
  await shareDirectory(folders.data);
  await mkdir(folders.temporary);
  await cp(path.join(installation, 'config'), folders.config, { recursive: true });
  return folders;
}

/** A cache inside root's home is closed to the nodes' user: hard links give it the files without copying them. */
async function linkTree(from: string, to: string): Promise<void> {
  await mkdir(to);
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const [source, target] = [path.join(from, entry.name), path.join(to, entry.name)];
    if (entry.isDirectory()) await linkTree(source, target);
    else await link(source, target).catch(() => copyFile(source, target)); // another file system: copy
  }
}

async function writeConfig(
  options: ElasticsearchOptions,
  folders: Folders,
  port: number,
  account: Account | undefined,
): Promise<void> {
  const settings = { ...(await ownSettings(options, folders, port)), ...options.settings };
  const lines = Object.entries(settings).map(([name, value]) => `${name}: ${JSON.stringify(value)}\n`);
  await writeFile(path.join(folders.config, 'elasticsearch.yml'), lines.join(''));
  const jvm = path.join(folders.config, 'jvm.options');
  const shipped = await readFile(jvm, 'utf8').catch(() => ''); // 2.x has none
  const wanted = {
    major: majorOf(options.version),
    heapMb: options.heapMb ?? DEFAULT_HEAP_MB,
    temporary: folders.temporary,
    extra: options.jvmOptions ?? [],
  };
  await writeFile(jvm, jvmOptions(shipped, wanted));
  if (account !== undefined) await giveAway(folders, account);
}

/** The node writes its keystore into the config folder (6.x and later). */
async function giveAway(folders: Folders, account: Account): Promise<void> {
  for (const folder of [folders.config, folders.temporary]) {
    await chown(folder, account.uid, account.gid);
    for (const name of await readdir(folder)) await chown(path.join(folder, name), account.uid, account.gid);
  }
}

type Setting = string | boolean | number | readonly string[];

/** An unknown setting is fatal, so each is named only where the version or the unpacked modules know it. */
async function ownSettings(
  options: ElasticsearchOptions,
  folders: Folders,
  port: number,
): Promise<Record<string, Setting>> {
  const transportPort = await freePort();
  const has = (module: string) => existsSync(path.join(folders.home, 'modules', module));
  return {
    'cluster.name': options.clusterName ?? `snapferry-${port}`,
    'node.name': `elasticsearch-${options.version}`,
    'network.host': '127.0.0.1',
    'http.port': port,
    [majorOf(options.version) >= 8 ? 'transport.port' : 'transport.tcp.port']: transportPort,
    // Otherwise nodes of this machine find each other by their ports and form one cluster.
    ...(/^(2|5\.0)\./.test(options.version)
      ? { 'discovery.zen.ping.unicast.hosts': [`127.0.0.1:${transportPort}`] }
      : { 'discovery.type': 'single-node' }),
    'path.data': folders.data,
    'path.logs': path.join(folders.run, 'logs'),
    'path.repo': options.pathRepo.map((folder) => path.resolve(folder)),
    // A laptop's full disk must not turn indices read-only in the middle of a migration.
    'cluster.routing.allocation.disk.threshold_enabled': false,
    ...(has('x-pack-security') || (has('x-pack-core') && majorOf(options.version) >= 8)
      ? { 'xpack.security.enabled': false }
      : {}),
    ...(has('x-pack-core') && majorOf(options.version) >= 8 ? { 'xpack.ml.enabled': false } : {}),
  };
}

/** 5.x takes its config folder by a setting, its neighbours from the environment. */
function nodeCommand(version: string, folders: Folders): string[] {
  const program = path.join(folders.home, 'bin', 'elasticsearch');
  return majorOf(version) === 5 ? [program, `-Epath.conf=${folders.config}`] : [program];
}

async function nodeEnvironment(version: string, folders: Folders, java: string): Promise<NodeJS.ProcessEnv> {
  const jvm = path.join(folders.config, 'jvm.options');
  const common = { PATH: process.env.PATH, HOME: folders.run, JAVA_HOME: java };
  if (majorOf(version) < 5) return { ...common, ...(await environmentOf2(folders.config, jvm)) };
  return {
    ...common,
    ES_JAVA_HOME: java,
    ES_PATH_CONF: folders.config,
    ES_JVM_OPTIONS: jvm,
    ES_TMPDIR: folders.temporary,
  };
}

/** 2.x reads no options file, and adds collector flags that Java 17 refuses unless it is given others. */
async function environmentOf2(config: string, jvm: string): Promise<NodeJS.ProcessEnv> {
  const options = (await readFile(jvm, 'utf8')).trim().split('\n');
  return { ES_GC_OPTS: '-XX:+UseG1GC', ES_JAVA_OPTS: [...options, `-Des.path.conf=${config}`].join(' ') };
}

/** Health rather than `GET /`, whose handler the zips of 8.19 lack. */
async function isServing(url: string): Promise<boolean> {
  const { status, body } = await httpGet(`${url}/_cluster/health`);
  if (status !== 200) return false;
  const health = JSON.parse(body) as { status: string };
  return health.status === 'yellow' || health.status === 'green';
}

function majorOf(version: string): number {
  return Number(version.split('.')[0]);
}
