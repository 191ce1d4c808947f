// Nova's connection record, as Cinder made it and Nova stored it, becomes a typed value or a refusal that names the field only. The
// value is made of named members, each through a parser of its own; the record itself goes nowhere and is never changed.
//
// Members that are not named here are ignored: Cinder and Nova add some with every release, and Nova stores records for years, so a
// refusal would make a disk that was attached long ago impossible to detach. They reach nothing, since nothing here copies an object.
// Among them are `device_path`, which says where the disk was on some host at some time, and Cinder's `cacheable`, which is about
// local caches of block devices. Pure.

import { checkBlockSizes, checkIotune, isAlias, parseLimit, parseSerial } from './disk-options.js';
import {
  IOTUNE_KEYS,
  parseAccessMode,
  parseDiskFormat,
  type BlockSizes,
  type DiskFormat,
  type DiskOptions,
  type Iotune,
} from './disk.js';
import { MAX_PATH_BYTES } from './limits.js';
import { parseDiskName, type DiskName } from './names.js';
import { parseDecimal } from './numbers.js';
import { checkText, refusal } from './text.js';
import type { Access } from './verdict.js';
import type { Volume } from './volume.js';

/** The one kind of volume that these records may be about. */
const VOLUME_TYPE = 'quobyte';
/** Bytes of Cinder's name of a volume. */
const MAX_VOLUME_ID_BYTES = 255;

/** What a record is about: enough to end an attachment. */
export interface RecordIdentity {
  readonly volume: Volume;
  readonly disk: DiskName;
}

/** Everything that a record says and Fairlead uses. */
export interface ConnectionInfo extends RecordIdentity {
  readonly format: DiskFormat;
  readonly access: Access;
  /** All but `encryption` and `unit`, which a record does not have. */
  readonly options: DiskOptions;
  /** Cinder has a key for the volume: what is in the file is no disk until a secret opens it. */
  readonly encrypted: boolean;
  /** Limits in `qos_specs` that libvirt has no name for, and that are therefore not applied. */
  readonly unknownLimits: number;
}

/** The grammar of volumes, which core does not know. */
interface VolumeGrammar {
  parseVolume(text: unknown, field: string): Volume;
}

/**
 * Volume and disk of a record, and nothing else: whatever may be wrong with the description of a disk, it can be disconnected.
 *
 * @throws FairleadError `invalid-argument` naming the member.
 */
export function parseRecordIdentity(value: unknown, field: string, grammar: VolumeGrammar): RecordIdentity {
  const record = objectOf(value, field);
  if (record['driver_volume_type'] !== VOLUME_TYPE)
    throw refusal(`${field}.driver_volume_type`, `must be ${VOLUME_TYPE}`);
  const data = objectOf(record['data'], `${field}.data`);
  const volume = grammar.parseVolume(data['export'], `${field}.data.export`);
  if (volume.backend !== VOLUME_TYPE) throw refusal(`${field}.data.export`, `must name a ${VOLUME_TYPE} volume`);
  return { volume, disk: parseDiskName(data['name'], `${field}.data.name`) };
}

/**
 * The whole record.
 *
 * @throws FairleadError `invalid-argument` naming the member.
 */
export function parseConnectionInfo(value: unknown, field: string, grammar: VolumeGrammar): ConnectionInfo {
  const identity = parseRecordIdentity(value, field, grammar);
  const record = objectOf(value, field);
  const data = objectOf(record['data'], `${field}.data`);
  const name = (member: string): string => `${field}.data.${member}`;
  checkMountPointBase(record['mount_point_base'], `${field}.mount_point_base`);
  if (!isAbsent(data['options']) && data['options'] !== '') {
    throw refusal(name('options'), 'must be null or empty: mount options come from the configuration of this host');
  }
  const specs = isAbsent(data['qos_specs']) ? {} : objectOf(data['qos_specs'], name('qos_specs'));
  const iotune = limitsOf(specs, name('qos_specs'));
  const blockSizes = blockSizesOf(data, name);
  const serial = isAbsent(record['serial']) ? null : parseSerial(record['serial'], `${field}.serial`);
  const alias = aliasOf(data['volume_id'], name('volume_id'), serial);
  return {
    ...identity,
    format: parseDiskFormat(data['format'], name('format')),
    access: parseAccessMode(data['access_mode'] ?? undefined, name('access_mode')),
    options: {
      ...(serial === null ? {} : { serial }),
      ...(flagOf(data['discard'], name('discard')) ? { discard: 'unmap' } : {}),
      ...(iotune === null ? {} : { iotune }),
      ...(blockSizes === null ? {} : { blockSizes }),
      ...(flagOf(record['multiattach'], `${field}.multiattach`) ? { shareable: true } : {}),
      ...(alias === null ? {} : { alias }),
    },
    encrypted: flagOf(data['encrypted'], name('encrypted')),
    unknownLimits: Object.keys(specs).filter((key) => !IOTUNE_KEYS.some((known) => known === key)).length,
  };
}

