// What a volume is, once its text has been parsed. The grammars live in backends/; nothing here reads outside text.

import { md5 } from '@noble/hashes/legacy.js';
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js';
import type { Brand } from './brand.js';
import * as patterns from './patterns.js';

const LEAF = new RegExp(patterns.LEAF);

/** The backends that exist. A new filesystem is one file in backends/ and one word here. */
export const BACKEND_NAMES = ['quobyte', 'local'] as const;
/** One kind of filesystem. */
export type BackendName = (typeof BACKEND_NAMES)[number];

/** The part of a volume URL that the mount helper takes: `reg1:7861,reg2:7861/vol-name`. Checked by its backend. */
export type Export = Brand<string, 'Export'>;
/** A volume's full name: `quobyte://reg1:7861,reg2:7861/vol-name`. */
export type VolumeUrl = Brand<string, 'VolumeUrl'>;
/** 32 lower-case hex digits: the directory name below the mount base, and the key of everything about a mount. */
export type Leaf = Brand<string, 'Leaf'>;

/** A volume that passed its backend's grammar. */
export interface Volume {
  readonly backend: BackendName;
  readonly export: Export;
  readonly url: VolumeUrl;
  readonly leaf: Leaf;
}

/** A leaf by its names: what everything about a mount is keyed by. */
export interface LeafName {
  readonly backend: BackendName;
  readonly leaf: Leaf;
}

/**
 * The leaf of an export: the MD5 of its UTF-8 bytes in lower-case hex. This is Nova's own rule (the export without one
 * leading `quobyte://`), so that a host can change over in place. MD5 names a directory here and protects nothing: a
 * collision is found by comparing the mount's source, never by trusting the leaf.
 */
export function leafOf(exported: Export): Leaf {
  return bytesToHex(md5(utf8ToBytes(exported))) as Leaf;
}

/** Whether `text` has the form of a leaf. */
export function isLeaf(text: unknown): text is Leaf {
  return typeof text === 'string' && LEAF.test(text);
}
