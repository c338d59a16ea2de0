import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { inspect } from 'node:util';
import { LineCounter, parseDocument } from 'yaml';
import { z } from 'zod';
import { ConfigurationError, UnavailableError } from './domain/errors';
import { readStrictly } from './domain/faults';
import type { ClusterConnection } from './elasticsearch';
import type { RepositoryDefinition } from './elasticsearch/cluster';
import type { Webhook } from './net/webhook';
import type { StoreConnection } from './storage';

/**
 * The worker's connections file: what the names in a plan mean here. It is read once and reports every fault at once.
 * It says where secrets lie and never holds one; they are read at each use, so that rotating them needs no restart.
 * Relative paths (`file`, `caFile`) are relative to the connections file.
 */
export interface Config {
  /** @throws ConfigurationError that lists the known names, as do all the methods below */
  cluster(name: string): ClusterConnection;
  store(name: string): StoreConnection;
  webhook(name: string): Webhook;
  /** What a name stands for (URL; type, bucket, region, endpoint, path), hashed. No secret goes into it. */
  fingerprint(kind: 'cluster' | 'store' | 'webhook', name: string): string;
  /**
   * How that cluster registers the folder `basePath` of the store. Holds the secrets in clear where the file names
   * some: for the request to the cluster only.
   */
  repositoryDefinition(store: string, cluster: string, basePath: string): RepositoryDefinition;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** Reads the file that `SNAPFERRY_CONFIG` names. @throws ConfigurationError with every fault, each with its path */
export async function loadConfig(env: Environment = process.env): Promise<Config> {
  const file = env['SNAPFERRY_CONFIG'];
  if (file === undefined || file === '') {
    throw new ConfigurationError(
      'SNAPFERRY_CONFIG is not set: it names the connections file, of which examples/connections.yaml is one',
    );
  }
  const raw = parseYaml(await contents(file), file);
  const read = readStrictly(connectionsSchema(new References(env, path.dirname(file))), raw);
  if (!read.ok) {
    throw new ConfigurationError(`The connections file ${file} is refused: ${together(read.faults).join('; ')}`);
  }
  return new ConnectionsFile(read.value);
}

/** One variable is often named in many places: that it is not set is said once, with all of them. */
function together(faults: readonly string[]): string[] {
  const unset = /^(.*): (the variable \S+ is not set)$/;
  const places = new Map<string, string[]>();
  for (const fault of faults) {
    const [, place, what] = unset.exec(fault) ?? [];
    if (place !== undefined && what !== undefined) places.set(what, [...(places.get(what) ?? []), place]);
  }
  return [
    ...faults.filter((fault) => !unset.test(fault)),
    ...[...places].map(([what, all]) => `${all.join(', ')}: ${what}`),
  ];
}

async function contents(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    const message = `The connections file that SNAPFERRY_CONFIG names cannot be read (${codeOf(cause)})`;
    throw new ConfigurationError(message, { subject: { file }, cause });
  }
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? 'unknown error';
}

/** Says where the YAML is wrong in our own words: the library's quote the line, which may hold a secret. */
function parseYaml(text: string, file: string): unknown {
  const lines = new LineCounter();
  const document = parseDocument(text, { prettyErrors: false, lineCounter: lines });
  const [fault] = document.errors;
  if (fault !== undefined) {
    const { line, col } = lines.linePos(fault.pos[0]);
    const what = fault.code.toLowerCase().replaceAll('_', ' ');
    throw new ConfigurationError(
      `The connections file ${file} is not valid YAML: line ${line}, column ${col}: ${what}`,
    );
  }
  return document.toJS() ?? {};
}

// --- Secrets --------------------------------------------------------------------------------------------------------

const REDACTED = '**redacted**';

/** A secret that logs, errors and JSON cannot show. Only `reveal` gives it. */
export class Secret {
  readonly #read: () => string;

