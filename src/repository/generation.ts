import { BlobCorruptError, ConfigurationError, RepositoryChangedError } from '../domain/errors';
import { repositoryDataKey } from './layout';
import type { ReadBlob } from './manifest';
import { count, fields, isFields, keySegment, list, member, parseJson, text, textOrNull, WrongShape } from './shape';
import type { Fields } from './shape';

/** `index-N`: which snapshots a repository holds, and of which indices. Plain JSON without a checksum. */
export interface RepositoryData {
  /** The N of `index-N`. */
  readonly generation: number;
  /** The blob as it was read. */
  readonly raw: Buffer;
  /** In the order of the blob, which is arbitrary. */
  readonly snapshots: readonly SnapshotEntry[];
  /** By name. */
  readonly indices: ReadonlyMap<string, IndexEntry>;
  /** uuid of the index metadata blob by identifier (since 7.9). */
  readonly metadataBlobs: Fields;
}

export type SnapshotState = 'IN_PROGRESS' | 'SUCCESS' | 'FAILED' | 'PARTIAL' | 'INCOMPATIBLE';

export interface SnapshotEntry {
  readonly name: string;
  readonly uuid: string;
  /** Undefined where the writer (before 5.5) did not record it: then only the root `snap-*` blob tells. */
  readonly state: SnapshotState | undefined;
  /** Names of the indices it holds, sorted. */
  readonly indices: readonly string[];
  /** Identifier of the index metadata by index id (since 7.9); undefined before. */
  readonly metadataLookup: Fields | undefined;
}

export interface IndexEntry {
  readonly name: string;
  /** Its folder below `indices/`. A re-created index of the same name keeps it. */
  readonly id: string;
  /** How many snapshots hold it. */
  readonly snapshots: number;
  /** Generation of the current `index-*` of each shard, null where none is known (since 7.6); undefined before. */
  readonly shardGenerations: readonly (string | null)[] | undefined;
}

const STATES: readonly SnapshotState[] = ['IN_PROGRESS', 'SUCCESS', 'FAILED', 'PARTIAL', 'INCOMPATIBLE'];

/** The newest format understood: repository uuids. Written by everything from 7.12 to 8.19. */
const NEWEST_MIN_VERSION = [7, 12, 0] as const;

/** N of the newest `index-N` among keys directly below the base path; undefined when there is none. */
export function newestGeneration(keys: Iterable<string>): number | undefined {
  let newest: number | undefined;
  for (const key of keys) {
    const digits = /^index-(0|[1-9]\d*)$/.exec(key)?.[1];
    const generation = Number(digits);
    if (Number.isSafeInteger(generation) && generation >= (newest ?? 0)) newest = generation;
  }
  return newest;
}

/**
 * Reads the newest `index-N`. `rootKeys` are the keys directly below the base path; those that begin with `index`
 * suffice. Throws `ConfigurationError` when there is no repository or one we can not read, `RepositoryChangedError`
 * when the blob was replaced since it was listed, `BlobCorruptError` as `parseRepositoryData`.
 */
export async function readRepositoryData(rootKeys: Iterable<string>, read: ReadBlob): Promise<RepositoryData> {
  const keys = [...rootKeys];
  const generation = newestGeneration(keys);
  if (generation === undefined) throw noRepository(keys);
  const key = repositoryDataKey(generation);
  const raw = await read(key);
  if (raw !== undefined) return parseRepositoryData(raw, generation);
  throw new RepositoryChangedError('The repository moved on while it was read', { subject: { key } });
}

function noRepository(rootKeys: readonly string[]): ConfigurationError {
  if (!rootKeys.includes('index')) {
    return new ConfigurationError('There is no snapshot repository here (no index-N): check store and base path');
  }
  return new ConfigurationError(
    'This repository was written by Elasticsearch 1.x or 2.x: snapshots of 5.0 and later can be moved',
    { subject: { key: 'index' } },
  );
}

/**
 * Reads `index-<generation>` of 5.0 and later. Fields that are not needed are ignored. Throws `ConfigurationError` for
 * formats we do not understand, and `BlobCorruptError` when it is damaged or contradicts itself.
 */
export function parseRepositoryData(raw: Buffer, generation: number): RepositoryData {
  const key = repositoryDataKey(generation);
  try {
    const root = fields(parseJson(raw), 'the document');
    refuseNewer(member(root, 'min_version'), key);
    return { generation, raw, ...new Reader(root, key).read() };
  } catch (error) {
    if (!(error instanceof WrongShape)) throw error;
    throw new BlobCorruptError(`The list of snapshots is damaged: ${error.message}`, {
      subject: { key },
      cause: error,
    });
  }
}

/** A version, or from some writers its internal number (7120099 is 7.12.0). */
function refuseNewer(minVersion: unknown, key: string): void {
  if (minVersion === undefined) return;
  const version = typeof minVersion === 'number' ? fromInternal(minVersion) : parts(text(minVersion, 'min_version'));
  const difference = NEWEST_MIN_VERSION.map((newest, i) => (version[i] ?? 0) - newest).find((d) => d !== 0);
  if (difference === undefined || difference < 0) return;
  throw new ConfigurationError(
    `This repository can only be read by Elasticsearch ${minVersion as string | number} or later, which is newer than ` +
      `what snapferry knows (${NEWEST_MIN_VERSION.join('.')})`,
    { subject: { key } },
  );
}

