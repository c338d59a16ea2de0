/** The model case: snapshots on S3, a target on OSS. Each node's `fs` repository is the folder of the server it stands for. */
import { randomUUID } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { ProofLine } from '../../src/steps/proofs';
import { crc64, showCrc64 } from '../../src/storage';
import { shareDirectory, startOss } from '../../stack';
import type { OssServer } from '../../stack';
import { Ferry } from '../support/ferry';
import { aliOss, OSS_KEYS } from '../support/oss';
import { testServers } from '../support/temporal';
import { http, Writers } from '../support/writers';

const { buckets, elasticsearch, s3 } = testServers();
const source = elasticsearch['5.5.2'] as string;
const target = elasticsearch['5.6.16'] as string;

let oss: OssServer;
let ferry: Ferry;
afterEach(async () => {
  await ferry?.close();
  await oss?.stop();
});

/** The last word of the evidence on each blob. */
function proofsOf(of: Ferry): Map<string, ProofLine> {
  const work = path.join(of.files('target'), 'snapferry-work');
  const found = readdirSync(work, { recursive: true, encoding: 'utf8' }).filter((file) => file.includes('/proofs/'));
  const lines = found.sort().flatMap((file) => readFileSync(path.join(work, file), 'utf8').trimEnd().split('\n'));
  return new Map(lines.map((line) => JSON.parse(line) as ProofLine).map((proof) => [proof.key, proof]));
}

test('S3 to OSS: no acknowledged write is missing, and OSS answered for every blob', async () => {
  const root = path.join(buckets, `oss-${randomUUID()}`);
  await shareDirectory(root);
  oss = await startOss({ root, ...OSS_KEYS });
  const [orders, events] = [`orders-${randomUUID()}`, `events-${randomUUID()}`];
  const writers = new Writers(source, 5);
  await writers.createIndex(orders, { number_of_shards: 3 });
  await writers.createIndex(events, { number_of_shards: 1 });
  await writers.bulk(orders, 500);
  await writers.bulk(events, 300);
  ferry = await Ferry.create({ source, target, indices: [orders, events], oss: { root, ...OSS_KEYS, ...oss } });
  await ferry.startWorker();
  await ferry.start();
  await ferry.rounds(1);
  writers.start(4, 100);
  await ferry.rounds(2);
  await ferry.signal('freeze-writes', { by: 'the test' });
  const report = await ferry.result();
  await writers.stop();

  expect(writers.total).toBeGreaterThan(1_000);
  expect(await writers.differences(target)).toEqual([]);
  expect(report.verification.failed).toBe(0);
  await http(`${target}/${orders}/doc/late`, 'PUT', { n: 0 });
  // What OSS said of its bytes is in the proofs, and true of the files; no upload is left behind.
  const proofs = proofsOf(ferry);
  expect(proofs.size).toBeGreaterThan(100);
  for (const { key, checksum, requestId } of proofs.values()) {
    const file = path.join(ferry.files('target'), 'to', key);
    if (existsSync(file)) expect([key, checksum]).toEqual([key, showCrc64(await crc64([readFileSync(file)]))]);
    expect(requestId).toMatch(/^[0-9A-F]{24}$/);
  }
  const { uploads } = await aliOss(oss.endpoint, path.basename(ferry.files('target'))).listUploads({
    'max-uploads': 9,
  });
  expect(uploads ?? []).toEqual([]);
  expect((await ferry.histories()).text).not.toContain(OSS_KEYS.secretAccessKey);
  for (const secret of [OSS_KEYS.secretAccessKey, s3.secretAccessKey]) {
    expect(ferry.output.join('')).not.toContain(secret);
  }
});
