/**
 * A bucket of Alibaba Cloud OSS, by its own protocol. Every call is one of `Requests`, listings and other control calls
 * too, not only the bytes: ali-oss would send them over http, signed by version 1, with one clock for a whole exchange,
 * never repeating a 503, over agents that all its clients share, and does not look at the CRC64 that comes back
 * (facts/object-stores.md section 3.1). It is the oracle of the signature in the tests.
 *
 * What OSS holds is proved by the CRC64 that it answers for every object and part. It compares nothing by itself that is
 * not sent with Content-MD5, which costs twice a CRC64. So parts go without: nothing is visible until the upload is
 * completed, and wrong parts never are. Blobs go with it, unless the caller says that nothing refers to them yet: a
 * wrong one of those may be visible until it is sent again. What OSS itself damages is reported by `BlobCorruptError`,
 * and stays for whoever wants to look at it.
 */
import { createHash } from 'node:crypto';
import type { BucketProperties } from '../domain/buckets';
import type { Subject } from '../domain/errors';
import {
  BlobCorruptError,
  BlobMissingError,
  ConfigurationError,
  MigrationError,
  UnavailableError,
} from '../domain/errors';
import { deniedOf, keyIn, listed, rulesOf, told, versioningIn } from './bucket-properties';
import { combineCrc64, crc64, crc64In, showCrc64 } from './crc64';
import { compareKeys } from './keys';
import { Listing } from './listing';
import { ossAddress } from './oss-address';
import { errorOf, EXISTS, isThrottle, mayPass, NOT_FOUND } from './oss-errors';
import { OssSigner } from './oss-signer';
import type { OssCredentials } from './oss-signer';
import { joined, payload } from './payload';
import type { Payload } from './payload';
import { encodePath } from './percent';
import { bare, Requests } from './requests';
import type { UnsignedRequest, Vendor } from './requests';
import type {
  BlobChecksums,
  BlobInfo,
  Copier,
  ReadOptions,
  ReadReceipt,
  Store,
  UploadedPart,
  Uploads,
  WriteOptions,
  WriteReceipt,
} from './store';
import type { HttpRequest, TransportOptions } from './transport';
import { openTransport } from './transport';
import { damagedThere } from './verdicts';
import type { Element } from './xml';
import { escapeXml, parseXml, textOf } from './xml';

export interface OssOptions extends Omit<TransportOptions, 'origin'> {
  readonly bucket: string;
  /** The bucket's own, without `oss-`: the signature names it. */
  readonly region: string;
  /** `https://host[:port]`. Default: the public endpoint of the region. */
  readonly endpoint?: string;
  /** The endpoint is a domain of the bucket's own. Default false. */
  readonly cname?: boolean;
  /** Asked before every try of every request: rounds outlive security tokens. */
  readonly credentials: () => OssCredentials | Promise<OssCredentials>;
  /** What the bucket is to encrypt blobs with. Default: what the bucket itself says. */
  readonly encryption?: { readonly type: 'AES256' | 'KMS'; readonly keyId?: string };
}

type Headers = Readonly<Record<string, string>>;
type Query = Readonly<Record<string, string>>;

/** Of every part but the last, and compared by OSS only when the upload is completed. */
const MIN_PART_BYTES = 100 * 1024;
/** Far below what one request may copy (1 GiB): its answer is to come before the time-out of a silent connection. */
const MAX_COPY_BYTES = 256 * 1024 * 1024;
/** The most that OSS gives at once; of blobs it would give 100. */
const PAGE = '1000';

export function openOss(options: OssOptions): Store {
  return new OssStore(options);
}

/** All state is `#private`, hence in no log: `inspect` and `JSON.stringify` show the description alone. */
class OssStore implements Store {
  readonly description: string;
  readonly #requests: Requests;
  readonly #bucket: string;
  readonly #region: string;
  readonly #encryption: Headers;
  #bucketIsThere = false;

