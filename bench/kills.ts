// `npm run soak:kills`: SIGKILL at random moments of a copy, run again until it ends; then rclone compares the buckets.
import { spawnSync } from 'node:child_process';
import { mkdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { stopAll } from '../stack';
import { Arena, memoryFolder, Wire } from './arena';
import { rcloneCheck, SNAPFERRY } from './contenders';
import { blobsOf, CORPORA } from './corpus';
import { killHard, run } from './measure';

const USAGE = `npm run soak:kills -- [--runs N]

  Copies ${CORPORA.killed}; each run is killed two to six times. Default: 20 runs.`;
const MIB = 1024 * 1024;

async function once(arena: Arena): Promise<{ kills: number; sentTwiceMiB: number; same: boolean; orphans: number }> {
  await arena.emptyTarget();
  const wire = await Wire.before(arena.endpoints.target);
  try {
    const task = arena.task('killed', SNAPFERRY.name, { ...arena.endpoints, target: wire.endpoint });
    await mkdir(task.folder, { recursive: true });
    const [command, log] = [await SNAPFERRY.command(task), path.join(task.folder, 'log')];
    const wanted = 2 + Math.floor(Math.random() * 5);
    let kills = 0;
    for (let ended = false; !ended;) {
      const attempt = run(command, SNAPFERRY.env(task), log);
      void attempt.ended.then(() => (ended = true));
      if (kills < wanted) await sleep(200 + Math.random() * 2_500);
      if (kills < wanted && !ended) {
        killHard(attempt.pid);
        kills += 1;
        await attempt.ended;
        ended = false;
      } else if (!(await attempt.ended).ok) throw new Error(`the copy failed: see ${log}`);
    }
    const bytes = blobsOf('killed').reduce((sum, blob) => sum + blob.bytes, 0);
    // Not through the wire, which stands still meanwhile.
    const { status } = spawnSync(...(await rcloneCheck(arena.task('killed', SNAPFERRY.name))));
    return {
      kills,
      sentTwiceMiB: Math.round((wire.sent - bytes) / MIB),
      same: status === 0 && arena.isSame('killed'),
      orphans: await arena.unfinishedUploads(),
    };
  } finally {
    wire.close();
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { runs: { type: 'string', default: '20' }, help: { type: 'boolean', default: false } },
  });
  if (values.help) return console.log(USAGE);
  const memory = await memoryFolder();
  let bad = 0;
  try {
    const arena = await Arena.open(memory);
    await arena.makeSource('killed');
    for (let n = 1; n <= Number(values.runs); n++) {
      const { kills, sentTwiceMiB, same, orphans } = await once(arena);
      if (!same || orphans > 0) bad += 1;
      const verdict = same ? 'equal' : 'NOT EQUAL';
      console.log(
        `run ${n}: ${kills} kills, ${verdict}, ${sentTwiceMiB} MiB sent twice, ${orphans} unfinished uploads`,
      );
    }
    console.log(`${Number(values.runs) - bad} passed, ${bad} failed`);
    if (bad > 0) process.exitCode = 1;
  } finally {
    await stopAll();
    await rm(memory, { recursive: true, force: true });
  }
}

void main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
});
