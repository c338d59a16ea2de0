import fc from 'fast-check';
import { hasFeaturesOf, nameGroups, snapshotPath } from '../../../src/elasticsearch/paths';

describe('names in a request line', () => {
  test('every name goes into one group, in order, and no group is too long for a server', () => {
    const names = fc.array(
      fc.string({ unit: 'grapheme', minLength: 1, maxLength: 60 }).map((name) => name.replaceAll(',', '_')),
      { maxLength: 400 },
    );
    fc.assert(
      fc.property(names, (all) => {
        const groups = nameGroups(all);
        expect(groups.flatMap((group) => group.names)).toEqual(all);
        for (const { path, names: group } of groups) {
          expect(path.split(',').map(decodeURIComponent)).toEqual(group);
          expect(Buffer.byteLength(path)).toBeLessThanOrEqual(3_500);
        }
      }),
    );
  });

  test('a name longer than a group is one of its own, and no names are no group', () => {
    expect(nameGroups(['a', 'b'.repeat(4_000), 'c']).map(({ names }) => names.length)).toEqual([1, 1, 1]);
    expect(nameGroups([])).toEqual([]);
  });

  test('names of repositories and snapshots are encoded', () => {
    expect(snapshotPath('a/b', 'c?d')).toBe('/_snapshot/a%2Fb/c%3Fd');
  });
});

test.each([
  ['7.9', '7.8.1', 'elasticsearch', false],
  ['7.9', '7.9.0', 'elasticsearch', true],
  ['7.9', '7.10.2', 'elasticsearch', true],
  ['7.9', '8.0.0', 'elasticsearch', true],
  ['7.9', '6.8.23', 'elasticsearch', false],
  ['7.9', '1.3.2', 'opensearch', true],
] as const)('what came with %s is in %s of %s: %s', (minimum, version, distribution, has) => {
  expect(hasFeaturesOf(minimum, { version, distribution, uuid: 'u', clusterName: 'c' })).toBe(has);
});
