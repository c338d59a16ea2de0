import { stopAll } from '../../stack';
import { startFaultServers } from '../support/fault-servers';
import type { FaultServers } from '../support/fault-servers';
import { Ferry } from '../support/ferry';
import { WebhookReceiver } from '../support/webhook-receiver';
import { http, Writers } from '../support/writers';

/** A migration that is over, and one that goes on with what it had proved and restored. */

jest.setTimeout(600_000);

let all: FaultServers;
let ferry: Ferry | undefined;
beforeAll(async () => {
  all = await startFaultServers();
});
afterAll(() => stopAll());
afterEach(() => ferry?.close());

test.each(['terminated', 'aborted'])(
  'a migration that was %s is taken over, and nothing is sent twice',
  async (end) => {
    const [source, target, index] = [all.source.url, all.target.url, `adopted-${end}`];
    const writers = new Writers(source, 5);
    await writers.createIndex(index, { number_of_shards: 2 });
    await writers.bulk(index, 500);
    ferry = await Ferry.create({
      ...{ source, target, indices: [index], servers: all.servers },
      plan: { rounds: { every: '1h' } },
    });
    await ferry.startWorker();
    const handle = await ferry.start();
    const first = await ferry.rounds(1);

    const second = ferry.beside({ adopt: ferry.id });
    await second.start();
    expect(await second.failure()).toContain(`adopt: migration '${ferry.id}' still runs`);
    expect(ferry.claims().length).toBe(2);
    if (end === 'terminated') await handle.terminate();
    else {
      await ferry.signal('abort');
      await ferry.failure();
    }

    const unknown = ferry.beside({ adopt: 'nobody' });
    await unknown.start();
    expect(await unknown.failure()).toContain("adopt: no migration 'nobody' has work files");

    await writers.bulk(index, 20);
    const third = ferry.beside({ adopt: ferry.id });
    await third.start();
    const { totals, warnings } = await third.rounds(1);
    expect(warnings[0]).toContain(`Took over from migration '${ferry.id}'`);
    expect(totals.sentBytes).toBeLessThan(first.totals.sentBytes / 2);
    await third.signal('freeze-writes');
    expect((await third.result()).verification.failed).toBe(0);
    expect(await writers.differences(target)).toEqual([]);
    expect(ferry.claims()).toEqual([]);
    for (const url of [source, target]) expect(await http(`${url}/_snapshot`)).toEqual({});
  },
);

test('one that was terminated with its lease inside a freeze is taken over once `snapferry unfreeze` has opened the source', async () => {
  const [source, target, index] = [all.source.url, all.target.url, 'adopted-frozen'];
  const writers = new Writers(source, 5);
  await writers.createIndex(index, { number_of_shards: 2 }, { aliases: { [`${index}-alias`]: {} } });
  await writers.bulk(index, 300);
  ferry = await Ferry.create({
    ...{ source, target, indices: [index], servers: all.servers },
    plan: { rounds: { every: '1h' }, cutover: { approval: true }, restore: { aliases: 'everyRound' } },
  });
  await ferry.startWorker();
  const handle = await ferry.start();
  await ferry.rounds(1);
  await ferry.signal('freeze-writes');
  await ferry.until(({ phase }) => phase === 'awaiting approval');
  await handle.terminate();
  await ferry.terminate('/freeze-1');

  const early = ferry.beside({ adopt: ferry.id });
  await early.start();
  expect(await early.failure()).toContain('still holds freeze 1');
  await expect(http(`${source}/${index}/doc/late`, 'PUT', { n: 0 })).rejects.toThrow('403');
  expect(await ferry.unfreeze()).toContain('released, 1 indices of source take writes again');
  await writers.bulk(index, 20);

  const next = ferry.beside({ adopt: ferry.id, cutover: { approval: false } });
  await next.start();
  await next.rounds(1);
  await next.signal('freeze-writes');
  expect((await next.result()).verification.failed).toBe(0);
  expect(await writers.differences(target)).toEqual([]);
  expect(await http(`${target}/_alias/${index}-alias`)).toEqual({ [index]: { aliases: { [`${index}-alias`]: {} } } });
  await http(`${target}/${index}/doc/late`, 'PUT', { n: 0 });
});

