import { concerning, lacking } from '../../../src/domain/definitions';
import type { Definition, Definitions } from '../../../src/domain/definitions';

const one = (kind: Definition['kind'], name: string, body: object = {}): Definition => ({
  ...{ kind, name, body },
  path: `/${kind}/${name}`,
});
const known = (all: readonly Definition[]): Definitions => ({ all, scriptsKnown: true });
const namesOf = (definitions: readonly Definition[]) => definitions.map(({ name }) => name);

describe('what concerns the indices of a plan', () => {
  const indices = { 'logs-1': { 'index.lifecycle.name': 'hot' } };
  const composed = {
    index_patterns: ['logs-*'],
    composed_of: ['used'],
    template: { settings: { policy: 'by-template' } },
  };

  test.each<[string, Definition[], string[]]>([
    [
      'templates by their patterns',
      [one('template', 'a', { index_patterns: ['b-*', 'l*'] }), one('template', 'b')],
      ['a'],
    ],
    [
      'the one pattern of 5.x',
      [one('template', 'a', { template: '*-1' }), one('template', 'b', { template: 'x' })],
      ['a'],
    ],
    [
      'component templates of which they are composed',
      [one('index-template', 'a', composed), one('component-template', 'used'), one('component-template', 'b')],
      ['a', 'used'],
    ],
    ['policies that an index names', [one('ilm-policy', 'hot'), one('ilm-policy', 'cold')], ['hot']],
    [
      'or such a template',
      [one('index-template', 'a', composed), one('ilm-policy', 'by-template')],
      ['a', 'by-template'],
    ],
    [
      'or that name its pattern',
      [one('ism-policy', 'a', { policy: { ism_template: [{ index_patterns: ['logs-*'] }] } }), one('ism-policy', 'b')],
      ['a'],
    ],
    ['every pipeline and script', [one('pipeline', 'a'), one('script', 'b')], ['a', 'b']],
  ])('%s', (_, all, names) => {
    expect(namesOf(concerning(all, indices))).toEqual(names);
  });
});

describe('what the target lacks', () => {
  test('is missing or different, whatever the order of keys; what only the target has is none', () => {
    const source = [
      one('pipeline', 'a', { x: 1, y: [{ p: 1, q: 2 }] }),
      one('pipeline', 'b', { x: 1 }),
      one('script', 'c'),
    ];
    const target = [
      one('pipeline', 'a', { y: [{ q: 2, p: 1 }], x: 1 }),
      one('pipeline', 'b', { x: 2 }),
      one('template', 'c'),
    ];
    expect(lacking(source, known(target)).map(({ definition: { name }, state }) => [name, state])).toEqual([
      ['b', 'different'],
      ['c', 'missing'],
    ]);
  });

  test('is nothing where only the words of 5.x differ', () => {
    const source = [
      one('template', 'a', { template: 'logs-*', order: 0 }),
      one('script', 'b', { script: { lang: 'painless', code: '1' } }),
    ];
    const target = [
      one('template', 'a', { order: 0, index_patterns: ['logs-*'] }),
      one('script', 'b', { script: { lang: 'painless', source: '1', options: {} } }),
    ];
    expect(lacking(source, known(target))).toEqual([]);
    const other = one('script', 'b', { script: { lang: 'painless', source: '2' } });
    expect(lacking(source, known([target[0]!, other]))).toHaveLength(1);
  });
});
