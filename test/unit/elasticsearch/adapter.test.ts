// What the adapter makes of answers that the nodes of the contract suite do not give.
import { ConfigurationError, UnavailableError } from '../../../src/domain/errors';
import { openCluster } from '../../../src/elasticsearch';
import type { OpenedCluster } from '../../../src/elasticsearch';
import { answering, serving } from './server';
import type { ScriptedServer } from './server';

const NEVER = new AbortController().signal;

let server: ScriptedServer;
let cluster: OpenedCluster;
afterEach(async () => {
  await cluster.disconnect();
  await server.close();
});
const open = async (script: Parameters<typeof answering>[0]) => {
  server = await answering(script);
  return (cluster = openCluster({ name: 'source', url: server.url, auth: { type: 'none' } }));
};
const root = (version: object, cluster_uuid = 'uuid') => ({ body: { cluster_name: 'c', cluster_uuid, version } });

describe('who a cluster is', () => {
  test.each([
    [{ number: '7.10.2', build_flavor: 'oss' }, '7.10.2', 'elasticsearch'],
    [{ number: '2.11.0', distribution: 'opensearch' }, '2.11.0', 'opensearch'],
    [{ number: '8.0.0-SNAPSHOT' }, '8.0.0', 'elasticsearch'],
  ])('%j', async (said, version, distribution) => {
    const info = await (await open({ 'GET /': root(said) })).info(NEVER);
    expect(info).toEqual({ uuid: 'uuid', clusterName: 'c', version, distribution });
  });

  test('is asked of the nodes where `/` is missing', async () => {
    await open({
      'GET /': { status: 405, body: { error: 'Incorrect HTTP method for uri [/] and method [GET]', status: 405 } },
      'GET /_nodes/_local': { body: { nodes: { x: { version: '8.19.0' } } } },
      'GET /_cluster/state/metadata': { body: { cluster_name: 'c', metadata: { cluster_uuid: 'uuid' } } },
    });
    const info = { uuid: 'uuid', clusterName: 'c', version: '8.19.0', distribution: 'elasticsearch' };
    expect(await cluster.info(NEVER)).toEqual(info);
  });

  test('is asked of the nodes where OpenSearch calls itself 7.10.2', async () => {
    const { body } = root({ number: '7.10.2' });
    await open({
      'GET /': { body: { ...body, tagline: 'The OpenSearch Project: https://opensearch.org/' } },
      'GET /_nodes/_local': { body: { nodes: { x: { version: '2.11.0' } } } },
      'GET /_cluster/state/metadata': { body: {} },
    });
    const info = { uuid: 'uuid', clusterName: 'c', version: '2.11.0', distribution: 'opensearch' };
    expect(await cluster.info(NEVER)).toEqual(info);
  });

  test.each([
    ['has not formed', root({ number: '7.10.2' }, '_na_')],
    ['says nothing', { body: {} }],
    ['is a login page', { body: '<html>login</html>' }],
  ])('is not known while it %s', async (_, answer) => {
    await expect((await open({ 'GET /': answer })).info(NEVER)).rejects.toThrow(UnavailableError);
  });

  test('is not known to a stranger', async () => {
    const denied = { status: 401, body: { error: { type: 'security_exception', reason: 'missing credentials' } } };
    await expect((await open({ 'GET /': denied })).info(NEVER)).rejects.toThrow(ConfigurationError);
  });
});

test('OpenSearch is asked for hidden indices, although its version is lower', async () => {
  await open({
    'GET /': root({ number: '1.3.2', distribution: 'opensearch' }),
    'GET /_all/_settings': { body: {} },
    'GET /_cat/indices': { body: [] },
  });
  expect(await cluster.indices(NEVER)).toEqual([]);
  expect(server.requests.find((request) => request.startsWith('GET /_cat'))).toContain('expand_wildcards=all');
});

