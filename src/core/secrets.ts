// Redaction: what others printed, made fit to be shown. In comes text that may hold credentials, names and control
// characters (a helper's output above all); out goes one bounded, escaped line without them. When in doubt it takes away
// too much. Every pattern here is linear in the text, since the text may be hostile.

import { MAX_HELPER_OUTPUT_BYTES } from './limits.js';
import { cutToBytes, escapeForLog } from './text.js';
import type { Volume } from './volume.js';

/** Stands where a credential was. */
const CREDENTIAL = '[redacted]';
/** Stands where a hidden name was. */
const HIDDEN = '[hidden]';
/** Names at least this long are hidden wherever they occur; shorter ones only where they stand alone. */
const LONG_NAME = 6;

const KEY =
  '(?:pass(?:word|wd|phrase|code)?|pwd|secret|token|credentials?|api[_-]?key|access[_-]?key|private[_-]?key|auth|session|signature)';
const VALUE = `(?:"(?:[^"\\\\]|\\\\.)*(?:"|$)|'(?:[^'\\\\]|\\\\.)*(?:'|$)|[^\\s"']\\S*)`;
/** `password=x`, `"secret_key": "x"`, `access-key : x`. */
const PAIR = new RegExp(`(${KEY}[\\w-]{0,32}["']?\\s{0,8}[=:]\\s{0,8})${VALUE}`, 'gis');
/** `--password x`, `-token x`. */
const FLAG = new RegExp(`(-${KEY}[\\w-]{0,32}\\s{1,8})${VALUE}`, 'gis');
/** Header lines whose whole rest is the credential. */
const HEADER = /((?:authorization|cookie)["']?\s{0,8}[:=])[^\r\n]*/gi;
const BEARER = /\b(bearer|basic)\s{1,8}[^\s"']+/gi;
const PEM = /-----BEGIN [A-Z ]{0,40}-----(?:(?!-----END )[^])*(?:-----END [A-Z ]{0,40}-----|$)/g;
const QUERY = /\?[\w.%-]{1,64}=\S*/g;

/**
 * `text` as one escaped line of at most `maxBytes` bytes, without URL user info, key=value credentials, authorisation
 * headers, private keys and query strings, and without any of the `hidden` texts (in any case).
 */
export function redact(text: string, hidden: readonly string[], maxBytes = MAX_HELPER_OUTPUT_BYTES): string {
  let shown = text.slice(0, MAX_HELPER_OUTPUT_BYTES).replace(PEM, CREDENTIAL);
  shown = shown.replace(/\S+/g, withoutUserInfo).replace(QUERY, `?${CREDENTIAL}`);
  shown = shown.replace(HEADER, `$1 ${CREDENTIAL}`).replace(BEARER, `$1 ${CREDENTIAL}`);
  shown = shown.replace(PAIR, `$1${CREDENTIAL}`).replace(FLAG, `$1${CREDENTIAL}`);
  return bounded(escapeForLog(withoutNames(shown, hidden)), maxBytes);
}

/** The texts by which a volume's name or export could be told from others' output. */
export function namesOf(volume: Volume): readonly string[] {
  const name = volume.export.slice(volume.export.lastIndexOf('/') + 1);
  return [volume.url, volume.export, volume.export.replaceAll(',', '|'), name];
}

/** `scheme://user:secret@host` and `user:secret@host` within one word, up to the word's last `@`. */
function withoutUserInfo(word: string): string {
  const at = word.lastIndexOf('@');
  if (at < 0) return word;
  const scheme = word.indexOf('://');
  if (scheme >= 0 && scheme < at) return `${word.slice(0, scheme + 3)}${CREDENTIAL}${word.slice(at)}`;
  const colon = word.indexOf(':');
  return colon >= 0 && colon < at ? `${CREDENTIAL}${word.slice(at)}` : word;
}

function withoutNames(text: string, hidden: readonly string[]): string {
  // The longest first, so that an export goes as a whole before the name in it does.
  const names = [...new Set(hidden)].filter((name) => name !== '').sort((one, other) => other.length - one.length);
  if (names.length === 0) return text;
  const patterns = names.map((name) => {
    const literal = name.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
    return name.length >= LONG_NAME ? literal : `(?<![\\p{L}\\p{N}])${literal}(?![\\p{L}\\p{N}])`;
  });
  return text.replace(new RegExp(patterns.join('|'), 'giu'), HIDDEN);
}

function bounded(line: string, maxBytes: number): string {
  const cut = cutToBytes(line, maxBytes);
  const mark = ' …';
  return cut === line ? line : `${cutToBytes(line, Math.max(0, maxBytes - 4))}${mark}`;
}
