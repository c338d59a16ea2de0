// Real nodes of Elasticsearch and OpenSearch, many versions side by side, each a cluster of its own.
import { existsSync } from 'node:fs';
import { chown, copyFile, cp, link, mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { installationOf, titleOf } from './elasticsearch-install';
import type { Release } from './elasticsearch-install';
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
  /** `elasticsearch` by default. */
  readonly distribution?: Release['distribution'];
  readonly version: string;
  /** Folders where `fs` repositories may lie; shared with root's processes. */
  readonly pathRepo: readonly string[];
  /** Kept when the node stops; without it, data end with the node. */
  readonly dataDir?: string;
  readonly port?: number;
  /** Megabytes, 512 by default. */
  readonly heapMb?: number;
  /** Added to elasticsearch.yml or opensearch.yml, last word over ours. */
  readonly settings?: Record<string, string>;
  readonly clusterName?: string;
  /** Last words of jvm.options. For measurements: `-XX:TieredStopAtLevel=4`, because nodes are tuned to start fast. */
  readonly jvmOptions?: readonly string[];
}

export interface ElasticsearchServer extends Server, Release {
  readonly url: string;
}

interface Folders {
  /** The node's own folder; everything else lies in it unless the caller chose otherwise. */
  readonly run: string;
  readonly home: string;
  readonly java: string;
  readonly config: string;
  readonly data: string;
  readonly temporary: string;
}

/** Returns when the cluster answers and is not red. */
export async function startElasticsearch(options: ElasticsearchOptions): Promise<ElasticsearchServer> {
  const release = { distribution: options.distribution ?? 'elasticsearch', version: options.version } as const;
  const [installation, java, account] = await Promise.all([
    installationOf(release),
    javaHome(titleOf(release), oldestJava(release)),
    nodeAccount(),
  ]);
  const port = options.port ?? (await freePort());
  for (const folder of options.pathRepo) await shareDirectory(folder);
  const node = { ...options, ...release };
  const folders = await prepareFolders(node, { installation, java }, port, account);
  await writeConfig(node, folders, port, account);
  const url = `http://127.0.0.1:${port}`;
  const server = await launch({
    title: titleOf(release),
    command: '/bin/sh',
    // What a node writes is for root's processes and for whoever runs the tests to read and remove.
    args: ['-c', 'umask 000; exec "$0" "$@"', ...nodeCommand(release, folders)],
    env: await nodeEnvironment(release, folders),
    account,
    folder: folders.run,
    isReady: () => isServing(url),
    readyWithinMs: READY_WITHIN_MS,
  });
  return Object.assign(server, { url, ...release });
}

type Node = ElasticsearchOptions & Release;

function oldestJava({ distribution, version }: Release): number {
  return Number(version.split('.')[0]) >= (distribution === 'opensearch' ? 3 : 9) ? 21 : 17;
}

async function prepareFolders(
  options: Node,
  { installation, java }: { readonly installation: string; readonly java: string },
  port: number,
  account: Account | undefined,
): Promise<Folders> {
  const run = await runFolder(`${options.distribution}-${options.version}-${port}`, account);
  const folders = {
    run,
    home: (await isReachable(installation)) ? installation : path.join(run, 'home'),
    java: (await isReachable(java)) ? java : path.join(run, 'java'),
    config: path.join(run, 'config'),
    data: options.dataDir === undefined ? path.join(run, 'data') : path.resolve(options.dataDir),
    temporary: path.join(run, 'tmp'),
  };
  if (folders.home !== installation) await linkTree(installation, folders.home);
  if (folders.java !== java) await linkTree(java, folders.java);
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

async function writeConfig(options: Node, folders: Folders, port: number, account: Account | undefined): Promise<void> {
  const settings = { ...(await ownSettings(options, folders, port)), ...options.settings };
  const lines = Object.entries(settings).map(([name, value]) => `${name}: ${JSON.stringify(value)}\n`);
  await writeFile(path.join(folders.config, `${options.distribution}.yml`), lines.join(''));
  const jvm = path.join(folders.config, 'jvm.options');
  const shipped = await readFile(jvm, 'utf8').catch(() => ''); // 2.x has none
  const wanted = {
    major: majorOf(options),
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
async function ownSettings(options: Node, folders: Folders, port: number): Promise<Record<string, Setting>> {
  const transportPort = await freePort();
  const has = (module: string) => existsSync(path.join(folders.home, 'modules', module));
  return {
    'cluster.name': options.clusterName ?? `snapferry-${port}`,
    'node.name': `${options.distribution}-${options.version}`,
    'network.host': '127.0.0.1',
    'http.port': port,
    [majorOf(options) >= 8 ? 'transport.port' : 'transport.tcp.port']: transportPort,
    // Otherwise nodes of this machine find each other by their ports and form one cluster.
    ...(majorOf(options) === 2 || options.version.startsWith('5.0.')
      ? { 'discovery.zen.ping.unicast.hosts': [`127.0.0.1:${transportPort}`] }
      : { 'discovery.type': 'single-node' }),
    'path.data': folders.data,
    'path.logs': path.join(folders.run, 'logs'),
    'path.repo': options.pathRepo.map((folder) => path.resolve(folder)),
    // A laptop's full disk must not turn indices read-only in the middle of a migration.
    'cluster.routing.allocation.disk.threshold_enabled': false,
    ...(has('x-pack-security') || (has('x-pack-core') && majorOf(options) >= 8)
      ? { 'xpack.security.enabled': false }
      : {}),
    ...(has('x-pack-core') && majorOf(options) >= 8 ? { 'xpack.ml.enabled': false } : {}),
  };
}

/** 5.x takes its config folder by a setting, its neighbours from the environment. */
function nodeCommand(release: Release, folders: Folders): string[] {
  const program = path.join(folders.home, 'bin', release.distribution);
  return majorOf(release) === 5 ? [program, `-Epath.conf=${folders.config}`] : [program];
}

async function nodeEnvironment(release: Release, folders: Folders): Promise<NodeJS.ProcessEnv> {
  const jvm = path.join(folders.config, 'jvm.options');
  const common = { PATH: process.env.PATH, HOME: folders.run, JAVA_HOME: folders.java };
  if (majorOf(release) < 5) return { ...common, ...(await environmentOf2(folders.config, jvm)) };
  const prefix = release.distribution === 'opensearch' ? 'OPENSEARCH' : 'ES';
  return {
    ...common,
    [`${prefix}_JAVA_HOME`]: folders.java,
    [`${prefix}_PATH_CONF`]: folders.config,
    [`${prefix}_JVM_OPTIONS`]: jvm,
    [`${prefix}_TMPDIR`]: folders.temporary,
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

/** Elasticsearch's major version. OpenSearch, which began at 7.10, takes the settings that 8.x takes. */
function majorOf({ distribution, version }: Release): number {
  return distribution === 'opensearch' ? 8 : Number(version.split('.')[0]);
}
