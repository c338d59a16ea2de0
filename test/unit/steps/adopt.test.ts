import { ConfigurationError } from '../../../src/domain/errors';
import { indexOwnerKey, locationOwnerKey, WorkKeys } from '../../../src/domain/names';
import { undoneKey } from '../../../src/steps/frozen-source';
import { preflight } from '../../../src/steps/preflight';
import { proofsBefore } from '../../../src/steps/proofs';
import { switchAliases, unblockTarget } from '../../../src/steps/switchover';
import { anIndex } from '../../support/fake-cluster';
import { aContext, anInput, World } from './world';

const OLD = WorkKeys.of('snapferry-work', 'run-1');
const NEW = WorkKeys.of('snapferry-work', 'run-2');
const next = (plan: Readonly<Record<string, unknown>> = {}) => ({
  ...anInput({ adopt: 'move-logs', ...plan }),
  ...{ migration: 'next', firstRunId: 'run-2' },
});
const start = (world: World, plan = {}) => preflight(world.deps, next(plan), aContext());
const json = (value: unknown) => Buffer.from(`${JSON.stringify(value)}\n`);
const COUNTERS = { shard: 0, indexTotal: 7, deleteTotal: 0, maxSeqNo: 6 };
const STATS = { ...COUNTERS, docs: 7, deleted: 0 };
const LEDGER_ROW = {
  ...{ id: 'logs-1/documents', index: 'logs-1', check: 'documents', verdict: 'pass' },
  ...{ source: 1, target: 1 },
};
const ownerOf = (world: World, key: string) => JSON.parse(world.to.blobs.get(key)?.toString() ?? '{}') as object;

/** A migration of two indices that was terminated after its baseline. */
async function terminated(): Promise<World> {
  const world = World.with('logs-1', 'logs-2');
  await world.started();
  for (const [name, body] of [
    ['round-0000-a1/proofs/0000.jsonl', { key: 'old', length: 1 }],
    ['round-0001-a2/proofs/0000.jsonl', { key: 'older round, newer file', length: 2 }],
    ['restored/logs-1.json', { uuids: ['restored'], restoring: { repository: 'r', snapshot: 's' } }],
    ['left/s.json', { indices: {} }],
    ['published/index-4', { generation: 4, digest: 'd', snapshot: 's' }],
    ['snapshots/s.json', {}],
    ['registrations/ali-snapferry-run1.json', {}],
  ] as const) {
    world.to.put(`${OLD.prefix}/${name}`, json(body));
  }
  world.target.registered['snapferry-run1'] = { type: 's3', settings: { readonly: true } };
  world.target.indexList.push(anIndex('logs-1', { uuid: 'restored' }));
  world.to.put('to/index-4', Buffer.from('published'));
  return world;
}

test('a closed migration is taken over with its claims, proofs and records, and its registrations go', async () => {
  const world = await terminated();
  const { warnings } = await start(world);
  expect(warnings[0]).toBe("Took over from migration 'move-logs': its claims, 2 files of proofs, and what it restored");
  for (const key of [
    locationOwnerKey('snapferry-work', 'to'),
    indexOwnerKey('snapferry-work', 'uuid-of-ali', 'logs-1'),
    indexOwnerKey('snapferry-work', 'uuid-of-ali', 'logs-2'),
  ]) {
    expect(ownerOf(world, key)).toEqual({ migration: 'next', firstRunId: 'run-2' });
  }
  const proofs = [];
  for await (const proof of proofsBefore(world.to, NEW, { round: 0, attempt: 1 }, aContext())) proofs.push(proof.key);
  expect(proofs).toEqual(['old', 'older round, newer file']);
  const restored = JSON.parse(world.to.blobs.get(`${OLD.prefix}/restored/logs-1.json`)?.toString() ?? '') as object;
  expect(JSON.parse(world.to.blobs.get(`${NEW.prefix}/restored/logs-1.json`)?.toString() ?? '')).toEqual({
    ...restored,
    adopted: true,
  });
  for (const name of ['left/s.json', 'published/index-4', 'snapshots/s.json']) {
    expect(world.to.blobs.get(`${NEW.prefix}/${name}`)).toEqual(world.to.blobs.get(`${OLD.prefix}/${name}`));
  }
  expect(world.target.registered).toEqual({});
});

test('an attempt that was cut off in between is completed by the next', async () => {
  const world = await terminated();
  world.to.inject({ call: 'write', nth: 4, effect: 'unavailable' });
  await expect(start(world)).rejects.toThrow();
  expect((await start(world)).warnings[0]).toContain('Took over');
});

test('one that was aborted, whose claims are free, is taken over as well', async () => {
  const world = await terminated();
  for (const key of [...world.to.blobs.keys()].filter((name) => name.includes('/owners/'))) world.to.blobs.delete(key);
  await start(world);
  expect(ownerOf(world, locationOwnerKey('snapferry-work', 'to'))).toMatchObject({ migration: 'next' });
});

