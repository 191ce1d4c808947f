// Numbers that come from outside, as values (JSON, TOML) or as text (CLI, URLs). Each is a range-checked integer or
// refused: no floats, exponents, other bases, signs, leading zeros, blanks or digits of other scripts. Nothing here
// falls back to a default.

import { DISK_BLOCK_BYTES, MAX_DISK_BYTES } from './limits.js';
import { refusal } from './text.js';

/** Inclusive bounds. */
interface Range {
  readonly min: number;
  readonly max: number;
}

const UNIT_MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 } as const;
/** As qemu-img reads them (qemu-img(1)): powers of 1024, in either case. */
const UNIT_BYTES = { '': 1, K: 1024, M: 1_048_576, G: 1_073_741_824, T: 1_099_511_627_776 } as const;
const DECIMAL = /^(?:0|[1-9][0-9]{0,15})$/;
const DURATION = /^(0|[1-9][0-9]{0,12})(ms|s|m|h)$/;
const SIZE = /^(0|[1-9][0-9]{0,15})([kmgt]?)$/i;

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
    throw refusal(field, `must be between ${spellDuration(range.min)} and ${spellDuration(range.max)}`);
  }
  return ms;
}

/**
 * The size of a disk such as `10G`, `512M` or `1073741824`, in bytes: a whole number, alone (bytes) or with one of K, M, G and T, which are
 * powers of 1024 as in qemu-img. Bounds as in {@link parseDiskBytes}.
 */
export function parseSize(text: unknown, field: string): number {
  const match = typeof text === 'string' ? SIZE.exec(text) : null;
  if (match === null) {
    throw refusal(
      field,
      'must be a whole number of bytes, or one with K, M, G or T (powers of 1024), for instance 10G',
    );
  }
  const unit = UNIT_BYTES[(match[2] ?? '').toUpperCase() as keyof typeof UNIT_BYTES];
  return parseDiskBytes(Number(match[1]) * unit, field);
}

/** The size of a disk in bytes, as a number: at least one block of 512 bytes, whole blocks, at most {@link MAX_DISK_BYTES}. */
export function parseDiskBytes(value: unknown, field: string): number {
  const bytes = typeof value === 'number' && Number.isSafeInteger(value) ? value : Number.NaN;
  if (!(bytes >= DISK_BLOCK_BYTES && bytes <= MAX_DISK_BYTES) || bytes % DISK_BLOCK_BYTES !== 0) {
    const most = `${MAX_DISK_BYTES / UNIT_BYTES.T}T`;
    throw refusal(field, `must be a multiple of ${DISK_BLOCK_BYTES} bytes, from ${DISK_BLOCK_BYTES} bytes to ${most}`);
  }
  return bytes;
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

/** Milliseconds as such a duration, in the largest unit that it is a whole number of, and more than one. */
export function spellDuration(ms: number): string {
  const [unit, inUnit] = Object.entries(UNIT_MS).findLast(([, each]) => ms % each === 0 && ms > each) ?? ['ms', 1];
  return `${ms / inUnit}${unit}`;
}
