import { randomUUID } from 'node:crypto';
import { ApplicationFailure } from '@temporalio/common';
import { fakeActivities } from '../../support/fake-activities';
import { recordHistory, TemporalBench, testServers } from '../../support/temporal';

let bench: TemporalBench;
afterEach(() => bench.close());

const plan = { migration: 'm', firstRunId: 'f', store: 's', storeFingerprint: 'f', prefix: 'p', digest: 'd' };

describe('a transfer', () => {
  test('keeps phases as barriers while units inside a phase run side by side, across continue-as-new', async () => {
    bench = await TemporalBench.connect(testServers().temporalSmall);
    let inFlight = 0;
    let widest = 0;
    const copies: string[] = [];
    const { activities } = fakeActivities({
      units: { data: 250, 'shard-metadata': 30, 'index-metadata': 5 },
      replace: () => {
        const copy = async ({ page, unit }: { page: number; unit: number }) => {
          inFlight += 1;
          widest = Math.max(widest, inFlight);
          await new Promise((resolve) => setTimeout(resolve, 5));
          copies.push(`${page}:${unit}`);
          inFlight -= 1;
          return { blobs: 1, bytes: 10 };
        };
        return { copyBlob: copy, copyBatch: copy };
      },
    });
    await bench.work(activities);
    const ref = { plan, round: 3, attempt: 1 };
    const planned = await activities.planTransfer({ ...ref, snapshot: 's', snapshotUuid: 'u' });
    const handle = await bench.client.workflow.start('transfer', {
      taskQueue: bench.taskQueue,
      workflowId: `t-${randomUUID()}`,
      args: [{ ...ref, planned, parent: undefined, searchAttributes: [] }],
    });
    expect(await handle.result()).toEqual({ blobs: 285, bytes: 2850, workedMs: expect.any(Number) as number });
    expect(new Set(copies).size).toBe(285);
    expect(copies).toHaveLength(285);
    expect(widest).toBeGreaterThan(4);
    const pages = copies.map((copy) => Number(copy.split(':')[0]));
    const lastData = Math.max(...pages.flatMap((page, at) => (page <= 2 ? [at] : [])));
    const firstShard = pages.findIndex((page) => page === 3);
    expect(firstShard).toBeGreaterThan(lastData);
    const runs = (await handle.describe()).raw.workflowExecutionInfo;
    expect(runs?.firstRunId).not.toBe(runs?.execution?.runId);
    await recordHistory(bench.client, handle, 'transfer-continued');
  });

  test('fails with the reason of the blob that failed for good, when nothing is in flight any more', async () => {
    bench = await TemporalBench.connect(testServers().temporal);
    const { activities } = fakeActivities({
      replace: (base) => ({
        copyBlob: async (input) =>
          input.unit === 2
            ? Promise.reject(ApplicationFailure.nonRetryable('__7 is not what it was', 'BlobCorrupt'))
            : base.copyBlob(input),
      }),
    });
    await bench.work(activities);
    const handle = await bench.migrate();
    const status = await bench.until(handle, (seen) => seen.phase === 'parked');
    expect(status.parked).toMatchObject({ code: 'BlobCorrupt' });
    expect(status.parked?.why).toContain('__7');
    await handle.terminate();
  });
});

describe('continue-as-new of a migration', () => {
  test('carries requests, counts and notes, and is crossed after every round', async () => {
    bench = await TemporalBench.connect(testServers().temporal);
    const { activities } = fakeActivities({ settings: { everyMs: 100 } });
    await bench.work(activities);
    const handle = await bench.migrate();
    const first = (await handle.describe()).runId;
    await bench.until(handle, (status) => status.totals.rounds >= 3);
    const current = bench.client.workflow.getHandle(handle.workflowId);
    const { raw } = await current.describe();
    expect(raw.workflowExecutionInfo?.execution?.runId).not.toBe(first);
    expect((await bench.status(current)).notes.join('\n')).toContain('preflight passed');
    await current.signal('freeze-writes', { whenReady: true });
    await current.result();
    await recordHistory(bench.client, current, 'migrate-continued', first);
  });
});