test.each<[string, (world: World) => void, RegExp]>([
  ['still runs', (world) => void world.running.push('move-logs'), /'move-logs' still runs: abort it/],
  ['still holds a freeze', (world) => void world.to.put(OLD.freeze(1).record, json({})), /still holds freeze 1: wait/],
  [
    'was committed, and has its report',
    (world) => {
      world.to.put(OLD.freeze(1).record, json({ indices: [] }));
      world.to.put(OLD.freeze(1).outcome, json({ outcome: 'committed' }));
      world.to.put(OLD.report, json({}));
    },
    /was committed: clients may write on the target/,
  ],
  [
    'has a transfer that runs',
    (world) => void world.running.push('move-logs/round-1-a2'),
    /still has a transfer that runs/,
  ],
])('one that %s is refused, and keeps its claims', async (_, change, says) => {
  const world = await terminated();
  change(world);
  await expect(start(world)).rejects.toThrow(ConfigurationError);
  await expect(start(world)).rejects.toThrow(says);
  expect(ownerOf(world, locationOwnerKey('snapferry-work', 'to'))).toMatchObject({ migration: 'move-logs' });
});

describe('a migration that was lost inside its cutover', () => {
  const frozen = { indices: [{ name: 'logs-1', uuid: 'uuid-logs-1', blockedBefore: false, aliases: [] }] };
  const files = OLD.freeze(1);
  const blocked = { 'index.blocks.write': 'true' };
  const put = (world: World, key: string, value: unknown) => world.to.put(key, json(value));
  /** What each step leaves behind, in the order in which they are taken. */
  const steps: Readonly<Record<string, (world: World) => void>> = {
    'the record of the freeze': (world) => put(world, files.record, frozen),
    'the block': (world) => void (world.source.settingsOf['logs-1'] = { ...blocked }),
    'the proof that writes are at rest': (world) => {
      world.source.counted['logs-1'] = [STATS];
      put(world, files.quiescence, { counters: { 'logs-1': [COUNTERS] } });
    },
    'the last restore': (world) => void (world.target.settingsOf['logs-1'] = { ...blocked }),
    'the ledger': (world) => put(world, OLD.round(1, 2).ledger, { level: 'counts', rows: [LEDGER_ROW] }),
    'the commit': (world) => put(world, files.outcome, { outcome: 'committed' }),
    'what the target was before it was opened': (world) => put(world, files.switch, { indices: [], tally: {} }),
    'opening the target': (world) => void (world.target.settingsOf['logs-1'] = {}),
    'the aliases': (world) => void (world.target.aliasMap['logs-1'] = { logs: {} }),
    'the report': (world) => put(world, OLD.report, {}),
    'the record of what a rollback blocks': (world) => put(world, files.targetBlock, { indices: [] }),
    'the block of the target': (world) => void (world.target.settingsOf['logs-1'] = { ...blocked }),
    'the word on the rollback': (world) => put(world, files.rollback, { accepted: { operations: 0, exact: true } }),
    'opening the source': (world) => put(world, undoneKey(files), {}),
  };
  const lostAfter = async (last: string) => {
    const world = await terminated();
    for (const [step, left] of Object.entries(steps)) {
      left(world);
      if (step === last) break;
    }
    return world;
  };
  const holds = /still holds freeze 1: wait for its deadline, or run `npx snapferry unfreeze`/;
  const rollback = /a rollback was begun: if neither side takes writes, run `npx snapferry unfreeze`/;

  test.each<[keyof typeof steps, RegExp]>([
    ['the record of the freeze', holds],
    ['the block', holds],
    ['the proof that writes are at rest', holds],
    ['the last restore', holds],
    ['the report', /was committed: clients may write on the target/],
    ['the record of what a rollback blocks', rollback],
    ['the block of the target', rollback],
    ['the word on the rollback', rollback],
    ['opening the source', /rolled back: the source takes the writes. Remove its indices from ali, and start without/],
  ])('after %s is told how both sides stand, and what ends that', async (last, says) => {
    const world = await lostAfter(last);
    const before = JSON.stringify([world.source.settingsOf, world.target.settingsOf]);
    await expect(start(world)).rejects.toThrow(says);
    expect(JSON.stringify([world.source.settingsOf, world.target.settingsOf])).toBe(before);
    expect(ownerOf(world, locationOwnerKey('snapferry-work', 'to'))).toMatchObject({ migration: 'move-logs' });
  });

  test('after its release goes on once the source is seen open, and not before', async () => {
    const world = await terminated();
    put(world, files.record, frozen);
    put(world, files.outcome, { outcome: 'released' });
    await expect(start(world)).rejects.toThrow(holds);
    put(world, undoneKey(files), { unblocked: 1, leftBlocked: 0 });
    expect((await start(world)).warnings[0]).toContain('Took over');
  });

  test('and aborted after the commit is refused with the call that opens the target', async () => {
    const world = await lostAfter('the commit');
    put(world, OLD.report, { outcome: 'aborted' });
    await expect(start(world)).rejects.toThrow(
      /stopped before 1 of its indices were opened on ali: .*source stays blocked. Open them with PUT \/logs-1\/_settings/,
    );
    // What was excluded stays blocked on the target, and is not missed there.
    put(world, OLD.exclusion('logs-1'), { index: 'logs-1' });
    await expect(start(world)).rejects.toThrow(/was committed: clients may write/);
  });

  describe('after the commit is ended by whoever adopts it:', () => {
    const AFTER = ['the commit', 'what the target was before it was opened', 'opening the target', 'the aliases'];
    /** What the workflow then does, each step of which may have been done. */
    const end = async (world: World) => {
      const { lost } = await start(world, { indices: ['other-*'] });
      if (lost === undefined) throw new Error('nothing was taken over');
      const steps = [
        () => unblockTarget(world.deps, lost, aContext()),
        () => switchAliases(world.deps, lost, aContext()),
      ];
      for (const step of steps) await step();
      return lost;
    };

    test.each(AFTER)('after %s', async (last) => {
      const world = await lostAfter(last);
      world.source.aliasMap['logs-1'] = { logs: {} };
      put(world, OLD.round(1, 2).scope, { indices: [{ name: 'logs-1', uuid: 'uuid-logs-1', shards: 1, replicas: 1 }] });
      const lost = await end(world);
      expect(lost).toMatchObject({ round: 1, attempt: 2, freeze: 1, verification: { passed: 1, failed: 0 } });
      expect(lost.plan).toMatchObject({ migration: 'move-logs', firstRunId: 'run-1', prefix: OLD.prefix });
      expect(world.target.settingsOf['logs-1']?.['index.blocks.write']).not.toBe('true');
      expect(world.target.aliasMap['logs-1']).toEqual({ logs: {} });
      expect(world.source.settingsOf['logs-1']).toEqual(blocked);
      expect(ownerOf(world, locationOwnerKey('snapferry-work', 'to'))).toMatchObject({ migration: 'move-logs' });
      expect([...world.to.blobs.keys()].filter((key) => key.startsWith(NEW.prefix))).toEqual([]);
    });

    test('a source whose shards moved or restarted since counts from 0 again, and has taken no write', async () => {
      const world = await lostAfter('the commit');
      world.source.counted['logs-1'] = [{ ...STATS, indexTotal: 0 }];
      expect((await start(world)).lost).toBeDefined();
      // Before 6.0 nothing else tells.
      world.source.counted['logs-1'] = [{ ...STATS, indexTotal: 0, maxSeqNo: undefined }];
      await expect(start(world)).rejects.toThrow('counts other operations');
    });

    test('by one at a time, and by the next when that one is lost as well', async () => {
      const world = await lostAfter('the commit');
      await start(world);
      world.running.push('next');
      const third = () => preflight(world.deps, { ...next(), migration: 'third', firstRunId: 'run-3' }, aContext());
      await expect(third()).rejects.toThrow("migration 'next' ends that cutover already");
      expect((await start(world)).lost).toBeDefined();
      world.running.pop();
      expect((await third()).lost).toBeDefined();
    });

    test.each<[string, (world: World) => void, RegExp]>([
      [
        'the source takes writes again',
        (world) => void (world.source.settingsOf['logs-1'] = {}),
        /its source is not as it was left: index 'logs-1' is not blocked for writes on the source/,
      ],
      [
        'the source took writes since',
        (world) => void (world.source.counted['logs-1'] = [{ ...STATS, maxSeqNo: 7 }]),
        /index 'logs-1' counts other operations than when writes had come to rest/,
      ],
      ['it still runs', (world) => void world.running.push('move-logs'), /'move-logs' still runs/],
    ])('unless %s', async (_, change, says) => {
      const world = await lostAfter('the commit');
      change(world);
      await expect(start(world)).rejects.toThrow(says);
      expect(world.target.settingsOf['logs-1']).toEqual(blocked);
    });
  });
});

test('an unknown one, or one between other places, is refused', async () => {
  const world = await terminated();
  await expect(start(world, { adopt: 'nobody' })).rejects.toThrow("no migration 'nobody' has work files");
  const repository = { source: { store: 's3', basePath: 'from' }, target: { store: 'oss', basePath: 'elsewhere' } };
  await expect(start(world, { repository })).rejects.toThrow('had another repository.target');
});

test('what a third migration has claimed since is not taken from it', async () => {
  const world = await terminated();
  world.to.put(locationOwnerKey('snapferry-work', 'to'), json({ migration: 'third', firstRunId: 'run-3' }));
  await expect(start(world)).rejects.toThrow("belongs to migration 'third'");
});
