import { ConfigurationError, SnapshotIncompleteError } from '../domain/errors';
import type { RepositoryData, SnapshotEntry } from './generation';
import { globalMetadataKey, incompatibleSnapshotsKey, repositoryDataKey, rootSnapshotKey } from './layout';
import type { ManifestBlob, ReadBlob } from './manifest';
import { checked, contradiction, readMetadata } from './metadata';
import { count, fields, isFields, list, member, parseJson, text } from './shape';
import type { Fields } from './shape';

/** What the blobs `snap-<uuid>.dat` and `meta-<uuid>.dat` at the root say of a complete snapshot. */
export interface Root {
  readonly snapshotKey: string;
  readonly versionId: number;
  readonly totalShards: number;
  readonly blobs: readonly ManifestBlob[];
}

const NAMED_AT_MOST = 10;

/**
 * Throws `SnapshotIncompleteError` when `index-N` lists the snapshot as anything but complete. One that ended so names
 * its failed shards in its root blob; one that runs or is incompatible may have no such blob.
 */
export async function refuseIncomplete(entry: SnapshotEntry, read: ReadBlob): Promise<void> {
  if (entry.state === undefined || entry.state === 'SUCCESS') return;
  if (entry.state === 'FAILED' || entry.state === 'PARTIAL') {
    const { content } = await readMetadata(rootSnapshotKey(entry.uuid), 'snapshot', 'root-metadata', read);
    refuseFailures(entry, snapshotOf(content, entry));
  }
  throw incomplete(entry, entry.state);
}

/**
 * Reads the root blobs. Throws `SnapshotIncompleteError` for a snapshot with failures, `ConfigurationError` for one that
 * does not hold its data, `BlobCorruptError` when it is not the one that `index-N` lists.
 */
export async function readRoot(repository: RepositoryData, entry: SnapshotEntry, read: ReadBlob): Promise<Root> {
  const snapshotKey = rootSnapshotKey(entry.uuid);
  const { blob, content } = await readMetadata(snapshotKey, 'snapshot', 'root-metadata', read);
  const snapshot = snapshotOf(content, entry);
  refuseFailures(entry, snapshot);
  refuseShallow(entry, snapshot);
  assertIndicesListed(repository, entry, snapshot);
  const global = await readMetadata(globalMetadataKey(entry.uuid), 'metadata', 'root-metadata', read);
  return checked(snapshotKey, () => ({
    snapshotKey,
    versionId: count(member(snapshot, 'version_id'), 'version_id'),
    totalShards: count(member(snapshot, 'total_shards'), 'total_shards'),
    blobs: [global.blob, blob],
  }));
}

/** 5.x and 6.x only; undefined where there is none. */
export async function readIncompatibleSnapshots(read: ReadBlob): Promise<Buffer | undefined> {
  const bytes = await read(incompatibleSnapshotsKey);
  if (bytes === undefined) return undefined;
  return checked(incompatibleSnapshotsKey, () => {
    const content = parseJson(bytes);
    list(isFields(content) ? member(content, incompatibleSnapshotsKey) : content, 'the list of incompatible snapshots');
    return bytes;
  });
}

function snapshotOf(content: Fields, { name, uuid }: SnapshotEntry): Fields {
  const key = rootSnapshotKey(uuid);
  return checked(key, () => {
    const snapshot = fields(member(content, 'snapshot'), 'snapshot');
    const says = { name: text(member(snapshot, 'name'), 'name'), uuid: text(member(snapshot, 'uuid'), 'uuid') };
    if (says.name === name && says.uuid === uuid) return snapshot;
    throw contradiction(key, `This should be snapshot ${name} (${uuid}), but says it is ${says.name} (${says.uuid})`);
  });
}

function refuseFailures(entry: SnapshotEntry, snapshot: Fields): void {
  const [state, failures] = checked(rootSnapshotKey(entry.uuid), () => [
    text(member(snapshot, 'state'), 'state'),
    list(member(snapshot, 'failures') ?? [], 'failures').map((failure) =>
      describeFailure(fields(failure, 'a failure')),
    ),
  ]);
  const allThere = member(snapshot, 'successful_shards') === member(snapshot, 'total_shards');
  if (state === 'SUCCESS' && failures.length === 0 && allThere) return;
  throw incomplete(entry, state, failures);
}

function describeFailure(failure: Fields): string {
  const [index, shard, reason] = ['index', 'shard_id', 'reason'].map((name) => String(member(failure, name) ?? '?'));
  return `[${index}][${shard}] ${reason?.split('\n', 1)[0]?.slice(0, 200)}`;
}

function incomplete(entry: SnapshotEntry, state: string, failures: readonly string[] = []): SnapshotIncompleteError {
  const named = failures.slice(0, NAMED_AT_MOST).join('; ');
  const more = failures.length > NAMED_AT_MOST ? `; and ${failures.length - NAMED_AT_MOST} more` : '';
  const shards = failures.length === 0 ? '' : `. Failed shards: ${named}${more}`;
  return new SnapshotIncompleteError(`The snapshot is ${state}, only a complete one can be moved${shards}`, {
    subject: { snapshot: entry.name, uuid: entry.uuid },
  });
}

/** OpenSearch, with `remote_store_index_shallow_copy` or `shallow_snapshot_v2`: the data lies in the remote store. */
function refuseShallow(entry: SnapshotEntry, snapshot: Fields): void {
  const pinned = member(snapshot, 'pinned_timestamp') ?? 0;
  if (member(snapshot, 'remote_store_index_shallow_copy') !== true && pinned === 0) return;
  throw new ConfigurationError(
    'The snapshot is a shallow copy: its data lies in a remote store, not in the repository. Register a repository ' +
      'without remote_store_index_shallow_copy and shallow_snapshot_v2',
    { subject: { snapshot: entry.name, key: rootSnapshotKey(entry.uuid) } },
  );
}

/** `index-N` has no checksum, this blob has: both must list the same indices. */
function assertIndicesListed(repository: RepositoryData, entry: SnapshotEntry, snapshot: Fields): void {
  const key = rootSnapshotKey(entry.uuid);
  const names = checked(key, () => list(member(snapshot, 'indices'), 'indices').map((name) => text(name, 'an index')));
  const held = new Set(names);
  if (held.size === entry.indices.length && entry.indices.every((name) => held.has(name))) return;
  throw contradiction(
    repositoryDataKey(repository.generation),
    `The list of snapshots says that ${entry.name} holds ${entry.indices.join(', ')}; ${key} says ${names.join(', ')}`,
  );
}
