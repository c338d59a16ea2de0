/** Stores behind proxies: what they say when no connection comes of it. That they work is shown on real servers. */
import { ConfigurationError, UnavailableError } from '../../../src/domain/errors';
import type { MigrationError } from '../../../src/domain/errors';
import { openOss, openS3 } from '../../../src/storage';
import type { Store } from '../../../src/storage';
import { joined } from '../../../src/storage/payload';
import { openTransport } from '../../../src/storage/transport';
import { closing, listening, socks, squid } from '../../support/proxies';
import { selfSigned, startScripted } from '../../support/scripted-server';
import { createServer } from 'node:net';

const NEVER = new AbortController().signal;
const keys = { accessKeyId: 'id', secretAccessKey: 'planted-secret', accessKeySecret: 'planted-secret' };

afterEach(() => closing.all());

const KINDS: readonly (readonly [string, (proxy: string) => Store])[] = [
  [
    'S3',
    (proxy) => openS3({ bucket: 'b', region: 'r', endpoint: 'http://127.0.0.1:9', pathStyle: true, ...common(proxy) }),
  ],
  ['OSS', (proxy) => openOss({ bucket: 'b', region: 'cn-hangzhou', endpoint: 'http://127.0.0.1:9', ...common(proxy) })],
];
const common = (proxy: string) => ({
  credentials: async () => keys,
  proxy,
  timeouts: { connectMs: 200, idleMs: 1_000 },
});

const failureOf = (work: Promise<unknown>) =>
  work.then(
    () => Promise.reject(new Error('it did not fail')),
    (error: unknown) => error as MigrationError,
  );

describe.each(KINDS)('a store behind a proxy: %s', (_, open) => {
  test.each<[number, new (message: string) => Error]>([
    [403, ConfigurationError],
    [407, ConfigurationError],
    [502, UnavailableError],
  ])('that answers %i: the error names the proxy, the blob and what to do', async (status, expected) => {
    const proxy = await squid(status);
    const error = await failureOf(open(proxy.url).head('index.latest', NEVER));
    expect(error).toBeInstanceOf(expected);
    expect(error.message).toContain(`The proxy ${proxy.url} gives no connection to 127.0.0.1:9 (status ${status})`);
    expect(error.message).toContain('correct proxy in the connections file');
    expect(error.subject).toMatchObject({ key: 'index.latest' });
  });

  test('that is down, or says nothing, is worth another try later', async () => {
    const down = await socks();
    await closing.all();
    expect((await failureOf(open(down.url).head('k', NEVER))).message).toContain('ECONNREFUSED');
    const mute = `http://127.0.0.1:${await listening(createServer())}`;
    expect(await failureOf(open(mute).head('k', NEVER))).toBeInstanceOf(UnavailableError);
  });
});

test.each([
  ['SOCKS5', socks],
  ['HTTP', squid],
])('a store over https is reached through a %s proxy, which sees none of it', async (_, start) => {
  const proxy = await start();
  const tls = selfSigned();
  const server = await startScripted(async (peer) => {
    while (await peer.request()) await peer.send('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
  }, tls);
  closing.first(() => server.stop());
  const transport = openTransport({ origin: server.origin, proxy: proxy.url, ca: tls.cert });
  closing.first(() => transport.close());
  for (let times = 0; times < 3; times += 1) {
    const reply = await transport.send({ method: 'GET', path: '/', headers: {} }, { signal: NEVER });
    expect(joined(reply.body).toString()).toBe('ok');
  }
  expect(new Set(proxy.asked)).toEqual(new Set([new URL(server.origin).host]));
});
