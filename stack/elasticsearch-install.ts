// Elasticsearch and OpenSearch servers from Maven Central, by the ordinary client, unpacked once.
import { chmod, mkdir, readdir, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { installed } from './cache';
import { needCommand, runTool } from './tools';
import { unpack } from './unpack';

const MAVEN_PLUGIN = 'org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy';
/** Only these of Elasticsearch were published as a full distribution; all others as the zip that its makers test with. */
const FULL_DISTRIBUTION = /^(2|5\.0)\./;

export interface Release {
  readonly distribution: 'elasticsearch' | 'opensearch';
  readonly version: string;
}

/** `Elasticsearch 5.5.2`. */
export function titleOf({ distribution, version }: Release): string {
  return `${distribution === 'opensearch' ? 'OpenSearch' : 'Elasticsearch'} ${version}`;
}

/** Folder with `bin/elasticsearch` or `bin/opensearch` of this version, downloaded when missing. */
export function installationOf(release: Release): Promise<string> {
  const { distribution, version } = release;
  if (!/^\d+\.\d+\.\d+$/.test(version)) throw new Error(`"${version}" is not a version like 5.5.2.`);
  return installed({
    name: distribution,
    version,
    proof: `bin/${distribution}`,
    install: (folder) => download(release, folder),
  });
}

async function download(release: Release, folder: string): Promise<void> {
  const title = titleOf(release);
  await runTool({
    command: needCommand('mvn', `Maven downloads ${title}, once; install Maven 3.`),
    args: ['-q', '-B', MAVEN_PLUGIN, `-Dartifact=${coordinates(release)}`, `-DoutputDirectory=${folder}`],
    activity: `downloading ${title}`,
    logFile: `${folder}.log`,
    cwd: folder, // outside any project, so that nobody's pom.xml has a say
  });
  const name = `${release.distribution}-${release.version}`;
  await unpack(path.join(folder, `${name}.zip`), folder);
  await liftOut(path.join(folder, name), folder);
  await makeRunnable(path.join(folder, 'bin'));
  await mkdir(path.join(folder, 'plugins'), { recursive: true }); // 5.0 would create it, where its user may not
}

function coordinates({ distribution, version }: Release): string {
  if (distribution === 'opensearch') return `org.opensearch.distribution.integ-test-zip:opensearch:${version}:zip`;
  const group = FULL_DISTRIBUTION.test(version)
    ? 'org.elasticsearch.distribution.zip'
    : 'org.elasticsearch.distribution.integ-test-zip';
  return `${group}:elasticsearch:${version}:zip`;
}

async function liftOut(inner: string, folder: string): Promise<void> {
  for (const name of await readdir(inner)) await rename(path.join(inner, name), path.join(folder, name));
  await rm(inner, { recursive: true });
}

/** `jar` does not keep modes. */
async function makeRunnable(bin: string): Promise<void> {
  for (const name of await readdir(bin)) await chmod(path.join(bin, name), 0o755);
}
