/**
 * Requests to an object store, S3's or OSS's: signed anew for every try, repeated briefly where that may help, and
 * every failure made one of the family by the vendor's table. The two differ in signatures, headers and errors only.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { RepositoryChangedError, UnavailableError } from '../domain/errors';
import type { MigrationError, Subject } from '../domain/errors';
import { memoryFor } from './memory';
import type { Payload } from './payload';
import type { ReadOptions, ReadReceipt } from './store';
import { TransportError } from './transport';
import type { HttpReply, HttpRequest, Transport } from './transport';

/** Before it is signed. */
export interface UnsignedRequest {
  readonly method: HttpRequest['method'];
  /** Empty for the bucket itself. */
  readonly key: string;
  /** An empty value is a flag, such as `uploads`. */
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Payload;
}

/** What stores of one kind have of their own. */
export interface Vendor {
  /** `s3://bucket`. */
  readonly description: string;
  /** Asks for credentials and reads the clock at every call: a repeated request is signed anew. */
  sign(request: UnsignedRequest): HttpRequest | Promise<HttpRequest>;
  /** An answer that is no success, or none at all. Secrets in it never get into the error. */
  errorOf(failure: HttpReply | TransportError, subject: Subject): MigrationError;
  /** Whether the answer asks to be left alone for a while (429, 503 and their like). */
  isThrottle(reply: HttpReply): boolean;
  /** Whether another try may help: not for what the operator must mend. */
  mayPass(reply: HttpReply): boolean;
}

export interface Asking {
  readonly signal: AbortSignal;
  /** For the error: `key`, `uploadId`, `part`. */
  readonly about: Subject;
  /** Memory for the body of a success, as in `Transport.send`. */
  readonly into?: (length: number, headers: Readonly<Record<string, string>>) => readonly Buffer[];
}

/** What was read, with the headers of the first answer of which bytes were kept. */
export interface Answered extends ReadReceipt {
  readonly headers: Readonly<Record<string, string>>;
}

/** One request and two more tries. Whoever calls decides about everything beyond. */
const TRIES = 3;
const FIRST_PAUSE_MS = 200;

export class Requests {
  #throttled = 0;

  constructor(
    private readonly transport: Transport,
    private readonly vendor: Vendor,
  ) {}

  /** Answers so far that asked to slow down, those included that a second try got past. */
  get throttled(): number {
    return this.#throttled;
  }

