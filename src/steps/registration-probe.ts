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

/** Registrations that the plan names are used as they are. A cluster that is refused for something else is not tried. */
export async function probeRegistrations(probed: Probed, findings: Findings, context: StepContext): Promise<void> {
  const { plan, source, target, targetStore } = probed;
  const probe = new Probe(probed, findings, context);
  const isRefused = (...subjects: readonly string[]) =>
    findings.all.some(({ verdict, subject }) => verdict === 'refused' && subjects.includes(subject));
  if (plan.repository.source.name === undefined && !isRefused(source.name)) {
    await findings.attempt('repositories', source.name, () => probe.source());
  }
  if (plan.repository.target.name === undefined && !isRefused(target.name, targetStore.description)) {
    await findings.attempt('repositories', target.name, () => probe.target());
  }
}

class Probe {
  private readonly name: string;
  private readonly folder: string;

  constructor(
    private readonly probed: Probed,
    private readonly findings: Findings,
    private readonly context: StepContext,
  ) {
    this.name = probeRegistrationName(probed.firstRunId);
    this.folder = `${probesFolder(probed.plan.repository.work)}/${probed.firstRunId}`;
  }

  async source(): Promise<void> {
    const { config, plan, source } = this.probed;
    const { store, basePath } = plan.repository.source;
    const definition = config.repositoryDefinition(store, source.name, basePath);
    await this.registered('source', definition, () => {
      const place = locationOf(definition);
      this.findings.ok('repositories', source.name, `wrote, read and deleted in its repository (${place})`);
    });
  }

  async target(): Promise<void> {
    const { config, plan, target, targetStore } = this.probed;
    const { store, basePath } = plan.repository.target;
    const definition = readOnly(config.repositoryDefinition(store, target.name, this.folder));
    const itself = readOnly(config.repositoryDefinition(store, target.name, basePath));
    try {
      for (const [name, bytes] of Object.entries(REPOSITORY)) {
        await targetStore.write(`${this.folder}/${name}`, payload(bytes), {}, this.context.signal);
      }
      await this.registered('target', definition, () => this.findsWhatWasWritten(definition), itself);
    } finally {
      for (const name of Object.keys(REPOSITORY)) {
        await targetStore.delete(`${this.folder}/${name}`, afterwards(this.context));
      }
    }
  }

  private async findsWhatWasWritten(definition: RepositoryDefinition): Promise<void> {
    const { plan, target, targetStore } = this.probed;
    const { findings } = this;
    if (await target.lists(this.name, LISTED, this.context.signal)) {
      findings.ok('repositories', target.name, 'found in its repository what was just written to the target store');
      return;
    }
    findings.refuse('repositories', target.name, {
      seen:
        `Cluster '${target.name}' does not find in its repository (${locationOf(definition)}) what was just written to ` +
        targetStore.description,
      remedy: `correct stores.${plan.repository.target.store}: its repository is to be the same place`,
    });
  }

  /**
   * What the cluster refuses is a finding; what it leaves of it is taken away. Nodes may be let into the folder of the
   * repository alone, where nothing of ours may lie: then `instead` is registered, and not looked into.
   */
  private async registered(
    side: 'source' | 'target',
    definition: RepositoryDefinition,
    use: () => Promise<void> | void,
    instead?: RepositoryDefinition,
  ): Promise<void> {
    const cluster = this.probed[side];
    try {
      await register(cluster, this.name, definition, this.context);
      await use();
    } catch (error) {
      if (!(error instanceof ConfigurationError)) throw error;
      if (instead !== undefined && error.message.includes('path.repo')) {
        const registers = `registers its repository (${locationOf(instead)})`;
        return await this.registered(side, instead, () => this.findings.ok('repositories', cluster.name, registers));
      }
      this.findings.refuse(isOfTheCall(error) ? 'calls' : 'repositories', cluster.name, {
        seen: `Cluster '${cluster.name}' cannot use its repository (${locationOf(definition)}): ${error.message}`,
        remedy: remedyOf(error, side, this.probed.plan),
      });
    } finally {
      await cluster.deleteRepository(this.name, afterwards(this.context));
    }
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
