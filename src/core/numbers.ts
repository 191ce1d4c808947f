// Numbers that come from outside, as values (JSON, TOML) or as text (CLI, URLs). Each is a range-checked integer or
// refused: no floats, exponents, other bases, signs, leading zeros, blanks or digits of other scripts. Nothing here
// falls back to a default.

import { refusal } from './text.js';

/** Inclusive bounds. */
interface Range {
  readonly min: number;
  readonly max: number;
}

const UNIT_MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 } as const;
const DECIMAL = /^(?:0|[1-9][0-9]{0,15})$/;
const DURATION = /^(0|[1-9][0-9]{0,12})(ms|s|m|h)$/;

/** `value` (a number or a bigint, not text) as an integer in the range; else `invalid-argument`. */
export function parseInteger(value: unknown, field: string, range: Range): number {
  if (typeof value !== 'number' && typeof value !== 'bigint') throw refusal(field, `must be ${spell(range)}`);
  return inRange(Number(value), field, range);
}

/** Text of plain decimal digits as an integer in the range; else `invalid-argument`. */
export function parseDecimal(text: unknown, field: string, range: Range): number {
  if (typeof text !== 'string' || !DECIMAL.test(text)) {
    throw refusal(field, `must be ${spell(range)}, written in plain decimal digits`);
  }
  return inRange(Number(text), field, range);
}

/** A TCP port, 1 to 65535, from text. */
export function parsePort(text: unknown, field: string): number {
  if (typeof text !== 'string' || !DECIMAL.test(text) || Number(text) < 1 || Number(text) > 65_535) {
    throw refusal(field, 'must give a port as a whole number from 1 to 65535');
  }
  return Number(text);
}

/**
 * A duration such as `500ms`, `60s`, `2m` or `1h`, in milliseconds. One whole number and one unit; the range is in
 * milliseconds. A number without a unit is refused, since it reads as seconds to one and milliseconds to another.
 */
export function parseDuration(text: unknown, field: string, range: Range): number {
  const match = typeof text === 'string' ? DURATION.exec(text) : null;
  if (match === null) throw refusal(field, 'must be a whole number with a unit: ms, s, m or h, for instance "60s"');
  const ms = Number(match[1]) * UNIT_MS[match[2] as keyof typeof UNIT_MS];
  if (!(ms >= range.min && ms <= range.max)) {
    throw refusal(field, `must be between ${spellMs(range.min)} and ${spellMs(range.max)}`);
  }
  return ms;
}

function inRange(number: number, field: string, range: Range): number {
  // Number.isSafeInteger refuses NaN, the infinities, fractions and 2**53; -0 is not what anybody meant.
  if (!Number.isSafeInteger(number) || Object.is(number, -0) || number < range.min || number > range.max) {
    throw refusal(field, `must be ${spell(range)}`);
  }
  return number;
}

function spell(range: Range): string {
  return `a whole number from ${range.min} to ${range.max}`;
}

function spellMs(ms: number): string {
  return ms % 1000 === 0 ? `${ms / 1000}s` : `${ms}ms`;
}
