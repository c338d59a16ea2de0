/** Answers in the forms that the vendors document, where no server that we can run gives them. */
import { ConfigurationError, UnavailableError } from '../../../src/domain/errors';
import { encryptionOf, listed, rulesOf, told, versioningOf } from '../../../src/storage/bucket-properties';
import type { Element } from '../../../src/storage/xml';
import { parseXml } from '../../../src/storage/xml';

const xml = (text: string): Element => parseXml(`<?xml version="1.0" encoding="UTF-8"?>${text}`)!;
const lifecycle = (...rules: string[]) =>
  rulesOf(
    xml(`<LifecycleConfiguration>${rules.map((rule) => `<Rule>${rule}</Rule>`).join('')}</LifecycleConfiguration>`),
  );

// https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketLifecycleConfiguration.html
test('rules of S3: by filter, by both, and by the prefix of older ones; dates; what means versions only', () => {
  const rules = lifecycle(
    `<ID>id1</ID><Filter><Prefix>documents/</Prefix></Filter><Status>Enabled</Status>
     <Transition><Days>30</Days><StorageClass>GLACIER</StorageClass></Transition>`,
    `<ID>id2</ID><Filter><And><Prefix>logs/</Prefix><ObjectSizeGreaterThan>500</ObjectSizeGreaterThan></And></Filter>
     <Status>Enabled</Status><Expiration><Date>2027-01-01T00:00:00.000Z</Date></Expiration>`,
    `<ID>id3</ID><Prefix>old/</Prefix><Status>Enabled</Status><Expiration><Days>365</Days></Expiration>`,
    `<ID>id4</ID><Filter></Filter><Status>Enabled</Status>
     <Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>
     <NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration>
     <AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload>`,
  );
  const none = { except: [], deletes: undefined, moves: [], abortsUploadsAfterDays: undefined };
  expect(rules).toEqual([
    { ...none, id: 'id1', prefix: 'documents/', moves: [{ storageClass: 'GLACIER', when: { days: 30 } }] },
    { ...none, id: 'id2', prefix: 'logs/', deletes: { from: Date.parse('2027-01-01') } },
    { ...none, id: 'id3', prefix: 'old/', deletes: { days: 365 } },
    { ...none, id: 'id4', prefix: '', abortsUploadsAfterDays: 7 },
  ]);
});

// https://www.alibabacloud.com/help/en/oss/user-guide/configuration-elements
test('rules of OSS: what a filter spares, days before which blobs were written, and what is off or means tags', () => {
  const rules = lifecycle(
    `<ID>rule1</ID><Prefix>logs/</Prefix><Status>Enabled</Status>
     <Filter><Not><Prefix>logs/keep/</Prefix></Not>
       <Not><Prefix>logs/1/</Prefix><Tag><Key>key1</Key><Value>value1</Value></Tag></Not></Filter>
     <Expiration><CreatedBeforeDate>2017-12-31T00:00:00.000Z</CreatedBeforeDate></Expiration>
     <AbortMultipartUpload><Days>3</Days></AbortMultipartUpload>`,
    `<ID>rule2</ID><Prefix>doc/</Prefix><Status>Disabled</Status><Expiration><Days>10</Days></Expiration>`,
    `<ID>rule3</ID><Prefix>x/</Prefix><Tag><Key>a</Key><Value>1</Value></Tag><Status>Enabled</Status>
     <Expiration><Days>10</Days></Expiration>`,
  );
  expect(rules).toEqual([
    {
      ...{ id: 'rule1', prefix: 'logs/', except: ['logs/keep/'], moves: [], abortsUploadsAfterDays: 3 },
      deletes: { writtenBefore: Date.parse('2017-12-31') },
    },
  ]);
});

// https://www.tencentcloud.com/document/product/436/17029
test('rules of COS: a tag in a filter, alone or beside a prefix, means none of our blobs', () => {
  const tag = '<Tag><Key>key1</Key><Value>value1</Value></Tag>';
  const archive = '<Transition><StorageClass>ARCHIVE</StorageClass><Days>30</Days></Transition>';
  const rules = lifecycle(
    `<ID>a</ID><Filter>${tag}</Filter><Status>Enabled</Status>${archive}`,
    `<ID>b</ID><Filter><And><Prefix>p/</Prefix>${tag}</And></Filter><Status>Enabled</Status>${archive}`,
    `<ID>c</ID><Filter></Filter><Status>Enabled</Status>${archive}`,
  );
  expect(rules?.map(({ id, moves }) => [id, moves[0]?.storageClass])).toEqual([['c', 'ARCHIVE']]);
});

// https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketVersioning.html and API_GetBucketEncryption.html
test('versioning and the key of S3', () => {
  const versioning = (status: string) =>
    versioningOf(xml(`<VersioningConfiguration>${status}<MfaDelete>Disabled</MfaDelete></VersioningConfiguration>`));
  expect(['<Status>Enabled</Status>', '<Status>Suspended</Status>', ''].map(versioning)).toEqual([
    'on',
    'suspended',
    'never',
  ]);
  const encryption = (by: string) =>
    encryptionOf(
      xml(`<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault>${by}
        </ApplyServerSideEncryptionByDefault><BucketKeyEnabled>false</BucketKeyEnabled></Rule>
        </ServerSideEncryptionConfiguration>`),
    );
  const arn = 'arn:aws:kms:us-east-1:1234/5678example';
  expect(encryption(`<SSEAlgorithm>aws:kms</SSEAlgorithm><KMSMasterKeyID>${arn}</KMSMasterKeyID>`)).toEqual({
    keyId: arn,
  });
  expect(encryption('<SSEAlgorithm>AES256</SSEAlgorithm>')).toEqual({});
});

test('asking is never an error: nothing of the kind, denied, and unknown are told apart', async () => {
  const fails = (error: Error) => told(() => Promise.reject(error), 'NoSuchLifecycle');
  const refused = (code: string | undefined, status: number) =>
    fails(new ConfigurationError('no', { subject: { code, status } }));
  expect(await refused('NoSuchLifecycle', 404)).toBe('none');
  expect(await refused('AccessDenied', 403)).toBe('denied');
  expect(await refused('NoSuchBucket', 404)).toBeUndefined();
  expect(await fails(new UnavailableError('away', { subject: { status: 501 } }))).toBeUndefined();
  await expect(fails(new DOMException('stopped', 'AbortError'))).rejects.toThrow('stopped');
  expect([rulesOf('none'), rulesOf('denied'), encryptionOf('none'), versioningOf(undefined)]).toEqual([
    [],
    undefined,
    {},
    undefined,
  ]);
});

test('a listing tells the class of a blob where it is not the usual one', () => {
  const blob = (storageClass: string) =>
    listed(xml(`<Contents><Size>7</Size><ETag>"e"</ETag>${storageClass}</Contents>`), 'k', 'STANDARD');
  const plain = { key: 'k', length: 7, etag: 'e' };
  expect(blob('<StorageClass>STANDARD</StorageClass>')).toEqual(plain);
  expect(blob('')).toEqual(plain);
  expect(blob('<StorageClass>GLACIER</StorageClass>')).toEqual({ ...plain, storageClass: 'GLACIER' });
});