test.each<[string, (index: string) => Promise<unknown>]>([
  ['between the aliases and the report', async () => undefined],
  [
    'right after its commit',
    // As its own steps would have found the target then.
    async (index) => {
      await http(`${all.target.url}/${index}/_alias/${index}-alias`, 'DELETE');
      await http(`${all.target.url}/${index}/_settings`, 'PUT', { 'index.blocks.write': true });
    },
  ],
])('one that was terminated %s is ended by whoever adopts it, and its webhook hears it once', async (when, asItWas) => {
  const [source, target, index] = [all.source.url, all.target.url, `lost-${when.split(' ')[0]}`];
  const writers = new Writers(source, 5);
  await writers.createIndex(index, { number_of_shards: 2 }, { aliases: { [`${index}-alias`]: {} } });
  await writers.bulk(index, 300);
  const receiver = await WebhookReceiver.start();
  try {
    receiver.answers.push(...Array.from({ length: 100 }, () => 503));
    ferry = await Ferry.create({
      ...{ source, target, indices: [index], servers: all.servers },
      connections: { webhooks: { dns: { url: receiver.url, signingKey: { env: 'HOOK_KEY' } } } },
      environment: { HOOK_KEY: 'a-key-of-webhooks' },
      plan: { rounds: { every: '1h' }, cutover: { approval: false, switchover: { webhook: 'dns' } } },
    });
    await ferry.startWorker();
    const handle = await ferry.start();
    await ferry.rounds(1);
    await ferry.signal('freeze-writes');
    while (receiver.received.length === 0) await new Promise((resolve) => setTimeout(resolve, 100));
    await handle.terminate();
    receiver.answers.length = 0;
    await asItWas(index);

    const next = ferry.beside({ adopt: ferry.id });
    await next.start();
    const report = await next.result();
    expect(report).toMatchObject({ outcome: 'done', verification: { failed: 0 } });
    expect(report.warnings[0]).toContain(`Ends the cutover of migration '${ferry.id}'`);
    expect(await http(`${target}/_alias/${index}-alias`)).toEqual({ [index]: { aliases: { [`${index}-alias`]: {} } } });
    await http(`${target}/${index}/doc/after`, 'PUT', { n: 0 });
    await expect(http(`${source}/${index}/doc/after`, 'PUT', { n: 0 })).rejects.toThrow('403');
    expect(new Set(receiver.received.map(({ headers }) => headers['idempotency-key'])).size).toBe(1);
    expect(ferry.claims()).toEqual([]);
    for (const url of [source, target]) expect(await http(`${url}/_snapshot`)).toEqual({});

    const again = ferry.beside({ adopt: ferry.id });
    await again.start();
    expect(await again.failure()).toContain('was committed: clients may write on the target');
  } finally {
    await receiver.stop();
  }
});

test('strategy alias: rounds begin anew, and copies of the one taken over go, whatever the number of their round', async () => {
  const [source, target, index] = [all.source.url, all.target.url, 'adopted-alias'];
  const writers = new Writers(source, 5);
  await writers.createIndex(index, { number_of_shards: 2 });
  await writers.bulk(index, 500);
  ferry = await Ferry.create({
    ...{ source, target, indices: [index], servers: all.servers },
    plan: { rounds: { every: '1h' }, restore: { strategy: 'alias' } },
  });
  await ferry.startWorker();
  const handle = await ferry.start();
  const first = await ferry.rounds(1);
  for (const round of [2, 3]) {
    await writers.bulk(index, 20);
    await ferry.signal('run-round');
    await ferry.rounds(round);
  }
  const copies = async () => Object.keys((await http(`${target}/${index}*/_settings`)) as object);
  expect(await copies()).toEqual([`${index}-snapferry-r2`]);
  await handle.terminate();

  await writers.bulk(index, 20);
  const next = ferry.beside({ adopt: ferry.id });
  await next.start();
  const { totals } = await next.rounds(1);
  expect(totals.sentBytes).toBeLessThan(first.totals.sentBytes / 2);
  expect(await copies()).toEqual([`${index}-snapferry-r0`]);
  await next.signal('freeze-writes');
  const report = await next.result();
  expect(report.verification.failed).toBe(0);
  expect(report.remains.join()).not.toContain('restored indices stay');
  expect(await writers.differences(target)).toEqual([]);
  expect(await http(`${target}/_alias/${index}`)).toEqual({ [`${index}-snapferry-r1`]: { aliases: { [index]: {} } } });
  expect(await copies()).toEqual([`${index}-snapferry-r1`]);
  expect(ferry.claims()).toEqual([]);
});
