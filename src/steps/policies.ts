import type { Config } from '../config';
import { ConfigurationError } from '../domain/errors';
import { probesFolder } from '../domain/names';
import { isShared } from '../domain/plan';
import type { ResolvedPlan } from '../domain/plan';
import type { NotedStatement, Policy } from '../domain/policies';
import { callsOf } from '../elasticsearch';
import type { ClusterConnection } from '../elasticsearch';
import { openStore } from '../storage';
import type { StoreConnection } from '../storage';
import { wantedBy } from './surroundings';

/**
 * The least that everybody who takes part in a plan must be allowed, for `snapferry policies`. Nothing is asked of any
 * service. Sources, by what they say:
 *
 * - es: `es:ESHttp<Method>` on `<domain>/<path>`, patterns with `*` that cross slashes:
 *   docs.aws.amazon.com/opensearch-service/latest/developerguide/ac.html. A call names many indices in one path
 *   (`a,b,c/_settings`), so that a policy can tell calls apart, but not the indices of a plan.
 * - snapshots of a domain: trust of es.amazonaws.com with SourceAccount and SourceArn, ListBucket on the bucket, Get, Put
 *   and DeleteObject below it, PassRole for who registers: .../developerguide/managedomains-snapshots.html
 * - s3: docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html. HEAD is GetObject; parts and
 *   copies are PutObject. Without ListBucket a missing key is 403 in place of 404 (API_HeadObject.html), and a request for
 *   a key has no `s3:prefix`, so that ListBucket bears no condition: names of the bucket may be read, contents not.
 * - kms: GenerateDataKey to write, Decrypt to read and for parts: repost.aws/knowledge-center/s3-large-file-encryption-kms-key.
 *   The key that AWS itself manages (no keyId) needs no statement: its own policy admits who may use the bucket.
 * - oss: www.alibabacloud.com/help/en/oss/user-guide/authorization-syntax-and-elements (actions by API)
 */

/** Domains by cluster whose url does not tell them: `arn:aws:es:REGION:ACCOUNT:domain/NAME`. */
export type Domains = Readonly<Record<string, string>>;

type Side = 'source' | 'target';

/** @throws ConfigurationError for names that the connections file lacks, and for a domain that cannot be told */
export function policiesFor(plan: ResolvedPlan, config: Config, domains: Domains = {}): Policy[] {
  const sides = ['source', 'target'] as const;
  return [
    ...sides.flatMap((side) => callerPolicies(plan, config, side, domains)),
    ...sides.flatMap((side) => clusterPolicies(plan, config, side, domains)),
    ...workerPolicies(plan, config),
  ];
}

// --- Who calls a domain ---------------------------------------------------------------------------------------------

function callerPolicies(plan: ResolvedPlan, config: Config, side: Side, domains: Domains): Policy[] {
  const connection = config.cluster(plan[side]);
  if (connection.auth.type !== 'sigv4' || connection.auth.service === 'aoss') return [];
  const role = roleOf(plan, config, side);
  const domain = domainOf(connection, role, domains);
  const statements = new Map<string, { action: string; paths: string[]; why: string[] }>();
  for (const [, { method, path, statement: sid, why }] of callsOf(side, wantedBy(plan, side))) {
    const action = `es:ESHttp${method.charAt(0)}${method.slice(1).toLowerCase()}`;
    const { paths, why: all } = statements.get(sid) ?? { paths: [], why: [] };
    statements.set(sid, { action, paths: [...paths, path], why: [...all, `${method} ${path}: ${why}`] });
  }
  const noted: NotedStatement[] = [...statements].map(([sid, { action, paths, why }]) => ({
    ...{ sid, Effect: 'Allow', neededFor: why },
    Action: [action],
    Resource: withoutCovered(paths).map((path) => `${domain}${path}`),
  }));
  if (role !== undefined && plan.repository[side].name === undefined) {
    noted.push({
      ...{ sid: 'PassRole', Effect: 'Allow', Action: ['iam:PassRole'], Resource: [role] },
      neededFor: [`PUT /_snapshot/*: the domain is given the role for snapshots`],
    });
  }
  const holder = `who signs the requests to cluster '${plan[side]}' (clusters.${plan[side]}.auth)`;
  return [{ name: `${side} caller`, holder, kind: 'IAM policy', statements: noted }];
}

