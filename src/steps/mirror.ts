/**
 * A repository copied from one place to another without a migration: one snapshot and what it needs, or a whole prefix.
 * In copy order, each blob proved on its way; what an earlier run proved, and both sides still hold, is not sent again.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { BlobCorruptError, ConfigurationError, RepositoryChangedError, UnavailableError } from '../domain/errors';
import { below } from '../domain/names';
import { PHASES, phaseOf, readManifest } from '../repository';
import type { ManifestBlob, Phase, RepositoryData } from '../repository';
import { compareKeys, copyFile, crc32, listed, march, sendSaved } from '../storage';
import type { BlobInfo, BlobProof, CopyCursor, CopySource, CopyTarget, Engine } from '../storage';
import { readBytes } from './files';
import type { ProofLine } from './proofs';
import { isProvedBy, proofLine, withProvedFiles } from './proofs';
import { newestRepositoryData } from './source-repository';
import { blobsOf, filesOf, ofWholeFiles, shuffled } from './units';
import { abandonNotedUploads } from './uploads';
import type { UploadNotes } from './uploads';

/** What a run proved of one blob, and what the source said of it then. */
export interface MirrorProof extends ProofLine {
  /** Etag in the source; undefined where a manifest says what the bytes are. */
  readonly sourceEtag?: string;
}

/** How far a large file has come, for the run after this one. */
export interface MirrorCursor extends CopyCursor {
  /** Key of the file's first blob. */
  readonly file: string;
  /** As in a proof. */
  readonly sourceEtag?: string;
}

export interface MirrorFile {
  readonly blobs: readonly ManifestBlob[];
  /** Keys of those that the target lists with their length, though nothing proves them. */
  readonly listed?: ReadonlySet<string>;
  /** Bytes that are written instead of the source's, which may have deleted them. */
  readonly saved?: Buffer;
  readonly sourceEtag?: string;
}

export interface MirrorPlan {
  /** In copy order; each is a barrier. */
  readonly phases: readonly { readonly phase: Phase; readonly files: readonly MirrorFile[] }[];
  readonly send: Amount;
  readonly held: Amount;
  /** Of the source, when it was read: all of it must still stand when `index-N` is written. */
  readonly repository?: RepositoryData;
}

export interface Amount {
  readonly blobs: number;
  readonly bytes: number;
}

export interface MirrorRun {
  readonly signal: AbortSignal;
  readonly progress: (done: Amount) => void;
  readonly proved: (proof: MirrorProof) => void;
  readonly uploads: MirrorUploads;
  /** Something could not be done, and is tried again after `pauseMs`. */
  readonly retrying: (error: UnavailableError, pauseMs: number) => void;
}

/** What runs to one place know of uploads in parts. */
export interface MirrorUploads extends UploadNotes {
  /** What was noted last of that file, in this run or an earlier one. */
  cursorOf(file: string): MirrorCursor | undefined;
  /** `isWhole`: all parts are sent, and nothing is left but to complete the upload. Is written when this returns. */
  note(cursor: MirrorCursor, isWhole: boolean): void;
}

/** Half an hour of a store that does not answer. */
const TRIES = 35;
const LONGEST_PAUSE_MS = 60_000;

/**
 * One snapshot: its manifest, minus what is proved and still listed. Throws what `readManifest` throws, and
 * `ConfigurationError` where there is no repository, or the target holds somebody else's.
 */
export async function planSnapshot(
  source: CopySource,
  target: CopyTarget,
  snapshot: string,
  provedBefore: ReadonlyMap<string, MirrorProof>,
  signal: AbortSignal,
): Promise<MirrorPlan> {
  const repository = await newestRepositoryData(source.store, source.basePath, signal);
  if (repository === undefined) {
    throw new ConfigurationError('There is no snapshot repository here: name its --base-path, or copy --all', {
      subject: { store: source.store.description, basePath: source.basePath },
    });
  }
  await refuseStrangers(repository, target, signal);
  const read = (key: string) => readBytes(source.store, below(source.basePath, key), signal);
  const manifest = await readManifest(repository, snapshot, read);
  const wanted = [...manifest.blobs].sort((a, b) => compareKeys(a.key, b.key));
  const proved = withProvedFiles(provedBefore, manifest.blobs);
  const missing = new Set<ManifestBlob>();
  const there = new Set<string>();
  for await (const pairs of march(onePage(wanted), listed(target, signal))) {
    for (const { left, right } of pairs) {
      if (left === undefined) continue;
      const proof = proved.get(left.key);
      const saved = manifest.volatile.get(left.key);
      const isProved = isProvedBy(proof, left) || (saved !== undefined && proof?.crc32 === crc32(saved));
      if (isProved && right?.length === left.length && right.etag === proof?.etag) continue;
      missing.add(left);
      if (right?.length === left.length) there.add(left.key);
    }
  }
  const files = filesOf(ofWholeFiles(wanted, (blob) => missing.has(blob))).map((file): MirrorFile => {
    const blobs = blobsOf(file);
    const saved = manifest.volatile.get(blobs[0]!.key);
    return saved === undefined ? { blobs, listed: there } : { blobs, saved };
  });
  return { ...inPhases(files, amountOf(manifest.blobs)), repository };
}

