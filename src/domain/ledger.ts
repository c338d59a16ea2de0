import { canonicalJson } from './canonical';
import { matchesAny } from './patterns';

/**
 * The recorded comparison of source and target: pure, so that a ledger can be computed again from what was read.
 * It holds counts, names and settings of indices, never a field's value.
 */

export type Check =
  | 'index'
  | 'documents'
  | 'shards'
  | 'segments'
  | 'sequence numbers'
  | 'mapping'
  | 'settings'
  | 'aliases'
  | 'contents'
  | 'changed documents'
  | 'missing documents'
  | 'extra documents'
  | 'routing'
  | 'document versions'
  | 'query';

/** How much of the documents is compared: none, a sample, all. */
export type Level = 'counts' | 'counts+sample' | 'full';

export interface LedgerRow {
  /** `index/check` (of a query: `query/name`): the same in every verification, and what `waive` names. */
  readonly id: string;
  /** Of a query: the names it was sent to. */
  readonly index: string;
  readonly check: Check;
  readonly verdict: 'pass' | 'fail' | 'waived';
  readonly source: string | number;
  readonly target: string | number;
  /** Which known differences were allowed, or where the two sides part. */
  readonly note?: string;
  /** Of a waived row: who takes the difference for right, and why. */
  readonly waived?: { readonly who: string; readonly why: string };
}

/** `ledger.json` of a round. */
export interface Ledger {
  readonly level: Level;
  readonly rows: readonly LedgerRow[];
}

/** A request to take failed rows for right: ids of rows, or patterns with `*`. */
export interface Waiver {
  readonly rows: readonly string[];
  readonly who: string;
  readonly why: string;
}

/** Rows that failed and that the waiver names become waived; what passed stays as it is. */
export function waiveRows(rows: readonly LedgerRow[], { rows: names, who, why }: Waiver): LedgerRow[] {
  return rows.map((row) =>
    row.verdict === 'fail' && matchesAny(names, row.id) ? { ...row, verdict: 'waived', waived: { who, why } } : row,
  );
}

/** A verification that is repeated keeps what was waived, as long as the row says the very same. */
export function keepWaived(rows: readonly LedgerRow[], before: readonly LedgerRow[]): LedgerRow[] {
  const waived = new Map(before.flatMap((row) => (row.waived === undefined ? [] : [[row.id, row]])));
  return rows.map((row) => {
    const earlier = waived.get(row.id);
    const isSame = row.verdict === 'fail' && earlier !== undefined && rowSentence(earlier) === rowSentence(row);
    return isSame ? earlier : row;
  });
}

const ABOUT_DOCUMENTS: ReadonlySet<Check> = new Set<Check>([
  'documents',
  'shards',
  'sequence numbers',
  'contents',
  'changed documents',
  'missing documents',
  'extra documents',
  'routing',
  'document versions',
]);

/** Indices whose documents somebody takes for right although they differ. */
export function indicesWithWaivedDocuments(rows: readonly LedgerRow[]): ReadonlySet<string> {
  const waived = rows.filter(({ verdict, check }) => verdict === 'waived' && ABOUT_DOCUMENTS.has(check));
  return new Set(waived.map(({ index }) => index));
}

export interface ShardFacts {
  readonly shard: number;
  readonly docs: number;
  readonly deleted: number;
  readonly maxSeqNo: number | undefined;
}

export interface SegmentFacts {
  readonly shard: number;
  readonly name: string;
  readonly docs: number;
  readonly deleted: number;
  readonly bytes: number;
}

type Settings = Readonly<Record<string, string | readonly string[]>>;

/** What a snapshot fixes of an index, before its target builds copies or merges. */
export interface Fingerprint {
  readonly shards: readonly ShardFacts[];
  readonly segments: readonly SegmentFacts[];
}

/** `fingerprints.json` of a round, taken right after its restore: by index, present and open ones only. */
export interface Fingerprints {
  readonly source: Readonly<Record<string, Fingerprint>>;
  readonly target: Readonly<Record<string, Fingerprint>>;
}

/** One index on one side. */
export interface IndexFacts extends Fingerprint {
  readonly documents: number;
  readonly mapping: unknown;
  readonly settings: Settings;
}

