// oss2, the vendor's client for Python, in an environment of its own in the cache.
import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import { installed } from '../../stack/cache';
import { needCommand, runTool } from '../../stack/tools';

const VERSION = '2.19.1';
const CLIENT = path.join(__dirname, 'oss2_client.py');

/** Path of a Python that has oss2; installed on first use. Fails with a plain sentence where Python or pip is absent. */
export async function pythonWithOss2(): Promise<string> {
  const python = needCommand('python3', `The tests run oss2 ${VERSION}, an OSS client in Python; install Python 3.`);
  const run = (command: string, args: readonly string[], activity: string, folder: string) =>
    runTool({ command, args, activity, logFile: `${folder}.log` });
  const folder = await installed({
    name: 'oss2',
    version: VERSION,
    proof: 'bin/python3',
    install: async (target) => {
      await run(python, ['-m', 'venv', target], 'making a Python environment (python3 needs venv and pip)', target);
      const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', `oss2==${VERSION}`];
      await run(path.join(target, 'bin/python3'), pip, `installing oss2 ${VERSION} with pip`, target);
    },
  });
  return path.join(folder, 'bin/python3');
}

/** What a function of oss2_client.py returns, called with these options. */
export async function oss2(scenario: string, options: Readonly<Record<string, string>>): Promise<unknown> {
  const { stdout } = await promisify(execFile)(await pythonWithOss2(), [CLIENT, scenario, JSON.stringify(options)]);
  return JSON.parse(stdout) as unknown;
}
