import { indexOnTarget, nameOnTarget, namingFaults, restoreGroups, roundOf } from '../../../src/domain/target-names';

type Strategy = 'close' | 'replace' | 'alias';

const rename = { 'logs-*': 'aws-logs-*', 'logs-main': 'main.$1', '*-old': 'old-*', 'a+b.*(c)': '*' };

describe('the name on the target', () => {
  test.each([
    ['logs-2026', 'aws-logs-2026'],
    ['logs-', 'aws-logs-'],
    // A plain name wins over a pattern, and the first pattern over the next.
    ['logs-main', 'main.$1'],
    ['logs-old', 'aws-logs-old'],
    ['movies-old', 'old-movies'],
    ['a+b.x(c)', 'x'],
    ['movies', 'movies'],
    ['my-logs-2026', 'my-logs-2026'],
  ])('of %s is %s', (index, name) => {
    expect(nameOnTarget({ rename }, index)).toBe(name);
  });

  test('without a rule is the same', () => {
    expect(nameOnTarget({ rename: {} }, 'constructor')).toBe('constructor');
  });
});

describe('requests of a restore', () => {
  const indices = ['logs-1', 'movies', 'logs-main', 'movies-old', 'a+b.x(c)', 'logs-2'];

  test('are one where nothing is renamed, and one where one rule is used', () => {
    expect(restoreGroups({ rename: {}, strategy: 'close' }, indices, 1)).toEqual([{ indices }]);
    expect(restoreGroups({ rename: { 'logs-*': 'l-*' }, strategy: 'replace' }, ['movies', 'logs-1'], 1)).toEqual([
      { indices: ['logs-1', 'movies'], rename: { pattern: '^logs-(.*)$', replacement: 'l-$1' } },
    ]);
  });

  test.each([
    ['close', 4],
    ['alias', 5],
  ] as const)('are one for each rule (%s), and give the names that every other step expects', (strategy, count) => {
    const naming = { rename, strategy };
    const groups = restoreGroups(naming, indices, 12);
    expect(groups).toHaveLength(count);
    expect(groups.flatMap((group) => group.indices).sort()).toEqual([...indices].sort());
    for (const { indices: members, rename: rule } of groups) {
      // Java writes a literal $ as \\$, JavaScript as $$.
      const replacement = rule?.replacement.replaceAll('\\$', '$$$$') ?? '';
      for (const index of members) {
        const renamed = index.replace(new RegExp(rule?.pattern ?? '^$'), replacement);
        expect(renamed).toBe(indexOnTarget(naming, index, 12));
      }
    }
  });
});

test('with strategy alias an index is of a round, and says so', () => {
  const naming = { rename, strategy: 'alias' } as const;
  expect(indexOnTarget(naming, 'logs-1', 3)).toBe('aws-logs-1-snapferry-r3');
  expect(roundOf('aws-logs-1-snapferry-r3')).toEqual({ name: 'aws-logs-1', round: 3 });
  expect(roundOf('aws-logs-1')).toBeUndefined();
});

describe('names that cannot be', () => {
  const faults = (rules: Record<string, string>, indices: string[], aliases = {}, strategy: Strategy = 'close') =>
    namingFaults({ rename: rules, strategy }, indices, aliases).map(({ seen }) => seen);

  test('two indices of one name', () => {
    expect(faults({ 'a-*': 'c-*', 'b-*': 'c-*' }, ['a-1', 'b-1', 'b-2'])).toEqual([
      "Indices 'a-1', 'b-1' would all be called 'c-1' on the target",
    ]);
    expect(faults({ a: 'b' }, ['a', 'b'])).toHaveLength(1);
    expect(faults({ a: 'b', b: 'a' }, ['a', 'b'])).toEqual([]);
  });

  test('a name that an alias will have', () => {
    expect(faults({ 'movies-1': 'movies' }, ['movies-1'], { movies: ['movies-1'] })).toEqual([
      "Index 'movies-1' would be called 'movies' on the target, which is an alias there after the switchover",
    ]);
  });

  test.each(['logs-', 'logs--x', 'logs-_x', 'logs-.', `logs-${'é'.repeat(128)}`])('%s without its head', (index) => {
    expect(faults({ 'logs-*': '*' }, [index])).toHaveLength(1);
  });

  test('the longest name is one, unless a round is to be named behind it', () => {
    expect(faults({ 'logs-*': '*' }, [`logs-${'x'.repeat(255)}`])).toEqual([]);
    expect(faults({}, ['x'.repeat(237)], {}, 'alias')).toEqual([]);
    expect(faults({}, ['x'.repeat(238)], {}, 'alias')).toHaveLength(1);
  });
});
