/** Temporary credentials that end in the middle of a round. */
import { randomUUID } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { shareDirectory, startOss } from '../../stack';
import type { OssServer } from '../../stack';
import { Ferry } from '../support/ferry';
import { OSS_KEYS } from '../support/oss';
import { testServers } from '../support/temporal';
import { Writers } from '../support/writers';

const { buckets, elasticsearch } = testServers();
const source = elasticsearch['5.5.2'] as string;
const target = elasticsearch['5.6.16'] as string;

let oss: OssServer;
let ferry: Ferry;
afterEach(async () => {
  await ferry?.close();
  await oss?.stop();
});

test('a token that nobody renewed parks the round; with a new one it goes on, without a restart', async () => {
  const root = path.join(buckets, `oss-${randomUUID()}`);
  await shareDirectory(root);
  const tokens = { first: 'planted-token-1', second: 'planted-token-2' };
  oss = await startOss({ root, ...OSS_KEYS, sessionTokens: Object.values(tokens).map((token) => ({ token })) });
  await oss.setFaults([
    {
      on: { token: tokens.first, operation: 'PutObject', key: '/indices/' },
      nth: 3,
      count: 0,
      then: { do: 'error', code: 'SecurityTokenExpired' },
    },
  ]);
  const index = `expired-${randomUUID()}`;
  const writers = new Writers(source, 5);
  await writers.createIndex(index, { number_of_shards: 3 });
  await writers.bulk(index, 300);
  ferry = await Ferry.create({ source, target, indices: [index], oss: { root, ...OSS_KEYS, ...oss } });
  const file = path.join(ferry.dir, 'token');
  writeFileSync(file, `${tokens.first}\n`);
  nameToken(ferry, file);
  await ferry.startWorker();
  await ferry.start();

  const { parked } = await ferry.until(({ phase }) => phase === 'parked');
  expect(parked).toMatchObject({ code: 'Configuration', why: expect.stringContaining('provide fresh credentials') });
  // No storm: what was under way when it happened, each asked for the credentials once more.
  expect((await oss.faults())[0]?.struck).toBeLessThan(100);
  const [before] = await oss.faults();
  await new Promise((resolve) => setTimeout(resolve, 3_000));
  expect((await oss.faults())[0]).toEqual(before);

  writeFileSync(file, `${tokens.second}\n`);
  writers.start(2, 50);
  await ferry.signal('retry');
  await ferry.rounds(1);
  await ferry.signal('freeze-writes', { by: 'the test' });
  const report = await ferry.result();
  await writers.stop();
  expect(await writers.differences(target)).toEqual([]);
  expect(report.verification.failed).toBe(0);
  expect((await ferry.histories()).text + ferry.output.join('')).not.toContain('planted-token');
});

/** Adds the token of temporary credentials to the target store, by reference. */
function nameToken({ dir }: Ferry, file: string): void {
  const connections = path.join(dir, 'connections.yaml');
  const content = JSON.parse(readFileSync(connections, 'utf8')) as {
    readonly stores: { readonly 'target-store': { readonly credentials: Record<string, unknown> } };
  };
  content.stores['target-store'].credentials['securityToken'] = { file };
  writeFileSync(connections, JSON.stringify(content));
}
