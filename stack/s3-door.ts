// S3 by permission: a door in front of an S3 server that lets through what a policy allows, and answers the rest as AWS
// does. The server behind still verifies signatures: nothing of a request is changed, its Host neither. Path style.
// Which action a request needs: https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
import { createServer, request as requestOf } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { allows, notAuthorized } from './policy';
import type { Context, Statement } from './policy';
import { freePort } from './ports';

export interface S3DoorOptions {
  /** Of the server behind. */
  readonly endpoint: string;
  /** Asked with every request: a test may change it. */
  readonly policy: () => readonly Statement[];
  /** Keys of KMS (ARN) that encrypt what is in a bucket. Asked with every request, too. */
  readonly kmsKeyOf?: (bucket: string) => string | undefined;
}

export interface S3Door {
  readonly endpoint: string;
  stop(): Promise<void>;
}

const WHO = 'arn:aws:iam::123456789012:user/worker';

export async function startS3Door({ endpoint, policy, kmsKeyOf }: S3DoorOptions): Promise<S3Door> {
  const server = createServer((incoming, response) => {
    const asked = needsOf(incoming);
    const needs = incoming.method === 'HEAD' ? asked : asked.flatMap((need) => [need, ...ofKey(need, kmsKeyOf)]);
    const denied = needs.find(({ action, resource, context }) => !allows(policy(), action, resource, context));
    if (denied !== undefined) return deny(incoming, response, notAuthorized(WHO, denied.action, denied.resource));
    forward(endpoint, incoming, response, policy());
  });
  const port = await freePort();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  return {
    endpoint: `http://127.0.0.1:${port}`,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

interface Need {
  readonly action: string;
  readonly resource: string;
  readonly context?: Context;
}

const arn = (path: string) => `arn:aws:s3:::${path}`;

function needsOf({ method = '', url = '/', headers }: IncomingMessage): Need[] {
  const { pathname, searchParams: query } = new URL(url, 'http://s3');
  const path = decodeURIComponent(pathname).replace(/^\//, '');
  const [bucket = '', key = ''] = path.split(/\/(.*)/s);
  if (key === '') return [{ action: actionOnBucket(method, query), resource: arn(bucket), context: contextOf(query) }];
  const source = headers['x-amz-copy-source'];
  const copied = typeof source === 'string' ? decodeURIComponent(source).replace(/^\//, '') : undefined;
  return [
    { action: actionOnObject(method, query), resource: arn(path) },
    ...(copied === undefined ? [] : [{ action: 's3:GetObject', resource: arn(copied) }]),
  ];
}

/** Reading decrypts, writing wants a new key. */
function ofKey({ action, resource }: Need, kmsKeyOf: S3DoorOptions['kmsKeyOf']): Need[] {
  const [bucket = ''] = resource.slice(arn('').length).split('/');
  const key = kmsKeyOf?.(bucket);
  const used = { 's3:GetObject': 'kms:Decrypt', 's3:PutObject': 'kms:GenerateDataKey' }[action];
  return key === undefined || used === undefined ? [] : [{ action: used, resource: key }];
}

function contextOf(query: URLSearchParams): Context {
  return { 's3:prefix': query.get('prefix') ?? undefined };
}

function actionOnBucket(method: string, query: URLSearchParams): string {
  if (method === 'PUT') return 's3:CreateBucket';
  if (method === 'DELETE') return 's3:DeleteBucket';
  if (method === 'POST') return 's3:DeleteObject';
  if (query.has('uploads')) return 's3:ListBucketMultipartUploads';
  if (query.has('location')) return 's3:GetBucketLocation';
  if (query.has('versioning')) return 's3:GetBucketVersioning';
  if (query.has('lifecycle')) return 's3:GetLifecycleConfiguration';
  if (query.has('encryption')) return 's3:GetEncryptionConfiguration';
  return 's3:ListBucket';
}

function actionOnObject(method: string, query: URLSearchParams): string {
  if (method === 'PUT' || method === 'POST') return 's3:PutObject';
  if (method === 'DELETE') return query.has('uploadId') ? 's3:AbortMultipartUpload' : 's3:DeleteObject';
  return query.has('uploadId') ? 's3:ListMultipartUploadParts' : 's3:GetObject';
}

function deny(incoming: IncomingMessage, response: ServerResponse, message: string): void {
  const text = message.replaceAll('"', '&quot;');
  const xml = `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code><Message>${text}</Message></Error>`;
  incoming.resume();
  response.writeHead(403, { 'content-type': 'application/xml', 'content-length': Buffer.byteLength(xml) });
  response.end(incoming.method === 'HEAD' ? undefined : xml);
}

function forward(
  endpoint: string,
  incoming: IncomingMessage,
  response: ServerResponse,
  policy: readonly Statement[],
): void {
  const { hostname, port } = new URL(endpoint);
  const { method, url: path, headers } = incoming;
  const behind = requestOf({ hostname, port, method, path, headers }, (answer) => {
    const [need] = needsOf(incoming);
    const bucket = need?.resource.split('/')[0] ?? '';
    // Whoever may not list is not told what is missing: API_HeadObject.html.
    const isHidden =
      answer.statusCode === 404 && need?.action === 's3:GetObject' && !allows(policy, 's3:ListBucket', bucket);
    if (isHidden) {
      answer.resume();
      return deny(incoming, response, notAuthorized(WHO, 's3:ListBucket', bucket));
    }
    response.writeHead(answer.statusCode ?? 502, answer.headers);
    answer.pipe(response);
  });
  behind.once('error', () => response.destroy());
  response.once('close', () => behind.destroy());
  incoming.pipe(behind);
}
