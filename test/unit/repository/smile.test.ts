import fc from 'fast-check';
import { decodeSmile, SmileDecimal, SmileError } from '../../../src/repository/smile';
import type { SmileValue } from '../../../src/repository/smile';
import { encodeSmile, vInt, zigzag } from './encode';

type Bytes = number | string | Buffer | readonly Bytes[];

/** Bytes from numbers, text (as UTF-8), buffers and lists of them. */
function bytes(...parts: readonly Bytes[]): Buffer {
  return Buffer.concat(
    parts.map((part) => {
      if (typeof part === 'number') return Buffer.from([part]);
      return typeof part === 'string' ? Buffer.from(part) : Buffer.isBuffer(part) ? part : bytes(...(part as Bytes[]));
    }),
  );
}

/** Of a document with these flags: 1 shared names, 2 shared values, 4 raw binary. 05 is what Elasticsearch writes. */
const decodeWith = (flags: number, ...token: readonly Bytes[]) => decodeSmile(bytes(':)\n', flags, ...token));
const decode = (...token: readonly Bytes[]) => decodeWith(0x05, ...token);
const refused = (...token: readonly Bytes[]) => expect(() => decode(...token)).toThrow(SmileError);

describe('a value', () => {
  it('is null, false, true or the empty string', () => {
    expect([0x21, 0x22, 0x23, 0x20].map((token) => decode(token))).toEqual([null, false, true, '']);
  });

  it('is a small integer from -16 to 15', () => {
    const all = Array.from({ length: 32 }, (_, i) => decode(0xc0 + i));
    expect(all.slice(0, 5)).toEqual([0, -1, 1, -2, 2]);
    expect([...all].sort((a, b) => Number(a) - Number(b))).toEqual(Array.from({ length: 32 }, (_, i) => i - 16));
  });

  it.each([
    ['0', 0x24, 0n, 0],
    ['the largest int', 0x24, 2n ** 31n - 1n, 2 ** 31 - 1],
    ['the smallest int', 0x24, -(2n ** 31n), -(2 ** 31)],
    ['the largest safe long', 0x25, 2n ** 53n - 1n, 2 ** 53 - 1],
    ['the smallest safe long', 0x25, -(2n ** 53n) + 1n, -(2 ** 53) + 1],
    ['2^53, as bigint', 0x25, 2n ** 53n, 2n ** 53n],
    ['Long.MAX_VALUE, as bigint', 0x25, 2n ** 63n - 1n, 2n ** 63n - 1n],
    ['Long.MIN_VALUE, as bigint', 0x25, -(2n ** 63n), -(2n ** 63n)],
  ])('is an integer: %s', (_, token, value, expected) => {
    expect(decode(token, vInt(zigzag(value)))).toBe(expected);
  });

  it('is a number of the specification: 1000 takes the bytes 1f 90', () => {
    expect(decode(0x24, 0x1f, 0x90)).toBe(1000);
  });

  it.each([
    ['an int of 33 bits', 0x24, vInt(2n ** 32n)],
    ['an int of six bytes', 0x24, [0, 0, 0, 0, 0, 0x80]],
    ['a long of 65 bits', 0x25, vInt(2n ** 64n)],
    ['a long of eleven bytes', 0x25, Buffer.concat([Buffer.alloc(10), Buffer.from([0x80])])],
    ['a last byte with both high bits', 0x24, [0x01, 0xc0]],
    ['a number without an end', 0x25, [0x01, 0x02]],
  ])('is never %s', (_, token, tail) => refused(token, tail as Bytes));

  it('is a float: 1.5 is 3fc00000', () => {
    expect(decode(0x28, 0x03, 0x7e, 0x00, 0x00, 0x00)).toBe(1.5);
  });

  it('is a negative float, whose padding Jackson fills with the sign', () => {
    // bfc00000 as a signed int, shifted right by sevens.
    const sevens = [28, 21, 14, 7, 0].map((shift) => (-0x40400000 >> shift) & 0x7f);
    expect(sevens[0]).toBeGreaterThan(0x0f);
    expect(decode(0x28, ...sevens)).toBe(-1.5);
  });

  it.each([0.1, -2.5, 1e300, 5e-324, -Infinity])('is a double: %d', (value) => {
    expect(decodeSmile(encodeSmile([value]))).toEqual([value]);
  });

  it('is never a float with a byte beyond 7 bits', () => refused(0x28, 0x03, 0x80, 0, 0, 0));

  it.each([
    ['7f', 127n],
    ['80', -128n],
    ['0080', 128n],
    ['0de0b6b3a7640000', 10n ** 18n],
    ['00ffffffffffffffffffff', 2n ** 80n - 1n],
    ['ff00000000000000000000', -(2n ** 80n)],
  ])('is a big integer: %s', (magnitude, value) => {
    expect(decode(0x26, sevenBit(Buffer.from(magnitude, 'hex')))).toBe(value);
  });

  it('is a big decimal: scale and unscaled value', () => {
    const decimal = decode(0x2a, vInt(zigzag(2n)), sevenBit(Buffer.from('7b', 'hex')));
    expect(decimal).toEqual(new SmileDecimal(123n, 2));
    expect(decode(0x2a, vInt(zigzag(-3n)), sevenBit(Buffer.from('85', 'hex')))).toEqual(new SmileDecimal(-123n, -3));
  });

  it('is never a big integer of no bytes', () => refused(0x26, 0x80));

  it('is 7-bit binary: the last of n + 1 bytes keeps the n bits of n left over, to the right', () => {
    expect(decode(0xe8, 0x81, 0x7f, 0x01)).toEqual(Buffer.from([0xff]));
    expect(decode(0xe8, 0x82, 0x55, 0x2e, 0x02)).toEqual(Buffer.from([0xaa, 0xba]));
  });

  it.each(Array.from({ length: 23 }, (_, length) => length))('is 7-bit binary of %i bytes', (length) => {
    const data = Buffer.from(Array.from({ length }, (_, i) => (i * 89 + 0xa5) & 0xff));
    expect(decode(0xe8, sevenBit(data))).toEqual(data);
  });

  it('is never 7-bit binary with stray bits, or longer than the document', () => {
    refused(0xe8, 0x81, 0x7f, 0x02);
    refused(0xe8, vInt(2n ** 31n), 0x00);
  });

  it('is raw binary, any bytes', () => {
    const data = Buffer.from([0xff, 0xfe, 0x00, 0xfb, 0xfc, 0x3a]);
    expect(decode(0xfd, vInt(6n), data)).toEqual(data);
    expect(decode(0xfd, 0x80)).toEqual(Buffer.alloc(0));
  });

  it('is never raw binary where the flags rule it out, or longer than the document', () => {
    expect(() => decodeWith(0x01, 0xfd, 0x81, 0x00)).toThrow('raw binary, which the header rules out');
    refused(0xfd, vInt(7n), 'short');
  });

  it.each([
    ['tiny ASCII of 1 byte', 0x40, 'a'],
    ['tiny ASCII of 32 bytes', 0x5f, 'a'.repeat(32)],
    ['short ASCII of 33 bytes', 0x60, 'b'.repeat(33)],
    ['short ASCII of 64 bytes', 0x7f, 'b'.repeat(64)],
    ['tiny Unicode of 2 bytes', 0x80, 'é'],
    ['tiny Unicode of 33 bytes', 0x9f, `${'é'.repeat(16)}x`],
    ['short Unicode of 34 bytes', 0xa0, 'é'.repeat(17)],
    ['short Unicode of 64 bytes', 0xbe, '🦊'.repeat(16)],
    ['long ASCII', 0xe0, ['c'.repeat(300), 0xfc]],
    ['long Unicode', 0xe4, ['日本語🦊'.repeat(50), 0xfc]],
  ] as const)('is text: %s', (_, token, text) => {
    expect(decode(token, text)).toBe(typeof text === 'string' ? text : text[0]);
  });

  it('keeps a byte order mark', () => expect(decode(0x81, '\ufeff')).toBe('\ufeff'));

  it.each([
    ['ASCII with a high byte', [0x40, 0xe9]],
    ['long ASCII with a high byte', [0xe0, 'é', 0xfc]],
    ['Unicode that is not UTF-8', [0x80, 0xc3, 0x28]],
    ['a surrogate in UTF-8', [0x81, 0xed, 0xa0, 0x80]],
    ['long Unicode that is not UTF-8', [0xe4, 0x80, 0xfc]],
    ['a long string without an end', [0xe0, 'abc']],
    ['a short string that ends early', [0x44, 'abc']],
  ] as const)('is never %s', (_, token) => refused(token));

  it.each([
    ...[
      0x00, 0x27, 0x2b, 0x2c, 0x2f, 0x30, 0x3a, 0x3f, 0xe1, 0xe3, 0xe5, 0xe9, 0xf0, 0xf7, 0xf9, 0xfb, 0xfc, 0xfe, 0xff,
    ],
  ])('is never the reserved token %i', (token) => refused(token, 0xc0, 0xc0, 0xf9, 0xfb));
});

