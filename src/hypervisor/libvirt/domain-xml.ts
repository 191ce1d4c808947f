// libvirt's description of a domain (https://libvirt.org/formatdomain.html): text comes in, and what it says of files goes out. Pure. The disks are
// read one by one; of everything else each absolute path counts, wherever it stands, since a path too many keeps a mount
// and a path too few loses one. What is not a well-formed description of bounded size is refused as a whole.

import { SaxesParser, type SaxesTagPlain } from 'saxes';
import { type DomainDisk, type DomainUuid, isDomainUuid } from '../../core/domains.js';
import { FairleadError } from '../../core/errors.js';
import { MAX_DOMAIN_FILES, MAX_DOMAIN_XML_BYTES, MAX_DOMAIN_XML_DEPTH, MAX_PATH_BYTES } from '../../core/limits.js';

/** A disk as one description has it. */
export type DescribedDisk = Omit<DomainDisk, 'live' | 'persistent'>;

/** A volume in one of libvirt's own storage pools: only libvirt knows its path. */
export interface PoolVolume {
  readonly pool: string;
  readonly volume: string;
}

/** What one description says. */
export interface Description {
  readonly uuid: DomainUuid;
  readonly name: string;
  /** Whether it describes a running domain: only those have an id. */
  readonly running: boolean;
  readonly disks: readonly DescribedDisk[];
  /** Absolute paths that are not the source of a disk, each once. */
  readonly otherFiles: readonly string[];
  readonly poolVolumes: readonly PoolVolume[];
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
/** Levels of elements that are told apart; paths of all levels would grow with the square of the depth. */
const NAMED_LEVELS = 4;
const DEEPER = '…';
/** Within QEMU's own arguments, paths stand between these. */
const ARGUMENT_PARTS = /[\s,;="'{}[\]:]+/;

/** The description in `xml`; `helper-failed` when it cannot be read. */
export function readDescription(xml: string): Description {
  if (Buffer.byteLength(xml) > MAX_DOMAIN_XML_BYTES) throw unreadable();
  const reader = new DescriptionReader();
  const parser = new SaxesParser({ xmlns: false, position: false });
  parser.on('error', (error) => {
    throw unreadable(error);
  });
  parser.on('doctype', () => {
    // libvirt writes none, and nothing good comes of entities.
    throw unreadable();
  });
  parser.on('opentag', (tag) => reader.open(tag));
  parser.on('text', (text) => reader.text(text));
  parser.on('cdata', (text) => reader.text(text));
  parser.on('closetag', () => reader.close());
  parser.write(xml).close();
  return reader.done();
}

function unreadable(cause?: Error): FairleadError {
  return new FairleadError(
    'helper-failed',
    'libvirt described a domain in a way that Fairlead cannot read. Look at virsh dumpxml, and report it.',
    cause === undefined ? {} : { cause },
  );
}

type Attributes = Readonly<Record<string, string>>;

interface OpenDisk {
  readonly type: string;
  source: Attributes;
  target: Attributes;
  driver: Attributes;
  readOnly: boolean;
  serial: string | null;
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
  readonly #otherFiles = new Set<string>();
  readonly #poolVolumes: PoolVolume[] = [];

  open({ name, attributes }: SaxesTagPlain): void {
    const path = this.#open.length < NAMED_LEVELS ? [...this.#open.slice(-1), name].join('/') : DEEPER;
    if (this.#open.length === 0 && name !== 'domain') throw unreadable();
    if (this.#open.length >= MAX_DOMAIN_XML_DEPTH) throw unreadable();
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
      };
    }
    this.#diskPart(path, attributes);
    this.#files(path, name, attributes);
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
    if (path === 'domain/uuid') this.#uuid = once(this.#uuid, text.trim().toLowerCase());
    if (path === `${DISK}/serial` && this.#disk !== null) this.#disk.serial = text;
    else this.#file(text.trim());
    if (path === DISK) this.#endDisk();
  }

  done(): Description {
    if (this.#uuid === null || !isDomainUuid(this.#uuid) || this.#name === null) throw unreadable();
    return {
      uuid: this.#uuid,
      name: this.#name,
      running: this.#running,
      disks: this.#disks,
      otherFiles: [...this.#otherFiles],
      poolVolumes: this.#poolVolumes,
    };
  }

  #diskPart(path: string, attributes: Attributes): void {
    if (this.#disk === null) return;
    if (path === `${DISK}/source`) this.#disk.source = attributes;
    if (path === `${DISK}/target`) this.#disk.target = attributes;
    if (path === `${DISK}/driver`) this.#disk.driver = attributes;
    if (path === `${DISK}/readonly`) this.#disk.readOnly = true;
  }

  /** Every absolute path in the attributes, but for a disk's own source, which stands with the disk. */
  #files(path: string, name: string, attributes: Attributes): void {
    // Backing stores, mirrors and data files may lie in pools too.
    const { pool, volume } = attributes;
    if (pool !== undefined && volume !== undefined) {
      if (this.#poolVolumes.length >= MAX_DOMAIN_FILES) throw unreadable();
      this.#poolVolumes.push({ pool, volume });
    }
    const own = path === `${DISK}/source` && this.#disk?.type === 'file' ? 'file' : null;
    const free = /(?:^|:)(?:arg|env)$/.test(name);
    for (const [attribute, value] of Object.entries(attributes)) {
      if (attribute === own) continue;
      for (const part of free ? value.split(ARGUMENT_PARTS) : [value]) this.#file(part);
    }
  }

  #file(text: string): void {
    if (!text.startsWith('/')) return;
    if (Buffer.byteLength(text) > MAX_PATH_BYTES || this.#otherFiles.size >= MAX_DOMAIN_FILES) throw unreadable();
    this.#otherFiles.add(text);
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
    this.#disk = null;
  }
}

/** Something that may be said only once. */
function once(before: string | null, now: string): string {
  if (before !== null) throw unreadable();
  return now;
}
