import { mkdirSync, mkdtempSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { shareDirectory, startElasticsearch, startTemporal, startVersitygw } from '../../stack';
import type { ElasticsearchServer } from '../../stack';
import type { FerryOptions } from './ferry';

const S3 = { accessKeyId: 'matrix-access', secretAccessKey: 'matrix-secret-matrix-secret' };

export interface FaultServers {
  readonly servers: NonNullable<FerryOptions['servers']>;
  readonly source: ElasticsearchServer;
  readonly target: ElasticsearchServer;
}

/** What the global setup starts for the short tests, for one file of the matrix. `stopAll()` ends it. */
export async function startFaultServers(): Promise<FaultServers> {
  const buckets = path.join(mkdtempSync(path.join(os.tmpdir(), 'snapferry-faults-')), 'buckets');
  mkdirSync(buckets);
  await shareDirectory(buckets);
  const [temporal, s3, source, target] = await Promise.all([
    startTemporal({ ui: false }),
    startVersitygw({ root: buckets, ...S3 }),
    startElasticsearch({ version: '5.5.2', pathRepo: [buckets] }),
    startElasticsearch({ version: '5.6.16', pathRepo: [buckets] }),
  ]);
  return { servers: { temporal: temporal.address, s3: { endpoint: s3.endpoint, ...S3 }, buckets }, source, target };
}
