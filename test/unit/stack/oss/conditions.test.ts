import { checkConditions, spanOf } from '../../../../stack/oss/conditions';

describe('a range of an object of 1,000 bytes', () => {
  test.each([
    ['bytes=0-499', { start: 0, end: 500 }],
    ['bytes=500-', { start: 500, end: 1000 }],
    ['bytes=-100', { start: 900, end: 1000 }],
    ['bytes=999-999', { start: 999, end: 1000 }],
    ['bytes=0-9,20-29', { start: 0, end: 10 }],
  ])('%s is a part, whatever the client asks for', (range, span) => {
    expect(spanOf(range, 1000, false)).toEqual(span);
    expect(spanOf(range, 1000, true)).toEqual(span);
  });

  test.each(['bytes=500-2000', 'bytes=1000-2000', 'bytes=1000-', 'bytes=-2000', 'byte=0-9', 'bytes=9-1', undefined])(
    '%s is the whole object',
    (range) => expect(spanOf(range, 1000, false)).toBeUndefined(),
  );

  test('x-oss-range-behavior: standard cuts what sticks out and refuses what lies outside', () => {
    expect(spanOf('bytes=500-2000', 1000, true)).toEqual({ start: 500, end: 1000 });
    expect(spanOf('bytes=-2000', 1000, true)).toEqual({ start: 0, end: 1000 });
    expect(spanOf('bytes=9-1', 1000, true)).toBeUndefined();
    for (const range of ['bytes=1000-2000', 'bytes=1000-', 'bytes=-0']) {
      expect(() => spanOf(range, 1000, true)).toThrow(/range cannot be satisfied/);
    }
    expect(() => spanOf('bytes=0-', 0, true)).toThrow(/range cannot be satisfied/);
  });
});

describe('conditions', () => {
  const version = { etag: 'ABC', modifiedMs: Date.parse('2026-01-01T00:00:00Z') + 700 };
  const DATE = 'Thu, 01 Jan 2026 00:00:00 GMT';
  const BEFORE = 'Wed, 31 Dec 2025 23:59:59 GMT';

  test.each([
    [{ 'if-match': '"ABC"' }],
    [{ 'if-match': 'ABC' }],
    [{ 'if-none-match': '"XYZ"' }],
    [{ 'if-modified-since': BEFORE }],
    [{ 'if-unmodified-since': DATE }],
    [{ 'if-modified-since': 'no date' }],
  ])('%j holds', (headers) => checkConditions(headers, version));

  test.each([
    [{ 'if-match': '"XYZ"' }, 'PreconditionFailed'],
    [{ 'if-unmodified-since': BEFORE }, 'PreconditionFailed'],
    [{ 'if-none-match': '"ABC"' }, 'NotModified'],
    [{ 'if-modified-since': DATE }, 'NotModified'],
  ])('%j is %s', (headers, code) => {
    expect(() => checkConditions(headers, version)).toThrow(expect.objectContaining({ code }));
  });

  test('of the source of a copy, nothing is "not modified"', () => {
    const headers = { 'x-oss-copy-source-if-none-match': 'ABC', 'if-none-match': 'ABC' };
    expect(() => checkConditions(headers, version, 'x-oss-copy-source-')).toThrow(
      expect.objectContaining({ code: 'PreconditionFailed' }),
    );
  });
});
