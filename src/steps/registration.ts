import { ConfigurationError } from '../domain/errors';
import type { Cluster, RepositoryDefinition } from '../elasticsearch/cluster';
import { assertMayAct } from './context';
import type { StepContext } from './context';
import { createJson, readJson } from './files';
import type { Migration, Registration, StepDeps } from './migration';

/**
 * Registrations are recorded before they are created, so that what we find later is known to be ours. One that existed
 * before us is used as it is: never changed, never removed.
 */

/** A registration is verified by every node: a busy cluster takes its time. */
const REGISTER_TIMEOUT_MS = 120_000;

/** What of a migration its registrations concern. */
type Registered = Pick<Migration, 'registrations' | 'source' | 'target' | 'targetStore' | 'keys'>;

/** `registrations/<cluster>-<name>.json`. Definitions may hold secrets and are not written here. */
interface RegistrationRecord {
  readonly cluster: string;
  readonly name: string;
}

/**
 * Makes sure that the source cluster knows the source repository. Throws `ConfigurationError` when the plan's own
 * registration is gone, or when a stranger's has our name.
 */
export async function ensureSourceRegistration(
  deps: StepDeps,
  migration: Migration,
  context: StepContext,
): Promise<void> {
  const registration = migration.registrations.source;
  const { store, basePath } = migration.plan.repository.source;
  const { snapshotBytesPerSecond } = migration.plan.throttles;
  const definition = throttled(
    deps.config.repositoryDefinition(store, registration.cluster, basePath),
    'max_snapshot_bytes_per_sec',
    snapshotBytesPerSecond,
  );
  const existing = await usable(migration, registration, migration.source, context);
  if (existing === undefined) await create(migration, registration, migration.source, definition, context);
}

/**
 * Registers the target repository anew, read-only: whatever the cluster remembered of an older generation is gone.
 * Throws as `ensureSourceRegistration`, and `UnavailableError` while a restore uses the registration.
 */
export async function registerTarget(deps: StepDeps, migration: Migration, context: StepContext): Promise<void> {
  const registration = migration.registrations.target;
  const { store, basePath } = migration.plan.repository.target;
  const existing = await usable(migration, registration, migration.target, context);
  if (!registration.ours) return;
  const writable = deps.config.repositoryDefinition(store, registration.cluster, basePath);
  if (existing !== undefined) {
    assertMayAct(context, REGISTER_TIMEOUT_MS);
    await migration.target.deleteRepository(registration.name, context.signal);
  }
  const definition = throttled(
    readOnly(writable),
    'max_restore_bytes_per_sec',
    migration.plan.throttles.restoreBytesPerSecond,
  );
  await create(migration, registration, migration.target, definition, context);
}

export function readOnly(definition: RepositoryDefinition): RepositoryDefinition {
  return { ...definition, settings: { ...definition.settings, readonly: true } };
}

/** In force with the registration, and gone with it. What the connections file sets is left where the plan is silent. */
function throttled(
  definition: RepositoryDefinition,
  name: string,
  bytesPerSecond: number | undefined,
): RepositoryDefinition {
  if (bytesPerSecond === undefined) return definition;
  return { ...definition, settings: { ...definition.settings, [name]: `${bytesPerSecond}b` } };
}

/** Removes what we registered on that side; true when something was removed. What is not ours stays. */
export async function removeRegistration(
  migration: Registered,
  side: 'source' | 'target',
  context: StepContext,
): Promise<boolean> {
  const registration = migration.registrations[side];
  const cluster = migration[side];
  if (!registration.ours || (await recorded(migration, registration, context)) === undefined) return false;
  const existing = await cluster.repository(registration.name, context.signal);
  if (existing !== undefined) {
    assertMayAct(context, REGISTER_TIMEOUT_MS);
    await cluster.deleteRepository(registration.name, context.signal);
  }
  // Only now: a record without a registration is harmless, a registration without a record would be a stranger's.
  await migration.targetStore.delete(recordKey(migration, registration), context.signal);
  return existing !== undefined;
}

