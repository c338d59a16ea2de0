/** Which requests of a round are struck, what strikes them, and what is to come of it. */
import { MigrationError } from '../../src/domain/errors';
import type { Fault, FaultAction } from '../../stack';
import type { FaultyStores, Side } from './faulty-stores';

type On = NonNullable<Fault['on']>;

/** A phase of a round: the requests that only it makes. */
export interface Phase {
  readonly title: string;
  readonly side: Side;
  readonly on: On;
  readonly nth?: number;
  /** Whose bodies a fault may strike. */
  readonly bodies: readonly ('request' | 'response')[];
  /** Struck as well, to get there. */
  readonly after?: Fault;
  /** `copy` has no such requests. */
  readonly ofRoundsOnly?: true;
  /** What is denied is done without. */
  readonly isOptional?: true;
}

/** For the blob that is sent in parts, whose key only the recording knows. */
export const LARGE = 'LARGE';

const source = (title: string, operation: string, key?: string, more: Partial<Phase> = {}): Phase =>
  phase('source', title, operation, key, more);
const target = (title: string, operation: string, key?: string, more: Partial<Phase> = {}): Phase =>
  phase('target', title, operation, key, more);

const BODIES: Readonly<Record<string, Phase['bodies']>> = {
  PutObject: ['request'],
  UploadPart: ['request'],
  CompleteMultipartUpload: ['request', 'response'],
  HeadObject: [],
  AbortMultipartUpload: [],
};

function phase(side: Side, title: string, operation: string, key: string | undefined, more: Partial<Phase>): Phase {
  const on = { operation, ...(key === undefined ? {} : { key }) };
  return { title, side, on, bodies: BODIES[operation] ?? ['response'], ...more };
}

/** Begun by an attempt that ended in the middle: the next one asks what is there. */
const INTERRUPTED: Fault = {
  on: { operation: 'UploadPart' },
  nth: 2,
  count: 9,
  then: { do: 'error', code: 'InternalError' },
};
const ANSWER_LOST: Fault = { on: { operation: 'CompleteMultipartUpload' }, then: { do: 'lose-reply' } };

export const PHASES: readonly Phase[] = [
  source('listing the source', 'ListObjectsV2'),
  source('index-N of the source', 'GetObject', '^from/index-\\d+$'),
  source('metadata of the source', 'GetObject', '^from/indices/.*/snap-'),
  source('small blobs of the source', 'GetObject', '/__[^/]+$'),
  source('parts of a large blob of the source', 'GetObject', LARGE, { nth: 2 }),
  source('a large blob of the source, looked at', 'HeadObject', LARGE),
  target('listing the target', 'ListObjectsV2', undefined, { ofRoundsOnly: true }),
  target('the plan, written', 'PutObject', '/units/', { ofRoundsOnly: true }),
  target('the plan, read', 'GetObject', '/units/', { ofRoundsOnly: true }),
  target('metadata saved at planning, written', 'PutObject', '/volatile/', { ofRoundsOnly: true }),
  target('metadata saved at planning, read', 'GetObject', '/volatile/indices/', { ofRoundsOnly: true }),
  target('small blobs', 'PutObject', '^to/.*/__[^/]+$'),
  target('an upload, begun', 'InitiateMultipartUpload'),
  target('parts', 'UploadPart', undefined, { nth: 2 }),
  target('an upload, completed', 'CompleteMultipartUpload'),
  target('an upload, looked at', 'HeadObject', LARGE),
  target('resume: parts, listed', 'ListParts', undefined, { after: INTERRUPTED }),
  target('resume: what a lost answer made, looked at', 'HeadObject', LARGE, { after: ANSWER_LOST }),
  target('metadata', 'PutObject', '^to/(indices/.*/)?(snap|meta)-'),
  target('proofs', 'PutObject', '/proofs/', { ofRoundsOnly: true }),
  target('clean-up: uploads, listed', 'ListMultipartUploads', undefined, { isOptional: true }),
  target('clean-up: uploads, aborted', 'AbortMultipartUpload'),
  source('the fence', 'GetObject', '^from/index-\\d+$', { nth: 2 }),
  target('index-N', 'PutObject', '^to/index-\\d+$'),
  target('index.latest', 'PutObject', '^to/index\\.latest$'),
  target('index.latest, read back', 'GetObject', '^to/index\\.latest$', { nth: 1, ofRoundsOnly: true }),
];

export interface StoreFault {
  readonly title: string;
  /** Which bodies it strikes; undefined for what strikes any request. */
  readonly body?: 'request' | 'response';
  readonly then: FaultAction;
  /** How many requests in a row; 0 is all. Default: four, more than one request is repeated. */
  readonly count?: number;
  /** The code of the error it ends with; undefined where the copy ends right. */
  readonly ends?: string;
  /** It is a matter of permission. */
  readonly denies?: true;
}

