import { formatBytes, formatDuration, parseDuration, writeDuration } from '../../../src/domain/durations';

describe('durations in a plan', () => {
  it.each([
    ['500ms', 500],
    ['20s', 20_000],
    ['15m', 900_000],
    ['1h30m', 5_400_000],
    ['2d', 172_800_000],
    ['1d1h1m1s1ms', 90_061_001],
  ])('%s is %d ms, and is written back the same', (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
    expect(writeDuration(ms)).toBe(text);
  });

  it.each(['', 'soon', '15', '15 m', '-1m', '1.5h', '30m1h', '1m1m', 'm', '1e3s', '15M'])('%j is none', (text) => {
    expect(parseDuration(text)).toBeUndefined();
  });

  it('nothing is written as 0s, and counts above a unit are carried over', () => {
    expect(writeDuration(0)).toBe('0s');
    expect(writeDuration(parseDuration('90m') ?? NaN)).toBe('1h30m');
  });
});

describe('durations for people', () => {
  it.each([
    [0, '0 ms'],
    [850, '850 ms'],
    [999.7, '1 s'],
    [4_240, '4.2 s'],
    [9_990, '10 s'],
    [42_400, '42 s'],
    [59_900, '1 min'],
    [750_000, '12 min 30 s'],
    [3_599_700, '1 h'],
    [3_900_000, '1 h 5 min'],
    [86_399_000, '1 d'],
    [183_600_000, '2 d 3 h'],
    [-5, '0 ms'],
  ])('%d ms reads %s', (ms, text) => {
    expect(formatDuration(ms)).toBe(text);
  });
});

describe('sizes for people', () => {
  it.each([
    [0, '0 B'],
    [512, '512 B'],
    [1_024, '1 KiB'],
    [1_288_490_189, '1.2 GiB'],
    [66_060_288, '63 MiB'],
    [1_048_000, '1023 KiB'],
    [1_048_400, '1 MiB'],
    [10_170_000, '9.7 MiB'],
    [2 ** 50 * 3, '3 PiB'],
  ])('%d bytes read %s', (bytes, text) => {
    expect(formatBytes(bytes)).toBe(text);
  });
});
