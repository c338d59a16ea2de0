import { addressOf, operationOf } from '../../../../stack/oss/address';

test.each([
  ['bkt.oss-cn-hangzhou.aliyuncs.com', '/a/b', 'bkt', 'a/b'],
  ['bkt.oss-cn-hangzhou-internal.aliyuncs.com', '/a', 'bkt', 'a'],
  ['bkt.oss-accelerate.aliyuncs.com', '/', 'bkt', undefined],
  ['bkt.cn-hangzhou.oss.aliyuncs.com', '/a', 'bkt', 'a'],
  ['bkt.localhost:9000', '/a%2Fb%2Bc%20d', 'bkt', 'a/b+c d'],
  ['127.0.0.1:9000', '/bkt/a%2Fb', 'bkt', 'a/b'],
  ['127.0.0.1:9000', '/bkt/?list-type=2', 'bkt', undefined],
  ['127.0.0.1:9000', '/bkt', 'bkt', undefined],
  ['oss-cn-hangzhou.aliyuncs.com', '/bkt/k', 'bkt', 'k'],
  ['127.0.0.1:9000', '/', undefined, undefined],
])('host %s, path %s: bucket %s, key %s', (host, url, bucket, key) => {
  expect(addressOf(host, url)).toMatchObject({ bucket, key });
});

test('a query keeps names without a value, and + is a blank', () => {
  expect(addressOf('localhost', '/b/?uploads&prefix=a+b%2Bc&marker=').query).toEqual([
    ['uploads', ''],
    ['prefix', 'a b+c'],
    ['marker', ''],
  ]);
});

test('a path that is not UTF-8 is refused', () => {
  expect(() => addressOf('localhost', '/b/%ff')).toThrow(/not percent-encoded UTF-8/);
});

test.each([
  ['GET', '/', 'ListBuckets'],
  ['GET', '/b/', 'ListObjects'],
  ['GET', '/b/?list-type=2', 'ListObjectsV2'],
  ['GET', '/b/?uploads', 'ListMultipartUploads'],
  ['POST', '/b/?delete', 'DeleteMultipleObjects'],
  ['PUT', '/b/k', 'PutObject'],
  ['PUT', '/b/k?partNumber=1&uploadId=U', 'UploadPart'],
  ['POST', '/b/k?uploads', 'InitiateMultipartUpload'],
  ['POST', '/b/k?uploadId=U', 'CompleteMultipartUpload'],
  ['GET', '/b/k?uploadId=U', 'ListParts'],
  ['DELETE', '/b/k?uploadId=U', 'AbortMultipartUpload'],
  ['HEAD', '/b/k?objectMeta', 'GetObjectMeta'],
  ['GET', '/b/k?acl', 'GetObjectAcl'],
])('%s %s is %s', (method, url, operation) => {
  expect(operationOf(method, addressOf('localhost', url), {})).toBe(operation);
});

test('a copy is a PUT that names its source', () => {
  const copy = { 'x-oss-copy-source': '/b/s' };
  expect(operationOf('PUT', addressOf('localhost', '/b/k'), copy)).toBe('CopyObject');
  expect(operationOf('PUT', addressOf('localhost', '/b/k?partNumber=1&uploadId=U'), copy)).toBe('UploadPartCopy');
});

test('a sub-resource that is not served is said, never taken for the plain call', () => {
  expect(() => operationOf('GET', addressOf('localhost', '/b/?versions'), {})).toThrow(/not here/);
  expect(() => operationOf('PUT', addressOf('localhost', '/b/k?acl'), {})).toThrow(/not here/);
  expect(() => operationOf('PATCH', addressOf('localhost', '/b/k'), {})).toThrow(/not allowed/);
});
