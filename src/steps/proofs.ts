import { BlobCorruptError } from '../domain/errors';
import type { WorkKeys } from '../domain/names';
import type { ManifestBlob } from '../repository';
import type { BlobProof } from '../storage';
import type { Store } from '../storage/store';
import type { Telling } from './context';
import { readJsonLines } from './files';
import { combineCrc32, footerCrc32 } from '../storage';
import { mapInParallel } from '../storage/parallel';
import { blobsOf, filesOf } from './units';

/** Proof records: one JSON line for each blob that a unit put into the target, written when the whole unit is there. */

const READS_AT_ONCE = 8;

export interface ProofLine extends BlobProof {
  /** Of a chunk: the CRC32 in the footer of the whole file. */
  readonly fileCrc32?: number;
}

export function proofLine(proof: BlobProof, blob: ManifestBlob): ProofLine {
  return blob.part === undefined ? proof : { ...proof, fileCrc32: blob.part.fileCrc32 };
}

/** Whether the proof is of these very bytes. A chunk has no checksum of its own: its file's stands for it. */
export function isProvedBy(proof: ProofLine | undefined, blob: ManifestBlob): boolean {
  if (proof?.key !== blob.key || proof.length !== blob.length) return false;
  const { fileCrc32 } = blob.part ?? {};
  if (fileCrc32 !== undefined) return proof.fileCrc32 === fileCrc32;
  if (blob.crc32 === null) return false;
  // Whoever copied it without a manifest knew nothing of a footer, but summed up the same bytes.
  return proof.footerCrc32 === blob.crc32 || proof.crc32 === footerCrc32(blob.crc32);
}

/**
 * The proofs, where those of all chunks of a file come to its checksum: they were copied without a manifest, which would
 * have told that they belong together.
 */
export function withProvedFiles<P extends ProofLine>(
  proved: ReadonlyMap<string, P>,
  blobs: readonly ManifestBlob[],
): ReadonlyMap<string, P> {
  const more = new Map<string, P>();
  for (const file of filesOf(blobs.filter(({ part }) => part !== undefined)).map(blobsOf)) {
    const { of, fileCrc32 } = file[0]!.part!;
    const proofs = file.flatMap(({ key, length }) => {
      const proof = proved.get(key);
      return proof?.length === length ? [proof] : [];
    });
    if (proofs.length !== of || proofs.every((proof) => proof.fileCrc32 === fileCrc32)) continue;
    const whole = proofs.reduce((crc, proof) => combineCrc32(crc, proof.crc32, proof.length), 0);
    if (whole !== footerCrc32(fileCrc32)) continue;
    for (const proof of proofs) more.set(proof.key, { ...proof, fileCrc32 });
  }
  return more.size === 0 ? proved : new Map([...proved, ...more]);
}

/** The proofs of all rounds and attempts before this one, the oldest first. A few files are in memory at a time. */
export async function* proofsBefore(
  store: Store,
  keys: WorkKeys,
  now: Attempt,
  context: Telling,
): AsyncGenerator<ProofLine> {
  for await (const { proof } of proofsOf(store, keys, (written) => isBefore(written, now), context)) yield proof;
}

/** The attempt at a round that wrote a proof. */
export interface Attempt {
  readonly round: number;
  readonly attempt: number;
}

/** As `proofsBefore`, of the attempts that are wanted, with who wrote each. */
export async function* proofsOf(
  store: Store,
  keys: WorkKeys,
  isWanted: (written: Attempt) => boolean,
  context: Telling,
): AsyncGenerator<{ readonly proof: ProofLine; readonly written: Attempt }> {
  const files: ProofFile[] = [];
  for await (const { key } of store.list(keys.rounds, context.signal)) {
    const file = proofFile(key, keys.rounds, store);
    if (file !== undefined && isWanted(file)) files.push(file);
  }
  files.sort((a, b) => a.round - b.round || a.attempt - b.attempt);
  for (let from = 0; from < files.length; from += READS_AT_ONCE) {
    const some = files.slice(from, from + READS_AT_ONCE);
    context.progress({ step: 'reading proofs', files: from });
    const lines = await mapInParallel(some, READS_AT_ONCE, context.signal, ({ key }, signal) =>
      readJsonLines<ProofLine>(store, key, signal),
    );
    for (const [n, proofs] of lines.entries()) {
      for (const proof of proofs) yield { proof, written: some[n]! };
    }
  }
}

interface ProofFile extends Attempt {
  readonly key: string;
}

/** Parsed, not compared as text: `a10` is after `a2`. */
function proofFile(key: string, prefix: string, store: Store): ProofFile | undefined {
  const below = key.slice(prefix.length);
  if (!below.includes('/proofs/')) return undefined;
  const match = /^(\d+)-a(\d+)\/proofs\/\d+\.jsonl$/.exec(below);
  if (match === null) {
    throw new BlobCorruptError('A file among the proofs is not one of ours: remove it', {
      subject: { store: store.description, key },
    });
  }
  return { key, round: Number(match[1]), attempt: Number(match[2]) };
}

export function isBefore(written: Attempt, now: Attempt): boolean {
  return written.round < now.round || (written.round === now.round && written.attempt < now.attempt);
}
