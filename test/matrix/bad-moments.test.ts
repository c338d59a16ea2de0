import type { ChildProcess } from 'node:child_process';
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { shareDirectory, startElasticsearch, startTemporal, startVersitygw, stopAll } from '../../stack';
import type { ElasticsearchServer } from '../../stack';
import { eventually } from '../support/fault-poll';
import { Ferry } from '../support/ferry';
import type { FerryOptions } from '../support/ferry';
import { SlowProxy } from '../support/slow-proxy';
import type { Hold, SeenRequest } from '../support/slow-proxy';
import { http, Writers } from '../support/writers';

/** Every bad moment of a cutover on real nodes; docs/bad-moments.md is its table. */

jest.setTimeout(900_000);

const S3 = { accessKeyId: 'matrix-access', secretAccessKey: 'matrix-secret-matrix-secret' };
/** Nodes that can be stopped and started again: same data, same port. */
class Node {
  private constructor(
    private readonly options: Parameters<typeof startElasticsearch>[0],
    private server: ElasticsearchServer,
  ) {}

  static async start(version: string, buckets: string): Promise<Node> {
    const dataDir = mkdtempSync(path.join(os.tmpdir(), 'snapferry-node-'));
    const server = await startElasticsearch({ version, pathRepo: [buckets], dataDir });
    return new Node({ version, pathRepo: [buckets], dataDir, port: Number(new URL(server.url).port) }, server);
  }

  get url(): string {
    return this.server.url;
  }

  async restart(): Promise<void> {
    await this.server.stop();
    this.server = await startElasticsearch(this.options);
  }
}

let servers: NonNullable<FerryOptions['servers']>;
let s3Endpoint: string;
let source: Node;
let target: Node;
let proxies: Record<'source' | 'target' | 's3', SlowProxy>;
let ferry: Ferry | undefined;
let client: Client | undefined;
beforeAll(async () => {
  const buckets = path.join(mkdtempSync(path.join(os.tmpdir(), 'snapferry-moments-')), 'buckets');
  mkdirSync(buckets);
  await shareDirectory(buckets);
  const [temporal, s3] = await Promise.all([startTemporal({ ui: false }), startVersitygw({ root: buckets, ...S3 })]);
  [source, target] = await Promise.all([Node.start('5.5.2', buckets), Node.start('5.6.16', buckets)]);
  s3Endpoint = s3.endpoint;
  servers = { temporal: temporal.address, s3: { endpoint: s3.endpoint, ...S3 }, buckets };
});
afterAll(() => stopAll());
beforeEach(async () => {
  const [a, b, c] = await Promise.all([source.url, target.url, s3Endpoint].map((url) => SlowProxy.before(url)));
  proxies = { source: a as SlowProxy, target: b as SlowProxy, s3: c as SlowProxy };
});
afterEach(async () => {
  await client?.stop();
  await ferry?.close();
  for (const proxy of Object.values(proxies)) await proxy.close();
});

/** A client that writes one document after the other as long as it lives: to the source, then to whoever takes it. */
class Client {
  readonly acknowledged = { source: 0, target: 0 };
  private stopped = false;
  private running: Promise<void> = Promise.resolve();
  private next = 0;

  constructor(private readonly index: string) {}

  start(): void {
    this.running = this.write();
  }

