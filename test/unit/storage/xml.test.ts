import fc from 'fast-check';
import { escapeXml, parseXml, textOf } from '../../../src/storage/xml';

test('elements, in their order, with their text', () => {
  const root = parseXml(
    '<?xml version="1.0"?>\n<List xmlns="http://x/">\n <Key>a</Key><Empty/><B a="1" >b</B >\n <Key>c</Key></List>\n',
  );
  expect(root).toMatchObject({ name: 'List', text: '' });
  expect(root!.children.map(({ name, text }) => [name, text])).toEqual([
    ['Key', 'a'],
    ['Empty', ''],
    ['B', 'b'],
    ['Key', 'c'],
  ]);
  expect([textOf(root, 'Key'), textOf(root, 'Empty'), textOf(root, 'None')]).toEqual(['a', '', undefined]);
});

test('entities, character references, CDATA and comments', () => {
  const root = parseXml(
    '<R><A>&quot;&amp;lt;&#x1F600;&#233;&lt;</A><B><![CDATA[<x>&amp;]]></B><!-- <C> --><D>d</D></R>',
  );
  expect(root!.children.map(({ text }) => text)).toEqual(['"&lt;😀é<', '<x>&amp;', 'd']);
});

test('any text comes back as it was', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), (text) => {
      expect(textOf(parseXml(`<R><T>${escapeXml(text)}</T></R>`), 'T')).toBe(text);
      expect(textOf(parseXml(`<R><T>&quot;${escapeXml(text)}&quot;</T></R>`), 'T')).toBe(`"${text}"`);
    }),
  );
});

const WHOLE = '<?xml version="1.0"?><List><Contents><Key>a</Key><Size>1</Size></Contents><Empty/></List>';

test('what was cut short anywhere is no document', () => {
  expect(parseXml(WHOLE)).toBeDefined();
  for (let length = 0; length < WHOLE.length; length++) expect(parseXml(WHOLE.slice(0, length))).toBeUndefined();
});

test.each([
  ['nothing', ''],
  ['a text', 'Service Unavailable'],
  ['a page for people', '<html><body><p>busy<br></body></html>'],
  ['tags that do not match', '<A><B></A></B>'],
  ['an end without a beginning', '</A>'],
  ['an unfinished comment', '<A><!-- </A>'],
])('%s is no document', (_, text) => {
  expect(parseXml(text)).toBeUndefined();
});