describe('arrays and objects', () => {
  it('nest and may be empty', () => {
    expect(decode(0xf8, 0xf8, 0xf9, 0xfa, 0xfb, 0xc2, 0xf9)).toEqual([[], {}, 1]);
    expect(decode(0xfa, 0x80, 'a', 0xfa, 0x80, 'b', 0xf8, 0xf9, 0xfb, 0xfb)).toEqual({ a: { b: [] } });
  });

  it('are refused when a name occurs twice, or they do not end', () => {
    refused(0xfa, 0x80, 'a', 0xc0, 0x80, 'a', 0xc0, 0xfb);
    refused(0xf8, 0xc0);
    refused(0xfa, 0x80, 'a', 0xc0);
    refused(0xfa, 0x80, 'a', 0xfb);
    refused(0xfa, 0x80, 'a');
  });

  it('hold a member named __proto__ as any other', () => {
    const object = decode(0xfa, 0x88, '__proto__', 0xc2, 0x8a, 'constructor', 0xc4, 0xfb) as Record<string, SmileValue>;
    expect(Object.keys(object)).toEqual(['__proto__', 'constructor']);
    expect(Object.getOwnPropertyDescriptor(object, '__proto__')?.value).toBe(1);
    expect(Object.getPrototypeOf(object)).toBe(Object.prototype);
  });

  it('are refused beyond a depth of 1000, never by a stack overflow', () => {
    const nested = (depth: number) => bytes(Buffer.alloc(depth, 0xf8), Buffer.alloc(depth, 0xf9));
    expect(() => decode(nested(1000))).not.toThrow();
    expect(() => decode(nested(1001))).toThrow('nested deeper than 1000');
    expect(() => decode(Buffer.alloc(1_000_000, 0xf8))).toThrow('nested deeper than 1000');
  });
});