/**
 * Whatever lies below the base path. A blob is held when both sides are as a run proved them, or when their etags are
 * the same MD5. Throws `ConfigurationError` when the target holds another repository than the source.
 */
export async function planWhole(
  source: CopySource,
  target: CopyTarget,
  provedBefore: ReadonlyMap<string, MirrorProof>,
  signal: AbortSignal,
): Promise<MirrorPlan> {
  const repository = await newestRepositoryData(source.store, source.basePath, signal).catch((error: unknown) => {
    // The whole prefix is for what can not be read as a repository, too.
    if (error instanceof BlobCorruptError || error instanceof ConfigurationError) return undefined;
    throw error;
  });
  if (repository !== undefined) await refuseStrangers(repository, target, signal);
  const files: MirrorFile[] = [];
  const all = { blobs: 0, bytes: 0 };
  for await (const pairs of march(listed(source, signal), listed(target, signal))) {
    for (const { left, right } of pairs) {
      if (left === undefined || isFolderMark(left, target)) continue;
      all.blobs += 1;
      all.bytes += left.length;
      if (isSame(left, right, provedBefore.get(left.key))) continue;
      const blob = { key: left.key, length: left.length, crc32: null, phase: phaseOf(left.key) ?? 'data' } as const;
      const listed = right?.length === left.length ? { listed: new Set([left.key]) } : {};
      files.push({ blobs: [blob], sourceEtag: left.etag, ...listed });
    }
  }
  return { ...inPhases(files, all), ...(repository === undefined ? {} : { repository }) };
}

/**
 * Sends what the plan says, phase by phase. What is not to be had for a while is tried again for half an hour.
 * Throws what `copyFile` throws, and `RepositoryChangedError` when a snapshot was deleted from the source meanwhile:
 * then nothing was published.
 */
export async function runMirror(
  engine: Engine,
  source: CopySource,
  target: CopyTarget,
  plan: MirrorPlan,
  run: MirrorRun,
): Promise<void> {
  const ends = { source: source.store, target: target.store };
  for (const { phase, files } of plan.phases) {
    if (phase === 'index-N') await patiently(run, () => assertStillStands(source, plan, run.signal));
    await engine.inLanes(ends, files, bytesOf, run.signal, async (file, signal) => {
      const proofs = await patiently(run, () => send(engine, source, target, file, signal, run));
      for (const [n, proof] of proofs.entries()) {
        const { sourceEtag } = file;
        const line = proofLine(proof, file.blobs[n]!);
        run.proved(sourceEtag === undefined ? line : { sourceEtag, ...line });
      }
      run.progress({ blobs: proofs.length, bytes: 0 });
    });
  }
  await patiently(run, () => abandonNotedUploads(target, run.uploads, run.signal));
}

async function send(
  engine: Engine,
  source: CopySource,
  target: CopyTarget,
  file: MirrorFile,
  signal: AbortSignal,
  run: MirrorRun,
): Promise<readonly BlobProof[]> {
  const progress = (bytes: number) => run.progress({ blobs: 0, bytes });
  if (file.saved === undefined) {
    const resume = cursorOf(file, run.uploads);
    const options = {
      signal,
      progress,
      isUnproved: file.sourceEtag !== undefined,
      ...(resume === undefined ? {} : { resume }),
      onCursor: (cursor: CopyCursor) => noteCursor(file, cursor, run.uploads),
      mayBeThere: ({ key }: ManifestBlob) => file.listed?.has(key) === true,
    };
    return copyFile(engine, source, target, file, options).catch((error: unknown) => {
      if (!(error instanceof RepositoryChangedError)) throw error;
      const { subject } = error;
      throw new RepositoryChangedError('A blob was replaced while it was copied: run it again', {
        subject,
        cause: error,
      });
    });
  }
  return [await sendSaved(engine.pace, target, file.blobs[0]!, file.saved, { signal, progress })];
}

/** Where a manifest says what the bytes are, a cursor of others does no harm; elsewhere it has to be of these. */
function cursorOf({ blobs, sourceEtag }: MirrorFile, uploads: MirrorUploads): MirrorCursor | undefined {
  const cursor = uploads.cursorOf(blobs[0]!.key);
  const isOfThese = sourceEtag === undefined || (sourceEtag !== '' && cursor?.sourceEtag === sourceEtag);
  return isOfThese ? cursor : undefined;
}

