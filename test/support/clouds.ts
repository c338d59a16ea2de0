import type OSS from 'ali-oss';
import { randomUUID } from 'node:crypto';
import path from 'node:path';
import {
  domainArn,
  fullAccess,
  shareDirectory,
  startAlibabaElasticsearch,
  startAmazonElasticsearch,
  startOss,
} from '../../stack';
import type { AlibabaOptions, AlibabaServer, AmazonServer, OssServer, Statement } from '../../stack';
import { Ferry } from './ferry';
import type { FerryOptions } from './ferry';
import { aliOss, OSS_KEYS } from './oss';
import type { BucketCalls } from './oss';
import { send } from './send';
import { testServers } from './temporal';

type Node = Exclude<AlibabaOptions['node'], string>;

/** Secrets of the model case; none of them may be found anywhere afterwards. */
export const CLOUD_SECRETS = {
  signing: 'planted-signing-secret',
  password: 'planted-password',
  oss: OSS_KEYS.secretAccessKey,
};
const ROLE = 'arn:aws:iam::123456789012:role/es-snapshots';
const CALLER = 'AKIDENGINEER';
const USER = 'elastic';

/**
 * The model case's clouds: an Amazon domain before the shared 5.5.2 node, an Alibaba cluster before the shared 5.6.16
 * node, the shared S3, and an OSS server. Nodes are still reached directly by clients that write.
 */
export interface Clouds {
  readonly amazon: AmazonServer;
  readonly alibaba: AlibabaServer;
  readonly oss: OssServer;
  /** From now on these keys encrypt what is in the buckets of that migration. */
  encryptBy(buckets: Ferry['buckets'], keys: { readonly source: string; readonly target: string }): Promise<void>;
  /** A migration from the one to the other. */
  ferry(options: Pick<FerryOptions, 'indices' | 'plan' | 's3Endpoint' | 'encryption'>): Promise<Ferry>;
  /** From now on each may do exactly this: the caller of the domain, its role, and the key of both cluster and worker. */
  permit(policies: Permitted): Promise<void>;
  stop(): Promise<void>;
}

export interface Permitted {
  readonly caller: readonly Statement[];
  readonly trust: readonly Statement[];
  readonly role: readonly Statement[];
  /** Of the cluster's key on OSS. */
  readonly cluster: readonly Statement[];
  /** Of the worker's. */
  readonly worker: readonly Statement[];
}

export async function startClouds(nodes: { readonly source: Node; readonly target: Node }): Promise<Clouds> {
  const { buckets } = testServers();
  const root = path.join(buckets, `oss-${randomUUID()}`);
  await shareDirectory(root);
  // Looked at with each request, so that buckets made later count.
  const allowed = { amazon: [] as string[], alibaba: [] as string[] };
  const regions: Record<string, string> = {};
  const kmsKeys = { amazon: {} as Record<string, string>, alibaba: {} as Record<string, string> };
  const keys = { accessKeyId: CALLER, secretAccessKey: CLOUD_SECRETS.signing };
  const arn = 'arn:aws:iam::123456789012:user/engineer';
  const caller = { ...keys, arn, policy: fullAccess(domainArn(), [ROLE]) as readonly Statement[] };
  const role: { buckets: string[]; trust?: readonly Statement[]; policy?: readonly Statement[] } = {
    buckets: allowed.amazon,
  };
  const key: { secret: string; buckets: string[]; policy?: readonly Statement[] } = {
    secret: OSS_KEYS.secretAccessKey,
    buckets: allowed.alibaba,
  };
  const oss = await startOss({ root, ...OSS_KEYS });
  const amazon = await startAmazonElasticsearch({
    node: nodes.source,
    root: buckets,
    callers: [caller],
    roles: { [ROLE]: role },
    buckets: regions,
    kmsKeys: kmsKeys.amazon,
  });
  const alibaba = await startAlibabaElasticsearch({
    node: nodes.target,
    root,
    password: CLOUD_SECRETS.password,
    keys: { [OSS_KEYS.accessKeyId]: key },
    kmsKeys: kmsKeys.alibaba,
  });
  return {
    amazon,
    alibaba,
    oss,
    encryptBy: async ({ source, target }, keys) => {
      kmsKeys.amazon[source] = keys.source;
      kmsKeys.alibaba[target] = `acs:kms:cn-hangzhou:123:key/${keys.target}`;
      await oss.setPolicy(undefined);
      const client = aliOss(oss.endpoint, target) as OSS & BucketCalls;
      await client.putBucketEncryption(target, { SSEAlgorithm: 'KMS', KMSMasterKeyID: keys.target });
    },
    ferry: async (options) => {
      const ferry = await Ferry.create({
        ...options,
        source: amazon.url,
        target: alibaba.url,
        oss: { root, ...OSS_KEYS, endpoint: oss.endpoint },
        environment: {
          CLOUD_CALLER: CALLER,
          CLOUD_SIGNING: CLOUD_SECRETS.signing,
          CLOUD_PASSWORD: CLOUD_SECRETS.password,
        },
        connections: { clusters: clusters(amazon, alibaba) },
        repositories: repositories(amazon, alibaba),
      });
      allowed.amazon.push(ferry.buckets.source);
      regions[ferry.buckets.source] = 'us-east-1';
      allowed.alibaba.push(ferry.buckets.target);
      return ferry;
    },
    permit: async (policies) => {
      caller.policy = policies.caller;
      Object.assign(role, { trust: policies.trust, policy: policies.role });
      key.policy = policies.cluster;
      await oss.setPolicy(policies.worker);
    },
    stop: async () => {
      for (const server of [amazon, alibaba, oss]) await server.stop();
      await send(nodes.source.url, 'DELETE', '/_snapshot/cs-automated');
      await send(nodes.target.url, 'DELETE', '/_snapshot/aliyun_auto_snapshot');
    },
  };
}

function clusters(amazon: AmazonServer, alibaba: AlibabaServer): object {
  const credentials = { accessKeyId: { env: 'CLOUD_CALLER' }, secretAccessKey: { env: 'CLOUD_SIGNING' } };
  return {
    source: { url: amazon.url, auth: { type: 'sigv4', region: amazon.region, credentials } },
    target: { url: alibaba.url, auth: { type: 'basic', username: USER, password: { env: 'CLOUD_PASSWORD' } } },
  };
}

/** The bucket is said to be in the domain's region and is not: the domain refuses that, and keeps the registration. */
function repositories(amazon: AmazonServer, alibaba: AlibabaServer): FerryOptions['repositories'] {
  return {
    source: (bucket) => ({
      type: 's3',
      settings: { bucket, region: amazon.region, role_arn: ROLE, server_side_encryption: true, compress: true },
    }),
    target: (bucket) => ({
      type: 'oss',
      settings: {
        endpoint: alibaba.endpoint,
        bucket,
        access_key_id: { env: 'FERRY_OSS_KEY' },
        secret_access_key: { env: 'FERRY_OSS_SECRET' },
        compress: true,
      },
    }),
  };
}