/** What is known about both sides beforehand. */
export interface Expectations {
  /** Versions before 7 show mappings with a type level. */
  readonly typedMappings: { readonly source: boolean; readonly target: boolean };
  /** Segment names by shard, from the manifest of the restored snapshot. */
  readonly manifestSegments: readonly { readonly shard: number; readonly segments: readonly string[] }[];
  /** Flat names, and patterns with `*`: what the plan sets or drops on every restore. */
  readonly plannedSettings: readonly string[];
  readonly aliases: AliasExpectation;
}

/** Aliases are compared as what the switchover will do: on the target they do not exist yet. */
export interface AliasExpectation {
  /** Names in the restored snapshot. */
  readonly inSnapshot: readonly string[];
  /** Names that the switchover will give the index. */
  readonly willHave: readonly string[];
  /** Names that only the plan gives it, or takes from it in favour of another index. */
  readonly planned: readonly string[];
  /** Why the switchover cannot be made, sentences. */
  readonly obstacles: readonly string[];
  /** False when the plan leaves the source's aliases behind. */
  readonly taken: boolean;
}

/** All rows of one index, in a fixed order. A target that is not there is one failed row. */
export function compareIndex(
  index: string,
  source: IndexFacts | undefined,
  target: IndexFacts | undefined,
  expected: Expectations,
): LedgerRow[] {
  if (source === undefined || target === undefined) return [absence(index, source, target)];
  return [
    compareDocuments(index, source, target),
    compareShards(index, source, target, expected),
    compareSegments(index, source, target, expected),
    compareSequenceNumbers(index, source, target),
    compareMappings(index, source, target, expected.typedMappings),
    compareSettings(index, source.settings, target.settings, expected.plannedSettings),
    compareAliases(index, expected.aliases),
  ];
}

/** A row as a sentence, for status and the operator. */
export function rowSentence(row: LedgerRow): string {
  const note = row.note === undefined ? '' : ` (${row.note})`;
  return `${row.id}: source ${row.source}, target ${row.target}${note}`;
}

function absence(index: string, source: unknown, target: unknown): LedgerRow {
  const word = (facts: unknown) => (facts === undefined ? 'absent or closed' : 'present');
  return ledgerRow(index, 'index', false, word(source), word(target));
}

function compareDocuments(index: string, source: IndexFacts, target: IndexFacts): LedgerRow {
  return ledgerRow(index, 'documents', source.documents === target.documents, source.documents, target.documents);
}

/**
 * Live documents per shard must be equal. Deleted ones may be fewer on a source that merged since the snapshot, and on a
 * target that holds the same segments: from soft deletes on (7.0), a shard that was opened anew counts none of a segment
 * without a live document (7.10.2 to 8.19.0, OpenSearch 2.19.1: 7 segments alike with 16 deleted documents, of which 8 were counted).
 */
function compareShards(index: string, source: IndexFacts, target: IndexFacts, expected: Expectations): LedgerRow {
  const live = equal(liveOf(source), liveOf(target));
  const deleted = equal(deletedOf(source), deletedOf(target));
  const uncounted = !deleted && equal(segmentKeys(source), segmentKeys(target));
  const explained = !deleted && mergedSince(source, target, expected);
  const note = uncounted
    ? 'the segments are the same: those without a live document are not counted on both sides'
    : explained
      ? 'the source merged since the snapshot: its deleted documents differ'
      : undefined;
  const passed = live && (deleted || uncounted || explained);
  return ledgerRow(index, 'shards', passed, shardsText(source), shardsText(target), note);
}

/** Name, counts and size of every segment: a strong fingerprint at no cost (equal after every restore observed). */
function compareSegments(index: string, source: IndexFacts, target: IndexFacts, expected: Expectations): LedgerRow {
  const same = equal(segmentKeys(source), segmentKeys(target));
  const explained = !same && mergedSince(source, target, expected);
  const note = explained
    ? "the source merged since the snapshot: the target holds exactly the snapshot's segments"
    : same
      ? beyondManifest(target, expected)
      : firstDifference(segmentKeys(source), segmentKeys(target));
  return ledgerRow(index, 'segments', same || explained, source.segments.length, target.segments.length, note);
}

/** Both sides are equal, so nothing is wrong; that they have moved on from the snapshot is said all the same. */
function beyondManifest(target: IndexFacts, { manifestSegments }: Expectations): string | undefined {
  const [held, restored] = [segmentNames(target), manifestNames(manifestSegments)];
  if (equal(held, restored)) return undefined;
  return `not the manifest's on either side: manifest ${restored.length}, both sides ${held.length}`;
}

