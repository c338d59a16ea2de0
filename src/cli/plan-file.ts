import { readFile } from 'node:fs/promises';
import { ConfigurationError } from '../domain/errors';

/** The JSON of a plan, not yet looked at. @throws ConfigurationError when the file holds none */
export async function readPlan(file: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(file, 'utf8'));
  } catch (cause) {
    throw new ConfigurationError('The plan cannot be read as JSON', { subject: { file }, cause });
  }
}
