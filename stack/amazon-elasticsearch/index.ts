// A domain of Amazon Elasticsearch Service, as strict as the service where a migration meets it: signatures, IAM,
// `s3` repositories through a role, its own repository of automated snapshots, calls that it does not offer. A real
// node answers the rest. What is refused, and who says so: docs/stand-ins.md.
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { BucketRepositories } from '../bucket-repositories';
import type { Settings } from '../bucket-repositories';
import { startElasticsearch } from '../elasticsearch';
import { json, NodeHttp, objectIn, startFront } from '../managed-service';
import type { Front, FrontOptions, NodeBehind, Reply, ServiceRequest } from '../managed-service';
import { shareDirectory } from '../sharing';
import { refusalOf } from './operations';
import { allows, notAuthorized } from '../policy';
import type { Statement } from '../policy';
import { SignatureRefused, signer } from './signature';
import type { AccessKey } from './signature';
import { slowAnswer } from './slow-storage';
import type { SlowStorage } from './slow-storage';

export type { Statement } from '../policy';

/** Who may sign requests, and for what. */
export interface Caller extends AccessKey {
  readonly arn: string;
  readonly policy: readonly Statement[];
}

/** A role for snapshots. Both policies are looked at with every request: a test may change them. */
export interface SnapshotRole {
  /** Buckets that it may use, all of them; for nothing but these with `policy`. */
  readonly buckets?: readonly string[];
  /** Its trust policy; without it, `es.amazonaws.com` is trusted for every domain. */
  readonly trust?: readonly Statement[];
  readonly policy?: readonly Statement[];
}

/** By ARN. */
export type SnapshotRoles = Readonly<Record<string, SnapshotRole>>;

export interface AmazonOptions extends FrontOptions {
  /** A node that has `root` in its `path.repo`; one of a version is started, and stopped with the domain. */
  readonly node: NodeBehind | string;
  /** Each folder in it is a bucket. */
  readonly root: string;
  /** Looked at with every request: a test may change it. */
  readonly callers: readonly Caller[];
  readonly roles: SnapshotRoles;
  /** Regions of buckets that are not in the domain's. */
  readonly buckets?: Readonly<Record<string, string>>;
  /** Keys of KMS (ARN) that encrypt what is written into a bucket. */
  readonly kmsKeys?: Readonly<Record<string, string>>;
  /** Default ap-southeast-1, movies. */
  readonly region?: string;
  readonly domain?: string;
  /** Default false; see operations.ts. */
  readonly blockCall?: boolean;
  /** UltraWarm and cold storage, which a domain of 6.8 on may have. */
  readonly slow?: SlowStorage;
  /** The service's clock, in milliseconds. */
  readonly now?: () => number;
}

export interface AmazonServer extends Front {
  readonly version: string;
  /** Resource of the domain in policies: `arn:aws:es:REGION:ACCOUNT:domain/NAME`. */
  readonly arn: string;
  readonly region: string;
  /** What the hour brings: begins a snapshot of everything into `cs-automated`, which is as slow as `bytesPerSecond`. */
  takeAutomatedSnapshot(bytesPerSecond?: number): Promise<AutomatedSnapshot>;
}

export interface AutomatedSnapshot {
  readonly name: string;
  readonly ended: Promise<void>;
}

const ACCOUNT = '123456789012';
const AUTOMATED = 'cs-automated';
/** Elastic Load Balancing and the service behind it: docs/stand-ins.md. */
const LONGEST_CALL_MS = 60_000;

/** A policy with everything that a migration may want of a domain and its snapshot roles. */
export function fullAccess(arn: string, roles: readonly string[]): Statement[] {
  return [
    { Effect: 'Allow', Action: 'es:ESHttp*', Resource: `${arn}/*` },
    { Effect: 'Allow', Action: 'iam:PassRole', Resource: roles },
  ];
}

/** Resource of a domain in policies. */
export function domainArn(region = 'ap-southeast-1', domain = 'movies'): string {
  return `arn:aws:es:${region}:${ACCOUNT}:domain/${domain}`;
}

