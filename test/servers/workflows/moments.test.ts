import { TemporalBench, testServers } from '../../support/temporal';
import { AFTER_COMMIT, BEFORE_COMMIT, Moments } from '../../support/moments';
import type { Message } from '../../support/moments';

/** Inside each step. Before and after each, and the deadline: test/matrix/moments.test.ts. */

let bench: TemporalBench;
let moments: Moments;
beforeAll(async () => {
  bench = await TemporalBench.connect(testServers().temporal);
  moments = new Moments(bench);
  await moments.work();
});
afterAll(() => bench.close());

test.each<Message>(['unfreeze-writes', 'abort'])(
  '%s inside any step of a cutover releases the source before the commit, and never opens both sides',
  async (message) => {
    const ended = await moments.strike(message, 'inside', [...BEFORE_COMMIT, ...AFTER_COMMIT]);
    expect(ended).toEqual(moments.expected(message, ended));
  },
);

test('freeze-writes while the migration continues as new is carried over and acted on once', async () => {
  const frozen = async (delayMs: number) => {
    const id = `continued-${delayMs}-${Date.now()}`;
    let sent: Promise<void> | undefined;
    const send = async () => {
      await new Promise((resolve) => setTimeout(resolve, delayMs));
      await bench.client.workflow.getHandle(id).signal('freeze-writes');
    };
    const { handle, journal } = await moments.start(id, {
      settings: { everyMs: 500 },
      replace: (base) => ({
        // The last step of a round, after which it continues as new.
        restore: async (input) => {
          if (input.round === 1) sent = send();
          return base.restore(input);
        },
      }),
    });
    await handle.result();
    await sent;
    return journal.calls.filter((call) => call === 'block source').length;
  };
  expect(await Promise.all([0, 5, 15, 40, 100].map(frozen))).toEqual([1, 1, 1, 1, 1]);
});
