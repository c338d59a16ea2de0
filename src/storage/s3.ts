/**
 * A bucket behind the S3 protocol: AWS, versitygw and other gateways, COS, OSS's S3 door. Every call is one of
 * `Requests`, so that signatures, retries, time-outs, throttling and errors are the same for a listing as for a blob.
 */
import { createHash } from 'node:crypto';
import type { BucketProperties } from '../domain/buckets';
import type { Subject } from '../domain/errors';
import { BlobMissingError, ConfigurationError, MigrationError, UnavailableError } from '../domain/errors';
import { AwsCredentials } from '../net/aws-credentials';
import { deniedOf, encryptionOf, listed, rulesOf, told, versioningOf } from './bucket-properties';
import { showCrc32 } from './crc32';
import { showCrc64 } from './crc64';
import { compareKeys } from './keys';
import { Listing } from './listing';
import { joined, payload } from './payload';
import type { Payload } from './payload';
import { encodePath } from './percent';
import { bare, Requests } from './requests';
import type { UnsignedRequest, Vendor } from './requests';
import { addressOf } from './s3-address';
import type { S3Address } from './s3-address';
import { errorOf, isThrottle, mayPass } from './s3-errors';
import { S3Signer } from './s3-signer';
import type { S3Credentials } from './s3-signer';
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

export interface S3Options extends Omit<TransportOptions, 'origin'> {
  readonly bucket: string;
  /** The bucket's own region: the signature names it. */
  readonly region: string;
  /** `https://host[:port]` of anything but AWS itself. */
  readonly endpoint?: string;
  /** The bucket in the path instead of the host name, as most gateways want it. Default false. */
  readonly pathStyle?: boolean;
  /** Asked before every request: rounds outlive session tokens. Default: the AWS chain (environment, profile, role). */
  readonly credentials?: () => S3Credentials | Promise<S3Credentials>;
  /** What the bucket is to encrypt blobs with. Default: what the bucket itself says. */
  readonly encryption?: { readonly type: 'AES256' | 'aws:kms'; readonly keyId?: string };
}

type Headers = Readonly<Record<string, string>>;

const MIN_PART_BYTES = 5 * 1024 * 1024;
/** Far below what one request may copy (5 GiB): its answer is to come before the time-out of a silent connection. */
const MAX_COPY_BYTES = 256 * 1024 * 1024;

export function openS3(options: S3Options): Store {
  return new S3Store(options);
}

/** All state is `#private`, hence in no log: `inspect` and `JSON.stringify` show the description alone. */
class S3Store implements Store {
  readonly description: string;
  readonly #requests: Requests;
  readonly #bucket: string;
  readonly #address: S3Address;
  readonly #encryption: Headers;
  #bucketIsThere = false;
  /**
   * Whether the store compares `x-amz-checksum-crc32`, as its first answer to a write or a part shows: one that does
   * repeats it. Until then Content-MD5, which all know, goes along. A blob with a wrong checksum would tell as much, but
   * leaves one behind where it is not refused.
   */
  #knowsCrc32: boolean | undefined;

