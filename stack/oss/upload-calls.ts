// Multipart uploads: the calls.
import { createHash } from 'node:crypto';
import type { Call, Handler } from './call';
import {
  bucketOf,
  encodingOf,
  flipByteOf,
  forbidsOverwrite,
  keptHeaders,
  numberOf,
  objectOf,
  quoted,
  readXml,
  xmlReply,
  xmlTime,
} from './call';
import { encode } from './canonical';
import { versionHeaders } from './bucket-settings';
import { chunksOf } from './checksums';
import { spanOf } from './conditions';
import { invalidArgument, OssError } from './errors';
import { groupOf } from './listing';
import { checkLength, checksumHeaders, copyReply, openSource, writableTarget } from './object-calls';
import { compareKeys } from './order';
import { compareUploads } from './uploads';
import type { About, NamedPart } from './uploads';
import { insides, textOf } from './xml';

const MAX_PART_NUMBER = 10_000;
const LISTED = { fallback: 1000, max: 1000 };

export const initiateMultipartUpload: Handler = async (call, { storage, uploads }) => {
  const { bucket, key } = await writableTarget(call, storage);
  const id = await uploads.initiate(bucket, key, keptHeaders(call.headers));
  const encoding = encodingOf(call);
  const shown = encoding ? encode(key) : key;
  return xmlReply('InitiateMultipartUploadResult', {
    EncodingType: encoding,
    Bucket: bucket,
    Key: shown,
    UploadId: id,
  });
};

export const uploadPart: Handler = async (call, { storage, uploads }) => {
  const { bucket, key, id, number } = partOf(call);
  uploads.assertThere(bucket, key, id);
  checkLength(call);
  const contentMd5 = call.headers['content-md5'];
  const staged = await storage.stage(call.body, { contentMd5, flipByte: flipByteOf(call) });
  const part = await uploads.put(bucket, key, id, number, staged);
  return { status: 200, headers: checksumHeaders(part) };
};

/** The answer carries no CRC64, ListParts does. */
export const uploadPartCopy: Handler = async (call, { storage, uploads }) => {
  const { bucket, key, id, number } = partOf(call);
  uploads.assertThere(bucket, key, id);
  const source = await openSource(call, storage);
  try {
    const span = spanOf(call.headers['x-oss-copy-source-range'], source.size, false);
    const bytes = chunksOf(source.file, span?.start ?? 0, span?.end ?? source.size);
    const staged = await storage.stage(bytes, { flipByte: flipByteOf(call) });
    const part = await uploads.put(bucket, key, id, number, staged);
    return copyReply('CopyPartResult', part, part.etag);
  } finally {
    await source.file.close();
  }
};

interface PartAddress {
  readonly bucket: string;
  readonly key: string;
  readonly id: string;
  readonly number: number;
}

function partOf(call: Call): PartAddress {
  const text = call.query.get('partNumber');
  const id = call.query.get('uploadId');
  if (!text || !id) throw new OssError('InvalidArgument', { ec: '0017-00000219' });
  const number = Number(text);
  if (Number.isInteger(number) && number >= 1 && number <= MAX_PART_NUMBER) return { ...objectOf(call), id, number };
  const message = 'Part number must be an integer between 1 and 10000, inclusive.';
  throw invalidArgument('PartNumber', text, message, '0017-00000220');
}

export const listParts: Handler = async (call, { storage, uploads }) => {
  const { bucket, key } = objectOf(call);
  await storage.createdMs(bucket); // throws NoSuchBucket
  const id = call.query.get('uploadId') ?? '';
  const limit = numberOf(call, 'max-parts', LISTED);
  const after = numberOf(call, 'part-number-marker', { fallback: 0, max: Infinity, min: 0 });
  const encoding = encodingOf(call);
  const rest = uploads.parts(bucket, key, id).filter((part) => part.number > after);
  const page = rest.slice(0, limit);
  return xmlReply('ListPartsResult', {
    EncodingType: encoding,
    Bucket: bucket,
    Key: encoding ? encode(key) : key,
    UploadId: id,
    StorageClass: 'Standard',
    PartNumberMarker: after,
    NextPartNumberMarker: page.at(-1)?.number ?? 0,
    MaxParts: limit,
    IsTruncated: rest.length > limit,
    Part: page.map((part) => ({
      PartNumber: part.number,
      LastModified: xmlTime(part.modifiedMs),
      ETag: quoted(part.etag),
      HashCrc64ecma: part.crc64,
      Size: part.size,
    })),
  });
};

