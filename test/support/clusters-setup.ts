import { startElasticsearch } from '../../stack';
import { makeBuckets, startServices, tellTests } from './services-setup';

/** Starts each real server once; every test file of the project shares them. Stopped by global-teardown.ts. */
export default async function clustersSetup(): Promise<void> {
  const buckets = await makeBuckets();
  const [services, source, target] = await Promise.all([
    startServices(buckets),
    startElasticsearch({ version: '5.5.2', pathRepo: [buckets] }),
    startElasticsearch({ version: '5.6.16', pathRepo: [buckets] }),
  ]);
  tellTests({ ...services, elasticsearch: { '5.5.2': source.url, '5.6.16': target.url } });
}