  constructor(read: () => string) {
    this.#read = read;
  }
  /** Read anew each time: it may have been rotated. */
  reveal(): string {
    return this.#read();
  }
  toString(): string {
    return REDACTED;
  }
  toJSON(): string {
    return REDACTED;
  }
  [inspect.custom](): string {
    return REDACTED;
  }
}

type Reference = { readonly env: string } | { readonly file: string };

/** Where references point to. */
class References {
  constructor(
    private readonly env: Environment,
    private readonly folder: string,
  ) {}

  /** Why it gives no secret; undefined when it does. */
  fault(reference: Reference): string | undefined {
    if ('env' in reference) return this.env[reference.env] ? undefined : `the variable ${reference.env} is not set`;
    try {
      return this.contentsOf(reference.file) === '' ? `the file ${reference.file} is empty` : undefined;
    } catch (error) {
      return `the file ${reference.file} cannot be read (${codeOf(error)})`;
    }
  }

  secret(reference: Reference): Secret {
    if ('file' in reference) return new Secret(() => this.read(reference.file));
    // Read once: nobody changes the environment of a running process, and requests ask for it often.
    const value = this.env[reference.env] ?? '';
    return new Secret(() => value);
  }

  private read(file: string): string {
    try {
      return this.contentsOf(file);
    } catch (cause) {
      // It was there when the worker started: most likely it is being rotated right now.
      throw new UnavailableError('A file that holds a secret cannot be read', {
        subject: { file, code: codeOf(cause) },
      });
    }
  }

  /** Editors and secret stores end files with a newline that is no part of the secret. */
  private contentsOf(file: string): string {
    return readFileSync(path.resolve(this.folder, file), 'utf8').replace(/\r?\n$/, '');
  }
}

// --- The schema -----------------------------------------------------------------------------------------------------

type Connections = z.output<ReturnType<typeof connectionsSchema>>;
type ClusterEntry = Connections['clusters'][string];
type StoreEntry = Connections['stores'][string];
type SecretCheck = Pick<References, 'fault' | 'secret'>;

/** Settings of a repository whose values are no one else's business, whatever the type of the repository. */
const SECRET_SETTING = /secret|password|token|credential|access_key|private_key|account_key/i;

/** The form of the file; `check` looks behind references, so that what is missing is a fault at its path. */
export function connectionsSchema(check: SecretCheck = { fault: () => undefined, secret: () => new Secret(() => '') }) {
  const secret = secretSchema(check);
  const cluster = clusterSchema(secret, check);
  const store = storeSchema(secret);
  const webhook = z.strictObject({ url: url('http:', 'https:'), signingKey: secret });
  return (
    z
      .strictObject({
        clusters: z.record(name, cluster).default({}),
        stores: z.record(name, store).default({}),
        webhooks: z.record(name, webhook).default({}),
      })
      // Only once everything else is right: a cluster with a fault is not known here.
      .superRefine(({ clusters, stores }, context) => {
        for (const [of, { repository }] of Object.entries(stores)) {
          for (const unknown of clusterNames(repository).filter((one) => !Object.hasOwn(clusters, one))) {
            const message = 'is not the name of a cluster in this file';
            context.addIssue({ code: 'custom', path: ['stores', of, 'repository', unknown], message });
          }
        }
      })
  );
}

/** Names stand in keys of work files, and `dir:PATH` must not be one. */
const name = z.string().regex(/^[\w.-]+$/, { error: 'must be a name of letters, digits and . _ -' });

const text = z.string().min(1, { error: 'must not be empty' });

/** The faults never quote the URL: what is refused in it is a password. */
function url(...protocols: string[]) {
  return z.string().superRefine((value, context) => {
    const fault = urlFault(value, protocols);
    if (fault !== undefined) context.addIssue(fault);
  });
}

