/** Memory for bytes in flight: slabs of one size, so that it stays what it is, whatever the sizes of blobs. */
import { onAbort } from './abort';

/** A socket fills one in a few reads; a small blob wastes only address space, as what is never touched is never there. */
export const SLAB_BYTES = 256 * 1024;
/** Eight parts of 8 MiB at both ends, and small blobs beside them. */
export const BUDGET_BYTES = 144 * 1024 * 1024;

export interface Memory {
  /** Together exactly as many bytes as were asked for. */
  readonly buffers: readonly Buffer[];
  /** Only when nobody reads or writes the buffers any more. */
  release(): void;
}

interface Waiter {
  readonly slabs: number;
  readonly go: () => void;
}

export class Slabs {
  /** Last in, first out: the slab used last is still in the processor's cache. */
  readonly #free: Buffer[] = [];
  readonly #waiting: Waiter[] = [];
  #unused: number;

  constructor(budgetBytes = BUDGET_BYTES) {
    this.#unused = Math.floor(budgetBytes / SLAB_BYTES);
  }

  /**
   * At once where there is some, else in its turn: large requests are not starved by small ones. At most half of the
   * budget at once.
   */
  take(bytes: number, signal: AbortSignal): Memory | Promise<Memory> {
    const count = Math.ceil(bytes / SLAB_BYTES);
    const turn = this.#reserve(count, signal);
    return turn === undefined ? this.#hand(bytes, count) : turn.then(() => this.#hand(bytes, count));
  }

  #hand(bytes: number, count: number): Memory {
    const slabs: Buffer[] = [];
    const buffers: Buffer[] = [];
    for (let rest = bytes; slabs.length < count; rest -= SLAB_BYTES) {
      const slab = this.#free.pop() ?? Buffer.allocUnsafeSlow(SLAB_BYTES);
      slabs.push(slab);
      buffers.push(slab.subarray(0, Math.min(SLAB_BYTES, rest)));
    }
    let held = true;
    return {
      buffers,
      release: () => {
        if (!held) return;
        held = false;
        this.#free.push(...slabs);
        this.#unused += count;
        this.#wake();
      },
    };
  }

  #reserve(slabs: number, signal: AbortSignal): Promise<void> | undefined {
    if (signal.aborted) return Promise.reject(signal.reason as Error);
    if (this.#waiting.length === 0 && slabs <= this.#unused) {
      this.#unused -= slabs;
      return undefined;
    }
    return new Promise((resolve, reject) => {
      const stopWaiting = onAbort(signal, () => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
        this.#wake();
        reject(signal.reason as Error);
      });
      const go = () => {
        stopWaiting();
        resolve();
      };
      const waiter = { slabs, go };
      this.#waiting.push(waiter);
    });
  }

  #wake(): void {
    for (let first = this.#waiting[0]; first && first.slabs <= this.#unused; first = this.#waiting[0]) {
      this.#unused -= first.slabs;
      this.#waiting.shift();
      first.go();
    }
  }
}
