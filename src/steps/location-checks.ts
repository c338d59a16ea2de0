import { randomUUID } from 'node:crypto';
import type { Config } from '../config';
import { ConfigurationError, UnavailableError } from '../domain/errors';
import { below } from '../domain/names';
import { isShared } from '../domain/plan';
import type { ResolvedPlan } from '../domain/plan';
import { NOBODY } from '../elasticsearch';
import type { Cluster, RepositoryDefinition } from '../elasticsearch/cluster';
import { payload } from '../storage';
import type { StoreConnection } from '../storage';
import type { Store } from '../storage/store';
import { refuseArchived } from './bucket-checks';
import type { Findings } from './findings';
import { readBytes } from './files';
import { locationKey, readLocationOwner, refusal } from './ownership';
import type { Claimant } from './ownership';
import { newestRepositoryData } from './source-repository';

/** Preflight's checks of stores, locations and registrations. Nothing is left behind, not even by a failed probe. */

type Place = ResolvedPlan['repository']['target'];

/** Readable, and what lies there already: snapshots of others stay and are said. `keyId` of KMS encrypts what will lie there. */
export async function checkSourceLocation(
  store: Store,
  basePath: string,
  keyId: string | undefined,
  findings: Findings,
  signal: AbortSignal,
) {
  await findings.attempt('stores', store.description, async () => {
    const data = await permitted('ListRepository, ReadRepository, UseKey', () =>
      newestRepositoryData(store, basePath, signal),
    );
    await permitted('ReadRepository', () => store.head(below(basePath, NOBODY), signal));
    const count = data?.snapshots.length ?? 0;
    findings.ok('stores', store.description, `the source location '${basePath}' can be listed and read`);
    if (data === undefined && keyId !== undefined) {
      findings.warn('stores', store.description, {
        seen: `Nothing lies at the source location yet, so nobody knows before the first snapshot whether the worker may decrypt by key ${keyId}`,
        remedy: "see to it that it may: statement UseKey of `snapferry policies PLAN`, the worker's",
      });
    }
    if (count === 0) return;
    findings.warn('stores', store.description, {
      seen: `The source location '${basePath}' of ${store.description} already holds ${count} snapshot(s)`,
      remedy: 'they stay, and are not copied',
    });
    await refuseArchived(store, basePath, findings, signal);
  });
}

/** Says which statement of the policies lacks, where the store denies something to us. */
async function permitted<T>(statements: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    // An answer to HEAD tells no code.
    const { status, code, lacks } = error instanceof ConfigurationError ? error.subject : {};
    if (lacks !== undefined) throw keyRefused(error as ConfigurationError);
    if (status !== 403 || (code !== undefined && code !== 'AccessDenied')) throw error;
    throw new ConfigurationError(
      `The store denies what this plan needs: grant statement ${statements} of \`snapferry policies PLAN\``,
      { subject: (error as ConfigurationError).subject, cause: error },
    );
  }
}

/** Policies print the statement only where the connections file names the key. */
function keyRefused(error: ConfigurationError): ConfigurationError {
  const { lacks, keyId } = error.subject;
  return new ConfigurationError(
    `The store denies its key ${keyId === undefined ? '' : `${keyId} `}to these credentials: grant ${lacks}, which is ` +
      'statement UseKey of `snapferry policies PLAN` where the connections file names the key (encryption.keyId)',
    { subject: error.subject, cause: error },
  );
}

/** Lists, writes (twice: the second time must be refused), heads, reads and deletes one object below the work prefix. */
export async function probeTarget(store: Store, prefix: string, findings: Findings, signal: AbortSignal) {
  // A name of its own for each attempt: two that probe at once must not delete each other's.
  const key = `${prefix}/probe-${randomUUID()}`;
  await findings.attempt('stores', store.description, async () => {
    await permitted('ListTarget', () => firstKeyOf(store, key, signal));
    await permitted('ReadTarget', () => store.head(key, signal));
    const body = Buffer.from('snapferry probe\n');
    await permitted('WriteWorkFiles, UseKey', () => store.write(key, payload(body), { ifAbsent: true }, signal));
    try {
      const again = await store.write(key, payload(body), { ifAbsent: true }, signal);
      if (again.created) {
        throw new ConfigurationError(
          'The target store overwrites a blob that was to be created only if there is none, so two migrations could take ' +
            'the same target: use a store that keeps conditions of writes (If-None-Match, x-oss-forbid-overwrite)',
          { subject: { store: store.description, key } },
        );
      }
      const head = await store.head(key, signal);
      const bytes = await permitted('ReadTarget, UseKey', () => readBytes(store, key, signal));
      if (head?.length === body.length && bytes?.equals(body) === true) {
        findings.ok('stores', store.description, 'a probe was written, refused a second time, read and deleted');
        return;
      }
      throw new ConfigurationError(
        'The target store does not give back what was just written: check the bucket, its proxy and its life-cycle rules',
        { subject: { store: store.description, key } },
      );
    } finally {
      await permitted('RemoveWorkFiles', () => store.delete(key, signal));
    }
  });
}

