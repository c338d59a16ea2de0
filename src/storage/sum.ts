/** What bytes sum up to that lie in a store: read piece by piece, in the memory that all copies share. */
import { combineCrc32 } from './crc32';
import { laneOf, weightOf } from './engine';
import type { Engine } from './engine';
import type { Pace } from './pace';
import { mapInParallel } from './parallel';
import { payload } from './payload';
import { matching } from './store';
import type { BlobInfo, Store } from './store';

const PIECE_BYTES = 8 * 1024 * 1024;
/** Of one blob: as many bytes as a copy of it would have in flight. */
const PIECES_AT_ONCE = 8;

/**
 * The CRC32 of a blob's bytes. Throws what `Store.read` throws, `RepositoryChangedError` among it when the blob is no
 * longer the one that `blob` speaks of.
 */
export async function readCrc32(
  engine: Engine,
  store: Store,
  blob: BlobInfo,
  signal: AbortSignal,
  pace: Pick<Pace, 'take'> = engine.pace,
): Promise<number> {
  const offsets = Array.from({ length: Math.ceil(blob.length / PIECE_BYTES) }, (_, piece) => piece * PIECE_BYTES);
  const pieces = await mapInParallel(offsets, PIECES_AT_ONCE, signal, async (offset, either) => {
    const length = Math.min(PIECE_BYTES, blob.length - offset);
    return { length, crc32: await readPiece(engine, store, blob, { offset, length }, either, pace) };
  });
  return pieces.reduce((crc, piece) => combineCrc32(crc, piece.crc32, piece.length), 0);
}

async function readPiece(
  engine: Engine,
  store: Store,
  { key, etag }: BlobInfo,
  range: { readonly offset: number; readonly length: number },
  signal: AbortSignal,
  pace: Pick<Pace, 'take'>,
): Promise<number> {
  const { length } = range;
  await pace.take(length, 1, signal);
  const memory = await engine.slabs.take(length, signal);
  try {
    const ifMatch = matching(etag);
    const wanted = { ...range, into: () => memory.buffers, ...(ifMatch === undefined ? {} : { ifMatch }) };
    await engine
      .gate(store, 'source', laneOf(length))
      .run(weightOf(length), signal, () => store.read(key, wanted, signal));
    return payload(...memory.buffers).crc32;
  } finally {
    memory.release();
  }
}