/** Where a part of the description stands in a record, for refusals of parts that cannot go together. */
export function memberOf(part: keyof DiskOptions | 'access', field: string): string {
  switch (part) {
    case 'access':
      return `${field}.data.access_mode`;
    case 'shareable':
      return `${field}.multiattach`;
    default:
      return field;
  }
}

/**
 * Cinder's own mount base: a directory of the host where Cinder runs, and no business of this one, whose base is in its configuration.
 * A path from a record would let whoever writes records choose where root mounts (I7). Text it must be; it is used for nothing.
 */
function checkMountPointBase(value: unknown, field: string): void {
  if (!isAbsent(value)) checkText(value, field, { maxBytes: MAX_PATH_BYTES, blanks: 'inside' });
}

/** Limits by libvirt's names, as whole numbers or, as Cinder stores them, plain decimal text. Null: none. */
function limitsOf(specs: Readonly<Record<string, unknown>>, field: string): Iotune | null {
  const limits = IOTUNE_KEYS.filter((key) => !isAbsent(specs[key])).map(
    (key) => [key, parseLimit(numberOf(specs[key], `${field}.${key}`), `${field}.${key}`)] as const,
  );
  return limits.length === 0 ? null : checkIotune(Object.fromEntries(limits), field);
}

function blockSizesOf(data: Readonly<Record<string, unknown>>, name: (member: string) => string): BlockSizes | null {
  const given = (['logical', 'physical'] as const)
    .map((size) => [size, `${size}_block_size`] as const)
    .filter(([, member]) => !isAbsent(data[member]))
    .map(([size, member]) => [size, numberOf(data[member], name(member))] as const);
  return given.length === 0 ? null : checkBlockSizes(Object.fromEntries(given), (size) => name(`${size}_block_size`));
}

/**
 * The alias by which newer Nova finds the disk again: made of Cinder's id of the volume or, as Nova does, of the serial. libvirt drops
 * an alias with other characters without a word, so then there is none.
 */
function aliasOf(value: unknown, field: string, serial: string | null): string | null {
  const volumeId =
    isAbsent(value) || value === ''
      ? serial
      : checkText(value, field, { maxBytes: MAX_VOLUME_ID_BYTES, blanks: 'inside' });
  const alias = `ua-${volumeId ?? ''}`;
  return isAlias(alias) ? alias : null;
}

/** Decimal text as a number; everything else as it is, for the parser of the number to judge. */
function numberOf(value: unknown, field: string): unknown {
  return typeof value === 'string' ? parseDecimal(value, field, { min: 0, max: Number.MAX_SAFE_INTEGER }) : value;
}

function flagOf(value: unknown, field: string): boolean {
  if (isAbsent(value)) return false;
  if (typeof value !== 'boolean') throw refusal(field, 'must be true or false');
  return value;
}

/** JSON's null stands for absence in what Cinder writes. */
function isAbsent(value: unknown): value is null | undefined {
  return value === undefined || value === null;
}

function objectOf(value: unknown, field: string): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw refusal(field, 'must be a JSON object');
  if (Object.hasOwn(value, '__proto__')) throw refusal(field, 'must not have a member __proto__');
  return value as Readonly<Record<string, unknown>>;
}
