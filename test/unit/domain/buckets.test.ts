import { bucketObjections, isArchive, uploadObjections } from '../../../src/domain/buckets';
import type { BucketProperties, BucketUse, LifecycleRule } from '../../../src/domain/buckets';

const NOW = Date.parse('2026-11-21T12:00:00Z');
const day = (text: string) => Date.parse(`${text}T00:00:00Z`);

const USE: BucketUse = {
  store: 'oss://films',
  side: 'target',
  prefixes: ['to/', 'snapferry-work/'],
  region: 'cn-hangzhou',
  encrypts: false,
  versionsVoidConditions: true,
};
const SOURCE: Partial<BucketUse> = { side: 'source', prefixes: ['from/'] };

function judged(properties: Partial<BucketProperties>, use: Partial<BucketUse> = {}) {
  return bucketObjections({ denied: [], ...properties }, { ...USE, ...use }, NOW);
}

const rule = (changes: Partial<LifecycleRule>): LifecycleRule => ({
  ...{ id: 'r', prefix: '', except: [], moves: [] },
  ...changes,
});

test('of a bucket that tells nothing, or nothing unusual, nothing is said', () => {
  expect(judged({})).toEqual([]);
  const usual = {
    versioning: 'never',
    storageClass: 'Standard',
    rules: [],
    encryption: {},
    region: 'cn-hangzhou',
  } as const;
  expect(judged(usual)).toEqual([]);
});

test('a bucket in another region is refused with its own', () => {
  expect(judged({ region: 'cn-beijing' })).toEqual([
    {
      verdict: 'refused',
      seen: "oss://films lies in region 'cn-beijing', the connections file says 'cn-hangzhou'",
      remedy: 'say region: cn-beijing, and an endpoint of that region',
    },
  ]);
});

test.each([
  ['on', {}, 'refused', /keeps versions: OSS then ignores the condition/],
  ['suspended', {}, 'refused', /has kept versions, which suspending does not undo: OSS then ignores/],
  ['on', SOURCE, 'warning', /overwritten or deleted below 'from\/' stays and is paid for/],
  ['on', { versionsVoidConditions: false }, 'warning', /below 'to\/' stays and is paid for/],
  ['suspended', { versionsVoidConditions: false }, undefined, /./],
  ['suspended', SOURCE, undefined, /./],
] as const)('versioning %s, %j: %s', (versioning, use, verdict, seen) => {
  const found = judged({ versioning }, use);
  expect(found.map((one) => one.verdict)).toEqual(verdict === undefined ? [] : [verdict]);
  for (const one of found) expect(one.seen).toMatch(seen);
});

test.each([
  ['Archive', {}, 'refused'],
  ['ColdArchive', {}, 'refused'],
  ['DeepColdArchive', SOURCE, 'refused'],
  ['IA', {}, 'warning'],
  ['IA', SOURCE, undefined],
  ['Standard', {}, undefined],
] as const)('a bucket of class %s, %j: %s', (storageClass, use, verdict) => {
  expect(judged({ storageClass }, use)[0]?.verdict).toBe(verdict);
});

test('classes that must be restored before they are read', () => {
  const all = ['STANDARD', 'STANDARD_IA', 'GLACIER_IR', 'GLACIER', 'DEEP_ARCHIVE', 'ARCHIVE', 'Archive', 'ColdArchive'];
  expect(all.filter(isArchive)).toEqual(['GLACIER', 'DEEP_ARCHIVE', 'ARCHIVE', 'Archive', 'ColdArchive']);
});

test('a key that the bucket encrypts by, and that policies cannot know, is a warning', () => {
  expect(judged({ encryption: { keyId: 'arn:aws:kms:eu-west-1:1:key/k' } })[0]).toMatchObject({
    verdict: 'warning',
    seen: expect.stringContaining('arn:aws:kms:eu-west-1:1:key/k') as string,
  });
  expect(judged({ encryption: { keyId: 'k' } }, { encrypts: true })).toEqual([]);
});

describe('life-cycle rules', () => {
  test.each([
    ['the whole bucket', rule({ deletes: { days: 3650 } }), {}, 'refused'],
    ['a folder above', rule({ prefix: 't', deletes: { days: 7 } }), {}, 'refused'],
    ['a folder below', rule({ prefix: 'to/indices/', deletes: { days: 7 } }), {}, 'refused'],
    ['our work files', rule({ prefix: 'snapferry-work/', deletes: { days: 7 } }), {}, 'refused'],
    ['another folder', rule({ prefix: 'tomorrow/', deletes: { days: 7 } }), {}, undefined],
    ['all but ours', rule({ except: ['to/', 'snapferry-work/'], deletes: { days: 7 } }), {}, undefined],
    ['all but one of ours', rule({ except: ['to/'], deletes: { days: 7 } }), {}, 'refused'],
    ['all but what is below', rule({ except: ['to/indices/', 'snap'], deletes: { days: 7 } }), {}, 'refused'],
    ['a source soon', rule({ deletes: { days: 7 } }), SOURCE, 'refused'],
    ['a source late', rule({ deletes: { days: 90 } }), SOURCE, 'warning'],
    ['a day to come', rule({ deletes: { from: day('2027-01-01') } }), {}, 'refused'],
    ['a day that was: from then on', rule({ deletes: { from: day('2020-01-01') } }), SOURCE, 'refused'],
    ['what was written until then', rule({ deletes: { writtenBefore: day('2020-01-01') } }), {}, undefined],
    ['what will be written until then', rule({ deletes: { writtenBefore: day('2026-12-01') } }), SOURCE, 'refused'],
    ['an archive', rule({ moves: [{ storageClass: 'GLACIER', when: { days: 0 } }] }), {}, 'refused'],
    ['an archive, late', rule({ moves: [{ storageClass: 'Archive', when: { days: 60 } }] }), SOURCE, 'warning'],
    [
      'a class that is read at once',
      rule({ moves: [{ storageClass: 'GLACIER_IR', when: { days: 0 } }] }),
      {},
      undefined,
    ],
    ['uploads alone', rule({ abortsUploadsAfterDays: 1 }), {}, undefined],
  ] as const)('%s', (_, one, use, verdict) => {
    expect(judged({ rules: [one] }, use).map((found) => found.verdict)).toEqual(verdict === undefined ? [] : [verdict]);
  });

  test('are said with their name, their time and what they do', () => {
    const moves = [{ storageClass: 'DEEP_ARCHIVE', when: { days: 1 } }];
    const found = judged({ rules: [rule({ id: 'tidy', deletes: { from: day('2027-01-01') }, moves })] });
    expect(found.map(({ seen }) => seen)).toEqual([
      "Life-cycle rule 'tidy' of oss://films deletes blobs below 'to/' from 2027-01-01 on",
      "Life-cycle rule 'tidy' of oss://films moves blobs below 'to/' 1 day after they were written to DEEP_ARCHIVE, " +
        'which must be restored before it can be read',
    ]);
  });

  test('that give up uploads are a warning where the first transfer takes longer', () => {
    const rules = [rule({ id: 'parts', abortsUploadsAfterDays: 2 }), rule({ prefix: 'x/', abortsUploadsAfterDays: 1 })];
    expect(uploadObjections({ rules }, USE, 2 * 86_400_000)).toEqual([]);
    expect(uploadObjections({ rules }, USE, 3 * 86_400_000).map(({ seen }) => seen)).toEqual([
      expect.stringMatching(/^Life-cycle rule 'parts' of oss:\/\/films aborts uploads 2 days after they began/),
    ]);
  });
});