  /** A success, 2xx. Throws what the vendor's table says, the signal's reason, or what `into` threw. */
  async send(request: UnsignedRequest, asking: Asking): Promise<HttpReply> {
    for (let attempt = 1; ; attempt += 1) {
      const failure = await this.#once(request, asking);
      if ('status' in failure && failure.status >= 200 && failure.status < 300) return failure;
      const throttled = 'status' in failure && this.vendor.isThrottle(failure);
      if (throttled) this.#throttled += 1;
      const mayPass = 'status' in failure ? throttled || this.vendor.mayPass(failure) : true;
      if (!mayPass || attempt === TRIES) throw this.vendor.errorOf(failure, this.#subject(asking));
      await pause(attempt, asking.signal);
    }
  }

  /**
   * The bytes of a blob. A body that breaks off is asked for from where it broke, as long as the blob is the same: what
   * is in memory stays there. `headers` are the vendor's own.
   */
  async read(
    key: string,
    options: ReadOptions,
    asking: Pick<Asking, 'signal'>,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Answered> {
    if (options.length === 0) return { buffers: [], etag: options.ifMatch ?? '', headers: {} };
    const reading = new Reading(key, options, this.vendor.description);
    const about = { key };
    for (let attempt = 1; ; attempt += 1) {
      const request = { method: 'GET', key, headers: reading.headers(headers) } as const;
      const into = (length: number, answer: Readonly<Record<string, string>>) => reading.memory(length, answer);
      const { received } = reading;
      const reply = await this.#once(request, { signal: asking.signal, about, into });
      if ('status' in reply && reply.status >= 200 && reply.status < 300) {
        // A body without a length could end anywhere and look whole.
        if (reading.isWhole()) return reading.receipt();
      } else if ('status' in reply) {
        const throttled = this.vendor.isThrottle(reply);
        if (throttled) this.#throttled += 1;
        if (!(throttled || this.vendor.mayPass(reply)) || attempt >= TRIES) {
          throw this.vendor.errorOf(reply, this.#subject({ about }));
        }
      } else {
        reading.broke(reply.received);
        // A blob that moves on, however slowly, is not given up.
        if (reading.received > received) attempt = 0;
      }
      if (attempt >= TRIES) {
        throw 'status' in reply ? reading.endedEarly() : this.vendor.errorOf(reply, this.#subject({ about }));
      }
      await pause(Math.max(1, attempt), asking.signal);
    }
  }

  async #once(request: UnsignedRequest, { signal, into }: Asking): Promise<HttpReply | TransportError> {
    const signing = this.vendor.sign(request);
    const signed = signing instanceof Promise ? await signing : signing;
    signal.throwIfAborted();
    try {
      return await this.transport.send(signed, into === undefined ? { signal } : { signal, into });
    } catch (error) {
      if (error instanceof TransportError && !signal.aborted) return error;
      throw error;
    }
  }

  #subject({ about }: Pick<Asking, 'about'>): Subject {
    return { store: this.vendor.description, ...about };
  }
}

/** Full jitter: those who were refused together do not come back together. */
function pause(attempt: number, signal: AbortSignal): Promise<void> {
  return sleep(Math.random() * FIRST_PAUSE_MS * 2 ** (attempt - 1), undefined, { signal }).catch(() => {
    throw signal.reason;
  });
}

/** How far the bytes of one blob have come, over all the answers that bring them. */
class Reading {
  /** Of the first answer of which bytes were kept. */
  #buffers: readonly Buffer[] | undefined;
  #etag = '';
  #headers: Readonly<Record<string, string>> = {};
  /** Whether the last try found its bytes on the way; an answer without a length does not count as one. */
  #isAnswered = false;
  /** How much of the memory is filled by answers that have ended. */
  received = 0;
  /** Of the whole blob where it is known. */
  #expected: number | undefined;

  constructor(
    private readonly key: string,
    private readonly options: ReadOptions,
    private readonly store: string,
  ) {
    this.#expected = options.length;
  }

  /** For the next try, with `others`. */
  headers(others: Readonly<Record<string, string>>): Record<string, string> {
    this.#isAnswered = false;
    const { offset, length, ifMatch } = this.options;
    const match = this.received > 0 ? this.#etag : ifMatch;
    const first = (offset ?? 0) + this.received;
    const isRange = offset !== undefined || length !== undefined || this.received > 0;
    const last = this.#expected === undefined ? '' : (offset ?? 0) + this.#expected - 1;
    const headers: Record<string, string> = { ...others };
    if (isRange) headers['range'] = `bytes=${first}-${last}`;
    if (match !== undefined && match !== '') headers['if-match'] = `"${match}"`;
    return headers;
  }

  /** The rest of the memory, for an answer of exactly the bytes asked for. `into` is asked again while nothing was kept. */
  memory(length: number, headers: Readonly<Record<string, string>>): readonly Buffer[] {
    const offset = (this.options.offset ?? 0) + this.received;
    const range = headers['content-range'];
    const answered = range === undefined ? '0' : /^bytes (\d+)-/.exec(range)?.[1];
    if (this.received === 0) this.#expected = this.options.length ?? length;
    if (answered !== String(offset) || length !== this.#expected! - this.received) throw this.endedEarly();
    if (this.received === 0) {
      this.#buffers = memoryFor(length, this.options);
      this.#etag = bare(headers['etag']);
      this.#headers = headers;
    }
    this.#assertSame(bare(headers['etag']));
    this.#isAnswered = true;
    return restOf(this.#buffers!, this.received);
  }

  broke(received: number): void {
    this.received += received;
  }

  isWhole(): boolean {
    return this.#isAnswered;
  }

  receipt(): Answered {
    return { buffers: this.#buffers!, etag: this.#etag, headers: this.#headers };
  }

  endedEarly(): UnavailableError {
    return new UnavailableError('A blob ended before the bytes that were asked for.', {
      subject: { store: this.store, key: this.key, expected: this.#expected, received: this.received },
    });
  }

  /** Half of one blob and half of another would have the right length. */
  #assertSame(etag: string): void {
    if (this.#etag === etag) return;
    throw new RepositoryChangedError('A blob was replaced while it was read.', {
      subject: { store: this.store, key: this.key },
    });
  }
}

/** The buffers without their first `skip` bytes. */
function restOf(buffers: readonly Buffer[], skip: number): readonly Buffer[] {
  const rest: Buffer[] = [];
  let skipped = 0;
  for (const buffer of buffers) {
    const from = Math.min(buffer.length, skip - skipped);
    skipped += from;
    if (from < buffer.length) rest.push(buffer.subarray(from));
  }
  return rest;
}

/** Etags without their quotes, so that those of answers and of listings are the same. */
export function bare(etag = ''): string {
  return etag.slice(etag.startsWith('"') ? 1 : 0, etag.endsWith('"') ? -1 : etag.length);
}
