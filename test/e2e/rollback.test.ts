import { testServers } from '../support/temporal';
import { thereAndBack } from '../support/there-and-back';
import { Writers } from '../support/writers';

const { elasticsearch } = testServers();
const [source, target] = [elasticsearch['5.5.2'] as string, elasticsearch['5.6.16'] as string];

test('webhooks hear of a cutover and of its rollback, and never are both sides writable', async () => {
  const writers = new Writers(source, 5);
  await writers.createIndex('returns', { number_of_shards: 2 }, { aliases: { 'returns-live': {} } });
  await writers.bulk('returns', 200);
  const journey = await thereAndBack({ source, target }, 'returns', 'doc');
  expect(journey.writable).toEqual({
    watching: { source: false, target: true },
    agreeing: { source: false, target: false },
    back: { source: true, target: false },
  });
  expect(journey.refusedNumber).toContain('has taken 5 operations since the switch');
  expect(journey.report).toMatchObject({ outcome: 'rolled-back', writesSinceSwitch: { operations: 5, exact: true } });
  expect(journey.report.remains.join('\n')).toContain('blocked for writes: returns');
  expect(journey.aliases).toEqual({ watching: true, back: false });
  expect(journey.refreshInterval).toEqual({ watching: undefined, back: '-1' });
  const { events } = journey;
  expect([...events].sort()).toEqual(
    ['freezing', 'frozen', 'approval-needed', 'switching', 'switchover', 'unfrozen', 'switchback', 'done'].sort(),
  );
  expect([events[0], events.at(-1)]).toEqual(['freezing', 'done']);
  expect(events.indexOf('switchback')).toBeGreaterThan(events.indexOf('switchover'));
  const gauge = (name: string) => Number(new RegExp(`^${name}\\{.*\\} (.*)$`, 'm').exec(journey.metrics)?.[1]);
  expect(gauge('snapferry_parked')).toBe(0);
  expect(gauge('snapferry_freeze_deadline_seconds')).toBeGreaterThan(600);
  expect(journey.told).not.toContain('a-key-of-webhooks');
  expect(journey.told).not.toContain('secret-path');
});
