import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { inspect } from 'node:util';
import { parse } from 'yaml';
import { loadConfig, Secret } from '../../src/config';
import { ConfigurationError, UnavailableError } from '../../src/domain/errors';
import { parsePlan } from '../../src/domain/plan';

const example = path.join(__dirname, '../../examples/connections.yaml');
const secrets = {
  ALIBABA_ES_PASSWORD: 'hunter2',
  OSS_KEY: 'oss-key',
  OSS_SECRET: 'oss-secret',
  OTHER_OSS_KEY: 'other-oss-key',
  OTHER_OSS_SECRET: 'other-oss-secret',
  TENCENT_ES_PASSWORD: 'hunter3',
  COS_KEY: 'cos-key',
  COS_SECRET: 'cos-secret',
};

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'snapferry-config-'));
});
afterAll(() => rm(folder, { recursive: true }));

async function load(yaml: string, env: Record<string, string> = {}) {
  const file = path.join(folder, 'connections.yaml');
  await writeFile(file, yaml);
  return loadConfig({ ...env, SNAPFERRY_CONFIG: file });
}

async function refusal(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(ConfigurationError);
  return (error as Error).message;
}

/** The faults of a file, one per entry. */
async function faults(yaml: string, env: Record<string, string> = {}): Promise<string[]> {
  const message = await refusal(load(yaml, env));
  return message
    .replace(/^The connections file \S+ is refused: /, '')
    .split('; ')
    .sort();
}

/** Every `{ env: NAME }` of a file, as the fault that it is where the variable is not set. */
function environmentReferences(value: object, at: readonly string[] = []): string[] {
  return Object.entries(value).flatMap(([key, inner]: [string, unknown]) => {
    if (key === 'env') return [`${at.join('.')}: the variable ${String(inner)} is not set`];
    return typeof inner === 'object' && inner !== null ? environmentReferences(inner, [...at, key]) : [];
  });
}

describe('the example file', () => {
  const loaded = () => loadConfig({ ...secrets, SNAPFERRY_CONFIG: example });

  it('gives every cluster with its way to sign in', async () => {
    const config = await loaded();
    expect(config.cluster('aws-singapore')).toEqual({
      name: 'aws-singapore',
      url: 'https://search-movies-abc.ap-southeast-1.es.amazonaws.com',
      auth: { type: 'sigv4', region: 'ap-southeast-1', service: 'es' },
      proxy: 'socks5://127.0.0.1:1080',
    });
    const { auth } = config.cluster('alibaba-hangzhou');
    expect(auth).toMatchObject({ type: 'basic', username: 'elastic' });
    expect(auth.type === 'basic' && auth.password()).toBe('hunter2');
  });

  it('gives every store as the worker reaches it', async () => {
    const config = await loaded();
    expect(config.store('s3-singapore')).toEqual({
      type: 's3',
      bucket: 'es-migration-source',
      region: 'ap-southeast-1',
    });
    expect(config.store('laptop')).toEqual({ type: 'directory', path: '/srv/snapshots' });
    const oss = config.store('oss-hangzhou');
    expect(oss).toMatchObject({ type: 'oss', endpoint: 'https://oss-cn-hangzhou.aliyuncs.com' });
    expect(oss.type === 'oss' && oss.credentials()).toEqual({
      accessKeyId: 'oss-key',
      accessKeySecret: 'oss-secret',
    });
  });

  it('tells how a cluster registers each store, with the folder of the plan', async () => {
    const config = await loaded();
    expect(config.repositoryDefinition('oss-hangzhou', 'alibaba-hangzhou', 'snapferry/movies')).toEqual({
      type: 'oss',
      settings: {
        endpoint: 'http://oss-cn-hangzhou-internal.aliyuncs.com',
        bucket: 'es-migration-target',
        access_key_id: 'oss-key',
        secret_access_key: 'oss-secret',
        compress: true,
        base_path: 'snapferry/movies',
      },
      secrets: ['oss-key', 'oss-secret'],
    });
    expect(config.repositoryDefinition('laptop', 'any', 'a/b').settings).toEqual({ location: '/srv/snapshots/a/b' });
    expect(config.repositoryDefinition('laptop', 'any', '').settings).toEqual({ location: '/srv/snapshots' });
    expect(config.repositoryDefinition('s3-singapore', 'any', '').settings).not.toHaveProperty('base_path');
  });

  it.each(readdirSync(path.dirname(example)).filter((file) => file.endsWith('.json')))(
    'knows all that %s names, and how its clusters register its stores',
    async (file) => {
      const config = await loaded();
      const plan = parsePlan(JSON.parse(readFileSync(path.join(path.dirname(example), file), 'utf8')));
      for (const side of ['source', 'target'] as const) {
        const { store, basePath } = plan.repository[side];
        const { settings } = config.repositoryDefinition(store, config.cluster(plan[side]).name, basePath);
        expect(settings['base_path'] ?? settings['location']).toMatch(new RegExp(`${basePath}$`));
      }
    },
  );

  it('without its variables is refused with each of them once, and all of its places', async () => {
    const message = await refusal(loadConfig({ SNAPFERRY_CONFIG: example }));
    const told = message.replace(/^.*? is refused: /, '').split('; ');
    const places = environmentReferences(parse(readFileSync(example, 'utf8')) as object);
    const parted = told.map((fault) => fault.split(': '));
    expect(new Set(parted.map(([, what]) => what)).size).toBe(told.length);
    expect(
      parted.flatMap(([all = '', what = '']) => all.split(', ').map((place) => `${place}: ${what}`)).sort(),
    ).toEqual(places.sort());
    expect(message).toMatch(/stores\.oss-hangzhou\.credentials\.accessKeyId[^:]*: the variable OSS_KEY is not set/);
  });
});

