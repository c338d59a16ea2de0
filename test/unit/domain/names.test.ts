import { indexOwnerKey, nameFromKey, nameInKey, WorkKeys } from '../../../src/domain/names';

describe('a name in a key', () => {
  const names = [
    'movies',
    'größe-日本',
    'a%2fb',
    'n'.repeat(255),
    'ж'.repeat(127),
    `${'x'.repeat(200)}+rest`,
    '😀'.repeat(63),
    '',
  ];

  it.each(names)('%s comes back, in parts that a file system takes', (name) => {
    expect(nameFromKey(nameInKey(name))).toBe(name);
    for (const key of [indexOwnerKey('work', 'uuid', name), new WorkKeys('work/run').restored(name)]) {
      for (const part of key.split('/')) expect(Buffer.byteLength(part)).toBeLessThanOrEqual(255);
    }
  });

  it('is that of no other name, nor a folder where another has a file', () => {
    const keys = names.map((name) => indexOwnerKey('work', 'uuid', name));
    const nested = `${'x'.repeat(200)}owner.json`;
    expect(new Set(keys).size).toBe(names.length);
    expect(indexOwnerKey('w', 'u', nested).startsWith(`${indexOwnerKey('w', 'u', 'x'.repeat(200))}/`)).toBe(false);
  });
});
