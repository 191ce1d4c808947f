// Files that a text of libvirt's names, wherever it names them. Pure. Each absolute path counts, since a path too
// many keeps a mount and a path too few loses one. What is not well-formed XML of bounded size is refused as a whole.

import { SaxesParser, type SaxesTagPlain } from 'saxes';
import { FairleadError } from '../../core/errors.js';
import { MAX_DOMAIN_FILES, MAX_DOMAIN_XML_BYTES, MAX_DOMAIN_XML_DEPTH, MAX_PATH_BYTES } from '../../core/limits.js';

/** A volume in one of libvirt's own storage pools: only libvirt knows its path. */
export interface PoolVolume {
  readonly pool: string;
  readonly volume: string;
}

/** What a text names. */
export interface NamedFiles {
  /** Absolute paths, each once. */
  readonly files: readonly string[];
  readonly poolVolumes: readonly PoolVolume[];
}

/** What is told of the elements of a text. */
export interface XmlReader {
  open(tag: SaxesTagPlain): void;
  text(text: string): void;
  close(): void;
}

/** Within other text (QEMU's own arguments, json: pseudo protocols), paths stand between these. */
const PATH_PARTS = /[\s,;="'{}[\]:]+/;

/** Tells a reader all of a text; `helper-failed` where it is no XML that libvirt writes, or too much of it. */
export function readXml(xml: string, reader: XmlReader): void {
  if (Buffer.byteLength(xml) > MAX_DOMAIN_XML_BYTES) throw unreadable();
  let depth = 0;
  const parser = new SaxesParser({ xmlns: false, position: false });
  parser.on('error', (error) => {
    throw unreadable(error);
  });
  parser.on('doctype', () => {
    // libvirt writes none, and nothing good comes of entities.
    throw unreadable();
  });
  parser.on('opentag', (tag) => {
    depth += 1;
    if (depth > MAX_DOMAIN_XML_DEPTH) throw unreadable();
    reader.open(tag);
  });
  parser.on('text', (text) => reader.text(text));
  parser.on('cdata', (text) => reader.text(text));
  parser.on('closetag', () => {
    depth -= 1;
    reader.close();
  });
  parser.write(xml).close();
}

/** The error of a text that cannot be read; it says nothing about what was read. */
export function unreadable(cause?: Error): FairleadError {
  return new FairleadError(
    'helper-failed',
    'libvirt described a domain in a way that Fairlead cannot read. Look at virsh dumpxml, and report it.',
    cause === undefined ? {} : { cause },
  );
}

/** Gathers what a text names. */
export class FileCollector {
  readonly #files = new Set<string>();
  readonly #poolVolumes: PoolVolume[] = [];

  /** An element; `except`: an attribute that stands elsewhere. */
  element({ name, attributes }: SaxesTagPlain, except: string | null = null): void {
    const { pool, volume } = attributes;
    if (pool !== undefined && volume !== undefined) {
      if (this.#poolVolumes.length >= MAX_DOMAIN_FILES) throw unreadable();
      this.#poolVolumes.push({ pool, volume });
    }
    // These hold arguments and variables of QEMU's, with a path anywhere in them.
    const isFree = /(?:^|:)(?:arg|env)$/.test(name);
    for (const [attribute, value] of Object.entries(attributes)) {
      if (attribute === except) continue;
      if (isFree) this.#parts(value);
      else this.text(value);
    }
  }

  /** An attribute's value, or an element's text. */
  text(text: string): void {
    if (text.startsWith('/')) this.#add(text);
    else if (text.includes('/')) this.#parts(text);
  }

  /** Everything. */
  done(): NamedFiles {
    return { files: [...this.#files], poolVolumes: this.#poolVolumes };
  }

  #parts(text: string): void {
    for (const part of text.split(PATH_PARTS)) if (part.startsWith('/')) this.#add(part);
  }

  #add(path: string): void {
    if (Buffer.byteLength(path) > MAX_PATH_BYTES || this.#files.size >= MAX_DOMAIN_FILES) throw unreadable();
    this.#files.add(path);
  }
}

/**
 * All files that a description of a snapshot, a checkpoint or a backup names; the domain that it was taken of stands
 * in it as a whole.
 */
export function readNamedFiles(xml: string, root: 'domainsnapshot' | 'domaincheckpoint' | 'domainbackup'): NamedFiles {
  const collector = new FileCollector();
  let text = '';
  let isFirst = true;
  readXml(xml, {
    open: (tag) => {
      if (isFirst && tag.name !== root) throw unreadable();
      isFirst = false;
      text = '';
      collector.element(tag);
    },
    text: (more) => {
      text += more;
    },
    close: () => {
      collector.text(text.trim());
      text = '';
    },
  });
  return collector.done();
}