test('what was found out of a version is not asked for again', async () => {
  await open({
    'GET /': root({ number: '5.5.2' }),
    'GET /_all/_settings': { body: {} },
    'GET /_cat/indices': { body: [] },
  });
  await cluster.indices(NEVER);
  await cluster.indices(NEVER);
  expect(server.requests.filter((request) => request === 'GET /')).toHaveLength(1);
});

describe('half an answer is none', () => {
  const partial = { _shards: { total: 2, successful: 1, failed: 1 }, count: 7, indices: {} };

  test.each<[string, string, () => Promise<unknown>]>([
    ['count', 'GET /x/_count', () => cluster.count('x', NEVER)],
    ['refresh', 'POST /x/_refresh', () => cluster.refresh(['x'], NEVER)],
    ['shard statistics', 'GET /x/_stats/docs,indexing', () => cluster.shardStats(['x'], NEVER)],
    ['segments', 'GET /x/_segments', () => cluster.segments(['x'], NEVER)],
  ])('%s', async (_, request, call) => {
    await open({ [request]: { body: partial } });
    await expect(call()).rejects.toThrow('1 of 2 shards do not answer');
    await expect(call()).rejects.toThrow(UnavailableError);
  });

  test('a count that left out an unassigned shard', async () => {
    await open({ 'GET /x/_count': { body: { count: 7, _shards: { total: 2, successful: 1, failed: 0 } } } });
    await expect(cluster.count('x', NEVER)).rejects.toThrow(UnavailableError);
  });

  test('unassigned replicas do no harm', async () => {
    const half = { _shards: { total: 4, successful: 2, failed: 0 }, indices: {} };
    await open({ 'POST /x/_refresh': { body: half }, 'GET /x/_segments': { body: half } });
    await cluster.refresh(['x'], NEVER);
    expect(await cluster.segments(['x'], NEVER)).toEqual({});
  });
});

describe('closing', () => {
  test.each<[string, object]>([
    ['an index says no', { acknowledged: true, indices: { x: { closed: false, exception: {} } } }],
    ['it is not acknowledged', { acknowledged: false }],
  ])('is not done yet when %s', async (_, body) => {
    await open({ 'POST /x/_close': { body } });
    await expect(cluster.close(['x'], NEVER)).rejects.toThrow(UnavailableError);
  });

  test.each<[string, object]>([
    ['5.x and 6.x', { acknowledged: true }],
    ['7.2 and later', { acknowledged: true, shards_acknowledged: true, indices: { x: { closed: true } } }],
    ['again, on 8.19.0', { acknowledged: true, shards_acknowledged: false, indices: {} }],
  ])('is done: %s', async (_, body) => {
    await open({ 'POST /x/_close': { body } });
    await cluster.close(['x'], NEVER);
  });

  test('stops at the group that fails', async () => {
    const names = ['a', 'b', 'c'].map((letter) => letter.repeat(2_000));
    await open({
      [`POST /${names[0]}/_close`]: { body: { acknowledged: true } },
      [`POST /${names[1]}/_close`]: { status: 503 },
    });
    await expect(cluster.close(names, NEVER)).rejects.toThrow(UnavailableError);
    expect(server.requests).toHaveLength(2);
  });
});

test.each([
  ['repository_missing_exception', ConfigurationError],
  ['repository_exception', ConfigurationError],
  ['node_closed_exception', UnavailableError],
] as const)('a %s inside a 200 (7.17.29) is no missing snapshot', async (type, expected) => {
  const body = { snapshots: [], failures: { r: { type, reason: '[r] why' } }, total: 0, remaining: 0 };
  await open({ 'GET /_snapshot/r/s': { body } });
  await expect(cluster.snapshot('r', 's', NEVER)).rejects.toThrow('[r] why');
  await expect(cluster.snapshot('r', 's', NEVER)).rejects.toThrow(expected);
});

