// Elasticsearch servers from Maven Central, by the ordinary client, unpacked once.
import { chmod, mkdir, readdir, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { installed } from './cache';
import { findCommand, needCommand, runTool } from './tools';

const MAVEN_PLUGIN = 'org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy';
/** Only these were published as a full distribution; all others as the zip that Elastic tests with. */
const FULL_DISTRIBUTION = /^(2|5\.0)\./;

/** Folder with `bin/elasticsearch` of this version, downloaded when missing. */
export function elasticsearchHome(version: string): Promise<string> {
  if (!/^\d+\.\d+\.\d+$/.test(version)) throw new Error(`"${version}" is not a version of Elasticsearch like 5.5.2.`);
  return installed({
    name: 'elasticsearch',
    version,
    proof: 'bin/elasticsearch',
    install: (folder) => download(version, folder),
  });
}

async function download(version: string, folder: string): Promise<void> {
  await runTool({
    command: needCommand('mvn', `Maven downloads Elasticsearch ${version}, once; install Maven 3.`),
    args: ['-q', '-B', MAVEN_PLUGIN, `-Dartifact=${coordinates(version)}`, `-DoutputDirectory=${folder}`],
    activity: `downloading Elasticsearch ${version}`,
    logFile: `${folder}.log`,
    cwd: folder, // outside any project, so that nobody's pom.xml has a say
  });
  await unpack(path.join(folder, `elasticsearch-${version}.zip`), folder);
  await liftOut(path.join(folder, `elasticsearch-${version}`), folder);
  await makeRunnable(path.join(folder, 'bin'));
  await mkdir(path.join(folder, 'plugins'), { recursive: true }); // 5.0 would create it, where its user may not
}

function coordinates(version: string): string {
  const group = FULL_DISTRIBUTION.test(version)
    ? 'org.elasticsearch.distribution.zip'
    : 'org.elasticsearch.distribution.integ-test-zip';
  return `${group}:elasticsearch:${version}:zip`;
}

/** With the JDK's own tool, or with unzip where only a JRE is. */
async function unpack(zip: string, folder: string): Promise<void> {
  const jar = findCommand('jar');
  const unzip = () => needCommand('unzip', 'Either the JDK\'s "jar" or "unzip" unpacks Elasticsearch.');
  await runTool({
    command: jar ?? unzip(),
    args: jar === undefined ? ['-q', zip] : ['xf', zip],
    activity: `unpacking ${path.basename(zip)}`,
    logFile: `${folder}.log`,
    cwd: folder,
  });
  await rm(zip);
}

async function liftOut(inner: string, folder: string): Promise<void> {
  for (const name of await readdir(inner)) await rename(path.join(inner, name), path.join(folder, name));
  await rm(inner, { recursive: true });
}

/** `jar` does not keep modes. */
async function makeRunnable(bin: string): Promise<void> {
  for (const name of await readdir(bin)) await chmod(path.join(bin, name), 0o755);
}
