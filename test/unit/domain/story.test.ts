import type { PlanRef, Settings } from '../../../src/domain/exchange';
import { firstState } from '../../../src/domain/state';
import type { FreezeRequest, MigrationState, View } from '../../../src/domain/state';
import { detailsOf, statusOf } from '../../../src/domain/story';

const NOW = Date.UTC(2026, 0, 1, 12);
const PLAN = { migration: 'm', firstRunId: 'run', digest: 'd', connections: 'c' } as unknown as PlanRef;
const SETTINGS: Settings = {
  ...{ source: 'a', target: 'b', everyMs: 900_000, atMost: undefined, restoreEveryRound: true, limits: {} },
  ...{ freezeAtMostMs: 60_000, approval: true, replicas: 'after', verify: 'counts', switchAliases: true },
  searchAttributes: [],
};

const view = (changes: Partial<View> = {}, state: Partial<MigrationState> = {}): View => ({
  ...{ phase: 'between rounds', step: undefined, park: undefined, progress: undefined, freeze: undefined },
  ...{ approval: 'not yet', freezeWindow: undefined, verification: undefined, watching: undefined },
  state: { ...firstState(PLAN, SETTINGS, [], NOW), ...state },
  ...changes,
});

describe('a parked migration', () => {
  const park = { step: 'restore of round 2', code: 'Unavailable', why: 'it is silent', since: NOW };

  it('says when it tries again by itself', () => {
    const parked = view({ park: { ...park, retriesAt: NOW + 900_000 } });
    expect(statusOf(parked, NOW).parked).toMatchObject({ retriesAt: '2026-01-01T12:15:00.000Z' });
    expect(detailsOf(parked, NOW)).toContain('Tried again by itself at 2026-01-01T12:15:00.000Z');
  });

  it('that waits for the operator alone says no such time', () => {
    const parked = view({ park: { ...park, retriesAt: undefined } });
    expect(statusOf(parked, NOW).parked).not.toHaveProperty('retriesAt');
    expect(detailsOf(parked, NOW)).not.toContain('by itself');
  });
});

describe('a freeze that was asked for', () => {
  const freezeRequest: FreezeRequest = { at: NOW, by: 'ana', whenReady: false, force: false };
  const said = (changes: Partial<View>, state: Partial<MigrationState> = {}) => {
    const asked = view(changes, { freezeRequest, ...state });
    const { freezeRequest: told } = statusOf(asked, NOW);
    expect(detailsOf(asked, NOW)).toContain(`by ana: ${told?.state}`);
    return told?.state;
  };

  it('says what it waits for: the round, an obstacle, or the operator', () => {
    expect(said({ phase: 'round' })).toBe('it begins after this round');
    expect(said({ freezeWaitsFor: 'a snapshot runs' })).toBe('it waits: a snapshot runs');
    expect(said({ freezeWaitsFor: 'x' }, { freezeRequest: { ...freezeRequest, at: NOW - 3_600_000 } })).toContain(
      'was dropped',
    );
  });

  it('is not told where there is none', () => {
    expect(statusOf(view(), NOW)).not.toHaveProperty('freezeRequest');
  });
});
