import { inspect } from '../../../src/steps/inspection';
import type { Finding } from '../../../src/steps/findings';
import { parsePlan } from '../../../src/domain/plan';
import { anIndex } from '../../support/fake-cluster';
import { aContext, aPlan, World } from './world';

async function found(world: World, planned: Readonly<Record<string, unknown>> = {}): Promise<readonly Finding[]> {
  const who = { migration: 'm', firstRunId: 'r' };
  const { findings } = await inspect(world.deps, parsePlan(aPlan(planned)), who, aContext());
  return findings.all.filter(({ verdict, seen }) => verdict !== 'ok' && !seen.includes('restored in full'));
}

const refused = (check: string, subject: string, seen: string) =>
  expect.objectContaining({ check, verdict: 'refused', subject, seen: expect.stringContaining(seen) });

describe('preflight: calls', () => {
  test('one that a service does not offer is refused by name, before anything is moved', async () => {
    const world = World.with('logs-1');
    world.target.refused.close = 'POST /x/_close: not allowed';
    world.source.refused.snapshot = 'PUT /_snapshot/x/x: no permissions';
    expect(await found(world)).toEqual([
      refused('calls', 'aws', 'PUT /_snapshot/x/x: no permissions (every round takes a snapshot)'),
      expect.objectContaining({ subject: 'ali', remedy: expect.stringContaining('from 7.4 on') }),
    ]);
    expect([...world.source.calls, ...world.target.calls]).toEqual([]);
  });

  test('without any proof that writes rest somebody must vouch for it', async () => {
    const world = World.with('logs-1');
    world.source.refused.block = 'too old';
    expect(await found(world)).toEqual([]);
    world.source.writeTasks = async () => 'unsupported';
    expect(await found(world)).toEqual([refused('calls', 'aws', 'both _block and _tasks')]);
    expect(await found(world, { cutover: { writersStopped: true } })).toEqual([]);
  });
});

