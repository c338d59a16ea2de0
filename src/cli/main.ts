import { createRequire } from 'node:module';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { parseArgs, types } from 'node:util';
import type { ParseArgsConfig } from 'node:util';
import { loadConfig } from '../config';
import type { openDirectory as OpenDirectory, openStore as OpenStore } from '../storage';
import type { Store } from '../storage/store';
import type { audit as Audit, AuditCommand } from './audit';
import type { check as Check } from './check';
import type { copy as Copy } from './copy';
import type { evidenceFileOf as EvidenceFileOf } from './evidence';
import type { inspect as Inspect } from './inspect';
import type { policies as Policies } from './policies';
import type { unfreeze as Unfreeze } from './unfreeze';

/**
 * The commands. Exit codes: 0 done, 1 failed, 2 called wrongly. Errors are one line on stderr; with SNAPFERRY_DEBUG=1
 * the stack follows.
 */

/** What a command needs of the process it runs in. */
export interface Terminal {
  readonly version: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  out(line: string): void;
  err(line: string): void;
  /** Rewrites the last line of a terminal; undefined where nobody watches. */
  readonly live?: (line: string) => void;
  /** Aborted by the first Ctrl-C; the second ends the process. Asked for by commands that clean up nothing else. */
  interruption(): AbortSignal;
}

/**
 * Modules are loaded when a command needs them: `--help` does not wait for the AWS SDK, and `src` compiles without
 * Temporal, which only the worker knows.
 */
const load = createRequire(__filename);

/** Called wrongly: exit code 2. */
class UsageError extends Error {}

/** Runs one command and gives its exit code. */
export async function main(args: readonly string[], terminal: Terminal): Promise<number> {
  try {
    return await run(args, terminal);
  } catch (error) {
    terminal.err(`snapferry: ${oneLine(error)}`);
    if (terminal.env['SNAPFERRY_DEBUG'] === '1' && types.isNativeError(error)) terminal.err(error.stack ?? '');
    return error instanceof UsageError ? 2 : 1;
  }
}

function oneLine(error: unknown): string {
  const text = types.isNativeError(error) ? error.message || error.name : String(error);
  return text.replace(/\s*\n\s*/g, ' ').trim();
}

async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  const [name, ...rest] = args;
  if (name === '--version') return said(terminal, terminal.version);
  if (name === '--help' || name === '-h' || name === 'help') return said(terminal, helpOfAll());
  if (name === undefined) throw new UsageError('name a command: see snapferry --help');
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command === undefined) throw new UsageError(`there is no command '${name}': see snapferry --help`);
  if (rest.includes('--help') || rest.includes('-h')) return said(terminal, helpOf(command));
  await command.run(parse(name, command, rest), terminal);
  return 0;
}

function said(terminal: Terminal, text: string): number {
  terminal.out(text);
  return 0;
}

// --- The commands ---------------------------------------------------------------------------------------------------

interface Command {
  readonly usage: string;
  readonly summary: string;
  readonly details: readonly string[];
  readonly examples: readonly string[];
  readonly options?: ParseArgsConfig['options'];
  /** Names of the positional arguments, all of them required; with some options they are others. */
  readonly takes?: readonly string[] | ((values: Given['values']) => readonly string[]);
  readonly run: (given: Given, terminal: Terminal) => Promise<void>;
}

interface Given {
  readonly values: Readonly<Record<string, unknown>>;
  readonly positionals: readonly string[];
  /** All of them, as they were typed. */
  readonly args: readonly string[];
}

const ROLES = ['control', 'transfer', 'all'];

