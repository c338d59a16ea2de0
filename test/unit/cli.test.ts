import { execFile } from 'node:child_process';
import { rmSync, symlinkSync } from 'node:fs';
import { appendFile, cp, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { EvidenceFile } from '../../src/cli/evidence';
import { inspect } from '../../src/cli/inspect';
import { main } from '../../src/cli/main';
import { unfreeze } from '../../src/cli/unfreeze';

jest.mock('../../src/cli/inspect', () => ({ inspect: jest.fn() }));
jest.mock('../../src/cli/unfreeze', () => ({ unfreeze: jest.fn() }));
const inspected = jest.mocked(inspect);
const unfrozen = jest.mocked(unfreeze);

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'snapferry-cli-'));
});
afterAll(() => rm(folder, { recursive: true }));
beforeEach(() => jest.resetAllMocks());

/** Runs a command as a shell would, in this process. */
async function snapferry(
  args: readonly string[],
  env: Record<string, string> = {},
  interruption = new AbortController().signal,
) {
  const out: string[] = [];
  const err: string[] = [];
  const code = await main(args, {
    version: '1.2.3',
    env,
    out: (line) => out.push(line),
    err: (line) => err.push(line),
    interruption: () => interruption,
  });
  return { code, out: out.join('\n'), err };
}

const COMMANDS = ['worker', 'check', 'inspect', 'copy', 'audit', 'policies', 'unfreeze'];

describe('the command line', () => {
  it('tells its version, and its commands for --help, -h and help', async () => {
    expect(await snapferry(['--version'])).toMatchObject({ code: 0, out: '1.2.3' });
    for (const ask of ['--help', '-h', 'help']) {
      const { code, out } = await snapferry([ask]);
      expect(code).toBe(0);
      for (const command of COMMANDS) expect(out).toMatch(new RegExp(`^  ${command} `, 'm'));
    }
  });

  it.each(COMMANDS)('%s --help shows its usage and an example', async (command) => {
    for (const ask of [['--help'], ['-h'], ['x', '--nonsense', '--help']]) {
      const { code, out } = await snapferry([command, ...ask]);
      expect(code).toBe(0);
      expect(out).toMatch(new RegExp(`^snapferry ${command}`));
      expect(out).toMatch(new RegExp(`\nExamples:\n  .*npx snapferry ${command}`));
    }
  });

  it.each([
    [[], 'name a command: see snapferry --help'],
    [['insepct'], "there is no command 'insepct': see snapferry --help"],
    [['constructor'], "there is no command 'constructor': see snapferry --help"],
    [['inspect'], 'inspect needs STORE: see snapferry inspect --help'],
    [['inspect', 'a', 'b'], "inspect does not take 'b': see snapferry inspect --help"],
    [['inspect', 'a', '--jsno'], "Unknown option '--jsno': see snapferry inspect --help"],
    [['inspect', 'a', '--snapshot'], "Option '--snapshot <value>' argument missing: see snapferry inspect --help"],
    [['inspect', 'a', '--snapshot', '--json'], /^snapferry: Option '--snapshot' argument is ambiguous/],
    [['inspect', 'a', '--json=yes'], /^snapferry: Option '--json' does not take an argument: see/],
    [['copy', 'a', 'b'], 'copy needs either --snapshot NAME or --all: see snapferry copy --help'],
    [
      ['copy', 'a', 'b', '--all', '--snapshot', 'x'],
      'copy needs either --snapshot NAME or --all: see snapferry copy --help',
    ],
    [
      ['copy', 'a', 'b', '--all', '--bytes-per-second', '10MB'],
      '--bytes-per-second must be a whole number of bytes, such as 50000000',
    ],
    [['unfreeze'], 'unfreeze needs PLAN: see snapferry unfreeze --help'],
    [
      ['policies', 'plan.json', '--domain', 'old'],
      '--domain must be CLUSTER=ARN, such as old=arn:aws:es:us-east-1:123456789012:domain/old',
    ],
    [['worker', '--role', 'king'], '--role must be one of control, transfer, all'],
    [['worker', 'now'], "worker does not take 'now': see snapferry worker --help"],
  ])('%j is a wrong call: one line on stderr, exit code 2', async (args, message) => {
    const { code, out, err } = await snapferry(args);
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err).toEqual([typeof message === 'string' ? `snapferry: ${message}` : expect.stringMatching(message)]);
  });
});

