// What a bucket was told to do: versioning, life-cycle rules, encryption, class. Kept, told and written down; versions are
// not kept, nothing is encrypted, and no rule ever runs. What others notice of versioning and archives at once, they do
// here too: see object-calls.ts. Documented beside GetBucketInfo, PutBucketVersioning, PutBucketLifecycle and
// PutBucketEncryption in www.alibabacloud.com/help/en/oss/developer-reference/.
import { randomBytes, randomUUID } from 'node:crypto';
import { readFile, rename, writeFile } from 'node:fs/promises';
import type { Handler } from './call';
import { bucketOf, readXml, xmlReply } from './call';
import { OssError } from './errors';
import { insides, textOf, toXml } from './xml';

export interface BucketSettings {
  readonly storageClass?: string | undefined;
  readonly versioning?: 'Enabled' | 'Suspended' | undefined;
  /** The XML inside of each. */
  readonly rules?: readonly string[] | undefined;
  readonly encryption?: { readonly SSEAlgorithm: string; readonly KMSMasterKeyID?: string | undefined } | undefined;
}

/** By bucket, in one file that is always whole. */
export class AllSettings {
  private constructor(
    private readonly file: string,
    private readonly known: Map<string, BucketSettings>,
  ) {}

  static async open(file: string): Promise<AllSettings> {
    const text = await readFile(file, 'utf8').catch(() => '{}'); // the first start has none
    return new AllSettings(file, new Map(Object.entries(JSON.parse(text) as Record<string, BucketSettings>)));
  }

  of(bucket: string): BucketSettings {
    return this.known.get(bucket) ?? {};
  }

  /** Returns when it would survive the end of this process. */
  async change(bucket: string, changes: BucketSettings): Promise<void> {
    this.known.set(bucket, { ...this.of(bucket), ...changes });
    await this.save();
  }

  async forget(bucket: string): Promise<void> {
    if (this.known.delete(bucket)) await this.save();
  }

  private async save(): Promise<void> {
    const written = `${this.file}.${randomUUID()}`;
    await writeFile(written, JSON.stringify(Object.fromEntries(this.known)));
    await rename(written, this.file);
  }
}

const CLASSES = ['Standard', 'IA', 'Archive', 'ColdArchive', 'DeepColdArchive'];

/** Of a new bucket, in the body of PutBucket. Throws InvalidStorageClass (400). */
export function classIn(text: string): string | undefined {
  const named = textOf(text, 'StorageClass');
  if (named === undefined || CLASSES.includes(named)) return named;
  throw new OssError('InvalidStorageClass', { message: `The storage class ${named} is invalid.` });
}

/** Throws InvalidObjectState where blobs must be restored before they are read. */
export function assertReadable({ storageClass = 'Standard' }: BucketSettings): void {
  if (storageClass.endsWith('Archive')) throw new OssError('InvalidObjectState');
}

/** What an answer to a write says where versions are kept, or were. */
export function versionHeaders({ versioning }: BucketSettings): Record<string, string> {
  if (versioning === undefined) return {};
  return { 'x-oss-version-id': versioning === 'Enabled' ? randomBytes(32).toString('base64url') : 'null' };
}

export const getBucketVersioning: Handler = async (call, { storage }) => {
  const bucket = await thereOf(call, storage);
  return xmlReply('VersioningConfiguration', { Status: storage.settings.of(bucket).versioning });
};

export const putBucketVersioning: Handler = async (call, { storage }) => {
  const bucket = await thereOf(call, storage);
  const versioning = textOf((await readXml(call)).text, 'Status');
  if (versioning !== 'Enabled' && versioning !== 'Suspended') throw new OssError('MalformedXML');
  await storage.settings.change(bucket, { versioning });
  return { status: 200, headers: {} };
};

export const getBucketLifecycle: Handler = async (call, { storage }) => {
  const bucket = await thereOf(call, storage);
  const { rules = [] } = storage.settings.of(bucket);
  if (rules.length === 0) throw new OssError('NoSuchLifecycle', { details: { BucketName: bucket } });
  const inside = rules.map((rule) => `<Rule>${rule}</Rule>`).join('');
  // The rules are XML already.
  const body = toXml('LifecycleConfiguration', {}).replace('></', `>${inside}</`);
  return { status: 200, headers: { 'content-type': 'application/xml' }, body };
};

const MAX_RULES = 1000;
const ACTIONS = ['Expiration', 'Transition', 'AbortMultipartUpload'].concat(
  ['NoncurrentVersionExpiration', 'NoncurrentVersionTransition'], // of versions
);

/** The new rules take the place of all others. One without an id is given one. */
export const putBucketLifecycle: Handler = async (call, { storage }) => {
  const bucket = await thereOf(call, storage);
  const rules = insides((await readXml(call)).text, 'Rule');
  const isWhole = (rule: string) =>
    ['Enabled', 'Disabled'].includes(textOf(rule, 'Status') ?? '') &&
    ACTIONS.some((action) => insides(rule, action).length > 0);
  if (rules.length === 0 || rules.length > MAX_RULES || !rules.every(isWhole)) {
    throw new OssError('MalformedXML', { ec: '0014-00000026' });
  }
  const named = rules.map((rule) => (textOf(rule, 'ID') ? rule : `<ID>${randomUUID()}</ID>${rule}`));
  await storage.settings.change(bucket, { rules: named });
  return { status: 200, headers: {} };
};

export const deleteBucketLifecycle: Handler = async (call, { storage }) => {
  await storage.settings.change(await thereOf(call, storage), { rules: [] });
  return { status: 204, headers: {} };
};

export const getBucketEncryption: Handler = async (call, { storage }) => {
  const bucket = await thereOf(call, storage);
  const { encryption } = storage.settings.of(bucket);
  if (encryption === undefined) {
    throw new OssError('NoSuchServerSideEncryptionRule', { details: { BucketName: bucket } });
  }
  return xmlReply('ServerSideEncryptionRule', { ApplyServerSideEncryptionByDefault: { ...encryption } });
};

export const putBucketEncryption: Handler = async (call, { storage }) => {
  const bucket = await thereOf(call, storage);
  const { text } = await readXml(call);
  const [SSEAlgorithm = '', KMSMasterKeyID] = ['SSEAlgorithm', 'KMSMasterKeyID'].map((name) => textOf(text, name));
  if (!['AES256', 'KMS', 'SM4'].includes(SSEAlgorithm)) throw new OssError('MalformedXML');
  await storage.settings.change(bucket, { encryption: { SSEAlgorithm, KMSMasterKeyID } });
  return { status: 200, headers: {} };
};

/** Throws NoSuchBucket. */
async function thereOf(call: Parameters<Handler>[0], storage: Parameters<Handler>[1]['storage']): Promise<string> {
  const bucket = bucketOf(call);
  await storage.createdMs(bucket);
  return bucket;
}
