/** An answer while it comes in: bytes in, at the end a reply. Knows no socket. */
import { Chunks } from './express-chunks';
import { MAX_HEAD_BYTES, readHead, refuse } from './express-head';
import type { Head } from './express-head';
import { Filling } from './memory';
import type { HttpReply, HttpRequest, SendOptions } from './transport';
import { MAX_UNASKED_BYTES, askedMemory, tooLarge } from './wire';

const HEAD_END = Buffer.from('\r\n\r\n');
/** One after the other without end would be an answer that never comes. */
const MAX_INTERIM = 32;
/** One read at most, so that a fast connection leaves the others their turn. */
const READ_BYTES = 1024 * 1024;

export class Answer {
  /** Whether any byte came. */
  isBegun = false;
  isComplete = false;
  #head: Head | undefined;
  /** Of a head that came in pieces. */
  #partialHead: Buffer | undefined;
  #interim = 0;
  /** Where the body goes, by how its length is told. */
  #filling: Filling | undefined;
  #chunks: Chunks | undefined;
  #untilEnd: Buffer[] | undefined;
  #isAsked = false;
  #length = 0;

  constructor(
    private readonly method: HttpRequest['method'],
    private readonly into: SendOptions['into'],
  ) {}

  /** Bytes of the body that are in the memory that `into` gave. */
  get received(): number {
    return this.#isAsked ? this.#filling!.filled : 0;
  }

  /** Once complete: for how long the connection may wait for another request. */
  get keepMs(): number {
    return this.#head!.keepMs;
  }

  get reply(): HttpReply {
    const { status, headers } = this.#head!;
    const body = this.#filling?.buffers ?? this.#chunks?.data ?? this.#untilEnd ?? [];
    return { status, headers, body };
  }

  /** Memory for the next bytes, all of which are the body's; whoever writes there calls `advance`. Undefined: call `take`. */
  rest(): Buffer | undefined {
    return this.#filling === undefined || this.isComplete ? undefined : this.#filling.rest(READ_BYTES);
  }

  advance(bytes: number): void {
    this.#filling!.advance(bytes);
    this.isComplete = this.#filling!.filled === this.#length;
  }

  /**
   * The next bytes, copied where needed. Returns how many are behind the end of the answer. @throws TransportError for
   * what is no answer, and what `into` throws
   */
  take(bytes: Buffer): number {
    this.isBegun = true;
    let rest = bytes;
    while (this.#head === undefined) {
      const behind = this.#takeHead(rest);
      if (behind === undefined) return 0;
      rest = behind;
    }
    return this.#takeBody(rest);
  }

  /** The server sends nothing more. Whether that completes the answer. */
  end(): boolean {
    if (this.#untilEnd) this.isComplete = true;
    return this.isComplete;
  }

  /** What is behind the head; undefined when it is not all here. */
  #takeHead(bytes: Buffer): Buffer | undefined {
    const all = this.#partialHead ? Buffer.concat([this.#partialHead, bytes]) : bytes;
    const end = all.indexOf(HEAD_END);
    if ((end === -1 ? all.length : end) > MAX_HEAD_BYTES) refuse('a head this large');
    if (end === -1) {
      this.#partialHead = Buffer.from(all);
      return undefined;
    }
    this.#partialHead = undefined;
    const head = readHead(all.toString('latin1', 0, end));
    if (head.status >= 200) this.#begin(head);
    else if (head.status === 101) refuse('another protocol');
    else if (++this.#interim > MAX_INTERIM) refuse('interim answers without end');
    return all.subarray(end + HEAD_END.length);
  }

  #begin(head: Head): void {
    const { status, headers } = head;
    const hasBody = this.method !== 'HEAD' && status !== 204 && status !== 304;
    const body = hasBody ? head.body : 0;
    if (body === 'chunked') this.#chunks = new Chunks();
    else if (body === 'until-end') this.#untilEnd = [];
    else {
      const asked = hasBody ? askedMemory({ into: this.into }, status, headers) : undefined;
      this.#isAsked = asked !== undefined;
      if (!asked && body > MAX_UNASKED_BYTES) throw tooLarge();
      this.#filling = asked ?? new Filling(body === 0 ? [] : [Buffer.allocUnsafe(body)]);
      this.#length = body;
      this.isComplete = body === 0;
    }
    this.#head = head;
  }

  #takeBody(bytes: Buffer): number {
    if (this.#filling) {
      const own = Math.min(bytes.length, this.#length - this.#filling.filled);
      if (own > 0) this.#filling.take(own === bytes.length ? bytes : bytes.subarray(0, own));
      this.isComplete = this.#filling.filled === this.#length;
      return bytes.length - own;
    }
    if (this.#chunks) {
      const behind = this.#chunks.take(bytes);
      this.isComplete = this.#chunks.isComplete;
      return behind;
    }
    this.#length += bytes.length;
    if (this.#length > MAX_UNASKED_BYTES) throw tooLarge();
    this.#untilEnd!.push(Buffer.from(bytes));
    return 0;
  }
}
