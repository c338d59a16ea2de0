/**
 * A decoder for SMILE 1.0, the binary JSON in which Elasticsearch writes its snapshot metadata.
 * Specification: github.com/FasterXML/smile-format-specification (1.0.6); where that is silent, what Jackson does.
 *
 * Exact: a document is decoded to its last byte or refused with a `SmileError`; there is no lenient mode. Nothing is
 * guessed, because a wrong value here would be a blob that is never copied.
 */

/** What a document holds. Integers beyond 2^53 are bigint. Ask objects for their own members only. */
export type SmileValue =
  null | boolean | number | bigint | string | Buffer | SmileDecimal | readonly SmileValue[] | SmileObject;

export interface SmileObject {
  readonly [name: string]: SmileValue;
}

/** Java's BigDecimal: `unscaled * 10^-scale`, kept exact. */
export class SmileDecimal {
  constructor(
    readonly unscaled: bigint,
    readonly scale: number,
  ) {}
}

/** The bytes are not one well-formed SMILE document. */
export class SmileError extends Error {
  constructor(what: string, offset: number) {
    super(`${what} at byte ${offset}`);
    this.name = 'SmileError';
  }
}

/** Elasticsearch itself refuses mappings deeper than 20 and parses none deeper than 1000 (Jackson's limit). */
const DEEPEST = 1000;
/** Both back-reference tables start again when full: references have 10 bits. */
const TABLE_SIZE = 1024;
const SHORT_VALUE_REFERENCES = 31;
const SHORT_NAME_REFERENCES = 64;
const END_OF_STRING = 0xfc;

