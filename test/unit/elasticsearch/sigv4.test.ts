/** Signed requests, judged by the AWS SDK's signer: stack/amazon-elasticsearch/signature.ts. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { buffer } from 'node:stream/consumers';
import { inspect } from 'node:util';
import { ConfigurationError, UnavailableError } from '../../../src/domain/errors';
import type { MigrationError } from '../../../src/domain/errors';
import type { ClusterAuth, ClusterConnection } from '../../../src/elasticsearch';
import type { Prove } from '../../../src/elasticsearch/credentials';
import { Http } from '../../../src/elasticsearch/http';
import type { Call } from '../../../src/elasticsearch/http';
import { nameGroups, snapshotPath } from '../../../src/elasticsearch/paths';
import { signing } from '../../../src/elasticsearch/sigv4';
import { SignatureRefused, signer } from '../../../stack/amazon-elasticsearch/signature';
import { serving } from './server';

const NEVER = new AbortController().signal;
const SCOPE = { region: 'ap-southeast-1', service: 'es' };
const KEY = { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'planted-s3cret/key' };
const TOKEN = { ...KEY, sessionToken: 'planted-session//token==' };
const signed = (keys: typeof KEY | typeof TOKEN, more: object = {}): ClusterAuth => ({
  ...{ type: 'sigv4', region: SCOPE.region, keys: () => keys },
  ...more,
});

let opened: { close(): Promise<void> }[] = [];
let folder: string;
const before = { ...process.env };
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'snapferry-aws-'));
  for (const name of Object.keys(process.env)) if (/^AWS_(?!SDK_JS)/.test(name)) delete process.env[name];
  // Nothing of the machine that the tests run on.
  Object.assign(process.env, {
    AWS_SHARED_CREDENTIALS_FILE: path.join(folder, 'credentials'),
    AWS_CONFIG_FILE: path.join(folder, 'config'),
    AWS_EC2_METADATA_DISABLED: 'true',
  });
});
afterEach(async () => {
  for (const one of opened.reverse()) await one.close();
  opened = [];
  process.env = { ...before };
  await rm(folder, { recursive: true });
});
const kept = <T extends { close(): Promise<void> }>(one: T): T => {
  opened.push(one);
  return one;
};

/** A server that lets in what `keys` signed, as AWS does, and has a clock of its own. */
async function guarded(keys: readonly { accessKeyId: string; secretAccessKey: string }[], aheadMs = 0) {
  const clock = () => Date.now() + aheadMs;
  const judge = async (incoming: IncomingMessage) => {
    const { method = '', url: target = '', headers } = incoming;
    return signer({ method, target, headers, body: await buffer(incoming) }, keys, SCOPE, clock());
  };
  return kept(
    await serving((incoming, response) => {
      response.setHeader('date', new Date(clock()).toUTCString());
      judge(incoming).then(
        (key) => response.end(JSON.stringify({ by: key?.accessKeyId ?? null })),
        ({ type, message }: SignatureRefused) => {
          response.writeHead(403, { 'x-amzn-ErrorType': type }).end(JSON.stringify({ message }));
        },
      );
    }),
  );
}
const httpTo = (url: string, auth: ClusterAuth, more: Partial<ClusterConnection> = {}) =>
  kept(new Http({ name: 'domain', url, auth, ...more }));
const failureOf = (promise: Promise<unknown>): Promise<MigrationError> =>
  promise.then(
    () => Promise.reject(new Error('it did not fail')),
    (error: MigrationError) => error,
  );

describe('a request is signed as it is sent', () => {
  const odd = ['a+b', 'a,b', 'a*b', 'a%2bb', 'a b', "a'b(c)!", 'a&b=c;d', 'a@b~$', 'a:b', '日本-é', 'x'.repeat(300)];
  const calls: [string, Call][] = [
    ['without anything', { method: 'GET', path: '/' }],
    ['with a body', { method: 'POST', path: '/_aliases', body: { actions: [{ add: { index: '日本', alias: 'é' } }] } }],
    ['with an empty body', { method: 'POST', path: '/x/_close' }],
    ['with a query', { method: 'GET', path: '/_all/_settings?flat_settings=true&filter_path=*.a*b,*.c&flag' }],
    ['with a query that repeats itself', { method: 'GET', path: '/_cat/indices?h=b&h=a&b=%20%2B' }],
    ['of many names', { method: 'GET', path: `/${nameGroups(odd.slice(0, 9))[0]?.path}/_stats?level=shards` }],
    ...odd.map((name): [string, Call] => [
      `of ${name}`,
      { method: 'PUT', path: `${snapshotPath(name, 's')}`, body: {} },
    ]),
  ];

  test.each(calls)('%s', async (_, call) => {
    const { url } = await guarded([KEY]);
    expect(await httpTo(url, signed(KEY)).call(call, NEVER)).toEqual({ by: KEY.accessKeyId });
  });

  test.each(calls.slice(0, 3))('%s, below a path of its own', async (_, call) => {
    const { url } = await guarded([KEY]);
    expect(await httpTo(`${url}/deep+er`, signed(KEY)).call(call, NEVER)).toEqual({ by: KEY.accessKeyId });
  });

  test('with a session token', async () => {
    const { url } = await guarded([TOKEN]);
    expect(await httpTo(url, signed(TOKEN)).get('/', NEVER)).toEqual({ by: KEY.accessKeyId });
  });

  test('with its body: another one is refused', async () => {
    const body = Buffer.from('{"indices":"movies"}');
    const url = new URL('https://domain/_snapshot/r/s');
    const prove = signing({ type: 'sigv4', region: SCOPE.region, keys: () => KEY });
    const proof = await prove({ method: 'PUT', url, headers: {}, body: body.toString() });
    const headers = { ...proof.headers, authorization: proof.headers['Authorization'] };
    const received = { method: 'PUT', target: url.pathname, headers };
    expect(await signer({ ...received, body }, [KEY], SCOPE, Date.now())).toBe(KEY);
    const forged = signer({ ...received, body: Buffer.from('{"indices":"*"}') }, [KEY], SCOPE, Date.now());
    await expect(forged).rejects.toThrow(SignatureRefused);
  });
});

