/** What every cluster promises, one suite for all versions. A test only says how to reach an empty one. */
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { MigrationError } from '../../src/domain/errors';
import { patternsOf } from '../../src/domain/definitions';
import type { Definition } from '../../src/domain/definitions';
import { ConfigurationError, UnavailableError, WritesNotBlockedError } from '../../src/domain/errors';
import { WorkKeys } from '../../src/domain/names';
import { CALLS } from '../../src/elasticsearch/calls';
import type { CallName, NeededCall } from '../../src/elasticsearch/calls';
import type {
  Cluster,
  IndexInfo,
  RepositoryDefinition,
  RestoreRequest,
  ShardRecovery,
  SnapshotInfo,
} from '../../src/elasticsearch/cluster';
import { compareAllDocuments } from '../../src/steps/compare-documents';
import { Bucket } from '../../src/storage';
import { MemoryStore } from '../support/memory-store';
import { readOnly } from '../../src/steps/registration';
import { withoutMerges } from '../../src/steps/restore';

export interface OpenedCluster {
  readonly cluster: Cluster;
  readonly distribution?: 'elasticsearch' | 'opensearch';
  readonly version: string;
  /** A request past the port, for what only tests do: creating an index, writing a document. A text is sent as it is. */
  readonly send: (method: string, path: string, body?: unknown) => Promise<{ status: number; body: unknown }>;
  /** A new place where the cluster may keep a repository. */
  readonly place: () => Promise<RepositoryDefinition>;
  /** The folder of this machine in which the blobs of such a place lie. */
  readonly folderOf: (place: RepositoryDefinition) => string;
  /** One that it may not use. */
  readonly forbiddenPlace: RepositoryDefinition;
  /** Settings of a repository that it takes and never shows. */
  readonly secretSettings?: readonly string[];
  /** A setting of the cluster that may be changed, and a value for it. Default: the throttle of recoveries. */
  readonly changeable?: readonly [name: string, value: string];
  /** Definitions that a service before the cluster does not tell. */
  readonly untold?: readonly Definition['kind'][];
  readonly cleanup: () => Promise<void>;
}

const NEVER = new AbortController().signal;
/** What a name may hold and a path may not, or only encoded. Made of two bytes and more: `é`, `日`. */
const ODD_NAMES = ['.dot', 'a+b', 'a%2bb', 'a.b', "a'b(c)!", 'a&b=c;d', 'a@b~$', '日本-é'];
/** Slow enough to look at a snapshot or restore, quick enough not to wait for its end. */
const SLOW = '40kb';

