/** A bucket behind the S3 protocol. The only file that knows the AWS SDK. */
import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import type { Socket } from 'node:net';
import type { Duplex, Readable } from 'node:stream';
import { TLSSocket } from 'node:tls';
import type { GetObjectCommandOutput, ListObjectsV2CommandOutput, Part } from '@aws-sdk/client-s3';
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  ListPartsCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import {
  BlobCorruptError,
  BlobMissingError,
  ConfigurationError,
  MigrationError,
  UnavailableError,
} from '../domain/errors';
import { untilAborted } from './abort';
import { showCrc32 } from './crc32';
import { compareKeys } from './keys';
import { fill, memoryFor } from './memory';
import { joined } from './payload';
import type { Payload } from './payload';
import { fromS3 } from './s3-errors';
import type {
  BlobInfo,
  ReadOptions,
  ReadReceipt,
  Store,
  UploadedPart,
  Uploads,
  WriteOptions,
  WriteReceipt,
} from './store';

export interface S3Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
}

export interface S3Options {
  readonly bucket: string;
  /** The bucket's own region: the signature names it. */
  readonly region: string;
  /** `https://host[:port]` of anything but AWS itself. */
  readonly endpoint?: string;
  /** The bucket in the path instead of the host name, as most gateways want it. Default false. */
  readonly pathStyle?: boolean;
  /** Asked before every request: rounds outlive session tokens. Default: the AWS chain (environment, profile, role). */
  readonly credentials?: () => Promise<S3Credentials>;
  /** What the bucket is to encrypt blobs with. Default: what the bucket itself says. */
  readonly encryption?: { readonly type: 'AES256' | 'aws:kms'; readonly keyId?: string };
  /** Default 5,000 to connect (TLS included) and 30,000 without a byte in either direction. */
  readonly timeouts?: { readonly connectMs: number; readonly idleMs: number };
}

/** Requests in flight; more wait for a connection, and that wait is bounded by the time-outs of those before. */
// The SDK prints twelve lines per process about Node 20; our `engines` say what we support.
process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] ??= 'true';

const MAX_SOCKETS = 64;
/** One request and two more tries. Whoever calls us decides about everything beyond. */
const MAX_ATTEMPTS = 3;
const DEFAULT_TIMEOUTS = { connectMs: 5_000, idleMs: 30_000 };
const MIN_PART_BYTES = 5 * 1024 * 1024;

export function openS3(options: S3Options): Store {
  return new S3Store(options);
}

/** All state is `#private`, hence in no log: `inspect` and `JSON.stringify` show the description alone. */
class S3Store implements Store {
  readonly description: string;
  readonly #client: S3Client;
  readonly #bucket: string;
  readonly #encryption: { ServerSideEncryption?: 'AES256' | 'aws:kms'; SSEKMSKeyId?: string };
  #bucketIsThere = false;

  constructor(options: S3Options) {
    this.description = `s3://${options.bucket}`;
    this.#client = clientFor(options);
    this.#bucket = options.bucket;
    this.#encryption = { ServerSideEncryption: options.encryption?.type, SSEKMSKeyId: options.encryption?.keyId };
  }

  async *list(prefix: string, signal: AbortSignal): AsyncGenerator<BlobInfo> {
    let previous: string | undefined;
    let page: ListObjectsV2CommandOutput | undefined;
    do {
      const command = new ListObjectsV2Command({
        Bucket: this.#bucket,
        Prefix: prefix,
        ContinuationToken: page?.NextContinuationToken,
        // Keys may hold what XML can not.
        EncodingType: 'url',
      });
      page = await this.#attempt((options) => this.#client.send(command, options), { prefix }, signal);
      for (const { Key, Size, ETag } of page.Contents ?? []) {
        signal.throwIfAborted();
        const key = decodeKey(Key ?? '', page.EncodingType);
        this.#assertAfter(previous, key);
        yield { key, length: Size ?? 0, etag: bare(ETag) };
        previous = key;
      }
      this.#assertGoesOn(page.IsTruncated, page.NextContinuationToken, prefix);
    } while (page.IsTruncated);
  }

