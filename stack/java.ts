// The machine's Java, which every node runs on.
import path from 'node:path';
import { findCommand, isExecutable, outputOf } from './tools';

/** 5.x and 6.x need the security manager, which Java 24 removed. */
const NEWEST = 23;

let found: Promise<Java | undefined> | undefined;

interface Java {
  readonly home: string;
  readonly major: number;
}

/** Home folder of a Java that runs this major version of Elasticsearch, or a plain sentence. */
export async function javaHome(elasticsearchMajor: number): Promise<string> {
  const oldest = elasticsearchMajor >= 9 ? 21 : 17;
  const wanted = `Elasticsearch ${elasticsearchMajor}.x runs on Java ${oldest} here: install that JDK and put java on the PATH, or set JAVA_HOME.`;
  found ??= findJava();
  const java = await found;
  if (java === undefined) throw new Error(`"java" is not on the PATH. ${wanted}`);
  if (!(java.major >= oldest && java.major <= NEWEST)) {
    throw new Error(`${java.home} is Java ${java.major}. ${wanted}`);
  }
  return java.home;
}

async function findJava(): Promise<Java | undefined> {
  const command = javaCommand();
  if (command === undefined) return undefined;
  const settings = await outputOf(command, ['-XshowSettings:properties', '-version']);
  return { home: property(settings, 'java.home'), major: Number(property(settings, 'java.specification.version')) };
}

function javaCommand(): string | undefined {
  const home = process.env.JAVA_HOME;
  const named = home === undefined || home === '' ? undefined : path.join(home, 'bin', 'java');
  return named !== undefined && isExecutable(named) ? named : findCommand('java');
}

function property(settings: string, name: string): string {
  const line = settings.split('\n').find((candidate) => candidate.trim().startsWith(`${name} = `));
  return line?.split(' = ')[1]?.trim() ?? '';
}
