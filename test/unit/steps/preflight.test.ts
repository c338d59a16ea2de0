import { ConfigurationError, UnavailableError } from '../../../src/domain/errors';
import type { PreflightInput } from '../../../src/domain/exchange';
import { indexOwnerKey } from '../../../src/domain/names';
import type { PlanFile } from '../../../src/steps/migration';
import { preflight, withdrawPreflight } from '../../../src/steps/preflight';
import { anIndex } from '../../support/fake-cluster';
import { fixture } from '../repository/fixtures';
import { aContext, anInput, aPlan, SHARED, World } from './world';

function run(world: World, input: PreflightInput = anInput()) {
  return preflight(world.deps, input, aContext());
}

async function refusal(world: World, input: PreflightInput = anInput()): Promise<string> {
  const error = await run(world, input).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(ConfigurationError);
  return (error as Error).message;
}

/** What preflight left in the target store, and changed in a cluster. */
function traces(world: World): string[] {
  const { source, target } = world;
  const changes = [...source.calls, ...target.calls].filter((call) => !call.endsWith('-probe'));
  return [...world.to.blobs.keys(), ...changes, ...Object.keys({ ...source.registered, ...target.registered })];
}

describe('preflight: what it gives', () => {
  test('a good plan is resolved, claimed and written, and no cluster is changed', async () => {
    const world = World.with('logs-1', 'logs-2', 'other');
    const result = await run(world);
    expect(result).toMatchObject({ indices: 2, bytes: 2_000, settings: { everyMs: 900_000, switchAliases: true } });
    expect(traces(world).sort()).toEqual([
      'snapferry-work/owners/index/uuid-of-ali/logs-1/owner.json',
      'snapferry-work/owners/index/uuid-of-ali/logs-2/owner.json',
      'snapferry-work/owners/location/to/owner.json',
      'snapferry-work/run-1/plan.json',
      'snapferry-work/run-1/preflight.json',
    ]);
    const file = JSON.parse(world.to.blobs.get('snapferry-work/run-1/plan.json')!.toString()) as PlanFile;
    expect(file.registrations.source).toEqual({ cluster: 'aws', name: 'snapferry-run1', ours: true });
  });

  test('a retry gives the same result and claims nothing twice, whatever has changed since', async () => {
    const world = World.with('logs-1');
    const first = await run(world);
    world.source.indexList.push(anIndex('logs-2'));
    world.to.put('to/index-0', Buffer.from('{}'));
    const files = new Map(world.to.blobs);
    expect(await run(world)).toEqual(first);
    expect(world.to.blobs).toEqual(files);
  });

  test('an attempt that was cut off while it claimed is completed by the next', async () => {
    const world = World.with('logs-1', 'logs-2');
    world.to.inject({ call: 'write', nth: 3, effect: 'lost-answer' });
    await expect(run(world)).rejects.toThrow(UnavailableError);
    expect(await run(world)).toMatchObject({ indices: 2 });
  });

  test('an attempt that died while it claimed leaves nothing, once it is withdrawn, and others keep theirs', async () => {
    const world = World.with('logs-1', 'logs-2');
    const others = { migration: 'other', firstRunId: 'run-2' };
    world.to.put('snapferry-work/owners/index/uuid-of-ali/theirs/owner.json', Buffer.from(JSON.stringify(others)));
    world.to.inject({ call: 'write', nth: 5, effect: 'lost-answer' });
    await expect(run(world)).rejects.toThrow(UnavailableError);
    expect(traces(world).length).toBeGreaterThan(1);
    await withdrawPreflight(world.deps, anInput(), aContext());
    expect(traces(world)).toEqual(['snapferry-work/owners/index/uuid-of-ali/theirs/owner.json']);
  });

  test('a plan that nobody can read has nothing to withdraw', async () => {
    const world = World.with('logs-1');
    const unknown = anInput({ repository: { ...aPlan().repository, target: { store: 'gcs', basePath: 'to' } } });
    for (const input of [{ ...anInput(), plan: 'plan.json' }, unknown]) {
      expect(await withdrawPreflight(world.deps, input, aContext())).toEqual({ released: 0 });
    }
  });

  test('only search attributes that the namespace knows are used', async () => {
    const world = World.with('logs-1');
    world.knownAttributes = ['SnapferryRound', 'CustomKeyword'];
    expect((await run(world)).settings.searchAttributes).toEqual(['SnapferryRound']);
  });
});

