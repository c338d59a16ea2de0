import { startChecksums } from '../../../../stack/oss/checksums';

test('the check value of CRC-64/XZ, which OSS calls ECMA-182', async () => {
  const checksums = await startChecksums();
  checksums.update(Buffer.from('123456789'));
  expect(checksums.end()).toMatchObject({ size: 9, crc64: '11051210869376104954' });
});

test('checksums under way at the same time do not meet, and a hasher that is used again starts anew', async () => {
  const [one, other] = [await startChecksums(), await startChecksums()];
  one.update(Buffer.from('12345'));
  other.update(Buffer.from('123456789'));
  one.update(Buffer.from('6789'));
  expect([one.end().crc64, other.end().crc64]).toEqual(['11051210869376104954', '11051210869376104954']);
  expect((await startChecksums()).end()).toMatchObject({ size: 0, crc64: '0' });
});
