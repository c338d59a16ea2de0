/**
 * The XML of object stores: elements, text and nothing that means anything else. Attributes (only ever a namespace) are
 * passed over. A document that is not whole is refused: half of a listing would pass for all of it.
 *
 * Not a library's, because a listing of 20,000 blobs is to cost less than a tenth of a second: the parser of the AWS SDK
 * takes three times as long for it.
 */

export interface Element {
  readonly name: string;
  /** Without the entities. Empty where there are children. */
  readonly text: string;
  readonly children: readonly Element[];
}

interface Growing {
  readonly name: string;
  text: string;
  readonly children: Growing[];
}

/** The root; `undefined` for what is no XML, or not all of it. */
export function parseXml(xml: string): Element | undefined {
  const above: Growing[] = [{ name: '', text: '', children: [] }];
  for (let at = 0; ;) {
    const open = xml.indexOf('<', at);
    if (open < 0) break;
    const top = above.at(-1)!;
    const literal = literalAt(xml, open);
    const close = literal?.close ?? xml.indexOf('>', open);
    if (close < 0 || above.length === 0) return undefined;
    if (open > at && top.children.length === 0) top.text += withoutEntities(xml.slice(at, open));
    at = close + 1;
    const kind = xml.charCodeAt(open + 1);
    if (literal) {
      top.text += literal.text;
    } else if (kind === SLASH) {
      if (above.length === 1 || top.name !== xml.slice(open + 2, close).trimEnd()) return undefined;
      if (top.children.length > 0) top.text = '';
      above.pop();
    } else if (kind !== QUESTION && kind !== BANG) {
      const isEmpty = xml.charCodeAt(close - 1) === SLASH;
      const element = { name: nameIn(xml.slice(open + 1, isEmpty ? close - 1 : close)), text: '', children: [] };
      top.children.push(element);
      if (!isEmpty) above.push(element);
    }
  }
  return above.length === 1 ? above[0]!.children[0] : undefined;
}

/** The text of the first child of that name. */
export function textOf(element: Element | undefined, name: string): string | undefined {
  return element?.children.find((child) => child.name === name)?.text;
}

const [SLASH, QUESTION, BANG] = [0x2f, 0x3f, 0x21];
const CDATA = '<![CDATA[';
const COMMENT = '<!--';

/** What ends at a mark of its own, whatever stands in it. */
function literalAt(xml: string, open: number): { readonly text: string; readonly close: number } | undefined {
  if (xml.charCodeAt(open + 1) !== BANG) return undefined;
  for (const [start, end] of [
    [CDATA, ']]>'],
    [COMMENT, '-->'],
  ] as const) {
    if (!xml.startsWith(start, open)) continue;
    const last = xml.indexOf(end, open + start.length);
    return {
      text: start === CDATA && last > 0 ? xml.slice(open + start.length, last) : '',
      close: last < 0 ? -1 : last + 2,
    };
  }
  return undefined;
}

function nameIn(tag: string): string {
  const blank = tag.search(/\s/);
  return blank < 0 ? tag : tag.slice(0, blank);
}

const QUOTE = '&quot;';
const ENTITIES: Readonly<Record<string, string>> = { lt: '<', gt: '>', amp: '&', quot: '"', apos: "'" };

function withoutEntities(text: string): string {
  if (!text.includes('&')) return text;
  // Every etag of a listing, where nothing else has any.
  if (text.startsWith(QUOTE) && text.endsWith(QUOTE) && text.indexOf('&', 1) === text.length - QUOTE.length) {
    return `"${text.slice(QUOTE.length, -QUOTE.length)}"`;
  }
  return text.replace(
    /&(?:#x([0-9a-fA-F]+)|#([0-9]+)|([a-z]+));/g,
    (whole, hex?: string, decimal?: string, name?: string) => {
      if (name !== undefined) return ENTITIES[name] ?? whole;
      const code = hex === undefined ? Number(decimal) : Number.parseInt(hex, 16);
      return code <= 0x10ffff ? String.fromCodePoint(code) : whole;
    },
  );
}

/** For text between two tags. */
export function escapeXml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
