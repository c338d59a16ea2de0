// `npm test`: two runs of jest side by side, for most tests wait. One at a time those that share the real clusters, and
// beside them all others. Ends with the sum of both; fails when either does. Arguments go to both.
import { Buffer } from 'node:buffer';
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { stripVTControlCharacters } from 'node:util';

const jest = createRequire(import.meta.url).resolve('jest/bin/jest');
const given = process.argv.slice(2);

/** Resolves with the exit code and everything the run said; `live` passes it on as it comes. */
function run(projects, live) {
  // A pattern may be of files in one of them only.
  const lax = given.length > 0 ? ['--passWithNoTests'] : [];
  const args = [jest, '--runInBand', ...lax, ...given, '--selectProjects', ...projects];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const said = [];
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk) => {
      said.push(chunk);
      if (live) process.stderr.write(chunk);
    });
  }
  const stop = (signal) => child.kill(signal);
  process.once('SIGTERM', stop);
  return new Promise((resolve) => {
    child.on('close', (code) => {
      process.off('SIGTERM', stop);
      resolve({ code: code ?? 1, text: Buffer.concat(said).toString() });
    });
  });
}

/** Of jest's last summary, `what` of which is `Test Suites` or `Tests`. */
function counts(text, what) {
  const plain = stripVTControlCharacters(text);
  const line = plain.split('\n').findLast((one) => one.startsWith(`${what}:`)) ?? '';
  return new Map(
    [...line.matchAll(/(\d+) (failed|skipped|todo|passed|total)/g)].map(([, n, word]) => [word, Number(n)]),
  );
}

const clusters = run(['clusters'], true);
const others = await run(['unit', 'services'], false);
process.stderr.write(`\nunit and services:\n${others.text}\nclusters, so far above, and on:\n`);
const both = [await clusters, others];
console.log('\nunit, services and clusters');
// A suite that could not even begin has no test that failed.
for (const what of ['Test Suites', 'Tests']) {
  const sums = ['failed', 'skipped', 'todo', 'passed', 'total'].flatMap((word) => {
    const sum = both.reduce((all, { text }) => all + (counts(text, what).get(word) ?? 0), 0);
    return sum === 0 && word !== 'total' ? [] : [`${sum} ${word}`];
  });
  console.log(`${`${what}:`.padEnd(13)}${sums.join(', ')}`);
}
process.exitCode = both.every(({ code }) => code === 0) ? 0 : 1;