describe('preflight: what it refuses', () => {
  test('every independent problem is in one answer, and nothing is left behind', async () => {
    const world = World.with('logs-1');
    world.source.indexList.push(
      anIndex('logs-2', { open: false, health: undefined }),
      anIndex('logs-3', { health: 'red' }),
    );
    world.target.indexList.push(anIndex('logs-1'));
    world.source.running.push({ repository: 'nightly', snapshot: 'n-1', shardsDone: 0, shardsTotal: 1 });
    world.to.put('to/index-7', Buffer.from('{}'));
    const before = traces(world);
    const message = await refusal(world, anInput({ indices: ['logs-*', 'nothing-*'] }));
    expect(message.split('\n- ')).toEqual([
      expect.stringContaining('nothing was changed'),
      expect.stringContaining("Snapshot 'n-1' of repository 'nightly' runs"),
      expect.stringContaining("'to' of memory:oss holds a snapshot repository"),
      expect.stringContaining("'nothing-*' matches no index"),
      expect.stringContaining("The target has an index 'logs-1' already (open), which is a stranger's"),
      expect.stringContaining("'logs-2' is closed"),
      expect.stringContaining("'logs-3' is red"),
    ]);
    expect(traces(world)).toEqual(before);
  });

  test('a plan with faults is refused with all of them before anything is asked', async () => {
    const world = World.with('logs-1');
    expect(await refusal(world, { ...anInput(), plan: { source: 'aws', oops: 1 } })).toMatch(
      /target.*oops|oops.*target/s,
    );
    expect(world.to.calls).toEqual([]);
  });

  test('names that the connections file does not have are refused together', async () => {
    const webhooks = { notify: 'beeper', cutover: { switchover: { webhook: 'bell' } } };
    const message = await refusal(World.with('logs-1'), anInput({ source: 'aws-2', target: 'ali-2', ...webhooks }));
    expect(message).toMatch(/'aws-2'[\s\S]*'ali-2'[\s\S]*'beeper'[\s\S]*'bell'/);
  });

  test('one webhook that the connections file does not have is enough', async () => {
    const message = await refusal(World.with('logs-1'), anInput({ notify: 'beeper' }));
    expect(message).toContain("no webhook 'beeper'");
  });

  test('one cluster under two names is refused', async () => {
    const world = World.with('logs-1');
    world.target.clusterInfo = { ...world.target.clusterInfo, uuid: 'uuid-of-aws' };
    expect(await refusal(world)).toContain("'aws' and 'ali' are the same cluster");
  });

  test('a target that is older than the source is refused with both versions', async () => {
    const world = World.with('logs-1');
    world.target.clusterInfo = { ...world.target.clusterInfo, version: '6.8.23' };
    expect(await refusal(world)).toMatch(/6\.8\.23.*7\.10\.2/);
  });

  test('an index that was created too long ago is refused with both versions', async () => {
    const world = World.with('logs-1');
    world.source.indexList.push(anIndex('logs-old', { createdVersionId: 5050299 }));
    expect(await refusal(world)).toMatch(/'logs-old' was created by Elasticsearch 5\.5\.2 .*7\.10\.2/);
  });

  test('an alias is refused with the names of its indices', async () => {
    const world = World.with('logs-1');
    world.source.aliasMap['logs-1'] = { logs: {} };
    const message = await refusal(world, anInput({ indices: ['logs'] }));
    expect(message).toContain("'logs' is an alias: name its indices instead: logs-1");
    expect(message).not.toContain('matches no index');
  });

  test('exclusions that leave nothing over are refused', async () => {
    expect(await refusal(World.with('logs-1'), anInput({ indices: ['logs-*', '-logs-1'] }))).toContain(
      'leave no index over',
    );
  });

  test('a dot index is taken only when it is named exactly', async () => {
    const world = World.with('.kibana', 'plain');
    expect((await run(world, anInput({ indices: ['*'] }))).indices).toBe(1);
    const named = World.with('.kibana', 'plain');
    expect((await run(named, anInput({ indices: ['*', '.kibana'] }))).indices).toBe(2);
  });

  test.each([
    ['index.frozen', 'true', 'is frozen'],
    ['index.store.type', 'snapshot', 'is a mounted snapshot'],
  ])('an index with %s: %s is refused', async (key, value, reason) => {
    const world = World.with('logs-1');
    world.source.settingsOf['logs-1'] = { [key]: value };
    expect(await refusal(world)).toContain(`'logs-1' ${reason}`);
  });

  test('a closed index or an alias of that name on the target is a stranger too', async () => {
    const closed = World.with('logs-1');
    closed.target.indexList.push(anIndex('logs-1', { open: false }));
    expect(await refusal(closed)).toContain("an index 'logs-1' already (closed)");
    const alias = World.with('logs-1');
    alias.target.aliasMap['theirs'] = { 'logs-1': {} };
    expect(await refusal(alias)).toContain("an alias 'logs-1' (of theirs)");
  });

  test('an alias to come that the target has as an index, or as a stranger’s alias, is refused before any freeze', async () => {
    const world = World.with('logs-1', 'logs-2');
    world.source.aliasMap['logs-1'] = { both: {}, theirs: { is_write_index: true }, free: {} };
    world.target.indexList.push(anIndex('both'), anIndex('films'));
    world.target.aliasMap['films'] = { theirs: { is_write_index: true } };
    const message = await refusal(world);
    expect(message).toContain("Alias 'both' cannot be set: an index of that name exists on the target");
    expect(message).toContain("Alias 'theirs' points at films on the target, which this migration does not restore");
    expect(message).not.toContain("'free'");
    expect((await run(world, anInput({ restore: { aliases: 'none' } }))).indices).toBe(2);
  });

  test('an alias that the plan sets is refused in the same way', async () => {
    const world = World.with('logs-1');
    world.target.indexList.push(anIndex('current'));
    const planned = { cutover: { switchover: { aliases: { current: 'logs-1' } } } };
    expect(await refusal(world, anInput(planned))).toContain("Alias 'current' cannot be set");
  });

  test('an alias of which only some indices are moved is a warning', async () => {
    const world = World.with('logs-1', 'films');
    for (const name of ['logs-1', 'films']) world.source.aliasMap[name] = { all: {} };
    expect((await run(world)).warnings).toContainEqual(
      expect.stringContaining("Alias 'all' points at films too, which is not moved"),
    );
    expect((await run(World.with('logs-1'))).warnings.join()).not.toContain('Alias');
  });

  test('a location with files of any kind is refused by the first of them', async () => {
    const world = World.with('logs-1');
    world.to.put('to/holiday.jpg', Buffer.from('x'));
    expect(await refusal(world)).toContain('other files that no migration of ours wrote (to/holiday.jpg)');
  });

  test('a location or index of another migration is refused by the name of its workflow', async () => {
    const world = World.with('logs-1');
    await run(world, { ...anInput(), migration: 'the-first' });
    const message = await refusal(world, { ...anInput(), migration: 'the-second', firstRunId: 'run-2' });
    expect(message).toContain("The target location 'to' belongs to migration 'the-first'");
    expect(message).toContain("The target index 'logs-1' belongs to migration 'the-first'");
  });

  test('when two claim at once the loser gives back what it had claimed', async () => {
    const world = World.with('logs-1', 'logs-2');
    const rivals = indexOwnerKey('snapferry-work', 'uuid-of-ali', 'logs-2');
    const write = world.to.write.bind(world.to);
    world.to.write = async (key, ...rest) => {
      // Everything was checked; now the rival comes first with one index.
      const rival = { migration: 'rival', firstRunId: 'run-2' };
      if (key.includes('owners/location')) world.to.put(rivals, Buffer.from(JSON.stringify(rival)));
      return write(key, ...rest);
    };
    expect(await refusal(world)).toContain("'logs-2' belongs to migration 'rival'");
    expect([...world.to.blobs.keys()]).toEqual([rivals]);
  });

  test('a writable registration of the target location is refused in either cluster, a read-only one is not', async () => {
    const writable = { type: 's3', settings: { bucket: 'oss', base_path: '/to/' } };
    const world = World.with('logs-1');
    world.source.registered['nightly'] = writable;
    world.target.registered['backup'] = writable;
    const message = await refusal(world);
    expect(message).toContain("Repository 'nightly' of cluster 'aws' may write to the target location");
    expect(message).toContain("Repository 'backup' of cluster 'ali' may write to the target location");
    const harmless = World.with('logs-1');
    harmless.target.registered['backup'] = { type: 's3', settings: { ...writable.settings, readonly: 'true' } };
    harmless.target.registered['elsewhere'] = { type: 's3', settings: { bucket: 'oss', base_path: 'to-2' } };
    await expect(run(harmless)).resolves.toBeDefined();
  });

  test('a repository that both clusters share may hold snapshots, and only the target must not write to it', async () => {
    const registered = { type: 's3', settings: { bucket: 's3', base_path: 'from' } };
    const world = World.with('logs-1');
    for (const [key, bytes] of fixture('6.8.23-rounds')) world.from.put(`from/${key}`, bytes);
    world.source.registered['nightly'] = registered;
    const { warnings } = await run(world, anInput(SHARED));
    expect(warnings).toContainEqual(
      expect.stringContaining("'nightly' of cluster 'aws' writes to the source location"),
    );
    const claimed = World.with('logs-1');
    claimed.target.registered['backup'] = registered;
    expect(await refusal(claimed, anInput(SHARED))).toContain("'backup' of cluster 'ali' may write to the target");
  });

  test('two names of one bucket are refused: the copy would be of a repository onto itself', async () => {
    const world = World.with('logs-1');
    world.bucket['oss'] = 's3';
    const repository = { source: { store: 's3', basePath: 'x' }, target: { store: 'oss', basePath: 'x' } };
    expect(await refusal(world, anInput({ repository }))).toContain("Stores 's3' and 'oss' are one place");
  });

  test('a registration that the plan names must exist and lie where the plan says', async () => {
    const repository = { ...aPlan().repository, source: { store: 's3', basePath: 'from', name: 'mine' } };
    expect(await refusal(World.with('logs-1'), anInput({ repository }))).toContain(
      "Cluster 'aws' has no repository 'mine'",
    );
    const elsewhere = World.with('logs-1');
    elsewhere.source.registered['mine'] = { type: 's3', settings: { bucket: 's3', base_path: 'other' } };
    expect(await refusal(elsewhere, anInput({ repository }))).toContain('lies at s3/other');
    const there = World.with('logs-1');
    there.source.registered['mine'] = { type: 's3', settings: { bucket: 's3', base_path: 'from' } };
    const { migration } = await there.started(anInput({ repository }));
    expect(migration.registrations.source).toEqual({ cluster: 'aws', name: 'mine', ours: false });
  });
});

