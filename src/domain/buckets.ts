import { formatDuration } from './durations';
import type { Objection } from './objections';

/**
 * What a bucket says of itself and what speaks against it. Pure. Sources, by what they say:
 *
 * - rules of S3: docs.aws.amazon.com/AmazonS3/latest/API/API_LifecycleRule.html and userguide/lifecycle-expire-general-considerations.html
 * - rules and classes of OSS: www.alibabacloud.com/help/en/oss/user-guide/configuration-elements and
 *   .../user-guide/overview-53 (storage classes: what must be restored before it is read, least days that are paid for)
 * - rules and classes of COS: www.tencentcloud.com/document/product/436/17029
 */

/** As far as the bucket tells it to these credentials: undefined is not known. */
export interface BucketProperties {
  /** As signatures name it. */
  readonly region?: string | undefined;
  readonly versioning?: 'on' | 'suspended' | 'never' | undefined;
  /** Of what is written without naming one. */
  readonly storageClass?: string | undefined;
  /** Those in force that mean blobs without tags, as all of ours and of Elasticsearch are. */
  readonly rules?: readonly LifecycleRule[] | undefined;
  /** Of what is written without naming any; without a key it is one that the provider manages, or none. */
  readonly encryption?: { readonly keyId?: string } | undefined;
  /** Actions that these credentials lack, as policies name them: `s3:GetBucketVersioning`. */
  readonly denied: readonly string[];
}

export interface LifecycleRule {
  readonly id: string;
  /** A plain string prefix of keys. */
  readonly prefix: string;
  /** Keys with these prefixes are left alone. */
  readonly except: readonly string[];
  readonly deletes?: RuleTime | undefined;
  readonly moves: readonly { readonly storageClass: string; readonly when: RuleTime }[];
  /** Of uploads in parts that nobody completed, after they began. */
  readonly abortsUploadsAfterDays?: number | undefined;
}

/** Days after a blob was written; or a day (epoch milliseconds), from which on, or up to which, blobs were written. */
export type RuleTime = { readonly days: number } | { readonly from: number } | { readonly writtenBefore: number };

/** How a plan uses the bucket. */
export interface BucketUse {
  /** For messages: `s3://bucket`. */
  readonly store: string;
  readonly side: 'source' | 'target';
  /** Prefixes of keys, `from/`; an empty one means the whole bucket. */
  readonly prefixes: readonly string[];
  /** What the connections file says. */
  readonly region: string;
  readonly encrypts: boolean;
  /** Where versions are kept, conditions of writes are void: OSS. */
  readonly versionsVoidConditions: boolean;
}

export interface BucketObjection extends Objection {
  readonly verdict: 'refused' | 'warning';
  /** Writing and reading one blob would show the same, with less of the reason. */
  readonly isProbed?: true;
}

const DAY = 86_400_000;
/** What a source's blobs must last at least: few migrations take longer, and each warning that is refused stops one. */
const SOURCE_LASTS_DAYS = 30;

/** Not readable until somebody has restored them, which takes minutes to days. */
const ARCHIVES = new Set(
  // S3, whose GLACIER_IR is readable at once; COS; OSS.
  ['GLACIER', 'DEEP_ARCHIVE', 'ARCHIVE', 'COLDARCHIVE', 'DEEPCOLDARCHIVE'],
);

export function isArchive(storageClass: string): boolean {
  return ARCHIVES.has(storageClass.toUpperCase());
}

/** `now` in epoch milliseconds: rules may name days of the calendar. */
export function bucketObjections(properties: BucketProperties, use: BucketUse, now: number): BucketObjection[] {
  return [
    ...ofRegion(properties, use),
    ...ofVersioning(properties, use),
    ...ofClass(properties, use),
    ...ofKey(properties, use),
    ...(properties.rules ?? []).flatMap((rule) => ofRule(rule, use, now)),
  ];
}

function ofRegion({ region }: BucketProperties, use: BucketUse): BucketObjection[] {
  if (region === undefined || region === use.region) return [];
  return [
    {
      verdict: 'refused',
      seen: `${use.store} lies in region '${region}', the connections file says '${use.region}'`,
      remedy: `say region: ${region}, and an endpoint of that region`,
    },
  ];
}

function ofVersioning({ versioning }: BucketProperties, use: BucketUse): BucketObjection[] {
  if (versioning === undefined || versioning === 'never') return [];
  const prefix = use.prefixes[0] ?? '';
  if (use.side === 'target' && use.versionsVoidConditions) {
    const keeps = versioning === 'on' ? 'keeps versions' : 'has kept versions, which suspending does not undo';
    return [
      {
        verdict: 'refused',
        isProbed: true,
        seen:
          `${use.store} ${keeps}: OSS then ignores the condition that a blob must not exist yet, which keeps migrations ` +
          'apart, and what is overwritten or deleted stays and is paid for',
        remedy: 'use a bucket that never had versioning',
      },
    ];
  }
  if (versioning === 'suspended') return [];
  return [
    {
      verdict: 'warning',
      seen: `${use.store} keeps versions: what is overwritten or deleted below '${prefix}' stays and is paid for`,
      remedy: 'let a life-cycle rule expire noncurrent versions there, or suspend versioning',
    },
  ];
}