const COMMANDS: Readonly<Record<string, Command>> = {
  worker: {
    usage: 'worker [--role control|transfer|all]',
    summary: 'run a worker until it is told to stop',
    details: [
      '--role ROLE   control: workflows and short steps; transfer: copies blobs;',
      '              all (default): both, as two processes',
      '',
      'Reads SNAPFERRY_CONFIG, and TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE and the like as the Temporal CLI does.',
    ],
    examples: ['SNAPFERRY_CONFIG=connections.yaml npx snapferry worker', 'npx snapferry worker --role transfer'],
    options: { role: { type: 'string', default: 'all' } },
    run: runWorkerCommand,
  },
  check: {
    usage: 'check PLAN [--export DIR] [--json]',
    summary: 'preflight a plan without Temporal',
    details: [
      'PLAN     the JSON file that a migration would be started with',
      '--json   one JSON object: findings (check, verdict, subject, seen, remedy), indices, excluded, estimate',
      '--export DIR',
      '         writes what does not come along and the target lacks or has otherwise: templates, pipelines, policies and',
      '         stored scripts, a JSON file each, ready for the PUT that DIR/index.txt names',
      '',
      'Checks what a migration checks before it touches anything, and lists what was found: ok, warning, refused.',
      'Ends with 1 when something would keep the migration from starting. Nothing is changed; the target store sees one',
      'object that is written and deleted again.',
    ],
    examples: [
      'SNAPFERRY_CONFIG=connections.yaml npx snapferry check plan.json',
      'npx snapferry check plan.json --json',
      'npx snapferry check plan.json --export definitions',
    ],
    options: { json: { type: 'boolean', default: false }, export: { type: 'string' } },
    takes: ['PLAN'],
    run: runCheck,
  },
  inspect: {
    usage: 'inspect STORE [--base-path PATH] [--snapshot NAME] [--manifest] [--json]',
    summary: 'show what a snapshot repository consists of',
    details: [
      'STORE              a name from the connections file, or dir:PATH, which needs no such file',
      '--base-path PATH   where the repository lies in the store (default: its root)',
      '--snapshot NAME    one snapshot: its indices, and its blobs by phase',
      '--manifest         every blob that the snapshot needs, with length and CRC32',
      '--json             one JSON object per line, for programs',
    ],
    examples: [
      'npx snapferry inspect dir:/srv/snapshots --base-path movies',
      'npx snapferry inspect s3-singapore --base-path snapferry/movies --snapshot nightly',
      'npx snapferry inspect s3-singapore --base-path snapferry/movies --snapshot nightly --manifest --json',
    ],
    options: {
      'base-path': { type: 'string', default: '' },
      snapshot: { type: 'string' },
      manifest: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
    },
    takes: ['STORE'],
    run: runInspect,
  },
  copy: {
    usage: 'copy SRC DST (--snapshot NAME | --all) [--base-path PATH] [--target-base-path PATH] [--dry-run]',
    summary: 'copy a repository from one store to another',
    details: [
      'SRC, DST                  names from the connections file, or dir:PATH, which needs no such file',
      '--snapshot NAME           one snapshot and everything it needs, from its own metadata',
      '--all                     everything below the base path, for what is not a readable repository too',
      '--base-path PATH          where the repository lies in both stores (default: their roots)',
      '--target-base-path PATH   where it is to lie in DST, if that is another place',
      '--bytes-per-second N      no faster than that',
      '--dry-run                 say what would be copied, and copy nothing',
      '',
      'Every blob is proved on its way. Run again after anything, it goes on where it was: what was proved is noted',
      'below XDG_STATE_HOME (~/.local/state), and uploads that were under way are gone on with. Ctrl-C ends it with 1,',
      'and says how far it came.',
      'Nothing is deleted in DST. What is referred to is written before what refers to it, index-N last.',
    ],
    examples: [
      'npx snapferry copy s3-singapore oss-hangzhou --base-path snapferry/movies --snapshot nightly',
      'npx snapferry copy dir:/srv/snapshots s3-archive --target-base-path 2026 --all --dry-run',
    ],
    options: {
      snapshot: { type: 'string' },
      all: { type: 'boolean', default: false },
      'base-path': { type: 'string', default: '' },
      'target-base-path': { type: 'string' },
      'bytes-per-second': { type: 'string' },
      'dry-run': { type: 'boolean', default: false },
    },
    takes: ['SRC', 'DST'],
    run: runCopy,
  },
  audit: {
    usage: 'audit (SRC DST [--snapshot NAME | --all] | DST (--round N|last | --evidence FILE)) [--deep] [--json]',
    summary: 'prove that a store holds a whole copy',
    details: [
      'SRC, DST                  names from the connections file, or dir:PATH, which needs no such file',
      '--snapshot NAME           what one snapshot of SRC needs; without it: what every snapshot there needs',
      '--all                     everything below the base path of SRC, for what is not a readable repository too',
      '--round N                 what round N of the migration to DST wrote down, or the last one; needs no SRC',
      '--migration ID            which one, by workflow id or first run id, if several wrote to DST',
      '--work PREFIX             where that migration keeps its work files in DST (default: snapferry-work)',
      '--evidence FILE           what a copy to DST wrote down; needs no SRC',
      '--base-path PATH          where the repository lies in both stores (default: their roots)',
      '--target-base-path PATH   where it lies in DST, if that is another place',
      '--deep                    read every byte in DST',
      '--bytes-per-second N      no faster than that',
      '--json                    one JSON object per line, the last one a summary',
      '',
      'One line for each blob, by key:',
      '  =  whole: the right length, and the checksum that the store itself has of it is the right one. Where the store',
      '     tells none, metadata is read, and of data it is said: (unchanged since it was proved) where the etag is that',
      '     of a recorded proof, else (length only). With --deep: its bytes have the right checksum',
      '  *  differs, and in what     -  missing     +  there, and belongs to nothing     !  not readable, and why',
      '',
      'Ends with 1 when anything is missing, different or not readable. Nothing is written. What `snapferry copy` noted of',
      'the same places is used.',
    ],
    examples: [
      'npx snapferry audit s3-singapore oss-hangzhou --base-path snapferry/movies --snapshot nightly',
      'npx snapferry audit oss-hangzhou --base-path snapferry/movies --round last --deep',
      'npx snapferry audit dir:/srv/snapshots s3-archive --target-base-path 2026 --all --json',
    ],
    options: {
      snapshot: { type: 'string' },
      all: { type: 'boolean', default: false },
      round: { type: 'string' },
      migration: { type: 'string' },
      work: { type: 'string', default: 'snapferry-work' },
      evidence: { type: 'string' },
      'base-path': { type: 'string', default: '' },
      'target-base-path': { type: 'string' },
      deep: { type: 'boolean', default: false },
      'bytes-per-second': { type: 'string' },
      json: { type: 'boolean', default: false },
    },
    takes: (values) => (isByEvidence(values) ? ['DST'] : ['SRC', 'DST']),
    run: runAudit,
  },
  policies: {
    usage: 'policies PLAN [--domain CLUSTER=ARN] [--json]',
    summary: 'print the permissions that a plan needs',
    details: [
      'PLAN                   the JSON file that a migration would be started with',
      '--domain CLUSTER=ARN   the Amazon domain behind a cluster whose url does not tell it; once for each',
      '--json                 one JSON object: policies (name, holder, kind, document, neededFor)',
      '',
      'The least that IAM and RAM have to permit: to who signs requests to a domain, to the roles by which clusters reach',
      'their repositories, and to the worker. Beside each statement stand the calls that need it. Nobody is asked.',
    ],
    examples: [
      'SNAPFERRY_CONFIG=connections.yaml npx snapferry policies plan.json',
      'npx snapferry policies plan.json --domain vpc-old=arn:aws:es:us-east-1:123456789012:domain/old --json',
    ],
    options: { domain: { type: 'string', multiple: true, default: [] }, json: { type: 'boolean', default: false } },
    takes: ['PLAN'],
    run: runPolicies,
  },
  unfreeze: {
    usage: 'unfreeze PLAN',
    summary: 'unblock the source without Temporal, when no worker is alive',
    details: [
      'PLAN   the JSON file that the migration was started with',
      '',
      'Undoes exactly what the record of the freeze says. Refuses after the cutover was committed, unless a rollback',
      'was stopped: one that was decided goes back, of any other the target is opened again.',
    ],
    examples: ['SNAPFERRY_CONFIG=connections.yaml npx snapferry unfreeze plan.json'],
    takes: ['PLAN'],
    run: runUnfreeze,
  },
};

