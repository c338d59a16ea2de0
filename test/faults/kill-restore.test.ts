import { createLargeIndex } from '../support/fault-indices';
import { eventually } from '../support/fault-poll';
import { Ferry } from '../support/ferry';
import { SlowProxy } from '../support/slow-proxy';
import { testServers } from '../support/temporal';
import { http } from '../support/writers';

const { elasticsearch } = testServers();
const source = elasticsearch['5.5.2'] as string;
const target = elasticsearch['5.6.16'] as string;

let proxy: SlowProxy;
let ferry: Ferry | undefined;
beforeEach(async () => {
  proxy = await SlowProxy.before(target);
});
afterEach(async () => {
  await ferry?.close();
  await proxy.close();
});

interface Recovery {
  readonly shards: readonly {
    readonly type: string;
    readonly stage: string;
    readonly index: { readonly size: Size };
  }[];
}
interface Size {
  readonly recovered_in_bytes: number;
}

test('kill -9 during the restore: a new worker finds it under way and does not ask for it again', async () => {
  await createLargeIndex(source, 'killed-restore', 32);
  ferry = await Ferry.create({
    source,
    target: proxy.url,
    indices: ['killed-restore'],
    repositorySettings: { max_restore_bytes_per_sec: '4mb' },
    plan: { rounds: { every: '1h' } },
  });
  const worker = await ferry.startWorker();
  await ferry.start();
  await eventually('a restore under way', async () => {
    const answer = (await http(`${target}/killed-restore/_recovery`).catch(() => ({}))) as Record<string, Recovery>;
    const shard = answer['killed-restore']?.shards[0];
    return (shard?.stage === 'INDEX' && shard.index.size.recovered_in_bytes > 0) || undefined;
  });
  await ferry.signalWorker(worker, 'SIGKILL');

  await ferry.startWorker();
  await ferry.rounds(1);
  const restores = () => proxy.requests.filter(({ method, path }) => method === 'POST' && /\/_restore\?/.test(path));
  expect(restores()).toHaveLength(1);
  await ferry.signal('freeze-writes');
  expect((await ferry.result()).verification.failed).toBe(0);
  expect(restores()).toHaveLength(2);
  expect(await http(`${target}/killed-restore/_count`)).toMatchObject({ count: 32 });
});