  constructor(options: S3Options) {
    const { bucket, region, endpoint, pathStyle, credentials, encryption, ...wire } = options;
    this.description = `s3://${bucket}`;
    this.#bucket = bucket;
    this.#address = addressOf({ bucket, region, endpoint, pathStyle });
    this.#encryption = encryptionHeaders(encryption);
    this.#requests = new Requests(openTransport({ ...wire, origin: this.#address.origin }), {
      description: this.description,
      sign: signing(this.#address, region, credentials ?? workersOwn(region)),
      errorOf,
      isThrottle,
      mayPass,
    });
  }

  get pressure(): { readonly throttled: number } {
    return { throttled: this.#requests.throttled };
  }

  list(prefix: string, signal: AbortSignal): Listing {
    return new Listing(this.#pages(prefix, signal));
  }

  async *#pages(prefix: string, signal: AbortSignal): AsyncGenerator<readonly BlobInfo[]> {
    let previous: string | undefined;
    let next: Readonly<Record<string, string>> | undefined = {};
    while (next) {
      const page = await this.#page(
        { query: { 'list-type': '2', prefix, 'encoding-type': 'url', ...next } },
        'ListBucketResult',
        { prefix },
        signal,
      );
      const blobs: BlobInfo[] = [];
      for (const blob of page.children) {
        if (blob.name !== 'Contents') continue;
        const key = decodeKey(textOf(blob, 'Key'), page);
        this.#assertAfter(previous, key);
        blobs.push(listed(blob, key, 'STANDARD'));
        previous = key;
      }
      yield blobs;
      signal.throwIfAborted();
      next = this.#nextPage(page, previous);
    }
  }

  async head(key: string, signal: AbortSignal): Promise<BlobInfo | undefined> {
    const headers = await this.#head({ method: 'HEAD', key }, signal);
    return headers && infoOf(key, headers);
  }

  async checksums(key: string, signal: AbortSignal): Promise<BlobChecksums | undefined> {
    const request = { method: 'HEAD', key, headers: { 'x-amz-checksum-mode': 'ENABLED' } } as const;
    const headers = await this.#head(request, signal);
    if (headers === undefined) return undefined;
    return { ...infoOf(key, headers), checksums: toldIn(headers) };
  }

  async read(key: string, options: ReadOptions, signal: AbortSignal): Promise<ReadReceipt> {
    const wanted: Headers = options.isCompared ? { 'x-amz-checksum-mode': 'ENABLED' } : {};
    const { headers, buffers, etag } = await this.#requests.read(key, options, { signal }, wanted);
    return options.isCompared ? { buffers, etag, checksums: toldIn(headers) } : { buffers, etag };
  }

  async write(key: string, body: Payload, options: WriteOptions, signal: AbortSignal): Promise<WriteReceipt> {
    const headers = options.ifAbsent ? { 'if-none-match': '*', ...this.#encryption } : this.#encryption;
    try {
      const { answer, checksum } = await this.#put({ key, headers, body }, { key }, signal);
      return { created: true, etag: bare(answer['etag']), checksum, requestId: answer['x-amz-request-id'] };
    } catch (error) {
      if (!options.ifAbsent || !isConflict(error)) throw error;
      return this.#alreadyThere(key, error, signal);
    }
  }

  async delete(key: string, signal: AbortSignal): Promise<void> {
    try {
      await this.#requests.send({ method: 'DELETE', key }, { signal, about: { key } });
    } catch (error) {
      // AWS answers 204 for a blob that is not there; some gateways say 404.
      if (!(error instanceof BlobMissingError)) throw error;
    }
  }

  readonly uploads: Uploads = {
    minPartBytes: MIN_PART_BYTES,

    begin: async (key, signal) => {
      // Of the whole blob, not of the list of its parts: so `complete` answers what `write` does.
      const wanted = { ...this.#crc32Wanted(), 'x-amz-checksum-type': 'FULL_OBJECT' };
      const headers = { ...this.#encryption, ...(this.#knowsCrc32 === false ? {} : wanted) };
      const request = { method: 'POST', key, query: { uploads: '' }, headers } as const;
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
      const body = payload(Buffer.from(await this.#partsToComplete(key, uploadId, parts, signal)));
      const request = { method: 'POST', key, query: { uploadId }, body } as const;
      const about = { key, uploadId };
      const { root, headers } = await this.#xml(request, 'CompleteMultipartUploadResult', about, signal);
      return receiptOf(root, headers);
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

  copierFrom(source: Store): Copier | undefined {
    if (!(source instanceof S3Store) || source.#address.provider !== this.#address.provider) return undefined;
    const from = (key: string, ifMatch: string | undefined) => ({
      'x-amz-copy-source': `${source.#bucket}/${encodePath(key)}`,
      ...(ifMatch === undefined ? {} : { 'x-amz-copy-source-if-match': `"${ifMatch}"` }),
    });
    return {
      maxBytes: MAX_COPY_BYTES,

      blob: async (sourceKey, key, { ifMatch }, signal) => {
        const headers = { ...this.#encryption, ...this.#crc32Wanted(), ...from(sourceKey, ifMatch) };
        const about = { key, source: source.description, sourceKey };
        const answer = await this.#xml({ method: 'PUT', key, headers }, 'CopyObjectResult', about, signal);
        return receiptOf(answer.root, answer.headers);
      },

      part: async (sourceKey, { offset, length, ifMatch }, key, uploadId, number, signal) => {
        const range = { 'x-amz-copy-source-range': `bytes=${offset}-${offset + length - 1}` };
        const query = { partNumber: String(number), uploadId };
        const request = { method: 'PUT', key, query, headers: { ...from(sourceKey, ifMatch), ...range } } as const;
        const about = { key, uploadId, part: number, source: source.description, sourceKey };
        const { root } = await this.#xml(request, 'CopyPartResult', about, signal);
        return partOf(number, length, textOf(root, 'ETag'), shownIn(root));
      },
    };
  }

  /** Not the region: S3 answers nothing in another one than the bucket's, and names the right one. */
  async properties(signal: AbortSignal): Promise<BucketProperties> {
    const ask = (name: string, root: string, none?: string) =>
      told(async () => {
        const request = { method: 'GET', key: '', query: { [name]: '' } } as const;
        return (await this.#xml(request, root, {}, signal)).root;
      }, none);
    const [versioning, lifecycle, encryption] = await Promise.all([
      ask('versioning', 'VersioningConfiguration'),
      ask('lifecycle', 'LifecycleConfiguration', 'NoSuchLifecycleConfiguration'),
      ask('encryption', 'ServerSideEncryptionConfiguration', 'ServerSideEncryptionConfigurationNotFoundError'),
    ]);
    return {
      versioning: versioningOf(versioning),
      rules: rulesOf(lifecycle),
      encryption: encryptionOf(encryption),
      denied: deniedOf({
        's3:GetBucketVersioning': versioning,
        's3:GetLifecycleConfiguration': lifecycle,
        's3:GetEncryptionConfiguration': encryption,
      }),
    };
  }

  #crc32Wanted(): Headers {
    return this.#knowsCrc32 === false ? {} : { 'x-amz-checksum-algorithm': 'CRC32' };
  }

  /** Sends a body with a checksum that the store compares, and compares what it answers about the bytes it holds. */
  async #put(
    request: Pick<UnsignedRequest, 'key' | 'query'> & { readonly headers: Headers; readonly body: Payload },
    about: Subject,
    signal: AbortSignal,
  ): Promise<{ readonly answer: Headers; readonly checksum: string | undefined }> {
    const { body } = request;
    const md5 = this.#knowsCrc32 === true ? undefined : md5Of(body);
    const headers: Record<string, string> = { ...request.headers };
    if (this.#knowsCrc32 !== false) headers['x-amz-checksum-crc32'] = encodeCrc32(body.crc32);
    if (md5 !== undefined) headers['content-md5'] = md5.toString('base64');
    const { key, query } = request;
    const put = { method: 'PUT', key, headers, body, ...(query && { query }) } as const;
    const { headers: answer } = await this.#requests.send(put, { signal, about });
    const held = showEncoded(answer['x-amz-checksum-crc32']);
    this.#knowsCrc32 ??= held !== undefined;
    if (held !== undefined) this.#assertHeld(body.crc32, held, about);
    const isMd5 = md5 !== undefined && bare(answer['etag']).toLowerCase() === md5.toString('hex');
    return { answer, checksum: held ?? (isMd5 ? `md5:${md5.toString('hex')}` : undefined) };
  }

  async #head(request: UnsignedRequest, signal: AbortSignal): Promise<Headers | undefined> {
    try {
      return (await this.#requests.send(request, { signal, about: { key: request.key } })).headers;
    } catch (error) {
      if (!(error instanceof BlobMissingError)) throw error;
      await this.#assertBucket(signal);
      return undefined;
    }
  }

  /** An answer to HEAD has no body: 404 may speak of the blob or of its bucket. A listing says which. */
  async #assertBucket(signal: AbortSignal): Promise<void> {
    if (this.#bucketIsThere) return;
    await this.#page({ query: { 'list-type': '2', 'max-keys': '1' } }, 'ListBucketResult', {}, signal);
    this.#bucketIsThere = true;
  }

  #page(request: Pick<UnsignedRequest, 'query'>, name: string, about: Subject, signal: AbortSignal): Promise<Element> {
    return this.#xml({ ...request, method: 'GET', key: '' }, name, about, signal).then(({ root }) => root);
  }

  /** What is asked for the rest of a listing; undefined when this was all. */
  #nextPage(page: Element, last: string | undefined): Readonly<Record<string, string>> | undefined {
    if (textOf(page, 'IsTruncated') !== 'true') return undefined;
    const token = textOf(page, 'NextContinuationToken');
    if (token) return { 'continuation-token': token };
    // The first version of the call, which some that speak S3 answer to the second too, goes on after a key.
    const marker = decodeKey(textOf(page, 'NextMarker'), page) || last;
    if (textOf(page, 'Marker') !== undefined && marker) return { marker };
    throw this.#cutShort(textOf(page, 'Prefix') ?? '');
  }

  async #partsToComplete(
    key: string,
    uploadId: string,
    parts: readonly UploadedPart[],
    signal: AbortSignal,
  ): Promise<string> {
    const checksums = await this.#checksumsOf(key, uploadId, parts, signal);
    const list = parts.map(({ number, etag }) => {
      const crc = decodeShown(checksums.get(number));
      const checksum = crc === undefined ? '' : `<ChecksumCRC32>${encodeCrc32(crc)}</ChecksumCRC32>`;
      const quoted = escapeXml(`"${etag}"`);
      return `<Part><PartNumber>${number}</PartNumber><ETag>${quoted}</ETag>${checksum}</Part>`;
    });
    return `<CompleteMultipartUpload xmlns="${NAMESPACE}">${list.join('')}</CompleteMultipartUpload>`;
  }

  /** Stores that keep the checksum of a part want it repeated, and we may not be those who sent the part. */
  async #checksumsOf(key: string, uploadId: string, parts: readonly UploadedPart[], signal: AbortSignal) {
    const checksums = new Map(parts.map(({ number, checksum }) => [number, checksum]));
    const isKnown = parts.every(({ checksum }) => decodeShown(checksum) !== undefined);
    if (isKnown || this.#knowsCrc32 === false) return checksums;
    for await (const { number, checksum } of this.#listParts(key, uploadId, signal)) checksums.set(number, checksum);
    return checksums;
  }

  /** Ascending, a thousand a page. */
  async *#listParts(key: string, uploadId: string, signal: AbortSignal): AsyncGenerator<UploadedPart> {
    const about = { key, uploadId };
    let marker: string | undefined;
    do {
      const query = { uploadId, ...(marker === undefined ? {} : { 'part-number-marker': marker }) };
      const { root } = await this.#xml({ method: 'GET', key, query }, 'ListPartsResult', about, signal);
      for (const part of root.children) {
        if (part.name !== 'Part') continue;
        const [number, length] = [Number(textOf(part, 'PartNumber')), Number(textOf(part, 'Size'))];
        yield partOf(number, length, textOf(part, 'ETag'), shownIn(part));
      }
      if (textOf(root, 'IsTruncated') !== 'true') return;
      marker = textOf(root, 'NextPartNumberMarker');
      if (!marker) throw this.#cutShort(key);
    } while (true);
  }

  async #unfinished(prefix: string, signal: AbortSignal) {
    const uploads: { key: string; uploadId: string }[] = [];
    let after: Readonly<Record<string, string>> | undefined = {};
    try {
      while (after) {
        const query = { uploads: '', prefix, 'encoding-type': 'url', ...after };
        const page = await this.#page({ query }, 'ListMultipartUploadsResult', { prefix }, signal);
        for (const upload of page.children) {
          if (upload.name !== 'Upload') continue;
          uploads.push({ key: decodeKey(textOf(upload, 'Key'), page), uploadId: textOf(upload, 'UploadId') ?? '' });
        }
        const [key, id] = [decodeKey(textOf(page, 'NextKeyMarker'), page), textOf(page, 'NextUploadIdMarker') ?? ''];
        const isTruncated = textOf(page, 'IsTruncated') === 'true';
        if (isTruncated && key === '') throw this.#cutShort(prefix);
        after = isTruncated ? { 'key-marker': key, 'upload-id-marker': id } : undefined;
      }
      return uploads;
    } catch (error) {
      // OSS's S3 door has no such call; one that does not even know its name lists blobs instead.
      if (error instanceof OtherAnswer || [405, 501].includes(statusOf(error) ?? 0)) return undefined;
      throw error;
    }
  }

  /**
   * The condition of a write did not hold. AWS decides it atomically. versitygw 1.7.0 looks, then writes: two writers in
   * the same milliseconds may both be told that they created the blob (measured), and the last one's bytes stay. Who
   * needs to be the only one on such a gateway reads the blob again.
   */
  async #alreadyThere(key: string, conflict: unknown, signal: AbortSignal): Promise<WriteReceipt> {
    const existing = await this.head(key, signal);
    if (existing) return { created: false, etag: existing.etag, checksum: undefined, requestId: undefined };
    throw new UnavailableError('Another write to the same key has not ended.', {
      subject: { store: this.description, key },
      cause: conflict,
    });
  }

  /** An answer of that name. What takes long begins with 200 and may still end as an error. */
  async #xml(
    request: UnsignedRequest,
    name: string,
    about: Subject,
    signal: AbortSignal,
  ): Promise<{ readonly root: Element; readonly headers: Headers }> {
    const reply = await this.#requests.send(request, { signal, about });
    const root = parseXml(joined(reply.body).toString());
    if (root?.name === name) return { root, headers: reply.headers };
    const subject = { store: this.description, ...about };
    if (root === undefined || root.name === 'Error') throw errorOf(reply, subject);
    throw new OtherAnswer('The store answered another question than was asked.', {
      subject: { ...subject, asked: name, answered: root.name },
    });
  }

  #assertHeld(sent: number, held: string, about: Subject): void {
    if (held === showCrc32(sent)) return;
    throw damagedThere({ store: this.description, ...about, sent: showCrc32(sent), held });
  }

  #assertAfter(previous: string | undefined, key: string): void {
    if (previous === undefined || compareKeys(previous, key) < 0) return;
    throw new ConfigurationError(
      'The store does not list in the order of its keys, so it can not be compared: use a general purpose bucket.',
      { subject: { store: this.description, key, after: previous } },
    );
  }

  /** A page that says there is more but not where would end the listing early, and half of it would pass for all. */
  #cutShort(key: string): UnavailableError {
    return new UnavailableError('The store cut a listing short.', { subject: { store: this.description, key } });
  }
}

