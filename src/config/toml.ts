// TOML text becomes values, and every key's line is found again for the messages. The parser is smol-toml; what is here
// is only what it does not tell: where a key stands, and in which form a number was written. Text comes in, nothing is opened.

import { parse, TomlError } from 'smol-toml';

/** What a TOML text says. */
export interface TomlText {
  readonly values: Readonly<Record<string, unknown>>;
  /** Line (from 1) of each key and table header, by dotted path (`backend.quobyte.mount_base`). */
  readonly lines: ReadonlyMap<string, number>;
  /** Lines that hold a number in another base than ten, which TOML allows and no setting takes. */
  readonly oddNumbers: readonly number[];
}

/** A text that is no TOML. */
export interface TomlFault {
  readonly line: number;
  readonly message: string;
}

/** Reads a TOML text. Integers become numbers, everything that only looks like one (`1e3`, `2.0`) becomes NaN. */
export function readToml(text: string): TomlText | TomlFault {
  let values: Record<string, unknown>;
  try {
    values = parse(text, { integersAsBigInt: true });
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    // The first line says what is wrong; the rest quotes the text, which may hold anything.
    const [message = 'not TOML'] = error.message.split('\n');
    return { line: error.line, message: message.replace(/^Invalid TOML document: /, '') };
  }
  const bare = blankOut(text);
  const odd = bare.flatMap((line, index) =>
    /(?<![\w.-])[+-]?0[xob][0-9A-Fa-f_]+/.test(afterKey(line)) ? [index + 1] : [],
  );
  return { values: plain(values) as Record<string, unknown>, lines: locate(text.split('\n'), bare), oddNumbers: odd };
}

function afterKey(line: string): string {
  return line.slice(line.indexOf('=') + 1);
}

function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : Number.NaN;
  if (typeof value === 'number') return Number.NaN;
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null || value instanceof Date) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
}

/** The lines with everything inside strings and comments made blank, so that what is left is structure. */
function blankOut(text: string): readonly string[] {
  const form = /"""[\s\S]*?"{3,5}|'''[\s\S]*?'{3,5}|"(?:\\.|[^"\\\n])*"|'[^'\n]*'|#[^\n]*/g;
  return text.replace(form, (found) => found.replace(/[^\n]/g, ' ')).split('\n');
}

/** Where each key stands. `bare` is `lines` with strings and comments made blank. */
function locate(lines: readonly string[], bare: readonly string[]): ReadonlyMap<string, number> {
  const found = new Map<string, number>();
  let table: readonly string[] = [];
  let depth = 0;
  bare.forEach((line, index) => {
    const original = lines[index] ?? '';
    if (depth === 0) {
      const equals = line.indexOf('=');
      const header = /^\s*\[/.test(line) && equals < 0;
      if (header) table = keyParts(original.slice(original.indexOf('[') + 1, line.lastIndexOf(']')));
      const key = header ? table : equals < 0 ? null : [...table, ...keyParts(original.slice(0, equals))];
      if (key !== null && !found.has(key.join('.'))) found.set(key.join('.'), index + 1);
      if (header) return;
    }
    for (const character of afterKey(line)) depth += '[{'.includes(character) ? 1 : ']}'.includes(character) ? -1 : 0;
  });
  return found;
}

function keyParts(text: string): readonly string[] {
  return [...text.matchAll(/"((?:\\.|[^"\\])*)"|'([^']*)'|([A-Za-z0-9_-]+)/g)].map(
    (match) => match[1] ?? match[2] ?? match[3] ?? '',
  );
}
