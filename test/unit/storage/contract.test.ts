import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openDirectory } from '../../../src/storage';
import { describeStore } from '../../contract/store';
import { MemoryStore } from '../../support/memory-store';

describeStore('a store in memory', async () => {
  return { store: new MemoryStore(), cleanup: async () => {} };
});

describeStore('a directory', async () => {
  const root = await mkdtemp(join(tmpdir(), 'snapferry-directory-'));
  return { store: openDirectory(root), cleanup: () => rm(root, { recursive: true }) };
});
