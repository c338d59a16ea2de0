import type { Config } from '../config';
import { openCluster } from '../elasticsearch';
import type { OpenedCluster } from '../elasticsearch';
import { Engine, openStore } from '../storage';
import type { Store } from '../storage/store';
import { LiveLimits } from './limits';
import type { StepDeps } from './migration';

export interface OpenedDeps extends StepDeps {
  /** Ends the connections to clusters; calls that wait reject. Nothing may be opened afterwards. */
  close(): Promise<void>;
}

const NO_TEMPORAL = { searchAttributes: async () => [], isRunning: async () => undefined };

/** Opens clusters and stores by name on first use; every step of this process shares them and their connections. */
export function openDeps(
  config: Config,
  temporal: Pick<StepDeps, 'searchAttributes' | 'isRunning'> = NO_TEMPORAL,
): OpenedDeps {
  const clusters = new Map<string, OpenedCluster>();
  const stores = new Map<string, Store>();
  return {
    config,
    cluster: (name) => remembered(clusters, name, () => openCluster(config.cluster(name))),
    store: (name) => remembered(stores, name, () => openStore(config.store(name))),
    engine: new Engine(),
    limits: new LiveLimits(),
    ...temporal,
    close: async () => {
      await Promise.all([...clusters.values()].map((cluster) => cluster.disconnect()));
    },
  };
}

function remembered<T>(known: Map<string, T>, name: string, open: () => T): T {
  const found = known.get(name);
  if (found !== undefined) return found;
  const opened = open();
  known.set(name, opened);
  return opened;
}
