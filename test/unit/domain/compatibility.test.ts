import {
  chainOf,
  checkIndexVersion,
  checkVersions,
  COMPATIBILITY,
  describeVersion,
  parseVersion,
  parseVersionId,
} from '../../../src/domain/compatibility';
import { sentenceOf } from '../../../src/domain/objections';
import type { VersionedCluster } from '../../../src/domain/compatibility';

const elasticsearch = (version: string): VersionedCluster => ({ version, distribution: 'elasticsearch' });
const openSearch = (version: string): VersionedCluster => ({ version, distribution: 'opensearch' });
const problems = (source: VersionedCluster, target: VersionedCluster) =>
  checkVersions({ source, target }).map(sentenceOf);

describe('version ids', () => {
  it.each([
    [5050299, 'Elasticsearch 5.5.2'],
    [6082399, 'Elasticsearch 6.8.23'],
    [7100299, 'Elasticsearch 7.10.2'],
    [7172999, 'Elasticsearch 7.17.29'],
    [8000099, 'Elasticsearch 8.0.0'],
    [8100099, 'Elasticsearch 8.10.0'],
    [8500003, 'Elasticsearch 8.x'],
    [8536000, 'Elasticsearch 8.x'],
    [9009000, 'Elasticsearch 9.x'],
    [135217827, 'OpenSearch 1.0.0'],
    [0x08000000 ^ 2110099, 'OpenSearch 2.11.0'],
  ])('%d is %s', (id, text) => {
    expect(describeVersion(parseVersionId(id))).toBe(text);
  });
});

// Observed on real nodes, each writer's repository registered read-only in each reader (facts, section 6).
describe('snapshots between versions that were tried', () => {
  const readers = ['5.5.2', '5.6.16', '6.8.23', '7.10.2', '7.17.29', '8.0.0', '8.19.0'];
  const observed: Record<string, string> = {
    '5.5.2': '+ + + - - - -',
    '5.6.16': '- + + - - - -',
    '6.8.23': '- - + + + - -',
    '7.10.2': '- - - + + + +',
    '7.17.29': '- - - - + + +',
    '8.0.0': '- - - - - + +',
    '8.19.0': '- - - - - - +',
  };
  const cells = Object.entries(observed).flatMap(([writer, row]) =>
    row.split(' ').map((cell, i) => [writer, readers[i] ?? '', cell === '+'] as const),
  );

  it.each(cells)('%s -> %s: %s', (writer, reader, accepted) => {
    const found = problems(elasticsearch(writer), elasticsearch(reader));
    expect(found.length === 0).toBe(accepted);
    for (const problem of found) {
      expect(problem).toContain(`Elasticsearch ${writer}`);
      expect(problem).toContain(`Elasticsearch ${reader}`);
    }
  });
});

describe('snapshots between other versions', () => {
  it.each<[VersionedCluster, VersionedCluster, string | undefined]>([
    [elasticsearch('7.10.2'), elasticsearch('7.10.1'), 'must not be older'],
    [elasticsearch('6.8.0'), elasticsearch('7.1.1'), 'younger than 7.0 and 7.1'],
    [elasticsearch('6.8.0'), elasticsearch('7.2.0'), undefined],
    [elasticsearch('6.7.0'), elasticsearch('7.0.0'), undefined],
    [elasticsearch('8.19.0'), elasticsearch('9.0.0'), undefined],
    [elasticsearch('7.17.0'), elasticsearch('9.0.0'), '-> Elasticsearch 8.x, reindex there, -> Elasticsearch 9.0.0'],
    [elasticsearch('2.4.6'), elasticsearch('5.6.16'), 'Elasticsearch 5.0 to 8.x'],
    [elasticsearch('9.0.0'), elasticsearch('9.0.0'), 'Elasticsearch 5.0 to 8.x'],
    [elasticsearch('5.6.16'), openSearch('1.3.0'), 'nothing older than Elasticsearch 6.0'],
    [elasticsearch('6.8.23'), openSearch('1.3.0'), undefined],
    [elasticsearch('7.11.2'), openSearch('1.3.0'), undefined],
    [elasticsearch('7.12.0'), openSearch('1.3.0'), '7.12 and later'],
    [elasticsearch('8.0.0'), openSearch('2.11.0'), '7.12 and later'],
    [elasticsearch('6.8.23'), openSearch('2.11.0'), 'nothing older than Elasticsearch 7.0'],
    [elasticsearch('7.10.2'), openSearch('2.11.0'), undefined],
    [elasticsearch('7.11.2'), openSearch('2.19.1'), undefined],
    [elasticsearch('7.10.2'), openSearch('3.1.0'), 'no index of Elasticsearch'],
    [openSearch('1.3.0'), elasticsearch('7.16.0'), 'choose an OpenSearch target'],
    [openSearch('2.11.0'), elasticsearch('8.19.0'), 'choose an OpenSearch target'],
    [openSearch('1.3.0'), openSearch('2.11.0'), undefined],
    [openSearch('2.11.0'), openSearch('3.1.0'), undefined],
    [openSearch('1.3.0'), openSearch('3.1.0'), '-> OpenSearch 2.x, reindex there, -> OpenSearch 3.1.0'],
    [openSearch('2.11.0'), openSearch('1.3.0'), 'must not be older'],
    [elasticsearch('8.9.0-SNAPSHOT'), elasticsearch('8.9.0'), undefined],
  ])('%j -> %j: %s', (source, target, problem) => {
    const found = problems(source, target);
    if (problem === undefined) expect(found).toEqual([]);
    else expect(found).toEqual([expect.stringContaining(problem)]);
  });

  it('a version that is none is told with the side it came from', () => {
    expect(problems(elasticsearch('7.10.2'), elasticsearch('latest'))).toEqual([
      expect.stringMatching(/^The target cluster calls its version 'latest'/),
    ]);
  });
});

