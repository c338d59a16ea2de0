import type { Ledger } from '../../src/domain/ledger';
import type { Status } from '../../src/domain/story';
import { Ferry } from '../support/ferry';
import { testServers } from '../support/temporal';
import { http } from '../support/writers';

const { elasticsearch } = testServers();
const source = elasticsearch['5.5.2'] as string;
const target = elasticsearch['5.6.16'] as string;

/** One index per kind of difference, so that whatever else is named is a false alarm. */
const INDICES = ['changed', 'missing', 'extra', 'mapping', 'alias', 'setting', 'routing', 'equal'].map(
  (kind) => `planted-${kind}`,
);

let ferry: Ferry;
afterEach(() => ferry.close());

const document = (url: string, index: string, id: string, parameters = '') => `${url}/${index}/doc/${id}?${parameters}`;

async function fill(): Promise<void> {
  for (const index of INDICES) {
    await http(`${source}/${index}`, 'PUT', {
      settings: { number_of_shards: 2, number_of_replicas: 0 },
      mappings: { doc: { properties: { n: { type: 'long' } } } },
      aliases: { [`${index}-live`]: {} },
    });
    for (let n = 0; n < 10; n += 1) await http(document(source, index, `d${n}`, 'routing=r1'), 'PUT', { n });
  }
}

/** On the target, behind the back of the migration. */
async function plant(): Promise<void> {
  const sameVersion = 'version=1&version_type=external_gte&routing=r1';
  await http(`${target}/planted-*/_settings`, 'PUT', { 'index.blocks.write': null });
  await http(document(target, 'planted-changed', 'd3', sameVersion), 'PUT', { n: 33 });
  await http(document(target, 'planted-missing', 'd4', 'routing=r1'), 'DELETE');
  await http(document(target, 'planted-extra', 'stranger', 'routing=r1'), 'PUT', { n: 5 });
  await http(`${target}/planted-mapping/_mapping/doc`, 'PUT', { properties: { added: { type: 'keyword' } } });
  await http(`${target}/planted-setting/_settings`, 'PUT', { 'index.refresh_interval': '7s' });
  await http(document(target, 'planted-routing', 'd6', 'routing=r1'), 'DELETE');
  await http(document(target, 'planted-routing', 'd6', 'routing=r2'), 'PUT', { n: 6 });
  await http(`${target}/planted-*/_settings`, 'PUT', { 'index.blocks.write': true });
}

/** As `ferry.until`, for a migration that is parked before and after. */
async function verified(enough: (done: NonNullable<Status['verification']>) => boolean) {
  for (;;) {
    const { verification, phase, notes } = await ferry.status();
    if (phase === 'parked' && verification !== undefined && enough(verification)) return verification;
    if (phase === 'between rounds') throw new Error(notes.join('\n'));
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

test.each(['counts+sample', 'full'])(
  'at level %s one planted difference of each kind is named, and nothing else',
  async (level) => {
    await fill();
    const query = { name: 'sum', indices: ['planted-equal'], body: { size: 5, sort: ['n'], query: { match_all: {} } } };
    ferry = await Ferry.create({
      source,
      target,
      indices: ['planted-*'],
      plan: { cutover: { approval: false, verify: { level, queries: [query] } } },
    });
    await ferry.startWorker();
    await ferry.start();
    await ferry.rounds(1);
    // The planted alias: a stranger takes the name on the target once preflight has found it free, which parks the cutover
    // before the others are planted.
    await http(`${target}/stranger`, 'PUT', { aliases: { 'planted-alias-live': {} } });
    await ferry.signal('freeze-writes');
    const parked = await ferry.until(({ phase }) => phase === 'parked');
    expect(parked.verification?.failures).toHaveLength(1);
    await plant();
    await ferry.signal('retry');
    const found = (await verified(({ failed }) => failed > 1)).failures;
    const named = (row: string, word = '') => expect.stringMatching(`^${row}: .*${word}`) as string;
    expect(found.map((text) => text.slice(0, text.indexOf(':'))).sort()).toEqual([
      'planted-alias/aliases',
      'planted-changed/changed documents',
      'planted-extra/documents',
      'planted-extra/extra documents',
      'planted-mapping/mapping',
      'planted-missing/documents',
      'planted-missing/missing documents',
      'planted-routing/routing',
      'planted-setting/settings',
    ]);
    expect(found).toEqual(
      expect.arrayContaining([
        named('planted-alias/aliases', 'stranger'),
        named('planted-changed/changed documents', 'd3'),
        named('planted-extra/extra documents', 'stranger'),
        named('planted-mapping/mapping', 'added'),
        named('planted-missing/missing documents', 'd4'),
        named('planted-routing/routing', 'd6'),
        named('planted-setting/settings', 'refresh_interval'),
      ]),
    );
    await http(`${target}/stranger`, 'DELETE');
    const waived = { who: 'the test', why: 'planted' };
    await ferry.update('waive', {
      rows: ['planted-*/*documents', 'planted-*/routing', 'planted-*/mapping'],
      ...waived,
    });
    await verified(({ failed }) => failed === 2);
    await ferry.signal('retry');
    await verified(({ failed }) => failed === 1);
    if (level === 'full') {
      await ferry.update('exclude', { index: 'planted-setting', ...waived });
      // Open on the source while the freeze goes on, and nowhere else.
      await http(document(source, 'planted-setting', 'during'), 'PUT', { n: 0 });
      await expect(http(document(source, 'planted-equal', 'during'), 'PUT', { n: 0 })).rejects.toThrow();
      await ferry.signal('retry');
    } else {
      await ferry.update('waive', { rows: ['planted-setting/settings'], ...waived });
    }
    const report = await ferry.result();
    expect(report.verification).toMatchObject({ failed: 0, waived: level === 'full' ? 7 : 8 });
    if (level === 'full') {
      await http(document(source, 'planted-setting', 'after'), 'PUT', { n: 0 });
      await http(document(target, 'planted-equal', 'after'), 'PUT', { n: 0 });
      await expect(http(document(target, 'planted-setting', 'after'), 'PUT', { n: 0 })).rejects.toThrow();
      expect(report.remains.join()).toContain('planted-setting');
    }
    const ledger = ferry.evidence<Ledger>('ledger.json');
    expect(ledger.rows.find(({ id }) => id === 'query/sum')?.verdict).toBe('pass');
    expect(ledger.rows.find(({ id }) => id === 'planted-equal/contents')).toMatchObject({
      verdict: 'pass',
      source: 10,
    });
    expect(JSON.stringify(ledger)).not.toContain('"n":');
    for (const index of [...INDICES, 'planted-*']) await http(`${source}/${index}`, 'DELETE');
    for (const index of INDICES) await http(`${target}/${index}`, 'DELETE');
  },
);