export const completeMultipartUpload: Handler = async (call, { uploads, storage }) => {
  const { bucket, key } = objectOf(call);
  const id = call.query.get('uploadId') ?? '';
  const encoding = encodingOf(call);
  uploads.assertThere(bucket, key, id);
  const { text, bytes } = await readXml(call);
  const md5 = call.headers['content-md5'];
  if (md5 !== undefined && md5 !== createHash('md5').update(bytes).digest('base64'))
    throw new OssError('InvalidDigest');
  const isAll = call.headers['x-oss-complete-all']?.toLowerCase() === 'yes';
  const options = { forbidOverwrite: forbidsOverwrite(call, storage), flipByte: flipByteOf(call) };
  const parts = isAll ? undefined : namedParts(text);
  const { metadata } = await uploads.complete(bucket, key, id, { ...options, parts }).catch(asComplete);
  const elements = {
    EncodingType: encoding,
    Location: `http://${call.headers.host ?? ''}/${encode(key)}`,
    Bucket: bucket,
    Key: encoding ? encode(key) : key,
    ETag: quoted(metadata.etag),
  };
  const headers = { ...checksumHeaders(metadata), ...versionHeaders(storage.settings.of(bucket)) };
  return xmlReply('CompleteMultipartUploadResult', elements, headers);
};

/** The same refusal has an EC of its own here. */
function asComplete(error: unknown): never {
  if (error instanceof OssError && error.code === 'FileAlreadyExists') {
    throw new OssError('FileAlreadyExists', { ec: '0042-00000214' });
  }
  throw error;
}

function namedParts(xml: string): NamedPart[] {
  return insides(xml, 'Part').map((part) => {
    const number = Number(textOf(part, 'PartNumber') ?? NaN);
    const etag = textOf(part, 'ETag')?.replaceAll('"', '').trim();
    if (!Number.isInteger(number) || etag === undefined) throw new OssError('MalformedXML');
    return { number, etag };
  });
}

export const abortMultipartUpload: Handler = async (call, { uploads }) => {
  const { bucket, key } = objectOf(call);
  await uploads.abort(bucket, key, call.query.get('uploadId') ?? '');
  return { status: 204, headers: {} };
};

export const listMultipartUploads: Handler = async (call, { storage, uploads }) => {
  const bucket = bucketOf(call);
  await storage.createdMs(bucket);
  const [prefix, delimiter, marker, idMarker] = ['prefix', 'delimiter', 'key-marker', 'upload-id-marker'].map(
    (name) => call.query.get(name) ?? '',
  ) as [string, string, string, string];
  const limit = numberOf(call, 'max-uploads', LISTED);
  const encoding = encodingOf(call);
  const show = (text: string) => (encoding ? encode(text) : text);
  const listed: About[] = [];
  const prefixes: string[] = [];
  let last: Pick<About, 'key' | 'id'> = { key: '', id: '' };
  let isTruncated = false;
  for (const about of uploads.inBucket(bucket)) {
    const group = groupOf(about.key, prefix, delimiter);
    const isSeen = group === undefined ? isBefore(about, marker, idMarker) : compareKeys(group, marker) <= 0;
    if (!about.key.startsWith(prefix) || isSeen || (group !== undefined && group === prefixes.at(-1))) continue;
    isTruncated = listed.length + prefixes.length === limit;
    if (isTruncated) break;
    if (group === undefined) listed.push(about);
    else prefixes.push(group);
    last = group === undefined ? about : { key: group, id: '' };
  }
  return xmlReply('ListMultipartUploadsResult', {
    EncodingType: encoding,
    Bucket: bucket,
    KeyMarker: show(marker),
    UploadIdMarker: idMarker,
    NextKeyMarker: isTruncated ? show(last.key) : '',
    NextUploadIdMarker: isTruncated ? last.id : '',
    Delimiter: show(delimiter),
    Prefix: show(prefix),
    MaxUploads: limit,
    IsTruncated: isTruncated,
    Upload: listed.map(({ key, id, initiatedMs }) => ({
      Key: show(key),
      UploadId: id,
      StorageClass: 'Standard',
      Initiated: xmlTime(initiatedMs),
    })),
    CommonPrefixes: prefixes.map((one) => ({ Prefix: show(one) })),
  });
};

/** An id counts only together with its key; without one, all uploads of the marked key were listed. */
function isBefore(about: About, marker: string, idMarker: string): boolean {
  if (idMarker === '') return compareKeys(about.key, marker) <= 0 && marker !== '';
  return compareUploads(about, { key: marker, id: idMarker }) <= 0;
}