describe('a refusal', () => {
  test('of a wrong secret is the operator’s', async () => {
    const { url, requests } = await guarded([KEY]);
    const error = await failureOf(httpTo(url, signed({ ...KEY, secretAccessKey: 'another' })).get('/', NEVER));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toContain('does not match the signature you provided');
    expect(requests).toHaveLength(1);
  });

  test.each([
    ['ahead of', -7 * 60_000],
    ['behind', 7 * 60_000],
  ])('because our clock is %s the service’s names both', async (word, aheadMs) => {
    const { url } = await guarded([KEY], aheadMs);
    const error = await failureOf(httpTo(url, signed(KEY)).get('/', NEVER));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toMatch(new RegExp(`clock of this machine is 7 minutes ${word} the service's`));
    const [here = '', there = ''] = error.message.match(/\d{4}-\d\d-\d\dT[\d:.]+Z/g) ?? [];
    expect(Math.round((Date.parse(there) - Date.parse(here)) / 60_000)).toBe(aheadMs / 60_000);
  });

  test('never shows a secret, although the service quotes the request', async () => {
    const quoting = kept(
      await serving((incoming, response) =>
        response
          .writeHead(403)
          .end(JSON.stringify({ message: `${JSON.stringify(incoming.headers)} ${TOKEN.secretAccessKey}` })),
      ),
    );
    const http = httpTo(quoting.url, signed(TOKEN));
    const error = await failureOf(http.get('/', NEVER));
    for (const shown of [inspect(error, { depth: 20 }), inspect(http, { depth: 20, showHidden: true })]) {
      expect(shown).not.toContain(TOKEN.secretAccessKey);
      expect(shown).not.toContain(TOKEN.sessionToken);
      expect(shown).not.toMatch(/Signature=[0-9a-f]{64}/);
    }
  });
});

describe('keys that were rotated', () => {
  test('are read anew with each request, and once more after a refusal', async () => {
    const second = { accessKeyId: 'AKIDSECOND', secretAccessKey: 'another secret' };
    const { url, requests } = await guarded([second]);
    const given = [KEY, second];
    const auth = signed(KEY, { keys: () => (given.length > 1 ? given.shift() : given[0]) });
    expect(await httpTo(url, auth).get('/', NEVER)).toEqual({ by: 'AKIDSECOND' });
    expect(requests).toHaveLength(2);
  });

  test('in the shared files are found, by profile, without a restart', async () => {
    const write = (profile: string, id: string) =>
      writeFile(
        path.join(folder, 'credentials'),
        `[${profile}]\naws_access_key_id = ${id}\naws_secret_access_key = ${KEY.secretAccessKey}\n`,
      );
    let now = Date.now();
    const prove = signing({ type: 'sigv4', region: SCOPE.region, profile: 'moving' }, () => now);
    const request = { method: 'GET', url: new URL('https://domain/'), headers: {}, body: undefined };
    const idOf = (proof: { headers: Readonly<Record<string, string>> }) =>
      /Credential=(\w+)/.exec(proof.headers['Authorization'] ?? '')?.[1];
    await write('moving', 'FIRST');
    const first = await prove(request);
    expect(idOf(first)).toBe('FIRST');
    await write('moving', 'SECOND');
    expect(await first.renew?.()).toBe(false); // too young to blame its age
    now += 61_000;
    expect(await first.renew?.()).toBe(true);
    expect(idOf(await prove(request))).toBe('SECOND');
  });
});

