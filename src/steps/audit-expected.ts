/** Who can say what a target is to hold: the source's snapshots, its listing, or what was written down of a copy. */
import { BlobCorruptError, BlobMissingError, ConfigurationError, SnapshotIncompleteError } from '../domain/errors';
import { below, WorkKeys } from '../domain/names';
import type { RoundKeys } from '../domain/names';
import { indexLatestKey, phaseOf, readManifest, repositoryDataKey } from '../repository';
import type { Manifest, ManifestBlob, RepositoryData } from '../repository';
import { compareKeys, crc32, footerCrc32, listed, showCrc32 } from '../storage';
import type { CopySource, CopyTarget, Store } from '../storage';
import { mapInParallel } from '../storage/parallel';
import type { AuditSubject, ExpectedBlob } from './audit';
import { digestOf, readBytes, readJson, readJsonLines, requireJson } from './files';
import type { PlanFile } from './migration';
import { isFolderMark } from './mirror';
import type { MirrorProof } from './mirror';
import { isBefore, isProvedBy, proofsOf, withProvedFiles } from './proofs';
import type { ProofLine } from './proofs';
import { publishedKey } from './publish';
import type { PublishedRecord } from './publish';
import { newestRepositoryData } from './source-repository';
import type { ManifestFile } from './work-files';

const READS_AT_ONCE = 8;
/** Blobs that are described at a time. */
const PAGE = 1_000;

export interface AuditPlan {
  readonly subject: AuditSubject;
  /** Undefined where it is known at the end only: a prefix is listed while it is compared. */
  readonly all?: { readonly blobs: number; readonly bytes: number };
  /** What the audit can not look at, for people: a snapshot that is not complete. */
  readonly notes: readonly string[];
}

/**
 * The manifest of one snapshot of the source, or of every one that it lists. What only other snapshots need is known
 * and not looked at. `proved` is what a copy wrote down, by key: it says more of what the store's own checksum should be.
 *
 * Throws `ConfigurationError` where there is no repository or no such snapshot, and what `readManifest` throws of one
 * that is named; of all of them, those that are not complete are left out and noted.
 */
export async function expectSnapshots(
  source: CopySource,
  target: CopyTarget,
  snapshot: string | undefined,
  proved: ReadonlyMap<string, MirrorProof>,
  signal: AbortSignal,
): Promise<AuditPlan> {
  const repository = await newestRepositoryData(source.store, source.basePath, signal);
  const subject = { store: source.store.description, basePath: source.basePath };
  if (repository === undefined) {
    throw new ConfigurationError('There is no snapshot repository here: name its --base-path, or audit --all', {
      subject,
    });
  }
  const names = repository.snapshots.map(({ name }) => name);
  if (snapshot !== undefined && !names.includes(snapshot)) {
    throw new ConfigurationError(`There is no snapshot '${snapshot}', but ${names.join(', ') || 'none'}`, { subject });
  }
  const read = (key: string) => readBytes(source.store, below(source.basePath, key), signal);
  const notes: string[] = [];
  const blobs = new Map<string, ManifestBlob>();
  const saved = new Map<string, Buffer>();
  for (const name of snapshot === undefined ? names : [snapshot]) {
    const manifest = await manifestOf(repository, name, read, snapshot === undefined ? notes : undefined);
    for (const blob of manifest?.blobs ?? []) blobs.set(blob.key, blob);
    for (const [key, bytes] of manifest?.volatile ?? []) saved.set(key, bytes);
  }
  const others = snapshot === undefined ? [] : await heldSnapshots(repository, snapshot, target, signal);
  const known = new Set<string>();
  for (const name of others) {
    for (const { key } of (await manifestOf(repository, name, read, notes))?.blobs ?? []) known.add(key);
  }
  const wanted = [...blobs.values()].sort((a, b) => compareKeys(a.key, b.key));
  const proofs = withProvedFiles(proved, wanted);
  return {
    subject: {
      target,
      source,
      expected: mapped(wanted, (blob) => expectedBlob(blob, saved.get(blob.key), proofs.get(blob.key))),
      generation: repository.generation,
      isKnown: (key) => known.has(key),
    },
    all: amountOf(wanted),
    notes,
  };
}