/**
 * Whether blobs may be written to the target location: by an upload that is begun, looked at and aborted, so that nothing
 * is ever seen there.
 */
export async function probeUploads(store: Store, basePath: string, findings: Findings, signal: AbortSignal) {
  const key = below(basePath, `${NOBODY}-${randomUUID()}`);
  const { uploads } = store;
  await findings.attempt('stores', store.description, async () => {
    await permitted('ReadTarget', () => store.head(key, signal));
    const uploadId = await permitted('WriteBlobs, UseKey', () => uploads.begin(key, signal));
    try {
      await permitted('EndUploads', () => uploads.parts(key, uploadId, signal));
    } finally {
      await permitted('EndUploads', () => uploads.abort(key, uploadId, signal));
    }
    await permitted('ListUploads', () => uploads.unfinished(key, signal));
    findings.ok('stores', store.description, 'an upload to the target location was begun, looked at and aborted');
  });
}

/** The target location holds nothing, or only what this migration put there; a shared one, what the source put there. */
export async function checkTargetLocation(
  claimant: Claimant,
  plan: ResolvedPlan,
  findings: Findings,
  signal: AbortSignal,
) {
  const { basePath } = plan.repository.target;
  const shared = isShared(plan);
  const subject = claimant.store.description;
  await findings.attempt('stores', subject, async () => {
    const owner = await readLocationOwner(claimant, basePath, signal);
    if (owner?.firstRunId === claimant.firstRunId) return;
    if (owner !== undefined) {
      findings.refuse(
        'stores',
        subject,
        refusal(`The target location '${basePath}'`, owner, locationKey(claimant, basePath)),
      );
      return;
    }
    if (shared) return;
    const found = await firstKeyOf(claimant.store, below(basePath, ''), signal);
    if (found === undefined) return;
    const { store } = claimant;
    const holds = (await holdsRepository(store, basePath, signal)) ? 'a snapshot repository' : 'other files';
    findings.refuse('stores', subject, {
      seen: `The target location '${basePath}' of ${store.description} holds ${holds} that no migration of ours wrote (${found})`,
      remedy: 'choose an empty basePath',
    });
  });
}

async function holdsRepository(store: Store, basePath: string, signal: AbortSignal): Promise<boolean> {
  return (await firstKeyOf(store, below(basePath, 'index-'), signal)) !== undefined;
}

async function firstKeyOf(store: Store, prefix: string, signal: AbortSignal): Promise<string | undefined> {
  for await (const { key } of store.list(prefix, signal)) return key;
  return undefined;
}

export interface RegistrationChecks {
  readonly config: Config;
  readonly plan: ResolvedPlan;
  readonly source: Cluster;
  readonly target: Cluster;
}

/**
 * Registrations that the plan names must exist at the plan's location; and no cluster may be able to write to the
 * target location: one snapshot there, and the copy is neither ours nor whole.
 */
export async function checkRegistrations(checks: RegistrationChecks, findings: Findings, signal: AbortSignal) {
  const { plan, source, target } = checks;
  const { source: from, target: to } = plan.repository;
  refuseTwoNames(checks, findings);
  const onSource = await findings.attempt('repositories', source.name, () => source.repositories(signal));
  const onTarget = await findings.attempt('repositories', target.name, () => target.repositories(signal));
  if (onSource !== undefined) {
    await checkNamed(checks, source.name, from, onSource, findings);
    warnOfSecondWriter(checks, onSource, findings);
    await warnOfSchedules(checks, source, onSource, findings, signal);
    if (!isShared(plan)) refuseWritable(checks, source.name, onSource, findings);
  }
  if (onTarget !== undefined) {
    await checkNamed(checks, target.name, to, onTarget, findings);
    await warnOfSchedules(checks, target, onTarget, findings, signal);
    refuseWritable(checks, target.name, onTarget, findings);
  }
}

/** A schedule that writes where we do meets each of our rounds. */
async function warnOfSchedules(
  { config, plan }: RegistrationChecks,
  cluster: Cluster,
  all: Registrations,
  findings: Findings,
  signal: AbortSignal,
) {
  const policies = await findings.attempt('repositories', cluster.name, () => cluster.snapshotPolicies(signal));
  const places = [plan.repository.source, plan.repository.target].map((place) =>
    tryDefinition(config, place, cluster.name),
  );
  for (const [policy, repository] of Object.entries(policies ?? {})) {
    const registered = Object.hasOwn(all, repository) ? all[repository] : undefined;
    if (registered === undefined || !places.some((place) => place !== undefined && sameLocation(registered, place)))
      continue;
    findings.warn('repositories', cluster.name, {
      seen: `Policy '${policy}' of cluster '${cluster.name}' takes snapshots into a location of this plan (repository '${repository}')`,
      remedy: 'stop it while the migration runs (POST _slm/stop), or choose another basePath',
    });
  }
}

