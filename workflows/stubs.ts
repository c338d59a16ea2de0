import { ActivityCancellationType, proxyActivities } from '@temporalio/workflow';
import type { ActivityInterfaceFor } from '@temporalio/workflow';
import type { createActivities } from '../activities';

/**
 * Activity stubs, grouped by how long they may take. Failures that need a person are non-retryable by type (see
 * activities/failures.ts), so `retry` here concerns only what may pass by itself.
 */

type Activities = ReturnType<typeof createActivities>;

export const TRANSFER_QUEUE_SUFFIX = '-transfer';

/** 1 s x2 up to 1 min: about 25 minutes of trying before a step parks. */
const patient = { initialInterval: '1s', backoffCoefficient: 2, maximumInterval: '1m', maximumAttempts: 30 } as const;
/** What must happen in the end, whatever it takes: undoing, and the transfer. No bound is the server's default. */
const endless = { initialInterval: '1s', backoffCoefficient: 2, maximumInterval: '30s' } as const;

/** Calls that answer in seconds. A killed worker must not cost a freeze the whole of start-to-close. */
export const quick = proxyActivities<Activities>({
  startToCloseTimeout: '5m',
  heartbeatTimeout: '30s',
  retry: patient,
  cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
});

/**
 * The lease's own: no heartbeat, so a successor starts only when start-to-close has passed, and start-to-close minus
 * the request's 30 s is the last moment at which an attempt sends anything.
 */
export const blocking = proxyActivities<Activities>({
  startToCloseTimeout: '90s',
  retry: endless,
  cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
});

/** Waiting for Elasticsearch, which answers after minutes when it is busy. */
export const waiting = proxyActivities<Activities>({
  startToCloseTimeout: '7d',
  heartbeatTimeout: '60s',
  retry: patient,
  cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
});

/**
 * As `waiting`, for what only looks: who is cancelled goes on at once, for a worker that died would answer when its
 * heartbeat is missed, and a freeze must not outlast its deadline by that.
 */
export const watching = proxyActivities<Activities>({
  startToCloseTimeout: '7d',
  heartbeatTimeout: '60s',
  retry: patient,
  cancellationType: ActivityCancellationType.TRY_CANCEL,
});

/** A look whose failure is an answer too: whoever asked asks again later. */
export const glancing = proxyActivities<Activities>({
  startToCloseTimeout: '1m',
  retry: { maximumAttempts: 1 },
  cancellationType: ActivityCancellationType.TRY_CANCEL,
});

/** Webhooks: some minutes of trying, and nothing but `freezing` waits for them. */
export const telling = proxyActivities<Activities>({
  startToCloseTimeout: '30s',
  retry: { ...patient, maximumAttempts: 10 },
  cancellationType: ActivityCancellationType.TRY_CANCEL,
});

/** Recovery from a killed worker takes as long as the heartbeat time-out. */
export const transferring = (taskQueue: string) =>
  proxyActivities<Activities>({
    taskQueue,
    startToCloseTimeout: '7d',
    heartbeatTimeout: '10s',
    retry: endless,
    cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
  });

export type Stubs = ActivityInterfaceFor<Activities>;