describe('a name', () => {
  const object = (...names: readonly Bytes[]) => decode(0xfa, ...names.map((name) => bytes(name, 0xc0)), 0xfb);
  const named = (...names: readonly Bytes[]) => Object.keys(object(...names) as object);

  it.each([
    ['empty', [0x20], ''],
    ['ASCII of 1 byte', [0x80, 'a'], 'a'],
    ['ASCII of 64 bytes', [0xbf, 'a'.repeat(64)], 'a'.repeat(64)],
    ['Unicode of 2 bytes', [0xc0, 'é'], 'é'],
    ['Unicode of 57 bytes', [0xf7, `${'é'.repeat(28)}x`], `${'é'.repeat(28)}x`],
    ['long', [0x34, 'ß'.repeat(40), 0xfc], 'ß'.repeat(40)],
  ] as const)('is %s', (_, token, name) => expect(named(token)).toEqual([name]));

  it.each([0x00, 0x1f, 0x21, 0x2f, 0x35, 0x39, 0x3a, 0x3f, 0xf8, 0xfa, 0xfc, 0xfd, 0xfe, 0xff])(
    'is never the reserved token %i',
    (token) => refused(0xfa, token, 0xc0, 0xc0, 0xfb),
  );

  it('refers to an earlier one by its position; the empty name has none, a long one has', () => {
    const inner = (name: Bytes) => bytes(0xfa, name, 0xc2, 0xfb);
    const long = 'n'.repeat(80);
    expect(
      decode(0xf8, inner(0x20), inner([0x80, 'a']), inner([0x34, long, 0xfc]), inner(0x40), inner(0x41), 0xf9),
    ).toEqual([{ '': 1 }, { a: 1 }, { [long]: 1 }, { a: 1 }, { [long]: 1 }]);
  });

  it('is refused when it refers to one that is not there, or too long a way', () => {
    refused(0xfa, 0x80, 'a', 0xc0, 0x41, 0xc0, 0xfb);
    const many = Array.from({ length: 70 }, (_, i) => bytes(0x82, String(i).padStart(3, '0'), 0xc0));
    expect(() => decode(0xfa, ...many, 0x30, 0x45, 0xc0, 0xfb)).toThrow("name '069' twice");
    expect(() => decode(0xfa, ...many, 0x30, 0x46, 0xc0, 0xfb)).toThrow('not there');
    expect(() => decode(0xfa, ...many, 0x30, 0x3f, 0xc0, 0xfb)).toThrow('invalid long reference');
  });

  it('is not shared where the flags say so', () => {
    expect(() => decodeWith(0x04, 0xf8, 0xfa, 0x80, 'a', 0xc0, 0xfb, 0xfa, 0x40, 0xc0, 0xfb, 0xf9)).toThrow(
      'not there',
    );
  });

  it('takes a slot even where none can refer to it: 254 and 255 of every 256', () => {
    const names = (from: number, to: number) =>
      Array.from({ length: to - from }, (_, i) => bytes(0x83, String(from + i).padStart(4, '0'), 0xc0));
    const at = (...reference: number[]) =>
      decode(0xf8, 0xfa, ...names(0, 300), 0xfb, 0xfa, reference, 0xc0, 0xfb, 0xf9);
    expect(at(0x30, 0xfd)).toEqual([expect.anything(), { '0253': 0 }]);
    expect(at(0x31, 0x00)).toEqual([expect.anything(), { '0256': 0 }]);
    expect(() => at(0x30, 0xfe)).toThrow('invalid long reference');
    expect(() => at(0x30, 0xff)).toThrow('invalid long reference');
  });

  it('is counted anew after 1024', () => {
    const names = (count: number) =>
      Array.from({ length: count }, (_, i) => bytes(0x83, String(i).padStart(4, '0'), 0xc0));
    const after = (count: number, ...reference: number[]) => {
      const decoded = decode(0xf8, 0xfa, ...names(count), 0xfb, 0xfa, reference, 0xc0, 0xfb, 0xf9);
      return Object.keys((decoded as readonly object[])[1] as object);
    };
    expect(after(1024, 0x40)).toEqual(['0000']);
    expect(after(1025, 0x40)).toEqual(['1024']);
    expect(() => after(1025, 0x41)).toThrow('not there');
    expect(after(2049, 0x40)).toEqual(['2048']);
  });
});

