/**
 * Is the target still whole? Each blob that somebody expects there is looked for, and what is there and expected by
 * nobody is named. Nothing is written. A blob is whole by a checksum, or it is said that only its length is known.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { UnavailableError } from '../domain/errors';
import { below } from '../domain/names';
import type { Phase } from '../repository';
import { combineCrc32, inTurn, listed, march, readCrc32, showCrc32 } from '../storage';
import type { BlobChecksums, BlobInfo, CopySource, CopyTarget, Engine, Pages, Pair } from '../storage';

/** What the target is to hold under one key. */
export interface ExpectedBlob {
  /** Relative to the base path. */
  readonly key: string;
  readonly length: number;
  /** Of metadata, which is small, the bytes are read where the store does not tell their checksum. */
  readonly phase: Phase;
  /** As in a `WriteReceipt`, of the whole blob; at most one of each kind. */
  readonly checksums: readonly string[];
  /** A chunk without a checksum of its own: the CRC32 of the whole file holds over all of them, in order. */
  readonly chunk?: { readonly file: string; readonly number: number; readonly of: number; readonly fileCrc32: number };
  /** In the source's listing, where one was read. */
  readonly sourceEtag?: string;
  /** Of the target, when the blob was proved. */
  readonly provedEtag?: string;
}

export interface AuditSubject {
  readonly target: CopyTarget;
  /** Asked for what nothing else says; undefined where only evidence is left. */
  readonly source?: CopySource;
  /** Ascending by key. */
  readonly expected: Pages<ExpectedBlob>;
  /** Whose newest `index-N` is expected. */
  readonly generation?: number;
  /** True for a key that nobody expects but that has its place there: another snapshot's, or a work file. */
  readonly isKnown: (key: string) => boolean;
}

/** `rclone check --combined`'s signs: whole, differs, missing at the target, belongs to nothing, could not be read. */
export type AuditSign = '=' | '*' | '-' | '+' | '!';

/**
 * How a blob is known to be whole: by the checksum that the store has of it, by its etag, which is that of when it was
 * proved, by its bytes, or hardly: only its length was seen.
 */
export type AuditProof = 'crc32' | 'crc64' | 'md5' | 'etag' | 'bytes' | 'length';

export interface AuditLine {
  readonly sign: AuditSign;
  readonly key: string;
  /** Bytes in the target; what is expected of a blob that is not there. */
  readonly length: number;
  /** Of a whole blob. */
  readonly proof?: AuditProof;
  /** Of any other. */
  readonly why?: string;
}

export interface AuditOptions {
  /** Read every byte of the target. Otherwise what the stores say is compared. */
  readonly deep: boolean;
  readonly signal: AbortSignal;
}

/** Under way or waiting for their turn to be told; the engine decides how many requests are in flight. */
const AT_ONCE = 256;
/** A store that does not answer for a few seconds is no finding; one that does not for longer is. */
const PAUSES_MS = [1_000, 4_000, 10_000];

/**
 * One line for each blob, ascending by key. Memory is bounded, however many there are. A blob that can not be read is a
 * line; throws only when a listing fails, or what is expected can not be found out.
 */
export async function* audit(
  engine: Engine,
  subject: AuditSubject,
  { deep, signal }: AuditOptions,
): AsyncGenerator<AuditLine> {
  const pairs = march(subject.expected, listed(subject.target, signal));
  const inspection = new Inspection(engine, subject, deep);
  yield* flat(inTurn(files(flat(pairs)), AT_ONCE, signal, (file, either) => inspection.lines(file, either)));
}

type BlobPair = Pair<ExpectedBlob, BlobInfo>;
type ExpectedPair = BlobPair & { readonly left: ExpectedBlob };
type HeldPair = ExpectedPair & { readonly right: BlobInfo };

/** What was found out about a blob of the right length. */
type Finding = Pick<AuditLine, 'sign' | 'proof' | 'why'>;

class Inspection {
  constructor(
    private readonly engine: Engine,
    private readonly subject: AuditSubject,
    private readonly deep: boolean,
  ) {}

