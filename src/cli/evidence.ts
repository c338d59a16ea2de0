import { createHash } from 'node:crypto';
import { createWriteStream, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import { finished } from 'node:stream/promises';
import { ConfigurationError } from '../domain/errors';
import type { CopySource, CopyTarget } from '../storage';
import type { MirrorProof } from '../steps/mirror';

/** About a hundred proofs of small blobs, which a killed run may lose: those are sent again. Larger ones are noted at once. */
const EVIDENCE_CHARACTERS = 30_000;
const WORTH_NOTING_BYTES = 1024 * 1024;

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
 * What earlier runs proved, one JSON line for each blob; the last one of a key counts. Not in the target, which is to
 * hold nothing but the copy. Without it everything is right and more is sent.
 */
export class EvidenceFile {
  readonly #proofs = new Map<string, MirrorProof>();
  #stream: ReturnType<typeof createWriteStream> | undefined;
  #lines = '';
  #failure: NodeJS.ErrnoException | undefined;

  constructor(private readonly file: string) {}

  read(): ReadonlyMap<string, MirrorProof> {
    if (!existsSync(this.file)) return this.#proofs;
    for (const line of readFileSync(this.file, 'utf8').split('\n')) {
      const proof = parsed(line);
      if (proof !== undefined) this.#proofs.set(proof.key, proof);
    }
    return this.#proofs;
  }

  /**
   * Rewrites the file without what later lines replaced, and goes on behind. Throws ConfigurationError where nothing can
   * be written. `unnoted` is called once when that shows later: the copy goes on, and what is not noted is sent again.
   */
  open(unnoted: (error: ConfigurationError) => void): void {
    const own = `${this.file}.${process.pid}`; // another copy of the same pair may begin at the same moment
    try {
      mkdirSync(path.dirname(this.file), { recursive: true });
      const lines = [...this.#proofs.values()].map((proof) => `${JSON.stringify(proof)}\n`);
      writeFileSync(own, lines.join(''));
      renameSync(own, this.file);
    } catch (error) {
      if (existsSync(own)) rmSync(own);
      throw this.#cannotNote(error as NodeJS.ErrnoException);
    }
    this.#stream = createWriteStream(this.file, { flags: 'a' });
    this.#stream.once('error', (error) => unnoted(this.#cannotNote((this.#failure = error))));
  }

  #cannotNote(error: NodeJS.ErrnoException): ConfigurationError {
    return new ConfigurationError(
      'What is proved can not be noted: make room or give the permission, or set XDG_STATE_HOME to another folder',
      { subject: { file: this.file, code: error.code }, cause: error },
    );
  }

  add(proof: MirrorProof): void {
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

/** The last line of a killed run may be half of one. */
function parsed(line: string): MirrorProof | undefined {
  if (line === '') return undefined;
  try {
    const proof = JSON.parse(line) as MirrorProof | null;
    return typeof proof?.key === 'string' ? proof : undefined;
  } catch {
    return undefined;
  }
}
