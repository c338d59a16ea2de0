import { existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { createManySegments } from '../support/fault-indices';
import { Ferry } from '../support/ferry';
import { SlowProxy } from '../support/slow-proxy';
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

function published(one: Ferry): string[] {
  const folder = path.join(one.files('target'), 'to');
  return existsSync(folder) ? readdirSync(folder).filter((name) => name.startsWith('index')) : [];
}

test('a damaged blob of the source parks with its key before anything is published; repaired, retry finishes', async () => {
  await createManySegments(source, 'damaged', 3);
  ferry = await Ferry.create({
    source,
    target,
    indices: ['damaged'],
    s3Endpoint: proxy.url,
    plan: { rounds: { every: '1h' } },
  });
  const bucket = `/${ferry.buckets.source}/`;
  const read = proxy.holdRequests(({ method, path: at }) => method === 'GET' && /\/from\/indices\/[^?]*\/__/.test(at));
  await ferry.startWorker();
  await ferry.start();
  const key = decodeURIComponent((await read.met).path.slice(bucket.length).split('?')[0] as string);
  const file = path.join(ferry.files('source'), key);
  const sound = readFileSync(file);
  const flipped = Buffer.from(sound);
  flipped.writeUInt8(sound.readUInt8(sound.length >> 1) ^ 1, sound.length >> 1);
  writeFileSync(file, flipped);
  read.release();

  const { parked } = await ferry.until((status) => status.phase === 'parked');
  expect(parked).toMatchObject({ code: 'BlobCorrupt', why: expect.stringContaining(key) as string });
  expect(published(ferry)).toEqual([]);
  writeFileSync(file, sound);
  await ferry.signal('retry');
  await ferry.rounds(1);
  expect(published(ferry)).toContain('index.latest');

  // Now somebody removes a blob of the target by hand.
  const lost = path.join(ferry.files('target'), key.replace(/^from\//, 'to/'));
  rmSync(lost);
  await ferry.signal('run-round');
  await ferry.rounds(2);
  expect(readFileSync(lost).equals(sound)).toBe(true);
  await ferry.signal('freeze-writes');
  expect((await ferry.result()).verification.failed).toBe(0);
  expect(await http(`${target}/damaged/_count`)).toMatchObject({ count: 24 });
});