  /** Of one blob, or of all chunks of a file. */
  async lines(file: readonly BlobPair[], signal: AbortSignal): Promise<AuditLine[]> {
    const [first] = file as readonly [BlobPair];
    if (first.left?.chunk === undefined) return [await this.#line(first, signal)].flat();
    return this.#chunks(file as readonly ExpectedPair[], signal);
  }

  async #line(pair: BlobPair, signal: AbortSignal): Promise<AuditLine | []> {
    if (!isExpected(pair)) return this.#surplus(pair.right!);
    if (!isHeld(pair)) return missing(pair);
    if (pair.left.length !== pair.right.length) return lineOf(pair, wrongLength(pair));
    return lineOf(pair, await found(signal, () => this.#compare(pair, signal)));
  }

  #surplus({ key, length }: BlobInfo): AuditLine | [] {
    const generation = /^index-(\d+)$/.exec(key)?.[1];
    const expected = this.subject.generation;
    if (generation !== undefined && expected !== undefined && Number(generation) > expected) {
      const why = `generation ${generation} is newer than the expected ${expected}: readers follow it`;
      return { sign: '*', key, length, why };
    }
    if (this.subject.isKnown(key)) return [];
    return { sign: '+', key, length, why: generation === undefined ? 'belongs to nothing' : 'of another generation' };
  }

  async #compare({ left, right }: HeldPair, signal: AbortSignal): Promise<Finding> {
    if (this.deep) return this.#compareBytes(left, right, signal);
    if (isSameMd5(left.sourceEtag, right.etag)) return { sign: '=', proof: 'md5' };
    const told = await this.#told(right, signal);
    if (told === undefined) return { sign: '-', why: 'vanished while the audit ran' };
    if (told.length !== left.length) return { sign: '*', why: lengths(left.length, told.length) };
    const finding = compared(left.checksums, told.checksums) ?? (await this.#compareToSource(left, told, signal));
    if (finding !== undefined) return finding;
    if (told.etag !== '' && told.etag === left.provedEtag) return { sign: '=', proof: 'etag' };
    return left.phase === 'data' ? { sign: '=', proof: 'length' } : this.#compareBytes(left, right, signal);
  }

  /** What the stores themselves say of both sides; undefined where they have no kind of checksum in common. */
  async #compareToSource(
    { key }: ExpectedBlob,
    { checksums, etag }: BlobChecksums,
    signal: AbortSignal,
  ): Promise<Finding | undefined> {
    const { source } = this.subject;
    if (source?.store.checksums === undefined || checksums.length === 0) return undefined;
    const { store, basePath } = source;
    const said = await this.#ask(source, () => store.checksums!(below(basePath, key), signal), signal);
    if (said === undefined) return undefined;
    const sameMd5: Finding | undefined = isSameMd5(said.etag, etag) ? { sign: '=', proof: 'md5' } : undefined;
    return compared(said.checksums, checksums) ?? sameMd5;
  }

  async #compareBytes(expected: ExpectedBlob, held: BlobInfo, signal: AbortSignal): Promise<Finding> {
    const { target } = this.subject;
    const actual = await this.#read(target, held, signal);
    const wanted = crc32In(expected.checksums) ?? (await this.#readSource(expected, signal));
    if (wanted === undefined) return { sign: '!', why: 'nothing says what its bytes should be' };
    return compared([showCrc32(wanted)], [showCrc32(actual)], 'bytes')!;
  }

