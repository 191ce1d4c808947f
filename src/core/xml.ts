// XML, written only: elements as values, so that no text is ever pasted into markup. For libvirt's descriptions.

/** One element. Attributes are written in the order given. */
export interface Element {
  readonly name: string;
  readonly attributes?: Readonly<Record<string, string>>;
  /** Elements, or text. */
  readonly content?: readonly Element[] | string;
}

/** The element as text, two blanks of indentation a level, without a declaration and without a last newline. */
export function toXml(element: Element, indentation = ''): string {
  const attributes = Object.entries(element.attributes ?? {}).map(([name, value]) => ` ${name}="${escaped(value)}"`);
  const opening = `${indentation}<${element.name}${attributes.join('')}`;
  if (element.content === undefined || element.content.length === 0) return `${opening}/>`;
  if (typeof element.content === 'string') return `${opening}>${escaped(element.content)}</${element.name}>`;
  const inner = element.content.map((child) => `${toXml(child, `${indentation}  `)}\n`).join('');
  return `${opening}>\n${inner}${indentation}</${element.name}>`;
}

/**
 * Text as character data or attribute value (XML 1.0, 2.4 and 3.3.3). Tab and newline are written as references, or a
 * reader would turn them into blanks; what XML cannot carry at all becomes U+FFFD, so the document stays well-formed.
 */
function escaped(text: string): string {
  return text
    .replace(/[&<>"']/g, (character) => ENTITIES[character] ?? character)
    .replace(/[\t\n\r]/g, (character) => `&#${character.charCodeAt(0)};`)
    .replace(NOT_XML, '\ufffd');
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&apos;',
};
const NOT_XML = /[^\t\n\r\u{20}-\u{d7ff}\u{e000}-\u{fffd}\u{10000}-\u{10ffff}]/gu;
