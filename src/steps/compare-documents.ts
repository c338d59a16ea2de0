import { createHash } from 'node:crypto';
import { compareContents, mergeSlices, SAMPLED_AT_A_PLACE, sampledPlaces, SliceComparison } from '../domain/contents';
import type { DocumentFacts, Side, SliceFacts } from '../domain/contents';
import type { Fingerprint, LedgerRow } from '../domain/ledger';
import type { RoundKeys } from '../domain/names';
import type { Cluster, Document, Turn } from '../elasticsearch/cluster';
import { inParallel, mapInParallel } from '../storage/parallel';
import type { Store } from '../storage/store';
import type { Telling } from './context';
import { createJson, readJson } from './files';
import type { RunningPace } from './limits';
import { Reading } from './reading';

/** Documents of source and target by id, routing, version and `_source`: a sample, or all of them. */

export interface ContentsInput {
  readonly source: Cluster;
  readonly target: Cluster;
  /** Types count where both sides have them: before 7.0. */
  readonly typed: boolean;
  readonly indices: readonly ComparedIndex[];
  readonly pace: Pick<RunningPace, 'read' | 'documentsPerSecond'>;
}

/** An index that is open on both sides. */
export interface ComparedIndex {
  /** On the source, as rows have it. */
  readonly name: string;
  readonly shards: number;
  readonly source: SideFacts;
  readonly target: SideFacts;
}

interface SideFacts extends Pick<Fingerprint, 'segments'> {
  /** On this side. */
  readonly name: string;
  readonly documents: number;
  /** Mean size on disk, of a primary's document. */
  readonly bytesPerDocument: number;
}

/** Clusters serve these beside their users. */
const INDICES_AT_ONCE = 8;
const SLICES_AT_ONCE = 4;
const IDS_AT_ONCE = 200;
/** Of `_source`, of each side of all indices together: parsing it takes 6 MiB a second, in the freeze. */
const SAMPLE_BYTES = 64 * 1024 * 1024;
const PAGE_BYTES = 4 * 1024 * 1024;
/** `_source` against what it takes on disk: compressed, but beside its index. */
const INFLATION = 3;

/**
 * Documents from random places of each index, the newest among them, found on either side and looked up on both. What
 * it costs does not depend on the size of an index. `seed` makes the same choice again.
 */
export async function sampleDocuments(input: ContentsInput, seed: string, context: Telling): Promise<LedgerRow[]> {
  const probes = sampledPlaces(input.indices.length);
  const bytes = SAMPLE_BYTES / input.indices.length / probes;
  const reading = new Reading(input.pace, context, INDICES_AT_ONCE);
  const rows = await mapInParallel(input.indices, INDICES_AT_ONCE, context.signal, async (index, signal) => {
    const probe = { probes, size: documentsOf(index, bytes, SAMPLED_AT_A_PLACE), seed };
    const [fromSource, fromTarget] = await Promise.all(
      (['source', 'target'] as const).map((side) => {
        const read: Read = (shard, after, size) =>
          reading.read(side, size, signal, () =>
            input[side].documentsAfter(index[side].name, shard, after, size, signal),
          );
        return chosenIds(read, index, index[side], probe);
      }),
    );
    const ids = [...new Set([...(fromSource ?? []), ...(fromTarget ?? [])])];
    const comparison = new SliceComparison();
    const atOnce = documentsOf(index, PAGE_BYTES, IDS_AT_ONCE);
    for (let from = 0; from < ids.length; from += atOnce) {
      const some = ids.slice(from, from + atOnce);
      const look = (side: Side) =>
        reading.read(side, some.length, signal, () => input[side].documentsById(index[side].name, some, signal));
      const [left, right] = await Promise.all([look('source'), look('target')]);
      comparison.add('source', left.map(factsOf(input.typed)));
      comparison.add('target', right.map(factsOf(input.typed)));
    }
    context.progress({ step: 'sampling', index: index.name, documents: ids.length });
    const most = Math.max(index.source.documents, index.target.documents);
    const what = ids.length >= most ? 'all documents' : 'a sample';
    return compareContents(index.name, { what, atLeast: Math.min(1, most) }, comparison.end());
  });
  return rows.flat();
}

/** At most `size` documents of a shard of one side, behind the one numbered `after`. */
type Read = (shard: number, after: number | undefined, size: number) => Promise<readonly Document[]>;

/** So many places of an index, so many documents at each. `seed` makes the same choice again. */
interface Probe {
  readonly probes: number;
  readonly size: number;
  readonly seed: string;
}

/** Ids of the documents at some places of one side. */
async function chosenIds(
  read: Read,
  { name: index, shards }: ComparedIndex,
  { documents, segments }: SideFacts,
  probe: Probe,
): Promise<string[]> {
  if (documents === 0) return [];
  const places = placesIn(index, shards, segments, probe);
  const found = (await Promise.all(places.map(({ shard, after, size }) => read(shard, after, size)))).flat();
  // Every place may lie among deleted or nested documents: then the first live ones of any shard.
  for (let shard = 0; found.length === 0 && shard < shards; shard += 1) {
    found.push(...(await read(shard, undefined, probe.size)));
  }
  return found.map(({ id }) => id);
}

interface Place {
  readonly shard: number;
  readonly after: number | undefined;
  readonly size: number;
}

