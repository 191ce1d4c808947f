// libvirt's description of a domain (https://libvirt.org/formatdomain.html): text comes in, and what it says of files goes out. Pure. The disks are
// read one by one; of everything else each absolute path counts, wherever it stands, since a path too many keeps a mount
// and a path too few loses one. What is not a well-formed description of bounded size is refused as a whole.

import type { SaxesTagPlain } from 'saxes';
import { type DomainDisk, type DomainUuid, isDomainUuid } from '../../core/domains.js';
import { MAX_DOMAIN_FILES, MAX_PATH_BYTES } from '../../core/limits.js';
import { FileCollector, type NamedFiles, readXml, unreadable } from './xml-files.js';

/** A disk as one description has it. */
export type DescribedDisk = Omit<DomainDisk, 'live' | 'persistent'>;

/** What one description says. */
export interface Description extends NamedFiles {
  readonly uuid: DomainUuid;
  readonly name: string;
  /** Whether it describes a running domain: only those have an id. */
  readonly running: boolean;
  readonly disks: readonly DescribedDisk[];
  /**
   * Sources of disks of which it is not told what they rest on: an image of a format that may rest on others, without
   * the end of its chain. So are all of a domain that does not run, unless somebody wrote the chain down.
   */
  readonly untold: readonly string[];
}

/** Elements whose content is the user's or says nothing of files the guest uses. */
const NOT_FILES = new Set([
  'domain/metadata',
  'domain/title',
  'domain/description',
  'domain/name',
  'domain/resource',
  'domain/devices/emulator',
]);
const DISK = 'domain/devices/disk';
/** Formats of images that rest on no other. */
const PLAIN_FORMATS = new Set(['raw', 'luks', 'iso']);
/** Levels of elements that are told apart; paths of all levels would grow with the square of the depth. */
const NAMED_LEVELS = 4;
const DEEPER = '…';

/** The description in `xml`; `helper-failed` when it cannot be read. */
export function readDescription(xml: string): Description {
  const reader = new DescriptionReader();
  readXml(xml, reader);
  return reader.done();
}

type Attributes = Readonly<Record<string, string>>;

interface OpenDisk {
  readonly type: string;
  source: Attributes;
  target: Attributes;
  driver: Attributes;
  readOnly: boolean;
  serial: string | null;
  /** The end of its chain of backing files was told. */
  isChainTold: boolean;
}

class DescriptionReader {
  /** The open elements: `domain/devices/disk`. */
  readonly #open: string[] = [];
  #text = '';
  #uuid: string | null = null;
  #name: string | null = null;
  #running = false;
  #disk: OpenDisk | null = null;
  /** How many elements deep we are in something that is not looked at. */
  #ignored = 0;
  readonly #disks: DescribedDisk[] = [];
  readonly #untold: string[] = [];
  readonly #collector = new FileCollector();
  /** How many elements deep we are in a copy of a disk, which has a chain of its own. */
  #mirrored = 0;

  open(tag: SaxesTagPlain): void {
    const { name, attributes } = tag;
    const path = this.#open.length < NAMED_LEVELS ? [...this.#open.slice(-1), name].join('/') : DEEPER;
    if (this.#open.length === 0 && name !== 'domain') throw unreadable();
    this.#text = '';
    this.#open.push(path);
    if (this.#ignored > 0 || NOT_FILES.has(path)) {
      this.#ignored += 1;
      return;
    }
    if (path === 'domain') this.#running = Object.hasOwn(attributes, 'id');
    if (path === DISK) {
      if (this.#disk !== null) throw unreadable();
      this.#disk = {
        type: attributes['type'] ?? 'file',
        source: {},
        target: {},
        driver: {},
        readOnly: false,
        serial: null,
        isChainTold: false,
      };
    }
    this.#diskPart(path, name, attributes);
    // A disk's own source stands with the disk.
    const own = path === `${DISK}/source` && this.#disk?.type === 'file' ? 'file' : null;
    this.#collector.element(tag, own);
  }

  text(text: string): void {
    this.#text += text;
  }

  close(): void {
    const path = this.#open.pop();
    const text = this.#text;
    this.#text = '';
    if (path === 'domain/name') this.#name = once(this.#name, text);
    if (this.#ignored > 0) {
      this.#ignored -= 1;
      return;
    }
    if (this.#mirrored > 0) this.#mirrored -= 1;
    if (path === 'domain/uuid') this.#uuid = once(this.#uuid, text.trim().toLowerCase());
    if (path === `${DISK}/serial` && this.#disk !== null) this.#disk.serial = text;
    else this.#collector.text(text.trim());
    if (path === DISK) this.#endDisk();
  }

  done(): Description {
    if (this.#uuid === null || !isDomainUuid(this.#uuid) || this.#name === null) throw unreadable();
    return {
      uuid: this.#uuid,
      name: this.#name,
      running: this.#running,
      disks: this.#disks,
      untold: this.#untold,
      ...this.#collector.done(),
    };
  }

  #diskPart(path: string, name: string, attributes: Attributes): void {
    if (this.#disk === null) return;
    if (this.#mirrored > 0 || name === 'mirror') this.#mirrored += 1;
    else if (name === 'backingStore' && Object.keys(attributes).length === 0) this.#disk.isChainTold = true;
    if (path === `${DISK}/source`) this.#disk.source = attributes;
    if (path === `${DISK}/target`) this.#disk.target = attributes;
    if (path === `${DISK}/driver`) this.#disk.driver = attributes;
    if (path === `${DISK}/readonly`) this.#disk.readOnly = true;
  }

  #endDisk(): void {
    const disk = this.#disk;
    const target = disk?.target['dev'] ?? '';
    if (disk === null || target === '' || this.#disks.length >= MAX_DOMAIN_FILES) throw unreadable();
    const file = disk.type === 'file' ? (disk.source['file'] ?? '') : '';
    if (Buffer.byteLength(file) > MAX_PATH_BYTES) throw unreadable();
    this.#disks.push({
      target,
      bus: disk.target['bus'] ?? null,
      path: file === '' ? null : file,
      format: disk.driver['type'] ?? null,
      readOnly: disk.readOnly,
      serial: disk.serial,
    });
    const mayRest = !PLAIN_FORMATS.has(disk.driver['type'] ?? 'raw') && Object.keys(disk.source).length > 0;
    if (mayRest && !disk.isChainTold) this.#untold.push(file === '' ? target : file);
    this.#disk = null;
  }
}

/** Something that may be said only once. */
function once(before: string | null, now: string): string {
  if (before !== null) throw unreadable();
  return now;
}