describe('a shared value', () => {
  const shared = (...values: readonly Bytes[]) => decodeWith(0x07, 0xf8, ...values, 0xf9);

  it('refers to an earlier short string by its position; long and empty ones have none', () => {
    expect(shared(0x20, [0xe0, 'long', 0xfc], [0x40, 'a'], [0x81, 'é!'], 0x01, 0x02, 0x01)).toEqual([
      '',
      'long',
      'a',
      'é!',
      'a',
      'é!',
      'a',
    ]);
  });

  it('refers over two bytes from position 31 on', () => {
    const values = Array.from({ length: 300 }, (_, i) => bytes(0x43, String(i).padStart(4, '0')));
    const last = (...reference: number[]) => (shared(...values, reference) as readonly SmileValue[]).at(-1);
    expect(last(0x1f)).toBe('0030');
    expect(last(0xec, 31)).toBe('0031');
    expect(last(0xed, 0x2b)).toBe('0299');
    expect(() => last(0xed, 0x2c)).toThrow('not there');
    expect(() => last(0xec, 30)).toThrow('invalid long reference');
    expect(() => last(0xec, 0xfe)).toThrow('invalid long reference');
    expect(() => last(0xec, 0xff)).toThrow('invalid long reference');
  });

  it('is counted anew after 1024', () => {
    const values = Array.from({ length: 1025 }, (_, i) => bytes(0x43, String(i).padStart(4, '0')));
    expect((shared(...values, 0x01) as readonly SmileValue[]).at(-1)).toBe('1024');
    expect(() => shared(...values, 0x02)).toThrow('not there');
  });

  it('is refused where the flags rule it out', () => {
    refused(0xf8, [0x40, 'a'], 0x01, 0xf9);
  });
});

describe('a document', () => {
  it('begins with a header of this version', () => {
    for (const header of ['', ':', ':)\n', ';)\n\x05', ':)\r\x05', ':)\n\x15', ':)\n\x08']) {
      expect(() => decodeSmile(bytes(header, 0x21))).toThrow(SmileError);
    }
    expect(decodeSmile(bytes(':)\n', 0x00, 0x21))).toBeNull();
  });

  it('ends with its value', () => {
    refused();
    refused(0x21, 0x21);
    refused(0x21, 0xff);
  });

  it('of any JSON value is read as it was written', () => {
    const json = fc.jsonValue({ maxDepth: 5 });
    fc.assert(
      fc.property(json, (value) => expect(JSON.stringify(decodeSmile(encodeSmile(value)))).toBe(JSON.stringify(value))),
    );
  });

  it('of any bytes is read or refused, and nothing else', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.integer({ min: 0, max: 7 }), (tail, flags) => {
        try {
          decodeWith(flags, Buffer.from(tail));
        } catch (error) {
          expect(error).toBeInstanceOf(SmileError);
        }
      }),
      { numRuns: 2_000 },
    );
  });
});

/** As Jackson writes it, bit by bit. */
function sevenBit(data: Buffer): Buffer {
  const bits = [...data].map((byte) => byte.toString(2).padStart(8, '0')).join('');
  const groups = bits.match(/.{1,7}/g) ?? [];
  return Buffer.concat([vInt(BigInt(data.length)), Buffer.from(groups.map((group) => parseInt(group, 2)))]);
}
