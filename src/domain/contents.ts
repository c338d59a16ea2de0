import type { Check, LedgerRow } from './ledger';
import { ledgerRow } from './ledger';

/**
 * Documents of source and target, compared by id, routing, version and a digest of `_source`. Pure. What is kept of a
 * document is its id and its digest, never a value of it.
 */

export interface DocumentFacts {
  readonly id: string;
  /** Empty where types mean nothing. */
  readonly type: string;
  /** Routing and parent; empty without. */
  readonly routing: string;
  readonly version: string;
  /** Undefined where the mapping disables `_source`. */
  readonly digest: string | undefined;
}

/** A number of documents, and the ids of the first of them. */
export interface Named {
  readonly count: number;
  readonly ids: readonly string[];
}

/** What one slice, or one sample, has shown. Plain JSON: a file in the work prefix while the others are still read. */
export interface SliceFacts {
  /** Pairs that were compared. */
  readonly compared: number;
  /** Of those, without a `_source` to compare. */
  readonly withoutSource: number;
  readonly changed: Named;
  readonly versions: Named;
  /** Left without a partner; the first {@link KEPT_AT_MOST} stand in the lists. */
  readonly onlySource: number;
  readonly onlyTarget: number;
  readonly sourceLeft: readonly DocumentFacts[];
  readonly targetLeft: readonly DocumentFacts[];
}

export const NAMED_AT_MOST = 20;
const KEPT_AT_MOST = 1_000;
const ID_SHOWN = 100;
/** Documents that wait for their partner: some 200 bytes each. Both sides hold the same order unless one has merged. */
export const WAITING_AT_MOST = 500_000;

export type Side = 'source' | 'target';

/** Takes documents of both sides in any order and pairs them as they come. */
export class SliceComparison {
  private readonly waiting: Readonly<Record<Side, Map<string, DocumentFacts>>> = {
    source: new Map(),
    target: new Map(),
  };
  private compared = 0;
  private withoutSource = 0;
  private readonly changed = new Naming();
  private readonly versions = new Naming();

  constructor(private readonly waitingAtMost = WAITING_AT_MOST) {}

  /** True when too many wait for their partners: then a part of the slice must be compared at a time. */
  get isOverfull(): boolean {
    return this.waiting.source.size + this.waiting.target.size > this.waitingAtMost;
  }

  add(side: Side, documents: readonly DocumentFacts[]): void {
    const others = this.waiting[side === 'source' ? 'target' : 'source'];
    for (const document of documents) {
      const key = `${keyOf(document)}\0${document.routing}`;
      const partner = others.get(key);
      if (partner === undefined) this.wait(side, key, document);
      else this.pair(document, partner);
      others.delete(key);
    }
  }

  /** A second of the same name on one side is not lost behind the first: it stays without a partner. */
  private wait(side: Side, key: string, document: DocumentFacts): void {
    const waiting = this.waiting[side];
    waiting.set(waiting.has(key) ? `${key}\0again ${waiting.size}` : key, document);
  }

  end(): SliceFacts {
    const [source, target] = [[...this.waiting.source.values()], [...this.waiting.target.values()]];
    return {
      compared: this.compared,
      withoutSource: this.withoutSource,
      changed: this.changed.named,
      versions: this.versions.named,
      onlySource: source.length,
      onlyTarget: target.length,
      sourceLeft: source.slice(0, KEPT_AT_MOST),
      targetLeft: target.slice(0, KEPT_AT_MOST),
    };
  }

  private pair(one: DocumentFacts, other: DocumentFacts): void {
    this.compared += 1;
    if (one.digest === undefined && other.digest === undefined) this.withoutSource += 1;
    if (one.digest !== other.digest) this.changed.add(one.id);
    else if (one.version !== other.version) this.versions.add(one.id);
  }
}

/** All slices of an index as one, so that a document that another routing led to another shard is seen as that. */
export function mergeSlices(slices: readonly SliceFacts[]): SliceFacts {
  const sum = (of: (slice: SliceFacts) => number) => slices.reduce((total, slice) => total + of(slice), 0);
  return {
    compared: sum(({ compared }) => compared),
    withoutSource: sum(({ withoutSource }) => withoutSource),
    changed: mergeNamed(slices.map(({ changed }) => changed)),
    versions: mergeNamed(slices.map(({ versions }) => versions)),
    onlySource: sum(({ onlySource }) => onlySource),
    onlyTarget: sum(({ onlyTarget }) => onlyTarget),
    sourceLeft: slices.flatMap(({ sourceLeft }) => sourceLeft),
    targetLeft: slices.flatMap(({ targetLeft }) => targetLeft),
  };
}

