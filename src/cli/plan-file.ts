import { readFile } from 'node:fs/promises';
import { ConfigurationError } from '../domain/errors';

/** The JSON of a plan, not yet looked at. @throws ConfigurationError when there is no such file, or none that is JSON */
export async function readPlan(file: string): Promise<unknown> {
  const text = await contents(file);
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new ConfigurationError(`The plan is not JSON: ${(cause as Error).message}`, { subject: { file }, cause });
  }
}

async function contents(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    const message = `The plan cannot be read (${code}): name the JSON file that the migration is started with`;
    throw new ConfigurationError(message, { subject: { file }, cause });
  }
}
