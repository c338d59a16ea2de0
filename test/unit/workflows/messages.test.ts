import { oddity } from '../../../workflows/messages';

describe('what of a message would be passed over in silence', () => {
  it.each([
    [
      'approve',
      { who: 'ana', why: 'ready', ifverified: true },
      /takes \{"who", "why", "ifVerified"\}, and no "ifverified"/,
    ],
    ['freeze-writes', { force: 'true' }, /"force" must be true or false/],
    ['freeze-writes', 'ana', /takes \{"by", "whenReady", "force"\}: a JSON object/],
    ['waive', [], /a JSON object/],
  ] as const)('%s %j is said', (message, argument, said) => {
    expect(oddity(message, argument)).toMatch(said);
  });

  it.each([
    ['freeze-writes', undefined],
    ['freeze-writes', null],
    ['freeze-writes', { by: 'ana', whenReady: true, force: false }],
    ['rollback', { acceptLosing: 'at least 3', who: 'ana', why: 'slow' }],
    ['unfreeze-writes', {}],
  ] as const)('%s %j is as it should be', (message, argument) => {
    expect(oddity(message, argument)).toBeUndefined();
  });
});