describe('inspect', () => {
  it('opens dir:PATH without any connections file, and passes every option on', async () => {
    const args = ['--base-path', '/a/b/', '--snapshot', 'nightly', '--manifest', '--json'];
    expect((await snapferry(['inspect', `dir:${folder}`, ...args])).code).toBe(0);
    const [store, options] = inspected.mock.calls[0] ?? [];
    expect(store?.description).toBe(`dir:${folder}`);
    expect(options).toEqual({ basePath: 'a/b', snapshot: 'nightly', manifest: true, json: true });
  });

  it('without options asks for the list at the root, and prints what it is told', async () => {
    inspected.mockImplementation(async (_store, _options, write) => write('one line'));
    expect(await snapferry(['inspect', `dir:${folder}`])).toEqual({ code: 0, out: 'one line', err: [] });
    expect(inspected.mock.calls[0]?.[1]).toEqual({ basePath: '', manifest: false, json: false });
  });

  it('finds a name in the connections file', async () => {
    const file = path.join(folder, 'connections.yaml');
    await writeFile(file, `stores: { laptop: { type: directory, path: ${folder} } }`);
    expect((await snapferry(['inspect', 'laptop'], { SNAPFERRY_CONFIG: file })).code).toBe(0);
    expect(inspected.mock.calls[0]?.[0].description).toBe(`dir:${folder}`);
    expect(await snapferry(['inspect', 'phone'], { SNAPFERRY_CONFIG: file })).toMatchObject({
      code: 1,
      err: ["snapferry: The connections file has no store 'phone': it knows laptop"],
    });
  });
});

