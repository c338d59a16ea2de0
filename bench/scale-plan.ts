// The planning of `npm run bench:scale` as a process of its own, as a control worker plans, so that its memory is its own:
// reads a file of indices, writes what it planned to another.
import { readFile, writeFile } from 'node:fs/promises';
import { boundHeap } from '../worker/main';
import type { ScaleIndex } from './scale-repository';
import { planned } from './scale-migration';

async function main([indices, result, attempt]: string[]): Promise<void> {
  boundHeap();
  const plan = await planned(JSON.parse(await readFile(indices!, 'utf8')) as ScaleIndex[], Number(attempt));
  await writeFile(result!, JSON.stringify(plan));
}

void main(process.argv.slice(2)).catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
