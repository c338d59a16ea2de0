import { randomBytes, randomUUID } from 'node:crypto';
import { http } from './writers';

/** Larger than what is sent in one piece (16 MiB): three parts of 8 MiB. */
const DOCUMENTS = 17;
const DOCUMENT_BYTES = 1024 * 1024;

/** Two snapshots of an index with one large file and of one with small ones, which a real node writes into `location`. */
export async function recordSnapshots(node: string, location: string): Promise<readonly [string, string]> {
  const name = `recording-${randomUUID().slice(0, 8)}`;
  const [large, small] = [`${name}-large`, `${name}-small`];
  const settings = { number_of_shards: 1, number_of_replicas: 0 };
  await http(`${node}/${large}`, 'PUT', { settings, mappings: { doc: { enabled: false } } });
  await http(`${node}/${small}`, 'PUT', { settings: { ...settings, number_of_shards: 2 } });
  for (let n = 0; n < DOCUMENTS; n += 1) {
    // What can not be compressed makes a file as large as it is.
    await http(`${node}/${large}/doc/${n}`, 'PUT', { text: randomBytes(DOCUMENT_BYTES * 0.75).toString('base64') });
  }
  await http(`${node}/${small}/doc/1`, 'PUT', { n: 1 });
  await http(`${node}/${large}/_forcemerge?max_num_segments=1&flush=true`, 'POST');
  await http(`${node}/_snapshot/${name}`, 'PUT', { type: 'fs', settings: { location, compress: true } });
  const snapshots = [`${name}-1`, `${name}-2`] as const;
  for (const snapshot of snapshots) {
    await http(`${node}/${small}/doc/${snapshot}`, 'PUT', { n: 2 });
    await http(`${node}/_snapshot/${name}/${snapshot}?wait_for_completion=true`, 'PUT', {
      indices: `${large},${small}`,
      include_global_state: false,
    });
  }
  for (const index of [large, small]) await http(`${node}/${index}`, 'DELETE');
  await http(`${node}/_snapshot/${name}`, 'DELETE');
  return snapshots;
}
