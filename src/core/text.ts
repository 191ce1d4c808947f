// Outside text: which characters it may never have, how long it is, and how it is shown. Every parser of core and
// backends starts here, so that there is one answer to "may this character stand in a name?". Nothing in this file
// repeats a refused text: messages name the field and the rule.

import { FairleadError } from './errors.js';
import { FORBIDDEN_CHARACTERS } from './patterns.js';

const FORBIDDEN = new RegExp(`[${FORBIDDEN_CHARACTERS}]`, 'u');
const FORBIDDEN_ALL = new RegExp(FORBIDDEN.source, 'gu');
/** Every blank that is not a control already: space, no-break space, ideographic space … */
const BLANK = /\p{White_Space}/u;

const encoder = new TextEncoder();

/** What a text field allows beyond {@link FORBIDDEN_CHARACTERS}. */
interface TextRule {
  readonly maxBytes: number;
  /** `inside`: U+0020 only, and neither first nor last. */
  readonly blanks: 'refused' | 'inside';
}

/** The refusal of a field: `invalid-argument` with "FIELD RULE.", never with the value. */
export function refusal(field: string, rule: string): FairleadError {
  return new FairleadError('invalid-argument', `${field} ${rule}.`, { field });
}

/** Bytes of the text in UTF-8 (three for a lone surrogate). */
export function utf8Length(text: string): number {
  return encoder.encode(text).length;
}

/** Whether the text has a character that no accepted text contains. */
export function hasForbidden(text: string): boolean {
  return FORBIDDEN.test(text);
}

/** `value` as text that is not empty, not too long and free of forbidden characters; else `invalid-argument`. */
export function checkText(value: unknown, field: string, rule: TextRule): string {
  if (typeof value !== 'string') throw refusal(field, 'must be text');
  if (value === '') throw refusal(field, 'must not be empty');
  // Each UTF-16 unit takes at least one byte, so a huge text is refused before it is encoded.
  if (value.length > rule.maxBytes || utf8Length(value) > rule.maxBytes) {
    throw refusal(field, `must be at most ${rule.maxBytes} bytes long`);
  }
  if (hasForbidden(value)) {
    throw refusal(field, 'must not contain control, format or invisible characters, or broken Unicode');
  }
  if (rule.blanks === 'refused') {
    if (BLANK.test(value)) throw refusal(field, 'must not contain blanks');
  } else {
    if (BLANK.test(value.replaceAll(' ', ''))) throw refusal(field, 'must not contain blanks other than plain spaces');
    if (value.startsWith(' ') || value.endsWith(' ')) throw refusal(field, 'must not begin or end with a blank');
  }
  return value;
}

/**
 * One line that shows the text and cannot forge another: forbidden characters become `\n`, `\t`, `\r` or `\u{HEX}`, and
 * a backslash is doubled, so that two texts never look alike.
 */
export function escapeForLog(text: string): string {
  return text.replaceAll('\\', '\\\\').replace(FORBIDDEN_ALL, escapeCharacter);
}

/** Text that was escaped where it was made, for a terminal: as it is, unless somebody left out the escaping. */
export function showEscaped(text: string): string {
  return hasForbidden(text) ? escapeForLog(text) : text;
}

function escapeCharacter(character: string): string {
  switch (character) {
    case '\n':
      return '\\n';
    case '\r':
      return '\\r';
    case '\t':
      return '\\t';
    default:
      return `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`;
  }
}

/** The longest beginning of the text that fits into `maxBytes` of UTF-8 without cutting a character in two. */
export function cutToBytes(text: string, maxBytes: number): string {
  // A byte holds at most one UTF-16 unit, so what lies beyond is never needed.
  const head = text.slice(0, maxBytes);
  const { read } = encoder.encodeInto(head, new Uint8Array(maxBytes));
  return head.slice(0, read);
}

/** Names of a list that a sentence shows; of a longer one only how many more there are. */
const LISTED = 5;

/** `a, b and 3 more`: a list for people. The texts were escaped where they came in. */
export function listed(texts: readonly string[]): string {
  const shown = texts.slice(0, LISTED).join(', ');
  return texts.length <= LISTED ? shown : `${shown} and ${texts.length - LISTED} more`;
}

/** The text as one word of a shell's command line. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
