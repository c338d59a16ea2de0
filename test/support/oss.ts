// Clients of our OSS server that others wrote: ali-oss, and plain HTTP requests that ali-oss signed.
import OSS from 'ali-oss';
import { randomUUID } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { request } from 'node:http';
import type { IncomingHttpHeaders } from 'node:http';
import path from 'node:path';
import type { OssServer } from '../../stack';

export const OSS_KEYS = { accessKeyId: 'snapferry-ak', secretAccessKey: 'planted-oss-secret', region: 'cn-hangzhou' };

/** A bucket of its own, made as a folder. */
export function newBucket(root: string): string {
  const bucket = `b-${randomUUID().slice(0, 13)}`;
  mkdirSync(path.join(root, bucket));
  return bucket;
}

/** ali-oss, which names the bucket in the Host header when the endpoint is an IP address. */
export function aliOss(endpoint: string, bucket: string, more: Partial<OSS.Options> = {}): OSS {
  return new OSS({
    endpoint,
    bucket,
    region: `oss-${OSS_KEYS.region}`,
    accessKeyId: OSS_KEYS.accessKeyId,
    accessKeySecret: OSS_KEYS.secretAccessKey,
    authorizationV4: true,
    ...more,
  } as OSS.Options);
}

/** What ali-oss has and its types do not. */
export interface BucketCalls {
  getBucketVersioning(bucket: string): Promise<{ readonly versionStatus: string | undefined }>;
  putBucketVersioning(bucket: string, status: string, options?: object): Promise<object>;
  getBucketEncryption(bucket: string): Promise<{ readonly encryption: object }>;
  putBucketEncryption(bucket: string, options: object): Promise<object>;
}

/** ali-oss has it, its types do not. */
interface Signer {
  authorizationV4(method: string, signed: object, bucket?: string, key?: string): string;
}

export interface RawRequest {
  readonly method: string;
  readonly bucket?: string;
  readonly key?: string;
  /** `null` is a name without a value. */
  readonly query?: Readonly<Record<string, string | null>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Buffer;
}

export interface RawAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** What arrived; shorter than promised when the connection ended early, which `complete` tells. */
  readonly body: Buffer;
  readonly complete: boolean;
}

/** The headers of a request with the signature of ali-oss. */
export function signedHeaders({ method, bucket, key, query = {}, headers = {} }: RawRequest): Record<string, string> {
  const date = new Date().toISOString().replace(/[-:]|\.\d+/g, '');
  const signed = { 'x-oss-date': date, 'x-oss-content-sha256': 'UNSIGNED-PAYLOAD', ...headers };
  const signer = aliOss('http://unused', 'unused') as unknown as Signer;
  return { ...signed, authorization: signer.authorizationV4(method, { headers: signed, queries: query }, bucket, key) };
}

/** One request on a connection of its own, path style. Rejects when no answer comes. */
export async function raw(server: Pick<OssServer, 'endpoint'>, wanted: RawRequest): Promise<RawAnswer> {
  const { method, bucket, key, query = {}, body } = wanted;
  const headers = { ...signedHeaders(wanted), 'content-length': String(body?.length ?? 0) };
  const target = [bucket, ...(key?.split('/') ?? (bucket === undefined ? [] : ['']))].filter(
    (one) => one !== undefined,
  );
  const pairs = Object.entries(query).map(([name, value]) =>
    [name, ...(value === null ? [] : [value])].map(encodeURIComponent).join('='),
  );
  const line = `/${target.map(encodeURIComponent).join('/')}${pairs.length > 0 ? `?${pairs.join('&')}` : ''}`;
  return exchange(server, { method, path: line, headers, body });
}

export interface UnsignedRequest {
  readonly method: string;
  /** As it is sent: not a URL, of which Node would resolve `..`. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Buffer | undefined;
}

/** The same with no signature but what the headers hold. */
export function exchange(server: Pick<OssServer, 'endpoint'>, wanted: UnsignedRequest): Promise<RawAnswer> {
  const { method, path: line, headers, body } = wanted;
  const { hostname, port } = new URL(server.endpoint);
  return new Promise((resolve, reject) => {
    const sent = request({ hostname, port, path: line, method, headers, agent: false }, (response) => {
      sent.off('error', reject).on('error', () => undefined); // from here on the answer tells what goes wrong
      const chunks: Buffer[] = [];
      const done = (complete: boolean) =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks), complete });
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.once('end', () => done(true)).once('error', () => done(false));
    });
    sent.once('error', reject).end(body);
  });
}

/** The text of an XML element of an answer. */
export function element(answer: Pick<RawAnswer, 'body'>, name: string): string | undefined {
  return new RegExp(`<${name}>([^<]*)</${name}>`).exec(answer.body.toString('utf8'))?.[1];
}