describe('preflight: stores', () => {
  test("a store's refusal keeps its own sentence", async () => {
    const world = World.with('logs-1');
    world.from.inject({ call: 'list', nth: 1, effect: 'forbidden' });
    expect(await refusal(world)).toContain('The store denies access');
  });

  test('a key that the credentials may not use is named as such, with the action that lacks', async () => {
    const world = World.with('logs-1');
    const subject = { status: 403, code: 'AccessDenied', lacks: 'kms:GenerateDataKey', keyId: 'arn:aws:kms:x:1:key/k' };
    world.to.write = () => Promise.reject(new ConfigurationError('may not', { subject }));
    expect(await refusal(world)).toMatch(
      /The store denies its key arn:aws:kms:x:1:key\/k to these credentials: grant kms:GenerateDataKey, .*UseKey/,
    );
  });

  test('a target store that gives back other bytes is refused, and the probe is deleted', async () => {
    const world = World.with('logs-1');
    world.to.inject({ call: 'write', nth: 1, effect: 'rot' });
    expect(await refusal(world)).toContain('does not give back what was just written');
    expect([...world.to.blobs.keys()]).toEqual([]);
  });

  test('a target store that ignores conditions of writes is refused: two migrations could take the same target', async () => {
    const world = World.with('logs-1');
    const { write } = world.to;
    world.to.write = (key, body, options, signal) =>
      write.call(world.to, key, body, { ...options, ifAbsent: false }, signal);
    expect(await refusal(world)).toContain('overwrites a blob that was to be created only if there is none');
    expect([...world.to.blobs.keys()]).toEqual([]);
  });

  describe('what a bucket says of itself', () => {
    const forEver = { id: 'tidy', prefix: '', except: [], moves: [], deletes: { days: 90 } };

    test('rules that delete blobs are refused where we write, and warned of where they are far off at the source', async () => {
      const world = World.with('logs-1');
      world.from.told = world.to.told = { rules: [forEver], denied: [] };
      const message = await refusal(world);
      expect(message).toContain("Life-cycle rule 'tidy' of memory:oss deletes blobs below 'to/' 90 days after");
      expect(message).not.toContain('memory:s3');
      world.to.told = { denied: [] };
      expect((await run(world)).warnings).toContainEqual(
        expect.stringContaining("Life-cycle rule 'tidy' of memory:s3 deletes blobs below 'from/'"),
      );
    });

    test('of one repository for both clusters it is asked once, as of a target', async () => {
      const world = World.with('logs-1');
      world.from.told = { rules: [forEver], denied: [] };
      const message = await refusal(world, anInput(SHARED));
      expect(message.match(/Life-cycle rule/g)).toHaveLength(1);
    });

    test('OSS that keeps versions is refused in one sentence, and nothing is written to see it again', async () => {
      const world = World.with('logs-1');
      const { config } = world.deps;
      const credentials = () => ({ accessKeyId: 'a', accessKeySecret: 's' });
      const store = (name: string) => ({ ...config.store(name), type: name, credentials });
      const deps = { ...world.deps, config: { ...config, store } as unknown as typeof config };
      world.to.told = { versioning: 'suspended', denied: [] };
      const error = await preflight(deps, anInput(), aContext()).catch((thrown: Error) => thrown);
      expect((error as Error).message.split('\n')).toEqual([
        'The migration can not start; nothing was changed:',
        expect.stringContaining('- memory:oss has kept versions, which suspending does not undo'),
      ]);
      expect(world.to.calls.filter((call) => call.startsWith('write'))).toEqual([]);
    });

    test('what it does not tell these credentials is a warning that names the statement, other silence is none', async () => {
      const world = World.with('logs-1');
      world.to.told = { denied: ['s3:GetBucketVersioning'] };
      expect((await run(world)).warnings.filter((one) => one.includes('memory:'))).toEqual([
        expect.stringMatching(/^memory:oss does not tell.*s3:GetBucketVersioning.*statement ReadBucketProperties/),
      ]);
    });

    test('rules that give up uploads are a warning where the first transfer takes longer', async () => {
      const world = World.with();
      world.source.indexList.push(anIndex('logs-1', { primaryBytes: 20 * 1024 ** 4 }));
      world.to.told = {
        rules: [{ id: 'parts', prefix: '', except: [], moves: [], abortsUploadsAfterDays: 1 }],
        denied: [],
      };
      expect((await run(world)).warnings).toContainEqual(
        expect.stringContaining("Life-cycle rule 'parts' of memory:oss aborts uploads 1 day after they began"),
      );
    });
  });

  test('a source whose blobs are archived is refused until they can be read', async () => {
    const world = World.with('logs-1');
    const data = { snapshots: [{ name: 'theirs', uuid: 'u', state: 1 }], indices: {} };
    world.from.put('from/index-4', Buffer.from(JSON.stringify(data)));
    world.from.put('from/indices/a/0/__0', Buffer.from('bytes'));
    world.from.archived.set('from/indices/a/0/__0', 'GLACIER');
    expect(await refusal(world)).toContain(
      "Blob 'from/indices/a/0/__0' of memory:s3 is archived (GLACIER), and perhaps others",
    );
    // Restored: the listing goes on to say its class.
    const { read } = world.from;
    world.from.read = (key, options, signal) => {
      world.from.archived.delete(key);
      return read.call(world.from, key, options, signal);
    };
    await expect(run(world)).resolves.toMatchObject({ indices: 1 });
  });

  test('what can be mended by nobody but the operator comes before what may pass', async () => {
    const world = World.with();
    world.target.fail('info', new UnavailableError('The target did not answer'));
    expect(await refusal(world)).toContain("'logs-*' matches no index");
    const passing = World.with('logs-1');
    passing.target.fail('info', new UnavailableError('The target did not answer'));
    await expect(run(passing)).rejects.toThrow(UnavailableError);
    expect(traces(passing)).toEqual([]);
  });
});