describe('no file to read', () => {
  it('is said in one sentence, whatever the reason', async () => {
    expect(await refusal(loadConfig({}))).toContain('SNAPFERRY_CONFIG is not set');
    const missing = path.join(folder, 'missing.yaml');
    expect(await refusal(loadConfig({ SNAPFERRY_CONFIG: missing }))).toMatch(
      /cannot be read \(ENOENT\) .*missing\.yaml/,
    );
    expect(await refusal(loadConfig({ SNAPFERRY_CONFIG: folder }))).toContain('EISDIR');
  });

  it('bad YAML is told by line and column, without quoting what may be a secret', async () => {
    const message = await refusal(load('clusters:\n  a: "unfinished hunter2\n'));
    expect(message).toMatch(/is not valid YAML: line \d+, column \d+: \w/);
    expect(message).not.toContain('hunter2');
    expect(await refusal(load('a: 1\na: 2\n'))).toContain('duplicate key');
  });

  it('an empty file knows no names', async () => {
    const config = await load('');
    expect(() => config.cluster('a')).toThrow("has no cluster 'a': it names no cluster at all");
  });
});

describe('faults', () => {
  it('come all at once, each with its path', async () => {
    expect(
      await faults(`
clusters:
  a: { url: "http://localhost:9200", auth: { type: basic, username: u, password: { env: MISSING } }, colour: red }
  b: { auth: { type: ldap } }
  c: { url: "ftp://x", tls: { caFile: missing.pem }, proxy: "socks5://u:hunter2@host:1" }
  "d/e": { url: "http://x" }
stores:
  s: { type: s3, bucket: b, credentials: { accessKeyId: { file: missing-key }, secretAccessKey: { evn: X } } }
  t: { type: floppy }
  u: { type: directory, path: relative, repository: { type: fs, settings: {} } }
  v: { type: directory, path: /v, repository: { a: { type: fs, settings: { location: /v } }, z: { type: s3 } } }
  w: { type: directory, path: /w, repository: { type: s3, settings: { base_path: x, readonly: true } } }
webhooks:
  pager: { url: "https://x", signingKey: hunter2 }
other: 1
`),
    ).toEqual([
      'clusters.a.auth.password: the variable MISSING is not set',
      'clusters.a.colour: is not a known key',
      "clusters.b.auth.type: must be one of 'none', 'basic', 'apiKey', 'sigv4'",
      'clusters.b.url: is required',
      'clusters.c.proxy: must not hold a user or a password',
      'clusters.c.tls.caFile: the file missing.pem cannot be read (ENOENT)',
      'clusters.c.url: must be a URL such as https://host:port (https:, http:)',
      'clusters["d/e"]: must be a name of letters, digits and . _ -',
      'other: is not a known key',
      'stores.s.credentials.accessKeyId: the file missing-key cannot be read (ENOENT)',
      'stores.s.credentials.secretAccessKey.env: is required',
      'stores.s.credentials.secretAccessKey.evn: is not a known key',
      'stores.s.region: is required',
      "stores.t.type: must be one of 's3', 'oss', 'directory'",
      'stores.u.path: must be an absolute path',
      'stores.u.repository.settings.location: is required for an fs repository',
      'stores.w.repository.settings.base_path: must be left out: it comes from the plan',
      'stores.w.repository.settings.readonly: must be left out: snapferry registers the target repository read-only',
      'webhooks.pager.signingKey: must be { env: NAME } or { file: PATH }: secrets are never written here',
    ]);
  });

  it('a repository by cluster names only clusters of the file', async () => {
    const yaml = `
clusters: { a: { url: "http://a:9200" } }
stores: { v: { type: directory, path: /v, repository: { a: { type: x }, z: { type: y } } } }`;
    expect(await faults(yaml)).toEqual(['stores.v.repository.z: is not the name of a cluster in this file']);
  });

  it.each([
    ['password: hunter2', 'clusters.a.auth.password'],
    ['password: { env: NAME, value: hunter2 }', 'clusters.a.auth.password.value'],
    ['password: 12345', 'clusters.a.auth.password'],
  ])('a literal secret is refused and not repeated: %s', async (password, at) => {
    const message = await refusal(
      load(`clusters: { a: { url: "http://a", auth: { type: basic, username: u, ${password} } } }`, { NAME: 'x' }),
    );
    expect(message).toContain(`${at}: `);
    expect(message).not.toMatch(/hunter2|12345/);
  });

  it.each(['secret_key', 'access_key_id', 'sas_token', 'client_password'])(
    'the setting %s of a repository takes a reference only',
    async (key) => {
      const yaml = (value: string) =>
        `stores: { d: { type: directory, path: /d, repository: { type: s3, settings: { ${key}: ${value} } } } }`;
      expect(await faults(yaml('hunter2'))).toEqual([
        `stores.d.repository.settings.${key}: must be { env: NAME } or { file: PATH }: secrets are never written here`,
      ]);
      const config = await load(yaml('{ env: K }'), { K: 'hunter2' });
      expect(config.repositoryDefinition('d', 'any', '').settings).toEqual({ [key]: 'hunter2' });
    },
  );

  it.each(['http://u:hunter2@host', 'https://hunter2@host/', 'http://host?key=hunter2', 'hunter2'])(
    'a URL that is refused is not repeated (%#)',
    async (url) => {
      const message = await refusal(load(`clusters: { a: { url: "${url}" } }`));
      expect(message).toContain('clusters.a.url: must');
      expect(message).not.toContain('hunter2');
    },
  );
});

