// The machine's Java, which every node runs on.
import path from 'node:path';
import { findCommand, isExecutable, outputOf } from './tools';

const OLDEST = 17;
/** 5.x and 6.x need the security manager, which Java 24 removed. */
const NEWEST = 23;
const WANTED = 'Elasticsearch nodes run on Java 17: install a JDK 17 and put java on the PATH, or set JAVA_HOME.';

let found: Promise<string> | undefined;

/** Home folder of a Java that runs all the versions, or a plain sentence. */
export function javaHome(): Promise<string> {
  found ??= findJava();
  return found;
}

async function findJava(): Promise<string> {
  const java = javaCommand();
  if (java === undefined) throw new Error(`"java" is not on the PATH. ${WANTED}`);
  const settings = await outputOf(java, ['-XshowSettings:properties', '-version']);
  const major = Number(property(settings, 'java.specification.version'));
  if (!(major >= OLDEST && major <= NEWEST)) throw new Error(`${java} is Java ${major}. ${WANTED}`);
  return property(settings, 'java.home');
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
