import { describe, expect, it } from 'vitest';
import { toXml } from '../../../src/core/xml.js';

describe('XML', () => {
  it('is written with its text escaped', () => {
    expect(
      toXml({ name: 'a', attributes: { b: `<"'&>` }, content: [{ name: 'c', content: '</c>&' }, { name: 'd' }] }),
    ).toBe('<a b="&lt;&quot;&apos;&amp;&gt;">\n  <c>&lt;/c&gt;&amp;</c>\n  <d/>\n</a>');
  });

  it('keeps blanks that a reader would fold', () => {
    expect(toXml({ name: 'a', attributes: { b: 'x\ty\nz\r' } })).toBe('<a b="x&#9;y&#10;z&#13;"/>');
  });

  it('stays well-formed whatever it is given', () => {
    expect(toXml({ name: 'a', content: 'x\0\x1b\ud800\uffff😀y' })).toBe('<a>x\ufffd\ufffd\ufffd\ufffd😀y</a>');
  });

  it('has no content where there is none', () => {
    expect(toXml({ name: 'a', content: '' })).toBe('<a/>');
    expect(toXml({ name: 'a', content: [] })).toBe('<a/>');
  });
});
