import { createManySegments } from '../support/fault-indices';
import { eventually } from '../support/fault-poll';
import { Ferry } from '../support/ferry';
import { SlowProxy } from '../support/slow-proxy';
import { testServers } from '../support/temporal';
import { http } from '../support/writers';

const { elasticsearch, s3 } = testServers();
const source = elasticsearch['5.5.2'] as string;
const target = elasticsearch['5.6.16'] as string;

let proxy: SlowProxy;
let ferry: Ferry | undefined;
let strangers: Strangers | undefined;
beforeEach(async () => {
  proxy = await SlowProxy.before(s3.endpoint);
});
afterEach(async () => {
  await strangers?.stop();
  await ferry?.close();
  await proxy.close();
});

/** Somebody else who takes snapshots on the source, in our repository and in one of their own, one after the other. */
class Strangers {
  taken = 0;
  private stopped = false;
  private running: Promise<void> = Promise.resolve();

  static async at(location: string): Promise<Strangers> {
    for (const [name, folder] of [
      ['stranger-here', 'from'],
      ['stranger-there', 'elsewhere'],
    ]) {
      const settings = { location: `${location}/${folder}`, compress: true };
      await http(`${source}/_snapshot/${name}`, 'PUT', { type: 'fs', settings });
    }
    return new Strangers();
  }

  async take(repository: string, name: string): Promise<void> {
    await http(`${source}/_snapshot/${repository}/${name}?wait_for_completion=true`, 'PUT', {
      indices: 'strange',
      include_global_state: false,
    });
    this.taken += 1;
  }

  start(): void {
    const run = async () => {
      for (let turn = 0; !this.stopped; turn += 1) {
        const repository = turn % 2 === 0 ? 'stranger-here' : 'stranger-there';
        const from = Date.now();
        // Refused while ours runs: an old cluster takes one at a time.
        await this.take(repository, `theirs-${turn}`).catch(() => undefined);
        // On a busy machine theirs take long, and ours are to find the cluster at rest now and then.
        await new Promise((resolve) => setTimeout(resolve, Math.max(1_000, 2 * (Date.now() - from))));
      }
    };
    this.running = run();
  }

  async stop(): Promise<void> {
    this.stopped = true;
    await this.running;
    for (const name of ['stranger-here', 'stranger-there'])
      await http(`${source}/_snapshot/${name}`, 'DELETE').catch(() => undefined);
  }
}

const isBlob = ({ method, path }: { method: string; path: string }) => method === 'PUT' && /\/to\/indices\//.test(path);

test('snapshots of somebody else during a slow transfer are no obstacle, and one that they delete leads to planning again', async () => {
  await createManySegments(source, 'strange', 20);
  ferry = await Ferry.create({
    source,
    target,
    indices: ['strange'],
    s3Endpoint: proxy.url,
    plan: { rounds: { every: '1h' } },
  });
  strangers = await Strangers.at(ferry.files('source'));
  await strangers.take('stranger-here', 'doomed');
  const held = proxy.holdRequests(isBlob);
  await ferry.startWorker();
  await ferry.start();
  await Promise.race([held.met, ferry.result().then((report) => Promise.reject(new Error(JSON.stringify(report))))]);
  await http(`${source}/_snapshot/stranger-here/doomed`, 'DELETE');
  proxy.limit(128 * 1024);
  strangers.start();
  held.release();
  await eventually('three snapshots of theirs during the transfer', () => (strangers?.taken ?? 0) > 3 || undefined);
  proxy.limit(undefined);

  const { notes, totals } = await ferry.rounds(1);
  expect(notes.join('\n')).toContain("planned again: Snapshot 'doomed' was deleted");
  // What was proved is not sent again: the second plan had only its new snapshot's metadata to send.
  const sent = proxy.requests.filter(({ method, path }) => method === 'PUT' && /\/to\/indices\/.*\/__/.test(path));
  expect(sent.length).toBe(new Set(sent.map(({ path }) => path)).size);
  expect(totals.givenUp).toBe(0);
  await ferry.signal('freeze-writes');
  expect((await ferry.result()).verification.failed).toBe(0);
  expect(await http(`${target}/strange/_count`)).toMatchObject({ count: 160 });
});
