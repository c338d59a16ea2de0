import { ConfigurationError } from '../../../src/domain/errors';
import type { ScopeInput } from '../../../src/domain/exchange';
import { resolveScope } from '../../../src/steps/scope';
import { anIndex } from '../../support/fake-cluster';
import { aContext, anInput, World } from './world';

async function begun(...indices: string[]) {
  const world = World.with(...indices);
  const { plan } = await world.started();
  const resolve = (round: number, previous?: ScopeInput['previous'], attempt = 1) =>
    resolveScope(world.deps, { plan, round, attempt, previous }, aContext());
  return { world, resolve };
}

const first = { round: 0, attempt: 1 };

describe('the scope of a round', () => {
  test('holds what the patterns match now, and an equal digest means the same indices', async () => {
    const { resolve } = await begun('logs-1', 'logs-2');
    const scope = await resolve(0);
    expect(scope).toMatchObject({ indices: 2, changes: [] });
    expect((await resolve(1, first)).digest).toBe(scope.digest);
  });

  test('an attempt that runs twice answers the same, whatever the source has become', async () => {
    const { world, resolve } = await begun('logs-1');
    await resolve(0);
    world.source.indexList.push(anIndex('logs-2'));
    const second = await resolve(1, first);
    world.source.indexList.push(anIndex('logs-3'));
    const files = new Map(world.to.blobs);
    expect(await resolve(1, first)).toEqual(second);
    expect(world.to.blobs).toEqual(files);
  });

  test('a new match joins, is claimed and named', async () => {
    const { world, resolve } = await begun('logs-1');
    const before = await resolve(0);
    world.source.indexList.push(anIndex('logs-2'));
    const after = await resolve(1, first);
    expect(after.changes).toEqual(["index 'logs-2' joined"]);
    expect(after.digest).not.toBe(before.digest);
    expect([...world.to.blobs.keys()]).toContain('snapferry-work/owners/index/uuid-of-ali/logs-2/owner.json');
  });

  test('a new match that preflight would refuse is refused by name, and nothing is claimed', async () => {
    const { world, resolve } = await begun('logs-1');
    await resolve(0);
    world.source.indexList.push(anIndex('logs-2'), anIndex('logs-3', { createdVersionId: 5050299 }));
    world.target.indexList.push(anIndex('logs-2'));
    await expect(resolve(1, first)).rejects.toThrow(ConfigurationError);
    await expect(resolve(1, first)).rejects.toThrow(/'logs-2' already[\s\S]*'logs-3' was created by/);
    expect([...world.to.blobs.keys()].filter((key) => key.includes('logs-2') || key.includes('round-0001'))).toEqual(
      [],
    );
  });

  describe('a new match is refused as preflight would refuse it:', () => {
    test.each<readonly [string, (world: World) => void, string]>([
      ['slow storage', ({ source }) => source.slow.warm.push('logs-2'), 'lies in UltraWarm'],
      [
        'a setting that the target would archive',
        ({ source, target }) => {
          source.settingsOf['logs-2'] = { 'index.odd': '1' };
          target.settingsUnknown.push('index.odd');
        },
        'has setting index.odd, which the target does not know',
      ],
      [
        'a field type whose plugin the target lacks',
        ({ source }) => {
          source.mappingsOf['logs-2'] = { properties: { h: { type: 'murmur3' } } };
        },
        'has fields of type murmur3',
      ],
      [
        "an alias that is a stranger's on the target",
        ({ source, target }) => {
          source.aliasMap['logs-2'] = { logs: {} };
          target.indexList.push(anIndex('other'));
          target.aliasMap['other'] = { logs: {} };
        },
        "Alias 'logs' points at other on the target",
      ],
      [
        'no room',
        ({ target }) => (target.roomLeft = { nodes: 1, shards: 0, freeBytes: 1, totalBytes: 2, watermarks: [] }),
        'free of',
      ],
    ])('%s', async (_, make, sentence) => {
      const { world, resolve } = await begun('logs-1');
      await resolve(0);
      world.source.indexList.push(anIndex('logs-2'));
      make(world);
      await expect(resolve(1, first)).rejects.toThrow(ConfigurationError);
      await expect(resolve(1, first)).rejects.toThrow(sentence);
      await expect(resolve(1, first)).rejects.toThrow('`exclude` the index');
    });
  });

  test('what preflight would warn of is told of a new match, by each attempt, and of no other', async () => {
    const { world, resolve } = await begun('logs-1');
    world.source.mappingsOf['logs-1'] = world.source.mappingsOf['logs-2'] = {
      properties: { h: { type: 'murmur3' } },
    };
    world.target.pluginNames = undefined;
    expect((await resolve(0)).changes).toEqual([]);
    world.source.indexList.push(anIndex('logs-2'));
    const { changes } = await resolve(1, first);
    expect(changes).toEqual([
      "index 'logs-2' joined",
      expect.stringMatching(/^Index 'logs-2' has fields of type murmur3/),
    ]);
    expect((await resolve(1, first)).changes).toEqual(changes);
  });

  test('what became of an index that is moved already is no reason to park', async () => {
    const { world, resolve } = await begun('logs-1');
    await resolve(0);
    world.source.indexList.push(anIndex('logs-2'));
    world.source.settingsOf['logs-1'] = { 'index.odd': '1' };
    world.source.slow.cold.push('logs-0');
    world.source.streams['logs-stream'] = ['.ds-logs-stream-000001'];
    world.target.settingsUnknown.push('index.odd');
    await expect(resolve(1, first)).resolves.toMatchObject({ indices: 2 });
  });

  test('an index that is gone leaves, and its copy on the target is named', async () => {
    const { world, resolve } = await begun('logs-1', 'logs-2');
    await resolve(0);
    world.source.indexList.pop();
    const scope = await resolve(1, first);
    expect(scope).toMatchObject({ indices: 1 });
    expect(scope.changes).toEqual([
      "index 'logs-2' is gone from the source and left: its copy on the target stays, blocked",
    ]);
  });

  test('what a round before restored is no stranger', async () => {
    const { world, resolve } = await begun('logs-1');
    await resolve(0);
    world.target.indexList.push(anIndex('logs-1', { uuid: 'restored' }));
    await expect(resolve(1, first)).resolves.toMatchObject({ indices: 1 });
  });

  test.each([
    ['another uuid', { uuid: 'another' }, 'was deleted and created again on the source, so'],
    ['other shards', { uuid: 'another', shards: 3 }, 'with 3 instead of 1 shards'],
  ])('an index that was created again with %s parks', async (_, changes, sentence) => {
    const { world, resolve } = await begun('logs-1');
    await resolve(0);
    world.source.indexList[0] = anIndex('logs-1', changes);
    await expect(resolve(1, first)).rejects.toThrow(ConfigurationError);
    await expect(resolve(1, first)).rejects.toThrow(sentence);
  });

  test('an index that was closed parks and says so', async () => {
    const { world, resolve } = await begun('logs-1');
    await resolve(0);
    world.source.indexList[0] = anIndex('logs-1', { open: false });
    await expect(resolve(1, first)).rejects.toThrow("'logs-1' was closed on the source: open it");
  });

  test('nothing left parks', async () => {
    const { world, resolve } = await begun('logs-1');
    await resolve(0);
    world.source.indexList.pop();
    await expect(resolve(1, first)).rejects.toThrow('No index of the plan is left');
  });

  test('at most ten changes are told', async () => {
    const { world, resolve } = await begun('logs-1');
    await resolve(0);
    for (let n = 2; n < 40; n += 1) world.source.indexList.push(anIndex(`logs-${n}`));
    const { changes } = await resolve(1, first);
    expect(changes).toHaveLength(10);
    expect(changes.at(-1)).toBe('and 29 more changes');
  });

  test('a worker with another connections file refuses, retryably', async () => {
    const world = World.with('logs-1');
    const { plan } = await world.started(anInput());
    world.deps.config.fingerprint = () => 'another';
    await expect(resolveScope(world.deps, { plan, ...first, previous: undefined }, aContext())).rejects.toThrow(
      'give every worker the same file',
    );
  });
});
