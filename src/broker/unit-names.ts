// Names of the units in which helpers run. The name is made from the leaf, so that it is a second lock; and from the
// mount base, so that two installations on one host (a test beside the real one) never take each other's daemons for
// their own. Nothing of the volume's name is in it.

import { md5 } from '@noble/hashes/legacy.js';
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js';
import { isLeaf, type Leaf } from '../core/volume.js';

/** What the helper in a unit is there for. */
export type UnitPurpose = 'mount' | 'unmount';

/** Which of the units of a leaf: the first has no number in its name. A new mount is made beside a client that still serves. */
export type Generation = number;

/** A leaf's unit. */
export interface LeafUnit {
  readonly leaf: Leaf;
  readonly generation: Generation;
}

/** What stands for a mount base in the names of units and notes: 8 digits of its MD5. */
export function unitKey(base: string): string {
  return bytesToHex(md5(utf8ToBytes(base))).slice(0, 8);
}

/** `fairlead-mount-<8 digits of the base>-<leaf>[-<generation>]`, without the suffix that systemd wants. */
export function unitName(purpose: UnitPurpose, base: string, leaf: Leaf, generation: Generation = 1): string {
  return `${unitPrefix(purpose, base)}${leaf}${generation === 1 ? '' : `-${generation}`}`;
}

/** What the names of all units of one base begin with. */
export function unitPrefix(purpose: UnitPurpose, base: string): string {
  return `fairlead-${purpose}-${unitKey(base)}-`;
}

/** The leaf of a unit of that purpose and base, with or without a suffix; null for any other name. */
export function leafOfUnit(purpose: UnitPurpose, base: string, name: string): LeafUnit | null {
  const prefix = unitPrefix(purpose, base);
  const own = name.startsWith(prefix) ? name.slice(prefix.length) : '';
  const [, leaf, generation] = /^([0-9a-f]{32})(?:-([2-9]|[1-9][0-9]{1,3}))?(?:\.(?:service|scope))?$/.exec(own) ?? [];
  return isLeaf(leaf) ? { leaf, generation: Number(generation ?? 1) } : null;
}