describe('copy', () => {
  const place = (name: string) => `dir:${path.join(folder, 'copy', name)}`;
  const state = () => path.join(folder, 'copy/state');
  const copy = (...args: string[]) => snapferry(['copy', ...args], { XDG_STATE_HOME: state() });
  beforeEach(async () => {
    await mkdir(path.join(folder, 'copy/from/inside'), { recursive: true });
    await mkdir(path.join(folder, 'copy/to'));
    await writeFile(path.join(folder, 'copy/from/a'), 'some bytes');
  });
  afterEach(() => rm(path.join(folder, 'copy'), { recursive: true }));

  it('onto itself is refused, however the place is written', async () => {
    const same = 'snapferry: SRC and DST are the same place: name another DST, or a --target-base-path';
    for (const args of [
      [place('from'), place('from'), '--all'],
      [place('from'), place('to/../from/'), '--snapshot', 'a'],
      [place(''), place('from'), '--all', '--base-path', '/from/', '--target-base-path', ''],
      ['s3-old', 's3-old', '--all', '--base-path', 'a', '--target-base-path', 'a/'],
    ]) {
      expect(await copy(...args)).toEqual({ code: 2, out: '', err: [same] });
    }
  });

  it('of a whole prefix into itself is refused: each run would copy the copy', async () => {
    const inside = 'snapferry: DST lies inside SRC, where --all would copy the copy again: name a place outside';
    for (const args of [
      [place('from'), place('from/inside'), '--all'],
      ['s3-old', 's3-old', '--all', '--target-base-path', 'backup'],
    ]) {
      expect(await copy(...args)).toEqual({ code: 2, out: '', err: [inside] });
    }
    expect(await copy(place('from'), place('to'), '--all', '--target-base-path', 'from')).toMatchObject({ code: 0 });
  });

  it('says where it cannot note what it proves, and what to do', async () => {
    await writeFile(state(), 'a file where a folder belongs');
    const { code, err } = await copy(place('from'), place('to'), '--all');
    expect(code).toBe(1);
    expect(err).toEqual([
      expect.stringMatching(/^snapferry: What is proved can not be noted: .*XDG_STATE_HOME.* \[file=.*code=E\w+\]$/),
    ]);
    expect(await readdir(path.join(folder, 'copy/to'))).toEqual([]);
    expect(await copy(place('from'), place('to'), '--all', '--dry-run')).toMatchObject({ code: 0 });
  });

  it('that is interrupted ends with 1, and says how far it came and how to go on', async () => {
    await writeFile(path.join(folder, 'copy/from/large file'), Buffer.alloc(64 * 1024));
    const args = [place('from'), place('to'), '--all', '--bytes-per-second', '10'];
    const interruption = new AbortController();
    const copying = snapferry(['copy', ...args], { XDG_STATE_HOME: state() }, interruption.signal);
    while (!(await readdir(path.join(folder, 'copy/to'))).includes('a')) await sleep(5);
    interruption.abort(new Error('interrupted'));
    expect(await copying).toEqual({
      code: 1,
      out: '',
      err: [
        expect.stringMatching(
          /^snapferry: interrupted after [01] blobs? \(\d+ B\) of 2 blobs \(.*\): run it again, it goes on where it stopped: /,
        ),
      ],
    });
    const before = new AbortController();
    before.abort(new Error('interrupted'));
    const { err } = await snapferry(['copy', ...args, '--base-path', 'in side'], {}, before.signal);
    const again = `npx snapferry copy ${args.join(' ')} --base-path 'in side'`;
    expect(err).toEqual([
      expect.stringContaining(`before anything was copied: run it again, it goes on where it stopped: ${again}`),
    ]);
  });

  describe('notes of uploads', () => {
    const UPLOAD = { file: 'f', key: 'f', partBytes: 8, sourceEtag: 'e' };
    const part = { number: 1, length: 8, etag: 'p', crc32: 1 };
    const file = () => path.join(state(), 'copies.jsonl');
    const opened = () => {
      const evidence = new EvidenceFile(file());
      evidence.read();
      evidence.open(() => undefined);
      return evidence;
    };
    const noted = async (pid: number, host = os.hostname()) => {
      const evidence = opened();
      evidence.note({ ...UPLOAD, uploadId: 'u', parts: [] }, false);
      await evidence.close();
      const line = JSON.parse(await readFile(file(), 'utf8')) as object;
      await writeFile(file(), `${JSON.stringify({ ...line, pid, host })}\n`);
    };

    it('hold what an upload is made of before the store is told to complete it, whenever the run is killed', async () => {
      const evidence = opened();
      evidence.note({ ...UPLOAD, uploadId: 'u', parts: [] }, false);
      evidence.note({ ...UPLOAD, uploadId: 'u', parts: [part] }, true);
      // Not closed: what was written is all that a killed run leaves.
      const next = opened();
      expect(next.cursorOf('f')).toEqual({ ...UPLOAD, uploadId: 'u', parts: [part] });
      expect(next.begun()).toEqual([expect.objectContaining({ key: 'f', uploadId: 'u' })]);
      const proof = { key: 'f', length: 2 ** 30, crc32: 1, footerCrc32: null, checksum: undefined };
      next.add({ ...proof, etag: 'e', requestId: undefined });
      expect(next.begun()).toEqual([]);
      await next.close();
      await evidence.close();
      const last = opened();
      expect([last.cursorOf('f'), last.begun(), last.isProved('f')]).toEqual([undefined, [], true]);
      await last.close();
    });

    it('tell a run that is alive from one that is not', async () => {
      const child = execFile(process.execPath, ['-e', 'setInterval(() => 0, 1000)']);
      const exited = new Promise((resolve) => child.once('exit', resolve));
      await noted(child.pid!);
      expect(new EvidenceFile(file()).isHeldByOther('u')).toBe(true);
      child.kill('SIGKILL');
      await exited;
      expect(new EvidenceFile(file()).isHeldByOther('u')).toBe(false);
      expect(new EvidenceFile(file()).isHeldByOther('another')).toBe(false);
      await noted(child.pid!, 'another-host');
      expect(new EvidenceFile(file()).isHeldByOther('u')).toBe(true);
    });
  });

  it('rewrites notes that say something twice, or end in half a line, and leaves others as they are', async () => {
    const file = path.join(state(), 'copies.jsonl');
    const run = async (...keys: string[]) => {
      const evidence = new EvidenceFile(file);
      evidence.read();
      evidence.open(() => undefined);
      for (const key of keys) evidence.add({ key, length: 1, crc32: 1, etag: 'e', requestId: undefined } as never);
      await evidence.close();
      const { ino } = await stat(file);
      return {
        ino,
        keys: (await readFile(file, 'utf8'))
          .trimEnd()
          .split('\n')
          .map((line) => line.slice(8, 9)),
      };
    };
    const first = await run('a', 'b');
    const second = await run('a');
    expect(second).toEqual({ ino: first.ino, keys: ['a', 'b', 'a'] });
    const third = await run('c');
    expect(third.ino).not.toBe(second.ino);
    expect(third.keys).toEqual(['a', 'b', 'c']);
    await appendFile(file, '{"key":"d');
    expect((await run('e')).keys).toEqual(['a', 'b', 'c', 'e']);
  });

  it('goes on when the disk of its notes fills up on the way, and says so once', async () => {
    const file = path.join(state(), 'copies.jsonl');
    const evidence = new EvidenceFile(file);
    const told: Error[] = [];
    evidence.open((error) => told.push(error));
    rmSync(file); // before the stream has opened it
    symlinkSync('/dev/full', file);
    const proof = { key: 'k', length: 2 ** 30, crc32: 1, etag: 'e', requestId: undefined } as never;
    evidence.add(proof);
    while (told.length === 0) await sleep(5);
    evidence.add(proof);
    await evidence.close();
    expect(told.map(({ message }) => message)).toEqual([expect.stringMatching(/^What is proved can not be noted/)]);
  });
});

