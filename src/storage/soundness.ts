/**
 * Whether the bytes that are moved are those they should be: what the snapshot says (the source is sound), and where no
 * manifest knows, what both stores say (the way is sound). Which end is at fault, a second reading tells.
 */
import { BlobCorruptError, UnavailableError } from '../domain/errors';
import type { Subject } from '../domain/errors';
import type { ManifestBlob } from '../repository/manifest';
import type { CopyFile } from './copy';
import { NEW_REPOSITORY } from './copy-source';
import type { SourceFile } from './copy-source';
import { combineCrc32, footerCrc32, showCrc32 } from './crc32';
import type { Payload } from './payload';
import type { BlobProof } from './proof';
import { isOf } from './whole';

/** The source gives other bytes when it is asked again. None of those that were sent are to be gone on with. */
export class DamagedOnTheWay extends UnavailableError {}

export class Soundness {
  readonly #source: SourceFile;
  /** CRC32 of the whole file; undefined where nothing says it. */
  readonly expected: number | undefined;

  /** @throws a plain error for a file of which the manifest gives no CRC32, or not all chunks */
  constructor(source: SourceFile, isUnproved: boolean) {
    this.#source = source;
    this.expected = isUnproved ? undefined : expectedCrc32(source.file);
  }

  /** CRC32 of a blob that is the whole file; undefined of a chunk, and where nothing says it. */
  expectedOf({ part }: ManifestBlob): number | undefined {
    return part === undefined ? this.expected : undefined;
  }

  /**
   * Throws when the file ends with this blob and its bytes do not have the CRC32 that the snapshot says. Whether they
   * were damaged there or on their way, a second reading tells; after the latter everything is read and sent again.
   */
  assertSound(blob: ManifestBlob, crc: number, before: readonly BlobProof[]): Promise<void> | undefined {
    if (this.expected === undefined || before.length + 1 < this.#source.file.blobs.length) return undefined;
    const actual = before.length === 0 ? crc : combined([...before, { length: blob.length, crc32: crc }]);
    return actual === this.expected ? undefined : this.#blame(blob, actual, this.expected);
  }

  async #blame(blob: ManifestBlob, actual: number, expected: number): Promise<never> {
    const subject = { ...this.#source.about(blob), expected: showCrc32(expected) };
    if ((await this.#source.crc32()) !== actual) throw damagedOnTheWay(subject, actual);
    throw new BlobCorruptError(`The bytes in the source are not those that the snapshot names: ${NEW_REPOSITORY}.`, {
      subject: { ...subject, actual: showCrc32(actual) },
    });
  }

  /** What no manifest knows is compared with what its store says of it: first, where clusters would read it at once. */
  assertAsTold(blob: ManifestBlob, body: Payload, told: readonly string[]): Promise<void> | undefined {
    const compared = told.filter((checksum) => blob.phase !== 'data' || checksum.startsWith('crc32:'));
    return compared.length === 0 ? undefined : this.#assertIs(blob, body.crc32, compared, body);
  }

  /** The same for data, at no cost: both stores say what their bytes are, and mostly in the same words. */
  assertArrived(
    blob: ManifestBlob,
    crc: number,
    told: readonly string[],
    { etag, checksum }: Pick<BlobProof, 'etag' | 'checksum'>,
    body?: Payload,
  ): Promise<void> | undefined {
    const differing = told.filter((one) => {
      const kind = one.slice(0, one.indexOf(':') + 1);
      const other = checksum?.startsWith(kind) ? checksum : sayIn(kind, crc, etag);
      return other !== undefined && other !== one;
    });
    return differing.length === 0 ? undefined : this.#assertIs(blob, crc, differing, body);
  }

  /** The target's etag may be of something else than the bytes: summing up what was sent tells without reading it again. */
  async #assertIs(blob: ManifestBlob, crc: number, told: readonly string[], body: Payload | undefined): Promise<void> {
    for (const one of told) {
      if (body === undefined || !(await isOf(body, one))) await this.#assertReadAgain(blob, crc, one);
    }
  }

  /** Throws unless the source gives the same bytes again and what it told of them was an etag, of something else. */
  async #assertReadAgain(blob: ManifestBlob, crc: number, told: string): Promise<void> {
    const subject = { ...this.#source.about(blob), told };
    if ((await this.#source.crc32()) !== crc) throw damagedOnTheWay(subject, crc);
    if (told.startsWith('md5:')) return;
    throw new BlobCorruptError('The store gives other bytes than it took: the blob was damaged there.', { subject });
  }
}

/** What sent bytes and an etag tell in words of that kind; undefined: nothing. */
function sayIn(kind: string, crc: number, etag: string): string | undefined {
  if (kind === 'crc32:') return showCrc32(crc);
  return kind === 'md5:' && /^[0-9a-f]{32}$/i.test(etag) ? `md5:${etag.toLowerCase()}` : undefined;
}

function damagedOnTheWay(subject: Subject, read: number): DamagedOnTheWay {
  return new DamagedOnTheWay('Bytes were changed on their way from the source: they are read again.', {
    subject: { ...subject, read: showCrc32(read) },
  });
}

function expectedCrc32({ blobs }: CopyFile): number {
  const [first] = blobs;
  const footer = first?.part?.fileCrc32 ?? first?.crc32 ?? null;
  if (footer === null) throw new Error(`the manifest has no CRC32 for ${first?.key}: it is published, not copied`);
  const isWhole = blobs.length === (first?.part?.of ?? 1);
  const isInOrder = blobs.every(({ part }, i) => i === 0 || part!.number === blobs[i - 1]!.part!.number + 1);
  if (!isWhole || !isInOrder) throw new Error(`not all chunks of ${first?.key}, in order`);
  return footerCrc32(footer);
}

/** The CRC32 of pieces that follow one another; lengths in bytes. */
export function combined(pieces: readonly { readonly length: number; readonly crc32: number }[]): number {
  return pieces.reduce((crc, piece) => combineCrc32(crc, piece.crc32, piece.length), 0);
}
