// Which bucket, key and operation a request line means.
import { decode, parseQuery } from './canonical';
import type { Headers, Query } from './canonical';
import { OssError } from './errors';

export type Operation =
  | 'ListBuckets'
  | 'PutBucket'
  | 'DeleteBucket'
  | 'GetBucketInfo'
  | 'GetBucketLocation'
  | 'GetBucketAcl'
  | 'GetBucketVersioning'
  | 'PutBucketVersioning'
  | 'GetBucketLifecycle'
  | 'PutBucketLifecycle'
  | 'DeleteBucketLifecycle'
  | 'GetBucketEncryption'
  | 'PutBucketEncryption'
  | 'ListObjects'
  | 'ListObjectsV2'
  | 'ListMultipartUploads'
  | 'DeleteMultipleObjects'
  | 'PutObject'
  | 'CopyObject'
  | 'GetObject'
  | 'HeadObject'
  | 'GetObjectMeta'
  | 'GetObjectAcl'
  | 'DeleteObject'
  | 'InitiateMultipartUpload'
  | 'UploadPart'
  | 'UploadPartCopy'
  | 'ListParts'
  | 'CompleteMultipartUpload'
  | 'AbortMultipartUpload';

export interface Address {
  readonly bucket: string | undefined;
  readonly key: string | undefined;
  readonly query: Query;
}

/** `<bucket>.oss-<region>…`, `<bucket>.<region>.oss.…` (dual stack) and, for tests, `<bucket>.localhost`. */
const BUCKET_IN_HOST = /^([a-z0-9][a-z0-9-]*)\.(?:oss-|[a-z0-9-]+\.oss\.|localhost(?::|$))/;

/** The bucket from the Host header, else the first segment of the path; the key decoded once, so `%2F` is a slash. */
export function addressOf(host: string, url: string): Address {
  const mark = url.indexOf('?');
  const path = decode((mark < 0 ? url : url.slice(0, mark)).slice(1));
  const query = parseQuery(mark < 0 ? '' : url.slice(mark + 1));
  const bucket = BUCKET_IN_HOST.exec(host)?.[1];
  if (bucket !== undefined) return { bucket, key: orNone(path), query };
  const slash = path.indexOf('/');
  if (slash < 0) return { bucket: orNone(path), key: undefined, query };
  return { bucket: orNone(path.slice(0, slash)), key: orNone(path.slice(slash + 1)), query };
}

function orNone(text: string): string | undefined {
  return text === '' ? undefined : text;
}

/** What OSS has and this server has not: taken for a plain call, it would be answered wrongly. */
const NOT_HERE = [
  'accessMonitor accessPoint accessPointForObjectProcess accessPointPolicy append asyncFetch asyncProcess bucketArchive',
  'bucketArchiveDirectRead bucketHash bucketWorm callback callback-var cleanRestoredObject cloudboxes cname comp cors',
  'encryption httpsConfig img inventory legalHold lifecycle live logging metaQuery objectMeta objectWorm policy',
  'policyStatus processConfiguration publicAccessBlock qos qosInfo redundancyTransition referer regionList regions',
  'replication replicationLocation replicationProgress requestPayment resourceGroup responseHeader restore rtc seal',
  'sealAppend stat status style styleName symlink tagging transferAcceleration userDefinedLogFieldsConfig versioning',
  'versions vod vpcip website worm wormExtend wormId',
  // Also as headers.
  'x-oss-async-process x-oss-callback x-oss-delete x-oss-dir x-oss-process x-oss-rename-source x-oss-symlink-target x-oss-tagging',
]
  .join(' ')
  .split(' ');

/** Objects of these can not be read before they are restored. */
const NOT_HERE_CLASS = /archive/i;

/** Throws NotImplemented for what this server does not do, MethodNotAllowed for what OSS does not. */
export function operationOf(method: string, address: Address, headers: Headers): Operation {
  const has = (name: string) => address.query.some(([given]) => given === name);
  const setting = address.key === undefined && address.bucket !== undefined ? settingOperation(method, has) : undefined;
  if (setting !== undefined) return setting;
  const found =
    address.key !== undefined
      ? objectOperation(method, has, headers['x-oss-copy-source'] !== undefined)
      : address.bucket !== undefined
        ? bucketOperation(method, has, address)
        : serviceOperation(method);
  const asks = (name: string) => has(name) || (name.startsWith('x-oss-') && headers[name] !== undefined);
  const isHere = !NOT_HERE.some(asks) && !NOT_HERE_CLASS.test(headers['x-oss-storage-class'] ?? '');
  if (found === 'GetObjectMeta' || (found !== undefined && isHere)) return found;
  throw new OssError(isHere ? 'MethodNotAllowed' : 'NotImplemented');
}

type Has = (name: string) => boolean;

/** What a bucket is told to do. */
const SETTINGS: Readonly<Record<string, Readonly<Record<string, Operation>>>> = {
  versioning: { GET: 'GetBucketVersioning', PUT: 'PutBucketVersioning' },
  lifecycle: { GET: 'GetBucketLifecycle', PUT: 'PutBucketLifecycle', DELETE: 'DeleteBucketLifecycle' },
  encryption: { GET: 'GetBucketEncryption', PUT: 'PutBucketEncryption' },
};

function settingOperation(method: string, has: Has): Operation | undefined {
  const name = Object.keys(SETTINGS).find(has);
  return name === undefined ? undefined : SETTINGS[name]?.[method];
}

function serviceOperation(method: string): Operation | undefined {
  return method === 'GET' ? 'ListBuckets' : undefined;
}

function bucketOperation(method: string, has: Has, { query }: Address): Operation | undefined {
  switch (method) {
    case 'GET':
      if (has('uploads')) return 'ListMultipartUploads';
      if (has('bucketInfo')) return 'GetBucketInfo';
      if (has('location')) return 'GetBucketLocation';
      if (has('acl')) return 'GetBucketAcl';
      return query.some(([name, value]) => name === 'list-type' && value === '2') ? 'ListObjectsV2' : 'ListObjects';
    case 'PUT':
      if (has('acl')) throw new OssError('NotImplemented');
      return 'PutBucket';
    case 'POST':
      return has('delete') ? 'DeleteMultipleObjects' : undefined;
    case 'DELETE':
      return 'DeleteBucket';
    default:
      return undefined;
  }
}

function objectOperation(method: string, has: Has, isCopy: boolean): Operation | undefined {
  if (has('acl') && method !== 'GET') throw new OssError('NotImplemented');
  switch (method) {
    case 'GET':
      if (has('acl')) return 'GetObjectAcl';
      return has('uploadId') ? 'ListParts' : 'GetObject';
    case 'HEAD':
      return has('objectMeta') ? 'GetObjectMeta' : 'HeadObject';
    case 'PUT':
      if (has('partNumber') || has('uploadId')) return isCopy ? 'UploadPartCopy' : 'UploadPart';
      return isCopy ? 'CopyObject' : 'PutObject';
    case 'POST':
      if (has('uploads')) return 'InitiateMultipartUpload';
      return has('uploadId') ? 'CompleteMultipartUpload' : undefined;
    case 'DELETE':
      return has('uploadId') ? 'AbortMultipartUpload' : 'DeleteObject';
    default:
      return undefined;
  }
}
