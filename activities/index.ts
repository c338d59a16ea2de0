import {
  blockWrites,
  confirmSourceState,
  obstacleToFreeze,
  proveQuiescence,
  unblockExcluded,
  unblockWrites,
  writeFreezeOutcome,
  writeFreezeRecord,
} from '../src/steps/block';
import { cleanUp } from '../src/steps/cleanup';
import { copyUnit, readUnits } from '../src/steps/copy-unit';
import { deleteSnapshots } from '../src/steps/delete-snapshots';
import { excludeIndex } from '../src/steps/exclusions';
import { keepSettings, takeSettingsBack } from '../src/steps/keep-settings';
import { writeLimits } from '../src/steps/limits';
import type { StepDeps } from '../src/steps/migration';
import { notify } from '../src/steps/notify';
import { nextOpening } from '../src/steps/opening';
import { planTransfer } from '../src/steps/plan';
import { preflight, withdrawPreflight } from '../src/steps/preflight';
import { publish } from '../src/steps/publish';
import { confirmPublished, recheckBeforeCommit } from '../src/steps/recheck';
import { buildReplicas } from '../src/steps/replicas';
import { writeReport } from '../src/steps/report';
import { restore } from '../src/steps/restore';
import { resolveScope } from '../src/steps/scope';
import { takeSnapshot } from '../src/steps/snapshot';
import { switchAliases, unblockTarget } from '../src/steps/switchover';
import { raiseThrottle, readThrottle } from '../src/steps/throttle';
import { takeFingerprints, verify, waiveFailedRows } from '../src/steps/verify';
import { countWrites } from '../src/steps/after-switch';
import { blockTarget, proveTargetQuiescence, switchAliasesBack, unblockSource } from '../src/steps/rollback';
import { asActivity, asMeasuredActivity } from './run';
import type { Step } from './run';

/**
 * Every activity is one step of `src/steps`; the names are what Temporal Web shows. All may run twice, also at the
 * same time as their successor. Types only cross into workflows.
 */
export function createActivities(deps: StepDeps) {
  const activity = <Input, Result>(step: Step<Input, Result>) => asActivity(deps, step);
  const measured = <Input, Result extends object>(step: Step<Input, Result>) => asMeasuredActivity(deps, step);
  return {
    preflight: activity(preflight),
    withdrawPreflight: activity(withdrawPreflight),
    resolveScope: measured(resolveScope),
    takeSnapshot: measured(takeSnapshot),
    planTransfer: measured(planTransfer),
    nextOpening: activity(nextOpening),
    readUnits: activity(readUnits),
    writeLimits: activity(writeLimits),
    readThrottle: activity(readThrottle),
    raiseThrottle: activity(raiseThrottle),
    publish: measured(publish),
    restore: measured(restore),
    obstacleToFreeze: activity(obstacleToFreeze),
    writeFreezeRecord: activity(writeFreezeRecord),
    blockWrites: measured(blockWrites),
    proveQuiescence: measured(proveQuiescence),
    unblockWrites: activity(unblockWrites),
    excludeIndex: activity(excludeIndex),
    unblockExcluded: activity(unblockExcluded),
    writeFreezeOutcome: activity(writeFreezeOutcome),
    confirmSourceState: activity(confirmSourceState),
    confirmPublished: activity(confirmPublished),
    recheckBeforeCommit: measured(recheckBeforeCommit),
    takeFingerprints: measured(takeFingerprints),
    verify: measured(verify),
    waiveFailedRows: activity(waiveFailedRows),
    buildReplicas: measured(buildReplicas),
    unblockTarget: measured(unblockTarget),
    switchAliases: measured(switchAliases),
    countWrites: activity(countWrites),
    blockTarget: activity(blockTarget),
    proveTargetQuiescence: activity(proveTargetQuiescence),
    switchAliasesBack: activity(switchAliasesBack),
    unblockSource: activity(unblockSource),
    notify: activity(notify),
    keepSettings: activity(keepSettings),
    takeSettingsBack: activity(takeSettingsBack),
    deleteSnapshots: activity(deleteSnapshots),
    writeReport: activity(writeReport),
    cleanUp: activity(cleanUp),
    ...createTransferActivities(deps),
  };
}

/**
 * What the transfer role serves: the two ways to move blobs, on a task queue of their own. `copy` is the step itself, or
 * one that does the same in another thread.
 */
export function createTransferActivities(deps: StepDeps, copy: typeof copyUnit = copyUnit) {
  return {
    /** One large file, alone. */
    copyBlob: asMeasuredActivity(deps, copy),
    /** Up to 500 blobs, about 256 MiB. */
    copyBatch: asMeasuredActivity(deps, copy),
  };
}