type Registrations = Readonly<Record<string, RepositoryDefinition>>;

async function checkNamed(
  checks: RegistrationChecks,
  cluster: string,
  place: Place,
  all: Registrations,
  findings: Findings,
) {
  const expected = await findings.attempt('repositories', cluster, () =>
    checks.config.repositoryDefinition(place.store, cluster, place.basePath),
  );
  if (place.name === undefined) return;
  const registered = all[place.name];
  if (registered === undefined) {
    findings.refuse('repositories', cluster, {
      seen: `Cluster '${cluster}' has no repository '${place.name}'`,
      remedy: 'register it, or leave out its name',
    });
    return;
  }
  if (expected === undefined || sameLocation(registered, expected)) return;
  findings.refuse('repositories', cluster, {
    seen:
      `Repository '${place.name}' of cluster '${cluster}' lies at ${locationOf(registered)}, the plan's store and ` +
      `basePath at ${locationOf(expected)}`,
    remedy: 'correct one of them',
  });
}

function refuseWritable(checks: RegistrationChecks, cluster: string, all: Registrations, findings: Findings) {
  // Where the connections file does not say how this cluster would register the target store, it is compared as the
  // target cluster does: bucket and base path read the same from everywhere.
  const place = checks.plan.repository.target;
  const expected =
    tryDefinition(checks.config, place, cluster) ?? tryDefinition(checks.config, place, checks.target.name);
  if (expected === undefined) return;
  for (const [name, registered] of Object.entries(all)) {
    if (isReadOnly(registered) || !sameLocation(registered, expected)) continue;
    findings.refuse('repositories', cluster, {
      seen: `Repository '${name}' of cluster '${cluster}' may write to the target location ${locationOf(expected)}`,
      remedy: 'remove that registration, or register it with readonly: true',
    });
  }
}

/** Two registrations that write to one location know nothing of each other's snapshots. */
function warnOfSecondWriter({ config, plan, source }: RegistrationChecks, all: Registrations, findings: Findings) {
  const place = plan.repository.source;
  const expected = tryDefinition(config, place, source.name);
  if (expected === undefined || place.name !== undefined) return;
  for (const [name, registered] of Object.entries(all)) {
    if (isReadOnly(registered) || !sameLocation(registered, expected)) continue;
    findings.warn('repositories', source.name, {
      seen: `Repository '${name}' of cluster '${source.name}' writes to the source location ${locationOf(expected)} too`,
      remedy: `use it (repository.source.name: ${name}), or let nothing write there while the migration runs`,
    });
  }
}

/** Two names for one bucket or folder would copy a repository onto itself. */
function refuseTwoNames({ config, plan }: RegistrationChecks, findings: Findings) {
  const { source, target } = plan.repository;
  if (source.store === target.store || source.basePath !== target.basePath) return;
  if (!isSamePlace(config.store(source.store), config.store(target.store))) return;
  findings.refuse('stores', target.store, {
    seen: `Stores '${source.store}' and '${target.store}' are one place`,
    remedy: 'for a repository that both clusters use name one store on both sides, else choose another basePath',
  });
}

/** The same blobs, whatever the endpoint: a bucket of OSS has its name alone in the world, one of S3 at its endpoint. */
function isSamePlace(a: StoreConnection, b: StoreConnection): boolean {
  if (a.type === 'directory') return b.type === a.type && a.path === b.path;
  return b.type === a.type && a.bucket === b.bucket && (a.type === 'oss' || a.endpoint === b.endpoint);
}

function tryDefinition(config: Config, place: Place, cluster: string): RepositoryDefinition | undefined {
  try {
    return config.repositoryDefinition(place.store, cluster, place.basePath);
  } catch (error) {
    if (error instanceof ConfigurationError || error instanceof UnavailableError) return undefined;
    throw error;
  }
}

function isReadOnly({ type, settings }: RepositoryDefinition): boolean {
  return type === 'url' || String(settings['readonly']) === 'true';
}

function sameLocation(a: RepositoryDefinition, b: RepositoryDefinition): boolean {
  return a.type === b.type && locationOf(a) === locationOf(b);
}

/** `fs` repositories have a folder, all others a bucket (Azure: a container) and a base path. */
export function locationOf({ settings }: RepositoryDefinition): string {
  const text = (key: string) => String(settings[key] ?? '');
  const trimmed = (path: string) =>
    path
      .split('/')
      .filter((part) => part !== '')
      .join('/');
  if (settings['location'] !== undefined) return `/${trimmed(text('location'))}`;
  return trimmed(`${text('bucket') || text('container')}/${text('base_path')}`);
}
