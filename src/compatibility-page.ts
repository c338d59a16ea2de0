/** docs/compatibility.md, from the table of `domain/compatibility`. */
import { chainOf, COMPATIBILITY, parseVersion, refusalOf } from './domain/compatibility';
import type { CompatibilityRow, Distribution, Version } from './domain/compatibility';

/** Each pair of these is tried on real nodes; of Elasticsearch, where nothing else is named. */
export const TRIED = [
  ...[
    '5.0.0',
    '5.5.2',
    '5.6.16',
    '6.8.23',
    '7.10.2',
    '7.11.2',
    '7.17.29',
    '8.0.0',
    '8.18.0',
    '8.19.0',
    '9.0.0',
    '9.1.0',
  ],
  ...['opensearch-1.3.20', 'opensearch-2.11.0', 'opensearch-2.19.1', 'opensearch-3.0.0'],
] as const;

/** The page's Markdown. */
export function compatibilityPage(): string {
  return `# Which versions hand indices to which

Made from \`src/domain/compatibility.ts\` by \`npm run schemas\`. Preflight asks this table twice: for the version of the source
cluster, and for the version that _created_ each index, which an upgrade of the cluster does not change. A target is never
older than the source.

Each pair of ${triedOf('elasticsearch')}
and of OpenSearch ${triedOf('opensearch')} is for \`test/matrix/compatibility.test.ts\` to try on real nodes,
what is refused too; what it has run is in [matrix.md](matrix.md).

${table(['written or created by', 'restored into'], COMPATIBILITY.map(acceptedRow))}

A source of Elasticsearch 2.x or 9.x is refused: snapferry does not read its repository. OpenSearch to Elasticsearch is
refused whatever the versions: ${whyNoWayBack()}.

## Refused, and the way round

"reindex there" means: into a new index of that cluster, which then is the one that created it.

${table(['from', 'to', 'why not', 'instead'], refusedRows())}
`;
}

function triedOf(distribution: Distribution): string {
  const versions = TRIED.filter((label) => label.startsWith('opensearch-') === (distribution === 'opensearch'));
  return versions.map((label) => label.replace('opensearch-', '')).join(', ');
}

function whyNoWayBack(): string {
  const refused = refusalOf(firstOf('OpenSearch 2.x'), firstOf('Elasticsearch 8.x'))!;
  return `${refused.seen.replace(' which therefore', '\nwhich therefore')}; ${refused.remedy}`;
}

function acceptedRow({ by, into, isSource }: CompatibilityRow): string[] {
  return [isSource ? by : `${by} (indices only)`, into.join(', ')];
}

/** Each row against the first version of each younger line that does not take it. */
function refusedRows(): string[][] {
  const lines = COMPATIBILITY.filter(({ by }) => /(\.x|\.0 to .*)$/.test(by));
  return COMPATIBILITY.filter(({ isSource }) => isSource).flatMap(({ by }) => {
    const writer = firstOf(by);
    return lines.flatMap((line) => {
      const reader = firstOf(line.by);
      const isYounger = reader.distribution === writer.distribution && reader.major > writer.major;
      const isFork = reader.distribution === 'opensearch' && writer.distribution === 'elasticsearch';
      const refused = isYounger || isFork ? refusalOf(writer, reader) : undefined;
      if (refused === undefined) return [];
      // Of a line that takes it later on, only the beginning refuses.
      if (refused.remedy.startsWith('upgrade'))
        return [[by, `the first ${lineOf(line.by)}`, refused.seen, refused.remedy]];
      const chain = chainOf(writer, reader);
      const instead = chain?.map((step) => `${step}, reindex there`).join(', then ') ?? refused.remedy;
      return [[by, lineOf(line.by), refused.seen, instead]];
    });
  });
}

function firstOf(releases: string): Version {
  const [product, from = ''] = releases.split(' ');
  const version = `${from.replace('x', '0')}.0`;
  return parseVersion({ version, distribution: product === 'OpenSearch' ? 'opensearch' : 'elasticsearch' })!;
}

function lineOf(releases: string): string {
  return releases.replace(/\.\S+( to .*)?$/, '.x');
}

/** As prettier writes one. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]!.length)));
  const line = (cells: readonly string[]) => `| ${cells.map((cell, at) => cell.padEnd(widths[at]!)).join(' | ')} |`;
  return [line(head), line(widths.map((width) => '-'.repeat(width))), ...rows.map((row) => line(row))].join('\n');
}
