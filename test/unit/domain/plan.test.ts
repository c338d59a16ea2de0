import { ConfigurationError } from '../../../src/domain/errors';
import { isShared, parsePlan } from '../../../src/domain/plan';
import type { PlanInput } from '../../../src/domain/plan';

const minimal: PlanInput = {
  source: 'aws-singapore',
  target: 'alibaba-hangzhou',
  indices: ['movies', 'logs-*', '-logs-debug-*'],
  repository: {
    source: { store: 's3-singapore', basePath: 'snapferry/movies' },
    target: { store: 'oss-hangzhou', basePath: 'snapferry/movies' },
  },
};

function refusal(plan: unknown): string {
  try {
    parsePlan(plan);
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigurationError);
    return (error as Error).message;
  }
  throw new Error('the plan was accepted');
}

/** The minimal plan with something else in it, even what types forbid. */
const withPart = (part: Record<string, unknown>) => ({ ...minimal, ...part });

describe('a plan', () => {
  it('needs four fields; everything else has a default', () => {
    expect(parsePlan(minimal)).toEqual({
      ...minimal,
      repository: { ...minimal.repository, work: 'snapferry-work' },
      rounds: { everyMs: 15 * 60_000 },
      limits: {},
      throttles: {},
      restore: {
        strategy: 'close',
        everyRound: true,
        rename: {},
        settings: {},
        dropSettings: [],
        keepSettings: [],
        aliases: 'switchover',
      },
      cutover: {
        freezeAtMostMs: 20 * 60_000,
        approval: true,
        replicas: 'before',
        verify: { level: 'counts+sample', queries: [] },
        switchover: { aliases: {} },
        writersStopped: false,
      },
      cleanup: { snapshots: 'keep', registrations: 'remove' },
    });
  });

  it('keeps every landed field that it is given, durations as milliseconds', () => {
    const repository = {
      source: { store: 'a', name: 'existing' },
      target: { store: 'b', basePath: 'copy', name: 'ours' },
      work: 'evidence/2026',
    };
    const restore = {
      strategy: 'close',
      everyRound: false,
      rename: { 'logs-*': 'aws-logs-*', movies: 'films' },
      settings: { 'index.number_of_replicas': 0, 'index.codec': 'default', 'index.hidden': false },
      dropSettings: ['index.apack.*'],
      keepSettings: ['index.lifecycle.*', 'index.refresh_interval'],
      aliases: 'none',
    } as const;
    const rest = {
      approval: false,
      replicas: 'after',
      verify: { level: 'full', queries: [{ name: 'all', indices: ['logs-*'], body: { size: 3 } }] },
      switchover: { aliases: { live: 'movies' } },
      writersStopped: true,
    } as const;
    const cleanup = { snapshots: 'keep', registrations: 'keep' } as const;
    const limits = { bytesPerSecond: 50_000_000, byHour: Array.from({ length: 24 }, (_, h) => (h < 8 ? null : 1e6)) };
    const plan = withPart({
      repository,
      rounds: { every: '20s', atMost: 3 },
      limits,
      restore,
      cutover: { ...rest, freezeAtMost: '1h30m' },
      cleanup,
    });
    expect(parsePlan(plan)).toEqual({
      ...minimal,
      repository: { ...repository, source: { ...repository.source, basePath: '' } },
      rounds: { everyMs: 20_000, atMost: 3 },
      limits,
      throttles: {},
      restore,
      cutover: { ...rest, freezeAtMostMs: 90 * 60_000 },
      cleanup,
    });
  });

  it('resolves to plain JSON', () => {
    const plan = parsePlan(minimal);
    expect(JSON.parse(JSON.stringify(plan))).toStrictEqual(plan);
  });

  it.each([
    [undefined, 'nothing'],
    [null, 'null'],
    ['{"source":"a"}', 'a string'],
    [[minimal], 'a list'],
    [7, 'a number'],
  ])('that is no object (%j) is refused with a sentence', (raw, kind) => {
    expect(refusal(raw)).toBe(
      `The plan must be one JSON object with at least source, target, indices and repository, but ${kind} was given`,
    );
  });

  it('gets all its faults in one answer, each with its path', () => {
    const message = refusal({
      source: 'same',
      target: 'same',
      indices: [],
      repository: { source: { store: 7 }, target: { basePath: '/x' }, wrok: 'w' },
      rounds: { every: 'soon', evry: '1m' },
      restore: { strategy: 'swap', settings: { 'index.blocks.write': true } },
      colour: 'red',
    });
    expect(message.replace('The plan is refused: ', '').split('; ').sort()).toEqual([
      'colour: is not a known key',
      'indices: must name at least one index',
      'repository.source.store: must be a string',
      'repository.target.basePath: must not begin or end with a slash',
      'repository.target.store: is required',
      'repository.wrok: is not a known key',
      'restore.settings["index.blocks.write"]: cannot be set by a plan',
      "restore.strategy: must be one of 'close', 'replace', 'alias'",
      'rounds.every: must be a duration such as 20s, 15m or 1h30m, in quotes',
      'rounds.evry: is not a known key',
      'target: is the source too: a migration needs two clusters',
    ]);
  });

  it('without anything is told all that is required, and nothing that follows from it', () => {
    expect(refusal({})).toBe(
      'The plan is refused: source: is required; target: is required; indices: is required; repository: is required',
    );
  });
});

