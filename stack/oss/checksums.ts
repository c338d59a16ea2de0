// MD5 (ETags) and CRC64 (x-oss-hash-crc64ecma) of bytes, in one pass.
import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { createCRC64 } from 'hash-wasm';
import type { IHasher } from 'hash-wasm';

const READ_BYTES = 1024 * 1024;

export interface Checksums {
  readonly size: number;
  readonly md5: Buffer;
  /** Decimal, as in the header: CRC-64/XZ, which OSS calls ECMA-182. */
  readonly crc64: string;
}

/** A hasher has memory of its own and costs 0.2 ms to make, so they are used again. */
const idle: IHasher[] = [];

/** Feed it with `update`, then call `end` once. */
export async function startChecksums(): Promise<{ update(chunk: Buffer): void; end(): Checksums }> {
  const crc64 = idle.pop() ?? (await createCRC64());
  crc64.init();
  const md5 = createHash('md5');
  let size = 0;
  return {
    update: (chunk) => {
      size += chunk.length;
      md5.update(chunk);
      crc64.update(chunk);
    },
    end: () => {
      const sum = BigInt(`0x${crc64.digest('hex')}`).toString();
      idle.push(crc64);
      return { size, md5: md5.digest(), crc64: sum };
    },
  };
}

/** Of a whole file, from its beginning. */
export async function checksumsOf(file: FileHandle): Promise<Checksums> {
  const checksums = await startChecksums();
  for await (const chunk of chunksOf(file)) checksums.update(chunk);
  return checksums.end();
}

/** Bytes of a file, a megabyte at a time. Each chunk is overwritten by the next: use it before asking for that. */
export async function* chunksOf(file: FileHandle, start = 0, end = Infinity): AsyncGenerator<Buffer> {
  const buffer = Buffer.allocUnsafe(Math.min(READ_BYTES, end - start));
  for (let position = start; position < end;) {
    const { bytesRead } = await file.read(buffer, 0, Math.min(buffer.length, end - position), position);
    if (bytesRead === 0) return;
    position += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}
