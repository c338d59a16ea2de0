import { BlobCorruptError } from '../../../src/domain/errors';
import { decodeFrame } from '../../../src/repository/frames';
import { encodeSmile, frame, frameBody, withFooter } from './encode';

const KEY = 'indices/i/0/snap-u.dat';
const value = { name: 'round-0', files: [{ name: '__a', length: 5 }] };
const decode = (bytes: Buffer) => decodeFrame(bytes, 'snapshot', KEY);

function refusal(bytes: Buffer): string {
  try {
    decode(bytes);
  } catch (error) {
    expect(error).toBeInstanceOf(BlobCorruptError);
    return (error as Error).message;
  }
  throw new Error('it was accepted');
}

describe('a framed blob', () => {
  it.each([false, true])('is read whole, deflated: %s', (deflated) => {
    const bytes = frame('snapshot', value, { deflated });
    expect(decode(bytes)).toEqual({ value, crc32: bytes.readUInt32BE(bytes.length - 4) });
  });

  it.each<[string, Buffer, string]>([
    ['is empty', Buffer.alloc(0), 'its 0 bytes are too few for a footer'],
    ['lacks its footer', frame('snapshot', value).subarray(0, -1), 'it does not end with a footer'],
    ['has another codec', frame('metadata', value), "it does not begin with the header 'snapshot', version 1"],
    ['has a longer codec name', frame('snapshots', value), 'header'],
    ['has another version', frame('snapshot', value, { version: 2 }), 'version 1'],
    ['has no header', withFooter(Buffer.from('{"json":"of 1.x"}')), 'header'],
    ['is a footer only', withFooter(Buffer.alloc(0)), 'header'],
    ['has bytes after its body', frame('snapshot', value, { surplus: Buffer.from([0]) }), 'after the end'],
    [
      'has bytes after its deflated body',
      frame('snapshot', value, { deflated: true, surplus: Buffer.from([0]) }),
      'after its deflated body',
    ],
    ['is not deflated', frameBody('snapshot', Buffer.from('DFL\0\xff\xff\xff', 'latin1')), 'can not be inflated'],
    ['is not wholly deflated', frameBody('snapshot', Buffer.from('DFL\0')), 'can not be inflated'],
    ['is not SMILE', frameBody('snapshot', Buffer.from('{}')), 'no SMILE header'],
    [
      'holds half a SMILE',
      frameBody('snapshot', encodeSmile(value).subarray(0, -1)),
      'end of bytes inside the document',
    ],
  ])('that %s is refused with its key', (_, bytes, why) => {
    expect(refusal(bytes)).toContain(why);
    expect(refusal(bytes)).toContain(`[key=${KEY}]`);
  });

  it('is refused for any flipped bit, in its checksum too', () => {
    const bytes = frame('snapshot', value, { deflated: true });
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const damaged = Buffer.from(bytes);
      damaged[bit >> 3]! ^= 1 << (bit & 7);
      refusal(damaged);
    }
  });

  it('that would inflate beyond the bound is refused', () => {
    const bytes = frame('snapshot', 'x'.repeat(10_000), { deflated: true });
    const size = encodeSmile('x'.repeat(10_000)).length;
    expect(decodeFrame(bytes, 'snapshot', KEY, size).value).toHaveLength(10_000);
    expect(() => decodeFrame(bytes, 'snapshot', KEY, size - 1)).toThrow('can not be inflated');
  });
});