async function runWorkerCommand({ values }: Given): Promise<void> {
  const role = String(values['role']);
  if (!ROLES.includes(role)) throw new UsageError(`--role must be one of ${ROLES.join(', ')}`);
  const entry = load(path.join(__dirname, '../../worker/main.js')) as { runWorker(o: { role: string }): Promise<void> };
  await entry.runWorker({ role });
}

async function runInspect({ values, positionals }: Given, terminal: Terminal): Promise<void> {
  const { inspect } = load('./inspect') as { inspect: typeof Inspect };
  const { snapshot } = values;
  const options = {
    basePath: basePathOf(values['base-path']),
    ...(typeof snapshot === 'string' ? { snapshot } : {}),
    manifest: values['manifest'] === true,
    json: values['json'] === true,
  };
  const store = await storeOf(positionals[0] ?? '', terminal);
  await inspect(store, options, terminal.out, terminal.interruption());
}

async function runCopy({ values, positionals, args }: Given, terminal: Terminal): Promise<void> {
  const { copy } = load('./copy') as { copy: typeof Copy };
  const { evidenceFileOf } = load('./evidence') as { evidenceFileOf: typeof EvidenceFileOf };
  const { snapshot, all } = values;
  if ((typeof snapshot === 'string') === (all === true)) {
    throw new UsageError('copy needs either --snapshot NAME or --all: see snapferry copy --help');
  }
  const limits = bytesPerSecondOf(values['bytes-per-second']);
  refuseOwnSource(values, positionals);
  const { source, target } = await placesOf(values, positionals, terminal);
  const command = {
    source,
    target,
    ...(typeof snapshot === 'string' ? { snapshot } : {}),
    ...limits,
    dryRun: values['dry-run'] === true,
    evidence: evidenceFileOf(source, target, terminal.env),
    again: `npx snapferry copy ${args.map(quoted).join(' ')}`,
  };
  await copy(command, terminal, terminal.interruption());
}

