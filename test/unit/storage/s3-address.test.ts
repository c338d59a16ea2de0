import { ConfigurationError } from '../../../src/domain/errors';
import { addressOf } from '../../../src/storage/s3-address';

const of = (bucket: string, region: string, endpoint?: string, pathStyle?: boolean) => {
  const { origin, root } = addressOf({ bucket, region, endpoint, pathStyle });
  return origin + root;
};

test.each([
  ['AWS', of('snapshots', 'eu-west-1'), 'https://snapshots.s3.eu-west-1.amazonaws.com'],
  ['AWS in China', of('snapshots', 'cn-north-1'), 'https://snapshots.s3.cn-north-1.amazonaws.com.cn'],
  // No wildcard certificate covers it.
  ['a bucket with dots', of('my.snapshots', 'eu-west-1'), 'https://s3.eu-west-1.amazonaws.com/my.snapshots'],
  ['an old name', of('My_Snapshots', 'us-east-1'), 'https://s3.us-east-1.amazonaws.com/My_Snapshots'],
  ['path style', of('b1', 'r', 'https://minio.internal:9000', true), 'https://minio.internal:9000/b1'],
  ['an address in numbers', of('b1', 'r', 'http://127.0.0.1:7070'), 'http://127.0.0.1:7070/b1'],
  ['an address in numbers', of('b1', 'r', 'http://[::1]:7070'), 'http://[::1]:7070/b1'],
  ['a gateway below a path', of('b1', 'r', 'https://gw.internal/s3/', true), 'https://gw.internal/s3/b1'],
  [
    'COS',
    of('snapshots-1250000000', 'ap-guangzhou', 'https://cos.ap-guangzhou.myqcloud.com'),
    'https://snapshots-1250000000.cos.ap-guangzhou.myqcloud.com',
  ],
  [
    'the S3 door of OSS',
    of('snapshots', 'oss-cn-hangzhou', 'https://s3.oss-cn-hangzhou.aliyuncs.com'),
    'https://snapshots.s3.oss-cn-hangzhou.aliyuncs.com',
  ],
])('%s', (_, actual, expected) => {
  expect(actual).toBe(expected);
});

test('the port of a scheme is not signed, as it is not sent', () => {
  expect(addressOf({ bucket: 'b1', region: 'r', endpoint: 'https://gw:443', pathStyle: true }).host).toBe('gw');
  expect(addressOf({ bucket: 'b1', region: 'r', endpoint: 'http://gw:443', pathStyle: true }).host).toBe('gw:443');
});

test.each(['localhost', 'localhost:9000', 'ftp://host', ''])('%s is no endpoint', (endpoint) => {
  expect(() => of('b1', 'r', endpoint)).toThrow(ConfigurationError);
});

test('two buckets are of one provider when one endpoint, or one partition of AWS, has both', () => {
  const provider = (region: string, endpoint?: string) => addressOf({ bucket: 'b1', region, endpoint }).provider;
  expect(provider('eu-west-1')).toBe(provider('us-east-1'));
  expect(provider('eu-west-1')).not.toBe(provider('cn-north-1'));
  expect(provider('r', 'https://gw')).toBe(provider('r', 'https://gw/'));
  expect(provider('r', 'https://gw')).not.toBe(provider('r', 'https://other'));
});
