/** Through real proxies that others wrote, to a cluster's HTTP. */
import { createServer as createHttp } from 'node:http';
import type { RequestListener } from 'node:http';
import { createServer as createHttps } from 'node:https';
import { createServer as createTcp } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { ConfigurationError, UnavailableError } from '../../../src/domain/errors';
import type { MigrationError } from '../../../src/domain/errors';
import { Http } from '../../../src/elasticsearch/http';
import { dialThrough } from '../../../src/net/proxy';
import { ProxyError } from '../../../src/net/proxy-error';
import { closing, listening, socks, squid } from '../../support/proxies';
import { CERTIFICATE, KEY } from '../elasticsearch/certificate';

const NEVER = new AbortController().signal;

afterEach(() => closing.all());

const answer: RequestListener = (request, response) =>
  void response.end(JSON.stringify({ host: request.headers.host }));
const plain = async (listener = answer) => `http://127.0.0.1:${await listening(createHttp(listener))}`;
const secure = async () => `https://127.0.0.1:${await listening(createHttps({ cert: CERTIFICATE, key: KEY }, answer))}`;

function httpTo(url: string, proxy: string, caCertificate?: string): Http {
  const http = new Http({ name: 'far', url, auth: { type: 'none' }, proxy, ...(caCertificate && { caCertificate }) });
  closing.last(() => http.close()); // it waits for a proxy that says nothing
  return http;
}
const failureOf = (promise: Promise<unknown>): Promise<MigrationError> =>
  promise.then(
    () => Promise.reject(new Error('it did not fail')),
    (error: MigrationError) => error,
  );

describe.each([
  ['SOCKS5', socks],
  ['HTTP', squid],
])('a cluster behind a proxy: %s', (kind, start) => {
  test('answers, over http and over https with its own authority', async () => {
    const proxy = await start();
    for (const url of [await plain(), await secure()]) {
      const { host } = new URL(url);
      expect(await httpTo(url, proxy.url, CERTIFICATE).get('/', NEVER)).toEqual({ host });
      expect(proxy.asked.pop()).toBe(host);
    }
  });

  test('is not trusted for coming through it', async () => {
    const error = await failureOf(httpTo(await secure(), (await start()).url).get('/', NEVER));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toContain('not trusted');
  });

  test('is asked through no more tunnels than connections, which are kept', async () => {
    const proxy = await start();
    const slow = await plain((request, response) => void setTimeout(() => answer(request, response), 20));
    const http = httpTo(slow, proxy.url);
    await Promise.all(Array.from({ length: 60 }, () => http.get('/', new AbortController().signal)));
    await http.get('/', NEVER);
    expect(proxy.asked).toHaveLength(16);
  });

  test('ends with the server behind it', async () => {
    const proxy = await start();
    const error = await failureOf(httpTo('http://127.0.0.1:9', proxy.url).get('/', NEVER));
    expect(error).toBeInstanceOf(UnavailableError);
    expect(error.message).toContain(`The proxy ${proxy.url} gives no connection to 127.0.0.1:9`);
    expect(error.subject).toMatchObject({ cluster: 'far' });
  });

  test('that is down is named, with what to do', async () => {
    const proxy = await start();
    await closing.all();
    const error = await failureOf(httpTo('http://127.0.0.1:9', proxy.url).get('/', NEVER));
    expect(error).toBeInstanceOf(UnavailableError);
    expect(error.message).toMatch(/ECONNREFUSED.*see that it runs and lets this server through, or correct proxy/);
  });

  test('that accepts and says nothing is given up by its time-out, and at once by the signal', async () => {
    const mute = `${kind === 'HTTP' ? 'http' : 'socks5'}://127.0.0.1:${await listening(createTcp())}`;
    await expect(dialThrough(mute, { host: '127.0.0.1', port: 9 }, 100)).rejects.toThrow(ProxyError);
    const controller = new AbortController();
    const reason = new Error('cancelled by the test');
    const cancelled = failureOf(httpTo('http://127.0.0.1:9', mute).get('/', controller.signal));
    await sleep(20);
    controller.abort(reason);
    expect(await cancelled).toBe(reason);
  });
});

test.each(['socks5', 'socks5h'])('names are resolved by a %s proxy', async (scheme) => {
  const { port } = new URL(await plain());
  const proxy = await socks({ 'vpc-movies.internal.test': '127.0.0.1' });
  const http = httpTo(`http://vpc-movies.internal.test:${port}`, proxy.url.replace('socks5', scheme));
  expect(await http.get('/', NEVER)).toEqual({ host: `vpc-movies.internal.test:${port}` });
  expect(proxy.asked).toEqual([`vpc-movies.internal.test:${port}`]);
});

test('what a SOCKS5 proxy forbids is said in its words', async () => {
  const proxy = await socks({}, 'forbidden.test');
  const error = await failureOf(httpTo('http://forbidden.test:9200', proxy.url).get('/', NEVER));
  expect(error).toBeInstanceOf(UnavailableError);
  expect(error.message).toContain('NotAllowed');
});

test.each<[number, new (message: string) => Error]>([
  [403, ConfigurationError],
  [407, ConfigurationError],
  [429, UnavailableError],
  [502, UnavailableError],
  [504, UnavailableError],
])('status %i of an HTTP proxy', async (status, expected) => {
  const proxy = await squid(status);
  const error = await failureOf(httpTo('http://127.0.0.1:9', proxy.url).get('/', NEVER));
  expect(error).toBeInstanceOf(expected);
  expect(error.message).toContain(`status ${status}`);
});