/** A success, but of another call. */
class OtherAnswer extends UnavailableError {}

const NAMESPACE = 'http://s3.amazonaws.com/doc/2006-03-01/';

function signing(
  { host, root }: S3Address,
  region: string,
  credentials: () => S3Credentials | Promise<S3Credentials>,
): Vendor['sign'] {
  const signer = new S3Signer(region);
  const sign = ({ method, key, query = {}, headers = {}, body }: UnsignedRequest, keys: S3Credentials): HttpRequest => {
    const path = key === '' ? root || '/' : `${root}/${encodePath(key)}`;
    const signed = signer.sign({ method, host, path, query, headers }, keys, Date.now());
    return body === undefined ? { method, ...signed } : { method, body, ...signed };
  };
  return (request) => {
    const keys = credentials();
    return keys instanceof Promise ? keys.then((them) => sign(request, them)) : sign(request, keys);
  };
}

/** Environment, profile, SSO, web identity, container, instance: fetched with the first request, and before they expire. */
function workersOwn(region: string): () => Promise<S3Credentials> {
  const chain = new AwsCredentials({ region });
  return () => chain.keys();
}

function encryptionHeaders(encryption: S3Options['encryption']): Headers {
  if (encryption === undefined) return {};
  const { type, keyId } = encryption;
  return {
    'x-amz-server-side-encryption': type,
    ...(keyId === undefined ? {} : { 'x-amz-server-side-encryption-aws-kms-key-id': keyId }),
  };
}