  /** Undefined where there is no source, or it has no such blob any more. */
  async #readSource({ key, length, sourceEtag }: ExpectedBlob, signal: AbortSignal): Promise<number | undefined> {
    const { source } = this.subject;
    if (source === undefined) return undefined;
    const { store, basePath } = source;
    if (sourceEtag !== undefined) return this.#read(source, { key, length, etag: sourceEtag }, signal);
    const info = await store.head(below(basePath, key), signal);
    return info?.length === length ? this.#read(source, { ...info, key }, signal) : undefined;
  }

  /**
   * Chunks carry no checksum in the manifest. Where a store tells theirs, or their bytes are read, they are combined
   * to that of the file; one that is missing leaves the others without proof.
   */
  async #chunks(file: readonly ExpectedPair[], signal: AbortSignal): Promise<AuditLine[]> {
    const all: (AuditLine | HeldPair)[] = file.map((pair) => {
      if (!isHeld(pair)) return missing(pair);
      return pair.left.length === pair.right.length ? pair : lineOf(pair, wrongLength(pair));
    });
    const whole = all.filter((one): one is HeldPair => 'left' in one);
    const isComplete = whole.length === file[0]!.left.chunk!.of;
    const together = isComplete ? await found(signal, () => this.#compareChunks(whole, signal)) : undefined;
    return Promise.all(
      all.map(async (one) => {
        if (!('left' in one)) return one;
        return lineOf(one, together ?? (await found(signal, () => this.#alone(one, signal))));
      }),
    );
  }

  async #compareChunks(chunks: readonly HeldPair[], signal: AbortSignal): Promise<Finding | undefined> {
    const inOrder = [...chunks].sort((a, b) => a.left.chunk!.number - b.left.chunk!.number);
    let whole = 0;
    for (const { right } of inOrder) {
      const crc = this.deep
        ? await this.#read(this.subject.target, right, signal)
        : crc32In((await this.#told(right, signal))?.checksums ?? []);
      if (crc === undefined) return undefined;
      whole = combineCrc32(whole, crc, right.length);
    }
    const { file, fileCrc32 } = inOrder[0]!.left.chunk!;
    const proof = this.deep ? 'bytes' : 'crc32';
    const finding = compared([showCrc32(fileCrc32)], [showCrc32(whole)], proof)!;
    return finding.why === undefined ? finding : { ...finding, why: `the chunks of ${file} together: ${finding.why}` };
  }

  /** A chunk of which the file's checksum can not be asked. */
  async #alone(pair: HeldPair, signal: AbortSignal): Promise<Finding> {
    if (!this.deep) return this.#compare(pair, signal);
    const { target, source } = this.subject;
    const wanted = source && (await this.#readSource(pair.left, signal));
    if (wanted === undefined) return { sign: '=', proof: 'length' };
    return compared([showCrc32(wanted)], [showCrc32(await this.#read(target, pair.right, signal))], 'bytes')!;
  }

  /** A store that says nothing has been heard by its listing. */
  async #told(held: BlobInfo, signal: AbortSignal): Promise<BlobChecksums | undefined> {
    const { target } = this.subject;
    if (target.store.checksums === undefined) return { ...held, checksums: [] };
    const key = below(target.basePath, held.key);
    return this.#ask(target, () => target.store.checksums!(key, signal), signal);
  }

  #ask<T>({ store }: CopySource, request: () => Promise<T>, signal: AbortSignal): Promise<T> {
    return this.engine.gate(store, 'source', 'small').run(1, signal, request);
  }

  #read({ store, basePath }: CopySource, blob: BlobInfo, signal: AbortSignal): Promise<number> {
    return readCrc32(this.engine, store, { ...blob, key: below(basePath, blob.key) }, signal);
  }
}

/** By the kinds that both know; undefined where there are none. One that differs outweighs any that agree. */
function compared(wanted: readonly string[], held: readonly string[], proof?: AuditProof): Finding | undefined {
  const common = wanted.flatMap((expected) => {
    const actual = held.find((checksum) => kindOf(checksum) === kindOf(expected));
    return actual === undefined ? [] : [{ expected, actual }];
  });
  const wrong = common.find(({ expected, actual }) => expected !== actual);
  if (wrong !== undefined) return { sign: '*', why: `expected ${wrong.expected}, holds ${wrong.actual}` };
  const [first] = common;
  return first && { sign: '=', proof: proof ?? kindOf(first.expected) };
}

function kindOf(checksum: string): AuditProof {
  return checksum.slice(0, checksum.indexOf(':')) as AuditProof;
}

function crc32In(checksums: readonly string[]): number | undefined {
  const shown = checksums.find((checksum) => kindOf(checksum) === 'crc32');
  return shown === undefined ? undefined : Number.parseInt(shown.slice('crc32:'.length), 16);
}

/** Two such etags of blobs of one length agree by their bytes, or by a chance that there is not. */
function isSameMd5(source: string | undefined, target: string): boolean {
  return source !== undefined && /^[0-9a-f]{32}$/i.test(source) && source.toLowerCase() === target.toLowerCase();
}

function isExpected(pair: BlobPair): pair is ExpectedPair {
  return pair.left !== undefined;
}

function isHeld(pair: ExpectedPair): pair is HeldPair {
  return pair.right !== undefined;
}

function missing({ left }: ExpectedPair): AuditLine {
  return { sign: '-', key: left.key, length: left.length, why: 'not in the target' };
}

function wrongLength({ left, right }: HeldPair): Finding {
  return { sign: '*', why: lengths(left.length, right.length) };
}

function lengths(expected: number, actual: number): string {
  return `expected ${expected} bytes, holds ${actual}`;
}

function lineOf({ key, right }: HeldPair, finding: Finding): AuditLine {
  return { key, length: right.length, ...finding };
}

/** What fails is asked again for a few seconds; then that is what was found, and the audit goes on. */
async function found<T extends Finding | undefined>(signal: AbortSignal, work: () => Promise<T>): Promise<T | Finding> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await work();
    } catch (error) {
      signal.throwIfAborted();
      const pauseMs = PAUSES_MS[attempt];
      if (!(error instanceof UnavailableError) || pauseMs === undefined) {
        return { sign: '!', why: error instanceof Error ? error.message : String(error) };
      }
      await sleep(Math.max(error.retryAfterMs ?? 0, pauseMs), undefined, { signal });
    }
  }
}

/** Chunks of one file follow one another in any listing: their keys differ in their last digits only. */
async function* files(pairs: AsyncIterable<BlobPair>): AsyncGenerator<readonly BlobPair[]> {
  let chunks: BlobPair[] = [];
  for await (const pair of pairs) {
    if (chunks.length > 0 && fileOf(chunks[0]!) !== fileOf(pair)) {
      // A key between them that nobody expects (`__0.part1x`) would tear them apart, so it is told before.
      if (pair.left === undefined && pair.key.startsWith(fileOf(chunks[0]!)!)) {
        yield [pair];
        continue;
      }
      yield chunks;
      chunks = [];
    }
    if (fileOf(pair) === undefined) yield [pair];
    else chunks.push(pair);
  }
  if (chunks.length > 0) yield chunks;
}

function fileOf({ key, left }: BlobPair): string | undefined {
  return left?.chunk === undefined ? undefined : `${key.slice(0, key.lastIndexOf('/') + 1)}${left.chunk.file}.part`;
}

async function* flat<T>(batches: AsyncIterable<readonly T[]>): AsyncGenerator<T> {
  for await (const batch of batches) yield* batch;
}
