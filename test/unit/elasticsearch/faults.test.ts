/** What can go wrong between the worker and a cluster: each is one typed error, that says of whom and what to do. */
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { ConfigurationError, UnavailableError } from '../../../src/domain/errors';
import type { MigrationError } from '../../../src/domain/errors';
import { openCluster } from '../../../src/elasticsearch';
import type { ClusterConnection } from '../../../src/elasticsearch';
import { closing, socks, squid } from '../../support/proxies';
import { answering, serving } from './server';
import type { Answer, ScriptedServer } from './server';

const NEVER = new AbortController().signal;
afterEach(() => closing.all());

const page = (title: string) => `<!DOCTYPE html>\n<html><head><title>${title}</title></head><body>…</body></html>`;
const denied = (reason: string) => ({ error: { type: 'security_exception', reason } });

async function scripted(answer: Answer): Promise<ScriptedServer> {
  const server = await answering({ 'GET /_snapshot': answer, 'GET /_snapshot/r': answer });
  closing.first(() => server.close());
  return server;
}

async function failureAt(url: string, more: Partial<ClusterConnection> = {}): Promise<MigrationError> {
  const cluster = openCluster({ name: 'old', url, auth: { type: 'none' }, ...more });
  closing.first(() => cluster.disconnect());
  return cluster.repositories(NEVER).then(
    () => Promise.reject(new Error('it did not fail')),
    (error: MigrationError) => error,
  );
}

type Kind = typeof ConfigurationError | typeof UnavailableError;

test.each<[string, Answer, Kind, RegExp]>([
  [
    'a wrong password',
    { status: 401, body: denied('unable to authenticate user [elastic]') },
    ConfigurationError,
    /unable to authenticate user .*correct the credentials in the connections file, or grant them this call/,
  ],
  [
    'a call that is not granted',
    { status: 403, body: denied('action [cluster:admin/repository/get] is unauthorized') },
    ConfigurationError,
    /cluster:admin\/repository\/get.*grant them this call/,
  ],
  [
    'too many requests',
    { status: 429, headers: { 'retry-after': '9' }, body: 'slow down' },
    UnavailableError,
    /cannot do this now: slow down/,
  ],
  ['no service for now', { status: 503, headers: { 'retry-after': '9' } }, UnavailableError, /cannot do this now/],
  [
    'a balancer that waits no longer',
    { status: 504, headers: { 'content-type': 'text/html' }, body: page('504 Gateway Time-out') },
    UnavailableError,
    /cannot do this now: 504 Gateway Time-out/,
  ],
  [
    'a page of another program',
    { headers: { 'content-type': 'text/html' }, body: page('Kibana') },
    UnavailableError,
    /A web page answers instead of the cluster \(Kibana\): correct the url/,
  ],
  [
    'a way to a login',
    { status: 302, headers: { location: 'https://login.example.com' }, body: '' },
    ConfigurationError,
    /redirects \(302\): correct the url/,
  ],
])('%s is told with cluster and request, and not asked for again', async (_, answer, kind, says) => {
  const server = await scripted(answer);
  const error = await failureAt(server.url);
  expect(error).toBeInstanceOf(kind);
  expect(error.message).toMatch(says);
  expect(error.message).not.toContain('<');
  expect(error.subject).toMatchObject({ cluster: 'old', request: expect.stringMatching(/^GET \/_snapshot/) });
  expect(server.requests).toHaveLength(1);
  const isTimed = answer.headers?.['retry-after'] !== undefined;
  expect((error as UnavailableError).retryAfterMs).toBe(isTimed ? 9_000 : undefined);
});

test('a connection that is cut in the middle of an answer is nobody’s fault, and not a hang', async () => {
  const server = await serving((_, response) => {
    response.writeHead(200, { 'content-length': '100' }).write('{"half":');
    response.destroy();
  });
  closing.first(() => server.close());
  expect(await failureAt(server.url)).toBeInstanceOf(UnavailableError);
});

describe('a proxy', () => {
  test('that is down is named, with the cluster behind it', async () => {
    const listener = createServer();
    await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
    const { port } = listener.address() as AddressInfo;
    await new Promise((resolve) => listener.close(resolve));
    const error = await failureAt('http://old.internal:9200', { proxy: `socks5://127.0.0.1:${port}` });
    expect(error).toBeInstanceOf(UnavailableError);
    expect(error.message).toContain(`127.0.0.1:${port}`);
    expect(error.subject).toMatchObject({ cluster: 'old' });
  });

  test('that forbids the cluster is named, in its words', async () => {
    const { url, asked } = await socks({}, 'old.internal');
    const error = await failureAt('http://old.internal:9200', { proxy: url });
    expect(error.message).toContain(new URL(url).host);
    expect(error.message).toMatch(/NotAllowed\): see that it runs and lets this server through/);
    expect(asked).toEqual(['old.internal:9200']);
  });

  test('that wants a password is the operator’s, and asked once', async () => {
    const { url, asked } = await squid(407);
    const error = await failureAt('http://old.internal:9200', { proxy: url });
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toContain('407');
    expect(asked).toEqual(['old.internal:9200']);
  });
});

test('hundreds of indices with the longest names are asked for in requests that a server takes', async () => {
  const names = Array.from({ length: 400 }, (_, i) => `${'ü'.repeat(120)}-${String(i).padStart(4, '0')}`);
  const lengths: number[] = [];
  const server = await serving(({ url = '' }, response) => {
    lengths.push(url.length);
    response.writeHead(200, { 'content-type': 'application/json' }).end('{"acknowledged":true,"indices":{}}');
  });
  closing.first(() => server.close());
  const cluster = openCluster({ name: 'old', url: server.url, auth: { type: 'none' } });
  closing.first(() => cluster.disconnect());
  await cluster.refresh(names, NEVER).catch(() => undefined);
  // `http.max_initial_line_length` of Elasticsearch is 4 KiB.
  expect(Math.max(...lengths)).toBeLessThan(4_096);
  expect(lengths.length).toBeGreaterThan(names.length / 10);
});