describe('preflight: registrations', () => {
  const failure = new ConfigurationError('The cluster refuses the request: NoSuchBucket', { subject: { status: 500 } });
  const denial = new ConfigurationError('The cluster refuses these credentials: PassRole', {
    subject: { status: 403 },
  });

  test('both clusters are tried out as they will be used: the source writes, the target finds what we wrote', async () => {
    const world = World.with('logs-1');
    const tried: unknown[] = [];
    for (const cluster of [world.source, world.target]) {
      const put = cluster.putRepository.bind(cluster);
      cluster.putRepository = (name, definition) => {
        tried.push({
          name,
          ...definition.settings,
          there: [...world.to.blobs.keys()].filter((key) => /index/.test(key)),
        });
        return put(name, definition);
      };
    }
    await run(world);
    const folder = 'snapferry-work/probes/run-1';
    expect(tried).toEqual([
      { name: 'snapferry-run1-probe', bucket: 's3', base_path: 'from', there: [] },
      {
        ...{ name: 'snapferry-run1-probe', bucket: 'oss', base_path: folder, readonly: true },
        there: [`${folder}/index-0`, `${folder}/index.latest`],
      },
    ]);
  });

  test('what a cluster refuses names the statements that it may lack, and leaves nothing behind', async () => {
    const world = World.with('logs-1');
    world.source.fail('putRepository', failure, { late: true });
    world.target.fail('putRepository', denial);
    const message = await refusal(world);
    expect(message).toContain("Cluster 'aws' cannot use its repository (s3/from): The cluster refuses the request");
    expect(message).toContain("prints it as 'source cluster on s3' (statements ListRepository, ReadRepository, Write");
    expect(message).toContain('(statements WriteSnapshots, PassRole of');
    expect(traces(world)).toEqual([]);
  });

  test('nodes that may look into nothing but the folder of the repository are tried out there', async () => {
    const world = World.with('logs-1');
    const outside = "location [/r/probes] doesn't match any of the locations specified by path.repo";
    world.target.fail('putRepository', new ConfigurationError(outside, { subject: { status: 500 } }));
    world.target.readsTargetStore = false;
    await expect(run(world)).resolves.toMatchObject({ indices: 1 });
    expect(world.target.registered).toEqual({});
    for (let n = 0; n < 2; n += 1) {
      world.target.fail('putRepository', new ConfigurationError(outside, { subject: { status: 500 } }));
    }
    const again = { ...anInput(), firstRunId: 'run-2' };
    world.to.blobs.clear();
    expect(await refusal(world, again)).toContain(
      "Cluster 'ali' cannot use its repository (oss/to): location [/r/probes]",
    );
  });

  test('a target that looks elsewhere than the worker writes is refused', async () => {
    const world = World.with('logs-1');
    world.target.readsTargetStore = false;
    expect(await refusal(world)).toContain("Cluster 'ali' does not find in its repository (oss/snapferry-work/probes");
    expect(traces(world)).toEqual([]);
  });

  test('one that could not be taken away is not tried, nor one that the plan names', async () => {
    const world = World.with('logs-1');
    world.source.refused.unregister = 'DELETE /_snapshot/*: no';
    const { repository } = aPlan();
    world.target.registered['theirs'] = { type: 's3', settings: { bucket: 'oss', base_path: 'to', readonly: true } };
    const named = { ...repository, target: { ...repository.target, name: 'theirs' } };
    expect(await refusal(world, anInput({ repository: named }))).toContain('statement Unregister');
    expect([...world.source.calls, ...world.target.calls]).toEqual([]);
  });

  test('it is taken away after a cancellation, too', async () => {
    const world = World.with('logs-1');
    const stop = new AbortController();
    world.target.lists = () => {
      stop.abort(new Error('stopped'));
      return Promise.reject(new Error('stopped'));
    };
    await expect(preflight(world.deps, anInput(), { ...aContext(), signal: stop.signal })).rejects.toThrow('stopped');
    expect(traces(world)).toEqual([]);
  });
});

