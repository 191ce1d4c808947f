// Binding a directory of this host to a leaf, and telling which directory it is. The directory may lie on storage that
// hangs, so every call on it runs on a thread of its own, and only probe children call this. Nothing here takes a mount
// away except a bind of its own that went wrong in the same call.

import { isBelow } from '../core/paths.js';
import type { Hardening } from '../core/hardening.js';
import { openBase, openLeaf } from './directories.js';
import { errnoOf } from './libc/errors.js';
import {
  type Handle,
  type Inode,
  inodeThroughServer,
  mountIdOf,
  mountedThroughServer,
  type MountNumbers,
  openThroughServer,
  type Walk,
} from './libc/files.js';
import { attachTree, cloneTree, hardenTree, unmountAt } from './libc/mounts.js';
import type { KernelMountTable } from './mount-table.js';
import type { BindEnd, DirectoryIdentity, MountedDirectory, ProbeAnswer, ProbeJob } from './ports.js';

/** Binds, in the namespace of the table. */
export class Binds {
  readonly #table: KernelMountTable;

  constructor(table: KernelMountTable) {
    this.#table = table;
  }

  /** See the probe job of this name. Rejects with the errno of a source that cannot be reached. */
  async bind(job: Extract<ProbeJob, { readonly kind: 'bind' }>): Promise<Extract<ProbeAnswer, { kind: 'bind' }>> {
    const { source, expected, roots, base, leaf, hardening } = job;
    const opened = await openSource(source, roots);
    if (typeof opened === 'string') return { kind: 'bind', end: opened };
    using sourceHandle = opened;
    const identity = identityOf(await inodeThroughServer(sourceHandle));
    if (expected?.dev !== identity.dev || expected.inode !== identity.inode) {
      return { kind: 'bind', end: 'source-changed' };
    }
    using baseHandle = openBase(base);
    using leafHandle = openLeaf(baseHandle, leaf, 'same-mount');
    if (leafHandle === null) return { kind: 'bind', end: 'leaf-changed' };
    const attached = await attachClone(sourceHandle, leafHandle, hardening);
    const found = this.#table.at(`${base}/${leaf}`);
    if (found.length === 1 && found[0]?.mountId === attached.mountId) {
      return { kind: 'bind', end: 'bound', ...attached };
    }
    this.#takeBack(attached.mountId, leafHandle);
    return { kind: 'bind', end: 'leaf-changed' };
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

/** See the probe job of this name. Rejects with the errno of a source, or of a mount, that cannot be reached. */
export async function identify({
  source,
  roots,
  base,
  leaf,
}: Extract<ProbeJob, { readonly kind: 'identify' }>): Promise<Extract<ProbeAnswer, { kind: 'identify' }>> {
  return { kind: 'identify', source: await identifySource(source, roots), mounted: await identifyMounted(base, leaf) };
}

/** Walked as it is for a bind. Where no root leads to it any more, because the configuration was changed, from above. */
async function identifySource(source: string, roots: readonly string[]): Promise<DirectoryIdentity | null> {
  const isRooted = roots.some((root) => isBelow(source, root));
  const opened = isRooted ? await openSource(source, roots) : await openOrNull(null, source, 'anywhere');
  if (opened === null || typeof opened === 'string') return null;
  using handle = opened;
  return identityOf(await inodeThroughServer(handle));
}

async function identifyMounted(base: string, leaf: string): Promise<MountedDirectory | null> {
  using baseHandle = openBase(base);
  const opened = await openOrNull(baseHandle, leaf, 'beneath');
  if (opened === null) return null;
  using handle = opened;
  const mounted = await mountedThroughServer(handle);
  const { mountId, unique } = mounted;
  return mountId === mountIdOf(baseHandle) ? null : { ...identityOf(mounted), mountId, unique };
}

function identityOf({ dev, inode }: Inode): DirectoryIdentity {
  return { dev, inode: String(inode) };
}

/**
 * Attaches a hardened clone of the source on the leaf and tells which mount it is. Private before it is attached: otherwise
 * what is mounted inside the leaf later would appear in the source too.
 */
async function attachClone(source: Handle, leaf: Handle, hardening: Hardening): Promise<MountNumbers> {
  using tree = await cloneTree(source);
  await hardenTree(tree, hardening);
  const { mountId, unique } = await mountedThroughServer(tree);
  await attachTree(tree, leaf);
  return { mountId, unique };
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

async function openOrNull(directory: Handle | null, path: string, walk: Walk): Promise<Handle | null> {
  try {
    return await openThroughServer(directory, path, 'directory', walk);
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
