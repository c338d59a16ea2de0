import { createHash } from 'node:crypto';
import {
  appendFileSync,
  createWriteStream,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { homedir, hostname } from 'node:os';
import path from 'node:path';
import { finished } from 'node:stream/promises';
import { ConfigurationError } from '../domain/errors';
import type { CopySource, CopyTarget } from '../storage';
import type { MirrorCursor, MirrorProof } from '../steps/mirror';
import type { UploadNotes } from '../steps/uploads';

/** About a hundred proofs of small blobs, which a killed run may lose: those are sent again. Larger ones are noted at once. */
const EVIDENCE_CHARACTERS = 30_000;
const WORTH_NOTING_BYTES = 1024 * 1024;

/** Another host's process can not be looked at. */
const HELD_ELSEWHERE_MS = 24 * 3_600_000;

/** A line of the file that is no proof: how far an upload in parts is, and which run holds it. */
interface UploadLine {
  readonly upload: MirrorCursor;
  readonly host: string;
  readonly pid: number;
  /** Epoch milliseconds. */
  readonly at: number;
}

/** One file for each pair of places, below the folder where programs of this user keep their state. */
export function evidenceFileOf(
  source: CopySource,
  target: CopyTarget,
  env: Readonly<Record<string, string | undefined>>,
) {
  const state = env['XDG_STATE_HOME'] ?? path.join(homedir(), '.local', 'state');
  const places = [source, target].map(({ store, basePath }) => `${store.description}\n${basePath}`).join('\n');
  const id = createHash('sha256').update(places).digest('hex').slice(0, 16);
  return path.join(state, 'snapferry', 'copies', `${id}.jsonl`);
}

/**
 * What earlier runs proved, one JSON line for each blob, and the uploads that they began; the last line of a key counts.
 * Not in the target, which is to hold nothing but the copy. Without it everything is right and more is sent.
 */
export class EvidenceFile implements UploadNotes {
  readonly #proofs = new Map<string, MirrorProof>();
  /** Keys of what this run has proved: a proof is on disk, and there may be millions. */
  readonly #proved = new Set<string>();
  /** By the file's first blob. */
  readonly #cursors = new Map<string, MirrorCursor>();
  /** By upload id: those that no proof followed. */
  readonly #uploads = new Map<string, UploadLine>();
  /** Whether the file says nothing twice, nor anything that can not be read. */
  #isTidy = false;
  #heldByOthers: ReadonlySet<string> | undefined;
  #stream: ReturnType<typeof createWriteStream> | undefined;
  #lines = '';
  #failure: NodeJS.ErrnoException | undefined;

  constructor(private readonly file: string) {}

  read(): ReadonlyMap<string, MirrorProof> {
    if (!existsSync(this.file)) return this.#proofs;
    const lines = readFileSync(this.file, 'utf8').split('\n');
    for (const line of lines) {
      const noted = parsed(line);
      if (noted === undefined) continue;
      if ('upload' in noted) this.#remember(noted);
      else {
        this.#proofs.set(noted.key, noted);
        this.#forget(noted.key);
      }
    }
    this.#isTidy = lines.length === this.#proofs.size + this.#uploads.size + 1 && lines.at(-1) === '';
    return this.#proofs;
  }

  #remember(line: UploadLine): void {
    const { upload } = line;
    this.#cursors.set(upload.file, upload);
    if (upload.uploadId !== '') this.#uploads.set(upload.uploadId, line);
  }

  #forget(key: string): void {
    this.#cursors.delete(key);
    for (const [id, { upload }] of this.#uploads) if (upload.key === key) this.#uploads.delete(id);
  }

  /**
   * Rewrites the file without what later lines replaced, if any, and goes on behind. Throws ConfigurationError where
   * nothing can be written. `unnoted` is called once when that shows later: the copy goes on, and what is not noted is
   * sent again.
   */
  open(unnoted: (error: ConfigurationError) => void): void {
    const own = `${this.file}.${process.pid}`; // another copy of the same pair may begin at the same moment
    try {
      if (this.#isTidy) appendFileSync(this.file, '');
      else this.#tidyUp(own);
    } catch (error) {
      if (existsSync(own)) rmSync(own);
      throw this.#cannotNote(error as NodeJS.ErrnoException);
    }
    this.#stream = createWriteStream(this.file, { flags: 'a' });
    this.#stream.once('error', (error) => unnoted(this.#cannotNote((this.#failure = error))));
  }

  #tidyUp(own: string): void {
    mkdirSync(path.dirname(this.file), { recursive: true });
    const lines = [...this.#proofs.values(), ...this.#uploads.values()].map((line) => `${JSON.stringify(line)}\n`);
    writeFileSync(own, lines.join(''));
    renameSync(own, this.file);
  }

  #cannotNote(error: NodeJS.ErrnoException): ConfigurationError {
    return new ConfigurationError(
      'What is proved can not be noted: make room or give the permission, or set XDG_STATE_HOME to another folder',
      { subject: { file: this.file, code: error.code }, cause: error },
    );
  }

  cursorOf(file: string): MirrorCursor | undefined {
    return this.#cursors.get(file);
  }

  /**
   * Noted are an upload that is begun, and one that has all its parts: the latter before the store is told so, because
   * nothing else knows afterwards what the blob was made of. What lies between, the store tells.
   */
  note(upload: MirrorCursor, isWhole: boolean): void {
    const isNew = upload.uploadId === '' || !this.#uploads.has(upload.uploadId);
    const line: UploadLine = { upload, host: hostname(), pid: process.pid, at: Date.now() };
    this.#remember(line);
    if (!isNew && !isWhole) return;
    try {
      if (this.#stream !== undefined) appendFileSync(this.file, `${JSON.stringify(line)}\n`);
    } catch {
      // The stream tells of it, too; a killed run then sends more again.
    }
  }

  begun(): readonly { readonly key: string; readonly uploadId: string }[] {
    return [...this.#uploads.values()].map(({ upload }) => upload);
  }

  isProved(key: string): boolean {
    return this.#proved.has(key) || this.#proofs.has(key);
  }

  isHeldByOther(uploadId: string): boolean {
    if (this.#heldByOthers === undefined) {
      const others = new EvidenceFile(this.file);
      others.read();
      const held = [...others.#uploads.values()].filter(isOfAnother).map(({ upload }) => upload.uploadId);
      this.#heldByOthers = new Set(held);
    }
    return this.#heldByOthers.has(uploadId);
  }

  add(proof: MirrorProof): void {
    this.#proved.add(proof.key);
    const completed = this.#cursors.get(proof.key);
    if (completed !== undefined) this.#uploads.delete(completed.uploadId);
    this.#cursors.delete(proof.key);
    this.#lines += `${JSON.stringify(proof)}\n`;
    if (proof.length > WORTH_NOTING_BYTES || this.#lines.length > EVIDENCE_CHARACTERS) this.#flush();
  }

  #flush(): void {
    if (this.#failure === undefined) this.#stream?.write(this.#lines);
    this.#lines = '';
  }

  /** What could not be noted was told before. */
  async close(): Promise<void> {
    this.#flush();
    if (this.#stream === undefined) return;
    this.#stream.end();
    await finished(this.#stream).catch(() => undefined);
  }
}

/** Whether a run holds it that is not this one, and is alive. */
function isOfAnother({ host, pid, at }: UploadLine): boolean {
  if (host !== hostname()) return Date.now() - at < HELD_ELSEWHERE_MS;
  if (pid === process.pid) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** The last line of a killed run may be half of one. */
function parsed(line: string): MirrorProof | UploadLine | undefined {
  if (line === '') return undefined;
  try {
    const noted = JSON.parse(line) as Partial<MirrorProof & UploadLine> | null;
    if (typeof noted?.upload?.uploadId === 'string' && Array.isArray(noted.upload.parts)) return noted as UploadLine;
    return typeof noted?.key === 'string' ? (noted as MirrorProof) : undefined;
  } catch {
    return undefined;
  }
}