describe('preflight: the source location', () => {
  test('with a repository of Elasticsearch 1.x or 2.x is refused in these words', async () => {
    const world = World.with('logs-1');
    world.from.put('from/index', Buffer.from('{"snapshots":["old"]}'));
    expect(await refusal(world)).toContain('written by Elasticsearch 1.x or 2.x');
  });

  test('of which every snapshot deletes the index-N that was just listed is read again', async () => {
    const world = World.with('logs-1');
    const data = { snapshots: [{ name: 'theirs', uuid: 'u', state: 1 }], indices: {} };
    world.from.put('from/index-4', Buffer.from(JSON.stringify(data)));
    const read = world.from.read.bind(world.from);
    world.from.read = (key, ...rest) => {
      if (key !== 'from/index-4') return read(key, ...rest);
      world.from.blobs.delete('from/index-4');
      world.from.put('from/index-5', Buffer.from(JSON.stringify({ snapshots: [], indices: {} })));
      return read(key, ...rest);
    };
    expect((await run(world)).warnings.join()).not.toContain('already holds');
  });
});

describe('preflight: names on the target', () => {
  const renamed = (rename: Record<string, string>, more = {}) => anInput({ restore: { rename }, ...more });

  test('are those that are claimed, and that must be free', async () => {
    const world = World.with('logs-1');
    world.target.indexList.push(anIndex('logs-1'));
    await run(world, renamed({ 'logs-*': 'aws-*' }));
    expect(traces(world)).toContain('snapferry-work/owners/index/uuid-of-ali/aws-1/owner.json');
    expect(traces(world).join()).not.toContain('logs-1');
    const taken = World.with('logs-1');
    taken.target.indexList.push(anIndex('aws-1'));
    expect(await refusal(taken, renamed({ 'logs-*': 'aws-*' }))).toContain(
      "The target has an index 'aws-1' already (open), which is a stranger's: it is never restored over. Remove it " +
        'there yourself, or leave out "logs-1"',
    );
  });

  test('of two indices are never the same, and never that of an alias to come', async () => {
    const world = World.with('logs-1', 'logs-2');
    expect(await refusal(world, renamed({ 'logs-1': 'logs-2' }))).toContain("'logs-1', 'logs-2' would all be called");
    world.source.aliasMap['logs-2'] = { live: {} };
    expect(await refusal(world, renamed({ 'logs-1': 'live' }))).toContain('which is an alias there');
    const planned = { cutover: { switchover: { aliases: { current: 'logs-2' } } } };
    expect(await refusal(world, renamed({ 'logs-1': 'current' }, planned))).toContain('which is an alias there');
  });
});