const THROTTLES = [
  'ActiveRequestLimitExceeded',
  'DownloadTrafficRateLimitExceeded',
  'MetaOperationQpsLimitExceeded',
  'PartitionQpsLimitted',
  'ServiceUnavailable',
  'TotalQpsLimitExceeded',
  'UploadTrafficRateLimitExceeded',
];
const error = (code: string): FaultAction => ({ do: 'error', code });
const either = ['request', 'response'] as const;

export const FAULTS: readonly StoreFault[] = [
  ...THROTTLES.map((code) => ({ title: `503 ${code}`, then: error(code) })),
  { title: '500 InternalError', then: error('InternalError') },
  { title: 'a token that expired, until it is renewed', then: error('SecurityTokenExpired'), count: 2 },
  {
    title: 'a token that expired for good',
    then: error('SecurityTokenExpired'),
    count: 0,
    ends: 'Configuration',
    denies: true,
  },
  { title: 'permission withdrawn', then: error('AccessDenied'), count: 0, ends: 'Configuration', denies: true },
  { title: 'the bucket deleted', then: error('NoSuchBucket'), count: 0, ends: 'Configuration' },
  { title: 'an answer lost', then: { do: 'lose-reply' } },
  ...either.flatMap((of): StoreFault[] => [
    { title: `a reset at the start of the ${of}`, body: of, then: { do: 'reset', of, afterBytes: 0 } },
    { title: `a reset in the middle of the ${of}`, body: of, then: { do: 'reset', of, afterBytes: 100 } },
    { title: `a ${of} that hangs`, body: of, then: { do: 'hang', of, afterBytes: 60 }, count: 1 },
    { title: `a ${of} that drips`, body: of, then: { do: 'drip', of, bytesPerSecond: 5_000_000 }, count: 1 },
    { title: `one bit of the ${of}`, body: of, then: { do: 'flip', of, byte: 20 }, count: 1 },
  ]),
  {
    title: 'an answer cut short, as its length says',
    body: 'response',
    then: { do: 'truncate', afterBytes: 50, contentLength: 'sent' },
  },
  {
    title: 'an answer cut short, whatever its length says',
    body: 'response',
    then: { do: 'truncate', afterBytes: 50, contentLength: 'whole' },
  },
];

/** Every fault in every phase where it can strike. */
export function combinations(how: 'round' | 'copy'): readonly (readonly [string, Phase, StoreFault])[] {
  return PHASES.filter(({ ofRoundsOnly }) => how === 'round' || ofRoundsOnly === undefined).flatMap((phase) =>
    FAULTS.filter(({ body }) => body === undefined || phase.bodies.includes(body)).map(
      (fault) => [`${phase.title}: ${fault.title}`, phase, fault] as const,
    ),
  );
}

/** A copy that is struck so. Throws what jest throws when it does not end as it is to. */
export async function struck(stores: FaultyStores, how: 'round' | 'copy', phase: Phase, fault: StoreFault) {
  const journey = await stores.journey();
  await journey.leaveUpload();
  const isLarge = phase.on.key === LARGE;
  const on = isLarge ? { ...phase.on, key: `${stores.large}$` } : phase.on;
  const script: Fault = { on, nth: phase.nth ?? 1, count: fault.count ?? 4, then: fault.then };
  const faults = { source: [] as Fault[], target: [] as Fault[] };
  faults[phase.side].push(script, ...(phase.after === undefined ? [] : [phase.after]));
  const error = await journey[how](faults).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  const [first] = await stores.server[phase.side].faults();
  expect(first?.struck).toBeGreaterThan(0);
  // Whatever became of it: what can be found is whole. Of index.latest, which only says so, clusters can do without.
  if (journey.isPublished()) expect(journey.wrong().filter((key) => key !== 'index.latest')).toEqual([]);
  const isDoneWithout = phase.isOptional === true && fault.denies === true;
  if (fault.ends === undefined || isDoneWithout) {
    expect(error).toBeUndefined();
    expect(journey.wrong()).toEqual([]);
    // A round knows of an upload that somebody left only what the listing says.
    if (!(isDoneWithout && how === 'round')) expect(await journey.unfinished()).toEqual([]);
  } else {
    expect(error).toBeInstanceOf(MigrationError);
    const { code, message, subject } = error as MigrationError;
    expect(code).toBe(fault.ends);
    if (on.key !== undefined) expect(subject['key']).toMatch(new RegExp(on.key));
    expect(message).toContain(`[store=${journey[phase.side].store.description}, `);
  }
}
