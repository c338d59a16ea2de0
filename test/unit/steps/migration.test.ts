import type { Config } from '../../../src/config';
import { ConfigurationError, UnavailableError } from '../../../src/domain/errors';
import { openMigration } from '../../../src/steps/migration';
import { AMigration } from '../../support/a-migration';
import { MemoryStore } from '../../support/memory-store';

/** Opens as a worker whose connections file differs: another worker may be right, so it is tried again. */
async function openedWith(config: Partial<Config>, store?: MemoryStore): Promise<unknown> {
  const migration = new AMigration();
  const deps = {
    ...migration.deps,
    config: { ...migration.deps.config, ...config },
    store: store === undefined ? migration.deps.store : () => store,
  };
  return openMigration(deps, migration.ref, migration.context()).catch((error: unknown) => error);
}

const differing = (what: string) => (kind: string, name: string) =>
  `${kind} ${name}` === what ? 'another' : `${kind}-${name}`;

describe('a worker whose connections file is another than at the start of the migration', () => {
  test.each(['cluster source', 'cluster target', 'store source-store', 'store target-store'])(
    'refuses the task, retryably: %s',
    async (what) => {
      const error = await openedWith({ fingerprint: differing(what) });
      expect(error).toBeInstanceOf(UnavailableError);
      expect((error as Error).message).toContain('give every worker the same file');
    },
  );

  test('does so before it looks into the store, which has no files of this migration', async () => {
    const empty = new MemoryStore('another');
    const error = await openedWith({ fingerprint: differing('store target-store') }, empty);
    expect(error).toBeInstanceOf(UnavailableError);
    expect(empty.calls).toEqual([]);
  });

  test('does so although it does not know the name at all', async () => {
    const fingerprint = (kind: string, name: string) => {
      if (name === 'target-store') throw new ConfigurationError(`The connections file has no ${kind} '${name}'`);
      return `${kind}-${name}`;
    };
    const error = await openedWith({ fingerprint });
    expect(error).toBeInstanceOf(UnavailableError);
    expect((error as Error).message).toContain("has no store 'target-store'");
  });
});
