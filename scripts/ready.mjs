// Makes a fresh clone ready: dependencies from the lock file, then the build. Both are skipped when up to date, so
// that `npm test` and `npm run demo` each work as the only command, and cost nothing the second time.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, statSync, writeFileSync, readdirSync } from 'node:fs';
import { createHash } from 'node:crypto';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
process.chdir(root);

const run = (args) => execFileSync('npm', args, { stdio: ['ignore', 2, 2] });
const digest = (file) => createHash('sha256').update(readFileSync(file)).digest('hex');

const stamp = 'node_modules/.snapferry-lock';
const lock = digest('package-lock.json');
if (!existsSync(stamp) || readFileSync(stamp, 'utf8') !== lock) {
  console.error('snapferry: installing dependencies (npm ci)');
  run(['ci', '--ignore-scripts', '--no-audit', '--no-fund']);
  writeFileSync(stamp, lock);
}

function newestSource(entry) {
  const stat = statSync(entry);
  if (!stat.isDirectory()) return stat.mtimeMs;
  return Math.max(stat.mtimeMs, ...readdirSync(entry).map((name) => newestSource(path.join(entry, name))));
}
const sources = [
  'src',
  'workflows',
  'activities',
  'worker',
  'stack',
  'demo',
  'bench',
  'tsconfig.json',
  'tsconfig.build.json',
];
const built = 'lib/workflow-bundle.js';
if (!existsSync(built) || statSync(built).mtimeMs < Math.max(...sources.filter(existsSync).map(newestSource))) {
  console.error('snapferry: building');
  run(['run', '--silent', 'build']);
}
