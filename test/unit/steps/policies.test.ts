import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { policies } from '../../../src/cli/policies';
import { loadConfig } from '../../../src/config';
import type { Config } from '../../../src/config';
import { parsePlan } from '../../../src/domain/plan';
import { documentOf } from '../../../src/domain/policies';
import type { Policy } from '../../../src/domain/policies';
import { policiesFor } from '../../../src/steps/policies';

const EXAMPLES = path.join(__dirname, '../../../examples');
/** Every variable that the example names, with a secret that must be printed nowhere. */
const ENV = Object.fromEntries(
  [...readFileSync(path.join(EXAMPLES, 'connections.yaml'), 'utf8').matchAll(/env: (\w+)/g)].map(([, name = '']) => [
    name,
    `planted-${name.toLowerCase()}`,
  ]),
);
const example = (name: string) => path.join(EXAMPLES, `${name}.json`);
const planOf = (name: string) => parsePlan(JSON.parse(readFileSync(example(name), 'utf8')));

let folder: string;
let config: Config;
beforeAll(async () => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'policies-'));
  config = await loadConfig({ ...ENV, SNAPFERRY_CONFIG: path.join(EXAMPLES, 'connections.yaml') });
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Of a connections file in JSON, which is YAML. */
async function configOf(connections: object): Promise<Config> {
  const file = path.join(folder, 'connections.yaml');
  writeFileSync(file, JSON.stringify(connections));
  return loadConfig({ ...ENV, SNAPFERRY_CONFIG: file });
}

const named = (all: readonly Policy[], name: string) => all.find((one) => one.name === name);
const statement = (all: readonly Policy[], name: string, sid: string) =>
  named(all, name)?.statements.find((one) => one.sid === sid);

test('Amazon to Alibaba: everybody has a policy, each statement a name and the calls that need it', () => {
  const all = policiesFor(planOf('amazon-to-alibaba'), config);
  expect(all.map(({ name, kind }) => [name, kind])).toEqual([
    ['source caller', 'IAM policy'],
    ['source trust', 'IAM trust policy'],
    ['source cluster on s3-singapore', 'IAM policy'],
    ['target cluster on oss-hangzhou', 'RAM policy'],
    ['worker on s3-singapore', 'IAM policy'],
    ['worker on oss-hangzhou', 'RAM policy'],
  ]);
  for (const policy of all) {
    const sids = policy.statements.map(({ sid }) => sid);
    expect(new Set(sids).size).toBe(sids.length);
    for (const { sid, neededFor } of policy.statements) {
      expect(sid).toMatch(/^[A-Za-z0-9]+$/);
      expect(neededFor.length).toBeGreaterThan(0);
    }
    // The size that IAM allows a managed policy, white space aside: reference_iam-quotas.html.
    expect(JSON.stringify(documentOf(policy)).length).toBeLessThan(6_144);
  }
});