/** Before 6.0 there are none, and a 6.x target shows -1 for what came from 5.x. */
function compareSequenceNumbers(index: string, source: IndexFacts, target: IndexFacts): LedgerRow {
  const numbers = (facts: IndexFacts) => inOrder(facts.shards).map(({ maxSeqNo }) => maxSeqNo ?? -1);
  const [left, right] = [numbers(source), numbers(target)];
  const comparable = (shard: number) => (left[shard] ?? -1) >= 0 && (right[shard] ?? -1) >= 0;
  const differing = left.findIndex((number, shard) => comparable(shard) && number !== right[shard]);
  const skipped = left.length > 0 && !left.some((_, shard) => comparable(shard));
  const note = skipped ? 'not comparable: one side has none' : differing < 0 ? undefined : `shard ${differing}`;
  return ledgerRow(index, 'sequence numbers', differing < 0, Math.max(-1, ...left), Math.max(-1, ...right), note);
}

function compareMappings(
  index: string,
  source: IndexFacts,
  target: IndexFacts,
  typed: Expectations['typedMappings'],
): LedgerRow {
  const allowed: string[] = [];
  let left: unknown = source.mapping ?? {};
  let right: unknown = target.mapping ?? {};
  if (typed.source && typed.target) right = withoutAddedAll(left, right, allowed);
  if (typed.source && !typed.target) left = withoutTypes(left, allowed);
  if (typed.target && !typed.source) right = withoutTypes(right, allowed);
  const where = pathOfDifference(left, right);
  const note = where === undefined ? allowed.join('; ') : `they part at ${where}`;
  return ledgerRow(index, 'mapping', where === undefined, fieldsText(left), fieldsText(right), note || undefined);
}

/** A 6.x target shows `_all: {enabled: true}` in every type that came from 5.x. */
function withoutAddedAll(source: unknown, target: unknown, allowed: string[]): unknown {
  if (!isRecord(source) || !isRecord(target)) return target;
  return Object.fromEntries(
    Object.entries(target).map(([type, body]) => {
      const before = source[type];
      if (!isRecord(body) || !isRecord(before) || '_all' in before) return [type, body];
      if (pathOfDifference(body['_all'], { enabled: true }) !== undefined) return [type, body];
      allowed.push(`the target shows ${type}._all.enabled=true`);
      return [type, Object.fromEntries(Object.entries(body).filter(([key]) => key !== '_all'))];
    }),
  );
}

/** From 7.0 on the type level vanishes. Several types cannot be there: such an index is refused by a 7.x target. */
function withoutTypes(mapping: unknown, allowed: string[]): unknown {
  if (!isRecord(mapping)) return mapping;
  const types = Object.keys(mapping).filter((type) => type !== '_default_');
  const [only] = types;
  if (only === undefined) return {};
  if (types.length > 1) return mapping;
  allowed.push(`the type level '${only}' is shown on one side only`);
  return mapping[only];
}

/** Differ after every restore, or were set or dropped by us: each one that does is named in the row. */
const KNOWN_SETTINGS = [
  'index.uuid',
  'index.history.uuid',
  'index.version.*',
  'index.number_of_replicas',
  'index.auto_expand_replicas',
  'index.merge_on_flush.enabled',
  'index.merge.policy.type',
  'index.merge.policy.merge_factor',
  'index.merge.policy.segments_per_tier',
  'index.merge.policy.deletes_pct_allowed',
  'index.blocks.*',
  'index.routing.allocation.*',
  'index.lifecycle.*',
  'index.opendistro.*',
  'index.plugins.*',
];

function compareSettings(index: string, source: Settings, target: Settings, planned: readonly string[]): LedgerRow {
  const names = [...new Set([...Object.keys(source), ...Object.keys(target)])].sort();
  const differing = names.filter((name) => !equal(source[name], target[name]));
  const allowances = [...KNOWN_SETTINGS, ...planned];
  const isAllowed = (name: string) => matchesAny(allowances, name);
  const faults = differing.filter((name) => !isAllowed(name));
  const shown = (settings: Settings) => faults.map((name) => `${name}=${String(settings[name] ?? 'unset')}`).join(', ');
  const allowed = differing.filter(isAllowed);
  const note = allowed.length === 0 ? undefined : `allowed to differ: ${allowed.join(', ')}`;
  if (faults.length === 0) return ledgerRow(index, 'settings', true, 'as expected', 'as expected', note);
  return ledgerRow(index, 'settings', false, shown(source), shown(target), note);
}

