/** Where the bytes of a body go: into the buffers that a reader gave, one after the other. */
import type { ReadOptions } from './store';

/** What `into` gives for `length` bytes, or new memory. @throws a plain error when it gives memory of another size */
export function memoryFor(length: number, { into }: ReadOptions): readonly Buffer[] {
  const buffers = into ? into(length) : [Buffer.allocUnsafe(length)];
  const given = buffers.reduce((sum, buffer) => sum + buffer.length, 0);
  if (given !== length) throw new Error(`memory for ${given} bytes was given to a body of ${length}`);
  return buffers;
}

/** Memory while it is filled. */
export class Filling {
  /** Bytes taken so far. */
  filled = 0;
  /** The buffer that is filled next, and how much of it is. */
  #current = 0;
  #offset = 0;

  constructor(readonly buffers: readonly Buffer[]) {}

  /** At most as much as is left. */
  take(chunk: Buffer): void {
    for (let from = 0; from < chunk.length;) {
      const buffer = this.#next();
      if (buffer === undefined) throw new Error('a body is longer than the memory for it');
      const copied = chunk.copy(buffer, this.#offset, from);
      this.advance(copied);
      from += copied;
    }
  }

  /**
   * The rest of the buffer that is filled next, `atMost` bytes of it; empty when all are full. Whoever writes into it
   * calls `advance`.
   */
  rest(atMost = Infinity): Buffer {
    return this.#next()?.subarray(this.#offset, this.#offset + atMost) ?? Buffer.alloc(0);
  }

  advance(bytes: number): void {
    this.#offset += bytes;
    this.filled += bytes;
  }

  #next(): Buffer | undefined {
    while (this.#offset === this.buffers[this.#current]?.length) [this.#current, this.#offset] = [this.#current + 1, 0];
    return this.buffers[this.#current];
  }
}