describe('the default chain', () => {
  test('takes keys from the environment', async () => {
    process.env['AWS_ACCESS_KEY_ID'] = TOKEN.accessKeyId;
    process.env['AWS_SECRET_ACCESS_KEY'] = TOKEN.secretAccessKey;
    process.env['AWS_SESSION_TOKEN'] = TOKEN.sessionToken;
    const { url } = await guarded([TOKEN]);
    const auth: ClusterAuth = { type: 'sigv4', region: SCOPE.region };
    expect(await httpTo(url, auth).get('/', NEVER)).toEqual({ by: KEY.accessKeyId });
  });

  test('that finds nothing says what to do', async () => {
    const auth: ClusterAuth = { type: 'sigv4', region: SCOPE.region };
    const error = await failureOf(httpTo('http://127.0.0.1:1', auth).get('/', NEVER));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toMatch(/^There are no AWS credentials: .*give the worker some/);
  });
});

describe('keys of a process', () => {
  test('are asked for again before they expire, and the second ones are used', async () => {
    let now = Date.now();
    const minutes = (count: number) => new Date(now + count * 60_000).toISOString();
    const answer = (id: string) =>
      writeFile(
        path.join(folder, 'answer.json'),
        JSON.stringify({
          Version: 1,
          AccessKeyId: id,
          SecretAccessKey: 's',
          SessionToken: id,
          Expiration: minutes(60),
        }),
      );
    await writeFile(
      path.join(folder, 'credentials'),
      `[made]\ncredential_process = cat ${path.join(folder, 'answer.json')}\n`,
    );
    const prove = signing({ type: 'sigv4', region: SCOPE.region, profile: 'made' }, () => now);
    const request = { method: 'GET', url: new URL('https://domain/'), headers: {}, body: undefined };
    const tokenOf = async () => (await prove(request)).headers['x-amz-security-token'];
    await answer('FIRST');
    expect(await tokenOf()).toBe('FIRST');
    await answer('SECOND');
    expect(await tokenOf()).toBe('FIRST');
    now += 56 * 60_000;
    await answer('THIRD');
    expect(await tokenOf()).toBe('THIRD');
  });
});

describe('a role', () => {
  const ROLE = 'arn:aws:iam::123456789012:role/migration';
  /** An STS as far as AssumeRole goes: keys by number, for as long as `lifetimesMs` says, then what `refuse` says. */
  const sts = async (lifetimesMs: readonly number[], now: () => number, refuse = { status: 503, code: 'Busy' }) => {
    let issued = 0;
    const server = kept(
      await serving((_, response) => {
        const lifetime = lifetimesMs[issued];
        if (lifetime === undefined) {
          const error = `<Error><Type>Sender</Type><Code>${refuse.code}</Code><Message>no role for you</Message></Error>`;
          response.writeHead(refuse.status).end(`<ErrorResponse>${error}</ErrorResponse>`);
          return;
        }
        issued += 1;
        const expiration = new Date(now() + lifetime).toISOString();
        const credentials = `<AccessKeyId>ROLE${issued}</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t${issued}</SessionToken><Expiration>${expiration}</Expiration>`;
        response.writeHead(200, { 'content-type': 'text/xml' });
        response.end(
          `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>${credentials}</Credentials></AssumeRoleResult></AssumeRoleResponse>`,
        );
      }),
    );
    process.env['AWS_ENDPOINT_URL_STS'] = server.url;
    process.env['AWS_MAX_ATTEMPTS'] = '1';
    return server;
  };
  const request = { method: 'GET', url: new URL('https://domain/'), headers: {}, body: undefined };
  const tokenOf = async (prove: Prove) => (await prove(request)).headers['x-amz-security-token'];
  const auth = { type: 'sigv4', region: SCOPE.region, keys: () => KEY, roleArn: ROLE } as const;

  test('is assumed once, and again before its keys expire', async () => {
    let now = Date.now();
    const server = await sts([3_600_000, 3_600_000], () => now);
    const prove = signing(auth, () => now);
    expect(await Promise.all([tokenOf(prove), tokenOf(prove), tokenOf(prove)])).toEqual(['t1', 't1', 't1']);
    now += 54 * 60_000;
    expect(await tokenOf(prove)).toBe('t1');
    now += 2 * 60_000;
    expect(await tokenOf(prove)).toBe('t2');
    expect(server.requests).toHaveLength(2);
  });

  test('whose service is away is kept to its end, and then waited for', async () => {
    let now = Date.now();
    await sts([3_600_000], () => now);
    const prove = signing(auth, () => now);
    expect(await tokenOf(prove)).toBe('t1');
    now += 58 * 60_000;
    expect(await tokenOf(prove)).toBe('t1');
    now += 3 * 60_000;
    await expect(tokenOf(prove)).rejects.toThrow(UnavailableError);
  });

  test('that may not be assumed is the operator’s, by name', async () => {
    await sts([], Date.now, { status: 403, code: 'AccessDenied' });
    const error = await failureOf(tokenOf(signing(auth)));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toContain('AccessDenied');
    expect(error.message).toContain(ROLE);
  });
});
