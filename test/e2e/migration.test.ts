import { Ferry } from '../support/ferry';
import { testServers } from '../support/temporal';
import { http, Writers } from '../support/writers';

const { elasticsearch, s3 } = testServers();
const source = elasticsearch['5.5.2'] as string;
const target = elasticsearch['5.6.16'] as string;

let ferry: Ferry;
afterEach(() => ferry.close());

test('5.5.2 to 5.6.16: no acknowledged write is missing and no deleted document comes back', async () => {
  const writers = new Writers(source, 5);
  await writers.createIndex(
    'orders',
    { number_of_shards: 5 },
    { aliases: { 'orders-live': { filter: { term: { n: 1 } }, routing: 'r' } } },
  );
  await writers.createIndex('visits-2026', { number_of_shards: 1 });
  await writers.createIndex('visits-empty', { number_of_shards: 3 });
  await writers.bulk('orders', 500);
  await writers.bulk('visits-2026', 300);
  writers.acknowledged.delete('visits-empty');
  ferry = await Ferry.create({ source, target, indices: ['orders', 'visits-*'] });
  await ferry.startWorker();
  await ferry.start();
  await ferry.rounds(1);
  writers.start(4, 100);
  await ferry.rounds(3);
  await ferry.signal('freeze-writes', { by: 'the test' });
  const report = await ferry.result();
  await writers.stop();

  expect(writers.total).toBeGreaterThan(1_500);
  expect(await writers.differences(target)).toEqual([]);
  expect(report.verification.failed).toBe(0);
  // What was forecast from the manifests, by the grouping rule of the target's version, is what the target fetched.
  for (const round of report.rounds) expect(round.fetchBytes).toBe(round.restoredBytes - round.reusedBytes);
  expect(await http(`${target}/visits-empty/_count`)).toMatchObject({ count: 0 });
  expect(await http(`${target}/_alias/orders-live`)).toEqual({
    orders: { aliases: { 'orders-live': { filter: { term: { n: 1 } }, index_routing: 'r', search_routing: 'r' } } },
  });
  // The source stays blocked, the target takes writes.
  await expect(http(`${source}/orders/doc/late`, 'PUT', { n: 0 })).rejects.toThrow('403');
  await http(`${target}/orders/doc/late`, 'PUT', { n: 0 });
  const { text, events } = await ferry.histories();
  expect(events).toBeLessThan(1_500);
  expect(text).toContain('freeze-writes');
  expect(text).not.toContain(s3.secretAccessKey);
  expect(ferry.output.join('')).not.toContain(s3.secretAccessKey);
});