/** What was read: `all documents`, `a sample`; and how many must have been, or else reading went wrong. */
export interface Reading {
  readonly what: string;
  readonly atLeast: number;
}

/** One row when nothing differs, else one per kind of difference. */
export function compareContents(index: string, read: Reading, facts: SliceFacts): LedgerRow[] {
  const { compared, withoutSource, changed, versions, sourceLeft, targetLeft } = facts;
  const moved = movedDocuments(sourceLeft, targetLeft);
  const unmoved = (left: readonly DocumentFacts[], total: number): Named => {
    const ids = left.filter((document) => !moved.keys.has(keyOf(document))).map(({ id }) => id);
    return { count: total - moved.count, ids };
  };
  const rows = (
    [
      ['changed documents', withChanged(changed, moved.changed)],
      ['missing documents', unmoved(sourceLeft, facts.onlySource)],
      ['extra documents', unmoved(targetLeft, facts.onlyTarget)],
      ['routing', { count: moved.count, ids: moved.ids }],
      ['document versions', versions],
    ] as const
  ).flatMap(([check, named]) => differing(index, check, compared, named));
  if (rows.length > 0) return rows;
  const without = withoutSource === 0 ? '' : `; ${withoutSource} without _source: by id, routing and version only`;
  const enough = compared >= read.atLeast;
  const few = enough ? '' : `; fewer were read than the ${read.atLeast} that are there`;
  return [ledgerRow(index, 'contents', enough, compared, compared, `${read.what}${few}${without}`)];
}

function differing(index: string, check: Check, compared: number, { count, ids }: Named): LedgerRow[] {
  if (count === 0) return [];
  const shown = [...ids].sort().slice(0, NAMED_AT_MOST);
  const more = count > shown.length ? ` and ${count - shown.length} more` : '';
  const note = `${shown.map((id) => id.slice(0, ID_SHOWN)).join(', ')}${more}`;
  return [ledgerRow(index, check, false, `${compared} pairs compared`, `${count} differ`, note)];
}

/** Left on both sides under the same id: another routing, and perhaps another content too. */
function movedDocuments(source: readonly DocumentFacts[], target: readonly DocumentFacts[]) {
  const digests = new Map(target.map((document) => [keyOf(document), document.digest]));
  const moved = source.filter((document) => digests.has(keyOf(document)));
  const changed = moved.filter((document) => digests.get(keyOf(document)) !== document.digest);
  return {
    keys: new Set(moved.map(keyOf)),
    count: moved.length,
    ids: moved.map(({ id }) => id),
    changed: changed.map(({ id }) => id),
  };
}

function withChanged(changed: Named, ids: readonly string[]): Named {
  return { count: changed.count + ids.length, ids: [...changed.ids, ...ids] };
}

function mergeNamed(all: readonly Named[]): Named {
  return {
    count: all.reduce((total, { count }) => total + count, 0),
    ids: all.flatMap(({ ids }) => ids).slice(0, NAMED_AT_MOST),
  };
}

function keyOf({ type, id }: DocumentFacts): string {
  return `${type}\0${id}`;
}

class Naming {
  private count = 0;
  private readonly ids: string[] = [];

  add(id: string): void {
    this.count += 1;
    if (this.ids.length < NAMED_AT_MOST) this.ids.push(id);
  }

  get named(): Named {
    return { count: this.count, ids: this.ids };
  }
}

/** Documents that a sample takes at one place of an index. */
export const SAMPLED_AT_A_PLACE = 20;
const PLACES_AT_MOST = 5;
/** Of all indices together: a sample must not lengthen the freeze with their number. */
const PLACES_OF_ALL = 1_000;

/** Places that a sample looks at in each of so many indices. */
export function sampledPlaces(indices: number): number {
  return Math.min(PLACES_AT_MOST, Math.max(1, Math.floor(PLACES_OF_ALL / indices)));
}