describe('what a plan may not say', () => {
  it.each<[string, Record<string, unknown>]>([
    ['source: must be a name', { source: ' a' }],
    ['target: is the source too', { target: 'aws-singapore' }],
    ['indices: must be a list', { indices: 'movies' }],
    ['indices[0]: must not be an exclusion', { indices: ['-logs-*', 'movies'] }],
    ['indices[1]: must be the name of an index', { indices: ['movies', ''] }],
    ['indices[0]: must be the name of an index', { indices: ['movies,logs'] }],
    ['indices[1]: must be the name of an index', { indices: ['movies', '-'] }],
    ['rounds.every: must be from 1s to 365d', { rounds: { every: '999ms' } }],
    ['rounds.every: must be a duration such as 20s', { rounds: { every: 900 } }],
    ['rounds.atMost: must be at least', { rounds: { atMost: 0 } }],
    ['rounds.atMost: must be a whole number', { rounds: { atMost: 1.5 } }],
    ['rounds.window.from: must be a time', { rounds: { window: { from: '1:00', to: '06:00', timeZone: 'UTC' } } }],
    ['rounds.window.to: must be a time', { rounds: { window: { from: '01:00', to: '24:00', timeZone: 'UTC' } } }],
    ['rounds.window.to: is from too', { rounds: { window: { from: '01:00', to: '01:00', timeZone: 'UTC' } } }],
    [
      'rounds.window.timeZone: must be',
      { rounds: { window: { from: '01:00', to: '06:00', timeZone: 'Asia/Atlantis' } } },
    ],
    ['rounds.window.timeZone: is required', { rounds: { window: { from: '01:00', to: '06:00' } } }],
    ['cutover.freezeAtMost: must be from 10s to 365d', { cutover: { freezeAtMost: '9s' } }],
    ['cutover.replicas: must be one of', { cutover: { replicas: 'during' } }],
    ['cutover.verify: must be one of', { cutover: { verify: 'hard' } }],
    ['cutover.verify.level: is required', { cutover: { verify: {} } }],
    [
      'cutover.verify.queries[0].name: is required',
      { cutover: { verify: { level: 'full', queries: [{ indices: ['a'], body: {} }] } } },
    ],
    ['cutover.approval: must be true or false', { cutover: { approval: 'no' } }],
    [
      'restore.settings.number_of_replicas: must begin with index.',
      { restore: { settings: { number_of_replicas: 0 } } },
    ],
    ['restore.settings["index.number_of_shards"]', { restore: { settings: { 'index.number_of_shards': 2 } } }],
    ['restore.settings["index.codec"]', { restore: { settings: { 'index.codec': null } } }],
    ['restore.rename["logs-*"]: must have one * on each side', { restore: { rename: { 'logs-*': 'logs' } } }],
    ['restore.rename.movies: must have one * on each side', { restore: { rename: { movies: 'films-*' } } }],
    ['restore.rename["*-*"]: must have one * on each side', { restore: { rename: { '*-*': '*-x-*' } } }],
    ['restore.rename.movies: must be a name that an index can have', { restore: { rename: { movies: 'Films' } } }],
    ['restore.rename.movies: must be a name that an index can have', { restore: { rename: { movies: '' } } }],
    ['restore.rename.-logs: must be the name of an index', { restore: { rename: { '-logs': 'logs' } } }],
    ['restore.keepSettings[0]: cannot be set by a plan', { restore: { keepSettings: ['index.blocks.write'] } }],
    ['restore.keepSettings[0]: must begin with index.', { restore: { keepSettings: ['*'] } }],
    ["restore.aliases: cannot be 'everyRound'", { restore: { strategy: 'alias', aliases: 'everyRound' } }],
    ['restore.dropSettings[0]: must begin with index.', { restore: { dropSettings: ['lifecycle.*'] } }],
  ])('%s', (fault, part) => {
    const message = refusal(withPart(part));
    expect(message).toContain(`The plan is refused: ${fault}`);
    expect(message).not.toContain('; ');
  });
});

