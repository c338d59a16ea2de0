/** Every fault of the OSS server's script in every phase of a round: it ends right, or it stops and says why. */
import { mkdirSync, mkdtempSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { shareDirectory, startElasticsearch, stopAll } from '../../stack';
import { FaultyStores } from '../support/faulty-stores';
import { combinations, struck } from '../support/store-faults';

jest.setTimeout(600_000);

let stores: FaultyStores;
beforeAll(async () => {
  const root = path.join(mkdtempSync(path.join(os.tmpdir(), 'snapferry-store-faults-')), 'stores');
  mkdirSync(root);
  await shareDirectory(root);
  const node = await startElasticsearch({ version: '5.6.16', pathRepo: [root] });
  stores = await FaultyStores.start(root, node.url);
  await node.stop();
});
afterAll(() => stopAll());
// Pauses between tries are a share of this.
beforeEach(() => void jest.spyOn(Math, 'random').mockReturnValue(0));

describe.each(['round', 'copy'] as const)('a %s', (how) => {
  test.each(combinations(how))('%s', async (_, phase, fault) => {
    await struck(stores, how, phase, fault);
  });
});
