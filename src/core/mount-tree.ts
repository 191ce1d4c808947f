// What a mount table means for paths: which mounts a walk to a path crosses, and in which order they are stacked. Built
// once a table, asked many times. The table's own order says nothing about stacking (since Linux 6.8 it is the order of
// unique mount IDs), parents do.

import type { MountEntry } from './mountinfo.js';
import { isBelow } from './paths.js';

/** A mount table, ready to be asked about paths. */
export interface MountTree {
  /**
   * The mounts that a walk to `path` meets at exactly that path, bottom first, the visible one last. A mount that is
   * hidden because something else was mounted over one of its parents is not there any more for whoever walks, and is
   * left out.
   */
  at(path: string): readonly MountEntry[];
  /** All entries strictly below `directory`, hidden ones too, in the table's order. */
  below(directory: string): readonly MountEntry[];
}

/** The tree of a table. */
export function mountTree(entries: readonly MountEntry[]): MountTree {
  const ids = new Set(entries.map((entry) => entry.mountId));
  const children = new Map<number, Map<string, MountEntry[]>>();
  for (const entry of entries) {
    const parent = ids.has(entry.parentId) && entry.parentId !== entry.mountId ? entry.parentId : OUTSIDE;
    const byPath = children.get(parent) ?? new Map<string, MountEntry[]>();
    children.set(parent, byPath);
    const siblings = byPath.get(entry.mountPoint);
    if (siblings === undefined) byPath.set(entry.mountPoint, [entry]);
    else siblings.push(entry);
  }
  return {
    at: (path) => walk(children, path, entries.length),
    below: (directory) => entries.filter((entry) => isBelow(entry.mountPoint, directory)),
  };
}

/** Stands for the parent of every mount whose parent is not in the table (the root, or whatever a chroot hides). */
const OUTSIDE = -1;

function walk(
  children: ReadonlyMap<number, ReadonlyMap<string, readonly MountEntry[]>>,
  path: string,
  most: number,
): readonly MountEntry[] {
  const components = prefixesOf(path);
  const met: MountEntry[] = [];
  let mount = OUTSIDE;
  let position = 0;
  // Each round enters a mount, so a table whose parents form a circle ends too.
  for (let entered = 0; entered < most;) {
    const here = children.get(mount)?.get(components[position] ?? '');
    const top = here?.at(-1);
    if (here === undefined || top === undefined) {
      position += 1;
      if (position >= components.length) break;
      continue;
    }
    entered += here.length;
    if (position === components.length - 1) met.push(...here);
    mount = top.mountId;
  }
  return met;
}

/** `/`, `/a`, `/a/b` for `/a/b`. */
function prefixesOf(path: string): readonly string[] {
  const prefixes = ['/'];
  for (let slash = path.indexOf('/', 1); slash > 0; slash = path.indexOf('/', slash + 1)) {
    prefixes.push(path.slice(0, slash));
  }
  if (path !== '/') prefixes.push(path);
  return prefixes;
}
