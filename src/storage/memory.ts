/** Where the bytes of a body go: into the buffers that a reader gave, one after the other. */
import type { ReadOptions } from './store';

/** What `into` gives for `length` bytes, or new memory. @throws a plain error when it gives memory of another size */
export function memoryFor(length: number, { into }: ReadOptions): readonly Buffer[] {
  const buffers = into ? into(length) : [Buffer.allocUnsafe(length)];
  const given = buffers.reduce((sum, buffer) => sum + buffer.length, 0);
  if (given !== length) throw new Error(`memory for ${given} bytes was given to a body of ${length}`);
  return buffers;
}

export interface Filling {
  readonly buffers: readonly Buffer[];
  /** Bytes taken so far. */
  readonly filled: number;
  /** At most as much as is left. */
  take(chunk: Buffer): void;
  /**
   * The rest of the buffer that is filled next, `atMost` bytes of it; empty when all are full. Whoever writes into it
   * calls `advance`.
   */
  rest(atMost?: number): Buffer;
  advance(bytes: number): void;
}

export function fill(buffers: readonly Buffer[]): Filling {
  let current = 0;
  let offset = 0;
  let filled = 0;
  const skipFull = () => {
    while (current < buffers.length && offset === buffers[current]!.length) [current, offset] = [current + 1, 0];
  };
  const filling = {
    buffers,
    get filled() {
      return filled;
    },
    rest(atMost = Infinity): Buffer {
      skipFull();
      return buffers[current]?.subarray(offset, offset + atMost) ?? Buffer.alloc(0);
    },
    advance(bytes: number): void {
      offset += bytes;
      filled += bytes;
    },
    take(chunk: Buffer): void {
      for (let from = 0; from < chunk.length;) {
        const copied = chunk.copy(filling.rest(), 0, from);
        if (copied === 0) throw new Error('a body is longer than the memory for it');
        filling.advance(copied);
        from += copied;
      }
    },
  };
  return filling;
}
