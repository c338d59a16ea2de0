import type { Definition } from '../../../src/domain/definitions';
import { parsePlan } from '../../../src/domain/plan';
import { inspect } from '../../../src/steps/inspection';
import { aContext, aPlan, World } from './world';

async function found(world: World) {
  const { findings, lacks = [] } = await inspect(
    ...([world.deps, parsePlan(aPlan()), { migration: 'm', firstRunId: 'r' }, aContext()] as const),
  );
  const warnings = findings.all.filter(({ verdict, check }) => verdict === 'warning' && check === 'target');
  return { warnings, lacks: lacks.map(({ definition, state }) => [definition.name, state]) };
}

const define = (kind: Definition['kind'], name: string, body: object = {}): Definition => ({
  kind,
  name,
  path: '',
  body,
});
const warning = (subject: string, seen: string) =>
  expect.objectContaining({ verdict: 'warning', subject, seen: expect.stringContaining(seen) });

test('templates for such indices do not come along: one that is missing, or another, is a warning', async () => {
  const world = World.with('logs-1');
  const logs = { index_patterns: ['logs-*'], order: 1 };
  world.source.defined.push(define('template', 'missing', logs), define('index-template', 'other', logs));
  world.source.defined.push(
    define('template', 'there', logs),
    define('template', 'films', { index_patterns: ['films-*'] }),
  );
  world.target.defined.push(
    define('template', 'there', logs),
    define('index-template', 'other', { ...logs, order: 2 }),
  );
  expect(await found(world)).toEqual({
    warnings: [
      warning('missing', "is for indices like 'logs-1', and the target has none of that name"),
      warning('other', "is for indices like 'logs-1', and the target has another of that name"),
    ],
    lacks: [
      ['missing', 'missing'],
      ['other', 'different'],
    ],
  });
});

test('a policy is dropped on restore, so it is a warning wherever it is defined', async () => {
  const world = World.with('logs-1', 'logs-2');
  for (const name of ['logs-1', 'logs-2']) world.source.settingsOf[name] = { 'index.lifecycle.name': 'hot' };
  const policy = define('ilm-policy', 'hot', { policy: { phases: {} } });
  world.source.defined.push(policy);
  world.target.defined.push(policy);
  const nothing = warning('hot', "manages index 'logs-1' and 1 more on the source; on the target nothing will");
  expect(await found(world)).toEqual({ warnings: [nothing], lacks: [] });
  world.target.defined[0] = { ...policy, body: { policy: { phases: { hot: {} } } } };
  expect(await found(world)).toEqual({
    warnings: [warning('hot', 'nothing will, where another has its name')],
    lacks: [['hot', 'different']],
  });
});

test('pipelines that no cluster knows to be used are one line, however many they are', async () => {
  const world = World.with('logs-1');
  for (let at = 0; at < 7; at += 1) world.source.defined.push(define('pipeline', `p${at}`));
  world.target.defined.push(define('pipeline', 'p6', { processors: [] }));
  expect((await found(world)).warnings).toEqual([
    warning('ali', '6 pipelines of the source are missing on the target: p0, p1, p2, p3, p4 and 1 more'),
    warning('ali', '1 pipelines of the source differ from those of the target: p6'),
  ]);
});

describe('stored scripts', () => {
  const script = (name: string, source: string) => define('script', name, { script: { lang: 'painless', source } });
  const given = () => {
    const world = World.with('logs-1');
    world.source.defined.push(script('present', '1'), script('different', '1'), script('missing', '1'));
    world.target.defined.push(script('present', '1'), script('different', '2'));
    return world;
  };

  test('that are missing or different are a warning, present ones are none', async () => {
    expect((await found(given())).warnings).toEqual([
      warning('ali', '1 stored scripts of the source are missing on the target: missing'),
      warning('ali', '1 stored scripts of the source differ from those of the target: different'),
    ]);
  });

  test.each(['source', 'target'] as const)('that the %s does not show are not known', async (side) => {
    const world = given();
    world[side].showsScripts = false;
    if (side === 'source') world.source.defined.length = 0;
    expect(await found(world)).toEqual({
      warnings: [warning(world[side].name, 'what the target lacks of them is not known')],
      lacks: side === 'source' ? [] : ['present', 'different', 'missing'].map((name) => [name, 'not known']),
    });
  });
});
