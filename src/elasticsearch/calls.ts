/**
 * Every call that a migration makes of a cluster, as policies of services see it: one table for the policies that
 * `snapferry policies` prints and for the dry probes by which preflight finds out what is not permitted.
 */

type Side = 'source' | 'target';

export interface NeededCall {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** `*` stands for names, several of them joined by commas. */
  readonly path: string;
  /** The statement of a policy that permits it; all calls of one statement have one method. */
  readonly statement: string;
  readonly why: string;
  readonly sides: readonly Side[];
  /** Without it a migration runs, but preflight cannot judge all of the plan. */
  readonly isAdvisory?: true;
  /** Only for a plan with this. */
  readonly onlyFor?: 'documents' | 'recoveryThrottle' | 'ourRegistration' | 'closing' | 'deleting';
  /**
   * How preflight asks whether it is permitted: names are such that nobody has, so that nothing changes. Undefined where
   * preflight makes the call anyway.
   */
  readonly probe?: { readonly query?: string; readonly body?: object; readonly accept?: readonly number[] };
}

const BOTH = ['source', 'target'] as const;
const SOURCE = ['source'] as const;
const TARGET = ['target'] as const;
/** What a cluster has around the indices: judged where it is told, and not missed where a version does not know it. */
const SURROUNDINGS = {
  method: 'GET',
  statement: 'ReadSurroundings',
  sides: BOTH,
  isAdvisory: true,
  probe: { query: 'filter_path=none' },
} as const;

/** Nothing has this name, in a cluster or a store, so that a call about it changes nothing. */
export const NOBODY = 'snapferry-asks-whether-it-may';