/** `*` crosses slashes: `/_snapshot/*` is `/_snapshot/a/b` too. */
function withoutCovered(paths: readonly string[]): string[] {
  return paths.filter(
    (path) => !paths.some((other) => other !== path && other.endsWith('/*') && path.startsWith(other.slice(0, -1))),
  );
}

/** `search-movies-abc.ap-southeast-1.es.amazonaws.com`: name and region are in it, the account is that of its role. */
const OF_SERVICE = /^(?:search|vpc)-(.+)-[a-z0-9]+\.([a-z0-9-]+)\.(?:es|aos)\.amazonaws\.com(?:\.cn)?$/;

function domainOf({ name, url, auth }: ClusterConnection, role: string | undefined, domains: Domains): string {
  const given = Object.hasOwn(domains, name) ? domains[name] : undefined;
  if (given !== undefined) return given;
  const [, domain, region] = OF_SERVICE.exec(new URL(url).hostname) ?? [];
  if (domain === undefined || region === undefined) {
    throw new ConfigurationError(
      `The url of cluster '${name}' does not tell which domain it is: add --domain ${name}=arn:aws:es:` +
        `${auth.type === 'sigv4' ? auth.region : 'REGION'}:ACCOUNT:domain/NAME`,
      { subject: { cluster: name } },
    );
  }
  return `arn:${partitionOf(region)}:es:${region}:${accountOf(role) ?? '*'}:domain/${domain}`;
}

function partitionOf(region: string): string {
  if (region.startsWith('cn-')) return 'aws-cn';
  return region.startsWith('us-gov-') ? 'aws-us-gov' : 'aws';
}

/** `arn:aws:iam::123456789012:role/name` */
function accountOf(role: string | undefined): string | undefined {
  return role?.split(':')[4];
}

// --- How clusters reach their repository ----------------------------------------------------------------------------

/** The cluster of the source writes the repository; that of the target registers it read-only. */
function clusterPolicies(plan: ResolvedPlan, config: Config, side: Side, domains: Domains): Policy[] {
  const { store, basePath } = plan.repository[side];
  const cluster = plan[side];
  const { type, settings } = config.repositoryDefinition(store, cluster, basePath);
  if (settings['bucket'] === undefined || (type !== 's3' && type !== 'oss')) return [];
  const connection = config.store(store);
  const region = connection.type === 's3' ? connection.region : String(settings['region'] ?? '');
  const place = { cloud: type === 's3' ? s3In(region) : OSS, bucket: String(settings['bucket']) };
  const role = roleOf(plan, config, side);
  const isWriter = side === 'source';
  const statements = [
    ...(isWriter
      ? writes(place, basePath, cluster)
      : reads(place, [basePath, probesFolder(plan.repository.work)], cluster)),
    ...keyOf(connection, role, isWriter, cluster),
  ];
  const policy: Policy = {
    name: `${side} cluster on ${store}`,
    holder: holderOf(cluster, store, role ?? settings['ecs_ram_role']),
    kind: place.cloud.kind,
    statements,
  };
  return role === undefined ? [policy] : [trustOf(config, side, cluster, role, domains), policy];
}

function holderOf(cluster: string, store: string, role: unknown): string {
  if (role !== undefined) return `role ${String(role)} of cluster '${cluster}'`;
  return `whose keys cluster '${cluster}' is given for its repository (stores.${store}.repository)`;
}

function roleOf(plan: ResolvedPlan, config: Config, side: Side): string | undefined {
  const { store, basePath } = plan.repository[side];
  const { type, settings } = config.repositoryDefinition(store, plan[side], basePath);
  const role = settings['role_arn'];
  return type === 's3' && typeof role === 'string' ? role : undefined;
}

/** The conditions keep other accounts' domains from using the role through the service (confused deputy). */
function trustOf(config: Config, side: Side, cluster: string, role: string, domains: Domains): Policy {
  const connection = config.cluster(cluster);
  const domain = domainOf(connection, role, domains);
  const account = accountOf(role) ?? '*';
  const trust: NotedStatement = {
    ...{
      sid: 'TrustTheDomain',
      Effect: 'Allow',
      Principal: { Service: 'es.amazonaws.com' },
      Action: ['sts:AssumeRole'],
    },
    Condition: { StringEquals: { 'aws:SourceAccount': [account] }, ArnLike: { 'aws:SourceArn': [domain] } },
    neededFor: [`cluster '${cluster}' reads and writes its repository in this role`],
  };
  return { name: `${side} trust`, holder: `role ${role}`, kind: 'IAM trust policy', statements: [trust] };
}