/** Whatever lies below the base path of the source, in step with the target's listing. */
export async function expectWhole(
  source: CopySource,
  target: CopyTarget,
  proved: ReadonlyMap<string, MirrorProof>,
  signal: AbortSignal,
): Promise<AuditPlan> {
  const repository = await newestRepositoryData(source.store, source.basePath, signal).catch((error: unknown) => {
    // The whole prefix is for what can not be read as a repository, too.
    if (error instanceof BlobCorruptError || error instanceof ConfigurationError) return undefined;
    throw error;
  });
  const generation = repository === undefined ? {} : { generation: repository.generation };
  return {
    subject: {
      target,
      source,
      expected: expectedOf(source, target, proved, signal),
      isKnown: () => false,
      ...generation,
    },
    notes: [],
  };
}

/** What a copy wrote down, by key. Needs no source. */
export function expectProofs(target: CopyTarget, proved: ReadonlyMap<string, MirrorProof>): AuditPlan {
  const proofs = [...proved.values()].sort((a, b) => compareKeys(a.key, b.key));
  const expected = mapped(proofs, (proof): ExpectedBlob => {
    const { key, length } = proof;
    return { key, length, phase: phaseOf(key) ?? 'data', ...provedBy(proof, []) };
  });
  return { subject: { target, expected, isKnown: () => false }, all: amountOf(proofs), notes: [] };
}

/** Which round of which migration; undefined: of the only one to a place, and its last round that was published. */
export interface WantedRound {
  /** The prefix of all migrations' work files in the target store. */
  readonly work: string;
  /** Workflow id or first run id. */
  readonly migration?: string;
  readonly round?: number;
}

/**
 * What one published round of a migration to this place wrote down, of one that runs or has ended. Needs no source and no
 * cluster: the evidence lies in the target store.
 *
 * Throws `ConfigurationError` where no migration wrote to the place, several did or the round was not published,
 * `BlobCorruptError` when the evidence itself was changed since.
 */
export async function expectRound(
  target: CopyTarget,
  { work, migration, round }: WantedRound,
  signal: AbortSignal,
): Promise<AuditPlan> {
  const { store, basePath } = target;
  const owner = await migrationTo(target, work, migration, signal);
  const evidence = new Evidence(store, WorkKeys.of(work, owner.firstRunId), signal);
  const published = await evidence.published(round);
  const { manifest, keys, isLast } = published;
  const blobs = (await evidence.blobs(published)).sort((a, b) => compareKeys(a.key, b.key));
  const saved = await evidence.saved(published);
  // A later round has pointed it at its own generation.
  const wanted = isLast ? blobs : blobs.filter(({ key }) => key !== indexLatestKey);
  const { proved, others } = await evidence.proofs(wanted, published);
  return {
    subject: {
      target,
      expected: mapped(wanted, (blob) => expectedBlob(blob, saved.get(blob.key), proved.get(blob.key))),
      ...(isLast ? { generation: manifest.generation } : {}),
      isKnown: (key) => others.has(key) || key === indexLatestKey || below(basePath, key).startsWith(`${work}/`),
    },
    all: amountOf(wanted),
    notes: [`${owner.migration}, round ${published.round}: snapshot ${manifest.snapshot.name} (${keys.prefix})`],
  };
}

async function migrationTo(
  { store, basePath }: CopyTarget,
  work: string,
  wanted: string | undefined,
  signal: AbortSignal,
): Promise<PlanFile> {
  const keys: string[] = [];
  for await (const { key } of store.list(`${work}/`, signal)) {
    if (/^[^/]+\/plan\.json$/.test(key.slice(work.length + 1))) keys.push(key);
  }
  const all = await mapInParallel(keys, READS_AT_ONCE, signal, (key, one) => requireJson<PlanFile>(store, key, one));
  const found = all.filter(({ plan, migration, firstRunId }) => {
    return plan.repository.target.basePath === basePath && [undefined, migration, firstRunId].includes(wanted);
  });
  if (found.length === 1) return found[0]!;
  const ids = found.map(({ migration, firstRunId }) => `${migration} (${firstRunId})`).join(', ');
  throw new ConfigurationError(
    found.length === 0
      ? 'No migration wrote to this place: name its --base-path, and its --work prefix'
      : `Several migrations wrote to this place, name the --migration: ${ids}`,
    { subject: { store: store.description, basePath, work, migration: wanted } },
  );
}

