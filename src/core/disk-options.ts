// What may be said of a disk beyond its file, as it comes from outside (JSON): each option through a parser of its own, and then those
// together that QEMU refuses together. What libvirt or QEMU would refuse only when the guest gets the disk is refused here, before
// anything is mounted. Bounds are those of libvirt 9.0 and QEMU 7.2, read there and tried there. Pure.

import { IOTUNE_KEYS, type BlockSizes, type DiskOptions, type Iotune, type IotuneKey } from './disk.js';
import { parseInteger } from './numbers.js';
import * as patterns from './patterns.js';
import { checkText, refusal } from './text.js';

/** QEMU's largest limit (libvirt's QEMU_BLOCK_IOTUNE_MAX, QEMU's THROTTLE_VALUE_MAX). */
export const MAX_IOTUNE = 1_000_000_000_000_000;
/** Bytes: the bounds of QEMU's block sizes, powers of two (QEMU's MAX_BLOCK_SIZE, 2 MiB since 5.2). */
export const BLOCK_BYTES = { min: 512, max: 2_097_152 };
/** The last unit of a virtio-scsi controller (QEMU's VIRTIO_SCSI_MAX_LUN). */
export const MAX_UNIT = 16_383;
/** Bytes of a serial or an alias. */
export const MAX_TEXT_BYTES = 128;
const SERIAL = new RegExp(patterns.SERIAL);
const ALIAS = new RegExp(patterns.ALIAS);
const UUID = new RegExp(patterns.UUID);

const PARSERS: { readonly [Name in keyof DiskOptions]-?: (value: unknown, field: string) => DiskOptions[Name] } = {
  serial: parseSerial,
  discard: parseDiscard,
  iotune: parseIotune,
  blockSizes: parseBlockSizes,
  shareable: parseShareable,
  alias: parseAlias,
  encryption: (value, field) => ({
    secret: parseSecret(membersOf(value, field, ['secret'])['secret'], `${field}.secret`),
  }),
  unit: parseUnit,
};

/** The options of a disk from JSON; absent means none. Unknown ones are refused. */
export function parseDiskOptions(value: unknown, field: string): DiskOptions {
  if (value === undefined) return {};
  const given = membersOf(value, field, Object.keys(PARSERS));
  const parsed = Object.entries(PARSERS)
    .filter(([name]) => given[name] !== undefined)
    .map(([name, parse]) => [name, parse(given[name], `${field}.${name}`)] as const)
    .filter(([, option]) => option !== undefined);
  return Object.fromEntries(parsed);
}

/** The serial that the guest sees: what libvirt's schema allows, at most 128 bytes, beginning with a letter or digit. */
export function parseSerial(value: unknown, field: string): string {
  const text = checkText(value, field, { maxBytes: MAX_TEXT_BYTES, blanks: 'inside' });
  if (!SERIAL.test(text)) {
    throw refusal(field, 'must begin with a letter or digit and have only letters, digits, blanks and _ . + -');
  }
  return text;
}

/** Whether libvirt would take this as a user alias. */
export function isAlias(text: string): boolean {
  return text.length <= MAX_TEXT_BYTES && ALIAS.test(text);
}

/** The UUID of a libvirt secret, in lower case. */
export function parseSecret(value: unknown, field: string): string {
  if (typeof value !== 'string' || !UUID.test(value)) {
    throw refusal(field, 'must be the UUID of a libvirt secret, in its dashed form');
  }
  return value.toLowerCase();
}

/** A unit of the SCSI controller, 0 to 16383. */
export function parseUnit(value: unknown, field: string): number {
  return parseInteger(value, field, { min: 0, max: MAX_UNIT });
}

/** One limit, 0 to 10^15. */
export function parseLimit(value: unknown, field: string): number {
  return parseInteger(value, field, { min: 0, max: MAX_IOTUNE });
}

/**
 * Refuses limits that contradict each other, as libvirt and QEMU do: a total together with one for reading or writing of the same kind;
 * a burst (`_max`) without its sustained limit, or below it; a size without a limit on operations. 0 counts as absent.
 */