const enum Flag {
  SharedNames = 0x01,
  SharedValues = 0x02,
  RawBinary = 0x04,
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Decodes exactly one document that fills `bytes`. Throws `SmileError`. */
export function decodeSmile(bytes: Buffer): SmileValue {
  return new Decoder(bytes).document();
}

class Decoder {
  private at = 0;
  private depth = 0;
  private rawBinary = false;
  private names = new SharedStrings('name', true);
  private values = new SharedStrings('value', false);

  constructor(private readonly bytes: Buffer) {}

  document(): SmileValue {
    this.header();
    const value = this.value();
    if (this.at !== this.bytes.length) throw this.malformed('bytes after the end of the document');
    return value;
  }

  private header(): void {
    if (this.byte() !== 0x3a || this.byte() !== 0x29 || this.byte() !== 0x0a) throw this.malformed('no SMILE header');
    const flags = this.byte();
    if (flags > 0x07) throw this.malformed(`unknown version or flags ${hex(flags)}`);
    this.names = new SharedStrings('name', (flags & Flag.SharedNames) !== 0);
    this.values = new SharedStrings('value', (flags & Flag.SharedValues) !== 0);
    this.rawBinary = (flags & Flag.RawBinary) !== 0;
  }

  /** The class of a value token is in its three highest bits. */
  private value(): SmileValue {
    const token = this.byte();
    const low = token & 0x1f;
    switch (token >> 5) {
      case 0:
        return this.shared(this.values, low - 1);
      case 1:
        return this.literalOrNumber(token);
      case 2:
        return this.values.add(this.ascii(low + 1));
      case 3:
        return this.values.add(this.ascii(low + 33));
      case 4:
        return this.values.add(this.unicode(low + 2));
      case 5:
        return this.values.add(this.unicode(low + 34));
      case 6:
        return unzigzag(low) as number;
      default:
        return this.longOrStructure(token);
    }
  }

  private literalOrNumber(token: number): SmileValue {
    switch (token) {
      case 0x20:
        return '';
      case 0x21:
        return null;
      case 0x22:
        return false;
      case 0x23:
        return true;
      case 0x24:
        return unzigzag(this.vInt(32));
      case 0x25:
        return unzigzag(this.vInt(64));
      case 0x26:
        return this.bigInteger();
      case 0x28:
        return this.float();
      case 0x29:
        return this.double();
      case 0x2a:
        return this.bigDecimal();
      default:
        throw this.malformed(`reserved value token ${hex(token)}`);
    }
  }

  private longOrStructure(token: number): SmileValue {
    switch (token) {
      case 0xe0:
        return this.ascii(this.lengthToEndOfString(), 1);
      case 0xe4:
        return this.unicode(this.lengthToEndOfString(), 1);
      case 0xe8:
        return this.sevenBitBinary();
      case 0xec:
      case 0xed:
      case 0xee:
      case 0xef:
        return this.sharedLong(this.values, token, SHORT_VALUE_REFERENCES);
      case 0xf8:
        return this.nested(() => this.array());
      case 0xfa:
        return this.nested(() => this.object());
      case 0xfd:
        return this.rawBytes();
      default:
        throw this.malformed(`reserved value token ${hex(token)}`);
    }
  }

  private nested<T>(read: () => T): T {
    if (++this.depth > DEEPEST) throw this.malformed(`nested deeper than ${DEEPEST}`);
    const value = read();
    this.depth--;
    return value;
  }

  private array(): SmileValue[] {
    const elements: SmileValue[] = [];
    while (this.peek() !== 0xf9) elements.push(this.value());
    this.at++;
    return elements;
  }

  private object(): SmileObject {
    // Not without a prototype, which would make it a hash table: a repository has millions of file entries.
    const members: Record<string, SmileValue> = {};
    while (this.peek() !== 0xfb) {
      const name = this.name();
      if (Object.hasOwn(members, name)) throw this.malformed(`name '${name}' twice in one object`);
      const value = this.value();
      if (name === '__proto__') Object.defineProperty(members, name, { value, enumerable: true });
      else members[name] = value;
    }
    this.at++;
    return members;
  }

  private name(): string {
    const token = this.byte();
    if (token === 0x20) return '';
    if (token >= 0x30 && token <= 0x33) return this.sharedLong(this.names, token, SHORT_NAME_REFERENCES);
    // The specification calls long names "not yet shared"; Jackson does enter them into the table.
    if (token === 0x34) return this.names.add(this.unicode(this.lengthToEndOfString(), 1));
    if (token >= 0x40 && token <= 0x7f) return this.shared(this.names, token - 0x40);
    if (token >= 0x80 && token <= 0xbf) return this.names.add(this.ascii(token - 0x80 + 1));
    if (token >= 0xc0 && token <= 0xf7) return this.names.add(this.unicode(token - 0xc0 + 2));
    throw this.malformed(`reserved name token ${hex(token)}`);
  }

  private shared(table: SharedStrings, index: number): string {
    const text = table.get(index);
    if (text === undefined) throw this.malformed(`reference to shared ${table.of} ${index}, which is not there`);
    return text;
  }

  /** Ten bits of index over two bytes. Small ones have a shorter form, and 0xFE and 0xFF are kept for framing. */
  private sharedLong(table: SharedStrings, token: number, smallest: number): string {
    const low = this.byte();
    const index = ((token & 0x03) << 8) | low;
    if (index < smallest || low >= 0xfe) throw this.malformed(`invalid long reference to shared ${table.of} ${index}`);
    return this.shared(table, index);
  }

  private ascii(length: number, terminator = 0): string {
    const start = this.skip(length + terminator);
    if (!this.isAscii(start, start + length)) throw this.malformed('a byte beyond ASCII in an ASCII string');
    return this.bytes.toString('latin1', start, start + length);
  }

  private unicode(length: number, terminator = 0): string {
    const start = this.skip(length + terminator);
    // Jackson writes long ASCII strings as Unicode too; decoding those as Latin-1 is much faster.
    if (this.isAscii(start, start + length)) return this.bytes.toString('latin1', start, start + length);
    try {
      return utf8.decode(this.bytes.subarray(start, start + length));
    } catch {
      throw this.malformed('a string is not UTF-8');
    }
  }

  private isAscii(start: number, end: number): boolean {
    for (let i = start; i < end; i++) if ((this.bytes[i] as number) > 0x7f) return false;
    return true;
  }

  private lengthToEndOfString(): number {
    const end = this.bytes.indexOf(END_OF_STRING, this.at);
    if (end === -1) throw this.malformed('a long string without an end');
    return end - this.at;
  }

  private rawBytes(): Buffer {
    if (!this.rawBinary) throw this.malformed('raw binary, which the header rules out');
    const length = this.length();
    const start = this.skip(length);
    return Buffer.from(this.bytes.subarray(start, start + length));
  }

  private bigInteger(): bigint {
    const magnitude = this.sevenBitBinary();
    if (magnitude.length === 0) throw this.malformed('a big integer of no bytes');
    return BigInt.asIntN(magnitude.length * 8, BigInt(`0x${magnitude.toString('hex')}`));
  }

  private bigDecimal(): SmileDecimal {
    const scale = unzigzag(this.vInt(32)) as number;
    return new SmileDecimal(this.bigInteger(), scale);
  }

  private float(): number {
    const bits = Buffer.alloc(4);
    bits.writeUInt32BE(Number(this.rightAligned(5, 32)));
    return bits.readFloatBE();
  }

  private double(): number {
    const bits = Buffer.alloc(8);
    bits.writeBigUInt64BE(this.rightAligned(10, 64));
    return bits.readDoubleBE();
  }

  /** Seven bits a byte. Jackson leaves copies of the sign in the padding: it is ignored, as the specification says. */
  private rightAligned(length: number, bits: number): bigint {
    let value = 0n;
    for (let i = 0; i < length; i++) value = (value << 7n) | BigInt(this.sevenBits());
    return BigInt.asUintN(bits, value);
  }

  /**
   * Seven bytes in every eight; of n bytes left over, the last of the n + 1 that hold them keeps its n bits to the right.
   */
  private sevenBitBinary(): Buffer {
    const length = this.length();
    if (Math.ceil((length * 8) / 7) > this.left()) throw this.malformed('binary longer than the document');
    const data = Buffer.alloc(length);
    for (let start = 0; start < length; start += 7) this.sevenBitGroup(data, start, Math.min(7, length - start));
    return data;
  }

  private sevenBitGroup(data: Buffer, start: number, count: number): void {
    let carried = this.sevenBits();
    for (let i = 1; i <= count; i++) {
      const next = this.sevenBits();
      const shift = i === count ? count : 7;
      if (next >> shift !== 0) throw this.malformed('stray bits at the end of 7-bit binary');
      const value = (carried << shift) | next;
      data[start + i - 1] = i === count ? value & 0xff : (value >> (7 - i)) & 0xff;
      carried = value & 0x7f;
    }
  }

  private sevenBits(): number {
    const byte = this.byte();
    if (byte > 0x7f) throw this.malformed('a byte beyond 7 bits');
    return byte;
  }

  private length(): number {
    return this.vInt(32) as number;
  }

  /** Big-endian groups of seven bits; the last byte has its highest bit set and six bits. Unsigned, at most `bits`. */
  private vInt(bits: 32 | 64): number | bigint {
    const start = this.at;
    // At most 5 or 10 bytes: all but the last hold seven bits, it holds six.
    while (this.byte() < 0x80) {
      if (this.at - start > bits / 7) throw this.malformed(`a number of more than ${bits} bits`);
    }
    const last = this.bytes[this.at - 1] as number;
    if (last >= 0xc0) throw this.malformed(`invalid last byte ${hex(last)} of a number`);
    // The low half, four groups and the last byte, has 34 bits: no bigint is made where a number will do.
    const middle = Math.max(start, this.at - 5);
    const low = this.groups(middle, this.at - 1) * 64 + (last & 0x3f);
    const high = this.groups(start, middle);
    const value = high === 0 ? low : (BigInt(high) << 34n) | BigInt(low);
    if (value >= 2 ** bits) throw this.malformed(`a number of more than ${bits} bits`);
    return typeof value === 'number' ? value : narrow(value);
  }

  private groups(from: number, to: number): number {
    let value = 0;
    for (let i = from; i < to; i++) value = value * 128 + (this.bytes[i] as number);
    return value;
  }

  private byte(): number {
    return this.bytes[this.skip(1)] as number;
  }

  private peek(): number {
    if (this.left() === 0) throw this.malformed('end of bytes inside the document');
    return this.bytes[this.at] as number;
  }

  /** Moves past `length` bytes and returns where they start. */
  private skip(length: number): number {
    if (length > this.left()) throw this.malformed('end of bytes inside the document');
    const start = this.at;
    this.at += length;
    return start;
  }

  private left(): number {
    return this.bytes.length - this.at;
  }

  private malformed(what: string): SmileError {
    return new SmileError(what, this.at);
  }
}

/**
 * Strings that later tokens may refer to by position. Slots whose low byte is 0xFE or 0xFF are counted but can not be
 * referred to: those two bytes never occur in a reference.
 */
class SharedStrings {
  private strings: string[] = [];

  constructor(
    readonly of: 'name' | 'value',
    private readonly enabled: boolean,
  ) {}

  add(text: string): string {
    if (!this.enabled) return text;
    if (this.strings.length === TABLE_SIZE) this.strings = [];
    this.strings.push(text);
    return text;
  }

  get(index: number): string | undefined {
    return this.strings[index];
  }
}

function unzigzag(value: number | bigint): number | bigint {
  if (typeof value === 'number') return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  return narrow((value >> 1n) ^ -(value & 1n));
}

function narrow(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

function hex(byte: number): string {
  return `0x${byte.toString(16).padStart(2, '0')}`;
}