function compareAliases(index: string, aliases: AliasExpectation): LedgerRow {
  const { inSnapshot, willHave, planned, obstacles, taken } = aliases;
  const text = (names: readonly string[]) => [...names].sort().join(', ') || 'none';
  const unplanned = (names: readonly string[]) => names.filter((name) => !planned.includes(name)).sort();
  const same = equal(taken ? unplanned(inSnapshot) : [], unplanned(willHave));
  const given = taken ? 'set at the switchover' : "the plan leaves the source's aliases behind";
  const byPlan = planned.length === 0 ? '' : `; by the plan: ${text(planned)}`;
  const note = obstacles.length === 0 ? given + byPlan : obstacles.join('; ');
  return ledgerRow(index, 'aliases', same && obstacles.length === 0, text(inSnapshot), text(willHave), note);
}

/**
 * True when the source's segments are no longer the snapshot's, the target's are exactly those, and every shard has
 * the same live documents: a merge, which changes no document.
 */
function mergedSince(source: IndexFacts, target: IndexFacts, { manifestSegments }: Expectations): boolean {
  const ofSnapshot = manifestNames(manifestSegments);
  const [left, right] = [segmentNames(source), segmentNames(target)];
  return !equal(left, ofSnapshot) && equal(right, ofSnapshot) && equal(liveOf(source), liveOf(target));
}

const manifestNames = (shards: Expectations['manifestSegments']) =>
  shards.flatMap(({ shard, segments }) => segments.map((name) => `${shard}/${name}`)).sort();
const segmentNames = ({ segments }: Fingerprint) => segments.map(({ shard, name }) => `${shard}/${name}`).sort();

/** A row of an index, with its id. */
export function ledgerRow(
  index: string,
  check: Check,
  passed: boolean,
  source: string | number,
  target: string | number,
  note?: string,
): LedgerRow {
  const verdict = passed ? 'pass' : 'fail';
  return { id: `${index}/${check}`, index, check, verdict, source, target, ...(note === undefined ? {} : { note }) };
}

function inOrder(shards: readonly ShardFacts[]): ShardFacts[] {
  return [...shards].sort((a, b) => a.shard - b.shard);
}

const liveOf = ({ shards }: IndexFacts) => inOrder(shards).map(({ shard, docs }) => `${shard}:${docs}`);
const deletedOf = ({ shards }: IndexFacts) => inOrder(shards).map(({ shard, deleted }) => `${shard}:${deleted}`);

function shardsText(facts: IndexFacts): string {
  const sum = (of: 'docs' | 'deleted') => facts.shards.reduce((total, shard) => total + shard[of], 0);
  return `${facts.shards.length} shards, ${sum('docs')} live, ${sum('deleted')} deleted`;
}

function segmentKeys({ segments }: IndexFacts): string[] {
  return segments
    .map(
      ({ shard, name, docs, deleted, bytes }) => `${shard}/${name}: ${docs} docs, ${deleted} deleted, ${bytes} bytes`,
    )
    .sort();
}

function firstDifference(source: readonly string[], target: readonly string[]): string {
  const missing = source.find((key) => !target.includes(key));
  const surplus = target.find((key) => !source.includes(key));
  return `source ${missing ?? 'has no other'}; target ${surplus ?? 'has no other'}`;
}

function fieldsText(mapping: unknown): string {
  return `${countProperties(mapping)} fields`;
}

function countProperties(node: unknown): number {
  if (!isRecord(node)) return 0;
  const own = isRecord(node['properties']) ? Object.keys(node['properties']).length : 0;
  return Object.values(node).reduce<number>((total, child) => total + countProperties(child), own);
}

/** Dotted; undefined when the two are equal, whatever the order of keys. */
function pathOfDifference(left: unknown, right: unknown, path = ''): string | undefined {
  if (Array.isArray(left) || Array.isArray(right) || !isRecord(left) || !isRecord(right)) {
    return equal(left, right) ? undefined : path || 'the top';
  }
  for (const key of new Set([...Object.keys(left), ...Object.keys(right)])) {
    const where = pathOfDifference(left[key], right[key], path === '' ? key : `${path}.${key}`);
    if (where !== undefined) return where;
  }
  return undefined;
}

/** Deep, order of keys aside. */
function equal(left: unknown, right: unknown): boolean {
  return canonicalJson(left) === canonicalJson(right);
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
