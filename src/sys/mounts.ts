// Mount calls on leaves, always through handles: what is checked is what is changed. Nothing here waits for a server, and
// nothing takes a mount away except a bind of its own that went wrong in the same call.

import { isBelow } from '../core/paths.js';
import type { Hardening } from '../core/hardening.js';
import { openBase, singleName } from './directories.js';
import { errnoOf } from './libc/errors.js';
import { type Handle, mountIdOf, openAt } from './libc/files.js';
import { attachTree, cloneTree, setMountAttributes, unmountAt } from './libc/mounts.js';
import type { KernelMountTable } from './mount-table.js';
import type { Mounts } from './ports.js';

type Bound = ReturnType<Mounts['bind']>;

/** The mounts of this machine. */
export class KernelMounts implements Mounts {
  readonly #table: KernelMountTable;

  constructor(table: KernelMountTable) {
    this.#table = table;
  }

  harden(base: string, leaf: string, dev: string, hardening: Hardening): 'hardened' | 'other' | 'not-mounted' {
    using baseHandle = openBase(base);
    using handle = openLeaf(baseHandle, leaf, 'beneath');
    if (handle === null) return 'not-mounted';
    const mountId = mountIdOf(handle);
    if (mountId === mountIdOf(baseHandle)) return 'not-mounted';
    // Not in the table: it has been detached since the handle was opened.
    const entry = this.#table.withId(mountId);
    if (entry === undefined) return 'not-mounted';
    if (entry.dev !== dev) return 'other';
    setMountAttributes(handle, hardening, 'kept');
    return 'hardened';
  }

  bind(source: string, roots: readonly string[], base: string, leaf: string, hardening: Hardening): Bound {
    const opened = openSource(source, roots);
    if (typeof opened === 'string') return opened;
    using sourceHandle = opened;
    using baseHandle = openBase(base);
    using leafHandle = openLeaf(baseHandle, leaf, 'same-mount');
    if (leafHandle === null) return 'leaf-changed';
    const mountId = attachClone(sourceHandle, leafHandle, hardening);
    const found = this.#table.at(`${base}/${leaf}`);
    if (found.length === 1 && found[0]?.mountId === mountId) return 'bound';
    this.#takeBack(mountId, leafHandle);
    return 'leaf-changed';
  }

  identify(source: string): { readonly dev: string; readonly root: string } | null {
    using handle = openOrNull(source);
    if (handle === null) return null;
    const entry = this.#table.withId(mountIdOf(handle));
    if (entry === undefined) return null;
    // The path was walked without links, so what follows the mount point is the path within the mount.
    if (source === entry.mountPoint) return { dev: entry.dev, root: entry.root };
    if (!isBelow(source, entry.mountPoint)) return null;
    const within = entry.mountPoint === '/' ? source : source.slice(entry.mountPoint.length);
    return { dev: entry.dev, root: entry.root === '/' ? within : entry.root + within };
  }

  /**
   * The leaf was renamed, replaced or mounted upon between its opening and the attaching: our bind goes again, unless
   * somebody has mounted on top of it since; then both stay and are seen by whoever looks at the leaf next.
   */
  #takeBack(mountId: number, leafHandle: Handle): void {
    const ours = this.#table.withId(mountId);
    if (ours === undefined || this.#table.below('/').some(({ parentId }) => parentId === mountId)) return;
    try {
      unmountAt(leafHandle);
    } catch (error) {
      // In use already: it stays, and is seen.
      if (errnoOf(error) !== 'EBUSY') throw error;
    }
  }
}

/**
 * Attaches a hardened clone of the source on the leaf and tells its mount ID. Private before it is attached: otherwise
 * what is mounted inside the leaf later would appear in the source too.
 */
function attachClone(source: Handle, leaf: Handle, hardening: Hardening): number {
  using tree = cloneTree(source);
  setMountAttributes(tree, hardening, 'private');
  attachTree(tree, leaf);
  return mountIdOf(tree);
}

/** A handle on the leaf directory, or on the root of what is mounted there; null if it is not a directory (any more). */
function openLeaf(base: Handle, leaf: string, walk: 'beneath' | 'same-mount'): Handle | null {
  try {
    return openAt(base, singleName(leaf), 'directory', walk);
  } catch (error) {
    switch (errnoOf(error)) {
      case 'ENOENT':
      case 'ELOOP':
      case 'ENOTDIR':
      case 'EXDEV':
        return null;
      default:
        throw error;
    }
  }
}

/**
 * The source directory, walked from the handle of its root. Mounts below the root are not entered: they are not part of
 * what the operator named, and a hung one would hold us up. Whoever wants one names it as a root of its own.
 */
function openSource(source: string, roots: readonly string[]): Handle | Exclude<Bound, 'bound'> {
  const root = roots
    .filter((candidate) => isBelow(source, candidate))
    .reduce((longest, candidate) => (candidate.length > longest.length ? candidate : longest), '');
  if (root === '') return 'source-outside';
  try {
    using rootHandle = openAt(null, root, 'directory', 'anywhere');
    return openAt(rootHandle, source.slice(root === '/' ? 1 : root.length + 1), 'directory', 'same-mount');
  } catch (error) {
    switch (errnoOf(error)) {
      case 'ENOENT':
        return 'source-absent';
      case 'ELOOP':
        return 'source-link';
      case 'ENOTDIR':
        return 'source-not-a-directory';
      case 'EXDEV':
        return 'source-outside';
      default:
        throw error;
    }
  }
}

function openOrNull(source: string): Handle | null {
  try {
    return openAt(null, source, 'directory', 'anywhere');
  } catch (error) {
    switch (errnoOf(error)) {
      case 'ENOENT':
      case 'ELOOP':
      case 'ENOTDIR':
        return null;
      default:
        throw error;
    }
  }
}
