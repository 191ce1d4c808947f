// People and programs of the host who do with our mounts what they like: keep files open, send descriptors around, detach a
// mount lazily, move it, bind copies of it, and take copies into namespaces of their own. Each leaves after a while, or
// stays when the rest of the world is healed, until the very end.

import type { History } from './history.js';
import type { Kernel, Mount } from './kernel.js';
import type { Chance } from './prng.js';
import type { Scheduler } from './scheduler.js';
import { isLiving } from './superblocks.js';
import type { Tree } from './directories.js';
import type { Copy, Use } from './users.js';

/** What outsiders do. */
export type Deed = 'visitor' | 'pass' | 'copy' | 'bind' | 'move' | 'lazy-umount';

/** Milliseconds that a visit, and one that uses a copy, takes at most. */
const VISIT_MS = 30_000;
const LONG_VISIT_MS = 90_000;

/** The outsiders of one run. */
export class Outsiders {
  /** Called when a mount comes back to its leaf. */
  returned: (mount: Mount) => void = () => undefined;
  readonly #scheduler: Scheduler;
  readonly #chance: Chance;
  readonly #kernel: Kernel;
  readonly #tree: Tree;
  /** How each that is there leaves. */
  readonly #visits = new Set<() => void>();
  #nextPid = 9000;
  #nextPlace = 1;

  constructor(scheduler: Scheduler, chance: Chance, kernel: Kernel, tree: Tree) {
    this.#scheduler = scheduler;
    this.#chance = chance;
    this.#kernel = kernel;
    this.#tree = tree;
  }

  /** Somebody does it to the leaf's topmost mount, if there is one. */
  make(deed: Deed, { mountPoint }: History): void {
    const mount = this.#kernel.top(mountPoint);
    if (mount === undefined) return;
    switch (deed) {
      case 'visitor':
        this.#visit(mount, this.#chance.once(0.2) ? LONG_VISIT_MS : VISIT_MS);
        return;
      case 'pass':
        this.#stay(LONG_VISIT_MS, this.#closing(this.#kernel.users.open(mount, null)));
        return;
      case 'copy':
        this.#copy(mount);
        return;
      case 'bind':
        this.#bind(mount);
        return;
      case 'move':
        this.#move(mount);
        return;
      case 'lazy-umount':
        if (this.#chance.once(0.7)) this.#visit(mount, LONG_VISIT_MS);
        this.#kernel.unmount(mountPoint, 'detach', 'stranger');
        return;
    }
  }

  /** Most of them leave; who stays uses what he has until {@link leave}. */
  heal(stay: number): void {
    for (const leave of [...this.#visits]) if (!this.#chance.once(stay)) leave();
  }

  /** All that are left leave, one after the other. */
  leave(withinMs: number): void {
    for (const leave of [...this.#visits])
      this.#scheduler.after(null, this.#chance.int(0, withinMs), 'outsider', leave);
  }

  #visit(mount: Mount, ms: number): void {
    const by = this.#chance.pick(['descriptor', 'directory', 'mapping'] as const);
    this.#stay(ms, this.#closing(this.#kernel.users.open(mount, { pid: this.#pid(), command: 'sh', by })));
  }

  /** A namespace with a copy, on the same directory or elsewhere, with a process in it or none, which uses it or not. */
  #copy(mount: Mount): void {
    const node = this.#tree.nodes.get(mount.mountPoint);
    const on = node !== undefined && this.#chance.once(0.6) ? node : null;
    const holder = this.#chance.once(0.8) ? ({ pid: this.#pid(), command: 'sh', by: 'namespace' } as const) : null;
    this.#copied(this.#kernel.users.copy(mount, on, holder, on === null && this.#chance.once(0.3)));
  }

  /** A copy is there for a while, and used or not. */
  #copied(copy: Copy): void {
    const use = this.#chance.once(0.4) ? this.#kernel.users.openIn(copy) : null;
    this.#stay(this.#chance.once(0.5) ? LONG_VISIT_MS : VISIT_MS, () => {
      if (use !== null) this.#kernel.users.close(use);
      this.#kernel.users.dropCopy(copy);
    });
  }

  /** Takes the mount away from its leaf as soon as it is there, and keeps a part of it in our namespace or in another. */
  snatch(mount: Mount): void {
    if (this.#chance.once(0.5)) {
      this.#bind(mount, true);
    } else {
      const holder = { pid: this.#pid(), command: 'sh', by: 'namespace' } as const;
      this.#copied(this.#kernel.users.copy(mount, null, holder, true));
    }
    this.#kernel.vanish(mount);
  }

  /** A second mount of it, or of a part of it, in our namespace, which our unmount leaves where it is. */
  #bind(mount: Mount, isPart = mount.superblock.kind === 'fuse' && this.#chance.once(0.3)): void {
    const { fsType, source, serves, superblock, directory, owner } = mount;
    const what = { mountPoint: this.#place('copy'), fsType, source, serves, owner, isPart, maker: 'stranger' } as const;
    const bound = this.#kernel.mount({ ...what, from: superblock, ...(directory === null ? {} : { directory }) });
    if (this.#chance.once(0.5)) this.#visit(bound, LONG_VISIT_MS);
    this.#stay(LONG_VISIT_MS, () => this.#takeAway(bound));
  }

  /** Our mount itself is moved to another place, and sometimes back, if its own is free then. */
  #move(mount: Mount): void {
    const home = mount.mountPoint;
    this.#kernel.move(mount, this.#place('moved'));
    // A bind that comes back may be of a directory that nobody has asked for by then, which is nobody's but the mover's.
    const isMovedBack = this.#chance.once(0.4) && mount.superblock.kind === 'fuse';
    this.#stay(isMovedBack ? VISIT_MS : LONG_VISIT_MS, () => {
      const isFree = this.#kernel.top(home) === undefined && this.#tree.nodes.get(home)?.kind === 'directory';
      const isThere = this.#kernel.mounts.includes(mount) && isLiving(mount.superblock);
      if (!isMovedBack || !isFree || !isThere) {
        this.#takeAway(mount);
        return;
      }
      this.returned(mount);
      this.#kernel.move(mount, home);
    });
  }

  #takeAway(mount: Mount): void {
    if (this.#kernel.mounts.includes(mount)) this.#kernel.vanish(mount);
  }

  #place(kind: 'copy' | 'moved'): string {
    const path = `/mnt/${kind}/${this.#nextPlace}`;
    this.#nextPlace += 1;
    return path;
  }

  #closing(use: Use): () => void {
    return () => this.#kernel.users.close(use);
  }

  #stay(ms: number, end: () => void): void {
    const leave = (): void => {
      if (this.#visits.delete(leave)) end();
    };
    this.#visits.add(leave);
    this.#scheduler.after(null, this.#chance.int(100, ms), 'outsider: leaves', leave);
  }

  #pid(): number {
    this.#nextPid += 1;
    return this.#nextPid;
  }
}
