import fc from 'fast-check';
import { sentenceOf } from '../../../src/domain/objections';
import { aliasFaults, matchesPattern, resolvePatterns } from '../../../src/domain/patterns';

const names = ['movies', 'logs-web-1', 'logs-web-2', 'logs-debug-1', '.kibana_1', '.tasks'];

describe('the indices of a plan', () => {
  it('are names and patterns in order, exclusions with their reason, sorted', () => {
    expect(resolvePatterns(['movies', 'logs-*', '-logs-debug-*'], names)).toEqual({
      included: ['logs-web-1', 'logs-web-2', 'movies'],
      excluded: [{ name: 'logs-debug-1', because: 'excluded by -logs-debug-*' }],
      unmatched: [],
    });
  });

  it('a later item wins over an earlier one', () => {
    const { included, excluded } = resolvePatterns(['logs-*', '-logs-*', 'logs-web-2'], names);
    expect(included).toEqual(['logs-web-2']);
    expect(excluded.map(({ name }) => name)).toEqual(['logs-debug-1', 'logs-web-1']);
  });

  it('dot indices are taken only when named exactly, and it is said which were not', () => {
    expect(resolvePatterns(['*', '.tasks'], names)).toEqual({
      included: ['.tasks', 'logs-debug-1', 'logs-web-1', 'logs-web-2', 'movies'],
      excluded: [{ name: '.kibana_1', because: 'a dot index, taken only when it is named exactly' }],
      unmatched: [],
    });
    expect(resolvePatterns(['.tasks', '*', '.k*'], names).included).toContain('.tasks');
    expect(resolvePatterns(['.k*'], names).included).toEqual([]);
  });

  it('an exclusion removes dot indices too', () => {
    expect(resolvePatterns(['.kibana_1', 'movies', '-.kibana*'], names).included).toEqual(['movies']);
  });

  it('items that match nothing are named; exclusions may', () => {
    expect(resolvePatterns(['movie', 'movies', 'x-*', '-y-*'], names).unmatched).toEqual(['movie', 'x-*']);
  });

  it('an alias is refused with the indices behind it, excluded ones too', () => {
    const aliases = { logs: ['logs-web-2', 'logs-web-1'], films: ['movies'] };
    expect(aliasFaults(['logs', 'logs-*', 'movies', '-films', 'constructor'], aliases).map(sentenceOf)).toEqual([
      "indices: 'logs' is an alias: name its indices instead: logs-web-1, logs-web-2",
      "indices: 'films' is an alias: name its indices instead: movies",
    ]);
  });
});

describe('a pattern', () => {
  it.each([
    ['*', 'anything', true],
    ['logs-*', 'logs-', true],
    ['logs-*', 'logs', false],
    ['*-web-*', 'logs-web-1', true],
    ['a*a', 'a', false],
    ['a*b*a', 'aba', true],
    ['a*bc*c', 'abc', false],
    ['l.gs', 'logs', false],
    ['**', '', true],
  ])('%s on %j: %s', (pattern, name, expected) => {
    expect(matchesPattern(pattern, name)).toBe(expected);
  });

  it('means what the same pattern means as a regular expression', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'b', '*'), maxLength: 8 });
    const name = fc.string({ unit: fc.constantFrom('a', 'b'), maxLength: 10 });
    fc.assert(
      fc.property(text, name, (pattern, subject) => {
        const expression = new RegExp(`^${pattern.replaceAll('*', '.*')}$`);
        return matchesPattern(pattern, subject) === expression.test(subject);
      }),
      { numRuns: 2_000 },
    );
  });
});
