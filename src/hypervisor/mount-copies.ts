// Other ways to the same files: a mount at a leaf may be bound elsewhere, and a domain may name its disk through
// that. By the mount table alone; a symbolic link cannot be told from it, unless the link's own path has the leaf's
// name in it.

import type { MountEntry } from '../core/mountinfo.js';
import { isBelow } from '../core/paths.js';
import { BACKEND_NAMES, isLeaf } from '../core/volume.js';
import type { Context } from './context.js';

/** A place where files of a leaf are, too. */
export interface MountCopy {
  readonly mountPoint: string;
  /** Where the same directory is below the leaf. */
  readonly original: string;
}

/** The copies of mounts at leaves, or of directories in them, that lie elsewhere in this namespace. */
export function copiesOfLeaves({ settings, table }: Pick<Context, 'settings' | 'table'>): readonly MountCopy[] {
  const bases = BACKEND_NAMES.map((backend) => settings.backends[backend].mountBase);
  const leaves = new Map<string, MountEntry[]>();
  for (const base of bases) {
    for (const entry of table.below(base)) {
      if (!isLeaf(entry.mountPoint.slice(base.length + 1))) continue;
      leaves.set(entry.dev, [...(leaves.get(entry.dev) ?? []), entry]);
    }
  }
  if (leaves.size === 0) return [];
  return table.below('/').flatMap((entry) => {
    if (bases.some((base) => isBelow(entry.mountPoint, base))) return [];
    return (leaves.get(entry.dev) ?? []).flatMap((leaf): MountCopy[] => {
      const rest = within(entry.root, leaf.root);
      return rest === null ? [] : [{ mountPoint: entry.mountPoint, original: `${leaf.mountPoint}${rest}` }];
    });
  });
}

/** The path below the leaf of a file that is named through a copy; null for one that is not. */
export function throughLeaf({ mountPoint, original }: MountCopy, path: string): string | null {
  const rest = within(path, mountPoint);
  return rest === null ? null : `${original}${rest}`;
}

/** What follows `directory` in `path`: empty, or with a slash before it; null if it does not lie there. */
function within(path: string, directory: string): string | null {
  if (directory === '/') return path === '/' ? '' : path;
  return path === directory || isBelow(path, directory) ? path.slice(directory.length) : null;
}
