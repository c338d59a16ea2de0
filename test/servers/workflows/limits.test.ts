import { WorkflowUpdateFailedError } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import type { TransferLimits } from '../../../src/domain/limits';
import { parseLimits } from '../../../src/domain/plan';
import { fakeActivities } from '../../support/fake-activities';
import { TemporalBench, testServers } from '../../support/temporal';

let bench: TemporalBench;

beforeEach(async () => {
  bench = await TemporalBench.connect(testServers().temporal);
});
afterEach(() => bench.close());

/** A migration whose transfers last until `release` is called. */
async function started() {
  let release: () => void = () => undefined;
  const released = new Promise<void>((resolve) => (release = resolve));
  const { activities, journal } = fakeActivities({
    settings: { everyMs: 100, limits: { bytesPerSecond: 1024 * 1024 } },
    units: { data: 1 },
    replace: (base) => ({
      copyBlob: async (input) => {
        await released;
        return base.copyBlob(input);
      },
      writeLimits: async (input): Promise<TransferLimits> => {
        try {
          parseLimits(input.limits);
        } catch (error) {
          throw ApplicationFailure.nonRetryable((error as Error).message, 'Configuration');
        }
        return base.writeLimits(input);
      },
    }),
  });
  await bench.work(activities);
  const handle = await bench.migrate();
  return { handle, journal, release };
}

const child = (id: string) => bench.client.workflow.getHandle(`${id}/round-0-a1`);

describe('set-limits', () => {
  test('is in force in the work prefix, in status, in the running transfer, and after continue-as-new', async () => {
    const { handle, journal, release } = await started();
    const before = await bench.until(handle, (status) => status.step === 'transfer');
    expect(before.limit).toBe('1 MiB/s');
    const limits = { bytesPerSecond: 5 * 1024 * 1024 };
    expect(await handle.executeUpdate('set-limits', { args: [limits] })).toContain('limit: 5 MiB/s');
    expect(journal.calls).toContain(`limits ${JSON.stringify(limits)}`);
    expect((await bench.status(handle)).limit).toBe('5 MiB/s');
    expect((await bench.until(child(handle.workflowId), ({ limit }) => limit !== '1 MiB/s')).limit).toBe('5 MiB/s');
    const first = (await handle.describe()).runId;
    release();
    const current = bench.client.workflow.getHandle(handle.workflowId);
    const after = await bench.until(current, (status) => status.totals.rounds >= 2);
    expect((await current.describe()).runId).not.toBe(first);
    expect(after.limit).toBe('5 MiB/s');
    await current.executeUpdate('set-limits', { args: [{}] });
    expect((await bench.status(current)).limit).toBeUndefined();
    expect(journal.calls.filter((call) => call.startsWith('limits'))).toHaveLength(2);
    await current.terminate();
  });

  test('that is wrong is refused with a sentence, and the limit in force stays', async () => {
    const { handle, release } = await started();
    await bench.until(handle, (status) => status.step === 'transfer');
    for (const args of [[{ bytesPerSecond: '5MB' }], [{ byHour: [] }], ['fast'], []]) {
      const update = handle.executeUpdate('set-limits', { args: args as [unknown] });
      const error = await update.then(
        () => undefined,
        (reason: unknown) => reason,
      );
      expect(error).toBeInstanceOf(WorkflowUpdateFailedError);
      expect((error as WorkflowUpdateFailedError).cause?.message).toMatch(/^(The limits are refused|Limits are one)/);
    }
    expect((await bench.status(handle)).limit).toBe('1 MiB/s');
    release();
    await handle.terminate();
  });

  test('of several at once the last one that was written is the one in status', async () => {
    const { handle, journal, release } = await started();
    await bench.until(handle, (status) => status.step === 'transfer');
    const rates = [2, 3, 4, 5].map((mib) => mib * 1024 * 1024);
    await Promise.all(
      rates.map((bytesPerSecond) => handle.executeUpdate('set-limits', { args: [{ bytesPerSecond }] })),
    );
    const written = journal.calls.filter((call) => call.startsWith('limits'));
    const last = JSON.parse(written.at(-1)!.replace('limits ', '')) as TransferLimits;
    expect(written).toHaveLength(4);
    expect((await bench.status(handle)).limit).toBe(`${last.bytesPerSecond! / 1024 / 1024} MiB/s`);
    release();
    await handle.terminate();
  });
});
