import fc from 'fast-check';
import { combineCrc32, crc32, footerCrc32, showCrc32 } from '../../../src/storage';

test('the CRC32 is the one of zlib, Lucene and S3', () => {
  expect(showCrc32(crc32(Buffer.from('123456789')))).toBe('crc32:cbf43926');
});

test('no bytes change nothing, wherever they lie', () => {
  for (const empty of [Buffer.alloc(0), Buffer.from(new ArrayBuffer(0))])
    expect(crc32(empty, 0xcbf43926)).toBe(0xcbf43926);
});

test('two CRC32 combine to that of the bytes one after the other', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 5_000 }), fc.uint8Array({ maxLength: 5_000 }), (a, b) => {
      expect(combineCrc32(crc32(a), crc32(b), b.length)).toBe(crc32(Buffer.concat([a, b])));
    }),
  );
});

test('they combine over lengths of more than 32 bits', () => {
  // A run of n zeros after A, in one step and in two.
  const [a, n] = [0x12345678, 5 * 2 ** 32 + 7];
  const zeros = (length: number) => combineCrc32(0, combineCrc32(a, 0, length), 0);
  expect(combineCrc32(zeros(2 ** 33), 0, n - 2 ** 33)).toBe(zeros(n));
  expect(zeros(n)).not.toBe(zeros(n % 2 ** 32));
});

test('the footer of a Lucene file tells the CRC32 of the whole file', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 1_000 }), (content) => {
      const footer = Buffer.alloc(8);
      footer.writeBigInt64BE(BigInt(crc32(content)));
      expect(footerCrc32(crc32(content))).toBe(crc32(Buffer.concat([content, footer])));
    }),
  );
});
