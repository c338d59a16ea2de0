/**
 * CRC64 as OSS (and COS) keep it of every object and part: CRC-64/XZ, which they call ECMA-182.
 * "123456789" is 11051210869376104954.
 */
import { createCRC64 } from 'hash-wasm';
import type { IHasher } from 'hash-wasm';

const POLYNOMIAL = 0xc96c5795d7870f42n;
/** The polynomials 1 and x^8, highest coefficient in the lowest bit as everywhere in a reflected CRC. */
const ONE = 1n << 63n;
const X_TO_THE_8 = 1n << 55n;

let hasher: Promise<IHasher> | undefined;

/** Of the buffers, one after the other. */
export async function crc64(buffers: readonly Uint8Array[]): Promise<bigint> {
  // There is one hasher, with one state: from `init` to `digest` nothing may wait, or two callers would mix.
  const one = await (hasher ??= createCRC64());
  one.init();
  for (const buffer of buffers) one.update(buffer);
  return BigInt(`0x${one.digest('hex')}`);
}

/** `a * b` modulo the CRC's polynomial, over GF(2). */
function multiply(a: bigint, b: bigint): bigint {
  let product = 0n;
  for (let bit = ONE; bit > 0n; bit >>= 1n) {
    if (a & bit) product ^= b;
    b = b & 1n ? (b >> 1n) ^ POLYNOMIAL : b >> 1n;
  }
  return product;
}

/** x^(8 * bytes). The last is remembered: all parts of an upload but one have the same length. */
let lastShift: { readonly bytes: number; readonly by: bigint } | undefined;

function shiftBy(bytes: number): bigint {
  if (lastShift?.bytes === bytes) return lastShift.by;
  let by = ONE;
  let square = X_TO_THE_8;
  // Not a shift loop: lengths exceed 32 bits.
  for (let rest = bytes; rest > 0; rest = Math.floor(rest / 2)) {
    if (rest % 2 === 1) by = multiply(square, by);
    square = multiply(square, square);
  }
  lastShift = { bytes, by };
  return by;
}

/** CRC64 of A followed by B, from the CRC64 of each and the length of B in bytes: A is moved up by x^(8 * lengthB). */
export function combineCrc64(crcA: bigint, crcB: bigint, lengthB: number): bigint {
  return multiply(shiftBy(lengthB), crcA) ^ crcB;
}

/** `crc64:995dc9bbdf1939fa`: as receipts, proofs and messages show it. */
export function showCrc64(crc: bigint): string {
  return `crc64:${crc.toString(16).padStart(16, '0')}`;
}

/** The inverse of `showCrc64`; undefined of anything else. */
export function crc64In(checksum: string | undefined): bigint | undefined {
  return checksum?.startsWith('crc64:') ? BigInt(`0x${checksum.slice('crc64:'.length)}`) : undefined;
}
