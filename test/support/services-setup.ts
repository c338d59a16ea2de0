import { mkdirSync, mkdtempSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { shareDirectory, startTemporal, startVersitygw } from '../../stack';
import { SEARCH_ATTRIBUTES } from './temporal';
import type { TestServers } from './temporal';

const S3 = { accessKeyId: 'test-access', secretAccessKey: 'test-secret-test-secret' };

/** Starts Temporal and a store once; every test file of the project shares them. Stopped by global-teardown.ts. */
export default async function servicesSetup(): Promise<void> {
  // Where both projects run at once, these are among those for clusters.
  if (process.env['SNAPFERRY_TEST_SERVERS'] !== undefined) return;
  tellTests({ ...(await startServices(await makeBuckets())), elasticsearch: {} });
}

/** A folder that nodes and the gateway share. */
export async function makeBuckets(): Promise<string> {
  const buckets = path.join(mkdtempSync(path.join(os.tmpdir(), 'snapferry-test-')), 'buckets');
  mkdirSync(buckets);
  await shareDirectory(buckets);
  return buckets;
}

export async function startServices(buckets: string): Promise<Omit<TestServers, 'elasticsearch'>> {
  const searchAttributes = SEARCH_ATTRIBUTES;
  const [temporal, small, s3] = await Promise.all([
    startTemporal({ searchAttributes }),
    startTemporal({ searchAttributes, dynamicConfig: { 'limit.historyCount.suggestContinueAsNew': '60' } }),
    startVersitygw({ root: buckets, ...S3 }),
  ]);
  return {
    temporal: temporal.address,
    temporalCli: temporal.cli,
    temporalSmall: small.address,
    s3: { endpoint: s3.endpoint, ...S3 },
    buckets,
  };
}

export function tellTests(servers: TestServers): void {
  process.env['SNAPFERRY_TEST_SERVERS'] = JSON.stringify(servers);
}
