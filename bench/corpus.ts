// Buckets as a repository fills them: many small files, some large ones, the same bytes on every machine.
import { createCipheriv, createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, open, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';

const KIB = 1024;
const MIB = 1024 * KIB;
/** Encrypted to give bytes that nothing compresses. */
const PIECE = Buffer.alloc(16 * MIB);

export type CorpusName = 'small' | 'mixed' | 'large' | 'one' | 'killed';

export const CORPORA: Readonly<Record<CorpusName, string>> = {
  small: '20,000 blobs of 0.3 to 16 KiB',
  mixed: '3,000 of 0.3 to 16 KiB, 300 of 1 to 32 MiB',
  large: '3 of 1 GiB',
  one: '1 of 1 GiB',
  killed: '1,000 of 0.3 to 16 KiB, 30 of 1 to 32 MiB, 2 of 256 MiB',
};

export interface CorpusBlob {
  readonly key: string;
  readonly bytes: number;
}

/** The blobs of a corpus; keys as Elasticsearch makes them. */
export function blobsOf(corpus: CorpusName): CorpusBlob[] {
  const random = seeded(42);
  const blobs: CorpusBlob[] = [];
  const add = (bytes: number) => {
    const shard = blobs.length % 100;
    const index = createHash('md5')
      .update(`index ${shard % 20}`)
      .digest('base64url');
    const name = createHash('md5').update(`blob ${blobs.length}`).digest('base64url');
    blobs.push({ key: `indices/${index}/${Math.floor(shard / 20)}/__${name}`, bytes: Math.round(bytes) });
  };
  const between = (low: number, high: number, at: number) => low * (high / low) ** at;
  const small = { small: 20_000, mixed: 3_000, large: 0, one: 0, killed: 1_000 }[corpus];
  for (let i = 0; i < small; i++) add(between(300, 16 * KIB, random()));
  // Most segments are small: the square favours them.
  const middle = { small: 0, mixed: 300, large: 0, one: 0, killed: 30 }[corpus];
  for (let i = 0; i < middle; i++) add(between(MIB, 32 * MIB, random() ** 2));
  if (corpus === 'large') for (let i = 0; i < 3; i++) add(1024 * MIB);
  if (corpus === 'one') add(1024 * MIB);
  if (corpus === 'killed') for (let i = 0; i < 2; i++) add(256 * MIB);
  return blobs;
}

/**
 * Writes the corpus as a bucket of versitygw, unless it is there. Each object has the etag that its upload would have
 * given it, as clients that compare etags expect.
 */
export async function makeBucket(corpus: CorpusName, root: string, metadata: string): Promise<void> {
  const bucket = path.join(root, corpus);
  if (existsSync(bucket)) return;
  await rm(`${bucket}.part`, { recursive: true, force: true });
  for (const { key, bytes } of blobsOf(corpus)) {
    const file = path.join(`${bucket}.part`, key);
    await mkdir(path.dirname(file), { recursive: true });
    const etag = await writeBlob(file, key, bytes);
    const attributes = path.join(metadata, corpus, key, 'meta');
    await mkdir(attributes, { recursive: true });
    await writeFile(path.join(attributes, 'etag'), `"${etag}"`);
  }
  await rename(`${bucket}.part`, bucket);
}

/** Returns the MD5, or that of its parts and their number, as S3 gives a large object. */
async function writeBlob(file: string, key: string, bytes: number): Promise<string> {
  const cipher = createCipheriv('aes-128-ctr', createHash('md5').update(key).digest(), Buffer.alloc(16));
  const whole = createHash('md5');
  const parts: Buffer[] = [];
  const handle = await open(file, 'w');
  try {
    for (let left = bytes; left > 0; left -= PIECE.length) {
      const piece = cipher.update(PIECE.subarray(0, left));
      await handle.write(piece);
      whole.update(piece);
      if (bytes > 100 * MIB) parts.push(createHash('md5').update(piece).digest());
    }
  } finally {
    await handle.close();
  }
  if (parts.length === 0) return whole.digest('hex');
  return `${createHash('md5').update(Buffer.concat(parts)).digest('hex')}-${parts.length}`;
}

/** The same numbers between 0 and 1 everywhere (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
