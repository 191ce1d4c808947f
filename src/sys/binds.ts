// Binding a directory of this host to a leaf, and telling which directory it is. The directory may lie on storage that
// hangs, so every call on it runs on a thread of its own, and only probe children call this. Nothing here takes a mount
// away except a bind of its own that went wrong in the same call.

import { isBelow } from '../core/paths.js';
import type { Hardening } from '../core/hardening.js';
import { openBase, openLeaf } from './directories.js';
import { errnoOf } from './libc/errors.js';
import { type Handle, mountIdThroughServer, openThroughServer } from './libc/files.js';
import { attachTree, cloneTree, hardenTree, unmountAt } from './libc/mounts.js';
import type { KernelMountTable } from './mount-table.js';
import type { BindEnd, DirectoryIdentity } from './ports.js';

/** Binds, in the namespace of the table. */
export class Binds {
  readonly #table: KernelMountTable;

  constructor(table: KernelMountTable) {
    this.#table = table;
  }

  /** See the probe job of this name. Rejects with the errno of a source that cannot be reached. */
  async bind(
    source: string,
    roots: readonly string[],
    base: string,
    leaf: string,
    hardening: Hardening,
  ): Promise<BindEnd> {
    const opened = await openSource(source, roots);
    if (typeof opened === 'string') return opened;
    using sourceHandle = opened;
    using baseHandle = openBase(base);
    using leafHandle = openLeaf(baseHandle, leaf, 'same-mount');
    if (leafHandle === null) return 'leaf-changed';
    const mountId = await attachClone(sourceHandle, leafHandle, hardening);
    const found = this.#table.at(`${base}/${leaf}`);
    if (found.length === 1 && found[0]?.mountId === mountId) return 'bound';
    this.#takeBack(mountId, leafHandle);
    return 'leaf-changed';
  }

  /** See the probe job of this name. Rejects with the errno of a source that cannot be reached. */
  async identify(source: string): Promise<DirectoryIdentity | null> {
    const opened = await openOrNull(source);
    if (opened === null) return null;
    using handle = opened;
    const entry = this.#table.withId(await mountIdThroughServer(handle));
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
async function attachClone(source: Handle, leaf: Handle, hardening: Hardening): Promise<number> {
  using tree = await cloneTree(source);
  await hardenTree(tree, hardening);
  const mountId = await mountIdThroughServer(tree);
  await attachTree(tree, leaf);
  return mountId;
}

/**
 * The source directory, walked from the handle of its root. Mounts below the root are not entered: they are not part of
 * what the operator named, and a hung one would hold us up. Whoever wants one names it as a root of its own.
 */
async function openSource(source: string, roots: readonly string[]): Promise<Handle | Exclude<BindEnd, 'bound'>> {
  const root = roots
    .filter((candidate) => isBelow(source, candidate))
    .reduce((longest, candidate) => (candidate.length > longest.length ? candidate : longest), '');
  if (root === '') return 'source-outside';
  try {
    using rootHandle = await openThroughServer(null, root, 'directory', 'anywhere');
    const within = source.slice(root === '/' ? 1 : root.length + 1);
    return await openThroughServer(rootHandle, within, 'directory', 'same-mount');
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

async function openOrNull(source: string): Promise<Handle | null> {
  try {
    return await openThroughServer(null, source, 'directory', 'anywhere');
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
