import { freeBytesAt } from '../../../src/domain/watermarks';

const TB = 1024 ** 4;
const GB = 1024 ** 3;

test.each<[string, string | undefined, number]>([
  ['85%', undefined, 0.15 * TB],
  ['0.9', undefined, 0.1 * TB],
  ['100%', undefined, 0],
  ['10gb', undefined, 10 * GB],
  ['500MB', undefined, 500 * 1024 ** 2],
  ['1.5TB', undefined, 1.5 * TB],
  ['0b', undefined, 0],
  ['85%', '100GB', 100 * GB],
  ['95%', '100GB', 0.05 * TB],
  ['10gb', '1gb', 10 * GB],
  ['nearly all', undefined, 0],
])('a disk of 1 TB at the mark %s (headroom %s) has %d bytes free', (value, maxHeadroom, free) => {
  const watermark = { name: 'low', value, ...(maxHeadroom === undefined ? {} : { maxHeadroom }) } as const;
  expect(freeBytesAt(watermark, TB)).toBeCloseTo(free, -3);
});
