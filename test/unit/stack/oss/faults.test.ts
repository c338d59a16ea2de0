import { FaultScript } from '../../../../stack/oss/faults';
import type { Subject } from '../../../../stack/oss/faults';

const PUT: Subject = { operation: 'PutObject', method: 'PUT', bucket: 'b', key: 'indices/0/__1', token: undefined };
const SLOW = { do: 'error', code: 'ServiceUnavailable' } as const;

function strikes(script: FaultScript, subjects: readonly Subject[]): boolean[] {
  return subjects.map((subject) => script.strike(subject) !== undefined);
}

test('without a number, the first matching request is struck', () => {
  expect(strikes(new FaultScript([{ then: SLOW }]), [PUT, PUT])).toEqual([true, false]);
});

test('nth and count choose which of the matching ones; count 0 is all from there on', () => {
  const four = [PUT, PUT, PUT, PUT];
  expect(strikes(new FaultScript([{ nth: 2, count: 2, then: SLOW }]), four)).toEqual([false, true, true, false]);
  expect(strikes(new FaultScript([{ nth: 3, count: 0, then: SLOW }]), four)).toEqual([false, false, true, true]);
});

test.each([
  [{ operation: 'PutObject' }, true],
  [{ operation: 'UploadPart' }, false],
  [{ method: 'put' }, true],
  [{ method: 'GET' }, false],
  [{ key: '__\\d+$' }, true],
  [{ key: '^__' }, false],
  [{ bucket: 'c' }, false],
  [{ token: 't' }, false],
  [{ operation: 'PutObject', key: 'indices/' }, true],
])('on %j: %p', (on, expected) => {
  expect(strikes(new FaultScript([{ on, then: SLOW }]), [PUT])).toEqual([expected]);
});

test('of two that strike the same request the first does, and both have seen it', () => {
  const script = new FaultScript([{ then: SLOW }, { count: 0, then: { do: 'lose-reply' } }]);
  expect([script.strike(PUT), script.strike(PUT)]).toEqual([SLOW, { do: 'lose-reply' }]);
  expect(script.toJSON()).toMatchObject([
    { seen: 2, struck: 1 },
    { seen: 2, struck: 1 },
  ]);
});

test.each([
  [{}, /array/],
  [[{ then: { do: 'explode' } }], /then/],
  [[{ then: SLOW, nth: 0 }], /nth/],
  [[{ then: SLOW, on: { key: '(' } }], /regular expression/],
  [[{ then: { do: 'reset', of: 'request' } }], /afterBytes/],
  [[{ then: SLOW, when: 'now' }], /when/],
])('a wrong script is refused by name: %j', (script, message) => {
  expect(() => new FaultScript(script)).toThrow(message);
});
