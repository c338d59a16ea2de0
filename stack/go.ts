// Servers that are published as Go modules: built once, by the ordinary client.
import path from 'node:path';
import { installed } from './cache';
import { needCommand, runTool } from './tools';

export interface GoProgram {
  readonly name: string;
  readonly version: string;
  readonly module: string;
  /** What to do without go, as the end of the sentence that says it is absent. */
  readonly withoutGo: string;
}

/** Path of the program, built into the cache when it is not there. */
export async function goProgram(program: GoProgram): Promise<string> {
  const { name, version } = program;
  const folder = await installed({ name, version, proof: name, install: (target) => build(program, target) });
  return path.join(folder, name);
}

async function build(program: GoProgram, folder: string): Promise<void> {
  const { name, version, module } = program;
  await runTool({
    command: needCommand('go', `Go builds ${name} ${version}, once; ${program.withoutGo}`),
    args: ['install', `${module}@v${version}`],
    activity: `building ${name} ${version}`,
    logFile: `${folder}.log`,
    cwd: folder, // outside any module, so that nobody's go.mod has a say
    env: { GOBIN: folder, CGO_ENABLED: '0', GOFLAGS: '' },
  });
}
