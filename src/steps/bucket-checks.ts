import { bucketObjections, isArchive, uploadObjections } from '../domain/buckets';
import type { BucketObjection, BucketProperties, BucketUse } from '../domain/buckets';
import { ConfigurationError } from '../domain/errors';
import { below } from '../domain/names';
import { isShared } from '../domain/plan';
import type { ResolvedPlan } from '../domain/plan';
import type { Config } from '../config';
import type { StoreConnection } from '../storage';
import type { Store } from '../storage/store';
import type { Findings } from './findings';

/** Preflight's checks of what buckets say of themselves: versions, life-cycle rules, classes, keys, regions. */

/** What was asked of the target's bucket, for what is judged later. */
export interface AskedBucket {
  readonly use: BucketUse;
  readonly properties: BucketProperties;
  /** Writing to it would only show once more what was found. */
  readonly isProbed: boolean;
}

interface Stores {
  readonly sourceStore: Store;
  readonly targetStore: Store;
}

/** Both buckets, or the one that both clusters use. Answers what is known of the target's; undefined for a directory. */
export async function checkBuckets(
  config: Config,
  plan: ResolvedPlan,
  { sourceStore, targetStore }: Stores,
  findings: Findings,
  signal: AbortSignal,
): Promise<AskedBucket | undefined> {
  const { source, target, work } = plan.repository;
  if (!isShared(plan)) {
    const prefixes = [below(source.basePath, '')];
    await checkBucket(
      sourceStore,
      useOf(config.store(source.store), sourceStore, 'source', prefixes),
      findings,
      signal,
    );
  }
  const prefixes = [below(target.basePath, ''), below(work, '')];
  return checkBucket(targetStore, useOf(config.store(target.store), targetStore, 'target', prefixes), findings, signal);
}

/** Undefined where there is no bucket. */
function useOf(
  connection: StoreConnection,
  { description: store }: Store,
  side: BucketUse['side'],
  prefixes: readonly string[],
): BucketUse | undefined {
  if (connection.type === 'directory') return undefined;
  const { region, encryption, type } = connection;
  return {
    ...{ store, side, prefixes, region },
    encrypts: encryption !== undefined,
    versionsVoidConditions: type === 'oss',
  };
}

async function checkBucket(
  store: Store,
  use: BucketUse | undefined,
  findings: Findings,
  signal: AbortSignal,
): Promise<AskedBucket | undefined> {
  const properties = await store.properties?.(signal);
  if (use === undefined || properties === undefined) return undefined;
  const objections = bucketObjections(properties, use, Date.now());
  report(objections, use, findings);
  if (properties.denied.length > 0) {
    findings.warn('stores', use.store, {
      seen: `${use.store} does not tell these credentials all of itself (${properties.denied.join(', ')}), so less of it is judged`,
      remedy: 'grant statement ReadBucketProperties of `snapferry policies PLAN`',
    });
  }
  findings.ok('stores', use.store, summaryOf(properties));
  return { use, properties, isProbed: objections.some(({ isProbed }) => isProbed === true) };
}

function summaryOf({ versioning, rules, encryption }: BucketProperties): string {
  const all = Object.entries({ versioning, 'life-cycle rules': rules, encryption });
  const names = (isKnown: boolean) =>
    all.filter(([, value]) => (value !== undefined) === isKnown).map(([name]) => name);
  return `of the bucket known: ${names(true).join(', ') || 'nothing'}; not known: ${names(false).join(', ') || 'nothing'}`;
}

function report(objections: readonly BucketObjection[], { store }: BucketUse, findings: Findings): void {
  for (const { verdict, ...objection } of objections) {
    if (verdict === 'refused') findings.refuse('stores', store, objection);
    else findings.warn('stores', store, objection);
  }
}

/** `transferMs` as estimated, of the first round. */
export function warnOfShortUploads({ use, properties }: AskedBucket, transferMs: number, findings: Findings): void {
  report(uploadObjections(properties, use, transferMs), use, findings);
}

/** Ten pages of a listing: a repository may hold a million blobs, and a rule that archives takes the oldest everywhere. */
const LOOKED_AT = 10_000;

/** Snapshots of the migration build on the blobs that are there. One that was restored may be read, whatever its class. */
export async function refuseArchived(store: Store, basePath: string, findings: Findings, signal: AbortSignal) {
  let looked = 0;
  for await (const { key, length, storageClass } of store.list(below(basePath, ''), signal)) {
    looked += 1;
    if (storageClass !== undefined && isArchive(storageClass) && length > 0) {
      if (await canBeRead(store, key, signal)) return;
      findings.refuse('stores', store.description, {
        seen: `Blob '${key}' of ${store.description} is archived (${storageClass}), and perhaps others, so it can not be read`,
        remedy: `restore the blobs below '${basePath}' first, or choose an empty basePath for the source`,
      });
      return;
    }
    if (looked >= LOOKED_AT) return;
  }
}

async function canBeRead(store: Store, key: string, signal: AbortSignal): Promise<boolean> {
  try {
    await store.read(key, { offset: 0, length: 1 }, signal);
    return true;
  } catch (error) {
    if (error instanceof ConfigurationError && error.subject['code'] === 'InvalidObjectState') return false;
    throw error;
  }
}