export const CALLS = {
  identity: {
    ...{ method: 'GET', path: '/', statement: 'ReadIndices', sides: BOTH },
    why: 'which cluster this is, and of which version',
  },
  indices: {
    ...{ method: 'GET', path: '/_cat/indices', statement: 'ReadIndices', sides: BOTH },
    why: 'which indices there are',
  },
  readSettings: {
    ...{ method: 'GET', path: '/*/_settings', statement: 'ReadIndices', sides: BOTH },
    why: 'uuids, shards and blocks of indices',
  },
  readAliases: {
    ...{ method: 'GET', path: '/*/_alias', statement: 'ReadIndices', sides: BOTH },
    why: 'aliases: what the plan may name, what stands in its way, what the switchover moves',
  },
  mappings: {
    ...{ method: 'GET', path: '/*/_mapping', statement: 'ReadIndices', sides: BOTH, probe: {} },
    why: 'mappings are compared before the cutover',
  },
  repositories: {
    ...{ method: 'GET', path: '/_snapshot', statement: 'ReadSnapshots', sides: BOTH },
    why: 'who writes to the locations of the plan',
  },
  readSnapshots: {
    ...{ method: 'GET', path: '/_snapshot/*', statement: 'ReadSnapshots', sides: BOTH, probe: {} },
    why: 'how far snapshots are, and whether another runs',
  },
  stats: {
    ...{ method: 'GET', path: '/*/_stats/docs,indexing', statement: 'ReadProofs', sides: BOTH, probe: {} },
    why: 'counters by shard prove that writes rest and that nothing is missing',
  },
  segments: {
    ...{ method: 'GET', path: '/*/_segments', statement: 'ReadProofs', sides: BOTH, probe: {} },
    why: 'segments are compared before the cutover',
  },
  count: {
    ...{ method: 'GET', path: '/*/_count', statement: 'ReadProofs', sides: BOTH, probe: {} },
    why: 'documents are counted before the cutover',
  },
  tasks: {
    ...{ method: 'GET', path: '/_tasks', statement: 'ReadProofs', sides: SOURCE },
    why: 'writes in flight, where there is no _block',
  },
  recoveries: {
    ...{ method: 'GET', path: '/*/_recovery', statement: 'ReadRestores', sides: TARGET, probe: {} },
    why: 'how far a restore is',
  },
  health: {
    ...{ method: 'GET', path: '/_cluster/health/*', statement: 'ReadRestores', sides: TARGET },
    // 408 is how it says that the index is not green in no time at all.
    probe: { query: 'level=indices&timeout=0s', accept: [408] },
    why: 'whether every primary and replica is there',
  },
  explain: {
    ...{ method: 'POST', path: '/_cluster/allocation/explain', statement: 'ExplainShards', sides: TARGET },
    probe: { body: { index: NOBODY, shard: 0, primary: true } },
    why: 'why a shard is not there',
  },
  register: {
    ...{ method: 'PUT', path: '/_snapshot/*', statement: 'WriteSnapshots', sides: BOTH },
    ...{ onlyFor: 'ourRegistration' },
    why: 'registers the repository',
  },
  snapshot: {
    ...{ method: 'PUT', path: '/_snapshot/*/*', statement: 'WriteSnapshots', sides: SOURCE, probe: {} },
    why: 'every round takes a snapshot',
  },
  unregister: {
    ...{ method: 'DELETE', path: '/_snapshot/*', statement: 'Unregister', sides: BOTH, probe: {} },
    ...{ onlyFor: 'ourRegistration' },
    why: 'removes our registrations, and before each restore renews the one of the target',
  },
  restore: {
    ...{ method: 'POST', path: '/_snapshot/*/*/_restore', statement: 'Restore', sides: TARGET, probe: {} },
    why: 'every round restores',
  },
  close: {
    ...{ method: 'POST', path: '/*/_close', statement: 'CloseIndices', sides: TARGET, probe: {} },
    ...{ onlyFor: 'closing' },
    why: 'a round restores over what the last one left, which must be closed for it',
  },
  delete: {
    ...{ method: 'DELETE', path: '/*', statement: 'DeleteIndices', sides: TARGET, probe: {} },
    ...{ onlyFor: 'deleting' },
    why: 'a round deletes what the last one left',
  },
  refresh: {
    ...{ method: 'POST', path: '/*/_refresh', statement: 'RefreshIndices', sides: BOTH, probe: {} },
    why: 'counts are taken after a refresh',
  },
  settings: {
    ...{ method: 'PUT', path: '/*/_settings', statement: 'ChangeSettings', sides: BOTH },
    probe: { body: { 'index.blocks.write': true } },
    why: 'writes are blocked and allowed by it, replicas are set by it',
  },
  block: {
    ...{ method: 'PUT', path: '/*/_block/write', statement: 'BlockWrites', sides: SOURCE, probe: {} },
    why: 'the freeze blocks writes by it, where the cluster has it (from 7.9 on)',
  },
  aliases: {
    ...{ method: 'POST', path: '/_aliases', statement: 'SwitchAliases', sides: TARGET },
    probe: { body: { actions: [{ remove: { index: NOBODY, alias: NOBODY } }] } },
    why: 'the switchover moves aliases by it',
  },
  search: {
    ...{ method: 'POST', path: '/*/_search', statement: 'SearchIndices', sides: BOTH, onlyFor: 'documents' },
    probe: { body: { size: 0 } },
    why: 'documents and golden queries are compared before the cutover',
  },
  scroll: {
    ...{ method: 'POST', path: '/_search/scroll', statement: 'SearchIndices', sides: BOTH, onlyFor: 'documents' },
    why: 'documents are read in pages',
  },
  endScroll: {
    ...{ method: 'DELETE', path: '/_search/scroll', statement: 'EndSearches', sides: BOTH, onlyFor: 'documents' },
    probe: { body: { scroll_id: [NOBODY] }, accept: [404] },
    why: 'frees what a scroll holds',
  },
  readClusterSettings: {
    ...{ method: 'GET', path: '/_cluster/settings', statement: 'ReadSurroundings', sides: TARGET, isAdvisory: true },
    why: 'limits of shards and disks; the throttle of recoveries, where the plan sets it',
  },
  throttle: {
    ...{ method: 'PUT', path: '/_cluster/settings', statement: 'RaiseThrottle', sides: TARGET },
    ...{ onlyFor: 'recoveryThrottle', probe: { body: { transient: {} } } },
    why: 'limits.recoveryBytesPerSecond of the plan, and what was there before',
  },
  allocation: {
    ...{ method: 'GET', path: '/_cat/allocation', statement: 'ReadSurroundings', sides: TARGET, isAdvisory: true },
    probe: { query: 'format=json&h=node' },
    why: 'whether the target has disk and shards left',
  },
  templates: {
    ...SURROUNDINGS,
    path: '/_template',
    why: 'which templates the target lacks',
  },
  composableTemplates: {
    ...SURROUNDINGS,
    path: '/_index_template',
    why: 'which templates the target lacks',
  },
  pipelines: {
    ...SURROUNDINGS,
    path: '/_ingest/pipeline',
    why: 'which pipelines the target lacks',
  },
  dataStreams: {
    ...SURROUNDINGS,
    path: '/_data_stream',
    sides: SOURCE,
    why: 'whether a pattern means a data stream, which is not moved',
  },
  warmIndices: {
    ...SURROUNDINGS,
    path: '/_cat/indices/_warm',
    sides: SOURCE,
    probe: { query: 'format=json&h=index' },
    why: 'which indices lie in UltraWarm, from where they are not moved',
  },
  coldIndices: {
    ...SURROUNDINGS,
    path: '/_cold/indices/_search',
    sides: SOURCE,
    why: 'which indices lie in cold storage, where no other call sees them',
  },
  plugins: {
    ...SURROUNDINGS,
    path: '/_cat/plugins',
    sides: TARGET,
    probe: { query: 'format=json&h=component' },
    why: 'whether the target knows the types of fields that plugins bring',
  },
  snapshotPolicies: {
    ...SURROUNDINGS,
    path: '/_slm/policy',
    why: 'whether a schedule writes to the locations of the plan',
  },
  componentTemplates: {
    ...SURROUNDINGS,
    path: '/_component_template',
    why: 'which templates the target lacks',
  },
  lifecyclePolicies: {
    ...SURROUNDINGS,
    path: '/_ilm/policy',
    why: 'which policies the target lacks',
  },
  statePolicies: {
    ...SURROUNDINGS,
    path: '/_opendistro/_ism/policies',
    why: 'which policies the target lacks',
  },
  scripts: {
    ...SURROUNDINGS,
    path: '/_cluster/state/metadata',
    why: 'which stored scripts the target lacks',
  },
  analyze: {
    ...{ method: 'POST', path: '/_analyze', statement: 'AnalyzeText', sides: BOTH, isAdvisory: true },
    probe: { body: { analyzer: 'standard', text: 'x' } },
    why: 'whether the target knows the analyzers of the indices',
  },
} as const satisfies Readonly<Record<string, NeededCall>>;

export type CallName = keyof typeof CALLS;

type Wanted = Readonly<Record<NonNullable<NeededCall['onlyFor']>, boolean>>;

/** The calls that a plan makes of that cluster, in the order of the table. */
export function callsOf(side: Side, wanted: Wanted): (readonly [CallName, NeededCall])[] {
  const all = Object.entries(CALLS) as [CallName, NeededCall][];
  return all.filter(([, { sides, onlyFor }]) => sides.includes(side) && (onlyFor === undefined || wanted[onlyFor]));
}
