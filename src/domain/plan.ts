import { z } from 'zod';
import { DURATION_PATTERN, parseDuration } from './durations';
import { ConfigurationError } from './errors';
import type { Level } from './ledger';
import { readStrictly } from './faults';
import type { TransferLimits } from './limits';
import { CLOCK_PATTERN, isTimeZone } from './window';
import type { RoundsWindow } from './window';

/**
 * The plan: the single JSON argument of workflow type `migrate`. This file is its specification: every field, every
 * default, and what is refused. A misspelt key is refused as unknown. All faults come in one answer, each with its path.
 */

/** What the operator writes. */
export type PlanInput = z.input<typeof planSchema>;

/** The plan with every default filled in: plain JSON, durations in milliseconds. */
export interface ResolvedPlan {
  readonly source: string;
  readonly target: string;
  readonly indices: readonly string[];
  readonly repository: {
    readonly source: PlannedRepository;
    readonly target: PlannedRepository;
    /** Prefix in the target store, without slashes at its ends. */
    readonly work: string;
  };
  readonly rounds: { readonly everyMs: number; readonly atMost?: number; readonly window?: RoundsWindow };
  readonly limits: TransferLimits;
  /** The clusters' own, in bytes per second and node; not what transfers keep to. */
  readonly throttles: Throttles;
  readonly restore: {
    readonly strategy: 'close' | 'replace' | 'alias';
    readonly everyRound: boolean;
    /** Name or pattern of source indices -> their name on the target, with as many `*`. */
    readonly rename: Readonly<Record<string, string>>;
    readonly settings: Readonly<Record<string, string | number | boolean>>;
    /** Names and `*` patterns. */
    readonly dropSettings: readonly string[];
    /** Names and `*` patterns of the source's settings that come back after the switchover. */
    readonly keepSettings: readonly string[];
    readonly aliases: 'switchover' | 'everyRound' | 'none';
  };
  readonly cutover: {
    readonly freezeAtMostMs: number;
    readonly approval: boolean;
    readonly replicas: 'before' | 'after';
    readonly verify: { readonly level: Level; readonly queries: readonly GoldenQuery[] };
    readonly switchover: {
      readonly aliases: Readonly<Record<string, string>>;
      /** Of the connections file. */
      readonly webhook?: string;
    };
    /** How long to stay after the switchover and count writes on the target. */
    readonly watchMs?: number;
    readonly writersStopped: boolean;
  };
  readonly cleanup: { readonly snapshots: 'keep' | 'delete'; readonly registrations: 'remove' | 'keep' };
  /** A webhook of the connections file. */
  readonly notify?: string;
  /** Workflow id of the migration to take over. */
  readonly adopt?: string;
}

/** Of the plan's `limits`. */
export interface Throttles {
  readonly snapshotBytesPerSecond?: number;
  readonly restoreBytesPerSecond?: number;
  readonly recoveryBytesPerSecond?: number;
}

/** A search whose answer must be the same on both sides. */
export interface GoldenQuery {
  readonly name: string;
  /** Indices of the scope: names and patterns with `*`. */
  readonly indices: readonly string[];
  /** Of `POST <indices>/_search`. */
  readonly body: Readonly<Record<string, unknown>>;
}

export interface PlannedRepository {
  readonly store: string;
  /** Without slashes at its ends; empty is the store's root. */
  readonly basePath: string;
  /** An existing registration to use instead of our own. */
  readonly name?: string;
}

/** Both clusters use one repository: the source writes it, the target reads it, and nothing is transferred. */
export function isShared({ repository }: Pick<ResolvedPlan, 'repository'>): boolean {
  return isOnePlace(repository);
}

/** Those that the plan names, each once. */
export function webhooksOf({ notify, cutover }: Pick<ResolvedPlan, 'notify' | 'cutover'>): readonly string[] {
  return [...new Set([notify, cutover.switchover.webhook].filter((name) => name !== undefined))];
}

/** @throws ConfigurationError that holds every fault, as `path: what is wrong` */
export function parsePlan(raw: unknown): ResolvedPlan {
  if (typeof raw !== 'object' || raw === null || Array.isArray(raw)) {
    throw new ConfigurationError(
      `The plan must be one JSON object with at least source, target, indices and repository, but ${kindOf(raw)} was given`,
    );
  }
  const read = readStrictly(planSchema, raw);
  if (!read.ok) throw new ConfigurationError(`The plan is refused: ${read.faults.join('; ')}`);
  return resolve(read.value);
}

