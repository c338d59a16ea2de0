import { limitInForce, limitText } from '../../../src/domain/limits';
import { parseLimits } from '../../../src/domain/plan';

const at = (time: string) => Date.parse(`2026-03-01T${time}Z`);
const byHour = Array.from({ length: 24 }, (_, hour) => (hour >= 8 && hour < 18 ? 5 * 1024 * 1024 : null));

describe('limits', () => {
  test('of an hour stand in place of bytesPerSecond, in UTC; null leaves it', () => {
    const limits = { bytesPerSecond: 20 * 1024 * 1024, byHour };
    expect(limitInForce(limits, at('07:59:59'))).toBe(20 * 1024 * 1024);
    expect(limitInForce(limits, at('08:00:00'))).toBe(5 * 1024 * 1024);
    expect(limitInForce(limits, at('17:59:59'))).toBe(5 * 1024 * 1024);
    expect(limitInForce({ byHour }, at('18:00:00'))).toBeUndefined();
    expect(limitInForce({}, at('12:00:00'))).toBeUndefined();
  });

  test('are told as a rate, and with the hour where they depend on it', () => {
    expect(limitText({}, 0)).toBeUndefined();
    expect(limitText({ bytesPerSecond: 20 * 1024 * 1024 }, 0)).toBe('20 MiB/s');
    expect(limitText({ byHour }, at('14:30:00'))).toBe('5 MiB/s at 14 h UTC (byHour)');
    expect(limitText({ byHour }, at('03:00:00'))).toBe('none at 3 h UTC (byHour)');
    expect(limitText({ verifyDocumentsPerSecond: 500 }, 0)).toBe('verification 500 documents/s');
    expect(limitText({ bytesPerSecond: 1024 ** 2, verifyDocumentsPerSecond: 5 }, 0)).toBe(
      '1 MiB/s, verification 5 documents/s',
    );
  });

  test('that are sent are those of the plan, field by field', () => {
    expect(parseLimits({})).toEqual({});
    expect(parseLimits({ bytesPerSecond: 1024, byHour })).toEqual({ bytesPerSecond: 1024, byHour });
  });

  test.each([
    [undefined, 'Limits are one JSON object, and {} lifts them, but nothing was given'],
    ['50MB', 'Limits are one JSON object, and {} lifts them, but a string was given'],
    [{ bytesPerSecond: 50 }, 'bytesPerSecond: must be at least 1024: it counts bytes per second'],
    [{ bytesPerSecond: '50' }, 'bytesPerSecond: must be a number'],
    [{ bytesPerSecond: -1 }, 'bytesPerSecond: must be at least 1024'],
    [{ byHour: [1_000_000] }, 'byHour: must hold 24 items, one for each hour of the day in UTC'],
    [{ byHour: byHour.map((n, h) => (h === 3 ? 'fast' : n)) }, 'byHour[3]: '],
    [{ bytesPersecond: 1_000_000 }, 'bytesPersecond: is not a known key'],
    [{ restoreBytesPerSecond: 1_000_000 }, 'restoreBytesPerSecond: is set by the plan, for the whole migration'],
  ])('%j are refused with a sentence', (raw, sentence) => {
    expect(() => parseLimits(raw)).toThrow(sentence);
  });
});
