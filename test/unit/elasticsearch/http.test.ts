import type { IncomingMessage } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { inspect } from 'node:util';
import { ConfigurationError, UnavailableError } from '../../../src/domain/errors';
import type { MigrationError } from '../../../src/domain/errors';
import { openCluster } from '../../../src/elasticsearch';
import type { ClusterAuth, ClusterConnection } from '../../../src/elasticsearch';
import { Http } from '../../../src/elasticsearch/http';
import { CERTIFICATE, KEY } from './certificate';
import { answering, serving } from './server';
import type { ScriptedServer } from './server';

const NEVER = new AbortController().signal;
const NONE = { type: 'none' } as const;
const PASSWORD = 'planted-s3cret';

let servers: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const opened of servers.reverse()) await opened.close();
  servers = [];
});
const kept = <T extends { close(): Promise<void> }>(opened: T): T => {
  servers.push(opened);
  return opened;
};
const httpTo = (url: string, rest: Partial<ClusterConnection> = {}) =>
  kept(new Http({ name: 'source', url, auth: NONE, ...rest }));
const failureOf = (promise: Promise<unknown>): Promise<MigrationError> =>
  promise.then(
    () => Promise.reject(new Error('it did not fail')),
    (error: MigrationError) => error,
  );

describe('credentials', () => {
  const echo = async () => kept(await serving((request, response) => response.end(JSON.stringify(request.headers))));

  test.each<[string, ClusterAuth, string | undefined]>([
    ['none', NONE, undefined],
    [
      'basic',
      { type: 'basic', username: 'ann', password: () => 'pass:wörd' },
      `Basic ${Buffer.from('ann:pass:wörd').toString('base64')}`,
    ],
    ['apiKey', { type: 'apiKey', key: () => 'a2V5' }, 'ApiKey a2V5'],
  ])('%s go into the header', async (_, auth, expected) => {
    const { url } = await echo();
    const headers = await httpTo(url, { auth }).get<Record<string, string>>('/', NEVER);
    expect(headers['authorization']).toBe(expected);
  });

  test('are asked for with every request, so that they rotate', async () => {
    const { url } = await echo();
    const keys = ['first', 'second'];
    const http = httpTo(url, { auth: { type: 'apiKey', key: () => keys.shift() ?? '' } });
    const sent = [
      await http.get<Record<string, string>>('/', NEVER),
      await http.get<Record<string, string>>('/', NEVER),
    ];
    expect(sent.map((headers) => headers['authorization'])).toEqual(['ApiKey first', 'ApiKey second']);
  });

  test('that cannot be read fail as they do, not as a cluster that is down', async () => {
    const { url } = await echo();
    const wrong = new ConfigurationError('no such environment variable');
    const password = () => {
      throw wrong;
    };
    await expect(httpTo(url, { auth: { type: 'basic', username: 'ann', password } }).get('/', NEVER)).rejects.toBe(
      wrong,
    );
  });

  test('that cannot be sent are the operator’s', async () => {
    const { url } = await echo();
    const error = await failureOf(
      httpTo(url, { auth: { type: 'apiKey', key: () => `${PASSWORD}\n` } }).get('/', NEVER),
    );
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(inspect(error, { depth: 20 })).not.toContain(PASSWORD);
  });

  test.each<[string, ClusterAuth]>([
    ['basic', { type: 'basic', username: 'ann', password: () => PASSWORD }],
    ['apiKey', { type: 'apiKey', key: () => PASSWORD }],
  ])('%s never show, even where the server quotes them', async (_, auth) => {
    const encoded = Buffer.from(`ann:${PASSWORD}`).toString('base64');
    const quoting = kept(
      await serving((request, response) => {
        const { authorization } = request.headers;
        const pages: Record<string, [number, string]> = {
          '/json': [500, JSON.stringify({ error: { type: 'x', reason: `sent ${authorization} (${PASSWORD})` } })],
          '/page': [502, `<html>${authorization} ${PASSWORD}</html>`],
          '/text': [200, `${authorization} ${PASSWORD}`],
        };
        const [status, body] = pages[request.url ?? ''] ?? [200, ''];
        if (request.url === '/cut') request.socket.destroy();
        else response.writeHead(status).end(body);
      }),
    );
    const http = httpTo(quoting.url, { auth });
    const errors = await Promise.all(
      ['/json', '/page', '/text', '/cut'].map((path) => failureOf(http.get(path, NEVER))),
    );
    const cluster = openCluster({ name: 'source', url: quoting.url, auth });
    for (const shown of [...errors, http, cluster]) {
      const text = `${inspect(shown, { depth: 20, showHidden: true })} ${(shown as Error).stack} ${JSON.stringify(errors)}`;
      expect(text).not.toContain(PASSWORD);
      expect(text).not.toContain(encoded);
    }
    await cluster.disconnect();
  });
});