test('who calls a domain may do each call of the plan on this domain alone, and pass this role alone', () => {
  const all = policiesFor(planOf('amazon-to-alibaba'), config);
  const domain = 'arn:aws:es:ap-southeast-1:123456789012:domain/movies';
  const allowed = named(all, 'source caller')?.statements.map(({ Action, Resource }) => [Action, Resource]) ?? [];
  for (const [actions, resources] of allowed) {
    if (actions?.[0] === 'iam:PassRole') continue;
    for (const one of actions ?? []) expect(one).toMatch(/^es:ESHttp(Get|Put|Post|Delete)$/);
    for (const one of resources ?? []) expect(one).toMatch(/^arn:aws:es:ap-southeast-1:123456789012:domain\/movies\//);
  }
  expect(statement(all, 'source caller', 'WriteSnapshots')).toMatchObject({
    Action: ['es:ESHttpPut'],
    Resource: [`${domain}/_snapshot/*`],
  });
  expect(statement(all, 'source caller', 'PassRole')).toMatchObject({
    Action: ['iam:PassRole'],
    Resource: ['arn:aws:iam::123456789012:role/es-snapshots'],
  });
  // What only a target needs.
  for (const sid of ['Restore', 'CloseIndices', 'SwitchAliases']) {
    expect(statement(all, 'source caller', sid)).toBeUndefined();
  }
});

test('what a plan does not do is not permitted', () => {
  const plan = JSON.parse(readFileSync(example('amazon-to-alibaba'), 'utf8')) as { repository: { source: object } };
  const sids = (changes: object) =>
    named(policiesFor(parsePlan({ ...plan, ...changes }), config), 'source caller')?.statements.map(({ sid }) => sid);
  expect(sids({ cutover: { verify: 'counts' } })).not.toContain('SearchIndices');
  expect(sids({ cutover: { verify: 'full' } })).toContain('SearchIndices');
  const source = { ...plan.repository.source, name: 'theirs' };
  const registered = sids({ repository: { ...plan.repository, source } });
  expect(registered).toContain('WriteSnapshots');
  expect(registered).not.toContain('Unregister');
  expect(registered).not.toContain('PassRole');
});

test('the role is trusted for this domain of this account alone, and reaches this folder alone', () => {
  const all = policiesFor(planOf('amazon-to-alibaba'), config);
  expect(documentOf(named(all, 'source trust') as Policy)).toEqual({
    Version: '2012-10-17',
    Statement: [
      {
        Sid: 'TrustTheDomain',
        Effect: 'Allow',
        Principal: { Service: 'es.amazonaws.com' },
        Action: ['sts:AssumeRole'],
        Condition: {
          StringEquals: { 'aws:SourceAccount': ['123456789012'] },
          ArnLike: { 'aws:SourceArn': ['arn:aws:es:ap-southeast-1:123456789012:domain/movies'] },
        },
      },
    ],
  });
  const role = named(all, 'source cluster on s3-singapore')?.statements ?? [];
  expect(role.map(({ Action, Resource }) => [Action, Resource])).toEqual([
    [['s3:ListBucket'], ['arn:aws:s3:::es-migration-source']],
    [['s3:GetObject'], ['arn:aws:s3:::es-migration-source/snapferry/movies/*']],
    [['s3:PutObject'], ['arn:aws:s3:::es-migration-source/snapferry/movies/*']],
    [['s3:DeleteObject'], ['arn:aws:s3:::es-migration-source/snapferry/movies/*']],
  ]);
});

test('the worker reads the source, writes the target, and deletes its own files alone', () => {
  const all = policiesFor(planOf('amazon-to-alibaba'), config);
  const actions = (name: string) => named(all, name)?.statements.flatMap(({ Action }) => Action);
  const asked = ['s3:GetBucketVersioning', 's3:GetLifecycleConfiguration', 's3:GetEncryptionConfiguration'];
  expect(actions('worker on s3-singapore')).toEqual(['s3:ListBucket', 's3:GetObject', ...asked]);
  expect(statement(all, 'worker on oss-hangzhou', 'ReadBucketProperties')).toMatchObject({
    Action: ['oss:GetBucketInfo', 'oss:GetBucketLifecycle'],
    Resource: ['acs:oss:*:*:es-migration-target'],
  });
  expect(actions('target cluster on oss-hangzhou')).toEqual(['oss:ListObjects', 'oss:GetObject']);
  expect(statement(all, 'worker on oss-hangzhou', 'RemoveWorkFiles')).toMatchObject({
    Action: ['oss:DeleteObject'],
    Resource: ['acs:oss:*:*:es-migration-target/snapferry-work/*'],
  });
  expect(documentOf(named(all, 'worker on oss-hangzhou') as Policy)).toMatchObject({
    Version: '1',
    Statement: expect.arrayContaining([
      {
        Effect: 'Allow',
        Action: ['oss:PutObject'],
        Resource: ['acs:oss:*:*:es-migration-target/snapferry/movies/*'],
      },
    ]) as unknown,
  });
});

test('one repository for both clusters: only the source writes it, the worker keeps to its own files', () => {
  const all = policiesFor(planOf('shared-repository'), config);
  expect(all.map(({ name }) => name)).toEqual([
    'source caller',
    'target caller',
    'source trust',
    'source cluster on s3-shared',
    'target trust',
    'target cluster on s3-shared',
    'worker on s3-shared',
  ]);
  const actions = (name: string) => named(all, name)?.statements.flatMap(({ Action }) => Action);
  expect(actions('target cluster on s3-shared')).toEqual(['s3:ListBucket', 's3:GetObject']);
  expect(statement(all, 'worker on s3-shared', 'WriteWorkFiles')?.Resource).toEqual([
    'arn:aws:s3:::es-snapshots/snapferry-work/*',
  ]);
  expect(actions('worker on s3-shared')?.filter((action) => action === 's3:PutObject')).toHaveLength(1);
  expect(statement(all, 'target caller', 'PassRole')?.Resource).toEqual([
    'arn:aws:iam::123456789012:role/new-snapshots',
  ]);
});

describe('stores that encrypt by a key of their own', () => {
  const ROLE = 'arn:aws:iam::210987654321:role/r';
  const withKey = (keyId: string | undefined) =>
    configOf({
      clusters: {
        'aws-singapore': {
          url: 'https://search-a-b.eu-west-1.es.amazonaws.com',
          auth: { type: 'sigv4', region: 'eu-west-1' },
        },
        'alibaba-hangzhou': { url: 'https://ali.example' },
      },
      stores: {
        's3-singapore': {
          ...{ type: 's3', bucket: 'b', region: 'eu-west-1', encryption: { type: 'aws:kms', keyId } },
          repository: { type: 's3', settings: { bucket: 'b', role_arn: ROLE } },
        },
        'oss-hangzhou': {
          ...{ type: 'oss', bucket: 'o', region: 'cn-hangzhou', encryption: { type: 'KMS', keyId } },
          credentials: { accessKeyId: { env: 'OSS_KEY' }, accessKeySecret: { env: 'OSS_SECRET' } },
          repository: { type: 'oss', settings: { bucket: 'o', ecs_ram_role: 'nodes' } },
        },
      },
    });
  const keysOf = async (keyId: string | undefined) =>
    policiesFor(planOf('amazon-to-alibaba'), await withKey(keyId)).flatMap(({ name, statements }) =>
      statements
        .filter(({ sid }) => sid === 'UseKey')
        .map(({ Action, Resource, Condition }) => [name, Action, Resource?.[0], Condition]),
    );

  test('by its id: the cluster that writes may encrypt, whoever reads may decrypt', async () => {
    const both = ['kms:GenerateDataKey', 'kms:Decrypt'];
    expect(await keysOf('1234')).toEqual([
      ['source cluster on s3-singapore', both, 'arn:aws:kms:eu-west-1:210987654321:key/1234', undefined],
      ['target cluster on oss-hangzhou', ['kms:Decrypt'], 'acs:kms:cn-hangzhou:*:key/1234', undefined],
      ['worker on s3-singapore', ['kms:Decrypt'], 'arn:aws:kms:eu-west-1:*:key/1234', undefined],
      ['worker on oss-hangzhou', both, 'acs:kms:cn-hangzhou:*:key/1234', undefined],
    ]);
  });

  test('by its ARN it is that key; an alias stands in a condition; the key of the provider needs nothing', async () => {
    const arn = 'arn:aws:kms:eu-west-1:1:key/x';
    expect((await keysOf(arn))[0]?.[2]).toBe(arn);
    const [, , resource, condition] = (await keysOf('alias/films'))[0] ?? [];
    expect(resource).toBe('arn:aws:kms:eu-west-1:210987654321:key/*');
    expect(condition).toEqual({ 'ForAnyValue:StringEquals': { 'kms:ResourceAliases': ['alias/films'] } });
    expect(await keysOf(undefined)).toEqual([]);
  });
});

test('a domain behind a name of its own must be told', async () => {
  const own = await configOf({
    clusters: { 'aws-singapore': { url: 'https://films.example', auth: { type: 'sigv4', region: 'eu-west-1' } } },
    stores: {
      's3-singapore': {
        ...{ type: 's3', bucket: 'b', region: 'eu-west-1' },
        repository: { type: 's3', settings: { bucket: 'b' } },
      },
    },
  });
  const plan = planOf('amazon-to-alibaba');
  expect(() => policiesFor(plan, own)).toThrow('add --domain aws-singapore=arn:aws:es:eu-west-1:ACCOUNT:domain/NAME');
});

test('they are printed to be read, and as JSON; no secret is in either', async () => {
  const printed = async (json: boolean) => {
    const lines: string[] = [];
    await policies(example('amazon-to-alibaba'), config, { json, domains: {} }, (line) => lines.push(line));
    return lines.join('\n');
  };
  const text = await printed(false);
  expect(text).toContain("# source caller: IAM policy for who signs the requests to cluster 'aws-singapore'");
  expect(text).toContain('#   Unregister\n#     DELETE /_snapshot/*: removes our registrations');
  const { policies: all } = JSON.parse(await printed(true)) as {
    policies: { name: string; document: { Statement: { Sid: string }[] }; neededFor: Record<string, string[]> }[];
  };
  for (const { document, neededFor } of all.filter(({ name }) => name.includes('caller'))) {
    expect(Object.keys(neededFor)).toEqual(document.Statement.map(({ Sid }) => Sid));
  }
  for (const secret of Object.values(ENV)) expect(text + (await printed(true))).not.toContain(secret);
});
