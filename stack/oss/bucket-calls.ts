// Buckets, and both versions of ListObjects.
import type { Call, Handler, Reply, Service } from './call';
import type { BucketSettings } from './bucket-settings';
import { classIn } from './bucket-settings';
import { bucketOf, encodingOf, numberOf, OWNER, quoted, readXml, xmlReply, xmlTime } from './call';
import { encode } from './canonical';
import { invalidArgument, OssError } from './errors';
import { listPage } from './listing';
import type { ListPage } from './listing';
import type { StoredObject } from './storage';
import type { XmlElements } from './xml';

const BUCKET_KEYS = { fallback: 100, max: 1000, ec: '0017-00000289' };
const OBJECT_KEYS = { fallback: 100, max: 1000, ec: '0015-00000402' };
/** Of one page, looked at side by side. */
const LOOKED_AT_ONCE = 16;

export const listBuckets: Handler = async (call, { storage, region }) => {
  const prefix = call.query.get('prefix') ?? '';
  const marker = call.query.get('marker') ?? '';
  const limit = numberOf(call, 'max-keys', BUCKET_KEYS);
  const all = await storage.buckets();
  const rest = all.filter(({ name }) => name.startsWith(prefix) && name > marker);
  const page = rest.slice(0, limit);
  const isTruncated = rest.length > limit;
  return xmlReply('ListAllMyBucketsResult', {
    Prefix: prefix,
    Marker: marker,
    MaxKeys: limit,
    IsTruncated: isTruncated,
    NextMarker: isTruncated ? page.at(-1)?.name : '',
    Owner: OWNER,
    Buckets: { Bucket: page.map((one) => bucketElements(one, storage.settings.of(one.name), region)) },
  });
};

function bucketElements(
  { name, createdMs }: { readonly name: string; readonly createdMs: number },
  { storageClass = 'Standard' }: BucketSettings,
  region: string,
): XmlElements {
  return {
    Name: name,
    Location: `oss-${region}`,
    Region: region,
    CreationDate: xmlTime(createdMs),
    StorageClass: storageClass,
    ExtranetEndpoint: `oss-${region}.aliyuncs.com`,
    IntranetEndpoint: `oss-${region}-internal.aliyuncs.com`,
  };
}

export const putBucket: Handler = async (call, { storage }) => {
  const bucket = bucketOf(call);
  const storageClass = classIn((await readXml(call)).text);
  await storage.makeBucket(bucket);
  if (storageClass !== undefined) await storage.settings.change(bucket, { storageClass });
  return { status: 200, headers: { location: `/${bucket}` } };
};

export const deleteBucket: Handler = async (call, { storage, uploads }) => {
  const bucket = bucketOf(call);
  if (uploads.inBucket(bucket).length > 0) throw new OssError('BucketNotEmpty', { details: { BucketName: bucket } });
  await storage.removeBucket(bucket);
  return { status: 204, headers: {} };
};

export const getBucketInfo: Handler = async (call, { storage, region }) => {
  const bucket = bucketOf(call);
  const settings = storage.settings.of(bucket);
  const elements = bucketElements({ name: bucket, createdMs: await storage.createdMs(bucket) }, settings, region);
  const access = { AccessControlList: { Grant: 'private' }, DataRedundancyType: 'LRS', Owner: OWNER };
  const told = {
    Versioning: settings.versioning,
    ServerSideEncryptionRule: { ...(settings.encryption ?? { SSEAlgorithm: 'None' }) },
  };
  return xmlReply('BucketInfo', { Bucket: { ...elements, ...access, ...told } });
};

export const getBucketLocation: Handler = async (call, { storage, region }) => {
  await storage.createdMs(bucketOf(call));
  return xmlReply('LocationConstraint', `oss-${region}`);
};

export const getBucketAcl: Handler = async (call, { storage }) => {
  await storage.createdMs(bucketOf(call));
  return xmlReply('AccessControlPolicy', { Owner: OWNER, AccessControlList: { Grant: 'private' } });
};

export const listObjects: Handler = async (call, service) => {
  const marker = call.query.get('marker') ?? '';
  const page = await pageOf(call, service, marker);
  const own = { Marker: page.show(marker), NextMarker: page.next === undefined ? undefined : page.show(page.next) };
  return listReply(call, page, own, true);
};

export const listObjectsV2: Handler = async (call, service) => {
  const startAfter = call.query.get('start-after') ?? '';
  const token = call.query.get('continuation-token') ?? '';
  const page = await pageOf(call, service, token === '' ? startAfter : keyOfToken(token));
  const own = {
    StartAfter: page.show(startAfter),
    ContinuationToken: token,
    NextContinuationToken: page.next === undefined ? undefined : tokenOf(page.next),
    KeyCount: page.objects.length + page.commonPrefixes.length,
  };
  return listReply(call, page, own, call.query.get('fetch-owner') === 'true');
};

/** Opaque to clients, and safe in a URL. */
function tokenOf(key: string): string {
  return Buffer.from(key, 'utf8').toString('base64url');
}

function keyOfToken(token: string): string {
  const key = Buffer.from(token, 'base64url').toString('utf8');
  if (tokenOf(key) === token) return key;
  throw invalidArgument('continuation-token', token, 'The continuation token is invalid.');
}

interface Page extends ListPage {
  readonly objects: readonly StoredObject[];
  readonly limit: number;
  readonly storageClass: string;
  /** A key or a part of one, as the client wants to see it. */
  readonly show: (text: string) => string;
}

async function pageOf(call: Call, { storage }: Service, after: string): Promise<Page> {
  const bucket = bucketOf(call);
  const limit = numberOf(call, 'max-keys', OBJECT_KEYS);
  const encoding = encodingOf(call);
  const query = { prefix: call.query.get('prefix') ?? '', delimiter: call.query.get('delimiter') ?? '', after, limit };
  const page = await listPage(await storage.keys(bucket), query);
  const objects: StoredObject[] = [];
  for (let at = 0; at < page.keys.length; at += LOOKED_AT_ONCE) {
    const keys = page.keys.slice(at, at + LOOKED_AT_ONCE);
    const found = await Promise.all(keys.map((key) => storage.look(bucket, key)));
    objects.push(...found.filter((object) => object !== undefined)); // undefined: deleted meanwhile
  }
  const { storageClass = 'Standard' } = storage.settings.of(bucket);
  return { ...page, objects, limit, storageClass, show: (text) => (encoding ? encode(text) : text) };
}

function listReply(call: Call, page: Page, own: XmlElements, withOwner: boolean): Reply {
  return xmlReply('ListBucketResult', {
    Name: call.bucket,
    Prefix: page.show(call.query.get('prefix') ?? ''),
    MaxKeys: page.limit,
    Delimiter: page.show(call.query.get('delimiter') ?? ''),
    EncodingType: encodingOf(call),
    IsTruncated: page.next !== undefined,
    ...own,
    Contents: page.objects.map(({ key, size, modifiedMs, metadata }) => ({
      Key: page.show(key),
      LastModified: xmlTime(modifiedMs),
      ETag: quoted(metadata.etag),
      Type: metadata.type,
      Size: size,
      StorageClass: metadata.headers['x-oss-storage-class'] ?? page.storageClass,
      Owner: withOwner ? OWNER : undefined,
    })),
    CommonPrefixes: page.commonPrefixes.map((one) => ({ Prefix: page.show(one) })),
  });
}
