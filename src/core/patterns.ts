// The grammars of names as regular expressions in text (ECMA-262, with the flag u), anchored at both ends. Parsers are made of them where
// one expression says it all, and the OpenAPI document shows all of them. A property test compares each with its parser. Pure.

/**
 * What no accepted text contains, as the inside of a character class: controls (NUL, newline, ESC …), format characters (bidi controls,
 * zero-width characters, byte order mark, soft hyphen, tags), line and paragraph separators, lone surrogates,
 * noncharacters, and whatever Unicode lets a renderer leave out (variation selectors, fillers). Unassigned code points
 * are not among them: what is assigned differs between releases of Node.
 */
export const FORBIDDEN_CHARACTERS =
  '\\p{Cc}\\p{Cf}\\p{Cs}\\p{Zl}\\p{Zp}\\p{Default_Ignorable_Code_Point}\\p{Noncharacter_Code_Point}';
/** Every blank that is not forbidden anyhow, as the inside of a character class. */
const BLANKS = '\\p{Zs}';
/** Blanks other than the plain space: what is left when that one is allowed. */
const STRANGE_BLANKS = '\\u00a0\\u1680\\u2000-\\u200a\\u202f\\u205f\\u3000';

const HEX = '[0-9a-fA-F]';
const UUID_OF_ANY_CASE = `${HEX}{8}-${HEX}{4}-${HEX}{4}-${HEX}{4}-${HEX}{12}`;

/** An ID that is no UUID: ASCII, first a letter or digit, no slash, so that it can be shown and logged as it is. Not anchored. */
export const PLAIN_ID = '[A-Za-z0-9][A-Za-z0-9._:@=+~-]*';

/** A consumer. */
export const CONSUMER = `^(?:(?:nova|vm):${UUID_OF_ANY_CASE}|(?:csi|docker|cli):${PLAIN_ID})$`;
/** A disk's name. */
export const DISK_NAME = `^(?!\\.{1,2}$)(?![- ])[^/${FORBIDDEN_CHARACTERS}${STRANGE_BLANKS}]*[^/ ${FORBIDDEN_CHARACTERS}${STRANGE_BLANKS}]$`;
/** A domain's name or UUID. */
export const DOMAIN = `^(?! )[^/${FORBIDDEN_CHARACTERS}${STRANGE_BLANKS}]*[^/ ${FORBIDDEN_CHARACTERS}${STRANGE_BLANKS}]$`;
/** A UUID in its dashed form, in either case. */
export const UUID = `^${UUID_OF_ANY_CASE}$`;
/** The name of a mount. */
export const LEAF = '^[0-9a-f]{32}$';
/** The guest's device name. */
export const DEVICE = '^(?:vd|sd|hd|xvd)[a-z]{1,3}$';
/** A disk's serial number: what libvirt's schema allows, beginning with a letter or digit. */
export const SERIAL = '^[A-Za-z0-9](?:[A-Za-z0-9_.+ -]*[A-Za-z0-9_.+-])?$';
/** libvirt takes aliases of these only, and drops others without a word (USER_ALIAS_CHARS in domain_conf.c). */
export const ALIAS = '^ua-[A-Za-z0-9_-]+$';

/** One character of a name in a volume URL: no slash, no blank, nothing that is forbidden, and none of `also`. Not anchored. */
export function urlCharacter(also: string): string {
  return `[^/${also}${FORBIDDEN_CHARACTERS}${BLANKS}]`;
}