export async function startAmazonElasticsearch(options: AmazonOptions): Promise<AmazonServer> {
  const started =
    typeof options.node === 'string'
      ? await startElasticsearch({ version: options.node, pathRepo: [options.root] })
      : undefined;
  const domain = new Domain(options, started ?? (options.node as NodeBehind));
  await domain.prepare();
  const limits = { longestCallMs: LONGEST_CALL_MS, ...options };
  const front = await startFront(limits, (request) => domain.answer(request));
  return {
    url: front.url,
    version: domain.version,
    arn: domain.arn,
    region: domain.region,
    takeAutomatedSnapshot: (bytesPerSecond) => domain.takeAutomatedSnapshot(bytesPerSecond),
    stop: async () => {
      await front.stop();
      domain.close();
      await started?.stop();
    },
  };
}

class Domain {
  readonly region: string;
  readonly arn: string;
  readonly version: string;
  private readonly http: NodeHttp;
  private readonly repositories: BucketRepositories;

  constructor(
    private readonly options: AmazonOptions,
    node: NodeBehind,
  ) {
    this.region = options.region ?? 'ap-southeast-1';
    this.arn = domainArn(this.region, options.domain);
    this.version = node.version;
    this.http = new NodeHttp(node);
    this.repositories = new BucketRepositories('s3', path.resolve(options.root), this.http);
  }

  prepare(): Promise<void> {
    return this.registerAutomated();
  }

  close(): void {
    this.http.close();
  }

  async answer(request: ServiceRequest): Promise<Reply> {
    const reply = await this.decide(request);
    return { ...reply, headers: { ...reply.headers, date: new Date(this.now()).toUTCString() } };
  }

  async takeAutomatedSnapshot(bytesPerSecond?: number): Promise<AutomatedSnapshot> {
    await this.registerAutomated(bytesPerSecond);
    const name = new Date(this.now()).toISOString().slice(0, 19).toLowerCase().replaceAll(':', '-');
    const snapshot = `/_snapshot/${AUTOMATED}/${name}-${randomUUID().slice(0, 8)}`;
    await this.http.must('PUT', `${snapshot}?wait_for_completion=false`, {});
    return { name: snapshot.split('/')[3] ?? '', ended: this.ended(snapshot) };
  }

  private async ended(snapshot: string): Promise<void> {
    type Answer = { readonly snapshots?: readonly { readonly state: string }[] };
    while (((await this.http.must('GET', snapshot)) as Answer).snapshots?.[0]?.state === 'IN_PROGRESS') await sleep(50);
  }

  private async registerAutomated(bytesPerSecond?: number): Promise<void> {
    const location = path.join(path.resolve(this.options.root), `.${AUTOMATED}-${this.options.domain ?? 'movies'}`);
    await shareDirectory(location);
    const pace = bytesPerSecond === undefined ? {} : { max_snapshot_bytes_per_sec: `${bytesPerSecond}b` };
    await this.http.must('PUT', `/_snapshot/${AUTOMATED}`, { type: 'fs', settings: { location, ...pace } });
  }

  private now(): number {
    return this.options.now?.() ?? Date.now();
  }

  /** In the service's order: who it is, what he may, what is offered, and only then what the node says. */
  private async decide(request: ServiceRequest): Promise<Reply> {
    let caller: Caller | undefined;
    try {
      caller = await signer(request, this.options.callers, { region: this.region, service: 'es' }, this.now());
    } catch (error) {
      if (!(error instanceof SignatureRefused)) throw error;
      return json(403, { message: error.message }, { 'x-amzn-ErrorType': error.type });
    }
    const denied = this.denied(caller, actionOf(request.method), `${this.arn}${request.path}`);
    if (denied !== undefined) return denied;
    const { version } = this;
    const slow = this.options.slow && (await slowAnswer(request, this.options.slow, this.http));
    if (slow !== undefined) return slow;
    const refused = refusalOf(request, { version, blockCall: this.options.blockCall ?? false });
    if (refused !== undefined) return json(401, { Message: refused });
    if (request.parts[0] === '_snapshot') return this.snapshots(request, caller!);
    const reply = await this.http.forward(request);
    return request.parts[0] === '_nodes' ? redacted(reply) : reply;
  }