describe('a call ends', () => {
  const hanging = async () => kept(await serving(() => undefined));
  const dripping = async () =>
    kept(
      await serving((_, response) => {
        const timer = setInterval(() => response.write(' '), 10);
        response.on('close', () => clearInterval(timer));
      }),
    );

  test.each([
    ['that is silent', hanging],
    ['that never comes to an end', dripping],
  ])('by its time-out, with a server %s', async (_, start) => {
    const { url } = await start();
    const error = await failureOf(httpTo(url).call({ method: 'GET', path: '/slow', timeoutMs: 150 }, NEVER));
    expect(error).toBeInstanceOf(UnavailableError);
    expect(error.message).toContain('may still do what was asked');
    expect(error.subject).toEqual({ cluster: 'source', url, request: 'GET /slow' });
  });

  test.each([
    ['that is silent', hanging],
    ['that never comes to an end', dripping],
  ])('by the signal, with its reason, with a server %s', async (_, start) => {
    const { url } = await start();
    const controller = new AbortController();
    const reason = new Error('the lease is over');
    const call = httpTo(url).get('/slow', controller.signal);
    setTimeout(() => controller.abort(reason), 50);
    await expect(call).rejects.toBe(reason);
  });

  test('before it begins, when the signal is aborted already', async () => {
    const server = await hanging();
    await expect(httpTo(server.url).get('/', AbortSignal.abort('why'))).rejects.toBe('why');
    expect(server.requests).toEqual([]);
  });

  test('when nobody listens', async () => {
    const server = await hanging();
    const http = httpTo(server.url);
    await server.close();
    const error = await failureOf(http.get('/', NEVER));
    expect(error).toBeInstanceOf(UnavailableError);
    expect(error.message).toContain('ECONNREFUSED');
  });

  test('when the answer breaks off', async () => {
    const { url } = kept(
      await serving((request, response) => {
        response.writeHead(200, { 'content-length': '1000' }).write('{"half":');
        setTimeout(() => request.socket.destroy(), 20);
      }),
    );
    await expect(httpTo(url).get('/', NEVER)).rejects.toThrow(UnavailableError);
  });
});

describe('an answer', () => {
  const script = (answers: Parameters<typeof answering>[0]) => answering(answers).then(kept);

  test('that is no JSON is not believed, whatever its status', async () => {
    const { url } = await script({ 'GET /': { body: '<html>login</html>' } });
    await expect(httpTo(url).get('/', NEVER)).rejects.toThrow(UnavailableError);
  });

  test('is asked for once', async () => {
    const server = await script({ 'GET /': { status: 503, headers: { 'retry-after': '3' } } });
    const error = await failureOf(httpTo(server.url).get('/', NEVER));
    expect((error as UnavailableError).retryAfterMs).toBe(3_000);
    expect(server.requests).toHaveLength(1);
  });

  test('of a path below another server is found there, and a slash too many does no harm', async () => {
    const { url } = await script({ 'GET /search/_count': { body: { count: 1 } } });
    expect(await httpTo(`${url}/search/`).get('/_count', NEVER)).toEqual({ count: 1 });
  });

  test('404 means missing only in the words of Elasticsearch', async () => {
    const missing = { error: { type: 'repository_missing_exception', reason: '[r] missing' } };
    const { url } = await script({
      'GET /_snapshot/r': { status: 404, body: missing },
      'GET /other/_snapshot/r': { status: 404, body: '<html>no such page</html>' },
    });
    const find = (base: string) =>
      httpTo(base).find({ method: 'GET', path: '/_snapshot/r' }, 'repository_missing_exception', NEVER);
    expect(await find(url)).toBeUndefined();
    await expect(find(`${url}/other`)).rejects.toThrow(ConfigurationError);
  });

  test('a change that a node has not acknowledged is perhaps done', async () => {
    const { url } = await script({
      'PUT /x': { body: { acknowledged: false } },
      'PUT /y': { body: { acknowledged: true } },
    });
    const http = httpTo(url);
    await expect(http.change({ method: 'PUT', path: '/x' }, NEVER)).rejects.toThrow(UnavailableError);
    await http.change({ method: 'PUT', path: '/y' }, NEVER);
  });

  test('a long path is cut in messages', async () => {
    const { url } = await script({});
    const error = await failureOf(httpTo(url).get(`/${'x'.repeat(3_000)}`, NEVER));
    expect(String(error.subject['request']).length).toBeLessThan(250);
  });
});

describe('TLS', () => {
  const start = async (answer: (request: IncomingMessage) => object = () => ({ secure: true })): Promise<string> => {
    const server = createServer({ cert: CERTIFICATE, key: KEY }, (request, response) =>
      response.end(JSON.stringify(answer(request))),
    );
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    kept({
      close: () => {
        server.closeAllConnections();
        return new Promise((resolve) => server.close(() => resolve()));
      },
    });
    return `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  };

  test('a cluster is trusted by the certificate that the connections file names', async () => {
    const url = await start();
    expect(await httpTo(url, { caCertificate: CERTIFICATE }).get('/', NEVER)).toEqual({ secure: true });
  });

  test.each<[string, ClusterAuth]>([
    ['Basic', { type: 'basic', username: 'ann', password: () => PASSWORD }],
    ['ApiKey', { type: 'apiKey', key: () => PASSWORD }],
    [
      'AWS4-HMAC-SHA256',
      { type: 'sigv4', region: 'eu-west-1', keys: () => ({ accessKeyId: 'A', secretAccessKey: PASSWORD }) },
    ],
  ])('credentials of scheme %s go over it', async (scheme, auth) => {
    const url = await start(({ headers }) => ({ scheme: headers.authorization?.split(' ')[0] }));
    expect(await httpTo(url, { auth, caCertificate: CERTIFICATE }).get('/', NEVER)).toEqual({ scheme });
  });

  test.each<[string, Partial<ClusterConnection>, RegExp]>([
    ['one that is not trusted', {}, /not trusted: name its authority/],
    [
      'an authority that is no certificate',
      { caCertificate: '-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----' },
      /not a certificate|not trusted/,
    ],
  ])('%s is the operator’s, and not tried again', async (_, rest, message) => {
    const error = await failureOf(httpTo(await start(), rest).get('/', NEVER));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toMatch(message);
  });

  test('https to a server that speaks http is the operator’s', async () => {
    const plain: ScriptedServer = kept(await answering({}));
    const error = await failureOf(httpTo(plain.url.replace('http:', 'https:')).get('/', NEVER));
    expect(error).toBeInstanceOf(ConfigurationError);
  });
});