describe('audit', () => {
  let env: Record<string, string>;
  const place = (name: string) => `dir:${path.join(folder, 'audit', name)}`;
  const put = async (key: string, content: string) => {
    await mkdir(path.dirname(path.join(folder, 'audit', key)), { recursive: true });
    await writeFile(path.join(folder, 'audit', key), content);
  };
  beforeEach(async () => {
    env = { XDG_STATE_HOME: path.join(folder, 'audit/state') };
    await put('from/indices/a/0/__0', 'some bytes');
    await put('from/notes.txt', 'more bytes');
    await mkdir(path.join(folder, 'audit/to'), { recursive: true });
  });
  afterEach(() => rm(path.join(folder, 'audit'), { recursive: true }));

  it('of a copy says of each blob how it is known to be whole, and ends with 0', async () => {
    expect(await snapferry(['copy', place('from'), place('to'), '--all'], env)).toMatchObject({ code: 0 });
    const args = ['audit', place('from'), place('to'), '--all'];
    expect(await snapferry(args, env)).toEqual({
      code: 0,
      err: [],
      out: [
        '= indices/a/0/__0  (unchanged since it was proved)',
        '= notes.txt  (unchanged since it was proved)',
        '2 blobs (20 B) whole',
      ].join('\n'),
    });
    const nobodyProved = await snapferry(args, { XDG_STATE_HOME: folder });
    expect(nobodyProved.out).toContain(
      '= notes.txt  (length only)\n2 blobs (20 B) whole, 2 of them by length only (--deep reads them)',
    );
    const deep = await snapferry([...args, '--deep'], { XDG_STATE_HOME: folder });
    expect(deep.out).toBe('= indices/a/0/__0\n= notes.txt\n2 blobs (20 B) whole');
  });

  it('of a damaged copy names the damage, and ends with 1', async () => {
    await put('to/notes.txt', 'mere bytes');
    await put('to/stray\n', 'x');
    expect(await snapferry(['audit', place('from'), place('to'), '--all', '--deep'], env)).toEqual({
      code: 1,
      out: [
        '- indices/a/0/__0  (not in the target)',
        '* notes.txt  (expected crc32:03a5ed89, holds crc32:968b6717)',
        '+ "stray\\n"  (belongs to nothing)',
        '0 blobs (0 B) whole; 1 blob (10 B) missing, 1 blob (10 B) different; 1 blob (1 B) there belong to nothing',
      ].join('\n'),
      err: ['snapferry: the target is not whole: 1 blob (10 B) missing, 1 blob (10 B) different'],
    });
  });

  it('speaks JSON to programs, with a summary at the end', async () => {
    await put('to/notes.txt', 'more bytes');
    const { code, out } = await snapferry(['audit', place('from'), place('to'), '--all', '--deep', '--json'], env);
    expect(code).toBe(1);
    expect(out.split('\n').map((line) => JSON.parse(line))).toEqual([
      { sign: '-', key: 'indices/a/0/__0', length: 10, why: 'not in the target' },
      { sign: '=', key: 'notes.txt', length: 10, proof: 'bytes' },
      {
        summary: {
          whole: false,
          signs: {
            '=': { blobs: 1, bytes: 10 },
            '*': { blobs: 0, bytes: 0 },
            '-': { blobs: 1, bytes: 10 },
            '+': { blobs: 0, bytes: 0 },
            '!': { blobs: 0, bytes: 0 },
          },
          proofs: { bytes: 1 },
        },
      },
    ]);
  });

  it('needs no source where there is evidence', async () => {
    await snapferry(['copy', place('from'), place('to'), '--all'], env);
    const [file] = await readdir(path.join(folder, 'audit/state/snapferry/copies'));
    const evidence = path.join(folder, 'audit/state/snapferry/copies', file!);
    await rm(path.join(folder, 'audit/from'), { recursive: true });
    const args = ['audit', place('to'), '--evidence', evidence, '--deep'];
    expect(await snapferry(args, env)).toMatchObject({ code: 0 });
    await put('to/notes.txt', 'mere bytes');
    expect(await snapferry(args, env)).toMatchObject({ code: 1, out: expect.stringMatching(/^\* notes\.txt/m) });
    expect(await snapferry(['audit', place('to'), '--round', 'last'], env)).toEqual({
      code: 1,
      out: '',
      err: [expect.stringContaining('No migration wrote to this place')],
    });
  });

  it.each([
    [['dir:a'], 'audit needs DST: see snapferry audit --help'],
    [['dir:a', 'dir:b', '--round', '1'], "audit does not take 'dir:b': see snapferry audit --help"],
    [['dir:b', '--round', 'first'], "--round must be a number, or 'last'"],
    [['dir:b', '--evidence', 'nowhere'], 'there is no evidence in nowhere'],
    [['dir:a', 'dir:b', '--all', '--snapshot', 's'], 'audit takes one of --snapshot, --all'],
  ])('%j is called wrongly', async (args, message) => {
    expect(await snapferry(['audit', ...args])).toEqual({
      code: 2,
      out: '',
      err: [expect.stringContaining(message)],
    });
  });
});