export function checkIotune(iotune: Iotune, field: string): Iotune {
  const given = (key: IotuneKey): number => iotune[key] ?? 0;
  const name = (key: IotuneKey): string => `${field}.${key}`;
  for (const kind of ['bytes_sec', 'iops_sec', 'bytes_sec_max', 'iops_sec_max'] as const) {
    if (given(`total_${kind}`) > 0 && given(`read_${kind}`) + given(`write_${kind}`) > 0) {
      throw refusal(name(`total_${kind}`), 'cannot be set together with the limit for reading or for writing');
    }
  }
  for (const way of ['read', 'write', 'total'] as const) {
    for (const kind of ['bytes_sec', 'iops_sec'] as const) {
      const [sustained, burst] = [given(`${way}_${kind}`), given(`${way}_${kind}_max`)];
      if (burst > 0 && (sustained === 0 || burst < sustained)) {
        throw refusal(name(`${way}_${kind}_max`), `needs ${way}_${kind}, and must not be below it`);
      }
    }
  }
  const operations = given('total_iops_sec') + given('read_iops_sec') + given('write_iops_sec');
  if (given('size_iops_sec') > 0 && operations === 0) {
    throw refusal(name('size_iops_sec'), 'needs a limit on operations a second');
  }
  return iotune;
}

/** Refuses a logical size above the physical one, which is 512 where it is not given (QEMU refuses it too). */
export function checkBlockSizes(sizes: BlockSizes, field: (size: keyof BlockSizes) => string): BlockSizes {
  for (const size of ['logical', 'physical'] as const) {
    const bytes = sizes[size];
    if (bytes === undefined) continue;
    parseInteger(bytes, field(size), BLOCK_BYTES);
    if (!Number.isInteger(Math.log2(bytes))) throw refusal(field(size), 'must be a power of two');
  }
  if ((sizes.logical ?? 0) > (sizes.physical ?? BLOCK_BYTES.min)) {
    throw refusal(field('logical'), 'must not be above the physical block size, which is 512 where it is not given');
  }
  return sizes;
}

function parseDiscard(value: unknown, field: string): 'unmap' {
  if (value !== 'unmap') throw refusal(field, 'must be unmap');
  return value;
}

function parseShareable(value: unknown, field: string): true | undefined {
  if (typeof value !== 'boolean') throw refusal(field, 'must be true or false');
  return value ? true : undefined;
}

function parseAlias(value: unknown, field: string): string {
  if (typeof value !== 'string' || !isAlias(value)) {
    throw refusal(field, `must be ua- and letters, digits, _ and -, at most ${MAX_TEXT_BYTES} bytes together`);
  }
  return value;
}

function parseIotune(value: unknown, field: string): Iotune {
  const given = membersOf(value, field, IOTUNE_KEYS);
  const limits = IOTUNE_KEYS.filter((key) => given[key] !== undefined).map(
    (key) => [key, parseLimit(given[key], `${field}.${key}`)] as const,
  );
  return checkIotune(Object.fromEntries(limits), field);
}

function parseBlockSizes(value: unknown, field: string): BlockSizes {
  const given = membersOf(value, field, ['logical', 'physical']);
  const name = (size: keyof BlockSizes): string => `${field}.${size}`;
  if (given['logical'] === undefined && given['physical'] === undefined) {
    throw refusal(field, 'must give logical, physical or both');
  }
  const sizes = (['logical', 'physical'] as const)
    .filter((size) => given[size] !== undefined)
    .map((size) => [size, parseInteger(given[size], name(size), BLOCK_BYTES)] as const);
  return checkBlockSizes(Object.fromEntries(sizes), name);
}

/** The members of a JSON object, if all of them are known. */
function membersOf(value: unknown, field: string, known: readonly string[]): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw refusal(field, 'must be a JSON object');
  const unknown = Object.keys(value).find((name) => !known.includes(name));
  if (unknown !== undefined) throw refusal(field, `may have only ${known.join(', ')}`);
  return value as Readonly<Record<string, unknown>>;
}
