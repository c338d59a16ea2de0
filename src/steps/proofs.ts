import { BlobCorruptError } from '../domain/errors';
import type { WorkKeys } from '../domain/names';
import type { ManifestBlob } from '../repository';
import type { BlobProof } from '../storage';
import type { Store } from '../storage/store';
import type { Telling } from './context';
import { readJsonLines } from './files';
import { mapInParallel } from '../storage/parallel';

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
  return blob.crc32 !== null && proof.footerCrc32 === blob.crc32;
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
