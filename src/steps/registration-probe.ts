/**
 * Whether both clusters can use their repositories: preflight registers each for a moment, as the migration will. That of
 * the source is verified by its nodes, which write, read and delete there; that of the target leads to a folder of its
 * own beside the work files, where the cluster has to find what the worker has just written.
 */
import type { Config } from '../config';
import { ConfigurationError } from '../domain/errors';
import { probeRegistrationName, probesFolder } from '../domain/names';
import type { ResolvedPlan } from '../domain/plan';
import type { Cluster, RepositoryDefinition, SnapshotId } from '../elasticsearch/cluster';
import { payload } from '../storage';
import type { Store } from '../storage/store';
import type { StepContext } from './context';
import type { Findings } from './findings';
import { locationOf } from './location-checks';
import { readOnly, register } from './registration';

export interface Probed {
  readonly config: Config;
  readonly plan: ResolvedPlan;
  readonly firstRunId: string;
  readonly source: Cluster;
  readonly target: Cluster;
  readonly targetStore: Store;
}

/** Enough to take a registration away again after a cancellation. */
const CLEANUP_MS = 30_000;

/** A snapshot of which there is nothing but this line of the index. */
const LISTED: SnapshotId = { name: 'snapferry-probe', uuid: 'snapferry-wrote-this-x' };
const REPOSITORY = {
  'index-0': Buffer.from(JSON.stringify({ snapshots: [LISTED], indices: {} })),
  'index.latest': Buffer.alloc(8),
};

/** Registrations that the plan names are used as they are. A cluster that refuses other calls is not asked. */
export async function probeRegistrations(probed: Probed, findings: Findings, context: StepContext): Promise<void> {
  const { plan, source, target, targetStore } = probed;
  const { source: from, target: to } = plan.repository;
  const isRefused = (subject: string) =>
    findings.all.some((finding) => finding.verdict === 'refused' && finding.subject === subject);
  if (from.name === undefined && !isRefused(source.name)) await probeSource(probed, findings, context);
  if (to.name !== undefined || isRefused(target.name) || isRefused(targetStore.description)) return;
  await findings.attempt('repositories', target.name, () => probeTarget(probed, findings, context));
}

function probeSource(probed: Probed, findings: Findings, context: StepContext): Promise<void | undefined> {
  const { config, plan, source } = probed;
  const { store, basePath } = plan.repository.source;
  return findings.attempt('repositories', source.name, async () => {
    const definition = config.repositoryDefinition(store, source.name, basePath);
    const verified = () => {
      findings.ok('repositories', source.name, `wrote, read and deleted in its repository (${locationOf(definition)})`);
      return Promise.resolve();
    };
    await forAMoment(probed, 'source', definition, verified, findings, context);
  });
}

async function probeTarget(probed: Probed, findings: Findings, context: StepContext): Promise<void> {
  const { config, plan, target, targetStore: store, firstRunId } = probed;
  const folder = `${probesFolder(plan.repository.work)}/${firstRunId}`;
  const definition = readOnly(config.repositoryDefinition(plan.repository.target.store, target.name, folder));
  const { signal } = context;
  try {
    for (const [name, bytes] of Object.entries(REPOSITORY)) {
      await store.write(`${folder}/${name}`, payload(bytes), {}, signal);
    }
    await forAMoment(
      probed,
      'target',
      definition,
      async (name) => {
        if (await target.lists(name, LISTED, signal)) {
          findings.ok('repositories', target.name, 'found in its repository what was just written to the target store');
          return;
        }
        findings.refuse('repositories', target.name, {
          seen:
            `Cluster '${target.name}' does not find in its repository (${locationOf(definition)}) what was just written to ` +
            `${store.description}`,
          remedy: `correct stores.${plan.repository.target.store}: its repository is to be the same place`,
        });
      },
      findings,
      context,
    );
  } finally {
    for (const name of Object.keys(REPOSITORY)) await store.delete(`${folder}/${name}`, afterwards(context));
  }
}

/** What the cluster refuses is a finding; what it leaves of it is taken away. */
async function forAMoment(
  { plan, firstRunId, ...ends }: Probed,
  side: 'source' | 'target',
  definition: RepositoryDefinition,
  use: (name: string) => Promise<void>,
  findings: Findings,
  context: StepContext,
): Promise<void> {
  const cluster = ends[side];
  const name = probeRegistrationName(firstRunId);
  try {
    await register(cluster, name, definition, context);
    await use(name);
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    findings.refuse(isOfTheCall(error) ? 'calls' : 'repositories', cluster.name, {
      seen: `Cluster '${cluster.name}' cannot use its repository (${locationOf(definition)}): ${error.message}`,
      remedy: remedyOf(error, side, plan),
    });
  } finally {
    await cluster.deleteRepository(name, afterwards(context));
  }
}

/** What the cluster may not do in its bucket comes with a status of its own failure. */
function isOfTheCall({ subject: { status } }: ConfigurationError): boolean {
  return status === 401 || status === 403;
}

function remedyOf(error: ConfigurationError, side: 'source' | 'target', plan: ResolvedPlan): string {
  const policies = '`snapferry policies PLAN`';
  if (isOfTheCall(error)) {
    return `grant it to the credentials of the connections file (statements WriteSnapshots, PassRole of ${policies})`;
  }
  const { store } = plan.repository[side];
  const writes = side === 'source' ? ', WriteRepository, CleanRepository' : '';
  return (
    `mend stores.${store}.repository, or grant what it lacks: ${policies} prints it as '${side} cluster on ${store}' ` +
    `(statements ListRepository, ReadRepository${writes}, UseKey) and, of a role, '${side} trust' (TrustTheDomain)`
  );
}

/** Where a cancellation came in between, too. */
function afterwards({ signal }: StepContext): AbortSignal {
  return signal.aborted ? AbortSignal.timeout(CLEANUP_MS) : signal;
}
