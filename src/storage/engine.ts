/** What every copy of one process shares: memory, pace, and how many requests are in flight at each store. */
import type { MigrationError } from '../domain/errors';
import { Gate } from './gate';
import { Pace } from './pace';
import type { Limits } from './pace';
import { inParallel } from './parallel';
import { Route } from './route';
import { Slabs } from './slabs';
import type { Store } from './store';

/** Small blobs cost round trips, large ones bytes: each kind has its own number of requests in flight. */
export type Lane = 'small' | 'bulk';

/** Up to one slab: a request about such a blob is all latency. */
const SMALL_BYTES = 64 * 1024;
/** Eight in flight beat 32 for bytes on a LAN, 32 are better for small blobs, and a WAN wants more (facts/bench.md). */
const LANES = {
  small: { start: 32, most: 256, isAlike: true },
  bulk: { start: 8, most: 64, isAlike: false },
} as const;
/**
 * Begun at a time, as a multiple of the places at both gates: enough that no place waits for a blob. Whatever waits is
 * memory that outlives a collection, and costs more than the request that it waits for (512 begun: 15 % more CPU).
 */
const BEGUN = 1.25;

export interface EngineOptions {
  readonly budgetBytes?: number;
  readonly limits?: Limits;
  /** A store that could copy from another by itself does not: its bytes pass through here. Said once for each pair. */
  readonly onRefusedRoute?: (reason: MigrationError) => void;
}

export class Engine {
  readonly slabs: Slabs;
  readonly pace: Pace;
  readonly #routes = new WeakMap<Store, WeakMap<Store, Route>>();
  readonly #gates = { source: new WeakMap<Store, Gates>(), target: new WeakMap<Store, Gates>() };
  /** Copies under way: they share the gates, and so what is begun. */
  #copies = 0;

  constructor(private readonly options: EngineOptions = {}) {
    this.slabs = new Slabs(options.budgetBytes);
    this.pace = new Pace(options.limits);
  }

  /** What is known of copies that `target` makes of blobs of `source` by itself. */
  route(source: Store, target: Store): Route {
    let routes = this.#routes.get(target);
    if (routes === undefined) this.#routes.set(target, (routes = new WeakMap()));
    let route = routes.get(source);
    if (route === undefined) {
      const refused = this.options.onRefusedRoute ?? (() => undefined);
      routes.set(source, (route = new Route(source, target, refused)));
    }
    return route;
  }

  /** One store may be both ends: what it gives and what it takes have limits of their own. */
  gate(store: Store, side: 'source' | 'target', lane: Lane): Gate {
    const known = this.#gates[side];
    let gates = known.get(store);
    if (gates === undefined) {
      const throttled = () => store.pressure?.throttled ?? 0;
      gates = { small: new Gate({ ...LANES.small, throttled }), bulk: new Gate({ ...LANES.bulk, throttled }) };
      known.set(store, gates);
    }
    return gates[lane];
  }

  /** A request that gives `bytes` to a store, when there is room for it. */
  send<T>(store: Store, bytes: number, signal: AbortSignal, request: () => Promise<T>): Promise<T> {
    return this.gate(store, 'target', laneOf(bytes)).run(weightOf(bytes), signal, request);
  }

  /**
   * `work` over all items: the large ones in the order of their size, the largest first, so that the end does not wait
   * for one; the small ones beside them, in the order they are given. The first failure cancels the others through the
   * signal they are given, and is thrown when all have ended.
   */
  async inLanes<T>(
    ends: Ends,
    items: readonly T[],
    bytesOf: (item: T) => number,
    signal: AbortSignal,
    work: (item: T, signal: AbortSignal, index: number) => Promise<void>,
  ): Promise<void> {
    const all = items.map((item, index) => ({ item, index, bytes: bytesOf(item) }));
    const small = all.filter(({ bytes }) => laneOf(bytes) === 'small');
    const bulk = all.filter(({ bytes }) => laneOf(bytes) === 'bulk').sort((a, b) => b.bytes - a.bytes);
    const run = (lane: Lane) => (either: AbortSignal) =>
      inParallel(
        lane === 'small' ? small : bulk,
        () => this.#begun(ends, lane),
        either,
        ({ item, index }, one) => work(item, one, index),
      );
    this.#copies += 1;
    try {
      await inParallel([run('bulk'), run('small')], 2, signal, (lane, either) => lane(either));
    } finally {
      this.#copies -= 1;
    }
  }

  /** How many one of the copies may have begun. */
  #begun({ source, target }: Ends, lane: Lane): number {
    const places = this.gate(source, 'source', lane).limit + this.gate(target, 'target', lane).limit;
    return Math.ceil((places * BEGUN) / this.#copies);
  }
}

/** The stores that a copy reads and writes. */
export interface Ends {
  readonly source: Store;
  readonly target: Store;
}

type Gates = Readonly<Record<Lane, Gate>>;

export function laneOf(bytes: number): Lane {
  return bytes <= SMALL_BYTES ? 'small' : 'bulk';
}

/** What counts as throughput: small blobs by number, large ones by bytes. */
export function weightOf(bytes: number): number {
  return laneOf(bytes) === 'small' ? 1 : bytes;
}