  private denied(caller: Caller | undefined, action: string, resource: string, of = ''): Reply | undefined {
    if (caller !== undefined && allows(caller.policy, action, resource)) return undefined;
    const message = `User: ${caller?.arn ?? 'anonymous'} is not authorized to perform: ${action}${of}`;
    return json(403, { Message: message });
  }

  private async snapshots(request: ServiceRequest, caller: Caller): Promise<Reply> {
    const { method, parts } = request;
    const [, name, snapshot] = parts;
    if (method !== 'GET' && name !== undefined && concernsAutomated(name)) {
      return json(401, { Message: `Your request: '${request.path}' is not allowed.` });
    }
    if (name === '_status') return this.http.forward(request);
    if (method === 'GET' && snapshot === undefined) {
      return this.repositories.show(await this.http.forward(request), (one, definition) =>
        one === AUTOMATED ? { type: 's3' } : definition,
      );
    }
    if ((method === 'PUT' || method === 'POST') && snapshot === undefined && name !== undefined) {
      return this.register(request, name, caller);
    }
    if (name === undefined || name === AUTOMATED || (method === 'DELETE' && snapshot === undefined)) {
      return this.http.forward(request);
    }
    const registered = await this.repositories.find(name);
    const isWriting = method !== 'GET' && parts[3] !== '_restore';
    const fault = registered && this.faultOf(registered.settings, isWriting);
    return fault === undefined ? this.http.forward(request) : repositoryFault(name, fault);
  }

  private async register({ path: at, body }: ServiceRequest, name: string, caller: Caller): Promise<Reply> {
    const { type, settings } = objectIn(body) ?? {};
    if (type !== 's3' || typeof settings !== 'object' || settings === null) {
      return json(401, { Message: `Your request: '${at}' payload is not allowed.` });
    }
    const wanted = settings as Settings;
    const role = wanted['role_arn'];
    if (typeof role !== 'string')
      return json(401, { Message: 'settings.role_arn is needed for snapshot registration.' });
    const denied = this.denied(caller, 'iam:PassRole', role, ` on resource: ${role}`);
    if (denied !== undefined) return denied;
    // Elasticsearch makes the repository before it registers it: S3Repository, "No bucket defined for s3 repository".
    if (wanted['bucket'] === undefined) return noBucketNamed(name);
    const fault = this.faultOf(wanted, wanted['readonly'] !== true);
    const reply = await this.repositories.register(name, wanted, fault === undefined);
    // Elasticsearch registers first and verifies then: the failure leaves the registration behind.
    return fault === undefined || reply.status >= 300 ? reply : repositoryFault(name, fault);
  }

  /** Why the domain cannot get at the bucket; asked anew with each use, as roles and buckets change. */
  private faultOf(settings: Settings, isWriting: boolean): Fault | undefined {
    const [bucket, name] = [String(settings['bucket']), String(settings['role_arn'])];
    const role = this.options.roles[name];
    if (role === undefined || !this.isTrusted(role)) return notAssumed(name);
    if (bucket.startsWith('.') || !existsSync(path.join(this.options.root, bucket))) return NO_BUCKET;
    const region = this.options.buckets?.[bucket] ?? this.region;
    // A bucket of another region than the domain's is reached by the endpoint alone, whatever `region` says.
    const isAnywhere = settings['endpoint'] === 's3.amazonaws.com';
    const asked = settings['region'] ?? (isAnywhere ? region : 'us-east-1');
    if (asked !== region || (region !== this.region && !isAnywhere)) return elsewhere(region);
    if (role.policy === undefined) return role.buckets?.includes(bucket) === true ? undefined : ACCESS_DENIED;
    return deniedBy(role.policy, name, settings, isWriting, this.options.kmsKeys?.[bucket]);
  }

  private isTrusted({ trust }: SnapshotRole): boolean {
    if (trust === undefined) return true;
    const ofService = trust.filter(({ Principal }) => Principal?.Service === 'es.amazonaws.com');
    const context = { 'aws:SourceAccount': ACCOUNT, 'aws:SourceArn': this.arn };
    return allows(ofService, 'sts:AssumeRole', '*', context);
  }
}