/** What is registered under the name, once it is known to be ours or meant for us. */
async function usable(
  migration: Migration,
  registration: Registration,
  cluster: Cluster,
  context: StepContext,
): Promise<RepositoryDefinition | undefined> {
  const existing = await cluster.repository(registration.name, context.signal);
  const subject = { cluster: registration.cluster, repository: registration.name };
  if (!registration.ours && existing === undefined) {
    throw new ConfigurationError('The registration that the plan names is gone: register it again', { subject });
  }
  if (!registration.ours || existing === undefined) return existing;
  if ((await recorded(migration, registration, context)) !== undefined) return existing;
  throw new ConfigurationError(
    'A registration has the name of this migration but was not made by it: look at it, then remove it or name it in the plan (repository.source.name)',
    { subject },
  );
}

async function create(
  migration: Migration,
  registration: Registration,
  cluster: Cluster,
  definition: RepositoryDefinition,
  context: StepContext,
): Promise<void> {
  const { cluster: clusterName, name } = registration;
  const record: RegistrationRecord = { cluster: clusterName, name };
  await createJson(migration.targetStore, recordKey(migration, registration), record, context.signal);
  await register(cluster, name, definition, context);
}

/** Registers, elsewhere by region where that helps. Throws `ConfigurationError`, and leaves nothing, where neither works. */
export async function register(
  cluster: Cluster,
  name: string,
  definition: RepositoryDefinition,
  context: StepContext,
): Promise<void> {
  assertMayAct(context, REGISTER_TIMEOUT_MS);
  try {
    await cluster.putRepository(name, definition, context.signal);
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    await takeBack(cluster, name, context);
    const fallback = ofAnyRegion(definition);
    if (fallback === undefined) throw error;
    await registerInstead(cluster, name, fallback, error, context);
  }
}

/**
 * Elasticsearch registers first and verifies then, so what it refuses may be registered all the same. It must not stay:
 * with a corrected connections file it would be taken for registered.
 */
async function takeBack(cluster: Cluster, name: string, context: StepContext): Promise<void> {
  if ((await cluster.repository(name, context.signal)) === undefined) return;
  assertMayAct(context, REGISTER_TIMEOUT_MS);
  await cluster.deleteRepository(name, context.signal);
}

/**
 * Amazon's domains refuse a bucket of another region than their own by its `region`, and reach it by the endpoint that
 * all regions share (developer guide, es-managedomains-snapshots).
 */
function ofAnyRegion(definition: RepositoryDefinition): RepositoryDefinition | undefined {
  const { type, settings } = definition;
  const { region, ...others } = settings;
  if (type !== 's3' || region === undefined || settings['role_arn'] === undefined || 'endpoint' in settings) {
    return undefined;
  }
  return { ...definition, settings: { ...others, endpoint: 's3.amazonaws.com' } };
}

/** @throws ConfigurationError when this one is refused, too: with both reasons, of which either may be the one to mend */
async function registerInstead(
  cluster: Cluster,
  name: string,
  fallback: RepositoryDefinition,
  first: ConfigurationError,
  context: StepContext,
): Promise<void> {
  assertMayAct(context, REGISTER_TIMEOUT_MS);
  try {
    await cluster.putRepository(name, fallback, context.signal);
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    await takeBack(cluster, name, context);
    if (error.message === first.message) throw first;
    const reasons = `${first.message}; and by the endpoint of all regions: ${error.message}`;
    throw new ConfigurationError(reasons, { subject: first.subject, cause: error });
  }
}

function recorded(
  migration: Registered,
  registration: Registration,
  context: StepContext,
): Promise<RegistrationRecord | undefined> {
  return readJson(migration.targetStore, recordKey(migration, registration), context.signal);
}

function recordKey(migration: Registered, { cluster, name }: Registration): string {
  return migration.keys.registration(cluster, name);
}
