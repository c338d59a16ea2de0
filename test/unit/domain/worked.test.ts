import { Busy, waitedOf, workOf } from '../../../src/domain/worked';

const HOUR = 3_600_000;

test('what nobody worked at a step was waiting, but for the moment that handing it over takes', () => {
  expect(waitedOf(HOUR + 5_000, 5_000)).toBe(HOUR - 1_000);
  expect(waitedOf(5_900, 5_000)).toBe(0);
  // Another clock, or one that was set.
  expect(waitedOf(5_000, HOUR)).toBe(0);
});

test('where nobody can tell, all of it was work', () => {
  expect(waitedOf(HOUR, undefined)).toBe(0);
});

test('work is a step without its waiting', () => {
  expect(workOf({ scope: HOUR, plan: 20 }, { scope: HOUR - 10 })).toEqual({ scope: 10, plan: 20 });
  expect(workOf({ scope: 7 })).toEqual({ scope: 7 });
});

describe('several attempts', () => {
  const busy = (attempts: readonly (readonly [to: number, workedMs: number])[], before = 0) => {
    const all = new Busy(before);
    for (const [to, workedMs] of attempts) all.add(to, workedMs);
    return all.ms;
  };

  test.each([
    ['none', [], 0],
    ['one', [[10_000, 4_000]], 4_000],
    ['two at once count once', [[10_000, 4_000], [11_000, 4_000]], 5_000], // prettier-ignore
    ['one inside another', [[10_000, 1_000], [20_000, 20_000]], 20_000], // prettier-ignore
    ['one that bridges two', [[10_000, 1_000], [20_000, 1_000], [30_000, 22_000]], 22_000], // prettier-ignore
    ['an hour without a worker between two', [[10_000, 4_000], [HOUR, 4_000]], 8_000], // prettier-ignore
    ['handing over from one to the next is no pause', [[10_000, 4_000], [14_500, 4_000]], 8_500], // prettier-ignore
  ] as const)('%s', (_, attempts, ms) => {
    expect(busy(attempts)).toBe(ms);
  });

  test('what was worked before the history was renewed is not lost', () => {
    expect(busy([[10_000, 4_000]], 7_000)).toBe(11_000);
  });
});
