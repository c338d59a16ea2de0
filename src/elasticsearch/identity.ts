import { UnavailableError } from '../domain/errors';
import type { ClusterInfo } from './cluster';
import type { Http } from './http';

interface Identity {
  readonly cluster_name?: string;
  readonly cluster_uuid?: string;
  readonly version?: { readonly number?: string; readonly distribution?: string };
  readonly tagline?: string;
}

/** Which cluster this is: by `GET /`, or where that is missing by two calls that every version answers. */
export async function readInfo(http: Http, signal: AbortSignal): Promise<ClusterInfo> {
  const root = await http.attempt<Identity>({ method: 'GET', path: '/' }, signal);
  if (root.ok) return clusterInfo(http, isDisguised(root.body) ? await unmasked(http, root.body, signal) : root.body);
  // Zips of 8.19 have no handler for `/` (facts/elasticsearch-verified.md section 6). `/` comes first all the same,
  // because managed services redact `_nodes`.
  if (root.refusal.status !== 405) throw root.error;
  return clusterInfo(http, await identityByNodes(http, signal));
}

/**
 * OpenSearch 1.x and 2.x with `compatibility.override_main_response_version` call themselves 7.10.2 and name no
 * distribution (test/matrix/compatibility.test.ts): only the tagline tells.
 */
function isDisguised({ version, tagline = '' }: Identity): boolean {
  return version?.distribution === undefined && tagline.includes('OpenSearch');
}

async function unmasked(http: Http, root: Identity, signal: AbortSignal): Promise<Identity> {
  const { version } = await identityByNodes(http, signal);
  return { ...root, version: { ...version, distribution: 'opensearch' } };
}

async function identityByNodes(http: Http, signal: AbortSignal): Promise<Identity> {
  interface Nodes {
    readonly nodes?: Readonly<Record<string, { readonly version: string }>>;
  }
  interface State {
    readonly cluster_name?: string;
    readonly metadata?: { readonly cluster_uuid?: string };
  }
  const [{ nodes = {} }, state] = await Promise.all([
    http.get<Nodes>('/_nodes/_local?filter_path=nodes.*.version', signal),
    http.get<State>('/_cluster/state/metadata?filter_path=cluster_name,metadata.cluster_uuid', signal),
  ]);
  const number = Object.values(nodes)[0]?.version;
  return {
    cluster_name: state.cluster_name,
    cluster_uuid: state.metadata?.cluster_uuid,
    version: number === undefined ? undefined : { number },
  };
}

/** A uuid of `_na_` is a node whose cluster has not formed yet: it must never be taken for a cluster of that name. */
function clusterInfo(http: Http, { cluster_name, cluster_uuid, version }: Identity): ClusterInfo {
  const number = /^\d+\.\d+\.\d+/.exec(version?.number ?? '')?.[0];
  if (cluster_uuid === undefined || cluster_uuid === '_na_' || number === undefined) {
    throw new UnavailableError('The cluster does not say who it is: it may be starting, or be no Elasticsearch', {
      subject: http.subject({ method: 'GET', path: '/' }),
    });
  }
  return {
    uuid: cluster_uuid,
    clusterName: cluster_name ?? '',
    version: number,
    distribution: version?.distribution === 'opensearch' ? 'opensearch' : 'elasticsearch',
  };
}
