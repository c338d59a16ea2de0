import { mkdirSync, mkdtempSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { shareDirectory, startElasticsearch, startTemporal, startVersitygw, stopAll } from '../../stack';
import { thereAndBack } from '../support/there-and-back';
import { http, Writers } from '../support/writers';

/** The way back where documents have sequence numbers and clusters drain writes themselves. */

const S3 = { accessKeyId: 'matrix-access', secretAccessKey: 'matrix-secret-matrix-secret' };

jest.setTimeout(600_000);
afterAll(() => stopAll());

test('7.10.2 to 7.17.29 and back: the number is exact, and never are both sides writable', async () => {
  const buckets = path.join(mkdtempSync(path.join(os.tmpdir(), 'snapferry-rollback-')), 'buckets');
  mkdirSync(buckets);
  await shareDirectory(buckets);
  const start = (version: string) => startElasticsearch({ version, pathRepo: [buckets] });
  const [temporal, s3] = await Promise.all([startTemporal({ ui: false }), startVersitygw({ root: buckets, ...S3 })]);
  const [source, target] = await Promise.all([start('7.10.2'), start('7.17.29')]);
  const servers = { temporal: temporal.address, s3: { endpoint: s3.endpoint, ...S3 }, buckets };
  const writers = new Writers(source.url, 7);
  await writers.createIndex('returns', { number_of_shards: 3 }, { aliases: { 'returns-live': {} } });
  await writers.bulk('returns', 300);
  const journey = await thereAndBack({ source: source.url, target: target.url, servers }, 'returns', '_doc');
  expect(journey.writable).toEqual({
    watching: { source: false, target: true },
    agreeing: { source: false, target: false },
    back: { source: true, target: false },
  });
  expect(journey.report).toMatchObject({ outcome: 'rolled-back', writesSinceSwitch: { operations: 5, exact: true } });
  expect(journey.aliases).toEqual({ watching: true, back: false });
  expect(journey.refreshInterval).toEqual({ watching: undefined, back: '-1' });
  await http(`${source.url}/returns/_doc/late-0`, 'DELETE');
  expect(await writers.differences(source.url)).toEqual([]);
});