  constructor(options: OssOptions) {
    const { bucket, region, endpoint, cname, credentials, encryption, ...wire } = options;
    this.description = `oss://${bucket}`;
    this.#bucket = bucket;
    this.#region = region;
    const { origin, root } = ossAddress({ bucket, region, endpoint, cname });
    const sign = signing(bucket, root, new OssSigner(region), credentials);
    const vendor = { description: this.description, sign, errorOf, isThrottle, mayPass };
    this.#requests = new Requests(openTransport({ ...wire, origin }), vendor);
    this.#encryption = encryptionHeaders(encryption);
  }

  get pressure(): { readonly throttled: number } {
    return { throttled: this.#requests.throttled };
  }

  list(prefix: string, signal: AbortSignal): Listing {
    return new Listing(this.#pages(prefix, signal));
  }

  async *#pages(prefix: string, signal: AbortSignal): AsyncGenerator<readonly BlobInfo[]> {
    let previous: string | undefined;
    let after: Query | undefined = {};
    while (after) {
      const query = { 'list-type': '2', 'max-keys': PAGE, 'encoding-type': 'url', ...wanted(prefix), ...after };
      const { root } = await this.#xml(bucketCall(query), 'ListBucketResult', { prefix }, signal);
      const blobs: BlobInfo[] = [];
      for (const blob of childrenOf(root, 'Contents')) {
        const key = decodeKey(textOf(blob, 'Key'), root);
        this.#assertAfter(previous, key);
        blobs.push(listed(blob, key, 'Standard'));
        previous = key;
      }
      yield blobs;
      signal.throwIfAborted();
      const token = this.#next(root, 'NextContinuationToken', prefix);
      after = token === undefined ? undefined : { 'continuation-token': token };
    }
  }

  async head(key: string, signal: AbortSignal): Promise<BlobInfo | undefined> {
    const headers = await this.#head(key, signal);
    return headers && infoOf(key, headers);
  }

  async checksums(key: string, signal: AbortSignal): Promise<BlobChecksums | undefined> {
    const headers = await this.#head(key, signal);
    if (headers === undefined) return undefined;
    const checksum = shown(headers[CRC64]);
    return { ...infoOf(key, headers), checksums: checksum === undefined ? [] : [checksum] };
  }

  async read(key: string, options: ReadOptions, signal: AbortSignal): Promise<ReadReceipt> {
    // Without it, OSS answers a range that it can not satisfy with the whole blob, as if nothing had been asked.
    const standard = { 'x-oss-range-behavior': 'standard' };
    const { headers, buffers, etag } = await this.#requests.read(key, options, { signal }, standard);
    const checksum = options.isCompared ? shown(headers[CRC64]) : undefined;
    return { buffers, etag, ...(checksum === undefined ? {} : { checksums: [checksum] }) };
  }

  async write(key: string, body: Payload, options: WriteOptions, signal: AbortSignal): Promise<WriteReceipt> {
    const headers = {
      ...this.#encryption,
      ...(options.ifAbsent ? { 'x-oss-forbid-overwrite': 'true' } : {}),
      ...(options.isComparedLater ? {} : { [MD5]: md5(body) }),
    };
    try {
      const { answer, checksum } = await this.#put({ key, headers, body }, { key }, signal);
      if (options.ifAbsent) this.#assertConditional(key, answer);
      return { created: true, etag: bare(answer['etag']), checksum, requestId: answer['x-oss-request-id'] };
    } catch (error) {
      if (!options.ifAbsent || codeOf(error) !== EXISTS) throw error;
      return this.#alreadyThere(key, error, signal);
    }
  }

  async delete(key: string, signal: AbortSignal): Promise<void> {
    // OSS answers 204 for a blob that is not there.
    await this.#requests.send({ method: 'DELETE', key }, { signal, about: { key } });
  }

  readonly uploads: Uploads = {
    minPartBytes: MIN_PART_BYTES,

    begin: async (key, signal) => {
      const request = { method: 'POST', key, query: { uploads: '' }, headers: this.#encryption } as const;
      const { root } = await this.#xml(request, 'InitiateMultipartUploadResult', { key }, signal);
      const uploadId = textOf(root, 'UploadId');
      if (!uploadId) throw new UnavailableError('The store began an upload without naming it.');
      return uploadId;
    },

    part: async (key, uploadId, number, body, signal) => {
      const query = { partNumber: String(number), uploadId };
      const about = { key, uploadId, part: number };
      const { answer, checksum } = await this.#put({ key, query, headers: {}, body }, about, signal);
      return partOf(number, body.length, answer['etag'], checksum);
    },

    parts: async (key, uploadId, signal) => {
      const parts: UploadedPart[] = [];
      try {
        for await (const part of this.#listParts(key, uploadId, signal)) parts.push(part);
        return parts;
      } catch (error) {
        if (error instanceof BlobMissingError) return undefined;
        throw error;
      }
    },

    complete: async (key, uploadId, parts, signal) => {
      const about = { key, uploadId };
      const expected = await this.#combined(key, uploadId, parts, signal);
      const list = parts.map(({ number, etag }) => {
        return `<Part><PartNumber>${number}</PartNumber><ETag>${escapeXml(`"${etag}"`)}</ETag></Part>`;
      });
      // Never `x-oss-complete-all`: a part that is missing would be missing in the blob.
      const body = payload(Buffer.from(`<CompleteMultipartUpload>${list.join('')}</CompleteMultipartUpload>`));
      const request = { method: 'POST', key, query: { uploadId }, body } as const;
      const { root, headers } = await this.#xml(request, 'CompleteMultipartUploadResult', about, signal);
      const receipt = receiptOf(root, headers);
      if (receipt.checksum !== undefined && expected !== undefined) this.#assertHeld(expected, receipt.checksum, about);
      return receipt;
    },

    abort: async (key, uploadId, signal) => {
      try {
        await this.#requests.send({ method: 'DELETE', key, query: { uploadId } }, { signal, about: { key, uploadId } });
      } catch (error) {
        if (!(error instanceof BlobMissingError)) throw error;
      }
    },

    unfinished: (prefix, signal) => this.#unfinished(prefix, signal),
  };

  /** OSS copies inside a region, from whatever bucket these credentials may read. */
  copierFrom(source: Store): Copier | undefined {
    if (!(source instanceof OssStore) || source.#region !== this.#region) return undefined;
    const from = (key: string, ifMatch: string | undefined) => ({
      'x-oss-copy-source': `/${source.#bucket}/${encodePath(key)}`,
      ...(ifMatch === undefined ? {} : { 'x-oss-copy-source-if-match': `"${ifMatch}"` }),
    });
    return {
      maxBytes: MAX_COPY_BYTES,

      blob: async (sourceKey, key, { ifMatch }, signal) => {
        const headers = { ...this.#encryption, ...from(sourceKey, ifMatch) };
        const about = { key, source: source.description, sourceKey };
        const answer = await this.#xml({ method: 'PUT', key, headers }, 'CopyObjectResult', about, signal);
        return receiptOf(answer.root, answer.headers);
      },

      part: async (sourceKey, { offset, length, ifMatch }, key, uploadId, number, signal) => {
        const range = { 'x-oss-copy-source-range': `bytes=${offset}-${offset + length - 1}` };
        const query = { partNumber: String(number), uploadId };
        const request = { method: 'PUT', key, query, headers: { ...from(sourceKey, ifMatch), ...range } } as const;
        const about = { key, uploadId, part: number, source: source.description, sourceKey };
        const { root, headers } = await this.#xml(request, 'CopyPartResult', about, signal);
        return partOf(number, length, textOf(root, 'ETag'), shown(headers[CRC64]));
      },
    };
  }

  /** https://www.alibabacloud.com/help/en/oss/developer-reference/getbucketinfo and getbucketlifecycle */
  async properties(signal: AbortSignal): Promise<BucketProperties> {
    const ask = (name: string, root: string, none?: string) =>
      told(async () => (await this.#xml(bucketCall({ [name]: '' }), root, {}, signal)).root, none);
    const [info, lifecycle] = await Promise.all([
      ask('bucketInfo', 'BucketInfo'),
      ask('lifecycle', 'LifecycleConfiguration', 'NoSuchLifecycle'),
    ]);
    const bucket = typeof info === 'object' ? childrenOf(info, 'Bucket')[0] : undefined;
    return {
      ...(bucket && {
        region: textOf(bucket, 'Location')?.replace(/^oss-/, ''),
        versioning: versioningIn(bucket, 'Versioning'),
        storageClass: textOf(bucket, 'StorageClass'),
        encryption: keyIn(childrenOf(bucket, 'ServerSideEncryptionRule')[0]),
      }),
      rules: rulesOf(lifecycle),
      denied: deniedOf({ 'oss:GetBucketInfo': info, 'oss:GetBucketLifecycle': lifecycle }),
    };
  }

  async #head(key: string, signal: AbortSignal): Promise<Headers | undefined> {
    try {
      return (await this.#requests.send({ method: 'HEAD', key }, { signal, about: { key } })).headers;
    } catch (error) {
      if (!(error instanceof BlobMissingError)) throw error;
      if (codeOf(error) === NOT_FOUND) await this.#assertBucket(signal);
      return undefined;
    }
  }

  /** Sends a body, and compares what the store answers about the bytes it holds now. */
  async #put(
    request: Pick<UnsignedRequest, 'key' | 'query'> & { readonly headers: Headers; readonly body: Payload },
    about: Subject,
    signal: AbortSignal,
  ): Promise<{ readonly answer: Headers; readonly checksum: string | undefined }> {
    signal.throwIfAborted();
    const { body } = request;
    const sent = showCrc64(await crc64(body.buffers));
    // The CRC32 was made where the bytes were read. They have waited since, and a CRC64 of anything else would agree.
    if (payload(...body.buffers).crc32 !== body.crc32) throw this.#changedHere(about);
    const put = async (headers: Headers) => {
      const { headers: answer } = await this.#requests.send({ ...request, headers, method: 'PUT' }, { signal, about });
      return { answer, checksum: shown(answer[CRC64]) };
    };
    let there = await put(request.headers);
    if (there.checksum !== undefined && there.checksum !== sent && request.headers[MD5] === undefined) {
      // Changed on the way, or there? With its MD5 along, OSS refuses the former, and it is sent again.
      there = await put({ ...request.headers, [MD5]: md5(body) });
    }
    if (there.checksum !== undefined) this.#assertHeld(sent, there.checksum, about);
    return there;
  }

  /** What the CRC64 of the whole is to be; undefined where the store does not know it of every part. */
  async #combined(
    key: string,
    uploadId: string,
    parts: readonly UploadedPart[],
    signal: AbortSignal,
  ): Promise<string | undefined> {
    const checksums = new Map(parts.map(({ number, checksum }) => [number, checksum]));
    if (parts.some(({ checksum }) => crc64In(checksum) === undefined)) {
      // We may not be those who sent the part.
      for await (const { number, checksum } of this.#listParts(key, uploadId, signal)) checksums.set(number, checksum);
    }
    let whole = 0n;
    for (const { number, length } of parts) {
      const crc = crc64In(checksums.get(number));
      if (crc === undefined) return undefined;
      whole = combineCrc64(whole, crc, length);
    }
    return showCrc64(whole);
  }

  /** Ascending, a thousand a page. */
  async *#listParts(key: string, uploadId: string, signal: AbortSignal): AsyncGenerator<UploadedPart> {
    const about = { key, uploadId };
    let after: Query | undefined = {};
    while (after) {
      const query = { uploadId, 'max-parts': PAGE, ...after };
      const { root } = await this.#xml({ method: 'GET', key, query }, 'ListPartsResult', about, signal);
      for (const part of childrenOf(root, 'Part')) {
        const [number, length] = [Number(textOf(part, 'PartNumber')), Number(textOf(part, 'Size'))];
        yield partOf(number, length, textOf(part, 'ETag'), shown(textOf(part, 'HashCrc64ecma')));
      }
      const marker = this.#next(root, 'NextPartNumberMarker', key);
      after = marker === undefined ? undefined : { 'part-number-marker': marker };
    }
  }

  async #unfinished(prefix: string, signal: AbortSignal): Promise<readonly { key: string; uploadId: string }[]> {
    const uploads: { key: string; uploadId: string }[] = [];
    let after: Query | undefined = {};
    while (after) {
      const query = { uploads: '', 'max-uploads': PAGE, 'encoding-type': 'url', ...wanted(prefix), ...after };
      const { root } = await this.#xml(bucketCall(query), 'ListMultipartUploadsResult', { prefix }, signal);
      for (const upload of childrenOf(root, 'Upload')) {
        uploads.push({ key: decodeKey(textOf(upload, 'Key'), root), uploadId: textOf(upload, 'UploadId') ?? '' });
      }
      const key = this.#next(root, 'NextKeyMarker', prefix);
      const id = textOf(root, 'NextUploadIdMarker') ?? '';
      after = key === undefined ? undefined : { 'key-marker': decodeKey(key, root), 'upload-id-marker': id };
    }
    return uploads;
  }

  /** Where a listing goes on; undefined when this was all. */
  #next(page: Element, name: string, key: string): string | undefined {
    if (textOf(page, 'IsTruncated') !== 'true') return undefined;
    const next = textOf(page, name);
    if (next) return next;
    // A page that says there is more but not where would end the listing early, and half of it would pass for all.
    throw new UnavailableError('The store cut a listing short.', { subject: { store: this.description, key } });
  }

  /** An answer to HEAD that does not say what is not there: the blob or its bucket. A listing says which. */
  async #assertBucket(signal: AbortSignal): Promise<void> {
    if (this.#bucketIsThere) return;
    await this.#xml(bucketCall({ 'list-type': '2', 'max-keys': '1' }), 'ListBucketResult', {}, signal);
    this.#bucketIsThere = true;
  }

  /**
   * OSS ignores `x-oss-forbid-overwrite` where a bucket keeps versions or has ever kept them, and gives each blob
   * written there the id of its version ("null" where that is suspended):
   * https://help.aliyun.com/en/oss/developer-reference/putobject
   */
  #assertConditional(key: string, answer: Headers): void {
    if (answer['x-oss-version-id'] === undefined) return;
    throw new ConfigurationError(
      'The bucket keeps versions (or did: suspended is not enough), and OSS then ignores the condition that a blob ' +
        'must not exist yet, which keeps migrations apart: use a bucket that never had versioning.',
      { subject: { store: this.description, key } },
    );
  }

  /** Also the answer to our own second try, where that to the first was lost: who must know reads the blob. */
  async #alreadyThere(key: string, conflict: unknown, signal: AbortSignal): Promise<WriteReceipt> {
    const existing = await this.head(key, signal);
    if (existing) return { created: false, etag: existing.etag, checksum: undefined, requestId: undefined };
    throw new UnavailableError('Another write to the same key has not ended.', {
      subject: { store: this.description, key },
      cause: conflict,
    });
  }

  async #xml(
    request: UnsignedRequest,
    name: string,
    about: Subject,
    signal: AbortSignal,
  ): Promise<{ readonly root: Element; readonly headers: Headers }> {
    const reply = await this.#requests.send(request, { signal, about });
    const root = parseXml(joined(reply.body).toString());
    if (root?.name === name) return { root, headers: reply.headers };
    throw new UnavailableError('The store did not answer what was asked.', {
      subject: { store: this.description, ...about, asked: name, answered: root?.name ?? 'no XML' },
    });
  }

