// Real servers on a bare machine, without Docker: for the demo, the tests and `npm run stack`.
export { startAlibabaElasticsearch } from './alibaba-elasticsearch';
export type { AlibabaOptions, AlibabaServer, RamKeys } from './alibaba-elasticsearch';
export { domainArn, fullAccess, startAmazonElasticsearch } from './amazon-elasticsearch';
export type { AmazonOptions, AmazonServer, Caller, SnapshotRoles, Statement } from './amazon-elasticsearch';
export { startElasticsearch } from './elasticsearch';
export type { ElasticsearchOptions, ElasticsearchServer } from './elasticsearch';
export { startOss } from './oss';
export type { Fault, FaultAction, OssOptions, OssServer, SessionToken, Traffic } from './oss';
export { freePort } from './ports';
export { stopAll } from './processes';
export type { Server } from './processes';
export { shareDirectory } from './sharing';
export { startTencentElasticsearch } from './tencent-elasticsearch';
export type { TencentOptions, TencentServer } from './tencent-elasticsearch';
export { startTemporal, temporalCli } from './temporal';
export type { TemporalOptions, TemporalServer } from './temporal';
export { startVersitygw } from './versitygw';
export type { S3Options, S3Server } from './versitygw';
