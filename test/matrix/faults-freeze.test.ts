import type { ChildProcess } from 'node:child_process';
import { stopAll } from '../../stack';
import { eventually } from '../support/fault-poll';
import { startFaultServers } from '../support/fault-servers';
import type { FaultServers } from '../support/fault-servers';
import { Ferry } from '../support/ferry';
import { SlowProxy } from '../support/slow-proxy';
import type { SeenRequest } from '../support/slow-proxy';
import { http, Writers } from '../support/writers';

/** Workers that die or sleep while they block and unblock the source: their successors begin after start-to-close. */

jest.setTimeout(600_000);

let all: FaultServers;
let source: string;
let target: string;
let proxy: SlowProxy;
let ferry: Ferry | undefined;
beforeAll(async () => {
  all = await startFaultServers();
  [source, target] = [all.source.url, all.target.url];
});
afterAll(() => stopAll());
beforeEach(async () => {
  proxy = await SlowProxy.before(source);
});
afterEach(async () => {
  await ferry?.close();
  await proxy.close();
});

const changesBlock = ({ method, path }: SeenRequest) => method === 'PUT' && /\/_settings/.test(path);
const readsBlock = ({ method, path }: SeenRequest) => method === 'GET' && /\/_settings/.test(path);
const refused = (url: string, index: string) =>
  http(`${url}/${index}/doc/probe`, 'PUT', { n: 0 }).then(
    () => undefined,
    () => true as const,
  );
const taken = async (url: string, index: string) => ((await refused(url, index)) === undefined ? true : undefined);

/** A migration of one index, in which the baseline is done, and its worker. */
async function begun(index: string, freezeAtMost: string, approval = false): Promise<[Ferry, Writers, ChildProcess]> {
  const writers = new Writers(source, 5);
  await writers.createIndex(index, { number_of_shards: 2 });
  await writers.bulk(index, 200);
  ferry = await Ferry.create({
    source: proxy.url,
    target,
    indices: [index],
    servers: all.servers,
    plan: { rounds: { every: '1h' }, cutover: { approval, freezeAtMost } },
  });
  const worker = await ferry.startWorker();
  await ferry.start();
  await ferry.rounds(1);
  return [ferry, writers, worker];
}

test('kill -9 between the block and its record: a new worker finishes, and no acknowledged write is missing', async () => {
  const [one, writers, worker] = await begun('killed-block', '20m');
  writers.start(2, 50);
  const answer = proxy.holdAnswers(changesBlock);
  await one.signal('freeze-writes');
  await answer.met;
  await writers.stop();
  await one.signalWorker(worker, 'SIGKILL');
  answer.release();
  expect(await refused(source, 'killed-block')).toBe(true);

  await one.startWorker();
  expect((await one.result()).verification.failed).toBe(0);
  expect(await writers.differences(target)).toEqual([]);
  expect(await refused(source, 'killed-block')).toBe(true);
  expect(await taken(target, 'killed-block')).toBe(true);
});

test('kill -9 between the block and the proof of quiescence: a new worker finishes', async () => {
  const [one, writers, worker] = await begun('killed-proof', '20m');
  const answer = proxy.holdAnswers(({ path }) => path.includes('/_tasks'));
  await one.signal('freeze-writes');
  await answer.met;
  await one.signalWorker(worker, 'SIGKILL');
  answer.release();

  await one.startWorker();
  expect((await one.result()).verification.failed).toBe(0);
  expect(await writers.differences(target)).toEqual([]);
  expect(await refused(source, 'killed-proof')).toBe(true);
});

test('a worker that dies in the proof of quiescence does not hold up the release at the deadline', async () => {
  const [one, , worker] = await begun('killed-release', '15s');
  const answer = proxy.holdAnswers(({ path }) => path.includes('/_tasks'));
  await one.signal('freeze-writes');
  const { freeze } = await one.until((status) => status.freeze !== undefined);
  await answer.met;
  await one.signalWorker(worker, 'SIGKILL');
  await one.startWorker();
  await eventually('a write that the source takes', () => taken(source, 'killed-release'), 120_000);
  // Less than the minute after which its heartbeat is missed.
  expect(Date.now()).toBeLessThan(Date.parse(freeze?.deadline as string) + 30_000);
});

test.each([
  ['before it sends the block', readsBlock, 2],
  ['while the block is answered', changesBlock, 1],
])('a worker that sleeps %s past the deadline blocks nothing when it wakes up', async (_, match, nth) => {
  const index = `slept-${nth}`;
  const [one, writers, sleeper] = await begun(index, '15s');
  let seen = 0;
  const answer = proxy.holdAnswers((request) => match(request) && (seen += 1) === nth);
  await one.signal('freeze-writes');
  await answer.met;
  await one.signalWorker(sleeper, 'SIGSTOP');

  await one.startWorker();
  const { notes } = await one.until((status) => status.notes.some((note) => note.includes('released')), 150_000);
  expect(notes.join('\n')).toContain('the deadline passed');
  expect(await taken(source, index)).toBe(true);
  const changes = proxy.requests.filter(changesBlock).length;
  await one.signalWorker(sleeper, 'SIGCONT');
  answer.release();
  // It is awake again when it takes part in the next round.
  await writers.bulk(index, 50);
  await one.signal('run-round');
  await one.rounds(2);
  expect(await taken(source, index)).toBe(true);
  expect(proxy.requests.filter(changesBlock)).toHaveLength(changes);

  await one.signal('freeze-writes');
  expect((await one.result()).verification.failed).toBe(0);
  expect(await writers.differences(target)).toEqual([]);
  expect(await refused(source, index)).toBe(true);
  expect(await taken(target, index)).toBe(true);
});

test('what a sleeping worker had sent to unblock, and arrives in the next freeze, keeps that from being committed', async () => {
  const [one, , sleeper] = await begun('slept-unblock', '5m', true);
  await one.signal('freeze-writes');
  await one.until((status) => status.freeze?.writesBlockedAt !== undefined);
  const request = proxy.holdRequests(changesBlock);
  await one.signal('unfreeze-writes');
  await request.met;
  await one.signalWorker(sleeper, 'SIGSTOP');

  await one.startWorker();
  await one.until((status) => status.phase === 'between rounds', 150_000);
  expect(await taken(source, 'slept-unblock')).toBe(true);
  await one.signal('freeze-writes');
  await one.until((status) => status.phase === 'awaiting approval');
  await one.signalWorker(sleeper, 'SIGCONT');
  request.release();
  await eventually('the late request', () => taken(source, 'slept-unblock'));
  await one.update('approve', { who: 'the test', why: 'it looks well' });

  const { notes } = await one.until((status) => status.phase === 'between rounds');
  expect(notes.join('\n')).toContain("index 'slept-unblock' is not blocked for writes on the source");
  expect(await taken(source, 'slept-unblock')).toBe(true);
  expect(await refused(target, 'slept-unblock')).toBe(true);
});