  #assertHeld(sent: string, held: string, about: Subject): void {
    if (held === sent) return;
    throw damagedThere({ store: this.description, ...about, sent, held });
  }

  #changedHere(about: Subject): BlobCorruptError {
    return new BlobCorruptError("Bytes changed in the worker's memory before they were sent.", {
      subject: { store: this.description, ...about },
    });
  }

  #assertAfter(previous: string | undefined, key: string): void {
    if (previous === undefined || compareKeys(previous, key) < 0) return;
    throw new ConfigurationError('The store does not list in the order of its keys, so it can not be compared.', {
      subject: { store: this.description, key, after: previous },
    });
  }
}

/** Decimal, of the whole blob or of the part. */
const CRC64 = 'x-oss-hash-crc64ecma';
const MD5 = 'content-md5';

function signing(
  bucket: string,
  root: string,
  signer: OssSigner,
  credentials: () => OssCredentials | Promise<OssCredentials>,
): Vendor['sign'] {
  const sign = (
    { method, key, query = {}, headers = {}, body }: UnsignedRequest,
    keys: OssCredentials,
  ): HttpRequest => {
    const signed = signer.sign({ method, bucket, key, query, headers }, keys, Date.now());
    const path = `${root}/${encodePath(key)}${signed.query === '' ? '' : `?${signed.query}`}`;
    return { method, path, headers: signed.headers, ...(body === undefined ? {} : { body }) };
  };
  return (request) => {
    const keys = credentials();
    return keys instanceof Promise ? keys.then((them) => sign(request, them)) : sign(request, keys);
  };
}