export function describeCluster(name: string, open: () => Promise<OpenedCluster>): void {
  describe(`${name} keeps the promises of a cluster`, () => {
    let opened: OpenedCluster;
    let cluster: Cluster;
    let major: number;
    let hasBlockCall: boolean;
    const indices: string[] = [];
    const repositories: string[] = [];

    beforeAll(async () => {
      opened = await open();
      cluster = opened.cluster;
      const [first = 0, second = 0] = opened.version.split('.').map(Number);
      // OpenSearch began at 7.10, and took mapping types away with 2.0 as Elasticsearch did with 8.0.
      major = opened.distribution === 'opensearch' ? first + 6 : first;
      hasBlockCall = opened.distribution === 'opensearch' || first > 7 || (first === 7 && second >= 9);
    });
    afterAll(() => opened?.cleanup());
    afterEach(async () => {
      for (const index of indices.splice(0)) await opened.send('DELETE', `/${encodeURIComponent(index)}`);
      for (const repository of repositories.splice(0)) {
        await eventually(
          () => opened.send('DELETE', `/_snapshot/${repository}`),
          ({ status }) => status < 500 && status !== 409,
        );
      }
    });

    /** Fails the test when the cluster refuses. */
    const must = async (method: string, path: string, body?: unknown) => {
      const answer = await opened.send(method, path, body);
      if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
      return answer.body;
    };
    const create = async (index: string, settings: object = {}) => {
      indices.push(index);
      const body = { settings: { number_of_shards: 1, number_of_replicas: 0, ...settings } };
      await must('PUT', `/${encodeURIComponent(index)}`, body);
      return index;
    };
    const type = () => (major >= 7 ? '_doc' : 'book');
    const document = (index: string, id: string) => `/${encodeURIComponent(index)}/${type()}/${id}`;
    const write = (index: string, id: string, body: object = { title: id }) => must('PUT', document(index, id), body);
    const register = async (settings: Record<string, string> = {}) => {
      const repository = `repository-${randomBytes(4).toString('hex')}`;
      repositories.push(repository);
      definitions.set(repository, await definition(settings));
      await cluster.putRepository(repository, definitions.get(repository)!, NEVER);
      return repository;
    };
    const definitions = new Map<string, RepositoryDefinition>();
    const definition = async (settings: Record<string, string> = {}) => {
      const place = await opened.place();
      return { ...place, settings: { ...place.settings, ...settings } };
    };
    const throttle = (repository: string, settings: Record<string, string>) => {
      const known = definitions.get(repository)!;
      return cluster.putRepository(repository, { ...known, settings: { ...known.settings, ...settings } }, NEVER);
    };
    const shown = ({ type, settings }: RepositoryDefinition) => ({
      type,
      settings: Object.fromEntries(
        Object.entries(settings).filter(([key]) => opened.secretSettings?.includes(key) !== true),
      ),
    });
    const snapshotOf = async (repository: string, names: readonly string[], snapshot = 'one') => {
      await cluster.createSnapshot(repository, snapshot, names, NEVER);
      return eventually(
        () => cluster.snapshot(repository, snapshot, NEVER),
        (found): found is SnapshotInfo => found !== undefined && found.state !== 'IN_PROGRESS',
      );
    };
    const restored = async (names: readonly string[], snapshot: string) => {
      // A shard may have been recovered before the next one is listed.
      await eventually(
        () => cluster.health(names, NEVER),
        (all) => names.every((one) => all[one] !== undefined && all[one].activePrimaries === all[one].shards),
      );
      return eventually(
        () => cluster.recoveries(names, NEVER),
        (all): all is ShardRecovery[] =>
          names.every((one) => all.some((shard) => shard.index === one)) &&
          all.every((shard) => shard.stage === 'DONE' && shard.snapshot === snapshot),
      );
    };
    const infoOf = async (index: string) => (await cluster.indices(NEVER)).find((info) => info.name === index);

    describe('itself', () => {
      test('says who it is', async () => {
        const info = await cluster.info(NEVER);
        expect(info).toMatchObject({ version: opened.version, distribution: opened.distribution ?? 'elasticsearch' });
        expect(info.uuid).toMatch(/^[\w-]{22}$/);
        expect(info.clusterName).not.toBe('');
        expect(await cluster.info(NEVER)).toEqual(info);
      });

      test('gives up with the reason of the signal, before and while it waits', async () => {
        const reason = new Error('cancelled by the test');
        await expect(cluster.indices(AbortSignal.abort(reason))).rejects.toBe(reason);
        const controller = new AbortController();
        const waiting = cluster.indices(controller.signal);
        controller.abort(reason);
        await expect(waiting).rejects.toBe(reason);
      });
    });

    describe('indices', () => {
      test('lists open, closed, dot and hidden ones, with what a migration asks of them', async () => {
        await create('open', { number_of_shards: 3, number_of_replicas: 1 });
        await create('.closed', { number_of_shards: 2 });
        if (hasBlockCall) await create('hidden', { 'index.hidden': true });
        await write('open', '1');
        await cluster.refresh(['open'], NEVER);
        await cluster.updateSettings(['open'], { 'index.blocks.write': true }, NEVER);
        await cluster.close(['.closed'], NEVER);

        const all = await eventually(
          () => cluster.indices(NEVER),
          (list): list is IndexInfo[] => list.find((info) => info.name === 'open')?.docs === 1,
        );
        const byName = new Map(all.map((info) => [info.name, info]));
        expect(byName.get('open')).toMatchObject({
          ...{ open: true, health: 'yellow', shards: 3, replicas: 1, docs: 1, blocks: ['write'] },
          uuid: expect.stringMatching(/^[\w-]{22}$/),
          primaryBytes: expect.any(Number),
        });
        expect(byName.get('open')?.createdVersionId).toBeGreaterThanOrEqual(major * 1_000_000);
        expect(byName.get('.closed')).toMatchObject({ open: false, shards: 2, replicas: 0, blocks: [] });
        const none = { health: undefined, docs: undefined, primaryBytes: undefined };
        expect(byName.get('.closed')).toMatchObject(none);
        if (hasBlockCall) expect(byName.get('hidden')).toMatchObject({ open: true });
      });

      test('an index that is re-created has another uuid', async () => {
        await create('again');
        const before = await infoOf('again');
        await must('DELETE', '/again');
        await create('again');
        expect((await infoOf('again'))?.uuid).not.toBe(before?.uuid);
      });

      test.each(ODD_NAMES)('takes the name %s for what it is', async (odd) => {
        await create(odd);
        await write(odd, '1');
        await cluster.refresh([odd], NEVER);
        await cluster.updateAliases([{ add: { index: odd, alias: `alias-of-${odd}` } }], NEVER);
        expect(await cluster.count(odd, NEVER)).toBe(1);
        const answers = [
          await cluster.settings([odd], NEVER),
          await cluster.mappings([odd], NEVER),
          await cluster.aliases([odd], NEVER),
          await cluster.health([odd], NEVER),
          await cluster.shardStats([odd], NEVER),
          await cluster.segments([odd], NEVER),
        ];
        expect(answers.map((answer) => Object.keys(answer))).toEqual(answers.map(() => [odd]));
        expect((await infoOf(odd))?.name).toBe(odd);
        expect((await cluster.allAliases(NEVER))[`alias-of-${odd}`]).toEqual([odd]);
        await cluster.close([odd], NEVER);
        expect((await infoOf(odd))?.open).toBe(false);
      });

      test('takes more names than fit into one request', async () => {
        const letters = [...'abcdefghijkl'];
        const names = letters.map((letter) => `${letter}${'é'.repeat(120)}`); // 721 bytes each, encoded
        for (const long of names) await create(long);
        await cluster.updateSettings(names, { 'index.refresh_interval': '77s' }, NEVER);
        await cluster.refresh(names, NEVER);
        const settings = await cluster.settings(names, NEVER);
        expect(Object.values(settings).map((flat) => flat['index.refresh_interval'])).toEqual(names.map(() => '77s'));
        const answers = [
          settings,
          await cluster.mappings(names, NEVER),
          await cluster.aliases(names, NEVER),
          await cluster.health(names, NEVER),
          await cluster.shardStats(names, NEVER),
          await cluster.segments(names, NEVER),
        ];
        for (const answer of answers) expect(Object.keys(answer).sort()).toEqual(names);
        expect(new Set((await cluster.recoveries(names, NEVER)).map(({ index }) => index))).toEqual(new Set(names));
        expect(await cluster.addWriteBlock(names, NEVER)).toBe(hasBlockCall ? 'blocked' : 'unsupported');

        const repository = await register();
        expect([...(await snapshotOf(repository, names)).indices].sort()).toEqual(names);
        await cluster.close(names, NEVER);
        await cluster.restore(repository, 'one', request(names), NEVER);
        await restored(names, 'one');
      }, 120_000);

      test('leaves out what does not exist, without waiting for it', async () => {
        await create('there');
        const names = ['there', 'nowhere'];
        const startedAt = performance.now();
        const answers = [
          await cluster.settings(names, NEVER),
          await cluster.mappings(names, NEVER),
          await cluster.aliases(names, NEVER),
          await cluster.health(names, NEVER),
          await cluster.shardStats(names, NEVER),
          await cluster.segments(names, NEVER),
        ];
        await cluster.refresh(names, NEVER);
        expect(answers.map((answer) => Object.keys(answer))).toEqual(answers.map(() => ['there']));
        expect(await cluster.recoveries(['nowhere'], NEVER)).toEqual([]);
        expect(await cluster.health(['nowhere'], NEVER)).toEqual({});
        expect(performance.now() - startedAt).toBeLessThan(10_000);
      });

      test('changes nothing, and reads nothing, for no names', async () => {
        await create('bystander');
        await cluster.close([], NEVER);
        await cluster.deleteIndices([], NEVER);
        await cluster.updateSettings([], { 'index.blocks.write': true }, NEVER);
        expect(await cluster.addWriteBlock([], NEVER)).toBe(hasBlockCall ? 'blocked' : 'unsupported');
        expect(await cluster.settings([], NEVER)).toEqual({});
        expect(await cluster.health([], NEVER)).toEqual({});
        expect(await infoOf('bystander')).toMatchObject({ open: true, blocks: [] });
      });

      test('deleting one that is not there, open or closed, leaves the others alone', async () => {
        for (const name of ['kept', 'gone', 'shut-and-gone']) await create(name);
        await cluster.close(['shut-and-gone'], NEVER);
        await cluster.deleteIndices(['gone', 'shut-and-gone', 'never-was'], NEVER);
        await cluster.deleteIndices(['gone'], NEVER); // may be repeated
        expect([await infoOf('kept'), await infoOf('gone'), await infoOf('shut-and-gone')]).toEqual([
          expect.objectContaining({ open: true }),
          undefined,
          undefined,
        ]);
      });

      test('a transient setting of the cluster is read as it was set, and is gone when it is removed', async () => {
        const [name, value] = opened.changeable ?? ['indices.recovery.max_bytes_per_sec', '104857600b'];
        expect(await cluster.transientSetting(name, NEVER)).toBeUndefined();
        await cluster.setTransientSetting(name, value, NEVER);
        expect(await cluster.transientSetting(name, NEVER)).toBe(value);
        await cluster.setTransientSetting(name, null, NEVER);
        expect(await cluster.transientSetting(name, NEVER)).toBeUndefined();
      });

      test('a change of an index that does not exist is a mistake', async () => {
        await expectFailure(cluster.close(['nowhere'], NEVER), ConfigurationError, 'index_not_found_exception');
        const settings = { 'index.blocks.write': true };
        const change = cluster.updateSettings(['nowhere'], settings, NEVER);
        await expectFailure(change, ConfigurationError, 'index_not_found_exception');
      });

      test('settings and aliases of closed indices are read like those of open ones', async () => {
        await create('shut');
        await cluster.updateAliases([{ add: { index: 'shut', alias: 'way-in' } }], NEVER);
        await cluster.close(['shut'], NEVER);
        await cluster.close(['shut'], NEVER); // may be repeated
        expect((await cluster.settings(['shut'], NEVER))['shut']).toMatchObject({ 'index.number_of_shards': '1' });
        expect(await cluster.aliases(['shut'], NEVER)).toEqual({ shut: { 'way-in': {} } });
        expect(await cluster.mappings(['shut'], NEVER)).toEqual({ shut: {} });
        expect((await cluster.allAliases(NEVER))['way-in']).toEqual(['shut']);
        await cluster.updateSettings(['shut'], { 'index.blocks.write': true }, NEVER);
        expect((await infoOf('shut'))?.blocks).toEqual(['write']);
      });

      test('mappings have the type level where the version has one', async () => {
        await create('typed');
        await write('typed', '1', { title: 'x' });
        const { typed } = (await cluster.mappings(['typed'], NEVER)) as Record<string, Record<string, unknown>>;
        expect(Object.keys(typed ?? {})).toEqual([major >= 7 ? 'properties' : 'book']);
      });
    });

    describe('aliases', () => {
      test('are changed all at once or not at all', async () => {
        await create('left');
        await create('right');
        await cluster.updateAliases([], NEVER);
        await cluster.updateAliases([{ add: { index: 'left', alias: 'books' } }], NEVER);
        const filter = { term: { lang: 'en' } };
        const move = [
          { remove: { index: 'left', alias: 'books' } },
          { add: { index: 'right', alias: 'books', filter, index_routing: '1', search_routing: '1,2' } },
        ];
        const broken = [...move, { add: { index: 'nowhere', alias: 'books' } }];
        await expectFailure(cluster.updateAliases(broken, NEVER), ConfigurationError, 'index_not_found_exception');
        expect((await cluster.allAliases(NEVER))['books']).toEqual(['left']);

        await cluster.updateAliases(move, NEVER);
        const definition = { filter, index_routing: '1', search_routing: '1,2' };
        expect(await cluster.aliases(['left', 'right'], NEVER)).toEqual({ left: {}, right: { books: definition } });
        expect((await cluster.allAliases(NEVER))['books']).toEqual(['right']);
      });
    });

    describe('repositories', () => {
      test('are registered, shown and removed; absent is no error', async () => {
        expect(await cluster.repository('absent', NEVER)).toBeUndefined();
        await cluster.deleteRepository('absent', NEVER);
        const wanted = await definition({ readonly: 'true' });
        repositories.push('shelf');
        await cluster.putRepository('shelf', wanted, NEVER);
        expect(await cluster.repository('shelf', NEVER)).toEqual(shown(wanted));
        expect((await cluster.repositories(NEVER))['shelf']).toEqual(shown(wanted));
        await cluster.deleteRepository('shelf', NEVER);
        expect(await cluster.repository('shelf', NEVER)).toBeUndefined();
      });

      test('a place that the cluster may not use is a mistake', async () => {
        repositories.push('wrong'); // services leave it registered
        const refused = cluster.putRepository('wrong', opened.forbiddenPlace, NEVER);
        await expectFailure(refused, ConfigurationError, /^repository(_verification)?_exception$/);
      });
    });

    describe('snapshots', () => {
      test('one is taken of exactly the named indices, without waiting for it', async () => {
        await create('first', { number_of_shards: 2 });
        await create('second');
        await create('third');
        await write('first', '1');
        const repository = await register();
        const info = await snapshotOf(repository, ['first', 'second']);
        expect(info).toMatchObject({ name: 'one', state: 'SUCCESS', failures: [] });
        expect(info.shards).toEqual({ total: 3, successful: 3, failed: 0 });
        expect([...info.indices].sort()).toEqual(['first', 'second']);
        expect(info.uuid).toMatch(/^[\w-]{22}$/);
        expect(info.endedAt).toBeGreaterThanOrEqual(info.startedAt);
        await cluster.deleteSnapshot(repository, 'one', NEVER);
        expect(await cluster.snapshot(repository, 'one', NEVER)).toBeUndefined();
        await cluster.deleteSnapshot(repository, 'one', NEVER);
      });

      test('a name that is taken, or cannot be one, is a mistake', async () => {
        await create('booked');
        const repository = await register();
        await snapshotOf(repository, ['booked']);
        const taken =
          major >= 8
            ? /^(invalid_snapshot_name|snapshot_name_already_in_use)_exception$/
            : 'invalid_snapshot_name_exception';
        await expectFailure(cluster.createSnapshot(repository, 'one', ['booked'], NEVER), ConfigurationError, taken);
        const upperCase = cluster.createSnapshot(repository, 'UPPER', ['booked'], NEVER);
        await expectFailure(upperCase, ConfigurationError, 'invalid_snapshot_name_exception');
      });

      test('what is not there: a snapshot is undefined, a repository or an index is a mistake', async () => {
        const repository = await register();
        expect(await cluster.snapshot(repository, 'absent', NEVER)).toBeUndefined();
        const elsewhere = cluster.snapshot('absent', 'absent', NEVER);
        await expectFailure(elsewhere, ConfigurationError, 'repository_missing_exception');
        const ofNothing = cluster.createSnapshot(repository, 'two', ['nowhere'], NEVER);
        await expectFailure(ofNothing, ConfigurationError, 'index_not_found_exception');
        await expect(cluster.createSnapshot(repository, 'two', [], NEVER)).rejects.toThrow(ConfigurationError);
        await expect(cluster.restore(repository, 'two', request([]), NEVER)).rejects.toThrow(ConfigurationError);
      });

      test('one that runs is shown, keeps its repository, and where there is one at a time, others out', async () => {
        await create('large');
        await fill('large');
        const repository = await register({ max_snapshot_bytes_per_sec: SLOW });
        await cluster.createSnapshot(repository, 'slow', ['large'], NEVER);
        const running = await eventually(
          async () => (await cluster.runningSnapshots(NEVER)).find((one) => one.repository === repository),
          (found) => found !== undefined,
        );
        expect(running).toEqual({ repository, snapshot: 'slow', shardsDone: 0, shardsTotal: 1 });
        const inUse = major >= 8 ? /^(illegal_state|repository_conflict)_exception$/ : 'illegal_state_exception';
        await expectFailure(cluster.deleteRepository(repository, NEVER), UnavailableError, inUse);
        if (!hasBlockCall) {
          const second = cluster.createSnapshot(repository, 'second', ['large'], NEVER);
          await expectFailure(second, UnavailableError, 'concurrent_snapshot_execution_exception');
        }
        if (major >= 7) {
          await expectFailure(cluster.close(['large'], NEVER), UnavailableError, 'snapshot_in_progress_exception');
        }
        await cluster.deleteSnapshot(repository, 'slow', NEVER);
      }, 120_000);
    });

    describe('restores', () => {
      test('bring back the same segments, blocked and without replicas, and leave the aliases alone', async () => {
        // They merge right after a restore, and what is searched may not show it before the next change.
        const steady = withoutMerges(await cluster.info(NEVER));
        await create('novels', { number_of_shards: 2, number_of_replicas: 1, ...steady });
        for (const id of ['1', '2', '3', '4', '5']) await write('novels', id);
        await must('DELETE', document('novels', '3'));
        const repository = await register();
        await snapshotOf(repository, ['novels']);
        await cluster.refresh(['novels'], NEVER);
        const uuid = (await infoOf('novels'))?.uuid;
        const before = await factsOf('novels');
        await cluster.updateAliases([{ add: { index: 'novels', alias: 'since-then' } }], NEVER);
        await write('novels', '6');

        await cluster.close(['novels'], NEVER);
        const wanted = { ...request(['novels']), ignoreIndexSettings: ['index.blocks.*'] };
        const accepted = await cluster.restore(repository, 'one', wanted, NEVER);
        expect([undefined, ['novels']]).toContainEqual(accepted.indices);
        const shards = await restored(['novels'], 'one');
        expect(shards.map(({ shard }) => shard).sort()).toEqual([0, 1]);
        expect(shards[0]).toMatchObject({ primary: true, type: 'SNAPSHOT', repository, snapshot: 'one' });
        for (const shard of shards) expect(shard.reusedBytes + shard.recoveredBytes).toBe(shard.totalBytes);
        for (const { startedAt, endedAt = 0 } of shards) expect(endedAt).toBeGreaterThanOrEqual(startedAt);

        const health = await eventually(
          () => cluster.health(['novels'], NEVER),
          (found) => found['novels']?.activePrimaries === 2,
        );
        expect(health['novels']).toMatchObject({ status: 'green', shards: 2, activeShards: 2, unassigned: 0 });
        await cluster.refresh(['novels'], NEVER);
        expect(await factsOf('novels')).toEqual(before);
        expect(await infoOf('novels')).toMatchObject({ uuid, open: true, replicas: 0, blocks: ['write'] });
        expect(await cluster.aliases(['novels'], NEVER)).toEqual({ novels: { 'since-then': {} } });
        expect(await opened.send('PUT', document('novels', '7'), { title: '7' })).toMatchObject({ status: 403 });
      }, 120_000);

      test('over an open index, or from a snapshot that is not there, are a mistake', async () => {
        await create('standing');
        const repository = await register();
        await snapshotOf(repository, ['standing']);
        const overOpen = cluster.restore(repository, 'one', request(['standing']), NEVER);
        await expectFailure(overOpen, ConfigurationError, 'snapshot_restore_exception');
        const fromNothing = cluster.restore(repository, 'absent', request(['standing']), NEVER);
        await expectFailure(fromNothing, ConfigurationError, 'snapshot_restore_exception');
      });

      test('of an index that the snapshot lacks, restores nothing of the others either', async () => {
        await create('kept');
        const repository = await register();
        await snapshotOf(repository, ['kept']);
        await must('DELETE', '/kept');
        const restore = cluster.restore(repository, 'one', request(['kept', 'lacking']), NEVER);
        await expectFailure(restore, ConfigurationError, 'index_not_found_exception');
        expect(await infoOf('kept')).toBeUndefined();
      });

      test('one that runs is yellow from the start, and keeps its repository in use and its index open', async () => {
        await create('heavy');
        await fill('heavy');
        const repository = await register();
        await snapshotOf(repository, ['heavy']);
        await must('DELETE', '/heavy');
        await throttle(repository, { max_restore_bytes_per_sec: SLOW });
        await cluster.restore(repository, 'one', request(['heavy']), NEVER);
        const [shard] = await eventually(
          () => cluster.recoveries(['heavy'], NEVER),
          (list): list is ShardRecovery[] => list.length > 0,
        );
        expect(shard).toMatchObject({ index: 'heavy', shard: 0, type: 'SNAPSHOT', stage: 'INDEX', snapshot: 'one' });
        const { heavy } = await cluster.health(['heavy'], NEVER);
        expect(heavy).toMatchObject({ status: 'yellow', activePrimaries: 0, initializing: 1 });

        const inUse = major >= 8 ? /^(illegal_state|repository_conflict)_exception$/ : 'illegal_state_exception';
        await expectFailure(cluster.deleteRepository(repository, NEVER), UnavailableError, inUse);
        await expectFailure(cluster.close(['heavy'], NEVER), UnavailableError, 'illegal_argument_exception');
        if (major === 5) {
          const second = cluster.restore(repository, 'one', request(['heavy']), NEVER);
          await expectFailure(second, UnavailableError, 'concurrent_snapshot_execution_exception');
        }
      }, 120_000);
    });

    describe('shards', () => {
      test('are told by primary and in order, with what was written to each', async () => {
        await create('library', { number_of_shards: 4, number_of_replicas: 1 });
        for (const id of ['1', '2', '3', '4', '5', '6']) await write('library', id);
        await must('DELETE', document('library', '6'));
        await cluster.refresh(['library'], NEVER);
        const { library = [] } = await cluster.shardStats(['library'], NEVER);
        expect(library.map(({ shard }) => shard)).toEqual([0, 1, 2, 3]);
        const total = (of: 'docs' | 'indexTotal' | 'deleteTotal') => library.reduce((sum, shard) => sum + shard[of], 0);
        expect([total('docs'), total('indexTotal'), total('deleteTotal')]).toEqual([5, 6, 1]);
        const operations = library.map((shard) => shard.indexTotal + shard.deleteTotal - 1);
        expect(library.map(({ maxSeqNo }) => maxSeqNo)).toEqual(
          major === 5 ? [undefined, undefined, undefined, undefined] : operations,
        );

        const { library: segments = [] } = await cluster.segments(['library'], NEVER);
        expect(segments.reduce((sum, { docs }) => sum + docs, 0)).toBe(5);
        const order = segments.map(({ shard, name: segment }) => `${shard} ${segment}`);
        expect(order).toEqual([...order].sort());
        for (const segment of segments) expect(segment.bytes).toBeGreaterThan(0);
      });

      test('an active one needs no explanation; why another is not is said in the words of the cluster', async () => {
        await create('fine');
        expect(await cluster.explainAllocation('fine', 0, NEVER)).toBeUndefined();
        const stuck = await createStuck();
        const why = await cluster.explainAllocation(stuck, 0, NEVER);
        expect(why).toContain('INDEX_CREATED');
        expect(why?.length).toBeLessThanOrEqual(1_000);
        expect(await cluster.health([stuck], NEVER)).toMatchObject({ [stuck]: { status: 'red', activePrimaries: 0 } });
      });

      test('a count that cannot ask every shard is no count', async () => {
        const stuck = await createStuck();
        await expect(cluster.count(stuck, NEVER)).rejects.toThrow(UnavailableError);
        await expectFailure(cluster.count('nowhere', NEVER), ConfigurationError, 'index_not_found_exception');
      });
    });

    describe('documents', () => {
      const sorted = (ids: readonly string[]) => [...ids].sort();
      const filled = async (index: string, shards: number, documents: number) => {
        await create(index, { number_of_shards: shards });
        const ids = Array.from({ length: documents }, (_, n) => `d${n}`);
        for (const id of ids) await write(index, id, { title: id, parts: [{ n: 1 }, { n: 2 }] });
        await cluster.refresh([index], NEVER);
        return ids;
      };
      const pagesOf = async (index: string, shard: number, size: number) => {
        const pages: string[][] = [];
        for await (const page of cluster.documentPages(index, shard, size, NEVER)) pages.push(page.map(({ id }) => id));
        return pages;
      };

      test('are read as they were written: no number goes through a double', async () => {
        const raw =
          '{"o":{"z":1e0,"y":1.10,"x":12345678901234567890123,"w":-0,"v":0.1e-10,"u":"\\u00e9\\/é"},"blob":"AAEC/w=="}';
        const properties = { o: { type: 'object', enabled: false }, blob: { type: 'binary' } };
        await create('exact');
        const path = major >= 7 ? '/exact/_mapping' : `/exact/_mapping/${type()}`;
        await must('PUT', path, { properties });
        await must('PUT', `${document('exact', '1')}?routing=here`, raw);
        await must('PUT', `${document('exact', '1')}?routing=here`, raw);
        await cluster.refresh(['exact'], NEVER);
        const [found, ...more] = await cluster.documentsById('exact', ['1', 'nowhere'], NEVER);
        expect(more).toEqual([]);
        expect(found).toMatchObject({
          ...{ id: '1', routing: 'here', version: '2' },
          source: '{"blob":"AAEC/w==","o":{"u":"é/é","v":0.1e-10,"w":-0,"x":12345678901234567890123,"y":1.10,"z":1e0}}',
        });
        expect(await cluster.documentsById('exact', [], NEVER)).toEqual([]);
      });

      test('without _source, of several types and with parents are told apart', async () => {
        await create('bare');
        const path = major >= 7 ? '/bare/_mapping' : `/bare/_mapping/${type()}`;
        // 7.0 and newer take it only when the index is created.
        if (major < 7) await must('PUT', path, { _source: { enabled: false } });
        await write('bare', '1');
        await cluster.refresh(['bare'], NEVER);
        const [bare] = await cluster.documentsById('bare', ['1'], NEVER);
        expect(bare?.source).toBe(major < 7 ? undefined : '{"title":"1"}');
        if (major !== 5) return;
        indices.push('family');
        await must('PUT', '/family', { mappings: { adult: {}, child: { _parent: { type: 'adult' } } } });
        await must('PUT', '/family/adult/1', { name: 'a' });
        await must('PUT', '/family/child/1?parent=1', { name: 'c' });
        await cluster.refresh(['family'], NEVER);
        const family = await cluster.documentsById('family', ['1'], NEVER);
        expect([...family].sort((a, b) => ((a.type ?? '') < (b.type ?? '') ? -1 : 1))).toEqual([
          { id: '1', type: 'adult', version: '1', source: '{"name":"a"}' },
          { id: '1', type: 'child', version: '1', routing: '1', parent: '1', source: '{"name":"c"}' },
        ]);
      });

      test('of a shard come once each, by pages, and from any place on', async () => {
        const ids = await filled('pages', 3, 25);
        const byShard = await Promise.all([0, 1, 2].map((shard) => pagesOf('pages', shard, 4)));
        expect(sorted(byShard.flat(2))).toEqual(sorted(ids));
        for (const page of byShard.flat()) expect(page.length).toBeLessThanOrEqual(4);
        const [first = []] = byShard;
        const order = first.flat();
        const after = async (place: number | undefined, size: number) =>
          (await cluster.documentsAfter('pages', 0, place, size, NEVER)).map(({ id }) => id);
        expect(await after(undefined, 3)).toEqual(order.slice(0, 3));
        expect(await after(1, 100)).toEqual(order.slice(2));
        expect(await after(1_000, 5)).toEqual([]);
      });

      test('are compared no faster than a limit, which holds for every request', async () => {
        await filled('paced', 2, 60);
        const queries = async () => {
          const { indices: all } = (await must('GET', '/paced/_stats/search')) as {
            indices: Record<string, { primaries: { search: { query_total: number } } }>;
          };
          return all['paced']?.primaries.search.query_total ?? 0;
        };
        // What the limiter would sleep passes at once.
        let now = 0;
        const bucket = new Bucket({ now: () => now, sleep: async (ms) => void (now += ms) });
        bucket.perSecond = 20;
        let [requests, documents] = [0, 0];
        const read = async (_: unknown, wanted: number, signal: AbortSignal) => {
          await bucket.take(wanted, signal);
          expect(documents).toBeLessThanOrEqual((20 * now) / 1_000 + 5);
          requests += 1;
          documents += wanted;
        };
        const side = { name: 'paced', documents: 60, segments: [], bytesPerDocument: 100_000 };
        const before = await queries();
        const rows = await compareAllDocuments(
          {
            ...{ source: cluster, target: cluster, typed: true, pace: { read, documentsPerSecond: () => 20 } },
            indices: [{ name: 'paced', shards: 2, source: side, target: side }],
          },
          { store: new MemoryStore(), keys: new WorkKeys('work').round(1, 1), pass: 'one' },
          { signal: NEVER, progress: () => undefined },
        );
        expect(rows).toMatchObject([{ verdict: 'pass', source: 60 }]);
        expect(documents).toBeGreaterThanOrEqual(120);
        expect(await queries()).toBe(before + requests);
      });

      test('a reader who stops early leaves no scroll behind', async () => {
        await filled('early', 1, 6);
        for await (const page of cluster.documentPages('early', 0, 2, NEVER)) {
          expect(page).toHaveLength(2);
          break;
        }
        const stats = (await must('GET', '/_nodes/stats/indices/search')) as {
          nodes: Record<string, { indices: { search: { scroll_current: number } } }>;
        };
        expect(Object.values(stats.nodes).map(({ indices: { search } }) => search.scroll_current)).toEqual([0]);
      });

      test('a search counts every hit and keeps the order that it asks for', async () => {
        const ids = await filled('found', 2, 12);
        const body = { size: 3, sort: [{ _doc: 'asc' }], aggs: { n: { value_count: { field: 'parts.n' } } } };
        const answer = await cluster.search(['found'], body, NEVER);
        expect(answer).toMatchObject({ total: String(ids.length), aggregations: '{"n":{"value":24}}' });
        expect(answer.documents).toHaveLength(3);
        await expect(cluster.search(['found'], { query: { nonsense: {} } }, NEVER)).rejects.toThrow(ConfigurationError);
      });

      test('of a shard that does not answer are no answer', async () => {
        const stuck = await createStuck();
        await expect(cluster.documentsById(stuck, ['1'], NEVER)).rejects.toThrow(UnavailableError);
      });
    });

    describe('what preflight asks', () => {
      it('tells of calls that it permits, and does nothing of them', async () => {
        const probed = Object.entries(CALLS as Record<string, NeededCall>).filter(
          ([, { probe }]) => probe !== undefined,
        );
        for (const [call] of probed.filter(([name]) => name !== 'block')) {
          expect([call, await cluster.refusalOf(call as CallName, NEVER)]).toEqual([call, undefined]);
        }
        expect((await cluster.refusalOf('block', NEVER)) === undefined).toBe(hasBlockCall);
        expect(JSON.stringify(await must('GET', '/_cat/indices?format=json&h=index'))).not.toContain('snapferry-asks');
      });

      it('tells whether it reads a repository that lists a snapshot, though nothing is left of that', async () => {
        const ours = { name: 'ours', uuid: 'of-whoever-wrote-this1' };
        const [here, elsewhere] = [await opened.place(), await opened.place()];
        const folder = opened.folderOf(here);
        await mkdir(folder, { recursive: true });
        await writeFile(path.join(folder, 'index-0'), JSON.stringify({ snapshots: [ours], indices: {} }));
        await writeFile(path.join(folder, 'index.latest'), Buffer.alloc(8));
        for (const [place, isListed] of [[here, true] as const, [elsewhere, false] as const]) {
          repositories.push('looked-at');
          await cluster.putRepository('looked-at', readOnly(place), NEVER);
          expect(await cluster.lists('looked-at', ours, NEVER)).toBe(isListed);
          expect(await cluster.lists('looked-at', { ...ours, name: 'another' }, NEVER)).toBe(false);
        }
        expect((await readdir(folder)).sort()).toEqual(['index-0', 'index.latest']);
        await cluster.deleteRepository('looked-at', NEVER);
        await expectFailure(
          cluster.lists('looked-at', ours, NEVER),
          ConfigurationError,
          'repository_missing_exception',
        );
      });

      it('can be asked how it would analyze, with definitions of its own', async () => {
        const known = {
          tokenizer: 'standard',
          filter: ['lowercase', { type: 'stop', stopwords: ['a'] }],
          char_filter: [],
        };
        expect(await cluster.analysisFault(known, NEVER)).toBeUndefined();
        expect(await cluster.analysisFault({ analyzer: 'standard' }, NEVER)).toBeUndefined();
        expect(await cluster.analysisFault({ analyzer: 'ik_max_word' }, NEVER)).toContain('ik_max_word');
        const unknown = { tokenizer: 'standard', filter: [{ type: 'icu_folding' }], char_filter: [] };
        expect(await cluster.analysisFault(unknown, NEVER)).toContain('icu_folding');
        const file = { tokenizer: 'standard', filter: [{ type: 'stop', stopwords_path: 'no.txt' }], char_filter: [] };
        expect(await cluster.analysisFault(file, NEVER)).toMatch(/no\.txt|stopwords_path/);
      });

      it('tells which settings of indices it does not know, and changes nothing', async () => {
        const known = [
          'index.refresh_interval',
          'index.number_of_shards',
          'index.routing.allocation.total_shards_per_node',
        ];
        const unknown = ['index.knn', 'index.opendistro.any'];
        expect(await cluster.unknownSettings([...unknown, ...known], NEVER)).toEqual(unknown);
        expect(await cluster.unknownSettings(known, NEVER)).toEqual([]);
      });

      it('lists its plugins, of which these nodes have none', async () => {
        expect(await cluster.plugins(NEVER)).toEqual([]);
      });

      it('has no slower storage, as only domains of Amazon’s have', async () => {
        expect(await cluster.slowIndices(NEVER)).toEqual({ warm: [], cold: [] });
      });

      it('lists its pipelines', async () => {
        const name = `pipeline-${randomBytes(4).toString('hex')}`;
        await must('PUT', `/_ingest/pipeline/${name}`, { processors: [] });
        try {
          expect(await cluster.pipelines(NEVER)).toContain(name);
        } finally {
          await must('DELETE', `/_ingest/pipeline/${name}`);
        }
        expect(await cluster.pipelines(NEVER)).not.toContain(name);
      });

      it('tells its definitions so that its own PUT takes them as they are, but those that it made itself', async () => {
        const name = `defined-${randomBytes(4).toString('hex')}`;
        const pattern = `${name}-*`;
        await must('PUT', `/_template/${name}`, major >= 6 ? { index_patterns: [pattern] } : { template: pattern });
        await must('PUT', `/_ingest/pipeline/${name}`, { description: 'none', processors: [] });
        if (hasBlockCall) {
          await must('PUT', `/_component_template/${name}`, { template: { settings: { number_of_shards: 2 } } });
          const composed = { index_patterns: [pattern], composed_of: [name], priority: 3 };
          await must('PUT', `/_index_template/${name}`, composed);
        }
        const found = (await cluster.definitions(NEVER)).all;
        expect(found.every((one) => one.name === name)).toBe(true);
        for (const { path } of found) await must('DELETE', path);
        expect(await cluster.definitions(NEVER)).toEqual({ all: [], scriptsKnown: true });
        // A component template must be there before that which is composed of it.
        for (const { path, body } of [...found].reverse()) await must('PUT', path, body);
        expect((await cluster.definitions(NEVER)).all).toEqual(found);
        for (const { path } of found) await must('DELETE', path);
        const { untold = [] } = opened;
        if (untold.includes('component-template')) await must('DELETE', `/_component_template/${name}`);
        const kinds = hasBlockCall
          ? (['template', 'index-template', 'component-template', 'pipeline'] as const)
          : (['template', 'pipeline'] as const);
        expect(found.map(({ kind }) => kind)).toEqual(kinds.filter((kind) => !untold.includes(kind)));
        expect(found.flatMap(patternsOf)).toEqual(hasBlockCall ? [pattern, pattern] : [pattern]);
      });

      it('tells how much room it has, and limits shards from 7.0 on', async () => {
        const before = (await cluster.room(NEVER))!;
        expect(before.nodes).toBe(1);
        expect(before.freeBytes).toBeGreaterThan(0);
        expect(before.totalBytes).toBeGreaterThan(before.freeBytes);
        expect(before.shardsPerNode).toBe(major >= 7 ? 1_000 : undefined);
        expect(before.watermarks).toEqual([]);
        const judgesDisks = (value: string | null) =>
          must('PUT', '/_cluster/settings', {
            transient: { 'cluster.routing.allocation.disk.threshold_enabled': value },
          });
        await judgesDisks('true');
        const { watermarks } = (await cluster.room(NEVER))!;
        await judgesDisks(null);
        expect(watermarks[0]).toMatchObject({ name: 'low', value: '85%' });
        expect(watermarks.map(({ name }) => name)).toEqual(['low', 'high', ...(major >= 6 ? ['flood_stage'] : [])]);
        await create('three-shards', { number_of_shards: 3 });
        await eventually(
          () => cluster.room(NEVER),
          (room) => (room?.shards ?? 0) >= before.shards + 3,
        );
      });

      it('has no data streams and no schedules where nobody made any', async () => {
        expect(await cluster.dataStreams(NEVER)).toEqual({});
        expect(await cluster.snapshotPolicies(NEVER)).toEqual({});
      });
    });

    describe('writes', () => {
      test('a block by settings refuses them until it is removed', async () => {
        await create('diary');
        await cluster.updateSettings(['diary'], { 'index.blocks.write': true }, NEVER);
        expect(await opened.send('PUT', document('diary', '1'), {})).toMatchObject({ status: 403 });
        expect((await cluster.settings(['diary'], NEVER))['diary']).toMatchObject({ 'index.blocks.write': 'true' });
        await cluster.updateSettings(['diary'], { 'index.blocks.write': null }, NEVER);
        expect((await cluster.settings(['diary'], NEVER))['diary']).not.toHaveProperty(['index.blocks.write']);
        await write('diary', '1');
      });

      test('the block call drains them, or changes nothing where there is no such call', async () => {
        await create('ledger');
        await create('journal');
        const answer = await cluster.addWriteBlock(['ledger', 'journal'], NEVER);
        expect(answer).toBe(hasBlockCall ? 'blocked' : 'unsupported');
        const blocks = hasBlockCall ? ['write'] : [];
        expect((await infoOf('ledger'))?.blocks).toEqual(blocks);
        expect((await infoOf('journal'))?.blocks).toEqual(blocks);
        expect(await opened.send('PUT', document('ledger', '1'), {})).toMatchObject({
          status: hasBlockCall ? 403 : 201,
        });
        await cluster.refresh(['journal'], NEVER);
        expect(await cluster.count('journal', NEVER)).toBe(0); // on 5.x the path is that of a document
      });

      test('the block call proves nothing of an index that was blocked before, or that does not exist', async () => {
        if (!hasBlockCall) return;
        await create('twice');
        await create('once');
        expect(await cluster.addWriteBlock(['twice'], NEVER)).toBe('blocked');
        await expect(cluster.addWriteBlock(['twice'], NEVER)).rejects.toThrow(WritesNotBlockedError);
        await expect(cluster.addWriteBlock(['twice', 'once'], NEVER)).rejects.toThrow(WritesNotBlockedError);
        const missing = cluster.addWriteBlock(['nowhere'], NEVER);
        await expectFailure(missing, ConfigurationError, 'index_not_found_exception');
      });

      test('those in flight are told with what they write to', async () => {
        const stuck = await createStuck();
        const waiting = opened.send('PUT', `${document(stuck, '1')}?timeout=3s`, { title: 'waits for a primary' });
        const tasks = await eventually(
          () => cluster.writeTasks(NEVER),
          (list) => list !== 'unsupported' && list.length > 0,
        );
        expect(tasks[0]).toMatchObject({
          id: expect.stringContaining(':'),
          action: expect.stringMatching(/^indices:data\/write\//),
        });
        expect(JSON.stringify(tasks)).toContain(stuck);
        await waiting;
        const quiet = await eventually(
          () => cluster.writeTasks(NEVER),
          (list) => list.length === 0,
        );
        expect(quiet).toEqual([]);
      });
    });

    /** An index whose only shard is for a node that does not exist. */
    const createStuck = async () => {
      const index = `stuck-${randomBytes(3).toString('hex')}`;
      indices.push(index);
      const settings = { number_of_shards: 1, 'index.routing.allocation.require._name': 'nobody' };
      await must('PUT', `/${index}?wait_for_active_shards=0`, { settings });
      return index;
    };
    /** Does not compress, and takes some seconds at the pace of SLOW. */
    const fill = async (index: string) => {
      const body = () => ({ noise: randomBytes(6_000).toString('base64') });
      for (let id = 0; id < 8; id += 1) await write(index, String(id), body());
    };
    const factsOf = async (index: string) => ({
      count: await cluster.count(index, NEVER),
      segments: (await cluster.segments([index], NEVER))[index],
      shards: (await cluster.shardStats([index], NEVER))[index]?.map(({ shard, docs, deleted, maxSeqNo }) => ({
        ...{ shard, docs, deleted, maxSeqNo },
      })),
    });
  });
}

function request(indices: readonly string[]): RestoreRequest {
  const indexSettings = { 'index.blocks.write': true, 'index.number_of_replicas': 0 };
  return { indices, indexSettings, ignoreIndexSettings: [], includeAliases: false };
}

type ErrorClass = new (message: string) => MigrationError;

/** The class says who must act, the subject where it happened and what the cluster called it. */
async function expectFailure(promise: Promise<unknown>, expected: ErrorClass, type: string | RegExp): Promise<void> {
  const error = await promise.then(
    () => undefined,
    (failure: unknown) => failure,
  );
  expect(error).toBeInstanceOf(expected);
  const { subject } = error as MigrationError;
  expect(subject).toMatchObject({
    request: expect.stringMatching(/^(GET|PUT|POST|DELETE) \//),
    status: expect.any(Number),
  });
  if (typeof type === 'string') expect(subject['type']).toBe(type);
  else expect(subject['type']).toMatch(type);
}

async function eventually<T, U extends T>(look: () => Promise<T>, done: (value: T) => value is U): Promise<U>;
async function eventually<T>(look: () => Promise<T>, done: (value: T) => boolean): Promise<T>;
async function eventually<T>(look: () => Promise<T>, done: (value: T) => boolean): Promise<T> {
  for (const startedAt = performance.now(); ; await sleep(50)) {
    const value = await look();
    if (done(value)) return value;
    if (performance.now() - startedAt > 60_000) throw new Error(`not within a minute; last: ${JSON.stringify(value)}`);
  }
}
