// A cluster of Alibaba Cloud Elasticsearch, as strict as the service where a migration meets it: basic authentication,
// `oss` repositories as its plugin makes them, its own repository of automated snapshots. A real node answers the rest.
// What is refused, and who says so: docs/stand-ins.md.
import { existsSync } from 'node:fs';
import path from 'node:path';
import { BucketRepositories } from './bucket-repositories';
import type { Settings } from './bucket-repositories';
import { startElasticsearch } from './elasticsearch';
import { NodeHttp, objectIn, startFront } from './managed-service';
import type { Front, FrontOptions, NodeBehind, Reply, ServiceRequest } from './managed-service';
import { allows } from './policy';
import type { Statement } from './policy';
import { shareDirectory } from './sharing';
import { refusal, unauthenticated } from './x-pack';

/** An AccessKey pair of RAM: the buckets it may use, all of them, or exactly what a policy says. */
export interface RamKey {
  readonly secret: string;
  readonly buckets?: readonly string[];
  /** Looked at with every request: a test may change it. */
  readonly policy?: readonly Statement[];
}

/** By AccessKey id. */
export type RamKeys = Readonly<Record<string, RamKey>>;

export interface AlibabaOptions extends FrontOptions {
  /** A node that has `root` in its `path.repo`; one of a version is started, and stopped with the cluster. */
  readonly node: NodeBehind | string;
  /** Each folder in it is a bucket. */
  readonly root: string;
  readonly password: string;
  /** Default `elastic`, which is the only user of a new cluster. */
  readonly username?: string;
  readonly keys: RamKeys;
  /** ECS RAM roles of the nodes, which need no keys: the buckets each may use. */
  readonly ecsRamRoles?: Readonly<Record<string, readonly string[]>>;
  /** Default cn-hangzhou. */
  readonly region?: string;
  /** Regions of buckets that are not in the cluster's. */
  readonly buckets?: Readonly<Record<string, string>>;
  /** Keys of KMS (`acs:kms:...:key/ID`) that encrypt what is in a bucket. */
  readonly kmsKeys?: Readonly<Record<string, string>>;
}

export interface AlibabaServer extends Front {
  readonly version: string;
  /** What `endpoint` of a repository must be: OSS as the nodes reach it. */
  readonly endpoint: string;
}

const AUTOMATED = 'aliyun_auto_snapshot';
/** `Property.Filtered` in the plugin's OssClientSettings. */
const FILTERED = ['access_key_id', 'secret_access_key', 'security_token', 'ecs_ram_role', 'auto_snapshot_bucket'];

export async function startAlibabaElasticsearch(options: AlibabaOptions): Promise<AlibabaServer> {
  const started =
    typeof options.node === 'string'
      ? await startElasticsearch({ version: options.node, pathRepo: [options.root] })
      : undefined;
  const cluster = new Cluster(options, started ?? (options.node as NodeBehind));
  await cluster.prepare();
  const front = await startFront(options, (request) => cluster.answer(request));
  return {
    url: front.url,
    version: cluster.version,
    endpoint: cluster.endpoint,
    stop: async () => {
      await front.stop();
      cluster.close();
      await started?.stop();
    },
  };
}

/** `stays`: the registration, although the answer is an error. */
interface Fault {
  readonly type: string;
  readonly reason: string;
  readonly stays: boolean;
}

class Cluster {
  readonly version: string;
  readonly endpoint: string;
  private readonly region: string;
  private readonly http: NodeHttp;
  private readonly repositories: BucketRepositories;

  constructor(
    private readonly options: AlibabaOptions,
    node: NodeBehind,
  ) {
    this.version = node.version;
    this.region = options.region ?? 'cn-hangzhou';
    this.endpoint = `http://oss-${this.region}-internal.aliyuncs.com`;
    this.http = new NodeHttp(node);
    this.repositories = new BucketRepositories('oss', path.resolve(options.root), this.http);
  }