interface PublishedRound {
  readonly round: number;
  readonly attempt: number;
  readonly keys: RoundKeys;
  readonly manifest: ManifestFile;
  readonly isLast: boolean;
}

/** The work files of one migration, as far as they tell what it put where. */
class Evidence {
  constructor(
    private readonly store: Store,
    private readonly keys: WorkKeys,
    private readonly signal: AbortSignal,
  ) {}

  /** Attempts that were given up have a manifest, too: only what was published counts. */
  async published(wanted: number | undefined): Promise<PublishedRound> {
    const attempts: { round: number; attempt: number }[] = [];
    for await (const { key } of this.store.list(this.keys.rounds, this.signal)) {
      const match = /^(\d+)-a(\d+)\/manifest\.json$/.exec(key.slice(this.keys.rounds.length));
      if (match !== null) attempts.push({ round: Number(match[1]), attempt: Number(match[2]) });
    }
    attempts.sort((a, b) => b.round - a.round || b.attempt - a.attempt);
    let isLast = true;
    for (const { round, attempt } of attempts) {
      if (wanted !== undefined && round < wanted) break;
      const keys = this.keys.round(round, attempt);
      const manifest = await requireJson<ManifestFile>(this.store, keys.manifest, this.signal);
      if (!(await this.#isPublished(manifest))) continue;
      if (wanted === undefined || round === wanted) return { round, attempt, keys, manifest, isLast };
      isLast = false;
    }
    const which = wanted === undefined ? 'no round' : `round ${wanted} not`;
    throw new ConfigurationError(`The migration has published ${which} (yet): there is nothing to audit`, {
      subject: { store: this.store.description, prefix: this.keys.prefix },
    });
  }

  async #isPublished({ generation, snapshot }: ManifestFile): Promise<boolean> {
    const record = await this.#record(generation);
    return record?.snapshot === snapshot.name;
  }

  #record(generation: number): Promise<PublishedRecord | undefined> {
    return readJson<PublishedRecord>(this.store, publishedKey(this.keys, generation), this.signal);
  }

  async blobs({ manifest, keys }: PublishedRound): Promise<ManifestBlob[]> {
    const blobs: ManifestBlob[] = [];
    for (const [piece, digest] of manifest.blobsDigests.entries()) {
      const key = keys.blobs(piece);
      if (digestOf((await readBytes(this.store, key, this.signal)) ?? '') !== digest) throw this.#changed(key);
      for (const blob of await readJsonLines<ManifestBlob>(this.store, key, this.signal)) blobs.push(blob);
    }
    return blobs;
  }

  /** The bytes that were published, of what has no checksum of its own. */
  async saved({ manifest, keys }: PublishedRound): Promise<ReadonlyMap<string, Buffer>> {
    const wanted = manifest.volatile.filter((key) => !key.startsWith('indices/'));
    const all = await mapInParallel(wanted, READS_AT_ONCE, this.signal, async (key, signal) => {
      const bytes = await readBytes(this.store, keys.volatile(key), signal);
      if (bytes !== undefined) return [key, bytes] as const;
      const subject = { store: this.store.description, key: keys.volatile(key) };
      throw new BlobMissingError('Evidence of the migration is gone', { subject });
    });
    const saved = new Map(all);
    const indexN = repositoryDataKey(manifest.generation);
    const record = await this.#record(manifest.generation);
    if (digestOf(saved.get(indexN)!) !== record?.digest) throw this.#changed(keys.volatile(indexN));
    return saved;
  }

  /** The last proof of each blob up to this round, and the keys that other rounds put there. */
  async proofs(wanted: readonly ManifestBlob[], { round, attempt }: PublishedRound) {
    const places = new Map(wanted.map((blob) => [blob.key, blob]));
    const proved = new Map<string, ProofLine>();
    const others = new Set<string>();
    const context = { signal: this.signal, progress: () => undefined };
    for await (const { proof, written } of proofsOf(this.store, this.keys, () => true, context)) {
      if (!places.has(proof.key)) others.add(proof.key);
      else if (isBefore(written, { round, attempt: attempt + 1 })) proved.set(proof.key, proof);
    }
    for await (const { key } of this.store.list(publishedKey(this.keys, 0).slice(0, -1), this.signal)) {
      const name = key.slice(key.lastIndexOf('/') + 1);
      if (!places.has(name)) others.add(name);
    }
    return { proved, others };
  }