describe('preflight: what indices need around them', () => {
  test('a data stream that a pattern means is refused: its hidden indices would stay behind without a word', async () => {
    const world = World.with('logs-1', '.ds-logs-web-000001', '.ds-other-000001');
    world.source.streams['logs-web'] = ['.ds-logs-web-000001'];
    world.source.streams['other'] = ['.ds-other-000001'];
    expect(await found(world)).toEqual([refused('indices', 'logs-web', 'a data stream of 1 backing indices')]);
    expect(await found(world, { indices: ['logs-*', '-logs-web'] })).toEqual([]);
    expect(await found(world, { indices: ['.ds-other-000001'] })).toEqual([refused('indices', 'other', 'data stream')]);
  });

  test('an index in slower storage of Amazon’s is refused: a cold one would stay behind without a word', async () => {
    const world = World.with('logs-1', 'logs-2', 'movies');
    world.source.slow.warm.push('logs-2', 'movies');
    world.source.slow.cold.push('logs-0', 'other');
    expect(await found(world, { indices: ['logs-*'] })).toEqual([
      refused('indices', 'logs-2', 'lies in UltraWarm'),
      refused('indices', 'logs-0', 'lies in cold storage'),
    ]);
    expect(await found(world, { indices: ['logs-*', '-logs-2', '-logs-0'] })).toEqual([]);
  });

  test('a pipeline that the target lacks is refused: writes would fail after the switchover', async () => {
    const world = World.with('logs-1', 'logs-2');
    world.source.settingsOf['logs-1'] = { 'index.default_pipeline': 'geo', 'index.final_pipeline': '_none' };
    world.source.settingsOf['logs-2'] = { 'index.default_pipeline': 'there' };
    world.target.pipelineNames.push('there');
    expect(await found(world)).toEqual([refused('indices', 'logs-1', "pipeline 'geo' (index.default_pipeline)")]);
  });

  test('an index that follows another cluster is refused: not only its clients write to it', async () => {
    const world = World.with('logs-1');
    world.source.settingsOf['logs-1'] = { 'index.xpack.ccr.following_index': 'true' };
    expect(await found(world)).toEqual([refused('indices', 'logs-1', 'a follower')]);
  });

  test('an analyzer that only the source knows is refused once, by its own definition, in both spellings of lists', async () => {
    const world = World.with('logs-1', 'logs-2', 'logs-3');
    for (const name of ['logs-1', 'logs-2']) {
      world.source.settingsOf[name] = {
        'index.analysis.analyzer.mine.type': 'custom',
        'index.analysis.analyzer.mine.tokenizer': 'standard',
        ...(name === 'logs-1'
          ? { 'index.analysis.analyzer.mine.filter': ['lowercase', 'folded'] }
          : {
              'index.analysis.analyzer.mine.filter.0': 'lowercase',
              'index.analysis.analyzer.mine.filter.1': 'folded',
            }),
        'index.analysis.filter.folded.type': 'icu_folding',
      };
    }
    world.source.mappingsOf['logs-3'] = { properties: { title: { type: 'text', analyzer: 'ik_max_word' } } };
    world.target.unknownAnalyses.push('icu_folding', 'ik_max_word');
    expect(await found(world)).toEqual([
      refused('indices', 'logs-1', "Index 'logs-1' and 1 more analyzes text"),
      refused('indices', 'logs-3', 'ik_max_word'),
    ]);
    world.source.unknownAnalyses.push('icu_folding', 'ik_max_word');
    expect(await found(world)).toEqual([]);
  });

  test('a normalizer is asked about like an analyzer, and old names of filters by those that mean the same', async () => {
    const world = World.with('logs-1', 'logs-2');
    world.source.settingsOf['logs-1'] = {
      'index.analysis.normalizer.folding.type': 'custom',
      'index.analysis.normalizer.folding.filter': ['icu_folding'],
    };
    world.source.settingsOf['logs-2'] = {
      'index.analysis.analyzer.old.tokenizer': 'nGram',
      'index.analysis.analyzer.old.filter': ['standard', 'lowercase', 'edges'],
      'index.analysis.filter.edges.type': 'edgeNGram',
      'index.analysis.filter.edges.max_gram': '3',
    };
    world.target.unknownAnalyses.push('icu_folding', 'nGram', 'edgeNGram', '"standard"');
    expect(await found(world)).toEqual([refused('indices', 'logs-1', 'analyzes text')]);
  });

  test('a type of fields that a plugin brings is refused where the target lacks that plugin', async () => {
    const world = World.with('logs-1', 'logs-2', 'logs-3');
    const hashed = { properties: { a: { type: 'keyword', fields: { hash: { type: 'murmur3' } } } } };
    // As 6.x shows it, with the level of types; a field may be called as a type is.
    world.source.mappingsOf['logs-1'] = { doc: hashed };
    world.source.mappingsOf['logs-2'] = {
      _size: { enabled: true },
      _meta: { properties: { x: { type: 'knn_vector' } } },
    };
    world.source.mappingsOf['logs-3'] = { properties: { murmur3: { type: 'text' }, nested: hashed } };
    world.target.pluginNames = ['analysis-ik', 'mapper-size'];
    expect(await found(world)).toEqual([
      refused('indices', 'logs-1', "Index 'logs-1' and 1 more has fields of type murmur3, which plugin mapper-murmur3"),
    ]);
    world.target.pluginNames.push('mapper-murmur3');
    expect(await found(world)).toEqual([]);
    world.target.pluginNames = undefined;
    expect(await found(world)).toEqual([
      expect.objectContaining({ verdict: 'warning', subject: 'logs-1', seen: expect.stringContaining('is not known') }),
      expect.objectContaining({ verdict: 'warning', subject: 'logs-2', seen: expect.stringContaining('mapper-size') }),
    ]);
  });

  test('a setting that the target would archive is refused, unless the plan drops it', async () => {
    const world = World.with('logs-1', 'logs-2');
    for (const name of ['logs-1', 'logs-2']) world.source.settingsOf[name] = { 'index.knn': 'true' };
    world.target.settingsUnknown.push('index.knn');
    const [only, ...others] = await found(world);
    expect([only, others]).toEqual([
      refused('indices', 'logs-1', "Index 'logs-1' and 1 more has setting index.knn"),
      [],
    ]);
    expect(only?.remedy).toContain('restore.dropSettings: ["index.knn"]');
    expect(await found(world, { restore: { dropSettings: ['index.kn*'] } })).toEqual([]);
    expect(await found(world, { restore: { settings: { 'index.knn': true } } })).toEqual([
      refused('target', 'ali', 'restore.settings sets index.knn'),
    ]);
  });

  test('too little disk is refused, and replicas that have no node do not count', async () => {
    const world = World.with();
    world.source.indexList.push(anIndex('logs-1', { primaryBytes: 100, replicas: 1, shards: 3 }));
    const disk = (nodes: number, freeBytes: number) => {
      world.target.roomLeft = { nodes, shards: 0, freeBytes, totalBytes: 1_000, watermarks: [] };
      return found(world);
    };
    expect(await disk(1, 100)).toEqual([]);
    expect(await disk(2, 200)).toEqual([]);
    expect(await disk(2, 199)).toEqual([refused('room', 'ali', 'need 200 B')]);
  });

  test('disks that would be fuller than the watermarks of the target allow: a warning, beyond the flood stage refused', async () => {
    const world = World.with();
    world.source.indexList.push(anIndex('logs-1', { primaryBytes: 100, replicas: 0 }));
    const disk = (freeBytes: number, ...values: readonly string[]) => {
      const watermarks = (['low', 'high', 'flood_stage'] as const).flatMap((name, at) =>
        values[at] === undefined ? [] : [{ name, value: values[at] }],
      );
      world.target.roomLeft = { nodes: 2, shards: 0, freeBytes, totalBytes: 1_000, watermarks };
      return found(world);
    };
    const warned = (seen: string) =>
      expect.objectContaining({ verdict: 'warning', seen: expect.stringContaining(seen) });
    expect(await disk(250, '85%', '90%', '95%')).toEqual([]);
    expect(await disk(249, '85%', '90%', '95%')).toEqual([warned('the watermark low (85%)')]);
    expect(await disk(199, '0.85', '0.90')).toEqual([warned('the watermark high (0.90)')]);
    expect(await disk(149, '85%', '90%', '95%')).toEqual([refused('room', 'ali', 'the watermark flood_stage (95%)')]);
    // What stays free counts for each disk.
    expect(await disk(300, '100b')).toEqual([]);
    expect(await disk(299, '100b')).toEqual([warned('the watermark low (100b)')]);
    expect(await disk(110)).toEqual([]);
  });

  test('more shards than the target may hold are refused', async () => {
    const world = World.with();
    world.source.indexList.push(anIndex('logs-1', { shards: 3, replicas: 1 }));
    world.target.roomLeft = {
      nodes: 1,
      shards: 995,
      freeBytes: 1e9,
      totalBytes: 1e9,
      shardsPerNode: 1_000,
      watermarks: [],
    };
    expect(await found(world)).toEqual([refused('room', 'ali', '995 of at most 1000 shards')]);
    world.target.roomLeft = { ...world.target.roomLeft, shards: 994 };
    expect(await found(world)).toEqual([]);
  });

  test('a schedule that writes to a location of the plan is a warning, one that writes elsewhere is not', async () => {
    const world = World.with('logs-1');
    world.source.registered['nightly'] = { type: 's3', settings: { bucket: 's3', base_path: 'elsewhere' } };
    world.source.policies['daily'] = 'nightly';
    expect(await found(world)).toEqual([]);
    world.source.registered['nightly'] = { type: 's3', settings: { bucket: 's3', base_path: 'from' } };
    expect(await found(world)).toContainEqual(
      expect.objectContaining({ verdict: 'warning', subject: 'aws', seen: expect.stringContaining("Policy 'daily'") }),
    );
  });
});
