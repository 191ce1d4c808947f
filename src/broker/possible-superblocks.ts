// Which superblocks may be served by a helper of a leaf, or by what it left, as long as nobody has seen its mount. The
// kernel's record says which there are. Each that is not older than the helper counts, unless something proves that it
// is another's: it is known as what a client of another leaf serves, or it is mounted, and all of its mounts, here and in
// other namespaces, are of kinds that no helper of this leaf makes. What the table says of a mount is written by whoever
// mounts, and anybody may bind a part of it elsewhere: so neither owner, source nor root of a mount at the leaf matters.

import { backendOf } from '../backends/registry.js';
import type { MountEntry } from '../core/mountinfo.js';
import { type BackendName, leafOf } from '../core/volume.js';
import type { Superblock } from '../sys/ports.js';
import type { Context } from './context.js';
import type { LeafPlace } from './leaf-notes.js';

/** What must be known of a leaf to tell whether a mount may be of its helper's superblock. */
export interface HelperSite extends LeafPlace {
  readonly mountpoint: string;
  /** See {@link mayBeFrom}. */
  mayBeIts(entry: MountEntry): boolean;
}

/** Whether they are the same one, if both are from one record of the kernel. */
export function isSame(one: Superblock, other: Superblock): boolean {
  return keyOf(one) === keyOf(other);
}

function keyOf({ dev, entry }: Superblock): string {
  return `${dev} ${entry}`;
}

/** Those beside `earlier` that a helper of this leaf may have made; null: that cannot be told. */
export function possibleSince(
  context: Context,
  place: HelperSite,
  earlier: readonly Superblock[] | null,
): readonly Superblock[] | null {
  const now = context.machine.superblocks.all();
  if (now === null || earlier === null) return null;
  const others = new Set([...earlier, ...context.clients.servedElsewhere(place)].map(keyOf));
  return possibleOf(
    context,
    place,
    now.filter((one) => !others.has(keyOf(one))),
  );
}

/** Which of these a helper of this leaf may have made, as far as all mounts of them tell. */
export function possibleOf(
  { machine }: Context,
  place: HelperSite,
  superblocks: readonly Superblock[],
): readonly Superblock[] {
  if (superblocks.length === 0) return [];
  const devs = new Set(superblocks.map(({ dev }) => dev));
  const isSought = ({ dev }: MountEntry): boolean => devs.has(dev);
  const elsewhere = machine.namespaces.mounts(isSought);
  if (elsewhere === null) return superblocks;
  const mounts = [...machine.table.below('/').filter(isSought), ...elsewhere];
  return superblocks.filter(({ dev }) => {
    const shown = mounts.filter((entry) => entry.dev === dev);
    return shown.length === 0 || shown.some((entry) => place.mayBeIts(entry));
  });
}

/**
 * Whether a mount may be of a superblock that a helper of the leaf made: whatever is at the leaf, and whatever looks like
 * a mount of the backend, unless it is another volume at a leaf of its own, in this base or in another one.
 */
export function mayBeFrom(name: BackendName, mountpoint: string, entry: MountEntry): boolean {
  const nameOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1);
  if (nameOf(entry.mountPoint) === nameOf(mountpoint)) return true;
  const backend = backendOf(name);
  const isAtHome = backend
    .candidateExports(entry, [])
    .some((exported) => nameOf(entry.mountPoint) === leafOf(exported));
  return backend.mayBeOurs(entry) && !isAtHome;
}
