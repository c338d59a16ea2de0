/** A body in chunks (RFC 9112, 7.1), which stores use for lists and other short answers: taken apart into new memory. */
import { MAX_HEAD_BYTES, refuse } from './express-head';
import { MAX_UNASKED_BYTES, tooLarge } from './wire';

/** The length, and what may follow it and means nothing to us. */
const SIZE_LINE = /^([0-9a-f]{1,8})[\t ]*(?:;.*)?$/i;
const LF = 0x0a;

export class Chunks {
  /** What is not inside of a chunk comes in lines. */
  #expects: 'size' | 'data' | 'end of data' | 'trailer' | 'nothing' = 'size';
  #line = '';
  /** Bytes of the current chunk that are not here. */
  #left = 0;
  #received = 0;
  /** Characters of all trailers. */
  #trailers = 0;
  readonly #data: Buffer[] = [];

  get data(): readonly Buffer[] {
    return this.#data;
  }

  get isComplete(): boolean {
    return this.#expects === 'nothing';
  }

  /** Copies what it needs. Returns how many of the bytes are behind the end. @throws TransportError */
  take(bytes: Buffer): number {
    let at = 0;
    while (at < bytes.length && this.#expects !== 'nothing') {
      if (this.#expects === 'data') at += this.#takeData(bytes.subarray(at, at + this.#left));
      else at += this.#takeLine(bytes.subarray(at));
    }
    return bytes.length - at;
  }

  #takeData(bytes: Buffer): number {
    this.#data.push(Buffer.from(bytes));
    this.#left -= bytes.length;
    if (this.#left === 0) this.#expects = 'end of data';
    return bytes.length;
  }

  #takeLine(bytes: Buffer): number {
    const end = bytes.indexOf(LF) + 1;
    this.#line += bytes.toString('latin1', 0, end || bytes.length);
    if (this.#line.length > MAX_HEAD_BYTES) refuse('the line of a chunk');
    if (end === 0) return bytes.length;
    if (!this.#line.endsWith('\r\n')) refuse('the line of a chunk');
    const line = this.#line.slice(0, -2);
    this.#line = '';
    this.#readLine(line);
    return end;
  }

  #readLine(line: string): void {
    if (this.#expects === 'size') {
      this.#left = parseInt(SIZE_LINE.exec(line)?.[1] ?? refuse('the length of a chunk'), 16);
      this.#received += this.#left;
      if (this.#received > MAX_UNASKED_BYTES) throw tooLarge();
      this.#expects = this.#left > 0 ? 'data' : 'trailer';
    } else if (this.#expects === 'end of data') {
      if (line !== '') refuse('a chunk longer than it says');
      this.#expects = 'size';
    } else {
      this.#trailers += line.length;
      if (this.#trailers > MAX_HEAD_BYTES) refuse('its trailers');
      if (line === '') this.#expects = 'nothing';
    }
  }
}
