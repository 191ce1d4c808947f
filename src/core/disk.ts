// The description of a disk as libvirt wants it (formatdomain.html, "Hard drives, floppy disks, CDROMs"). Fixed facts are
// constants; what may be chosen comes from allow-lists. Pure: no file is opened and no format is ever detected, because a
// guest can write any header into a raw disk (CVE-2024-32498).

import type { AbsolutePath } from './paths.js';
import * as patterns from './patterns.js';
import { refusal } from './text.js';
import type { Access } from './verdict.js';
import type { BackendName } from './volume.js';
import { toXml, type Element } from './xml.js';

/** A file is what the guest gets, whatever filesystem it lies on. */
const SOURCE_TYPE = 'file';
const DRIVER_NAME = 'qemu';

/** Every format that a disk may have. */
export const FORMATS = ['raw', 'qcow2'] as const;
const CACHES = ['none', 'directsync', 'writethrough', 'writeback', 'unsafe'] as const;
const IOS = ['native', 'threads', 'io_uring'] as const;
/** Every bus that a disk may be on. */
export const BUSES = ['virtio', 'scsi', 'sata', 'ide', 'usb'] as const;

/** Buses on which a running guest can be given a disk, of those that are worth it. */
export const PLUGGABLE_BUSES = ['virtio', 'scsi'] as const;
const DEVICE = new RegExp(patterns.DEVICE);

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

/**
 * Limits on a disk's input and output, by libvirt's names (formatdomain.html, `iotune`), in the order in which Nova writes them; a
 * missing one is no limit, and so is 0.
 */
export const IOTUNE_KEYS = [
  'read_bytes_sec',
  'read_iops_sec',
  'write_bytes_sec',
  'write_iops_sec',
  'total_bytes_sec',
  'total_iops_sec',
  'read_bytes_sec_max',
  'write_bytes_sec_max',
  'total_bytes_sec_max',
  'read_iops_sec_max',
  'write_iops_sec_max',
  'total_iops_sec_max',
  'size_iops_sec',
] as const;

/** One of {@link IOTUNE_KEYS}. */
export type IotuneKey = (typeof IOTUNE_KEYS)[number];
/** Bytes or operations a second, whole numbers from 0; the size is bytes an operation. */
export type Iotune = Readonly<Partial<Record<IotuneKey, number>>>;
/** Bytes: what the guest sees as its disk's block sizes. */
export interface BlockSizes {
  readonly logical?: number;
  readonly physical?: number;
}

/**
 * What else may be said of a disk; everything is optional, and absent means that libvirt is told nothing. From outside it comes through
 * disk-options.ts.
 */
export interface DiskOptions {
  /** The serial number that the guest sees. */
  readonly serial?: string;
  readonly discard?: 'unmap';
  readonly iotune?: Iotune;
  readonly blockSizes?: BlockSizes;
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
  readonly driver: { readonly name: typeof DRIVER_NAME; readonly type: DiskFormat } & Driver & {
      readonly discard?: 'unmap';
    };
  readonly alias: string | null;
  readonly source: { readonly file: AbsolutePath };
  readonly target: { readonly dev: string; readonly bus: DiskBus };
  readonly serial: string | null;
  readonly iotune: Iotune | null;
  readonly blockSizes: BlockSizes | null;
  readonly readonly: boolean;
  readonly shareable: boolean;
  readonly address: { readonly type: 'drive'; readonly controller: 0; readonly unit: number } | null;
  readonly encryption: {
    readonly format: 'luks';
    readonly secret: { readonly type: 'passphrase'; readonly uuid: string };
  } | null;
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
  readonly options: DiskOptions;
}

/** The name that a part of the choice has in a request, for refusals. */
export type FieldOf = (part: keyof DiskOptions | 'access') => string;

const fieldOfRequest: FieldOf = (part) => (part === 'access' ? 'readOnly' : `options.${part}`);

/** What a choice says that can be wrong together with the rest of it. */
type Checked = Pick<DiskChoice, 'format' | 'driver' | 'bus' | 'access' | 'options'>;

/** Refuses (`invalid-argument`) what QEMU cannot have together. */
export function checkDiskChoice(choice: Checked, field: FieldOf = fieldOfRequest): void {
  const { bus, access, options } = choice;
  // libvirt: "readonly sata disks are not supported".
  if (access === 'read-only' && (bus === 'ide' || bus === 'sata')) {
    throw refusal(field('access'), 'is not for the buses ide and sata: use virtio, scsi or usb');
  }
  if (options.unit !== undefined && bus !== 'scsi') throw refusal(field('unit'), 'is for the bus scsi only');
  if (options.shareable === true) checkShareable(choice, field('shareable'));
}

