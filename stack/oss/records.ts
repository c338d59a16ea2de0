// What a file alone does not tell about an object: ETag, CRC64, kind and headers. Kept in memory and in a journal beside
// the buckets. A record speaks of exactly one state of one file, so whatever somebody else wrote is never mistaken.
import type { BigIntStats } from 'node:fs';
import { open, readFile, rename, writeFile } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';

export interface Metadata {
  /** Upper-case, without quotes. */
  readonly etag: string;
  /** Decimal. */
  readonly crc64: string;
  readonly type: 'Normal' | 'Multipart';
  /** Kept with the object and returned with it: Content-Type, x-oss-meta-* and the like, by lower-case name. */
  readonly headers: Readonly<Record<string, string>>;
}

type Line = readonly [name: string, state: string, metadata: Metadata] | readonly [name: string];

export class Records {
  private readonly known: Map<string, { readonly state: string; readonly metadata: Metadata }>;

  private constructor(
    private readonly journal: FileHandle,
    known: Records['known'],
  ) {
    this.known = known;
  }

  /** Reads the journal and writes it anew without what was superseded. */
  static async open(file: string): Promise<Records> {
    const known: Records['known'] = new Map();
    const text = await readFile(file, 'utf8').catch(() => ''); // the first start has no journal
    for (const line of text.split('\n')) replay(line, known);
    const lines = [...known].map(([name, { state, metadata }]) => lineOf([name, state, metadata]));
    await writeFile(`${file}.new`, lines.join(''));
    await rename(`${file}.new`, file);
    return new Records(await open(file, 'a'), known);
  }

  /** The metadata of this very file or folder, or undefined when another one lies there now. */
  find(name: string, stats: BigIntStats): Metadata | undefined {
    const found = this.known.get(name);
    return found?.state === stateOf(stats) ? found.metadata : undefined;
  }

  /** Whether anything was recorded under that name, of whatever state. */
  has(name: string): boolean {
    return this.known.has(name);
  }

  /** Returns when the record would survive the end of this process. */
  async set(name: string, stats: BigIntStats, metadata: Metadata): Promise<void> {
    this.known.set(name, { state: stateOf(stats), metadata });
    await this.journal.appendFile(lineOf([name, stateOf(stats), metadata]));
  }

  async delete(name: string): Promise<void> {
    if (this.known.delete(name)) await this.journal.appendFile(lineOf([name]));
  }
}

function lineOf(line: Line): string {
  return `${JSON.stringify(line)}\n`;
}

function replay(line: string, known: Map<string, { state: string; metadata: Metadata }>): void {
  let parsed: Line;
  try {
    parsed = JSON.parse(line) as Line;
  } catch {
    return; // cut off by the end of a process: the file's metadata are computed when somebody asks
  }
  const [name, state, metadata] = parsed;
  if (state === undefined || metadata === undefined) known.delete(name);
  else known.set(name, { state, metadata });
}

/** A folder changes with what lies in it; what is recorded of one, that somebody put it as an object, stays true. */
function stateOf(stats: BigIntStats): string {
  if (stats.isDirectory()) return 'folder';
  return `${stats.ino}-${stats.size}-${stats.mtimeNs}`;
}
