// The answers of a freeze that a single real node does not give.
import { ConfigurationError, UnavailableError, WritesNotBlockedError } from '../../../src/domain/errors';
import { openCluster } from '../../../src/elasticsearch';
import type { OpenedCluster } from '../../../src/elasticsearch';
import { answering } from './server';
import type { Answer, ScriptedServer } from './server';

const NEVER = new AbortController().signal;
const root = (number: string, distribution?: string): Answer => ({
  body: { cluster_name: 'c', cluster_uuid: 'uuid', version: { number, distribution } },
});
const blocked = (...names: string[]): Answer => ({
  body: { acknowledged: true, shards_acknowledged: true, indices: names.map((name) => ({ name, blocked: true })) },
});
const refused = (status: number): Answer => ({ status, body: { error: { type: 'security_exception', reason: 'no' } } });

/** Two of them do not fit into one request. */
const LONG = ['a'.repeat(2_000), 'b'.repeat(2_000)] as const;

describe('a freeze', () => {
  let server: ScriptedServer | undefined;
  let cluster: OpenedCluster | undefined;
  afterEach(async () => {
    await cluster?.disconnect();
    await server?.close();
  });
  const open = async (script: Parameters<typeof answering>[0]) => {
    server = await answering(script);
    return (cluster = openCluster({ name: 'source', url: server.url, auth: { type: 'none' } }));
  };

  test.each(['7.8.1', '6.8.23', '5.5.2'])('does not even try the block call on %s', async (version) => {
    const source = await open({ 'GET /': root(version) });
    expect(await source.addWriteBlock(['x'], NEVER)).toBe('unsupported');
    expect(server?.requests).toEqual(['GET /']);
  });

  test('uses it on every OpenSearch', async () => {
    const source = await open({ 'GET /': root('1.3.2', 'opensearch'), 'PUT /x/_block/write': blocked('x') });
    expect(await source.addWriteBlock(['x'], NEVER)).toBe('blocked');
  });

  test.each([400, 403, 405])('is unsupported when the first of its calls is refused with %i', async (status) => {
    const source = await open({ 'GET /': root('7.10.2'), [`PUT /${LONG[0]}/_block/write`]: refused(status) });
    expect(await source.addWriteBlock(LONG, NEVER)).toBe('unsupported');
    expect(server?.requests).toHaveLength(2);
  });

  test('is not blocked when a later call is refused: then something was changed', async () => {
    const source = await open({
      'GET /': root('7.10.2'),
      [`PUT /${LONG[0]}/_block/write`]: blocked(LONG[0]),
      [`PUT /${LONG[1]}/_block/write`]: refused(403),
    });
    await expect(source.addWriteBlock(LONG, NEVER)).rejects.toThrow(WritesNotBlockedError);
  });

  test.each<[string, Answer]>([
    ['a shard has not acknowledged', { body: { ...(blocked('x').body as object), shards_acknowledged: false } }],
    ['an index is left out', blocked('y')],
    ['an index says no', { body: { ...(blocked().body as object), indices: [{ name: 'x', blocked: false }] } }],
    ['nothing is acknowledged', { body: {} }],
  ])('is not blocked when %s', async (_, answer) => {
    const source = await open({ 'GET /': root('7.10.2'), 'PUT /x/_block/write': answer });
    await expect(source.addWriteBlock(['x'], NEVER)).rejects.toThrow(WritesNotBlockedError);
  });

  test.each<[number, unknown]>([
    [404, ConfigurationError],
    [429, UnavailableError],
    [503, UnavailableError],
  ])('fails with %i like any other call', async (status, expected) => {
    const answer = { status, body: { error: { type: 'some_exception', reason: 'why' } } };
    const source = await open({ 'GET /': root('7.10.2'), 'PUT /x/_block/write': answer });
    await expect(source.addWriteBlock(['x'], NEVER)).rejects.toThrow(expected as typeof ConfigurationError);
  });

  test('does not believe in a settings block that a node has not acknowledged', async () => {
    const source = await open({ 'PUT /x/_settings': { body: { acknowledged: false } } });
    const change = source.updateSettings(['x'], { 'index.blocks.write': true }, NEVER);
    await expect(change).rejects.toThrow(UnavailableError);
  });

  test('does not take a list of tasks for whole when a node is silent', async () => {
    const silent = { body: { node_failures: [{ type: 'failed_node_exception' }], nodes: {} } };
    const source = await open({ 'GET /_tasks': silent });
    await expect(source.writeTasks(NEVER)).rejects.toThrow(UnavailableError);
  });

  test.each<[number, unknown]>([
    [401, { Message: "Your request: '/_tasks' is not allowed." }],
    [403, { error: { type: 'security_exception', reason: 'cluster:monitor/tasks/lists is unauthorized' } }],
    [405, { error: 'Incorrect HTTP method' }],
  ])('does without tasks where the service answers %i', async (status, body) => {
    const source = await open({ 'GET /_tasks': { status, body } });
    expect(await source.writeTasks(NEVER)).toBe('unsupported');
  });

  test('does not do without them because a password is wrong', async () => {
    const source = await open({
      'GET /_tasks': { status: 401, body: { error: { type: 'security_exception', reason: 'unable to authenticate' } } },
    });
    await expect(source.writeTasks(NEVER)).rejects.toThrow(ConfigurationError);
  });
});