describe('secrets', () => {
  const yaml = `
clusters: { a: { url: "http://a", auth: { type: apiKey, key: { file: api-key } } } }
stores: { s: { type: s3, bucket: b, region: r, encryption: { type: "aws:kms", keyId: k }, credentials:
  { accessKeyId: { env: ID }, secretAccessKey: { env: KEY }, sessionToken: { env: TOKEN } } } }`;

  it('in files are read at each use, so that a rotation works; the last newline is no part of them', async () => {
    const file = path.join(folder, 'api-key');
    const env = { ID: 'i', KEY: 'k', TOKEN: 't' };
    await writeFile(file, 'before\n');
    const { auth } = (await load(yaml, env)).cluster('a');
    const key = () => auth.type === 'apiKey' && auth.key();
    expect(key()).toBe('before');
    await writeFile(file, 'after\r\n');
    expect(key()).toBe('after');
    await rm(file);
    expect(key).toThrow(UnavailableError);
    await writeFile(file, '\n');
    expect(await faults(yaml, env)).toEqual(['clusters.a.auth.key: the file api-key is empty']);
  });

  it('are not shown by a printed config, connection or secret', async () => {
    await writeFile(path.join(folder, 'api-key'), 'hunter2');
    const config = await load(yaml, { ID: 'hunter2', KEY: 'hunter2', TOKEN: 'hunter2' });
    const shown = (value: unknown) => `${inspect(value, { depth: 9, showHidden: true })} ${JSON.stringify(value)}`;
    for (const value of [config, config.cluster('a'), config.store('s')]) expect(shown(value)).not.toContain('hunter2');
    expect(shown(new Secret(() => 'hunter2'))).toBe('**redacted** "**redacted**"');
    expect(String(new Secret(() => 'hunter2'))).toBe('**redacted**');
  });

  it('of a store come with its encryption', async () => {
    const store = (await load(yaml, { ID: 'i', KEY: 'k', TOKEN: 't' })).store('s');
    expect(store).toMatchObject({ type: 's3', encryption: { type: 'aws:kms', keyId: 'k' } });
    expect(store.type === 's3' && store.credentials?.()).toEqual({
      accessKeyId: 'i',
      secretAccessKey: 'k',
      sessionToken: 't',
    });
  });
});

describe('a store of type oss', () => {
  const store = (more: string) => `stores: { o: { type: oss, bucket: b, ${more}, credentials:
    { accessKeyId: { env: ID }, accessKeySecret: { env: KEY }, securityToken: { file: oss-token } } } }`;
  const env = { ID: 'i', KEY: 'k' };

  it('is reached with a token that is read at each use', async () => {
    await writeFile(path.join(folder, 'oss-token'), 'before');
    const oss = (await load(store('region: cn-hangzhou, endpoint: "https://own.example.com", cname: true'), env)).store(
      'o',
    );
    expect(oss).toMatchObject({ region: 'cn-hangzhou', endpoint: 'https://own.example.com', cname: true });
    const keys = () => oss.type === 'oss' && oss.credentials();
    expect(keys()).toEqual({ accessKeyId: 'i', accessKeySecret: 'k', securityToken: 'before' });
    await writeFile(path.join(folder, 'oss-token'), 'after');
    expect(keys()).toMatchObject({ securityToken: 'after' });
  });

  it('means the same with both spellings of its region', async () => {
    await writeFile(path.join(folder, 'oss-token'), 't');
    const [plain, prefixed] = [
      await load(store('region: cn-hangzhou'), env),
      await load(store('region: oss-cn-hangzhou'), env),
    ];
    expect(prefixed.store('o')).toMatchObject({ region: 'cn-hangzhou' });
    expect(prefixed.fingerprint('store', 'o')).toBe(plain.fingerprint('store', 'o'));
  });
});

