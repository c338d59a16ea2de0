import { execFile } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { Ferry } from '../support/ferry';
import { testServers } from '../support/temporal';
import { http, Writers } from '../support/writers';

/** Two migrations that meet, and one that turns back. */

const { elasticsearch } = testServers();
const source = elasticsearch['5.5.2'] as string;
const target = elasticsearch['5.6.16'] as string;
const SNAPFERRY = path.join(__dirname, '../../bin/snapferry.js');
const APPROVAL = { who: 'the test', why: 'it looks right' };

let ferry: Ferry;
let worker: ChildProcess;
let writers: Writers;
beforeAll(async () => {
  ferry = await Ferry.create({ source, target, indices: ['second-none'] });
  worker = await ferry.startWorker();
});
afterAll(() => ferry.close());
beforeEach(() => {
  writers = new Writers(source, 5);
});

const write = (url: string, index: string) => http(`${url}/${index}/doc/late`, 'PUT', { n: 0 });
const into = (basePath: string) => ({
  repository: {
    source: { store: 'source-store', basePath: 'from' },
    target: { store: 'target-store', basePath },
  },
});

async function anIndex(name: string): Promise<string> {
  await writers.createIndex(name, { number_of_shards: 2 });
  await writers.bulk(name, 200);
  return name;
}

/** A migration of that index alone, to a base path of the same name, that has done its baseline. */
async function started(index: string, plan: Readonly<Record<string, unknown>> = {}): Promise<Ferry> {
  const one = ferry.beside({ indices: [index], ...into(index), ...plan });
  await one.start();
  await one.rounds(1);
  return one;
}

async function refusal(plan: Readonly<Record<string, unknown>>): Promise<string> {
  const second = ferry.beside(plan);
  await second.start();
  return second.failure();
}

test('a second migration to the same location, or of the same index, is refused naming the first; its claims are free when it was aborted', async () => {
  const index = await anIndex('second-meets');
  const first = await started(index);
  await anIndex('second-other');

  expect(await refusal({ indices: ['second-other'], ...into(index) })).toMatch(
    new RegExp(`location '${index}' belongs to migration '${first.id}' .*: choose another`),
  );
  expect(await refusal({ indices: [index], ...into('elsewhere') })).toMatch(
    new RegExp(`target index '${index}' belongs to migration '${first.id}' .*: choose another`),
  );
  expect((await first.status()).phase).not.toBe('parked');

  await first.signal('abort');
  expect(await first.failure()).toContain('The migration was aborted');
  // What an abort leaves is said, and removed by people.
  await http(`${target}/${index}`, 'DELETE');
  rmSync(path.join(ferry.files('target'), index), { recursive: true });
  const next = await started(index);
  await next.signal('abort');
  await next.failure();
});

test('abort between rounds leaves the source open, gives registrations and claims back, and says what remains', async () => {
  const index = await anIndex('second-aborted');
  const before = [await http(`${source}/_snapshot`), await http(`${target}/_snapshot`)];
  const one = await started(index);
  await one.signal('abort');
  const message = await one.failure();

  expect(message).toContain('Report: ');
  expect(message).toMatch(/1 restored indices stay on target target \(.*B\), blocked for writes: second-aborted/);
  expect(message).toMatch(/snapshots stay in the source repository, the newest snapferry-/);
  expect(message).toContain("The copied repository stays below 'second-aborted'");
  await write(source, index);
  await expect(write(target, index)).rejects.toThrow('403');
  expect([await http(`${source}/_snapshot`), await http(`${target}/_snapshot`)]).toEqual(before);
  expect(ferry.claims()).toEqual([]);
});

test('abort while approval is awaited opens the source again', async () => {
  const index = await anIndex('second-aborted-frozen');
  const one = await started(index, { cutover: { approval: true } });
  await one.signal('freeze-writes');
  await one.until((status) => status.phase === 'awaiting approval');
  await expect(write(source, index)).rejects.toThrow('403');
  await one.signal('abort');
  expect(await one.failure()).toContain('The migration was aborted');
  await write(source, index);
  await expect(write(target, index)).rejects.toThrow('403');
});

test('unfreeze-writes while approval is awaited opens the source, and a second freeze succeeds', async () => {
  const index = await anIndex('second-unfrozen');
  const one = await started(index, { cutover: { approval: true } });
  await one.signal('freeze-writes');
  await one.until((status) => status.phase === 'awaiting approval');
  await one.signal('unfreeze-writes', { by: 'the operator' });
  await one.until((status) => status.notes.some((note) => note.includes('freeze 1 released')));
  await expect(one.update('approve', APPROVAL)).rejects.toThrow();
  expect(await writers.bulk(index, 100)).toBe(true);

  await one.signal('freeze-writes');
  await one.until((status) => status.phase === 'awaiting approval');
  await one.update('approve', APPROVAL);
  const report = await one.result();
  expect(report.outcome).toBe('done');
  expect(await writers.differences(target)).toEqual([]);
  await expect(write(source, index)).rejects.toThrow('403');
  await write(target, index);
});

test.each<[string, (index: string) => Promise<unknown>, RegExp]>([
  ['wrote on', (index) => write(source, index), /is not blocked for writes on the source.*counts other operations/],
  [
    'blocked it again',
    (index) => http(`${source}/${index}/_settings`, 'PUT', { 'index.blocks.write': true }),
    /by snapferry unfreeze/,
  ],
])(
  'with no worker alive `snapferry unfreeze` undoes exactly the record, and when the owner %s the lease that wakes up does not commit',
  async (what, act, why) => {
    const open = await anIndex(`second-open-${what.length}`);
    const owned = await anIndex(`second-owned-${what.length}`);
    await http(`${source}/${owned}/_settings`, 'PUT', { 'index.blocks.write': true });
    const lonely = ferry.beside({ indices: [open, owned], ...into(open), cutover: { approval: true } });
    await lonely.start();
    await lonely.rounds(1);
    await lonely.signal('freeze-writes');
    await lonely.until((status) => status.phase === 'awaiting approval');
    await expect(write(source, open)).rejects.toThrow('403');
    await ferry.signalWorker(worker, 'SIGKILL');

    const plan = path.join(ferry.dir, 'plan.json');
    writeFileSync(plan, JSON.stringify(lonely.plan));
    const unfreeze = () =>
      promisify(execFile)(process.execPath, [SNAPFERRY, 'unfreeze', plan], { env: lonely.environment() });
    expect((await unfreeze()).stdout).toMatch(/released, 1 indices of source take writes again; 1 stay blocked/);
    const blocks = () => http(`${source}/${open},${owned}/_settings/index.blocks.*`);
    const blocked = { settings: { index: { blocks: { write: 'true' } } } };
    expect(await blocks()).toEqual({ [owned]: blocked });

    await act(open);
    const asTheOwnerLeftIt = await blocks();
    worker = await ferry.startWorker();
    await lonely.update('approve', APPROVAL);
    const { notes } = await lonely.until((status) => status.notes.some((note) => note.includes('freeze 1 released')));
    expect(notes.find((note) => note.includes('freeze 1 released'))).toMatch(why);
    expect(await blocks()).toEqual(asTheOwnerLeftIt);
    await expect(write(target, open)).rejects.toThrow('403');
    await lonely.signal('abort');
    await lonely.failure();
  },
);