test('a repository is shown without what newer versions add', async () => {
  const definition = { type: 'fs', settings: { location: '/repo' } };
  const body = { r: { ...definition, uuid: '1WATMahCRkeXZdQ6RTxVPQ' } };
  await open({ 'GET /_snapshot/r': { body }, 'GET /_snapshot': { body } });
  expect(await cluster.repository('r', NEVER)).toEqual(definition);
  expect(await cluster.repositories(NEVER)).toEqual({ r: definition });
});

describe('definitions', () => {
  const none = { status: 404, body: { error: 'no handler found' } };
  const script = {
    ...{ 'GET /_template': { body: {} }, 'GET /_index_template': none, 'GET /_component_template': none },
    ...{ 'GET /_ingest/pipeline': { body: {} }, 'GET /_ilm/policy': none, 'GET /_opendistro/_ism/policies': none },
    'GET /_cluster/state/metadata': { body: { metadata: { cluster_uuid: 'uuid' } } },
  };

  test('of policies and scripts, which bare nodes do not have, are without what their PUT refuses', async () => {
    const phases = { hot: { actions: {} } };
    const stored = { lang: 'painless', source: '1' };
    const states = { default_state: 'hot', states: [{ name: 'hot' }] };
    await open({
      ...script,
      'GET /_ilm/policy': {
        body: {
          hot: { version: 3, modified_date: '2026-01-01', policy: { phases } },
          own: { version: 1, modified_date: '2026-01-01', policy: { phases, _meta: { managed: true } } },
        },
      },
      'GET /_opendistro/_ism/policies': {
        body: { policies: [{ _id: 'warm', _seq_no: 1, policy: { policy_id: 'warm', schema_version: 1, ...states } }] },
      },
      'GET /_cluster/state/metadata': {
        body: { metadata: { cluster_uuid: 'uuid', stored_scripts: { 'a b': stored } } },
      },
    });
    expect(await cluster.definitions(NEVER)).toEqual({
      all: [
        { kind: 'ilm-policy', name: 'hot', path: '/_ilm/policy/hot', body: { policy: { phases } } },
        { kind: 'ism-policy', name: 'warm', path: '/_opendistro/_ism/policies/warm', body: { policy: states } },
        { kind: 'script', name: 'a b', path: '/_scripts/a%20b', body: { script: stored } },
      ],
      scriptsKnown: true,
    });
  });

  test.each([
    ['refuses to tell its state', { status: 403, body: { Message: 'not allowed' } }],
    ['tells it without what is in it', { body: {} }],
  ])('of scripts are not known where a service %s', async (_, answer) => {
    await open({ ...script, 'GET /_cluster/state/metadata': answer });
    expect(await cluster.definitions(NEVER)).toEqual({ all: [], scriptsKnown: false });
  });
});

test('a cluster is named by host and port, and its indices of several requests are merged', async () => {
  const names = ['a'.repeat(2_000), 'b'.repeat(2_000)];
  const answer = (name: string) => ({ body: { [name]: { settings: { 'index.uuid': name[0] } } } });
  await open(Object.fromEntries(names.map((name) => [`GET /${name}/_settings`, answer(name)])));
  expect(Object.keys(await cluster.settings(names, NEVER))).toEqual(names);
  expect(cluster.description).toBe(new URL(server.url).host);
});

test('no message quotes the secrets of a registration, and they are sent among the settings alone', async () => {
  server = await serving((request, response) => {
    const pieces: Buffer[] = [];
    request.on('data', (piece: Buffer) => pieces.push(piece));
    request.on('end', () => {
      const reason = Buffer.concat(pieces).toString();
      response.writeHead(500).end(JSON.stringify({ error: { type: 'repository_exception', reason } }));
    });
  });
  cluster = openCluster({ name: 'source', url: server.url, auth: { type: 'none' } });
  const settings = { bucket: 'b', secret_key: 'hunter2-secret' };
  await expect(
    cluster.putRepository('r', { type: 's3', settings, secrets: ['hunter2-secret'] }, NEVER),
  ).rejects.toThrow('{"type":"s3","settings":{"bucket":"b","secret_key":"***"}}');
});
