import { crc32, deflateRawSync } from 'node:zlib';

/** A plain SMILE encoder for tests: no shared strings, longest forms where there is a choice. */
export function encodeSmile(value: unknown): Buffer {
  return Buffer.concat([Buffer.from([0x3a, 0x29, 0x0a, 0x04]), encodeValue(value)]);
}

function encodeValue(value: unknown): Buffer {
  if (value === null) return Buffer.from([0x21]);
  if (value === '') return Buffer.from([0x20]);
  if (typeof value === 'boolean') return Buffer.from([value ? 0x23 : 0x22]);
  if (typeof value === 'string') return Buffer.concat([Buffer.from([0xe4]), Buffer.from(value), Buffer.from([0xfc])]);
  if (typeof value === 'bigint') return Buffer.concat([Buffer.from([0x25]), vInt(zigzag(value))]);
  if (Number.isSafeInteger(value)) return encodeValue(BigInt(value as number));
  if (typeof value === 'number') return encodeDouble(value);
  if (Buffer.isBuffer(value)) return Buffer.concat([Buffer.from([0xfd]), vInt(BigInt(value.length)), value]);
  if (Array.isArray(value)) return Buffer.concat([Buffer.from([0xf8]), ...value.map(encodeValue), Buffer.from([0xf9])]);
  const members = Object.entries(value as object).flatMap(([name, member]) => [encodeName(name), encodeValue(member)]);
  return Buffer.concat([Buffer.from([0xfa]), ...members, Buffer.from([0xfb])]);
}

function encodeName(name: string): Buffer {
  if (name === '') return Buffer.from([0x20]);
  return Buffer.concat([Buffer.from([0x34]), Buffer.from(name), Buffer.from([0xfc])]);
}

function encodeDouble(value: number): Buffer {
  const bits = Buffer.alloc(8);
  bits.writeDoubleBE(value);
  const all = bits.readBigUInt64BE();
  const sevens = Array.from({ length: 10 }, (_, i) => Number((all >> BigInt(7 * (9 - i))) & 0x7fn));
  return Buffer.from([0x29, ...sevens]);
}

export function zigzag(value: bigint): bigint {
  return value >= 0n ? value << 1n : (-value << 1n) - 1n;
}

export function vInt(value: bigint): Buffer {
  const bytes = [Number(value & 0x3fn) | 0x80];
  for (let rest = value >> 6n; rest > 0n; rest >>= 7n) bytes.unshift(Number(rest & 0x7fn));
  return Buffer.from(bytes);
}

export interface FrameOptions {
  readonly deflated?: boolean;
  readonly version?: number;
  /** Between the body and the footer. */
  readonly surplus?: Buffer;
}

/** The value as a `.dat` blob. */
export function frame(codec: string, value: unknown, options: FrameOptions = {}): Buffer {
  return frameBody(codec, encodeSmile(value), options);
}

export function frameBody(codec: string, smile: Buffer, options: FrameOptions = {}): Buffer {
  const { deflated = false, version = 1, surplus = Buffer.alloc(0) } = options;
  const header = Buffer.from([0x3f, 0xd7, 0x6c, 0x17, codec.length, ...Buffer.from(codec), 0, 0, 0, version]);
  const body = deflated ? Buffer.concat([Buffer.from('DFL\0'), deflateRawSync(smile)]) : smile;
  return withFooter(Buffer.concat([header, body, surplus]));
}

export function withFooter(bytes: Buffer): Buffer {
  const framed = Buffer.concat([bytes, Buffer.from('c02893e80000000000000000', 'hex'), Buffer.alloc(4)]);
  framed.writeUInt32BE(crc32(framed.subarray(0, -8)), framed.length - 4);
  return framed;
}
