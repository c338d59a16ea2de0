// Calls on one object, and DeleteMultipleObjects.
import { createHash } from 'node:crypto';
import { decode } from './canonical';
import type { Call, Handler, Reply, Service } from './call';
import {
  bucketOf,
  encodingOf,
  flipByteOf,
  forbidsOverwrite,
  keptHeaders,
  MAX_BODY_BYTES,
  objectOf,
  OWNER,
  quoted,
  readXml,
  textHeader,
  xmlReply,
  xmlTime,
} from './call';
import { encode } from './canonical';
import { assertReadable, versionHeaders } from './bucket-settings';
import { chunksOf } from './checksums';
import { checkConditions, spanOf } from './conditions';
import { invalidArgument, OssError } from './errors';
import { etagOf } from './storage';
import type { OpenObject, StoredObject } from './storage';
import { insides, textOf } from './xml';

const MAX_DELETED_AT_ONCE = 1000;

export const putObject: Handler = async (call, { storage }) => {
  const { bucket, key } = await writableTarget(call, storage);
  checkLength(call);
  const contentMd5 = call.headers['content-md5'];
  const staged = await storage.stage(call.body, { contentMd5, flipByte: flipByteOf(call) });
  const metadata = {
    etag: etagOf(staged),
    crc64: staged.crc64,
    type: 'Normal' as const,
    headers: keptHeaders(call.headers),
  };
  await storage.publish(staged, bucket, key, { forbidOverwrite: forbidsOverwrite(call, storage), metadata });
  const written = { ...checksumHeaders(metadata), ...versionHeaders(storage.settings.of(bucket)) };
  return { status: 200, headers: { ...written, 'content-md5': staged.md5.toString('base64') } };
};

/** Says early what Complete and publishing would say in the end, before gigabytes are sent for nothing. */
export async function writableTarget(call: Call, storage: Service['storage']): Promise<ReturnType<typeof objectOf>> {
  const { bucket, key } = objectOf(call);
  await storage.assertWritable(bucket, key);
  if (forbidsOverwrite(call, storage) && (await storage.exists(bucket, key))) throw new OssError('FileAlreadyExists');
  return { bucket, key };
}

/** Throws EntityTooLarge. */
export function checkLength(call: Call): void {
  const length = Number(call.headers['content-length'] ?? 0);
  if (length > MAX_BODY_BYTES) throw new OssError('EntityTooLarge', { details: { ProposedSize: String(length) } });
}

export function checksumHeaders(of: { readonly etag: string; readonly crc64: string }): Record<string, string> {
  return { etag: quoted(of.etag), 'x-oss-hash-crc64ecma': of.crc64 };
}

export const getObject: Handler = async (call, { storage }) => {
  const { bucket, key } = objectOf(call);
  const object = await storage.read(bucket, key);
  try {
    assertReadable(storage.settings.of(bucket));
    checkConditions(call.headers, versionOf(object));
    const isStandard = call.headers['x-oss-range-behavior'] === 'standard';
    const span = spanOf(call.headers.range, object.size, isStandard);
    const { start, end } = span ?? { start: 0, end: object.size };
    const range = span && { 'content-range': `bytes ${start}-${end - 1}/${object.size}` };
    const headers = { ...objectHeaders(object), ...askedHeaders(call), ...range };
    return { status: span ? 206 : 200, headers, body: { file: object.file, span: { start, end } } };
  } catch (error) {
    await object.file.close();
    throw error;
  }
};

/** Headers of the answer as the query wants them, `response-content-type` and the like: of links that were handed out. */
function askedHeaders({ query }: Call): Record<string, string> {
  const prefix = 'response-';
  const names = [
    'content-type',
    'content-language',
    'expires',
    'cache-control',
    'content-disposition',
    'content-encoding',
  ];
  return Object.fromEntries(
    names.flatMap((name) => {
      const asked = query.get(prefix + name) ?? '';
      // As clients send headers: UTF-8, which Node takes for Latin-1.
      return asked === '' ? [] : [[name, Buffer.from(asked, 'utf8').toString('latin1')]];
    }),
  );
}

export const headObject: Handler = async (call, service) => {
  const object = await lookOrThrow(call, service);
  checkConditions(call.headers, versionOf(object));
  return { status: 200, headers: { ...objectHeaders(object), 'content-length': String(object.size) } };
};

/** HeadObject's smaller sister, `?objectMeta`. */
export const getObjectMeta: Handler = async (call, service) => {
  const object = await lookOrThrow(call, service);
  const headers = { ...checksumHeaders(object.metadata), 'last-modified': new Date(object.modifiedMs).toUTCString() };
  return { status: 200, headers: { ...headers, 'content-length': String(object.size) } };
};