describe('unfreeze', () => {
  it('gets the plan file and the connections', async () => {
    const file = path.join(folder, 'empty.yaml');
    await writeFile(file, '');
    expect((await snapferry(['unfreeze', 'plan.json'], { SNAPFERRY_CONFIG: file })).code).toBe(0);
    expect(unfrozen.mock.calls[0]?.[0]).toBe('plan.json');
  });

  it('without a connections file says what is missing', async () => {
    const { code, err } = await snapferry(['unfreeze', 'plan.json']);
    expect(code).toBe(1);
    expect(err).toEqual([expect.stringMatching(/^snapferry: SNAPFERRY_CONFIG is not set/)]);
  });
});

describe('a plan file', () => {
  it.each([
    ['that is not there', undefined, /cannot be read \(ENOENT\).*\[file=.*plan-0\.json\]/],
    ['that is no JSON', '{"source": "a",', /^snapferry: The plan is not JSON: .*\[file=.*plan-1\.json\]/],
  ])('%s is named, with the reason', async (_, contents, said) => {
    const plan = path.join(folder, `plan-${contents === undefined ? 0 : 1}.json`);
    if (contents !== undefined) await writeFile(plan, contents);
    const connections = path.join(folder, 'none.yaml');
    await writeFile(connections, '');
    const { code, err } = await snapferry(['policies', plan], { SNAPFERRY_CONFIG: connections });
    expect(code).toBe(1);
    expect(err).toEqual([expect.stringMatching(said)]);
  });
});

describe('a failure', () => {
  const failing = (env: Record<string, string>) => {
    inspected.mockRejectedValue(new Error('first line\n  second line'));
    return snapferry(['inspect', `dir:${folder}`], env);
  };

  it('is one line on stderr without a stack, exit code 1', async () => {
    expect(await failing({})).toEqual({ code: 1, out: '', err: ['snapferry: first line second line'] });
  });

  it('shows its stack with SNAPFERRY_DEBUG=1', async () => {
    const { err } = await failing({ SNAPFERRY_DEBUG: '1' });
    expect(err[1]).toMatch(/\n +at .*cli\.test\.ts/);
  });
});

describe('bin/snapferry.js', () => {
  const bin = path.join(__dirname, '../../bin/snapferry.js');
  const runFile = promisify(execFile);

  it('says in a sentence that it is not built', async () => {
    await mkdir(path.join(folder, 'bin'));
    await cp(bin, path.join(folder, 'bin/snapferry.js'));
    await expect(runFile(process.execPath, [path.join(folder, 'bin/snapferry.js')])).rejects.toMatchObject({
      code: 1,
      stderr: 'snapferry: it is not built yet: run npm ci in the checkout, then npm run build\n',
    });
  });

  it('built, ends with the exit code of the command', async () => {
    const { version } = jest.requireActual<{ version: string }>('../../package.json');
    expect((await runFile(process.execPath, [bin, '--version'])).stdout).toBe(`${version}\n`);
    await expect(runFile(process.execPath, [bin, 'nonsense'])).rejects.toMatchObject({ code: 2 });
  });

  it('is content when nobody reads its output any more', async () => {
    const command = `(sleep 0.2; "${process.execPath}" "${bin}" --help) | true; exit "\${PIPESTATUS[0]}"`;
    await expect(runFile('bash', ['-c', command])).resolves.toMatchObject({ stderr: '' });
  });
});
