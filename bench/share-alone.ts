// All units of each planned transfer whose file is named on stdin, in this process, as many at a time as a worker has
// slots, phase by phase. The seconds that took are its output. It stays for the next, as warm as a worker.
import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { loadConfig } from '../src/config';
import { copyUnit, readUnits } from '../src/steps/copy-unit';
import { openDeps } from '../src/steps/open';
import { inParallel } from '../src/storage/parallel';
import { TRANSFER_SLOTS } from '../worker/main';
import { ALONE } from './scale-migration';
import type { Planned } from './scale-run';

async function main(): Promise<void> {
  const deps = openDeps(await loadConfig());
  for await (const file of createInterface(process.stdin)) {
    const { round, planned } = JSON.parse(await readFile(file, 'utf8')) as Planned;
    const from = performance.now();
    for (let page = 0; page < planned.pages; page += 1) {
      const units = await readUnits(deps, { ...round, page }, ALONE);
      for (const stage of new Set(units.map((unit) => unit.stage))) {
        const some = units.filter((unit) => unit.stage === stage);
        await inParallel(some, TRANSFER_SLOTS, ALONE.signal, async ({ unit }) => {
          await copyUnit(deps, { ...round, page, unit }, ALONE);
        });
      }
    }
    console.log((performance.now() - from) / 1000);
  }
  await deps.close();
}

void main().then(
  () => process.exit(0),
  (error: unknown) => {
    console.error(error);
    process.exit(1);
  },
);