/**
 * The first thing that a use of the repository needs and the role may not. That a node verifies, lists, reads, writes and
 * cleans is its own doing, hence asked before: the node keeps the repository in a folder.
 */
function deniedBy(
  policy: readonly Statement[],
  role: string,
  settings: Settings,
  isWriting: boolean,
  kmsKey: string | undefined,
) {
  const bucket = `arn:aws:s3:::${String(settings['bucket'])}`;
  const blob = [bucket, settings['base_path'], 'index-0'].filter((part) => part !== undefined && part !== '').join('/');
  const needs = [
    ['s3:ListBucket', bucket],
    ['s3:GetObject', blob],
    ...(isWriting ? [['s3:PutObject', blob] as const, ['s3:DeleteObject', blob] as const] : []),
    ...(isWriting && kmsKey !== undefined ? [['kms:GenerateDataKey', kmsKey] as const] : []),
    ...(kmsKey !== undefined ? [['kms:Decrypt', kmsKey] as const] : []),
  ] as const;
  const denied = needs.find(([action, resource]) => !allows(policy, action, resource));
  if (denied === undefined) return undefined;
  const who = role.replace(':iam:', ':sts:').replace(':role/', ':assumed-role/');
  return s3Fault(notAuthorized(who, denied[0], denied[1]), 403, 'AccessDenied');
}

function actionOf(method: string): string {
  return `es:ESHttp${method[0]}${method.slice(1).toLowerCase()}`;
}

/** Names that begin with `cs-` are the service's; a pattern may mean them. */
function concernsAutomated(name: string): boolean {
  return name === '_all' || name.split(',').some((one) => one.startsWith('cs-') || one.includes('*'));
}

interface Fault {
  readonly type: string;
  readonly reason: string;
}

const s3Fault = (message: string, status: number, code: string): Fault => ({
  type: 'amazon_s3_exception',
  reason: `${message} (Service: Amazon S3; Status Code: ${status}; Error Code: ${code}; Request ID: 0)`,
});
const NO_BUCKET = s3Fault('The specified bucket does not exist', 404, 'NoSuchBucket');
const ACCESS_DENIED = s3Fault('Access Denied', 403, 'AccessDenied');
const elsewhere = (region: string) =>
  s3Fault(
    `The bucket is in this region: ${region}. Please use this region to retry the request`,
    301,
    'PermanentRedirect',
  );
const notAssumed = (role: string): Fault => ({
  type: 'a_w_s_security_token_service_exception',
  reason: `Not authorized to perform sts:AssumeRole on ${role} (Service: AWSSecurityTokenService; Status Code: 403; Error Code: AccessDenied; Request ID: 0)`,
});

function noBucketNamed(name: string): Reply {
  const fault = { type: 'repository_exception', reason: `[${name}] No bucket defined for s3 repository` };
  return json(500, { error: { root_cause: [fault], ...fault }, status: 500 });
}

function repositoryFault(name: string, caused_by: Fault): Reply {
  const fault = {
    type: 'repository_verification_exception',
    reason: `[${name}] path is not accessible on master node`,
  };
  return json(500, { error: { root_cause: [fault], ...fault, caused_by }, status: 500 });
}

/** Of nodes only what tells nothing of the machines. */
const SHOWN_OF_NODE = ['version', 'build_hash', 'roles', 'name', 'indices', 'timestamp'];

function redacted(reply: Reply): Reply {
  const answer = objectIn(reply.body);
  const nodes = answer?.['nodes'] as Record<string, Record<string, unknown>> | undefined;
  if (nodes === undefined) return reply;
  const shown = Object.entries(nodes).map(([id, node]) => [
    id,
    Object.fromEntries(Object.entries(node).filter(([key]) => SHOWN_OF_NODE.includes(key))),
  ]);
  return { ...reply, body: JSON.stringify({ ...answer, nodes: Object.fromEntries(shown) }) };
}