describe('places in stores', () => {
  const place = (source: object, target: object, work?: string) =>
    withPart({ repository: { source, target, ...(work === undefined ? {} : { work }) } });
  const apart = (basePath: string, work?: string) => place({ store: 'a' }, { store: 'b', basePath }, work);

  it.each([
    ['/x', 'must not begin or end with a slash'],
    ['x/', 'must not begin or end with a slash'],
    ['x/../y', "must not hold a segment '..'"],
    ['x//y', "must not hold a segment ''"],
    ['x\\y', 'must not hold a backslash'],
    ['x ', 'must not begin or end with a space'],
    ['', 'must not be empty'],
  ])("the target's base path cannot be %j", (basePath, fault) => {
    expect(refusal(apart(basePath))).toContain(`repository.target.basePath: ${fault}`);
  });

  it('one place on both sides is a repository that both clusters share, wherever it lies', () => {
    for (const shared of [{ store: 'a', basePath: 'x' }, { store: 'a' }]) {
      expect(isShared(parsePlan(place(shared, shared)))).toBe(true);
    }
    expect(isShared(parsePlan(place({ store: 'a', basePath: 'x' }, { store: 'b', basePath: 'x' })))).toBe(false);
    const inside = { ...place({ store: 'a', basePath: 'x' }, { store: 'a', basePath: 'x' }) };
    expect(refusal({ ...inside, repository: { ...inside.repository, work: 'x/work' } })).toContain(
      'repository.work: and',
    );
  });

  it('one store may hold both repositories, side by side', () => {
    expect(() => parsePlan(place({ store: 'a', basePath: 'x' }, { store: 'a', basePath: 'x-copy' }))).not.toThrow();
    expect(() => parsePlan(place({ store: 'a' }, { store: 'a', basePath: 'x' }))).not.toThrow();
  });

  it.each([
    ['x', 'x/y'],
    ['x/y', 'x'],
    ['', 'indices/y'],
  ])('in one store %j and %j lie inside each other', (source, target) => {
    const plan = place({ store: 'a', basePath: source }, { store: 'a', basePath: target });
    expect(refusal(plan)).toContain('repository.target.basePath: and repository.source.basePath must not lie inside');
  });

  it.each([
    ['x', 'x'],
    ['x', 'x/work'],
    ['work/x', 'work'],
  ])('with the base path %j the work prefix cannot be %j', (basePath, work) => {
    expect(refusal(apart(basePath, work))).toContain('repository.work: and a base path must not lie inside each other');
  });

  it('a work prefix whose name merely begins like the base path is fine', () => {
    expect(() => parsePlan(apart('x', 'x-work'))).not.toThrow();
  });

  it('the work prefix keeps out of a source repository in the same store, at the root too', () => {
    const target = { store: 'a', basePath: 'y' };
    expect(refusal(place({ store: 'a', basePath: 'x' }, target, 'x/work'))).toContain('repository.work: ');
    expect(refusal(place({ store: 'a' }, target, 'indices'))).toContain('repository.work: ');
    expect(() => parsePlan(place({ store: 'a' }, target, 'work'))).not.toThrow();
    expect(() => parsePlan(place({ store: 'b', basePath: 'x' }, target, 'x/work'))).not.toThrow();
  });
});

it('throttles of clusters are read with the limits, and refused where the registration is somebody else’s', () => {
  const limits = { snapshotBytesPerSecond: 100_000_000, recoveryBytesPerSecond: 200_000_000 };
  expect(parsePlan(withPart({ limits }))).toMatchObject({ limits: {}, throttles: limits });
  const { repository } = withPart({}) as { repository: { source: object; target: object } };
  const named = { ...repository, source: { ...repository.source, name: 'theirs' } };
  expect(refusal(withPart({ limits, repository: named }))).toContain(
    'limits.snapshotBytesPerSecond: is a setting of the registration, and repository.source.name is yours: set it there',
  );
});
