import { createHash } from 'node:crypto';
import { below } from '../domain/names';
import type { WorkKeys } from '../domain/names';
import { inParallel, listedUploads, payload } from '../storage';
import type { CopyTarget, Store } from '../storage';
import { requireJson } from './files';

/**
 * Uploads in parts that nobody goes on with: their parts cost storage and no listing shows them. Where a store lists
 * them they are found there; where it does not, each one's id lies in the work prefix before its first part is sent.
 */

interface NotedUpload {
  readonly key: string;
  readonly uploadId: string;
}

/** What is needed of a migration. */
export interface UploadsOf {
  readonly targetStore: Store;
  readonly keys: WorkKeys;
  readonly plan: { readonly repository: { readonly target: { readonly basePath: string } } };
}

const AT_ONCE = 16;

/**
 * What is known of uploads to a place that is not ours alone: another copy may be sending to it. Keys are relative to
 * the base path.
 */
export interface UploadNotes {
  /** By this run and earlier ones, of this machine, and not completed as far as they know. */
  begun(): readonly NotedUpload[];
  /** Whether a run that is alive, and not this one, began it. */
  isHeldByOther(uploadId: string): boolean;
  /** Whether the blob is there: nobody needs another upload of it. */
  isProved(key: string): boolean;
}

/** Writes down an upload that the store will not list. A crash right before this leaves one that nobody knows. */
export async function noteUpload({ targetStore, keys }: UploadsOf, upload: NotedUpload, signal: AbortSignal) {
  const name = createHash('sha256').update(`${upload.key}\n${upload.uploadId}`).digest('hex').slice(0, 32);
  await targetStore.write(keys.upload(name), payload(Buffer.from(JSON.stringify(upload))), {}, signal);
}

/**
 * Aborts every unfinished upload below the target's base path, which is ours alone; others are never touched. For
 * moments at which no transfer is in flight: a late one would begin its upload again. `mayAct` is called before each
 * abort and throws when this attempt is too old. False where the store lists none and only the noted ones are known.
 */
export async function abandonUploads(migration: UploadsOf, mayAct: () => void, signal: AbortSignal): Promise<boolean> {
  const { targetStore, keys, plan } = migration;
  const target = { store: targetStore, basePath: plan.repository.target.basePath };
  if (await abandonListedUploads(target, mayAct, signal)) return true;
  const notes: string[] = [];
  for await (const { key } of targetStore.list(keys.uploads, signal)) notes.push(key);
  await inParallel(notes, AT_ONCE, signal, async (note, either) => {
    await abort(target, await requireJson<NotedUpload>(targetStore, note, either), mayAct, either);
    await targetStore.delete(note, either);
  });
  return false;
}

/**
 * Aborts uploads to a place that others may write to, too: those that are noted as ours, and those of blobs that are
 * proved to be there. Never one that a living run holds, nor one of which nothing is known.
 */
export async function abandonNotedUploads(target: CopyTarget, notes: UploadNotes, signal: AbortSignal): Promise<void> {
  const prefix = below(target.basePath, '');
  const begun = notes.begun().map(({ key, uploadId }) => ({ key: `${prefix}${key}`, uploadId }));
  const ours = new Set(begun.map(({ uploadId }) => uploadId));
  const listed = await listedUploads(target.store, prefix, signal);
  const isOver = ({ key, uploadId }: NotedUpload) => ours.has(uploadId) || notes.isProved(key.slice(prefix.length));
  const over = (listed?.filter(isOver) ?? begun).filter(({ uploadId }) => !notes.isHeldByOther(uploadId));
  await inParallel(over, AT_ONCE, signal, (upload, either) => abort(target, upload, () => undefined, either));
  await target.store.uploads.sweep?.(signal);
}

/** As `abandonUploads`, of those that the store lists, and what is left of single blobs. False where it lists none. */
async function abandonListedUploads(target: CopyTarget, mayAct: () => void, signal: AbortSignal): Promise<boolean> {
  const listed = await listedUploads(target.store, below(target.basePath, ''), signal);
  await inParallel(listed ?? [], AT_ONCE, signal, (upload, either) => abort(target, upload, mayAct, either));
  mayAct();
  await target.store.uploads.sweep?.(signal);
  return listed !== undefined;
}

async function abort(
  { store, basePath }: CopyTarget,
  { key, uploadId }: NotedUpload,
  mayAct: () => void,
  signal: AbortSignal,
): Promise<void> {
  if (!key.startsWith(below(basePath, ''))) return;
  mayAct();
  await store.uploads.abort(key, uploadId, signal);
}