/** The description of one disk; `invalid-argument` for parts that QEMU cannot have together. */
export function describeDisk(choice: DiskChoice, field: FieldOf = fieldOfRequest): DiskDescription {
  checkDiskChoice(choice, field);
  const { format, driver, bus, access, options } = choice;
  const { serial = null, alias = null, iotune = null, blockSizes = null, discard, encryption, unit } = options;
  return {
    protocol: choice.backend,
    type: SOURCE_TYPE,
    device: 'disk',
    driver: { name: DRIVER_NAME, type: format, ...driver, ...(discard === undefined ? {} : { discard }) },
    alias,
    source: { file: choice.file },
    target: { dev: choice.target, bus },
    serial,
    iotune,
    blockSizes,
    readonly: access === 'read-only',
    shareable: options.shareable ?? false,
    address: unit === undefined ? null : { type: 'drive', controller: 0, unit },
    encryption:
      encryption === undefined ? null : { format: 'luks', secret: { type: 'passphrase', uuid: encryption.secret } },
  };
}

/**
 * Two hosts that each cache one disk corrupt it, and a qcow2 has metadata that only one QEMU may write (libvirt refuses that at
 * the start of the guest: "requires use of supported storage format").
 */
function checkShareable({ driver, format, access }: Checked, field: string): void {
  if (driver.cache !== 'none' && driver.cache !== 'directsync') {
    throw refusal(field, 'needs driver_cache none or directsync in the configuration of the backend');
  }
  if (format !== 'raw' && access !== 'read-only')
    throw refusal(field, 'needs the format raw, or a disk that is only read');
}

/** A file that a disk rests on. */
export interface BackingFile {
  readonly path: string;
  readonly format: DiskFormat;
}

/**
 * The `<disk>` element, its parts in the order in which Nova writes them.
 *
 * @param backing what a qcow2 rests on, nearest first: said to libvirt, so that neither it nor QEMU reads that from the header again,
 *   which somebody may have changed meanwhile. Null: they do read it there.
 */
export function diskXml(disk: DiskDescription, backing: readonly BackingFile[] | null = null): string {
  const { driver, alias, serial, iotune, blockSizes, address, encryption } = disk;
  const content: Element[] = [{ name: 'driver', attributes: { ...driver } }];
  if (alias !== null) content.push({ name: 'alias', attributes: { name: alias } });
  content.push({ name: 'source', attributes: { ...disk.source } });
  if (backing !== null && disk.driver.type === 'qcow2') content.push(backingStore(backing));
  content.push({ name: 'target', attributes: { ...disk.target } });
  if (serial !== null) content.push({ name: 'serial', content: serial });
  const limits = IOTUNE_KEYS.filter((key) => iotune?.[key] !== undefined);
  if (limits.length > 0) {
    content.push({ name: 'iotune', content: limits.map((name) => ({ name, content: String(iotune?.[name]) })) });
  }
  if (blockSizes !== null) content.push({ name: 'blockio', attributes: blockSizeAttributes(blockSizes) });
  if (disk.readonly) content.push({ name: 'readonly' });
  if (disk.shareable) content.push({ name: 'shareable' });
  if (address !== null) {
    const { type, controller, unit } = address;
    content.push({ name: 'address', attributes: { type, controller: String(controller), unit: String(unit) } });
  }
  if (encryption !== null) {
    const secret: Element = { name: 'secret', attributes: { ...encryption.secret } };
    content.push({ name: 'encryption', attributes: { format: encryption.format }, content: [secret] });
  }
  return toXml({ name: 'disk', attributes: { type: disk.type, device: disk.device }, content });
}

/** An empty one is the end of the chain. */
function backingStore([nearest, ...rest]: readonly BackingFile[]): Element {
  if (nearest === undefined) return { name: 'backingStore' };
  return {
    name: 'backingStore',
    attributes: { type: SOURCE_TYPE },
    content: [
      { name: 'format', attributes: { type: nearest.format } },
      { name: 'source', attributes: { file: nearest.path } },
      backingStore(rest),
    ],
  };
}

function blockSizeAttributes({ logical, physical }: BlockSizes): Record<string, string> {
  return {
    ...(logical === undefined ? {} : { logical_block_size: String(logical) }),
    ...(physical === undefined ? {} : { physical_block_size: String(physical) }),
  };
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

/** One of {@link PLUGGABLE_BUSES}; absent means `virtio`. */
export function parsePluggableBus(value: unknown, field: string): DiskBus {
  const bus = PLUGGABLE_BUSES.find((one) => one === (value === undefined ? 'virtio' : value));
  if (bus === undefined) throw refusal(field, `must be ${PLUGGABLE_BUSES.join(' or ')}`);
  return bus;
}

/** The guest's device name: `vd`, `sd`, `hd` or `xvd` and one to three letters. */
export function parseTargetDevice(value: unknown, field: string): string {
  if (typeof value !== 'string' || !DEVICE.test(value)) {
    throw refusal(field, 'must be a device name such as vda or sdb');
  }
  return value;
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