export const getObjectAcl: Handler = async (call, service) => {
  await lookOrThrow(call, service);
  return xmlReply('AccessControlPolicy', { Owner: OWNER, AccessControlList: { Grant: 'default' } });
};

async function lookOrThrow(call: Call, { storage }: Service): Promise<StoredObject> {
  const { bucket, key } = objectOf(call);
  const object = await storage.look(bucket, key);
  if (object !== undefined) return object;
  await storage.createdMs(bucket); // a bucket that is missing is said first
  throw new OssError('NoSuchKey', { details: { Key: key } });
}

function versionOf(object: Pick<OpenObject, 'metadata' | 'modifiedMs'>): { etag: string; modifiedMs: number } {
  return { etag: object.metadata.etag, modifiedMs: object.modifiedMs };
}

/** The checksum is that of the whole object, also where a range of it is sent. */
function objectHeaders({ metadata, modifiedMs }: Pick<OpenObject, 'metadata' | 'modifiedMs'>): Record<string, string> {
  return {
    'content-type': 'application/octet-stream',
    'x-oss-storage-class': 'Standard',
    ...metadata.headers,
    ...checksumHeaders(metadata),
    'accept-ranges': 'bytes',
    'last-modified': new Date(modifiedMs).toUTCString(),
    'x-oss-object-type': metadata.type,
  };
}

export const deleteObject: Handler = async (call, { storage }) => {
  const { bucket, key } = objectOf(call);
  await storage.delete(bucket, key);
  return { status: 204, headers: {} };
};

export const deleteMultipleObjects: Handler = async (call, { storage }) => {
  const bucket = bucketOf(call);
  const { text, bytes } = await readXml(call);
  const md5 = call.headers['content-md5'];
  if (md5 === undefined)
    throw new OssError('MissingArgument', { message: 'Missing Content-MD5.', ec: '0016-00000606' });
  if (md5 !== createHash('md5').update(bytes).digest('base64')) throw new OssError('InvalidDigest');
  const keys = insides(text, 'Object').map((object) => textOf(object, 'Key') ?? '');
  if (keys.length === 0 || keys.length > MAX_DELETED_AT_ONCE || keys.includes('')) throw new OssError('MalformedXML');
  for (const key of keys) await storage.delete(bucket, key);
  if (textOf(text, 'Quiet') === 'true') return { status: 200, headers: {} };
  const encoding = encodingOf(call);
  const shown = keys.map((key) => ({ Key: encoding ? encode(key) : key }));
  return xmlReply('DeleteResult', { EncodingType: encoding, Deleted: shown });
};

/** The answer carries no CRC64: OSS's may lack it, so a client has to ask again. */
export const copyObject: Handler = async (call, { storage }) => {
  const { bucket, key } = await writableTarget(call, storage);
  const source = await openSource(call, storage);
  try {
    const staged = await storage.stage(chunksOf(source.file), { flipByte: flipByteOf(call) });
    const replaces = call.headers['x-oss-metadata-directive']?.toUpperCase() === 'REPLACE';
    const headers = replaces ? keptHeaders(call.headers) : source.metadata.headers;
    const metadata = { etag: etagOf(staged), crc64: staged.crc64, type: 'Normal' as const, headers };
    const options = { forbidOverwrite: forbidsOverwrite(call, storage), metadata };
    return copyReply('CopyObjectResult', await storage.publish(staged, bucket, key, options), metadata.etag);
  } finally {
    await source.file.close();
  }
};

export function copyReply(root: string, { modifiedMs }: { readonly modifiedMs: number }, etag: string): Reply {
  return xmlReply(root, { LastModified: xmlTime(modifiedMs), ETag: quoted(etag) }, { etag: quoted(etag) });
}

/** What `x-oss-copy-source` names, opened, with its conditions checked. Some clients write a blank as `+`. */
export async function openSource(call: Call, storage: Service['storage']): Promise<OpenObject> {
  const header = textHeader(call, 'x-oss-copy-source') ?? '';
  const [, bucket, key] = /^\/?([^/]+)\/(.+)$/s.exec(decode(header.replaceAll('+', ' '))) ?? [];
  if (bucket === undefined || key === undefined) {
    throw invalidArgument('x-oss-copy-source', header, 'Copy Source must mention the source bucket and key.');
  }
  const source = await storage.read(bucket, key);
  try {
    assertReadable(storage.settings.of(bucket));
    checkConditions(call.headers, versionOf(source), 'x-oss-copy-source-');
    return source;
  } catch (error) {
    await source.file.close();
    throw error;
  }
}
