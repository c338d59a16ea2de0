import { insides, textOf, toXml } from '../../../../stack/oss/xml';

test('text is escaped on the way out and back', () => {
  const key = `a&b<c>"d"'e'`;
  expect(textOf(toXml('R', { Key: key }), 'Key')).toBe(key);
});

test('entities by number, as Go writes quotes', () => {
  expect(textOf('<ETag>&#34;AB&#x22;</ETag>', 'ETag')).toBe('"AB"');
});

test('lists repeat their element, what is undefined is left out', () => {
  const xml = toXml('R', { A: undefined, Part: [{ N: 1 }, { N: 2 }], B: true });
  expect(xml).toContain('<R><Part><N>1</N></Part><Part><N>2</N></Part><B>true</B></R>');
  expect(insides(xml, 'Part')).toEqual(['<N>1</N>', '<N>2</N>']);
});

test('an empty element is an empty text, a missing one is none', () => {
  expect([textOf('<R><Key/></R>', 'Key'), textOf('<R><Key></Key></R>', 'Key'), textOf('<R/>', 'Key')]).toEqual([
    '',
    '',
    undefined,
  ]);
});