  async prepare(): Promise<void> {
    const location = path.join(path.resolve(this.options.root), `.${AUTOMATED}`);
    await shareDirectory(location);
    await this.http.must('PUT', `/_snapshot/${AUTOMATED}`, { type: 'fs', settings: { location, compress: true } });
  }

  close(): void {
    this.http.close();
  }

  async answer(request: ServiceRequest): Promise<Reply> {
    const { username = 'elastic', password } = this.options;
    const denied = unauthenticated(request, { username, password }, this.major);
    if (denied !== undefined) return denied;
    return request.parts[0] === '_snapshot' ? this.snapshots(request) : this.http.forward(request);
  }

  private async snapshots(request: ServiceRequest): Promise<Reply> {
    const { method, parts } = request;
    const [, name, snapshot] = parts;
    if (name === '_status') return this.http.forward(request);
    if (method === 'GET' && snapshot === undefined) {
      return this.repositories.show(await this.http.forward(request), (one, { type, settings }) =>
        one === AUTOMATED
          ? { type: 'oss', settings: { compress: 'true', base_path: 'snapshot', endpoint: this.endpoint } }
          : { type, settings: Object.fromEntries(Object.entries(settings).filter(([key]) => !FILTERED.includes(key))) },
      );
    }
    if (name === undefined) return this.http.forward(request);
    if (method !== 'GET' && concernsAutomated(name)) return this.untouchable(method);
    if ((method === 'PUT' || method === 'POST') && snapshot === undefined) return this.register(request, name);
    if (method === 'DELETE' && snapshot === undefined) return this.http.forward(request);
    const registered = name === AUTOMATED ? undefined : await this.repositories.find(name);
    const isWriting = method !== 'GET' && parts[3] !== '_restore';
    const fault = registered && this.faultOf(registered.settings, isWriting);
    return fault === undefined ? this.http.forward(request) : failed(name, fault);
  }

  private async register(request: ServiceRequest, name: string): Promise<Reply> {
    const { type, settings } = objectIn(request.body) ?? {};
    // Nodes of the service have other types too, and nowhere to keep an `fs` repository: they say so themselves.
    if (type !== 'oss' || typeof settings !== 'object' || settings === null) return noSuchType(name, String(type));
    const isReadOnly = String((settings as Settings)['readonly']) === 'true';
    const fault = this.faultOf(settings as Settings, !isReadOnly);
    if (fault !== undefined && !fault.stays) return failed(name, fault);
    const reply = await this.repositories.register(name, settings as Settings, fault === undefined);
    // Before 7.0 nobody verifies what is read-only, so a mistake shows at its first use.
    const isVerified = this.major >= 7 || !isReadOnly;
    return fault === undefined || !isVerified || reply.status >= 300 ? reply : failed(name, fault);
  }

