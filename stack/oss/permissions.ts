// Which actions a request needs, by RAM: https://www.alibabacloud.com/help/en/oss/user-guide/authorization-syntax-and-elements
import { allows } from '../policy';
import type { Statement } from '../policy';
import type { Address, Operation } from './address';
import type { Headers } from './canonical';
import { decode } from './canonical';
import { OssError } from './errors';

/** Operations whose action has another name. Parts are written as objects are. */
const ACTIONS: Partial<Record<Operation, string>> = {
  ListObjectsV2: 'ListObjects',
  DeleteMultipleObjects: 'DeleteObject',
  CopyObject: 'PutObject',
  HeadObject: 'GetObject',
  GetObjectMeta: 'GetObject',
  InitiateMultipartUpload: 'PutObject',
  UploadPart: 'PutObject',
  UploadPartCopy: 'PutObject',
  CompleteMultipartUpload: 'PutObject',
};

/** Of KMS, where a key of it encrypts what is written or read. */
const KEY_ACTIONS: Partial<Record<Operation, string>> = {
  PutObject: 'GenerateDataKey',
  CopyObject: 'GenerateDataKey',
  InitiateMultipartUpload: 'GenerateDataKey',
  UploadPart: 'Decrypt',
  UploadPartCopy: 'Decrypt',
  GetObject: 'Decrypt',
};

/**
 * `kmsKey`: `acs:kms:<region>:<account>:key/<id>` that encrypts the bucket's objects.
 *
 * @throws OssError AccessDenied, as OSS words it, for what the policy does not allow
 */
export function assertAllowed(
  policy: readonly Statement[],
  operation: Operation,
  { bucket = '*', key }: Address,
  headers: Headers,
  kmsKey: string | undefined,
): void {
  const resource = (of: string) => `acs:oss:*:*:${of}`;
  const of = key === undefined ? bucket : `${bucket}/${key}`;
  const needs = [
    [`oss:${ACTIONS[operation] ?? operation}`, resource(operation === 'DeleteMultipleObjects' ? `${of}/*` : of)],
  ];
  const source = headers['x-oss-copy-source'];
  if (source !== undefined)
    needs.push(['oss:GetObject', resource(decode(source.replace(/^\//, '').replaceAll('+', ' ').split('?')[0] ?? ''))]);
  const ofKey = KEY_ACTIONS[operation];
  if (kmsKey !== undefined && ofKey !== undefined && !allows(policy, `kms:${ofKey}`, kmsKey)) {
    // www.alibabacloud.com/help/en/oss/, topic "the-this-request-is-forbidden-by-kms-error-message-is-returned-..."
    throw new OssError('AccessDenied', { message: `This request is forbidden by kms: no permission for kms:${ofKey}` });
  }
  for (const [action = '', on = ''] of needs) {
    if (allows(policy, action, on)) continue;
    // The help page of EC 0003-00000001.
    throw new OssError('AccessDenied', {
      message: 'You have no right to access this object.',
      ec: '0003-00000001',
      details: { AccessDeniedDetail: `AuthAction ${action}, NoPermissionType ImplicitDeny` },
    });
  }
}