function ofClass({ storageClass }: BucketProperties, { store, side }: BucketUse): BucketObjection[] {
  if (storageClass === undefined) return [];
  if (isArchive(storageClass)) {
    return [
      {
        verdict: 'refused',
        isProbed: true,
        seen: `${store} keeps blobs as ${storageClass}, which must be restored before they can be read`,
        remedy: 'use a bucket of class Standard',
      },
    ];
  }
  if (side === 'source' || storageClass.toUpperCase() !== 'IA') return [];
  return [
    {
      verdict: 'warning',
      seen: `${store} keeps blobs as IA: each is paid for 30 days at least, and by what is read`,
      remedy: 'use a bucket of class Standard, and move the blobs once the migration is over',
    },
  ];
}

/** Policies are printed without asking a bucket, so they know its key by the connections file alone. */
function ofKey({ encryption }: BucketProperties, use: BucketUse): BucketObjection[] {
  if (encryption?.keyId === undefined || use.encrypts) return [];
  return [
    {
      verdict: 'warning',
      seen: `${use.store} encrypts by the key ${encryption.keyId}, which the connections file does not name`,
      remedy:
        'name it (encryption.keyId), so that `snapferry policies PLAN` prints UseKey: worker and cluster need to use it',
    },
  ];
}

function ofRule(rule: LifecycleRule, use: BucketUse, now: number): BucketObjection[] {
  const touched = use.prefixes.find((prefix) => touches(rule, prefix));
  if (touched === undefined) return [];
  const about = `Life-cycle rule '${rule.id}' of ${use.store}`;
  const objections: BucketObjection[] = [];
  const object = (does: string, when: RuleTime, remedy: string) => {
    const days = daysLeft(when, now);
    if (days === undefined) return;
    const isFar = use.side === 'source' && days >= SOURCE_LASTS_DAYS;
    const seen = `${about} ${does.replace('%', `blobs below '${touched}' ${inWords(when)}`)}`;
    if (isFar) objections.push({ verdict: 'warning', seen, remedy: 'be done before that, or disable the rule' });
    else objections.push({ verdict: 'refused', seen, remedy });
  };
  if (rule.deletes !== undefined) {
    object('deletes %', rule.deletes, 'disable it, or narrow its prefix: no snapshot outlives a blob that it needs');
  }
  for (const { storageClass, when } of rule.moves) {
    if (!isArchive(storageClass)) continue;
    const does = `moves % to ${storageClass}, which must be restored before it can be read`;
    object(does, when, 'disable it, or narrow its prefix, until the migration is over');
  }
  return objections;
}

/** Rules that give up uploads while the first transfer still goes on. `transferMs` as estimated. */
export function uploadObjections(
  { rules = [] }: Pick<BucketProperties, 'rules'>,
  { store, prefixes }: Pick<BucketUse, 'store' | 'prefixes'>,
  transferMs: number,
): BucketObjection[] {
  return rules
    .filter(({ abortsUploadsAfterDays: days = Infinity }) => days * DAY < transferMs)
    .filter((rule) => prefixes.some((prefix) => touches(rule, prefix)))
    .map(({ id, abortsUploadsAfterDays: days = 0 }) => ({
      verdict: 'warning',
      seen:
        `Life-cycle rule '${id}' of ${store} aborts uploads ${inDays(days)} after they began, and the first transfer ` +
        `takes about ${formatDuration(transferMs)}`,
      remedy: 'give it more days, or large blobs that are on their way then are begun again',
    }));
}

/** Whether a rule means any key of that prefix. */
function touches({ prefix: of, except }: LifecycleRule, prefix: string): boolean {
  const meet = of.startsWith(prefix) || prefix.startsWith(of);
  const narrower = of.length > prefix.length ? of : prefix;
  return meet && !except.some((spared) => narrower.startsWith(spared));
}

/** Until a blob that is written now is touched; undefined for never. */
function daysLeft(when: RuleTime, now: number): number | undefined {
  if ('days' in when) return when.days;
  if ('from' in when) return Math.max(0, (when.from - now) / DAY);
  return when.writtenBefore > now ? (when.writtenBefore - now) / DAY : undefined;
}

function inWords(when: RuleTime): string {
  if ('days' in when) return `${inDays(when.days)} after they were written`;
  if ('from' in when) return `from ${dayOf(when.from)} on`;
  return `that were written before ${dayOf(when.writtenBefore)}`;
}

function inDays(days: number): string {
  return days === 1 ? '1 day' : `${days} days`;
}

function dayOf(time: number): string {
  return new Date(time).toISOString().slice(0, 10);
}