  /** Why the nodes cannot get at the bucket, in the plugin's order; asked anew with each use. */
  private faultOf(settings: Settings, isWriting: boolean): Fault | undefined {
    const text = (key: string) => (settings[key] === undefined ? '' : String(settings[key]));
    const bucket = text('bucket');
    if (bucket === '') return made('repository_exception', 'Setting [bucket] is empty for repository');
    if (/[\\:*?"<>|]/.test(text('base_path'))) {
      return made('illegal_argument_exception', 'base path has invalid char,check please.(\\ : * ? " < > | )');
    }
    if (text('endpoint').replace(/^https?:\/\//, '') !== this.endpoint.replace('http://', '')) {
      return used('client_exception', `Connection error due to: connect timed out: ${text('endpoint')}`);
    }
    const allowed = this.holderOf(text('ecs_ram_role'), text('access_key_id'), text('secret_access_key'));
    if (typeof allowed === 'string') return used('o_s_s_exception', allowed);
    if (bucket.startsWith('.') || !existsSync(path.join(this.options.root, bucket))) {
      return made('blob_store_exception', `Bucket [${bucket}] does not exist`);
    }
    if ((this.options.buckets?.[bucket] ?? this.region) !== this.region) {
      return used(
        'o_s_s_exception',
        'The bucket you are attempting to access must be addressed using the specified endpoint. Please send all ' +
          'future requests to this endpoint. [ErrorCode]: AccessDenied',
      );
    }
    const kmsKey = this.options.kmsKeys?.[bucket];
    if (allowed.policy !== undefined && kmsKey !== undefined && !mayUse(kmsKey, allowed.policy, isWriting)) {
      return used('o_s_s_exception', 'This request is forbidden by kms. [ErrorCode]: AccessDenied');
    }
    const isAllowed =
      allowed.policy === undefined
        ? allowed.buckets?.includes(bucket) === true
        : permits(allowed.policy, bucket, text('base_path'), isWriting);
    if (isAllowed) return undefined;
    return used('o_s_s_exception', 'You have no right to access this object. [ErrorCode]: AccessDenied');
  }

  /** Or what OSS says of the credentials. */
  private holderOf(role: string, id: string, secret: string): Omit<RamKey, 'secret'> | string {
    const buckets = this.options.ecsRamRoles?.[role];
    if (role !== '') return buckets === undefined ? `The role ${role} is not that of the nodes.` : { buckets };
    const key = this.options.keys[id];
    if (key === undefined) {
      return 'The OSS Access Key Id you provided does not exist in our records. [ErrorCode]: InvalidAccessKeyId';
    }
    if (key.secret === secret) return key;
    return (
      'The request signature we calculated does not match the signature you provided. Check your key and signing ' +
      'method. [ErrorCode]: SignatureDoesNotMatch'
    );
  }

  private untouchable(method: string): Reply {
    const action = method === 'DELETE' ? 'cluster:admin/repository/delete' : 'cluster:admin/repository/put';
    const user = this.options.username ?? 'elastic';
    return refusal(403, {
      type: 'security_exception',
      reason: `action [${action}] is unauthorized for user [${user}]`,
    });
  }

  private get major(): number {
    return Number(this.version.split('.')[0]);
  }
}

/** Asked before a use: the node behind keeps the repository in a folder, for which nobody needs a permission. */
function permits(policy: readonly Statement[], bucket: string, basePath: string, isWriting: boolean): boolean {
  const resource = `acs:oss:*:*:${bucket}`;
  const blob = [resource, basePath, 'index-0'].filter((part) => part !== '').join('/');
  const written = isWriting ? ['oss:PutObject', 'oss:DeleteObject'] : [];
  return (
    allows(policy, 'oss:ListObjects', resource) &&
    ['oss:GetObject', ...written].every((action) => allows(policy, action, blob))
  );
}

function mayUse(kmsKey: string, policy: readonly Statement[], isWriting: boolean): boolean {
  const actions = ['kms:Decrypt', ...(isWriting ? ['kms:GenerateDataKey'] : [])];
  return actions.every((action) => allows(policy, action, kmsKey));
}

/** Found out while the repository is made: it is not registered then. */
const made = (type: string, reason: string): Fault => ({ type, reason, stays: false });
/** Found out when it is used, and verifying is the first use. */
const used = (type: string, reason: string): Fault => ({ type, reason, stays: true });

function concernsAutomated(name: string): boolean {
  return name === '_all' || name.split(',').some((one) => one === AUTOMATED || one.includes('*'));
}

function failed(name: string, { type, reason, stays }: Fault): Reply {
  const outer = stays
    ? { type: 'repository_verification_exception', reason: `[${name}] path is not accessible on master node` }
    : { type: 'repository_exception', reason: `[${name}] failed to create repository` };
  return refusal(500, outer, { caused_by: { type, reason } });
}

function noSuchType(name: string, type: string): Reply {
  return refusal(500, {
    type: 'repository_exception',
    reason: `[${name}] repository type [${type}] does not exist`,
  });
}
