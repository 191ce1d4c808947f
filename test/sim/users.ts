// Who uses what is mounted: open files and calls, which keep a mount of ours busy; descriptors on their way through a
// socket, which no scan finds; and copies in other mount namespaces, which are private, so that our unmount leaves them.

import type { MountEntry } from '../../src/core/mountinfo.js';
import type { Holder } from '../../src/core/observation.js';
import type { Sought } from '../../src/sys/ports.js';
import type { Node, Tree } from './directories.js';
import type { Kernel, Mount } from './kernel.js';
import type { Scheduler } from './scheduler.js';
import type { Superblock } from './superblocks.js';
import { entryOf } from './table.js';

/** A copy in another mount namespace, private: what happens in ours does not reach it. */
export interface Copy {
  readonly mount: Mount;
  /** It shows a directory in the volume instead of its root. */
  readonly isPart: boolean;
  /** The directory of ours on which it is mounted there, too; null: it is somewhere else. */
  readonly on: Node | null;
  /** A process that lives in that namespace; null: the namespace is kept by a file alone, and no scan finds it. */
  readonly holder: Holder | null;
  readonly madeAt: number;
  readonly unrefer: () => void;
}

/** An open file, a working directory, a descriptor on its way through a socket, a call. */
export interface Use {
  /** The mount that it pins; null: it came through a copy in another namespace. */
  readonly mount: Mount | null;
  /** That mount, or the one that was copied. */
  readonly of: Mount;
  readonly began: number;
  readonly superblock: Superblock;
  /** Who has it; null: no scan finds it. */
  readonly holder: Holder | null;
  readonly unrefer: () => void;
}

/** The users of all mounts. */
export class Users {
  readonly copies = new Set<Copy>();
  readonly uses = new Set<Use>();
  readonly #kernel: Kernel;
  readonly #scheduler: Scheduler;

  constructor(kernel: Kernel, scheduler: Scheduler) {
    this.#kernel = kernel;
    this.#scheduler = scheduler;
  }

  /** Somebody opens a file of a mount; `holder` null: it is on its way through a socket. */
  open(mount: Mount, holder: Holder | null): Use {
    const { superblock } = mount;
    superblock.wasUsed = true;
    const unrefer = this.#pin(mount, holder === null ? 'a descriptor in flight' : `${holder.command} ${holder.pid}`);
    const use: Use = { mount, of: mount, superblock, holder, began: this.#scheduler.now, unrefer };
    this.uses.add(use);
    this.#kernel.changed(mount.mountPoint, 'stranger');
    return use;
  }

  /** Somebody opens a file by a copy in another namespace, which keeps no mount of ours busy. */
  openIn({ mount, holder: resident }: Copy): Use {
    const { superblock } = mount;
    const holder = resident === null ? null : ({ ...resident, by: 'descriptor' } as const);
    superblock.wasUsed = true;
    const unrefer = this.#kernel.superblocks.refer(superblock, 'a file that is open in another namespace');
    const use: Use = { mount: null, of: mount, superblock, holder, began: this.#scheduler.now, unrefer };
    this.uses.add(use);
    return use;
  }

  close(use: Use): void {
    if (!this.uses.delete(use)) return;
    use.unrefer();
    if (use.mount !== null) this.#kernel.changed(use.mount.mountPoint, 'stranger');
  }

  /** A new namespace takes a copy of the mount, or of a part of it; `on`: at the same directory. */
  copy(mount: Mount, on: Node | null, holder: Holder | null, isPart = false): Copy {
    const unrefer = this.#kernel.superblocks.refer(mount.superblock, 'a copy in another namespace');
    const copy: Copy = { mount, isPart, on, holder, madeAt: this.#scheduler.now, unrefer };
    this.copies.add(copy);
    this.#kernel.changed(mount.mountPoint, 'stranger');
    return copy;
  }

  dropCopy(copy: Copy): void {
    if (this.copies.delete(copy)) copy.unrefer();
  }

  /** rmdir of a directory: other namespaces lose what they have mounted on it (mount_namespaces(7), since Linux 3.18). */
  removed(directory: Node): void {
    for (const copy of [...this.copies]) if (copy.on === directory) this.dropCopy(copy);
  }

  /** A thread of ours begins to wait in a call on the mount; the returned function ends that. */
  enter(mount: Mount): () => void {
    const unpin = this.#pin(mount, 'a call of ours');
    this.#kernel.changed(mount.mountPoint, 'fairlead');
    return () => {
      unpin();
      this.#kernel.changed(mount.mountPoint, 'fairlead');
    };
  }

  /** What a search finds: processes of all namespaces, copies that nobody was seen to use, and mounts elsewhere. */
  holding(sought: Sought, tree: Tree): Holder[] {
    const isThere = (mount: Mount): boolean => sought.devices.includes(mount.dev) && isSought(mount, sought, tree);
    const users = [...this.uses]
      .filter(({ of }) => isThere(of))
      .flatMap(({ holder }) => (holder === null ? [] : [holder]));
    const copies = [...this.copies].filter(({ mount }) => isThere(mount)).flatMap(({ holder }) => holder ?? []);
    const mounts = this.#kernel.mounts
      .filter((mount) => isThere(mount) && mount.mountPoint !== sought.mountPoint)
      .map(({ mountPoint }) => ({ pid: 0, command: mountPoint, by: 'mount' }) as const);
    const seen = new Set(users.map(({ pid }) => pid));
    return [...users, ...copies.filter(({ pid }) => !seen.has(pid)), ...mounts];
  }

  /** Mounts that other namespaces show, as far as a process lives in them. */
  elsewhere(tree: Tree): MountEntry[] {
    return [...this.copies].flatMap(({ mount, isPart, on, holder }) => {
      if (holder === null) return [];
      const entry = entryOf(isPart ? { ...mount, isPart } : mount, tree, 1);
      return [on === null ? { ...entry, mountPoint: `/elsewhere/${holder.pid}` } : { ...entry, mountPoint: on.path }];
    });
  }

  /** Whether this process, which was seen using a mount, runs. */
  runs(pid: number): boolean {
    return [...this.uses, ...this.copies].some(({ holder }) => holder?.pid === pid);
  }

  #pin(mount: Mount, by: string): () => void {
    const unrefer = this.#kernel.superblocks.refer(mount.superblock, by);
    mount.pins += 1;
    return () => {
      mount.pins -= 1;
      if (mount.pins === 0 && !this.#kernel.mounts.includes(mount)) mount.unrefer();
      unrefer();
    };
  }

  /** Nobody uses anything any more. */
  reboot(): void {
    this.copies.clear();
    this.uses.clear();
  }
}

/** Of a bind only what shows the bound directory, or what lies below it, counts: others use the rest of its superblock. */
function isSought({ directory }: Mount, sought: Sought, tree: Tree): boolean {
  if (sought.kind === 'superblock') return true;
  if (directory === null) return false;
  const root = tree.textOf(directory);
  return root === sought.root || root.startsWith(`${sought.root}/`);
}
