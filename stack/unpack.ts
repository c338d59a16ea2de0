import { rm } from 'node:fs/promises';
import path from 'node:path';
import { findCommand, needCommand, runTool } from './tools';

/** Unpacks an archive of the zip format into a folder and removes it. By the JDK's own tool, or with unzip where only a JRE is. */
export async function unpack(zip: string, folder: string): Promise<void> {
  const jar = findCommand('jar');
  const unzip = () => needCommand('unzip', `Either the JDK's "jar" or "unzip" unpacks ${path.basename(zip)}.`);
  await runTool({
    command: jar ?? unzip(),
    args: jar === undefined ? ['-q', zip] : ['xf', zip],
    activity: `unpacking ${path.basename(zip)}`,
    logFile: `${folder}.log`,
    cwd: folder,
  });
  await rm(zip);
}
