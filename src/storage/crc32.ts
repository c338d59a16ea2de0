/**
 * CRC32 (IEEE, reflected: zlib's). The one checksum that the Lucene footer, Elasticsearch's codec footer and
 * `x-amz-checksum-crc32` share, hence one pass over the bytes proves the source and arms the target.
 */
import { crc32 as zlibCrc32 } from 'node:zlib';

const POLYNOMIAL = 0xedb88320;
/** The polynomials 1 and x^8, highest coefficient in the lowest bit as everywhere in a reflected CRC. */
const ONE = 0x80000000;
const X_TO_THE_8 = 0x00800000;

/** CRC32 of `bytes`, or of everything before and `bytes` when `before` is the CRC32 of that. Unsigned. */
export function crc32(bytes: Uint8Array, before = 0): number {
  // Of no bytes at an address that is null, as some empty buffers have it, zlib says 0 whatever came before.
  return bytes.length === 0 ? before : zlibCrc32(bytes, before);
}

/** `a * b` modulo the CRC's polynomial, over GF(2). */
function multiply(a: number, b: number): number {
  let product = 0;
  for (let bit = 31; bit >= 0; bit--) {
    if ((a >>> bit) & 1) product ^= b;
    b = b & 1 ? (b >>> 1) ^ POLYNOMIAL : b >>> 1;
  }
  return product >>> 0;
}

/** CRC32 of A followed by B, from the CRC32 of each and the length of B in bytes: A is moved up by x^(8 * lengthB). */
export function combineCrc32(crcA: number, crcB: number, lengthB: number): number {
  // Nothing to move: of a file in one piece, always.
  if (crcA === 0) return crcB;
  let shift = ONE;
  let square = X_TO_THE_8;
  // Not a shift loop: lengths exceed 32 bits.
  for (let rest = lengthB; rest > 0; rest = Math.floor(rest / 2)) {
    if (rest % 2 === 1) shift = multiply(square, shift);
    square = multiply(square, square);
  }
  return (multiply(shift, crcA) ^ crcB) >>> 0;
}

/**
 * CRC32 of a whole Lucene or codec file, known before a byte of it is read: its last 8 bytes hold, as int64 big-endian,
 * the CRC32 of everything before them (`expectedFooter`).
 */
export function footerCrc32(expectedFooter: number): number {
  const footer = Buffer.alloc(8);
  footer.writeUInt32BE(expectedFooter, 4);
  return crc32(footer, expectedFooter);
}

/** `crc32:9ae0daaf`: as receipts, proofs and messages show it. */
export function showCrc32(crc: number): string {
  return `crc32:${crc.toString(16).padStart(8, '0')}`;
}