describe('indices by the version that created them', () => {
  const os1 = 0x08000000 ^ 1030099;
  const os2 = 0x08000000 ^ 2110099;
  it.each<[string, number, VersionedCluster, boolean]>([
    ['2.x', 2040699, elasticsearch('5.6.16'), true],
    ['2.x', 2040699, elasticsearch('6.8.23'), false],
    ['5.x', 5050299, elasticsearch('6.8.23'), true],
    ['5.x', 5050299, elasticsearch('7.10.2'), false],
    ['5.x', 5050299, elasticsearch('8.19.0'), false],
    ['5.x', 5050299, openSearch('1.3.0'), false],
    ['6.0', 6000099, elasticsearch('7.0.0'), true],
    ['6.8', 6080099, elasticsearch('7.1.0'), false],
    ['6.8', 6080099, elasticsearch('7.2.0'), true],
    ['6.x', 6082399, elasticsearch('8.0.0'), false],
    ['6.x', 6082399, openSearch('1.3.0'), true],
    ['6.x', 6082399, openSearch('2.11.0'), false],
    ['7.x', 7100299, elasticsearch('7.10.2'), true],
    ['7.x', 7100299, elasticsearch('7.9.0'), false],
    ['7.x', 7100299, elasticsearch('8.19.0'), true],
    ['7.x', 7100299, elasticsearch('9.0.0'), false],
    ['7.x', 7100299, openSearch('2.11.0'), true],
    ['7.x', 7100299, openSearch('3.1.0'), false],
    ['7.17', 7172999, openSearch('1.3.0'), false],
    ['8.0', 8000099, elasticsearch('8.0.0'), true],
    ['8.x by index version', 8536000, elasticsearch('8.19.0'), true],
    ['8.x by index version', 8536000, elasticsearch('9.0.0'), true],
    ['8.x by index version', 8536000, elasticsearch('7.17.29'), false],
    ['OpenSearch 1.x', os1, openSearch('2.11.0'), true],
    ['OpenSearch 1.x', os1, openSearch('3.1.0'), false],
    ['OpenSearch 2.x', os2, openSearch('3.1.0'), true],
    ['OpenSearch 1.x', os1, elasticsearch('8.19.0'), false],
  ])('%s (%d) -> %j: %s', (_text, created, target, accepted) => {
    expect(checkIndexVersion('movies', created, target)).toHaveLength(accepted ? 0 : 1);
  });

  it('a refusal names the index, both versions and what to do', () => {
    expect(checkIndexVersion('movies', 5050299, elasticsearch('7.10.2')).map(sentenceOf)).toEqual([
      "Index 'movies' was created by Elasticsearch 5.5.2 and cannot be restored into Elasticsearch 7.10.2: a version takes " +
        'what its own and the previous major version created: go in steps: Elasticsearch 5.5.2 -> Elasticsearch 6.x, ' +
        'reindex there, -> Elasticsearch 7.10.2; or leave it out with "-movies"',
    ]);
  });
});

describe('a pair that is refused', () => {
  const chain = (from: VersionedCluster, to: VersionedCluster) => chainOf(parseVersion(from)!, parseVersion(to)!);

  it.each<[VersionedCluster, VersionedCluster, string[] | undefined]>([
    [elasticsearch('6.8.23'), elasticsearch('8.19.0'), ['Elasticsearch 7.2 to 7.17']],
    [elasticsearch('6.7.0'), elasticsearch('8.19.0'), ['Elasticsearch 7.x']],
    [elasticsearch('5.5.2'), elasticsearch('8.19.0'), ['Elasticsearch 6.x', 'Elasticsearch 7.x']],
    [elasticsearch('5.5.2'), openSearch('1.3.0'), ['Elasticsearch 6.x']],
    [elasticsearch('6.8.23'), openSearch('2.11.0'), ['Elasticsearch 7.2 to 7.11']],
    [elasticsearch('7.11.2'), openSearch('3.1.0'), ['OpenSearch 2.x']],
    [elasticsearch('7.10.2'), openSearch('3.1.0'), ['OpenSearch 2.x']],
    [elasticsearch('7.17.0'), elasticsearch('9.1.0'), ['Elasticsearch 8.x']],
    [elasticsearch('7.17.0'), openSearch('2.11.0'), undefined],
    [openSearch('2.11.0'), elasticsearch('8.19.0'), undefined],
  ])('%j -> %j leads through %j', (from, to, through) => {
    expect(chain(from, to)).toEqual(through);
  });

  it('6.8 to 7.1 needs no chain, only a later target', () => {
    expect(problems(elasticsearch('6.8.23'), elasticsearch('7.1.1'))).toEqual([
      expect.stringMatching(/: upgrade the target to 7\.2 or later$/),
    ]);
  });

  it('has a reason of its own wherever one product hands to the other', () => {
    const cluster = (releases: string) => {
      const [product, from = ''] = releases.split(' ');
      return { version: `${from.replace('x', '0')}.0`, distribution: product!.toLowerCase() } as VersionedCluster;
    };
    for (const { by, isSource } of COMPATIBILITY) {
      for (const { by: reader } of COMPATIBILITY) {
        if (!isSource || by.split(' ')[0] === reader.split(' ')[0]) continue;
        for (const problem of problems(cluster(by), cluster(reader))) expect(problem).not.toContain('previous major');
      }
    }
  });
});
