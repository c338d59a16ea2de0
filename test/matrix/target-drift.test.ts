import { mkdirSync, mkdtempSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { shareDirectory, startElasticsearch, startTemporal, startVersitygw, stopAll } from '../../stack';
import type { ElasticsearchServer } from '../../stack';
import { Ferry } from '../support/ferry';
import type { FerryOptions } from '../support/ferry';
import { http, Writers } from '../support/writers';

/** What somebody can do to the target between two rounds, where documents have sequence numbers. */

const S3 = { accessKeyId: 'matrix-access', secretAccessKey: 'matrix-secret-matrix-secret' };

jest.setTimeout(600_000);

let servers: NonNullable<FerryOptions['servers']>;
let source: ElasticsearchServer;
let target: ElasticsearchServer;
let ferry: Ferry;
beforeAll(async () => {
  const buckets = path.join(mkdtempSync(path.join(os.tmpdir(), 'snapferry-drift-')), 'buckets');
  mkdirSync(buckets);
  await shareDirectory(buckets);
  const start = (version: string) => startElasticsearch({ version, pathRepo: [buckets] });
  const [temporal, s3] = await Promise.all([startTemporal({ ui: false }), startVersitygw({ root: buckets, ...S3 })]);
  [source, target] = await Promise.all([start('7.10.2'), start('7.17.29')]);
  servers = { temporal: temporal.address, s3: { endpoint: s3.endpoint, ...S3 }, buckets };
});
afterAll(() => stopAll());
afterEach(() => ferry.close());

const block = (index: string, value: boolean) =>
  http(`${target.url}/${index}/_settings`, 'PUT', { 'index.blocks.write': value });

const CHANGES: readonly (readonly [string, (index: string) => Promise<unknown>, string])[] = [
  ['opened', (index) => block(index, false), 'is not blocked for writes any more'],
  ['closed', (index) => http(`${target.url}/${index}/_close`, 'POST'), 'is closed'],
  [
    'rewritten',
    async (index) => {
      const found = (await http(`${target.url}/${index}/_search?size=1`)) as { hits: { hits: { _id: string }[] } };
      await block(index, false);
      await http(`${target.url}/${index}/_doc/${found.hits.hits[0]?._id}`, 'PUT', { n: -1 });
      await block(index, true);
    },
    'was written to: the highest sequence number of shard',
  ],
];

test.each(CHANGES)(
  'an index that was %s between two rounds is shown, and not restored over',
  async (how, change, says) => {
    const index = `drift-${how}`;
    const writers = new Writers(source.url, 7);
    await writers.createIndex(index, { number_of_shards: 2 });
    await writers.bulk(index, 200);
    ferry = await Ferry.create({
      ...{ source: source.url, target: target.url, indices: [index], servers },
      plan: { rounds: { every: '1h' } },
    });
    await ferry.startWorker();
    await ferry.start();
    await ferry.rounds(1);
    await change(index);
    await ferry.signal('run-round');
    const { parked } = await ferry.until(({ phase }) => phase === 'parked');
    expect(parked).toMatchObject({ code: 'TargetChanged', why: expect.stringContaining(says) as string });
    await http(`${target.url}/${index}`, 'DELETE');
    await ferry.signal('retry');
    await ferry.rounds(2);
    await ferry.signal('freeze-writes');
    expect((await ferry.result()).verification.failed).toBe(0);
    expect(await writers.differences(target.url)).toEqual([]);
  },
);
