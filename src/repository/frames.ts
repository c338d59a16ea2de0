import { crc32, inflateRawSync } from 'node:zlib';
import { BlobCorruptError } from '../domain/errors';
import { decodeSmile, SmileError } from './smile';
import type { SmileValue } from './smile';

/**
 * The frame around every `.dat` blob and every `index-*` of a shard (Lucene's CodecUtil):
 *
 *     header  3f d7 6c 17 · length of the codec name · codec name · int32 version
 *     body    SMILE, or "DFL\0" and raw DEFLATE of SMILE
 *     footer  c0 28 93 e8 · int32 0 · int64 CRC32 of everything before these last 8 bytes
 *
 * All numbers are big-endian.
 */

const HEADER_MAGIC = 0x3fd76c17;
const FOOTER_MAGIC = 0xc02893e8;
const FOOTER_BYTES = 16;
const CRC_BYTES = 8;
const VERSION = 1;
const DEFLATED = Buffer.from('DFL\0', 'latin1');
/** A bound, so that a small blob can not fill the memory. A shard of a million files has metadata of about 200 MB. */
const MOST_INFLATED_BYTES = 1024 ** 3;

/** What the blob is, as its codec name says: root and shard `snap-*`, root `meta-*`, index `meta-*`, shard `index-*`. */
export type Codec = 'snapshot' | 'metadata' | 'index-metadata' | 'snapshots';

export interface Frame {
  readonly value: SmileValue;
  /** Of everything but the last 8 bytes, as the footer says and the bytes agree. */
  readonly crc32: number;
}

/**
 * Reads a whole framed blob, which may inflate to `mostBytes`. Throws `BlobCorruptError` that names `key` and the check
 * that failed.
 */
export function decodeFrame(bytes: Buffer, codec: Codec, key: string, mostBytes = MOST_INFLATED_BYTES): Frame {
  try {
    const checksum = checkFooter(bytes);
    const body = bytes.subarray(headerLength(bytes, codec), bytes.length - FOOTER_BYTES);
    return {
      value: decodeSmile(isDeflated(body) ? inflate(body.subarray(DEFLATED.length), mostBytes) : body),
      crc32: checksum,
    };
  } catch (error) {
    if (error instanceof Damage || error instanceof SmileError) throw corrupt(key, error);
    throw error;
  }
}

/** A check that failed; `decodeFrame` adds the key. */
class Damage extends Error {}

function corrupt(key: string, cause: Error): BlobCorruptError {
  const message = `A metadata blob of the repository is damaged: ${cause.message}. Take a new snapshot`;
  return new BlobCorruptError(message, { subject: { key }, cause });
}

function checkFooter(bytes: Buffer): number {
  if (bytes.length < FOOTER_BYTES) throw new Damage(`its ${bytes.length} bytes are too few for a footer`);
  const footer = bytes.length - FOOTER_BYTES;
  if (bytes.readUInt32BE(footer) !== FOOTER_MAGIC) throw new Damage('it does not end with a footer');
  if (bytes.readUInt32BE(footer + 4) !== 0) throw new Damage('its checksum is of an unknown algorithm');
  const recorded = bytes.readBigUInt64BE(footer + 8);
  const actual = crc32(bytes.subarray(0, bytes.length - CRC_BYTES));
  if (recorded !== BigInt(actual)) throw new Damage(`its checksum is ${actual}, its footer says ${recorded}`);
  return actual;
}

function headerLength(bytes: Buffer, codec: Codec): number {
  const expected = Buffer.alloc(4 + 1 + codec.length + 4);
  expected.writeUInt32BE(HEADER_MAGIC, 0);
  // A vInt, but every name is shorter than 128.
  expected.writeUInt8(codec.length, 4);
  expected.write(codec, 5, 'latin1');
  expected.writeUInt32BE(VERSION, 5 + codec.length);
  const header = bytes.subarray(0, expected.length);
  if (!header.equals(expected)) throw new Damage(`it does not begin with the header '${codec}', version ${VERSION}`);
  if (bytes.length < expected.length + FOOTER_BYTES) throw new Damage('its header and footer overlap');
  return expected.length;
}

function isDeflated(body: Buffer): boolean {
  return body.subarray(0, DEFLATED.length).equals(DEFLATED);
}

function inflate(deflated: Buffer, mostBytes: number): Buffer {
  const { buffer, consumed } = inflateAll(deflated, mostBytes);
  if (consumed !== deflated.length) throw new Damage('there are bytes after its deflated body');
  return buffer;
}

function inflateAll(deflated: Buffer, mostBytes: number): { buffer: Buffer; consumed: number } {
  try {
    const options = { info: true, maxOutputLength: mostBytes };
    // With `info` the answer also tells how much of the input was used, which the types do not know.
    const { buffer, engine } = inflateRawSync(deflated, options) as unknown as Inflated;
    return { buffer, consumed: engine.bytesWritten };
  } catch (error) {
    throw new Damage(`its body can not be inflated (${error instanceof Error ? error.message : String(error)})`);
  }
}

interface Inflated {
  readonly buffer: Buffer;
  readonly engine: { readonly bytesWritten: number };
}
