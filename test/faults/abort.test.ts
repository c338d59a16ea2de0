import { createLargeIndex } from '../support/fault-indices';
import { eventually } from '../support/fault-poll';
import { Ferry } from '../support/ferry';
import { testServers } from '../support/temporal';
import { http } from '../support/writers';

const { elasticsearch } = testServers();
const source = elasticsearch['5.5.2'] as string;
const target = elasticsearch['5.6.16'] as string;

let ferry: Ferry;
afterEach(() => ferry.close());

const registrations = () => Promise.all([http(`${source}/_snapshot`), http(`${target}/_snapshot`)]);

async function started(index: string, settings: Readonly<Record<string, string>>): Promise<Ferry> {
  await createLargeIndex(source, index, 32);
  ferry = await Ferry.create({ source, target, indices: [index], repositorySettings: settings });
  await ferry.startWorker();
  await ferry.start();
  return ferry;
}

test('abort during a long snapshot stops and deletes it, and gives registration and claims back', async () => {
  const before = await registrations();
  const one = await started('aborted-snapshot', { max_snapshot_bytes_per_sec: '1mb' });
  await eventually('a snapshot under way', async () => {
    const { snapshots } = (await http(`${source}/_snapshot/_status`)) as { snapshots: unknown[] };
    return snapshots.length > 0 || undefined;
  });
  await one.signal('abort');
  expect(await one.failure()).toMatch(/Snapshot snapferry-\S+ ran on source source: it was stopped and is deleted/);
  expect(await http(`${source}/_snapshot/_status`)).toEqual({ snapshots: [] });
  expect(await registrations()).toEqual(before);
  expect(one.claims()).toEqual([]);
});

test('abort during a long restore deletes the half index, and gives registration and claims back', async () => {
  const before = await registrations();
  const one = await started('aborted-restore', { max_restore_bytes_per_sec: '1mb' });
  await eventually('a restore under way', async () => {
    const answer = (await http(`${target}/aborted-restore/_recovery`).catch(() => ({}))) as Record<
      string,
      { shards: { stage: string }[] }
    >;
    return answer['aborted-restore']?.shards[0]?.stage === 'INDEX' || undefined;
  });
  await one.signal('abort');
  expect(await one.failure()).toContain('held nothing whole: aborted-restore. They are deleted');
  await expect(http(`${target}/aborted-restore`)).rejects.toThrow('404');
  expect(await registrations()).toEqual(before);
  expect(one.claims()).toEqual([]);
});
