// The adapter on real nodes. Two versions in `npm test`, the oldest and the first big step; all with SNAPFERRY_MATRIX=1,
// or those that SNAPFERRY_VERSIONS names.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { openCluster } from '../../src/elasticsearch';
import { shareDirectory, startElasticsearch } from '../../stack';
import { describeCluster } from '../contract/cluster';
import type { OpenedCluster } from '../contract/cluster';
import { releaseOf } from '../support/release';
import { send } from '../support/send';

const ALL = [
  ...['5.5.2', '5.6.16', '6.8.23', '7.10.2', '7.17.29', '8.0.0', '8.19.0', '9.1.0'],
  ...['opensearch-1.3.20', 'opensearch-2.19.1', 'opensearch-3.0.0'],
];
const DEFAULT = ['5.5.2', '7.10.2'];
const VERSIONS =
  process.env['SNAPFERRY_VERSIONS']?.split(',') ?? (process.env['SNAPFERRY_MATRIX'] === '1' ? ALL : DEFAULT);

jest.setTimeout(180_000);

for (const label of VERSIONS) describeCluster(label, () => open(label));

/** One node at a time: `describe` blocks run in order, and each stops its own. */
async function open(label: string): Promise<OpenedCluster> {
  const release = releaseOf(label);
  const root = await mkdtemp(path.join(tmpdir(), 'snapferry-cluster-'));
  await shareDirectory(root);
  const node = await startElasticsearch({ ...release, pathRepo: [root] });
  const cluster = openCluster({ name: 'contract', url: node.url, auth: { type: 'none' } });
  return {
    cluster,
    ...release,
    send: (method, target, body) => send(node.url, method, target, body),
    place: async () => {
      const location = await mkdtemp(path.join(root, 'repository-'));
      await shareDirectory(location);
      return { type: 'fs', settings: { location } };
    },
    folderOf: ({ settings }) => String(settings['location']),
    forbiddenPlace: { type: 'fs', settings: { location: '/somewhere/else' } },
    cleanup: async () => {
      await cluster.disconnect();
      await node.stop();
      await rm(root, { recursive: true, force: true });
    },
  };
}
