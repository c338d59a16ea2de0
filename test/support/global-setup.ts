import { mkdirSync, mkdtempSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { shareDirectory, startElasticsearch, startTemporal, startVersitygw } from '../../stack';
import type { TestServers } from './temporal';

const S3 = { accessKeyId: 'test-access', secretAccessKey: 'test-secret-test-secret' };

/** Starts each real server once; every test file of the project shares them. Stopped by global-teardown.ts. */
export default async function globalSetup(): Promise<void> {
  const root = mkdtempSync(path.join(os.tmpdir(), 'snapferry-test-'));
  const buckets = path.join(root, 'buckets');
  mkdirSync(buckets);
  await shareDirectory(buckets);
  const searchAttributes = { SnapferryPhase: 'Keyword', SnapferryRound: 'Int', SnapferryNeedsOperator: 'Bool' };
  const [temporal, small, s3, source, target] = await Promise.all([
    startTemporal({ searchAttributes }),
    startTemporal({ searchAttributes, dynamicConfig: { 'limit.historyCount.suggestContinueAsNew': '60' } }),
    startVersitygw({ root: buckets, ...S3 }),
    startElasticsearch({ version: '5.5.2', pathRepo: [buckets] }),
    startElasticsearch({ version: '5.6.16', pathRepo: [buckets] }),
  ]);
  const servers: TestServers = {
    temporal: temporal.address,
    temporalCli: temporal.cli,
    temporalSmall: small.address,
    s3: { endpoint: s3.endpoint, ...S3 },
    buckets,
    elasticsearch: { '5.5.2': source.url, '5.6.16': target.url },
  };
  process.env['SNAPFERRY_TEST_SERVERS'] = JSON.stringify(servers);
}