function receiptOf(root: Element, headers: Headers): WriteReceipt {
  const [etag, requestId] = [bare(textOf(root, 'ETag')), headers['x-amz-request-id']];
  return { created: true, etag, checksum: shownIn(root), requestId };
}

function partOf(number: number, length: number, etag: string | undefined, checksum: string | undefined): UploadedPart {
  return { number, length, etag: bare(etag), ...(checksum?.startsWith('crc32:') ? { checksum } : {}) };
}

function infoOf(key: string, headers: Headers): BlobInfo {
  return { key, length: Number(headers['content-length'] ?? 0), etag: bare(headers['etag']) };
}

/** What the store says of a whole blob; for the CRC32 it wants to be asked. */
function toldIn(headers: Headers): string[] {
  const told = [
    showEncoded(headers['x-amz-checksum-crc32']),
    // COS has it of every blob, OSS behind its S3 door too.
    showDecimal(headers['x-cos-hash-crc64ecma'] ?? headers['x-oss-hash-crc64ecma']),
    md5In(headers),
  ];
  return told.filter((checksum) => checksum !== undefined);
}

/**
 * An etag is the MD5 of a blob that came in one piece and is encrypted with the store's own keys, if at all:
 * https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html
 */
function md5In(headers: Headers): string | undefined {
  const encryption = headers['x-amz-server-side-encryption'] ?? 'AES256';
  const isOthersKey = headers['x-amz-server-side-encryption-customer-algorithm'] !== undefined;
  const etag = bare(headers['etag']).toLowerCase();
  return encryption === 'AES256' && !isOthersKey && /^[0-9a-f]{32}$/.test(etag) ? `md5:${etag}` : undefined;
}