describe('preflight: strategies', () => {
  const by = (strategy: string) => anInput({ restore: { strategy } });

  test('need the call by which the last round’s index goes, and tell what they cost', async () => {
    const world = World.with('logs-1');
    world.target.clusterInfo = { ...world.target.clusterInfo, version: '7.17.29' };
    world.target.refused.close = 'POST /x/_close: not allowed';
    expect(await refusal(world)).toContain('restore.strategy "replace"');
    expect((await run(world, by('replace'))).warnings).toEqual([
      expect.stringContaining('restore.strategy "replace" restores every index in full in every round'),
    ]);
    const other = World.with('logs-1');
    other.target.refused.delete = 'DELETE /x: no permissions';
    expect(await refusal(other, by('alias'))).toContain('DELETE /x: no permissions');
    await expect(run(other, by('close'))).resolves.toBeDefined();
  });

  test('alias needs no free name, only no alias of it', async () => {
    const world = World.with('logs-1');
    world.target.indexList.push(anIndex('logs-1'));
    expect((await run(world, by('alias'))).warnings.join()).toContain("The target has an index 'logs-1', so that name");
    const other = World.with('logs-1');
    other.target.indexList.push(anIndex('theirs'));
    other.target.aliasMap['theirs'] = { 'logs-1': {} };
    expect(await refusal(other, by('alias'))).toContain("The target has an alias 'logs-1'");
  });
});