// --- The worker -----------------------------------------------------------------------------------------------------

function workerPolicies(plan: ResolvedPlan, config: Config): Policy[] {
  const { source, target, work } = plan.repository;
  const [from, to] = [config.store(source.store), config.store(target.store)];
  const shared = isShared(plan);
  const given = (store: string, connection: StoreConnection, statements: (place: Place) => NotedStatement[]) => {
    const place = placeOf(connection);
    if (place === undefined) return [];
    const holder = `whose keys the worker uses for store '${store}' (stores.${store}.credentials)`;
    return [{ name: `worker on ${store}`, holder, kind: place.cloud.kind, statements: statements(place) }];
  };
  const isCopiedByStore = !shared && openStore(to).copierFrom?.(openStore(from)) !== undefined;
  return [
    ...(shared
      ? []
      : given(source.store, from, (place) => [
          ...reads(place, [source.basePath], WORKER),
          properties(place),
          ...keyOf(from, undefined, false, WORKER),
        ])),
    // A shared repository is written by the cluster alone: the worker reads it, and keeps its own files beside it.
    ...given(target.store, to, (place) => [
      ...(shared ? workFiles(place, work, [target.basePath]) : blobsAndWorkFiles(place, work, target.basePath)),
      ...(isCopiedByStore ? [copies(placeOf(from)!, source.basePath)] : []),
      properties(place),
      ...keyOf(to, undefined, true, WORKER),
    ]),
  ];
}

const WORKER = 'the worker';

function placeOf(connection: StoreConnection): Place | undefined {
  if (connection.type === 'directory') return undefined;
  return { cloud: connection.type === 's3' ? s3In(connection.region) : OSS, bucket: connection.bucket };
}

// --- Buckets --------------------------------------------------------------------------------------------------------

/** What a cloud calls its actions and buckets. */
interface Cloud {
  readonly kind: 'IAM policy' | 'RAM policy';
  readonly bucketPrefix: string;
  readonly list: string;
  readonly get: string;
  readonly put: string;
  readonly remove: string;
  readonly listUploads: string;
  readonly endUploads: readonly string[];
  /** What a bucket says of itself: the action, and the call with what it is for. */
  readonly properties: Readonly<Record<string, string>>;
}

interface Place {
  readonly cloud: Cloud;
  readonly bucket: string;
}

const RULES = 'whether rules delete or archive blobs while a migration needs them';

function s3In(region: string): Cloud {
  return {
    kind: 'IAM policy',
    bucketPrefix: `arn:${partitionOf(region)}:s3:::`,
    list: 's3:ListBucket',
    get: 's3:GetObject',
    put: 's3:PutObject',
    remove: 's3:DeleteObject',
    listUploads: 's3:ListBucketMultipartUploads',
    endUploads: ['s3:AbortMultipartUpload', 's3:ListMultipartUploadParts'],
    properties: {
      's3:GetBucketVersioning': 'get bucket versioning: whether what is overwritten or deleted stays',
      's3:GetLifecycleConfiguration': `get bucket lifecycle: ${RULES}`,
      's3:GetEncryptionConfiguration': 'get bucket encryption: which key the bucket encrypts by',
    },
  };
}

const OSS: Cloud = {
  kind: 'RAM policy',
  bucketPrefix: 'acs:oss:*:*:',
  list: 'oss:ListObjects',
  get: 'oss:GetObject',
  put: 'oss:PutObject',
  remove: 'oss:DeleteObject',
  listUploads: 'oss:ListMultipartUploads',
  endUploads: ['oss:AbortMultipartUpload', 'oss:ListParts'],
  properties: {
    'oss:GetBucketInfo': 'get bucket info: its region, versioning, storage class and key',
    'oss:GetBucketLifecycle': `get bucket lifecycle: ${RULES}`,
  },
};

function bucketOf({ cloud, bucket }: Place): string[] {
  return [`${cloud.bucketPrefix}${bucket}`];
}

