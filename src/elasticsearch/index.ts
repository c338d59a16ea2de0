export { openCluster } from './adapter';
export type { OpenedCluster } from './adapter';
export type { ClusterAuth, ClusterConnection } from './connection';
export { hasFeaturesOf } from './paths';
export type * from './cluster';
