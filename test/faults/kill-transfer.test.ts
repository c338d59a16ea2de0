import type { ChildProcess } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { Ferry } from '../support/ferry';
import { createLargeIndex, createManySegments } from '../support/fault-indices';
import { eventually } from '../support/fault-poll';
import { SlowProxy } from '../support/slow-proxy';
import type { SeenRequest } from '../support/slow-proxy';
import { testServers } from '../support/temporal';
import { http } from '../support/writers';

const { elasticsearch, s3 } = testServers();
const source = elasticsearch['5.5.2'] as string;
const target = elasticsearch['5.6.16'] as string;
const MIB = 1024 * 1024;

let proxy: SlowProxy;
let ferry: Ferry;
beforeEach(async () => {
  proxy = await SlowProxy.before(s3.endpoint);
});
afterEach(async () => {
  await ferry?.close();
  await proxy.close();
});

const sentToTarget = () => proxy.sent(isBlob);
const isBlob = ({ method, path }: SeenRequest) =>
  method === 'PUT' && path.startsWith(`/${ferry.buckets.target}/to/`) && !/\/to\/index(-\d|\.latest)/.test(path);

async function kill(worker: ChildProcess): Promise<void> {
  await ferry.signalWorker(worker, 'SIGKILL');
  await proxy.quiet();
}

/** Freezes, and returns the report of a migration that lost nothing on its way. */
async function cutOver(index: string) {
  await ferry.signal('freeze-writes');
  const report = await ferry.result();
  expect(report.verification.failed).toBe(0);
  const { count } = (await http(`${source}/${index}/_count`)) as { count: number };
  expect(await http(`${target}/${index}/_count`)).toMatchObject({ count });
}

test('kill -9 in the middle of a large blob: a new worker sends only the parts that were in flight', async () => {
  await createLargeIndex(source, 'killed-large', 112);
  proxy.limit(8 * MIB);
  ferry = await Ferry.create({
    source,
    target,
    indices: ['killed-large'],
    s3Endpoint: proxy.url,
    plan: { rounds: { every: '1h' } },
  });
  const worker = await ferry.startWorker();
  await ferry.start();
  const { key, parts } = await eventually('two parts of which the server knows', async () => {
    const [blob] = await ferry.pending('/round-0-a1').catch(() => []);
    const cursors = (blob?.told?.['cursors'] ?? {}) as Record<string, { key: string; parts: { number: number }[] }>;
    return Object.values(cursors).find((cursor) => cursor.parts.length >= 2);
  });
  await kill(worker);
  const before = sentToTarget();
  const seen = proxy.requests.length;
  proxy.limit(undefined);

  await ferry.startWorker();
  const { totals } = await ferry.rounds(1);
  expect(before).toBeLessThan(totals.sentBytes);
  expect(sentToTarget()).toBeGreaterThanOrEqual(totals.sentBytes);
  const again = proxy.requests.slice(seen).filter((request) => isBlob(request) && request.path.includes(`${key}?`));
  const numbers = again.map(({ path: at }) => Number(/[?&]partNumber=(\d+)/.exec(at)?.[1]));
  expect(numbers.length).toBeGreaterThan(0);
  expect(numbers.filter((number) => parts.some((told) => told.number === number))).toEqual([]);
  // Eight parts of 8 MiB, when all of them were about to arrive.
  expect(sentToTarget()).toBeLessThanOrEqual(totals.sentBytes + 64 * MIB);
  await cutOver('killed-large');
  expect(unfinishedUploads()).toEqual([]);
});

test('kill -9 in the middle of a batch: a new worker sends only small files, and what no heartbeat had told of', async () => {
  await createManySegments(source, 'killed-batch', 60, 24 * 1024);
  proxy.limit(MIB);
  ferry = await Ferry.create({
    source,
    target,
    indices: ['killed-batch'],
    s3Endpoint: proxy.url,
    plan: { rounds: { every: '1h' } },
  });
  const worker = await ferry.startWorker();
  await ferry.start();
  const told = async () => {
    const [batch] = await ferry.pending('/round-0-a1').catch(() => []);
    return Object.keys(batch?.told?.['done'] ?? {}).length;
  };
  await eventually('thirty files of which the server knows', async () => (await told()) > 30);
  await kill(worker);
  const known = await told();
  const before = timesSent();
  const isNoted = (key: string) => before.get(key)!.bytes >= NOTED_FROM_BYTES;
  const noted = [...before.keys()].filter(isNoted).length;
  proxy.limit(undefined);

  await ferry.startWorker();
  const { totals } = await ferry.rounds(1);
  expect(sentToTarget()).toBeGreaterThanOrEqual(totals.sentBytes);
  const again = [...before.keys()].filter((key) => timesSent().get(key)!.times > before.get(key)!.times);
  expect(again.filter(isNoted).length).toBeLessThanOrEqual(noted - known);
  await cutOver('killed-batch');
  expect(unfinishedUploads()).toEqual([]);
});

/** A file of this length and more is noted as soon as it is sent (src/steps/copy-unit.ts). */
const NOTED_FROM_BYTES = 64 * 1024;

/** How often each blob was sent to the target, and what went by of it at most. */
function timesSent(): Map<string, { times: number; bytes: number }> {
  const sent = new Map<string, { times: number; bytes: number }>();
  for (const { path: key, bytes } of proxy.requests.filter(isBlob)) {
    const { times = 0, bytes: most = 0 } = sent.get(key) ?? {};
    sent.set(key, { times: times + 1, bytes: Math.max(most, bytes) });
  }
  return sent;
}

/** Where the gateway keeps the parts of uploads, in its own files. */
function unfinishedUploads(): string[] {
  const folder = path.join(ferry.files('target'), '.sgwtmp', 'multipart');
  return existsSync(folder) ? readdirSync(folder) : [];
}