/** A copy onto itself proves nothing, and one inside what is copied as a whole grows with every run. */
function refuseOwnSource(values: Given['values'], [from = '', to = '']: Given['positionals']): void {
  const basePath = basePathOf(values['base-path']);
  const source = placeOf(from, basePath);
  const target = placeOf(to, basePathOf(values['target-base-path'] ?? basePath));
  if (source === target) {
    throw new UsageError('SRC and DST are the same place: name another DST, or a --target-base-path');
  }
  if (values['all'] === true && target.startsWith(source)) {
    throw new UsageError('DST lies inside SRC, where --all would copy the copy again: name a place outside');
  }
}

/** Ends in a slash, so that what lies inside begins with it. */
function placeOf(given: string, basePath: string): string {
  const root = given.startsWith('dir:') ? `dir:${path.resolve(given.slice('dir:'.length))}` : given;
  return `${root}/${basePath === '' ? '' : `${basePath}/`}`;
}

async function runAudit({ values, positionals }: Given, terminal: Terminal): Promise<void> {
  const { audit } = load('./audit') as { audit: typeof Audit };
  const command: AuditCommand = {
    ...(await auditedOf(values, positionals, terminal)),
    ...bytesPerSecondOf(values['bytes-per-second']),
    deep: values['deep'] === true,
    json: values['json'] === true,
  };
  await audit(command, terminal, terminal.interruption());
}

function isByEvidence({ round, evidence }: Given['values']): boolean {
  return round !== undefined || evidence !== undefined;
}

