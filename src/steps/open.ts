import type { Config } from '../config';
import { openCluster } from '../elasticsearch';
import type { Cluster } from '../elasticsearch/cluster';
import { Engine, openStore } from '../storage';
import type { Store } from '../storage/store';
import type { StepDeps } from './migration';

/** Opens clusters and stores by name on first use; every step of this process shares them and their connections. */
export function openDeps(
  config: Config,
  searchAttributes: () => Promise<readonly string[]> = async () => [],
): StepDeps {
  const clusters = new Map<string, Cluster>();
  const stores = new Map<string, Store>();
  return {
    config,
    cluster: (name) => remembered(clusters, name, () => openCluster(config.cluster(name))),
    store: (name) => remembered(stores, name, () => openStore(config.store(name))),
    engine: new Engine(),
    searchAttributes,
  };
}

function remembered<T>(known: Map<string, T>, name: string, open: () => T): T {
  const found = known.get(name);
  if (found !== undefined) return found;
  const opened = open();
  known.set(name, opened);
  return opened;
}