  async head(key: string, signal: AbortSignal): Promise<BlobInfo | undefined> {
    const command = new HeadObjectCommand({ Bucket: this.#bucket, Key: key });
    try {
      const answer = await this.#attempt((options) => this.#client.send(command, options), { key }, signal);
      return { key, length: answer.ContentLength ?? 0, etag: bare(answer.ETag) };
    } catch (error) {
      if (!(error instanceof BlobMissingError)) throw error;
      await this.#assertBucket(signal);
      return undefined;
    }
  }

  async read(key: string, options: ReadOptions, signal: AbortSignal): Promise<ReadReceipt> {
    if (options.length === 0) return { buffers: [], etag: options.ifMatch ?? '' };
    const command = new GetObjectCommand({
      Bucket: this.#bucket,
      Key: key,
      Range: rangeOf(options),
      IfMatch: options.ifMatch === undefined ? undefined : `"${options.ifMatch}"`,
    });
    const answer = await this.#attempt((send) => this.#client.send(command, send), { key }, signal);
    const body = answer.Body as Readable;
    let received = 0;
    try {
      const expected = this.#expectedBytes(key, options, answer);
      const filling = fill(memoryFor(expected, options));
      for await (const chunk of body) {
        received += (chunk as Buffer).length;
        if (received > expected) break;
        filling.take(chunk as Buffer);
      }
      if (received !== expected) throw this.#endedEarly(key, expected, received);
      return { buffers: filling.buffers, etag: bare(answer.ETag) };
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      throw fromS3(error, { ...this.#subject(key), received });
    } finally {
      // Also when the reader turns away in the middle: an unread body would hold its connection.
      body.destroy();
    }
  }

  async write(key: string, body: Payload, options: WriteOptions, signal: AbortSignal): Promise<WriteReceipt> {
    const crc = body.crc32;
    const command = new PutObjectCommand({
      Bucket: this.#bucket,
      Key: key,
      Body: joined(body.buffers),
      ChecksumCRC32: encodeCrc32(crc),
      IfNoneMatch: options.ifAbsent ? '*' : undefined,
      ...this.#encryption,
    });
    try {
      const answer = await this.#attempt((send) => this.#client.send(command, send), { key }, signal);
      const checksum = this.#compare(key, crc, answer.ChecksumCRC32);
      return { created: true, etag: bare(answer.ETag), checksum, requestId: answer.$metadata.requestId };
    } catch (error) {
      if (!options.ifAbsent || !isConflict(error)) throw error;
      return this.#alreadyThere(key, error, signal);
    }
  }

  async delete(key: string, signal: AbortSignal): Promise<void> {
    const command = new DeleteObjectCommand({ Bucket: this.#bucket, Key: key });
    try {
      await this.#attempt((options) => this.#client.send(command, options), { key }, signal);
    } catch (error) {
      // AWS answers 204 for a blob that is not there; some gateways say 404.
      if (!(error instanceof BlobMissingError)) throw error;
    }
  }

  readonly uploads: Uploads = {
    minPartBytes: MIN_PART_BYTES,

    begin: async (key, signal) => {
      const command = new CreateMultipartUploadCommand({
        Bucket: this.#bucket,
        Key: key,
        // Of the whole blob, not of the list of its parts: so `complete` answers what `write` does.
        ChecksumAlgorithm: 'CRC32',
        ChecksumType: 'FULL_OBJECT',
        ...this.#encryption,
      });
      const answer = await this.#attempt((options) => this.#client.send(command, options), { key }, signal);
      if (!answer.UploadId) throw new UnavailableError('The store began an upload without naming it.');
      return answer.UploadId;
    },

    part: async (key, uploadId, number, body, signal) => {
      const crc = body.crc32;
      const command = new UploadPartCommand({
        Bucket: this.#bucket,
        Key: key,
        UploadId: uploadId,
        PartNumber: number,
        Body: joined(body.buffers),
        ChecksumCRC32: encodeCrc32(crc),
      });
      const about = { key, uploadId, part: number };
      const answer = await this.#attempt((options) => this.#client.send(command, options), about, signal);
      this.#compare(key, crc, answer.ChecksumCRC32);
      return { number, length: body.length, etag: bare(answer.ETag) };
    },

    parts: (key, uploadId, signal) => this.#parts(key, uploadId, signal),

    complete: async (key, uploadId, parts, signal) => {
      const command = new CompleteMultipartUploadCommand({
        Bucket: this.#bucket,
        Key: key,
        UploadId: uploadId,
        MultipartUpload: { Parts: await this.#partsToComplete(key, uploadId, parts, signal) },
      });
      const about = { key, uploadId };
      const answer = await this.#attempt((options) => this.#client.send(command, options), about, signal);
      const checksum = showEncoded(answer.ChecksumCRC32);
      return { created: true, etag: bare(answer.ETag), checksum, requestId: answer.$metadata.requestId };
    },

    abort: async (key, uploadId, signal) => {
      const command = new AbortMultipartUploadCommand({ Bucket: this.#bucket, Key: key, UploadId: uploadId });
      try {
        await this.#attempt((options) => this.#client.send(command, options), { key, uploadId }, signal);
      } catch (error) {
        if (!(error instanceof BlobMissingError)) throw error;
      }
    },

    unfinished: (prefix, signal) => this.#unfinished(prefix, signal),
  };

  /** Stores that keep the checksum of a part want it repeated, and we may not be those who sent the part. */
  async #partsToComplete(key: string, uploadId: string, parts: readonly UploadedPart[], signal: AbortSignal) {
    const checksums = new Map<number, string | undefined>();
    for await (const { PartNumber, ChecksumCRC32 } of this.#listParts(key, uploadId, signal)) {
      checksums.set(PartNumber ?? 0, ChecksumCRC32);
    }
    return parts.map(({ number, etag }) => ({
      PartNumber: number,
      ETag: `"${etag}"`,
      ChecksumCRC32: checksums.get(number),
    }));
  }

  async #parts(key: string, uploadId: string, signal: AbortSignal): Promise<readonly UploadedPart[] | undefined> {
    const parts: UploadedPart[] = [];
    try {
      for await (const { PartNumber, Size, ETag } of this.#listParts(key, uploadId, signal)) {
        parts.push({ number: PartNumber ?? 0, length: Size ?? 0, etag: bare(ETag) });
      }
      return parts;
    } catch (error) {
      if (error instanceof BlobMissingError) return undefined;
      throw error;
    }
  }

  /** Ascending, a thousand a page. */
  async *#listParts(key: string, uploadId: string, signal: AbortSignal): AsyncGenerator<Part> {
    const about = { key, uploadId };
    let marker: string | undefined;
    do {
      const command = new ListPartsCommand({
        Bucket: this.#bucket,
        Key: key,
        UploadId: uploadId,
        PartNumberMarker: marker,
      });
      const page = await this.#attempt((options) => this.#client.send(command, options), about, signal);
      yield* page.Parts ?? [];
      this.#assertGoesOn(page.IsTruncated, page.NextPartNumberMarker, key);
      marker = page.IsTruncated ? page.NextPartNumberMarker : undefined;
    } while (marker !== undefined);
  }

  async #unfinished(prefix: string, signal: AbortSignal) {
    const uploads: { key: string; uploadId: string }[] = [];
    let after: { KeyMarker?: string; UploadIdMarker?: string } | undefined = {};
    try {
      while (after) {
        const command: ListMultipartUploadsCommand = new ListMultipartUploadsCommand({
          Bucket: this.#bucket,
          Prefix: prefix,
          EncodingType: 'url',
          ...after,
        });
        const page = await this.#attempt((options) => this.#client.send(command, options), { prefix }, signal);
        for (const { Key, UploadId } of page.Uploads ?? []) {
          uploads.push({ key: decodeKey(Key ?? '', page.EncodingType), uploadId: UploadId ?? '' });
        }
        this.#assertGoesOn(page.IsTruncated, page.NextKeyMarker, prefix);
        after = page.IsTruncated
          ? {
              KeyMarker: decodeKey(page.NextKeyMarker ?? '', page.EncodingType),
              UploadIdMarker: page.NextUploadIdMarker,
            }
          : undefined;
      }
      return uploads;
    } catch (error) {
      if (statusOf(error) === 501 || statusOf(error) === 405) return undefined;
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
      subject: this.#subject(key),
      cause: conflict,
    });
  }

  /** Every request goes through here: an abort rejects with its reason at once, and every failure is classified. */
  async #attempt<T>(
    send: (options: { abortSignal: AbortSignal }) => Promise<T>,
    about: Readonly<Record<string, string | number>>,
    signal: AbortSignal,
  ): Promise<T> {
    signal.throwIfAborted();
    try {
      return await untilAborted(send({ abortSignal: signal }), signal);
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      throw fromS3(error, { store: this.description, ...about });
    }
  }

  /** An answer to HEAD has no body: 404 may speak of the blob or of its bucket. A listing says which. */
  async #assertBucket(signal: AbortSignal): Promise<void> {
    if (this.#bucketIsThere) return;
    const command = new ListObjectsV2Command({ Bucket: this.#bucket, MaxKeys: 1 });
    await this.#attempt((options) => this.#client.send(command, options), {}, signal);
    this.#bucketIsThere = true;
  }

  /** Bytes that the body must have. Throws when the store answers a range with anything but that range. */
  #expectedBytes(key: string, options: ReadOptions, answer: GetObjectCommandOutput): number {
    const offset = options.offset ?? 0;
    const isRange = rangeOf(options) !== undefined;
    const answered = isRange ? /^bytes (\d+)-/.exec(answer.ContentRange ?? '')?.[1] : '0';
    if (answered !== String(offset)) throw this.#endedEarly(key, offset, 0);
    if (options.length !== undefined) return options.length;
    // A body without a length could end anywhere and look whole.
    if (answer.ContentLength === undefined) throw this.#endedEarly(key, 0, 0);
    return answer.ContentLength;
  }

  #endedEarly(key: string, expected: number, received: number): UnavailableError {
    return new UnavailableError('A blob ended before the bytes that were asked for.', {
      subject: { ...this.#subject(key), expected, received },
    });
  }

  /** `crc32:…` as the store computed it, and undefined from a store that does not say. */
  #compare(key: string, sent: number, answered: string | undefined): string | undefined {
    const held = showEncoded(answered);
    if (held === undefined || held === showCrc32(sent)) return held;
    throw new BlobCorruptError('The store holds other bytes than were sent.', {
      subject: { ...this.#subject(key), sent: showCrc32(sent), held },
    });
  }

  #assertAfter(previous: string | undefined, key: string): void {
    if (previous === undefined || compareKeys(previous, key) < 0) return;
    throw new ConfigurationError(
      'The store does not list in the order of its keys, so it can not be compared: use a general purpose bucket.',
      { subject: { ...this.#subject(key), after: previous } },
    );
  }

  /** A page that says there is more but not where would end the listing early, and half of it would pass for all. */
  #assertGoesOn(isTruncated: boolean | undefined, next: string | undefined, key: string): void {
    if (!isTruncated || next) return;
    throw new UnavailableError('The store cut a listing short.', { subject: this.#subject(key) });
  }

  #subject(key: string): { store: string; key: string } {
    return { store: this.description, key };
  }
}

function clientFor(options: S3Options): S3Client {
  const { credentials, endpoint } = options;
  if (endpoint !== undefined && !URL.canParse(endpoint)) {
    throw new ConfigurationError('The endpoint of the store is not a URL.', {
      subject: { store: `s3://${options.bucket}`, endpoint },
    });
  }
  const { connectMs, idleMs } = options.timeouts ?? DEFAULT_TIMEOUTS;
  const pool = { keepAlive: true, maxSockets: MAX_SOCKETS };
  const client = new S3Client({
    region: options.region,
    endpoint,
    forcePathStyle: options.pathStyle ?? false,
    // An expiry in the past keeps the SDK from remembering them.
    credentials: credentials && (async () => ({ ...(await credentials()), expiration: new Date(0) })),
    // Ours are explicit, and what the SDK adds by default other vendors refuse.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    // Waiting for 100-continue costs a round trip, and the SDK gives up its pool for it.
    expectContinueHeader: false,
    maxAttempts: MAX_ATTEMPTS,
    requestHandler: {
      socketTimeout: idleMs,
      httpAgent: withConnectTimeout(new HttpAgent(pool), connectMs),
      httpsAgent: withConnectTimeout(new HttpsAgent(pool), connectMs),
    },
  });
  client.middlewareStack.add(
    (next) => async (args) => {
      try {
        return await next(args);
      } catch (error) {
        throw ofThisRealm(error);
      }
    },
    { step: 'deserialize', priority: 'low', name: 'keepSystemErrors' },
  );
  return client;
}

/** The SDK forgets the code of what is no `instanceof Error`: Node's own errors are none in a realm such as a test's. */
function ofThisRealm(error: unknown): unknown {
  if (error instanceof Error || typeof error !== 'object' || error === null) return error;
  const { name, message, code } = error as NodeJS.ErrnoException;
  return Object.assign(new Error(message), { name, code });
}

/** The SDK's own connection time-out also counts the wait for a free socket, so a busy pool would look like an outage. */
function withConnectTimeout<A extends HttpAgent>(agent: A, ms: number): A {
  const connect = agent.createConnection.bind(agent);
  agent.createConnection = (...args: Parameters<HttpAgent['createConnection']>): Duplex | null | undefined => {
    const socket = connect(...args) as Socket;
    const failure = Object.assign(new Error(`no connection within ${ms} ms`), { code: 'ETIMEDOUT' });
    const timer = setTimeout(() => socket.destroy(failure), ms);
    const stop = () => clearTimeout(timer);
    socket.once(socket instanceof TLSSocket ? 'secureConnect' : 'connect', stop).once('close', stop);
    return socket;
  };
  return agent;
}

function rangeOf({ offset, length }: ReadOptions): string | undefined {
  if (offset === undefined && length === undefined) return undefined;
  const first = offset ?? 0;
  return `bytes=${first}-${length === undefined ? '' : first + length - 1}`;
}

function isConflict(error: unknown): boolean {
  return statusOf(error) === 412 || statusOf(error) === 409;
}

function statusOf(error: unknown): number | undefined {
  return error instanceof MigrationError ? (error.subject['status'] as number | undefined) : undefined;
}

/** Etags without their quotes, so that those of answers and of listings are the same. */
function bare(etag: string | undefined): string {
  return (etag ?? '').replace(/^"|"$/g, '');
}

/** The inverse of `encoding-type=url`, in which a space may be a plus. */
function decodeKey(key: string, encoding: string | undefined): string {
  return encoding === 'url' ? decodeURIComponent(key.replaceAll('+', ' ')) : key;
}

function encodeCrc32(crc: number): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(crc);
  return bytes.toString('base64');
}

/** Undefined for a checksum of the list of parts (`…-3`), which says nothing about the bytes by itself. */
function showEncoded(checksum: string | undefined): string | undefined {
  if (checksum === undefined || checksum.includes('-')) return undefined;
  return showCrc32(Buffer.from(checksum, 'base64').readUInt32BE());
}
