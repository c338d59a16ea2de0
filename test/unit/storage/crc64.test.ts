import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { combineCrc64, crc64, showCrc64 } from '../../../src/storage';

test('the CRC64 is the one that OSS answers', async () => {
  expect(await crc64([Buffer.from('123456789')])).toBe(11051210869376104954n);
  expect(showCrc64(await crc64([Buffer.from('123456789')]))).toBe('crc64:995dc9bbdf1939fa');
  expect(showCrc64(await crc64([]))).toBe('crc64:0000000000000000');
});

test('two CRC64 combine to that of the bytes one after the other, however they are cut into buffers', async () => {
  const bytes = fc.uint8Array({ maxLength: 40_000 });
  await fc.assert(
    fc.asyncProperty(bytes, bytes, async (a, b) => {
      const whole = await crc64([a, b]);
      expect(await crc64([Buffer.concat([a, b])])).toBe(whole);
      expect(combineCrc64(await crc64([a]), await crc64([b]), b.length)).toBe(whole);
    }),
  );
});

test('they combine over lengths of more than 32 bits', () => {
  // A run of n zeros after A, in one step and in two.
  const [a, n] = [0x123456789abcdef0n, 5 * 2 ** 32 + 7];
  const zeros = (length: number) => combineCrc64(0n, combineCrc64(a, 0n, length), 0);
  expect(combineCrc64(zeros(2 ** 33), 0n, n - 2 ** 33)).toBe(zeros(n));
  expect(zeros(n)).not.toBe(zeros(n % 2 ** 32));
});

test('many at the same time do not mix', async () => {
  const bodies = Array.from({ length: 50 }, (_, i) => [randomBytes(i * 1_000), randomBytes(17)]);
  const together = await Promise.all(bodies.map((buffers) => crc64(buffers)));
  for (const [i, buffers] of bodies.entries()) expect(together[i]).toBe(await crc64(buffers));
});
