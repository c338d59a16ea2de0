import type { ApplicationFailure } from '@temporalio/activity';
import { MockActivityEnvironment } from '@temporalio/testing';
import { DefaultLogger } from '@temporalio/worker';
import { asActivity, asMeasuredActivity } from '../../../activities/run';
import { assertMayAct } from '../../../src/steps/context';
import type { Worked } from '../../../src/domain/worked';
import type { StepDeps } from '../../../src/steps/migration';

/** What an attempt may still do when its worker's clock is set while it runs. Start-to-close is 90 s, as the lease's. */

const REQUEST_MS = 30_000;
const MINUTE = 60_000;

afterEach(() => jest.restoreAllMocks());

/** Lets the clocks move inside a step, and says whether it may act then. */
async function mayAct(move: { readonly wallMs: number; readonly steadyMs: number }, heartbeatTimeoutMs?: number) {
  const [wall, steady] = [Date.now(), performance.now()];
  const clocks = { wallMs: 0, steadyMs: 0 };
  jest.spyOn(Date, 'now').mockImplementation(() => wall + clocks.wallMs);
  jest.spyOn(performance, 'now').mockImplementation(() => steady + clocks.steadyMs);
  const environment = new MockActivityEnvironment(
    { startToCloseTimeoutMs: 90_000, ...(heartbeatTimeoutMs === undefined ? {} : { heartbeatTimeoutMs }) },
    { logger: new DefaultLogger('ERROR') },
  );
  const act = asActivity({} as StepDeps, async (_deps, _input: undefined, context) => {
    Object.assign(clocks, move);
    assertMayAct(context, REQUEST_MS);
    return 'acts';
  });
  return environment.run(act, undefined).catch((error: unknown) => (error as ApplicationFailure).type);
}

test.each([
  ['acts in time', { wallMs: 59_000, steadyMs: 59_000 }, 'acts'],
  ['is too old when a request would end after its time', { wallMs: 61_000, steadyMs: 61_000 }, 'Unavailable'],
  ['is too old although the clock was set back', { wallMs: -60 * MINUTE, steadyMs: 61_000 }, 'Unavailable'],
  ['is too old when the machine has slept', { wallMs: 60 * MINUTE, steadyMs: 0 }, 'Unavailable'],
  ['acts when the clock was set back just now', { wallMs: -60 * MINUTE, steadyMs: 1_000 }, 'acts'],
])('an attempt %s', async (_, move, expected) => {
  expect(await mayAct(move)).toBe(expected);
});

test('an attempt whose beat is late is too old, whichever clock says so', async () => {
  expect(await mayAct({ wallMs: 1_000, steadyMs: 1_000 }, 30_000)).toBe('acts');
  jest.restoreAllMocks();
  expect(await mayAct({ wallMs: -60 * MINUTE, steadyMs: 25_000 }, 30_000)).toBe('Unavailable');
});

describe('a step that is measured', () => {
  const worked = async (result: object): Promise<Worked> => {
    const environment = new MockActivityEnvironment({}, { logger: new DefaultLogger('ERROR') });
    const measured = asMeasuredActivity({} as StepDeps, async () => {
      const now = Date.now();
      jest.spyOn(Date, 'now').mockReturnValue(now + 5_000);
      return result;
    });
    return (await environment.run(measured, undefined)) as Worked;
  };

  test('tells how long this attempt ran', async () => {
    const { workedMs, ...result } = await worked({ indices: 1 });
    expect(result).toEqual({ indices: 1 });
    expect(workedMs).toBeGreaterThanOrEqual(5_000);
  });

  test('knows better when it took over what an earlier attempt had begun', async () => {
    expect(await worked({ workedMs: 7 })).toEqual({ workedMs: 7 });
  });
});