function urlFault(value: string, protocols: readonly string[]): string | undefined {
  const form = `must be a URL such as ${protocols[0]}//host:port (${protocols.join(', ')})`;
  if (!URL.canParse(value)) return form;
  const { protocol, username, password, search, hash } = new URL(value);
  if (username !== '' || password !== '') return 'must not hold a user or a password';
  if (search !== '' || hash !== '') return 'must not hold a query or a fragment';
  return protocols.includes(protocol) ? undefined : form;
}

const proxy = url('socks5:', 'socks5h:', 'http:', 'https:')
  .optional()
  .describe('How the worker gets there, where it does not get there directly.');

function secretSchema(check: SecretCheck) {
  return z
    .union([z.strictObject({ env: text }), z.strictObject({ file: text })], {
      error: 'must be { env: NAME } or { file: PATH }: secrets are never written here',
    })
    .superRefine((reference, context) => {
      const fault = check.fault(reference);
      if (fault !== undefined) context.addIssue(fault);
    })
    .transform((reference) => check.secret(reference))
    .describe('Where the secret lies: { env: NAME } or { file: PATH }.');
}

function clusterSchema(secret: ReturnType<typeof secretSchema>, check: SecretCheck) {
  // No secret, but read like one: anew at each use.
  const caFile = text
    .superRefine((file, context) => {
      const fault = check.fault({ file });
      if (fault !== undefined) context.addIssue(fault);
    })
    .transform((file) => check.secret({ file }));
  return z.strictObject({
    url: url('https:', 'http:'),
    auth: z
      .discriminatedUnion('type', [
        z.strictObject({ type: z.literal('none') }),
        z.strictObject({ type: z.literal('basic'), username: text, password: secret }),
        z.strictObject({ type: z.literal('apiKey'), key: secret }),
        z.strictObject({
          type: z.literal('sigv4'),
          region: text,
          service: text.default('es'),
          credentials: awsCredentials(secret),
          profile: text.optional().describe('Of the shared AWS files, where there are no credentials here.'),
          roleArn: text.optional().describe('The role that these credentials assume.'),
        }),
      ])
      .default({ type: 'none' }),
    tls: z.strictObject({ caFile }).optional(),
    proxy,
  });
}

function awsCredentials(secret: ReturnType<typeof secretSchema>) {
  return z
    .strictObject({ accessKeyId: secret, secretAccessKey: secret, sessionToken: secret.optional() })
    .optional()
    .describe('Without them the AWS default chain is asked.');
}

function storeSchema(secret: ReturnType<typeof secretSchema>) {
  const repository = repositorySchema(secret).optional();
  const bucket = { bucket: text, region: text, proxy, repository };
  const endpoint = url('https:', 'http:').optional();
  return z.discriminatedUnion('type', [
    z.strictObject({
      type: z.literal('s3'),
      ...bucket,
      endpoint: endpoint.describe('Of an S3-compatible server; not needed for AWS.'),
      pathStyle: z.boolean().optional(),
      encryption: encryption('AES256', 'aws:kms'),
      credentials: awsCredentials(secret),
    }),
    z.strictObject({
      type: z.literal('oss'),
      ...bucket,
      // Of the two spellings that Alibaba Cloud uses, the one in signatures; workers that differ in it agree.
      region: text
        .transform((region) => region.replace(/^oss-/, ''))
        .describe('The region of the bucket, such as cn-hangzhou, whatever the endpoint.'),
      endpoint: endpoint.describe(
        'How the worker reaches it: a public, internal, acceleration or dual-stack endpoint, without the bucket.',
      ),
      cname: z.boolean().optional().describe("The endpoint is a domain of the bucket's own (CNAME)."),
      encryption: encryption('AES256', 'KMS'),
      credentials: z.strictObject({ accessKeyId: secret, accessKeySecret: secret, securityToken: secret.optional() }),
    }),
    z.strictObject({
      type: z.literal('directory'),
      path: text.refine((value) => path.isAbsolute(value), { error: 'must be an absolute path' }),
      repository,
    }),
  ]);
}