  private async write(): Promise<void> {
    while (!this.stopped) {
      const id = `c${(this.next += 1)}`;
      if (await taken(source.url, this.index, id)) this.acknowledged.source += 1;
      else if (await taken(target.url, this.index, id)) this.acknowledged.target += 1;
      else await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  stop(): Promise<void> {
    this.stopped = true;
    return this.running;
  }

  /** Waits until the target took a write, and says how many acknowledged ones it does not hold. */
  async missing(): Promise<number> {
    await eventually('a write that the target takes', () => this.acknowledged.target > 0 || undefined);
    await this.stop();
    const query = { query: { prefix: { client: 'c' } } };
    await http(`${target.url}/${this.index}/_refresh`, 'POST');
    const { count } = (await http(`${target.url}/${this.index}/_count`, 'POST', query)) as { count: number };
    return this.acknowledged.source + this.acknowledged.target - count;
  }
}

async function taken(url: string, index: string, id = 'probe'): Promise<boolean> {
  return http(`${url}/${index}/doc/${id}`, 'PUT', { client: id }).then(
    () => true,
    () => false,
  );
}
const opens = (url: string, index: string) =>
  eventually('a write that is taken', async () => (await taken(url, index)) || undefined, 180_000);

interface Begun {
  readonly one: Ferry;
  readonly writers: Writers;
  readonly client: Client;
  readonly worker: ChildProcess;
}

/** A migration of one index whose baseline is done, with somebody who writes the whole time. */
async function begun(index: string, cutover: object = {}, environment = {}): Promise<Begun> {
  const writers = new Writers(source.url, 5);
  await writers.createIndex(index, SETTINGS, { mappings: { doc: { properties: KEYWORD } } });
  await writers.bulk(index, 200);
  ferry = await Ferry.create({
    ...{ source: proxies.source.url, target: proxies.target.url, s3Endpoint: proxies.s3.url },
    ...{ indices: [index], servers, environment },
    plan: { rounds: { every: '1h' }, cutover: { approval: false, ...cutover } },
  });
  const worker = await ferry.startWorker();
  await ferry.start();
  await ferry.rounds(1);
  client = new Client(index);
  client.start();
  await writers.bulk(index, 50);
  return { one: ferry, writers, client, worker };
}
const KEYWORD = { client: { type: 'keyword' } };
/** One node has room for them as they are wanted, and yet they must be set after each restore. */
const SETTINGS = { number_of_shards: 2, auto_expand_replicas: '0-1' };

/** Nothing is lost, only the target takes writes, and the client has gone on there. */
async function cutsOver({ one, writers, client }: Begun, index: string): Promise<void> {
  expect((await one.result()).verification.failed).toBe(0);
  expect(await client.missing()).toBe(0);
  expect(await writers.differences(target.url)).toEqual([]);
  expect(await taken(source.url, index)).toBe(false);
}

type Side = keyof typeof proxies;
type Step = readonly [name: string, side: Side, match: (request: SeenRequest) => boolean];
const is = (method: string, pattern: RegExp) => (request: SeenRequest) =>
  request.method === method && pattern.test(request.path);
/** What a settings call changes is not in its path: of a cutover the first is replicas, the first after its commit the block. */
const committed = () => proxies.s3.requests.some(is('PUT', /\/outcome\.json/));

/** Of a last round and what follows, the request with which each step changes something. */
const BEFORE_COMMIT: readonly Step[] = [
  ['the freeze record', 's3', is('PUT', /\/freeze-\d+\/record\.json/)],
  ['the block', 'source', is('PUT', /\/_settings/)],
  ['the proof of quiescence', 's3', is('PUT', /\/quiescence\.json/)],
  ['the snapshot', 'source', is('PUT', /\/_snapshot\/[^/]+\/snapferry-/)],
  ['the manifest', 's3', is('PUT', /\/manifest\.json/)],
  ['the transfer', 's3', is('PUT', /\/to\/indices\//)],
  ['publishing', 's3', is('PUT', /\/to\/index-\d/)],
  ['the restore', 'target', is('POST', /\/_restore/)],
  ['the fingerprints', 's3', is('PUT', /\/fingerprints\.json/)],
  ['the replicas', 'target', is('PUT', /\/_settings/)],
  ['the ledger', 's3', is('PUT', /\/ledger\.json/)],
];
const FROM_COMMIT: readonly Step[] = [
  ['the outcome', 's3', is('PUT', /\/outcome\.json/)],
  ['opening the target', 'target', (request) => is('PUT', /\/_settings/)(request) && committed()],
  ['the aliases', 'target', is('POST', /\/_aliases/)],
  ['the report', 's3', is('PUT', /\/report\.json/)],
];
const slug = (name: string) => name.replace(/\W/g, '-');

test.each([...BEFORE_COMMIT, ...FROM_COMMIT])(
  'kill -9 after %s and before anybody knows: a new worker finishes, and nothing is lost',
  async (name, side, match) => {
    const index = `killed-${slug(name)}`;
    const all = await begun(index, { switchover: { aliases: { [`${index}-alias`]: index } } });
    const answer = proxies[side].holdAnswers(match);
    await all.one.signal('freeze-writes');
    await answer.met;
    await all.one.signalWorker(all.worker, 'SIGKILL');
    answer.release();
    await all.one.startWorker();
    await cutsOver(all, index);
  },
);

test.each<['unfreeze-writes' | 'the deadline']>([['unfreeze-writes'], ['the deadline']])(
  '%s inside each step opens the source again, never both sides, and the next freeze cuts over',
  async (how) => {
    const index = `released-${slug(how)}`;
    const all = await begun(index, { freezeAtMost: how === 'the deadline' ? '30s' : '20m' });
    for (const [at, [, side, match]] of BEFORE_COMMIT.entries()) {
      const request = proxies[side].holdRequests(match);
      await all.writers.bulk(index, 20);
      // A step that was kept waiting makes the forecast of the next freeze longer than it may take.
      await all.one.signal('freeze-writes', { force: true });
      await request.met;
      if (how === 'unfreeze-writes') await all.one.signal(how);
      else await deadlineOf(all.one);
      request.release();
      await opens(source.url, index);
      expect(await taken(target.url, index)).toBe(false);
      const released = new RegExp(`freeze ${at + 1} released, .*(${how}|the deadline passed)`);
      const { notes } = await all.one.until(({ phase, notes: said }) => {
        return phase === 'between rounds' && said.some((note) => released.test(note));
      });
      expect(notes.filter((note) => released.test(note))).toHaveLength(1);
    }
    await all.one.signal('freeze-writes', { force: true });
    await cutsOver(all, index);
  },
);

async function deadlineOf(one: Ferry): Promise<void> {
  const { freeze } = await one.until((status) => status.freeze !== undefined);
  await new Promise((resolve) => setTimeout(resolve, Date.parse(freeze?.deadline ?? '') - Date.now() + 500));
}

test.each(BEFORE_COMMIT)(
  'abort inside %s leaves the source open, the target blocked, and no claim, registration or running snapshot',
  async (name, side, match) => {
    const index = `aborted-${slug(name)}`;
    const before = [await http(`${source.url}/_snapshot`), await http(`${target.url}/_snapshot`)];
    const { one } = await begun(index);
    const request = proxies[side].holdRequests(match);
    await one.signal('freeze-writes');
    await request.met;
    await one.signal('abort');
    request.release();
    expect(await one.failure()).toContain('The migration was aborted');
    expect(await taken(source.url, index)).toBe(true);
    expect(await taken(target.url, index)).toBe(false);
    expect([await http(`${source.url}/_snapshot`), await http(`${target.url}/_snapshot`)]).toEqual(before);
    expect(one.claims()).toEqual([]);
  },
);

test('approval that never comes: the deadline opens the source, and an approval that comes then is refused', async () => {
  const all = await begun('unapproved', { approval: true, freezeAtMost: '15s' });
  await all.one.signal('freeze-writes');
  await all.one.until(({ phase }) => phase === 'awaiting approval');
  const { notes } = await all.one.until(({ phase }) => phase === 'between rounds');
  expect(notes.join('\n')).toContain('the deadline passed');
  await opens(source.url, 'unapproved');
  await expect(all.one.update('approve', { who: 'the test', why: 'late' })).rejects.toThrow();
  expect(await taken(target.url, 'unapproved')).toBe(false);
});

describe('freeze-writes', () => {
  test('twice, while the baseline runs, freezes once, when it is done', async () => {
    const all = await begunInBaseline('early');
    await all.one.signal('freeze-writes');
    await all.one.signal('freeze-writes');
    all.hold.release();
    await cutsOver(all, 'early');
    expect((await all.one.result()).totals.rounds).toBe(2);
    await expect(all.one.signal('freeze-writes')).rejects.toThrow();
    expect(await taken(source.url, 'early')).toBe(false);
  });

  test('during a round freezes when it is done', async () => {
    const all = await begun('during');
    const hold = proxies.s3.holdRequests(is('PUT', /\/to\/index-\d/));
    await all.one.signal('run-round');
    await hold.met;
    await all.one.signal('freeze-writes');
    expect(await taken(source.url, 'during')).toBe(true);
    hold.release();
    await cutsOver(all, 'during');
    expect((await all.one.result()).totals.rounds).toBe(3);
  });

  test('while a round is parked waits for its end', async () => {
    const all = await begun('parked');
    await http(`${target.url}/parked/_settings`, 'PUT', { 'index.blocks.write': false });
    await all.one.signal('run-round');
    await all.one.until(({ phase }) => phase === 'parked');
    await all.one.signal('freeze-writes');
    expect(await taken(source.url, 'parked')).toBe(true);
    await http(`${target.url}/parked`, 'DELETE');
    await all.one.signal('retry');
    await cutsOver(all, 'parked');
  });
});

/** As `begun`, with the baseline kept from being published. */
async function begunInBaseline(index: string): Promise<Begun & { readonly hold: Hold }> {
  const hold = proxies.s3.holdRequests(is('PUT', /\/to\/index-\d/));
  const writers = new Writers(source.url, 5);
  await writers.createIndex(index, SETTINGS, { mappings: { doc: { properties: KEYWORD } } });
  await writers.bulk(index, 200);
  ferry = await Ferry.create({
    ...{ source: proxies.source.url, target: proxies.target.url, s3Endpoint: proxies.s3.url },
    ...{ indices: [index], servers, plan: { rounds: { every: '1h' } } },
  });
  const worker = await ferry.startWorker();
  await ferry.start();
  await hold.met;
  client = new Client(index);
  client.start();
  return { one: ferry, writers, client, worker, hold };
}

describe('what changes on the source while approval is awaited releases the freeze, and says so', () => {
  const CHANGES: readonly (readonly [string, (index: string) => Promise<unknown>, RegExp])[] = [
    [
      'an alias that moves',
      (index) =>
        http(`${source.url}/_aliases`, 'POST', {
          actions: [
            { remove: { index: `${index}-1`, alias: `${index}-write` } },
            { add: { index: `${index}-other`, alias: `${index}-write` } },
          ],
        }),
      /alias '\S+-write' was taken from index '\S+-1'/,
    ],
    [
      'a rollover',
      (index) => http(`${source.url}/${index}-write/_rollover`, 'POST', { conditions: { max_docs: 1 } }),
      /'\S+-0*2' matches the plan by now.*alias '\S+-write' was taken|alias '\S+-write' was taken/,
    ],
    ['an index that appears', (index) => http(`${source.url}/${index}-9`, 'PUT'), /'\S+-9' matches the plan by now/],
    [
      'a block that somebody removes',
      (index) => http(`${source.url}/${index}-1/_settings`, 'PUT', { 'index.blocks.write': null }),
      /'\S+-1' is not blocked for writes on the source/,
    ],
    [
      'a writer that gets through',
      async (index) => {
        await http(`${source.url}/${index}-1/_settings`, 'PUT', { 'index.blocks.write': null });
        await http(`${source.url}/${index}-1/doc/through`, 'PUT', { n: 1 });
        await http(`${source.url}/${index}-1/_settings`, 'PUT', { 'index.blocks.write': true });
      },
      /'\S+-1' counts other operations/,
    ],
    [
      'an index that is deleted, as a policy deletes old ones',
      (index) => http(`${source.url}/${index}-1`, 'DELETE'),
      /'\S+-1' is gone from the source/,
    ],
    ['a source node that restarts', () => source.restart(), /counts other operations|no shard counters|not answer/],
  ];

  test.each(CHANGES)('%s', async (what, change, says) => {
    const index = `moved-${slug(what)}`.slice(0, 30).toLowerCase();
    const writers = new Writers(source.url, 5);
    for (const name of [`${index}-1`, `${index}-other`]) {
      await writers.createIndex(name, { number_of_shards: 1 });
      await writers.bulk(name, 50);
    }
    await http(`${source.url}/_aliases`, 'POST', {
      actions: [{ add: { index: `${index}-1`, alias: `${index}-write` } }],
    });
    ferry = await Ferry.create({
      ...{ source: source.url, target: target.url, servers, indices: [`${index}-*`, `-${index}-other`] },
      plan: { rounds: { every: '1h' }, cutover: { approval: true } },
    });
    await ferry.startWorker();
    await ferry.start();
    await ferry.rounds(1);
    await ferry.signal('freeze-writes');
    await ferry.until(({ phase }) => phase === 'awaiting approval');
    await change(index);
    await ferry.update('approve', { who: 'the test', why: 'nothing seen' });
    const { notes } = await ferry.until(({ phase }) => phase === 'between rounds', 180_000);
    const released = notes.find((note) => note.includes('freeze 1 released'));
    expect(released).toMatch(says);
    expect(await taken(target.url, `${index}-1`)).toBe(false);
    expect(await taken(source.url, `${index}-1`)).toBe(true);
  });
});

/** What a worker's own `Date` says, moved by what stands in a file. Signed requests bear a quarter of an hour. */
const CLOCK = `
const { readFileSync } = require('node:fs');
const Real = Date;
let ahead = 0;
setInterval(() => {
  try { ahead = Number(readFileSync(process.env.FERRY_CLOCK, 'utf8')); } catch { ahead = 0; }
}, 20).unref();
globalThis.Date = class Date extends Real {
  constructor(...given) { given.length === 0 ? super(Real.now() + ahead) : super(...given); }
  static now() { return Real.now() + ahead; }
  static [Symbol.hasInstance](value) { return value instanceof Real; }
};`;
const TEN_MINUTES = 600_000;

test.each([
  ['ahead', TEN_MINUTES],
  ['back', -TEN_MINUTES],
])(
  'a clock that is set ten minutes %s at the block, and right again at the restore, loses nothing',
  async (way, ms) => {
    const dir = mkdtempSync(path.join(os.tmpdir(), 'snapferry-clock-'));
    const [shim, clock] = [path.join(dir, 'clock.js'), path.join(dir, 'clock')];
    writeFileSync(shim, CLOCK);
    const environment = { NODE_OPTIONS: `--require ${shim}`, FERRY_CLOCK: clock };
    const all = await begun(`clock-${way}`, {}, environment);
    const set = async (hold: Hold, to: number) => {
      await hold.met;
      writeFileSync(clock, String(to));
      await new Promise((resolve) => setTimeout(resolve, 500));
      hold.release();
    };
    const block = proxies.source.holdAnswers(is('PUT', /\/_settings/));
    const restore = proxies.target.holdAnswers(is('POST', /\/_restore/));
    await all.one.signal('freeze-writes');
    await set(block, ms);
    await set(restore, 0);
    await cutsOver(all, `clock-${way}`);
  },
);

test('a target node that restarts during the last restore delays the cutover and loses nothing', async () => {
  const all = await begun('restarted');
  const answer = proxies.target.holdAnswers(is('POST', /\/_restore/));
  await all.one.signal('freeze-writes');
  await answer.met;
  await target.restart();
  answer.release();
  await cutsOver(all, 'restarted');
});