async function auditedOf(
  values: Given['values'],
  positionals: Given['positionals'],
  terminal: Terminal,
): Promise<Pick<AuditCommand, 'target' | 'by'>> {
  const { snapshot, all, round, evidence } = values;
  const given = [snapshot !== undefined, all === true, round !== undefined, evidence !== undefined];
  if (given.filter(Boolean).length > 1) {
    throw new UsageError('audit takes one of --snapshot, --all, --round and --evidence: see snapferry audit --help');
  }
  if (!isByEvidence(values)) {
    const { evidenceFileOf } = load('./evidence') as { evidenceFileOf: typeof EvidenceFileOf };
    const { source, target } = await placesOf(values, positionals, terminal);
    const noted = { source, evidence: evidenceFileOf(source, target, terminal.env) };
    if (all === true) return { target, by: { kind: 'whole', ...noted } };
    return { target, by: { kind: 'snapshots', ...noted, ...(typeof snapshot === 'string' ? { snapshot } : {}) } };
  }
  const target = await targetOf(values, positionals[0], terminal);
  if (typeof evidence === 'string') {
    if (!existsSync(evidence)) throw new UsageError(`there is no evidence in ${evidence}`);
    return { target, by: { kind: 'evidence', evidence } };
  }
  const number = round === 'last' ? {} : { round: Number(round) };
  if (round !== 'last' && !/^\d+$/.test(String(round))) throw new UsageError("--round must be a number, or 'last'");
  const { migration } = values;
  const which = typeof migration === 'string' ? { migration } : {};
  return { target, by: { kind: 'round', work: basePathOf(values['work']), ...which, ...number } };
}

async function placesOf(values: Given['values'], [from, to]: Given['positionals'], terminal: Terminal) {
  const source = { store: await storeOf(from ?? '', terminal), basePath: basePathOf(values['base-path']) };
  return { source, target: await targetOf(values, to, terminal) };
}

async function targetOf(values: Given['values'], name: string | undefined, terminal: Terminal) {
  const basePath = basePathOf(values['target-base-path'] ?? values['base-path']);
  return { store: await storeOf(name ?? '', terminal), basePath };
}

function bytesPerSecondOf(given: unknown): { bytesPerSecond?: number } {
  if (given === undefined) return {};
  const bytesPerSecond = Number(given);
  if (Number.isSafeInteger(bytesPerSecond) && bytesPerSecond > 0) return { bytesPerSecond };
  throw new UsageError('--bytes-per-second must be a whole number of bytes, such as 50000000');
}

/** As plans write it: without a slash at either end. */
function basePathOf(given: unknown): string {
  return String(given).replace(/^\/+|\/+$/g, '');
}

/** A name from the connections file, or `dir:PATH`. */
async function storeOf(given: string, terminal: Terminal): Promise<Store> {
  const { openDirectory, openStore } = load('../storage') as {
    openDirectory: typeof OpenDirectory;
    openStore: typeof OpenStore;
  };
  if (given.startsWith('dir:')) return openDirectory(path.resolve(given.slice('dir:'.length)));
  return openStore((await loadConfig(terminal.env)).store(given));
}

async function runCheck({ values, positionals }: Given, terminal: Terminal): Promise<void> {
  const { check } = load('./check') as { check: typeof Check };
  const config = await loadConfig(terminal.env);
  const { export: exportTo } = values;
  const options = { json: values['json'] === true, ...(typeof exportTo === 'string' ? { exportTo } : {}) };
  await check(positionals[0] ?? '', config, options, terminal.out, terminal.interruption());
}

async function runPolicies({ values, positionals }: Given, terminal: Terminal): Promise<void> {
  const { policies } = load('./policies') as { policies: typeof Policies };
  const domains = (values['domain'] as readonly string[]).map((given) => {
    const [, cluster, arn] = /^([^=]+)=(arn:[^=]+)$/.exec(given) ?? [];
    if (cluster !== undefined && arn !== undefined) return [cluster, arn] as const;
    throw new UsageError('--domain must be CLUSTER=ARN, such as old=arn:aws:es:us-east-1:123456789012:domain/old');
  });
  const options = { json: values['json'] === true, domains: Object.fromEntries(domains) };
  await policies(positionals[0] ?? '', await loadConfig(terminal.env), options, terminal.out);
}