describe('names', () => {
  const yaml = `
clusters:
  a: { url: "http://a:9200/", tls: { caFile: ca.pem } }
  b: { url: "http://b:9200" }
stores:
  s: { type: s3, bucket: b, region: r, endpoint: "http://e:1", proxy: "http://p:1", repository:
    { a: { type: s3, settings: { bucket: b } }, b: { type: fs, settings: { location: /m/ } } } }
  bare: { type: directory, path: /d }`;
  beforeAll(() => writeFile(path.join(folder, 'ca.pem'), '-----BEGIN CERTIFICATE-----\n'));

  it('that are unknown are answered with those that are known', async () => {
    const config = await load(yaml);
    expect(() => config.cluster('c')).toThrow("The connections file has no cluster 'c': it knows a, b");
    expect(() => config.store('constructor')).toThrow("has no store 'constructor': it knows bare, s");
    expect(() => config.fingerprint('store', 'x')).toThrow("has no store 'x'");
    expect(() => config.webhook('x')).toThrow("has no webhook 'x'");
  });

  it('of clusters choose the registration where clusters differ', async () => {
    const config = await load(yaml);
    expect(config.repositoryDefinition('s', 'a', 'x').settings).toEqual({ bucket: 'b', base_path: 'x' });
    expect(config.repositoryDefinition('s', 'b', 'x').settings).toEqual({ location: '/m/x' });
    expect(() => config.repositoryDefinition('s', 'c', 'x')).toThrow("how cluster 'c' registers store 's'");
    expect(() => config.repositoryDefinition('bare', 'a', 'x')).toThrow('give stores.bare a repository');
  });

  it('have a fingerprint of their place, which no secret and no proxy changes', async () => {
    const config = await load(yaml);
    const fingerprints = [config.fingerprint('cluster', 'a'), config.fingerprint('store', 's')];
    expect(new Set(fingerprints).size).toBe(2);
    for (const fingerprint of fingerprints) expect(fingerprint).toMatch(/^[0-9a-f]{64}$/);
    const same = await load(yaml.replace('proxy: "http://p:1", ', '').replace('http://a:9200/', 'http://a:9200'));
    expect([same.fingerprint('cluster', 'a'), same.fingerprint('store', 's')]).toEqual(fingerprints);
    const other = await load(yaml.replace('http://a:9200/', 'http://a:9201').replace('bucket: b', 'bucket: c'));
    expect(other.fingerprint('cluster', 'a')).not.toBe(fingerprints[0]);
    expect(other.fingerprint('store', 's')).not.toBe(fingerprints[1]);
  });

  it('of a cluster give the keys that sign for it, and the role that they assume', async () => {
    const auth = `{ type: sigv4, region: r, roleArn: "arn:aws:iam::1:role/r",
      credentials: { accessKeyId: { env: ID }, secretAccessKey: { env: SECRET }, sessionToken: { env: TOKEN } } }`;
    const env = { ID: 'id', SECRET: 'hunter2', TOKEN: 'hunter3' };
    const config = await load(`clusters: { a: { url: "https://a", auth: ${auth} } }`, env);
    const { auth: signing } = config.cluster('a');
    expect(signing).toMatchObject({ type: 'sigv4', service: 'es', roleArn: 'arn:aws:iam::1:role/r' });
    const keys = { accessKeyId: 'id', secretAccessKey: 'hunter2', sessionToken: 'hunter3' };
    expect(signing.type === 'sigv4' && signing.keys?.()).toEqual(keys);
    expect(inspect(config, { depth: 20, showHidden: true })).not.toContain('hunter');
  });

  it('of a cluster bring its certificate, those of a store its proxy', async () => {
    const config = await load(yaml);
    expect(config.cluster('a')).toMatchObject({ url: 'http://a:9200', caCertificate: '-----BEGIN CERTIFICATE-----' });
    expect(config.store('s')).toMatchObject({ bucket: 'b', proxy: 'http://p:1' });
    expect(config.store('bare')).toEqual({ type: 'directory', path: '/d' });
  });
});
