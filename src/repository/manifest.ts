import type { RepositoryData } from './generation';

/**
 * Copy phases in order. Each is a barrier: with every prefix of this order the target is a whole older or a whole
 * newer repository, never a mixture.
 */
export type Phase =
  | 'data'
  | 'shard-metadata'
  | 'index-metadata'
  | 'root-metadata'
  | 'incompatible-snapshots'
  | 'index-N'
  | 'index.latest';

export interface ManifestBlob {
  /** Relative to the base path. */
  readonly key: string;
  readonly length: number;
  /**
   * The CRC32 in the blob's own Lucene or codec footer: of everything but the last 8 bytes. Null where the blob has no
   * footer: `index-N`, `index.latest`, `incompatible-snapshots`, and the parts of a file that was cut into chunks.
   */
  readonly crc32: number | null;
  readonly phase: Phase;
  /** A chunk of a Lucene file: the footer belongs to the whole file, whose CRC32 holds over the parts in order. */
  readonly part?: { readonly file: string; readonly number: number; readonly of: number; readonly fileCrc32: number };
}

export interface ManifestShard {
  readonly shard: number;
  /** Sum of the lengths of the data blobs. */
  readonly dataBytes: number;
  /** Sum of the lengths of virtual (`v__`) files, which have no blob. */
  readonly virtualBytes: number;
  readonly files: number;
  /** Lucene segment names (`_0`, `_1a`), sorted. */
  readonly segments: readonly string[];
}

export interface ManifestIndex {
  readonly name: string;
  /** The repository's id of the index: its folder below `indices/`. Not the index uuid. */
  readonly id: string;
  readonly createdVersionId: number;
  readonly shards: readonly ManifestShard[];
  /** Flat settings from the snapshot. */
  readonly settings: Readonly<Record<string, string | readonly string[]>>;
  readonly aliases: readonly string[];
}

/** Exactly the blobs one snapshot needs, and what they hold. */
export interface Manifest {
  readonly snapshot: { readonly name: string; readonly uuid: string; readonly versionId: number };
  readonly generation: number;
  readonly indices: readonly ManifestIndex[];
  /** In copy order; keys are unique. */
  readonly blobs: readonly ManifestBlob[];
  /**
   * Bytes of the blobs that the source may delete with its next snapshot (`index-N`, `incompatible-snapshots`, shard
   * `index-*`, `index.latest` as it must read for this generation): published from here, not read again.
   */
  readonly volatile: ReadonlyMap<string, Buffer>;
}

/** Reads one whole blob by its key relative to the base path; `undefined` only when the store says it is not there. */
export type ReadBlob = (key: string) => Promise<Buffer | undefined>;

export declare function readManifest(repository: RepositoryData, snapshot: string, read: ReadBlob): Promise<Manifest>;
export declare function difference(wanted: readonly ManifestBlob[], held: readonly ManifestBlob[]): ManifestBlob[];
