import { describe, expect, it } from 'vitest';
import { checkText, cutToBytes, escapeForLog, hasForbidden, utf8Length } from '../../../src/core/text.js';
import { refusalOf } from '../../refusal.js';

const forbidden: readonly (readonly [string, string])[] = [
  ['NUL', '\0'],
  ['newline', '\n'],
  ['carriage return', '\r'],
  ['tab', '\t'],
  ['ESC', '\x1b'],
  ['DEL', '\x7f'],
  ['C1 control', '\x9b'],
  ['line separator', '\u2028'],
  ['paragraph separator', '\u2029'],
  ['left-to-right mark', '\u200e'],
  ['right-to-left override', '\u202e'],
  ['pop directional isolate', '\u2069'],
  ['arabic letter mark', '\u061c'],
  ['zero width space', '\u200b'],
  ['zero width joiner', '\u200d'],
  ['word joiner', '\u2060'],
  ['byte order mark', '\ufeff'],
  ['soft hyphen', '\u00ad'],
  ['interlinear annotation anchor', '\ufff9'],
  ['combining grapheme joiner', '\u034f'],
  ['variation selector', '\ufe0f'],
  ['Hangul filler', '\u3164'],
  ['tag character', '\u{e0041}'],
  ['lone high surrogate', '\ud800'],
  ['lone low surrogate', '\udfff'],
  ['noncharacter', '\uffff'],
];

describe('outside text', () => {
  it.each(forbidden)('is refused when it has a %s, without the text in the message', (_, character) => {
    expect(hasForbidden(`a${character}b`)).toBe(true);
    for (const blanks of ['refused', 'inside'] as const) {
      const error = refusalOf(() => checkText(`mark${character}er`, 'url', { maxBytes: 100, blanks }));
      expect(error.field).toBe('url');
      expect(error.message).not.toContain('mark');
      expect(error.message).not.toContain(character);
    }
  });

  it.each(['a', 'Grüße', '日本語', 'नमस्ते', '😀', 'e\u0301'])('keeps %s', (text) => {
    expect(checkText(text, 'f', { maxBytes: 100, blanks: 'refused' })).toBe(text);
  });

  it.each([undefined, null, 5, 5n, true, [], {}, ['a'], JSON.parse('{"__proto__":"a"}') as unknown, new String('a')])(
    'is refused when it is no text',
    (value) => {
      expect(refusalOf(() => checkText(value, 'f', { maxBytes: 9, blanks: 'inside' })).message).toBe('f must be text.');
    },
  );

  it('is measured in bytes of UTF-8', () => {
    expect(checkText('é'.repeat(4), 'f', { maxBytes: 8, blanks: 'refused' })).toHaveLength(4);
    expect(refusalOf(() => checkText('é'.repeat(4), 'f', { maxBytes: 7, blanks: 'refused' })).message).toContain('7');
    expect(utf8Length('😀')).toBe(4);
  });

  it.each([' ', '\u00a0', '\u3000', '\u2009'])('has no blank where blanks are refused', (blank) => {
    refusalOf(() => checkText(`a${blank}b`, 'f', { maxBytes: 9, blanks: 'refused' }));
  });

  it('has plain spaces only, and only inside, where they are allowed', () => {
    const rule = { maxBytes: 20, blanks: 'inside' } as const;
    expect(checkText('a b', 'f', rule)).toBe('a b');
    for (const text of [' a', 'a ', ' ', 'a\u00a0b', '']) refusalOf(() => checkText(text, 'f', rule));
  });
});

describe('a log line', () => {
  it.each(forbidden)('shows a %s escaped', (_, character) => {
    const line = escapeForLog(`x${character}y`);
    expect(hasForbidden(line)).toBe(false);
    expect(line).toMatch(/^x\\.+y$/);
  });

  it('cannot be made to look like another', () => {
    expect(escapeForLog('a\nb')).toBe('a\\nb');
    expect(escapeForLog('a\\nb')).toBe('a\\\\nb');
    expect(escapeForLog('\x1b[2J')).toBe('\\u{1b}[2J');
  });
});

describe('cutting', () => {
  it.each([
    ['abc', 2, 'ab'],
    ['é', 1, ''],
    ['aé', 2, 'a'],
    ['😀b', 4, '😀'],
    ['😀b', 3, ''],
    ['abc', 9, 'abc'],
    ['abc', 0, ''],
  ])('%s to %d bytes', (text, bytes, cut) => {
    expect(cutToBytes(text, bytes)).toBe(cut);
  });
});