function encryptionHeaders(encryption: OssOptions['encryption']): Headers {
  if (encryption === undefined) return {};
  const { type, keyId } = encryption;
  return {
    'x-oss-server-side-encryption': type,
    ...(keyId === undefined ? {} : { 'x-oss-server-side-encryption-key-id': keyId }),
  };
}

function bucketCall(query: Query): UnsignedRequest {
  return { method: 'GET', key: '', query };
}

function wanted(prefix: string): Query {
  return prefix === '' ? {} : { prefix };
}

function childrenOf(element: Element, name: string): readonly Element[] {
  return element.children.filter((child) => child.name === name);
}

/** Of a copy, the CRC64 may be missing. */
function receiptOf(root: Element, headers: Headers): WriteReceipt {
  const [etag, requestId] = [bare(textOf(root, 'ETag')), headers['x-oss-request-id']];
  return { created: true, etag, checksum: shown(headers[CRC64]), requestId };
}

function partOf(number: number, length: number, etag: string | undefined, checksum: string | undefined): UploadedPart {
  return { number, length, etag: bare(etag), ...(checksum === undefined ? {} : { checksum }) };
}

function infoOf(key: string, headers: Headers): BlobInfo {
  return { key, length: Number(headers['content-length'] ?? 0), etag: bare(headers['etag']) };
}

function codeOf(error: unknown): unknown {
  return error instanceof MigrationError ? error.subject['code'] : undefined;
}

/** The inverse of `encoding-type=url`, in which a space may be a plus. */
function decodeKey(key: string | undefined, page: Element): string {
  if (key === undefined) return '';
  return textOf(page, 'EncodingType') === 'url' ? decodeURIComponent(key.replaceAll('+', ' ')) : key;
}

/** Of the decimal number that OSS answers; undefined where it says nothing. */
function shown(decimal: string | undefined): string | undefined {
  return decimal === undefined || !/^\d+$/.test(decimal) ? undefined : showCrc64(BigInt(decimal));
}

function md5({ buffers }: Payload): string {
  const hash = createHash('md5');
  for (const buffer of buffers) hash.update(buffer);
  return hash.digest('base64');
}