/** Folders without slashes at their ends; an empty one is the whole bucket. */
function below(place: Place, ...folders: readonly string[]): string[] {
  return folders.map((folder) => `${bucketOf(place)[0]}/${folder === '' ? '*' : `${folder}/*`}`);
}

function reads(place: Place, folders: readonly string[], who: string): NotedStatement[] {
  const { list, get } = place.cloud;
  return [
    allowed('ListRepository', [list], bucketOf(place), [
      `list objects, head bucket: ${who} lists the repository, and is told of a missing blob that it is missing`,
    ]),
    allowed('ReadRepository', [get], below(place, ...folders), [`get and head object: ${who} reads the repository`]),
  ];
}

function writes(place: Place, basePath: string, who: string): NotedStatement[] {
  const { put, remove } = place.cloud;
  return [
    ...reads(place, [basePath], who),
    allowed('WriteRepository', [put], below(place, basePath), [`put object, upload part: ${who} writes snapshots`]),
    allowed('CleanRepository', [remove], below(place, basePath), [
      `delete object: ${who} removes older index-N, and the files by which it verifies a repository`,
    ]),
  ];
}

function workFiles(place: Place, work: string, alsoRead: readonly string[]): NotedStatement[] {
  const { list, get, put, remove } = place.cloud;
  return [
    allowed('ListTarget', [list], bucketOf(place), [
      'list objects: what the target holds; and a missing blob is told to be missing',
    ]),
    allowed('ReadTarget', [get], below(place, ...alsoRead, work), [
      'get and head object: proofs of blobs, work files, evidence',
    ]),
    allowed('WriteWorkFiles', [put], below(place, work), ['put object: work files and evidence']),
    allowed('RemoveWorkFiles', [remove], below(place, work), [
      'delete object: the probe of preflight, claims that are given up; never a blob of the repository',
    ]),
  ];
}

function blobsAndWorkFiles(place: Place, work: string, basePath: string): NotedStatement[] {
  const { put, listUploads, endUploads } = place.cloud;
  return [
    ...workFiles(place, work, [basePath]),
    allowed('WriteBlobs', [put], below(place, basePath), ['put object, begin upload, upload part: blobs']),
    allowed('ListUploads', [listUploads], bucketOf(place), [
      'list uploads: those in parts that nobody goes on with are found',
    ]),
    allowed('EndUploads', endUploads, below(place, basePath), [
      'abort upload, list parts: large blobs go on where they were, or are given up',
    ]),
  ];
}

function copies(place: Place, basePath: string): NotedStatement {
  return allowed('CopyFromSource', [place.cloud.get], below(place, basePath), [
    'copy object, upload part copy: the store copies by itself; without it the bytes pass the worker',
  ]);
}

/** Asked by preflight alone, which judges less without them. */
function properties(place: Place): NotedStatement {
  const { properties: asked } = place.cloud;
  return allowed('ReadBucketProperties', Object.keys(asked), bucketOf(place), Object.values(asked));
}

// --- Keys -----------------------------------------------------------------------------------------------------------

/** Of the key that the store names; a key that the provider itself manages needs no statement. */
function keyOf(
  connection: StoreConnection,
  role: string | undefined,
  isWriter: boolean,
  who: string,
): NotedStatement[] {
  if (connection.type === 'directory' || connection.encryption?.type === 'AES256') return [];
  const keyId = connection.encryption?.keyId;
  if (keyId === undefined) return [];
  const { region } = connection;
  if (connection.type === 'oss') return [usingKey(isWriter, who, `acs:kms:${region}:*:key/${keyId}`)];
  const keys = `arn:${partitionOf(region)}:kms:${region}:${accountOf(role) ?? '*'}:key`;
  const alias = /(?:^|:)(alias\/.+)$/.exec(keyId)?.[1];
  if (alias === undefined) return [usingKey(isWriter, who, keyId.startsWith('arn:') ? keyId : `${keys}/${keyId}`)];
  // An alias stands in no Resource: docs.aws.amazon.com/kms/latest/developerguide/alias-authorization.html
  const Condition = { 'ForAnyValue:StringEquals': { 'kms:ResourceAliases': [alias] } };
  return [{ ...usingKey(isWriter, who, `${keys}/*`), Condition }];
}

function usingKey(isWriter: boolean, who: string, resource: string): NotedStatement {
  return allowed(
    'UseKey',
    [...(isWriter ? ['kms:GenerateDataKey'] : []), 'kms:Decrypt'],
    [resource],
    [
      ...(isWriter ? [`generate data key: ${who} writes blobs that the key encrypts`] : []),
      `decrypt: ${who} reads them${isWriter ? ', and adds parts to an upload' : ''}`,
    ],
  );
}

function allowed(
  sid: string,
  Action: readonly string[],
  Resource: readonly string[],
  neededFor: readonly string[],
): NotedStatement {
  return { sid, Effect: 'Allow', Action, Resource, neededFor };
}
