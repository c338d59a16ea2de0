/** The model case: a managed domain that answers only signed requests, to a managed cluster that reads OSS with keys. */
import { CLOUD_SECRETS, startClouds } from '../support/clouds';
import type { Clouds } from '../support/clouds';
import type { Ferry } from '../support/ferry';
import { send } from '../support/send';
import { testServers } from '../support/temporal';
import { http, Writers } from '../support/writers';

const { elasticsearch } = testServers();
const source = { url: elasticsearch['5.5.2'] as string, version: '5.5.2' };
const target = { url: elasticsearch['5.6.16'] as string, version: '5.6.16' };

let clouds: Clouds;
let ferry: Ferry;
afterEach(async () => {
  await ferry?.close();
  await clouds?.stop();
});

test('Amazon to Alibaba: signed requests, a role, keys; no acknowledged write is missing', async () => {
  clouds = await startClouds({ source, target });
  const writers = new Writers(source.url, 5);
  await writers.createIndex('films', { number_of_shards: 2 }, { aliases: { cinema: {} } });
  await writers.bulk('films', 500);
  ferry = await clouds.ferry({ indices: ['films'] });
  await ferry.startWorker();
  await ferry.start();
  await ferry.rounds(1);
  // Each cluster knows its side as the service shows it: the bucket of another region by the endpoint of all regions.
  const known = async (url: string) => Object.values((await send(url, 'GET', '/_snapshot')).body as object);
  expect(await known(source.url)).toContainEqual({
    type: 'fs',
    settings: expect.objectContaining({
      bucket: ferry.buckets.source,
      endpoint: 's3.amazonaws.com',
      base_path: 'from',
      server_side_encryption: 'true',
    }),
  });
  expect(await known(target.url)).toContainEqual({
    type: 'fs',
    settings: expect.objectContaining({ bucket: ferry.buckets.target, base_path: 'to', readonly: 'true' }),
  });
  writers.start(2, 50);
  await ferry.rounds(2);
  await ferry.signal('freeze-writes', { by: 'the test' });
  const report = await ferry.result();
  await writers.stop();

  expect(writers.total).toBeGreaterThan(600);
  expect(await writers.differences(target.url)).toEqual([]);
  expect(report.verification.failed).toBe(0);
  expect(Object.keys((await http(`${target.url}/_alias/cinema`)) as object)).toEqual(['films']);
  expect(JSON.stringify([await known(source.url), await known(target.url)])).not.toContain(ferry.buckets.source);
  const { text } = await ferry.histories();
  for (const secret of Object.values(CLOUD_SECRETS)) {
    expect(text).not.toContain(secret);
    expect(ferry.output.join('')).not.toContain(secret);
  }
});
