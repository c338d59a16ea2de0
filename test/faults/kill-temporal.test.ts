import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { freePort, startTemporal } from '../../stack';
import type { TemporalServer } from '../../stack';
import { createManySegments } from '../support/fault-indices';
import { eventually } from '../support/fault-poll';
import { Ferry } from '../support/ferry';
import { SlowProxy } from '../support/slow-proxy';
import { testServers } from '../support/temporal';
import { http } from '../support/writers';

const { elasticsearch, s3 } = testServers();
const source = elasticsearch['5.5.2'] as string;
const target = elasticsearch['5.6.16'] as string;

let proxy: SlowProxy;
let folder: string;
let server: TemporalServer | undefined;
let ferry: Ferry | undefined;
beforeEach(async () => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'snapferry-temporal-'));
  proxy = await SlowProxy.before(s3.endpoint);
});
afterEach(async () => {
  await ferry?.close();
  await proxy.close();
  await server?.stop();
  rmSync(folder, { recursive: true });
});

test('a Temporal server that is killed in a transfer and in a freeze goes on from its database', async () => {
  await createManySegments(source, 'outlives-temporal', 20);
  const port = await freePort();
  const start = () => startTemporal({ port, dbFile: path.join(folder, 'temporal.db'), ui: false });
  server = await start();
  ferry = await Ferry.create({
    source,
    target,
    indices: ['outlives-temporal'],
    s3Endpoint: proxy.url,
    temporal: server.address,
    plan: { rounds: { every: '1h' } },
  });
  await ferry.startWorker();
  await ferry.start();
  proxy.limit(128 * 1024);
  const isBlob = ({ method, path: at }: { method: string; path: string }) => method === 'PUT' && /\/__/.test(at);
  await eventually('ten blobs', () => proxy.requests.filter(isBlob).length > 10 || undefined);
  server.kill();
  server = await start();
  proxy.limit(undefined);
  await ferry.rounds(1);

  await ferry.signal('freeze-writes');
  await eventually('writes that are refused', () =>
    http(`${source}/outlives-temporal/doc/late`, 'PUT', { n: 1 }).then(
      () => undefined,
      () => true,
    ),
  );
  server.kill();
  server = await start();
  expect((await ferry.result()).verification.failed).toBe(0);
  const { count } = (await http(`${source}/outlives-temporal/_count`)) as { count: number };
  expect(await http(`${target}/outlives-temporal/_count`)).toMatchObject({ count });
});
