import { isTimeZone, nextOpening } from '../../../src/domain/window';

const opening = (window: string, at: string) => {
  const [from = '', to = '', timeZone = ''] = window.split(/[- ]/);
  const { opensAt, closesAt } = nextOpening({ from, to, timeZone }, Date.parse(at));
  return [opensAt, closesAt].map((time) => new Date(time).toISOString().replace(':00.000Z', 'Z')).join(' ');
};

it.each<[string, string, string, string]>([
  ['before it', '22:00-23:30 UTC', '2026-03-01T10:00:00Z', '2026-03-01T22:00Z 2026-03-01T23:30Z'],
  ['at its begin', '22:00-23:30 UTC', '2026-03-01T22:00:00Z', '2026-03-01T22:00Z 2026-03-01T23:30Z'],
  ['inside, at once', '22:00-23:30 UTC', '2026-03-01T23:29:59.999Z', '2026-03-01T23:29:59.999Z 2026-03-01T23:30Z'],
  ['at its end', '22:00-23:30 UTC', '2026-03-01T23:30:00Z', '2026-03-02T22:00Z 2026-03-02T23:30Z'],
  ['over midnight', '22:00-06:00 UTC', '2026-03-01T12:00:00Z', '2026-03-01T22:00Z 2026-03-02T06:00Z'],
  ['over midnight, after it', '22:00-06:00 UTC', '2026-03-01T05:59:00Z', '2026-03-01T05:59Z 2026-03-01T06:00Z'],
  ['until midnight', '22:00-00:00 UTC', '2026-03-01T23:59:00Z', '2026-03-01T23:59Z 2026-03-02T00:00Z'],
  ['in another zone', '01:00-05:00 Asia/Singapore', '2026-03-01T12:00:00Z', '2026-03-01T17:00Z 2026-03-01T21:00Z'],
  ['half an hour off', '01:00-05:00 Asia/Kolkata', '2026-03-01T12:00:00Z', '2026-03-01T19:30Z 2026-03-01T23:30Z'],
  // Berlin: on 29 March 2026 02:00 is followed by 03:00, on 25 October 03:00 by 02:00.
  [
    'shorter by the hour that is skipped',
    '01:00-05:00 Europe/Berlin',
    '2026-03-28T23:00Z',
    '2026-03-29T00:00Z 2026-03-29T03:00Z',
  ],
  [
    'longer by the hour that comes twice',
    '01:00-05:00 Europe/Berlin',
    '2026-10-24T22:00Z',
    '2026-10-24T23:00Z 2026-10-25T04:00Z',
  ],
  [
    'not at all on the day that skips it',
    '02:00-03:00 Europe/Berlin',
    '2026-03-28T12:00Z',
    '2026-03-30T00:00Z 2026-03-30T01:00Z',
  ],
  [
    'as long as it comes twice',
    '02:00-03:00 Europe/Berlin',
    '2026-10-24T22:00Z',
    '2026-10-25T00:00Z 2026-10-25T02:00Z',
  ],
  [
    'begun within what is skipped',
    '02:30-04:00 Europe/Berlin',
    '2026-03-28T23:00Z',
    '2026-03-29T01:00Z 2026-03-29T02:00Z',
  ],
  // From here it was two hours' wait the day before.
  ['in summer as on the wall', '22:00-23:00 Europe/Berlin', '2026-03-29T18:00Z', '2026-03-29T20:00Z 2026-03-29T21:00Z'],
])('a window opens %s', (_, window, at, expected) => {
  expect(opening(window, at)).toBe(expected);
});

it.each([
  ['Asia/Singapore', true],
  ['UTC', true],
  ['Asia/Atlantis', false],
  ['+08:00', false],
  ['', false],
])('%j is a time zone: %s', (name, is) => expect(isTimeZone(name)).toBe(is));
