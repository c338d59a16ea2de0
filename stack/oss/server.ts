// The OSS server: a request is addressed, verified, perhaps struck by the fault script, handled and answered.
import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { addressOf, operationOf } from './address';
import type { Operation } from './address';
import { breakOff, ConnectionGone, hasBody, incoming, isBreak, send } from './bodies';
import * as buckets from './bucket-calls';
import * as settings from './bucket-settings';
import { OWNER } from './call';
import type { Handler, Reply, Service } from './call';
import type { Headers } from './canonical';
import { OssError } from './errors';
import type { FaultAction, FaultScript } from './faults';
import * as objects from './object-calls';
import type { Statement } from '../policy';
import { assertAllowed } from './permissions';
import { verify } from './signature';
import type { Keys } from './signature';
import * as uploads from './upload-calls';
import { toXml } from './xml';

/** Longer than clients keep an idle connection, so that it is they who close it. */
const KEEP_ALIVE_MS = 60_000;

const HANDLERS: Readonly<Record<Operation, Handler>> = {
  ListBuckets: buckets.listBuckets,
  PutBucket: buckets.putBucket,
  DeleteBucket: buckets.deleteBucket,
  GetBucketInfo: buckets.getBucketInfo,
  GetBucketLocation: buckets.getBucketLocation,
  GetBucketAcl: buckets.getBucketAcl,
  GetBucketVersioning: settings.getBucketVersioning,
  PutBucketVersioning: settings.putBucketVersioning,
  GetBucketLifecycle: settings.getBucketLifecycle,
  PutBucketLifecycle: settings.putBucketLifecycle,
  DeleteBucketLifecycle: settings.deleteBucketLifecycle,
  GetBucketEncryption: settings.getBucketEncryption,
  PutBucketEncryption: settings.putBucketEncryption,
  ListObjects: buckets.listObjects,
  ListObjectsV2: buckets.listObjectsV2,
  ListMultipartUploads: uploads.listMultipartUploads,
  DeleteMultipleObjects: objects.deleteMultipleObjects,
  PutObject: objects.putObject,
  CopyObject: objects.copyObject,
  GetObject: objects.getObject,
  HeadObject: objects.headObject,
  GetObjectMeta: objects.getObjectMeta,
  GetObjectAcl: objects.getObjectAcl,
  DeleteObject: objects.deleteObject,
  InitiateMultipartUpload: uploads.initiateMultipartUpload,
  UploadPart: uploads.uploadPart,
  UploadPartCopy: uploads.uploadPartCopy,
  ListParts: uploads.listParts,
  CompleteMultipartUpload: uploads.completeMultipartUpload,
  AbortMultipartUpload: uploads.abortMultipartUpload,
};

/** Requests with a valid signature and body bytes since the start, by operation. */
export type Traffic = Partial<Record<Operation, { requests: number; bytesIn: number; bytesOut: number }>>;

export interface ServerOptions {
  readonly keys: Keys;
  readonly service: Service;
  /** Asked for each request, because the script can be changed while requests run. */
  readonly script: () => FaultScript;
  readonly traffic: Traffic;
  /** Asked for each request; undefined allows everything. */
  readonly policy: () => readonly Statement[] | undefined;
}

/** Not listening yet. */
export function createOssServer(options: ServerOptions): Server {
  return createServer({ keepAliveTimeout: KEEP_ALIVE_MS, requestTimeout: 0 }, (request, response) => {
    void new Exchange(request, response, options).run();
  });
}

/** One request and its answer. */
class Exchange {
  private readonly id = randomBytes(12).toString('hex').toUpperCase();
  private readonly beganMs = Date.now();
  private fault: FaultAction | undefined;
  private moved = { requests: 0, bytesIn: 0, bytesOut: 0 };

  constructor(
    private readonly request: IncomingMessage,
    private readonly response: ServerResponse,
    private readonly options: ServerOptions,
  ) {}

  /** Never rejects: what goes wrong is answered, and without anybody to answer there is nothing left to do. */
  async run(): Promise<void> {
    try {
      await this.answer(await this.handled().catch((error: unknown) => this.refusal(error)));
    } catch (error) {
      if (!(error instanceof ConnectionGone)) console.error(error);
      this.response.destroy();
    }
  }

  private async handled(): Promise<Reply> {
    const { method = '', url = '/' } = this.request;
    const headers = this.request.headers as Headers;
    const address = addressOf(headers.host ?? '', url);
    const token = verify({ method, headers, ...address }, this.options.keys, this.beganMs);
    const operation = operationOf(method, address, headers);
    const policy = this.options.policy();
    if (policy !== undefined) assertAllowed(policy, operation, address, headers, this.kmsKeyOf(address.bucket));
    this.moved = this.options.traffic[operation] ??= this.moved;
    this.moved.requests++;
    const { bucket, key } = address;
    const fault = this.options.script().strike({ operation, method, bucket, key, token });
    this.fault = fault;
    if (fault?.do === 'error') throw new OssError(fault.code, fault);
    if (isBreak(fault, 'request') && !hasBody(this.request)) await breakOff(fault, this.request.socket);
    const body = incoming(this.request, fault, (bytes) => (this.moved.bytesIn += bytes));
    const query = new Map(address.query);
    return HANDLERS[operation]({ operation, bucket, key, query, headers, body, fault }, this.options.service);
  }

  /** As the bucket was told (PutBucketEncryption). */
  private kmsKeyOf(bucket = ''): string | undefined {
    const { region, storage } = this.options.service;
    const key = storage.settings.of(bucket).encryption?.KMSMasterKeyID;
    return key === undefined ? undefined : `acs:kms:${region}:${OWNER.ID}:key/${key}`;
  }

  private async answer(reply: Reply): Promise<void> {
    const headers = {
      server: 'AliyunOSS',
      'x-oss-request-id': this.id,
      'x-oss-server-time': String(Date.now() - this.beganMs),
      ...reply.headers,
    };
    await send(this.response, { ...reply, headers }, this.fault, (bytes) => (this.moved.bytesOut += bytes));
    this.request.resume(); // refused half way: the rest would keep the next request of this connection from being read
  }

  /** Answers to HEAD have no body: their XML travels in a header. */
  private refusal(error: unknown): Reply {
    if (error instanceof ConnectionGone) throw error;
    if (!(error instanceof OssError)) console.error(error);
    const refused = error instanceof OssError ? error : new OssError('InternalError');
    const xml = toXml('Error', {
      Code: refused.code,
      Message: refused.message,
      RequestId: this.id,
      HostId: this.request.headers.host ?? '',
      ...refused.details,
      EC: refused.ec,
    });
    const headers = { 'x-oss-ec': refused.ec, 'content-type': 'application/xml' };
    if (refused.status === 304) return { status: 304, headers: {} };
    if (this.request.method !== 'HEAD') return { status: refused.status, headers, body: xml };
    return { status: refused.status, headers: { ...headers, 'x-oss-err': Buffer.from(xml).toString('base64') } };
  }
}
