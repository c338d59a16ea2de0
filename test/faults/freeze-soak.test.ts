import { FreezeBench } from '../../bench/freeze-run';
import { testServers } from '../support/temporal';

const { elasticsearch, buckets } = testServers();

test('a freeze under four bulk writers loses no write that was acknowledged, however late', async () => {
  const bench = await FreezeBench.open({ url: elasticsearch['5.6.16'] as string, version: '5.6.16' }, buckets);
  for (let run = 1; run <= 2; run += 1) {
    const { acknowledged, lost } = await bench.run({ proof: true, blockApi: true });
    expect(lost).toEqual([]);
    expect(acknowledged).toBeGreaterThan(0);
  }
  await bench.close();
});