async function runUnfreeze({ positionals }: Given, terminal: Terminal): Promise<void> {
  const { unfreeze } = load('./unfreeze') as { unfreeze: typeof Unfreeze };
  const config = await loadConfig(terminal.env);
  await unfreeze(positionals[0] ?? '', config, terminal.out, terminal.interruption());
}

// --- Arguments and help ---------------------------------------------------------------------------------------------

function parse(name: string, { options = {}, takes: names = [] }: Command, args: readonly string[]): Given {
  const given = parseStrictly(name, options, args);
  const takes = typeof names === 'function' ? names(given.values) : names;
  const missing = takes[given.positionals.length];
  if (missing !== undefined) throw new UsageError(`${name} needs ${missing}: see snapferry ${name} --help`);
  const surplus = given.positionals[takes.length];
  if (surplus !== undefined) throw new UsageError(`${name} does not take '${surplus}': see snapferry ${name} --help`);
  return given;
}

/** As a shell is to be given it. */
function quoted(arg: string): string {
  return /^[\w@%+=:,./-]+$/.test(arg) ? arg : `'${arg.replaceAll("'", "'\\''")}'`;
}

function parseStrictly(name: string, options: NonNullable<Command['options']>, args: readonly string[]): Given {
  try {
    return { ...parseArgs({ args: [...args], options, allowPositionals: true, strict: true }), args };
  } catch (error) {
    // Its first sentence says what is wrong, the others teach about `--`.
    const [what = ''] = oneLine(error).split('. ');
    throw new UsageError(`${what.replace(/\.$/, '')}: see snapferry ${name} --help`);
  }
}

function helpOfAll(): string {
  const width = Math.max(...Object.keys(COMMANDS).map((name) => name.length));
  const lines = Object.entries(COMMANDS).map(([name, { summary }]) => `  ${name.padEnd(width)}   ${summary}`);
  return [
    'snapferry moves Elasticsearch indices through snapshot repositories.',
    '',
    'Usage: npx snapferry COMMAND',
    '',
    ...lines,
    '',
    'npx snapferry COMMAND --help   options and examples',
    'npx snapferry --version',
    '',
    "SNAPFERRY_CONFIG names the worker's connections file. SNAPFERRY_DEBUG=1 shows where an error came from.",
    'Exit codes: 0 done, 1 failed (of audit: not whole), 2 called wrongly.',
  ].join('\n');
}

function helpOf({ usage, summary, details, examples }: Command): string {
  return [
    `snapferry ${usage}`,
    '',
    `${summary.charAt(0).toUpperCase()}${summary.slice(1)}.`,
    ...(details.length === 0 ? [] : ['', ...details.map((line) => (line === '' ? '' : `  ${line}`))]),
    '',
    'Examples:',
    ...examples.map((example) => `  ${example}`),
  ].join('\n');
}

// --- The process ----------------------------------------------------------------------------------------------------

/** The entry of `bin/snapferry.js`. */
export function start(version: string): void {
  const [command] = process.argv.slice(2);
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') {
      process.stderr.write(`snapferry: the output cannot be written (${error.code})\n`);
      process.exit(1);
    }
    // `inspect ... | head`: nobody reads on, which is no error. A worker outlives the reader of its log.
    if (command !== 'worker') process.exit(0);
  });
  const terminal: Terminal = {
    version,
    env: process.env,
    out: (line) => process.stdout.write(`${line}\n`),
    err: (line) => process.stderr.write(`${line}\n`),
    ...(process.stderr.isTTY ? { live: (line: string) => process.stderr.write(`\r\u001b[2K${line}`) } : {}),
    interruption,
  };
  void main(process.argv.slice(2), terminal).then((code) => {
    // A worker may have set one already. Idle connections must not keep a finished command alive.
    process.exitCode = code === 0 ? process.exitCode : code;
    process.stdout.write('', () => process.exit());
  });
}

function interruption(): AbortSignal {
  const controller = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => controller.abort(new Error('interrupted')));
  }
  return controller.signal;
}