function noteCursor({ blobs, sourceEtag }: MirrorFile, cursor: CopyCursor, uploads: MirrorUploads): void {
  const length = blobs.find(({ key }) => key === cursor.key)?.length;
  const isWhole = cursor.parts.reduce((sum, part) => sum + part.length, 0) === length;
  const noted = { ...cursor, file: blobs[0]!.key };
  uploads.note(sourceEtag === undefined ? noted : { ...noted, sourceEtag }, isWhole);
}

/** There is no Temporal here: the run itself tries again, what is worth another try and as a store asks. */
async function patiently<T>(run: MirrorRun, work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof UnavailableError) || attempt === TRIES || run.signal.aborted) throw error;
      const pauseMs = error.retryAfterMs ?? Math.min(LONGEST_PAUSE_MS, 1_000 * 2 ** (attempt - 1)) * Math.random();
      run.retrying(error, pauseMs);
      await sleep(pauseMs, undefined, { signal: run.signal }).catch(() => run.signal.throwIfAborted());
    }
  }
}

/** Blobs of a deleted snapshot may have been deleted before they were read. */
async function assertStillStands(source: CopySource, { repository }: MirrorPlan, signal: AbortSignal): Promise<void> {
  if (repository === undefined) return;
  const now = await newestRepositoryData(source.store, source.basePath, signal);
  const standing = new Set(now?.snapshots.map(({ uuid }) => uuid));
  const gone = repository.snapshots.find(({ uuid }) => !standing.has(uuid));
  if (gone === undefined) return;
  throw new RepositoryChangedError(
    `Snapshot '${gone.name}' was deleted from the source while it was copied, and nothing was published: run it again`,
    { subject: { store: source.store.description, basePath: source.basePath } },
  );
}

/** A target that lists no snapshot of the source is another repository, whose blobs would be overwritten. */
async function refuseStrangers(source: RepositoryData, target: CopyTarget, signal: AbortSignal): Promise<void> {
  const there = await newestRepositoryData(target.store, target.basePath, signal);
  if (there === undefined || there.snapshots.length === 0) return;
  const subject = { store: target.store.description, basePath: target.basePath, generation: there.generation };
  const known = new Set(source.snapshots.map(({ uuid }) => uuid));
  if (!there.snapshots.some(({ uuid }) => known.has(uuid))) {
    throw new ConfigurationError(
      'The target holds another repository, none of whose snapshots is in the source: name an empty place',
      { subject },
    );
  }
  if (there.generation <= source.generation) return;
  throw new ConfigurationError(
    'The target holds a newer generation of the repository than the source: it would be undone',
    { subject: { ...subject, source: source.generation } },
  );
}

/**
 * What a console puts for a folder. That of the base path itself is not below it; where folders are real ones, there is
 * nothing to send.
 */
export function isFolderMark({ key, length }: { key: string; length: number }, { store }: CopyTarget): boolean {
  return length === 0 && (key === '' || (key.endsWith('/') && store.hasFolders === true));
}

function isSame(source: BlobInfo, target: BlobInfo | undefined, proof: MirrorProof | undefined): boolean {
  if (target?.length !== source.length) return false;
  const isMd5 = /^[0-9a-f]{32}$/i;
  if (isMd5.test(source.etag) && source.etag.toLowerCase() === target.etag.toLowerCase()) return true;
  if (proof === undefined || source.etag === '' || target.etag === '') return false;
  return proof.length === source.length && proof.sourceEtag === source.etag && proof.etag === target.etag;
}

async function* onePage<T>(items: readonly T[]): AsyncGenerator<readonly T[]> {
  yield items;
}

function inPhases(files: readonly MirrorFile[], all: Amount): Pick<MirrorPlan, 'phases' | 'send' | 'held'> {
  const send = amountOf(files.flatMap(({ blobs }) => blobs));
  const byPhase = new Map<Phase, MirrorFile[]>(PHASES.map((phase) => [phase, []]));
  for (const file of shuffled(files, ({ blobs }) => blobs[0]!.key)) byPhase.get(file.blobs[0]!.phase)!.push(file);
  return {
    phases: [...byPhase].filter(([, some]) => some.length > 0).map(([phase, some]) => ({ phase, files: some })),
    send,
    held: { blobs: all.blobs - send.blobs, bytes: all.bytes - send.bytes },
  };
}

function amountOf(blobs: readonly { readonly length: number }[]): Amount {
  return { blobs: blobs.length, bytes: blobs.reduce((sum, { length }) => sum + length, 0) };
}

function bytesOf({ blobs }: MirrorFile): number {
  return blobs.reduce((sum, { length }) => sum + length, 0);
}