  #changed(key: string): BlobCorruptError {
    return new BlobCorruptError('Evidence of the migration was changed since it was written', {
      subject: { store: this.store.description, key },
    });
  }
}

/** With `notes`, a snapshot that is not complete is left out and noted there. */
async function manifestOf(
  repository: RepositoryData,
  name: string,
  read: (key: string) => Promise<Buffer | undefined>,
  notes: string[] | undefined,
): Promise<Manifest | undefined> {
  try {
    return await readManifest(repository, name, read);
  } catch (error) {
    if (notes === undefined || !(error instanceof SnapshotIncompleteError)) throw error;
    notes.push(`snapshot ${name} is left out, what only it needs belongs to nothing here: ${error.message}`);
    return undefined;
  }
}

/** Snapshots besides the named one whose root metadata the target holds, hence probably more of them. */
async function heldSnapshots(
  repository: RepositoryData,
  snapshot: string,
  { store, basePath }: CopyTarget,
  signal: AbortSignal,
): Promise<string[]> {
  const held = new Set<string>();
  const prefix = below(basePath, 'snap-');
  for await (const { key } of store.list(prefix, signal)) held.add(key.slice(prefix.length, -'.dat'.length));
  return repository.snapshots.filter(({ name, uuid }) => name !== snapshot && held.has(uuid)).map(({ name }) => name);
}

function expectedBlob(blob: ManifestBlob, saved: Buffer | undefined, proof: ProofLine | undefined): ExpectedBlob {
  const { key, length, phase, part } = blob;
  const own = saved ? crc32(saved) : blob.crc32 === null ? undefined : footerCrc32(blob.crc32);
  const checksums = own === undefined ? [] : [showCrc32(own)];
  const isProved = proof !== undefined && (isProvedBy(proof, blob) || (saved !== undefined && proof.crc32 === own));
  if (isProved) return { key, length, phase, ...provedBy(proof, checksums) };
  if (part === undefined) return { key, length, phase, checksums };
  const { file, number, of } = part;
  return { key, length, phase, checksums, chunk: { file, number, of, fileCrc32: footerCrc32(part.fileCrc32) } };
}

/** What the target answered when the blob was proved had been compared with what was sent. */
function provedBy(
  { crc32: sent, checksum, etag }: ProofLine,
  known: readonly string[],
): Pick<ExpectedBlob, 'checksums' | 'provedEtag'> {
  const answered = checksum === undefined || checksum.startsWith('crc32:') ? [] : [checksum];
  return { checksums: [known[0] ?? showCrc32(sent), ...answered], provedEtag: etag };
}

async function* expectedOf(
  source: CopySource,
  target: CopyTarget,
  proved: ReadonlyMap<string, MirrorProof>,
  signal: AbortSignal,
): AsyncGenerator<readonly ExpectedBlob[]> {
  for await (const page of listed(source, signal)) {
    yield page
      .filter((info) => !isFolderMark(info, target))
      .map(({ key, length, etag }) => {
        const proof = proved.get(key);
        // A proof is of the bytes that the source had then.
        const isSame = proof !== undefined && etag !== '' && proof.sourceEtag === etag && proof.length === length;
        const known = isSame ? provedBy(proof, []) : { checksums: [] };
        return { key, length, phase: phaseOf(key) ?? 'data', sourceEtag: etag, ...known };
      });
  }
}

async function* mapped<T, R>(items: readonly T[], of: (item: T) => R): AsyncGenerator<readonly R[]> {
  for (let from = 0; from < items.length; from += PAGE) yield items.slice(from, from + PAGE).map(of);
}

function amountOf(blobs: readonly { readonly length: number }[]) {
  return { blobs: blobs.length, bytes: blobs.reduce((sum, { length }) => sum + length, 0) };
}
