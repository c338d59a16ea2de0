import { writeFileSync } from 'node:fs';
import path from 'node:path';
import {
  domainArn,
  fullAccess,
  shareDirectory,
  startAlibabaElasticsearch,
  startAmazonElasticsearch,
  startOss,
  startVersitygw,
} from '../stack';
import { Client } from './client';

/**
 * Both clouds on this machine: real nodes behind stand-ins of the managed services (docs/stand-ins.md), S3 and OSS
 * servers whose folders are the nodes' own repositories.
 */

const SOURCE_VERSION = '5.5.2';
const TARGET_VERSION = '5.6.16';
const REGIONS = { amazon: 'us-east-1', alibaba: 'cn-hangzhou' };
const BUCKETS = { s3: 'es-migration-source', oss: 'es-migration-target' };
const ROLE = 'arn:aws:iam::123456789012:role/es-snapshots';

/** What the environment of a worker holds; the connections file only names these. */
const SECRETS = {
  AWS_KEY: 'AKIDDEMO',
  AWS_SECRET: 'demo-secret-of-amazon',
  ALIBABA_ES_PASSWORD: 'demo-password',
  OSS_KEY: 'demo-oss-key',
  OSS_SECRET: 'demo-secret-of-oss',
};

export interface Clouds {
  readonly source: Client;
  readonly target: Client;
  readonly secrets: Readonly<Record<string, string>>;
  /** Name and address of each server, to be shown. */
  readonly servers: readonly (readonly [string, string])[];
  /** The two files a user writes. */
  readonly files: { readonly connections: string; readonly plan: string };
}

/** Everything lies in the folder `root`. The servers end with `stopAll`. */
export async function startClouds(root: string): Promise<Clouds> {
  const roots = { s3: path.join(root, 's3'), oss: path.join(root, 'oss') };
  for (const store of ['s3', 'oss'] as const) await shareDirectory(path.join(roots[store], BUCKETS[store]));
  const aws = { accessKeyId: SECRETS.AWS_KEY, secretAccessKey: SECRETS.AWS_SECRET };
  const ram = { accessKeyId: SECRETS.OSS_KEY, secretAccessKey: SECRETS.OSS_SECRET };
  const policy = fullAccess(domainArn(REGIONS.amazon), [ROLE]);
  const [s3, oss, amazon, alibaba] = await Promise.all([
    startVersitygw({ root: roots.s3, ...aws }),
    startOss({ root: roots.oss, region: REGIONS.alibaba, ...ram }),
    startAmazonElasticsearch({
      node: SOURCE_VERSION,
      root: roots.s3,
      region: REGIONS.amazon,
      callers: [{ ...aws, arn: 'arn:aws:iam::123456789012:user/engineer', policy }],
      roles: { [ROLE]: { buckets: [BUCKETS.s3] } },
    }),
    startAlibabaElasticsearch({
      node: TARGET_VERSION,
      root: roots.oss,
      region: REGIONS.alibaba,
      password: SECRETS.ALIBABA_ES_PASSWORD,
      keys: { [ram.accessKeyId]: { secret: ram.secretAccessKey, buckets: [BUCKETS.oss] } },
    }),
  ]);
  const endpoints = { s3: s3.endpoint, oss: oss.endpoint, snapshots: alibaba.endpoint };
  const files = { connections: path.join(root, 'connections.yaml'), plan: path.join(root, 'plan.json') };
  writeFileSync(files.connections, connectionsOf(amazon.url, alibaba.url, endpoints));
  writeFileSync(files.plan, `${JSON.stringify(PLAN, null, 2)}\n`);
  return {
    source: new Client(amazon.url, { type: 'sigv4', region: REGIONS.amazon, ...aws }),
    target: new Client(alibaba.url, { type: 'basic', username: 'elastic', password: SECRETS.ALIBABA_ES_PASSWORD }),
    secrets: SECRETS,
    servers: [
      ['source', `Elasticsearch ${SOURCE_VERSION}   ${amazon.url}  an Amazon domain: signed requests, a role`],
      ['', `S3 (versitygw)        ${s3.endpoint}`],
      ['target', `Elasticsearch ${TARGET_VERSION}  ${alibaba.url}  an Alibaba cluster: password, AccessKey`],
      ['', `OSS (our own server)  ${oss.endpoint}`],
    ],
    files,
  };
}

const PLAN = {
  source: 'amazon',
  target: 'alibaba',
  indices: ['movies'],
  repository: {
    source: { store: 's3', basePath: 'snapferry/movies' },
    target: { store: 'oss', basePath: 'snapferry/movies' },
  },
  rounds: { every: '3s' },
  cutover: { approval: false },
};

/** As a user would write it: examples/connections.yaml is the same for the real clouds. */
function connectionsOf(
  amazon: string,
  alibaba: string,
  endpoints: { readonly s3: string; readonly oss: string; readonly snapshots: string },
): string {
  const keys = '{ accessKeyId: { env: AWS_KEY }, secretAccessKey: { env: AWS_SECRET } }';
  return `clusters:
  amazon:
    url: ${amazon}
    auth: { type: sigv4, region: ${REGIONS.amazon}, credentials: ${keys} }
  alibaba:
    url: ${alibaba}
    auth: { type: basic, username: elastic, password: { env: ALIBABA_ES_PASSWORD } }
stores:
  s3:
    type: s3
    bucket: ${BUCKETS.s3}
    region: ${REGIONS.amazon}
    endpoint: ${endpoints.s3}
    pathStyle: true
    credentials: ${keys}
    repository:
      type: s3
      settings: { bucket: ${BUCKETS.s3}, region: ${REGIONS.amazon}, role_arn: '${ROLE}', compress: true }
  oss:
    type: oss
    bucket: ${BUCKETS.oss}
    region: ${REGIONS.alibaba}
    endpoint: ${endpoints.oss}
    credentials: { accessKeyId: { env: OSS_KEY }, accessKeySecret: { env: OSS_SECRET } }
    repository:
      type: oss
      settings:
        endpoint: ${endpoints.snapshots}
        bucket: ${BUCKETS.oss}
        access_key_id: { env: OSS_KEY }
        secret_access_key: { env: OSS_SECRET }
        compress: true
`;
}
