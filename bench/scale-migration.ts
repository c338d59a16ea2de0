// Work files as preflight and scope write them, for a repository that no cluster wrote: what a transfer starts from.
import path from 'node:path';
import { writeFile } from 'node:fs/promises';
import { loadConfig } from '../src/config';
import type { PlannedTransfer, PlanRef, RoundRef } from '../src/domain/exchange';
import { WorkKeys } from '../src/domain/names';
import { parsePlan } from '../src/domain/plan';
import type { StepContext } from '../src/steps/context';
import { writeJson } from '../src/steps/files';
import { fingerprintsOf } from '../src/steps/migration';
import type { PlanFile } from '../src/steps/migration';
import { openDeps } from '../src/steps/open';
import { planTransfer } from '../src/steps/plan';
import type { ScopeFile } from '../src/steps/work-files';
import { SNAPSHOT } from './scale-repository';
import type { ScaleIndex } from './scale-repository';

/** Base paths in the two stores. */
export const FROM = 'from';
export const TO = 'to';
const NOBODY = new AbortController().signal;

/** A step outside of any activity: nobody cancels it, nothing takes over. */
export const ALONE: StepContext = {
  signal: NOBODY,
  progress: () => undefined,
  resumed: undefined,
  actUntil: Infinity,
};

/** The connections file that the worker reads, in `folder`. The clusters are never asked. */
export async function writeConnections(
  folder: string,
  stores: Readonly<Record<'source' | 'target', object>>,
): Promise<string> {
  const file = path.join(folder, 'connections.yaml');
  const cluster = (port: number) => ({ url: `http://127.0.0.1:${port}`, auth: { type: 'none' } });
  await writeFile(file, JSON.stringify({ clusters: { source: cluster(1), target: cluster(2) }, stores }));
  return file;
}

/** Attempt `attempt` of round 0, planned. `SNAPFERRY_CONFIG` names the connections file. */
export async function planned(
  indices: readonly ScaleIndex[],
  attempt: number,
): Promise<{ readonly round: RoundRef; readonly planned: PlannedTransfer }> {
  const config = await loadConfig();
  const deps = openDeps(config);
  const store = deps.store('target');
  const keys = WorkKeys.of('snapferry-work', 'scale');
  const repository = { source: { store: 'source', basePath: FROM }, target: { store: 'target', basePath: TO } };
  const plan = parsePlan({
    source: 'source',
    target: 'target',
    indices: ['*'],
    repository,
  });
  const cluster = (name: string) => ({
    name,
    clusterName: name,
    uuid: name,
    version: '7.10.2',
    distribution: 'elasticsearch' as const,
  });
  const registration = (name: string) => ({ cluster: name, name: 'snapferry', ours: true });
  const file: PlanFile = {
    plan,
    migration: 'scale',
    firstRunId: 'scale',
    clusters: { source: cluster('source'), target: cluster('target') },
    registrations: { source: registration('source'), target: registration('target') },
    fingerprints: fingerprintsOf(config, plan),
  };
  const { digest } = await writeJson(store, keys.plan, file, NOBODY);
  const ref: PlanRef = {
    migration: file.migration,
    firstRunId: file.firstRunId,
    store: 'target',
    storeFingerprint: config.fingerprint('store', 'target'),
    prefix: keys.prefix,
    digest,
  };
  const scope: ScopeFile = {
    indices: indices.map(({ name, uuid, shards }) => ({
      name,
      uuid,
      shards,
      replicas: 0,
      createdVersionId: 7_100_299,
    })),
  };
  const round = { plan: ref, round: 0, attempt };
  await writeJson(store, keys.round(0, attempt).scope, scope, NOBODY);
  const input = { ...round, snapshot: SNAPSHOT.name, snapshotUuid: SNAPSHOT.uuid };
  return { round, planned: await planTransfer(deps, input, ALONE) };
}