/** The whole of an index that is hardly larger than the sample; else places, of which the first is a shard's end. */
function placesIn(
  name: string,
  shards: number,
  segments: SideFacts['segments'],
  { probes, size, seed }: Probe,
): Place[] {
  const lengths = Array.from({ length: shards }, () => 0);
  for (const { shard, docs, deleted } of segments) lengths[shard] = (lengths[shard] ?? 0) + docs + deleted;
  const total = lengths.reduce((sum, length) => sum + length, 0);
  if (total <= probes * size) {
    return lengths.map((_, shard) => ({ shard, after: undefined, size: probes * size }));
  }
  const filled = lengths.flatMap((length, shard) => (length === 0 ? [] : [shard]));
  return Array.from({ length: probes }, (_, probe) => {
    const random = createHash('sha256').update(`${seed}/${name}/${probe}`).digest();
    const shard = filled[(random.readUInt32BE(0) + probe) % filled.length] ?? 0;
    const room = Math.max(1, (lengths[shard] ?? 0) - size);
    const after = probe === 0 ? room - 1 : random.readUInt32BE(4) % room;
    return { shard, after, size };
  });
}

/**
 * Every document of every index, a shard of both sides at a time. What a shard has shown lies in the work prefix: a
 * successor of the same `pass` goes on from there.
 */
export async function compareAllDocuments(
  input: ContentsInput,
  files: { readonly store: Store; readonly keys: RoundKeys; readonly pass: string },
  context: Telling,
): Promise<LedgerRow[]> {
  const slices = input.indices.flatMap((index) =>
    Array.from({ length: index.shards }, (_, shard) => ({ index, shard, facts: undefined as SliceFacts | undefined })),
  );
  let [done, documents] = [0, 0];
  const tell = (read = 0) => {
    documents += read;
    context.progress({ step: 'comparing documents', done, of: slices.length, documents });
  };
  tell();
  const reading = new Reading(input.pace, context, SLICES_AT_ONCE);
  await inParallel(slices, SLICES_AT_ONCE, context.signal, async (slice, either, number) => {
    const key = files.keys.slice(files.pass, number);
    slice.facts = await readJson<SliceFacts>(files.store, key, either);
    if (slice.facts === undefined) {
      slice.facts = await compareSlice({ ...input, reading }, slice.index, slice.shard, tell, either);
      await createJson(files.store, key, slice.facts, either);
    }
    done += 1;
    tell();
  });
  return input.indices.flatMap((index) => {
    const facts = slices.flatMap((slice) => (slice.index === index && slice.facts !== undefined ? [slice.facts] : []));
    return compareContents(index.name, { what: 'all documents', atLeast: index.source.documents }, mergeSlices(facts));
  });
}

interface SliceInput extends Pick<ContentsInput, 'source' | 'target' | 'typed'> {
  readonly reading: Reading;
}

/** In one reading where the two sides come in about the same order, else a part of the ids with each reading. */
export async function compareSlice(
  input: SliceInput,
  index: ComparedIndex,
  shard: number,
  tell: (read: number) => void,
  signal: AbortSignal,
  waitingAtMost?: number,
): Promise<SliceFacts> {
  for (let parts = 1; ; parts *= 4) {
    const facts: SliceFacts[] = [];
    for (let part = 0; part < parts; part += 1) {
      const isMeant = ({ id }: DocumentFacts) => parts === 1 || hashOf(id) % parts === part;
      const comparison = new SliceComparison(waitingAtMost);
      if (!(await readBoth(input, index, shard, comparison, isMeant, tell, signal))) break;
      facts.push(comparison.end());
    }
    if (facts.length === parts) return mergeSlices(facts);
  }
}

/** Page by page in turns, so that neither side runs ahead. False when too many documents wait for their partner. */
async function readBoth(
  input: SliceInput,
  index: ComparedIndex,
  shard: number,
  comparison: SliceComparison,
  isMeant: (document: DocumentFacts) => boolean,
  tell: (read: number) => void,
  signal: AbortSignal,
): Promise<boolean> {
  const { reading } = input;
  const size = reading.pageSize(Math.max(10, documentsOf(index, PAGE_BYTES, 1_000)));
  const pages = (side: Side) => {
    const turn: Turn = (request) => reading.read(side, size, signal, request);
    return input[side].documentPages(index[side].name, shard, size, signal, turn)[Symbol.asyncIterator]();
  };
  const readers = { source: pages('source'), target: pages('target') };
  const ended = { source: false, target: false };
  try {
    while (!ended.source || !ended.target) {
      await Promise.all(
        (['source', 'target'] as const).map(async (side) => {
          if (ended[side]) return;
          const page = await readers[side].next();
          ended[side] = page.done === true;
          if (page.done === true) return;
          comparison.add(side, page.value.map(factsOf(input.typed)).filter(isMeant));
          if (side === 'source') tell(page.value.length);
        }),
      );
      if (comparison.isOverfull) return false;
    }
    return true;
  } finally {
    await Promise.all([readers.source.return?.(), readers.target.return?.()]);
  }
}

/** As many documents of the index as have so many bytes of `_source`, about: from one to `most`. */
function documentsOf({ source, target }: ComparedIndex, bytes: number, most: number): number {
  const bytesPerDocument = INFLATION * Math.max(1, source.bytesPerDocument, target.bytesPerDocument);
  return Math.min(most, Math.max(1, Math.floor(bytes / bytesPerDocument)));
}

function factsOf(typed: boolean): (document: Document) => DocumentFacts {
  return ({ id, type, routing = '', parent, version, source }) => ({
    id,
    type: typed ? (type ?? '') : '',
    routing: parent === undefined ? routing : `${routing}, child of ${parent}`,
    version,
    digest: source === undefined ? undefined : createHash('sha256').update(source).digest('base64'),
  });
}

function hashOf(id: string): number {
  return createHash('sha256').update(id).digest().readUInt32BE(0);
}
