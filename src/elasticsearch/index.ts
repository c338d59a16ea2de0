export { openCluster } from './adapter';
export type { OpenedCluster } from './adapter';
export type { ClusterAuth, ClusterConnection } from './connection';
export type * from './cluster';
