// The description of a disk as libvirt wants it (formatdomain.html, "Hard drives, floppy disks, CDROMs"). Fixed facts are
// constants; what may be chosen comes from allow-lists. Pure: no file is opened and no format is ever detected, because a
// guest can write any header into a raw disk (CVE-2024-32498).

import type { AbsolutePath } from './paths.js';
import { checkText, refusal } from './text.js';
import type { Access } from './verdict.js';
import type { BackendName } from './volume.js';
import { toXml, type Element } from './xml.js';

/** A file is what the guest gets, whatever filesystem it lies on. */
const SOURCE_TYPE = 'file';
const DRIVER_NAME = 'qemu';

const FORMATS = ['raw', 'qcow2'] as const;
const CACHES = ['none', 'directsync', 'writethrough', 'writeback', 'unsafe'] as const;
const IOS = ['native', 'threads', 'io_uring'] as const;
const BUSES = ['virtio', 'scsi', 'sata', 'ide', 'usb'] as const;

/** What is in the file. */
export type DiskFormat = (typeof FORMATS)[number];
/** QEMU's cache modes. */
export type DriverCache = (typeof CACHES)[number];
/** QEMU's ways to do asynchronous input and output. */
export type DriverIo = (typeof IOS)[number];
/** The bus on which the guest sees the disk. */
export type DiskBus = (typeof BUSES)[number];
/** Cache and io, known to go together. */
export interface Driver {
  readonly cache: DriverCache;
  readonly io: DriverIo;
}

/** Limits on a disk's input and output, by libvirt's names (formatdomain.html, `iotune`); a missing one is no limit. */
export const IOTUNE_KEYS = [
  'total_bytes_sec',
  'read_bytes_sec',
  'write_bytes_sec',
  'total_iops_sec',
  'read_iops_sec',
  'write_iops_sec',
  'total_bytes_sec_max',
  'read_bytes_sec_max',
  'write_bytes_sec_max',
  'total_iops_sec_max',
  'read_iops_sec_max',
  'write_iops_sec_max',
  'size_iops_sec',
] as const;

/** One of {@link IOTUNE_KEYS}. */
export type IotuneKey = (typeof IOTUNE_KEYS)[number];

/** What else may be said of a disk; everything is optional, and absent means that libvirt is told nothing. */
export interface DiskOptions {
  /** The serial number that the guest sees. */
  readonly serial?: string;
  readonly discard?: 'unmap';
  /** Bytes or operations a second, whole numbers from 0. */
  readonly iotune?: Readonly<Partial<Record<IotuneKey, number>>>;
  /** Bytes: what the guest sees as its disk's block sizes. */
  readonly blockSizes?: { readonly logical?: number; readonly physical?: number };
  /** Several guests may have it at once. */
  readonly shareable?: true;
  /** libvirt's user alias: begins with `ua-`. */
  readonly alias?: string;
  /** LUKS, opened by QEMU with this libvirt secret. */
  readonly encryption?: { readonly secret: string };
  /** Unit of the disk on the SCSI controller 0; for the bus `scsi` only. */
  readonly unit?: number;
}

/** A disk as libvirt is told of it; {@link diskXml} writes it down. */
export interface DiskDescription {
  /** For callers that ask how the volume is reached; libvirt is not told, since the source is a file. */
  readonly protocol: BackendName;
  readonly type: typeof SOURCE_TYPE;
  readonly device: 'disk';
  readonly driver: { readonly name: typeof DRIVER_NAME; readonly type: DiskFormat } & Driver;
  readonly source: { readonly file: AbsolutePath };
  readonly target: { readonly dev: string; readonly bus: DiskBus };
  readonly readonly: boolean;
  readonly serial: string | null;
}

/** What a description is made from, each already parsed. */
export interface DiskChoice {
  readonly backend: BackendName;
  readonly file: AbsolutePath;
  readonly format: DiskFormat;
  readonly driver: Driver;
  readonly target: string;
  readonly bus: DiskBus;
  readonly access: Access;
  readonly serial: string | null;
}

/** The description of one disk. */
export function describeDisk(choice: DiskChoice): DiskDescription {
  return {
    protocol: choice.backend,
    type: SOURCE_TYPE,
    device: 'disk',
    driver: { name: DRIVER_NAME, type: choice.format, ...choice.driver },
    source: { file: choice.file },
    target: { dev: choice.target, bus: choice.bus },
    readonly: choice.access === 'read-only',
    serial: choice.serial,
  };
}

/** The `<disk>` element, its parts in the order in which Nova writes them. */
export function diskXml(disk: DiskDescription): string {
  const content: Element[] = [
    { name: 'driver', attributes: { ...disk.driver } },
    { name: 'source', attributes: { ...disk.source } },
    { name: 'target', attributes: { ...disk.target } },
  ];
  if (disk.serial !== null) content.push({ name: 'serial', content: disk.serial });
  if (disk.readonly) content.push({ name: 'readonly' });
  return toXml({ name: 'disk', attributes: { type: disk.type, device: disk.device }, content });
}

/** `raw` or `qcow2`, spelt exactly so; absent means `raw`. */
export function parseDiskFormat(value: unknown, field: string): DiskFormat {
  return value === undefined ? 'raw' : oneOf(FORMATS, value, field);
}

/** `rw` or `ro` (Cinder's `access_mode`); absent means `rw`. */
export function parseAccessMode(value: unknown, field: string): Access {
  return value === undefined || oneOf(['rw', 'ro'] as const, value, field) === 'rw' ? 'read-write' : 'read-only';
}

/** A bus from the allow-list; absent means `virtio`. */
export function parseDiskBus(value: unknown, field: string): DiskBus {
  return value === undefined ? 'virtio' : oneOf(BUSES, value, field);
}

/** The guest's device name: `vd`, `sd`, `hd` or `xvd` and one to three letters. */
export function parseTargetDevice(value: unknown, field: string): string {
  if (typeof value !== 'string' || !/^(?:vd|sd|hd|xvd)[a-z]{1,3}$/.test(value)) {
    throw refusal(field, 'must be a device name such as vda or sdb');
  }
  return value;
}

/** The serial that the guest sees: what libvirt's schema allows, at most 128 bytes, beginning with a letter or digit. */
export function parseSerial(value: unknown, field: string): string {
  const text = checkText(value, field, { maxBytes: 128, blanks: 'inside' });
  if (!/^[A-Za-z0-9][A-Za-z0-9_.+ -]*$/.test(text)) {
    throw refusal(field, 'must begin with a letter or digit and have only letters, digits, blanks and _ . + -');
  }
  return text;
}

/**
 * Cache and io modes from the allow-lists, checked together: QEMU's `native` needs O_DIRECT, so it goes with `none` and
 * `directsync` only (libvirt refuses the other pairs when the guest starts, which is too late). `field` names the table
 * that has both settings.
 */
export function checkDriverPair(cache: unknown, io: unknown, field: string): Driver {
  const pair = {
    cache: oneOf(CACHES, cache, `${field}.driver_cache`),
    io: oneOf(IOS, io, `${field}.driver_io`),
  };
  if (pair.io === 'native' && pair.cache !== 'none' && pair.cache !== 'directsync') {
    throw refusal(
      `${field}.driver_io`,
      'cannot be native with this driver_cache: use none or directsync, or io threads',
    );
  }
  return pair;
}

function oneOf<const Word extends string>(words: readonly Word[], value: unknown, field: string): Word {
  const found = words.find((word) => word === value);
  if (found === undefined) throw refusal(field, `must be one of ${words.join(', ')}`);
  return found;
}
