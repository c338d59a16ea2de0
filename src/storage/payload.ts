import { crc32 } from './crc32';

/**
 * Bytes to send: buffers that follow one another, with the CRC32 of them all. Made where the bytes are read, so that
 * they are summed once, and whatever a fault in memory changes afterwards the target refuses.
 */
export interface Payload {
  readonly buffers: readonly Buffer[];
  /** Bytes. */
  readonly length: number;
  readonly crc32: number;
}

export function payload(...buffers: readonly Buffer[]): Payload {
  return {
    buffers,
    length: buffers.reduce((sum, { length }) => sum + length, 0),
    crc32: buffers.reduce((crc, buffer) => crc32(buffer, crc), 0),
  };
}

/** The buffers as one; a copy only where there are several. */
export function joined(buffers: readonly Buffer[]): Buffer {
  return buffers.length === 1 ? buffers[0]! : Buffer.concat(buffers);
}