function fromInternal(id: number): number[] {
  return [Math.floor(id / 1_000_000), Math.floor(id / 10_000) % 100, Math.floor(id / 100) % 100];
}

function parts(version: string): number[] {
  const numbers = /^(\d+)\.(\d+)\.(\d+)/.exec(version)?.slice(1).map(Number);
  if (numbers === undefined) throw new WrongShape(`min_version is not a version: '${version}'`);
  return numbers;
}

type Parsed = Pick<RepositoryData, 'snapshots' | 'indices' | 'metadataBlobs'>;

class Reader {
  private readonly namesByUuid = new Map<string, string[]>();
  private readonly indices = new Map<string, IndexEntry>();

  constructor(
    private readonly root: Fields,
    private readonly key: string,
  ) {}

  read(): Parsed {
    const entries = list(member(this.root, 'snapshots'), 'snapshots').map((entry, n) => this.snapshot(entry, n));
    assertUnique(
      entries.map(({ name }) => name),
      'snapshot',
    );
    const indices = Object.entries(fields(member(this.root, 'indices'), 'indices'));
    for (const [name, index] of indices) this.indices.set(name, this.index(name, fields(index, name)));
    assertUnique(
      [...this.indices.values()].map(({ id }) => id),
      'index id',
    );
    for (const names of this.namesByUuid.values()) names.sort();
    const metadataBlobs = fields(member(this.root, 'index_metadata_identifiers') ?? {}, 'index_metadata_identifiers');
    return { snapshots: entries, indices: this.indices, metadataBlobs };
  }

  private snapshot(value: unknown, n: number): SnapshotEntry {
    const path = `snapshots[${n}]`;
    if (typeof value === 'string') throw this.refused('was written by Elasticsearch 1.x or 2.x');
    const entry = fields(value, path);
    const uuid = keySegment(member(entry, 'uuid'), `${path}.uuid`);
    if (this.namesByUuid.has(uuid)) throw new WrongShape(`snapshot uuid '${uuid}' is listed twice`);
    const indices: string[] = [];
    this.namesByUuid.set(uuid, indices);
    const lookup = member(entry, 'index_metadata_lookup');
    return {
      name: text(member(entry, 'name'), `${path}.name`),
      uuid,
      state: stateOf(member(entry, 'state'), path),
      indices,
      metadataLookup: lookup === undefined ? undefined : fields(lookup, `${path}.index_metadata_lookup`),
    };
  }

  private index(name: string, entry: Fields): IndexEntry {
    const path = `index '${name}'`;
    this.refuseHashedPaths(entry, name);
    const snapshots = list(member(entry, 'snapshots'), `snapshots of ${path}`);
    for (const snapshot of snapshots) this.holds(snapshot, path, name);
    const generations = member(entry, 'shard_generations');
    return {
      name,
      id: keySegment(member(entry, 'id'), `id of ${path}`),
      snapshots: snapshots.length,
      shardGenerations:
        generations === undefined
          ? undefined
          : list(generations, `shard_generations of ${path}`).map((one) => textOrNull(one, 'a shard generation')),
    };
  }

  /** Up to 5.4 an index lists its snapshots as `{name, uuid}`, later as uuids. */
  private holds(snapshot: unknown, path: string, name: string): void {
    const uuid = text(isFields(snapshot) ? member(snapshot, 'uuid') : snapshot, `a snapshot of ${path}`);
    const names = this.namesByUuid.get(uuid);
    if (names === undefined) throw new WrongShape(`${path} refers to snapshot '${uuid}', which is not listed`);
    if (names.at(-1) === name) throw new WrongShape(`${path} lists snapshot '${uuid}' twice`);
    names.push(name);
  }

  /** OpenSearch from 2.17: hashed paths put shards outside of `indices/`, even outside of the base path. */
  private refuseHashedPaths(entry: Fields, name: string): void {
    const pathType = member(entry, 'shard_path_type') ?? 0;
    if (pathType === 0) return;
    throw this.refused(`keeps the shards of index '${name}' below hashed paths (shard_path_type ${String(pathType)})`);
  }

  private refused(what: string): ConfigurationError {
    return new ConfigurationError(`This repository ${what}: snapferry does not know that layout`, {
      subject: { key: this.key },
    });
  }
}

function stateOf(value: unknown, path: string): SnapshotState | undefined {
  if (value === undefined) return undefined;
  const state = STATES[count(value, `${path}.state`)];
  if (state === undefined) throw new WrongShape(`${path}.state is unknown: ${String(value)}`);
  return state;
}

function assertUnique(names: readonly string[], what: string): void {
  const seen = new Set<string>();
  for (const name of names) {
    if (seen.has(name)) throw new WrongShape(`${what} '${name}' is listed twice`);
    seen.add(name);
  }
}
