// Names of the units in which helpers run. The name is made from the leaf, so that it is a second lock; and from the
// mount base, so that two installations on one host (a test beside the real one) never take each other's daemons for
// their own. Nothing of the volume's name is in it.

import { md5 } from '@noble/hashes/legacy.js';
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js';
import { isLeaf, type Leaf } from '../core/volume.js';

/** What the helper in a unit is there for. */
export type UnitPurpose = 'mount' | 'unmount';

/** `fairlead-mount-<8 digits of the base>-<leaf>`, without the suffix that systemd wants. */
export function unitName(purpose: UnitPurpose, base: string, leaf: Leaf): string {
  return `${unitPrefix(purpose, base)}${leaf}`;
}

/** What the names of all units of one base begin with. */
export function unitPrefix(purpose: UnitPurpose, base: string): string {
  return `fairlead-${purpose}-${bytesToHex(md5(utf8ToBytes(base))).slice(0, 8)}-`;
}

/** The leaf of a unit of that purpose and base, with or without a suffix; null for any other name. */
export function leafOfUnit(purpose: UnitPurpose, base: string, name: string): Leaf | null {
  const prefix = unitPrefix(purpose, base);
  const leaf = name.startsWith(prefix) ? name.slice(prefix.length).replace(/\.(?:service|scope)$/, '') : '';
  return isLeaf(leaf) ? leaf : null;
}