/** What the bucket is to encrypt blobs with, where its own default will not do. Without a `keyId`: the provider's key. */
function encryption<const Plain extends string, const Kms extends string>(plain: Plain, kms: Kms) {
  return z
    .discriminatedUnion('type', [
      z.strictObject({ type: z.literal(plain) }),
      z.strictObject({ type: z.literal(kms), keyId: text.optional() }),
    ])
    .optional();
}

function repositorySchema(secret: ReturnType<typeof secretSchema>) {
  const settings = z
    .record(
      z.string(),
      z.union([z.string(), z.number(), z.boolean(), secret], { error: 'must be a value or a reference to a secret' }),
    )
    .superRefine((values, context) => {
      for (const [key, value] of Object.entries(values)) {
        const fault = settingFault(key, value);
        if (fault !== undefined) context.addIssue({ code: 'custom', path: [key], message: fault });
      }
    })
    .default({});
  const definition = z
    .strictObject({ type: text, settings })
    .refine((one) => one.type !== 'fs' || typeof one.settings['location'] === 'string', {
      path: ['settings', 'location'],
      error: 'is required for an fs repository',
    });
  return z
    .union([definition, z.record(name, definition)])
    .describe('How a cluster registers this store; or the same by cluster name, where clusters differ.');
}

function settingFault(key: string, value: unknown): string | undefined {
  if (key === 'base_path') return 'must be left out: it comes from the plan';
  if (key === 'readonly') return 'must be left out: snapferry registers the target repository read-only';
  if (value instanceof Secret || !SECRET_SETTING.test(key)) return undefined;
  return 'must be { env: NAME } or { file: PATH }: secrets are never written here';
}

// --- What the names mean --------------------------------------------------------------------------------------------

type RepositoryEntry = NonNullable<StoreEntry['repository']>;
type DefinitionEntry = Extract<RepositoryEntry, { type: string; settings: unknown }>;

/** A definition has a type, which is a text; a map by cluster name has none. */
function isDefinition(entry: RepositoryEntry): entry is DefinitionEntry {
  return typeof entry.type === 'string';
}

function clusterNames(repository: RepositoryEntry | undefined): string[] {
  return repository === undefined || isDefinition(repository) ? [] : Object.keys(repository);
}

class ConnectionsFile implements Config {
  constructor(private readonly connections: Connections) {}

  cluster(name: string): ClusterConnection {
    const { url, auth, tls, proxy } = named(this.connections.clusters, 'cluster', name);
    return {
      name,
      url: withoutSlash(url),
      auth: revealing(auth),
      ...(tls === undefined ? {} : { caCertificate: tls.caFile.reveal() }),
      ...(proxy === undefined ? {} : { proxy }),
    };
  }

  store(name: string): StoreConnection {
    const entry = named(this.connections.stores, 'store', name);
    if (entry.type === 'directory') return { type: 'directory', path: entry.path };
    if (entry.type === 'oss') {
      const { type, bucket, region, endpoint, cname, encryption, proxy, credentials } = entry;
      return { type, bucket, region, endpoint, cname, encryption, proxy, credentials: revealingOss(credentials) };
    }
    const { type, bucket, region, endpoint, pathStyle, encryption, proxy, credentials } = entry;
    const keys =
      credentials && revealingKeys(credentials.accessKeyId, credentials.secretAccessKey, credentials.sessionToken);
    return { type, bucket, region, endpoint, pathStyle, encryption, proxy, credentials: keys };
  }

  webhook(name: string): Webhook {
    const { url, signingKey } = named(this.connections.webhooks, 'webhook', name);
    return { name, url, signingKey: () => signingKey.reveal() };
  }

  fingerprint(kind: 'cluster' | 'store' | 'webhook', name: string): string {
    const facts = this.factsOf(kind, name);
    return createHash('sha256').update(JSON.stringify(facts)).digest('hex');
  }

