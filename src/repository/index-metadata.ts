import type { RepositoryData, SnapshotEntry } from './generation';
import { indexMetadataKey, repositoryDataKey } from './layout';
import type { ManifestBlob, ManifestIndex, ReadBlob } from './manifest';
import { checked, contradiction, readMetadata } from './metadata';
import { count, fields, isFields, keySegment, list, member, text, WrongShape } from './shape';
import type { Fields } from './shape';

/** What `indices/<id>/meta-*.dat` says of an index in one snapshot. */
export interface IndexMetadata extends Omit<ManifestIndex, 'shards'> {
  readonly shardCount: number;
  readonly blob: ManifestBlob;
}

type Settings = ManifestIndex['settings'];

/** Index creation refuses more than 1024 shards unless a system property is raised. */
const MOST_SHARDS = 100_000;

/** Throws `BlobMissingError`, and `BlobCorruptError` also when the blob is of another index. */
export async function readIndexMetadata(
  repository: RepositoryData,
  entry: SnapshotEntry,
  name: string,
  read: ReadBlob,
): Promise<IndexMetadata> {
  const id = repository.indices.get(name)?.id ?? '';
  const { uuid, identifier } = metadataBlobOf(repository, entry, id);
  const key = indexMetadataKey(id, uuid);
  const { blob, content } = await readMetadata(key, 'index-metadata', 'index-metadata', read);
  return checked(key, () => {
    const metadata = fields(member(content, name), `index '${name}'`);
    const settings = settingsOf(fields(member(metadata, 'settings'), 'settings'));
    assertIdentified(settings, identifier, key);
    return {
      name,
      id,
      createdVersionId: numberOf(settings, 'index.version.created'),
      shardCount: shardCountOf(settings),
      settings,
      aliases: aliasesOf(member(metadata, 'aliases') ?? {}),
      blob,
    };
  });
}

interface MetadataBlob {
  readonly uuid: string;
  readonly identifier: string | undefined;
}

/** Up to 7.8 the blob is named after the snapshot; since 7.9 `index-N` leads there over an identifier. */
function metadataBlobOf(repository: RepositoryData, entry: SnapshotEntry, indexId: string): MetadataBlob {
  const identifier = member(entry.metadataLookup ?? {}, indexId);
  if (identifier === undefined) return { uuid: entry.uuid, identifier: undefined };
  return checked(repositoryDataKey(repository.generation), () => {
    const known = text(identifier, `metadata identifier of index ${indexId}`);
    return { identifier: known, uuid: keySegment(member(repository.metadataBlobs, known), `metadata '${known}'`) };
  });
}

/** An identifier begins with the index uuid: `index-N`, which has no checksum, led to the right blob. */
function assertIdentified(settings: Settings, identifier: string | undefined, key: string): void {
  const uuid = settings['index.uuid'];
  if (identifier === undefined || typeof uuid !== 'string' || identifier.startsWith(`${uuid}-`)) return;
  throw contradiction(key, `This should be metadata ${identifier}, but it is of the index with uuid ${uuid}`);
}

/** Settings are flat; their values strings, or since 6.x lists of strings. A null stands for an unset one. */
function settingsOf(raw: Fields): Settings {
  const set = Object.entries(raw).filter(([, value]) => value !== null);
  return Object.fromEntries(
    set.map(([name, value]) => [
      name,
      Array.isArray(value) ? value.map((one) => scalar(one, name)) : scalar(value, name),
    ]),
  );
}

function scalar(value: unknown, name: string): string {
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'boolean' || typeof value === 'bigint') return String(value);
  throw new WrongShape(`setting ${name} is neither a string nor a list of strings`);
}

function numberOf(settings: Settings, name: string): number {
  const value = settings[name];
  if (typeof value !== 'string' || !/^\d+$/.test(value)) throw new WrongShape(`setting ${name} is not a number`);
  return count(Number(value), name);
}

function shardCountOf(settings: Settings): number {
  const shards = numberOf(settings, 'index.number_of_shards');
  if (shards >= 1 && shards <= MOST_SHARDS) return shards;
  throw new WrongShape(`index.number_of_shards is ${shards}`);
}

function aliasesOf(aliases: unknown): string[] {
  const names = isFields(aliases)
    ? Object.keys(aliases)
    : list(aliases, 'aliases').map((alias) => text(alias, 'alias'));
  return names.sort();
}
