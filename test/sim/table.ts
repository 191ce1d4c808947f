// The mount table as one broker reads it: whole, after the kernel has told of a change of the table, and not again before
// the next one. What changes without such an event (the path of a directory that was bound) is shown as it was then.

import type { MountEntry } from '../../src/core/mountinfo.js';
import type { MountTable } from '../../src/sys/ports.js';
import type { Tree } from './directories.js';
import type { Kernel, Mount } from './kernel.js';

/** Mount ID of what the bases lie on. */
const HOST_MOUNT = 1;
const NONE: readonly MountEntry[] = [];

/** See the file's head. */
export class TableView implements MountTable {
  readonly #kernel: Kernel;
  readonly #tree: Tree;
  #read = -1;
  #all: MountEntry[] = [];
  #points = new Map<string, MountEntry[]>();

  constructor(kernel: Kernel, tree: Tree) {
    this.#kernel = kernel;
    this.#tree = tree;
  }

  at(mountPoint: string): readonly MountEntry[] {
    this.#refresh();
    for (const { superblock } of this.#kernel.at(mountPoint)) {
      if (superblock.home === mountPoint) superblock.wasSeen = true;
    }
    return this.#points.get(mountPoint) ?? NONE;
  }

  below(directory: string): readonly MountEntry[] {
    this.#refresh();
    const start = directory === '/' ? '/' : `${directory}/`;
    return this.#all.filter(({ mountPoint }) => mountPoint.startsWith(start));
  }

  #refresh(): void {
    if (this.#read === this.#kernel.version) return;
    this.#read = this.#kernel.version;
    this.#all = [];
    this.#points = new Map();
    for (const mount of this.#kernel.mounts) {
      const stack = this.#points.get(mount.mountPoint) ?? [];
      const entry = this.#entryOf(mount, stack.at(-1)?.mountId ?? HOST_MOUNT);
      stack.push(entry);
      this.#points.set(mount.mountPoint, stack);
      this.#all.push(entry);
    }
  }

  #entryOf(mount: Mount, parentId: number): MountEntry {
    const { id, dev, directory, mountPoint, options, fsType, source } = mount;
    return {
      mountId: id,
      parentId,
      dev,
      root: directory === null ? '/' : this.#tree.textOf(directory),
      mountPoint,
      options: [...options],
      tags: ['shared:1'],
      fsType,
      source,
      superOptions: ['rw', 'user_id=0', 'group_id=0'],
    };
  }
}