  private factsOf(kind: 'cluster' | 'store' | 'webhook', name: string): readonly (string | undefined)[] {
    switch (kind) {
      case 'cluster':
        return [withoutSlash(named(this.connections.clusters, kind, name).url)];
      case 'store':
        return placeOf(named(this.connections.stores, kind, name));
      case 'webhook':
        return [named(this.connections.webhooks, kind, name).url];
    }
  }

  repositoryDefinition(store: string, cluster: string, basePath: string): RepositoryDefinition {
    const { repository } = named(this.connections.stores, 'store', store);
    const entry = repository === undefined || isDefinition(repository) ? repository : repository[cluster];
    if (entry === undefined) {
      throw new ConfigurationError(
        `The connections file does not say how cluster '${cluster}' registers store '${store}': ` +
          `give stores.${store} a repository`,
        { subject: { store, cluster } },
      );
    }
    const secrets: string[] = [];
    const reveal = (secret: Secret) => {
      secrets.push(secret.reveal());
      return secret.reveal();
    };
    const settings = Object.fromEntries(
      Object.entries(entry.settings).map(([key, value]) => [key, value instanceof Secret ? reveal(value) : value]),
    );
    const definition = { type: entry.type, settings: { ...settings, ...folderOf(entry, basePath) } };
    return secrets.length === 0 ? definition : { ...definition, secrets };
  }
}

function named<T>(entries: Readonly<Record<string, T>>, kind: string, name: string): T {
  const entry = Object.hasOwn(entries, name) ? entries[name] : undefined;
  if (entry !== undefined) return entry;
  const known = Object.keys(entries).sort();
  const hint = known.length === 0 ? `it names no ${kind} at all` : `it knows ${known.join(', ')}`;
  throw new ConfigurationError(`The connections file has no ${kind} '${name}': ${hint}`);
}

function withoutSlash(url: string): string {
  return url.replace(/\/+$/, '');
}

function revealing(auth: ClusterEntry['auth']): ClusterConnection['auth'] {
  if (auth.type === 'basic') return { ...auth, password: () => auth.password.reveal() };
  if (auth.type === 'apiKey') return { ...auth, key: () => auth.key.reveal() };
  if (auth.type === 'none') return auth;
  const { credentials, ...rest } = auth;
  if (credentials === undefined) return rest;
  return {
    ...rest,
    keys: revealingKeys(credentials.accessKeyId, credentials.secretAccessKey, credentials.sessionToken),
  };
}

type OssSecrets = Extract<StoreEntry, { type: 'oss' }>['credentials'];

function revealingOss({ accessKeyId, accessKeySecret, securityToken }: OssSecrets) {
  return () => ({
    accessKeyId: accessKeyId.reveal(),
    accessKeySecret: accessKeySecret.reveal(),
    ...(securityToken === undefined ? {} : { securityToken: securityToken.reveal() }),
  });
}

function revealingKeys(accessKeyId: Secret, secretAccessKey: Secret, sessionToken: Secret | undefined) {
  return () => ({
    accessKeyId: accessKeyId.reveal(),
    secretAccessKey: secretAccessKey.reveal(),
    ...(sessionToken === undefined ? {} : { sessionToken: sessionToken.reveal() }),
  });
}

function placeOf(store: StoreEntry): readonly (string | undefined)[] {
  if (store.type === 'directory') return [store.type, path.resolve(store.path)];
  return [store.type, store.bucket, store.region, store.endpoint && withoutSlash(store.endpoint)];
}

/** Where the folder of a plan goes: an `fs` repository has a location, every other type a `base_path`. */
function folderOf(entry: DefinitionEntry, basePath: string): Record<string, string> {
  if (basePath === '') return {};
  if (entry.type !== 'fs') return { base_path: basePath };
  return { location: `${withoutSlash(String(entry.settings['location']))}/${basePath}` };
}
