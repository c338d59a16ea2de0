/**
 * What a bucket says of itself and its blobs, read from the answers of S3, COS and OSS, which differ little. Asking for
 * properties is never an error: the calls need permissions that nothing else does, and gateways lack some of them.
 */
import type { BucketProperties, LifecycleRule, RuleTime } from '../domain/buckets';
import { MigrationError } from '../domain/errors';
import { bare } from './requests';
import type { BlobInfo } from './store';
import type { Element } from './xml';
import { textOf } from './xml';

/** One answer: its root; `none` where the bucket has nothing of the kind; undefined where nobody knows. */
export type Told = Element | 'none' | 'denied' | undefined;

/** `none` is the code by which a store says that there is nothing of the kind. */
export async function told(ask: () => Promise<Element>, none?: string): Promise<Told> {
  try {
    return await ask();
  } catch (error) {
    if (!(error instanceof MigrationError)) throw error;
    const { code, status } = error.subject;
    if (none !== undefined && code === none) return 'none';
    return status === 403 && code === 'AccessDenied' ? 'denied' : undefined;
  }
}

/** One entry of a listing. */
export function listed(blob: Element, key: string, usualClass: string): BlobInfo {
  const [storageClass, etag] = [textOf(blob, 'StorageClass'), bare(textOf(blob, 'ETag'))];
  const info = { key, length: Number(textOf(blob, 'Size')), etag };
  return storageClass === undefined || storageClass === usualClass ? info : { ...info, storageClass };
}

/** The actions, named by their policies, whose calls were denied. */
export function deniedOf(answers: Readonly<Record<string, Told>>): string[] {
  return Object.entries(answers)
    .filter(([, answer]) => answer === 'denied')
    .map(([action]) => action);
}

function elementOf(answer: Told): Element | undefined {
  return typeof answer === 'object' ? answer : undefined;
}

/** A bucket that never had versioning answers without a status. */
export function versioningIn(element: Element | undefined, name: string): BucketProperties['versioning'] {
  const status = textOf(element, name);
  if (status === 'Enabled') return 'on';
  return status === 'Suspended' ? 'suspended' : 'never';
}

/** Of `?versioning`. */
export function versioningOf(answer: Told): BucketProperties['versioning'] {
  const root = elementOf(answer);
  return root && versioningIn(root, 'Status');
}

/** Of `?encryption` of S3: one rule. */
export function encryptionOf(answer: Told): BucketProperties['encryption'] {
  if (answer === 'none') return {};
  const root = elementOf(answer);
  return root && keyIn(below(below(root, 'Rule'), 'ApplyServerSideEncryptionByDefault'));
}

/** The provider's own key, and no encryption at all, have no id. */
export function keyIn(element: Element | undefined): { readonly keyId?: string } {
  const keyId = textOf(element, 'KMSMasterKeyID');
  return keyId === undefined || keyId === '' ? {} : { keyId };
}

/** Of `?lifecycle`: the rules in force that mean blobs without tags. */
export function rulesOf(answer: Told): readonly LifecycleRule[] | undefined {
  if (answer === 'none') return [];
  return elementOf(answer)
    ?.children.filter((child) => child.name === 'Rule' && textOf(child, 'Status') === 'Enabled')
    .filter((rule) => !hasTag(rule) && !hasTag(below(rule, 'Filter')) && !hasTag(and(rule)))
    .map((rule) => ({
      id: textOf(rule, 'ID') ?? '',
      prefix: textOf(rule, 'Prefix') ?? textOf(below(rule, 'Filter'), 'Prefix') ?? textOf(and(rule), 'Prefix') ?? '',
      // Of OSS: what a filter spares of the prefix. With a tag it spares less than that.
      except: all(below(rule, 'Filter'), 'Not')
        .filter((not) => !hasTag(not))
        .map((not) => textOf(not, 'Prefix') ?? ''),
      deletes: timeOf(below(rule, 'Expiration')),
      moves: all(rule, 'Transition').flatMap((transition) => {
        const when = timeOf(transition);
        return when === undefined ? [] : [{ storageClass: textOf(transition, 'StorageClass') ?? '', when }];
      }),
      abortsUploadsAfterDays: abortsAfter(rule),
    }));
}

/** S3 and COS call it one way, OSS the other. */
function abortsAfter(rule: Element): number | undefined {
  const days =
    textOf(below(rule, 'AbortIncompleteMultipartUpload'), 'DaysAfterInitiation') ??
    textOf(below(rule, 'AbortMultipartUpload'), 'Days');
  return days === undefined ? undefined : Number(days);
}

/** Undefined for what means versions only (`ExpiredObjectDeleteMarker`). */
function timeOf(element: Element | undefined): RuleTime | undefined {
  const [days, date, before] = ['Days', 'Date', 'CreatedBeforeDate'].map((name) => textOf(element, name));
  if (days !== undefined) return { days: Number(days) };
  if (date !== undefined) return { from: Date.parse(date) };
  return before === undefined ? undefined : { writtenBefore: Date.parse(before) };
}

function and(rule: Element): Element | undefined {
  return below(below(rule, 'Filter'), 'And');
}

function hasTag(element: Element | undefined): boolean {
  return all(element, 'Tag').length > 0;
}

function below(element: Element | undefined, name: string): Element | undefined {
  return all(element, name)[0];
}

function all(element: Element | undefined, name: string): readonly Element[] {
  return element?.children.filter((child) => child.name === name) ?? [];
}