/**
 * The argument of `set-limits`, which has the form of the plan's `limits`.
 *
 * @throws ConfigurationError that holds every fault
 */
export function parseLimits(raw: unknown): TransferLimits {
  if (typeof raw !== 'object' || raw === null || Array.isArray(raw)) {
    throw new ConfigurationError(`Limits are one JSON object, and {} lifts them, but ${kindOf(raw)} was given`);
  }
  const read = readStrictly(transferLimits, raw);
  if (!read.ok) throw new ConfigurationError(`The limits are refused: ${read.faults.join('; ')}`);
  return landedLimits(read.value);
}

function landedLimits(given: z.output<typeof transferLimits>): TransferLimits {
  const { bytesPerSecond: always, byHour, verifyDocumentsPerSecond } = given;
  return {
    ...(always === undefined ? {} : { bytesPerSecond: always }),
    ...(byHour === undefined ? {} : { byHour }),
    ...(verifyDocumentsPerSecond === undefined ? {} : { verifyDocumentsPerSecond }),
  };
}

function throttlesOf(given: z.output<typeof limits>): Throttles {
  const { snapshotBytesPerSecond, restoreBytesPerSecond, recoveryBytesPerSecond } = given;
  const all = { snapshotBytesPerSecond, restoreBytesPerSecond, recoveryBytesPerSecond };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

function kindOf(raw: unknown): string {
  if (raw === undefined) return 'nothing';
  if (raw === null) return 'null';
  return Array.isArray(raw) ? 'a list' : `a ${typeof raw}`;
}

function resolve(plan: z.output<typeof planSchema>): ResolvedPlan {
  const { rounds, cutover } = plan;
  const { verify } = cutover;
  return {
    source: plan.source,
    target: plan.target,
    indices: plan.indices,
    repository: plan.repository,
    rounds: {
      everyMs: milliseconds(rounds.every),
      ...(rounds.atMost === undefined ? {} : { atMost: rounds.atMost }),
      ...(rounds.window === undefined ? {} : { window: rounds.window }),
    },
    limits: landedLimits(plan.limits),
    throttles: throttlesOf(plan.limits),
    restore: {
      strategy: plan.restore.strategy,
      everyRound: plan.restore.everyRound,
      rename: plan.restore.rename,
      settings: plan.restore.settings,
      dropSettings: plan.restore.dropSettings,
      keepSettings: plan.restore.keepSettings,
      aliases: plan.restore.aliases,
    },
    cutover: {
      freezeAtMostMs: milliseconds(cutover.freezeAtMost),
      approval: cutover.approval,
      replicas: cutover.replicas,
      verify: typeof verify === 'string' ? { level: verify, queries: [] } : verify,
      switchover: {
        aliases: cutover.switchover.aliases,
        ...(cutover.switchover.webhook === undefined ? {} : { webhook: cutover.switchover.webhook }),
      },
      ...(cutover.watch === undefined ? {} : { watchMs: milliseconds(cutover.watch) }),
      writersStopped: cutover.writersStopped,
    },
    cleanup: plan.cleanup,
    ...(plan.notify === undefined ? {} : { notify: plan.notify }),
    ...(plan.adopt === undefined ? {} : { adopt: plan.adopt }),
  };
}

function milliseconds(duration: string): number {
  return parseDuration(duration) ?? 0; // the schema let only durations through
}

// --- The schema -----------------------------------------------------------------------------------------------------

/** Longer intervals than this are typing errors, and Temporal's timers end not much later. */
const LONGEST = '365d';

function duration(shortest = '0s') {
  const error = 'must be a duration such as 20s, 15m or 1h30m, in quotes';
  return z
    .string({ error })
    .regex(DURATION_PATTERN, { error })
    .refine((text) => within(text, shortest, LONGEST), { error: `must be from ${shortest} to ${LONGEST}` });
}

function within(text: string, shortest: string, longest: string): boolean {
  const ms = parseDuration(text);
  return ms === undefined || (ms >= milliseconds(shortest) && ms <= milliseconds(longest));
}

const name = z.string().regex(/^\S(.*\S)?$/, { error: 'must be a name, without spaces at its ends' });

/** A number below this was meant in other units. */
const LEAST_BYTES_PER_SECOND = 1024;

const bytesPerSecond = z.int().min(LEAST_BYTES_PER_SECOND, {
  error: `must be at least ${LEAST_BYTES_PER_SECOND}: it counts bytes per second`,
});

/** None of these can stand in the name of an index. */
const indexItem = z.string().regex(/^-?[^-\s\\/?"<>|,][^\s\\/?"<>|,]*$/, {
  error: 'must be the name of an index or a pattern with *, after a - to exclude, one per item',
});

const indices = z
  .array(indexItem)
  .min(1, { error: 'must name at least one index' })
  .refine((items) => !items[0]?.startsWith('-'), {
    path: [0],
    error: 'must not be an exclusion: nothing is included before it',
  })
  .describe('Names and patterns with *, in order; a leading - excludes. Dot indices only when named exactly.');

/** Below the root of a store: `a/b`, never `/a`, `a/`, `a//b` or `../a`. */
const storePath = z.string().superRefine((path, context) => {
  const fault = pathFault(path);
  if (fault !== undefined) context.addIssue(fault);
});

function pathFault(path: string): string | undefined {
  if (path === '') return undefined;
  if (path.startsWith('/') || path.endsWith('/')) return 'must not begin or end with a slash';
  if (path.includes('\\')) return 'must not hold a backslash';
  if (path.trim() !== path) return 'must not begin or end with a space';
  const odd = path.split('/').find((segment) => segment === '' || segment === '.' || segment === '..');
  return odd === undefined ? undefined : `must not hold a segment '${odd}'`;
}

const repositoryEnd = z.strictObject({
  store: name.describe('A store of the connections file.'),
  basePath: storePath.default('').describe("The repository's folder in the store; empty is its root."),
  name: z
    .string()
    .regex(/^[^\s,/\\*?"<>|#]+$/, { error: 'must be the name of a registered repository' })
    .optional()
    .describe('Use this existing registration; it is never changed and never removed.'),
});

const repository = z
  .strictObject({
    source: repositoryEnd,
    target: repositoryEnd,
    work: storePath
      .refine((path) => path !== '', { error: 'must not be empty' })
      .default('snapferry-work')
      .describe('Prefix for work files and evidence in the target store.'),
  })
  // Runs beside other faults too, so that one answer holds everything; then some values are not what they should be.
  .superRefine(
    (value, context) => placementFaults(value, (path, message) => context.addIssue({ code: 'custom', path, message })),
    {
      when: ({ value }) => isPlaced(value),
    },
  );

interface Placement {
  readonly source: { readonly store: string; readonly basePath: string };
  readonly target: { readonly store: string; readonly basePath: string };
  readonly work: string;
}

function isPlaced(value: unknown): value is Placement {
  const end = z.object({ store: z.string(), basePath: z.string() });
  return z.object({ source: end, target: end, work: z.string() }).safeParse(value).success;
}

function placementFaults({ source, target, work }: Placement, fault: (path: string[], message: string) => void): void {
  const oneStore = source.store === target.store;
  if (!isOnePlace({ source, target })) {
    if (target.basePath === '')
      fault(['target', 'basePath'], "must not be empty: the target's repository needs a folder of its own");
    if (oneStore && overlap(source.basePath, target.basePath)) {
      fault(['target', 'basePath'], 'and repository.source.basePath must not lie inside each other');
    }
  }
  if (overlap(target.basePath, work) || (oneStore && overlap(source.basePath, work))) {
    fault(['work'], 'and a base path must not lie inside each other');
  }
}

function isOnePlace({ source, target }: Pick<Placement, 'source' | 'target'>): boolean {
  return source.store === target.store && source.basePath === target.basePath;
}

/**
 * Whether one lies inside the other. Beside a repository at the root of a store everything but its `indices` is free:
 * Elasticsearch never lists it.
 */
function overlap(basePath: string, other: string): boolean {
  if (basePath === '') return `${other}/`.startsWith('indices/');
  return `${other}/`.startsWith(`${basePath}/`) || `${basePath}/`.startsWith(`${other}/`);
}

const clock = z.string().regex(CLOCK_PATTERN, { error: 'must be a time such as 06:00 or 22:30' });

const rounds = z.strictObject({
  every: duration('1s')
    .default('15m')
    .describe("From the end of a round to the start of the next, stretched to the round's own duration."),
  atMost: z
    .int()
    .positive()
    .optional()
    .describe('When this many rounds are done they pause; run-round and freeze-writes still work.'),
  window: z
    .strictObject({
      from: clock,
      to: clock.describe('HH:MM; before from it is that of the next day.'),
      timeZone: z
        .string()
        .refine(isTimeZone, { error: 'must be a time zone of the IANA, such as Asia/Singapore or UTC' })
        .describe('Of the IANA, such as Asia/Singapore.'),
    })
    .refine(({ from, to }) => from !== to, {
      path: ['to'],
      error: 'is from too: leave the window out for the whole day',
    })
    .optional()
    .describe("Rounds start only then, the baseline too; run-round and a cutover's last round start at any time."),
});

const runningLimits = {
  bytesPerSecond: bytesPerSecond.optional().describe('Of transfers, for each worker process that copies.'),
  byHour: z
    .array(bytesPerSecond.nullable())
    .length(24, { error: 'must hold 24 items, one for each hour of the day in UTC' })
    .optional()
    .describe('By the hour of the day in UTC, in place of bytesPerSecond; null leaves bytesPerSecond.'),
  verifyDocumentsPerSecond: z
    .int({ error: 'must be a whole number of documents' })
    .min(1)
    .optional()
    .describe('Of verification, for each cluster: documents that are read to be compared. It lengthens the freeze.'),
};

/** The clusters' own, each per node; unset, Elasticsearch keeps to 40 MB/s. In force from the start of a migration to its end. */
const limits = z.strictObject({
  ...runningLimits,
  snapshotBytesPerSecond: bytesPerSecond
    .optional()
    .describe('Of snapshots, for each source node: max_snapshot_bytes_per_sec of our registration.'),
  restoreBytesPerSecond: bytesPerSecond
    .optional()
    .describe(
      'Of restores, for each target node: max_restore_bytes_per_sec of our registration. ' +
        'From 7.x on recoveryBytesPerSecond holds for restores too.',
    ),
  recoveryBytesPerSecond: bytesPerSecond
    .optional()
    .describe(
      'Of restores and replicas, for each target node: indices.recovery.max_bytes_per_sec, put back at the end.',
    ),
});

const planOnly = z
  .unknown()
  .refine(() => false, { error: 'is set by the plan, for the whole migration' })
  .optional();

const transferLimits = z.strictObject({
  ...runningLimits,
  snapshotBytesPerSecond: planOnly,
  restoreBytesPerSecond: planOnly,
  recoveryBytesPerSecond: planOnly,
});

/** Elasticsearch silently ignores a name without this prefix where settings are dropped. */
const indexSetting = z.string().regex(/^index\.\S+$/, { error: 'must begin with index.' });

/** Blocks are how a migration keeps writes out; the number of shards is fixed in the snapshot's files. */
const appliedSetting = indexSetting.refine((key) => !/^index\.(blocks\.|number_of_shards$)/.test(key), {
  error: 'cannot be set by a plan',
});

const stars = (text: string) => text.split('*').length - 1;

const renames = z
  .record(
    z.string().regex(/^[^-\s\\/?"<>|,][^\s\\/?"<>|,]*$/, {
      error: 'must be the name of an index or a pattern with one *',
    }),
    z.string().regex(/^[^-_+A-Z\s\\/?"<>|,#:][^A-Z\s\\/?"<>|,#:]*$/, {
      error: 'must be a name that an index can have, with * where the pattern has one',
    }),
  )
  .superRefine((rules, context) => {
    for (const [from, to] of Object.entries(rules)) {
      if (stars(from) <= 1 && stars(from) === stars(to)) continue;
      context.addIssue({ code: 'custom', path: [from], message: 'must have one * on each side, or none' });
    }
  })
  .default({})
  .describe('Source index -> its name on the target; one * on each side, or none. A plain name wins over a pattern.');

const restore = z
  .strictObject({
    strategy: z
      .enum(['close', 'replace', 'alias'])
      .default('close')
      .describe(
        'close: over the index of the last round, only what changed. replace: that one is deleted first. ' +
          'alias: beside it under a name of the round, and the name of the index becomes an alias at the switchover.',
      ),
    everyRound: z.boolean().default(true).describe('false: only after the baseline and the last round.'),
    rename: renames,
    settings: z
      .record(
        appliedSetting,
        z.union([z.string(), z.number(), z.boolean()], { error: 'must be a string, a number, true or false' }),
      )
      .default({})
      .describe('Applied on every restore.'),
    dropSettings: z.array(indexSetting).default([]).describe('Names and patterns with *, dropped on every restore.'),
    keepSettings: z
      .array(appliedSetting)
      .default([])
      .describe(
        'Names and patterns with *: what a restore dropped or changed of them is as on the source after the switchover.',
      ),
    aliases: z
      .enum(['switchover', 'everyRound', 'none'])
      .default('switchover')
      .describe('When the aliases of the source appear on the target.'),
  })
  .refine(({ strategy, aliases }) => strategy !== 'alias' || aliases !== 'everyRound', {
    path: ['aliases'],
    error: "cannot be 'everyRound' with strategy 'alias', where they move at the switchover",
  });

const level = z.enum(['counts', 'counts+sample', 'full']);

const queries = z
  .array(
    z.strictObject({
      name: z.string().regex(/^[\w.-]+$/, { error: 'must be of letters, digits, dots, - and _' }),
      indices: z.array(indexItem).min(1, { error: 'must name at least one index' }),
      body: z.record(z.string(), z.unknown()).describe('Of POST <indices>/_search. With a sort, the order counts too.'),
    }),
  )
  .refine((all) => new Set(all.map((query) => query.name)).size === all.length, { error: 'must have different names' })
  .default([])
  .describe('Searches whose answers (hits, documents, aggregations) must be the same on both sides.');

const cutover = z.strictObject({
  freezeAtMost: duration('10s')
    .default('20m')
    .describe('Writes are unblocked by then unless the cutover is committed.'),
  approval: z.boolean().default(true).describe('Wait for the update approve before the commit.'),
  replicas: z
    .enum(['before', 'after'])
    .default('before')
    .describe('Copies are active before the target is unblocked, or after.'),
  verify: z
    .union([level, z.strictObject({ level, queries })])
    .default('counts+sample')
    .describe('How source and target are compared: by counts, with a sample of the documents, or with all of them.'),
  switchover: z
    .strictObject({
      aliases: z.record(name, name).default({}).describe('Set on the target at the switchover: alias -> index.'),
      webhook: name.optional().describe('Called after the aliases are set: a webhook of the connections file.'),
    })
    .prefault({}),
  watch: duration('1s')
    .optional()
    .describe('How long to stay after the switchover, count the writes on the target, and take rollback.'),
  writersStopped: z
    .boolean()
    .default(false)
    .describe('The operator vouches that no writer runs, where the service refuses every proof.'),
});

/** On success; after any other end all snapshots stay, and are named. */
const cleanup = z.strictObject({
  snapshots: z
    .enum(['keep', 'delete'])
    .default('keep')
    .describe("Those that this migration took, in the source's repository. Their copies in the target's stay."),
  registrations: z.enum(['remove', 'keep']).default('remove'),
});

export const planSchema = z
  .strictObject({
    source: name.describe('A cluster of the connections file.'),
    target: name.describe('A cluster of the connections file.'),
    indices,
    repository,
    rounds: rounds.prefault({}),
    limits: limits.prefault({}),
    restore: restore.prefault({}),
    cutover: cutover.prefault({}),
    cleanup: cleanup.prefault({}),
    adopt: name
      .optional()
      .describe('Workflow id of a closed migration between the same places, to take over with what it has proved.'),
    notify: name.optional().describe('A webhook of the connections file that hears of freezes, parks and the end.'),
  })
  .refine(({ source, target }) => typeof source !== 'string' || source !== target, {
    path: ['target'],
    error: 'is the source too: a migration needs two clusters',
    when: ({ value }) => typeof value === 'object' && value !== null,
  })
  .superRefine(
    ({ limits: { snapshotBytesPerSecond, restoreBytesPerSecond }, repository: { source, target } }, check) => {
      const fault = (field: string, side: string) =>
        check.addIssue({
          code: 'custom',
          path: ['limits', field],
          message: `is a setting of the registration, and repository.${side}.name is yours: set it there`,
        });
      if (snapshotBytesPerSecond !== undefined && source.name !== undefined) fault('snapshotBytesPerSecond', 'source');
      if (restoreBytesPerSecond !== undefined && target.name !== undefined) fault('restoreBytesPerSecond', 'target');
    },
  );
