import type { ReportInput } from '../../../src/domain/exchange';
import { digestOf } from '../../../src/steps/files';
import { writeReport } from '../../../src/steps/report';
import type { ReportFile } from '../../../src/steps/report';
import { AMigration } from '../../support/a-migration';

function inputOf(migration: AMigration, changes: Partial<ReportInput> = {}): ReportInput {
  return {
    plan: migration.ref,
    outcome: 'done',
    startedAt: Date.UTC(2026, 0, 1),
    endedAt: Date.UTC(2026, 0, 2),
    rounds: [
      {
        round: 1,
        attempt: 1,
        snapshot: 'snap',
        final: true,
        outcome: 'done',
        startedAt: 0,
        endedAt: 1_000,
        indices: 1,
        blobs: 2,
        bytes: 10,
        sentBlobs: 1,
        sentBytes: 3,
        restoredBytes: 10,
        reusedBytes: 7,
        steps: {},
      },
    ],
    totals: { rounds: 1, givenUp: 0, sentBlobs: 1, sentBytes: 3 },
    freezeWindow: { totalMs: 60_000, machineMs: 20_000, waitedMs: 40_000, steps: { restore: 5_000 } },
    approvedBy: { who: 'ada', why: 'looks right' },
    final: { round: 1, attempt: 1 },
    freeze: 1,
    notes: ['the copied repository stays'],
    ...changes,
  };
}

function ended(): AMigration {
  const migration = new AMigration({
    movies: { settings: { 'index.lifecycle.name': 'hot', 'index.codec': 'default' } },
  })
    .frozen()
    .decided('committed');
  migration.save(migration.round.ledger, {
    level: 'counts',
    rows: [
      { id: 'movies/documents', index: 'movies', check: 'documents', verdict: 'pass', source: 3, target: 3 },
      { id: 'movies/settings', index: 'movies', check: 'settings', verdict: 'fail', source: 'a', target: 'b' },
      {
        ...{ id: 'movies/mapping', index: 'movies', check: 'mapping', verdict: 'waived', source: 'a', target: 'b' },
        waived: { who: 'bo', why: 'either | or' },
      },
    ],
  });
  return migration;
}

test('says what an auditor asks for, points at its evidence, and may be written twice', async () => {
  const migration = ended();
  const place = await writeReport(migration.deps, inputOf(migration), migration.context());
  const key = `${migration.keys.prefix}/report.json`;
  expect(place).toEqual({ store: 'target-store', key, digest: digestOf(migration.store.blobs.get(key) as Buffer) });
  expect(migration.read<ReportFile>(key)).toMatchObject({
    version: 1,
    outcome: 'done',
    planDigest: migration.ref.digest,
    source: { name: 'source', uuid: 'uuid-of-source' },
    verification: { ledger: migration.round.ledger, passed: 1, failed: 1, waived: 1 },
    indices: [
      {
        name: 'movies',
        documents: { source: 3, target: 3 },
        failedChecks: ['settings'],
        droppedSettings: ['index.lifecycle.name'],
      },
    ],
    freeze: { record: migration.keys.freeze(1).record, indices: 1, outcome: { outcome: 'committed' } },
    notes: ['the copied repository stays'],
  });
  expect(await writeReport(migration.deps, inputOf(migration), migration.context())).toEqual(place);
});

test('has a page for people', async () => {
  const migration = ended();
  await writeReport(migration.deps, inputOf(migration), migration.context());
  const page = migration.store.blobs.get(`${migration.keys.prefix}/report.md`)?.toString('utf8') ?? '';
  expect(page).toContain('# Migration m: done');
  expect(page).toContain('approved by ada: looks right');
  expect(page).toContain('| movies | 3 | 3 | settings | index.lifecycle.name |');
  expect(page).toContain('| movies/mapping | waived by bo: either \\| or | a | b |  |');
  expect(page).toContain('- the copied repository stays');
  expect(page).not.toContain('undefined');
});

test('of an aborted migration says what there is', async () => {
  const migration = new AMigration();
  const changes = {
    outcome: 'aborted',
    final: undefined,
    freeze: undefined,
    freezeWindow: undefined,
    approvedBy: undefined,
  } as const;
  const { key } = await writeReport(migration.deps, inputOf(migration, changes), migration.context());
  expect(migration.read<ReportFile>(key)).toMatchObject({ outcome: 'aborted', indices: [] });
  const early = await writeReport(
    migration.deps,
    inputOf(migration, { ...changes, final: { round: 9, attempt: 1 }, freeze: 7 }),
    migration.context(),
  );
  expect(migration.read<ReportFile>(early.key)).toMatchObject({ indices: [] });
});