function showDecimal(crc64: string | undefined): string | undefined {
  return crc64 === undefined || !/^\d+$/.test(crc64) ? undefined : showCrc64(BigInt(crc64));
}

function isConflict(error: unknown): boolean {
  return statusOf(error) === 412 || statusOf(error) === 409;
}

function statusOf(error: unknown): number | undefined {
  return error instanceof MigrationError ? (error.subject['status'] as number | undefined) : undefined;
}

/** The inverse of `encoding-type=url`, in which a space may be a plus. */
function decodeKey(key: string | undefined, page: Element): string {
  if (key === undefined) return '';
  if (!/[%+]/.test(key) || textOf(page, 'EncodingType') !== 'url') return key;
  return decodeURIComponent(key.replaceAll('+', ' '));
}

function md5Of({ buffers }: Payload): Buffer {
  const hash = createHash('md5');
  for (const buffer of buffers) hash.update(buffer);
  return hash.digest();
}

function encodeCrc32(crc: number): string {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32BE(crc);
  return bytes.toString('base64');
}

/** Undefined for a checksum of the list of parts (`…-3`), which says nothing about the bytes by itself. */
function showEncoded(checksum: string | undefined): string | undefined {
  if (checksum === undefined || checksum === '' || checksum.includes('-')) return undefined;
  return showCrc32(Buffer.from(checksum, 'base64').readUInt32BE());
}

/** As a list of parts or the answer to a copy has it. */
function shownIn(element: Element): string | undefined {
  return showEncoded(textOf(element, 'ChecksumCRC32'));
}

function decodeShown(checksum: string | undefined): number | undefined {
  return checksum?.startsWith('crc32:') ? Number.parseInt(checksum.slice('crc32:'.length), 16) : undefined;
}
