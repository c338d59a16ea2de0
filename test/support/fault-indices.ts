import { randomBytes } from 'node:crypto';
import { http } from './writers';

/** Indices whose files have the form that a fault needs. Documents do not compress, so sizes are what they seem. */

const MIB = 1024 * 1024;

/** One shard with one segment, of which one file has about so many MiB. */
export async function createLargeIndex(url: string, index: string, mib: number): Promise<void> {
  await createIndex(url, index, { number_of_shards: 1 });
  for (let i = 0; i < mib / 8; i += 1) await bulk(url, index, i * 8, 8, MIB);
  await http(`${url}/${index}/_forcemerge?max_num_segments=1`, 'POST');
}

/** So many segments of a few files each, in two shards that never merge; of four documents in each shard. */
export async function createManySegments(url: string, index: string, segments: number, documentBytes = 4_096) {
  await createIndex(url, index, {
    number_of_shards: 2,
    'merge.policy.segments_per_tier': 1_000,
    'merge.policy.max_merge_at_once': 1_000,
    refresh_interval: -1,
  });
  for (let i = 0; i < segments; i += 1) {
    await bulk(url, index, i * 8, 8, documentBytes);
    await http(`${url}/${index}/_refresh`, 'POST');
  }
}

async function createIndex(url: string, index: string, settings: Readonly<Record<string, unknown>>): Promise<void> {
  await http(`${url}/${index}`, 'PUT', {
    settings: { number_of_replicas: 0, ...settings },
    mappings: {
      doc: { _all: { enabled: false }, properties: { noise: { type: 'keyword', index: false, doc_values: false } } },
    },
  });
}

async function bulk(url: string, index: string, from: number, count: number, bytes: number): Promise<void> {
  const lines = Array.from({ length: count }, (_, i) => [
    JSON.stringify({ index: { _index: index, _type: 'doc', _id: `d${from + i}` } }),
    JSON.stringify({ noise: randomBytes((bytes * 3) / 4).toString('base64') }),
  ]);
  const response = await fetch(`${url}/_bulk`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-ndjson' },
    body: `${lines.flat().join('\n')}\n`,
  });
  const answer = (await response.json()) as { errors?: boolean };
  if (!response.ok || answer.errors !== false)
    throw new Error(`bulk into ${index}: ${JSON.stringify(answer).slice(0, 300)}`);
}
