import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { Ferry } from '../support/ferry';
import { SlowProxy } from '../support/slow-proxy';
import type { SeenRequest } from '../support/slow-proxy';
import { testServers } from '../support/temporal';
import { http } from '../support/writers';

const { elasticsearch, s3 } = testServers();
const source = elasticsearch['5.5.2'] as string;
const target = elasticsearch['5.6.16'] as string;

let proxy: SlowProxy;
let ferry: Ferry | undefined;
beforeEach(async () => {
  proxy = await SlowProxy.before(s3.endpoint);
});
afterEach(async () => {
  await ferry?.close();
  await proxy.close();
});

const isLatest = (method: string) => (request: SeenRequest) =>
  request.method === method && /\/to\/index\.latest/.test(request.path);

/** The generation that `index.latest` names, and the newest that is there. */
function generations(one: Ferry): [number, number] {
  const folder = path.join(one.files('target'), 'to');
  const listed = readdirSync(folder).flatMap((name) => /^index-(\d+)$/.exec(name)?.[1] ?? []);
  return [Number(readFileSync(path.join(folder, 'index.latest')).readBigInt64BE()), Math.max(...listed.map(Number))];
}

test('a worker that was stopped while it published and wakes up two rounds later changes nothing any more', async () => {
  await http(`${source}/slept`, 'PUT', { settings: { number_of_replicas: 0, number_of_shards: 1 } });
  const write = (id: number) => http(`${source}/slept/doc/${id}?refresh=true`, 'PUT', { n: id });
  await write(1);
  ferry = await Ferry.create({
    source,
    target,
    indices: ['slept'],
    s3Endpoint: proxy.url,
    plan: { rounds: { every: '1h' } },
  });
  const sleeper = await ferry.startWorker();
  await ferry.start();
  await ferry.rounds(1);
  await write(2);
  const answer = proxy.holdAnswers(isLatest('GET'));
  await ferry.signal('run-round');
  await answer.met;
  await ferry.signalWorker(sleeper, 'SIGSTOP');

  await ferry.startWorker();
  await ferry.rounds(2);
  await write(3);
  await ferry.signal('run-round');
  await ferry.rounds(3);
  const before = generations(ferry);
  expect(before[0]).toBe(before[1]);
  await ferry.signalWorker(sleeper, 'SIGCONT');
  answer.release();

  await ferry.signal('freeze-writes');
  const report = await ferry.result();
  expect(report.verification.failed).toBe(0);
  // Each round wrote it once: the sleeper, which had read it and was about to, did not.
  expect(proxy.requests.filter(isLatest('PUT'))).toHaveLength(report.rounds.length);
  const after = generations(ferry);
  expect(after[0]).toBe(after[1]);
  expect(after[0]).toBeGreaterThan(before[0]);
  expect(await http(`${target}/slept/_count`)).toMatchObject({ count: 3 });
});
