// A cluster of Tencent Cloud Elasticsearch, as far as a migration meets it: basic authentication and `cos` repositories,
// which name a bucket without the account's APPID. A real node answers the rest. Sources: docs/stand-ins.md.
import { existsSync } from 'node:fs';
import path from 'node:path';
import { BucketRepositories } from './bucket-repositories';
import type { Settings } from './bucket-repositories';
import { NodeHttp, objectIn, startFront } from './managed-service';
import type { Front, FrontOptions, NodeBehind, Reply, ServiceRequest } from './managed-service';
import { refusal, unauthenticated } from './x-pack';

export interface TencentOptions extends FrontOptions {
  /** A node that has `root` in its `path.repo`. */
  readonly node: NodeBehind;
  /** Each folder in it is a bucket, by its full name: `<bucket>-<APPID>`. */
  readonly root: string;
  /** Of the user `elastic`. */
  readonly password: string;
  /** The API key of the account. */
  readonly secretId: string;
  readonly secretKey: string;
  /** Of the cluster, and so of its buckets. */
  readonly region: string;
}

export interface TencentServer extends Front {
  readonly version: string;
}

export async function startTencentElasticsearch(options: TencentOptions): Promise<TencentServer> {
  const cluster = new Cluster(options);
  const front = await startFront(options, (request) => cluster.answer(request));
  return {
    url: front.url,
    version: options.node.version,
    stop: async () => {
      await front.stop();
      cluster.close();
    },
  };
}

class Cluster {
  private readonly http: NodeHttp;
  private readonly repositories: BucketRepositories;

  constructor(private readonly options: TencentOptions) {
    this.http = new NodeHttp(options.node);
    this.repositories = new BucketRepositories('cos', path.resolve(options.root), this.http, bucketOf);
  }

  close(): void {
    this.http.close();
  }

  async answer(request: ServiceRequest): Promise<Reply> {
    const { node, password } = this.options;
    const major = Number(node.version.split('.')[0]);
    const denied = unauthenticated(request, { username: 'elastic', password }, major);
    if (denied !== undefined) return denied;
    const { method, parts } = request;
    const [first, name, snapshot] = parts;
    if (first !== '_snapshot' || snapshot !== undefined || name === '_status') return this.http.forward(request);
    if (method === 'GET') {
      return this.repositories.show(await this.http.forward(request), (_, definition) => definition);
    }
    if (method === 'DELETE' || name === undefined) return this.http.forward(request);
    return this.register(request, name);
  }

  private async register({ body }: ServiceRequest, name: string): Promise<Reply> {
    const { type, settings } = objectIn(body) ?? {};
    if (type !== 'cos' || typeof settings !== 'object' || settings === null) {
      return failed(name, `repository type [${String(type)}] does not exist`);
    }
    const wanted = settings as Settings;
    const fault = this.faultOf(wanted);
    if (fault !== undefined) return failed(name, fault);
    return this.repositories.register(name, wanted, true);
  }

  private faultOf(settings: Settings): string | undefined {
    const { root, region, secretId, secretKey } = this.options;
    const missing = ['app_id', 'access_key_id', 'access_key_secret', 'bucket', 'region'].find(
      (key) => settings[key] === undefined,
    );
    if (missing !== undefined) return `No ${missing} defined for cos repository`;
    if (settings['access_key_id'] !== secretId) return 'The Access Key Id you provided does not exist in our records';
    if (settings['access_key_secret'] !== secretKey) return 'The Signature you specified is invalid';
    if (settings['region'] !== region || !existsSync(path.join(root, bucketOf(settings)))) {
      return 'The specified bucket does not exist';
    }
    return undefined;
  }
}

function bucketOf(settings: Settings): string {
  return `${String(settings['bucket'])}-${String(settings['app_id'])}`;
}

function failed(name: string, reason: string): Reply {
  return refusal(500, { type: 'repository_exception', reason: `[${name}] ${reason}` });
}
