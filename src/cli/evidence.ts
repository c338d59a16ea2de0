import { createHash } from 'node:crypto';
import { createWriteStream, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
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

  constructor(private readonly file: string) {}

  read(): ReadonlyMap<string, MirrorProof> {
    if (!existsSync(this.file)) return this.#proofs;
    for (const line of readFileSync(this.file, 'utf8').split('\n')) {
      const proof = parsed(line);
      if (proof !== undefined) this.#proofs.set(proof.key, proof);
    }
    return this.#proofs;
  }

  /** Rewrites the file without what later lines replaced, and goes on behind. */
  open(): void {
    mkdirSync(path.dirname(this.file), { recursive: true });
    const lines = [...this.#proofs.values()].map((proof) => `${JSON.stringify(proof)}\n`);
    writeFileSync(`${this.file}.new`, lines.join(''));
    renameSync(`${this.file}.new`, this.file);
    this.#stream = createWriteStream(this.file, { flags: 'a' });
  }

  add(proof: MirrorProof): void {
    this.#lines += `${JSON.stringify(proof)}\n`;
    if (proof.length > WORTH_NOTING_BYTES || this.#lines.length > EVIDENCE_CHARACTERS) this.#flush();
  }

  #flush(): void {
    this.#stream?.write(this.#lines);
    this.#lines = '';
  }

  close(): Promise<void> {
    this.#flush();
    return new Promise((resolve, reject) => {
      this.#stream?.once('error', reject);
      this.#stream?.end(resolve);
    });
  }
}

/** The last line of a killed run may be half of one. */
function parsed(line: string): MirrorProof | undefined {
  if (line === '') return undefined;
  try {
    return JSON.parse(line) as MirrorProof;
  } catch {
    return undefined;
  }
}
