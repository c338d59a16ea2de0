import { startTemporal, stopAll } from '../../stack';
import { AFTER_COMMIT, BEFORE_COMMIT, Moments } from '../support/moments';
import type { Message, Moment } from '../support/moments';
import { SEARCH_ATTRIBUTES, TemporalBench } from '../support/temporal';

/** Messages and the deadline before, inside and after each step of a cutover. */

let bench: TemporalBench;
let moments: Moments;
beforeAll(async () => {
  bench = await TemporalBench.connect(
    (await startTemporal({ ui: false, searchAttributes: SEARCH_ATTRIBUTES })).address,
  );
  moments = new Moments(bench);
  await moments.work();
});
afterAll(async () => {
  await bench.close();
  await stopAll();
});

test.each<[Message, Moment]>([
  ['unfreeze-writes', 'before'],
  ['unfreeze-writes', 'after'],
  ['abort', 'before'],
  ['abort', 'after'],
  ['the deadline', 'before'],
  ['the deadline', 'inside'],
  ['the deadline', 'after'],
])('%s %s any step releases the source before the commit, and never opens both sides', async (message, moment) => {
  // There is no deadline before there is a lease.
  const early = message === 'the deadline' ? BEFORE_COMMIT.slice(1) : BEFORE_COMMIT;
  const ended = await moments.strike(message, moment, [...early, ...AFTER_COMMIT]);
  expect(ended).toEqual(moments.expected(message, ended));
});