describe('preflight: what it warns of', () => {
  test('foreign snapshots at the source, blocks that stand, clear text, and targets that restore in full', async () => {
    const world = World.with();
    world.source.indexList.push(anIndex('logs-1', { blocks: ['write'] }));
    world.url['ali'] = 'http://ali.example:9200';
    const data = { snapshots: [{ name: 'theirs', uuid: 'u', state: 1 }], indices: {} };
    world.from.put('from/index-4', Buffer.from(JSON.stringify(data)));
    expect((await run(world)).warnings).toEqual([
      expect.stringContaining('restored in full in every round'),
      expect.stringContaining("Cluster 'ali' is reached over http"),
      expect.stringContaining('already holds 1 snapshot(s)'),
      expect.stringContaining("'logs-1' is blocked on the source already (write)"),
    ]);
  });

  test('disks so full that a cluster has blocked its indices, on either side', async () => {
    const world = World.with();
    const blocks = ['read_only_allow_delete'];
    world.source.indexList.push(anIndex('logs-1', { blocks }));
    world.target.indexList.push(anIndex('theirs', { blocks }), anIndex('other', { blocks }));
    expect((await run(world)).warnings).toEqual(
      expect.arrayContaining([
        expect.stringContaining("so index 'logs-1' takes no writes there (read_only_allow_delete)"),
        expect.stringMatching(/target is, or was, so full that 2 of its indices take no writes .* such as 'theirs'/),
      ]),
    );
  });

  test('a session token, which may end before the first round does', async () => {
    const world = World.with('logs-1');
    const { config } = world.deps;
    const keys = { accessKeyId: 'a', secretAccessKey: 's', accessKeySecret: 's' };
    const config2 = {
      ...config,
      cluster: (name: string) => ({
        ...config.cluster(name),
        auth: { type: 'sigv4', keys: () => (name === 'aws' ? { ...keys, sessionToken: 'TOKEN' } : keys) },
      }),
      store: (name: string) => ({
        ...config.store(name),
        ...{ type: name, credentials: () => ({ ...keys, ...(name === 'oss' ? { securityToken: 'TOKEN' } : {}) }) },
      }),
    } as unknown as typeof config;
    const { warnings } = await preflight({ ...world.deps, config: config2 }, anInput(), aContext());
    const tokens = warnings.filter((warning) => warning.includes('session token'));
    expect(tokens).toEqual([
      expect.stringMatching(/^Cluster 'aws' is reached by a session token.*first round takes about/),
      expect.stringMatching(/^Store 'oss' is reached by a session token/),
    ]);
    expect(warnings.join()).not.toContain('TOKEN');
  });

  describe('a session of the environment', () => {
    const NAMES = ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN', 'AWS_CREDENTIAL_EXPIRATION'];
    const before = NAMES.map((name) => [name, process.env[name]] as const);
    afterEach(() => {
      for (const [name, value] of before) {
        if (value === undefined) delete process.env[name];
        else process.env[name] = value;
      }
    });
    const warned = async (expiration: string) => {
      ['KEY', 'SECRET', 'TOKEN', expiration].forEach((value, at) => (process.env[NAMES[at]!] = value));
      const { warnings } = await run(World.with('logs-1'));
      return warnings.filter((warning) => warning.includes('session token'));
    };

    test('that ends before the first round does is a warning with both times, one that lasts is none', async () => {
      expect(await warned('2020-01-01T00:00:00Z')).toEqual(
        ['s3', 'oss'].map((name): unknown =>
          expect.stringMatching(
            new RegExp(`^Store '${name}' is .*, which ends at 2020-01-01T00:00Z; .* to take until 20\\d\\d-.*Z: use`),
          ),
        ),
      );
      expect(await warned(new Date(Date.now() + 3_600_000).toISOString())).toEqual([]);
      expect(await warned('')).toEqual([expect.stringContaining('nobody here knows'), expect.anything()]);
    });
  });

  test('of nothing on loopback and a modern target, and of 20 things at most', async () => {
    const quiet = World.with('logs-1');
    quiet.url['ali'] = 'http://127.0.0.1:9200';
    quiet.target.clusterInfo = { ...quiet.target.clusterInfo, version: '7.17.29' };
    expect((await run(quiet)).warnings).toEqual([]);
    const loud = World.with();
    for (let n = 0; n < 30; n += 1) loud.source.indexList.push(anIndex(`logs-${n}`, { blocks: ['write'] }));
    expect((await run(loud)).warnings).toHaveLength(20);
  });
});
