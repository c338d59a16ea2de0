export { openCluster } from './adapter';
export type { OpenedCluster } from './adapter';
export type { ClusterAuth, ClusterConnection } from './connection';
export { CALLS, callsOf, NOBODY } from './calls';
export type { CallName, NeededCall } from './calls';
export { hasFeaturesOf } from './paths';
export type * from './cluster';
